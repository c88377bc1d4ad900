"""What the last exchanges answer where the ledger does not, in the same words."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from meter.exchange import PriceStatus
from meter.labels import NONE
from meter.telling import line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from meter.exchange import Exchange

__all__ = ["Remembered"]


class Remembered:
    """Exchanges, the newest first."""

    def __init__(self, last: Sequence[Exchange]) -> None:
        self._last = last

    def exchanges(self, limit: int) -> list[dict[str, Any]]:
        """Return the last exchanges as the log has them, the newest first."""
        return [line(each) for each in self._last[:limit]]

    def exchange(self, id_: str) -> dict[str, Any] | None:
        """Return one as the log has it; None where it is forgotten."""
        return next((line(each) for each in self._last if each.id == id_), None)

    def missing(self, since: datetime) -> list[dict[str, Any]]:
        """Return which models lack a price at which upstream, those with most tokens first."""
        found: dict[tuple[str, str], list[Exchange]] = {}
        for each in self._last:
            if each.price_status is PriceStatus.MISSING and each.ended >= since:
                found.setdefault((each.upstream, each.model or NONE), []).append(each)
        rows = [_lacking(*place, alike) for place, alike in found.items()]
        return sorted(rows, key=lambda row: (-row["tokens"], -row["requests"], row["upstream"], row["model"]))


def _lacking(upstream: str, model: str, alike: Sequence[Exchange]) -> dict[str, Any]:
    usage: Counter[str] = Counter()
    units: Counter[str] = Counter()
    for each in alike:
        usage.update(each.usage or {})
        units.update(each.units)
    return {
        "upstream": upstream,
        "model": model,
        "operations": sorted({each.operation for each in alike}),
        "requests": len(alike),
        "tokens": usage.total(),
        "usage": usage,
        "units": units,
        "first": min(each.ended for each in alike),
        "last": max(each.ended for each in alike),
    }
