"""Spans of exchanges as the library has them, on their way to a collector."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from meter.sinks.telemetry.errors import ExportError
from meter.sinks.telemetry.spans import spans

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from meter.exchange import Exchange
    from meter.sinks.telemetry.export import Exporting
    from meter.sinks.telemetry.spans import Span

__all__ = ["Traces"]

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class Traces:
    """Sends exchanges as spans; the attributes below may change while it does."""

    def __init__(
        self, exporting: Exporting[ReadableSpan], resource: Resource, scope: InstrumentationScope
    ) -> None:
        self.upstreams: Mapping[str, tuple[str, int | None]] = {}
        """Host and port of upstreams by name."""
        self.scheme = "http"
        self.content = False
        self._exporting = exporting
        self._resource = resource
        self._scope = scope
        self._limits = SpanLimits()

    def send(self, batch: Sequence[Exchange]) -> None:
        """Send a batch; raises ExportError where it was not taken. Of two spans that are lost one counts."""
        made: list[ReadableSpan] = []
        for exchange in batch:
            told = spans(exchange, self.upstreams, scheme=self.scheme, content=self.content)
            made += [self._made(span) for span in told]
            time.sleep(0)  # whoever serves requests goes first
        try:
            self._exporting.send(made)
        except ExportError as error:
            if error.lost is None:
                raise
            raise ExportError(str(error), min(len(batch), (error.lost + 1) // 2)) from None

    def abort(self) -> None:
        """Send nothing more."""
        self._exporting.abort()

    def _made(self, span: Span) -> ReadableSpan:
        limits = self._limits
        attributes = BoundedAttributes(
            limits.max_span_attributes, span.attributes, max_value_len=limits.max_span_attribute_length
        )
        state = TraceState.from_header([span.state]) if span.state else None
        return ReadableSpan(
            name=span.name,
            context=_context(span.trace_id, span.span_id, state),
            parent=_context(span.trace_id, span.parent_id, state, span.remote) if span.parent_id else None,
            resource=self._resource,
            attributes=attributes,
            kind=SpanKind.SERVER if span.serves else SpanKind.CLIENT,
            status=Status(StatusCode.ERROR if span.error else StatusCode.UNSET),
            start_time=span.begins,
            end_time=span.ends,
            instrumentation_scope=self._scope,
        )


def _context(trace_id: str, span_id: str, state: TraceState | None, remote: bool = False) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), remote, _SAMPLED, state)
