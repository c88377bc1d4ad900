"""Events of the log as OpenTelemetry's log records: the same names and values as on standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk._logs import LogRecordLimits, ReadableLogRecord
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from meter.exchange import Exchange
from meter.telling import Loudness, content, fields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from meter.sinks.telemetry.export import Exporting

__all__ = ["Logs", "Note"]

_SEVERITIES = {
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
    "critical": SeverityNumber.FATAL,
}
_NO_SPAN = set_span_in_context(NonRecordingSpan(SpanContext(0, 0, is_remote=False)))


class Note(NamedTuple):
    """An event that is no exchange."""

    at: float
    level: str
    event: str
    told: Mapping[str, Any]


class Logs:
    """Sends exchanges and notes as log records; the attributes below may change while it does."""

    def __init__(
        self, exporting: Exporting[ReadableLogRecord], resource: Resource, scope: InstrumentationScope
    ) -> None:
        self.loudness = Loudness()
        self.least = "info"
        """What is less urgent is left out."""
        self.content = False
        """Prompts and answers are told too."""
        self._exporting = exporting
        self._resource = resource
        self._scope = scope
        self._limits = LogRecordLimits()

    def send(self, batch: Sequence[Exchange | Note]) -> None:
        """Send a batch; raises ExportError where it was not taken."""
        made = [record for each in batch if (record := self._made(each)) is not None]
        if made:
            self._exporting.send(made)

    def abort(self) -> None:
        """Send nothing more."""
        self._exporting.abort()

    def _made(self, thing: Exchange | Note) -> ReadableLogRecord | None:
        if isinstance(thing, Exchange):
            loud, event, at = self.loudness(thing), "exchange", thing.ended.timestamp()
        else:
            loud, event, at = thing.level, thing.event, thing.at
        if loud is None or _SEVERITIES[loud].value < _SEVERITIES[self.least].value:
            return None
        told = self._fields(thing) if isinstance(thing, Exchange) else thing.told
        limits = self._limits
        record = LogRecord(
            timestamp=round(at * 1e6) * 1000,
            context=_context(thing) if isinstance(thing, Exchange) else _NO_SPAN,
            severity_text=loud.upper(),
            severity_number=_SEVERITIES[loud],
            body=event,
            event_name=event,
            attributes=BoundedAttributes(
                limits.max_log_record_attributes,
                _plain(told),
                max_value_len=limits.max_log_record_attribute_length,
            ),
        )
        return ReadableLogRecord(record, self._resource, self._scope)

    def _fields(self, x: Exchange) -> dict[str, Any]:
        told = {**fields(x), **(content(x) if self.content else {})}
        del told["timestamp"]
        for amount in ("cost_usd", "provider_cost_usd"):
            value = getattr(x, amount)
            told[amount] = None if value is None else float(value)
        return told


def _plain(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _value(value) for name, value in told.items() if value is not None}


def _value(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case bool() | int() | float():
            return value
        case dict():
            return {name: _value(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_value(inner) for inner in value]
    return type(value).__name__ if isinstance(value, BaseException) else str(value)


def _context(x: Exchange) -> Context:
    """Return the span in which it was logged: Meter's own, where there is one."""
    if x.spans is None:
        return _NO_SPAN
    flags = TraceFlags(TraceFlags.SAMPLED if x.spans.sampled else TraceFlags.DEFAULT)
    span = SpanContext(int(x.spans.trace_id, 16), int(x.spans.server_id, 16), False, flags)
    return set_span_in_context(NonRecordingSpan(span))
