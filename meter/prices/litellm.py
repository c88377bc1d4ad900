"""LiteLLM's list of prices, `model_prices_and_context_window.json`.

A flat mapping of names to members; which of them are prices is told by their own names, such as
`input_cost_per_token_above_200k_tokens_priority`, all in USD for one. Other members are not looked at.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from meter.price import Price
from meter.prices.hours import Hours
from meter.prices.places import place
from meter.prices.table import (
    Cell,
    OffPeak,
    SenselessError,
    Stamp,
    TableSource,
    amount,
    members,
    per_million,
    rates,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from decimal import Decimal

__all__ = ["recognises", "source"]

_SAMPLE = "sample_spec"
"""The entry that explains the others."""

_KINDS = {
    "input_cost_per_token": "input",
    "cache_read_input_token_cost": "input_cached",
    "cache_read_input_audio_token_cost": "input_cached_audio",
    "cache_read_input_image_token_cost": "input_cached_image",
    "cache_creation_input_token_cost": "input_cache_write",
    "cache_creation_input_token_cost_above_1hr": "input_cache_write_1h",
    "input_cost_per_audio_token": "input_audio",
    "input_cost_per_image_token": "input_image",
    "output_cost_per_token": "output",
    "output_cost_per_reasoning_token": "output_reasoning",
    "output_cost_per_audio_token": "output_audio",
    "output_cost_per_image_token": "output_image",
}
"""What a token of each kind costs."""

_TIERS = {
    "priority": ("priority", "fast"),
    "flex": ("flex",),
    "batches": ("batch",),
    "ultrafast": ("ultrafast",),
}
"""Ends of names, and the service tiers of an answer that they are meant for."""

_TIER = f"(?:_({'|'.join(_TIERS)}))?"
_RATE = re.compile(f"({'|'.join(_KINDS)}){_TIER}(?:_above_([0-9]+)(k?)_tokens)?{_TIER}")

_UNITS = (
    ("audio_seconds", "input_cost_per_second"),
    ("characters", "input_cost_per_character"),
    ("images", "output_cost_per_image"),
    ("searches", "input_cost_per_query"),
)
_MAKES_IMAGES = ("image_generation", "image_edit")
_WEEK = tuple(range(1, 8))


def recognises(data: Any) -> bool:
    """Whether data read from JSON has this shape."""
    return isinstance(data, dict) and any("litellm_provider" in members(entry) for entry in data.values())


def source(data: Any, stamp: Stamp, *, known_only: bool = False) -> TableSource:
    """Make a source of data that `recognises` takes, its numbers as Decimal."""
    named: list[Cell] = []
    plain: list[Cell] = []
    left_out = 0
    for model, entry in data.items():
        if model == _SAMPLE or not isinstance(entry, dict):
            continue
        seller, bare = _seller(model, entry)
        try:
            cell = _cell(seller, bare, entry, stamp)
        except SenselessError:
            left_out += 1
            continue
        if cell is not None:
            (plain if bare == model else named).append(cell)
    # LiteLLM itself looks first for a name with its seller in front.
    return TableSource(stamp, [*named, *plain], left_out=left_out, known_only=known_only)


def _seller(model: str, entry: Mapping[str, Any]) -> tuple[str, str]:
    """Name the seller, and the model without the seller in front."""
    told, (front, _, rest) = entry.get("litellm_provider"), model.partition("/")
    seller = place(told) if isinstance(told, str) else ""
    return (seller, rest) if rest and place(front) == seller else (seller, model)


def _cell(seller: str, model: str, entry: Mapping[str, Any], stamp: Stamp) -> Cell | None:
    tables = _tables(entry)
    standard = tables.pop("", {})
    origin = entry.get("source")
    price = Price(
        model=model,
        rates=rates(seller, model, standard),
        service_tiers={
            tier: rates(seller, model, _over(standard, own))
            for end, own in tables.items()
            for tier in _TIERS[end]
        },
        per_request=_one(entry, "input_cost_per_request"),
        per_unit=_per_unit(entry),
        source=stamp.source,
        revision=stamp.revision,
        origin=origin if isinstance(origin, str) else None,
    )
    if not (standard or tables or price.per_unit or price.per_request is not None):
        return None
    return Cell(seller, price, _off_peak(price, seller, standard, members(entry.get("off_peak_pricing"))))


def _tables(entry: Mapping[str, Any]) -> dict[str, dict[int, dict[str, Decimal]]]:
    """Sort amounts by service tier, by the input tokens that they begin above, and by kind."""
    found: dict[str, dict[int, dict[str, Decimal]]] = defaultdict(lambda: defaultdict(dict))
    for kind, tier, threshold, usd in _rated(entry):
        found[tier][threshold][kind] = usd
    steps = entry.get("tiered_pricing")
    for step in steps if isinstance(steps, list) else ():
        span = members(step).get("range")
        if not isinstance(span, list) or not span:
            raise SenselessError("a step without a range")
        for kind, tier, _, usd in _rated(step):
            found[tier][whole(span[0])][kind] = usd
    return found


def _rated(told: Mapping[str, Any]) -> Iterator[tuple[str, str, int, Decimal]]:
    """Yield kind, service tier, threshold and USD per million tokens of all that is a price of tokens."""
    for name, value in told.items():
        matched = _RATE.fullmatch(name)
        if matched is not None and value is not None:
            kind, early, digits, thousands, late = matched.groups()
            threshold = int(digits or 0) * (1000 if thousands else 1)
            yield _KINDS[kind], early or late or "", threshold, per_million(value)


def _over(
    below: Mapping[int, Mapping[str, Decimal]], above: Mapping[int, Mapping[str, Decimal]]
) -> dict[int, dict[str, Decimal]]:
    return {step: {**below.get(step, {}), **above.get(step, {})} for step in {*below, *above}}


def _per_unit(entry: Mapping[str, Any]) -> dict[str, Decimal]:
    made = "input_cost_per_image" if entry.get("mode") in _MAKES_IMAGES else ""
    found = {unit: _one(entry, name) for unit, name in _UNITS}
    by_size = members(entry.get("search_context_cost_per_query")).values()
    searches = {amount(told) for told in by_size}
    found["images"] = _one(entry, made) if found["images"] is None else found["images"]
    if found["searches"] is None and len(searches) == 1:  # else the size decides, and no answer tells it
        found["searches"] = searches.pop()
    return {unit: usd for unit, usd in found.items() if usd is not None}


def _one(entry: Mapping[str, Any], name: str) -> Decimal | None:
    return None if entry.get(name) is None else amount(entry[name])


def _off_peak(
    price: Price, seller: str, standard: Mapping[int, Mapping[str, Decimal]], told: Mapping[str, Any]
) -> OffPeak | None:
    """Make the price at times at which the model is cheaper: a flat one, which no length of input changes."""
    own = {kind: usd for kind, tier, threshold, usd in _rated(told) if not tier and not threshold}
    if not own:
        return None
    always = {"hours_utc": told.get("hours_utc") or ()}
    rules = told.get("windows") or ()
    if not isinstance(rules, list | tuple) or told.get("weekday_timezone") not in (None, "UTC", "Etc/UTC"):
        raise SenselessError("days of a week that is counted elsewhere")
    windows = tuple(window for rule in (always, *rules) for window in _windows(members(rule)))
    amounts = {step: {**table, **own} for step, table in standard.items()}
    return OffPeak(windows, replace(price, rates=rates(seller, price.model, amounts)))


def _windows(rule: Mapping[str, Any]) -> Iterator[tuple[Hours, frozenset[int]]]:
    hours, days = rule.get("hours_utc") or (), rule.get("weekdays", _WEEK)
    if not isinstance(hours, str | list | tuple) or not isinstance(days, list | tuple):
        raise SenselessError("hours that are none")
    for text in (hours,) if isinstance(hours, str) else hours:
        try:
            yield Hours.read(text), frozenset(whole(day) for day in days)
        except (TypeError, ValueError) as error:
            raise SenselessError("hours that are none") from error
