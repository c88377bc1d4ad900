"""Keeps exchanges in the ledger, whatever becomes of the database, and without anybody waiting for it.

Three hands, each of which may be slow without holding up the one before it. Whoever serves puts an exchange
into a queue. The collector, a thread, makes rows of what is there a few times a second, and offers them to
`meter.ledger.writer`, another thread, which has a moment to commit them; after that they go to a file, where
they outlive a kill. What is slow to import is imported when a sink is made, before anybody is served: what
comes first is to outlive a kill as well.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import Any

    from sqlalchemy import Connection

    from meter.exchange import Exchange
    from meter.ledger.schema import Tables
    from meter.ledger.writer import Entry, Writer

__all__ = ["LedgerSink"]

_QUEUE = 10_000
"""Exchanges that wait for the collector; where there are more, the newest are dropped."""

_PAUSE_SECONDS = 0.1
"""So long exchanges gather before they are collected."""

_APART_SECONDS = 0.25
"""So long is from one collection to the next at least: a batch of a few rows costs what one of many does."""

_AGAIN_SECONDS = 0.5
"""So long is waited where there is room neither in the database nor in the spill."""

_CLOSE_SECONDS = 5.0


class LedgerSink:
    """Writes a row for each exchange, in threads of its own.

    `url`: of the ledger, which is made or migrated first; `retention`: seconds that rows are kept;
    `spill`: the folder for what the database does not take. `on_drop` hears of each exchange that is lost,
    `on_error` of each failure, by an error that has no statement and no value in it. `on_kept` hears of
    exchanges that are in the database now, some maybe twice, and some another process's. `between` is work
    for every so many seconds, and for first of all after opening. All of these are called from threads of
    the sink. `optional`: a ledger that permissions forbid is done without, and one error told.
    """

    name = "ledger"

    def __init__(
        self,
        url: str,
        *,
        retention: float,
        rollups: bool,
        spill: Path | None,
        on_drop: Callable[[], None],
        on_error: Callable[[BaseException], None],
        on_kept: Callable[[Sequence[Exchange]], None] | None = None,
        between: tuple[float, Callable[[Connection, Tables], None]] | None = None,
        optional: bool = False,
    ) -> None:
        self._queue: SimpleQueue[Exchange | None] = SimpleQueue()
        """None: look what has become of the flags below."""
        self._on_drop = on_drop
        self._off = False
        """Permissions forbid the ledger."""
        self._closing = Event()
        self._until = math.inf

        self._writer = self._made(
            url=url,
            retention=retention,
            rollups=rollups,
            spill=spill,
            on_drop=on_drop,
            on_error=on_error,
            on_kept=on_kept,
            between=between,
            on_denied=self._give_up if optional else None,
        )
        self._collector = Thread(target=self._collect, name="meter-ledger", daemon=True)
        self._collector.start()

    def __call__(self, exchange: Exchange) -> None:
        """Take an exchange; never waits, never raises."""
        if self._off:
            return
        if self._closing.is_set() or self._queue.qsize() >= _QUEUE:
            self._on_drop()
        else:
            self._queue.put(exchange.discreet)

    def close(self) -> None:
        """Write what is left, for five seconds at the most; then spill it, or drop and count it."""
        if not self._closing.is_set():
            self._until = time.monotonic() + _CLOSE_SECONDS
            self._closing.set()
            self._queue.put(None)
        self._collector.join(max(0.0, self._until - time.monotonic()) + 2 * _AGAIN_SECONDS)

    @staticmethod
    def _made(**plan: Any) -> Writer:
        from meter.ledger.writer import Plan, Writer  # noqa: PLC0415 - slow, and not needed by `ledger: off`

        return Writer(Plan(**plan))

    def _give_up(self) -> None:
        self._off = True
        self._queue.put(None)

    # The collector.

    def _collect(self) -> None:
        writer = self._writer
        due = 0.0
        while not self._off and not self._closing.is_set():
            first = self._queue.get()
            self._closing.wait(max(_PAUSE_SECONDS, due - time.monotonic()))
            due = time.monotonic() + _APART_SECONDS
            self._pass_on(writer, self._entries(writer, first))
        self._pass_on(writer, self._entries(writer, None))
        writer.close(min(self._until, time.monotonic() + _CLOSE_SECONDS))

    def _pass_on(self, writer: Writer, entries: Sequence[Entry]) -> None:
        """Bring entries to safety; where there is none, wait for it, but not beyond the end."""
        while entries := () if self._off else writer.taken(entries):
            left = self._until - time.monotonic()
            if left <= 0:
                for _ in entries:
                    self._on_drop()
                return
            time.sleep(min(_AGAIN_SECONDS, left))

    def _entries(self, writer: Writer, first: Exchange | None) -> list[Entry]:
        from meter.ledger.schema import row  # noqa: PLC0415 - slow: see the top
        from meter.ledger.writer import Entry  # noqa: PLC0415

        entries = []
        for exchange in self._waiting(first):
            try:
                entries.append(Entry(row(exchange), exchange))
            except Exception as error:  # noqa: BLE001 - one bad exchange must not cost the others
                writer.lost(error)
        return entries

    def _waiting(self, first: Exchange | None) -> Iterator[Exchange]:
        if first is not None:
            yield first
        with suppress(Empty):
            for _ in range(_QUEUE):
                exchange = self._queue.get_nowait()
                if exchange is not None:
                    yield exchange
