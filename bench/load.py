"""A load generator, in a process of its own: `load.py PORT json|sse EXCHANGES CONNECTIONS`.

Connections stay open, and each asks again as soon as it has its answer, until so many exchanges are done.
It prints what came, a line of JSON with `exchanges`, `events` and `seconds`, and fails on the first answer
that is not a 200.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

import uvloop

GIVE_UP_S = 10.0
STAGGER_S = 0.020
"""Streams begin over so long a time: otherwise all of them would speak at the same moments."""


@dataclass
class Work:
    """What is left to do, and what came so far."""

    left: int
    request: bytes
    events: int = 0

    def take(self) -> bool:
        """Take one of what is left; False where nothing is."""
        self.left -= 1
        return self.left >= 0


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, work: Work, ended: asyncio.Future[None]) -> None:
        self._work = work
        self._ended = ended

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport: Any = transport
        self._ask()

    def _ask(self) -> None:
        if not self._work.take():
            self._transport.close()
            return
        self._answer = bytearray()
        self._head = -1
        self._transport.write(self._work.request)

    def data_received(self, data: bytes) -> None:
        """Take a piece of an answer."""
        self._answer += data
        if self._head < 0:
            self._begin()
        if self._head >= 0 and self._is_whole():
            self._work.events += self._answer.count(b"data: {")
            self._ask()

    def _begin(self) -> None:
        """Read the head, once it is there."""
        self._head = self._answer.find(b"\r\n\r\n")
        if self._head < 0:
            return
        head = bytes(self._answer[: self._head]).lower()
        if not head.startswith(b"http/1.1 200 "):
            self._fail(f"the answer is {bytes(self._answer)!r}")
        length = head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
        self._length = int(length) if length else None

    def _is_whole(self) -> bool:
        if self._length is None:
            return self._answer.endswith(b"\r\n0\r\n\r\n")
        return len(self._answer) >= self._head + 4 + self._length

    def _fail(self, reason: str) -> None:
        self._work.left = 0
        if not self._ended.done():
            self._ended.set_exception(RuntimeError(reason))

    def connection_lost(self, exc: Exception | None) -> None:
        """End; before all is done that is a failure."""
        if self._work.left >= 0:
            self._fail(f"a connection was closed: {exc}")
        elif not self._ended.done():
            self._ended.set_result(None)


def request(port: int, *, stream: bool) -> bytes:
    """Return a request of a usual size, as bytes."""
    messages = [
        {"role": "system", "content": "You are terse."},
        {"role": "user", "content": "Tell me of the weather by the river today. " * 10},
    ]
    told = {"model": "gpt-4o-mini", "messages": messages, "temperature": 0.7}
    body = json.dumps({**told, "stream": True} if stream else told).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer sk-bench\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def main(port: int, kind: str, exchanges: int, connections: int) -> None:
    """Do the work, and print what came of it."""
    loop = asyncio.get_running_loop()
    work = Work(exchanges, request(port, stream=kind == "sse"))

    async def client(number: int) -> None:
        await asyncio.sleep(STAGGER_S * number / connections)
        ended: asyncio.Future[None] = loop.create_future()
        await loop.create_connection(lambda: Client(work, ended), "127.0.0.1", port)
        await ended

    began = time.monotonic()
    async with asyncio.timeout(GIVE_UP_S):
        await asyncio.gather(*map(client, range(connections)))
    seconds = round(time.monotonic() - began, 3)
    print(json.dumps({"exchanges": exchanges, "events": work.events, "seconds": seconds}))


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
