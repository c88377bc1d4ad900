"""OpenTelemetry's own metrics for generative AI, with the conventions' buckets.

They tell less than Meter's metrics for Prometheus: no key, no cost. What an upstream or a client may invent
is bounded: past so many names of models, others go by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from meter import semconv
from meter.exchange import Outcome, UsageSource
from meter.labels import OTHER
from meter.sinks.telemetry.errors import ExportError
from meter.sinks.telemetry.spans import asked_from_to, first_chunk, generative

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.resources import Resource

    from meter.exchange import Exchange
    from meter.sinks.telemetry.export import Exporting
    from meter.sinks.telemetry.spans import Attributes

__all__ = ["Metrics", "checked"]

_SECONDS = [0.01 * 2**n for n in range(14)]
_TOKENS = [4**n for n in range(14)]
_MODELS = 200
"""Names of models that are told apart, asked for and answered alike."""
_QUIET = frozenset({"models", "files", "batches", "other"})
"""Operations that are no inference."""


class Metrics:
    """Records exchanges; `reader` collects and exports every so often, in a thread of its own."""

    def __init__(self, reader: MetricReader, resource: Resource, *, version: str) -> None:
        self.upstreams: Mapping[str, tuple[str, int | None]] = {}
        """Host and port of upstreams by name."""
        self._provider = MeterProvider([reader], resource, shutdown_on_exit=False)
        meter = self._provider.get_meter("meter", version)
        self._models: set[str] = set()

        def histogram(name: str, unit: str, about: str, buckets: Sequence[float]) -> Any:
            return meter.create_histogram(name, unit, about, explicit_bucket_boundaries_advisory=buckets)

        self._duration = histogram(
            semconv.CLIENT_OPERATION_DURATION, "s", "GenAI operation duration", _SECONDS
        )
        self._first = histogram(
            semconv.CLIENT_TIME_TO_FIRST_CHUNK, "s", "Time to receive the first chunk", _SECONDS
        )
        self._each = histogram(semconv.CLIENT_TIME_PER_OUTPUT_CHUNK, "s", "Time per output chunk", _SECONDS)
        self._tokens = histogram(
            semconv.CLIENT_TOKEN_USAGE, "{token}", "Number of input and output tokens used", _TOKENS
        )

    def send(self, batch: Sequence[Exchange]) -> None:
        """Record a batch."""
        for exchange in batch:
            if exchange.attempts and exchange.operation not in _QUIET:
                self._record(exchange)

    def abort(self) -> None:
        """Do nothing: what is recorded is collected at the end."""

    def close(self, seconds: float) -> None:
        """Export what was recorded last, in so many seconds."""
        self._provider.shutdown(timeout_millis=seconds * 1000)

    def _record(self, x: Exchange) -> None:
        attributes = self._folded(generative(x, self.upstreams), learn=x.outcome is Outcome.OK)
        context = _context(x)
        began, ended = asked_from_to(x)
        error = {semconv.ERROR_TYPE: x.error_type} if x.error_type else {}
        self._duration.record(ended - began, {**attributes, **error}, context)
        if (first := first_chunk(x)) is not None:
            self._first.record(first, attributes, context)
        if (each := _per_chunk(x)) is not None:
            self._each.record(each, attributes, context)
        if x.usage_source is not UsageSource.NONE:
            for kind, count in (("input", x.input_tokens), ("output", x.output_tokens)):
                if count is not None:
                    self._tokens.record(count, {**attributes, semconv.TOKEN_TYPE: kind}, context)

    def _folded(self, attributes: Attributes, *, learn: bool) -> Attributes:
        """Fold names of models that are not known; what a client made up ends in an error, and stays so."""
        for name in (semconv.REQUEST_MODEL, semconv.RESPONSE_MODEL):
            model = attributes.get(name)
            if isinstance(model, str) and model not in self._models:
                if learn and len(self._models) < _MODELS:
                    self._models.add(model)
                else:
                    attributes[name] = OTHER
        return attributes


def _per_chunk(x: Exchange) -> float | None:
    if x.ttft_s is None or x.last_content_s is None or x.content_events < 2:  # noqa: PLR2004 - between two there is time
        return None
    return (x.last_content_s - x.ttft_s) / (x.content_events - 1)


def _context(x: Exchange) -> Context | None:
    """Return the span that an exemplar is to name."""
    if x.spans is None:
        return None
    flags = TraceFlags(TraceFlags.SAMPLED if x.spans.sampled else TraceFlags.DEFAULT)
    span = SpanContext(int(x.spans.trace_id, 16), int(x.spans.client_id, 16), False, flags)
    return set_span_in_context(NonRecordingSpan(span))


def checked(exporting: Exporting[Any], on_error: Callable[[BaseException], None]) -> Any:
    """Return a metric exporter that tells of each export that failed; the next one has all of it anyway."""
    exporter = exporting.exporter
    export = exporter.export

    def telling(*args: Any, **options: Any) -> Any:
        try:
            result = export(*args, **options)
        except Exception as error:
            on_error(error)
            raise
        try:
            exporting.check(result)
        except ExportError as error:
            on_error(error)
        return result

    exporter.export = telling
    return exporter
