"""Exchanges for a ledger, and putting them there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete

from meter.exchange import Exchange, Outcome, PriceStatus, UsageSource
from meter.ledger.database import add
from meter.ledger.schema import row

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meter.ledger.database import Database

__all__ = ["NOON", "a_chat", "at", "forget", "keep"]

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)

_ids = count(1)


def at(**after: float) -> datetime:
    """Give a moment by how long it is after noon: `at(hours=1, minutes=30)`."""
    return NOON + timedelta(**after)


def a_chat(ended: datetime = NOON, **facts: Any) -> Exchange:
    """Make a chat of 10 tokens in and 5 out for a cent that ended then and took half a second."""
    known: dict[str, Any] = {
        "id": f"01978a3e-0000-7000-8000-{next(_ids):012}",
        "started_at": ended.timestamp() - 0.5,
        "duration_s": 0.5,
        "upstream": "openai",
        "operation": "chat",
        "method": "POST",
        "path": "/v1/chat/completions",
        "key": "search",
        "model": "gpt-4o",
        "outcome": Outcome.OK,
        "status": 200,
        "usage": {"input": 10, "output": 5},
        "usage_source": UsageSource.REPORTED,
        "cost_usd": Decimal("0.010000000000"),
        "price_status": PriceStatus.EXACT,
    }
    return Exchange(**{**known, **facts})


def keep(database: Database, exchanges: Iterable[Exchange], *, rollups: bool = True) -> None:
    """Put exchanges into a ledger as its sink does."""
    with database.writing() as connection:
        add(connection, database.tables, [row(one) for one in exchanges], rollups=rollups)


def forget(database: Database, until: datetime | None = None, *, rollups: bool = False) -> None:
    """Delete what ended before `until`, or all of it, as retention does; sums only where told."""
    gone = delete(database.tables.exchanges)
    with database.writing() as connection:
        connection.execute(
            gone if until is None else gone.where(database.tables.exchanges.c.timestamp < until)
        )
        if rollups:
            for table in (database.tables.days, database.tables.rollups):
                connection.execute(delete(table))
