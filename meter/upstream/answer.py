"""An upstream's answer: what its head says, and its body, which is waited for or comes by itself.

`read` waits for the next piece; with `flow`, each piece is told of in the turn of the loop in which it came.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from meter.coding import decoder
from meter.headers import first
from meter.switching import End
from meter.upstream.errors import BrokenOffError, TimedOutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from meter.headers import Head
    from meter.upstream.connection import Connection

__all__ = ["Answer"]

_SWITCHING = 101
_MOST_WAITING = 1 << 17
"""Bytes that may wait for a reader before no more are taken from the upstream."""


class Answer:
    """An upstream's answer, its body still to be read."""

    __slots__ = (
        "_connection",
        "_ended",
        "_error",
        "_on_end",
        "_waiter",
        "_waiting",
        "_waiting_bytes",
        "fields",
        "on_piece",
        "reason",
        "status",
    )

    def __init__(self, connection: Connection, status: int, reason: str, fields: Head) -> None:
        self._connection = connection
        self.status = status
        self.reason = reason
        self.fields = fields
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._ended = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.on_piece: Callable[[bytes], None] | None = None
        """Told of a piece that came, instead of `keep`; set by `flow`."""
        self._on_end: Callable[[Exception | None], None] | None = None

    @property
    def switches(self) -> bool:
        """It is no answer but the beginning of a tunnel, whose end here is `end`."""
        return self.status == _SWITCHING

    def end(self) -> End:
        """Return the upstream's end of a tunnel."""
        return End(self._connection)

    async def read(self) -> bytes:
        """Return the next piece of the body as it came, b"" at its end.

        Raises TimedOutError, BrokenOffError.
        """
        while not self._waiting:
            if self._ended:
                if self._error is not None:
                    raise self._error
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._taken()

    @property
    def whole(self) -> bytes | None:
        """The body, where all that is left of it has come at once."""
        if self._ended and self._error is None and len(self._waiting) == 1:
            return self._waiting[0]
        return None

    def _taken(self) -> bytes:
        waiting = self._waiting
        piece = waiting[0] if len(waiting) == 1 else b"".join(waiting)
        waiting.clear()
        if self._waiting_bytes > _MOST_WAITING:
            self.hold(False)
        self._waiting_bytes = 0
        return piece

    async def beginning(self, size: int) -> bytes:
        """Return the first `size` bytes of the body at most, decoded, without taking them from `read`."""
        undo = decoder(first(self.fields, b"content-encoding"))
        seen, taken = b"", list[bytes]()
        # What broke will break again for the reader.
        with suppress(TimedOutError, BrokenOffError, ValueError):
            while len(seen) < size and (piece := await self.read()):
                taken.append(piece)
                for plain in (piece,) if undo is None else undo.feed(piece):
                    seen += plain
                    if len(seen) >= size:
                        break
        self._waiting[:0] = taken
        return seen[:size]

    def flow(self, on_piece: Callable[[bytes], None], on_end: Callable[[Exception | None], None]) -> None:
        """Tell of each piece as it comes, of those that have come at once, and last of the end.

        `on_end` is told what `read` would raise, or None.
        """
        self.on_piece, self._on_end = on_piece, on_end
        if self._waiting:
            on_piece(self._taken())
        if self._ended:
            on_end(self._error)

    def forget(self) -> None:
        """Tell of nothing any more."""
        self.on_piece = self._on_end = None

    def hold(self, held: bool) -> None:
        """Take no more from the upstream for now, or go on."""
        if self._ended:
            return
        if held:
            self._connection.pause_reading()
        else:
            self._connection.resume_reading()

    def close(self) -> None:
        """Let go of the answer; what is left of it is not waited for, its connection is closed."""
        self.forget()
        self._connection.let_go(self)

    # What its connection says.

    def keep(self, piece: bytes) -> None:
        """Keep a piece that came until it is read."""
        self._waiting.append(piece)
        self._waiting_bytes += len(piece)
        if self._waiting_bytes > _MOST_WAITING:
            self._connection.pause_reading()
        self._wake()

    def end_with(self, error: Exception | None) -> None:
        """Take note that this was all; `error` says that it broke off."""
        self._ended, self._error = True, error
        if self._on_end is not None:
            self._on_end(error)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
