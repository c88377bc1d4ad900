"""Tells Prometheus: one table of metrics, each row with the reading that fills it.

A row says what a metric is called, which labels it has and what one exchange adds to it. The labels of an
exchange come from `Admission`; what is true only now (requests in flight, upstreams that answer, draining) is
read when someone scrapes. Series are kept once made: a repeated exchange finds each of its own by one
look-up.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder

from meter.exchange import Outcome, PriceStatus, UsageSource
from meter.labels import ID_LABELS, OTHER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from decimal import Decimal
    from typing import TypeAlias

    from prometheus_client import Metric

    from meter.exchange import Exchange, RateLimit
    from meter.labels import Admission

    Series: TypeAlias = Counter | Gauge | Histogram
    # What one exchange adds: values of the row's own labels, after those of the exchange, and an amount.
    Reading: TypeAlias = Iterable[tuple[tuple[str, ...], float]]
    Write: TypeAlias = Callable[[float, dict[str, str] | None], None]

__all__ = ["REASONS", "Catalogue", "PrometheusSink", "State"]

_REASONS = """
stop length content_filter tool_calls function_call error eos eos_token stop_sequence model_length
abort insufficient_system_resource sensitive network_error repetition timeout cancelled
completed incomplete failed max_output_tokens turn_detected client_cancelled
end_turn max_tokens tool_use pause_turn refusal compaction model_context_window_exceeded
guardrail_intervened content_filtered malformed_model_output malformed_tool_use
STOP MAX_TOKENS SAFETY RECITATION LANGUAGE OTHER BLOCKLIST PROHIBITED_CONTENT SPII
MALFORMED_FUNCTION_CALL IMAGE_SAFETY IMAGE_PROHIBITED_CONTENT IMAGE_RECITATION IMAGE_OTHER NO_IMAGE
UNEXPECTED_TOOL_CALL TOO_MANY_TOOL_CALLS MISSING_THOUGHT_SIGNATURE MALFORMED_RESPONSE MODEL_ARMOR
FINISH_REASON_UNSPECIFIED
COMPLETE STOP_SEQUENCE TOOL_CALL ERROR ERROR_TOXIC ERROR_LIMIT USER_CANCEL TIMEOUT load unload
"""
"""Of OpenAI and those who follow it, of its responses and realtime, Anthropic and Bedrock, Gemini, Cohere and
Ollama.
"""

REASONS = frozenset(_REASONS.split())
"""Finish reasons that show by name; upstreams invent others, and those fold."""

_SECONDS = tuple(0.01 * 2**n for n in range(18))
_FINE_SECONDS = tuple(0.0001 * 2**n for n in range(24))
_CODES = {status: str(status) for status in range(100, 600)}
_COUNTED = frozenset({UsageSource.REPORTED, UsageSource.ESTIMATED})
_MISMATCH = 100  # one part in so many
_TRACE_ID_DIGITS = 32


class State(Protocol):
    """What is true now, read at each scrape, from any thread.

    The mappings are plain dicts, changed in place.
    """

    @property
    def in_flight(self) -> Mapping[tuple[str, str], int]:
        """Requests under way, by upstream and operation."""

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


class PrometheusSink:
    """Counts exchanges into a registry of its own.

    `upstreams` and `sinks` are names whose counters start at 0. `catalogue` is `None` where no price
    catalogue is used. Exchanges come from one thread, scrapes from any. Raises `ValueError` for a tag that is
    named like a label.
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
    ) -> None:
        self._state = state
        self._version = version
        self._sinks = tuple(sinks)
        self._admission = admission
        self._lay_out(tuple(upstreams), catalogue)

    def _lay_out(self, upstreams: tuple[str, ...], catalogue: Catalogue | None) -> None:
        admission = self._admission
        _check_tags(admission)
        registry = CollectorRegistry()
        self._instruments = [_Instrument(row, admission.names, registry) for row in _ROWS]
        self._series: dict[tuple[str, ...], list[tuple[_Instrument, _Writes]]] = {}
        self._lag = _fine_histogram("meter_event_loop_lag_seconds", _LAG, registry=registry)
        self._sink_errors = _by_sink("meter_sink_errors_total", _SINK_ERRORS, self._sinks, registry)
        self._sink_dropped = _by_sink("meter_sink_dropped_total", _SINK_DROPPED, self._sinks, registry)
        self._now = _Now(self._state, registry)
        self._facts = _Facts(self._version, registry)
        ProcessCollector(registry=registry)
        self._registry = registry
        self._settle(upstreams, catalogue)

    def _settle(self, upstreams: tuple[str, ...], catalogue: Catalogue | None) -> None:
        for instrument in self._instruments:
            instrument.start(upstreams)
        self._now.know(upstreams, self._admission)
        self._facts.tell(catalogue)

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
        self._facts.reloaded(success)

    def __call__(self, exchange: Exchange) -> None:
        """Count one exchange."""
        ids = self._admission.id_labels(exchange)
        trace_id = exchange.trace_id
        exemplar = {"trace_id": trace_id} if trace_id and len(trace_id) == _TRACE_ID_DIGITS else None
        for instrument, writes in self._series.get(ids) or self._open(ids):
            for own, amount in instrument.read(exchange):
                writes[own](amount, exemplar if instrument.exemplar else None)

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

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Give a scrape's body and its whole `Content-Type`, as an `Accept` header prefers."""
        encode, content_type = choose_encoder(_preferred(accept))
        return encode(_Timeless(self._registry)), content_type

    def _open(self, ids: tuple[str, ...]) -> list[tuple[_Instrument, _Writes]]:
        self._series[ids] = series = [(each, _Writes(each, ids)) for each in self._instruments]
        return series


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One metric: `make` gives it its type, and `id` among its labels stands for all that an exchange has."""

    name: str
    make: Callable[..., Series]
    labels: tuple[str, ...]
    about: str
    read: Callable[[Exchange], Reading]
    exemplar: bool = False


class _Instrument:
    """A row's metric, and what the row makes of an exchange."""

    def __init__(self, row: _Row, id_names: tuple[str, ...], registry: CollectorRegistry) -> None:
        names = tuple(n for label in row.labels for n in (id_names if label == "id" else (label,)))
        self.read = row.read
        self.exemplar = row.exemplar
        self._by_upstream = row.make is Counter and names == ("upstream",)
        self._metric = row.make(row.name, row.about, names, registry=registry)
        self._positions = [id_names.index(name) for name in names if name in id_names]

    def start(self, upstreams: Iterable[str]) -> None:
        """Show at 0 what has no label but the upstream."""
        if self._by_upstream:
            for upstream in upstreams:
                self._metric.labels(upstream)

    def write(self, ids: tuple[str, ...], own: tuple[str, ...]) -> Write:
        """Give what adds to one series, which is there from now on."""
        return _writing(self._metric.labels(*[ids[position] for position in self._positions], *own))


class _Writes(dict[tuple[str, ...], "Write"]):
    """The series of one metric and one set of id labels, by the row's own; made when first asked for."""

    __slots__ = ("_ids", "_instrument")

    def __init__(self, instrument: _Instrument, ids: tuple[str, ...]) -> None:
        super().__init__()
        self._instrument = instrument
        self._ids = ids

    def __missing__(self, own: tuple[str, ...]) -> Write:
        self[own] = write = self._instrument.write(self._ids, own)
        return write


def _writing(series: Series) -> Write:
    if isinstance(series, Counter):
        return series.inc
    if isinstance(series, Histogram):
        return series.observe
    return lambda amount, _: series.set(amount)


# What one exchange adds to each metric.


def _requests(x: Exchange) -> Reading:
    code = "0" if x.status is None else _CODES.get(x.status, "0")
    return (((code, x.outcome, _stream_label(x)), 1),)


def _duration(x: Exchange) -> Reading:
    return (((_stream_label(x),), x.duration_s),)


def _first_token(x: Exchange) -> Reading:
    return (((), x.ttft_s),) if x.ttft_s is not None and _streamed(x) else ()


def _per_output_token(x: Exchange) -> Reading:
    if x.ttft_s is None or x.last_content_s is None or x.usage is None or not _streamed(x):
        return ()
    # Reasoning that nobody saw took its time before the first content.
    unseen = 0 if x.reasoning_streamed else x.usage.get("output_reasoning", 0)
    gaps = (x.output_tokens or 0) - unseen - 1
    return (((), (x.last_content_s - x.ttft_s) / gaps),) if gaps > 0 else ()


def _stall(x: Exchange) -> Reading:
    return (((), x.stall_s),) if x.stall_s is not None and _streamed(x) else ()


def _overhead(x: Exchange) -> Reading:
    phases = (("request", x.overhead_request_s), ("response", x.overhead_response_s))
    return [((phase,), seconds) for phase, seconds in phases if seconds is not None]


def _tokens(x: Exchange) -> Reading:
    if x.usage is None or x.usage_source not in _COUNTED:
        return ()
    return [((kind, x.usage_source), count) for kind, count in x.usage.items()]


def _units(x: Exchange) -> Reading:
    return [((unit,), amount) for unit, amount in x.units.items()]


def _cost(x: Exchange) -> Reading:
    return (((x.usage_source, x.price_status), float(x.cost_usd)),) if x.cost_usd is not None else ()


def _savings(x: Exchange) -> Reading:
    # A counter cannot fall: where reading a cache costs more than not having one, nothing was saved.
    saved = x.cache_savings_usd
    return (((), float(saved)),) if saved is not None and saved >= 0 else ()


def _accounting(x: Exchange) -> Reading:
    return (((x.usage_source, x.price_status), 1),)


def _unpriced(x: Exchange) -> Reading:
    if x.usage is None or x.price_status is not PriceStatus.MISSING:
        return ()
    return (((), sum(x.usage.values())),)


def _errors(x: Exchange) -> Reading:
    return (((x.error_type or x.outcome,), 1),) if x.outcome is not Outcome.OK else ()


def _finish_reasons(x: Exchange) -> Reading:
    return [((reason if reason in REASONS else OTHER,), 1) for reason in x.finish_reasons]


def _limits(fact: Callable[[RateLimit], float | None], x: Exchange) -> Reading:
    return [((limit.resource,), told) for limit in x.rate_limits if (told := fact(limit)) is not None]


def _asked(x: Exchange) -> Reading:
    return (((), 1),) if x.usage_asked else ()


def _refused(x: Exchange) -> Reading:
    return (((), 1),) if x.usage_refused else ()


def _mismatch(x: Exchange) -> Reading:
    if x.provider_cost_usd is None or x.computed_cost_usd is None:
        return ()
    # Agreement counts 0, so that the series is there before the first quarrel.
    return (((), int(_differ(x.provider_cost_usd, x.computed_cost_usd))),)


def _differ(told: Decimal, computed: Decimal) -> bool:
    return abs(told - computed) * _MISMATCH > abs(told)


def _streamed(x: Exchange) -> bool:
    return x.stream and (x.status is None or x.status < 400)  # noqa: PLR2004  where HTTP's errors begin


def _stream_label(x: Exchange) -> str:
    return "true" if _streamed(x) else "false"


_histogram = partial(Histogram, buckets=_SECONDS)
_fine_histogram = partial(Histogram, buckets=_FINE_SECONDS)

_ROWS = (
    _Row(
        name="meter_requests_total",
        make=Counter,
        labels=("id", "code", "outcome", "stream"),
        about="Requests by the status that reached the client (0 if none) and by how they ended",
        read=_requests,
        exemplar=True,
    ),
    _Row(
        name="meter_request_duration_seconds",
        make=_histogram,
        labels=("id", "stream"),
        about="From the request's first byte to the answer's last",
        read=_duration,
        exemplar=True,
    ),
    _Row(
        name="meter_time_to_first_token_seconds",
        make=_histogram,
        labels=("id",),
        about="Streams: from the request's first byte to the first event that carries content",
        read=_first_token,
        exemplar=True,
    ),
    _Row(
        name="meter_time_per_output_token_seconds",
        make=_fine_histogram,
        labels=("id",),
        about="Streams: from the first content to the last, by output tokens after the first",
        read=_per_output_token,
    ),
    _Row(
        name="meter_stream_stall_seconds",
        make=_histogram,
        labels=("id",),
        about="Streams: the longest pause between two events with content",
        read=_stall,
    ),
    _Row(
        name="meter_overhead_seconds",
        make=_fine_histogram,
        labels=("upstream", "phase"),
        about="Time spent in Meter itself, before the upstream was asked and after it had answered",
        read=_overhead,
    ),
    _Row(
        name="meter_tokens_total",
        make=Counter,
        labels=("id", "kind", "usage_source"),
        about="Tokens by kind; kinds do not overlap",
        read=_tokens,
    ),
    _Row(
        name="meter_units_total",
        make=Counter,
        labels=("id", "unit"),
        about="What is charged for but is not a token",
        read=_units,
    ),
    _Row(
        name="meter_cost_usd_total",
        make=Counter,
        labels=("id", "usage_source", "price_status"),
        about="Cost in USD, where it is known",
        read=_cost,
        exemplar=True,
    ),
    _Row(
        name="meter_cache_savings_usd_total",
        make=Counter,
        labels=("id",),
        about="What cached input would have cost as plain input, less what it did, in USD",
        read=_savings,
    ),
    _Row(
        name="meter_accounting_total",
        make=Counter,
        labels=("upstream", "operation", "model", "usage_source", "price_status"),
        about="Every request once, by how sure its usage and its cost are",
        read=_accounting,
    ),
    _Row(
        name="meter_unpriced_tokens_total",
        make=Counter,
        labels=("id",),
        about="Tokens of requests whose price is not known",
        read=_unpriced,
    ),
    _Row(
        name="meter_errors_total",
        make=Counter,
        labels=("id", "error_type"),
        about="Requests that did not end well, by what went wrong",
        read=_errors,
    ),
    _Row(
        name="meter_finish_reasons_total",
        make=Counter,
        labels=("id", "reason"),
        about="Why models stopped, one for each choice",
        read=_finish_reasons,
    ),
    _Row(
        name="meter_ratelimit_remaining",
        make=Gauge,
        labels=("upstream", "model", "key", "resource"),
        about="What an upstream last said is left of a limit",
        read=partial(_limits, lambda limit: limit.remaining),
    ),
    _Row(
        name="meter_ratelimit_limit",
        make=Gauge,
        labels=("upstream", "model", "key", "resource"),
        about="What an upstream last said that a limit is",
        read=partial(_limits, lambda limit: limit.limit),
    ),
    _Row(
        name="meter_ratelimit_reset_seconds",
        make=Gauge,
        labels=("upstream", "model", "key", "resource"),
        about="How long an upstream last said it takes until a limit is whole again",
        read=partial(_limits, lambda limit: limit.reset_seconds),
    ),
    _Row(
        name="meter_usage_requests_rewritten_total",
        make=Counter,
        labels=("upstream",),
        about="Requests in which usage was asked for on the client's behalf",
        read=_asked,
    ),
    _Row(
        name="meter_usage_requests_refused_total",
        make=Counter,
        labels=("upstream",),
        about="Requests sent again as the client wrote them: the upstream refused to be asked for usage",
        read=_refused,
    ),
    _Row(
        name="meter_cost_mismatch_total",
        make=Counter,
        labels=("upstream", "model"),
        about="Requests for which the upstream's own cost and the computed one differ by over 1 %",
        read=_mismatch,
    ),
)

_LAG = "How late the event loop was"
_SINK_ERRORS = "Exchanges that a sink failed to tell"
_SINK_DROPPED = "Exchanges that a sink had no room for"


def _check_tags(admission: Admission) -> None:
    taken = {"le", *ID_LABELS, *(label for row in _ROWS for label in row.labels if label != "id")}
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


class _Facts:
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
        self._reload.set(success)

    def collect(self) -> Iterator[Metric]:
        told = self._catalogue
        if told is None:
            return
        about = "Which price catalogue is in use"
        info = GaugeMetricFamily("meter_price_catalogue_info", about, labels=("source", "revision"))
        info.add_metric((told.source, told.revision), 1)
        yield info
        about = "Unix time of the price catalogue's prices"
        yield GaugeMetricFamily("meter_price_catalogue_timestamp_seconds", about, told.timestamp)


class _Now:
    """Reads what is true at the moment of a scrape."""

    def __init__(self, state: State, registry: CollectorRegistry) -> None:
        self._state = state
        self._overflow: Mapping[str, int] = {}
        self._upstreams: tuple[str, ...] = ()
        self._in_flight: dict[tuple[str, str], int] = {}
        registry.register(self)

    def know(self, upstreams: tuple[str, ...], admission: Admission) -> None:
        """Tell of these upstreams from now on, and of what this admission folds."""
        self._upstreams = upstreams
        self._overflow = admission.overflow

    def collect(self) -> Iterator[Metric]:
        yield self._requests_in_flight()
        yield self._upstream_up()
        yield GaugeMetricFamily("meter_draining", "Whether Meter is about to stop", self._state.draining)
        about = "Requests that go on, for what they use, although their clients have left"
        yield GaugeMetricFamily("meter_drains_in_flight", about, self._state.drains)
        yield self._label_overflow()

    def _requests_in_flight(self) -> Metric:
        # A pair that was there once stays, at 0: a gauge that vanishes leaves its last value on the screen.
        self._in_flight = dict.fromkeys(self._in_flight, 0) | dict(self._state.in_flight)
        gauge = GaugeMetricFamily(
            "meter_requests_in_flight", "Requests under way", labels=("upstream", "operation")
        )
        for pair, count in self._in_flight.items():
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


class _Timeless:
    """The registry without `_created` series; the library's switch for them is one for the whole process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


_FORMATS = frozenset(
    {
        ("application/openmetrics-text", ""),
        ("application/openmetrics-text", "1.0.0"),
        ("text/plain", ""),
        ("text/plain", "0.0.4"),
        ("text/plain", "1.0.0"),
    }
)


def _preferred(accept: str) -> str:
    """Give the one media range of an `Accept` header to answer; empty where any will do.

    The library takes the first range that it knows, whatever its weight, and says any version back.
    """
    weighed = [(_weight(parameters), kind, parameters) for kind, parameters in _media_ranges(accept)]
    for weight, kind, parameters in sorted(weighed, key=lambda each: -each[0]):
        if weight > 0 and (kind, parameters.get("version", "")) in _FORMATS:
            return ";".join([kind, *[f"{name}={value}" for name, value in parameters.items() if name != "q"]])
    return ""


def _media_ranges(accept: str) -> Iterator[tuple[str, dict[str, str]]]:
    for text in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in text.split(";"))
        split = (parameter.partition("=") for parameter in parameters)
        yield kind, {name.strip(): value.strip() for name, _, value in split}


def _weight(parameters: dict[str, str]) -> float:
    try:
        return float(parameters.get("q", "1"))
    except ValueError:
        return 0.0
