"""models.dev's list of prices."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from meter.exchange import PriceStatus
from meter.prices.files import load
from meter.prices.table import TableSource

if TYPE_CHECKING:
    from meter.price import Price

LIST = Path(__file__).parent / "lists" / "models_dev.json"
WHEN = datetime(2026, 11, 9, 12, tzinfo=UTC)
ALL = load(LIST)


def found(model: str, provider: str | None = "openai") -> Price:
    """Ask for a price that must be there."""
    price = ALL.find(model, upstream="u", provider=provider, when=WHEN)
    assert price is not None
    return price


def test_amounts() -> None:
    """Amounts are for a million tokens, and each kind has its own."""
    assert {
        "input": Decimal("2.5"),
        "input_cached": Decimal("0.25"),
        "output": Decimal(10),
        "output_reasoning": Decimal(11),
    } == found("gpt-9").rates.amounts
    assert {"input_audio": Decimal(30), "output_audio": Decimal(60)}.items() <= found(
        "voice-9"
    ).rates.amounts.items()
    assert Decimal("6.25") == found("claude-opus-9", "anthropic").rates.amounts["input_cache_write"]
    assert Decimal("1.25") == found("gemini-9-pro", "gcp.gemini").rates.amounts["input_image"]
    assert "https://example.com/models" == found("gpt-9").origin


def test_long_inputs() -> None:
    """Both ways of telling what long inputs cost are read, and other conditions are not."""
    assert [(200_000, Decimal(4)), (272_000, Decimal(5))] == [
        (tier.threshold, tier.amounts["input"]) for tier in found("gpt-9").rates.tiers
    ]
    assert [True] == [tier.inclusive for tier in found("grok-9", "x_ai").rates.tiers]


def test_modes_that_are_service_tiers() -> None:
    """A mode that is asked for as a service tier has the price of that tier."""
    tiers = found("gpt-9").service_tiers

    assert {"priority"} == set(tiers)
    assert {"input": Decimal(5), "output": Decimal(20), "input_cached": Decimal("0.25")}.items() <= (
        tiers["priority"].amounts.items()
    )


def test_whose_prices_they_are() -> None:
    """A provider has its own prices under whichever name, and only an unknown one has the maker's."""
    assert PriceStatus.EXACT == found("anthropic.claude-opus-9-v1:0", "aws").status
    assert PriceStatus.EXACT == found("openai/gpt-9", "vercel").status
    assert PriceStatus.LIST == found("gpt-9", None).status
    assert ALL.find("gpt-9", upstream="u", provider="vercel", when=WHEN) is None
    assert ALL.find("gpt-9", upstream="u", provider="openrouter", when=WHEN) is None


def test_what_makes_no_sense_is_left_out() -> None:
    """An entry with an amount below 0, or with no mapping for its cost, is left out and counted."""
    assert isinstance(ALL, TableSource)
    assert 2 == ALL.left_out
    for model in ("negative", "flat", "unpriced"):
        assert ALL.find(model, upstream="u", provider="openai", when=WHEN) is None
