"""The Prometheus sink: the table that users see, what exchanges add to it, and both formats."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass, field
from decimal import Decimal
from threading import Thread
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plainly import Plainly
from prometheus_client import generate_latest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from meter.budget import Budgets
from meter.exchange import KINDS, UNITS, Exchange, Outcome, PriceStatus, RateLimit, UsageSource
from meter.labels import OTHER, Admission
from meter.settings import Budget
from meter.sinks import Sinks
from meter.sinks.prometheus import REASONS, Catalogue, PrometheusSink
from meter.sinks.prometheus.rows import ROWS
from meter.sinks.prometheus.series import Family

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client.core import Metric, Sample

parse_openmetrics: Callable[[str], Iterable[Metric]] = openmetrics.text_string_to_metric_families

OPENMETRICS = "application/openmetrics-text;version=1.0.0"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
ID = {"upstream": "openai", "operation": "chat", "model": "gpt-4o", "key": "search"}
UP_MODEL = {"upstream": "openai", "model": "gpt-4o"}


@dataclass(frozen=True)
class Limits:
    """Room in abundance, unless a test says otherwise."""

    model: int = 200
    key: int = 200
    tag: int = 100
    id_sets: int = 1000


@dataclass
class Live:
    """A state that tests can change."""

    in_flight: dict[tuple[str, str], int] = field(default_factory=dict)
    upstream_up: dict[str, bool] = field(default_factory=dict)
    draining: bool = False
    drains: int = 0


def exchange(**facts: Any) -> Exchange:
    """Make a good streamed chat exchange, with some facts changed."""
    good = {
        "id": "0197",
        "started_at": 1_767_225_600.0,
        "method": "POST",
        "path": "/v1/chat/completions",
        "outcome": Outcome.OK,
        "status": 200,
        "stream": True,
        "duration_s": 1.5,
        **ID,
    }
    return Exchange(**{**good, **facts})


def everything() -> Exchange:
    """Make an exchange of which everything is known."""
    return exchange(
        trace_id=TRACE_ID,
        finish_reasons=("stop",),
        usage={"input": 10, "input_cached": 5, "output": 11, "output_reasoning": 0},
        units={"images": 2},
        usage_source=UsageSource.REPORTED,
        usage_asked=True,
        usage_refused=True,
        cost_usd=Decimal("0.25"),
        provider_cost_usd=Decimal("0.25"),
        computed_cost_usd=Decimal("0.24"),
        cache_savings_usd=Decimal("0.125"),
        price_status=PriceStatus.PROVIDER,
        ttft_s=0.5,
        last_content_s=1.25,
        stall_s=0.2,
        overhead_request_s=0.001,
        overhead_response_s=0.002,
        rate_limits=(RateLimit(resource="tokens", limit=100, remaining=40, reset_seconds=6),),
    )


def sink(*, label_names: Iterable[str] = (), state: Live | None = None, **facts: Any) -> PrometheusSink:
    """Make a sink with abundant room."""
    limits = facts.pop("limits", Limits())
    admission = Admission(label_names=label_names, limits=limits)
    return PrometheusSink(**{"admission": admission, "state": state or Live(), "version": "1.2.3", **facts})


def scraped(prometheus: PrometheusSink) -> dict[str, Metric]:
    """Scrape as text and parse it back."""
    text = prometheus.render()[0].decode()
    return {metric.name: metric for metric in parse_text(text)}


def samples(prometheus: PrometheusSink, name: str) -> list[tuple[dict[str, str], float]]:
    """Give the labels and values of all series of a name."""
    families = scraped(prometheus).values()
    return [(s.labels, s.value) for metric in families for s in metric.samples if s.name == name]


def told(name: str, *exchanges: Exchange) -> list[tuple[dict[str, str], float]]:
    """Tell a fresh sink of exchanges, and give the series of a name."""
    prometheus = sink()
    for each in exchanges:
        prometheus(each)
    return samples(prometheus, name)


TABLE = {
    "meter_requests_total": ("counter", "id code outcome stream"),
    "meter_request_duration_seconds": ("histogram", "id stream"),
    "meter_time_to_first_token_seconds": ("histogram", "id"),
    "meter_time_per_output_token_seconds": ("histogram", "id"),
    "meter_stream_stall_seconds": ("histogram", "id"),
    "meter_overhead_seconds": ("histogram", "upstream phase"),
    "meter_tokens_total": ("counter", "id kind usage_source"),
    "meter_units_total": ("counter", "id unit"),
    "meter_cost_usd_total": ("counter", "id usage_source price_status"),
    "meter_cache_savings_usd_total": ("counter", "id"),
    "meter_accounting_total": ("counter", "upstream operation model usage_source price_status"),
    "meter_unpriced_tokens_total": ("counter", "id"),
    "meter_errors_total": ("counter", "id error_type"),
    "meter_finish_reasons_total": ("counter", "id reason"),
    "meter_requests_in_flight": ("gauge", "upstream operation"),
    "meter_ratelimit_remaining": ("gauge", "upstream model key resource"),
    "meter_ratelimit_limit": ("gauge", "upstream model key resource"),
    "meter_ratelimit_reset_seconds": ("gauge", "upstream model key resource"),
    "meter_usage_requests_rewritten_total": ("counter", "upstream"),
    "meter_usage_requests_refused_total": ("counter", "upstream"),
    "meter_cost_mismatch_total": ("counter", "upstream model"),
    "meter_budget_usd": ("gauge", "budget period"),
    "meter_budget_spent_usd": ("gauge", "budget period"),
    "meter_label_overflow_total": ("counter", "label"),
    "meter_sink_errors_total": ("counter", "sink"),
    "meter_sink_dropped_total": ("counter", "sink"),
    "meter_upstream_up": ("gauge", "upstream"),
    "meter_event_loop_lag_seconds": ("histogram", ""),
    "meter_worker_restarts_total": ("counter", ""),
    "meter_draining": ("gauge", ""),
    "meter_drains_in_flight": ("gauge", ""),
    "meter_price_catalogue_timestamp_seconds": ("gauge", ""),
    "meter_price_catalogue_info": ("gauge", "source revision"),
    "meter_build_info": ("gauge", "version python"),
    "meter_config_reload_success": ("gauge", ""),
}
"""All metrics of Meter's own: name, type and labels, where `id` stands for the labels of every exchange."""

DURATIONS = (
    "0.01 0.02 0.04 0.08 0.16 0.32 0.64 1.28 2.56 5.12 10.24 20.48 40.96 81.92 163.84 327.68 655.36 "
    "1310.72 +Inf"
)
FINE = (
    "0.0001 0.0002 0.0004 0.0008 0.0016 0.0032 0.0064 0.0128 0.0256 0.0512 0.1024 0.2048 0.4096 0.8192 "
    "1.6384 3.2768 6.5536 13.1072 26.2144 52.4288 104.8576 209.7152 419.4304 838.8608 +Inf"
)
BUCKETS = {
    "meter_request_duration_seconds": DURATIONS,
    "meter_time_to_first_token_seconds": DURATIONS,
    "meter_time_per_output_token_seconds": FINE,
    "meter_stream_stall_seconds": DURATIONS,
    "meter_overhead_seconds": FINE,
    "meter_event_loop_lag_seconds": FINE,
}


def full_scrape() -> dict[str, Metric]:
    """Scrape a sink in which every metric has a series."""
    prometheus = sink(
        label_names=["team"],
        state=Live(in_flight={("openai", "chat"): 1}),
        upstreams=["openai"],
        sinks=["log"],
        catalogue=Catalogue(source="genai-prices", revision="0.2.3", timestamp=1_767_225_600.0),
        budgets=Budgets([Budget(name="everybody", usd=Decimal(500))]),
    )
    prometheus(everything())
    prometheus(
        exchange(
            outcome=Outcome.TRUNCATED,
            error_type="truncated",
            usage={"input": 1},
            price_status=PriceStatus.MISSING,
        )
    )
    return scraped(prometheus)


def public_name(metric: Metric) -> str:
    """Give the name that a metric's TYPE line has in the text format."""
    return metric.name + "_total" if metric.type == "counter" else metric.name


def labels_of(found: Iterable[Sample]) -> set[str]:
    """Give the label names of samples, which must all agree."""
    names = {frozenset(sample.labels) - {"le"} for sample in found}
    assert len(names) == 1
    return set(*names)


def test_the_table_of_metrics() -> None:
    """Names, types and labels are those that users were promised, no more and no fewer."""
    id_labels = "upstream operation model key team"
    expected = {
        name: (kind, set(labels.replace("id", id_labels, labels.startswith("id")).split()))
        for name, (kind, labels) in TABLE.items()
    }
    found = {
        public_name(metric): (metric.type, labels_of(metric.samples))
        for metric in full_scrape().values()
        if not metric.name.startswith("process_")
    }

    assert found == expected


def test_the_buckets() -> None:
    """Durations have 18 bounds from 10 ms on, fine ones 24 from 0.1 ms on, each twice the last."""
    found = {}
    for name, metric in full_scrape().items():
        if metric.type == "histogram":
            bounds = dict.fromkeys(s.labels["le"] for s in metric.samples if s.name.endswith("_bucket"))
            found[name] = " ".join(bounds)

    assert found == BUCKETS


def test_the_process_is_there_too() -> None:
    """Memory, CPU and start time of the process come with every scrape."""
    names = set(scraped(sink()))

    assert names >= {"process_resident_memory_bytes", "process_cpu_seconds", "process_start_time_seconds"}


def test_id_labels_come_first_and_in_order() -> None:
    """Series of an exchange carry upstream, operation, model, key and the tags with their own values."""
    prometheus = sink(label_names=["team"])
    prometheus(exchange(tags={"team": "red", "user": "u1"}))

    assert samples(prometheus, "meter_requests_total") == [
        ({**ID, "team": "red", "code": "200", "outcome": "ok", "stream": "true"}, 1)
    ]


@pytest.mark.parametrize(
    ("facts", "labels"),
    [
        ({"stream": False}, ("200", "ok", "false")),
        ({"status": None, "outcome": Outcome.UNREACHABLE}, ("0", "unreachable", "true")),
        ({"status": 429, "outcome": Outcome.CLIENT_ERROR}, ("429", "client_error", "false")),
        ({"status": 503, "outcome": Outcome.UPSTREAM_ERROR}, ("503", "upstream_error", "false")),
        ({"status": 999, "outcome": Outcome.CLIENT_ERROR}, ("0", "client_error", "false")),
    ],
)
def test_requests_by_code_outcome_and_stream(facts: dict[str, Any], labels: tuple[str, ...]) -> None:
    """The code is `0` where none reached the client, and an error never counts as a stream."""
    prometheus = sink()
    prometheus(exchange())
    prometheus(exchange(**facts))
    last = samples(prometheus, "meter_requests_total")[-1][0]

    assert (last["code"], last["outcome"], last["stream"]) == labels


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("meter_request_duration_seconds_sum", 1.5),
        ("meter_time_to_first_token_seconds_sum", 0.5),
        ("meter_time_per_output_token_seconds_sum", 0.075),
        ("meter_stream_stall_seconds_sum", 0.2),
        ("meter_cost_usd_total", 0.25),
        ("meter_cache_savings_usd_total", 0.125),
        ("meter_accounting_total", 1),
        ("meter_finish_reasons_total", 1),
        ("meter_units_total", 2),
        ("meter_ratelimit_limit", 100),
        ("meter_ratelimit_remaining", 40),
        ("meter_ratelimit_reset_seconds", 6),
        ("meter_usage_requests_rewritten_total", 1),
        ("meter_usage_requests_refused_total", 1),
        ("meter_cost_mismatch_total", 1),
    ],
)
def test_each_exchange_adds_what_it_knows(name: str, value: float) -> None:
    """A fact of the exchange arrives in its metric as it is."""
    assert [found for _, found in told(name, everything())] == [value]


@pytest.mark.parametrize(
    "name",
    [
        "meter_time_to_first_token_seconds_count",
        "meter_time_per_output_token_seconds_count",
        "meter_stream_stall_seconds_count",
        "meter_overhead_seconds_count",
        "meter_tokens_total",
        "meter_units_total",
        "meter_cost_usd_total",
        "meter_cache_savings_usd_total",
        "meter_unpriced_tokens_total",
        "meter_errors_total",
        "meter_finish_reasons_total",
        "meter_ratelimit_limit",
        "meter_usage_requests_rewritten_total",
        "meter_cost_mismatch_total",
    ],
)
def test_what_is_unknown_adds_nothing(name: str) -> None:
    """No series is made for what an exchange does not know, not even at 0."""
    assert told(name, exchange()) == []


def test_both_phases_of_overhead() -> None:
    """What Meter took before the upstream and after it are told apart."""
    assert told("meter_overhead_seconds_sum", everything()) == [
        ({"upstream": "openai", "phase": "request"}, 0.001),
        ({"upstream": "openai", "phase": "response"}, 0.002),
    ]


@pytest.mark.parametrize(
    ("facts", "counts"),
    [
        ({}, [0.1]),
        ({"usage": {"output": 11, "output_reasoning": 20}}, [0.1]),
        ({"usage": {"output": 11, "output_reasoning": 10}, "reasoning_streamed": True}, [0.05]),
        ({"usage": {"output": 2}}, [1.0]),
        ({"usage": {"output": 1}}, []),
        ({"usage": {"output": 1, "output_reasoning": 50}}, []),
        ({"usage": {"output": 0}}, []),
        ({"usage": {"input": 5}}, []),
        ({"usage": None}, []),
        ({"stream": False}, []),
        ({"last_content_s": None}, []),
    ],
)
def test_time_per_output_token(facts: dict[str, Any], counts: list[float]) -> None:
    """The time between first and last content is shared by the tokens after the first, less unseen ones."""
    streamed = {"ttft_s": 0.5, "last_content_s": 1.5, "usage": {"output": 11}}
    found = told("meter_time_per_output_token_seconds_sum", exchange(**{**streamed, **facts}))

    assert [value for _, value in found] == counts


def test_tokens_by_kind() -> None:
    """Each kind that was told is a series, zeros included; a kind that was not told is none."""
    found = told("meter_tokens_total", everything(), everything())

    assert {labels["kind"]: value for labels, value in found} == {
        "input": 20,
        "input_cached": 10,
        "output": 22,
        "output_reasoning": 0,
    }
    assert {labels["usage_source"] for labels, _ in found} == {"reported"}


@pytest.mark.parametrize("source", [UsageSource.MISSING, UsageSource.NONE])
def test_counts_without_a_source_are_not_tokens(source: UsageSource) -> None:
    """Only reported and estimated counts are added up."""
    assert told("meter_tokens_total", exchange(usage={"input": 1}, usage_source=source)) == []


def test_accounting_takes_every_exchange_once() -> None:
    """Whatever is known of usage and cost, the exchange is accounted for, without its key."""
    known, unknown = everything(), exchange(usage_source=UsageSource.MISSING)

    assert told("meter_accounting_total", known, unknown, unknown) == [
        ({**UP_MODEL, "operation": "chat", "usage_source": "reported", "price_status": "provider"}, 1),
        ({**UP_MODEL, "operation": "chat", "usage_source": "missing", "price_status": "none"}, 2),
    ]


def test_unpriced_tokens_are_all_of_an_exchange_without_a_price() -> None:
    """Where any price is missing, every token of the exchange counts as unpriced."""
    unpriced = exchange(usage={"input": 10, "output": 5}, price_status=PriceStatus.MISSING)

    assert told("meter_unpriced_tokens_total", unpriced) == [(ID, 15)]


def test_errors_take_the_outcome_where_no_type_is_known() -> None:
    """Every exchange that did not end well is an error, by its type or else by its outcome."""
    coded = exchange(outcome=Outcome.CLIENT_ERROR, status=429, error_type="rate_limit_exceeded")
    plain = exchange(outcome=Outcome.TIMEOUT, status=None)
    prometheus = sink()
    for each in (exchange(), coded, plain):
        prometheus(each)

    assert samples(prometheus, "meter_errors_total") == [
        ({**ID, "error_type": "rate_limit_exceeded"}, 1),
        ({**ID, "error_type": "timeout"}, 1),
    ]


def test_finish_reasons_are_a_closed_set() -> None:
    """Each choice counts; reasons that nobody knows fold into one."""
    found = told(
        "meter_finish_reasons_total", exchange(finish_reasons=("stop", "stop", "x1", "x2", "MAX_TOKENS"))
    )

    assert {labels["reason"]: value for labels, value in found} == {"stop": 2, OTHER: 2, "MAX_TOKENS": 1}
    assert {"tool_calls", "end_turn", "SAFETY", "insufficient_system_resource"} < REASONS


def test_a_loss_by_caching_is_not_a_saving() -> None:
    """A cache that costs more than none adds nothing, and harms nothing."""
    assert told("meter_cache_savings_usd_total", exchange(cache_savings_usd=Decimal(-1))) == []


@pytest.mark.parametrize(
    ("provider", "computed", "mismatches"),
    [
        ("1.00", "1.01", [0]),
        ("1.00", "1.0100000001", [1]),
        ("1.00", "0.98", [1]),
        ("0", "0", [0]),
        ("0", "0.1", [1]),
        ("1.00", None, []),
    ],
)
def test_cost_mismatch(provider: str, computed: str | None, mismatches: list[int]) -> None:
    """More than one percent of the provider's cost is a mismatch, and agreement starts the series at 0."""
    told_cost, own_cost = Decimal(provider), None if computed is None else Decimal(computed)
    found = told(
        "meter_cost_mismatch_total", exchange(provider_cost_usd=told_cost, computed_cost_usd=own_cost)
    )

    assert [value for _, value in found] == mismatches


def test_the_last_rate_limit_stays() -> None:
    """Gauges of limits show what was said last, and what was not said leaves them alone."""
    prometheus = sink()
    for limit in (
        RateLimit(resource="requests", limit=5, remaining=4),
        RateLimit(resource="requests", remaining=3),
    ):
        prometheus(exchange(rate_limits=(limit,)))
    labels = {**UP_MODEL, "key": "search", "resource": "requests"}

    assert samples(prometheus, "meter_ratelimit_limit") == [(labels, 5)]
    assert samples(prometheus, "meter_ratelimit_remaining") == [(labels, 3)]
    assert samples(prometheus, "meter_ratelimit_reset_seconds") == []


def test_counters_whose_labels_are_known_start_at_0() -> None:
    """Before the first exchange, each upstream, sink and label shows its counters at 0."""
    prometheus = sink(label_names=["team"], upstreams=["openai", "local"], sinks=["log"])
    upstreams = [({"upstream": "openai"}, 0), ({"upstream": "local"}, 0)]

    assert samples(prometheus, "meter_usage_requests_rewritten_total") == upstreams
    assert samples(prometheus, "meter_usage_requests_refused_total") == upstreams
    assert samples(prometheus, "meter_sink_errors_total") == [({"sink": "log"}, 0)]
    assert samples(prometheus, "meter_sink_dropped_total") == [({"sink": "log"}, 0)]
    assert samples(prometheus, "meter_label_overflow_total") == [
        ({"label": "model"}, 0),
        ({"label": "key"}, 0),
        ({"label": "team"}, 0),
    ]


def test_state_is_read_at_each_scrape() -> None:
    """In flight, reachable and draining are what the state says now."""
    state = Live(in_flight={("openai", "chat"): 2})
    prometheus = sink(state=state, upstreams=["openai", "local"])
    pair = {"upstream": "openai", "operation": "chat"}

    assert samples(prometheus, "meter_requests_in_flight") == [(pair, 2)]
    assert samples(prometheus, "meter_draining") == [({}, 0)]

    state.in_flight["openai", "chat"] = 0
    state.upstream_up["local"] = False
    state.draining = True

    assert samples(prometheus, "meter_requests_in_flight") == [(pair, 0)]
    assert samples(prometheus, "meter_draining") == [({}, 1)]
    assert samples(prometheus, "meter_upstream_up") == [
        ({"upstream": "openai"}, 1),
        ({"upstream": "local"}, 0),
    ]


def test_budgets_are_read_at_each_scrape() -> None:
    """A budget shows what may be spent, and what was in the period of the scrape, which is not the last."""
    budgets = Budgets([Budget(name="search", usd=Decimal(500), period="week")])
    prometheus = sink(budgets=budgets)
    labels = {"budget": "search", "period": "week"}

    assert samples(prometheus, "meter_budget_usd") == [(labels, 500)]
    assert samples(prometheus, "meter_budget_spent_usd") == [(labels, 0)]

    budgets(exchange(cost_usd=Decimal(9), started_at=time.time() - 8 * 86400))
    budgets(exchange(cost_usd=Decimal("0.25"), started_at=time.time(), duration_s=0.0))

    assert samples(prometheus, "meter_budget_spent_usd") == [(labels, 0.25)]


def test_without_budgets_their_metrics_are_declared() -> None:
    """Where there is no budget, the metrics are there without a sample."""
    found = scraped(sink())

    assert [] == found["meter_budget_usd"].samples + found["meter_budget_spent_usd"].samples


def test_facts_that_do_not_change() -> None:
    """Version, catalogue and configuration are there from the start."""
    catalogue = Catalogue(source="genai-prices", revision="0.2.3", timestamp=1_767_225_600.0)
    prometheus = sink(catalogue=catalogue)

    assert samples(prometheus, "meter_build_info") == [
        ({"version": "1.2.3", "python": platform.python_version()}, 1)
    ]
    assert samples(prometheus, "meter_price_catalogue_info") == [
        ({"source": "genai-prices", "revision": "0.2.3"}, 1)
    ]
    assert samples(prometheus, "meter_price_catalogue_timestamp_seconds") == [({}, 1_767_225_600)]
    assert samples(prometheus, "meter_config_reload_success") == [({}, 1)]


def test_no_catalogue_tells_no_time() -> None:
    """Where no catalogue is used, none is shown, rather than one of 1970."""
    assert samples(sink(), "meter_price_catalogue_timestamp_seconds") == []
    assert samples(sink(), "meter_price_catalogue_info") == []


def test_lag_is_observed() -> None:
    """Each measurement of the event loop counts once."""
    prometheus = sink()
    prometheus.observe_lag(0.25)

    assert samples(prometheus, "meter_event_loop_lag_seconds_count") == [({}, 1)]
    assert samples(prometheus, "meter_event_loop_lag_seconds_sum") == [({}, 0.25)]


def test_two_thousand_models_add_no_more_series_than_the_budget() -> None:
    """Past the budget models fold into one series, no request is lost, and the folds are counted."""
    prometheus = sink(limits=Limits(model=50, id_sets=5000))
    for n in range(2000):
        prometheus(exchange(model=f"m{n}"))
    found = samples(prometheus, "meter_requests_total")

    assert len(found) == 51
    assert sum(value for _, value in found) == 2000
    assert samples(prometheus, "meter_label_overflow_total")[0] == ({"label": "model"}, 1950)


# What Prometheus sends unless told otherwise, by version, and what it then expects of an answer.
PROMETHEUS_2_29 = "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
PROMETHEUS_2_42 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", TEXT),
        ("text/plain", TEXT),
        (PROMETHEUS_2_29, TEXT),
        (PROMETHEUS_2_42, f"{OPEN}; escaping=underscores"),
        (PROMETHEUS_3, f"{OPEN}; escaping=allow-utf-8"),
        (PROTOBUF + PROMETHEUS_3, f"{OPEN}; escaping=allow-utf-8"),
        ("application/openmetrics-text", OPEN),
        ("Application/OpenMetrics-Text; Version=1.0.0", f"{OPEN}; escaping=underscores"),
        ("application/openmetrics-text;version=1.0.0;q=0.1,text/plain;version=0.0.4", TEXT),
        ("application/openmetrics-text;version=1.0.0;q=0", TEXT),
        ("application/openmetrics-text;version=1.0.0;q=nan", TEXT),
        ("application/openmetrics-text;version=1.0.0;q=much", TEXT),
        ("application/openmetrics-text;version=9.9.9", TEXT),
        ("application/openmetrics-text;version=new", TEXT),
        (
            "text/plain;version=1.0.0;escaping=allow-utf-8",
            "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
        ),
        (";;=,,;q", TEXT),
    ],
)
def test_the_format_is_the_one_asked_for(accept: str, content_type: str) -> None:
    """OpenMetrics goes to those who prefer a version of it that exists, and text to everyone else."""
    body, came = sink().render(accept)

    assert came == content_type
    assert body.endswith(b"# EOF\n") == content_type.startswith("application/openmetrics-text")


def test_exemplars_appear_in_openmetrics_only() -> None:
    """Requests, durations, first tokens and costs carry trace and id where the format can say it."""
    prometheus = sink()
    prometheus(everything())
    labels = {"trace_id": TRACE_ID, "id": everything().id}
    families = parse_openmetrics(prometheus.render(OPENMETRICS)[0].decode())
    found = {s.name: s.exemplar.labels for metric in families for s in metric.samples if s.exemplar}

    assert found == {
        "meter_requests_total": labels,
        "meter_request_duration_seconds_bucket": labels,
        "meter_time_to_first_token_seconds_bucket": labels,
        "meter_cost_usd_total": labels,
    }
    assert TRACE_ID.encode() not in prometheus.render()[0]


@pytest.mark.parametrize("trace_id", [None, "", "short", "f" * 200])
def test_no_trace_no_exemplar(trace_id: str | None) -> None:
    """An exchange without a whole trace id is counted without an exemplar."""
    prometheus = sink()
    prometheus(exchange(trace_id=trace_id))

    assert b"trace_id" not in prometheus.render(OPENMETRICS)[0]


@pytest.mark.parametrize("accept", ["", OPENMETRICS, PROMETHEUS_3])
def test_no_series_tells_when_it_was_created(accept: str) -> None:
    """Neither format has `_created` series."""
    prometheus = sink(upstreams=["openai"], sinks=["log"])
    prometheus(everything())

    assert b"_created" not in prometheus.render(accept)[0]


@given(st.text(st.characters(exclude_categories=[]), min_size=1, max_size=40))
@settings(max_examples=50, deadline=None)
def test_hostile_names_do_not_break_a_scrape(name: str) -> None:
    """Whatever a model is called, both formats parse and the request is in them."""
    prometheus = sink(label_names=["team"])
    prometheus(exchange(model=name, key=name, tags={"team": name}))
    as_text = parse_text(prometheus.render()[0].decode())
    as_openmetrics = parse_openmetrics(prometheus.render(OPENMETRICS)[0].decode())

    for families in (as_text, as_openmetrics):
        (model,) = [
            s.labels["model"] for m in families for s in m.samples if s.name == "meter_requests_total"
        ]
        assert model == Admission(limits=Limits()).id_labels(exchange(model=name))[2]


@pytest.mark.parametrize("tag", ["model", "key", "le", "code", "usage_source"])
def test_a_tag_cannot_be_named_like_a_label(tag: str) -> None:
    """A tag that would hide one of Meter's labels is refused."""
    with pytest.raises(ValueError, match=f"tag '{tag}' cannot be a metric label"):
        sink(label_names=[tag])


def test_a_tag_cannot_be_a_label_twice() -> None:
    """The same tag twice is refused."""
    with pytest.raises(ValueError, match="tag 'team' cannot be a metric label"):
        sink(label_names=["team", "team"])


def test_sinks_do_not_share_their_counts() -> None:
    """Each sink has a registry of its own."""
    one, other = sink(), sink()
    one(exchange())

    assert samples(other, "meter_requests_total") == []


def test_a_scrape_beside_the_counting_is_whole() -> None:
    """Scrapes from another thread parse while new series appear."""
    prometheus = sink(limits=Limits(model=1000, id_sets=1000))
    bodies: list[bytes] = []
    scraper = Thread(target=lambda: bodies.extend(prometheus.render()[0] for _ in range(5)))
    scraper.start()
    for n in range(300):
        prometheus(exchange(model=f"m{n}"))
    scraper.join()
    counts = [sum("meter_requests_total{" in line for line in body.decode().split("\n")) for body in bodies]

    assert counts == sorted(counts)
    assert len(samples(prometheus, "meter_requests_total")) == 300


AMOUNTS = st.floats(0, 1e18) | st.sampled_from([0.0, 0.01, 0.02, 1310.72, 999_999.0, 1e6, 1234567.5, 1e16])
SECONDS = st.none() | AMOUNTS
USD = st.none() | st.decimals(-1, 10**6, allow_nan=False, places=12)
NAMES = st.none() | st.sampled_from(
    ["a", 'q"uote', "back\\slash", "a\nb", "100 %s", "{}", "\u00e9", "none", OTHER]
)
EXCHANGES = st.fixed_dictionaries(
    {
        "model": NAMES,
        "key": NAMES,
        "upstream": st.sampled_from(["openai", "local"]),
        "tags": st.dictionaries(st.just("team"), st.sampled_from(["red", "%", '"']), max_size=1),
        "outcome": st.sampled_from(Outcome),
        "error_type": st.sampled_from(["", "rate_limit_exceeded"]),
        "status": st.sampled_from([None, 101, 200, 404, 503, 999]),
        "stream": st.booleans(),
        "trace_id": st.sampled_from([None, "short", TRACE_ID, '"' * 32]),
        "finish_reasons": st.lists(st.sampled_from(["stop", "length", "x1"]), max_size=3).map(tuple),
        "usage": st.none() | st.dictionaries(st.sampled_from(KINDS), st.integers(0, 10**12), max_size=4),
        "units": st.dictionaries(st.sampled_from(UNITS), AMOUNTS, max_size=2),
        "usage_source": st.sampled_from(UsageSource),
        "usage_asked": st.booleans(),
        "usage_refused": st.booleans(),
        "cost_usd": USD,
        "provider_cost_usd": USD,
        "computed_cost_usd": USD,
        "cache_savings_usd": USD,
        "price_status": st.sampled_from(PriceStatus),
        "duration_s": AMOUNTS,
        "ttft_s": SECONDS,
        "last_content_s": SECONDS,
        "stall_s": SECONDS,
        "reasoning_streamed": st.booleans(),
        "overhead_request_s": SECONDS,
        "overhead_response_s": SECONDS,
        "rate_limits": st.lists(
            st.builds(
                RateLimit,
                resource=st.sampled_from(["tokens", "requests"]),
                limit=SECONDS,
                remaining=SECONDS,
                reset_seconds=SECONDS,
            ),
            max_size=2,
        ).map(tuple),
    }
).map(lambda facts: exchange(**facts))
"""Exchanges of which some are amiss: a cost below 0 is refused by a counter."""


def refused(count: Callable[[Exchange], None], each: Exchange) -> bool:
    """Tell whether a counter does not take what an exchange would add."""
    try:
        count(each)
    except ValueError:
        return True
    return False


@given(st.lists(EXCHANGES, max_size=6))
@settings(max_examples=100, deadline=None)
def test_a_scrape_is_what_the_library_would_have_written(exchanges: list[Exchange]) -> None:
    """Whatever is counted, each format has the same bytes as by the library's own metrics."""
    admissions = [Admission(label_names=["team"], limits=Limits()) for _ in range(2)]
    plainly = Plainly(admissions[0], ["openai"])
    prometheus = PrometheusSink(admission=admissions[1], state=Live(), version="1", upstreams=["openai"])
    with patch("time.time", return_value=1_767_225_600.25):
        for each in exchanges:
            assert refused(plainly, each) == refused(prometheus, each)

    for escaping in ("underscores", "allow-utf-8", "dots", "values"):
        for kind in ("text/plain", "application/openmetrics-text"):
            accept = f"{kind};version=1.0.0;escaping={escaping}"
            assert prometheus.render(accept)[0].startswith(plainly.render(accept))
    assert prometheus.render("")[0].startswith(plainly.render(""))


def test_a_million_in_a_bucket_is_written_as_go_does() -> None:
    """Counts of seven digits have an exponent, smaller ones do not."""
    row = next(row for row in ROWS if row.name == "meter_stream_stall_seconds")
    family = Family(row, ("upstream",))
    series = family.find(("openai",), ())
    for _ in range(999_999):
        series.observe(0.0)
    before = list(family.lines(generate_latest))[-1]
    series.observe(1.0)

    assert before.count(b" 999999.0\n") == 20
    assert list(family.lines(generate_latest))[-1].count(b" 1e+06\n") == 13


class Broken:
    """A sink that cannot be told anything."""

    name = "broken"

    def __call__(self, exchange: Exchange) -> None:
        """Fail."""
        raise RuntimeError(exchange.id)

    def close(self) -> None:
        """Fail."""
        raise OSError


def test_a_failing_sink_is_counted_and_goes_no_further() -> None:
    """The sinks around one that raises are told all the same, and the failure is a metric."""
    before, after = sink(), sink(sinks=["broken"])
    sinks = Sinks([before, Broken(), after], lambda name, _: after.sink_failed(name))
    sinks.tell(exchange())
    sinks.close()

    for each in (before, after):
        assert [value for _, value in samples(each, "meter_requests_total")] == [1]
    assert samples(after, "meter_sink_errors_total") == [({"sink": "broken"}, 2)]


def test_a_failing_report_goes_no_further_either() -> None:
    """Even where the report of a failure fails, the sinks after it are told."""
    after = sink()

    def report(name: str, error: BaseException) -> None:
        raise BrokenPipeError(name) from error

    Sinks([Broken(), after], report).tell(exchange())

    assert [value for _, value in samples(after, "meter_requests_total")] == [1]


def test_what_a_sink_had_no_room_for_is_counted() -> None:
    """Dropped exchanges are a metric of their own."""
    prometheus = sink(sinks=["ledger"])
    prometheus.sink_dropped("ledger")
    prometheus.close()

    assert samples(prometheus, "meter_sink_dropped_total") == [({"sink": "ledger"}, 1)]
