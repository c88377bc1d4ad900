"""Every selector of the dashboards, each written once.

A series knows the labels that a dashboard's variables can narrow it by; `where` narrows it for good. `$tag`
holds the *name* of a label, since which tags are labels is a setting: where Meter has no such label, `.*`
matches its absence too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Series"]

_FILTERS = {
    "job": 'job=~"$job"',
    "instance": 'instance=~"$instance"',
    "upstream": 'upstream=~"$upstream"',
    "model": 'model=~"$model"',
    "key": 'key=~"$key"',
    "tag": '${tag}=~"$tag_value"',
}


@dataclass(frozen=True, slots=True)
class Series:
    """A metric, or a part of one, as PromQL selects it."""

    name: str
    by: tuple[str, ...]
    """The variables that narrow it."""
    fixed: str = ""

    def __str__(self) -> str:
        return (
            f"{self.name}{{{','.join([*(_FILTERS[name] for name in self.by), *filter(None, [self.fixed])])}}}"
        )

    def where(self, fixed: str) -> Series:
        """Return the part of it that a matcher selects."""
        return replace(self, fixed=fixed)

    def narrowed(self, *by: str) -> Series:
        """Return it narrowed by these variables alone."""
        return replace(self, by=by)

    def part(self, suffix: str) -> Series:
        """Return the series of a histogram: its `bucket`, `sum` or `count`."""
        return replace(self, name=f"{self.name}_{suffix}")


_ID = ("job", "upstream", "model", "key", "tag")
_MODEL = ("job", "upstream", "model")
_LIMIT = ("job", "upstream", "model", "key")
_UPSTREAM = ("job", "upstream")
_JOB = ("job",)
_INSTANCE = ("job", "instance")

REQUESTS = Series("meter_requests_total", _ID)
FAILED = REQUESTS.where('outcome!~"ok|client_closed"')
CLIENT_CLOSED = REQUESTS.where('outcome="client_closed"')
TRUNCATED = REQUESTS.where('outcome="truncated"')
REJECTED = REQUESTS.where('outcome="rejected"')
LIMITED = REQUESTS.where('code="429"')

DURATION = Series("meter_request_duration_seconds", _ID)
STREAMED = DURATION.where('stream="true"')
WHOLE = DURATION.where('stream="false"')
FIRST_TOKEN = Series("meter_time_to_first_token_seconds", _ID)
PER_TOKEN = Series("meter_time_per_output_token_seconds", _ID)
STALL = Series("meter_stream_stall_seconds", _ID)
OVERHEAD = Series("meter_overhead_seconds", _UPSTREAM)

TOKENS = Series("meter_tokens_total", _ID)
INPUT = TOKENS.where('kind=~"input.*"')
CACHED = TOKENS.where('kind=~"input_cached.*"')
OUTPUT = TOKENS.where('kind=~"output.*"')
UNPRICED = Series("meter_unpriced_tokens_total", _ID)
UNITS = Series("meter_units_total", _ID)
COST = Series("meter_cost_usd_total", _ID)
ESTIMATED_COST = COST.where('usage_source="estimated"')
SAVINGS = Series("meter_cache_savings_usd_total", _ID)
MISMATCHES = Series("meter_cost_mismatch_total", _MODEL)
ACCOUNTING = Series("meter_accounting_total", _MODEL)
COUNTED = ACCOUNTING.where('usage_source!="none"')
UNSURE = ACCOUNTING.where('usage_source=~"estimated|missing"')
TO_PRICE = ACCOUNTING.where('price_status!="none"')
PRICELESS = ACCOUNTING.where('price_status="missing"')
BUDGET = Series("meter_budget_usd", _JOB)
BUDGET_SPENT = Series("meter_budget_spent_usd", _JOB)

ERRORS = Series("meter_errors_total", _ID)
FINISHED = Series("meter_finish_reasons_total", _ID)
CUT_SHORT = FINISHED.where('reason=~"length|max_tokens|MAX_TOKENS|max_output_tokens"')
LEFT = Series("meter_ratelimit_remaining", _LIMIT)
LIMIT = Series("meter_ratelimit_limit", _LIMIT)
RESET = Series("meter_ratelimit_reset_seconds", _LIMIT)
ASKED = Series("meter_usage_requests_rewritten_total", _UPSTREAM)
REFUSED = Series("meter_usage_requests_refused_total", _UPSTREAM)
UPSTREAM_UP = Series("meter_upstream_up", _UPSTREAM)
IN_FLIGHT = Series("meter_requests_in_flight", _UPSTREAM)

BUILD = Series("meter_build_info", _INSTANCE)
INSTANCE_IN_FLIGHT = IN_FLIGHT.narrowed(*_INSTANCE)
INSTANCE_OVERHEAD = OVERHEAD.narrowed(*_INSTANCE)
DRAINING = Series("meter_draining", _INSTANCE)
DRAINS = Series("meter_drains_in_flight", _INSTANCE)
LAG = Series("meter_event_loop_lag_seconds", _INSTANCE)
SINK_ERRORS = Series("meter_sink_errors_total", _INSTANCE)
SINK_DROPPED = Series("meter_sink_dropped_total", _INSTANCE)
LEDGER_ERRORS = SINK_ERRORS.where('sink="ledger"')
LEDGER_DROPPED = SINK_DROPPED.where('sink="ledger"')
OVERFLOW = Series("meter_label_overflow_total", _INSTANCE)
RELOADED = Series("meter_config_reload_success", _INSTANCE)
CATALOGUE = Series("meter_price_catalogue_info", _INSTANCE)
CATALOGUE_TIME = Series("meter_price_catalogue_timestamp_seconds", _INSTANCE)
RESTARTS = Series("meter_worker_restarts_total", _INSTANCE)
MEMORY = Series("process_resident_memory_bytes", _INSTANCE)
CPU = Series("process_cpu_seconds_total", _INSTANCE)
OPEN_FILES = Series("process_open_fds", _INSTANCE)
MOST_FILES = Series("process_max_fds", _INSTANCE)
STARTED = Series("process_start_time_seconds", _INSTANCE)
