"""What lists that others publish have in common."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from meter.exchange import PriceStatus
from meter.price import Book, Price
from meter.prices.table import Cell, SenselessError, Stamp, TableSource, amount, per_million, rates, whole

WHEN = datetime(2026, 11, 9, 12, tzinfo=UTC)
STAMP = Stamp("list.json", "r1")


def cell(seller: str, model: str, request: int = 1) -> Cell:
    """Give a price that is told apart by what a request costs."""
    return Cell(seller, Price(model=model, per_request=Decimal(request), source="list.json", revision="r1"))


def test_known_only_has_no_list_prices() -> None:
    """With `known_only`, a provider that the list does not have gets no price, and one that it has does."""
    source = TableSource(STAMP, [cell("openai", "m")], known_only=True)

    assert source.find("m", upstream="u", provider=None, when=WHEN) is None
    assert not source.knows("m", upstream="u", provider=None)
    assert source.find("m", upstream="u", provider="openai", when=WHEN) is not None


def test_the_first_of_two_counts() -> None:
    """Of two prices for one model at one seller, the first counts; another seller's is another price."""
    source = TableSource(STAMP, [cell("openai", "m"), cell("openai", "m", 2), cell("groq", "m", 3)])
    found = [source.find("m", upstream="u", provider=provider, when=WHEN) for provider in ("openai", "groq")]

    assert [1, 3] == [price.per_request for price in found if price]
    assert 2 == len(list(source.listing(WHEN)))


def test_only_makers_have_list_prices() -> None:
    """A model that only a reseller lists has no list price."""
    source = TableSource(STAMP, [cell("groq", "m"), cell("mistral_ai", "n")])
    found = {name: source.find(name, upstream="u", provider=None, when=WHEN) for name in "mn"}

    assert {"m": None, "n": PriceStatus.LIST} == {name: p and p.status for name, p in found.items()}


@pytest.mark.parametrize("wrong", [None, "1", True, -1, Decimal(-1), Decimal("NaN"), Decimal("Infinity"), []])
def test_what_is_no_amount(wrong: object) -> None:
    """An amount is a number of 0 or more, and so is a count, which is whole too."""
    with pytest.raises(SenselessError):
        amount(wrong)
    with pytest.raises(SenselessError):
        whole(wrong)


def test_an_amount_for_one_token_is_taken_exactly() -> None:
    """Nothing of an amount is lost on its way to that for a million; one past all bounds is none."""
    assert Decimal("0.019") == per_million(Decimal("1.9e-08"))
    assert Decimal(f"{'1' * 60}000000") == per_million(int("1" * 60))
    with pytest.raises(SenselessError):
        per_million(Decimal("1e999999"))


@pytest.mark.parametrize("wrong", [Decimal("0.5"), 10**13])
def test_what_is_no_count(wrong: object) -> None:
    """A count of tokens is whole, and no longer than any context."""
    with pytest.raises(SenselessError):
        whole(wrong)


def test_steps_build_on_each_other() -> None:
    """What a step does not name costs as much as below it."""
    told = {
        200: {"output": Decimal(9)},
        0: {"input": Decimal(1), "output": Decimal(2)},
        100: {"input": Decimal(5)},
    }
    made = rates("openai", "m", told)

    assert {"input": Decimal(1), "output": Decimal(2)} == made.amounts
    assert [(100, Decimal(5), Decimal(2)), (200, Decimal(5), Decimal(9))] == [
        (tier.threshold, tier.amounts["input"], tier.amounts["output"]) for tier in made.tiers
    ]


def test_an_aggregator_is_never_priced_as_another() -> None:
    """A model of OpenRouter's, spelled as its maker's, does not get the maker's price from another list."""
    book = Book([TableSource(STAMP, [cell("openai", "gpt-9")])])

    def status(model: str, provider: str | None) -> PriceStatus | None:
        price = book.find([model], upstream="u", provider=provider, when=WHEN)
        return None if price is None else price.status

    assert status("openai/gpt-9", "openrouter") is None
    assert status("openai/gpt-9:free", None) is None
    assert PriceStatus.LIST == status("openai/gpt-9", None)
    assert PriceStatus.EXACT == status("openai/gpt-9", "openai")
