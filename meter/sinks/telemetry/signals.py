"""The signals that are on, each with its exporter and what waits for it: where the library comes in."""

from __future__ import annotations

import os
import socket
import time
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.sdk.version import __version__ as sdk_version

from meter import __version__
from meter.sinks.telemetry.errors import TelemetryError
from meter.sinks.telemetry.export import Overheard, exporter
from meter.sinks.telemetry.logs import Logs, Note
from meter.sinks.telemetry.metrics import Metrics, checked
from meter.sinks.telemetry.outbox import Batching, Outbox
from meter.sinks.telemetry.resource import attributes
from meter.sinks.telemetry.spans import addresses
from meter.sinks.telemetry.traces import Traces
from meter.sinks.telemetry.variables import LOGS, METRICS, TRACES, count, milliseconds
from meter.telling import Loudness

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from meter.exchange import Exchange
    from meter.settings import Settings
    from meter.sinks.telemetry.variables import Way

__all__ = ["NAMES", "Signals"]

NAMES = {TRACES: "traces", METRICS: "otlp_metrics", LOGS: "otlp_logs"}
"""What each signal is called where failures are counted."""

_CLOSE_SECONDS = 5.0
_LAST_SECONDS = 0.5
_ROOM, _MOST, _PAUSE_SECONDS = 2048, 256, 1.0
"""Spans that wait, spans that go at once, and how long they gather, where the variables do not say.

Half of what the library sends at once: while it encodes, requests wait for the interpreter.
"""
_INTERVAL_SECONDS = 60.0


class Signals:
    """Sends what each of `ways` is for; raises TelemetryError or ValueError for a wrong variable."""

    def __init__(
        self,
        ways: Mapping[str, Way],
        environ: Mapping[str, str],
        on_drop: Callable[[str], None],
        on_error: Callable[[str, BaseException], None],
    ) -> None:
        self._ways, self._environ = ways, environ
        self._on_drop, self._on_error = on_drop, on_error
        self._resource = _resource(environ)
        self._scope = InstrumentationScope("meter", __version__)
        self._outboxes: dict[str, Outbox[Any]] = {}
        self._traces: Traces | None = None
        self._metrics: Metrics | None = None
        self._logs: Logs | None = None
        self._overheard = Overheard()
        begin = {TRACES: self._begin_traces, METRICS: self._begin_metrics, LOGS: self._begin_logs}
        try:
            for signal in ways:
                begin[signal]()
        except BaseException:
            self.close()
            raise

    def tell(self, exchange: Exchange) -> None:
        """Tell of one exchange; never waits."""
        for signal, outbox in self._outboxes.items():
            if signal != TRACES or (exchange.spans is not None and exchange.spans.sampled):
                outbox.put(exchange)

    def note(self, level: str, event: str, told: Mapping[str, Any]) -> None:
        """Tell of an event that is no exchange, where log records are sent; never waits."""
        if LOGS in self._outboxes:
            self._outboxes[LOGS].put(Note(time.time(), level, event, told))

    def settle(self, settings: Settings) -> None:
        """Go on with other settings."""
        upstreams = addresses((u.name, u.base_url) for u in settings.upstreams)
        if self._traces is not None:
            self._traces.upstreams = upstreams
            self._traces.scheme = "http" if settings.tls.cert is None else "https"
            self._traces.content = settings.tracing.content
        if self._metrics is not None:
            self._metrics.upstreams = upstreams
        if self._logs is not None:
            log = settings.log
            self._logs.least, self._logs.content = log.level, log.content
            outcomes = {str(outcome): str(loud) for outcome, loud in log.outcomes.items()}
            sample = {str(outcome): share for outcome, share in log.sample.items()}
            self._logs.loudness = Loudness(outcomes, sample)

    def close(self) -> None:
        """Send what is left, for five seconds at the most; drop and count what is left then."""
        until = time.monotonic() + _CLOSE_SECONDS
        for outbox in self._outboxes.values():
            outbox.stop()
        for outbox in self._outboxes.values():
            outbox.join(until)
        try:
            if self._metrics is not None:
                self._metrics.close(max(_LAST_SECONDS, until - time.monotonic()))
        finally:
            self._overheard.restore()

    def _begin_traces(self) -> None:
        batching = _batching(self._environ, "OTEL_BSP", each=2)  # two spans an exchange
        exporting = exporter(TRACES, self._ways[TRACES], self._overheard)
        self._traces = Traces(exporting, self._resource, self._scope)
        self._begin(TRACES, self._traces, batching, _weight)

    def _begin_metrics(self) -> None:
        interval = milliseconds(self._environ, "OTEL_METRIC_EXPORT_INTERVAL", _INTERVAL_SECONDS)
        exporting = exporter(METRICS, self._ways[METRICS], self._overheard)
        telling = checked(exporting, partial(self._on_error, NAMES[METRICS]))
        reader = PeriodicExportingMetricReader(telling, interval * 1000)
        self._metrics = Metrics(reader, self._resource, version=__version__)
        self._begin(METRICS, self._metrics, Batching(_ROOM, _MOST, min(_PAUSE_SECONDS, interval / 2)))

    def _begin_logs(self) -> None:
        batching = _batching(self._environ, "OTEL_BLRP")
        exporting = exporter(LOGS, self._ways[LOGS], self._overheard)
        self._logs = Logs(exporting, self._resource, self._scope)
        self._begin(LOGS, self._logs, batching, _weight)

    def _begin(
        self, signal: str, sending: Any, batching: Batching, weigh: Callable[[Any], int] = lambda _: 0
    ) -> None:
        name = NAMES[signal]
        self._outboxes[signal] = Outbox[Any](
            name,
            sending,
            batching,
            on_drop=partial(self._on_drop, name),
            on_error=partial(self._on_error, name),
            weigh=weigh,
        )


def _resource(environ: Mapping[str, str]) -> Resource:
    sdk = {
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": sdk_version,
    }
    told = attributes(
        environ,
        version=__version__,
        host=socket.gethostname(),
        process=os.getpid(),
        instance=str(uuid.uuid4()),
    )
    return Resource({**sdk, **told})


def _weight(thing: Exchange | Note) -> int:
    return 0 if isinstance(thing, Note) else len(thing.question or "") + len(thing.answer or "")


def _batching(environ: Mapping[str, str], prefix: str, each: int = 1) -> Batching:
    """Return how things gather of which each counts as `each` of what the variables count."""
    room = count(environ, f"{prefix}_MAX_QUEUE_SIZE", _ROOM)
    most = count(environ, f"{prefix}_MAX_EXPORT_BATCH_SIZE", min(_MOST, room))
    if most > room:
        raise TelemetryError(
            f"{prefix}_MAX_EXPORT_BATCH_SIZE: got {most}, expected at most {prefix}_MAX_QUEUE_SIZE, {room}"
        )
    pause = milliseconds(environ, f"{prefix}_SCHEDULE_DELAY", _PAUSE_SECONDS)
    return Batching(max(1, room // each), max(1, most // each), pause)
