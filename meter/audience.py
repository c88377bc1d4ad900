"""Everybody who is told of exchanges, as the settings want it: made once, settled anew at a reload.

All sinks and what they are read by are here; who serves is not. Of several processes that serve there is one
audience, in the process that started them, so that nothing of what they tell need ever be merged.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from meter import __version__, directories
from meter.admin import Admin
from meter.budget import Budgets
from meter.keys import Keys, salt_from
from meter.ledger.errors import LedgerDeniedError, LedgerError
from meter.ledger.questions import Questions
from meter.live import Live
from meter.recent import Recent
from meter.settings import SettingsError
from meter.sinks import Sinks
from meter.sinks.ledger import LedgerSink
from meter.sinks.log import LogSink
from meter.sinks.prometheus import PrometheusSink
from meter.sinks.telemetry import ExportError, Telemetry, TelemetryError
from meter.state import State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from decimal import Decimal

    from sqlalchemy import Connection

    from meter.budget import Budget
    from meter.ledger.schema import Tables
    from meter.parts import Parts
    from meter.settings import Settings
    from meter.sinks.log import Journal
    from meter.trace import Tracer

__all__ = ["Audience"]

_SINKS = ("prometheus", "log", "budgets", "ledger", "traces")
_PARTS = ("proxy", "tap", "book", "relay")
"""What else may fail without a client noticing, and is counted beside the sinks."""

_BUDGETS_SECONDS = 10.0
"""How often the ledger is asked what others have spent."""

_REPORT_SECONDS = 60.0
"""A failing part is logged so often at the most."""


class Audience:
    """All sinks, by the settings of `parts`; raises SettingsError where a variable of telemetry is wrong."""

    def __init__(self, parts: Parts, journal: Journal) -> None:
        settings = parts.settings
        names = [u.name for u in settings.upstreams]
        url = directories.ledger_url(os.environ, settings.ledger.url)
        self.journal = journal
        self.state = State(names, partial(_tell_change, journal))
        self.budgets = Budgets(settings.budgets, partial(_tell_reached, journal), ledger=url is not None)
        self.prometheus = PrometheusSink(
            admission=parts.admission,
            state=self.state,
            version=__version__,
            upstreams=names,
            sinks=(*_SINKS, *_PARTS),
            catalogue=parts.catalogue,
            budgets=self.budgets,
        )
        self.report = _Report(self.prometheus, journal)
        journal.tell(partial(self.prometheus.sink_dropped, "log"), partial(self.report, "log"))
        self._lines = LogSink(journal)
        self._settle_log(settings)
        self.recent = Recent()
        self.live = Live(time.time())
        self._telemetry = self._telling(settings)
        ledger = None if url is None else self._ledger(url, settings)
        self._questions = None if url is None else Questions(url)
        """What the admin port asks of the ledger."""
        sinks = (
            self.prometheus,
            self._lines,
            self.budgets,
            self.recent,
            self.live,
            ledger,
            self._telemetry,
        )
        self.sinks = Sinks((sink for sink in sinks if sink is not None), self.report)

    @property
    def tracer(self) -> Tracer | None:
        """What draws spans; None where none are made."""
        return None if self._telemetry is None else self._telemetry.tracer

    def settle(self, parts: Parts) -> None:
        """Go on with other settings; raises ValueError, changing nothing, for tags that can be no labels."""
        settings = parts.settings
        names = [u.name for u in settings.upstreams]
        self.prometheus.reconfigure(admission=parts.admission, upstreams=names, catalogue=parts.catalogue)
        self.state.know(names)
        self.budgets.settle(settings.budgets)
        self._settle_log(settings)
        if self._telemetry is not None:
            self._telemetry.settle(settings)

    def admin(self, settings: Settings, fresh: Callable[[], Awaitable[None]] | None) -> Admin:
        """Make what answers on the admin port; `fresh` waits for what other processes have yet to tell."""
        return Admin(
            settings.admin,
            self.prometheus,
            self.state,
            questions=self._questions,
            budgets=self.budgets,
            recent=self.recent,
            live=self.live,
            keys=Keys(settings.keys, salt_from(os.environ)),
            fresh=fresh,
        )

    def look(self, late_s: float) -> None:
        """Take note of how late the event loop is, and of how much is under way."""
        self.prometheus.observe_lag(late_s)
        self.live.look(time.time(), self.state.busy)

    def close(self) -> None:
        """Tell what is still untold, and let go of what is open."""
        self.sinks.close()
        if self._questions is not None:
            self._questions.close()

    def _settle_log(self, settings: Settings) -> None:
        log = settings.log
        self.journal.settle(log.level, log.format)
        self._lines.settle(**log.model_dump(include={"outcomes", "sample", "content"}))

    def _telling(self, settings: Settings) -> Telemetry | None:
        try:
            return Telemetry.of(
                settings, os.environ, on_drop=self.prometheus.sink_dropped, on_error=self.report
            )
        except TelemetryError as error:
            raise SettingsError([str(error)]) from None

    def _ledger(self, url: str, settings: Settings) -> LedgerSink:
        wanted = settings.ledger
        return LedgerSink(
            url,
            retention=wanted.retention,
            rollups=wanted.rollups,
            spill=directories.state(os.environ),
            on_drop=partial(self.prometheus.sink_dropped, "ledger"),
            on_error=partial(self.report, "ledger", mild=LedgerDeniedError if wanted.url is None else ()),
            on_kept=self.budgets.kept,
            between=(_BUDGETS_SECONDS, self._ask_budgets),
            optional=wanted.url is None,
        )

    def _ask_budgets(self, connection: Connection, tables: Tables) -> None:
        """Take the ledger's word for what was spent, by all who write into it."""

        def asked(budget: Budget, since: datetime) -> Decimal:
            from meter.ledger.reading import spent  # noqa: PLC0415 - slow, and many have no budgets

            return spent(
                connection, tables, since=since, key=budget.key, tags=budget.tags, upstream=budget.upstream
            )

        self.budgets.ask(asked, datetime.now(UTC))


def _tell_change(log: Journal, upstream: str, reason: str | None) -> None:
    if reason is None:
        log.note("info", "upstream_up", upstream=upstream)
    else:
        log.note("warning", "upstream_down", upstream=upstream, reason=reason)


def _tell_reached(log: Journal, budget: Budget, percent: int, spent: Decimal) -> None:
    told = {"period": budget.period, "usd": float(budget.usd), "spent_usd": float(spent)}
    log.note("warning", "budget_reached", budget=budget.name, percent=percent, **told)


class _Report:
    """Counts failures of sinks and other parts, and logs each part's at most once a minute."""

    def __init__(self, prometheus: PrometheusSink, log: Journal) -> None:
        self._prometheus = prometheus
        self._log = log
        self._next: dict[str, float] = {}

    def __call__(
        self, part: str, error: BaseException | None, *, mild: type[Exception] | tuple[()] = ()
    ) -> None:
        """Count a failure; only its class is told, as texts may quote what was sent; a ledger's do not.

        One that is `mild` is something to be warned of, and no error.
        """
        reason = {"reason": str(error)} if isinstance(error, LedgerError | ExportError) else {}
        level = "warning" if isinstance(error, mild) else "error"
        self.count(part, type(error).__name__ if error else None, level, **reason)

    def count(self, part: str, exception: str | None, level: str = "error", **told: str) -> None:
        """Count a failure of which no more is known than what class of exception it was."""
        self._prometheus.sink_failed(part)
        now = time.monotonic()
        if self._next.get(part, now) <= now:
            self._next[part] = now + _REPORT_SECONDS
            self._log.note(level, "sink_failing", sink=part, exception=exception, **told)
