"""Moves an answer's body from the upstream to the client, piece by piece.

Each piece is written first and read after, or, while something is to be hidden, edited and then written. The
client's pace is the upstream's. Where the upstream breaks off, the client's connection is broken too.

An answer whose head is to say what it cost is held before that, as far as there is room for it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
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

_HELD_BYTES = 8 << 20
"""An answer that is longer is not held for what it cost."""
_SLICE = 1 << 16
"""Bytes of what was held that go out at once."""


class Pump:
    """Moves the body of one answer to the client, through the tap.

    `run` does it all; `hold`, before it, takes in what it can while there is nothing yet to write to.
    `drain_bytes` is how much is still read for the tap once the client has gone, where the answer is patient.
    """

    def __init__(
        self,
        passage: Passage,
        tap: Tap,
        answer: Answer,
        now: Callable[[], float],
        *,
        drain_bytes: int,
    ) -> None:
        self._passage = passage
        self._tap = tap
        self._answer = answer
        self._out: RawAnswer | None = None
        self._now = now
        self._left = drain_bytes
        self._held = bytearray()  # a list of pieces, each as short as the upstream likes, would hold far more
        self._ended: float | None = None
        """When the last piece came."""
        told = first(answer.fields, b"content-length") or b""
        self._length = int(told) if told.isdigit() and not tap.hiding else None

    async def hold(self, room: Callable[[int], bool]) -> bool:
        """Take in the answer and read it, while `room` has some for so many bytes; tell whether that is all.

        What has been taken in goes out with `run`, and what stopped it stops `run` too. Not for what is to
        be edited.
        """
        if (self._length or 0) > _HELD_BYTES or not room(0):
            return False
        with suppress(TimedOutError, BrokenOffError):
            while piece := await self._answer.read():
                self._spend(piece)
                self._held += piece
                await self._read(piece, self._now())
                if len(self._held) > _HELD_BYTES or not room(len(piece)):
                    return False
            self._ended = self._now()
            self._tap.end(self._ended)
        return self._ended is not None

    async def run(self, out: RawAnswer) -> float:
        """Move it all to `out`; return when its last piece came. Where the upstream breaks off, do so too."""
        self._out = out
        try:
            await self._let_out()
            while self._ended is None and (piece := await self._next()):
                await self._pass_on(piece)
        except (TimedOutError, BrokenOffError) as error:
            self._passage.broke(Outcome.TIMEOUT if isinstance(error, TimedOutError) else Outcome.TRUNCATED)
            await self._write(self._tap.end(self._now()))
            out.break_off()  # a clean end would forge a complete answer
            raise ConnectionAbortedError from None
        ended = self._now() if self._ended is None else self._ended
        await self._write(self._tap.end(ended))
        return ended

    async def _let_out(self) -> None:
        """Write what was held."""
        held, self._held = self._held, bytearray()
        for at in range(0, len(held), _SLICE):
            await self._write(bytes(held[at : at + _SLICE]))

    def _spend(self, piece: bytes) -> None:
        """Take a piece off what is still read with nobody to write it to; raise where that is used up."""
        if self._passage.left if self._out is None else self._out.gone:
            self._left -= len(piece)
            if self._left < 0:
                raise ConnectionAbortedError

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
        self._spend(piece)
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
        out = self._out
        if data and out is not None:
            await out.write(data)
            if not out.gone:
                self._passage.response_bytes += len(data)
                self._passage.delivered = self._passage.response_bytes == self._length
