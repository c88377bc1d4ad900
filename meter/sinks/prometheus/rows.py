"""The table of metrics that count exchanges: what each is called, of which type, and which labels it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FINE_SECONDS", "ROWS", "Row"]

_SECONDS = tuple(0.01 * 2**n for n in range(18))
FINE_SECONDS = tuple(0.0001 * 2**n for n in range(24))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric; `id` among its labels stands for all that an exchange has. A histogram has `bounds`."""

    name: str
    make: Callable[..., Counter | Gauge | Histogram]
    labels: tuple[str, ...]
    about: str
    bounds: tuple[float, ...] = ()

    def plain(self, names: tuple[str, ...]) -> Counter | Gauge | Histogram:
        """Make the library's own metric of it, with these labels."""
        buckets = {"buckets": self.bounds} if self.bounds else {}
        return self.make(self.name, self.about, names, registry=None, **buckets)


ROWS = (
    Row(
        name="meter_requests_total",
        make=Counter,
        labels=("id", "code", "outcome", "stream"),
        about="Requests by the status that reached the client (0 if none) and by how they ended",
    ),
    Row(
        name="meter_request_duration_seconds",
        make=Histogram,
        labels=("id", "stream"),
        about="From the request's first byte to the answer's last",
        bounds=_SECONDS,
    ),
    Row(
        name="meter_time_to_first_token_seconds",
        make=Histogram,
        labels=("id",),
        about="Streams: from the request's first byte to the first event that carries content",
        bounds=_SECONDS,
    ),
    Row(
        name="meter_time_per_output_token_seconds",
        make=Histogram,
        labels=("id",),
        about="Streams: from the first content to the last, by output tokens after the first",
        bounds=FINE_SECONDS,
    ),
    Row(
        name="meter_stream_stall_seconds",
        make=Histogram,
        labels=("id",),
        about="Streams: the longest pause between two events with content",
        bounds=_SECONDS,
    ),
    Row(
        name="meter_overhead_seconds",
        make=Histogram,
        labels=("upstream", "phase"),
        about="Time spent in Meter itself, before the upstream was asked and after it had answered",
        bounds=FINE_SECONDS,
    ),
    Row(
        name="meter_tokens_total",
        make=Counter,
        labels=("id", "kind", "usage_source"),
        about="Tokens by kind; kinds do not overlap",
    ),
    Row(
        name="meter_units_total",
        make=Counter,
        labels=("id", "unit"),
        about="What is charged for but is not a token",
    ),
    Row(
        name="meter_cost_usd_total",
        make=Counter,
        labels=("id", "usage_source", "price_status"),
        about="Cost in USD, where it is known",
    ),
    Row(
        name="meter_cache_savings_usd_total",
        make=Counter,
        labels=("id",),
        about="What cached input would have cost as plain input, less what it did, in USD",
    ),
    Row(
        name="meter_accounting_total",
        make=Counter,
        labels=("upstream", "operation", "model", "usage_source", "price_status"),
        about="Every request once, by how sure its usage and its cost are",
    ),
    Row(
        name="meter_unpriced_tokens_total",
        make=Counter,
        labels=("id",),
        about="Tokens of requests whose price is not known",
    ),
    Row(
        name="meter_errors_total",
        make=Counter,
        labels=("id", "error_type"),
        about="Requests that did not end well, by what went wrong",
    ),
    Row(
        name="meter_finish_reasons_total",
        make=Counter,
        labels=("id", "reason"),
        about="Why models stopped, one for each choice",
    ),
    Row(
        name="meter_ratelimit_remaining",
        make=Gauge,
        labels=("upstream", "model", "key", "resource"),
        about="What an upstream last said is left of a limit",
    ),
    Row(
        name="meter_ratelimit_limit",
        make=Gauge,
        labels=("upstream", "model", "key", "resource"),
        about="What an upstream last said that a limit is",
    ),
    Row(
        name="meter_ratelimit_reset_seconds",
        make=Gauge,
        labels=("upstream", "model", "key", "resource"),
        about="How long an upstream last said it takes until a limit is whole again",
    ),
    Row(
        name="meter_usage_requests_rewritten_total",
        make=Counter,
        labels=("upstream",),
        about="Requests in which usage was asked for on the client's behalf",
    ),
    Row(
        name="meter_usage_requests_refused_total",
        make=Counter,
        labels=("upstream",),
        about="Requests sent again as the client wrote them: the upstream refused to be asked for usage",
    ),
    Row(
        name="meter_cost_mismatch_total",
        make=Counter,
        labels=("upstream", "model"),
        about="Requests for which the upstream's own cost and the computed one differ by over 1 %",
    ),
)
