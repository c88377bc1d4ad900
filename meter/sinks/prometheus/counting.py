"""What one exchange adds, and to which series.

A series is asked for by its metric and by the labels that it has besides those of the exchange. Nothing is
asked for of what an exchange does not know, for a series that was asked for shows from then on, be it at 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meter.exchange import COUNTED, Outcome, PriceStatus
from meter.labels import OTHER

if TYPE_CHECKING:
    from decimal import Decimal

    from meter.exchange import Exchange, RateLimit
    from meter.sinks.prometheus.series import Mark, SeriesOf

__all__ = ["REASONS", "count"]

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

_CODES: dict[int | None, str] = {status: str(status) for status in range(100, 600)}
_MISMATCH = 100  # one part in so many


def count(x: Exchange, of: SeriesOf, mark: Mark | None) -> None:
    """Add an exchange to the series of its labels; `mark` is what an exemplar of it says."""
    streamed = x.stream and (x.status is None or x.status < 400)  # noqa: PLR2004  where HTTP's errors begin
    stream = "true" if streamed else "false"
    of["meter_requests_total", _CODES.get(x.status, "0"), x.outcome, stream].add(1, mark)
    of["meter_request_duration_seconds", stream].observe(x.duration_s, mark)
    if streamed:
        _count_pace(x, of, mark)
    if x.overhead_request_s is not None:
        of["meter_overhead_seconds", "request"].observe(x.overhead_request_s)
    if x.overhead_response_s is not None:
        of["meter_overhead_seconds", "response"].observe(x.overhead_response_s)
    _count_use(x, of)
    _count_cost(x, of, mark)
    _count_end(x, of)
    for limit in x.rate_limits:
        _show_limit(limit, of)
    _count_oddities(x, of)


def _count_pace(x: Exchange, of: SeriesOf, mark: Mark | None) -> None:
    if x.ttft_s is not None:
        of["meter_time_to_first_token_seconds",].observe(x.ttft_s, mark)
        if x.last_content_s is not None and x.usage is not None:
            # Reasoning that nobody saw took its time before the first content.
            unseen = 0 if x.reasoning_streamed else x.usage.get("output_reasoning", 0)
            gaps = (x.output_tokens or 0) - unseen - 1
            if gaps > 0:
                of["meter_time_per_output_token_seconds",].observe((x.last_content_s - x.ttft_s) / gaps)
    if x.stall_s is not None:
        of["meter_stream_stall_seconds",].observe(x.stall_s)


def _count_use(x: Exchange, of: SeriesOf) -> None:
    if x.usage is not None and x.usage_source in COUNTED:
        for kind, tokens in x.usage.items():
            of["meter_tokens_total", kind, x.usage_source].add(tokens)
    for unit, amount in x.units.items():
        of["meter_units_total", unit].add(amount)


def _count_cost(x: Exchange, of: SeriesOf, mark: Mark | None) -> None:
    if x.cost_usd is not None:
        of["meter_cost_usd_total", x.usage_source, x.price_status].add(float(x.cost_usd), mark)
    saved = x.cache_savings_usd
    # A counter cannot fall: where reading a cache costs more than not having one, nothing was saved.
    if saved is not None and saved >= 0:
        of["meter_cache_savings_usd_total",].add(float(saved))
    of["meter_accounting_total", x.usage_source, x.price_status].value += 1
    if x.price_status is PriceStatus.MISSING and x.usage is not None:
        of["meter_unpriced_tokens_total",].add(sum(x.usage.values()))


def _count_end(x: Exchange, of: SeriesOf) -> None:
    if x.outcome is not Outcome.OK:
        of["meter_errors_total", x.error_type or x.outcome].value += 1
    for reason in x.finish_reasons:
        of["meter_finish_reasons_total", reason if reason in REASONS else OTHER].value += 1


def _show_limit(limit: RateLimit, of: SeriesOf) -> None:
    if limit.remaining is not None:
        of["meter_ratelimit_remaining", limit.resource].value = float(limit.remaining)
    if limit.limit is not None:
        of["meter_ratelimit_limit", limit.resource].value = float(limit.limit)
    if limit.reset_seconds is not None:
        of["meter_ratelimit_reset_seconds", limit.resource].value = float(limit.reset_seconds)


def _count_oddities(x: Exchange, of: SeriesOf) -> None:
    if x.usage_asked:
        of["meter_usage_requests_rewritten_total",].value += 1
    if x.usage_refused:
        of["meter_usage_requests_refused_total",].value += 1
    if x.provider_cost_usd is not None and x.computed_cost_usd is not None:
        # Agreement counts 0, so that the series is there before the first quarrel.
        of["meter_cost_mismatch_total",].add(_differ(x.provider_cost_usd, x.computed_cost_usd))


def _differ(told: Decimal, computed: Decimal) -> bool:
    return abs(told - computed) * _MISMATCH > abs(told)
