"""The past at the prices that the book knows now.

A price that was added or put right later is applied to exchanges that the ledger already has. Each is priced
by what the ledger kept of it, through the same `Book.quote` that prices live ones, at its own time.

Rules: what the upstream itself said it cost stays; a known cost is never replaced by an unknown one; a row
changes only where its cost or its price status does, so a second run finds nothing to do.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from meter.exchange import PriceStatus
from meter.ledger.schema import held
from meter.ledger.settling import Settled, batches, rows_between, settle
from meter.price import Used

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from meter.ledger.database import Database
    from meter.ledger.settling import Kept
    from meter.price import Book

__all__ = ["Change", "LostPrice", "ModelChange", "Unpriced", "reprice", "rows_between"]


@dataclass(frozen=True, slots=True)
class ModelChange:
    """The exchanges of one model at one upstream that change; those that do not are not among them."""

    upstream: str
    model: str
    requests: int
    before_usd: Decimal
    after_usd: Decimal
    newly_priced_tokens: int
    """Tokens of exchanges whose cost was unknown before."""


@dataclass(frozen=True, slots=True)
class LostPrice:
    """Exchanges that had a cost and would have none now; they keep what they have."""

    upstream: str
    model: str
    requests: int
    usd: Decimal


@dataclass(frozen=True, slots=True)
class Unpriced:
    """Exchanges whose cost is unknown still."""

    upstream: str
    model: str
    requests: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Change:
    """What repricing a span of time changes, or would change. The lists begin with what matters most."""

    rows: int
    """Exchanges in the span."""
    changed: int
    before_usd: Decimal
    """Known costs of all rows in the span, those without change included."""
    after_usd: Decimal
    by_model: tuple[ModelChange, ...]
    lost: tuple[LostPrice, ...]
    still_missing: tuple[Unpriced, ...]


def reprice(
    db: Database,
    book: Book,
    *,
    since: datetime | None,
    until: datetime,
    write: bool,
    providers: Mapping[str, str | None],
    progress: Callable[[int], None],
) -> Change:
    """Price the exchanges that ended from `since` (`None`: the first) until before `until` (UTC) anew.

    Without `write` the ledger is only read. `providers` gives the provider of an upstream for rows that have
    none of their own. `progress` is told after each batch how many rows are done.
    """
    tally = _Tally()
    for rows in batches(db, since, until):
        verdicts = [(row, _verdict(book, row, providers)) for row in rows]
        changes = {row.id: (row, told) for row, told in verdicts if told is not None and _differs(row, told)}
        changed = settle(db, changes) if write and changes else changes.keys()
        for row, told in verdicts:
            tally.add(row, told, changed=row.id in changed)
        progress(tally.rows)
    return tally.change()


def _verdict(book: Book, row: Kept, providers: Mapping[str, str | None]) -> Settled | None:
    """Give what the book says of a row; `None` where it has no say."""
    if row.settled.price_status == PriceStatus.PROVIDER:
        return None
    facts = {name: getattr(row, name) for name in Used._fields}
    quote = book.quote(Used(**{**facts, "provider": row.provider or providers.get(row.upstream)}))
    told = Settled(*(getattr(quote, name) for name in Settled._fields))
    if told.cost_usd == held(told.cost_usd):
        return told._replace(price_status=quote.price_status.value)
    return told._replace(cost_usd=None, price_status=PriceStatus.MISSING.value)


def _differs(row: Kept, told: Settled) -> bool:
    before = row.settled
    same = (before.cost_usd, before.price_status) == (told.cost_usd, told.price_status)
    return not same and not _is_lost(row, told)


def _is_lost(row: Kept, told: Settled) -> bool:
    return row.settled.cost_usd is not None and told.cost_usd is None


# --- what came of it ---


@dataclass(slots=True)
class _Sum:
    requests: int = 0
    before: Decimal = Decimal(0)
    after: Decimal = Decimal(0)
    tokens: int = 0

    def add(self, before: Decimal | None, after: Decimal | None, tokens: int) -> None:
        self.requests += 1
        self.before += before or 0
        self.after += after or 0
        self.tokens += tokens


_Sums = dict[tuple[str, str], _Sum]


class _Tally:
    """Sums of what has been looked at so far, by upstream and model."""

    def __init__(self) -> None:
        self.rows = 0
        self._all = _Sum()
        self._changed: _Sums = defaultdict(_Sum)
        self._lost: _Sums = defaultdict(_Sum)
        self._missing: _Sums = defaultdict(_Sum)

    def add(self, row: Kept, told: Settled | None, *, changed: bool) -> None:
        self.rows += 1
        before = row.settled
        after = told if told is not None and changed else before
        place, tokens = (row.upstream, row.model), sum(row.usage.values())
        self._all.add(before.cost_usd, after.cost_usd, 0)
        if changed:
            newly = before.cost_usd is None and after.cost_usd is not None
            self._changed[place].add(before.cost_usd, after.cost_usd, tokens if newly else 0)
        elif told is not None and _is_lost(row, told):
            self._lost[place].add(before.cost_usd, before.cost_usd, 0)
        if after.cost_usd is None and after.price_status == PriceStatus.MISSING:
            self._missing[place].add(None, None, tokens)

    def change(self) -> Change:
        return Change(
            rows=self.rows,
            changed=sum(s.requests for s in self._changed.values()),
            before_usd=self._all.before,
            after_usd=self._all.after,
            by_model=tuple(
                ModelChange(*place, s.requests, s.before, s.after, s.tokens)
                for place, s in _ranked(self._changed, lambda s: abs(s.after - s.before))
            ),
            lost=tuple(
                LostPrice(*place, s.requests, s.before)
                for place, s in _ranked(self._lost, lambda s: s.before)
            ),
            still_missing=tuple(
                Unpriced(*place, s.requests, s.tokens)
                for place, s in _ranked(self._missing, lambda s: s.tokens)
            ),
        )


def _ranked(sums: _Sums, weight: Callable[[_Sum], Any]) -> list[tuple[tuple[str, str], _Sum]]:
    return sorted(sums.items(), key=lambda item: (-weight(item[1]), item[0]))
