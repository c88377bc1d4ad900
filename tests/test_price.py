"""Costs worked out by hand, laws that hold for any usage, and what the book says of each exchange."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from meter.exchange import (
    INPUT_KINDS,
    KINDS,
    OUTPUT_KINDS,
    UNITS,
    Exchange,
    Outcome,
    PriceStatus,
    UsageSource,
)
from meter.price import FALL_BACKS, Bill, Book, Listed, Price, Quote, Rates, Tier, Used, _bare

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NOON = 1_795_262_400.0
"""2026-11-21 12:00 UTC."""


def amounts(**by_kind: str) -> dict[str, Decimal]:
    """USD per million tokens, written as in a price list."""
    return {kind: Decimal(amount) for kind, amount in by_kind.items()}


def a_price(**fields: Any) -> Price:
    """Give a price of which only what matters to the test is said."""
    return Price(**{"model": "m", "source": "shelf", "revision": "r1", **fields})


def rated(**by_kind: str) -> Price:
    """Give a price with nothing but amounts by kind."""
    return a_price(rates=Rates(amounts(**by_kind)))


@dataclass
class Shelf:
    """A source with a fixed set of prices, which counts how often it is asked."""

    prices: Mapping[str, Price] = field(default_factory=dict)
    listed: frozenset[str] = frozenset()
    name: str = "shelf"
    revision: str = "r1"
    asked: Counter[str] = field(default_factory=Counter)
    moments: list[datetime] = field(default_factory=list)

    def find(self, model: str, *, upstream: str, provider: str | None, when: datetime) -> Price | None:
        """Give the price, wherever it is asked for."""
        self.asked[f"{upstream}/{provider}/{model}"] += 1
        self.moments.append(when)
        return self.prices.get(model)

    def knows(self, model: str, *, upstream: str, provider: str | None) -> bool:
        """Whether the name is listed, wherever it is asked for."""
        assert (upstream, provider) == ("u", None)
        return model in self.listed

    def models(self) -> frozenset[str]:
        """Give the listed names."""
        return self.listed

    def listing(self, when: datetime) -> Iterator[Listed]:
        """Give all prices, whenever they are asked for."""
        del when
        yield from map(Listed, self.prices.values())


def an_exchange(**fields: Any) -> Exchange:
    """Give a chat of 1,000 tokens in and 100 out with `m`, unless told otherwise."""
    plain: dict[str, Any] = {
        "id": "0",
        "started_at": NOON,
        "upstream": "u",
        "method": "POST",
        "path": "/v1/chat/completions",
        "outcome": Outcome.OK,
        "request_model": "m",
        "usage": {"input": 1000, "output": 100},
        "usage_source": UsageSource.REPORTED,
    }
    return Exchange(**{**plain, **fields})


class Worked(NamedTuple):
    """An example worked out by hand."""

    name: str
    price: Price
    usage: dict[str, int]
    cost: str | None
    savings: str | None = None
    units: dict[str, float] = {}  # noqa: RUF012  # the default of a tuple's field, and never written to
    tier: str | None = None


GPT = rated(input="0.15", input_cached="0.075", output="0.60")
CLAUDE = rated(
    input="3",
    input_cached="0.30",
    input_cache_write="3.75",
    input_cache_write_1h="6",
    output="15",
)
AUDIO = rated(input="2.50", input_audio="40", input_cached_audio="2.50", output="10", output_audio="80")
LONG = a_price(
    rates=Rates(
        amounts(input="1", input_cached="0.1", output="4"),
        (
            Tier(1000, inclusive=True, amounts=amounts(input="3", output="9")),
            Tier(200, inclusive=False, amounts=amounts(input="2", output="6")),
        ),
    ),
)
TOUCHING = a_price(
    rates=Rates(
        amounts(input="1"),
        (
            Tier(10, inclusive=False, amounts=amounts(input="3")),
            Tier(10, inclusive=True, amounts=amounts(input="2")),
        ),
    ),
)
SERVED = a_price(
    rates=Rates(amounts(input="2", output="8")),
    service_tiers={
        "flex": Rates(amounts(input="1", output="4")),
        "priority": Rates(
            amounts(input="4", output="16"),
            (Tier(100, inclusive=False, amounts=amounts(input="5", output="20")),),
        ),
    },
)
PER_REQUEST = a_price(rates=Rates(amounts(input="1", output="1")), per_request=Decimal("0.005"))
UNITS_ONLY = a_price(
    per_unit={
        "audio_seconds": Decimal("0.0001"),
        "images": Decimal("0.04"),
        "searches": Decimal("0.01"),
        "characters": Decimal("0.000015"),
    },
)

WORKED = (
    Worked("plain text", GPT, {"input": 1000, "output": 500}, "0.00045"),
    Worked("a single token", GPT, {"input": 1}, "0.00000015"),
    Worked("cached", GPT, {"input": 1000, "input_cached": 2000, "output": 0}, "0.0003", "0.00015"),
    Worked("only cached", GPT, {"input_cached": 1_000_000}, "0.075", "0.075"),
    Worked("cached without a price of its own", rated(input="2"), {"input_cached": 500_000}, "1", "0"),
    Worked("cached without any price", rated(output="2"), {"input_cached": 1}, None),
    Worked("cached without a plain price", rated(input_cached="1"), {"input_cached": 2}, "0.000002"),
    Worked(
        "a cache that costs more saves nothing",
        rated(input="1", input_cached="2"),
        {"input_cached": 1},
        "2e-6",
        "0",
    ),
    Worked("write", CLAUDE, {"input": 100, "input_cache_write": 1000, "output": 10}, "0.0042"),
    Worked("write of 5 minutes", CLAUDE, {"input_cache_write_5m": 1000}, "0.00375"),
    Worked("write of 1 hour", CLAUDE, {"input_cache_write_1h": 1000}, "0.006"),
    Worked("all writes", CLAUDE, {"input_cache_write_5m": 1000, "input_cache_write_1h": 1000}, "0.00975"),
    Worked(
        "1 hour falls to the unsplit write",
        rated(input="3", input_cache_write="4"),
        {"input_cache_write_1h": 1000},
        "0.004",
    ),
    Worked("a write falls through to plain input", rated(input="3"), {"input_cache_write_5m": 1000}, "0.003"),
    Worked(
        "all of Claude",
        CLAUDE,
        {"input": 10, "input_cached": 20, "input_cache_write_1h": 30, "output": 40},
        "0.000816",
        "0.000054",
    ),
    Worked("reasoning as output", GPT, {"output": 100, "output_reasoning": 900}, "0.0006"),
    Worked(
        "reasoning of its own",
        rated(output="2", output_reasoning="3"),
        {"output": 1, "output_reasoning": 1},
        "0.000005",
    ),
    Worked("audio", AUDIO, {"input": 100, "input_audio": 50, "output": 10, "output_audio": 20}, "0.00395"),
    Worked("cached audio", AUDIO, {"input_cached_audio": 1000}, "0.0025", "0.0375"),
    Worked(
        "cached audio falls to audio",
        rated(input="1", input_audio="10"),
        {"input_cached_audio": 100},
        "0.001",
        "0",
    ),
    Worked(
        "cached images fall to images",
        rated(input="1", input_image="8"),
        {"input_cached_image": 100},
        "0.0008",
        "0",
    ),
    Worked("cached audio does not fall to text", GPT, {"input_cached_audio": 1}, None),
    Worked("audio does not fall to text", GPT, {"input": 100, "input_audio": 1}, None),
    Worked("images do not fall to text", GPT, {"input": 100, "input_image": 1}, None),
    Worked("spoken output does not fall to text", GPT, {"output": 100, "output_audio": 1}, None),
    Worked(
        "a count of 0 needs no price", GPT, {"input": 1000, "input_audio": 0, "output_audio": 0}, "0.00015"
    ),
    Worked("nothing but zeros", GPT, {"input": 0, "output": 0}, "0"),
    Worked("zeros without any price", a_price(), {"input": 0, "output": 0}, "0"),
    Worked("a kind that nobody knows", GPT, {"input_smell": 1}, None),
    Worked("free", rated(input="0", output="0"), {"input": 1000, "output": 1000}, "0"),
    Worked("at an excluded bound", LONG, {"input": 200, "output": 100}, "0.0006"),
    Worked("above an excluded bound", LONG, {"input": 201, "output": 100}, "0.001002"),
    Worked("below an included bound", LONG, {"input": 999, "output": 100}, "0.002598"),
    Worked("at an included bound", LONG, {"input": 1000, "output": 100}, "0.0039"),
    Worked("cached tokens reach tiers", LONG, {"input": 100, "input_cached": 101}, "0.000402", "0"),
    Worked("cached below all tiers", LONG, {"input": 100, "input_cached": 100}, "0.00011", "0.00009"),
    Worked("output reaches no tier", LONG, {"input": 1, "output": 5000}, "0.020001"),
    Worked(
        "a tier inherits nothing",
        a_price(
            rates=Rates(
                amounts(input="1", output="1"), (Tier(9, inclusive=False, amounts=amounts(input="1")),)
            )
        ),
        {"input": 10, "output": 1},
        None,
    ),
    Worked("below two bounds that touch", TOUCHING, {"input": 9}, "0.000009"),
    Worked("at two bounds that touch", TOUCHING, {"input": 10}, "0.00002"),
    Worked("above two bounds that touch", TOUCHING, {"input": 11}, "0.000033"),
    Worked("no tier told", SERVED, {"input": 100, "output": 100}, "0.001"),
    Worked("default tier", SERVED, {"input": 100, "output": 100}, "0.001", tier="default"),
    Worked("standard tier", SERVED, {"input": 100, "output": 100}, "0.001", tier="standard"),
    Worked("automatic tier", SERVED, {"input": 100, "output": 100}, "0.001", tier="auto"),
    Worked("on demand", SERVED, {"input": 100, "output": 100}, "0.001", tier="on_demand"),
    Worked("flex", SERVED, {"input": 100, "output": 100}, "0.0005", tier="flex"),
    Worked("flex in capitals", SERVED, {"input": 100, "output": 100}, "0.0005", tier="FLEX"),
    Worked("priority", SERVED, {"input": 100, "output": 100}, "0.002", tier="priority"),
    Worked("a long priority", SERVED, {"input": 101, "output": 100}, "0.002505", tier="priority"),
    Worked("a tier without a price", SERVED, {"input": 100, "output": 100}, None, tier="scale"),
    Worked("a tier where none is listed", GPT, {"input": 100}, None, tier="priority"),
    Worked("per request", PER_REQUEST, {"input": 1000, "output": 1000}, "0.007"),
    Worked("per request and zeros", PER_REQUEST, {"input": 0, "output": 0}, "0.005"),
    Worked("per second", UNITS_ONLY, {}, "0.00123", units={"audio_seconds": 12.3}),
    Worked("per image", UNITS_ONLY, {}, "0.12", units={"images": 3}),
    Worked("per character", UNITS_ONLY, {}, "0.015", units={"characters": 1000}),
    Worked(
        "tokens and searches",
        replace(GPT, per_unit={"searches": Decimal("0.01")}),
        {"input": 1000},
        "0.02015",
        units={"searches": 2},
    ),
    Worked("searches without a price", GPT, {"input": 1000}, None, units={"searches": 2}),
    Worked("no searches", GPT, {"input": 1000}, "0.00015", units={"searches": 0}),
    Worked("a tie rounds to the even digit below", rated(input="0.0000005"), {"input": 1}, "0"),
    Worked("a tie rounds to the even digit above", rated(input="0.0000015"), {"input": 1}, "2e-12"),
    Worked("rounded once", rated(input="0.0000004", output="0.0000004"), {"input": 1, "output": 1}, "1e-12"),
    Worked("the dearest", GPT, {"input": 6 * 10**13}, "9000000"),
    Worked("dearer than any exchange can be", GPT, {"input": 6 * 10**13 + 1}, None),
    Worked("more tokens than there are", GPT, {"input": 10**30}, None),
    Worked("a count of 5,000 digits", GPT, {"input": 10**5000}, None),
    Worked("a cached count of 5,000 digits", GPT, {"input_cached": 10**5000}, None),
    Worked("a negative count", GPT, {"input": 100, "output": -1}, None),
    Worked("seconds that are no number", UNITS_ONLY, {}, None, units={"audio_seconds": float("nan")}),
    Worked("seconds without end", UNITS_ONLY, {}, None, units={"audio_seconds": float("inf")}),
)


@pytest.mark.parametrize("case", WORKED, ids=[case.name for case in WORKED])
def test_worked_examples(case: Worked) -> None:
    """A price makes of an exchange what one makes of it by hand."""
    expected = None
    if case.cost is not None:
        expected = Bill(Decimal(case.cost), None if case.savings is None else Decimal(case.savings))

    assert expected == case.price.bill(case.usage, case.units, case.tier)


def test_a_cost_has_twelve_decimal_places() -> None:
    """A cost is written with 12 decimal places, so that a sum of costs is exact."""
    bill = GPT.bill({"input": 1})

    assert bill is not None
    assert f"{bill.cost_usd:f}" == "0.000000150000"


def test_fall_backs_end_at_plain_kinds() -> None:
    """Each kind that falls back does so within its own direction, and never from one modality to another."""
    assert set(FALL_BACKS) | set(FALL_BACKS.values()) <= set(KINDS)
    for kind, plain in FALL_BACKS.items():
        assert kind.split("_")[0] == plain.split("_")[0]
        assert kind.endswith(("audio", "image")) == plain.endswith(("audio", "image"))


# --- laws ---

AMOUNT = st.decimals(min_value=0, max_value=1000, places=4)
TABLES = st.dictionaries(st.sampled_from(KINDS), AMOUNT)
USAGES = st.dictionaries(st.sampled_from(KINDS), st.integers(min_value=0, max_value=10**7))
FULL = st.fixed_dictionaries(dict.fromkeys(KINDS, AMOUNT))


def cost(price: Price, usage: dict[str, int]) -> Decimal:
    """Give a cost that must be known."""
    bill = price.bill(usage)
    assert bill is not None
    return bill.cost_usd


@given(TABLES, USAGES)
def test_a_cost_is_unknown_or_not_negative(table: dict[str, Decimal], usage: dict[str, int]) -> None:
    """No usage has a cost or a saving below 0, and a cost is known exactly where each kind has a price."""
    bill = a_price(rates=Rates(table)).bill(usage)
    filled = set(table)
    for _ in FALL_BACKS:
        filled |= {kind for kind, plain in FALL_BACKS.items() if plain in filled}

    assert (bill is None) == any(count and kind not in filled for kind, count in usage.items())
    assert bill is None or (bill.cost_usd >= 0 and (bill.cache_savings_usd or 0) >= 0)


@given(FULL, USAGES, st.sampled_from(KINDS), st.integers(min_value=1, max_value=10**7))
def test_more_tokens_never_cost_less(
    table: dict[str, Decimal], usage: dict[str, int], kind: str, more: int
) -> None:
    """Without tiers, adding tokens of any kind never lowers the cost."""
    price = a_price(rates=Rates(table))

    assert cost(price, usage) <= cost(price, {**usage, kind: usage.get(kind, 0) + more})


ANY_AMOUNT = st.sampled_from(
    [
        "0",
        "-0",
        "0.15",
        "2.50",
        "1E+2",
        "1e-6",
        "1e-7",
        "1e-130",
        "9000000",
        "9000001",
        "NaN",
        "Infinity",
        "-1",
    ]
).map(Decimal)
ANY_COUNT = st.integers(-1, 10**9) | st.sampled_from([0, 10**12, 10**13, 10**19, 10**120, 10**5000])


@given(
    st.dictionaries(st.sampled_from(KINDS), ANY_AMOUNT), st.dictionaries(st.sampled_from(KINDS), ANY_COUNT)
)
def test_whole_numbers_come_to_the_same(table: dict[str, Decimal], usage: dict[str, int]) -> None:
    """Whatever the amounts and counts, a bill has the very digits that adding up decimals gives it."""
    price = a_price(rates=Rates(table))
    told = price.bill(usage)
    added = replace(price, per_request=Decimal(0)).bill(usage)  # which is added, and so all is decimals

    assert repr(added) == repr(told)


@given(FULL, USAGES)
def test_parts_add_up(table: dict[str, Decimal], usage: dict[str, int]) -> None:
    """A cost is the sum of its kinds' costs, each of which is charged once and at its own price."""
    price = a_price(rates=Rates(table))
    by_kind = {kind: cost(price, {kind: count}) for kind, count in usage.items()}

    assert cost(price, usage) == sum(by_kind.values())
    assert by_kind == {kind: count * table[kind] / 1_000_000 for kind, count in usage.items()}


@given(AMOUNT, AMOUNT, st.integers(min_value=0, max_value=10**7), st.data())
def test_a_part_is_never_charged_twice(plain: Decimal, out: Decimal, total: int, data: st.DataObject) -> None:
    """However a total is split into kinds that fall back to one price, it costs the same."""
    price = a_price(rates=Rates({"input": plain, "output": out}))
    split = data.draw(st.integers(min_value=0, max_value=total))
    kind = data.draw(st.sampled_from(["input_cached", "input_cache_write", "input_cache_write_5m"]))

    whole = cost(price, {"input": total, "output": total})

    assert whole == cost(price, {"input": total - split, kind: split, "output": total})
    assert whole == cost(price, {"input": total, "output": total - split, "output_reasoning": split})


@given(FULL, USAGES, st.sampled_from(sorted(FALL_BACKS)), st.data())
def test_tokens_change_their_kind_at_the_difference_of_prices(
    table: dict[str, Decimal], usage: dict[str, int], part: str, data: st.DataObject
) -> None:
    """Tokens that turn out to be cached, written or thought cost their own price instead of the plain one."""
    price, plain = a_price(rates=Rates(table)), FALL_BACKS[part]
    before = {plain: 0, part: 0, **usage}
    moved = data.draw(st.integers(min_value=0, max_value=before[plain]))
    after = {**before, plain: before[plain] - moved, part: before[part] + moved}

    assert cost(price, after) - cost(price, before) == moved * (table[part] - table[plain]) / 1_000_000


@given(FULL, FULL, USAGES, st.integers(min_value=0, max_value=10**8), st.booleans())
def test_parts_add_up_within_a_tier(
    low: dict[str, Decimal], high: dict[str, Decimal], usage: dict[str, int], bound: int, inclusive: bool
) -> None:
    """With a tier, all kinds are charged by one table, which is the tier's where the input reaches it."""
    price = a_price(rates=Rates(low, (Tier(bound, inclusive=inclusive, amounts=high),)))
    tokens = sum(usage.get(kind, 0) for kind in INPUT_KINDS)
    table = high if tokens > bound or (inclusive and tokens == bound) else low

    assert cost(price, usage) == sum(count * table[kind] / 1_000_000 for kind, count in usage.items())


@given(
    st.lists(st.integers(min_value=0, max_value=50), unique=True, max_size=4),
    st.integers(0, 60),
    st.booleans(),
)
def test_the_highest_tier_reached_holds(bounds: list[int], tokens: int, inclusive: bool) -> None:
    """Whatever the order of tiers, the whole exchange is priced by the highest that its input reaches."""
    tiers = tuple(Tier(b, inclusive=inclusive, amounts={"input": Decimal(b + 1)}) for b in bounds)
    reached = [b + 1 for b in bounds if (tokens >= b if inclusive else tokens > b)]
    price = a_price(rates=Rates({"input": Decimal(0)}, tiers))

    assert cost(price, {"input": tokens}) == Decimal(tokens * max(reached, default=0)) / 1_000_000


@settings(max_examples=50)
@given(st.lists(st.booleans(), min_size=1, max_size=5))
def test_the_first_source_that_knows_wins(have: list[bool]) -> None:
    """The price is that of the first source that has one, whatever later ones say."""
    shelves = [
        Shelf({"m": a_price(rates=Rates(amounts(input=str(i), output="0")), source=f"s{i}")} if has else {})
        for i, has in enumerate(have)
    ]
    first = have.index(True) if True in have else None

    priced = Book(shelves).price(an_exchange())

    assert priced.price_source == (None if first is None else f"s{first}")
    assert priced.cost_usd == (None if first is None else Decimal(first) / 1000)


JUNK = st.one_of(st.none(), st.text(max_size=20), st.just("m"), st.just("x" * 100_000))


@given(
    st.one_of(st.none(), st.dictionaries(st.text(max_size=8) | st.sampled_from(KINDS), st.integers())),
    st.dictionaries(st.sampled_from(UNITS), st.floats()),
    JUNK,
    JUNK,
    JUNK,
    st.one_of(st.none(), st.decimals()),
    st.sampled_from(UsageSource),
)
def test_no_record_makes_the_book_raise(  # noqa: PLR0917  # one argument for each thing drawn
    usage: dict[str, int] | None,
    units: dict[str, float],
    request: str | None,
    response: str | None,
    tier: str | None,
    told: Decimal | None,
    source: UsageSource,
) -> None:
    """Whatever an upstream said, the record comes back, its cost known just where its status says so."""
    steep = replace(LONG, per_unit=UNITS_ONLY.per_unit)
    priced = Book([Shelf({"m": steep})]).price(
        an_exchange(
            usage=usage,
            units=units,
            request_model=request,
            response_model=response,
            service_tier=tier,
            provider_cost_usd=told,
            usage_source=source,
        ),
    )

    assert (priced.cost_usd is None) == (priced.price_status in (PriceStatus.MISSING, PriceStatus.NONE))
    assert priced.cost_usd is None or priced.cost_usd >= 0


# --- the book ---


def test_a_known_price_settles_everything() -> None:
    """A priced record tells its cost, savings, status, source and revision, and is otherwise unchanged."""
    exchange = an_exchange(usage={"input": 1000, "input_cached": 1000})

    expected = structs.replace(
        exchange,
        model="m",
        cost_usd=Decimal("0.000225"),
        computed_cost_usd=Decimal("0.000225"),
        cache_savings_usd=Decimal("0.000075"),
        price_status=PriceStatus.EXACT,
        price_source="shelf",
        price_revision="r1",
    )
    assert expected == Book([Shelf({"m": GPT})]).price(exchange)


def test_a_price_settles_nothing_else() -> None:
    """Whatever else a record has is the very same in the priced one, and both are frozen."""
    others = {*Exchange.__struct_fields__} - {*Used._fields, *Quote.__struct_fields__}
    facts = {name: object() for name in others}
    priced = Book([Shelf({"m": GPT})]).price(an_exchange(**facts))

    assert facts == {name: getattr(priced, name) for name in others}
    with pytest.raises(AttributeError):
        priced.model = "other"  # type: ignore[misc]  # that is the point


def test_a_list_price_says_so() -> None:
    """The status of a cost is that of its price."""
    book = Book([Shelf({"m": replace(GPT, status=PriceStatus.LIST)})])

    assert book.price(an_exchange()).price_status == PriceStatus.LIST


def test_an_estimate_is_priced() -> None:
    """A cost is computed from estimated counts as from reported ones."""
    priced = Book([Shelf({"m": GPT})]).price(an_exchange(usage_source=UsageSource.ESTIMATED))

    assert (Decimal("0.00021"), PriceStatus.EXACT) == (priced.cost_usd, priced.price_status)


def test_an_unknown_model_is_missing() -> None:
    """A model that no source knows has no cost, no source, and status `missing`."""
    priced = Book([Shelf()]).price(an_exchange())

    assert (priced.cost_usd, priced.price_status, priced.price_source) == (None, PriceStatus.MISSING, None)
    assert Book([]).price(an_exchange(request_model=None)).price_status == PriceStatus.MISSING


def test_a_kind_without_a_price_is_missing() -> None:
    """A cost that lacks one kind's price is unknown as a whole, and names the source that lacks it."""
    priced = Book([Shelf({"m": GPT})]).price(an_exchange(usage={"input": 1000, "input_audio": 1}))

    assert (priced.cost_usd, priced.computed_cost_usd, priced.cache_savings_usd) == (None, None, None)
    assert (priced.price_status, priced.price_source) == (PriceStatus.MISSING, "shelf")


def test_a_kind_without_a_price_is_not_sought_elsewhere() -> None:
    """The first source that knows a model wins, even where it cannot price all of an exchange."""
    book = Book([Shelf({"m": GPT}), Shelf({"m": AUDIO})])

    assert book.price(an_exchange(usage={"input_audio": 1})).price_status == PriceStatus.MISSING


@pytest.mark.parametrize("source", [UsageSource.NONE, UsageSource.MISSING])
@pytest.mark.parametrize("usage", [None, {"input": 1000}])
def test_nothing_to_price(source: UsageSource, usage: dict[str, int] | None) -> None:
    """Without a usage that counts, there is no cost and the status is `none`, even at a price per request."""
    priced = Book([Shelf({"m": PER_REQUEST})]).price(an_exchange(usage=usage, usage_source=source))

    assert (priced.cost_usd, priced.price_status, priced.price_source) == (None, PriceStatus.NONE, None)


def test_explicit_zeros_cost_nothing() -> None:
    """A usage of zeros costs exactly 0, which is not the same as unknown."""
    priced = Book([Shelf({"m": GPT})]).price(an_exchange(usage={"input": 0, "output": 0}))

    assert (Decimal(0), PriceStatus.EXACT) == (priced.cost_usd, priced.price_status)


def test_units_alone_are_priced() -> None:
    """An exchange that used no tokens but other units has a cost."""
    priced = Book([Shelf({"m": UNITS_ONLY})]).price(an_exchange(usage=None, units={"images": 2}))

    assert (Decimal("0.08"), PriceStatus.EXACT) == (priced.cost_usd, priced.price_status)


def test_the_upstreams_own_cost_wins() -> None:
    """What the upstream says it cost is the cost, and what the book makes of it stands beside."""
    book = Book([Shelf({"m": GPT})])
    priced = book.price(an_exchange(provider_cost_usd=Decimal("0.12345678901250001")))

    assert (Decimal("0.123456789013"), PriceStatus.PROVIDER) == (priced.cost_usd, priced.price_status)
    assert (Decimal("0.00021"), "provider", None) == (
        priced.computed_cost_usd,
        priced.price_source,
        priced.price_revision,
    )


@pytest.mark.parametrize("usage", [None, {"input": 1000}])
def test_the_upstreams_own_cost_needs_no_price(usage: dict[str, int] | None) -> None:
    """The upstream's own cost counts where the book knows no price, or there is no usage at all."""
    priced = Book([]).price(an_exchange(provider_cost_usd=Decimal(0), usage=usage))

    assert (Decimal(0), None, PriceStatus.PROVIDER) == (
        priced.cost_usd,
        priced.computed_cost_usd,
        priced.price_status,
    )


@pytest.mark.parametrize("told", ["NaN", "sNaN", "Infinity", "-0.01", "1e999"])
def test_an_absurd_cost_is_ignored(told: str) -> None:
    """An upstream's cost that is no amount of money is passed over for the computed one."""
    priced = Book([Shelf({"m": GPT})]).price(an_exchange(provider_cost_usd=Decimal(told)))

    assert (Decimal("0.00021"), PriceStatus.EXACT) == (priced.cost_usd, priced.price_status)


def test_a_source_is_asked_for_both_names_before_the_next() -> None:
    """A first source that has only the request's name wins over a second that has the response's."""
    first, second = Shelf({"gpt-4o": rated(input="1", output="1")}), Shelf({"gpt-4o-2024-08-06": GPT})
    exchange = an_exchange(request_model="gpt-4o", response_model="gpt-4o-2024-08-06")

    assert Decimal("0.0011") == Book([first, second]).price(exchange).cost_usd


def test_the_responses_name_is_asked_for_first() -> None:
    """Within a source, what the upstream says it served is priced rather than what was asked of it."""
    shelf = Shelf({"gpt-4o": AUDIO, "gpt-4o-mini": GPT})
    exchange = an_exchange(request_model="gpt-4o", response_model="gpt-4o-mini")

    assert Decimal("0.00021") == Book([shelf]).price(exchange).cost_usd


LABELS = (
    ("gpt-4o", None, "gpt-4o"),
    ("gpt-4o", "gpt-4o", "gpt-4o"),
    ("gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-2024-08-06"),
    ("claude", "claude-20241022", "claude-20241022"),
    ("claude", "claude@20241022", "claude@20241022"),
    ("doubao", "doubao:240828", "doubao:240828"),
    ("gpt-4", "gpt-4-0613", "gpt-4-0613"),
    ("gemini", "gemini_001", "gemini_001"),
    ("gpt-4o", "gpt-4o-mini", "gpt-4o"),
    ("gpt-4o", "gpt-4o-2024-13-06", "gpt-4o"),
    ("gpt-4o", "gpt-4o-20240832", "gpt-4o"),
    ("gpt-4o", "gpt-4o-9999", "gpt-4o"),
    ("gpt-4o", "gpt-4o-12", "gpt-4o"),
    ("gpt-4o", "gpt-4o-1", "gpt-4o"),
    ("gpt-4o", "gpt-4o-v1", "gpt-4o"),
    ("gpt-4o", "gpt-4o2024-08-06", "gpt-4o"),
    ("gpt-4o", "gpt-4o-2024-08-06-x", "gpt-4o"),
    ("gpt-4o", "gpt-4o-" + 3 * "\N{ARABIC-INDIC DIGIT ONE}", "gpt-4o"),
    ("gpt-4o", "gpt-4o-001\n", "gpt-4o"),
    ("gpt-4o", "minted", "gpt-4o"),
    ("gpt-4o-2024-08-06", "gpt-4o", "gpt-4o-2024-08-06"),
    ("alias", "listed", "listed"),
    (None, "listed", "listed"),
    (None, "minted", None),
    (None, None, None),
    ("", "minted", None),
    ("gpt-4o", "", "gpt-4o"),
    ("x" * 600, "listed", "listed"),
    ("x" * 600, "minted", "x" * 600),
    ("gpt-4o", "gpt-4o" + "x" * 600, "gpt-4o"),
)


@pytest.mark.parametrize(("request_model", "response_model", "expected"), LABELS)
def test_labels(request_model: str | None, response_model: str | None, expected: str | None) -> None:
    """The response's name is taken where a source lists it or it is the request's with a version."""
    book = Book([Shelf(), Shelf(listed=frozenset({"listed"}))])
    exchange = an_exchange(request_model=request_model, response_model=response_model, usage=None)

    assert expected == book.price(exchange).model


def test_a_price_does_not_make_a_label() -> None:
    """A name that only fits a pattern is priced, but not trusted as a label."""
    priced = Book([Shelf({"minted": GPT})]).price(an_exchange(response_model="minted"))

    assert (priced.model, priced.price_status) == ("m", PriceStatus.EXACT)


def test_a_model_is_looked_up_once() -> None:
    """A source is asked once for what it is asked again within a quarter of an hour."""
    shelf = Shelf({"m": GPT})
    book = Book([shelf])
    for second in (0, 1, 899):
        book.price(an_exchange(started_at=NOON + second))

    assert shelf.asked == {"u/None/m": 1}

    book.price(an_exchange(started_at=NOON + 900))

    assert shelf.asked == {"u/None/m": 2}
    assert [m.timetz().isoformat() for m in shelf.moments] == ["12:00:00+00:00", "12:15:00+00:00"]


def test_what_is_remembered_is_bounded() -> None:
    """Names that nobody knows are forgotten in the end, and very long ones are not even looked up."""
    shelf = Shelf()
    book = Book([shelf])
    for number in range(5000):
        book.price(an_exchange(request_model=f"m{number}"))

    assert len(book._kept) == 5000 - 4096

    book.price(an_exchange(request_model="x" * 1_000_000))

    assert all(len(asked or "") <= 512 for _, _, _, asked, _ in book._kept)
    assert shelf.asked.total() == 5000


def test_models_are_those_of_all_sources() -> None:
    """The book's names are the union of its sources' names."""
    book = Book([Shelf(listed=frozenset("ab")), Shelf(listed=frozenset("bc"))])

    assert frozenset("abc") == book.models()
    assert frozenset() == Book([]).models()


def test_a_deployment_is_priced_as_its_model() -> None:
    """A name that an alias of the upstream stands for is priced as that model, and keeps its label."""
    shelf = Shelf({"gpt-9": GPT, "prod-chat": CLAUDE})
    book = Book([shelf], aliases={"u": {"prod-chat": "gpt-9"}, "v": {}})
    here = book.price(an_exchange(request_model="prod-chat"))
    there = book.price(an_exchange(request_model="prod-chat", upstream="v"))

    assert (Decimal("0.00021"), "prod-chat") == (here.cost_usd, here.model)
    assert Decimal("0.0045") == there.cost_usd


def test_an_alias_comes_before_what_answered() -> None:
    """A deployment's model is what is priced, whatever name the upstream answers with."""
    book = Book([Shelf({"gpt-9": GPT, "minted": CLAUDE})], aliases={"u": {"prod-chat": "gpt-9"}})
    priced = book.price(an_exchange(request_model="prod-chat", response_model="minted"))

    assert (Decimal("0.00021"), "prod-chat") == (priced.cost_usd, priced.model)


def test_an_alias_without_a_price_is_no_dead_end() -> None:
    """Where the model of an alias has no price, the names themselves are looked up."""
    book = Book([Shelf({"m": GPT})], aliases={"u": {"m": "unheard-of"}})

    assert Decimal("0.00021") == book.price(an_exchange()).cost_usd


@pytest.mark.parametrize(
    ("name", "provider", "bare"),
    [
        ("openai/m", None, ["m"]),
        ("openai/m", "openrouter", ["m"]),
        ("azure/openai/m", None, ["openai/m", "m"]),
        ("models/m", "gcp.gemini", ["m"]),
        ("publishers/anthropic/models/m", None, ["m"]),
        ("projects/p/locations/l/publishers/google/models/m", None, ["m"]),
        ("accounts/fireworks/models/m", "fireworks", ["m"]),
        ("accounts/fireworks/models/m", None, []),
        ("accounts/me/models/m", "fireworks", []),
        ("anthropic.m-v1:0", "aws.bedrock", ["m-v1:0", "m"]),
        ("us.anthropic.m-20250929-v1:0", None, ["m-20250929-v1:0", "m-20250929"]),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.m-v2", None, ["m-v2", "m"]),
        ("bedrock/eu.amazon.m-v1:0", None, ["m-v1:0", "m"]),
        ("openai/m:free", None, []),
        ("openrouter/openai/m", None, []),
        ("someone/m", None, []),
        ("m", None, []),
        ("openai/", None, []),
        ("", None, []),
    ],
)
def test_names_without_what_stands_in_front(name: str, provider: str | None, bare: list[str]) -> None:
    """Who makes a model or where it runs is taken off its name, but neither who sells it nor a variant."""
    assert bare == list(_bare(name, provider))


def test_a_prefix_is_taken_off_last() -> None:
    """A name without its prefix is looked up only where no source has any name as it stands."""
    first, second = Shelf({"m": CLAUDE}), Shelf({"openai/m": GPT, "asked": GPT})
    exchange = an_exchange(request_model="openai/m", response_model="m2")

    assert Decimal("0.00021") == Book([first, second]).price(exchange).cost_usd
    assert Decimal("0.0045") == Book([first]).price(exchange).cost_usd
    assert "openai/m" == Book([first]).price(exchange).model


@given(st.text(alphabet="models/openai.us:-v1", max_size=512), st.sampled_from([None, "openai"]))
def test_few_spellings_of_any_name(name: str, provider: str | None) -> None:
    """Of any name there are at most six spellings, each of them an end of it or that without a revision."""
    spelled = list(_bare(name, provider))

    assert len(spelled) <= 6
    assert all(bare and bare in name for bare in spelled)


def test_the_listing_is_of_all_sources() -> None:
    """What a book lists is what its sources do, in their order."""
    book = Book([Shelf({"b": GPT}), Shelf({"a": CLAUDE})])

    assert [GPT, CLAUDE] == [row.price for row in book.listing(datetime(2026, 11, 21, tzinfo=UTC))]


def test_kinds_are_covered() -> None:
    """Each kind of token is priced by a table that has all of them."""
    table = {kind: Decimal(1) for kind in INPUT_KINDS + OUTPUT_KINDS}

    assert Decimal(13) == cost(a_price(rates=Rates(table)), dict.fromkeys(KINDS, 1_000_000))
