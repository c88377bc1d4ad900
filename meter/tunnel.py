"""Moves the bytes of a WebSocket both ways until it ends, and tells of what is in them.

Each piece is sent on first, in the same turn of the loop in which it came, and read after. When one end takes
less than it is sent, the other is not read from. An end that says no more may still listen; one that breaks
breaks the other.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from meter.exchange import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from meter.passage import Passage
    from meter.session import Session, Turn
    from meter.switching import End

__all__ = ["Tunnel"]

_HALF_OPEN_SECONDS = 5.0
"""Once an end says no more, the other may be silent for so long."""
_FLUSH_SECONDS = 60.0
"""An end that does not take what is left is waited for no longer."""


class Tunnel:
    """Joins two ends for as long as both are there.

    `session` reads what goes by, and is None where nothing is to be read; `tell` is given the turns in it
    that have ended; `report(part, error)` counts what went wrong in reading. `idle` is how many seconds may
    pass without a byte either way, None for any.
    """

    def __init__(
        self,
        passage: Passage,
        session: Session | None,
        *,
        client: End,
        upstream: End,
        idle: float | None,
        tell: Callable[[Passage, Turn], None],
        report: Callable[[str, BaseException | None], None],
    ) -> None:
        self._passage = passage
        self._session = session
        self._client = client
        self._upstream = upstream
        self._idle = idle
        self._tell = tell
        self._report = report
        self._first: Outcome | None = None
        """CLIENT_CLOSED or TRUNCATED, by which end was the first to end."""
        self._moved = time.monotonic()
        self._done = asyncio.get_running_loop().create_future()
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Move bytes until both ends are at their end, or one of them is gone."""
        self._join(self._client, self._upstream, Outcome.CLIENT_CLOSED, self._from_client)
        self._join(self._upstream, self._client, Outcome.TRUNCATED, self._from_upstream)
        try:
            self._client.open()
            self._upstream.open()
            self._look()
            await self._done
        finally:
            self._finish()

    def break_off(self) -> None:
        """Break both connections, so that nobody takes it for a clean end."""
        self._first = self._first or self._passage.cause or Outcome.TRUNCATED
        self._client.break_off()
        self._upstream.break_off()
        self._settle()

    # What happens.

    def _join(self, end: End, other: End, blame: Outcome, take: Callable[[bytes], None]) -> None:
        def on_data(data: bytes) -> None:
            other.send(data)
            self._moved = time.monotonic()
            take(data)

        def on_over() -> None:
            self._moved = time.monotonic()
            self._blame(blame, clean=True)
            if other.over or other.gone or not other.send_end():
                self._settle()
            else:
                self._look()

        def on_gone(exc: BaseException | None) -> None:
            clean = end.over and exc is None
            self._blame(blame, clean=clean)
            # What an upstream has said is worth delivering; what a client has, is for nobody's good any more.
            if not (clean or self._said_goodbye or (other is self._client and other.unsent)):
                other.break_off()
            self._settle()

        end.on_data, end.on_over, end.on_gone, end.on_clog = on_data, on_over, on_gone, other.hold

    def _from_client(self, data: bytes) -> None:
        self._passage.request_bytes += len(data)
        if self._session is not None:
            self._read(self._session.client, data)

    def _from_upstream(self, data: bytes) -> None:
        self._passage.response_bytes += len(data)
        if self._session is not None:
            self._read(self._session.upstream, data)

    def _read(self, read: Callable[[bytes, float], Iterable[Turn]], data: bytes) -> None:
        try:
            for turn in read(data, self._moved):
                self._tell(self._passage, turn)
        except Exception as error:  # noqa: BLE001 - what cannot be read still passes
            self._report("tap", error)

    @property
    def _said_goodbye(self) -> bool:
        return self._session is not None and self._session.closed_by is not None

    def _blame(self, blame: Outcome, *, clean: bool) -> None:
        """Note how it ended, by the first end that did."""
        if self._first is not None:
            return
        self._first = blame
        session = self._session
        # Who says goodbye ends well; where goodbyes are not looked for, so does who just says no more.
        readable = session is not None and session.readable
        well = self._said_goodbye or (clean and not readable)
        self._passage.broke(Outcome.OK if well else blame)

    # How long it may last.

    def _look(self) -> None:
        """Give up where nothing has moved for too long; look again when that may be."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._done.done():
            return
        quiet = time.monotonic() - self._moved
        half_open = self._client.over or self._upstream.over
        if self._idle is not None and quiet >= self._idle:
            self._passage.broke(Outcome.TIMEOUT)
            self.break_off()
        elif half_open and quiet >= _HALF_OPEN_SECONDS and not (self._client.unsent or self._upstream.unsent):
            self._settle()
        else:
            waits = [] if self._idle is None else [self._idle - quiet]
            waits += [_HALF_OPEN_SECONDS] if half_open else []
            if waits:
                self._timer = asyncio.get_running_loop().call_later(min(waits), self._look)

    def _settle(self) -> None:
        if not self._done.done():
            self._done.set_result(None)

    def _finish(self) -> None:
        """Let go of both ends, and tell of what was under way."""
        self._settle()
        self._look()
        for end in (self._client, self._upstream):
            end.forget()
            if not end.gone:
                end.close(_FLUSH_SECONDS)
        session = self._session
        if session is not None:
            cause = session.closed_by or self._first or Outcome.CLIENT_CLOSED
            now = time.monotonic()
            self._read(lambda *_: session.end(now, cause), b"")
