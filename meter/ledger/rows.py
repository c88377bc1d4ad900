"""Exchanges as the ledger has them, one by one, told as the log tells them."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from sqlalchemy import select

from meter.ledger.cells import QuestionError
from meter.ledger.columns import TAG, tagged
from meter.ledger.schema import exchange_of
from meter.telling import line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Select

    from meter.ledger.database import Database
    from meter.ledger.schema import Tables

__all__ = ["exchange", "exchanges", "upstreams_of"]

_FIELDS = (
    "id",
    "trace_id",
    "upstream",
    "provider",
    "operation",
    "outcome",
    "error_type",
    "request_model",
    "response_model",
    "model",
    "key",
    "usage_source",
    "price_status",
)
_PLACES = Decimal("1e-12")


def exchange(db: Database, id: str) -> dict[str, Any] | None:  # noqa: A002 - the column's name
    """Give one exchange as the log tells it, for msgspec; `None` where there is none of this id."""
    rows = db.tables.exchanges
    with db.engine.connect() as connection:
        found = connection.execute(_rows(db.tables).where(rows.c.id == id)).first()
    return None if found is None else _line(found._asdict())


def exchanges(
    db: Database, limit: int, *, where: Mapping[str, Sequence[str]] | None = None
) -> list[dict[str, Any]]:
    """Give the exchanges that ended last, newest first, as the log tells them, for msgspec.

    Of each field in `where` one of the values must hold; `tag.<name>` is one, and a tag that is not there is
    `none`. Raises `QuestionError` for a field that cannot be asked for.
    """
    c = db.tables.exchanges.c
    conditions = [_condition(db, field, values) for field, values in (where or {}).items()]
    newest = _rows(db.tables).where(*conditions).order_by(c.timestamp.desc(), c.id.desc()).limit(limit)
    with db.engine.connect() as connection:
        return [_line(row._asdict()) for row in connection.execute(newest)]


def upstreams_of(
    connection: Connection, tables: Tables, provider: str, since: datetime, until: datetime
) -> list[str]:
    """Give the upstreams of exchanges that ended in [since, until) and had this provider behind them."""
    c = tables.exchanges.c
    asked = select(c.upstream).where(c.timestamp >= since, c.timestamp < until, c.provider == provider)
    return list(connection.scalars(asked.distinct()))


def _line(row: Mapping[str, Any]) -> dict[str, Any]:
    one = exchange_of(row)
    # As many places as the book rounds to, and as few as the upstream told.
    cost = None if one.cost_usd is None else one.cost_usd.quantize(_PLACES)
    told = None if one.provider_cost_usd is None else one.provider_cost_usd.normalize()
    return line(replace(one, cost_usd=cost, provider_cost_usd=told))


def _condition(db: Database, field: str, values: Sequence[str]) -> ColumnElement[bool]:
    c = db.tables.exchanges.c
    if field.startswith(TAG) and len(field) > len(TAG):
        return tagged(c.tags, field.removeprefix(TAG), values, lite=db.kind == "sqlite")
    if field not in _FIELDS:
        raise QuestionError(f"got the field {field!r}, expected one of {', '.join(_FIELDS)}, tag.<name>")
    return c[field].in_(list(values))


def _rows(tables: Tables) -> Select[Any]:
    # By their keys: a row of SQLite would have `cost_pico_usd`.
    return select(*(column.label(column.key) for column in tables.exchanges.c))
