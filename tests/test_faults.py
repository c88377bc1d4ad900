"""What HTTP can do to an intermediary, over raw sockets: a row a case, what is sent and what comes of it.

Framing that could be read in two ways, odd heads both ways, answers that come too early, clients that leave
or do not listen, and upstreams that are deaf, cannot be found, or say less than they announced.
"""

from __future__ import annotations

import asyncio
import json
import select
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from stage import ask, post, running_house, says, until

from meter.settings import load
from meter.upstream import Client, TimedOutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stage import House, Scripted

CHAT = "/v1/chat/completions"
OK = b"HTTP/1.1 200 OK\r\n"
HI = OK + b"Content-Length: 2\r\n\r\nhi"
CLOSE = b"Connection: close\r\n"
GET = b"GET /v1/x HTTP/1.1\r\nHost: h\r\n" + CLOSE
POST = b"POST /v1/x HTTP/1.1\r\nHost: h\r\n" + CLOSE
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
HELD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"


@pytest.fixture
def front(scripted: Scripted) -> Iterator[House]:
    """Give Meter in front of a scripted upstream."""
    with running_house(scripted.url) as house:
        yield house


def connected(url: str) -> socket.socket:
    """Connect a client."""
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def no_linger(connection: socket.socket) -> None:
    """Let a connection be reset when it is closed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def answering(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Run an upstream that does with each connection as `serve` does, in a thread; yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def one(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                serve(connection)

        def run() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    threading.Thread(target=one, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def upload(url: str, head: bytes, size: int) -> bytes:
    """Send a request with so long a body, be it taken or not; return what comes back meanwhile."""
    came: list[bytes] = []
    with connected(url) as client:
        reading = threading.Thread(target=lambda: came.extend(iter(lambda: client.recv(9999), b"")))
        reading.start()
        with suppress(ConnectionError):
            client.sendall(head + b"Content-Length: %d\r\n\r\n" % size)
            for _ in range(size // 50_000):
                client.sendall(b"y" * 50_000)
        reading.join()
    return b"".join(came)


REFUSED = {
    "length and coding": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "coding twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding in a list": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "coding and identity": POST
    + b"Transfer-Encoding: chunked\r\nTransfer-encoding: identity\r\n\r\n0\r\n\r\n",
    "another coding": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "almost a coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "coding behind a control": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "space before colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "coding of nothing": POST + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    "coding in HTTP/1.0": b"POST /v1/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "length twice": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
    "length in a list": POST + b"Content-Length: 2, 2\r\n\r\nhi",
    "length with a sign": POST + b"Content-Length: +2\r\n\r\nhi",
    "length in hex": POST + b"Content-Length: 0x2\r\n\r\nhi",
    "length with an underscore": POST + b"Content-Length: 1_0\r\n\r\nhihihihihi",
    "length below 0": POST + b"Content-Length: -1\r\n\r\nhi",
    "length of nothing": POST + b"Content-Length:\r\n\r\n",
    "length beyond counting": POST + b"Content-Length: 99999999999999999999999\r\n\r\nhi",
    "chunk size with a prefix": CHUNKED + b"0x2\r\nhi\r\n0\r\n\r\n",
    "chunk size beyond counting": CHUNKED + b"fffffffffffffffff\r\nhi\r\n0\r\n\r\n",
    "chunk that is too long": CHUNKED + b"2\r\nhiXX0\r\n\r\n",
    "line feeds around chunks": CHUNKED + b"2\nhi\n0\n\n",
    "line feed in a chunk extension": CHUNKED + b"2;a\nhi\r\n0\r\n\r\n",
    "line feeds alone": GET.replace(b"\r\n", b"\n") + b"\n",
    "one line feed alone": GET + b"X: a\nY: b\r\n\r\n",
    "carriage return alone": GET + b"X: a\rb\r\n\r\n",
    "folded": GET + b"X: a\r\n b\r\n\r\n",
    "folded first": b"GET /v1/x HTTP/1.1\r\n Host: h\r\n\r\n",
    "nul in a value": GET + b"X: a\0b\r\n\r\n",
    "nul in a name": GET + b"X\0: a\r\n\r\n",
    "control in a value": GET + b"X: a\x01b\r\n\r\n",
    "space in a name": GET + b"X Y: a\r\n\r\n",
    "no name": GET + b": a\r\n\r\n",
    "no colon": GET + b"Xa\r\n\r\n",
    "name that is no token": GET + b"X\xe9: a\r\n\r\n",
    "no host": b"GET /v1/x HTTP/1.1\r\nConnection: close\r\n\r\n",
    "two hosts": GET + b"Host: i\r\n\r\n",
    "host of two words": b"GET /v1/x HTTP/1.1\r\nHost: a b\r\n\r\n",
    "host with a user": b"GET /v1/x HTTP/1.1\r\nHost: u@c\r\n\r\n",
    "version 0.9": b"GET /v1/x\r\n\r\n",
    "version 1.2": b"GET /v1/x HTTP/1.2\r\nHost: h\r\n\r\n",
    "version 2.0": b"GET /v1/x HTTP/2.0\r\nHost: h\r\n\r\n",
    "preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "target of two words": b"GET /v1/x y HTTP/1.1\r\nHost: h\r\n\r\n",
    "target that is no text": b"GET /v1/\xff HTTP/1.1\r\nHost: h\r\n\r\n",
    "target of another kind": b"GET @h/x HTTP/1.1\r\nHost: h\r\n\r\n",
    "many fields": GET + b"".join(b"X-%d: v\r\n" % i for i in range(1100)) + b"\r\n",
}


class TestRequests:
    """What a client says is passed on as it is, or not at all."""

    def test_refuses_what_could_be_read_in_two_ways(self, front: House, scripted: Scripted) -> None:
        """What is malformed or ambiguous gets 400 and ends its connection, and none of it goes up."""
        scripted.script = says(HI)
        for name, request in REFUSED.items():
            head, body = ask(front.url, request)

            assert (name, b"400") == (name, head.split(b" ")[1])
            assert (name, "bad_request") == (name, json.loads(body)["error"]["code"])

        assert [] == scripted.requests
        assert [] == front.lines("library")

    @pytest.mark.parametrize(
        ("request_", "sent"),
        [
            (
                b"GET /v1/x HTTP/1.1\r\nX-a: 1\r\nhOST: h\r\nx-A: caf\xe9\r\nX-A: \xc3\xa9\r\nx-a:\r\n\r\n",
                b"GET /v1/x HTTP/1.1\r\nX-a: 1\r\nhOST: %s\r\nx-A: caf\xe9\r\nX-A: \xc3\xa9\r\nx-a: \r\n\r\n",
            ),
            (b"GET /v1/x HTTP/1.0\r\nX: 1\r\n\r\n", b"GET /v1/x HTTP/1.1\r\nHost: %s\r\nX: 1\r\n\r\n"),
            (
                b"GET /v1/x HTTP/1.1\r\nHost: h\r\nConnection: x-foo, host\r\nX-Foo: 1\r\nX-Bar: 1\r\n\r\n",
                b"GET /v1/x HTTP/1.1\r\nHost: %s\r\nX-Bar: 1\r\n\r\n",
            ),
            (
                POST[:-2] + b", Content-Length\r\nContent-Length: 2\r\n\r\nhi",
                b"POST /v1/x HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\nhi",
            ),
            (
                POST + b"Transfer-Encoding:\tCHUNKED\r\nX: 1\r\n\r\n2;a=b\r\nhi\r\n0\r\nX-T: 1\r\n\r\n",
                b"POST /v1/x HTTP/1.1\r\nHost: %s\r\nX: 1\r\nTransfer-Encoding: chunked\r\n\r\nhi",
            ),
            (
                b"GET /v1/x HTTP/1.1\r\nHost: h\r\nContent-Length: 02\r\nX_Y: 1\r\n\r\nhi",
                b"GET /v1/x HTTP/1.1\r\nHost: %s\r\nContent-Length: 02\r\nX_Y: 1\r\n\r\nhi",
            ),
            (
                b'GET /v1/%2F%2e%2E/.././/%zz|"<>`{}^\\?a=%&b=[]#?x HTTP/1.1\r\nHost: h\r\n\r\n',
                b'GET /v1/%%2F%%2e%%2E/.././/%%zz|"<>`{}^\\?a=%%&b=[]#?x HTTP/1.1\r\nHost: %s\r\n\r\n',
            ),
            (
                b"GET http://u:p@elsewhere.example:81/v1/x? HTTP/1.1\r\nHost: h\r\n\r\n",
                b"GET /v1/x? HTTP/1.1\r\nHost: %s\r\n\r\n",
            ),
            (
                b"GET //e.example/v1 HTTP/1.1\r\nHost: h\r\n\r\n",
                b"GET /v1//e.example/v1 HTTP/1.1\r\nHost: %s\r\n\r\n",
            ),
            (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost: %s\r\n\r\n"),
            (
                b"GET /v1/x HTTP/1.1\r\nHost: h\r\n" + b"X-A: v\r\nx-a: w\r\n" * 500 + b"\r\n",
                b"GET /v1/x HTTP/1.1\r\nHost: %s\r\n" + b"X-A: v\r\nx-a: w\r\n" * 500 + b"\r\n",
            ),
        ],
        ids=[
            "spelling and order",
            "without a host",
            "nominated",
            "nominated length",
            "trailers",
            "leading zero",
            "odd target",
            "absolute",
            "two slashes",
            "asterisk",
            "many fields",
        ],
    )
    def test_carries(self, front: House, scripted: Scripted, request_: bytes, sent: bytes) -> None:
        """What goes up is what came, but for what is the connection's own and what Host says."""
        scripted.script = says(HI)
        with connected(front.url) as client:
            client.sendall(request_)
            until(lambda: scripted.requests)

        assert [sent % scripted.url.removeprefix("http://").encode()] == scripted.requests

    def test_answers_pipelined_requests_in_turn(self, front: House, scripted: Scripted) -> None:
        """Requests that come at once are passed on one by one, and answered in their order."""

        async def script(request: bytes, writer: asyncio.StreamWriter) -> None:
            path = request.split(b" ")[1]
            await says(OK + b"Content-Length: %d\r\n\r\n%s" % (len(path), path))(request, writer)

        scripted.script = script
        first = POST.replace(CLOSE, b"") + b"Content-Length: 2\r\n\r\nhi"
        came = b"\r\n\r\n".join(ask(front.url, first + GET.replace(b"/x", b"/y") + b"\r\n"))

        assert came.index(b"\r\n\r\n/v1/x") < came.index(b"\r\n\r\n/v1/y")
        assert [b"POST", b"GET "] == [request[:4] for request in scripted.requests]

    def test_limits_whole_heads(self, front: House, scripted: Scripted) -> None:
        """Of a head without end no more is taken than 16 times `limits.header_bytes`."""
        scripted.script = says(HI)
        field = b"X: " + b"v" * 60_000 + b"\r\n"
        # The answer may be lost to the reset, but not the end.
        with connected(front.url) as client, suppress(ConnectionError):
            client.sendall(b"GET /v1/x HTTP/1.1\r\nHost: h\r\n")
            for _ in range(900):
                client.sendall(field)
            assert b" 400 " in client.recv(65536)

        assert [400] == [line["status"] for line in until(front.lines)]
        assert [] == scripted.requests

    def test_goes_no_further(self, front: House, scripted: Scripted) -> None:
        """OPTIONS with `Max-Forwards: 0` stays here."""
        scripted.script = says(HI)
        for forwards, status in (b"0", b"405"), (b"1", b"200"):
            head, _ = ask(front.url, GET.replace(b"GET", b"OPTIONS") + b"Max-Forwards: %s\r\n\r\n" % forwards)

            assert status == head.split(b" ")[1]
        assert 1 == len(scripted.requests)

    @pytest.mark.parametrize(
        ("path", "status"), [("/none", b"404"), ("/up/v1/x", b"413")], ids=["unknown", "too long"]
    )
    def test_refuses_before_it_says_continue(self, scripted: Scripted, path: str, status: bytes) -> None:
        """Who asks first whether a body is welcome hears of a refusal instead of 100."""
        upstreams = [{"name": "up", "base_url": scripted.url, "prefix": "/up"}]
        with running_house(scripted.url, upstreams=upstreams, limits={"body_bytes": "1kB"}) as house:
            head = b"POST %s HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5000\r\n\r\n"
            with connected(house.url) as client:
                client.sendall(head % path.encode())

                assert status == client.recv(65536).split(b" ")[1]
        assert [] == scripted.requests


class TestAnswers:
    """What an upstream says is passed on as it is, or not at all."""

    @pytest.mark.parametrize(
        ("request_", "answer", "came"),
        [
            (GET, b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", b"HTTP/1.1 200 \r\nContent-Length: 2|hi"),
            (
                GET,
                b"HTTP/1.1 299 \xe9\r\nContent-Length: 0\r\n\r\n",
                b"HTTP/1.1 299 \xe9\r\nContent-Length: 0|",
            ),
            (
                GET,
                OK + b"Set-Cookie: a=\xe9\r\nset-cookie: b\r\nX:\r\nContent-Length: 2\r\n\r\nhi",
                OK + b"Set-Cookie: a=\xe9\r\nset-cookie: b\r\nX: \r\nContent-Length: 2|hi",
            ),
            (
                GET,
                OK
                + b"Connection: X-Foo\r\nX-Foo: 1\r\nKeep-Alive: 5\r\nTE: x\r\nContent-Length: 2\r\n\r\nhi",
                OK + b"Content-Length: 2|hi",
            ),
            (
                GET,
                b"HTTP/1.1 102 Wait\r\nX: 1\r\n\r\nHTTP/1.1 103 Early\r\nLink: a\r\n\r\n" + HI,
                OK + b"Content-Length: 2|hi",
            ),
            (
                POST + b"Content-Length: 2\r\n",
                b"HTTP/1.1 100 Continue\r\n\r\n" + HI,
                OK + b"Content-Length: 2|hi",
            ),
            (
                GET,
                OK + b"Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nhi\r\n0\r\nX-T: 1\r\n\r\n",
                OK + b"Transfer-Encoding: chunked|2\r\nhi\r\n0\r\n\r\n",
            ),
            (GET, b"HTTP/1.0 200 OK\r\n\r\nhi", OK + b"Transfer-Encoding: chunked|2\r\nhi\r\n0\r\n\r\n"),
            (GET.replace(b"GET", b"HEAD"), OK + b"Content-Length: 50\r\n\r\n", OK + b"Content-Length: 50|"),
            (GET.replace(b"GET", b"HEAD"), OK + b"Transfer-Encoding: chunked\r\n\r\n", OK[:-2] + b"|"),
            (GET, b"HTTP/1.1 204 Empty\r\n\r\n", b"HTTP/1.1 204 Empty|"),
            (
                GET,
                b"HTTP/1.1 304 Same\r\nContent-Length: 50\r\nETag: x\r\n\r\n",
                b"HTTP/1.1 304 Same\r\nContent-Length: 50\r\nETag: x|",
            ),
            (GET, OK + b"Content-Length: 20\r\n\r\nhi", OK + b"Content-Length: 20|hi"),
            (
                GET,
                OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
                OK + b"Transfer-Encoding: chunked|2\r\nhi\r\n",
            ),
        ],
        ids=[
            "no reason",
            "reason that is no text",
            "fields",
            "nominated",
            "interim",
            "continue",
            "trailers",
            "until the end",
            "HEAD with a length",
            "HEAD in chunks",
            "204",
            "304",
            "short",
            "no last chunk",
        ],
    )
    def test_carries(self, scripted: Scripted, request_: bytes, answer: bytes, came: bytes) -> None:
        """What comes down is what was said, its end visible, but for what is the connection's own."""
        scripted.script = says(answer)
        with running_house(scripted.url, response_headers={"id": False}) as house:
            head, body = ask(house.url, request_ + b"\r\n" + b"hi" * (request_[:4] == b"POST"))

        assert came == head.removesuffix(b"\r\nConnection: close") + b"|" + body

    @pytest.mark.parametrize(
        "answer",
        [
            OK + b"Content-Length: 2, 2\r\n\r\nhi",
            OK + b"Content-Length: -2\r\n\r\nhi",
            OK + b"X\xe9: a\r\nContent-Length: 2\r\n\r\nhi",
            OK + b"Transfer-Encoding:\r\n\r\nhi",
            b"HTTP/1.1 1000 Odd\r\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.1 204 Empty\r\nContent-Length: 2\r\n\r\nhi",
            b"hi there",
            OK + b"Content-",
            b"",
        ],
        ids=[
            "list",
            "below 0",
            "name",
            "coding",
            "status",
            "body of 204",
            "no head",
            "half a head",
            "nothing",
        ],
    )
    def test_refuses(self, front: House, scripted: Scripted, answer: bytes) -> None:
        """An answer that is no HTTP, or none, is 502, and the request is not sent again."""
        scripted.script = says(answer)
        head, body = ask(front.url, post(CHAT, b"{}"))

        assert b"502" == head.split(b" ")[1]
        assert "unreachable" == json.loads(body)["error"]["code"]
        assert 1 == len(scripted.requests)

    @pytest.mark.parametrize("end", ["reset", "close", "half close", "stay"])
    @pytest.mark.parametrize("head", [POST, HELD + CLOSE], ids=["streamed", "held"])
    def test_carries_an_early_answer(self, head: bytes, end: str) -> None:
        """An answer that comes before the request's end is passed on, be its connection broken or not."""
        said = b"HTTP/1.1 413 No\r\nContent-Length: 4\r\n" + CLOSE + b"\r\nlong"

        def serve(connection: socket.socket) -> None:
            connection.recv(300)
            connection.sendall(said)
            if end == "reset":
                no_linger(connection)
            if end == "half close":
                connection.shutdown(socket.SHUT_WR)
            while end in ("half close", "stay") and connection.recv(65536):
                pass

        with answering(serve) as url, running_house(url, response_headers={"id": False}) as house:
            for _ in range(3):
                assert said == upload(house.url, head, 4_000_000)
            until(lambda: len(house.lines()) == 3)
            assert {("client_error", 413)} == {(line["outcome"], line["status"]) for line in house.lines()}
            assert [] == house.lines("library")


SSE = OK + b"Content-Type: text/event-stream\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
WEBSOCKET = b"GET /v1/realtime HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
ASK = HELD + b"Content-Length: 2\r\n\r\n{}"
UPLOAD = POST.replace(CLOSE, b"") + b"Content-Length: 99999999\r\n\r\n"


class TestLeaving:
    """Nothing goes on for a client that has left, and nothing is held for one that does not listen."""

    @pytest.mark.parametrize("how", ["end", "reset"])
    @pytest.mark.parametrize("drain", ["cancel", "drain"])
    @pytest.mark.parametrize(
        ("asked", "said", "upload"),
        [
            (UPLOAD, b"", b"y" * 10_000),
            (UPLOAD, None, b"y" * 500_000),
            (ASK, b"", b""),
            (ASK + ASK * 50, b"", b""),
            (ASK, SSE, b""),
            (ASK, SSE + b"data: 1\n\n", b""),
            (WEBSOCKET, b"", b""),
            (WEBSOCKET, SWITCH, b""),
        ],
        ids=["upload", "deaf", "no head", "pipelined", "head", "silent", "before a switch", "tunnel"],
    )
    def test_takes_the_upstream_along(
        self, *, asked: bytes, said: bytes | None, upload: bytes, drain: str, how: str
    ) -> None:
        """A client that leaves ends the upstream call, wherever that is; in a while where it is drained."""
        reached, ended = threading.Event(), threading.Event()

        def serve(connection: socket.socket) -> None:
            connection.recv(100)
            connection.sendall(said or b"")
            reached.set()
            with suppress(ConnectionError):
                if said is None:
                    poll = select.poll()
                    poll.register(connection.fileno(), getattr(select, "POLLRDHUP", 0))
                    poll.poll()
                while connection.recv(65536):
                    pass
            ended.set()

        with answering(serve) as url:
            up = {"name": "up", "base_url": url, "default": True, "on_client_disconnect": drain}
            with running_house(url, upstreams=[up | {"drain": {"seconds": "200ms"}}]) as house:
                with connected(house.url) as client:
                    client.sendall(asked)
                    client.setblocking(False)
                    for at in range(0, len(upload), 100_000):
                        with suppress(BlockingIOError):
                            client.send(upload[at : at + 100_000])
                    assert reached.wait(5)
                    if said:
                        client.setblocking(True)
                        client.recv(100)
                    if how == "reset":
                        no_linger(client)

                assert ended.wait(5)
                assert "client_closed" == until(house.lines)[0]["outcome"]
                assert 0 == house.value("meter_requests_in_flight") == house.value("meter_drains_in_flight")

    def test_does_not_run_ahead_of_who_does_not_read(self) -> None:
        """Of an endless answer no more is taken than buffers hold, and others are served meanwhile."""
        taken = []

        def serve(connection: socket.socket) -> None:
            if b"endless" in connection.recv(9999):
                connection.sendall(SSE)
                while True:
                    taken.append(connection.send(b"data: 1\n\n" * 5000))
            connection.sendall(HI)

        def steady() -> bool:
            before = len(taken)
            threading.Event().wait(0.2)
            return before == len(taken) > 0

        with answering(serve) as url, running_house(url) as house, connected(house.url) as client:
            client.sendall(b"GET /v1/endless HTTP/1.1\r\nHost: h\r\n\r\n")
            until(steady)

            assert sum(taken) < 24 << 20
            assert b"hi" == ask(house.url, GET + b"\r\n")[1]


class TestUpstreams:
    """An upstream that is not there is not waited for."""

    def test_goes_through_a_proxy(self, scripted: Scripted) -> None:
        """A proxy on the way is told where to, and the password that was set for it, not the client's."""
        scripted.script = says(HI)
        proxy = scripted.url.replace("http://", "http://u:p@")
        up = {"name": "up", "base_url": "http://elsewhere.example:81/v1", "default": True, "proxy": proxy}
        with running_house(scripted.url, upstreams=[up]) as house:
            assert b"hi" == ask(house.url, GET + b"Proxy-Authorization: Basic mine\r\nX-A: \xe9\r\n\r\n")[1]

        head = b"GET http://elsewhere.example:81/v1/x HTTP/1.1\r\nHost: elsewhere.example:81\r\nX-A: \xe9\r\n"
        assert [head + b"Proxy-Authorization: Basic dTpw\r\n\r\n"] == scripted.requests

    async def test_looks_a_name_up_for_so_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A name that is not found within `timeouts.connect` is a connection that was not made in time."""
        released = threading.Event()

        def hang(*_: object, **__: object) -> None:
            released.wait(10)

        monkeypatch.setattr(socket, "getaddrinfo", hang)
        url = "http://hangs.invalid"
        told = {"upstreams": [{"name": "up", "base_url": url, "default": True}]}
        try:
            async with Client(load(None, told | {"timeouts": {"connect": "50ms"}}, environ={})) as client:
                with pytest.raises(TimedOutError) as caught:
                    async with asyncio.timeout(5):
                        await client.send("up", "GET", url, "/x", fields=[], body=None)
        finally:
            released.set()

        assert caught.value.connecting
