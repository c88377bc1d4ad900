"""A sink is told of each finished exchange, once.

It is a callable of one argument that gives nothing back, and returns at once: one that has to wait keeps a
queue and a thread of its own. What goes wrong in a sink is counted and goes no further, neither to the
client, who has had an answer, nor to the sinks beside it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from meter.exchange import Exchange

__all__ = ["Sink", "Sinks"]


class Sink(Protocol):
    """One way of telling the world."""

    @property
    def name(self) -> str:
        """What the sink is called in metrics and messages."""

    def __call__(self, exchange: Exchange) -> None:
        """Tell of one exchange; may raise, must not wait."""

    def close(self) -> None:
        """Tell what is still untold, and let go of what is open."""


class Sinks:
    """Tells all sinks in turn; `on_error(name, error)` hears of each one that failed."""

    def __init__(self, sinks: Iterable[Sink], on_error: Callable[[str, BaseException], None]) -> None:
        self._sinks = tuple(sinks)
        self._on_error = on_error

    def tell(self, exchange: Exchange) -> None:
        """Tell every sink of an exchange; never raises."""
        for sink in self._sinks:
            try:
                sink(exchange)
            except Exception as error:  # noqa: BLE001  whatever it is, it must not reach the client
                self._failed(sink, error)

    def close(self) -> None:
        """Close every sink, in the order in which they are told; never raises."""
        for sink in self._sinks:
            try:
                sink.close()
            except Exception as error:  # noqa: BLE001  the sinks after it have something to flush too
                self._failed(sink, error)

    def _failed(self, sink: Sink, error: Exception) -> None:
        # If even the report fails (a log line to a closed standard output), nobody is left who could be told.
        with suppress(Exception):
            self._on_error(sink.name, error)
