"""What rows add to the rollups of their hours.

Most rows of a batch have all in common that one may ask by, so they are added up together.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from meter.exchange import COUNTED, KINDS, UNITS, Outcome
from meter.ledger.schema import BRIEF, GROUP, LENGTH_STOPS, SUMS, Common, Row, hour_of, row_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Key", "Sums", "key_of", "rollup_of", "summed"]

Key: TypeAlias = tuple[datetime, str]
"""By what a rollup is found: its hour and digest."""

Sums: TypeAlias = dict[Key, dict[str, Any]]
"""Rollups of what was added up: `GROUP`, `digest` and `SUMS`."""

_HOUR = timedelta(hours=1)
_NAMED = tuple(name for name in GROUP if name not in ("hour", "cut_short"))
_KEPT = 256
"""So many groups are remembered."""


def summed(rows: Sequence[Row], times: int = 1, sums: Sums | None = None) -> Sums:
    """Add what rows add to each rollup to `sums`, which may have some; with `times` -1, take it away."""
    sums = {} if sums is None else sums
    for hour, some in _by_hour(rows):
        alike: dict[Common, list[Row]] = {}
        for row in some:
            alike.setdefault(row.common, []).append(row)
        for common, group in alike.items():
            rollup = {"hour": hour, **_group_of(common), **_ZEROS}
            _count_in(sums.setdefault(key_of(rollup), rollup), common, group, times)
    return sums


def rollup_of(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Give what one row adds to its hour's rollup."""
    [rollup] = summed([row_of(columns)]).values()
    return rollup


def key_of(rollup: Mapping[str, Any]) -> Key:
    """Tell by what a rollup is found."""
    return rollup["hour"], rollup["digest"]


def _by_hour(rows: Sequence[Row]) -> Iterable[tuple[datetime, Sequence[Row]]]:
    if not rows:
        return ()
    moments = [row.timestamp for row in rows]
    hour = hour_of(min(moments))
    if max(moments) - hour < _HOUR:  # nearly always, and quicker than to ask each
        return [(hour, rows)]
    found: dict[datetime, list[Row]] = {}
    for row in rows:
        found.setdefault(hour_of(row.timestamp), []).append(row)
    return found.items()


_shared = itemgetter(*_NAMED, "finish_reasons")


def _group_of(common: Common) -> Mapping[str, Any]:
    brief = len(common.columns["tags"]) + len(common.columns["finish_reasons"]) <= BRIEF
    return (_group if brief else _group.__wrapped__)(_shared(common.columns))


@lru_cache(_KEPT)
def _group(shared: tuple[Any, ...]) -> Mapping[str, Any]:
    *named, reasons = shared
    cut_short = not LENGTH_STOPS.isdisjoint(msgspec.json.decode(reasons))
    group = {**dict(zip(_NAMED, named, strict=True)), "cut_short": cut_short}
    return {**group, "digest": _digest(group)}


def _digest(group: Mapping[str, Any]) -> str:
    named = [str(group[name]) for name in GROUP if name != "hour"]
    return hashlib.blake2b(msgspec.json.encode(named), digest_size=16).hexdigest()


def _count_in(rollup: dict[str, Any], common: Common, rows: Sequence[Row], times: int) -> None:
    count = times * len(rows)
    rollup["requests"] += count
    rollup["errors"] += count * (common.columns["outcome"] != Outcome.OK)
    rollup["duration_s"] += times * sum([row.duration_s for row in rows])
    rollup["cost_usd"] += times * sum([row.cost_usd for row in rows if row.cost_usd is not None])
    if common.columns["usage_source"] in COUNTED:
        counts: Counter[str] = Counter()
        for row in rows:
            for kind, n in row.counts.items():
                counts[kind] += n
        _count(_KINDS, counts, rollup, times)
    _count(_UNITS, msgspec.json.decode(common.columns["units"]), rollup, count)


def _count(names: frozenset[str], told: Mapping[str, Any], rollup: dict[str, Any], times: int) -> None:
    for name, number in told.items():
        if name in names:
            rollup[name] += times * number


_KINDS, _UNITS = frozenset(KINDS), frozenset(UNITS)
_ZEROS: Mapping[str, Any] = {
    **dict.fromkeys(SUMS, 0),
    **dict.fromkeys(("duration_s", *UNITS), 0.0),
    "cost_usd": Decimal(0),
}
