"""What was paid for and not used, as far as the ledger can tell."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from meter.exchange import Outcome
from meter.ledger.cells import cells
from meter.ledger.schema import SUMS
from meter.ledger.spend import CERTAINTY, dearest_first, spends

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from meter.ledger.cells import Cell
    from meter.ledger.database import Database
    from meter.ledger.spend import Spend

__all__ = ["RATE_LIMITED", "Unread", "Waste", "waste"]

RATE_LIMITED = frozenset(
    (
        "RESOURCE_EXHAUSTED",
        "RateLimitReached",
        "TooManyRequests",
        "http_429",
        "rate_limit_error",
        "rate_limit_exceeded",
        "requests",
        "slow_down",
        "tokens",
        "tokens_limit_reached",
        "tokens_usage_based",
        "too_many_requests",
    )
)
"""Types of errors that say: too much, too fast. What comes after such an answer is a retry."""

_KEY = ("key",)
_KEY_AND_MODEL = ("key", "model")
_BY = (*_KEY_AND_MODEL, "outcome", "error_type", "cut_short")

_SPENT = ("keys", "cancelled", "cut_short", "rate_limited")

_WRITTEN = ("input_cache_write", "input_cache_write_5m", "input_cache_write_1h")
_READ = ("input_cached", "input_cached_audio", "input_cached_image")

_PAYS = 4
"""A cache that is written at 1.25 times the price of input and read at a tenth of it pays from about there:
one token read for so many written."""


@dataclass(frozen=True, slots=True)
class Unread:
    """Tokens that were written to a cache, which costs more than not to, and hardly read from it."""

    key: str
    model: str
    written_tokens: int
    read_tokens: int


@dataclass(frozen=True, slots=True)
class Waste:
    """What was paid for and not used; each dearest first."""

    since: datetime
    until: datetime
    keys: tuple[Spend, ...]
    """By key: all that was cancelled or cut short, an exchange that was both once."""
    cancelled: tuple[Spend, ...]
    """By key and model: the client left before the answer's end."""
    cut_short: tuple[Spend, ...]
    """By key and model: the answer ended for the most tokens that were allowed."""
    rate_limited: tuple[Spend, ...]
    """By key and model: refused for rate limits, which costs nothing but time and a retry."""
    unread: tuple[Unread, ...]
    """By key and model: most tokens first."""

    @property
    def told(self) -> dict[str, Any]:
        """The answer as the admin port and `report --waste --format json` tell it: see `Usage.told`."""
        spent = {name: [_told(spend) for spend in getattr(self, name)] for name in _SPENT}
        unread = [asdict(cache) for cache in self.unread]
        return {"since": self.since, "until": self.until, **spent, "unread": unread}


def waste(db: Database, since: datetime, until: datetime) -> Waste:
    """Give what exchanges that ended in [since, until) used for nothing."""
    with db.engine.connect() as connection:
        found = cells(connection, db.tables, by=(*CERTAINTY, *_BY), since=since, until=until, sums=SUMS)

    def which(kind: Callable[[Mapping[str, Any]], bool], names: Sequence[str]) -> tuple[Spend, ...]:
        wasted = [cell for cell in found.cells if kind(_facts(cell))]
        return tuple(sorted(spends(wasted, names), key=dearest_first))

    return Waste(
        found.since,
        found.until,
        keys=which(lambda facts: _cancelled(facts) or facts["cut_short"], _KEY),
        cancelled=which(_cancelled, _KEY_AND_MODEL),
        cut_short=which(lambda facts: facts["cut_short"], _KEY_AND_MODEL),
        rate_limited=which(lambda facts: facts["error_type"] in RATE_LIMITED, _KEY_AND_MODEL),
        unread=_unread(spends(found.cells, _KEY_AND_MODEL)),
    )


def _told(spend: Spend) -> dict[str, Any]:
    return {**spend.told, "tokens": spend.tokens}


def _facts(cell: Cell) -> Mapping[str, Any]:
    return dict(zip((*CERTAINTY, *_BY), cell.group, strict=True))


def _cancelled(facts: Mapping[str, Any]) -> bool:
    return bool(facts["outcome"] == Outcome.CLIENT_CLOSED)


def _unread(all_spent: Sequence[Spend]) -> tuple[Unread, ...]:
    caches = [
        Unread(
            spend.group["key"],
            spend.group["model"],
            written_tokens=sum(spend.usage.get(kind, 0) for kind in _WRITTEN),
            read_tokens=sum(spend.usage.get(kind, 0) for kind in _READ),
        )
        for spend in all_spent
    ]
    hardly = [cache for cache in caches if cache.written_tokens > cache.read_tokens * _PAYS]
    return tuple(sorted(hardly, key=lambda cache: (-cache.written_tokens, cache.key, cache.model)))
