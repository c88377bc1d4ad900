"""What has just gone by, in numbers: what the admin port tells of the last minute and of the last ten.

A sink that adds each exchange to the cell of the second in which it ended, and forgets it. Cells stand in
rings that never grow: one of seconds, and one of 5 seconds each, to which what leaves the first is added.
They have sums and counts alone, so that several are merged by adding them up; a `Snapshot` is plain data.

Times are counted in buckets, 15 to each doubling, from 0.12 ms to 68 minutes: in that range a percentile is
within 5 % of the time at its rank. It is never less than the least time seen, nor more than the most. Cells
go by the wall clock, as exchanges do; no clock is read here.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate
from math import log2
from operator import add
from typing import TYPE_CHECKING, Any

from meter.exchange import COUNTED, Outcome
from meter.telling import rounded

if TYPE_CHECKING:
    from collections.abc import Callable

    from meter.exchange import Exchange

__all__ = ["CELL_S", "SPAN_S", "WINDOW_S", "Cell", "Live", "Snapshot", "Times", "told"]

WINDOW_S = 60
"""Whole seconds that rates and percentiles are over."""

CELL_S = 5
SPAN_S = 600
"""Cells of so many seconds go back so far."""

_SPARE = 4
"""Cells beyond those that are told: the one under way, and what two clocks do not agree in."""

_FINE = 15
"""Buckets to each doubling."""

# Asked for by every exchange, and to ask an enumeration takes longer than to count.
_OK, _CLIENT_CLOSED = Outcome.OK, Outcome.CLIENT_CLOSED

_LEAST_S, _MOST_S = 2.0**-13, 2.0**12
_OFFSET = 13 * _FINE + 1
_BUCKETS = 25 * _FINE + 2
"""The first has what is shorter than all others take, the last what is longer."""

_NEVER = sys.float_info.max
"""Longer than anything takes; not infinite, which JSON cannot say."""


@dataclass(slots=True)
class Times:
    """How many took how long."""

    counts: list[int] = field(default_factory=lambda: [0] * _BUCKETS)
    low: float = _NEVER
    """The least of them, in seconds."""
    high: float = 0.0
    """The most."""

    def count(self, seconds: float) -> None:
        """Count one."""
        if _LEAST_S <= seconds < _MOST_S:
            self.counts[int(log2(seconds) * _FINE + _OFFSET)] += 1
        else:
            self.counts[0 if seconds < _LEAST_S else -1] += 1
        if seconds < self.low:  # noqa: PLR1730 - `min` takes longer than all else here
            self.low = seconds
        if seconds > self.high:  # noqa: PLR1730 - so does `max`
            self.high = seconds

    def __add__(self, others: Times) -> Times:
        """Give these and those."""
        if others.low == _NEVER:
            return self
        counts = list(map(add, self.counts, others.counts))
        return Times(counts, min(self.low, others.low), max(self.high, others.high))

    def percentiles(self, *percents: int) -> list[float | None]:
        """Return the time that so many percent did not exceed, for each; `None` where there was none."""
        if self.low == _NEVER:
            return [None] * len(percents)
        upto = list(accumulate(self.counts))
        return [self._of_rank((upto[-1] * percent + 99) // 100, upto) for percent in percents]

    def _of_rank(self, rank: int, upto: list[int]) -> float:
        bucket = bisect_left(upto, rank)
        begin, end = max(self.low, _edge(bucket)), min(self.high, _edge(bucket + 1))
        # As if all of one bucket stood in it at the same distances.
        found = end - (end - begin) * (upto[bucket] - rank + 0.5) / self.counts[bucket]
        return min(max(found, self.low), self.high)


def _edge(bucket: int) -> float:
    """Give the least time of a bucket."""
    return _NEVER if bucket >= _BUCKETS else 0.0 if bucket < 1 else 2.0 ** ((bucket - _OFFSET) / _FINE)


@dataclass(slots=True)
class Cell:
    """What ended within some seconds."""

    at: int
    """The Unix second with which it begins."""
    requests: int = 0
    errors: int = 0
    """Those that ended neither well nor by the client's leaving."""
    client_closed: int = 0
    tokens: int = 0
    """Of all kinds, reported and estimated ones."""
    cost_usd: Decimal = Decimal(0)
    """All known costs."""
    in_flight: int = 0
    """The most that were under way at one look; of several processes, the sum of what each saw."""
    ttft: Times = field(default_factory=Times)
    duration: Times = field(default_factory=Times)

    def __add__(self, other: Cell) -> Cell:
        """Give a cell that begins with this one and has what is in both."""
        return Cell(self.at, *(getattr(self, name) + getattr(other, name) for name in _SUMS))


_SUMS = tuple(each.name for each in fields(Cell) if each.name != "at")


class _Ring:
    """The last cells of a width, each in a place that a later one takes; `leave` is handed the one before."""

    def __init__(self, width_s: int, span_s: int, leave: Callable[[Cell], None] = lambda _: None) -> None:
        self._width = width_s
        self._cells = [Cell(-1)] * (span_s // width_s + _SPARE)
        self._leave = leave
        self._last = Cell(-width_s - 1)
        """The one that was asked for last, most likely the next as well."""

    def cell(self, second: int) -> Cell:
        """Give the cell that a second belongs to."""
        if 0 <= second - self._last.at < self._width:
            return self._last
        number, past = divmod(second, self._width)
        place = number % len(self._cells)
        cell = self._cells[place]
        if cell.at != second - past:
            self._leave(cell)
            cell = self._cells[place] = Cell(second - past)
        self._last = cell
        return cell

    def add(self, cell: Cell) -> None:
        """Add a cell to the one that it belongs to, by a new one: who has a snapshot keeps what he has."""
        here = self.cell(cell.at)
        self._last = self._cells[here.at // self._width % len(self._cells)] = here + cell

    def since(self, begin: int) -> list[Cell]:
        """Give the cells from a second on, in no order; those in which nothing is may be left out."""
        return [cell for cell in self._cells if cell.at >= begin]


@dataclass(slots=True)
class Snapshot:
    """What a `Live` has at a moment; msgspec takes it from one process to another."""

    at: float
    """Unix time, as all of these."""
    began: float
    seconds: list[Cell]
    """What ended last, by the second: more than a minute of it."""
    cells: list[Cell]
    """What ended before, in cells of 5 s, and how many were under way until now."""


class Live:
    """Adds up what ends from `now` on; told and looked at on one thread."""

    name = "live"

    def __init__(self, now: float) -> None:
        self._began = now
        self._cells = _Ring(CELL_S, SPAN_S)
        self._seconds = _Ring(1, WINDOW_S, self._settle)

    def __call__(self, exchange: Exchange) -> None:
        """Count an exchange into the second in which it ended."""
        x = exchange
        cell = self._seconds.cell(int(x.started_at + x.duration_s))
        cell.requests += 1
        if x.outcome is _CLIENT_CLOSED:
            cell.client_closed += 1
        elif x.outcome is not _OK:
            cell.errors += 1
        if x.usage and x.usage_source in COUNTED:
            cell.tokens += sum(x.usage.values())
        if x.cost_usd is not None:
            cell.cost_usd += x.cost_usd
        if x.ttft_s is not None:
            cell.ttft.count(x.ttft_s)
        cell.duration.count(x.duration_s)

    def look(self, now: float, in_flight: int) -> None:
        """Take note of how many exchanges are under way; wants to be called every second or more often."""
        self._began = min(self._began, now)  # the clock may be set back
        self._seconds.cell(int(now))
        cell = self._cells.cell(int(now))
        cell.in_flight = max(cell.in_flight, in_flight)

    def close(self) -> None:
        """Do nothing: what is kept ends with the process."""

    def snapshot(self, now: float) -> Snapshot:
        """Return what has gone by; nothing of it goes away, and nothing is moved, while it is read."""
        begin = int(now) - SPAN_S - CELL_S
        return Snapshot(now, self._began, self._seconds.since(begin), self._cells.since(begin))

    def _settle(self, second: Cell) -> None:
        """Move what is more than a minute old to where it is kept for ten."""
        if second.requests:
            self._cells.add(second)


_PERCENTS = {"p50": 50, "p90": 90, "p99": 99}


def told(snapshot: Snapshot) -> dict[str, Any]:
    """Give what the admin port tells of it, for JSON: the last minute, and cell by cell the last ten."""
    second, began = int(snapshot.at), int(snapshot.began)
    window_s = min(WINDOW_S, max(0, second - began))
    last = Cell(second - window_s)
    for cell in snapshot.seconds:
        if second - window_s <= cell.at < second:
            last += cell
    return {
        "at": datetime.fromtimestamp(snapshot.at, UTC),
        "started": datetime.fromtimestamp(snapshot.began, UTC),
        "window_s": window_s,
        "requests": last.requests,
        "errors": last.errors,
        "client_closed": last.client_closed,
        "tokens": last.tokens,
        "cost_usd": last.cost_usd,
        "requests_per_s": _per(last.requests, window_s),
        "tokens_per_s": _per(last.tokens, window_s),
        "error_share": _per(last.errors, last.requests) if last.requests else None,
        "ttft_s": _spread(last.ttft),
        "duration_s": _spread(last.duration),
        "cell_s": CELL_S,
        "cells": [_told(cell) for cell in _all(snapshot)],
    }


def _all(snapshot: Snapshot) -> list[Cell]:
    """Give the cells of ten minutes that are over, oldest first, from the start on where that is later."""
    end = _whole(int(snapshot.at))
    begin = max(end - SPAN_S, _whole(int(snapshot.began)))
    found = {cell.at: cell for cell in snapshot.cells}
    for cell in snapshot.seconds:
        if cell.requests:
            at = _whole(cell.at)
            found[at] = found.get(at, Cell(at)) + cell
    return [found.get(at) or Cell(at) for at in range(begin, end, CELL_S)]


def _whole(second: int) -> int:
    """Give the second with which the cell of a second begins."""
    return second // CELL_S * CELL_S


def _told(cell: Cell) -> dict[str, Any]:
    ttft, duration = cell.ttft.percentiles(50, 99), cell.duration.percentiles(50, 99)
    return {
        "at": datetime.fromtimestamp(cell.at, UTC),
        "requests": cell.requests,
        "errors": cell.errors,
        "tokens": cell.tokens,
        "cost_usd": cell.cost_usd,
        "in_flight": cell.in_flight,
        "ttft_p50_s": rounded(ttft[0]),
        "ttft_p99_s": rounded(ttft[1]),
        "duration_p50_s": rounded(duration[0]),
        "duration_p99_s": rounded(duration[1]),
    }


def _spread(times: Times) -> dict[str, float | None]:
    found = times.percentiles(*_PERCENTS.values())
    return dict(zip(_PERCENTS, map(rounded, found), strict=True))


def _per(amount: int, of: int) -> float:
    return round(amount / of, 6) if of else 0.0
