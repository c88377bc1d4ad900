"""LiteLLM's list: its names of prices, and whose prices they are."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from meter.exchange import PriceStatus
from meter.prices.files import load
from meter.prices.table import TableSource

if TYPE_CHECKING:
    from meter.price import Price

LIST = Path(__file__).parent / "lists" / "litellm.json"
MONDAY = datetime(2026, 11, 9, 12, tzinfo=UTC)


def source() -> TableSource:
    """Load the list."""
    loaded = load(LIST)
    assert isinstance(loaded, TableSource)
    return loaded


ALL = source()


def found(model: str, provider: str | None = "openai", when: datetime = MONDAY) -> Price:
    """Ask for a price that must be there."""
    price = ALL.find(model, upstream="u", provider=provider, when=when)
    assert price is not None
    return price


def usd(
    model: str, usage: dict[str, int], tier: str | None = None, provider: str | None = "openai"
) -> str | None:
    """Say what this usage costs."""
    bill = found(model, provider).bill(usage, service_tier=tier)
    return None if bill is None else f"{bill.cost_usd.normalize():f}"


def test_tokens() -> None:
    """Amounts for one token are taken exactly, for a million, and each kind has its own."""
    assert {
        "input": Decimal("2.5"),
        "input_cached": Decimal("0.25"),
        "output": Decimal(10),
        "output_reasoning": Decimal(11),
    } == found("gpt-9").rates.amounts
    assert "30.4" == usd(
        "voice-9", {"input_audio": 1_000_000, "input_cached_audio": 1_000_000, "output": 50_000}
    )
    assert {
        "input": Decimal(5),
        "input_cached": Decimal("0.5"),
        "input_cache_write": Decimal("6.25"),
        "input_cache_write_1h": Decimal(10),
        "output": Decimal(25),
    } == found("claude-opus-9", "anthropic").rates.amounts


@pytest.mark.parametrize(
    ("tokens", "tier", "cost"),
    [
        (272_000, None, "0.69"),
        (272_001, None, "1.375005"),
        (272_000, "priority", "1.38"),
        (272_001, "priority", "2.735010"),
        (272_000, "batch", "0.345"),
        (272_001, "flex", "1.367505"),
        (1000, "scale", None),
    ],
)
def test_service_tiers_and_long_inputs_together(tokens: int, tier: str | None, cost: str | None) -> None:
    """A tier's amounts stand over the standard ones, and both have their own for long inputs."""
    told = usd("gpt-9", {"input": tokens, "output": 1000}, tier)

    assert (None if cost is None else Decimal(cost)) == (None if told is None else Decimal(told))


def test_a_step_changes_what_it_names() -> None:
    """Above a count of tokens, a kind without an amount of its own costs what it does below."""
    tier = found("claude-opus-9", "anthropic").rates.tiers[0]

    assert (200_000, False) == (tier.threshold, tier.inclusive)
    assert ["10", "20", "6.25", "25"] == [
        f"{tier.amounts[kind].normalize():f}"
        for kind in ("input", "input_cache_write_1h", "input_cache_write", "output")
    ]


def test_xai_counts_the_bound_in() -> None:
    """At xAI an input of exactly the bound is a long one."""
    assert [tier.inclusive for tier in found("grok-9", "x_ai").rates.tiers] == [True]


def test_steps_as_a_list() -> None:
    """Steps that are told as ranges hold for the whole of what lies above their begin."""
    assert "0.0128" == usd("qwen-9", {"input": 256_000}, provider="dashscope")
    assert "0.06400025" == usd("qwen-9", {"input": 256_001}, provider="dashscope")


def test_units() -> None:
    """Seconds heard, characters, images made, searches and requests have their prices."""
    assert {"audio_seconds": Decimal("0.0001")} == found("whisper-9").per_unit
    assert {"characters": Decimal("0.000015")} == found("tts-9").per_unit
    assert {"images": Decimal("0.04")} == found("dall-e-9").per_unit
    assert {"images": Decimal("0.05")} == found("flux-9").per_unit
    assert {"searches": Decimal("0.002")} == found("rerank-9", "cohere").per_unit
    assert {"searches": Decimal("0.01")} == found("gpt-9").per_unit
    assert Decimal("0.005") == found("sonar-9", "perplexity").per_request


def test_searches_of_several_prices_have_none() -> None:
    """Where the size of a search decides its price, which no answer tells, searches have no price."""
    price = found("sonar-9", "perplexity")

    assert price.bill({"input": 1}, {"searches": 1}) is None
    assert price.bill({"input": 1}) is not None


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-9", "openai"),
        ("gpt-9", "azure.ai.openai"),
        ("gpt-9", "azure"),
        ("gpt-9", "azure.ai.inference"),
        ("us.anthropic.claude-opus-9-v1:0", "aws.bedrock"),
        ("claude-opus-9", "gcp.vertex_ai"),
        ("gemini-9-pro", "gcp.gemini"),
        ("grok-9", "x_ai"),
        ("scribe-9", "elevenlabs"),
    ],
)
def test_a_known_seller_has_its_own_price(model: str, provider: str) -> None:
    """A price of the upstream's own provider is exact, under whichever of its names, and without a prefix."""
    assert PriceStatus.EXACT == found(model, provider).status


def test_a_known_seller_has_no_other_price() -> None:
    """A model that a known provider does not list has no price there, and OpenRouter's is nobody else's."""
    for provider in ("anthropic", "aws.bedrock", "openrouter", "gcp.gemini"):
        assert ALL.find("gpt-9", upstream="u", provider=provider, when=MONDAY) is None
        assert not ALL.knows("gpt-9", upstream="u", provider=provider)


@pytest.mark.parametrize("provider", [None, "garage"])
def test_an_unknown_seller_has_the_makers_list_price(provider: str | None) -> None:
    """Where nobody knows the provider, the maker's price holds and is marked as such, and no reseller's."""
    assert (PriceStatus.LIST, Decimal("2.5")) == (
        found("gpt-9", provider).status,
        found("gpt-9", provider).rates.amounts["input"],
    )
    assert ALL.knows("gpt-9", upstream="u", provider=provider)
    assert ALL.find("scribe-9", upstream="u", provider=provider, when=MONDAY) is None


def test_a_name_with_its_seller_comes_first() -> None:
    """Of `deepseek/deepseek-chat` and `deepseek-chat`, the first counts, wherever it stands."""
    assert Decimal("0.28") == found("deepseek-chat", "deepseek").rates.amounts["input"]


@pytest.mark.parametrize(
    ("day", "hour", "minute", "night", "weekend"),
    [
        (9, 16, 15, "0.3", "0.6"),  # Monday
        (9, 16, 30, "0.15", "0.6"),
        (10, 0, 15, "0.15", "1.2"),
        (10, 0, 30, "0.3", "1.2"),
        (10, 11, 45, "0.3", "0.6"),
        (10, 12, 0, "0.3", "1.2"),
        (14, 3, 0, "0.3", "0.6"),  # Saturday
    ],
)
def test_prices_by_the_time_of_the_day(day: int, hour: int, minute: int, night: str, weekend: str) -> None:
    """Off-peak amounts hold in their windows, on the days that these are meant for, past midnight too."""
    when = datetime(2026, 11, day, hour, minute, tzinfo=UTC)

    assert Decimal(night) == found("deepseek-night", "deepseek", when).rates.amounts["input"]
    assert Decimal(weekend) == found("deepseek-weekend", "deepseek", when).rates.amounts["output"]


def test_what_makes_no_sense_is_left_out_and_counted() -> None:
    """Entries with amounts below 0 or no numbers, or times that cannot be told, have no price at all."""
    wrong = ("negative", "texts", "true", "rangeless", "elsewhere", "hourless", "dayless")

    assert len(wrong) == ALL.left_out
    for model in (*wrong, "sample_spec", "free-of-words"):
        assert ALL.find(model, upstream="u", provider=None, when=MONDAY) is None


def test_names_are_not_shown_before_they_are_used() -> None:
    """A list of thousands of models puts none of them into the metrics by itself."""
    assert frozenset() == ALL.models()
    assert not ALL.knows("GPT-9", upstream="u", provider="openai")


def test_the_listing() -> None:
    """All prices are listed with their sellers, those of certain hours apart."""
    rows = list(ALL.listing(MONDAY))

    assert {"https://example.com/openai"} == {
        row.price.origin for row in rows if row.price.model == "gpt-9" and row.provider == "openai"
    }
    assert {None, "16:30-00:30"} == {row.hours for row in rows if row.price.model == "deepseek-night"}
    assert (
        "10:00-12:00 on Mon Tue Wed Thu Fri, 14:00-00:00 on Mon Tue Wed Thu Fri, 00:00-00:00 on Sat Sun"
        in {row.hours for row in rows}
    )
    assert {(str(LIST), ALL.revision)} == {(row.price.source, row.price.revision) for row in rows}
