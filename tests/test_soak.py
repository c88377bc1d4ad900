"""Many exchanges at once, with faults on both sides: all are recorded, once, and nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import stat
import struct
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from stage import Loop, running_house, until

if TYPE_CHECKING:
    from stage import House

EXCHANGES = 1500
AT_ONCE = 50

BODY = b'{"model":"m","stream":true}'
EVENT = (
    b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}\n\n'
)
END = (
    b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"c","model":"m","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":3}}\n\n'
    b"data: [DONE]\n\n"
)
JSON = (
    b'{"id":"c","model":"m","choices":[{"index":0,"message":{"content":"x"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":3}}'
)
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
REFUSED = b'{"error":{"message":"Unknown parameter: stream_options"}}'


def chunk(data: bytes) -> bytes:
    """Return a chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def answer(status: int, body: bytes) -> bytes:
    """Return a whole JSON answer."""
    head = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


WELL = STREAM + chunk(EVENT) * 3 + chunk(END) + b"0\r\n\r\n"

UPSTREAM: dict[str, tuple[list[bytes], str]] = {
    "streams": ([STREAM, *[chunk(EVENT)] * 3, chunk(END), b"0\r\n\r\n"], ""),
    "streams at once": ([WELL], ""),
    "answers": ([answer(200, JSON)], ""),
    "answers no": ([answer(429, b'{"error":{"code":"rate_limit_exceeded"}}')], ""),
    "fails": ([answer(503, b"<html>")], ""),
    "refuses to be asked": ([answer(400, REFUSED)], ""),
    "says nothing": ([], "close"),
    "resets": ([], "reset"),
    "says half a head": ([STREAM[:30]], "close"),
    "breaks off": ([STREAM, chunk(EVENT)], "close"),
    "breaks off by a reset": ([STREAM, chunk(EVENT)], "reset"),
    "is short": ([answer(200, JSON)[:-5]], "close"),
    "is silent": ([STREAM, chunk(EVENT)], "wait"),
    "is silent from the start": ([], "wait"),
    "says no HTTP": ([b"hello\r\n\r\n"], "close"),
    "goes on as no HTTP": ([STREAM, chunk(EVENT), b"zz\r\n"], "wait"),
}
"""What an upstream says, and how it ends."""

CLIENT = (
    "stays",
    "stays",
    "stays",
    "leaves at once",
    "leaves soon",
    "resets soon",
    "leaves its upload",
    "mumbles",
)
"""What a client does."""


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve requests on one connection, each with the fault that its `X-Fault` names."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while not writer.is_closing():
            head = await reader.readuntil(b"\r\n\r\n")
            at = head.lower().index(b"content-length:")
            await reader.readexactly(int(head[at + 15 :].split(b"\r\n", 1)[0]))
            pieces, end = UPSTREAM[head.partition(b"X-Fault: ")[2].split(b"\r\n", 1)[0].decode()]
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0)
            if end == "wait":
                await reader.read(1)
            if end == "reset":
                reset(writer)
            if end:
                break
    writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """Let a connection be reset when it is closed."""
    no_linger = struct.pack("ii", 1, 0)
    with suppress(OSError):  # it may be closed already
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)


async def call(url: str, fault: str, way: str, luck: random.Random) -> None:
    """Make one request, in the client's way."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nX-Fault: {fault}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    ).encode()
    writer.write(b"mumble\r\n\r\n" if way == "mumbles" else head)
    writer.write(BODY[:5] if way == "leaves its upload" else BODY)
    if way in ("stays", "mumbles"):
        with suppress(ConnectionError):
            await reader.read()
    elif way != "leaves at once":
        await asyncio.sleep(luck.random() * 0.02)
    if way == "resets soon":
        reset(writer)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def soak(url: str) -> Counter[str]:
    """Make all the exchanges; return how many there were of each way."""
    luck = random.Random(7)  # noqa: S311 - nothing is kept secret by it
    room = asyncio.Semaphore(AT_ONCE)
    ways: Counter[str] = Counter()

    async def one() -> None:
        fault, way = luck.choice(list(UPSTREAM)), luck.choice(CLIENT)
        ways[way] += 1
        async with room, asyncio.timeout(10):
            await call(url, fault, way, luck)

    await asyncio.gather(*(one() for _ in range(EXCHANGES)))
    return ways


def sockets() -> int:
    """Return how many sockets this process has open."""
    count = 0
    for descriptor in range(4096):
        with suppress(OSError):
            count += stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    return count


def tasks(house: House) -> int:
    """Return how many tasks Meter has."""

    async def count() -> int:
        return len(asyncio.all_tasks())

    return int(house.loop.run(count()))


def test_soak() -> None:
    """Whatever goes wrong, there is one record a request, nothing in flight, and no task or socket more."""
    upstream, clients = Loop(), Loop()

    async def listen() -> asyncio.Server:
        return await asyncio.start_server(serve, "127.0.0.1", 0)

    server: asyncio.Server = upstream.run(listen())
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    # A refusal is not remembered where usage is to be asked for in any case: each is met anew.
    up = [{"name": "up", "base_url": url, "default": True, "usage": "ask"}]
    with running_house(url, upstreams=up, timeouts={"idle": "300ms"}) as house:
        tasks_before, sockets_before = tasks(house), sockets()
        ways = clients.run(soak(house.url))

        assert EXCHANGES == ways.total()
        until(lambda: len(house.lines()) >= EXCHANGES)
        until(lambda: tasks(house) <= tasks_before and sockets() <= sockets_before, seconds=15)
        lines = house.lines()
        assert EXCHANGES == len(lines) == len({line["id"] for line in lines})
        assert EXCHANGES == house.value("meter_requests_total")
        assert EXCHANGES == house.value("meter_accounting_total")
        assert 0 == house.value("meter_requests_in_flight")
        assert 0 == house.value("meter_sink_errors_total")
        assert [] == [line for line in house.lines("library") if line["logger"].startswith("aiohttp")]
        outcomes = Counter(line["outcome"] for line in lines)
        assert ways["mumbles"] == outcomes["rejected"]
        assert {
            "ok",
            "client_error",
            "upstream_error",
            "truncated",
            "client_closed",
            "timeout",
            "unreachable",
            "rejected",
        } == set(outcomes)

    async def stop() -> None:
        server.close()

    upstream.run(stop())
    upstream.close()
    clients.close()
