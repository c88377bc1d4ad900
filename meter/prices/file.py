"""A price file: prices that a user writes down, which win over all others.

An entry is chosen by how exactly it names the model, then by how closely it names the place and the hours of
the day, then by the file's order.
"""

from __future__ import annotations

import fnmatch
import re
from datetime import date
from decimal import Context, Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from meter.price import Listed, Price, Rates, Tier
from meter.prices.format import parse
from meter.prices.places import names
from meter.prices.tree import PriceFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from meter.prices.format import Entry, RatesPart

__all__ = ["FileSource", "PriceFileError", "of_text", "pattern", "wildcards"]

_PRECISE = Context(prec=100)

_PER_UNIT = {
    "per_second": "audio_seconds",
    "per_image": "images",
    "per_search": "searches",
    "per_character": "characters",
}


class _Offer(NamedTuple):
    """An entry of the file, ready to be asked."""

    entry: Entry
    price: Price
    pattern: re.Pattern[str] | None
    """`None` where the entry names a model exactly."""
    rank: tuple[bool, int, bool, bool, bool]
    """The greatest wins: exact names, literal characters, upstream, provider, hours."""

    def fits(self, model: str, upstream: str, provider: str | None) -> bool:
        entry = self.entry
        if entry.upstream not in (None, upstream):
            return False
        if entry.provider is not None and entry.provider not in names(provider):
            return False
        return model == entry.model if self.pattern is None else self.pattern.fullmatch(model) is not None

    def holds(self, when: datetime) -> bool:
        """Whether the price is in force at a moment in UTC; the first and the last day belong to it."""
        entry = self.entry
        if not (entry.valid_from or date.min) <= when.date() <= (entry.valid_until or date.max):
            return False
        return entry.hours is None or entry.hours.hold(when)


class FileSource:
    """Prices of one file. `name` is the file's path as it was given, `revision` tells its contents."""

    def __init__(self, name: str, revision: str, offers: Iterable[_Offer]) -> None:
        self.name = name
        self.revision = revision
        # A stable sort: among equals the file's order stays.
        self._offers = sorted(offers, key=lambda offer: offer.rank, reverse=True)

    def find(self, model: str, *, upstream: str, provider: str | None, when: datetime) -> Price | None:
        """Give the best entry's price for `model` at `when`, in UTC."""
        fitting = (o.price for o in self._offers if o.holds(when) and o.fits(model, upstream, provider))
        return next(fitting, None)

    def knows(self, model: str, *, upstream: str, provider: str | None) -> bool:
        """Whether an entry for this place names the model without a wildcard, at whatever time."""
        return any(o.pattern is None and o.fits(model, upstream, provider) for o in self._offers)

    def models(self) -> frozenset[str]:
        """Give the names that are written out."""
        return frozenset(o.entry.model for o in self._offers if o.pattern is None)

    def listing(self, when: datetime) -> Iterator[Listed]:
        """Give all prices in the order in which they are preferred, those past and those to come too."""
        del when
        for offer in self._offers:
            entry = offer.entry
            hours = None if entry.hours is None else str(entry.hours)
            yield Listed(
                offer.price, entry.upstream, entry.provider, entry.valid_from, entry.valid_until, hours
            )


def of_text(name: str, raw: bytes) -> FileSource:
    """Read a price file; `PriceFileError` tells everything that is wrong with it."""
    revision = f"sha256:{sha256(raw).hexdigest()[:12]}"
    file = parse(name, raw).file
    rate = file.usd_rate or Decimal(1)
    return FileSource(name, revision, [_offer(entry, rate, name, revision) for entry in file.prices])


def _offer(entry: Entry, rate: Decimal, source: str, revision: str) -> _Offer:
    def usd(amount: Decimal) -> Decimal:
        return _PRECISE.multiply(amount, rate)

    units = {
        unit: usd(amount) for key, unit in _PER_UNIT.items() if (amount := getattr(entry, key)) is not None
    }
    price = Price(
        model=entry.model,
        rates=_rates(entry, usd),
        service_tiers={name.lower(): _rates(tier, usd) for name, tier in entry.service_tiers.items()},
        per_request=None if entry.per_request is None else usd(entry.per_request),
        per_unit=units,
        source=source,
        revision=revision,
        origin=entry.source,
    )
    signs = wildcards(entry.model)
    place = (entry.upstream is not None, entry.provider is not None, entry.hours is not None)
    fits = pattern(entry.model) if signs else None
    return _Offer(entry, price, fits, (not signs, len(entry.model) - signs, *place))


def wildcards(model: str) -> int:
    """Count the signs in a model's name that stand for others."""
    return sum(model.count(sign) for sign in "*?")


def pattern(model: str) -> re.Pattern[str]:
    """Give what matches all that a model's name with wildcards stands for."""
    # `[` is a literal in a model's name, and a wildcard to fnmatch unless it stands in brackets itself.
    return re.compile(fnmatch.translate(model.replace("[", "[[]")))


def _rates(part: RatesPart, usd: Callable[[Decimal], Decimal]) -> Rates:
    def table(amounts: Mapping[str, Decimal]) -> dict[str, Decimal]:
        return {kind: usd(amount) for kind, amount in amounts.items()}

    tiers = (Tier(*tier.bound, amounts=table(tier.per_million_tokens)) for tier in part.tiers)
    return Rates(table(part.per_million_tokens), tuple(tiers))
