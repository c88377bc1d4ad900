"""A load generator, in a process of its own: `python -m bench.load PORT '{"kind": "json", ...}'`.

Connections stay open, and each asks again as soon as it has its answer, until so many exchanges are done.
Every byte of every answer is compared with what the upstream says: the first that differs ends the run with
an error. It prints what came as a line of JSON. What is `held` instead goes on until standard input ends, and
says so with a line of its own once all connections have had their first event.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
import zlib
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import uvloop

from bench.dialogue import answer, request, stream

__all__ = ["AlikeReading", "Load", "Reading", "Work", "WrongError", "bear"]

_CONNECTING = 64
"""So many connections are begun at once: listeners have short queues."""
_QUOTED = 60
"""Bytes of an answer that an error shows."""


@dataclass(frozen=True)
class Load:
    """One way of calling."""

    kind: str
    exchanges: int
    connections: int
    events: int = 100
    pause_ms: float = 20.0
    spread_s: float = 0.02
    """Connections begin over so long a time: otherwise all would speak at the same moments."""
    rest_s: float = 0.0
    """From an answer to the next request."""
    keys: int = 1
    """So many callers take turns."""
    asks: bool = False
    """Clients ask for a stream's usage themselves."""
    held: bool = False
    verbatim: bool = True
    """Answers must be the upstream's, byte for byte; otherwise as many events are enough."""
    give_up_s: float = 60.0

    @property
    def expected(self) -> bytes:
        """The body that each answer must have."""
        return stream(usage=self.asks).whole(self.events) if self.kind == "sse" else answer(self.kind)


class WrongError(Exception):
    """An answer is not what the upstream said."""


class Reading:
    """One answer as it comes; `told` must be in its head."""

    def __init__(self, expected: bytes, told: bytes = b"") -> None:
        self._expected, self._told = expected, told
        self._at = 0
        self._chunked: bool | None = None
        """None while the head has not come."""
        self._held = b""
        self._left = 0
        """Bytes to come of the chunk that has begun."""
        self._behind = b""
        """What ends the chunk before the next."""

    @property
    def length(self) -> int:
        """Bytes of the body that have come."""
        return self._at

    def feed(self, data: bytes) -> bool:
        """Take a piece; return whether the answer is whole. Raises WrongError."""
        if self._chunked is None:
            head, found, data = (self._held + data).partition(b"\r\n\r\n")
            self._held = b"" if found else head
            if not found:
                return False
            self._begin(head)
        if self._chunked:
            return self._unchunk(data)
        self._take(data)
        if self._at < self._length:
            return False
        self._end()
        return True

    def _begin(self, head: bytes) -> None:
        told = head.lower()
        length = told.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
        self._chunked = b"\r\ntransfer-encoding: chunked" in told
        self._length = int(length) if length else -1
        if not told.startswith(b"http/1.1 200 ") or self._told not in told:
            raise WrongError(f"the head is {head!r}, expected a 200 with {self._told!r}")
        if not length and not self._chunked:
            raise WrongError(f"the head is {head!r}, expected a length or chunks")

    def _unchunk(self, data: bytes) -> bool:
        data, self._held, at = self._held + data if self._held else data, b"", 0
        while True:
            piece = data[at : at + self._left]
            if piece:
                self._take(piece)
                self._left -= len(piece)
                at += len(piece)
            begins = at + len(self._behind)
            ends = data.find(b"\r\n", begins)
            if self._left or ends < 0:
                self._held = data[at:]
                return False
            self._left = int(data[begins:ends], 16)
            if self._left == 0:
                return self._last(data, at, ends)
            self._behind, at = b"\r\n", ends + 2

    def _last(self, data: bytes, at: int, ends: int) -> bool:
        """See the end of the chunk that is none."""
        if len(data) < ends + 4:
            self._held = data[at:]
            return False
        self._end()
        return True

    def _take(self, piece: bytes) -> None:
        if not self._expected.startswith(piece, self._at):
            expected = self._expected[self._at : self._at + len(piece)]
            raise WrongError(
                f"byte {self._at} and on: came {piece[:_QUOTED]!r}, expected {expected[:_QUOTED]!r}"
            )
        self._at += len(piece)

    def _end(self) -> None:
        if self._at != len(self._expected):
            raise WrongError(f"the answer has {self._at} bytes, expected {len(self._expected)}")


class AlikeReading(Reading):
    """An answer of a proxy that words it anew: as many events with something in them are enough."""

    def __init__(self, expected: bytes, told: bytes = b"") -> None:
        super().__init__(expected, told)
        self._came = bytearray()

    def _take(self, piece: bytes) -> None:
        self._came += piece
        self._at += len(piece)

    def _end(self) -> None:
        came, expected = self._came.count(b" token"), self._expected.count(b" token")
        if came != expected:
            raise WrongError(f"the answer has {came} events, expected {expected}")


@dataclass
class Work:
    """What is left to do, and what came so far."""

    load: Load
    requests: list[bytes]
    told: bytes
    left: int = 0
    turn: int = 0
    opened: int = 0
    events: int = 0
    exchanges: int = 0
    body_bytes: int = 0
    firsts_s: list[float] = field(default_factory=list)
    """From a request to the first byte of its answer's body."""
    gaps_s: list[float] = field(default_factory=list)
    """Between two pieces of a stream."""
    all_open: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def of(cls, load: Load) -> Work:
        """Begin a load."""
        fields = {"x-events": str(load.events), "x-pause-ms": str(load.pause_ms)}
        told = fields if load.kind == "sse" else {}
        requests = [
            request(load.kind, {"authorization": f"Bearer sk-bench-{number}", **told}, asks=load.asks)
            for number in range(load.keys)
        ]
        crc = zlib.crc32(requests[0].partition(b"\r\n\r\n")[2])
        return cls(
            load, requests, b"x-body-crc32: %08x" % crc if load.kind == "image" else b"", load.exchanges
        )

    def take(self) -> bytes | None:
        """Take the next request of what is left, None where nothing is."""
        if self.left == 0:
            return None
        self.left -= 1
        self.turn += 1
        return self.requests[self.turn % len(self.requests)]

    def open(self) -> None:
        """Count a connection that has had its first event."""
        self.opened += 1
        if self.opened == self.load.connections:
            self.all_open.set()

    def found(self, seconds: float) -> dict[str, float]:
        """Return what came."""
        times = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "exchanges": self.exchanges,
            "events": self.events,
            "seconds": round(seconds, 3),
            "cpu_s": round(times.ru_utime + times.ru_stime, 3),
            "first_p50_ms": _at(self.firsts_s, 0.50),
            "first_p99_ms": _at(self.firsts_s, 0.99),
            "gap_p99_ms": _at(self.gaps_s, 0.99),
            "gap_max_ms": _at(self.gaps_s, 1.0),
        }


def _at(seconds: list[float], share: float) -> float:
    """Return a quantile, in milliseconds."""
    ranked = sorted(seconds) or [0.0]
    return round(1000 * ranked[min(len(ranked) - 1, int(len(ranked) * share))], 3)


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, work: Work, ended: asyncio.Future[None]) -> None:
        self._work, self._ended = work, ended
        self._expected = _expected(work.load)
        self._reads = Reading if work.load.verbatim else AlikeReading
        self._streams = work.load.kind == "sse"
        self._first = True
        self._begin()

    def _begin(self) -> None:
        self._reading = self._reads(self._expected, self._work.told)
        self._seen = 0
        """Bytes of the body, as of the last piece."""
        self._last = 0.0
        """When the last piece came."""
        self._asked = time.perf_counter()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport: Any = transport
        self._ask()

    def _ask(self) -> None:
        request = self._work.take()
        if request is None:
            self._end(None)
            return
        self._begin()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take a piece of an answer."""
        now = time.perf_counter()
        try:
            whole = self._reading.feed(data)
        except WrongError as error:
            self._end(error)
            return
        if self._reading.length > self._seen:
            self._note(now)
        if whole:
            self._work.exchanges += 1
            self._work.events += self._work.load.events if self._streams else 0
            self._again()

    def _note(self, now: float) -> None:
        """Take note of when how much came of a body."""
        self._work.body_bytes += self._reading.length - self._seen
        self._seen = self._reading.length
        if self._last:
            self._work.gaps_s.append(now - self._last)
        else:
            self._work.firsts_s.append(now - self._asked)
            if self._first:
                self._first = False
                self._work.open()
        self._last = now

    def _again(self) -> None:
        rest_s = self._work.load.rest_s
        if rest_s and self._work.left:
            asyncio.get_running_loop().call_later(rest_s, self._ask)
        else:
            self._ask()

    def _end(self, error: WrongError | None) -> None:
        if not self._ended.done():
            self._ended.set_exception(error) if error else self._ended.set_result(None)
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; before all is done that is a failure."""
        if not self._ended.done():
            self._ended.set_exception(WrongError(f"a connection was closed before its answer's end: {exc}"))


@cache
def _expected(load: Load) -> bytes:
    return load.expected


async def bear(port: int, work: Work) -> None:
    """Do the work."""
    loop = asyncio.get_running_loop()
    load = work.load
    connecting = asyncio.Semaphore(_CONNECTING)

    async def client(number: int) -> None:
        await asyncio.sleep(load.spread_s * number / load.connections)
        ended: asyncio.Future[None] = loop.create_future()
        async with connecting:
            await loop.create_connection(lambda: Client(work, ended), "127.0.0.1", port)
        await ended

    async with asyncio.TaskGroup() as group:
        for number in range(load.connections):
            group.create_task(client(number))


async def _hold(port: int, work: Work) -> float:
    """Do the work until standard input ends; return how long all of it was open."""
    bearing = asyncio.ensure_future(bear(port, work))
    opening = asyncio.ensure_future(work.all_open.wait())
    await asyncio.wait((bearing, opening), return_when=asyncio.FIRST_COMPLETED)
    if bearing.done():
        bearing.result()
    print(json.dumps({"open": work.opened}), flush=True)
    # What came until now belongs to the opening.
    began = time.monotonic()
    work.gaps_s.clear()
    work.body_bytes = 0
    ending = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
    await asyncio.wait((bearing, ending), return_when=asyncio.FIRST_COMPLETED)
    if bearing.done():
        bearing.result()
    bearing.cancel()
    work.events = work.body_bytes // len(stream(usage=work.load.asks).word)
    return time.monotonic() - began


async def main(port: int, load: Load) -> None:
    """Do the work, and print what came of it."""
    work = Work.of(load)
    began = time.monotonic()
    try:
        async with asyncio.timeout(load.give_up_s):
            if load.held:
                seconds = await _hold(port, work)
            else:
                await bear(port, work)
                seconds = time.monotonic() - began
    except* (WrongError, OSError) as errors:
        sys.exit(f"after {work.exchanges} exchanges: {errors.exceptions[0]}")
    print(json.dumps(work.found(seconds)), flush=True)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), Load(**json.loads(sys.argv[2]))))
