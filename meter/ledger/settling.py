"""Exchanges of a span, read some thousands at a time, and what was settled of them anew.

Wherever a run is broken off the ledger is consistent: what is written of a batch is one short transaction,
together with the rollups that follow from it. Rows that somebody else has changed or removed meanwhile are
left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from sqlalchemy import and_, bindparam, func, or_, select, update

from meter.ledger.adding import adjust
from meter.ledger.schema import began

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from sqlalchemy import Connection, Row, Select, Table, Update

    from meter.ledger.database import Database

__all__ = ["Kept", "Settled", "batches", "rows_between", "settle"]

_BATCH = 2000
"""Rows read at once, and the most that one transaction changes: some hundredths of a second."""


class Settled(NamedTuple):
    """What is settled of an exchange by its price. `model` is not among it: labels of the past stay."""

    cost_usd: Decimal | None
    price_status: str
    price_source: str | None
    price_revision: str | None


class Kept(NamedTuple):
    """What the ledger has of an exchange that its price depends on, and what it was settled to be."""

    id: str
    started_at: float
    upstream: str
    provider: str | None
    request_model: str | None
    response_model: str | None
    model: str
    service_tier: str | None
    usage: Mapping[str, int]
    units: Mapping[str, float]
    usage_source: str
    provider_cost_usd: Decimal | None
    settled: Settled


_SAME = (
    "id",
    "upstream",
    "provider",
    "request_model",
    "response_model",
    "model",
    "service_tier",
    "usage_source",
    "provider_cost_usd",
)
_READ = (*_SAME, "timestamp", "duration_s", "usage", "units", *Settled._fields)

_usage = msgspec.json.Decoder(dict[str, int])
_units = msgspec.json.Decoder(dict[str, float])


def rows_between(db: Database, since: datetime | None, until: datetime) -> int:
    """Count the exchanges that ended from `since` (`None`: the first) until before `until`."""
    rows = db.tables.exchanges
    with db.engine.connect() as connection:
        return connection.execute(select(func.count()).where(*_span(rows, since, until))).scalar_one()


def batches(db: Database, since: datetime | None, until: datetime) -> Iterator[Sequence[Kept]]:
    """Give these exchanges, the first that ended first."""
    table, last = db.tables.exchanges, None
    while True:
        # A connection for each batch: a reader that stays keeps SQLite's log from being folded in.
        with db.engine.connect() as connection:
            rows = connection.execute(_page(table, since, until, last)).all()
        if rows:
            yield [_of_row(row) for row in rows]
        if len(rows) < _BATCH:
            return
        last = rows[-1]


def _page(table: Table, since: datetime | None, until: datetime, last: Row[Any] | None) -> Select[Any]:
    time, key = table.c.timestamp, table.c.id
    begin = since if last is None else last.timestamp
    page = select(*(table.c[name].label(name) for name in _READ)).where(*_span(table, begin, until))
    if last is not None:
        # One lower bound, so that the index finds the place by it; this is for rows of one moment.
        page = page.where(or_(time > last.timestamp, and_(time == last.timestamp, key > last.id)))
    return page.order_by(time, key).limit(_BATCH)


def _span(table: Table, since: datetime | None, until: datetime) -> list[Any]:
    time = table.c.timestamp
    return [time < until] if since is None else [time >= since, time < until]


def _of_row(row: Row[Any]) -> Kept:
    return Kept(
        **{name: getattr(row, name) for name in _SAME},
        started_at=began(row.timestamp, row.duration_s),
        usage=_usage.decode(row.usage),
        units=_units.decode(row.units),
        settled=Settled(*(getattr(row, name) for name in Settled._fields)),
    )


def settle(db: Database, changes: Mapping[str, tuple[Kept, Settled]]) -> frozenset[str]:
    """Write a batch, by `id`: as it was read, and as it is to be. Return the ids of what was written."""
    with db.writing() as connection:
        before = _still_as_read(connection, db.tables.exchanges, changes)
        after = [{**row, **changes[row["id"]][1]._asdict()} for row in before]
        if after:
            connection.execute(_update(db.tables.exchanges), [_bound(row) for row in after])
            adjust(connection, db.tables, before, after)
    return frozenset(row["id"] for row in before)


def _still_as_read(
    connection: Connection, table: Table, changes: Mapping[str, tuple[Kept, Settled]]
) -> list[dict[str, Any]]:
    # In one order of ids everywhere, so that two runs cannot wait for each other's rows.
    columns = (column.label(column.key) for column in table.c)  # money goes by another name in SQLite
    statement = select(*columns).where(table.c.id.in_(changes)).order_by(table.c.id).with_for_update()
    rows = connection.execute(statement).mappings()
    return [
        dict(row)
        for row in rows
        if tuple(row[name] for name in Settled._fields) == changes[row["id"]][0].settled
    ]


def _update(table: Table) -> Update:
    settled: dict[str, Any] = {name: bindparam(f"_{name}") for name in Settled._fields}
    return update(table).where(table.c.id == bindparam("_id")).values(settled)


def _bound(row: Mapping[str, Any]) -> dict[str, Any]:
    return {f"_{name}": row[name] for name in ("id", *Settled._fields)}
