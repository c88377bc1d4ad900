"""The tables of the ledger, and how an exchange becomes a row of it.

`exchanges` has one row for each exchange, in columns that are named as in the log. `rollups` has the sums of
all rows of an hour that agree in everything one may ask by, so that a report need not read every row; both
are written in one transaction. `day_rollups` has sums of whole days, and `days` says of which: see `days.py`.
Money is exact: whole numbers of 10^-12 USD in SQLite, which has no decimals, and NUMERIC(24, 12) in
PostgreSQL. Times are UTC.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
)
from sqlalchemy.types import TypeDecorator

from meter.exchange import KINDS, UNITS, Exchange, Outcome, PriceStatus, UsageSource
from meter.labels import NONE
from meter.telling import rfc3339, rounded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Dialect

__all__ = [
    "BRIEF",
    "COMMON",
    "GROUP",
    "LENGTH_STOPS",
    "NONE",
    "NOTHING",
    "OWN",
    "PICO",
    "SUMS",
    "Common",
    "Row",
    "Tables",
    "began",
    "exchange_of",
    "held",
    "hour_of",
    "row",
    "row_of",
    "tables",
]

PICO = Decimal(10) ** 12
"""So much is a dollar in SQLite."""

_DEAREST_USD = Decimal(9_000_000)
"""What one exchange costs beyond this is not known: 64 bits hold no more of 10^-12 USD."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_MOST_TOKENS = 2**53
"""Counts beyond this are not known: readers of JSON do not tell them apart, and sums would not fit."""

LENGTH_STOPS = frozenset({"length", "max_tokens", "MAX_TOKENS", "max_output_tokens"})
"""Finish reasons of answers that were cut short by the most tokens that were allowed."""

GROUP = (
    "hour",
    "upstream",
    "operation",
    "model",
    "key",
    "tags",
    "outcome",
    "error_type",
    "usage_source",
    "price_status",
    "cut_short",
)
"""What all exchanges of one rollup have in common; `cut_short`: one of its choices ended for its length."""

SUMS = ("requests", "errors", "duration_s", "cost_usd", *KINDS, *UNITS)
"""What a rollup adds up; tokens and units by their names, `cost_usd` where it is known."""


class Pico(TypeDecorator[Decimal]):
    """An exact amount of USD in a database without decimals: a whole number of 10^-12 USD."""

    impl = Integer  # of SQLite's, which has 64 bits
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:
        """Give what is stored; amounts have 12 decimal places at most."""
        del dialect
        return None if value is None else int(value * PICO)

    def process_result_value(self, value: int | None, dialect: Dialect) -> Decimal | None:
        """Give the amount back, as the log would write it."""
        del dialect
        return None if value is None else Decimal(value) / PICO


class Moment(TypeDecorator[datetime]):
    """A moment in UTC as the log writes it, which sorts as a text; in a database without time zones."""

    impl = String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        """Give the text, to the microsecond."""
        del dialect
        return None if value is None else rfc3339(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        """Give the moment back."""
        del dialect
        return None if value is None else datetime.fromisoformat(value)


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables as one kind of database has them; columns have the same keys in each."""

    metadata: MetaData
    exchanges: Table
    rollups: Table
    days: Table
    day_rollups: Table


def tables(dialect: str) -> Tables:
    """Give the tables for `sqlite` or `postgresql`; to the program money is `cost_usd` in both."""
    lite = dialect == "sqlite"

    def money(name: str) -> Column[Decimal]:
        if lite:
            return Column(name.replace("_usd", "_pico_usd"), Pico(), key=name)
        return Column(name, Numeric(24, 12))

    def moment(name: str, **options: Any) -> Column[datetime]:
        return Column(name, Moment() if lite else DateTime(timezone=True), **options)

    def text(name: str, **options: Any) -> Column[str]:
        return Column(name, Text(), **options)

    metadata = MetaData()
    exchanges = Table(
        "exchanges",
        metadata,
        Column("id", String(36), primary_key=True),
        moment("timestamp", nullable=False),
        text("trace_id"),
        text("upstream", nullable=False),
        text("provider"),
        text("operation", nullable=False),
        text("method", nullable=False),
        text("path", nullable=False),
        Column("status", Integer()),
        text("outcome", nullable=False),
        text("error_type", nullable=False),
        Column("stream", Boolean(), nullable=False),
        text("request_model"),
        text("response_model"),
        text("model", nullable=False),
        text("key", nullable=False),
        text("tags", nullable=False),
        text("usage", nullable=False),
        text("units", nullable=False),
        money("cost_usd"),
        money("provider_cost_usd"),
        text("usage_source", nullable=False),
        text("price_status", nullable=False),
        text("price_source"),
        text("price_revision"),
        text("service_tier"),
        text("finish_reasons", nullable=False),
        Column("attempts", Integer(), nullable=False),
        Column("duration_s", Double(), nullable=False),
        Column("ttft_s", Double()),
        Column("overhead_s", Double()),
        Column("request_bytes", BigInteger(), nullable=False),
        Column("response_bytes", BigInteger(), nullable=False),
        text("upstream_request_id"),
        Index("exchanges_by_time", "timestamp"),
        sqlite_with_rowid=False,
    )

    def summed(name: str, *found_by: Column[Any], besides: Sequence[Column[Any]] = ()) -> Table:
        return Table(
            name,
            metadata,
            *found_by,
            # A text may be longer than what an index of PostgreSQL takes; a digest of all of them never is.
            Column("digest", String(32), primary_key=True),
            *besides,
            text("upstream", nullable=False),
            text("operation", nullable=False),
            text("model", nullable=False),
            text("key", nullable=False),
            text("tags", nullable=False),
            text("outcome", nullable=False),
            text("error_type", nullable=False),
            text("usage_source", nullable=False),
            text("price_status", nullable=False),
            Column("cut_short", Boolean(), nullable=False),
            Column("requests", BigInteger(), nullable=False),
            Column("errors", BigInteger(), nullable=False),
            Column("duration_s", Double(), nullable=False),
            money("cost_usd"),
            *(Column(kind, BigInteger(), nullable=False) for kind in KINDS),
            *(Column(unit, Double(), nullable=False) for unit in UNITS),
            sqlite_with_rowid=False,
        )

    return Tables(
        metadata,
        exchanges,
        rollups=summed("rollups", moment("hour", primary_key=True)),
        days=Table(
            "days",
            metadata,
            moment("day", primary_key=True),
            text("sums", nullable=False),
            sqlite_with_rowid=False,
        ),
        day_rollups=summed(
            "day_rollups",
            Column("tagged", Boolean(), primary_key=True),
            moment("day", primary_key=True),
            besides=(moment("first_hour", nullable=False), moment("last_hour", nullable=False)),
        ),
    )


NOTHING = "{}"
"""JSON of no tags, usage or units."""

_json = msgspec.json.Encoder(order="sorted")
_decode = msgspec.json.Decoder().decode


def _text(value: object) -> str:
    return _json.encode(value).decode()


class Common:
    """Columns in which most rows agree that come at about the same time: one object for all that do."""

    __slots__ = ("columns",)

    def __init__(self, columns: dict[str, Any]) -> None:
        self.columns = columns


class Row(msgspec.Struct, frozen=True, gc=False):
    """A row: what it has for itself, by column, and what it has in common with others.

    Not all of it in one dictionary: to fill one takes longer than all else that is done for a row.
    """

    common: Common
    counts: dict[str, int]
    """What is in `usage`."""
    id: str
    timestamp: datetime
    trace_id: str | None
    usage: str
    cost_usd: Decimal | None
    provider_cost_usd: Decimal | None
    duration_s: float
    ttft_s: float | None
    overhead_s: float | None
    request_bytes: int
    response_bytes: int
    upstream_request_id: str | None

    @property
    def columns(self) -> dict[str, Any]:
        """All of its columns; JSON in `tags`, `usage`, `units` and `finish_reasons`."""
        return {**self.common.columns, **dict(zip(OWN, _own(self), strict=True))}


OWN = Row.__struct_fields__[2:]
"""Columns that a row has for itself."""

_own = attrgetter(*OWN)


def row(exchange: Exchange) -> Row:
    """Give the row of an exchange: texts as every database takes them; what no column holds is unknown."""
    x = exchange
    cost, said = held(x.cost_usd), held(x.provider_cost_usd)
    counts = {kind: n for kind, n in x.usage.items() if n <= _MOST_TOKENS} if x.usage else {}
    trace, asked = x.trace_id, x.upstream_request_id
    common_of = _common_of if _is_brief(x) else _common_of.__wrapped__
    return Row(
        common_of(
            x.upstream,
            x.provider,
            x.operation,
            x.method,
            x.path,
            x.status,
            x.outcome,
            x.error_type,
            x.stream,
            x.request_model,
            x.response_model,
            x.model,
            x.key,
            tuple(x.tags.items()) if x.tags else (),
            # As text: 2 and 2.0 would be taken for one.
            _text({unit: n for unit, n in x.units.items() if math.isfinite(n)}) if x.units else NOTHING,
            x.usage_source,
            x.price_status if cost is x.cost_usd else PriceStatus.MISSING,
            x.price_source,
            x.price_revision,
            x.service_tier,
            x.finish_reasons,
            x.attempts,
        ),
        counts,
        _kept(x.id),
        x.ended,
        trace and _kept(trace),
        _text(counts) if counts else NOTHING,
        cost,
        said,
        round(x.duration_s, 6),
        rounded(x.ttft_s),
        rounded(x.overhead_s),
        x.request_bytes,
        x.response_bytes,
        asked and _kept(asked),
    )


_TYPED: tuple[tuple[str, Any], ...] = (
    ("stream", bool),
    ("duration_s", float | int),
    ("ttft_s", float | int | None),
    ("overhead_s", float | int | None),
)
"""Columns that SQLite would write a text into, were it told to."""


def row_of(columns: Mapping[str, Any]) -> Row:
    """Give the row that has these columns; raises ValueError where its usage cannot be read.

    TypeError for columns that are none of a row's: SQLite would take them, and who reads them would not.
    """
    for name, kind in _TYPED:
        if not isinstance(columns[name], kind):
            raise TypeError(f"got a row whose {name} is a {type(columns[name]).__name__}")
    common = _agreed(tuple([columns[name] for name in COMMON]))
    return Row(common, _decode(columns["usage"]), *[columns[name] for name in OWN])


COMMON = (
    "upstream",
    "provider",
    "operation",
    "method",
    "path",
    "status",
    "outcome",
    "error_type",
    "stream",
    "request_model",
    "response_model",
    "model",
    "key",
    "tags",
    "units",
    "usage_source",
    "price_status",
    "price_source",
    "price_revision",
    "service_tier",
    "finish_reasons",
    "attempts",
)
_MOST_COMMON = 256
"""So many are remembered."""

BRIEF = 2048
"""Characters of tags and finish reasons up to which they are remembered: strangers choose both, and many."""

_FEW_REASONS = 2


def _is_brief(x: Exchange) -> bool:
    return (not x.tags or sum(map(len, x.tags.values())) <= BRIEF) and (
        len(x.finish_reasons) <= _FEW_REASONS or sum(map(len, x.finish_reasons)) <= BRIEF
    )


@lru_cache(_MOST_COMMON)
def _common_of(*told: Any) -> Common:
    columns = dict(zip(COMMON, told, strict=True))
    for name in ("outcome", "usage_source", "price_status"):
        columns[name] = columns[name].value
    for name in ("model", "key"):
        columns[name] = columns[name] or NONE
    columns["tags"] = _text({_kept(tag): _kept(value) for tag, value in columns["tags"]})
    columns["finish_reasons"] = _text([_kept(reason) for reason in columns["finish_reasons"]])
    return _agreed(tuple([_kept(value) if isinstance(value, str) else value for value in columns.values()]))


_TAGS, _REASONS = COMMON.index("tags"), COMMON.index("finish_reasons")


def _agreed(values: tuple[Any, ...]) -> Common:
    brief = len(values[_TAGS]) + len(values[_REASONS]) <= BRIEF
    return (_one_of if brief else _one_of.__wrapped__)(values)


@lru_cache(_MOST_COMMON)
def _one_of(values: tuple[Any, ...]) -> Common:
    return Common(dict(zip(COMMON, values, strict=True)))


def _kept(text: str) -> str:
    """Give a text as databases take it: PostgreSQL has no NUL, and nobody has half a character."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def exchange_of(row: Mapping[str, Any]) -> Exchange:
    """Give the exchange that became a row; what the ledger does not keep is not known."""
    same = {name: row[name] for name in _SAME}
    return Exchange(
        **same,
        started_at=began(row["timestamp"], row["duration_s"]),
        outcome=Outcome(row["outcome"]),
        usage_source=UsageSource(row["usage_source"]),
        price_status=PriceStatus(row["price_status"]),
        model=None if row["model"] == NONE else row["model"],
        key=None if row["key"] == NONE else row["key"],
        tags=msgspec.json.decode(row["tags"]),
        usage=msgspec.json.decode(row["usage"]) or None,
        units=msgspec.json.decode(row["units"]),
        finish_reasons=tuple(msgspec.json.decode(row["finish_reasons"])),
        overhead_request_s=row["overhead_s"],
    )


_SAME = (
    "id",
    "trace_id",
    "upstream",
    "provider",
    "operation",
    "method",
    "path",
    "status",
    "error_type",
    "stream",
    "request_model",
    "response_model",
    "cost_usd",
    "provider_cost_usd",
    "price_source",
    "price_revision",
    "service_tier",
    "attempts",
    "duration_s",
    "ttft_s",
    "request_bytes",
    "response_bytes",
    "upstream_request_id",
)
"""Columns that an exchange has by their names, and takes back as they are."""


def began(ended: datetime, duration_s: float) -> float:
    """Give the Unix time at which an exchange of a row began."""
    # In whole microseconds, as both were rounded: a float's error could fall before the start of a price.
    return float((ended.astimezone(UTC) - _EPOCH) // _MICROSECOND - round(duration_s * 1e6)) / 1e6


def held(usd: Decimal | None) -> Decimal | None:
    """Give an amount as the ledger keeps it: one that is too great for it is not known."""
    return usd if usd is not None and -_DEAREST_USD <= usd <= _DEAREST_USD else None


def hour_of(moment: datetime) -> datetime:
    """Give the hour in which a moment lies, in UTC."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
