"""What may be spent in a period, and what has been.

Each budget is about some callers, and has what they spent by the period that it fell in; a new period begins
at 0 by itself, for nothing has been spent in it. What was spent is what the ledger says, which has the
exchanges of all proxies, plus what this process has told and the ledger did not have yet when it was asked.
Without a ledger it is what this process has seen. An unknown cost adds nothing.

Rules: standard library only; `now` is an argument, in UTC. Exchanges come from one thread, the ledger's word
from another, scrapes from any.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Protocol

from meter.labels import NONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from meter.exchange import Exchange

__all__ = ["Budget", "Budgets", "begins", "ends"]

_PERCENTS = (100, 80)
"""Shares of a budget at which somebody is told, the larger first."""

_MOST_WAITING = 100_000
"""Exchanges that the ledger may lack; the oldest beyond them count as kept, and what it says next decides."""

_PERIODS_KEPT = 2
"""The latest ones: an exchange may be told a moment after its period has ended."""


class Budget(Protocol):
    """What may be spent in a period, and by whom; whom it does not name it does not ask about."""

    @property
    def name(self) -> str:
        """What metrics call it."""

    @property
    def usd(self) -> Decimal:
        """As much may be spent in each period."""

    @property
    def period(self) -> str:
        """`hour`, `day`, `week`, `month` or `year`."""

    @property
    def key(self) -> str | None:
        """A key as metrics show it: its name, else its fingerprint, else `none`."""

    @property
    def tags(self) -> Mapping[str, str]:
        """Tags that all must be there."""

    @property
    def upstream(self) -> str | None:
        """Name of an upstream."""

    @property
    def stop(self) -> bool:
        """Requests are refused once it is spent."""


def begins(period: str, now: datetime) -> datetime:
    """Return the first moment of the period in which `now` lies, in UTC; weeks begin on Monday."""
    return _PERIODS[period].floor(now.astimezone(UTC))


def ends(period: str, now: datetime) -> datetime:
    """Return the first moment after the period in which `now` lies, in UTC."""
    return begins(period, begins(period, now) + _PERIODS[period].longest)


class _Period(NamedTuple):
    floor: Callable[[datetime], datetime]
    longest: timedelta
    """From the beginning of any, so far on lies the next; from that of none, the one after it."""


def _hour(now: datetime) -> datetime:
    return now.replace(minute=0, second=0, microsecond=0)


def _day(now: datetime) -> datetime:
    return _hour(now).replace(hour=0)


_PERIODS: Mapping[str, _Period] = {
    "hour": _Period(_hour, timedelta(hours=1)),
    "day": _Period(_day, timedelta(days=1)),
    "week": _Period(lambda now: _day(now) - timedelta(days=now.weekday()), timedelta(days=7)),
    "month": _Period(lambda now: _day(now).replace(day=1), timedelta(days=31)),
    "year": _Period(lambda now: _day(now).replace(month=1, day=1), timedelta(days=366)),
}


class _About(NamedTuple):
    """Whose spending, and by which period: budgets that agree in it share what was spent."""

    period: str
    key: str | None
    tags: frozenset[tuple[str, str]]
    upstream: str | None

    def covers(self, key: str | None, tags: Mapping[str, str], upstream: str) -> bool:
        """Tell whether what this caller spends counts."""
        return (
            self.key in (None, key or NONE)
            and self.upstream in (None, upstream)
            and (not self.tags or tags.items() >= self.tags)
        )


def _about(budget: Budget) -> _About:
    return _About(budget.period, budget.key, frozenset(budget.tags.items()), budget.upstream)


@dataclass(slots=True)
class _Sums:
    """What was spent in one period, in USD."""

    ledger: Decimal = Decimal(0)
    """As the ledger said when it was asked last."""
    kept: Decimal = Decimal(0)
    """What this process has put into the ledger since."""
    waiting: Decimal = Decimal(0)
    """What it has told, and is not in the ledger."""

    @property
    def spent(self) -> Decimal:
        return self.ledger + self.kept + self.waiting


class _Account:
    """What was spent of one budget, by the beginning of the period."""

    def __init__(self, about: _About) -> None:
        self.about = about
        self._periods: dict[datetime, _Sums] = {}
        self._since = self._until = datetime.min.replace(tzinfo=UTC)
        """The period that was asked for last."""

    def since(self, now: datetime) -> datetime:
        """Return the first moment of the period in which `now` lies."""
        if not self._since <= now < self._until:
            self._since, self._until = begins(self.about.period, now), ends(self.about.period, now)
        return self._since

    def open(self, since: datetime) -> _Sums:
        """Return the sums of a period; the oldest period goes where there are too many."""
        if since not in self._periods:
            self._periods[since] = _Sums()
            if len(self._periods) > _PERIODS_KEPT:
                del self._periods[next(iter(self._periods))]
        return self._periods[since]

    def spent(self, now: datetime) -> Decimal:
        """Return what was spent in the period of `now`."""
        sums = self._periods.get(self.since(now))
        return sums.spent if sums else Decimal(0)


def _marks(usd: Decimal) -> tuple[tuple[int, Decimal], ...]:
    """Return the `_PERCENTS` of an amount, each with what it comes to."""
    return tuple((percent, percent * usd / 100) for percent in _PERCENTS)


class _Reached(NamedTuple):
    """What `on_reach` hears."""

    budget: Budget
    percent: int
    spent: Decimal


class Budgets:
    """All budgets, and what was spent of them; a sink that adds up what exchanges cost.

    `on_reach(budget, percent, spent)` hears once a period that a budget is spent by 80 and by 100 per cent,
    from the thread that made it so. `ledger`: there is one, which asks by `ask` and confirms by `kept`.
    """

    name = "budgets"

    def __init__(
        self,
        budgets: Iterable[Budget] = (),
        on_reach: Callable[[Budget, int, Decimal], None] = lambda *_: None,
        *,
        ledger: bool = False,
    ) -> None:
        self._on_reach = on_reach
        self._ledger = ledger
        self._lock = Lock()
        self._accounts: dict[_About, _Account] = {}
        self._waiting: dict[str, tuple[Decimal, list[_Sums]]] = {}
        """What exchanges cost that the ledger does not have yet, and where it was added; by id."""
        self._told: dict[tuple[str, Decimal], tuple[datetime, int]] = {}
        """Period and percent of which somebody was told last, by a budget's name and amount."""
        self.settle(budgets)

    def settle(self, budgets: Iterable[Budget]) -> None:
        """Go on with these budgets; what was spent stays with those that are about the same callers."""
        with self._lock:
            accounts: dict[_About, _Account] = {}
            entries = []
            for budget in budgets:
                about = _about(budget)
                account = self._accounts.get(about) or _Account(about)
                entries.append((budget, accounts.setdefault(about, account)))
            self._accounts = accounts
            self._entries = tuple(entries)
            self._marks = tuple(_marks(budget.usd) for budget, _ in entries)
            self._stops = tuple(entry for entry in entries if entry[0].stop)

    # What is spent.

    def __call__(self, exchange: Exchange) -> None:
        """Add what an exchange cost to the period in which it ended."""
        cost = exchange.cost_usd
        if not cost or not self._accounts:
            return
        ended = exchange.ended
        with self._lock:
            sums = [
                account.open(account.since(ended))
                for about, account in self._accounts.items()
                if about.covers(exchange.key, exchange.tags, exchange.upstream)
            ]
            for each in sums:
                each.waiting += cost
            if self._ledger and sums:
                self._wait(exchange.id, cost, sums)
            reached = self._reached(ended)
        self._tell(reached)

    def close(self) -> None:
        """Do nothing: what was spent is in the ledger, or nowhere."""

    def _wait(self, id_: str, cost: Decimal, sums: list[_Sums]) -> None:
        self._waiting[id_] = cost, sums
        if len(self._waiting) > _MOST_WAITING:
            self._keep(next(iter(self._waiting)))

    def _keep(self, id_: str) -> None:
        cost, sums = self._waiting.pop(id_, (Decimal(0), []))
        for each in sums:
            each.waiting -= cost
            each.kept += cost

    # What the ledger says; from its thread, so that nothing is committed between the two.

    def kept(self, exchanges: Iterable[Exchange]) -> None:
        """Note that the ledger has these; some maybe told before, and some another process's."""
        if not self._waiting:
            return
        for exchange in exchanges:
            with self._lock:  # for one at a time: somebody is being served meanwhile
                self._keep(exchange.id)

    def ask(self, spent: Callable[[Budget, datetime], Decimal], now: datetime) -> None:
        """Take the ledger's word; `spent(budget, since)` asks it, and what that raises is raised."""
        for budget, account in self._entries:
            since = begins(budget.period, now)
            told = spent(budget, since)
            with self._lock:
                sums = account.open(since)
                sums.ledger, sums.kept = told, Decimal(0)
        with self._lock:
            reached = self._reached(now)
        self._tell(reached)

    # What follows from it.

    def standing(self, now: datetime) -> list[tuple[Budget, Decimal]]:
        """Return all budgets, and what was spent of each in the period of `now`, in USD."""
        with self._lock:
            return [(budget, account.spent(now)) for budget, account in self._entries]

    @property
    def stops(self) -> bool:
        """There is a budget that stops whoever has spent it."""
        return bool(self._stops)

    def refused(
        self, key: str | None, tags: Mapping[str, str], upstream: str, now: datetime
    ) -> tuple[Budget, datetime] | None:
        """Return the first budget that stops this caller, and when its next period begins."""
        with self._lock:
            for budget, account in self._stops:
                if account.about.covers(key, tags, upstream) and account.spent(now) >= budget.usd:
                    return budget, ends(budget.period, now)
        return None

    def _reached(self, now: datetime) -> list[_Reached]:
        """Return what was reached of which budget, and is news."""
        news = []
        for (budget, account), marks in zip(self._entries, self._marks, strict=True):
            spent = account.spent(now)
            percent = next((percent for percent, usd in marks if spent >= usd), 0)
            if percent:
                since, name = account.since(now), (budget.name, budget.usd)
                if (since, percent) > self._told.get(name, (since, 0)):
                    self._told[name] = since, percent
                    news.append(_Reached(budget, percent, spent))
        return news

    def _tell(self, news: Iterable[_Reached]) -> None:
        for reached in news:
            self._on_reach(*reached)
