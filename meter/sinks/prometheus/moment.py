"""What is true at the moment of a scrape, of the exchanges under way and of the program itself.

Nothing is counted here: each class is asked when somebody scrapes, from whatever thread that is.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client import Metric

    from meter.budget import Budgets
    from meter.labels import Admission

__all__ = ["Catalogue", "Now", "Program", "State"]


class State(Protocol):
    """What is true now, read at each scrape, from any thread."""

    @property
    def in_flight(self) -> Mapping[tuple[str, str], int]:
        """Requests under way, by upstream and operation; a pair that was seen stays, at 0."""

    @property
    def upstream_up(self) -> Mapping[str, bool]:
        """Whether an upstream can be reached; one that is absent has not failed yet."""

    @property
    def draining(self) -> bool:
        """Whether Meter is about to stop."""

    @property
    def drains(self) -> int:
        """Requests that go on although their clients have left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Which price catalogue is in use."""

    source: str
    revision: str
    timestamp: float
    """Unix time, in seconds, of its prices."""


class Program:
    """What is running, and on which prices and settings.

    Gauges, not the library's Info: what OpenMetrics calls an info has another type in each format.
    """

    def __init__(self, version: str, registry: CollectorRegistry) -> None:
        build = Gauge("meter_build_info", "What is running", ("version", "python"), registry=registry)
        build.labels(version, platform.python_version()).set(1)
        about = "Whether the settings last read are in use"
        self._reload = Gauge("meter_config_reload_success", about, registry=registry)
        self._reload.set(1)
        self._catalogue: Catalogue | None = None
        registry.register(self)

    def tell(self, catalogue: Catalogue | None) -> None:
        """Say from now on which price catalogue is in use, if any."""
        self._catalogue = catalogue

    def reloaded(self, success: bool) -> None:
        """Say whether the settings last read are in use."""
        self._reload.set(success)

    def collect(self) -> Iterator[Metric]:
        """Tell of the catalogue; the rest are gauges of their own."""
        told = self._catalogue
        if told is None:
            return
        about = "Which price catalogue is in use"
        info = GaugeMetricFamily("meter_price_catalogue_info", about, labels=("source", "revision"))
        info.add_metric((told.source, told.revision), 1)
        yield info
        about = "Unix time of the price catalogue's prices"
        yield GaugeMetricFamily("meter_price_catalogue_timestamp_seconds", about, told.timestamp)


class Now:
    """Reads what is true at the moment of a scrape."""

    def __init__(self, state: State, budgets: Budgets, registry: CollectorRegistry) -> None:
        self._state = state
        self._budgets = budgets
        self._overflow: Mapping[str, int] = {}
        self._upstreams: tuple[str, ...] = ()
        registry.register(self)

    def know(self, upstreams: tuple[str, ...], admission: Admission) -> None:
        """Tell of these upstreams from now on, and of what this admission folds."""
        self._upstreams = upstreams
        self._overflow = admission.overflow

    def collect(self) -> Iterator[Metric]:
        """Read it all."""
        yield self._requests_in_flight()
        yield self._upstream_up()
        yield GaugeMetricFamily("meter_draining", "Whether Meter is about to stop", self._state.draining)
        about = "Requests that go on, for what they use, although their clients have left"
        yield GaugeMetricFamily("meter_drains_in_flight", about, self._state.drains)
        yield self._label_overflow()
        yield from self._of_budgets()

    def _requests_in_flight(self) -> Metric:
        gauge = GaugeMetricFamily(
            "meter_requests_in_flight", "Requests under way", labels=("upstream", "operation")
        )
        for pair, count in dict(self._state.in_flight).items():  # exchanges come and go meanwhile
            gauge.add_metric(pair, count)
        return gauge

    def _upstream_up(self) -> Metric:
        gauge = GaugeMetricFamily(
            "meter_upstream_up", "Whether an upstream can be reached", labels=("upstream",)
        )
        up = self._state.upstream_up
        for upstream in self._upstreams:
            gauge.add_metric((upstream,), up.get(upstream, True))
        return gauge

    def _label_overflow(self) -> Metric:
        counter = CounterMetricFamily(
            "meter_label_overflow_total",
            "Requests in which a label was folded for lack of room",
            labels=("label",),
        )
        for label, folds in self._overflow.items():
            counter.add_metric((label,), folds)
        return counter

    def _of_budgets(self) -> Iterator[Metric]:
        labels = ("budget", "period")
        limit = GaugeMetricFamily("meter_budget_usd", "What may be spent in a period", labels=labels)
        about = "What was spent in the period that it is"
        spent = GaugeMetricFamily("meter_budget_spent_usd", about, labels=labels)
        for budget, amount in self._budgets.standing(datetime.now(UTC)):
            limit.add_metric((budget.name, budget.period), float(budget.usd))
            spent.add_metric((budget.name, budget.period), float(amount))
        yield limit
        yield spent
