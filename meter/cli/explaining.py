"""`meter prices show`: what a model costs, who says so, and what that rests on."""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from meter.cli.exports import FORMATS, as_csv, as_json
from meter.cli.ledgers import settings_of
from meter.cli.parsing import FAILED, OK, WrongArgumentError, command, config_option, say
from meter.cli.pricing import book_of, fall_backs, origin_of, period_of, rates_of
from meter.cli.terminal import printable
from meter.exchange import KINDS, PriceStatus

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Mapping
    from decimal import Decimal

    from meter.price import Book, Listed, Price, Rates

__all__ = ["ONE", "add", "valid"]

ONE = MappingProxyType(
    {"audio_seconds": "second of audio", "images": "image", "searches": "search", "characters": "character"}
)
"""What one of a unit is called."""

_SAID = 80
"""Signs of a name that are repeated where there is no price for it."""

_MILLION = "million tokens"

_STATUS = {
    PriceStatus.EXACT: "exact: the price there",
    PriceStatus.LIST: "list: the provider is not known, so the list price of the model's maker",
}


def add(actions: Any) -> None:
    """Declare the command."""
    show = command(actions, "show", _show, "show what a model costs, and where that comes from")
    show.add_argument("model", metavar="MODEL")
    config_option(show)
    show.add_argument("--provider", metavar="NAME", help="as sold by this one")
    show.add_argument("--upstream", metavar="NAME", help="at this upstream of the settings")
    show.add_argument("--format", choices=FORMATS, default="table")


class _Place(NamedTuple):
    """Where a price is asked for."""

    upstream: str | None
    provider: str | None

    def __str__(self) -> str:
        names = (self.upstream and f"upstream {self.upstream}", self.provider and f"provider {self.provider}")
        return ", ".join(filter(None, names))


def _show(args: argparse.Namespace) -> int:
    settings, now = settings_of(args), datetime.now(UTC)
    known = {upstream.name: upstream.provider for upstream in settings.upstreams}
    if args.upstream is not None and args.upstream not in known:
        expected = f"one of {', '.join(known)}" if known else "settings (--config) with upstreams"
        raise WrongArgumentError(f"--upstream: got {args.upstream!r}, expected {expected}")
    book = book_of(settings)
    place = _Place(args.upstream, _provider(args.provider) or known.get(args.upstream))
    price = book.find((args.model,), upstream=args.upstream or "none", provider=place.provider, when=now)
    if price is None:
        return say(_nothing(args.model, place, book, now), FAILED)
    listed = _listed(book, price, now)
    if args.format == "json":
        as_json(_told(args.model, place, price, listed))
    elif args.format == "csv":
        as_csv(_Line._fields, [line._asdict() for line in _lines(price)])
    else:
        _tell(args.model, place, price, listed)
    return OK


def _provider(said: str | None) -> str | None:
    """Give Meter's own name of a provider; lists have others."""
    from meter.prices.places import place  # noqa: PLC0415  # pydantic: see the package

    return place(said) if said else None


def _listed(book: Book, price: Price, now: datetime) -> Listed | None:
    """Find where a price stands in its source, for the time and the place that it holds for."""
    alike = (
        one for one in book.listing(now) if (one.price.model, one.price.source) == (price.model, price.source)
    )
    return next(
        (one for one in alike if one.price is price or replace(one.price, status=price.status) == price), None
    )


# --- none ---


def _nothing(model: str, place: _Place, book: Book, now: datetime) -> str:
    from difflib import get_close_matches  # noqa: PLC0415  # only here

    said = model if len(model) <= _SAID else f"{model[:_SAID]}..."
    where = f" at {place}" if str(place) else ""
    listing = list(book.listing(now))
    sellers = sorted({one.provider or one.upstream or "any" for one in listing if one.price.model == model})
    if sellers:
        return f"no price is known for {said!r}{where}; others have one: {', '.join(sellers)}"
    similar = get_close_matches(model, {one.price.model for one in listing}, n=5)
    also = f"; similar: {', '.join(similar)}" if similar else "; `meter prices list` has all"
    return f"no price is known for {said!r}{where}{also}"


# --- one ---


class _Line(NamedTuple):
    """An amount; `like` is the kind of tokens whose price is taken."""

    what: str
    usd: Decimal
    per: str
    service_tier: str = ""
    input_tokens: str = ""
    like: str = ""


def _lines(price: Price) -> Iterator[_Line]:
    yield from _of_rates(price.rates)
    for name, rates in price.service_tiers.items():
        yield from _of_rates(rates, name)
    for unit, amount in price.per_unit.items():
        yield _Line(unit, amount, ONE[unit])
    if price.per_request is not None:
        yield _Line("request", price.per_request, "request")


def _of_rates(rates: Rates, service_tier: str = "") -> Iterator[_Line]:
    yield from _of_amounts(rates.amounts, service_tier, "")
    for tier in rates.tiers:
        bound = f"{'from' if tier.inclusive else 'above'} {tier.threshold:,}"
        yield from _of_amounts(tier.amounts, service_tier, bound)


def _of_amounts(amounts: Mapping[str, Decimal], service_tier: str, bound: str) -> Iterator[_Line]:
    for kind, amount in amounts.items():
        yield _Line(kind, amount, _MILLION, service_tier, bound)
    for kind, plain in fall_backs(amounts).items():
        yield _Line(kind, amounts[plain], _MILLION, service_tier, bound, plain)


def _told(model: str, place: _Place, price: Price, listed: Listed | None) -> dict[str, Any]:
    return {
        "model": model,
        "entry": price.model,
        **place._asdict(),
        **rates_of(price),
        "fall_backs": fall_backs(price.rates.amounts),
        **period_of(listed),
        **origin_of(price),
    }


def _tell(model: str, place: _Place, price: Price, listed: Listed | None) -> None:
    from meter.cli.sheet import paragraph  # noqa: PLC0415  # only here

    facts = {
        "model": f"{model} at {place}" if str(place) else model,
        "entry": price.model,
        "status": _STATUS.get(price.status, price.status.value),
        "source": f"{price.source} {price.revision}",
        "origin": price.origin,
        "valid": (listed and valid(listed)) or "no dates told",
    }
    sys.stdout.writelines(f"{name:<8}{printable(fact)}\n" for name, fact in facts.items() if fact)
    sys.stdout.write("\n")
    _tell_rates(price)
    if taken := fall_backs(price.rates.amounts):
        kinds = (f"{kind} as {plain}" for kind, plain in taken.items())
        paragraph(f"Without a price of their own: {', '.join(kinds)}.")


def _tell_rates(price: Price) -> None:
    from meter.cli.sheet import Column, paragraph, table  # noqa: PLC0415  # only here
    from meter.cli.sheet import price as shown  # noqa: PLC0415

    rows: dict[Any, dict[str, Any]] = {}
    others = []
    for line in _lines(price):
        if line.per != _MILLION:
            others.append(f"{shown(line.usd)} USD for each {line.per}")
        elif not line.like:
            where = (line.service_tier, line.input_tokens)
            rows.setdefault(
                where, {"service_tier": where[0] or "standard", "input_tokens": where[1] or "any"}
            )
            rows[where][line.what] = line.usd
    kinds = [kind for kind in KINDS if any(kind in row for row in rows.values())]
    columns = (
        Column("service_tier", "service\ntier"),
        *([Column("input_tokens", "input\ntokens")] if any(bound for _, bound in rows) else []),
        *(Column(kind, kind.replace("_", "\n"), shown) for kind in kinds),
    )
    if rows:
        table(columns, _merged(rows.values()), title="USD per million tokens")
    if others:
        paragraph(f"Also {', '.join(others)}." if rows else f"{', '.join(others)}.")


def _merged(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the service tiers that cost the same one row."""
    tiers: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        tiers[row["service_tier"]].append({name: row[name] for name in row if name != "service_tier"})
    alike: list[tuple[list[str], list[dict[str, Any]]]] = []
    for tier, told in tiers.items():
        same = next((names for names, others in alike if others == told), None)
        if same is None:
            alike.append(([tier], told))
        else:
            same.append(tier)
    return [{"service_tier": ", ".join(names), **row} for names, told in alike for row in told]


def valid(listed: Listed) -> str:
    """Say for which days and hours a price holds; nothing where it always does."""
    parts = {"from": listed.valid_from, "until": listed.valid_until, "daily": listed.hours}
    return " ".join(f"{name} {part}" for name, part in parts.items() if part)
