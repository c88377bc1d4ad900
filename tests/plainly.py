"""Exchanges counted by prometheus-client's own metrics, one after the other, and written by it.

What the Prometheus sink does in a quicker way has to come to the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.exposition import choose_encoder

from meter.exchange import COUNTED, Outcome, PriceStatus
from meter.labels import OTHER
from meter.sinks.prometheus.counting import REASONS
from meter.sinks.prometheus.exposition import Timeless
from meter.sinks.prometheus.rows import ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from decimal import Decimal
    from typing import TypeAlias

    from meter.exchange import Exchange
    from meter.labels import Admission
    from meter.sinks.prometheus.rows import Row

    # Values of a metric's own labels, after those of the exchange, and an amount.
    Reading: TypeAlias = Iterable[tuple[tuple[str, ...], float]]

__all__ = ["Plainly"]

_MARKED = frozenset(
    {
        "meter_requests_total",
        "meter_request_duration_seconds",
        "meter_time_to_first_token_seconds",
        "meter_cost_usd_total",
    }
)
"""Those that have exemplars."""


class Plainly:
    """Metrics of the library, one for each row of the table."""

    def __init__(self, admission: Admission, upstreams: Iterable[str]) -> None:
        self._admission = admission
        self._registry = CollectorRegistry()
        self._metrics = {row.name: row.plain(self._names(row)) for row in ROWS}
        for row in ROWS:
            self._registry.register(self._metrics[row.name])
            if row.make is Counter and row.labels == ("upstream",):
                for upstream in upstreams:
                    self._metrics[row.name].labels(upstream)

    def __call__(self, exchange: Exchange) -> None:
        """Count one exchange."""
        ids = dict(zip(self._admission.names, self._admission.id_labels(exchange), strict=True))
        trace_id = exchange.trace_id
        exemplar = {"trace_id": trace_id, "id": exchange.id} if trace_id and len(trace_id) == 32 else None
        for row in ROWS:
            names = self._names(row)
            of_exchange = [ids[name] for name in names if name in ids]
            for own, amount in _READINGS[row.name](exchange):
                series = self._metrics[row.name].labels(*of_exchange, *own)
                if isinstance(series, Counter):
                    series.inc(amount, exemplar if row.name in _MARKED else None)
                elif isinstance(series, Gauge):
                    series.set(amount)
                else:
                    series.observe(amount, exemplar if row.name in _MARKED else None)

    def render(self, accept: str) -> bytes:
        """Give a scrape's body, less the end that OpenMetrics has."""
        encode, _ = choose_encoder(accept)
        return encode(Timeless(self._registry)).removesuffix(b"# EOF\n")

    def _names(self, row: Row) -> tuple[str, ...]:
        return tuple(
            n for label in row.labels for n in (self._admission.names if label == "id" else (label,))
        )


def _told(own: str, amount: float | None) -> Reading:
    return [((own,), amount)] if amount is not None else []


def _limits(x: Exchange, fact: str) -> Reading:
    return [told for limit in x.rate_limits for told in _told(limit.resource, getattr(limit, fact))]


def _streamed(x: Exchange) -> bool:
    return x.stream and (x.status is None or x.status < 400)


def _stream(x: Exchange) -> str:
    return "true" if _streamed(x) else "false"


def _code(x: Exchange) -> str:
    return str(x.status) if x.status is not None and 100 <= x.status < 600 else "0"


def _alone(amount: float | Decimal | None, *, where: bool = True) -> Reading:
    return [((), float(amount))] if amount is not None and where else []


def _savings(x: Exchange) -> Reading:
    saved = x.cache_savings_usd
    return _alone(saved, where=saved is not None and saved >= 0)


def _mismatch(x: Exchange) -> Reading:
    told, own = x.provider_cost_usd, x.computed_cost_usd
    return _alone(abs(told - own) * 100 > abs(told)) if told is not None and own is not None else []


def _per_output_token(x: Exchange) -> Reading:
    if x.ttft_s is None or x.last_content_s is None or x.usage is None or not _streamed(x):
        return []
    unseen = 0 if x.reasoning_streamed else x.usage.get("output_reasoning", 0)
    gaps = (x.output_tokens or 0) - unseen - 1
    return _alone((x.last_content_s - x.ttft_s) / gaps) if gaps > 0 else []


_READINGS: dict[str, Callable[[Exchange], Reading]] = {
    "meter_requests_total": lambda x: [((_code(x), x.outcome, _stream(x)), 1)],
    "meter_request_duration_seconds": lambda x: [((_stream(x),), x.duration_s)],
    "meter_time_to_first_token_seconds": lambda x: _alone(x.ttft_s, where=_streamed(x)),
    "meter_time_per_output_token_seconds": _per_output_token,
    "meter_stream_stall_seconds": lambda x: _alone(x.stall_s, where=_streamed(x)),
    "meter_overhead_seconds": lambda x: [
        *_told("request", x.overhead_request_s),
        *_told("response", x.overhead_response_s),
    ],
    "meter_tokens_total": lambda x: [
        ((kind, x.usage_source), count)
        for kind, count in (x.usage or {}).items()
        if x.usage_source in COUNTED
    ],
    "meter_units_total": lambda x: [((unit,), amount) for unit, amount in x.units.items()],
    "meter_cost_usd_total": lambda x: [
        ((x.usage_source, x.price_status), cost) for _, cost in _alone(x.cost_usd)
    ],
    "meter_cache_savings_usd_total": _savings,
    "meter_accounting_total": lambda x: [((x.usage_source, x.price_status), 1)],
    "meter_unpriced_tokens_total": lambda x: _alone(
        sum((x.usage or {}).values()), where=x.usage is not None and x.price_status is PriceStatus.MISSING
    ),
    "meter_errors_total": lambda x: (
        [((x.error_type or x.outcome,), 1)] if x.outcome is not Outcome.OK else []
    ),
    "meter_finish_reasons_total": lambda x: [
        ((reason if reason in REASONS else OTHER,), 1) for reason in x.finish_reasons
    ],
    "meter_ratelimit_remaining": lambda x: _limits(x, "remaining"),
    "meter_ratelimit_limit": lambda x: _limits(x, "limit"),
    "meter_ratelimit_reset_seconds": lambda x: _limits(x, "reset_seconds"),
    "meter_usage_requests_rewritten_total": lambda x: _alone(1, where=x.usage_asked),
    "meter_usage_requests_refused_total": lambda x: _alone(1, where=x.usage_refused),
    "meter_cost_mismatch_total": _mismatch,
}
