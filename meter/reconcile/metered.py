"""What Meter counted at one provider, by day in UTC and model.

Asked of the ledger's sums. An exchange belongs to the day on which it ended. Only exchanges that used
something, or should have, are counted: what was refused or asked for a list of models is on no bill.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from meter.exchange import KINDS, Outcome, PriceStatus, UsageSource
from meter.ledger.cells import cells
from meter.ledger.rows import upstreams_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from meter.ledger.cells import Cell
    from meter.ledger.database import Database

__all__ = ["Metered", "metered"]

_BY = ("day", "model", "outcome", "usage_source", "price_status")

_CUT = frozenset({Outcome.STREAM_ERROR, Outcome.TRUNCATED, Outcome.CLIENT_CLOSED, Outcome.TIMEOUT})
"""Outcomes after which a provider may have gone on, and counted, without Meter."""


@dataclass(slots=True, kw_only=True)
class Metered:
    """What Meter counted of one model on one day, and how sure that is."""

    day: date
    model: str
    requests: int = 0
    usage: dict[str, int] = field(default_factory=dict)
    """Tokens by usage kind."""
    cost_usd: Decimal = Decimal(0)
    """Of the exchanges that have a known cost."""
    estimated_requests: int = 0
    estimated_tokens: int = 0
    estimated_usd: Decimal = Decimal(0)
    missing_requests: int = 0
    """Told no usage: they count as nothing."""
    unpriced_requests: int = 0
    unpriced_tokens: int = 0
    cut_requests: int = 0
    """Broken off before their end."""


def metered(
    db: Database, provider: str, *, upstreams: Collection[str], since: date, until: date
) -> list[Metered]:
    """Give what was counted on the days from `since` until before `until`.

    Of `upstreams`, which the settings name, and of all that the ledger itself has under `provider`.
    """
    begin, end = (datetime.combine(day, time(), UTC) for day in (since, until))
    with db.engine.connect() as connection:
        names = {*upstreams, *upstreams_of(connection, db.tables, provider, begin, end)}
        found = cells(
            connection,
            db.tables,
            by=_BY,
            since=begin,
            until=end,
            where={"upstream": sorted(names)},
            sums=("requests", "cost_usd", *KINDS),
        )
    by_place: dict[tuple[str, str], Metered] = {}
    for cell in found.cells:
        day, model, *_ = cell.group
        place = Metered(day=date.fromisoformat(day), model=model)
        _add(by_place.setdefault((day, model), place), cell)
    return [by_place[place] for place in sorted(by_place) if by_place[place].requests]


def _add(to: Metered, cell: Cell) -> None:
    _, _, outcome, source, status = cell.group
    if source == UsageSource.NONE:
        return
    sums: dict[str, Any] = dict(cell.sums)
    requests, usd = sums.get("requests", 0), sums.get("cost_usd", Decimal(0))
    usage = {kind: sums[kind] for kind in KINDS if sums.get(kind)}
    tokens = sum(usage.values())
    to.requests += requests
    to.cost_usd += usd
    for kind, count in usage.items():
        to.usage[kind] = to.usage.get(kind, 0) + count
    if source == UsageSource.ESTIMATED:
        to.estimated_requests += requests
        to.estimated_tokens += tokens
        to.estimated_usd += usd
    if source == UsageSource.MISSING:
        to.missing_requests += requests
    if status == PriceStatus.MISSING:
        to.unpriced_requests += requests
        to.unpriced_tokens += tokens
    if outcome in _CUT:
        to.cut_requests += requests
