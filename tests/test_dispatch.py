"""What goes up twice and what never does, and that each time is counted, over connections that are reused."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from stage import Loop, ask, running_house, until

if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
BREAKS = "breaks"
"""The upstream reads a request and ends the connection."""
ENDS = "ends"
"""It answers, and ends the connection right after."""


@contextmanager
def upstream(*turns: str) -> Iterator[tuple[str, list[int]]]:
    """Run an upstream that does so for each request in turn, then answers; give each one's connection."""
    heard: list[int] = []
    connections: list[None] = []
    loop = Loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(None)
        connection = len(connections)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(2 if b"ontent-Length: 2\r\n" in head else 0)
                turn = turns[len(heard)] if len(heard) < len(turns) else ""
                heard.append(connection)
                if turn == BREAKS:
                    break
                writer.write(ANSWER % 0 if head.startswith(b"HEAD") else ANSWER % 2 + b"{}")
                if turn == ENDS:
                    break
        writer.close()

    async def listen() -> asyncio.Server:
        return await asyncio.start_server(serve, "127.0.0.1", 0)

    server: asyncio.Server = loop.run(listen())
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heard
    finally:

        async def stop() -> None:
            server.close()

        loop.run(stop())
        loop.close()


def told(turns: tuple[str, ...], *methods: str, again: bool = False) -> list[tuple[int, int, list[int]]]:
    """Send requests; return status and attempts of each, and the connections that it went up on."""
    out: list[tuple[int, int, list[int]]] = []
    with upstream(*turns) as (url, heard):
        up = [{"name": "up", "base_url": url, "default": True, "resend_post": again}]
        with running_house(url, upstreams=up) as house:
            for method in methods:
                body = b"" if method in ("GET", "HEAD", "OPTIONS") else b"{}"
                head = f"{method} /v1/models HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
                size = f"Content-Length: {len(body)}\r\n" if body else ""
                before = len(heard)
                ask(house.url, f"{head}{size}\r\n".encode() + body)
                line = until(lambda: house.lines()[len(out) :])[0]
                out.append((line["status"], line["attempts"], heard[before:]))
    return out


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_sends_the_harmless_again(method: str) -> None:
    """What does no harm is sent again when a reused connection breaks before a byte, and counts twice."""
    assert [(200, 1, [1]), (200, 2, [1, 2])] == told(("", BREAKS), method, method)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("again", [False, True])
def test_sends_the_harmless_once_more_at_most(method: str, *, again: bool) -> None:
    """What has broken twice is not sent a third time."""
    assert (502, 2, [1, 2]) == told(("", BREAKS, BREAKS), method, method, again=again)[1]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_sends_nothing_else_again(method: str) -> None:
    """Of any other request a reused connection that breaks is the end."""
    assert [(200, 1, [1]), (502, 1, [1])] == told(("", BREAKS), method, method)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_sends_once_on_a_fresh_connection(method: str) -> None:
    """A request that breaks on a connection of its own is not sent again."""
    assert [(502, 1, [1])] == told((BREAKS,), method)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_counts_no_request_of_which_nothing_was_written(method: str) -> None:
    """A request that finds the connection of before ended goes up on another, and counts once."""
    assert [(200, 1, [1]), (200, 1, [2])] == told((ENDS,), method, method)
