"""Clients that ask without end, and an upstream that always knows: what a proxy is loaded with.

Clients note the id of every answer and when its last byte came. Each answer used something else.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from stage import Loop

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ASK_WHOLE = b'{"model":"gpt-4o","messages":[]}'
ASK_STREAM = b'{"model":"gpt-4o","stream":true,"messages":[]}'
LAST_CHUNK = b"0\r\n\r\n"


def usage(number: int) -> dict[str, Any]:
    """Give the usage of an answer, different for each."""
    return {
        "prompt_tokens": 100 + number,
        "completion_tokens": number % 97,
        "prompt_tokens_details": {"cached_tokens": number % 100},
    }


def answer(number: int, *, stream: bool) -> bytes:
    """Give an answer's bytes."""
    told = {"id": "c", "model": "gpt-4o-2024-08-06", "usage": usage(number)}
    if not stream:
        said = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}
        body = json.dumps(told | {"choices": [said]}).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
            len(body),
            body,
        )
    piece = {"id": "c", "model": "gpt-4o-2024-08-06"} | {
        "choices": [{"index": 0, "delta": {"content": "Hi"}}]
    }
    events = [json.dumps(each).encode() for each in (piece, told | {"choices": []})] + [b"[DONE]"]
    chunks = b"".join(b"%x\r\ndata: %b\n\n\r\n" % (len(event) + 8, event) for event in events)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + chunks + LAST_CHUNK


async def head_and_body(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Read a message, whose body is chunked or has a length."""
    head = await reader.readuntil(b"\r\n\r\n")
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        return head, await reader.readuntil(LAST_CHUNK)
    at = lower.find(b"content-length:")
    return head, await reader.readexactly(int(lower[at + 15 :].split(b"\r\n", 1)[0]))


@dataclass
class Load:
    """Clients that ask one after the other over connections of their own, half of them for streams."""

    urls: Sequence[str]
    """Of proxies, among which clients are shared out."""
    clients: int = 8
    pause: float = 0.005
    ended: dict[str, float] = field(default_factory=dict)
    """When the last byte of an answer came, on the monotonic clock, by the id that Meter gave it."""
    failures: list[float] = field(default_factory=list)
    """When a request failed, likewise."""
    took: list[float] = field(default_factory=list)
    """Seconds from a request's first byte to its answer's last."""
    stopped: bool = False

    async def run(self) -> None:
        """Ask until `stopped`, or until the proxies are gone."""
        urls = (self.urls[n % len(self.urls)] for n in range(self.clients))
        await asyncio.gather(*(self._ask(url, stream=n % 2 == 1) for n, url in enumerate(urls)))

    async def _ask(self, url: str, *, stream: bool) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        body = ASK_STREAM if stream else ASK_WHOLE
        lines = ("POST /v1/chat/completions HTTP/1.1", f"Host: {host}", "Content-Type: application/json")
        request = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
            with closing(writer):
                while not self.stopped:
                    await self._once(reader, writer, request)
                    await asyncio.sleep(self.pause)
        except (OSError, asyncio.IncompleteReadError):
            self.failures.append(time.monotonic())

    async def _once(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
        began = time.monotonic()
        writer.write(request)
        head, _ = await head_and_body(reader)
        now = time.monotonic()
        assert head.startswith(b"HTTP/1.1 200 "), head
        self.ended[head.lower().partition(b"x-meter-id: ")[2].partition(b"\r\n")[0].decode()] = now
        self.took.append(now - began)


class Stage:
    """An upstream and clients, on one event loop in a thread."""

    def __init__(self) -> None:
        self._loop = Loop()
        self._numbers = count()
        self._server: asyncio.Server = self._loop.run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            try:
                while True:
                    _, body = await head_and_body(reader)
                    writer.write(answer(next(self._numbers), stream=b'"stream":true' in body))
            except (OSError, asyncio.IncompleteReadError):
                return

    @contextmanager
    def load(self, *urls: str, **options: Any) -> Iterator[Load]:
        """Ask proxies for as long as the context lasts, and until the answers that are under way end."""
        load = Load(urls, **options)
        running = asyncio.run_coroutine_threadsafe(load.run(), self._loop._loop)
        try:
            yield load
        finally:
            load.stopped = True
            running.result(30)

    def close(self) -> None:
        """Let go of the upstream."""
        self._server.close()
        self._loop.close()
