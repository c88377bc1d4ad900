"""Moves an answer's body from the upstream to the client, piece by piece.

Each piece is written first and read after, or, while something is to be hidden, edited and then written: in
the turn of the loop in which it came, unless that takes long. No task wakes up for a piece: that alone would
cost more than all the rest. The client's pace is the upstream's. Where the upstream breaks off, the client's
connection is broken too.

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

    # What most answers leave as it is stands here: that takes neither time nor room.
    _out: RawAnswer | None = None
    _clogged = False
    """The client takes less than there is."""
    _over = False
    _error: Exception | None = None
    _turn: asyncio.Future[None] | None = None
    """What `run` waits for: something that it has to do."""
    _release: asyncio.TimerHandle | None = None
    _ended: float | None = None
    """When the last piece came."""

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
        self._backlog: list[bytes] = []  # a deque takes more room than all else here
        """Pieces that have to wait, for one that takes long is being read."""
        self._now = now
        self._left = drain_bytes
        self._held = bytearray()  # a list of pieces, each as short as the upstream likes, would hold far more
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
            if self._held:
                await self._let_out(out)
            if self._ended is None and not self._is_moved_at_once():
                await self._flow(out)
        except (TimedOutError, BrokenOffError) as error:
            self._passage.broke(Outcome.TIMEOUT if isinstance(error, TimedOutError) else Outcome.TRUNCATED)
            self._write(self._tap.end(self._now()))
            out.break_off()  # a clean end would forge a complete answer
            raise ConnectionAbortedError from None
        ended = self._now() if self._ended is None else self._ended
        self._write(self._tap.end(ended))
        return ended

    async def _let_out(self, out: RawAnswer) -> None:
        """Write what was held, at the client's pace."""
        held, self._held = self._held, bytearray()
        for at in range(0, len(held), _SLICE):
            self._write(bytes(held[at : at + _SLICE]))
            await out.taken_up()

    def _is_moved_at_once(self) -> bool:
        """Move what has come whole with its head, as short answers do; tell whether it had."""
        whole, tap = self._answer.whole, self._tap
        if whole is None or tap.hiding or len(whole) > tap.at_once or self._passage.left:
            return False
        self._ended = self._now()
        self._write(whole)
        tap.watch(whole, self._ended)
        return True

    async def _flow(self, out: RawAnswer) -> None:
        """Let the rest come by itself, and do what takes long."""
        out.heed(self._clog)
        try:
            self._answer.flow(self._came, self._ends)
            out.flush()
            while self._backlog or not self._over:
                if not self._backlog:
                    self._turn = asyncio.get_running_loop().create_future()
                    await self._turn
                while self._backlog:
                    await self._pass_on(out, self._backlog[0])
                    del self._backlog[0]  # not before: what comes meanwhile has to wait behind it
                self._keep_back()
                self._hold()
        finally:
            out.heed(None)
            self._wait_no_longer()
        if self._error is not None:
            raise self._error

    # What happens.

    def _came(self, piece: bytes) -> None:
        """Take a piece that has just come."""
        try:
            if self._release is not None:
                self._wait_no_longer()
            tap, out = self._tap, self._out
            if self._backlog or len(piece) > tap.at_once:
                self._backlog.append(piece)
                self._hold()
                self._wake()
                return
            now = self._now()
            if out is None or out.gone:
                self._spend(piece)
            if tap.hiding:
                self._write(tap.edit(piece, now))
                if tap.kept:
                    self._keep_back()
            else:
                self._write(piece)
                tap.watch(piece, now)
        except Exception as error:  # noqa: BLE001 - whoever waits in `run` hears of it
            self._ends(error)

    def _ends(self, error: Exception | None) -> None:
        """Take note that no more comes."""
        if not self._over:
            self._over, self._error = True, error
            self._answer.forget()
        self._wake()

    def _clog(self, clogged: bool) -> None:
        self._clogged = clogged
        self._hold()

    def _hold(self) -> None:
        self._answer.hold(self._clogged or bool(self._backlog))

    def _wake(self) -> None:
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    def _keep_back(self) -> None:
        """Wait a little for the next event, where one is held for it."""
        self._wait_no_longer()
        if self._tap.waiting:
            self._release = asyncio.get_running_loop().call_later(_KEPT_BACK_SECONDS, self._let_go)

    def _let_go(self) -> None:
        """Write an event that was held for the next, which does not come."""
        self._release = None
        if not self._backlog:
            self._write(self._tap.release())

    def _wait_no_longer(self) -> None:
        if self._release is not None:
            self._release.cancel()
            self._release = None

    def _spend(self, piece: bytes) -> None:
        """Take a piece off what is still read with nobody to write it to; raise where that is used up."""
        if self._passage.left if self._out is None else self._out.gone:
            self._left -= len(piece)
            if self._left < 0:
                raise ConnectionAbortedError

    # What takes long.

    async def _pass_on(self, out: RawAnswer, piece: bytes) -> None:
        """Do as `_came`, giving way to other exchanges."""
        now = self._now()
        self._spend(piece)
        if not self._tap.hiding:
            self._write(piece)
            await self._read(piece, now)
            return
        for turn, edited in enumerate(self._tap.editing(piece, now)):
            if turn:
                await asyncio.sleep(0)
            self._write(edited)
            await out.taken_up()  # it may be many times as long as what came
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

    def _write(self, data: bytes) -> None:
        out, passage = self._out, self._passage
        if data and out is not None and out.send(data):
            passage.response_bytes += len(data)
            if self._length is not None:
                passage.delivered = passage.response_bytes == self._length
