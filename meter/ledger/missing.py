"""Which models lack a price, and how much that leaves out."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from meter.exchange import PriceStatus
from meter.ledger.cells import cells
from meter.ledger.columns import EDGES
from meter.ledger.schema import SUMS
from meter.ledger.spend import CERTAINTY, together

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meter.ledger.cells import Cell
    from meter.ledger.database import Database

__all__ = ["Missing", "missing"]

_BY = ("upstream", "model", "operation")


@dataclass(frozen=True, slots=True)
class Missing:
    """A model without a price at an upstream, or without one for all that was used of it."""

    upstream: str
    model: str
    operations: tuple[str, ...]
    requests: int
    tokens: int
    usage: Mapping[str, int]
    """Tokens by kind; which of them lacks the price is not known here."""
    units: Mapping[str, float]
    first: datetime
    """When the first exchange ended, or the hour in which it did, where a rollup tells."""
    last: datetime


def missing(db: Database, since: datetime) -> list[Missing]:
    """Give the models that lack a price, those with most tokens first."""
    with db.engine.connect() as connection:
        found = cells(
            connection,
            db.tables,
            by=(*CERTAINTY, *_BY),
            since=since,
            where={"price_status": [PriceStatus.MISSING.value]},
            sums=(*SUMS, *EDGES),
        )
    models: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in found.cells:
        _, _, upstream, model, _ = cell.group
        models[upstream, model].append(cell)
    lacking = [_missing(upstream, model, alike) for (upstream, model), alike in models.items()]
    return sorted(lacking, key=lambda one: (-one.tokens, -one.requests, one.upstream, one.model))


def _missing(upstream: str, model: str, alike: Sequence[Cell]) -> Missing:
    spend = together(alike)
    return Missing(
        upstream=upstream,
        model=model,
        operations=tuple(sorted({cell.group[-1] for cell in alike})),
        requests=spend.requests,
        tokens=spend.tokens,
        usage=spend.usage,
        units=spend.units,
        first=min(cell.sums["first"] for cell in alike).astimezone(UTC),
        last=max(cell.sums["last"] for cell in alike).astimezone(UTC),
    )
