"""A list of prices that somebody else publishes: by seller and by model's name, letter by letter.

Rule, as for the catalogue: where the list has the upstream's provider, the price is that provider's or none;
only where neither it nor the catalogue has does the list price of the model's maker stand in for it.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from meter import providers
from meter.exchange import PriceStatus
from meter.price import Listed, Price, Rates, Tier
from meter.prices.places import INCLUSIVE, MAKERS, place
from meter.prices.same import completed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from meter.prices.hours import Hours

__all__ = [
    "Cell",
    "OffPeak",
    "SenselessError",
    "Stamp",
    "TableSource",
    "amount",
    "members",
    "per_million",
    "rates",
    "whole",
]


_EXACT = Context(prec=100, traps=[])


class SenselessError(ValueError):
    """An entry of a list that can mean nothing; it is left out, and counted."""


class OffPeak(NamedTuple):
    """Times at which a model costs something else."""

    windows: tuple[tuple[Hours, frozenset[int]], ...]
    """Hours, and the days of the week on which they are meant, from Monday, 1."""
    price: Price

    def holds(self, when: datetime) -> bool:
        """Whether it is such a time."""
        return any(hours.hold(when) and when.isoweekday() in days for hours, days in self.windows)

    def __str__(self) -> str:
        return ", ".join(
            str(hours)
            if len(days) == len(_WEEK)
            else f"{hours} on {' '.join(_WEEK[day] for day in sorted(days))}"
            for hours, days in self.windows
        )


_WEEK = dict(enumerate(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"), start=1))


class Stamp(NamedTuple):
    """What each price says of where it is from."""

    source: str
    revision: str


class Cell(NamedTuple):
    """What one model costs at one seller."""

    seller: str
    """Our name of the provider."""
    price: Price
    off_peak: OffPeak | None = None


class TableSource:
    """Prices of a list. Of two for one model at one seller, the first counts.

    With `known_only` there is no price where the list does not have the upstream's provider. `left_out` is
    how many of its entries made no sense.
    """

    def __init__(
        self, stamp: Stamp, cells: Iterable[Cell], *, left_out: int = 0, known_only: bool = False
    ) -> None:
        self.name, self.revision = stamp
        self.left_out = left_out
        self._known_only = known_only
        self._cells: dict[tuple[str, str], Cell] = {}
        for cell in cells:
            self._cells.setdefault((cell.seller, cell.price.model), cell)
        self._sellers = frozenset(seller for seller, _ in self._cells)

    def find(self, model: str, *, upstream: str, provider: str | None, when: datetime) -> Price | None:
        """Give the seller's price of `model` at `when`, or its maker's where the seller is not known."""
        del upstream  # a list knows providers, not the names that users give to their upstreams
        cell, status = self._cell(model, provider)
        if cell is None:
            return None
        price = cell.off_peak.price if cell.off_peak and cell.off_peak.holds(when) else cell.price
        return price if status == price.status else replace(price, status=status)

    def knows(self, model: str, *, upstream: str, provider: str | None) -> bool:
        """Whether the seller, or the maker where it is not known, lists this very name."""
        del upstream  # as above
        return self._cell(model, provider)[0] is not None

    def models(self) -> frozenset[str]:
        """Give no names: thousands are listed, and few of them are ever used."""
        return frozenset()

    def listing(self, when: datetime) -> Iterator[Listed]:
        """Give all prices, those of all times of the day."""
        del when
        for seller, price, off_peak in self._cells.values():
            yield Listed(price, provider=seller)
            if off_peak is not None:
                yield Listed(off_peak.price, provider=seller, hours=str(off_peak))

    def _cell(self, model: str, provider: str | None) -> tuple[Cell | None, PriceStatus]:
        seller = place(provider) if provider else None
        if seller in self._sellers:
            return self._cells.get((seller, model)), PriceStatus.EXACT
        if self._known_only or providers.catalogue_id(provider) is not None:
            return None, PriceStatus.LIST
        made = (self._cells.get((maker, model)) for maker in MAKERS)
        return next((cell for cell in made if cell is not None), None), PriceStatus.LIST


def amount(told: object) -> Decimal:
    """Take an amount out of JSON that was read with its numbers as Decimal; raises SenselessError."""
    if isinstance(told, bool) or not isinstance(told, int | Decimal):
        raise SenselessError("an amount that is no number")
    if not Decimal(told).is_finite() or told < 0:
        raise SenselessError("an amount below 0")
    return Decimal(told)


def per_million(told: object) -> Decimal:
    """Take an amount for one token as one for a million; raises SenselessError."""
    return amount(_EXACT.scaleb(amount(told), 6))


def whole(told: object) -> int:
    """Take a count of tokens; raises SenselessError."""
    count = amount(told)
    if count != count.to_integral_value() or count > 10**12:
        raise SenselessError("a count that is none")
    return int(count)


def rates(seller: str, model: str, tables: Mapping[int, Mapping[str, Decimal]]) -> Rates:
    """Make rates of the amounts that hold above so many input tokens; what one table lacks is as below it."""
    amounts: dict[str, Decimal] = {}
    steps: dict[int, dict[str, Decimal]] = {}
    for threshold in sorted(tables):
        amounts = {**amounts, **tables[threshold]}
        steps[threshold] = completed(model, amounts)
    base = steps.pop(0, {})
    inclusive = seller in INCLUSIVE
    return Rates(
        base, tuple(Tier(start, inclusive=inclusive, amounts=table) for start, table in steps.items())
    )


def members(told: object) -> dict[str, Any]:
    """Take a mapping; what is none has no members."""
    return told if isinstance(told, dict) else {}
