"""A worker's mouth: the sink that sends finished exchanges to the parent, and everything else that it says.

Exchanges gather for some hundredths of a second, for to wake the parent costs as much as to tell of one. What
is said besides goes at once, and never before what happened before it. A parent that does not listen stops
nobody: there is room for a while, and what there is no room for is counted.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from msgspec import structs

from meter.telling import sound
from meter.workers.wire import Dropped, Failed, Noted, Records, spoken

if TYPE_CHECKING:
    from typing import Any

    from meter.exchange import Exchange
    from meter.workers.wire import Word

__all__ = ["Relay"]

_GATHER_SECONDS = 0.025
_MOST = 200
"""Exchanges that gather."""

_ROOM = 64 << 20
"""Bytes that may wait for the parent."""


class Relay:
    """Says words to the parent; a sink."""

    name = "relay"

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._gathered: list[Exchange] = []
        self._timer: asyncio.TimerHandle | None = None
        self._dropped = 0

    def __call__(self, exchange: Exchange) -> None:
        """Tell of an exchange, soon."""
        self._gathered.append(exchange)
        if len(self._gathered) >= _MOST:
            self.flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(_GATHER_SECONDS, self.flush)

    def say(self, word: Word) -> None:
        """Say a word now."""
        self.flush()
        self._write(word)

    def flush(self) -> None:
        """Tell what has gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._gathered or self._writer.transport.is_closing():
            return
        exchanges, self._gathered = self._gathered, []
        if self._writer.transport.get_write_buffer_size() > _ROOM:
            self._dropped += len(exchanges)
            return
        if self._dropped:
            self._write(Dropped(self._dropped))
            self._dropped = 0
        try:
            frame = spoken(Records(exchanges))
        except Exception:  # noqa: BLE001 - one that cannot be said must not cost the others
            for exchange in exchanges:
                self._write(Records([_sound(exchange)]))
        else:
            self._writer.write(frame)

    def _write(self, word: Word) -> None:
        if self._writer.transport.is_closing():  # the parent is no more, and nobody will ever hear of it
            return
        try:
            self._writer.write(spoken(word))
        except Exception as error:  # noqa: BLE001 - whatever it is, clients have nothing to do with it
            self.failed(self.name, error)

    # What a worker's parts tell of, besides exchanges.

    def failed(self, part: str, error: BaseException | None) -> None:
        """Tell that a part has failed."""
        self.say(Failed(part, type(error).__name__ if error is not None else None))

    def log(self, level: int, event: str, **told: Any) -> None:
        """Tell of an event for the log."""
        texts = {name: None if value is None else str(value) for name, value in told.items()}
        self.say(Noted(logging.getLevelName(level).lower(), event, texts))

    def close(self) -> None:
        """Tell what is still untold."""
        self.flush()


def _sound(exchange: Exchange) -> Exchange:
    """Return an exchange without lone surrogates, of which everybody who is told makes the same sign."""
    told = {name: sound(getattr(exchange, name)) for name in exchange.__struct_fields__}
    return structs.replace(exchange, **told)
