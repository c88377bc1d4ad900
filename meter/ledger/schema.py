"""The tables of the ledger, and how an exchange becomes a row of it.

`exchanges` has one row for each exchange, in columns that are named as in the log. `rollups` has the sums of
all rows of an hour that agree in everything one may ask by, so that a report need not read every row; both
are written in one transaction. `day_rollups` has sums of whole days, and `days` says of which: see `days.py`.
Money is exact: whole numbers of 10^-12 USD in SQLite, which has no decimals, and NUMERIC(24, 12) in
PostgreSQL. Times are UTC.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from operator import itemgetter
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

from meter.exchange import COUNTED, KINDS, UNITS, Exchange, Outcome, PriceStatus, UsageSource
from meter.labels import NONE
from meter.telling import rfc3339, rounded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Dialect

__all__ = [
    "GROUP",
    "LENGTH_STOPS",
    "NONE",
    "PICO",
    "SUMS",
    "Tables",
    "alike",
    "began",
    "count_in",
    "empty_rollup",
    "exchange_of",
    "held",
    "hour_of",
    "hours",
    "rollup_of",
    "row",
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

_ALIKE = tuple(name for name in GROUP if name not in ("hour", "cut_short"))
_KEPT = 256
"""Groups of which it is remembered what they are called."""

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


_json = msgspec.json.Encoder(order="sorted")


def _text(value: object) -> str:
    return _json.encode(value).decode()


def row(exchange: Exchange) -> dict[str, Any]:
    """Give the row of an exchange, by column; JSON in `tags`, `usage`, `units` and `finish_reasons`.

    Texts are such as every database takes, and what no column holds is unknown.
    """
    columns = _columns(exchange)
    # All at once, for hardly any exchange has one that is not.
    if _is_plain("".join(filter(None, _texts(columns)))):
        return columns
    return {name: _kept(value) if isinstance(value, str) else value for name, value in columns.items()}


def _kept(text: str) -> str:
    """Give a text as databases take it: PostgreSQL has no NUL, and nobody has half a character."""
    if _is_plain(text):
        return text
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def _is_plain(text: str) -> bool:
    return text.isascii() and "\x00" not in text


def _columns(x: Exchange) -> dict[str, Any]:
    cost = held(x.cost_usd)
    # `str` of an enumeration's member is its value, in a quarter of the time.
    return {
        "id": x.id,
        "timestamp": x.ended,
        "trace_id": x.trace_id,
        "upstream": x.upstream,
        "provider": x.provider,
        "operation": x.operation,
        "method": x.method,
        "path": x.path,
        "status": x.status,
        "outcome": str(x.outcome),
        "error_type": x.error_type,
        "stream": x.stream,
        "request_model": x.request_model,
        "response_model": x.response_model,
        "model": x.model or NONE,
        "key": x.key or NONE,
        "tags": _text({_kept(name): _kept(value) for name, value in x.tags.items()}) if x.tags else _NOTHING,
        "usage": _text({kind: n for kind, n in x.usage.items() if n <= _MOST_TOKENS})
        if x.usage
        else _NOTHING,
        "units": _text({unit: n for unit, n in x.units.items() if math.isfinite(n)}) if x.units else _NOTHING,
        "cost_usd": cost,
        "provider_cost_usd": held(x.provider_cost_usd),
        "usage_source": str(x.usage_source),
        "price_status": str(x.price_status if cost is x.cost_usd else PriceStatus.MISSING),
        "price_source": x.price_source,
        "price_revision": x.price_revision,
        "service_tier": x.service_tier,
        "finish_reasons": _reasons(x.finish_reasons),
        "attempts": x.attempts,
        "duration_s": rounded(x.duration_s),
        "ttft_s": rounded(x.ttft_s),
        "overhead_s": rounded(x.overhead_s),
        "request_bytes": x.request_bytes,
        "response_bytes": x.response_bytes,
        "upstream_request_id": x.upstream_request_id,
    }


@lru_cache(64)
def _reasons(reasons: tuple[str, ...]) -> str:
    return _text([_kept(reason) for reason in reasons])


_texts = itemgetter(
    "id",
    "trace_id",
    "upstream",
    "provider",
    "operation",
    "method",
    "path",
    "error_type",
    "request_model",
    "response_model",
    "model",
    "key",
    "tags",
    "price_source",
    "price_revision",
    "service_tier",
    "finish_reasons",
    "upstream_request_id",
)
"""Columns of a text that somebody else may have chosen."""

_NOTHING = "{}"


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


def hours(rows: Sequence[Mapping[str, Any]]) -> list[tuple[datetime, Sequence[Mapping[str, Any]]]]:
    """Give rows by the hour in which they ended."""
    if not rows:
        return []
    moments = [row["timestamp"] for row in rows]
    hour = hour_of(min(moments))
    if max(moments) - hour < _HOUR:  # nearly always, and quicker than to ask each
        return [(hour, rows)]
    found: dict[datetime, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(hour_of(row["timestamp"]), []).append(row)
    return list(found.items())


def rollup_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Give what one row of `exchanges` adds to its hour's rollup: `GROUP`, `digest` and `SUMS`."""
    rollup = empty_rollup(hour_of(row["timestamp"]), alike(row))
    count_in(rollup, [row])
    return rollup


alike: Callable[[Mapping[str, Any]], tuple[Any, ...]] = itemgetter(*_ALIKE, "finish_reasons")
"""Gives what rows of one rollup have in common; where they differ in it, they may be of one still."""


def empty_rollup(hour: datetime, shared: tuple[Any, ...]) -> dict[str, Any]:
    """Give the rollup of rows that ended in an hour and are `alike`, before anything is counted in."""
    return {"hour": hour, **_group(shared), **_ZEROS}


@lru_cache(_KEPT)
def _group(shared: tuple[Any, ...]) -> Mapping[str, Any]:
    *told, reasons = shared
    cut_short = not LENGTH_STOPS.isdisjoint(msgspec.json.decode(reasons))
    group = {**dict(zip(_ALIKE, told, strict=True)), "cut_short": cut_short}
    return {**group, "digest": _digest(group)}


def count_in(rollup: dict[str, Any], rows: Sequence[Mapping[str, Any]], times: int = 1) -> None:
    """Add to a rollup what rows add that are `alike`; with `times` -1, take it away."""
    outcome, source = rows[0]["outcome"], rows[0]["usage_source"]
    rollup["requests"] += times * len(rows)
    rollup["errors"] += times * len(rows) * (outcome != Outcome.OK)
    counted = source in COUNTED
    seconds, usd = rollup["duration_s"], rollup["cost_usd"]
    for row in rows:
        seconds += times * row["duration_s"]
        if row["cost_usd"]:
            usd += times * row["cost_usd"]
        if counted:
            _count(_KINDS, row["usage"], rollup, times)
        if row["units"] != _NOTHING:
            _count(_UNITS, row["units"], rollup, times)
    rollup["duration_s"], rollup["cost_usd"] = seconds, usd


def _count(names: frozenset[str], told: str, rollup: dict[str, Any], times: int) -> None:
    for name, number in _decode(told).items():
        if name in names:
            rollup[name] += times * number


_HOUR = timedelta(hours=1)
_KINDS, _UNITS = frozenset(KINDS), frozenset(UNITS)
_decode = msgspec.json.Decoder().decode
_ZEROS: Mapping[str, Any] = {
    **dict.fromkeys(SUMS, 0),
    **dict.fromkeys(("duration_s", *UNITS), 0.0),
    "cost_usd": Decimal(0),
}


def _digest(group: Mapping[str, Any]) -> str:
    named = [str(group[name]) for name in GROUP if name != "hour"]
    return hashlib.blake2b(msgspec.json.encode(named), digest_size=16).hexdigest()
