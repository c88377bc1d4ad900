"""The connection to an upstream: what goes out, what comes back, and what is never sent twice."""

from __future__ import annotations

import asyncio
import gc
import gzip
import socket
import struct
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from meter.settings import load
from meter.upstream import (
    Answer,
    BrokenOffError,
    Client,
    TimedOutError,
    UnreachableError,
    client,
)
from meter.upstream.connection import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from meter.headers import Fields

    Script = Callable[["Heard", asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
SAFE = ("GET", "HEAD", "OPTIONS")
UNSAFE = ("POST", "PUT", "DELETE", "PATCH")


@dataclass
class Heard:
    """One request, as an upstream heard it."""

    bytes: bytes
    connection: int
    """Which of the connections it came on, from 0."""
    number: int
    """Which of that connection's requests it is, from 0."""


@dataclass
class Talk:
    """A client, and the upstream that it talks to."""

    client: Client
    url: str
    heard: list[Heard] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    """Connections that the client has closed."""

    async def send(
        self,
        method: str = "GET",
        target: str = "/x",
        fields: Fields | None = None,
        body: bytes | AsyncIterator[bytes] | None = None,
    ) -> Answer:
        """Send a request; fail where nothing comes of it for a while."""
        async with asyncio.timeout(5):
            return await self.client.send("up", method, self.url, target, fields=fields or [], body=body)

    async def whole(self, method: str = "GET") -> bytes:
        """Send a request and read all of its answer."""
        return await whole(await self.send(method))


async def whole(answer: Answer) -> bytes:
    """Read an answer to its end, and let go of it."""
    out = b""
    try:
        async with asyncio.timeout(5):
            while piece := await answer.read():
                out += piece
    finally:
        answer.close()
    return out


@asynccontextmanager
async def talking(script: Script, **timeouts: str) -> AsyncIterator[Talk]:
    """Run an upstream that does as `script` says for each request, and a client of it."""
    serving: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection, number = len(serving), 0
        serving.append(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                heard = Heard(head + await _body(head, reader), connection, number)
                talk.heard.append(heard)
                await script(heard, writer)
                number += 1
        talk.left.append(connection)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    told = {"upstreams": [{"name": "up", "base_url": url, "default": True}], "timeouts": timeouts}
    async with Client(load(None, told, environ={})) as client:
        talk = Talk(client, url)
        yield talk
    server.close()
    await asyncio.gather(*(task for task in serving if task is not None))
    await asyncio.sleep(0)


async def _body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        return await reader.readuntil(b"0\r\n\r\n")
    at = lower.find(b"content-length:")
    return await reader.readexactly(int(lower[at + 15 :].split(b"\r\n", 1)[0])) if at >= 0 else b""


def says(*pieces: bytes, then: str = "") -> Script:
    """Return a script that writes pieces, then listens on, closes or resets."""

    async def script(_: Heard, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.01)
        if then == "close":
            writer.close()
        if then == "reset":
            lingers_not = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingers_not)
            writer.transport.abort()

    return script


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    """Yield a body's pieces."""
    for part in parts:
        yield part


class TestSending:
    """A request goes out as it is told, and nothing is added or kept."""

    @pytest.mark.parametrize("method", SAFE + UNSAFE)
    async def test_invents_nothing(self, method: str) -> None:
        """The target, the Host that follows from the origin, and the fields are all that goes out."""
        async with talking(says(b"HTTP/1.1 204 No Content\r\n\r\n")) as talk:
            await whole(await talk.send(method, "/a%2Fb//c?", [(b"x-One", b"1"), (b"X-Empty", b"")]))

            host = talk.url.removeprefix("http://").encode()
            expected = b"%s /a%%2Fb//c? HTTP/1.1\r\nHost: %s\r\nx-One: 1\r\nX-Empty: \r\n\r\n"
            assert [expected % (method.encode(), host)] == [heard.bytes for heard in talk.heard]

    async def test_carries_many_and_long_fields(self) -> None:
        """300 fields, and one of 60 KB, go both ways."""
        many = [(b"X-%d" % i, b"v") for i in range(300)] + [(b"X-Long", b"y" * 60_000)]
        head = b"".join(b"%s: %s\r\n" % one for one in many)
        async with talking(says(b"HTTP/1.1 204 No Content\r\n" + head + b"\r\n")) as talk:
            answer = await talk.send(fields=many)
            answer.close()

            assert many == answer.fields
            assert talk.heard[0].bytes.endswith(b"\r\n" + head + b"\r\n")

    async def test_writes_what_it_is_given(self) -> None:
        """Order, spelling, bytes that are no text, and where the Host stands are kept.

        aiohttp's private names are where they were, or this fails.
        """
        fields = [
            (b"X-A", b"1"),
            (b"hOST", b"meter"),
            (b"x-a", b"caf\xe9"),
            (b"X-a", b"\xc3\xa9\t "),
            (b"X-A", b""),
        ]
        async with talking(says(OK)) as talk:
            await whole(await talk.send(fields=fields))

            host = talk.url.removeprefix("http://").encode()
            expected = b"X-A: 1\r\nhOST: %s\r\nx-a: caf\xe9\r\nX-a: \xc3\xa9\t \r\nX-A: \r\n\r\n" % host
            assert b"GET /x HTTP/1.1\r\n" + expected == talk.heard[0].bytes

    async def test_streams_bodies(self) -> None:
        """A body in pieces goes out under its length, or in chunks where it has none."""
        async with talking(says(OK)) as talk:
            await whole(
                await talk.send("POST", fields=[(b"Content-Length", b"4")], body=pieces(b"ab", b"cd"))
            )
            await whole(await talk.send("POST", body=pieces(b"ab", b"cd")))

            first, second = (heard.bytes.partition(b"\r\n\r\n") for heard in talk.heard)
            assert b"abcd" == first[2]
            assert b"transfer-encoding" not in first[0].lower()
            assert b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n" == second[2]

    async def test_carries_a_long_body_whole(self) -> None:
        """A long body arrives bit for bit, under the length it was given."""
        body = bytes(range(256)) * 20_000
        async with talking(says(OK)) as talk:
            fields = [(b"Content-Length", b"%d" % len(body))]
            await whole(await talk.send("POST", fields=fields, body=body))

            assert talk.heard[0].bytes.endswith(b"\r\n\r\n" + body)

    async def test_keeps_no_cookies_and_follows_nobody(self) -> None:
        """A redirect is an answer like any other, and its cookie does not go out with the next request."""
        moved = b"HTTP/1.1 302 Found\r\nLocation: /y\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n"
        async with talking(says(moved)) as talk:
            answer = await talk.send()
            answer.close()
            await talk.whole()

            assert 302 == answer.status
            assert [b"GET /x", b"GET /x"] == [heard.bytes[:6] for heard in talk.heard]
            assert all(b"cookie" not in heard.bytes.lower() for heard in talk.heard)


class TestReading:
    """An answer comes back as it was said, and a broken one is seen to be broken."""

    async def test_gives_what_was_said(self) -> None:
        """Reason, fields and coded bytes are given as they came."""
        packed = gzip.compress(b"x" * 1000)
        head = b"HTTP/1.1 299 Odd \xe9\r\nx-A: 1\r\nX-a: \xff\r\nContent-Encoding: gzip\r\n"
        head += b"Content-Length: %d\r\n\r\n" % len(packed)
        async with talking(says(head + packed)) as talk:
            answer = await talk.send()

            assert (299, b"Odd \xe9") == (answer.status, answer.reason.encode("utf-8", "surrogateescape"))
            assert [(b"x-A", b"1"), (b"X-a", b"\xff")] == answer.fields[:2]
            assert packed == await whole(answer)

    @pytest.mark.parametrize("fold", [b"\r\n ", b"\r\n\t", b" \t\r\n \t ", b"\n\t"])
    async def test_puts_a_blank_where_a_field_goes_on(self, fold: bytes) -> None:
        """A field that goes on in the next line comes in one, with one blank in between."""
        head = b"HTTP/1.1 200 OK\r\nX:  a" + fold + b"b: c\r\nY: d\te\r\nContent-Length: 2\r\n\r\nhi"
        async with talking(says(head)) as talk:
            answer = await talk.send()

            assert [(b"X", b"a b: c"), (b"Y", b"d\te"), (b"Content-Length", b"2")] == answer.fields

    async def test_shows_a_beginning(self) -> None:
        """Looking at the beginning of a body, decoded, takes nothing from it."""
        packed = gzip.compress(b"stream_options" * 100)
        head = b"HTTP/1.1 400 No\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
        async with talking(says(head + packed[:9], packed[9:])) as talk:
            answer = await talk.send()

            assert b"stream_options" == await answer.beginning(14)
            assert packed == await whole(answer)

    @pytest.mark.parametrize(
        ("method", "head"),
        [
            ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n"),
            ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
            ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\n\r\n"),
        ],
    )
    async def test_waits_for_no_body_where_there_is_none(self, method: str, head: bytes) -> None:
        """An answer without a body is at its end at once, and its connection serves again."""
        async with talking(says(head)) as talk:
            assert [b"", b""] == [await talk.whole(method), await talk.whole(method)]

            assert [(0, 0), (0, 1)] == [(heard.connection, heard.number) for heard in talk.heard]

    @pytest.mark.parametrize(
        "script",
        [
            says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", then="close"),
            says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", then="close"),
            says(b"HTTP/1.1 200 OK\r\n\r\nhi", then="reset"),
            says(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
                b"zz\r\nhi\r\n",
            ),
        ],
        ids=["short", "no last chunk", "reset", "no chunk"],
    )
    async def test_tells_a_broken_body(self, script: Script) -> None:
        """A body that ends too soon, or goes on as no HTTP, raises after what had come of it."""
        async with talking(script) as talk:
            answer = await talk.send()
            got: list[bytes] = []
            with pytest.raises(BrokenOffError):
                await _read_on(answer, got)
            answer.close()

            assert b"hi" == b"".join(got)

    async def test_gives_what_had_come_before_the_break(self) -> None:
        """A reader that comes late gets all that had come, then hears that it broke."""
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"
        async with talking(says(head + b"x" * 1000, then="close")) as talk:
            answer = await talk.send()
            await asyncio.sleep(0.05)

            assert b"x" * 1000 == await answer.read()
            with pytest.raises(BrokenOffError):
                await answer.read()
            answer.close()

    async def test_times_out_on_silence(self) -> None:
        """Silence for `timeouts.idle`, before the head or after, raises."""
        async with talking(says(), idle="50ms") as talk:
            with pytest.raises(TimedOutError) as caught:
                await talk.send()

            assert not caught.value.connecting
        async with talking(says(OK[:-1]), idle="50ms") as talk:
            answer = await talk.send()
            assert b"h" == await answer.read()
            with pytest.raises(TimedOutError):
                await answer.read()
            answer.close()

    @pytest.mark.parametrize("held", [True, False], ids=["held", "streamed"])
    async def test_times_out_on_deafness(self, *, held: bool) -> None:
        """An upstream that takes nothing of a long body for `timeouts.idle` is not waited for."""
        piece = b"x" * 1_000_000
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
            told = {"upstreams": [{"name": "up", "base_url": url, "default": True}]}
            settings = load(None, told | {"timeouts": {"idle": "100ms"}}, environ={})
            async with Client(settings) as client:
                body = piece * 30 if held else pieces(*[piece] * 30)
                fields = [(b"Content-Length", b"30000000")]
                with pytest.raises(TimedOutError):
                    async with asyncio.timeout(3):
                        await client.send("up", "POST", url, "/x", fields=fields, body=body)

    async def test_lets_a_slow_client_take_its_time(self) -> None:
        """How long a body takes to come from the client is nothing the upstream is timed out for."""

        async def slow() -> AsyncIterator[bytes]:
            yield b"ab"
            await asyncio.sleep(0.3)
            yield b"cd"

        async with talking(says(OK), idle="100ms") as talk:
            assert b"hi" == await whole(await talk.send("POST", body=slow()))

    @pytest.mark.parametrize(
        "head",
        [
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            b"HTTP/1.1 099 Odd\r\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\n X: a\r\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.1 200 OK\n\tX: a\nContent-Length: 2\n\nhi",
            b"HTTP/1.1 200 OK\r\n \r\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.1 100 Continue\r\n X: a\r\n\r\n" + OK,
            b"HTTP/1.1 103 Hints\r\nX: a\r\n\r\n\r\nHTTP/1.1 200 OK\r\n X: a\r\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
            b"hello\r\n\r\n",
        ],
        ids=lambda head: head[9:60],
    )
    async def test_refuses_doubtful_heads(self, head: bytes) -> None:
        """A head that could be read in two ways is no answer, and its connection does not serve again."""
        async with talking(says(head)) as talk:
            with pytest.raises(UnreachableError):
                await talk.send()
            await _until(lambda: [0] == talk.left)

    @pytest.mark.parametrize("size", [1, 2, 3, 7, 17, 18, 22])
    @pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 103 Hints\r\nX: a\r\n\r\n" * 2])
    async def test_refuses_a_folded_first_line_however_it_comes(self, size: int, interim: bytes) -> None:
        """A blank where the first field should be is seen at any cut, and one elsewhere is none."""
        for blank, body in ((b" ", b"hi"), (b"", b"\n ")):
            said = interim + b"HTTP/1.1 200 OK\r\n%bX: a\r\nContent-Length: 2\r\n\r\n%b" % (blank, body)
            pieces = [said[at : at + size] for at in range(0, len(said), size)]

            async def script(_: Heard, writer: asyncio.StreamWriter, pieces: list[bytes] = pieces) -> None:
                for piece in pieces:
                    writer.write(piece)
                    await asyncio.sleep(0)

            async with talking(script) as talk:
                if blank:
                    with pytest.raises(UnreachableError):
                        await talk.send()
                else:
                    assert [body] * 2 == [await talk.whole(), await talk.whole()]

    async def test_hears_many_interim_answers(self) -> None:
        """The answer is found behind any number of interim ones."""
        said = b"HTTP/1.1 102 On it\r\n\r\n" * 500
        async with talking(says(*[said] * 5, OK)) as talk:
            assert b"hi" == await talk.whole()

    async def test_switches(self) -> None:
        """What is asked for is switched to; what came with the head is told first, and then the end."""
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n"
        fields = [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")]
        async with talking(says(head + b"early", then="close")) as talk:
            answer = await talk.send(fields=fields)
            await asyncio.sleep(0.05)
            end, told = answer.end(), list[object]()
            end.on_data, end.on_over, end.on_gone = told.append, lambda: told.append("over"), told.append
            end.open()
            answer.close()

            assert answer.switches
            assert [b"early", "over"] == told
            assert b"\r\nUpgrade: websocket\r\n" in talk.heard[0].bytes

    async def test_tells_of_a_break_before_anybody_listens(self) -> None:
        """A connection that has switched and broken at once is heard out all the same."""
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        fields = [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")]
        async with talking(says(head + b"early", then="reset")) as talk:
            answer = await talk.send(fields=fields)
            await asyncio.sleep(0.05)
            end, told = answer.end(), list[object]()
            end.on_data, end.on_gone = told.append, lambda exc: told.append(type(exc))
            end.open()
            end.send(b"nobody hears this")
            end.close(1)
            answer.close()

            assert b"early" == told[0]
            assert (2, True, False) == (len(told), end.gone, end.send_end())

    async def test_closes_what_is_let_go(self) -> None:
        """An answer that is let go of before its end takes its connection with it."""
        async with talking(says(b"HTTP/1.1 200 OK\r\n\r\nhi")) as talk:
            answer = await talk.send()
            answer.close()
            await _until(lambda: [0] == talk.left)


class TestTwice:
    """What is never sent again here, and what is told of it."""

    @pytest.mark.parametrize("method", SAFE + UNSAFE)
    async def test_tells_of_a_reused_connection(self, method: str) -> None:
        """Where a reused connection breaks before a byte, that is told, and nothing is sent again."""

        async def script(heard: Heard, writer: asyncio.StreamWriter) -> None:
            if heard.number:
                writer.close()
            else:
                writer.write(OK if method != "HEAD" else OK[:-2])

        async with talking(script) as talk:
            await talk.whole(method)
            with pytest.raises(UnreachableError) as caught:
                await talk.send(method, body=None if method in SAFE else b"abc")

            assert caught.value.reused
            assert [(0, 0), (0, 1)] == [(heard.connection, heard.number) for heard in talk.heard]

    @pytest.mark.parametrize("method", SAFE + UNSAFE)
    @pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 OK\r\nX-"], ids=["nothing", "half a head"])
    async def test_sends_once_on_a_fresh_connection(self, method: str, beginning: bytes) -> None:
        """A request that breaks on a connection of its own is not sent again."""
        async with talking(says(beginning, then="close")) as talk:
            with pytest.raises(UnreachableError) as caught:
                await talk.send(method)

            assert not caught.value.reused
            assert 1 == len(talk.heard)

    async def test_sends_once_when_an_answer_had_begun(self) -> None:
        """Half a head is a beginning: even a GET is not sent again after it."""

        async def script(heard: Heard, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nX-" if heard.number else OK)
            if heard.number:
                writer.close()

        async with talking(script) as talk:
            await talk.whole()
            with pytest.raises(UnreachableError) as caught:
                await talk.send()

            assert not caught.value.reused
            assert [(0, 0), (0, 1)] == [(heard.connection, heard.number) for heard in talk.heard]

    async def test_leaves_ended_connections_alone(self) -> None:
        """A POST goes out on a fresh connection, once, where that of the pool ended a moment ago."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(5)
            url = f"http://127.0.0.1:{server.getsockname()[1]}"
            told = {"upstreams": [{"name": "up", "base_url": url, "default": True}]}
            async with Client(load(None, told, environ={})) as client:
                talk = Talk(client, url)
                for _ in range(3):
                    sending = asyncio.ensure_future(talk.whole("POST"))
                    connection, _ = await asyncio.to_thread(server.accept)
                    with connection:
                        assert (await asyncio.to_thread(connection.recv, 1 << 16)).startswith(b"POST /x ")
                        connection.sendall(OK)
                        assert b"hi" == await sending
                    # Nothing runs between here and the next request: the loop has not heard of the end.

    async def test_takes_nobody_elses_answer(self) -> None:
        """Bytes that an upstream says unasked are not taken for the answer to the next request."""

        async def script(heard: Heard, writer: asyncio.StreamWriter) -> None:
            writer.write(OK)
            if heard.connection == 0:
                await asyncio.sleep(0.02)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother")

        async with talking(script) as talk:
            assert b"hi" == await talk.whole()
            await asyncio.sleep(0.05)
            assert b"hi" == await talk.whole()

            assert [0, 1] == [heard.connection for heard in talk.heard]

    async def test_is_no_first_byte_after_an_interim_answer(self) -> None:
        """A connection used before that breaks behind an interim answer has said something already."""

        async def script(heard: Heard, writer: asyncio.StreamWriter) -> None:
            if heard.number == 0:
                writer.write(OK)
                return
            writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
            await asyncio.sleep(0.02)
            writer.close()

        async with talking(script) as talk:
            await talk.whole()
            with pytest.raises(UnreachableError) as caught:
                await talk.send()

            assert not caught.value.reused

    async def test_is_not_closed_under_the_next_request(self) -> None:
        """Who leaves in the turn in which its answer came does not break who has got its connection."""
        go_on = asyncio.Event()

        async def script(heard: Heard, writer: asyncio.StreamWriter) -> None:
            if heard.bytes.startswith(b"GET /last"):
                await go_on.wait()
            else:
                writer.write(OK)

        async with talking(script) as talk:
            await talk.whole()
            (connection,) = (one for free in talk.client._free.values() for one in free)
            leaving = asyncio.ensure_future(talk.send(target="/last"))
            await _until(lambda: len(talk.heard) == 2)
            following = asyncio.ensure_future(talk.send("POST"))
            leaving.cancel()
            connection.data_received(OK)  # within the turn of the loop in which it left
            await asyncio.wait([leaving])
            go_on.set()

            assert b"hi" == await whole(await following)
            assert [0, 0, 0] == [heard.connection for heard in talk.heard]

    async def test_is_not_asked_when_it_has_been_idle(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A connection that has been idle for too long is left alone, before it is swept."""
        async with talking(says(OK)) as talk:
            await talk.whole()
            monkeypatch.setattr(client, "_IDLE_SECONDS", 0.0)
            await asyncio.sleep(0.01)
            await talk.whole()

            assert [0, 1] == [heard.connection for heard in talk.heard]

    async def test_is_not_held_by_what_it_was_for(self) -> None:
        """A connection that has ended is freed at once: nothing in it goes round in a circle."""
        gc.collect()
        gc.disable()
        try:
            closing = OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
            async with talking(says(closing)) as talk:
                for _ in range(3):
                    await talk.whole()
                await asyncio.sleep(0.05)
                assert [] == [one for one in gc.get_objects() if type(one) is Connection]
        finally:
            gc.enable()

    async def test_is_not_taken_for_an_endless_head(self) -> None:
        """A long body that comes with its head does not count as part of it."""
        body = b"x" * 100_000
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + body
        async with talking(says(answer)) as talk:
            talk.client._header_bytes = 1024
            talk.client._dialler._header_bytes = 1024

            assert body == await talk.whole()

    @pytest.mark.parametrize("junk", [b"junk", b"\0", b"HTTP/1.1 200 OK\r\n"])
    async def test_ends_an_answer_that_is_whole(self, junk: bytes) -> None:
        """What comes behind an answer does not break it, but its connection serves no more."""
        async with talking(says(OK + junk)) as talk:
            assert b"hi" == await talk.whole()
            assert b"hi" == await talk.whole()

            assert [0, 1] == [heard.connection for heard in talk.heard]

    async def test_goes_on_for_whom_it_is_now(self) -> None:
        """Who reads late what has come whole does not let go on what another has held."""
        async with talking(says(OK)) as talk:
            answer = await talk.send()
            await _until(lambda: answer._ended)
            answer._waiting_bytes = 1 << 20
            (connection,) = (one for free in talk.client._free.values() for one in free)
            connection.pause_reading()

            assert b"hi" == await answer.read()
            assert connection.reading_paused
            connection.resume_reading()
            answer.close()

    async def test_cannot_reach_nobody(self) -> None:
        """Where nobody listens, no answer comes."""
        told = {"upstreams": [{"name": "up", "base_url": "http://127.0.0.1:1", "default": True}]}
        async with Client(load(None, told, environ={})) as client:
            with pytest.raises(UnreachableError):
                await client.send("up", "GET", "http://127.0.0.1:1", "/x", fields=[], body=None)


async def _read_on(answer: Answer, got: list[bytes]) -> None:
    async with asyncio.timeout(2):
        while piece := await answer.read():
            got.append(piece)


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.002)
