"""Moves an answer's body from the upstream to the client, piece by piece.

Each piece is written first and read after, or, while something is to be hidden, edited and then written. The
client's pace is the upstream's. Where the upstream breaks off, the client's connection is broken too.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING

from meter.exchange import Outcome
from meter.headers import first
from meter.upstream import BrokenOffError, TimedOutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from meter.listener import RawAnswer
    from meter.passage import Passage
    from meter.tap import Tap
    from meter.upstream import Answer

__all__ = ["Pump"]

_KEPT_BACK_SECONDS = 0.05
"""An event that is held for what may go back onto it waits no longer for the next one to begin."""

_MORE_STRETCHES = 50
"""Of what has gone out to a client that has left, as much is still read at once."""


class Pump:
    """Moves the body of one answer to the client, through the tap.

    `drain_bytes` is how much is still read for the tap once the client has gone, where the answer is patient.
    """

    def __init__(
        self,
        passage: Passage,
        tap: Tap,
        answer: Answer,
        out: RawAnswer,
        now: Callable[[], float],
        *,
        drain_bytes: int,
    ) -> None:
        self._passage = passage
        self._tap = tap
        self._answer = answer
        self._out = out
        self._now = now
        self._left = drain_bytes
        told = first(answer.fields, b"content-length") or b""
        self._length = int(told) if told.isdigit() and not tap.hiding else None

    async def run(self) -> float:
        """Move it all; return when its last piece came. Where the upstream breaks off, break off too."""
        try:
            while piece := await self._next():
                await self._pass_on(piece)
        except (TimedOutError, BrokenOffError) as error:
            self._passage.broke(Outcome.TIMEOUT if isinstance(error, TimedOutError) else Outcome.TRUNCATED)
            await self._write(self._tap.end(self._now()))
            self._out.break_off()  # a clean end would forge a complete answer
            raise ConnectionAbortedError from None
        now = self._now()
        await self._write(self._tap.end(now))
        return now

    async def _next(self) -> bytes:
        """Return the answer's next piece; let go of an event that was held for it if it does not come."""
        if self._tap.waiting:
            try:
                async with asyncio.timeout(_KEPT_BACK_SECONDS):
                    return await self._answer.read()
            except TimeoutError:
                await self._write(self._tap.release())
        return await self._answer.read()

    async def _pass_on(self, piece: bytes) -> None:
        """Write a piece, first as it came and then read, or, while something is to be hidden, edited."""
        now = self._now()
        if self._out.gone:
            self._left -= len(piece)
            if self._left < 0:
                raise ConnectionAbortedError
        if not self._tap.hiding:
            await self._write(piece)
            await self._read(piece, now)
            return
        for turn, edited in enumerate(self._tap.editing(piece, now)):
            if turn:
                await asyncio.sleep(0)
            await self._write(edited)
        if self._tap.damaged:
            raise BrokenOffError

    async def _read(self, piece: bytes, now: float) -> None:
        reading = self._tap.watching(piece, now)
        try:
            for _ in reading:
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            # The client, who has had this piece, has left; what it says still counts.
            for _ in islice(reading, _MORE_STRETCHES):
                pass
            raise

    async def _write(self, data: bytes) -> None:
        if data:
            await self._out.write(data)
            if not self._out.gone:
                self._passage.response_bytes += len(data)
                self._passage.delivered = self._passage.response_bytes == self._length
