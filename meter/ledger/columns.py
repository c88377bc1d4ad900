"""What stands for each field and for each sum, in rollups and in `exchanges`.

Both give the same names, so that a question need not know which of the two it asks. A rollup has what its
name says; an exchange has JSON, of which only the parts that are asked for are read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import (
    JSON,
    BigInteger,
    Double,
    Numeric,
    String,
    case,
    cast,
    column,
    false,
    func,
    literal_column,
    not_,
    or_,
    true,
    type_coerce,
)

from meter.exchange import COUNTED, KINDS, UNITS, Outcome
from meter.ledger.schema import LENGTH_STOPS, NONE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import ColumnElement, FromClause
    from sqlalchemy.types import TypeEngine

    from meter.ledger.schema import Tables

__all__ = ["EDGES", "PART", "TAG", "Columns", "of_days", "of_exchanges", "of_rollups", "tagged"]

TAG = "tag."
"""Begins the field of a tag."""

EDGES = ("first", "last")
"""The moments of the first and the last exchange; their hours where a rollup tells them."""

PART = 10**9
"""SQLite's SUM would overflow at 9.2 million USD: whole numbers of 10^-12 USD are summed in two parts."""

_CLOCK = {
    "day": (10, "", "YYYY-MM-DD"),
    "hour": (13, ":00:00Z", 'YYYY-MM-DD"T"HH24":00:00Z"'),
    "minute": (16, ":00Z", 'YYYY-MM-DD"T"HH24:MI":00Z"'),
}
"""How many characters of a moment in SQLite, and what follows them; the form for PostgreSQL's `to_char`."""

_EXTREMES: Mapping[str, Callable[[Any], ColumnElement[Any]]] = {"first": func.min, "last": func.max}


@dataclass(frozen=True, slots=True)
class Columns:
    """The rows of one table as rollups have them, whichever it is."""

    moment: ColumnElement[Any]
    named: Mapping[str, ColumnElement[Any]]
    lite: bool
    """Whether this is SQLite."""
    which: ColumnElement[bool] = field(default_factory=true)
    """Those of the table's rows that are meant."""

    def field(self, name: str) -> ColumnElement[Any]:
        """Give what to group by for a field."""
        if name not in _CLOCK:
            return self.named[name]
        length, rest, form = _CLOCK[name]
        if self.lite:
            return func.substr(self.moment, 1, length, type_=String()).concat(rest)
        return func.to_char(func.timezone("UTC", self.moment), form, type_=String())

    def holds(self, name: str, values: Sequence[Any]) -> ColumnElement[bool]:
        """Say whether a field or a tag has one of these values."""
        if name.startswith(TAG):
            return tagged(self.named["tags"], name.removeprefix(TAG), values, lite=self.lite)
        return self.field(name).in_(list(values))

    def sums(self, name: str) -> Sequence[ColumnElement[Any]]:
        """Give what to select for a sum; two parts, `cost_high` and `cost_low`, for an amount in SQLite."""
        if name in _EXTREMES:
            return [_EXTREMES[name](self.named[name]).label(name)]
        if name == "cost_usd" and self.lite:
            amount = type_coerce(self.named[name], BigInteger)
            return [func.sum(amount // PART).label("cost_high"), func.sum(amount % PART).label("cost_low")]
        return [func.sum(self.named[name]).label(name)]


def of_rollups(tables: Tables, *, lite: bool) -> Columns:
    """Give rollups, which are what they are."""
    c = tables.rollups.c
    return Columns(c.hour, {**dict(c.items()), **dict.fromkeys(EDGES, c.hour)}, lite)


def of_days(tables: Tables, *, lite: bool, tags: bool) -> Columns:
    """Give rollups of whole days, told apart by tags or not."""
    c = tables.day_rollups.c
    edges = {"first": c.first_hour, "last": c.last_hour}
    return Columns(c.day, {**dict(c.items()), **edges}, lite, c.tagged.is_(tags))


def of_exchanges(tables: Tables, *, lite: bool) -> Columns:
    """Give exchanges, each as it was added to its rollup."""
    c = tables.exchanges.c
    counted = c.usage_source.in_([source.value for source in sorted(COUNTED)])
    usage, units = _members(c.usage, KINDS, lite=lite), _members(c.units, UNITS, lite=lite)
    return Columns(
        c.timestamp,
        {
            **dict(c.items()),
            **dict.fromkeys(EDGES, c.timestamp),
            "cut_short": _has(c.finish_reasons, [_json(stop) for stop in sorted(LENGTH_STOPS)], lite=lite),
            "requests": literal_column("1", BigInteger()),
            "errors": case((c.outcome != Outcome.OK.value, 1), else_=0),
            **{kind: case((counted, tokens), else_=0) for kind, tokens in usage.items()},
            **units,
        },
        lite,
    )


def _members(text: ColumnElement[str], names: Sequence[str], *, lite: bool) -> dict[str, ColumnElement[Any]]:
    """Give the numbers in the text of a JSON object, each by its name."""
    if lite:
        return {name: func.json_extract(text, f"$.{name}") for name in names}
    kind: TypeEngine[Any] = Numeric() if names is KINDS else Double()
    # Read as a record, once for a row, and not again for each member.
    record: FromClause = (
        func.json_to_record(cast(text, JSON))
        .table_valued(*(column(name, kind) for name in names), joins_implicitly=True)
        .render_derived(name="usage_of" if names is KINDS else "units_of", with_types=True)
    )
    return {name: record.c[name] for name in names}


def tagged(tags: ColumnElement[str], name: str, values: Sequence[str], *, lite: bool) -> ColumnElement[bool]:
    """Say whether the text of tags has one of these values under a name; no such tag is `none`."""
    member = f"{_json(name)}:"
    has_one = _has(tags, [f"{member}{_json(value)}" for value in values], lite=lite)
    return or_(has_one, not_(_has(tags, [member], lite=lite))) if NONE in values else has_one


def _json(text: str) -> str:
    return msgspec.json.encode(text).decode()


def _has(text: ColumnElement[str], parts: Sequence[str], *, lite: bool) -> ColumnElement[bool]:
    """Say whether any of these parts, which begin with a text, is in the JSON of a flat list or object.

    A quotation mark inside of a text has a backslash before it. So `["`, `{"` and `,"` are found only where
    a text begins, or where one ends, and then neither a name nor a word comes next.
    """
    place = func.instr if lite else func.strpos
    return or_(false(), *(place(text, before + part) > 0 for part in parts for before in "[{,"))
