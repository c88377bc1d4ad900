"""The client's side: heads as they are given, slow clients, and clients that leave."""

from __future__ import annotations

import asyncio
import gc
import gzip
import socket
import struct
import time
import weakref
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from meter.listener import Connection, Listener, RawAnswer, error_body
from meter.switching import End

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

GET = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
LENGTH = [(b"Content-Length", b"2")]


@dataclass
class Desk:
    """A listener at work."""

    port: int
    began: list[float] = field(default_factory=list)
    """Seconds before they were handled that requests had begun."""
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """A handler was cancelled, for its client had left."""
    errors: list[BaseException | None] = field(default_factory=list)

    async def ask(self, *parts: bytes) -> bytes:
        """Send bytes, part by part; return all that comes back until the connection ends."""
        async with self.connected() as (reader, writer):
            for part in parts:
                writer.write(part)
                await asyncio.sleep(0.02)
            async with asyncio.timeout(5):
                return await reader.read()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Connect a client."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def listening(
    handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    *,
    head_seconds: float = 5,
    keep_alive_seconds: float = 5,
) -> AsyncIterator[Desk]:
    """Run a listener whose requests go to `handle`."""
    desk = Desk(0)

    async def noting(request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request.protocol, Connection)
        desk.began.append(time.monotonic() - request.protocol.taken())
        try:
            return await handle(request)
        except (asyncio.CancelledError, ConnectionError):
            desk.left.set()
            raise

    def malformed(_: web.BaseRequest, error: BaseException | None) -> web.StreamResponse:
        desk.errors.append(error)
        return RawAnswer(400, "Bad", [(b"Content-Length", b"0")], keep_alive=False)

    listener = Listener()
    listener.settle(
        noting,
        malformed,
        head_seconds=head_seconds,
        keep_alive_seconds=keep_alive_seconds,
        header_bytes=1 << 16,
    )
    runner = web.ServerRunner(listener, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    desk.port = runner.addresses[0][1]
    try:
        yield desk
    finally:
        await runner.cleanup()


async def answer_hi(_: web.BaseRequest) -> web.StreamResponse:
    """Answer with two bytes."""
    return RawAnswer(200, "OK", list(LENGTH), body=b"hi")


async def wait(_: web.BaseRequest) -> web.StreamResponse:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError


class TestHeads:
    """A head is written as it is given; the framing is all that is added."""

    async def test_writes_what_it_is_given(self) -> None:
        """Status, reason and fields are those that were given, whatever their bytes and case."""

        async def handle(_: web.BaseRequest) -> web.StreamResponse:
            fields = [(b"x-A", b"\xff\xe9"), (b"X-a", b""), *LENGTH]
            return RawAnswer(299, "Odd \udce9", fields, body=b"hi")

        async with listening(handle) as desk:
            got = await desk.ask(LAST)

        head = b"HTTP/1.1 299 Odd \xe9\r\nx-A: \xff\xe9\r\nX-a: \r\nContent-Length: 2\r\n"
        assert head + b"Connection: close\r\n\r\nhi" == got

    @pytest.mark.parametrize(
        ("request_", "status", "fields", "expected"),
        [
            (LAST, 200, [], b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
            (b"GET / HTTP/1.0\r\n\r\n", 200, [], b"Connection: close\r\n\r\nhi"),
            (LAST.replace(b"GET", b"HEAD"), 200, [], b"Connection: close\r\n\r\n"),
            (LAST.replace(b"GET", b"HEAD"), 200, LENGTH, b"Content-Length: 2\r\nConnection: close\r\n\r\n"),
            (LAST, 204, [], b"Connection: close\r\n\r\n"),
            (LAST, 304, LENGTH, b"Content-Length: 2\r\nConnection: close\r\n\r\n"),
        ],
        ids=["chunked", "until the end", "head", "head with length", "no content", "not modified"],
    )
    async def test_frames_answers(
        self, request_: bytes, status: int, fields: list[tuple[bytes, bytes]], expected: bytes
    ) -> None:
        """A body without a length is chunked, or ends with an old client's connection; some have none."""

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            out = RawAnswer(status, "X", list(fields))
            await out.prepare(request)
            if status == 200 and request.method != "HEAD":
                await out.write(b"hi")
            await out.write_eof()
            return out

        async with listening(handle) as desk:
            got = await desk.ask(request_)

        version = b"HTTP/1.0" if b"HTTP/1.0" in request_ else b"HTTP/1.1"
        assert version + b" %d X\r\n" % status + expected == got

    async def test_keeps_connections(self) -> None:
        """Requests on one connection are answered in turn, pipelined ones too, and old clients may ask so."""
        async with listening(answer_hi) as desk:
            many = await desk.ask(GET * 99 + LAST)
            kept = await desk.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", LAST)

        assert 100 == many.count(b"HTTP/1.1 200 OK\r\n")
        assert kept.startswith(
            b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhiHTTP/1.1"
        )

    async def test_lets_others_go_on_between_requests(self) -> None:
        """Between requests that have come together the loop turns, though none of them waits for anything."""
        turns = 0
        served: list[int] = []

        def turn() -> None:
            nonlocal turns
            turns += 1
            asyncio.get_running_loop().call_soon(turn)

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            served.append(turns)
            return await answer_hi(request)

        async with listening(handle) as desk:
            turn()
            await desk.ask(GET * 9 + LAST)

        assert 10 == len(set(served))

    async def test_drops_a_body_that_somebody_was_reading(self) -> None:
        """A connection goes on although whoever read its body was told to stop as the answer was given."""

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            reading = asyncio.create_task(request.content.readany())
            await asyncio.sleep(0)
            reading.cancel()
            return await answer_hi(request)

        head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n"
        async with listening(handle) as desk:
            got = await desk.ask(head, b"left", LAST)

        assert 2 == got.count(b"HTTP/1.1 200 OK\r\n")

    async def test_leaves_bodies_compressed(self) -> None:
        """A request's body is read as it came."""
        packed = gzip.compress(b"x" * 1000)
        came: list[bytes] = []

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            came.append(await request.content.read())
            return await answer_hi(request)

        head = b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Encoding: gzip\r\n"
        async with listening(handle) as desk:
            await desk.ask(head + b"Content-Length: %d\r\n\r\n" % len(packed) + packed)

        assert [packed] == came

    def test_makes_errors_as_openai_does(self) -> None:
        """An error of Meter's own has the OpenAI shape."""
        expected = b'{"error":{"message":"m","type":"meter_error","param":null,"code":"c"}}'
        assert expected == error_body("m", "c")


class TestSwitching:
    """A connection that stops speaking HTTP."""

    async def test_speaks_no_http(self) -> None:
        """The head says what it is told to and no more, and what comes is given as it came."""
        came = asyncio.Event()
        told: list[object] = []

        async def switch(request: web.BaseRequest) -> web.StreamResponse:
            assert isinstance(request.protocol, Connection)
            assert request.protocol.may_switch
            out = RawAnswer(101, "Off We Go", [(b"Upgrade", b"websocket")])
            await out.prepare(request)
            end = End(request.protocol)
            end.on_data, end.on_over = told.append, came.set
            end.open()
            end.send(b"hello")
            await came.wait()
            return out

        asks = b"GET /x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        async with listening(switch) as desk, desk.connected() as (reader, writer):
            writer.write(asks + b"GET ")
            assert b"HTTP/1.1 101 Off We Go\r\nUpgrade: websocket\r\n\r\nhello" == await reader.readuntil(
                b"lo"
            )
            writer.write(b"\xff\r\n\r\n")
            writer.write_eof()

            assert b"" == await reader.read()
        assert b"GET \xff\r\n\r\n" == b"".join(piece for piece in told if isinstance(piece, bytes))


class TestBreakingOff:
    """A broken answer looks broken, after what was written of it."""

    @pytest.mark.parametrize(
        ("request_", "fields", "clean"),
        [
            (LAST, [], True),
            (LAST, [(b"Content-Length", b"9")], True),
            (b"GET / HTTP/1.0\r\n\r\n", [], False),
        ],
        ids=["chunked", "sized", "until the end"],
    )
    async def test_looks_broken(
        self, request_: bytes, fields: list[tuple[bytes, bytes]], *, clean: bool
    ) -> None:
        """Nothing forges an end: the last chunk or bytes are missing, or the connection is reset."""

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            out = RawAnswer(200, "OK", list(fields))
            await out.prepare(request)
            await out.write(b"hi")
            await asyncio.sleep(0.02)
            out.break_off()
            raise ConnectionAbortedError

        async with listening(handle) as desk:
            if clean:
                got = await desk.ask(request_)
                assert b"hi" in got
                assert not got.endswith(b"0\r\n\r\n")
            else:
                with pytest.raises(ConnectionResetError):
                    await desk.ask(request_)

    async def test_is_not_held_where_nothing_is_unsent(self) -> None:
        """A connection that is broken off and has sent all is let go of at once, not when patience ends."""
        left: list[weakref.ref[asyncio.BaseTransport]] = []

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            out = RawAnswer(200, "OK", [])
            await out.prepare(request)
            await out.write(b"hi")
            await asyncio.sleep(0.02)
            assert request.transport is not None
            left.append(weakref.ref(request.transport))
            out.break_off()
            raise ConnectionAbortedError

        async with listening(handle) as desk:
            await desk.ask(GET)
            await asyncio.sleep(0.02)
            gc.collect()
            assert [None] == [transport() for transport in left]


class TestSlowClients:
    """A client that is slow with a head is not waited for."""

    @pytest.mark.parametrize("before", [b"", GET], ids=["first", "second"])
    async def test_gives_up_on_a_slow_head(self, before: bytes) -> None:
        """A head that does not come whole in time ends its connection, on a used connection too."""
        async with listening(answer_hi, head_seconds=0.1) as desk:
            parts = [before, b"GET /x HTTP/1.1\r\nHo"] if before else [b"GET /x HTTP/1.1\r\nHo"]
            got = await desk.ask(*parts)

        assert (b"HTTP/1.1 200 OK" in got) == bool(before)

    async def test_gives_up_on_an_idle_connection(self) -> None:
        """A connection that nothing comes on any more is closed."""
        async with listening(answer_hi, keep_alive_seconds=0.1) as desk:
            assert (await desk.ask(GET)).endswith(b"hi")

    async def test_starts_each_request_at_its_first_byte(self) -> None:
        """What is left of a body that nobody read is no part of the next request."""
        post = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n"
        async with listening(answer_hi, head_seconds=0.2) as desk, desk.connected() as (reader, writer):
            writer.write(post)
            await reader.readuntil(b"hi")
            writer.write(b"body")
            await asyncio.sleep(0.3)
            writer.write(LAST)
            got = await reader.read()

        assert got.endswith(b"hi")
        assert desk.began[1] < 0.2

    async def test_starts_a_request_that_comes_in_parts_at_its_first(self) -> None:
        """The time that a head took to come counts."""
        async with listening(answer_hi) as desk:
            await desk.ask(LAST[:10], LAST[10:])

        assert desk.began[0] >= 0.02


class TestNonsense:
    """What is no HTTP is answered at once, wherever it comes."""

    async def test_tells_nonsense(self) -> None:
        """A head that is no HTTP goes to `on_error`, and its connection ends."""
        async with listening(answer_hi) as desk:
            got = await desk.ask(b"no http\r\n\r\n")

        assert got.startswith(b"HTTP/1.0 400 Bad\r\n")
        assert 1 == len(desk.errors)
        assert [] == desk.began

    async def test_tells_nonsense_within_a_body(self) -> None:
        """Whoever reads a body that goes on as no HTTP hears of it at once."""

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            try:
                async with asyncio.timeout(2):
                    while await request.content.readany():
                        pass
            except web.RequestPayloadError:
                return RawAnswer(400, "Bad Body", [(b"Content-Length", b"0")], keep_alive=False)
            raise AssertionError

        head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"
        async with listening(handle) as desk:
            got = await desk.ask(head, b"zz\r\n")

        assert got.startswith(b"HTTP/1.1 400 Bad Body\r\n")


class TestLeaving:
    """A client that leaves is noticed at once."""

    @pytest.mark.parametrize("behind", [b"", GET, GET * 100], ids=["nothing", "one", "many"])
    async def test_notices_a_client_that_leaves(self, behind: bytes) -> None:
        """The handler is cancelled, however many requests are waiting behind its own."""
        async with listening(wait) as desk:
            async with desk.connected() as (_, writer):
                writer.write(GET + behind)
                await asyncio.sleep(0.05)
            async with asyncio.timeout(2):
                await desk.left.wait()

    async def test_notices_a_client_that_leaves_an_upload(self) -> None:
        """A client that is not being read from can leave too."""
        async with listening(wait) as desk:
            async with desk.connected() as (_, writer):
                writer.write(
                    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 3_000_000
                )
                await asyncio.sleep(0.05)
                no_linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
                writer.transport.abort()
            async with asyncio.timeout(2):
                await desk.left.wait()

    async def test_notices_a_client_that_leaves_unread_bytes(self) -> None:
        """A client that does not take its answer can leave too."""

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            out = RawAnswer(200, "OK", [])
            await out.prepare(request)
            while True:
                await out.write(b"x" * 65536)

        async with listening(handle) as desk:
            async with desk.connected() as (_, writer):
                writer.write(GET)
                await asyncio.sleep(0.05)
                writer.transport.abort()
            async with asyncio.timeout(2):
                await desk.left.wait()
