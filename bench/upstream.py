"""A simulated upstream for benchmarks: `python -m bench.upstream PORT`, in a process of its own.

It stands directly on asyncio's protocols, so that what it costs stays small beside what is measured. A body
with `"stream": true` gets events, one write each: `x-events` of them, one every `x-pause-ms`, the first with
the head; without a pause they come as fast as they are taken. It ends with its standard input, so that it
outlives nobody.
"""

from __future__ import annotations

import asyncio
import re
import sys
import zlib
from typing import Any

import uvloop

from bench.dialogue import answer, chunk, stream

EVENTS = 100
PAUSE_MS = 20.0

_LONG = 1 << 16
"""A body of more bytes is not looked into; its checksum is told instead, so that the client can compare."""
_STREAMS = re.compile(rb'"stream"\s*:\s*true')
_ASKS = re.compile(rb'"include_usage"\s*:\s*true')
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: req_1\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_FRAMES = {
    usage: (chunk(stream(usage=usage).word), chunk(stream(usage=usage).end) + b"0\r\n\r\n")
    for usage in (False, True)
}


class Upstream(asyncio.Protocol):
    """One connection; a request comes when the answer before it has gone."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport: Any = transport
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.Handle | None = None
        self._full = False
        self._head = b""
        self._await_request()

    def _await_request(self) -> None:
        self._held = b""
        self._left = -1
        """Bytes that are still to come of the body; below 0 while the head is."""
        self._crc = 0

    def data_received(self, data: bytes) -> None:
        """Answer a request once it is whole; its body has a length."""
        if self._left < 0:
            head, found, data = (self._held + data).partition(b"\r\n\r\n")
            if not found:
                self._held = head
                return
            self._begin(head)
        self._left -= len(data)
        self._crc = zlib.crc32(data, self._crc)
        if self._length <= _LONG:
            self._held += data
        if self._left == 0:
            self._answer()

    def _begin(self, head: bytes) -> None:
        self._head = head.lower()
        self._length = self._left = int(self._field(b"content-length") or 0)
        self._held = b""

    def _field(self, name: bytes) -> bytes:
        return self._head.partition(b"\r\n" + name + b":")[2].partition(b"\r\n")[0].strip()

    def _answer(self) -> None:
        body, crc = self._held, self._crc
        self._await_request()
        if _STREAMS.search(body):
            self._stream(usage=bool(_ASKS.search(body)))
            return
        whole = answer("embeddings" if b"/embeddings " in self._head.partition(b"\r\n")[0] else "json")
        told = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-body-crc32: %08x\r\n" % crc
        self._transport.write(told + b"content-length: %d\r\n\r\n" % len(whole))
        self._transport.write(whole)

    def _stream(self, *, usage: bool) -> None:
        self._word, self._end = _FRAMES[usage]
        self._events = int(self._field(b"x-events") or EVENTS)
        self._pause_s = float(self._field(b"x-pause-ms") or PAUSE_MS) / 1000
        self._said, self._began = 0, self._loop.time()
        self._transport.write(_STREAM_HEAD)
        self._say()

    def _say(self) -> None:
        """Say the next event, and see to the one behind it."""
        self._said += 1
        last = self._said == self._events
        self._transport.write(self._end if last else self._word)
        if last:
            self._next = None
        elif self._pause_s:
            # By the clock and not by pauses: what is late does not delay all that comes after.
            self._next = self._loop.call_at(self._began + self._said * self._pause_s, self._say)
        elif not self._full:
            self._next = self._loop.call_soon(self._say)

    def pause_writing(self) -> None:
        """Wait until somebody takes what was said."""
        self._full = True

    def resume_writing(self) -> None:
        """Go on; what is paced never stopped."""
        self._full = False
        if self._next is not None and not self._pause_s:
            self._next.cancel()
            self._next = self._loop.call_soon(self._say)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """End."""
        if self._next is not None:
            self._next.cancel()


async def main(port: int) -> None:
    """Serve until standard input ends."""
    answer("json")
    answer("embeddings")
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=4096)
    async with server:
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
