"""What some exchanges have used and cost.

An unknown cost is never 0: `cost_usd` is `None` where something has no price, or should have a usage and has
none, and nothing beside it has a known cost. Where some costs are known they are added up, and
`unpriced_tokens` says how much is not in the sum. Where there was nothing to pay for, the sum is 0.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from meter.exchange import KINDS, UNITS, PriceStatus, UsageSource
from meter.ledger.schema import SUMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from meter.ledger.cells import Cell

__all__ = ["CERTAINTY", "Spend", "dearest_first", "spends", "together"]

CERTAINTY = ("usage_source", "price_status")
"""What cells must be told apart by, before anything else, for their costs to be told."""

_PRICED = frozenset({PriceStatus.EXACT, PriceStatus.LIST, PriceStatus.PROVIDER})
_PLAIN_SUMS = tuple(name for name in SUMS if name != "cost_usd")


@dataclass(frozen=True, slots=True)
class Spend:
    """What some exchanges have used and cost."""

    group: Mapping[str, str]
    """What they agree in, by the fields that were asked by."""
    requests: int
    errors: int
    """Those of them whose outcome is not `ok`."""
    usage: Mapping[str, int]
    """Tokens by kind, reported and estimated ones; kinds of which there are none are left out."""
    units: Mapping[str, float]
    """Likewise what is no token."""
    cost_usd: Decimal | None
    """All known costs, estimated ones included; `None` where there are unknown ones and no other."""
    estimated_cost_usd: Decimal | None
    """How much of it rests on estimated usage; `None` where `cost_usd` is."""
    unpriced_tokens: int
    """Tokens without a price; what they cost is in no sum."""
    duration_s: float
    """Seconds that all of them took."""

    @property
    def tokens(self) -> int:
        """Tokens of all kinds."""
        return sum(self.usage.values())

    @property
    def told(self) -> dict[str, Any]:
        """All of it under one name each, as reports tell it."""
        return {
            **self.group,
            "requests": self.requests,
            "errors": self.errors,
            "usage": self.usage,
            "units": self.units,
            "cost_usd": self.cost_usd,
            "estimated_cost_usd": self.estimated_cost_usd,
            "unpriced_tokens": self.unpriced_tokens,
            "duration_s": round(self.duration_s, 6),
        }


def spends(cells: Iterable[Cell], names: Sequence[str]) -> list[Spend]:
    """Add cells up by what their groups begin with, which are `CERTAINTY` and then fields of these names.

    What a group has behind those is not told apart.
    """
    first, last = len(CERTAINTY), len(CERTAINTY) + len(names)
    adders: dict[tuple[Any, ...], _Adder] = defaultdict(_Adder)
    for cell in cells:
        adders[cell.group[first:last]].add(cell)
    return [adder.spend(dict(zip(names, group, strict=True))) for group, adder in adders.items()]


def together(cells: Iterable[Cell]) -> Spend:
    """Add all cells up; their groups begin with `CERTAINTY`."""
    adder = _Adder()
    for cell in cells:
        adder.add(cell)
    return adder.spend({})


def dearest_first(spend: Spend) -> tuple[Any, ...]:
    """Give the key to sort by: by cost, unknown ones last, then by requests, then by name."""
    cost = spend.cost_usd
    return (cost is None, -(cost or 0), -spend.requests, tuple(spend.group.values()))


class _Adder:
    """Adds up the cells of one group."""

    def __init__(self) -> None:
        self._sums: dict[str, Any] = defaultdict(int)
        self._cost = self._estimated = Decimal(0)
        self._unpriced = 0
        self._known = self._unknown = False

    def add(self, cell: Cell) -> None:
        source, status = cell.group[: len(CERTAINTY)]
        sums, cost = cell.sums, cell.sums.get("cost_usd", Decimal(0))
        for name in _PLAIN_SUMS:
            if name in sums:
                self._sums[name] += sums[name]
        self._cost += cost
        if source == UsageSource.ESTIMATED:
            self._estimated += cost
        if status == PriceStatus.MISSING:
            self._unpriced += sum(sums.get(kind, 0) for kind in KINDS)
        if status in _PRICED:
            self._known = True
        elif status == PriceStatus.MISSING or source == UsageSource.MISSING:
            self._unknown = True

    def spend(self, group: Mapping[str, str]) -> Spend:
        sums, unknown = self._sums, self._unknown and not self._known
        return Spend(
            group=group,
            requests=sums["requests"],
            errors=sums["errors"],
            usage={kind: sums[kind] for kind in KINDS if sums[kind]},
            units={unit: sums[unit] for unit in UNITS if sums[unit]},
            cost_usd=None if unknown else self._cost,
            estimated_cost_usd=None if unknown else self._estimated,
            unpriced_tokens=self._unpriced,
            duration_s=float(sums["duration_s"]),
        )
