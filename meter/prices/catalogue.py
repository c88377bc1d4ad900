"""The catalogue of list prices, the bundled one or one of its shape, and the only door to `genai_prices`.

Its data is used and its arithmetic is not: its totals charge a kind without a price silently at another's
(audio as text). Nor are its look-ups: they remember every name they were asked for, and clients choose names.

Rule: where the catalogue has the upstream's provider, the price is that provider's or none; only where it has
not does the list price of the model's maker stand in for it.
"""

from __future__ import annotations

from datetime import UTC, datetime, time
from decimal import Context, Decimal
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

from meter.exchange import PriceStatus
from meter.price import Listed, Price, Rates, Tier
from meter.prices.same import completed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from genai_prices.types import ModelInfo, ModelPrice, PriceVariant, Provider, TieredPrices

__all__ = ["CatalogueSource", "Edition", "edition", "recognises"]

_DISTRIBUTION = "genai-prices"

_TOKENS = {
    "input": "input_mtok",
    "input_cached": "cache_read_mtok",
    "input_cached_audio": "cache_audio_read_mtok",
    "input_cached_image": "cache_image_read_mtok",
    "input_cache_write": "cache_write_mtok",
    "input_cache_write_5m": "cache_write_5m_mtok",
    "input_cache_write_1h": "cache_write_1h_mtok",
    "input_audio": "input_audio_mtok",
    "input_image": "input_image_mtok",
    "output": "output_mtok",
    "output_reasoning": "output_reasoning_mtok",
    "output_audio": "output_audio_mtok",
    "output_image": "output_image_mtok",
}
"""Names in the catalogue of what a million tokens of each kind cost."""

_UNITS = (
    ("audio_seconds", "audio_hours", 3600),
    ("audio_seconds", "input_audio_hours", 3600),
    ("characters", "input_mchars", 1_000_000),
    ("searches", "web_searches_kcount", 1000),
    ("searches", "rerank_searches_kcount", 1000),
)
"""A unit, its name in the catalogue, and how many of it that amount buys; of two for one unit, the first."""

_REQUESTS, _REQUESTS_PER = "requests_kcount", 1000

_TIERS_ALIKE = {"groq": ("flex",)}
"""Tiers that cost what the standard one does, by the seller's id."""

_TIER_CONDITIONS = ("service_tier", "processing", "speed")
"""Conditions of a variant whose value is what an answer tells as its service tier."""

_PRECISE = Context(prec=60)


class CatalogueSource:
    """Prices of a catalogue.

    `ids` turns an upstream's provider into the catalogue's id of it, or `None`. With `known_only` there is no
    price where it gives none. Without `edition` it is the bundled one; the first made of it reads the whole
    catalogue, about 0.1 seconds.
    """

    def __init__(
        self,
        *,
        ids: Callable[[str | None], str | None],
        known_only: bool = False,
        edition: Edition | None = None,
    ) -> None:
        self.name, self.revision, self._providers = edition or _bundled()
        self._ids = ids
        self._known_only = known_only
        self._by_id = {provider.id: provider for provider in self._providers}
        self._names = {provider.id: _exact_names(provider) for provider in self._providers}

    def find(self, model: str, *, upstream: str, provider: str | None, when: datetime) -> Price | None:
        """Give the seller's price of `model` at `when`, or its maker's where the seller is not known."""
        del upstream  # the catalogue knows providers, not the names that users give to their upstreams
        seller, status = self._seller(model, provider)
        info = seller.find_model(model, all_providers=self._providers) if seller is not None else None
        return None if seller is None or info is None else self._price(seller, info, status, when)

    def knows(self, model: str, *, upstream: str, provider: str | None) -> bool:
        """Whether the seller, or one whose models it sells at their maker's price, lists this very name."""
        del upstream  # as above
        seller, _ = self._seller(model, provider)
        if seller is None:
            return False
        sellers = (seller.id, *(seller.fallback_model_providers or ()))
        return any(model in self._names.get(name, ()) for name in sellers)

    def models(self) -> frozenset[str]:
        """Give no names: thousands are listed, and few of them are ever used."""
        return frozenset()

    def listing(self, when: datetime) -> Iterator[Listed]:
        """Give what every model costs at its seller at `when`."""
        for seller in self._providers:
            for info in seller.models:
                yield Listed(self._price(seller, info, PriceStatus.EXACT, when), provider=seller.id)

    def timestamp(self, now: float) -> float:
        """Give the date of the data, in Unix seconds: the newest day up to `now` on which a price begins.

        The package carries no date of its own, and a file's date is that of its installation.
        """
        today = datetime.fromtimestamp(now, UTC).date()
        newest = max((day for day in _start_days(self._providers) if day <= today), default=None)
        return datetime.combine(newest, time(), UTC).timestamp() if newest is not None else 0.0

    def _price(self, seller: Provider, info: ModelInfo, status: PriceStatus, when: datetime) -> Price:
        standard = info.get_prices(when)
        return Price(
            model=info.id,
            rates=_rates(info.id, standard),
            service_tiers=_service_tiers(seller, info, when),
            per_request=_per(standard, _REQUESTS, _REQUESTS_PER),
            per_unit=_per_unit(standard),
            status=status,
            source=self.name,
            revision=self.revision,
            origin=next(iter(seller.pricing_urls or ()), seller.name),
        )

    def _seller(self, model: str, provider: str | None) -> tuple[Provider | None, PriceStatus]:
        seller = self._by_id.get(self._ids(provider) or "")
        if seller is not None:
            return seller, PriceStatus.EXACT
        return None if self._known_only else self._maker(model), PriceStatus.LIST

    def _maker(self, model: str) -> Provider | None:
        name = model.lower()
        makers = [p for p in self._providers if p.model_match is not None]
        matched = (p for p in makers if p.model_match is not None and p.model_match.is_match(name))
        listed = (p for p in makers if name in self._names[p.id])
        return next(matched, None) or next(listed, None)


class Edition(NamedTuple):
    """A state of the catalogue's data."""

    name: str
    revision: str
    providers: list[Provider]


def recognises(data: Any) -> bool:
    """Whether data read from JSON has the shape in which the catalogue is published."""
    if not isinstance(data, list) or not data:
        return False
    return all(isinstance(entry, dict) and {"id", "models"} <= entry.keys() for entry in data)


def edition(data: Any, name: str, revision: str) -> Edition:
    """Make an edition of data that `recognises` takes; raises ValueError where it cannot be used."""
    # Private, and pinned by a test: the package reads its own format nowhere else but right after a download.
    from genai_prices.types import _providers_from_raw  # noqa: PLC0415  # 0.1 s, as below

    bare = [{key: value for key, value in entry.items() if key != "extractors"} for entry in data]
    try:
        found = _providers_from_raw(bare)
        _try(found)
    except Exception as error:
        # Of any class: what is read has any shape, and the package expects its own.
        # What it says of a wrong one is thousands of lines long.
        raise ValueError("is no catalogue that this version of genai-prices can read") from error
    return Edition(name, revision, found)


def _try(listed: Sequence[Provider]) -> None:
    """Raise now what a look-up would raise later, such as for a model without prices."""
    for provider in listed:
        if provider.model_match is not None:
            provider.model_match.is_match("m")
        for model in provider.models:
            model.is_match("m")
            for price in _prices(model):
                rates = _rates(model.id, price)
                tables = (rates.amounts, *(tier.amounts for tier in rates.tiers))
                if any(not amount.is_finite() or amount < 0 for table in tables for amount in table.values()):
                    raise ValueError("an amount below 0")


def _prices(model: ModelInfo) -> Iterator[ModelPrice]:
    """Yield all prices of a model; raises IndexError where it has not even a list of them."""
    if isinstance(model.prices, list):
        yield model.prices[0].prices
        yield from (dated.prices for dated in model.prices)
    else:
        yield model.prices
    yield from (variant.prices for variant in model.price_variants or ())


@cache
def _bundled() -> Edition:
    from genai_prices.data import providers  # noqa: PLC0415  # 0.1 s that only those who use it should pay

    return Edition(_DISTRIBUTION, version(_DISTRIBUTION), providers)


def _exact_names(provider: Provider) -> frozenset[str]:
    listed = (name for model in provider.models for name in _equals(model.match))
    ids = (model.id for model in provider.models if model.is_match(model.id))
    return frozenset((*listed, *ids))


def _equals(clause: Any) -> Iterator[str]:
    """Names that a clause spells out; the other kinds of clause match names without end."""
    if (name := getattr(clause, "equals", None)) is not None:
        yield name
    for part in getattr(clause, "or_", ()):
        yield from _equals(part)


def _start_days(providers: Sequence[Provider]) -> Iterator[Any]:
    for provider in providers:
        for model in provider.models:
            conditional = model.prices if isinstance(model.prices, list) else []
            for dated in (*conditional, *(model.price_variants or ())):
                if (day := getattr(dated.constraint, "start_date", None)) is not None:
                    yield day


def _service_tiers(seller: Provider, info: ModelInfo, when: datetime) -> dict[str, Rates]:
    """Tiers beside the standard one; their terms are the maker's own, and not those of one that resells."""
    if not any(info is own for own in seller.models):
        return {}
    active = (variant for variant in info.price_variants or () if _is_active(variant, when))
    tiers = (tier for variant in active if (tier := _tier_of(variant)) is not None)
    told = {tier.name.lower(): _rates(info.id, info.get_prices(when, tier.context)) for tier in tiers}
    same = dict.fromkeys(_TIERS_ALIKE.get(seller.id, ()), _rates(info.id, info.get_prices(when)))
    return same | told


class _TierName(NamedTuple):
    name: str
    context: Mapping[str, str]


def _tier_of(variant: PriceVariant) -> _TierName | None:
    """Name the service tier that a variant stands for; `None` for conditions that no service tier tells."""
    if len(variant.when) > 1:
        return None
    names = (variant.when[condition] for condition in _TIER_CONDITIONS if condition in variant.when)
    return next((_TierName(name, variant.when) for name in names), None)


def _is_active(variant: PriceVariant, when: datetime) -> bool:
    # The catalogue itself falls back to the standard price here, which would be a guess.
    return variant.constraint is None or variant.constraint.active(when)


def _rates(model: str, price: ModelPrice) -> Rates:
    listed = vars(price)
    told = completed(
        model, {kind: listed[name] for kind, name in _TOKENS.items() if listed.get(name) is not None}
    )
    starts = sorted({tier.start for amount in told.values() for tier in getattr(amount, "tiers", ())})
    tiers = (Tier(start, inclusive=False, amounts=_above(told, start)) for start in starts)
    return Rates(_above(told, -1), tuple(tiers))


def _above(told: Mapping[str, Decimal | TieredPrices], start: int) -> dict[str, Decimal]:
    """Amounts of every kind just above `start` input tokens."""
    return {kind: _amount_above(amount, start) for kind, amount in told.items()}


def _amount_above(amount: Decimal | TieredPrices, start: int) -> Decimal:
    if isinstance(amount, Decimal):
        return amount
    return next((tier.price for tier in reversed(amount.tiers) if tier.start <= start), amount.base)


def _per_unit(price: ModelPrice) -> dict[str, Decimal]:
    found = {
        unit: amount for unit, name, per in reversed(_UNITS) if (amount := _per(price, name, per)) is not None
    }
    return dict(sorted(found.items()))


def _per(price: ModelPrice, name: str, count: int) -> Decimal | None:
    """Price of one; `None` also where it depends on the tokens, which `Price` has no words for."""
    amount = vars(price).get(name)
    return _PRECISE.divide(amount, count) if isinstance(amount, Decimal) else None
