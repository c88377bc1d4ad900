"""Sums over a span of time, by rollups where these tell whole hours or days, and by `exchanges` elsewhere.

A question becomes a few cells: exchanges that agree in what was asked by, and their sums. The span is cut
into pieces. Hours for which there are rollups are answered by them, and days of such hours by their sums
where these are there (see `days.py`); what lies before the first and behind the last of them, and hours that
the span cuts, by the exchanges themselves, so that sums are exact to the microsecond. An hour that is cut and
has lost exchanges to their retention is taken whole, and the answer's span says so. Rollups that were off in
the midst of a span are not noticed.

The database adds up; only by the value of a tag is grouped in Python, where its JSON has one meaning.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from sqlalchemy import func, literal_column, select

from meter.exchange import KINDS
from meter.ledger.columns import EDGES, PART, TAG, of_days, of_exchanges, of_rollups
from meter.ledger.days import DAY, spans
from meter.ledger.schema import NONE, SUMS, hour_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, ScalarSelect, Select

    from meter.ledger.columns import Columns
    from meter.ledger.schema import Tables

__all__ = ["FIELDS", "FOREVER", "TAG", "Cell", "Cells", "QuestionError", "cells", "field_named"]

_MINUTE = "minute"

FIELDS = (
    "key",
    "model",
    "upstream",
    "operation",
    "outcome",
    "error_type",
    "usage_source",
    "price_status",
    "day",
    "hour",
    _MINUTE,
)
"""What one may ask by, besides `tag.<name>`."""

FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
"""The end of a span that has none."""

_HOUR = timedelta(hours=1)
_BY_MINUTE_HOURS = 48
"""No rollup tells of minutes, so all exchanges of a span are read: of a longer one that would be too many."""
_WHOLE = frozenset({"requests", "errors", *KINDS})


class QuestionError(ValueError):
    """A question that the ledger has no answer to."""


def field_named(name: str) -> str:
    """Give a field as answers call it; raises `QuestionError` for one that cannot be asked by."""
    if name.startswith((TAG, "tag:")) and len(name) > len(TAG):
        return TAG + name[len(TAG) :]
    if name not in FIELDS:
        raise QuestionError(f"got the field {name!r}, expected one of {', '.join(FIELDS)}, tag.<name>")
    return name


class Cell(NamedTuple):
    """Exchanges that agree in all that was asked by."""

    group: tuple[Any, ...]
    sums: Mapping[str, Any]
    """Whole numbers, floats and `Decimal`; what is 0 is absent."""


@dataclass(frozen=True, slots=True)
class Cells:
    """The answer, and the span that it is for."""

    since: datetime
    until: datetime
    cells: Sequence[Cell]


def cells(
    connection: Connection,
    tables: Tables,
    *,
    by: Sequence[str],
    since: datetime,
    until: datetime = FOREVER,
    where: Mapping[str, Sequence[Any]] | None = None,
    sums: Sequence[str],
) -> Cells:
    """Add up `sums` of the exchanges that ended in [since, until), grouped by `by`.

    `by`: fields of `FIELDS`, `cut_short`, `tag.<name>`; `where`: by such fields, values of which one must
    hold. A tag that an exchange does not have is `none`. `sums`: names of `meter.ledger.schema.SUMS`, and
    `meter.ledger.columns.EDGES`.
    """
    question = _Question(tuple(by), where or {}, tuple(sums))
    pieces = _by_minute(since, until) if question.minutes else _pieces(connection, tables, since, until)
    if not question.hours:
        by_day = partial(of_days, tags=question.tags)
        pieces = [part for piece in pieces for part in _by_days(connection, tables, piece, by_day)]
    found: dict[tuple[Any, ...], dict[str, Any]] = defaultdict(dict)
    for piece in pieces:
        for group, told in question.ask(connection, tables, piece):
            _merge(found[group], told)
    widened = [piece for piece in pieces if piece.widened]
    return Cells(
        min([since, *(piece.since for piece in widened)]),
        max([until, *(piece.until for piece in widened)]),
        [Cell(group, told) for group, told in found.items()],
    )


_EXTREMES: Mapping[str, Callable[[Any, Any], Any]] = {"first": min, "last": max}


def _merge(into: dict[str, Any], told: Mapping[str, Any]) -> None:
    for name, value in told.items():
        if name not in into:
            into[name] = value
        elif name in _EXTREMES:
            into[name] = _EXTREMES[name](into[name], value)
        else:
            into[name] += value


# --- The pieces of a span ---


class _Piece(NamedTuple):
    of: Callable[..., Columns]
    """By what it is answered."""
    since: datetime
    until: datetime
    widened: bool = False
    """It is more than was asked for: the exchanges that would tell are gone."""
    sums: Collection[str] = (*SUMS, *EDGES)
    """Those that are not known to be 0."""


def _pieces(connection: Connection, tables: Tables, since: datetime, until: datetime) -> list[_Piece]:
    if since >= until:
        return []
    begin, end = hour_of(since), hour_of(until)
    first, last = _told_hours(connection, tables, begin, until)
    if first is None or last is None:
        return [_Piece(of_exchanges, since, until)]
    cut = sorted({hour for hour, edge in ((begin, since), (end, until)) if hour != edge})
    edges = [_edge(connection, tables, hour, max(hour, since), min(hour + _HOUR, until)) for hour in cut]
    begin += _HOUR if begin in cut else timedelta()
    first, last = max(first, begin), min(last + _HOUR, end)
    if first >= last:
        whole = [_Piece(of_exchanges, begin, end)]
    else:
        whole = [
            _Piece(of_exchanges, begin, first),
            _Piece(of_rollups, first, last),
            _Piece(of_exchanges, last, end),
        ]
    return edges + [piece for piece in whole if piece.since < piece.until]


def _by_minute(since: datetime, until: datetime) -> list[_Piece]:
    hours = (until - since) / _HOUR
    if hours > _BY_MINUTE_HOURS:
        raise QuestionError(f"minute: got a span of {hours:.6g} hours, expected {_BY_MINUTE_HOURS} at most")
    return [_Piece(of_exchanges, since, until)]


def _by_days(
    connection: Connection, tables: Tables, piece: _Piece, by_day: Callable[..., Columns]
) -> list[_Piece]:
    if piece.of is not of_rollups or piece.until - piece.since < DAY:
        return [piece]
    return [
        piece._replace(since=span.since, until=span.until)
        if span.sums is None
        else _Piece(by_day, span.since, span.until, sums=span.sums.union(EDGES))
        for span in spans(connection, tables, piece.since, piece.until)
    ]


def _told_hours(
    connection: Connection, tables: Tables, since: datetime, until: datetime
) -> tuple[datetime | None, datetime | None]:
    hour = tables.rollups.c.hour
    # Two steps along the index; MIN and MAX in one statement would read all of it.
    told = select(hour).where(hour >= since, hour < until).limit(1)
    first, last = (connection.scalar(told.order_by(order)) for order in (hour, hour.desc()))
    return first, last


def _edge(connection: Connection, tables: Tables, hour: datetime, since: datetime, until: datetime) -> _Piece:
    """Give the piece for an hour of which [since, until) is asked for."""
    within, kept = _kept(tables, since, until), _kept(tables, hour, hour + _HOUR)
    asked, there, told = connection.execute(select(within, kept, _told(tables, hour))).one()
    if asked == told or there < told:
        return _Piece(of_rollups, hour, hour + _HOUR, widened=asked != told)
    return _Piece(of_exchanges, since, until)


def _kept(tables: Tables, since: datetime, until: datetime) -> ScalarSelect[int]:
    ended = tables.exchanges.c.timestamp
    return select(func.count()).where(ended >= since, ended < until).scalar_subquery()


def _told(tables: Tables, hour: datetime) -> ScalarSelect[int]:
    c = tables.rollups.c
    return select(func.coalesce(func.sum(c.requests), 0)).where(c.hour == hour).scalar_subquery()


# --- What is asked of each piece ---


@dataclass(frozen=True, slots=True)
class _Question:
    by: tuple[str, ...]
    where: Mapping[str, Sequence[Any]]
    sums: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """What the database groups by."""
        return tuple(dict.fromkeys("tags" if field.startswith(TAG) else field for field in self.by))

    @property
    def minutes(self) -> bool:
        """Whether minutes are told apart."""
        return _MINUTE in (*self.by, *self.where)

    @property
    def hours(self) -> bool:
        """Whether hours are told apart."""
        return "hour" in (*self.by, *self.where)

    @property
    def tags(self) -> bool:
        """Whether tags are told apart."""
        return any(field.startswith(TAG) for field in (*self.by, *self.where))

    def ask(
        self, connection: Connection, tables: Tables, piece: _Piece
    ) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
        """Give the groups of a piece; one may come several times, for different tags."""
        lite = connection.dialect.name == "sqlite"
        of = piece.of(tables, lite=lite)
        columns, read = self.columns, cache(_tags)
        sums = [part for name in self.sums if name in piece.sums for part in of.sums(name)]
        if not (columns or sums):
            return  # there is nothing but zeros
        for row in connection.execute(self._statement(of, piece, sums)):
            told = row._asdict()
            known = {name: told.pop(name) for name in columns}
            tags = read(known["tags"]) if "tags" in known else {}
            group = (
                tags.get(field.removeprefix(TAG), NONE) if field.startswith(TAG) else known[field]
                for field in self.by
            )
            yield tuple(group), _added(told)

    def _statement(self, of: Columns, piece: _Piece, sums: Sequence[ColumnElement[Any]]) -> Select[Any]:
        return (
            select(*(of.field(name).label(name) for name in self.columns), *sums)
            .where(of.which, of.moment >= piece.since, of.moment < piece.until)
            .where(*(of.holds(name, values) for name, values in self.where.items()))
            # By place: PostgreSQL takes an expression with parameters for another one each time.
            .group_by(*(literal_column(str(place)) for place in range(1, len(self.columns) + 1)))
        )


def _tags(text: str) -> dict[str, str]:
    return msgspec.json.decode(text, type=dict[str, str])


def _added(told: dict[str, Any]) -> dict[str, Any]:
    if "cost_high" in told:
        high, low = told.pop("cost_high") or 0, told.pop("cost_low") or 0
        told["cost_usd"] = Decimal(high * PART + low).scaleb(-12)
    # PostgreSQL adds whole numbers up to a NUMERIC.
    return {name: int(value) if name in _WHOLE else value for name, value in told.items() if value}
