"""Tells Prometheus: one table of metrics, and what is true at the moment of a scrape.

The labels of an exchange come from `Admission`. Series are kept once made: a repeated exchange finds each of
its own by one look-up.

    rows        the table: what each metric that counts exchanges is called
    counting    what one exchange adds
    series      the numbers, and their lines
    moment      what is read when someone scrapes
    processes   what the operating system says of Meter
    exposition  in which format
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import choose_encoder

from meter.budget import Budgets
from meter.labels import ID_LABELS
from meter.sinks.prometheus.counting import REASONS, count
from meter.sinks.prometheus.exposition import Timeless, preferred
from meter.sinks.prometheus.moment import Catalogue, Now, Program, State
from meter.sinks.prometheus.processes import Processes
from meter.sinks.prometheus.rows import FINE_SECONDS, ROWS
from meter.sinks.prometheus.series import Family, SeriesOf

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meter.exchange import Exchange
    from meter.labels import Admission

__all__ = ["REASONS", "Catalogue", "PrometheusSink", "State"]

_TRACE_ID_DIGITS = 32


class PrometheusSink:
    """Counts exchanges into a registry of its own.

    `upstreams` and `sinks` are names whose counters start at 0. `catalogue` is `None` where no price
    catalogue is used. What was spent of `budgets` is read at each scrape. Exchanges come from one thread,
    scrapes from any. Raises `ValueError` for a tag that is named like a label.
    """

    name = "prometheus"

    def __init__(
        self,
        *,
        admission: Admission,
        state: State,
        version: str,
        upstreams: Iterable[str] = (),
        sinks: Iterable[str] = (),
        catalogue: Catalogue | None = None,
        budgets: Budgets | None = None,
    ) -> None:
        self._state = state
        self.processes: set[int] = set()
        """Ids of those that Meter has besides this one."""
        self._budgets = budgets or Budgets()
        self._version = version
        self._sinks = tuple(sinks)
        self._admission = admission
        self._lay_out(tuple(upstreams), catalogue)

    def _lay_out(self, upstreams: tuple[str, ...], catalogue: Catalogue | None) -> None:
        admission = self._admission
        _check_tags(admission)
        self._families = {row.name: Family(row, admission.names) for row in ROWS}
        self._series: dict[tuple[str, ...], SeriesOf] = {}
        registry = CollectorRegistry()
        self._lag = Histogram("meter_event_loop_lag_seconds", _LAG, registry=registry, buckets=FINE_SECONDS)
        self._sink_errors = _by_sink("meter_sink_errors_total", _SINK_ERRORS, self._sinks, registry)
        self._sink_dropped = _by_sink("meter_sink_dropped_total", _SINK_DROPPED, self._sinks, registry)
        self._now = Now(self._state, self._budgets, registry)
        self._program = Program(self._version, registry)
        self._restarts = Counter("meter_worker_restarts_total", _RESTARTS, registry=registry)
        Processes(self.processes, registry)
        self._registry = registry
        self._settle(upstreams, catalogue)

    def _settle(self, upstreams: tuple[str, ...], catalogue: Catalogue | None) -> None:
        for family in self._families.values():
            family.start(upstreams)
        self._now.know(upstreams, self._admission)
        self._program.tell(catalogue)

    def reconfigure(
        self, *, admission: Admission, upstreams: Iterable[str], catalogue: Catalogue | None = None
    ) -> None:
        """Go on with other settings; counters begin anew only where other tags become labels.

        Raises `ValueError` for a tag that is named like a label; then nothing has changed.
        """
        _check_tags(admission)
        same = admission.label_names == self._admission.label_names
        if same:
            admission.succeed(self._admission)
        self._admission = admission
        (self._settle if same else self._lay_out)(tuple(upstreams), catalogue)

    def reloaded(self, success: bool) -> None:
        """Tell whether the settings last read are in use."""
        self._program.reloaded(success)

    def __call__(self, exchange: Exchange) -> None:
        """Count one exchange."""
        ids = self._admission.id_labels(exchange)
        trace_id = exchange.trace_id
        whole = trace_id is not None and len(trace_id) == _TRACE_ID_DIGITS
        mark = (trace_id, exchange.id, time.time()) if trace_id and whole else None
        count(exchange, self._series.get(ids) or self._open(ids), mark)

    def close(self) -> None:
        """Do nothing: a scrape finds all that was counted."""

    def sink_failed(self, name: str) -> None:
        """Count an exchange that a sink failed to tell."""
        self._sink_errors.labels(name).inc()

    def sink_dropped(self, name: str) -> None:
        """Count an exchange that a sink had no room for."""
        self._sink_dropped.labels(name).inc()

    def observe_lag(self, seconds: float) -> None:
        """Count one measurement of how late the event loop was."""
        self._lag.observe(seconds)

    def worker_restarted(self) -> None:
        """Count a process that was started in the place of one that had ended by itself."""
        self._restarts.inc()

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Give a scrape's body and its whole `Content-Type`, as an `Accept` header prefers."""
        encode, content_type = choose_encoder(preferred(accept))
        counted = [line for family in self._families.values() for line in family.lines(encode)]
        return b"".join([*counted, encode(Timeless(self._registry))]), content_type

    def _open(self, ids: tuple[str, ...]) -> SeriesOf:
        self._series[ids] = series = SeriesOf(self._families, ids)
        return series


_LAG = "How late the event loop was"
_RESTARTS = "Workers that were started in the place of one that had ended by itself"
_SINK_ERRORS = "Exchanges that a sink failed to tell"
_SINK_DROPPED = "Exchanges that a sink had no room for"


def _check_tags(admission: Admission) -> None:
    taken = {"le", *ID_LABELS, *(label for row in ROWS for label in row.labels if label != "id")}
    for position, name in enumerate(admission.label_names):
        if name in taken or name in admission.label_names[:position]:
            raise ValueError(
                f"tag {name!r} cannot be a metric label: expected a name that no other label has"
            )


def _by_sink(name: str, about: str, sinks: Iterable[str], registry: CollectorRegistry) -> Counter:
    counter = Counter(name, about, ("sink",), registry=registry)
    for sink in sinks:
        counter.labels(sink)
    return counter
