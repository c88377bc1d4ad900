"""The past at the prices that the book knows now.

A price that was added or put right later is applied to exchanges that the ledger already has. Each is priced
by what the ledger kept of it, through the same `Book.quote` that prices live ones, at its own time.

Rules: what the upstream itself said it cost stays; a known cost is never replaced by an unknown one; a row
changes only where its cost or its price status does, so a second run finds nothing to do. Rows are read and
written some thousands at a time, each batch in one short transaction together with the rollups that follow
from it: wherever a run is broken off, the ledger is consistent, and another run does the rest.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from sqlalchemy import and_, bindparam, func, or_, select, update

from meter.exchange import PriceStatus
from meter.ledger import database
from meter.ledger.schema import held
from meter.price import Used

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Row, Select, Table

    from meter.ledger.database import Database
    from meter.price import Book, Quote

__all__ = ["Change", "LostPrice", "ModelChange", "Unpriced", "reprice", "rows_between"]

_BATCH = 2000
"""Rows read at once, and the most that one transaction changes: some hundredths of a second."""

_SETTLED = ("cost_usd", "price_status", "price_source", "price_revision")
"""Columns that repricing writes. `model` is not among them: labels of the past stay."""

_READ = (
    "id",
    "timestamp",
    "duration_s",
    "upstream",
    "provider",
    "request_model",
    "response_model",
    "model",
    "service_tier",
    "usage",
    "units",
    "usage_source",
    "provider_cost_usd",
    *_SETTLED,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class ModelChange:
    """The exchanges of one model at one upstream that change; those that do not are not among them."""

    upstream: str
    model: str
    requests: int
    before_usd: Decimal
    after_usd: Decimal
    newly_priced_tokens: int
    """Tokens of exchanges whose cost was unknown before."""


@dataclass(frozen=True, slots=True)
class LostPrice:
    """Exchanges that had a cost and would have none now; they keep what they have."""

    upstream: str
    model: str
    requests: int
    usd: Decimal


@dataclass(frozen=True, slots=True)
class Unpriced:
    """Exchanges whose cost is unknown still."""

    upstream: str
    model: str
    requests: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Change:
    """What repricing a span of time changes, or would change. The lists begin with what matters most."""

    rows: int
    """Exchanges in the span."""
    changed: int
    before_usd: Decimal
    """Known costs of all rows in the span, those without change included."""
    after_usd: Decimal
    by_model: tuple[ModelChange, ...]
    lost: tuple[LostPrice, ...]
    still_missing: tuple[Unpriced, ...]


def reprice(
    db: Database,
    book: Book,
    *,
    since: datetime | None,
    until: datetime,
    write: bool,
    providers: Mapping[str, str | None],
    progress: Callable[[int], None],
) -> Change:
    """Price the exchanges that ended from `since` (`None`: the first) until before `until` (UTC) anew.

    Without `write` the ledger is only read. `providers` gives the provider of an upstream for rows that have
    none of their own. `progress` is told after each batch how many rows are done.
    """
    tally = _Tally()
    for rows in _batches(db, since, until):
        verdicts = [(row, _verdict(book, row, providers)) for row in rows]
        changes = {
            row.id: _Rewritten(row, quote) for row, quote in verdicts if quote and _differs(row, quote)
        }
        if write and changes:
            changes = _write(db, changes)
        for row, quote in verdicts:
            tally.add(row, quote, changed=row.id in changes)
        progress(tally.rows)
    return tally.change()


def rows_between(db: Database, since: datetime | None, until: datetime) -> int:
    """Count the exchanges that ended from `since` until before `until`."""
    rows = db.tables.exchanges
    with db.engine.connect() as connection:
        return connection.execute(select(func.count()).where(*_span(rows, since, until))).scalar_one()


def _batches(db: Database, since: datetime | None, until: datetime) -> Iterator[Sequence[Row[Any]]]:
    table, last = db.tables.exchanges, None
    while True:
        # A connection for each batch: a reader that stays keeps SQLite's log from being folded in.
        with db.engine.connect() as connection:
            rows = connection.execute(_page(table, since, until, last)).all()
        if rows:
            yield rows
        if len(rows) < _BATCH:
            return
        last = rows[-1]


def _page(table: Table, since: datetime | None, until: datetime, last: Row[Any] | None) -> Select[Any]:
    time, key = table.c.timestamp, table.c.id
    page = select(*(table.c[name].label(name) for name in _READ)).where(*_span(table, since, until))
    if last is not None:
        # The plain bound on the time lets the index find the place; the rest is for rows of one moment.
        after = or_(time > last.timestamp, and_(time == last.timestamp, key > last.id))
        page = page.where(time >= last.timestamp, after)
    return page.order_by(time, key).limit(_BATCH)


def _span(table: Table, since: datetime | None, until: datetime) -> list[Any]:
    time = table.c.timestamp
    return [time < until] if since is None else [time >= since, time < until]


# --- one row ---


def _verdict(book: Book, row: Row[Any], providers: Mapping[str, str | None]) -> Quote | None:
    """Give what the book says of a row; `None` where it has no say."""
    if row.price_status == PriceStatus.PROVIDER:
        return None
    quote = book.quote(
        Used(
            started_at=_started_at(row),
            upstream=row.upstream,
            provider=row.provider or providers.get(row.upstream),
            request_model=row.request_model,
            response_model=row.response_model,
            service_tier=row.service_tier,
            usage=_usage.decode(row.usage),
            units=_units.decode(row.units),
            usage_source=row.usage_source,
            provider_cost_usd=row.provider_cost_usd,
        )
    )
    if quote.cost_usd == held(quote.cost_usd):
        return quote
    return quote._replace(cost_usd=None, price_status=PriceStatus.MISSING)


def _started_at(row: Row[Any]) -> float:
    # In whole microseconds, as both were rounded: a float's error could fall before the start of a price.
    ended = (row.timestamp.astimezone(UTC) - _EPOCH) // _MICROSECOND
    return float(ended - round(row.duration_s * 1e6)) / 1e6


_usage = msgspec.json.Decoder(dict[str, int])
_units = msgspec.json.Decoder(dict[str, float])


def _differs(row: Row[Any], quote: Quote) -> bool:
    return not _is_lost(row, quote) and (row.cost_usd, row.price_status) != (
        quote.cost_usd,
        quote.price_status,
    )


def _is_lost(row: Row[Any], quote: Quote) -> bool:
    return row.cost_usd is not None and quote.cost_usd is None


def _tokens(row: Row[Any]) -> int:
    return sum(_usage.decode(row.usage).values())


# --- writing ---


class _Rewritten(NamedTuple):
    """A row as it was, and what is settled anew."""

    row: Row[Any]
    quote: Quote


def _write(db: Database, changes: Mapping[str, _Rewritten]) -> dict[str, _Rewritten]:
    """Write a batch and give back what was written: not rows that were changed or removed meanwhile."""
    with db.writing() as connection:
        before = _still_as_read(connection, db.tables.exchanges, changes)
        after = [{**row, **_settled(changes[row["id"]].quote)} for row in before]
        if after:
            connection.execute(_update(db.tables.exchanges), [_bound(row) for row in after])
            database.adjust(connection, db.tables, before, after)
    return {row["id"]: changes[row["id"]] for row in before}


def _still_as_read(
    connection: Connection, table: Table, changes: Mapping[str, _Rewritten]
) -> list[dict[str, Any]]:
    # In one order of ids everywhere, so that two runs cannot wait for each other's rows.
    columns = (column.label(column.key) for column in table.c)  # money goes by another name in SQLite
    statement = select(*columns).where(table.c.id.in_(changes)).order_by(table.c.id).with_for_update()
    rows = connection.execute(statement).mappings()
    return [
        dict(row)
        for row in rows
        if all(row[name] == getattr(changes[row["id"]].row, name) for name in _SETTLED)
    ]


def _settled(quote: Quote) -> dict[str, Any]:
    return {
        "cost_usd": quote.cost_usd,
        "price_status": str(quote.price_status),
        "price_source": quote.price_source,
        "price_revision": quote.price_revision,
    }


def _update(table: Table) -> Any:
    return (
        update(table).where(table.c.id == bindparam("_id")).values({n: bindparam(f"_{n}") for n in _SETTLED})
    )


def _bound(row: Mapping[str, Any]) -> dict[str, Any]:
    return {f"_{name}": row[name] for name in ("id", *_SETTLED)}


# --- what came of it ---


@dataclass(slots=True)
class _Sum:
    requests: int = 0
    before: Decimal = Decimal(0)
    after: Decimal = Decimal(0)
    tokens: int = 0

    def add(self, before: Decimal | None, after: Decimal | None, tokens: int) -> None:
        self.requests += 1
        self.before += before or 0
        self.after += after or 0
        self.tokens += tokens


_Sums = dict[tuple[str, str], _Sum]


class _Tally:
    """Sums of what has been looked at so far, by upstream and model."""

    def __init__(self) -> None:
        self.rows = 0
        self._all = _Sum()
        self._changed: _Sums = defaultdict(_Sum)
        self._lost: _Sums = defaultdict(_Sum)
        self._missing: _Sums = defaultdict(_Sum)

    def add(self, row: Row[Any], quote: Quote | None, *, changed: bool) -> None:
        self.rows += 1
        before = row.cost_usd
        after = quote.cost_usd if quote is not None and changed else before
        self._all.add(before, after, 0)
        place = (row.upstream, row.model)
        if changed:
            newly = before is None and after is not None
            self._changed[place].add(before, after, _tokens(row) if newly else 0)
        elif quote is not None and _is_lost(row, quote):
            self._lost[place].add(before, before, 0)
        if after is None and _status(row, quote, changed) == PriceStatus.MISSING:
            self._missing[place].add(None, None, _tokens(row))

    def change(self) -> Change:
        return Change(
            rows=self.rows,
            changed=sum(s.requests for s in self._changed.values()),
            before_usd=self._all.before,
            after_usd=self._all.after,
            by_model=tuple(
                ModelChange(*place, s.requests, s.before, s.after, s.tokens)
                for place, s in _ranked(self._changed, lambda s: abs(s.after - s.before))
            ),
            lost=tuple(
                LostPrice(*place, s.requests, s.before)
                for place, s in _ranked(self._lost, lambda s: s.before)
            ),
            still_missing=tuple(
                Unpriced(*place, s.requests, s.tokens)
                for place, s in _ranked(self._missing, lambda s: s.tokens)
            ),
        )


def _status(row: Row[Any], quote: Quote | None, changed: bool) -> str:
    return quote.price_status if quote is not None and changed else row.price_status


def _ranked(sums: _Sums, weight: Callable[[_Sum], Any]) -> list[tuple[tuple[str, str], _Sum]]:
    return sorted(sums.items(), key=lambda item: (-weight(item[1]), item[0]))
