"""`on_client_disconnect: drain`: an answer is read on for what it used, although its client has left."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from stage import post, running_house, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stage import House, Scripted

CHAT = "/v1/chat/completions"
STREAM = b'{"model":"gpt-4o","messages":[{"role":"user","content":"Hello there"}],"stream":true}'
WHOLE = b'{"model":"gpt-4o"}'
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
FIRST = b'data: {"id":"c","model":"gpt-4o","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
REST = (
    b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"c","choices":[],"usage":%b}\n\ndata: [DONE]\n\n' % json.dumps(USAGE).encode()
)


@contextmanager
def draining(scripted: Scripted, **drain: Any) -> Iterator[House]:
    """Run Meter before an upstream whose answers are read on."""
    upstream = {"name": "up", "base_url": f"{scripted.url}/v1", "on_client_disconnect": "drain"}
    with running_house(scripted.url, upstreams=[{**upstream, "drain": drain}]) as house:
        yield house


class Gate:
    """A script that says its pieces one by one, each when it may."""

    def __init__(self, scripted: Scripted, *pieces: bytes) -> None:
        self.said = 0
        self._pieces = pieces
        self._may = 1
        scripted.script = self._script

    def open(self) -> None:
        """Let the next piece go."""
        self._may += 1

    async def _script(self, _: bytes, writer: asyncio.StreamWriter) -> None:
        for number, piece in enumerate(self._pieces):
            while self._may <= number:  # noqa: ASYNC110 - whoever opens it is in another thread
                await asyncio.sleep(0.005)
            writer.write(piece)
            await writer.drain()
            self.said += 1


def left(house: House, body: bytes, *, read: bool) -> None:
    """Ask, read the answer's beginning if there is one, and leave."""
    host, _, port = house.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(post(CHAT, body))
        if read:
            assert client.recv(65536)
        else:
            until(lambda: house.value("meter_requests_in_flight") == 1)


def test_counts_what_the_client_did_not_wait_for(scripted: Scripted) -> None:
    """A stream whose client left is read to its end, and its usage is the upstream's final word."""
    gate = Gate(scripted, SSE + FIRST, REST)
    with draining(scripted) as house:
        left(house, STREAM, read=True)
        until(lambda: house.value("meter_drains_in_flight") == 1)
        assert [] == house.lines()
        gate.open()

        line = until(house.lines)[0]

        assert ("client_closed", "reported", 200) == (line["outcome"], line["usage_source"], line["status"])
        assert {"input": 9, "output": 2} == line["usage"]
        assert line["cost_usd"] > 0
        until(lambda: house.value("meter_drains_in_flight") == 0)
        assert 0 == house.value("meter_requests_in_flight")


def test_waits_for_an_answer_nobody_waits_for(scripted: Scripted) -> None:
    """A client that left before the head is recorded without a status, and with the usage that came after."""
    body = json.dumps({"model": "gpt-4o", "choices": [], "usage": USAGE}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    gate = Gate(scripted, b"", head + body)
    with draining(scripted) as house:
        left(house, WHOLE, read=False)
        until(lambda: house.value("meter_drains_in_flight") == 1)
        gate.open()

        line = until(house.lines)[0]

        assert ("client_closed", None, 0) == (line["outcome"], line["status"], line["response_bytes"])
        assert ("reported", {"input": 9, "output": 2}) == (line["usage_source"], line["usage"])


@pytest.mark.parametrize("drain", [{"seconds": "100ms"}, {"bytes": 10}])
def test_is_bounded(scripted: Scripted, drain: dict[str, Any]) -> None:
    """Past its time or its bytes, the upstream's connection is closed, and what was seen is recorded."""
    gate = Gate(scripted, SSE + FIRST, FIRST, FIRST)
    with draining(scripted, **drain) as house:
        left(house, STREAM, read=True)
        gate.open()

        line = until(house.lines)[0]

        assert ("client_closed", "estimated") == (line["outcome"], line["usage_source"])
        assert until(lambda: scripted.closed)
        until(lambda: house.value("meter_drains_in_flight") == 0)


def test_ends_with_the_process(scripted: Scripted) -> None:
    """What is read on when Meter stops at once is broken off and recorded."""
    Gate(scripted, SSE + FIRST, REST)
    with draining(scripted) as house:
        left(house, STREAM, read=True)
        until(lambda: house.value("meter_drains_in_flight") == 1)
        house.loop.run(stop_at_once(house))

    assert ["client_closed"] == [line["outcome"] for line in house.lines()]


async def stop_at_once(house: House) -> None:
    """Tell Meter to stop, twice."""
    house.running.stop()
    house.running.stop()


def test_goes_on_for_clients_that_stay(scripted: Scripted) -> None:
    """A client that stays gets the same as ever."""
    Gate(scripted, SSE + FIRST + REST)
    with draining(scripted) as house:
        host, _, port = house.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.sendall(post(CHAT, STREAM))
            came = b""
            while piece := client.recv(65536):
                came += piece

        assert b"[DONE]" in came
        assert b'"usage"' not in came
        assert "ok" == until(house.lines)[0]["outcome"]
