"""What the ledger counted at one provider, by day and model."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ledgers import an_exchange

from meter.exchange import Outcome, PriceStatus, UsageSource
from meter.ledger.database import add
from meter.ledger.schema import row
from meter.reconcile.metered import Metered, metered

if TYPE_CHECKING:
    from meter.exchange import Exchange
    from meter.ledger.database import Database

FIRST, SECOND, THIRD = date(2026, 11, 1), date(2026, 11, 2), date(2026, 11, 3)


def ended(day: int, hour: int, **facts: Any) -> Exchange:
    """Give an exchange of November 2026 that cost a quarter of a dollar."""
    moment = datetime(2026, 11, day, hour, tzinfo=UTC).timestamp()
    plain: dict[str, Any] = {"model": "gpt-4o", "cost_usd": Decimal("0.25"), "duration_s": 2.0}
    return an_exchange(**{**plain, "started_at": moment - 2.0, **facts})


def kept(database: Database, *exchanges: Exchange) -> None:
    """Put exchanges where their sink does."""
    with database.writing() as connection:
        add(connection, database.tables, [row(exchange) for exchange in exchanges])


def found(database: Database, *upstreams: str) -> list[Metered]:
    """Ask for two days of OpenAI."""
    return metered(database, "openai", upstreams=upstreams, since=FIRST, until=THIRD)


def test_days_and_models_are_told_apart(database: Database) -> None:
    """Exchanges are added up by the day in UTC on which they ended, and by model."""
    kept(database, ended(1, 0), ended(1, 23), ended(1, 5, model="o3"), ended(2, 0), ended(3, 0))
    usage = {"input": 1000, "input_cached": 200, "output": 50}
    twice = {kind: 2 * count for kind, count in usage.items()}
    assert [
        Metered(day=FIRST, model="gpt-4o", requests=2, usage=twice, cost_usd=Decimal("0.5")),
        Metered(day=FIRST, model="o3", requests=1, usage=usage, cost_usd=Decimal("0.25")),
        Metered(day=SECOND, model="gpt-4o", requests=1, usage=usage, cost_usd=Decimal("0.25")),
    ] == found(database)


def test_only_the_provider_s_upstreams_count(database: Database) -> None:
    """An upstream counts when the settings or the ledger's own rows say who is behind it."""
    kept(
        database,
        ended(1, 1, upstream="old-name"),
        ended(1, 2, upstream="set", provider=None),
        ended(1, 3, upstream="other", provider="anthropic"),
    )
    assert [1] == [one.requests for one in found(database)]
    assert [2] == [one.requests for one in found(database, "set")]


def test_what_is_not_sure_is_told(database: Database) -> None:
    """Estimates, missing usage, missing prices and exchanges that were broken off are counted apart."""
    kept(
        database,
        ended(1, 1, usage_source=UsageSource.ESTIMATED, outcome=Outcome.CLIENT_CLOSED),
        ended(1, 2, usage_source=UsageSource.MISSING, usage=None, cost_usd=None),
        ended(1, 3, price_status=PriceStatus.MISSING, cost_usd=None),
        ended(1, 4, usage_source=UsageSource.NONE, usage=None, outcome=Outcome.CLIENT_ERROR),
    )
    (one,) = found(database)
    assert (3, 1, 1250, Decimal("0.25")) == (
        one.requests,
        one.estimated_requests,
        one.estimated_tokens,
        one.estimated_usd,
    )
    assert (1, 1, 1250, 1) == (
        one.missing_requests,
        one.unpriced_requests,
        one.unpriced_tokens,
        one.cut_requests,
    )


def test_an_empty_ledger_counted_nothing(database: Database) -> None:
    """Where nothing passed there is no line."""
    assert [] == found(database, "openai")
