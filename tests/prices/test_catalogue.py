"""The bundled catalogue: real models, and the arithmetic of its own library as a second opinion."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib.metadata import version

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data import providers
from genai_prices.types import (
    ClauseContains,
    ClauseEquals,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

from meter.exchange import Exchange, Outcome, PriceStatus, UsageSource
from meter.price import Book, Price
from meter.prices.catalogue import _TOKENS, CatalogueSource, Edition, _rates

WHEN = datetime(2026, 11, 9, 12, tzinfo=UTC)
MILLION = 1_000_000


def ids(provider: str | None) -> str | None:
    """Take a provider's name for the catalogue's, but for one that the catalogue has never heard of."""
    return None if provider == "garage" else provider


ALL = CatalogueSource(ids=ids)
KNOWN = CatalogueSource(ids=ids, known_only=True)


def find(model: str, provider: str | None = "openai", when: datetime = WHEN) -> Price | None:
    """Ask the catalogue; which upstream it is for does not matter."""
    return ALL.find(model, upstream="u", provider=provider, when=when)


def found(model: str, provider: str | None = "openai", when: datetime = WHEN) -> Price:
    """Ask the catalogue for a price that it must have."""
    price = find(model, provider, when)
    assert price is not None
    return price


def test_a_model_at_its_provider_is_exact() -> None:
    """`gpt-4o-mini` at OpenAI has the exact amounts of the catalogue."""
    price = found("gpt-4o-mini")

    assert price.status == PriceStatus.EXACT
    assert {
        "input": Decimal("0.15"),
        "input_cached": Decimal("0.075"),
        "output": Decimal("0.6"),
    } == price.rates.amounts
    assert {"searches": Decimal("0.01")} == price.per_unit
    assert ("genai-prices", version("genai-prices"), "gpt-4o-mini") == (
        price.source,
        price.revision,
        price.model,
    )
    assert (price.origin or "").startswith("https://")


@pytest.mark.parametrize("provider", [None, "garage", "no-such-id"])
def test_a_model_at_an_unknown_place_has_its_makers_list_price(provider: str | None) -> None:
    """Where the provider is not one of the catalogue's, the maker's amounts hold, and are marked as such."""
    price = found("gpt-4o-mini", provider)

    assert (PriceStatus.LIST, found("gpt-4o-mini").rates) == (price.status, price.rates)


@pytest.mark.parametrize("provider", [None, "garage"])
def test_known_only_has_no_list_prices(provider: str | None) -> None:
    """With `known_only`, an unknown provider's models have no price and no name."""
    assert KNOWN.find("gpt-4o-mini", upstream="u", provider=provider, when=WHEN) is None
    assert not KNOWN.knows("gpt-4o-mini", upstream="u", provider=provider)
    assert KNOWN.find("gpt-4o-mini", upstream="u", provider="openai", when=WHEN) is not None


def test_a_known_provider_is_never_replaced_by_a_maker() -> None:
    """A model that a known provider does not list has no price there, whoever made it."""
    assert find("claude-sonnet-4-5", "openai") is None
    assert find("no-such-model-at-all", None) is None
    assert find("gpt-no-such-model", None) is None


def test_a_reseller_sells_at_its_makers_price() -> None:
    """Azure sells OpenAI's models at OpenAI's standard price, but OpenAI's service tiers are not Azure's."""
    price = found("gpt-5", "azure")

    assert price.status == PriceStatus.EXACT
    assert found("gpt-5").rates.amounts["input"] == price.rates.amounts["input"]
    own = any(model.id == "gpt-5" for p in providers if p.id == "azure" for model in p.models)
    assert own or price.service_tiers == {}


def test_a_tiered_model() -> None:
    """`claude-sonnet-4-5` costs twice as much above 200,000 tokens of input, and not at them."""
    price = found("claude-sonnet-4-5", "anthropic")
    bound = {"input": 100_000, "input_cached": 100_000}

    at, above = price.bill(bound), price.bill({**bound, "input": 100_001})

    assert at is not None
    assert above is not None
    assert Decimal("0.33") == at.cost_usd
    assert Decimal("0.660006") == above.cost_usd
    assert Decimal("0.27") == at.cache_savings_usd


def test_service_tiers() -> None:
    """`gpt-5` has a flex and a priority tier, with OpenAI's amounts, and a batch tier."""
    price = found("gpt-5")
    costs = {}
    for tier in (None, "default", "flex", "priority", "batch", "scale"):
        bill = price.bill({"input": MILLION, "output": MILLION}, service_tier=tier)
        costs[tier] = None if bill is None else bill.cost_usd

    assert {
        None: Decimal("11.25"),
        "default": Decimal("11.25"),
        "flex": Decimal("5.625"),
        "priority": Decimal("22.5"),
        "batch": Decimal("5.625"),
        "scale": None,
    } == costs


def test_a_tier_keeps_what_it_does_not_change() -> None:
    """A tier's amounts stand over the standard ones, kind by kind."""
    batch = found("gpt-4o-mini").service_tiers["batch"]

    assert (Decimal("0.075"), Decimal("0.075"), Decimal("0.3")) == tuple(
        batch.amounts[kind] for kind in ("input", "input_cached", "output")
    )


def test_a_tier_without_a_price_yet_is_not_guessed() -> None:
    """Before a tier's first day that tier has no price, rather than the standard one."""
    price = found("gpt-5", when=datetime(2026, 9, 1, tzinfo=UTC))

    assert price.bill({"input": 1}, service_tier="flex") is None
    assert price.bill({"input": 1}) is not None


def test_conditions_that_no_service_tier_tells_are_left_out() -> None:
    """A price that depends on a route or a search type is no service tier."""
    assert "mistral/eu" not in found("mistralai/mistral-large-4-0", "openrouter").service_tiers
    assert "web" not in found("perplexity/sonar", "perplexity").service_tiers


def test_a_price_depends_on_the_hour() -> None:
    """DeepSeek's price at night is not that of the day, and changes on the minute."""
    night, day = datetime(2026, 11, 9, 0, 15, tzinfo=UTC), datetime(2026, 11, 9, 0, 30, tzinfo=UTC)

    assert Decimal("0.135") == found("deepseek-chat", "deepseek", night).rates.amounts["input"]
    assert Decimal("0.27") == found("deepseek-chat", "deepseek", day).rates.amounts["input"]


def test_hours_lie_on_quarters() -> None:
    """No price of the catalogue changes within a quarter of an hour, which is how long the book keeps one."""
    constraints = [
        conditional.constraint
        for provider in providers
        for model in provider.models
        for conditional in (
            *(model.prices if isinstance(model.prices, list) else ()),
            *(model.price_variants or ()),
        )
    ]
    times = [
        moment
        for constraint in constraints
        if isinstance(constraint, TimeOfDateConstraint)
        for moment in (constraint.start_time, constraint.end_time)
    ]

    assert times
    assert {(0, 0)} == {(moment.minute % 15, moment.second + moment.microsecond) for moment in times}


def test_audio_is_never_text() -> None:
    """A model whose audio has no price in the catalogue has no cost for it, and not that of text."""
    assert found("gpt-4o-audio-preview").bill({"input": 1, "input_audio": 1}) is None


def test_transcription_by_the_second() -> None:
    """A price by the hour becomes one by the second, and an hour costs what it did."""
    price = found("whisper-1")
    bill = price.bill({}, {"audio_seconds": 3600})

    assert bill is not None
    assert Decimal("0.36") == bill.cost_usd


def test_every_model_converts() -> None:
    """Each model has a price, today and ten years on, whose tiers rise and have every kind."""
    for when in (WHEN, datetime(2036, 1, 1, tzinfo=UTC)):
        for provider in providers:
            for model in provider.models:
                price = ALL._price(provider, model, PriceStatus.EXACT, when)
                for rates in (price.rates, *price.service_tiers.values()):
                    assert all(amount >= 0 for amount in rates.amounts.values())
                    assert all(tier.amounts.keys() == rates.amounts.keys() for tier in rates.tiers)
                    starts = [tier.threshold for tier in rates.tiers]
                    assert sorted(starts) == starts


def test_the_library_agrees_where_it_can() -> None:
    """For plain input and output of any size, the cost of each model is what the library itself computes."""
    compared = 0
    for provider in providers:
        for model in provider.models:
            price = find(model.id, provider.id)
            if price is None or not price.rates.amounts:
                continue
            for tokens in (1000, 200_000, 200_001, 300_000):
                bill = price.bill({"input": tokens, "output": 500})
                if bill is None:
                    continue
                theirs = calc_price(
                    Usage(input_tokens=tokens, output_tokens=500),
                    model.id,
                    provider_id=provider.id,
                    genai_request_timestamp=WHEN,
                )
                compared += 1
                assert theirs.total_price.quantize(Decimal("1e-12")) == bill.cost_usd

    assert compared > 4000


def test_kinds_with_tiers_of_their_own() -> None:
    """Kinds whose tiers begin at different counts are laid into one row of whole tables."""
    rates = _rates(
        "m",
        ModelPrice(
            input_mtok=TieredPrices(base=Decimal(1), tiers=[Tier(start=100, price=Decimal(2))]),
            output_mtok=TieredPrices(
                base=Decimal(10),
                tiers=[Tier(start=50, price=Decimal(20)), Tier(start=200, price=Decimal(30))],
            ),
            cache_read_mtok=Decimal("0.5"),
        ),
    )

    assert [
        (50, {"input": 1, "output": 20, "input_cached": Decimal("0.5")}),
        (100, {"input": 2, "output": 20, "input_cached": Decimal("0.5")}),
        (200, {"input": 2, "output": 30, "input_cached": Decimal("0.5")}),
    ] == [(tier.threshold, tier.amounts) for tier in rates.tiers]
    assert not any(tier.inclusive for tier in rates.tiers)


def test_an_invented_provider() -> None:
    """Conditions of two parts, tiers of a unit and a maker without an address are taken for what they are."""
    model = ModelInfo(
        id="M-1",
        match=ClauseContains(contains="m-1"),
        prices=ModelPrice(
            input_mtok=Decimal(1),
            requests_kcount=Decimal(5),
            web_searches_kcount=TieredPrices(base=Decimal(1), tiers=[]),
        ),
        price_variants=[
            PriceVariant({"service_tier": "flex", "speed": "fast"}, ModelPrice(input_mtok=Decimal(9))),
            PriceVariant(
                {"service_tier": "Priority"},
                ModelPrice(input_mtok=Decimal(3)),
                StartDateConstraint(date(2026, 11, 9)),
            ),
        ],
    )
    maker = Provider("maker", "The Maker", "https://maker", model_match=ClauseEquals("x/m-1"), models=[model])
    source = CatalogueSource(ids=lambda _: None, edition=Edition("invented", "r1", [maker]))
    price = source.find("x/m-1", upstream="u", provider=None, when=WHEN)

    assert price is not None
    assert ("The Maker", Decimal("0.005"), {}) == (price.origin, price.per_request, price.per_unit)
    assert {"priority": Decimal(3)} == {k: v.amounts["input"] for k, v in price.service_tiers.items()}
    assert datetime(2026, 11, 9, tzinfo=UTC).timestamp() == source.timestamp(WHEN.timestamp())
    assert source.timestamp(0) == 0


def test_the_listing() -> None:
    """Every model of every provider is listed with its own price at the time that was asked for."""
    rows = {(row.provider, row.price.model): row.price for row in ALL.listing(WHEN)}

    assert {(provider.id, model.id) for provider in providers for model in provider.models} == set(rows)
    assert found("gpt-4o-mini") == rows["openai", "gpt-4o-mini"]


def test_an_edition_is_named_in_its_prices() -> None:
    """Prices of another edition than the bundled one tell its name and revision."""
    maker = Provider("maker", "The Maker", "https://maker", models=[
        ModelInfo(id="m", match=ClauseEquals("m"), prices=ModelPrice(input_mtok=Decimal(1)))
    ])  # fmt: skip
    source = CatalogueSource(ids=ids, edition=Edition("list.json", "r9", [maker]))
    price = source.find("m", upstream="u", provider="maker", when=WHEN)

    assert price is not None
    assert ("list.json", "r9") == (source.name, source.revision) == (price.source, price.revision)


def test_only_written_names_are_known() -> None:
    """A name is known where the provider lists it, letter by letter, and not for fitting a pattern."""

    def knows(model: str, provider: str | None) -> bool:
        return ALL.knows(model, upstream="u", provider=provider)

    assert knows("gpt-4o-2024-08-06", "openai")
    assert knows("gpt-4o-2024-08-06", "azure")
    assert knows("gpt-4o-2024-08-06", None)
    assert knows("claude-sonnet-4-5", "anthropic")
    assert not knows("gpt-4o-2024-08-06", "anthropic")
    assert not knows("GPT-4o", "openai")
    assert not knows("claude-sonnet-4-5-minted", "anthropic")
    assert not knows("some-local-model", None)


def test_what_is_known_has_a_price() -> None:
    """Each name that a provider is known for can be priced there."""
    for provider in providers:
        assert all(find(name, provider.id) is not None for name in ALL._names[provider.id])


def test_names_are_not_admitted_from_the_start() -> None:
    """The catalogue admits no names by itself."""
    assert frozenset() == ALL.models()


def test_looking_up_leaves_nothing_behind() -> None:
    """Names that clients make up are not remembered by the library."""
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415  # only this test minds its insides

    snapshot = get_snapshot()
    before = len(snapshot._lookup_cache), len(snapshot._provider_cache), len(snapshot._provider_misses)
    for number in range(10):
        find(f"gpt-4o-made-up-{number}", None)
        find(f"made-up-{number}", None)

    assert before == (
        len(snapshot._lookup_cache),
        len(snapshot._provider_cache),
        len(snapshot._provider_misses),
    )


def test_the_date_of_the_data() -> None:
    """The date is that of the newest price that has begun, so one announced for next year does not count."""
    moment = ALL.timestamp(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp())

    assert datetime(2026, 10, 1, tzinfo=UTC).timestamp() < moment
    assert moment <= datetime(2026, 11, 21, tzinfo=UTC).timestamp()
    assert time() == datetime.fromtimestamp(moment, UTC).time()


def test_kinds_have_their_names() -> None:
    """Each of the catalogue's names for a kind is one that the library knows."""
    from genai_prices.data_units import unit_data  # noqa: PLC0415  # only this test minds its insides

    assert set(_TOKENS.values()) <= {unit["price_key"] for unit in unit_data.values()}


def test_the_book_and_the_catalogue() -> None:
    """An exchange with a dated model is priced by what served it, under that name."""
    exchange = Exchange(
        id="0",
        started_at=WHEN.timestamp(),
        upstream="u",
        provider="openai",
        method="POST",
        path="/v1/chat/completions",
        outcome=Outcome.OK,
        request_model="my-deployment",
        response_model="gpt-4o-mini-2024-07-18",
        service_tier="default",
        usage={"input": 1000, "input_cached": 1000, "output": 1000},
        usage_source=UsageSource.REPORTED,
    )
    priced = Book([ALL]).price(exchange)

    assert (
        priced.model,
        priced.price_status,
        priced.price_source,
    ) == ("gpt-4o-mini-2024-07-18", PriceStatus.EXACT, "genai-prices")
    assert (Decimal("0.000825"), Decimal("0.000075")) == (priced.cost_usd, priced.cache_savings_usd)


@pytest.mark.parametrize(
    ("model", "provider", "usage", "cost"),
    [
        ("gpt-image-1", "openai", {"input": MILLION, "output_image": MILLION}, "45"),
        ("gpt-4o-mini-tts", "openai", {"input": MILLION, "output_audio": MILLION}, "12.6"),
        ("gemini-2.5-flash-lite", "google", {"input": MILLION, "input_image": MILLION}, "0.2"),
    ],
)
def test_kinds_of_one_price(model: str, provider: str, usage: dict[str, int], cost: str) -> None:
    """What a maker sells at one price costs that, whichever of the kinds the catalogue lists."""
    price = CatalogueSource(ids=ids).find(model, upstream="u", provider=provider, when=WHEN)

    assert price is not None
    bill = price.bill(usage)
    assert bill is not None
    assert Decimal(cost) == bill.cost_usd


def test_makers_of_names_without_a_pattern() -> None:
    """A name that no maker's pattern takes has the list price of the maker who lists it."""
    price = CatalogueSource(ids=ids).find("text-embedding-3-small", upstream="u", provider=None, when=WHEN)

    assert price is not None
    assert PriceStatus.LIST is price.status
