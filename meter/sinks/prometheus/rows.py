"""The table of metrics that count exchanges, each row with the reading that fills it.

A row says what a metric is called, which labels it has and what one exchange adds to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

from meter.exchange import COUNTED, Outcome, PriceStatus
from meter.labels import OTHER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from decimal import Decimal
    from typing import TypeAlias

    from meter.exchange import Exchange, RateLimit

    Series: TypeAlias = Counter | Gauge | Histogram
    # What one exchange adds: values of the row's own labels, after those of the exchange, and an amount.
    Reading: TypeAlias = Iterable[tuple[tuple[str, ...], float]]

__all__ = ["REASONS", "ROWS", "Row", "fine_histogram"]

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
_MISMATCH = 100  # one part in so many


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric: `make` gives it its type, and `id` among its labels stands for all that an exchange has."""

    name: str
    make: Callable[..., Series]
    labels: tuple[str, ...]
    about: str
    read: Callable[[Exchange], Reading]
    exemplar: bool = False


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
    if x.usage is None or x.usage_source not in COUNTED:
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
fine_histogram = partial(Histogram, buckets=_FINE_SECONDS)

ROWS = (
    Row(
        name="meter_requests_total",
        make=Counter,
        labels=("id", "code", "outcome", "stream"),
        about="Requests by the status that reached the client (0 if none) and by how they ended",
        read=_requests,
        exemplar=True,
    ),
    Row(
        name="meter_request_duration_seconds",
        make=_histogram,
        labels=("id", "stream"),
        about="From the request's first byte to the answer's last",
        read=_duration,
        exemplar=True,
    ),
    Row(
        name="meter_time_to_first_token_seconds",
        make=_histogram,
        labels=("id",),
        about="Streams: from the request's first byte to the first event that carries content",
        read=_first_token,
        exemplar=True,
    ),
    Row(
        name="meter_time_per_output_token_seconds",
        make=fine_histogram,
        labels=("id",),
        about="Streams: from the first content to the last, by output tokens after the first",
        read=_per_output_token,
    ),
    Row(
        name="meter_stream_stall_seconds",
        make=_histogram,
        labels=("id",),
        about="Streams: the longest pause between two events with content",
        read=_stall,
    ),
    Row(
        name="meter_overhead_seconds",
        make=fine_histogram,
        labels=("upstream", "phase"),
        about="Time spent in Meter itself, before the upstream was asked and after it had answered",
        read=_overhead,
    ),
    Row(
        name="meter_tokens_total",
        make=Counter,
        labels=("id", "kind", "usage_source"),
        about="Tokens by kind; kinds do not overlap",
        read=_tokens,
    ),
    Row(
        name="meter_units_total",
        make=Counter,
        labels=("id", "unit"),
        about="What is charged for but is not a token",
        read=_units,
    ),
    Row(
        name="meter_cost_usd_total",
        make=Counter,
        labels=("id", "usage_source", "price_status"),
        about="Cost in USD, where it is known",
        read=_cost,
        exemplar=True,
    ),
    Row(
        name="meter_cache_savings_usd_total",
        make=Counter,
        labels=("id",),
        about="What cached input would have cost as plain input, less what it did, in USD",
        read=_savings,
    ),
    Row(
        name="meter_accounting_total",
        make=Counter,
        labels=("upstream", "operation", "model", "usage_source", "price_status"),
        about="Every request once, by how sure its usage and its cost are",
        read=_accounting,
    ),
    Row(
        name="meter_unpriced_tokens_total",
        make=Counter,
        labels=("id",),
        about="Tokens of requests whose price is not known",
        read=_unpriced,
    ),
    Row(
        name="meter_errors_total",
        make=Counter,
        labels=("id", "error_type"),
        about="Requests that did not end well, by what went wrong",
        read=_errors,
    ),
    Row(
        name="meter_finish_reasons_total",
        make=Counter,
        labels=("id", "reason"),
        about="Why models stopped, one for each choice",
        read=_finish_reasons,
    ),
    Row(
        name="meter_ratelimit_remaining",
        make=Gauge,
        labels=("upstream", "model", "key", "resource"),
        about="What an upstream last said is left of a limit",
        read=partial(_limits, lambda limit: limit.remaining),
    ),
    Row(
        name="meter_ratelimit_limit",
        make=Gauge,
        labels=("upstream", "model", "key", "resource"),
        about="What an upstream last said that a limit is",
        read=partial(_limits, lambda limit: limit.limit),
    ),
    Row(
        name="meter_ratelimit_reset_seconds",
        make=Gauge,
        labels=("upstream", "model", "key", "resource"),
        about="How long an upstream last said it takes until a limit is whole again",
        read=partial(_limits, lambda limit: limit.reset_seconds),
    ),
    Row(
        name="meter_usage_requests_rewritten_total",
        make=Counter,
        labels=("upstream",),
        about="Requests in which usage was asked for on the client's behalf",
        read=_asked,
    ),
    Row(
        name="meter_usage_requests_refused_total",
        make=Counter,
        labels=("upstream",),
        about="Requests sent again as the client wrote them: the upstream refused to be asked for usage",
        read=_refused,
    ),
    Row(
        name="meter_cost_mismatch_total",
        make=Counter,
        labels=("upstream", "model"),
        about="Requests for which the upstream's own cost and the computed one differ by over 1 %",
        read=_mismatch,
    ),
)
