"""What an exchange cost.

A `Price` is what one model costs; a `Source` knows prices; the `Book` asks its sources in order, and the
first that knows a model wins. Amounts are `Decimal`; a sum is rounded once, half-even, to 12 decimal places.
Where each token costs a whole number of 10^-12 USD, as nearly all do, whole numbers are added up instead, and
come to the same.

Rules: standard library and msgspec only; the time is the exchange's own, never the clock's; what cannot be
priced in full has no cost, since a partial cost looks like a whole one; nothing that an upstream says makes
this raise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec
from msgspec.structs import replace

from meter.exchange import COUNTED, INPUT_KINDS, KINDS, Exchange, PriceStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

__all__ = [
    "DEAREST_USD",
    "FALL_BACKS",
    "Bill",
    "Book",
    "Listed",
    "Price",
    "Quote",
    "Rates",
    "Source",
    "Tier",
    "Used",
    "without_version",
]

FALL_BACKS: Mapping[str, str] = MappingProxyType(
    {
        "input_cached": "input",
        "input_cached_audio": "input_audio",
        "input_cached_image": "input_image",
        "input_cache_write": "input",
        "input_cache_write_5m": "input_cache_write",
        "input_cache_write_1h": "input_cache_write",
        "output_reasoning": "output",
    },
)
"""Whose price a kind takes where it has none. There are no others: audio is never priced as text."""

_CACHED = {kind: plain for kind, plain in FALL_BACKS.items() if kind.startswith("input_cached")}

_STANDARD_TIERS = frozenset({"", "default", "standard", "auto", "on_demand"})
"""Names under which upstreams report that nothing but the ordinary tier served."""

DEAREST_USD = Decimal(9_000_000)
"""More than this no exchange costs: a count or a price is wrong, and 10^-12 USD would not fit 64 bits."""

_PLACES = Decimal("1e-12")
_MOST_PICOS = int(DEAREST_USD) * 10**12

# Traps are off: a count of 5,000 digits becomes NaN, which is unknown; an exception would lose the record.
# 100 digits hold any sum below 10^88 USD to its last place.
_ARITHMETIC = Context(prec=100, rounding=ROUND_HALF_EVEN, traps=[])

_GRID_SECONDS = 900
"""Prices change on a quarter of an hour in UTC, if they change within a day at all."""

_KEPT = 4096
"""Look-ups remembered; a few hundred models over some hours."""

_NAME_LENGTH = 512
"""Longer names are neither looked up nor remembered: a megabyte against every known model takes seconds."""

_YEAR, _MONTH, _DAY = "20[0-9]{2}", "(?:0[1-9]|1[0-2])", "(?:0[1-9]|[12][0-9]|3[01])"
_VERSION = re.compile(
    f"[-@:_](?:{_YEAR}-{_MONTH}-{_DAY}|{_YEAR}{_MONTH}{_DAY}|[0-9]{{2}}{_MONTH}{_DAY}|{_MONTH}{_DAY}|[0-9]{{3}})",
)
_ENDING_VERSION = re.compile(f"{_VERSION.pattern}\\Z")

_MAKERS = (
    "anthropic|azure|azure_ai|bedrock|cohere|deepseek|gemini|google|meta|meta-llama|minimax|mistral|mistralai"
    "|moonshot|moonshotai|openai|perplexity|qwen|vertex_ai|voyage|x-ai|xai|z-ai|zai"
)
_PREFIX = re.compile(
    # Who sells it: without it, one seller's model would take the price of another's.
    r"(?P<seller>accounts/fireworks/models/)"
    # Bedrock: an address, a region and a maker, of which only the last must be there.
    r"|(?P<bedrock>(?:arn:aws[a-z-]*:bedrock:[a-z0-9-]*:[0-9]*:(?:foundation-model|inference-profile)/)?"
    r"(?:[a-z-]{2,8}\.)?(?:ai21|amazon|anthropic|cohere|deepseek|meta|mistral|openai|qwen|writer)\.)"
    # Google, and what gateways put before a name.
    rf"|(?:projects/[^/]+/locations/[^/]+/)?publishers/[^/]+/models/|models/|(?:{_MAKERS})/",
)
_BEDROCK_REVISION = re.compile(r"-(?:v[0-9]+(?::[0-9]+)?|[0-9]+:[0-9]+)\Z")
_PREFIXES = 3
"""So many are taken off at the most; each look-up takes time, and clients choose names."""


@dataclass(frozen=True, slots=True)
class Tier:
    """Amounts for exchanges whose input is long."""

    threshold: int
    """Input tokens, cached ones included."""
    inclusive: bool
    """Whether an input of exactly `threshold` tokens reaches the tier."""
    amounts: Mapping[str, Decimal]
    """USD per million tokens by usage kind; stands alone, and takes nothing from the table below it."""

    def reached_by(self, input_tokens: int) -> bool:
        """Whether an exchange with so many input tokens is priced by this tier or a higher one."""
        return input_tokens >= self.threshold if self.inclusive else input_tokens > self.threshold


@dataclass(frozen=True)
class Rates:
    """USD per million tokens by usage kind, and the tiers above them."""

    amounts: Mapping[str, Decimal] = field(default_factory=dict)
    tiers: tuple[Tier, ...] = ()

    def table(self, usage: Mapping[str, int]) -> _Table:
        """Give the amounts that hold for the whole of an exchange with this usage, fall-backs filled in."""
        if not self.tiers:
            return self._plain
        tokens = sum(usage.get(kind, 0) for kind in INPUT_KINDS)
        return next((table for tier, table in self._steep if tier.reached_by(tokens)), self._plain)

    @cached_property
    def _plain(self) -> _Table:
        return _Table(_filled(self.amounts))

    @cached_property
    def _steep(self) -> tuple[tuple[Tier, _Table], ...]:
        """The highest first; of two with one threshold, the one that excludes it is the higher."""
        ordered = sorted(self.tiers, key=lambda tier: (tier.threshold, not tier.inclusive), reverse=True)
        return tuple((tier, _Table(_filled(tier.amounts))) for tier in ordered)


def _filled(amounts: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return {kind: amounts[origin] for kind in KINDS if (origin := _origin(kind, amounts)) is not None}


def _origin(kind: str, amounts: Mapping[str, Decimal]) -> str | None:
    name: str | None = kind
    while name is not None and name not in amounts:
        name = FALL_BACKS.get(name)
    return name


class Bill(msgspec.Struct, frozen=True):
    """What a price makes of one exchange."""

    cost_usd: Decimal
    cache_savings_usd: Decimal | None
    """What cached input would have cost as plain input, less what it did, at least 0; `None` without any."""


class _Table:
    """Amounts that hold for the whole of an exchange, in USD per million tokens by usage kind."""

    __slots__ = ("_picos", "_spared", "amounts")

    def __init__(self, amounts: Mapping[str, Decimal]) -> None:
        self.amounts = amounts
        picos = {kind: pico for kind, amount in amounts.items() if (pico := _pico(amount)) is not None}
        self._spared = {
            kind: picos[of] - picos[kind] for kind, of in _CACHED.items() if {kind, of} <= picos.keys()
        }
        """10^-12 USD by which one cached token of a kind is cheaper than a plain one."""
        self._picos = {
            kind: pico for kind, pico in picos.items() if kind in self._spared or kind not in _CACHED
        }
        """10^-12 USD for one token."""

    def bill(self, usage: Mapping[str, int]) -> Bill | None:
        """Price tokens in whole numbers; `None` where that takes more than these."""
        picos, spared = self._picos, self._spared
        cost, saved = 0, None
        for kind, count in usage.items():
            if count:
                pico = picos.get(kind)
                if pico is None or count < 0:
                    return None
                cost += pico * count
                if kind in spared:
                    saved = (saved or 0) + spared[kind] * count
        if cost > _MOST_PICOS or (saved is not None and saved > _MOST_PICOS):
            return None
        multiply = _ARITHMETIC.multiply
        return Bill(multiply(_PLACES, cost), None if saved is None else multiply(_PLACES, max(saved, 0)))


def _pico(amount: Decimal) -> int | None:
    """Give what one token costs in 10^-12 USD, where that is a whole number."""
    if not (amount.is_finite() and 0 <= amount <= DEAREST_USD):
        return None
    pico = int(_ARITHMETIC.scaleb(amount, 6))
    return pico if _ARITHMETIC.scaleb(Decimal(pico), -6) == amount else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one model costs at one upstream at one time, and who says so."""

    model: str
    """The name or pattern under which the source has it."""
    rates: Rates = field(default_factory=Rates)
    service_tiers: Mapping[str, Rates] = field(default_factory=dict)
    """By the lower-case name of the tier that served."""
    per_request: Decimal | None = None
    """USD for each exchange, whatever it used."""
    per_unit: Mapping[str, Decimal] = field(default_factory=dict)
    """USD for one of `meter.exchange.UNITS`."""
    status: PriceStatus = PriceStatus.EXACT
    source: str
    revision: str
    origin: str | None = None
    """Where the source has it from: an address, a note."""

    def bill(
        self,
        usage: Mapping[str, int],
        units: Mapping[str, float] | None = None,
        service_tier: str | None = None,
    ) -> Bill | None:
        """Price tokens by kind and units by unit as the tier that served does.

        `None` where any count above 0 has no price, where the tier is not one that this price knows, or where
        a count is no sane number: below 0, not finite, or too great for 12 decimal places within 100 digits.
        """
        rates = self._served_by(service_tier)
        if rates is None:
            return None
        table = rates.table(usage)
        if not units and self.per_request is None and (bill := table.bill(usage)) is not None:
            return bill
        amounts = table.amounts
        tokens, others = _sum(usage, amounts), _sum(units or {}, self.per_unit)
        if tokens is None or others is None:
            return None
        add = _ARITHMETIC.add
        cost = _rounded(add(add(tokens.scaleb(-6, _ARITHMETIC), others), self.per_request or Decimal(0)))
        return None if cost is None else Bill(cost, _savings(usage, amounts))

    def _served_by(self, service_tier: str | None) -> Rates | None:
        tier = service_tier.lower() if service_tier else ""
        return self.service_tiers.get(tier, self.rates if tier in _STANDARD_TIERS else None)


def _sum(counts: Mapping[str, int] | Mapping[str, float], amounts: Mapping[str, Decimal]) -> Decimal | None:
    total = Decimal(0)
    for name, count in counts.items():
        if count == 0:
            continue
        amount = amounts.get(name)
        if amount is None or count < 0:
            return None
        # A float goes through its text: 0.1 seconds are a tenth, not 0.1000000000000000055.
        number = count if isinstance(count, int) else Decimal(str(count))
        total = _ARITHMETIC.fma(amount, number, total)
    return total


def _savings(usage: Mapping[str, int], table: Mapping[str, Decimal]) -> Decimal | None:
    total: Decimal | None = None
    for kind, plain in _CACHED.items():
        if not (count := usage.get(kind)):
            continue
        if plain not in table:
            return None
        total = _ARITHMETIC.fma(_ARITHMETIC.subtract(table[plain], table[kind]), count, total or 0)
    if total is None:
        return None
    # `max` of the builtins compares in the caller's context, where a NaN may raise.
    return _rounded(_ARITHMETIC.max(total.scaleb(-6, _ARITHMETIC), 0))


def _rounded(amount: Decimal) -> Decimal | None:
    """Round to 12 decimal places; `None` for what is no amount of money, or more than all can cost."""
    rounded = _ARITHMETIC.quantize(amount, _PLACES)
    return rounded if rounded.is_finite() and 0 <= rounded <= DEAREST_USD else None


class Source(Protocol):
    """A place that prices come from."""

    @property
    def name(self) -> str:
        """What `price_source` says of it."""

    @property
    def revision(self) -> str:
        """Which state of it, so that a cost can be explained later."""

    def find(self, model: str, *, upstream: str, provider: str | None, when: datetime) -> Price | None:
        """Give the price of `model` at `when` (UTC), good for the quarter of an hour that begins there."""

    def knows(self, model: str, *, upstream: str, provider: str | None) -> bool:
        """Whether this very name is listed; one that only fits a pattern is not, for those have no end."""

    def models(self) -> frozenset[str]:
        """Give the names that may be shown before any upstream has answered to them."""

    def listing(self, when: datetime) -> Iterator[Listed]:
        """Give all prices for people to read; those that change by themselves as they are at `when` (UTC)."""


class Listed(NamedTuple):
    """A price as it stands in a source, with the place and the time that it holds for."""

    price: Price
    upstream: str | None = None
    """The only upstream that it holds for; `None`: for any."""
    provider: str | None = None
    """The only provider that it holds for; `None`: for any."""
    valid_from: date | None = None
    valid_until: date | None = None
    """The last day, in UTC."""
    hours: str | None = None
    """Hours of the day in UTC, as people write them; `None`: all day."""


class Used(NamedTuple):
    """All of an exchange that its price depends on, by the names that `Exchange` has for it."""

    started_at: float
    upstream: str
    provider: str | None
    request_model: str | None
    response_model: str | None
    service_tier: str | None
    usage: Mapping[str, int] | None
    units: Mapping[str, float]
    usage_source: str
    provider_cost_usd: Decimal | None


_NO_USAGE: Mapping[str, int] = MappingProxyType({})


class Quote(msgspec.Struct, frozen=True):
    """What the book settles of an exchange, by the names that `Exchange` has for it."""

    model: str | None
    cost_usd: Decimal | None
    computed_cost_usd: Decimal | None
    cache_savings_usd: Decimal | None
    price_status: PriceStatus
    price_source: str | None
    price_revision: str | None


class _Verdict(NamedTuple):
    """How sure a cost is, and by whom."""

    status: PriceStatus
    source: str | None = None
    revision: str | None = None


_NOTHING = _Verdict(PriceStatus.NONE)
_UPSTREAMS_WORD = _Verdict(PriceStatus.PROVIDER, "provider")
_UNKNOWN = _Verdict(PriceStatus.MISSING)


class _Found(NamedTuple):
    label: str | None
    price: Price | None
    billed: _Verdict
    """Where the price is all that is needed."""
    lacking: _Verdict
    """Where it is not: that is where the missing amount belongs."""


def _found(label: str | None, price: Price | None) -> _Found:
    if price is None:
        return _Found(label, None, _UNKNOWN, _UNKNOWN)
    origin = price.source, price.revision
    return _Found(label, price, _Verdict(price.status, *origin), _Verdict(PriceStatus.MISSING, *origin))


def _short(name: str | None) -> str | None:
    """Give a name that may be looked up and remembered; `None` where there is none."""
    return name if name and len(name) <= _NAME_LENGTH else None


class Book:
    """Sources of prices in the order in which they are asked.

    `aliases` are names that only one upstream knows, such as those of deployments, and the models that they
    are priced as: upstream to name to model. They change no label.
    """

    def __init__(
        self, sources: Sequence[Source], aliases: Mapping[str, Mapping[str, str]] | None = None
    ) -> None:
        self.sources = tuple(sources)
        self._aliases = {upstream: dict(names) for upstream, names in (aliases or {}).items() if names}
        self._kept: dict[tuple[str, str | None, str | None, str | None, float], _Found] = {}

    def models(self) -> frozenset[str]:
        """Give the names that may be shown before any upstream has answered to them."""
        return frozenset[str]().union(*(source.models() for source in self.sources))

    def knows(self, model: str, *, upstream: str, provider: str | None) -> bool:
        """Whether any source lists this very name."""
        return any(source.knows(model, upstream=upstream, provider=provider) for source in self.sources)

    def find(
        self, models: Sequence[str], *, upstream: str, provider: str | None, when: datetime
    ) -> Price | None:
        """Give the first source's price for the first of `models` that it has, else the next source's.

        A model that an alias stands for comes before all of them. Where no source has any, they are looked
        up without what says in front of a name who makes it.
        """
        found = (
            source.find(model, upstream=upstream, provider=provider, when=when)
            for names in self._spellings(models, upstream, provider)
            for source in self.sources
            for model in names
        )
        return next((price for price in found if price is not None), None)

    def listing(self, when: datetime) -> Iterator[Listed]:
        """Give all prices of all sources, in the order in which these are asked."""
        for source in self.sources:
            yield from source.listing(when)

    def _spellings(
        self, models: Sequence[str], upstream: str, provider: str | None
    ) -> Iterator[Sequence[str]]:
        mapped = self._aliases.get(upstream, {})
        names = (*(mapped[model] for model in models if model in mapped), *models)
        yield names
        yield tuple(bare for name in names for bare in _bare(name, provider))

    def price(self, exchange: Exchange) -> Exchange:
        """Give the same record with its model, cost and price settled."""
        quote = self.quote(exchange)
        return replace(
            exchange,
            model=quote.model,
            cost_usd=quote.cost_usd,
            computed_cost_usd=quote.computed_cost_usd,
            cache_savings_usd=quote.cache_savings_usd,
            price_status=quote.price_status,
            price_source=quote.price_source,
            price_revision=quote.price_revision,
        )

    def quote(self, used: Used | Exchange) -> Quote:
        """Give what `price` settles, of an exchange that may be told in part."""
        label, price, billed, lacking = self._resolve(used)
        usage, units, told = used.usage or _NO_USAGE, used.units, used.provider_cost_usd
        bill, verdict = None, _NOTHING
        if used.usage_source in COUNTED and (usage or units):
            bill = price.bill(usage, units, used.service_tier) if price is not None else None
            verdict = billed if bill is not None else lacking
        cost = computed = None if bill is None else bill.cost_usd
        if told is not None and (said := _rounded(told)) is not None:
            cost, verdict = said, _UPSTREAMS_WORD
        status, source, revision = verdict
        savings = None if bill is None else bill.cache_savings_usd
        return Quote(label, cost, computed, savings, status, source, revision)

    def _resolve(self, used: Used | Exchange) -> _Found:
        answered, asked = used.response_model, used.request_model
        quarter = used.started_at // _GRID_SECONDS
        found = self._kept.get((used.upstream, used.provider, answered, asked, quarter))
        return found or self._sought(used, quarter)

    def _sought(self, used: Used | Exchange, quarter: float) -> _Found:
        key = (used.upstream, used.provider, _short(used.response_model), _short(used.request_model), quarter)
        found = self._kept.get(key)
        if found is None:
            found = self._look_up(*key)
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            self._kept[key] = found
        return found if found.label is not None else found._replace(label=used.request_model or None)

    def _look_up(
        self,
        upstream: str,
        provider: str | None,
        answered: str | None,
        asked: str | None,
        quarter: float,
    ) -> _Found:
        trusted = answered is not None and (
            _is_version_of(answered, asked) or self.knows(answered, upstream=upstream, provider=provider)
        )
        names = [name for name in dict.fromkeys((answered, asked)) if name is not None]
        when = datetime.fromtimestamp(quarter * _GRID_SECONDS, UTC)
        price = self.find(names, upstream=upstream, provider=provider, when=when)
        return _found(answered if trusted else asked, price)


def without_version(model: str) -> str:
    """Give a model's name without the date or the three-digit revision that ends it, if one does."""
    found = _ENDING_VERSION.search(model)
    return model[: found.start()] if found is not None and found.start() else model


def _is_version_of(answered: str, asked: str | None) -> bool:
    """Whether one name is the other, or the other with a date or a three-digit revision."""
    if asked is None or not answered.startswith(asked):
        return False
    return answered == asked or _VERSION.fullmatch(answered, len(asked)) is not None


def _bare(model: str, provider: str | None) -> Iterator[str]:
    """Give a model's name without what stands in front of it, piece by piece.

    What stands behind it stays, but for Bedrock's revision: `:free` is a price of its own.
    """
    for _ in range(_PREFIXES):
        prefix = _PREFIX.match(model)
        if prefix is None or (prefix["seller"] and provider is None):
            return
        model = model[prefix.end() :]
        short = _BEDROCK_REVISION.sub("", model) if prefix["bedrock"] else model
        if ":" not in short:
            yield from filter(None, dict.fromkeys((model, short)))
