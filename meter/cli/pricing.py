"""Prices as plain values, for whatever format they are told in."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from meter import directories
from meter.price import FALL_BACKS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from meter.price import Book, Listed, Price, Rates
    from meter.settings import Settings

__all__ = ["book_of", "fall_backs", "origin_of", "period_of", "rates_of"]


def book_of(settings: Settings) -> Book:
    """Make the book of the settings; raises PriceFileError."""
    from meter import pricing  # noqa: PLC0415  # pydantic and the catalogue

    return pricing.book(settings, pricing.catalogue(settings, directories.state(os.environ)))


def fall_backs(amounts: Mapping[str, Decimal]) -> dict[str, str]:
    """Give the kinds of tokens that have no price of their own here, and the kinds whose price they take."""
    taken = {}
    for kind, plain in FALL_BACKS.items():
        while plain not in amounts and plain in FALL_BACKS:
            plain = FALL_BACKS[plain]  # noqa: PLW2901  # one step further
        if kind not in amounts and plain in amounts:
            taken[kind] = plain
    return taken


def rates_of(price: Price) -> dict[str, Any]:
    """Give all amounts."""
    return {
        **_rates(price.rates),
        "service_tiers": {name: _rates(rates) for name, rates in price.service_tiers.items()},
        "per_request": price.per_request,
        "per_unit": dict(price.per_unit),
    }


def _rates(rates: Rates) -> dict[str, Any]:
    return {
        "per_million_tokens": dict(rates.amounts),
        "tiers": [
            {
                "from_input_tokens" if tier.inclusive else "above_input_tokens": tier.threshold,
                "per_million_tokens": dict(tier.amounts),
            }
            for tier in rates.tiers
        ],
    }


def period_of(listed: Listed | None) -> dict[str, Any]:
    """Give the days and the hours for which a price holds."""
    return {
        "valid_from": listed and listed.valid_from and listed.valid_from.isoformat(),
        "valid_until": listed and listed.valid_until and listed.valid_until.isoformat(),
        "hours": listed and listed.hours,
    }


def origin_of(price: Price) -> dict[str, Any]:
    """Give who says so."""
    return {
        "status": price.status.value,
        "source": price.source,
        "revision": price.revision,
        "origin": price.origin,
    }
