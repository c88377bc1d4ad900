"""models.dev's list of prices, `api.json`: providers, their models, and what a million tokens cost in USD."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meter.price import Price
from meter.prices.places import place
from meter.prices.table import Cell, SenselessError, Stamp, TableSource, amount, members, rates, whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from decimal import Decimal

__all__ = ["recognises", "source"]

_KINDS = {
    "input": "input",
    "cache_read": "input_cached",
    "cache_write": "input_cache_write",
    "input_audio": "input_audio",
    "output": "output",
    "reasoning": "output_reasoning",
    "output_audio": "output_audio",
}

_LONG = 200_000
"""Input tokens above which `context_over_200k` holds; `tiers` say the same, and more."""

_TIER_NAMES = ("service_tier", "speed")
"""What a mode sends along that an answer tells as its service tier."""


def recognises(data: Any) -> bool:
    """Whether data read from JSON has this shape."""
    return isinstance(data, dict) and any(
        isinstance(members(provider).get("models"), dict) for provider in data.values()
    )


def source(data: Any, stamp: Stamp, *, known_only: bool = False) -> TableSource:
    """Make a source of data that `recognises` takes, its numbers as Decimal."""
    cells: list[Cell] = []
    left_out = 0
    for seller, provider in data.items():
        for model, entry in members(members(provider).get("models")).items():
            cost = members(entry).get("cost")
            if not cost:
                continue
            try:
                cells.append(_cell(place(seller), model, entry, stamp, members(provider).get("doc")))
            except SenselessError:
                left_out += 1
    return TableSource(stamp, cells, left_out=left_out, known_only=known_only)


def _cell(seller: str, model: str, entry: Mapping[str, Any], stamp: Stamp, origin: object) -> Cell:
    tables = _tables(entry["cost"])
    tiers = {tier: {step: {**table, **own} for step, table in tables.items()} for tier, own in _modes(entry)}
    price = Price(
        model=model,
        rates=rates(seller, model, tables),
        service_tiers={tier: rates(seller, model, own) for tier, own in tiers.items()},
        source=stamp.source,
        revision=stamp.revision,
        origin=origin if isinstance(origin, str) else None,
    )
    return Cell(seller, price)


def _tables(cost: object) -> dict[int, dict[str, Decimal]]:
    """Sort amounts by the input tokens that they begin above, and by kind."""
    if not isinstance(cost, dict):
        raise SenselessError("a cost that is no mapping")
    found = {0: _amounts(cost)}
    if "context_over_200k" in cost:
        found[_LONG] = _amounts(members(cost["context_over_200k"]))
    tiers = cost.get("tiers")
    for tier in tiers if isinstance(tiers, list) else ():
        bound = members(members(tier).get("tier"))
        if bound.get("type") == "context":
            found[whole(bound.get("size"))] = _amounts(tier)
    return found


def _modes(entry: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Decimal]]]:
    """Yield service tiers beside the standard one, and what they change."""
    for mode in members(members(entry.get("experimental")).get("modes")).values():
        sent = members(members(members(mode).get("provider")).get("body"))
        names = (sent[name] for name in _TIER_NAMES if isinstance(sent.get(name), str))
        tier, cost = next(names, None), members(mode).get("cost")
        if tier is not None and isinstance(cost, dict):
            yield tier.lower(), _amounts(cost)


def _amounts(told: Mapping[str, Any]) -> dict[str, Decimal]:
    return {kind: amount(told[name]) for name, kind in _KINDS.items() if told.get(name) is not None}
