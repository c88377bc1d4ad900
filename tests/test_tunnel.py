"""WebSockets through Meter: the real library on both sides, and raw sockets for what it would not do."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from stage import Loop, ask, running_house, until
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection, connect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from stage import House
    from websockets.asyncio.server import ServerConnection

REALTIME = "/v1/realtime?model=gpt-realtime"
OTHER = "/v1/anything"
PATHS = pytest.mark.parametrize("path", [REALTIME, OTHER])


@contextmanager
def library(script: Callable[[ServerConnection], Awaitable[None]], **options: Any) -> Iterator[str]:
    """Run a WebSocket server of the library's; yield its URL."""
    loop = Loop()

    async def start() -> Any:
        return await serve(script, "127.0.0.1", 0, max_size=None, ping_interval=None, **options)

    async def stop() -> None:
        server.close()
        await server.wait_closed()

    server = loop.run(start())
    try:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
    finally:
        loop.run(stop())
        loop.close()


def dial(house: House, path: str = OTHER, **options: Any) -> ClientConnection:
    """Open a WebSocket through Meter."""
    url = house.url.replace("http", "ws", 1) + path
    client: ClientConnection = connect(
        url, max_size=None, ping_interval=None, proxy=None, close_timeout=5, **options
    )
    return client


def recorded(house: House, count: int = 1) -> list[dict[str, Any]]:
    """Return the log lines of so many exchanges, once they are there."""
    until(lambda: len(house.lines()) >= count)
    time.sleep(0.01)
    lines = house.lines()
    assert count == len(lines)
    return lines


async def echo(server: ServerConnection) -> None:
    """Say again what the client says."""
    with suppress(ConnectionClosed):
        async for message in server:
            await server.send(message)


@PATHS
@pytest.mark.parametrize("compression", [None, "deflate"])
class TestLibrary:
    """What works without Meter works through it."""

    def test_carries_messages(self, path: str, compression: str | None) -> None:
        """Text, binary, empty, long and fragmented messages arrive as they were sent, both ways."""
        long = os.urandom(5_000_000)
        messages: list[str | bytes] = ["word", "", b"", b"\x00\xff", "wörd" * 100_000, long, "x" * 5_000_000]
        with library(echo, compression=compression) as url, running_house(url) as house:
            with dial(house, path, compression=compression) as client:
                for message in messages:
                    client.send(message)
                    assert message == client.recv(timeout=20)
                client.send(["a", "", "b" * 100_000])
                assert "a" + "b" * 100_000 == client.recv(timeout=20)
            [line] = recorded(house)

        assert ("ok", 101, True, "none") == (
            line["outcome"],
            line["status"],
            line["stream"],
            line["usage_source"],
        )

    def test_carries_pings(self, path: str, compression: str | None) -> None:
        """Pings reach the other side, and their pongs come back, both ways."""
        answered = threading.Event()

        async def pings(server: ServerConnection) -> None:
            await (await server.ping(b"server"))
            answered.set()
            await server.wait_closed()

        with (
            library(pings, compression=compression) as url,
            running_house(url) as house,
            dial(house, path, compression=compression) as client,
        ):
            assert client.ping(b"client").wait(10)
            assert answered.wait(10)

    @pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "going"), (4001, "own wörds")])
    def test_carries_close_codes(self, path: str, compression: str | None, code: int, reason: str) -> None:
        """A close frame's code and reason reach the other side, whichever says it."""
        came: list[tuple[int | None, str | None]] = []

        async def closes(server: ServerConnection) -> None:
            if await server.recv() == "you":
                await server.close(code, reason)
            else:
                await server.wait_closed()
                came.append((server.close_code, server.close_reason))

        with library(closes, compression=compression) as url, running_house(url) as house:
            with dial(house, path, compression=compression) as client:
                client.send("you")
                with pytest.raises(ConnectionClosed):
                    client.recv(timeout=10)
                assert (code, reason) == (client.close_code, client.close_reason)
            with dial(house, path, compression=compression) as client:
                client.send("me")
                client.close(code, reason)
            assert [(code, reason)] == until(lambda: came)
            lines = recorded(house, 2)

        assert ["ok", "ok"] == [line["outcome"] for line in lines]


class TestHandshake:
    """What is said before protocols switch, or instead."""

    def test_agrees_on_a_sub_protocol(self) -> None:
        """Sub-protocols pass, and one that is a credential says who calls."""
        protocols: Any = ["realtime", "openai-insecure-api-key.sk-user"]
        with (
            library(echo, subprotocols=protocols[:1]) as url,
            running_house(url) as house,
            dial(house, subprotocols=protocols) as client,
        ):
            assert "realtime" == client.subprotocol
            client.close()
            [line] = recorded(house)

        assert line["key"].startswith("k_")

    @pytest.mark.parametrize(("status", "outcome"), [(401, "client_error"), (503, "upstream_error")])
    def test_passes_a_refusal(self, status: int, outcome: str) -> None:
        """An upstream that does not switch has its answer passed, with its body."""

        def refuse(server: ServerConnection, _: Any) -> Any:
            response = server.respond(status, '{"error":{"code":"invalid_api_key"}}')
            response.headers["X-A"] = "b"
            return response

        with library(echo, process_request=refuse) as url, running_house(url) as house:
            with pytest.raises(InvalidStatus) as caught:
                dial(house, REALTIME)
            line = house.line(caught.value.response.headers["x-meter-id"])

        response = caught.value.response
        assert (status, b'{"error":{"code":"invalid_api_key"}}', "b") == (
            response.status_code,
            response.body,
            response.headers["x-a"],
        )
        assert ("realtime", outcome, status, "gpt-realtime", False) == (
            line["operation"],
            line["outcome"],
            line["status"],
            line["model"],
            line["stream"],
        )


# Raw sockets.

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def upgrade(path: str = OTHER, *fields: str, protocol: str = "websocket", method: str = "GET") -> bytes:
    """Return the head of a request that asks to switch."""
    own = (
        f"Upgrade: {protocol}",
        "Connection: keep-alive, Upgrade",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    )
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: meter", *own, *fields, "", ""]).encode()


def taken(end: socket.socket, until_: bytes = b"") -> bytes:
    """Return what comes until some bytes have come, or, of none, to its end."""
    came = b""
    while not (until_ and until_ in came):
        piece = end.recv(1 << 16)
        if not piece:
            break
        came += piece
    return came


def exactly(end: socket.socket, size: int) -> bytes:
    """Return the next bytes, so many."""
    came = bytearray()
    while len(came) < size:
        piece = end.recv(size - len(came))
        assert piece, f"only {len(came)} bytes of {size} came"
        came += piece
    return bytes(came)


def says_all(end: socket.socket, data: bytes) -> None:
    """Send bytes, and leave."""
    end.sendall(data)
    end.close()


def vanish(end: socket.socket) -> None:
    """Break a connection by a reset."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


@dataclass
class Line:
    """Both ends of a tunnel through Meter."""

    client: socket.socket
    upstream: socket.socket
    request: bytes
    """Head that reached the upstream."""
    answer: bytes
    """Head that reached the client."""


class Exchange:
    """A telephone exchange: Meter, and raw sockets on both sides of it."""

    def __init__(self, house: House, server: socket.socket) -> None:
        self.house = house
        self._server = server
        self._open: list[socket.socket] = []

    def connected(self) -> socket.socket:
        """Return a client's connection to Meter."""
        host, _, port = self.house.url.removeprefix("http://").partition(":")
        client = socket.create_connection((host, int(port)), timeout=20)
        self._open.append(client)
        return client

    def accepted(self) -> socket.socket:
        """Return Meter's next connection to the upstream."""
        upstream, _ = self._server.accept()
        upstream.settimeout(20)
        self._open.append(upstream)
        return upstream

    def asked(self, request: bytes) -> tuple[socket.socket, socket.socket, bytes]:
        """Send a request; return both ends, and the head that reached the upstream."""
        client = self.connected()
        client.sendall(request)
        upstream = self.accepted()
        return client, upstream, taken(upstream, b"\r\n\r\n")

    def joined(self, path: str = OTHER, *fields: str, switch: bytes = SWITCH) -> Line:
        """Open a tunnel."""
        client, upstream, request = self.asked(upgrade(path, *fields))
        upstream.sendall(switch)
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += exactly(client, 1)
        return Line(client, upstream, request, answer)

    def close(self) -> None:
        """Close what is open."""
        for each in self._open:
            each.close()


@contextmanager
def exchanging(**settings: Any) -> Iterator[Exchange]:
    """Run Meter in front of a raw socket."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        with running_house(f"http://127.0.0.1:{server.getsockname()[1]}", **settings) as house:
            exchange = Exchange(house, server)
            try:
                yield exchange
            finally:
                exchange.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[Exchange]:
    """Give one Meter for all tests that need no other."""
    with exchanging() as exchange:
        yield exchange


@pytest.fixture
def line(shared: Exchange) -> Line:
    """Give an open tunnel."""
    return shared.joined()


def last(exchange: Exchange, answer: bytes) -> dict[str, Any]:
    """Return the log line of the exchange whose answer had this head."""
    _, _, found = answer.lower().partition(b"x-meter-id: ")
    return exchange.house.line(found.partition(b"\r\n")[0].decode())


class TestHeads:
    """What reaches the other side when protocols switch."""

    def test_asks_for_what_was_asked(self, shared: Exchange) -> None:
        """The request goes up as it came, but for Host and what Connection names besides Upgrade."""
        fields = (
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-1",
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
            "Authorization: Bearer sk-2",
            "X-Mine: 1",
            "Keep-Alive: timeout=5",
            "OpenAI-Beta: realtime=v1",
        )
        request = upgrade("/v1/realtime?model=a%2Fb&x=%20", *fields).replace(
            b"Upgrade\r\n", b"upgrade, x-mine\r\n"
        )
        client, upstream, head = shared.asked(request)
        vanish(client)
        vanish(upstream)

        lines = head.decode().split("\r\n")
        assert "GET /v1/realtime?model=a%2Fb&x=%20 HTTP/1.1" == lines[0]
        kept = [line for line in lines[1:-2] if not line.startswith("Host: ")]
        assert [
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            *fields[:4],
            fields[6],
        ] == kept
        assert f"Host: {shared.house.upstream_url.removeprefix('http://')}" in lines

    def test_answers_as_the_upstream_does(self, shared: Exchange) -> None:
        """The answer's head reaches the client as it came, with the exchange's id added."""
        switch = (
            b"HTTP/1.1 101 Web Socket\r\nupgrade: WebSocket\r\nConnection: upgrade\r\n"
            b"Sec-WebSocket-Accept: x\r\nX-A: \xff\r\nx-a: 2\r\nKeep-Alive: 1\r\n\r\n"
        )
        line = shared.joined(switch=switch)

        head, _, added = line.answer.rpartition(b"x-meter-id: ")
        assert switch.replace(b": upgrade", b": Upgrade").replace(b"Keep-Alive: 1\r\n\r\n", b"") == head
        assert 36 == len(added.strip())

    @pytest.mark.parametrize(
        ("request_", "sent"),
        [
            (upgrade(protocol="h2c"), b"GET"),
            (upgrade(protocol="websocket, h2c"), b"GET"),
            (upgrade(OTHER, "Upgrade: h2c"), b"GET"),
            (upgrade(method="POST"), b"POST"),
            (upgrade().replace(b"HTTP/1.1", b"HTTP/1.0"), b"GET"),
            (upgrade().replace(b"keep-alive, Upgrade", b"keep-alive"), b"GET"),
            (upgrade(OTHER, "Content-Length: 2") + b"hi", b"GET"),
        ],
        ids=["h2c", "two", "two fields", "POST", "1.0", "not named", "with a body"],
    )
    def test_leaves_other_upgrades_at_home(self, shared: Exchange, request_: bytes, sent: bytes) -> None:
        """What is no plain asking for a WebSocket is a request like any other."""
        client, upstream, head = shared.asked(request_)
        upstream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")

        assert head.startswith(sent + b" /v1/anything HTTP/1.1\r\n")
        assert b"upgrade" not in head.lower()
        assert b" 200 OK\r\n" in taken(client, b"hi")

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
            b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
            b"HTTP/1.1 426 No\r\nUpgrade: h2c\r\nConnection: upgrade, close\r\nContent-Length: 2\r\n\r\nhi",
        ],
    )
    def test_closes_behind_a_refusal(self, shared: Exchange, answer: bytes) -> None:
        """Where the upstream does not switch, what came behind the request is never taken for another."""
        client, upstream, _ = shared.asked(upgrade() + b"GET /v1/smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
        upstream.sendall(answer)
        came = taken(client)

        assert came.startswith(answer.partition(b"\r\n")[0])
        assert 1 == came.count(b"HTTP/1.1 ")
        assert b"Connection: close\r\n" in came
        assert b"hi" in came

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n",
            SWITCH.replace(b"websocket", b"h2c"),
            SWITCH.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ],
        ids=["bare", "not named", "to nothing", "to another", "chunked"],
    )
    def test_refuses_another_switch(self, shared: Exchange, answer: bytes) -> None:
        """An upstream that switches to what was not asked for has given no answer."""
        client, upstream, _ = shared.asked(upgrade())
        upstream.sendall(answer)

        assert taken(client).startswith(b"HTTP/1.1 502 Bad Gateway\r\n")

    def test_refuses_a_switch_that_nobody_asked_for(self, shared: Exchange) -> None:
        """A request that asks for no switch gets none."""
        client, upstream, _ = shared.asked(b"GET /v1/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        upstream.sendall(SWITCH)

        assert taken(client).startswith(b"HTTP/1.1 502 Bad Gateway\r\n")


class TestBytes:
    """Once protocols have switched, bytes are bytes."""

    @PATHS
    def test_changes_nothing(self, shared: Exchange, path: str) -> None:
        """Whatever is said, WebSocket or not, arrives bit for bit both ways."""
        line = shared.joined(path)
        for size in (1, 2, 1000, 300_000):
            there, back = os.urandom(size), os.urandom(size)
            line.client.sendall(there)
            line.upstream.sendall(back)
            assert there == exactly(line.upstream, size)
            assert back == exactly(line.client, size)

    def test_loses_nothing_behind_the_heads(self, shared: Exchange) -> None:
        """Bytes that come in one piece with the heads arrive behind them, however many there are."""
        early, late = os.urandom(400_000), os.urandom(400_000)
        client = shared.connected()
        sending = threading.Thread(target=client.sendall, args=(upgrade() + early,))
        sending.start()
        upstream = shared.accepted()
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += exactly(upstream, 1)
        replying = threading.Thread(target=upstream.sendall, args=(SWITCH + late,))
        replying.start()

        assert early == exactly(upstream, len(early))
        _, _, came = taken(client, b"\r\n\r\n").partition(b"\r\n\r\n")
        assert late == came + exactly(client, len(late) - len(came))
        sending.join()
        replying.join()

    @pytest.mark.parametrize("size", [0, 7, 200_000])
    def test_loses_nothing_of_who_leaves_at_once(self, shared: Exchange, size: int) -> None:
        """An upstream that switches, speaks and ends in one breath is heard out."""
        late = os.urandom(size)
        client, upstream, _ = shared.asked(upgrade())
        upstream.sendall(SWITCH + late)
        upstream.close()

        assert late == taken(client).partition(b"\r\n\r\n")[2]

    def test_carries_half_an_end(self, line: Line, shared: Exchange) -> None:
        """A side that says no more still hears what the other has to say, either way."""
        other = shared.joined()
        line.client.shutdown(socket.SHUT_WR)
        assert b"" == line.upstream.recv(1)
        other.upstream.shutdown(socket.SHUT_WR)
        assert b"" == other.client.recv(1)
        data = os.urandom(3_000_000)
        for sender, receiver in ((line.upstream, line.client), (other.client, other.upstream)):
            sending = threading.Thread(target=says_all, args=(sender, data))
            sending.start()
            assert data == taken(receiver)
            sending.join()
        assert ["ok", "ok"] == [last(shared, each.answer)["outcome"] for each in (line, other)]

    def test_carries_resets(self, line: Line, shared: Exchange) -> None:
        """A side that breaks breaks the other, either way."""
        other = shared.joined()
        vanish(line.client)
        with pytest.raises(ConnectionResetError):
            taken(line.upstream)
        vanish(other.upstream)
        with pytest.raises(ConnectionResetError):
            taken(other.client)

        assert ["client_closed", "truncated"] == [
            last(shared, each.answer)["outcome"] for each in (line, other)
        ]

    def test_does_not_wait_for_who_has_left(self, line: Line, shared: Exchange) -> None:
        """A client that has left in silence is heard of by the next thing that it is told."""
        line.client.close()
        assert b"" == line.upstream.recv(1)
        until(lambda: _is_refused(line.upstream))

        assert "ok" == last(shared, line.answer)["outcome"]

    @pytest.mark.parametrize("direction", ["up", "down"])
    def test_holds_back(self, line: Line, direction: str) -> None:
        """A side that does not listen slows the other down; nothing piles up, and nothing is lost."""
        sender, receiver = (line.client, line.upstream) if direction == "up" else (line.upstream, line.client)
        piece = os.urandom(1 << 16)
        sender.setblocking(False)
        sent, stuck = 0, 0
        while stuck < 50 and sent < 64 << 20:
            try:
                sent += sender.send(piece[sent % len(piece) :])
                stuck = 0
            except BlockingIOError:
                stuck += 1
                time.sleep(0.01)
        assert sent < 24 << 20
        sender.setblocking(True)
        sender.shutdown(socket.SHUT_WR)
        came = taken(receiver)

        assert (piece * (sent // len(piece) + 1))[:sent] == came

    def test_notices_a_break_while_it_holds_back(self, shared: Exchange, line: Line) -> None:
        """A client that breaks while nothing is read from it is noticed all the same."""
        line.client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            line.client.sendall(bytes(64 << 20))
        vanish(line.client)

        assert "client_closed" == last(shared, line.answer)["outcome"]

    def test_counts_bytes(self, shared: Exchange) -> None:
        """The record has how many bytes went each way."""
        line = shared.joined()
        line.client.sendall(b"x" * 300)
        line.upstream.sendall(b"y" * 700)
        exactly(line.upstream, 300)
        exactly(line.client, 700)
        line.client.close()
        line.upstream.close()

        told = last(shared, line.answer)
        assert (300, 700) == (told["request_bytes"], told["response_bytes"])

    def test_never_uses_a_connection_again(self, shared: Exchange) -> None:
        """What has been a tunnel carries no other request."""
        line = shared.joined()
        line.upstream.close()
        line.client.close()
        client, upstream, head = shared.asked(b"GET /v1/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        upstream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        assert head.startswith(b"GET /v1/x ")
        assert taken(client).startswith(b"HTTP/1.1 200 OK")


def _is_refused(end: socket.socket) -> bool:
    """Tell whether nobody takes what is sent any more."""
    try:
        end.sendall(b"x" * 1000)
    except OSError:
        return True
    return False


class TestTime:
    """How long a tunnel may last."""

    def test_gives_up_on_silence(self) -> None:
        """A tunnel in which nothing moves for `timeouts.idle` is broken off."""
        with exchanging(timeouts={"idle": "150ms"}) as exchange:
            line = exchange.joined(REALTIME)
            line.client.sendall(b"x")
            with pytest.raises(ConnectionResetError):
                taken(line.client)
            with pytest.raises(ConnectionResetError):
                taken(line.upstream)

            assert "timeout" == last(exchange, line.answer)["outcome"]

    @pytest.mark.parametrize("direction", ["up", "down"])
    def test_bears_a_silent_side(self, direction: str) -> None:
        """One side may be silent for as long as the other speaks."""
        with exchanging(timeouts={"idle": "200ms"}) as exchange:
            line = exchange.joined()
            sender, receiver = (
                (line.client, line.upstream) if direction == "up" else (line.upstream, line.client)
            )
            for _ in range(12):
                sender.sendall(b"x")
                assert b"x" == exactly(receiver, 1)
                time.sleep(0.05)

    def test_does_not_wait_for_the_other_half(
        self, shared: Exchange, line: Line, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where one side says no more and the other is silent, both are closed after a while."""
        monkeypatch.setattr("meter.tunnel._HALF_OPEN_SECONDS", 0.1)
        line.client.shutdown(socket.SHUT_WR)

        assert (b"", b"") == (taken(line.client), taken(line.upstream))
        assert "ok" == last(shared, line.answer)["outcome"]

    def test_waits_for_who_listens_late(
        self, shared: Exchange, line: Line, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where one side has said all, the other may take it at its leisure."""
        monkeypatch.setattr("meter.tunnel._HALF_OPEN_SECONDS", 0.05)
        data = os.urandom(8_000_000)
        sending = threading.Thread(target=says_all, args=(line.upstream, data))
        sending.start()
        time.sleep(0.3)

        assert data == taken(line.client)
        sending.join()
        line.client.close()
        assert "ok" == last(shared, line.answer)["outcome"]

    def test_drains(self) -> None:
        """While Meter drains, tunnels go on and no new one is had; when time is up, they are broken off."""
        with exchanging(timeouts={"drain": "300ms"}) as exchange:
            house = exchange.house
            line = exchange.joined(REALTIME)
            house.running.stop()
            head, body = ask(house.url, upgrade())
            line.client.sendall(b"still")
            still = exactly(line.upstream, 5)
            busy = house.value("meter_requests_in_flight", operation="realtime")
            ends = line.client.dup(), line.upstream.dup()  # as open as before, when these are closed
        for end in ends:
            with end, pytest.raises(ConnectionResetError):
                taken(end)

        assert b"still" == still
        assert 1 == busy
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nConnection: close" in head
        assert "draining" == json.loads(body)["error"]["code"]
        assert "truncated" == last(exchange, line.answer)["outcome"]
        assert 0 == house.running.state.busy


# What is in it.

USAGE = {
    "total_tokens": 30,
    "input_tokens": 20,
    "output_tokens": 10,
    "input_token_details": {"text_tokens": 15, "audio_tokens": 5, "cached_tokens": 0},
    "output_token_details": {"text_tokens": 4, "audio_tokens": 6},
}


def said(kind: str, **members: Any) -> str:
    """Return a message."""
    return json.dumps({"type": kind, "event_id": "event_1", **members})


async def converse(server: ServerConnection) -> None:
    """Answer as a realtime session does."""
    session = {"id": "sess_1", "model": "gpt-realtime-2025-08-28"}
    await server.send(said("session.created", session=session))
    count = 0
    with suppress(ConnectionClosed):
        async for message in server:
            if json.loads(message)["type"] != "response.create":
                continue
            count += 1
            key = f"resp_{count}"
            await server.send(said("response.created", response={"id": key, "status": "in_progress"}))
            for _ in range(3):
                await server.send(said("response.output_audio.delta", response_id=key, delta="A" * 9000))
            done = {"id": key, "status": "completed", "usage": USAGE}
            if json.loads(message).get("hang"):
                await server.wait_closed()
            await server.send(said("response.done", response=done))


def create(client: ClientConnection, **members: Any) -> str:
    """Ask for a response among some sound; return the id of the one that comes."""
    client.send(json.dumps({"type": "input_audio_buffer.append", "audio": "A" * 20_000}))
    client.send(json.dumps({"type": "response.create", **members}))
    while (message := json.loads(client.recv(timeout=10)))["type"] != "response.done":
        pass
    return str(message["response"]["id"])


class TestRecords:
    """A connection is one exchange, and so is each response inside of it."""

    @pytest.mark.parametrize("compression", [None, "deflate"])
    def test_records_each_response(self, compression: str | None) -> None:
        """Each response is recorded when it is done, with its usage; the connection without, at its end."""
        with library(converse, compression=compression) as url, running_house(url) as house:
            headers = {
                "Authorization": "Bearer sk-user",
                "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
            }
            with dial(house, REALTIME, compression=compression, additional_headers=headers) as client:
                assert ["resp_1", "resp_2"] == [create(client), create(client)]
                inner = recorded(house, 2)
                assert 1 == house.value("meter_requests_in_flight", operation="realtime")
            *_, outer = recorded(house, 3)
            # What proves a name is a response that told what it used.
            labels = {"operation": "realtime", "model": "gpt-realtime-2025-08-28", "key": outer["key"]}
            tokens = house.value("meter_tokens_total", **labels, kind="output_audio")
            seen = house.value("meter_time_to_first_token_seconds_count", **labels)

        for line in inner:
            assert {"input": 15, "input_cached": 0, "input_audio": 5, "output": 4, "output_audio": 6} == line[
                "usage"
            ]
            assert ["completed"] == line["finish_reasons"]
            assert line["ttft_s"] <= line["duration_s"] < outer["duration_s"]
            assert ("realtime", "reported", "ok", 101, True, "/v1/realtime", 1) == tuple(
                line[name]
                for name in ("operation", "usage_source", "outcome", "status", "stream", "path", "attempts")
            )
            for name in ("upstream", "key", "trace_id", "request_model"):
                assert outer[name] == line[name]
        assert 3 == len({line["id"] for line in (*inner, outer)})
        assert ("gpt-realtime", None, {}) == (outer["request_model"], outer["response_model"], outer["usage"])
        assert ("none", "none", None) == (outer["usage_source"], outer["price_status"], outer["ttft_s"])
        assert client.response is not None
        assert outer["id"] == client.response.headers["x-meter-id"]
        assert (12, 2) == (tokens, seen)

    @pytest.mark.parametrize(
        ("how", "outcomes"),
        [("close", ["client_closed", "ok"]), ("vanish", ["client_closed", "client_closed"])],
    )
    def test_records_what_the_client_left(self, how: str, outcomes: list[str]) -> None:
        """A response under way when the client leaves is its doing; saying goodbye ends a connection well."""
        with library(converse, close_timeout=0.1) as url, running_house(url) as house:
            with dial(house, REALTIME) as client:
                client.send(json.dumps({"type": "response.create", "hang": True}))
                while json.loads(client.recv(timeout=10))["type"] != "response.output_audio.delta":
                    pass
                if how == "vanish":
                    client.socket.shutdown(socket.SHUT_RDWR)
            lines = recorded(house, 2)

        assert outcomes == [line["outcome"] for line in lines]
        assert ["missing", "none"] == [line["usage_source"] for line in lines]

    def test_records_what_the_upstream_left(self) -> None:
        """What is under way when the upstream leaves without goodbye is truncated, the connection too."""
        with exchanging() as exchange:
            line = exchange.joined(REALTIME)
            created = said("response.created", response={"id": "r1"}).encode()
            line.upstream.sendall(Frame(Opcode.TEXT, created).serialize(mask=False))
            line.upstream.close()
            taken(line.client)
            line.client.close()
            lines = recorded(exchange.house, 2)

        assert ["truncated", "truncated"] == [told["outcome"] for told in lines]

    def test_admits_nobody_for_a_mere_connection(self) -> None:
        """A connection in which nothing is told proves no name."""
        with library(echo) as url, running_house(url) as house:
            with dial(house, "/v1/realtime?model=minted", additional_headers={"api-key": "sk-minted"}):
                pass
            recorded(house)

            assert 1 == house.value("meter_requests_total", model="__other__", key="__other__", code="101")

    def test_records_responses_over_a_websocket(self) -> None:
        """The Responses API is read as well, with the model that is asked for in each message."""
        usage = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}

        async def answers(server: ServerConnection) -> None:
            with suppress(ConnectionClosed):
                async for message in server:
                    told = {"id": "resp_1", "model": f"{json.loads(message)['model']}-2025-08-07"}
                    await server.send(said("response.created", response=told))
                    await server.send(said("response.output_text.delta", delta="Hi"))
                    await server.send(said("response.completed", response={**told, "usage": usage}))

        with library(answers) as url, running_house(url) as house:
            with dial(house, "/v1/responses") as client:
                client.send(json.dumps({"type": "response.create", "model": "gpt-5", "input": "Hello"}))
                until(house.lines)
            inner, outer = recorded(house, 2)

        assert ("responses", "gpt-5", "gpt-5-2025-08-07", {"input": 5, "output": 2}) == (
            inner["operation"],
            inner["request_model"],
            inner["response_model"],
            inner["usage"],
        )
        assert ("realtime", None, "none") == (
            outer["operation"],
            outer["request_model"],
            outer["usage_source"],
        )


def test_reads_nothing_elsewhere() -> None:
    """At other paths messages pass unread, and name no model."""
    with library(converse) as url, running_house(url) as house:
        with dial(house, "/v1/talk?model=x") as client:
            create(client)
        [line] = recorded(house)

    assert ("other", None, "ok") == (line["operation"], line["request_model"], line["outcome"])


def test_waits_for_nobody(shared: Exchange) -> None:
    """A hundred tunnels are open at once, and each is heard."""
    lines = [shared.joined(REALTIME if i % 2 else OTHER) for i in range(100)]
    for i, line in enumerate(lines):
        line.client.sendall(b"%03d" % i)
    for i, line in enumerate(lines):
        assert b"%03d" % i == exactly(line.upstream, 3)
        line.upstream.sendall(b"%03d" % i)
    assert [b"%03d" % i for i in range(100)] == [exactly(line.client, 3) for line in lines]
    for line in lines:
        line.client.close()
        line.upstream.close()
