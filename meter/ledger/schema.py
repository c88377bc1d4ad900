"""The tables of the ledger, and how an exchange becomes a row of it.

`exchanges` has one row for each exchange, in columns that are named as in the log. `rollups` has the sums of
all rows of an hour that agree in everything one may ask by, so that a report need not read every row; both
are written in one transaction. Money is exact: whole numbers of 10^-12 USD in SQLite, which has no decimals,
and NUMERIC(24, 12) in PostgreSQL. Times are UTC.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
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

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Dialect

__all__ = [
    "GROUP",
    "LENGTH_STOPS",
    "NONE",
    "SUMS",
    "Tables",
    "exchange_of",
    "held",
    "hour_of",
    "moment_text",
    "rollup_of",
    "row",
    "tables",
]

NONE = "none"
"""What stands for a model or a key that is not known, as in the log."""

PICO = Decimal(10) ** 12

_DEAREST_USD = 9_000_000
"""What one exchange costs beyond this is not known: 64 bits hold no more of 10^-12 USD."""

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

    impl = BigInteger
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
        return None if value is None else moment_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        """Give the moment back."""
        del dialect
        return None if value is None else datetime.fromisoformat(value)


def moment_text(moment: datetime) -> str:
    """Give a moment as the log writes it: `2026-01-31T12:00:00.000000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables as one kind of database has them; columns have the same keys in each."""

    metadata: MetaData
    exchanges: Table
    rollups: Table


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
    rollups = Table(
        "rollups",
        metadata,
        moment("hour", primary_key=True),
        # A text may be longer than what an index of PostgreSQL takes; a digest of all of them never is.
        Column("digest", String(32), primary_key=True),
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
    return Tables(metadata, exchanges, rollups)


_json = msgspec.json.Encoder(order="sorted")


def _text(value: object) -> str:
    return _json.encode(value).decode()


def row(exchange: Exchange) -> dict[str, Any]:
    """Give the row of an exchange, by column; JSON in `tags`, `usage`, `units` and `finish_reasons`.

    Texts are such as every database takes, and what no column holds is unknown.
    """
    return {
        name: _kept(value) if isinstance(value, str) else value for name, value in _columns(exchange).items()
    }


def _kept(text: str) -> str:
    """Give a text as databases take it: PostgreSQL has no NUL, and nobody has half a character."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def _columns(x: Exchange) -> dict[str, Any]:
    cost = held(x.cost_usd)
    return {
        "id": x.id,
        "timestamp": datetime.fromtimestamp(x.started_at + x.duration_s, UTC),
        "trace_id": x.trace_id,
        "upstream": x.upstream,
        "provider": x.provider,
        "operation": x.operation,
        "method": x.method,
        "path": x.path,
        "status": x.status,
        "outcome": x.outcome.value,
        "error_type": x.error_type,
        "stream": x.stream,
        "request_model": x.request_model,
        "response_model": x.response_model,
        "model": x.model or NONE,
        "key": x.key or NONE,
        "tags": _text({_kept(name): _kept(value) for name, value in x.tags.items()}),
        "usage": _text({kind: n for kind, n in (x.usage or {}).items() if n <= _MOST_TOKENS}),
        "units": _text({unit: n for unit, n in x.units.items() if math.isfinite(n)}),
        "cost_usd": cost,
        "provider_cost_usd": held(x.provider_cost_usd),
        "usage_source": x.usage_source.value,
        "price_status": (x.price_status if cost == x.cost_usd else PriceStatus.MISSING).value,
        "price_source": x.price_source,
        "price_revision": x.price_revision,
        "service_tier": x.service_tier,
        "finish_reasons": _text([_kept(reason) for reason in x.finish_reasons]),
        "attempts": x.attempts,
        "duration_s": _rounded(x.duration_s),
        "ttft_s": _rounded(x.ttft_s),
        "overhead_s": _rounded(x.overhead_s),
        "request_bytes": x.request_bytes,
        "response_bytes": x.response_bytes,
        "upstream_request_id": x.upstream_request_id,
    }


def exchange_of(row: Mapping[str, Any]) -> Exchange:
    """Give the exchange that became a row; what the ledger does not keep is not known."""
    same = {name: row[name] for name in _SAME}
    return Exchange(
        **same,
        started_at=row["timestamp"].timestamp() - row["duration_s"],
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
"""Columns that an exchange has as they are."""


def held(usd: Decimal | None) -> Decimal | None:
    """Give an amount as the ledger keeps it: one that is too great for it is not known."""
    return usd if usd is not None and abs(usd) <= _DEAREST_USD else None


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def hour_of(moment: datetime) -> datetime:
    """Give the hour in which a moment lies, in UTC."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def rollup_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Give what one row of `exchanges` adds to its hour's rollup: `GROUP`, `digest` and `SUMS`."""
    group = {name: row[name] for name in GROUP if name in row}
    group["hour"] = hour_of(row["timestamp"])
    group["cut_short"] = not LENGTH_STOPS.isdisjoint(msgspec.json.decode(row["finish_reasons"]))
    usage, units = msgspec.json.decode(row["usage"]), msgspec.json.decode(row["units"])
    counted = row["usage_source"] in (UsageSource.REPORTED, UsageSource.ESTIMATED)
    return {
        **group,
        "digest": _digest(group),
        "requests": 1,
        "errors": int(row["outcome"] != Outcome.OK),
        "duration_s": row["duration_s"],
        "cost_usd": row["cost_usd"] or Decimal(0),
        **{kind: usage.get(kind, 0) if counted else 0 for kind in KINDS},
        **{unit: units.get(unit, 0.0) for unit in UNITS},
    }


def _digest(group: Mapping[str, Any]) -> str:
    named = [str(group[name]) for name in GROUP if name != "hour"]
    return hashlib.blake2b(msgspec.json.encode(named), digest_size=16).hexdigest()
