"""Whole days, added up from the rollups of their hours, so that a long span is read in little time.

A day that is over is folded, once: `day_rollups` has its sums twice, told apart by their tags and not, for
most questions do not ask for tags, and it is tags that make rollups many. `days` says of which days this is
true, and which sums are not 0 in them, for each sum takes its time. Whoever changes a rollup unfolds its day
first, in the same transaction, and the day is folded anew later; until then its hours tell. So nothing but
time depends on what is here.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from sqlalchemy import Double, bindparam, cast, delete, func, literal, select, text

from meter.exchange import KINDS
from meter.ledger.schema import GROUP, SUMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection, Delete, Select, Table

    from meter.ledger.database import Database
    from meter.ledger.schema import Tables

__all__ = ["DAY", "Span", "day_of", "fold", "spans", "unfold", "unfolded"]

DAY = timedelta(days=1)

_MOST = 2.0**62
"""The sums of a day with more than this are left to its hours: SQLite adds up to 2^63, and fails beyond."""

_LOCK = text("LOCK TABLE days IN SHARE ROW EXCLUSIVE MODE")
_DIMENSIONS = tuple(name for name in GROUP if name != "hour")
_WHOLE = ("cost_usd", *KINDS)
_names = msgspec.json.Decoder(frozenset[str])
_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)


class Span(NamedTuple):
    """Days that are folded, or hours that are not, one after the other."""

    since: datetime
    until: datetime
    sums: frozenset[str] | None = None
    """Of days that are folded: the sums that are not 0 in all of them."""


def day_of(moment: datetime) -> datetime:
    """Give the day in which a moment lies, in UTC."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def spans(connection: Connection, tables: Tables, since: datetime, until: datetime) -> Iterator[Span]:
    """Cut [since, until), whole hours, into what days tell and what hours have to."""
    c = tables.days.c
    whole = select(c.day, c.sums).where(c.day >= since, c.day <= until - DAY).order_by(c.day)
    run = Span(since, since, frozenset())  # of days that are folded
    for day, names in connection.execute(whole).all():
        if day != run.until:
            yield from _worth(run, Span(run.until, day))
            run = Span(day, day, frozenset())
        run = Span(run.since, day + DAY, (run.sums or frozenset()) | _names.decode(names))
    yield from _worth(run, Span(run.until, until))


def _worth(*found: Span) -> Iterator[Span]:
    return (span for span in found if span.since < span.until)


def unfold(connection: Connection, tables: Tables, hours: Iterable[datetime]) -> None:
    """Let the hours of these days tell, before their rollups are changed in this transaction.

    Before, and not after: on PostgreSQL, who folds locks `days` and thus waits for whoever has come by here.
    """
    days = sorted({day_of(hour) for hour in hours})
    connection.execute(_unfolding(tables), [{"unfolded": day} for day in days])


@lru_cache(4)
def _unfolding(tables: Tables) -> Delete:
    return delete(tables.days).where(tables.days.c.day == bindparam("unfolded"))


def unfolded(db: Database, since: datetime | None, until: datetime) -> datetime | None:
    """Give the first day from `since` and before `until` that has rollups and is not folded."""
    hour, day = db.tables.rollups.c.hour, since or _BEGINNING
    with db.engine.connect() as connection:
        folded = set(connection.scalars(select(db.tables.days.c.day).where(db.tables.days.c.day >= day)))
        next_hour = select(hour).where(hour >= bindparam("day"), hour < until).order_by(hour).limit(1)
        while (found := connection.scalar(next_hour, {"day": day})) is not None:
            day = day_of(found)
            if day not in folded:
                return day
            while day in folded:
                day += DAY
    return None


def fold(db: Database, day: datetime) -> bool:
    """Add up a day; tell whether it could be."""
    tables = db.tables
    with db.writing() as connection:
        if db.kind == "postgresql":
            connection.execute(_LOCK)
        if connection.scalar(select(tables.days.c.day).where(tables.days.c.day == day)) is not None:
            return True  # somebody else was faster
        amounts = _amounts(connection, tables.rollups, day)
        if any(amounts[name] > _MOST for name in _WHOLE):
            return False
        c = tables.day_rollups.c
        connection.execute(delete(tables.day_rollups).where(c.tagged.in_([True, False]), c.day == day))
        for tagged in (True, False):
            sums = _sums(tables.rollups, day, tagged=tagged)
            connection.execute(tables.day_rollups.insert().from_select(sums.selected_columns.keys(), sums))
        told = sorted(name for name, amount in amounts.items() if amount)
        connection.execute(tables.days.insert(), {"day": day, "sums": msgspec.json.encode(told).decode()})
    return True


def _amounts(connection: Connection, rollups: Table, day: datetime) -> dict[str, float]:
    """Give about how much there is of each sum in all of a day, whatever its sign."""
    c = rollups.c
    sums = (func.sum(func.abs(cast(c[name], Double()))) for name in SUMS)
    told = connection.execute(select(*sums).where(c.hour >= day, c.hour < day + DAY)).one()
    return {name: amount or 0.0 for name, amount in zip(SUMS, told, strict=True)}


def _sums(rollups: Table, day: datetime, *, tagged: bool) -> Select[Any]:
    c = rollups.c
    alike = [name for name in _DIMENSIONS if tagged or name != "tags"]
    return (
        select(
            literal(tagged).label("tagged"),
            literal(day, c.hour.type).label("day"),
            # One of those that are added up: no other sum of the day has it.
            func.min(c.digest).label("digest"),
            func.min(c.hour).label("first_hour"),
            func.max(c.hour).label("last_hour"),
            *(c[name].label(name) if name in alike else literal("").label(name) for name in _DIMENSIONS),
            *(func.sum(c[name]).label(name) for name in SUMS),
        )
        .where(c.hour >= day, c.hour < day + DAY)
        .group_by(*(c[name] for name in alike))
    )
