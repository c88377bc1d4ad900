"""Tells by OpenTelemetry: spans, and where they are wanted metrics and log records, to a collector.

The library is imported where telemetry is on, and nowhere else. Spans are drawn when a request begins, and
made from the record when it has ended, in a thread: a collector that is slow, away or full costs no request
anything.

    variables   what the standard variables say
    sampling    draws spans at the beginning
    spans       what is told of an exchange; pure
    content     prompts and answers, in the conventions' shape; pure
    resource    who tells
    outbox      what waits, and the thread that sends it
    export      the library's exporters, and what is heard of them
    traces, metrics, logs   what each signal makes of exchanges
    signals     those that are on, together
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meter.sinks.telemetry.errors import ExportError, TelemetryError
from meter.sinks.telemetry.sampling import drawing
from meter.sinks.telemetry.variables import LOGS, METRICS, TRACES, disabled, exporters, way

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from meter.exchange import Exchange
    from meter.settings import Settings
    from meter.sinks.telemetry.signals import Signals
    from meter.sinks.telemetry.variables import Way
    from meter.trace import Tracer

__all__ = ["ExportError", "Telemetry", "TelemetryError"]


class Telemetry:
    """A sink for all signals that are on; `of` makes it. `tracer` draws spans; None where none are made."""

    name = "traces"

    def __init__(self, signals: Signals, tracer: Tracer | None) -> None:
        self.tracer = tracer
        self._signals = signals
        self.settle = signals.settle
        """Goes on with other settings; which signals are sent, and where to, is settled once."""
        self.note = signals.note
        """Tells of an event of the log that is no exchange."""
        self.close = signals.close

    @classmethod
    def of(
        cls,
        settings: Settings,
        environ: Mapping[str, str],
        *,
        on_drop: Callable[[str], None],
        on_error: Callable[[str, BaseException], None],
    ) -> Telemetry | None:
        """Return what settings and variables want; None where that is nothing.

        `on_drop(name)` hears of each exchange that is lost, `on_error(name, error)` of each failure, where
        `name` is `traces`, `otlp_metrics` or `otlp_logs`; from any thread. Raises TelemetryError where
        something is wrong.
        """
        ways = _ways(settings, environ)
        if not ways:
            return None
        tracer = drawing(environ) if TRACES in ways else None
        try:
            from meter.sinks.telemetry.signals import Signals  # noqa: PLC0415 - the library: see the top

            signals = Signals(ways, environ, on_drop, on_error)
        except TelemetryError:
            raise
        except ValueError as error:  # the library's own, of variables that it reads itself
            raise TelemetryError(str(error)) from None
        signals.settle(settings)
        return cls(signals, tracer)

    def __call__(self, exchange: Exchange) -> None:
        """Tell of one exchange; never waits."""
        self._signals.tell(exchange)


def _ways(settings: Settings, environ: Mapping[str, str]) -> dict[str, Way]:
    """Return where each signal goes that is on."""
    if disabled(environ):
        return {}
    strange = exporters(environ, TRACES) - {"otlp", "none"}
    if strange:
        raise TelemetryError(f"OTEL_TRACES_EXPORTER: got {min(strange)!r}, expected otlp or none")
    said = {METRICS: ("metrics.otlp", settings.metrics.otlp), LOGS: ("log.otlp", settings.log.otlp)}
    found: dict[str, Way] = {}
    for signal in (TRACES, METRICS, LOGS):
        name, on = said.get(signal, ("", True))
        if "none" in exporters(environ, signal) or not (on or "otlp" in exporters(environ, signal)):
            continue
        leads = way(environ, signal, settings.tracing.endpoint, settings.tracing.protocol)
        if leads is not None:
            found[signal] = leads
        elif name and on:
            expected = "expected tracing.endpoint or OTEL_EXPORTER_OTLP_ENDPOINT as well"
            raise TelemetryError(f"{name}: got true, {expected}")
    return found
