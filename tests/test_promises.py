"""What users are promised, checked from outside: requests go in, and answers, metrics and log lines come out.

Nothing here knows how Meter is made. What it measures is read as Prometheus reads it, from the admin port;
what it logs, as a collector of logs does, line by line.
"""

from __future__ import annotations

import gzip
import json
import re
import socket
import time
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from stage import House, ask, dechunked, post, running_app, running_house, says, until
from test_app import Client, get, process, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from prometheus_client.metrics_core import Metric
    from prometheus_client.samples import Sample
    from stage import Scripted

CHAT = "/v1/chat/completions"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SECONDS = [0.01 * 2**n for n in range(18)]
FINE_SECONDS = [0.0001 * 2**n for n in range(24)]
OTHER = "__other__"
SSE = "text/event-stream"


def usage(prompt: int = 9, completion: int = 2, **details: Any) -> dict[str, Any]:
    """Return a usage object of OpenAI's shape."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    } | details


def whole(model: str | None = "gpt-4o", **members: Any) -> bytes:
    """Return a whole answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    return json.dumps({"id": "c1", "model": model, "choices": [choice], "usage": usage(), **members}).encode()


def event(delta: dict[str, Any] | None = None, finish: str | None = None, **members: Any) -> bytes:
    """Return an event of a stream."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return (
        b"data: "
        + json.dumps({"id": "c1", "model": "gpt-4o", "choices": choices, **members}).encode()
        + b"\n\n"
    )


DONE = b"data: [DONE]\n\n"
STREAM = event({"content": "Hi"}) + event({"content": "!"}) + event({}, "stop") + event(usage=usage()) + DONE
ASKS: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}


class Upstream:
    """An upstream that answers what it is told to, and keeps its connections."""

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        """Target, fields (names in lower case) and body of each request."""
        self.answer: Callable[[dict[str, Any]], web.Response] = lambda _: answered(whole())

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        body = await request.read()
        self.seen.append((request.raw_path, {k.lower(): v for k, v in request.headers.items()}, body))
        try:
            asked = json.loads(body)
        except ValueError:
            asked = {}
        return self.answer(asked)


def answered(
    body: bytes, status: int = 200, kind: str = "application/json", headers: dict[str, str] | None = None
) -> web.Response:
    """Return an answer of an upstream's."""
    return web.Response(body=body, status=status, headers={"Content-Type": kind, **(headers or {})})


@pytest.fixture(scope="module")
def listening() -> Iterator[Upstream]:
    """Give an upstream that listens."""
    upstream = Upstream()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", upstream.serve)
    with running_app(app) as url:
        upstream.url = url
        yield upstream


@pytest.fixture
def upstream(listening: Upstream) -> Upstream:
    """Give an upstream that has seen nothing yet."""
    listening.seen.clear()
    listening.answer = lambda _: answered(whole())
    return listening


@pytest.fixture
def front(upstream: Upstream) -> Iterator[House]:
    """Give Meter in front of it, as it comes."""
    with running_house(upstream.url) as house:
        yield house


def chat(house: House, *fields: str, path: str = CHAT, **members: Any) -> tuple[int, dict[str, str], bytes]:
    """Send a chat completion; return status, fields and body of the answer."""
    body = json.dumps({"model": "gpt-4o", "messages": [], **members}).encode()
    return call(house.url, post(path, body, *fields))


def call(url: str, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send a request's bytes; return status, fields (names in lower case) and body of the answer."""
    head, body = ask(url, request)
    first, *rest = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    chunked = fields.get("transfer-encoding") == "chunked"
    return int(first.split(" ")[1]), fields, dechunked(body) if chunked else body


def recorded(house: House, count: int = 1) -> dict[str, Any]:
    """Return the last log line once there are so many of them."""
    until(lambda: len(house.lines()) >= count)
    lines = house.lines()
    assert count == len(lines)
    return lines[-1]


def flood(house: House, requests: list[bytes]) -> None:
    """Send requests over one connection, and wait until all are recorded."""
    before = house.log.getvalue().count(b'"exchange"')
    host, _, port = house.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        for at in range(0, len(requests), 50):
            batch = requests[at : at + 50]
            client.sendall(b"".join(batch))
            came = b""
            while came.count(b"x-meter-id") < len(batch):
                piece = client.recv(1 << 18)
                assert piece
                came += piece
    until(lambda: house.log.getvalue().count(b'"exchange"') >= before + len(requests))


def kept(path: str, body: bytes, *fields: str) -> bytes:
    """Return a POST whose connection stays."""
    return post(path, body, *fields).replace(b"Connection: close\r\n", b"", 1)


def samples_of(openmetrics: str) -> list[Sample]:
    """Return the samples of a scrape in the OpenMetrics format; raises ValueError where it is not sound."""
    families = read_openmetrics(openmetrics)  # type: ignore[no-untyped-call] # the library's gap
    return [sample for family in families for sample in family.samples]


class Scrape:
    """One reading of `/metrics`."""

    def __init__(self, admin_url: str) -> None:
        self.text = get(admin_url, "/metrics")[2].decode()
        self.families: dict[str, Metric] = {family.name: family for family in read_text(self.text)}
        self.samples = [s for family in self.families.values() for s in family.samples]

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of the samples with these labels."""
        return sum(s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items())

    def values(self, label: str, name: str = "meter_requests_total") -> set[str]:
        """Return the values that a label has."""
        return {s.labels[label] for s in self.samples if s.name == name}

    @property
    def series(self) -> int:
        """Number of series that exchanges make; histograms count once."""
        return len(
            {
                (s.name, *sorted(s.labels.items()))
                for s in self.samples
                if s.name.startswith("meter_") and not s.name.endswith("_bucket")
            }
        )


ID = frozenset(("upstream", "operation", "model", "key", "team"))
RATE_LIMIT = frozenset(("upstream", "model", "key", "resource"))
METRICS: dict[str, tuple[str, frozenset[str] | set[str]]] = {
    "meter_requests_total": ("counter", ID | {"code", "outcome", "stream"}),
    "meter_request_duration_seconds": ("histogram", ID | {"stream"}),
    "meter_time_to_first_token_seconds": ("histogram", ID),
    "meter_time_per_output_token_seconds": ("histogram", ID),
    "meter_stream_stall_seconds": ("histogram", ID),
    "meter_overhead_seconds": ("histogram", {"upstream", "phase"}),
    "meter_tokens_total": ("counter", ID | {"kind", "usage_source"}),
    "meter_cost_usd_total": ("counter", ID | {"usage_source", "price_status"}),
    "meter_cache_savings_usd_total": ("counter", ID),
    "meter_accounting_total": ("counter", {"upstream", "operation", "model", "usage_source", "price_status"}),
    "meter_unpriced_tokens_total": ("counter", ID),
    "meter_errors_total": ("counter", ID | {"error_type"}),
    "meter_finish_reasons_total": ("counter", ID | {"reason"}),
    "meter_requests_in_flight": ("gauge", {"upstream", "operation"}),
    "meter_ratelimit_remaining": ("gauge", RATE_LIMIT),
    "meter_ratelimit_limit": ("gauge", RATE_LIMIT),
    "meter_ratelimit_reset_seconds": ("gauge", RATE_LIMIT),
    "meter_usage_requests_rewritten_total": ("counter", {"upstream"}),
    "meter_usage_requests_refused_total": ("counter", {"upstream"}),
    "meter_cost_mismatch_total": ("counter", {"upstream", "model"}),
    "meter_budget_usd": ("gauge", {"budget", "period"}),
    "meter_budget_spent_usd": ("gauge", {"budget", "period"}),
    "meter_label_overflow_total": ("counter", {"label"}),
    "meter_sink_errors_total": ("counter", {"sink"}),
    "meter_sink_dropped_total": ("counter", {"sink"}),
    "meter_upstream_up": ("gauge", {"upstream"}),
    "meter_event_loop_lag_seconds": ("histogram", set()),
    "meter_worker_restarts_total": ("counter", set()),
    "meter_draining": ("gauge", set()),
    "meter_drains_in_flight": ("gauge", set()),
    "meter_price_catalogue_timestamp_seconds": ("gauge", set()),
    "meter_price_catalogue_info": ("gauge", {"source", "revision"}),
    "meter_build_info": ("gauge", {"version", "python"}),
    "meter_config_reload_success": ("gauge", set()),
}
DECLARED_ALONE = {
    "meter_units_total": "counter",
}
"""Metrics that nothing fills yet."""
FINE = {"meter_time_per_output_token_seconds", "meter_overhead_seconds", "meter_event_loop_lag_seconds"}
LIMITS = {
    "x-request-id": "req_1",
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-requests": "59",
    "x-ratelimit-reset-requests": "1m30s",
    "anthropic-ratelimit-input-tokens-remaining": "1000",
}


@contextmanager
def busy_house(upstream: Upstream) -> Iterator[House]:
    """Run Meter with a label of its own, and send it a little of everything."""
    counts = usage(cost=0.5, prompt_tokens_details={"cached_tokens": 4})

    def answer(asked: dict[str, Any]) -> web.Response:
        kind = asked.get("user", "whole")
        if kind == "stream":
            return answered(STREAM, kind=SSE)
        if kind == "unpriced":
            return answered(whole("nobody-knows"))
        if kind == "error":
            return answered(b'{"error":{"code":"model_not_found"}}', 404)
        return answered(whole(usage=counts), headers=LIMITS)

    upstream.answer = answer
    attribution = {"headers": {"team": "x-team"}, "labels": ["team"]}
    budgets = [{"name": "everybody", "usd": 500}]
    with running_house(upstream.url, attribution=attribution, budgets=budgets) as house:
        chat(house, f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01", "X-Team: search", user="whole")
        chat(house, f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01", user="stream", stream=True)
        chat(house, "X-Team: search", user="stream", **ASKS)
        chat(house, model="nobody-knows", user="unpriced")
        chat(house, user="error")
        get(house.url, "/v1/models")
        until(lambda: len(house.lines()) == 6)
        yield house


@pytest.fixture(scope="module")
def busy(listening: Upstream) -> Iterator[tuple[House, Scrape]]:
    """Give a Meter that has seen a little of everything, and a scrape of it."""
    with busy_house(listening) as house:
        yield house, Scrape(house.admin_url)


class TestMetrics:
    """Names, types, labels and buckets are what dashboards are built on."""

    @pytest.mark.parametrize("name", METRICS)
    def test_shape(self, busy: tuple[House, Scrape], name: str) -> None:
        """A metric has its type and its labels, no less and no more."""
        scrape = busy[1]
        kind, labels = METRICS[name]
        suffix = "_count" if kind == "histogram" else ""
        found = {frozenset(s.labels) for s in scrape.samples if s.name == name + suffix}

        assert {frozenset(labels)} == found
        assert f"# TYPE {name} {kind}\n" in scrape.text

    @pytest.mark.parametrize("name", DECLARED_ALONE)
    def test_declared(self, busy: tuple[House, Scrape], name: str) -> None:
        """A metric that nothing has filled yet is declared."""
        assert f"# TYPE {name} {DECLARED_ALONE[name]}\n" in busy[1].text

    @pytest.mark.parametrize("name", [name for name in METRICS if METRICS[name][0] == "histogram"])
    def test_buckets(self, busy: tuple[House, Scrape], name: str) -> None:
        """Buckets double from 10 ms to 1310.72 s, the fine ones from 0.1 ms to 838.8608 s."""
        bounds = {s.labels["le"] for s in busy[1].samples if s.name == f"{name}_bucket"}

        expected = FINE_SECONDS if name in FINE else SECONDS
        assert [*expected, float("inf")] == sorted(map(float, bounds))

    def test_has_no_others(self, busy: tuple[House, Scrape]) -> None:
        """Beside the process's own there are no other metrics, and no `_created` series in either format."""
        house, scrape = busy
        declared = set(re.findall(r"^# TYPE (\S+)", scrape.text, re.MULTILINE))

        assert set() == {name for name in declared if not name.startswith("process_")} - (
            METRICS.keys() | DECLARED_ALONE.keys()
        )
        assert {"process_cpu_seconds_total", "process_resident_memory_bytes"} <= declared
        assert "_created" not in scrape.text
        assert b"_created" not in get(house.admin_url, "/metrics", "Accept: application/openmetrics-text")[2]

    def test_known_counters_start_at_0(self, upstream: Upstream) -> None:
        """Counters whose labels are known are there, at 0, before the first request."""
        with running_house(upstream.url, attribution={"labels": ["team"]}) as house:
            scrape = Scrape(house.admin_url)

        zeros = [(s.name, s.labels) for s in scrape.samples if s.value == 0]
        for expected in (
            ("meter_usage_requests_rewritten_total", {"upstream": "up"}),
            ("meter_usage_requests_refused_total", {"upstream": "up"}),
            ("meter_label_overflow_total", {"label": "model"}),
            ("meter_label_overflow_total", {"label": "key"}),
            ("meter_label_overflow_total", {"label": "team"}),
            ("meter_sink_errors_total", {"sink": "log"}),
            ("meter_sink_dropped_total", {"sink": "log"}),
            ("meter_worker_restarts_total", {}),
            ("meter_draining", {}),
            ("meter_drains_in_flight", {}),
        ):
            assert expected in zeros
        assert 1 == scrape.total("meter_upstream_up", upstream="up")
        assert 1 == scrape.total("meter_config_reload_success")
        assert 1 == scrape.total("meter_build_info") == scrape.total("meter_price_catalogue_info")
        assert 1.6e9 < scrape.total("meter_price_catalogue_timestamp_seconds") <= time.time()

    def test_exemplars(self, busy: tuple[House, Scrape]) -> None:
        """OpenMetrics carry the trace of a client that sent a `traceparent`, and the exchange's id."""
        text = get(busy[0].admin_url, "/metrics", "Accept: application/openmetrics-text")[2].decode()
        samples = samples_of(text)

        traced = {s.name for s in samples if s.exemplar and s.exemplar.labels.get("trace_id") == TRACE}
        assert {
            "meter_requests_total",
            "meter_request_duration_seconds_bucket",
            "meter_time_to_first_token_seconds_bucket",
        } <= traced
        ids = {line["id"] for line in busy[0].lines() if line["trace_id"] == TRACE}
        told = [dict(s.exemplar.labels) for s in samples if s.exemplar]
        assert {TRACE} == {labels.pop("trace_id") for labels in told}
        assert {labels.pop("id") for labels in told} <= ids
        assert [{}] * len(told) == told
        assert "trace_id" not in busy[1].text

    def test_untraced_requests_have_no_exemplar(self, front: House) -> None:
        """What is no valid `traceparent` makes no exemplar."""
        for value in (f"00-{'0' * 32}-00f067aa0ba902b7-01", "nonsense", f"ff-{TRACE}-00f067aa0ba902b7-01"):
            chat(front, f"traceparent: {value}")
        chat(front)
        recorded(front, 4)

        text = get(front.admin_url, "/metrics", "Accept: application/openmetrics-text")[2]
        assert b" # {" not in text
        assert {None} == {line["trace_id"] for line in front.lines()}

    def test_sums(self, busy: tuple[House, Scrape]) -> None:
        """Every exchange is once in each of the metrics that count exchanges, as in the log."""
        house, scrape = busy
        lines = house.lines()

        assert len(lines) == scrape.total("meter_requests_total")
        assert len(lines) == scrape.total("meter_accounting_total")
        assert len(lines) == scrape.total("meter_request_duration_seconds_count")
        failed = [line for line in lines if line["outcome"] != "ok"]
        assert len(failed) == scrape.total("meter_errors_total")
        for line in lines:
            same = [x for x in lines if x["outcome"] == line["outcome"]]
            assert len(same) == scrape.total("meter_requests_total", outcome=line["outcome"])
        assert 0 == scrape.total("meter_requests_in_flight")
        assert len([x for x in lines if x["stream"]]) == scrape.total("meter_requests_total", stream="true")

    def test_tokens_by_kind(self, busy: tuple[House, Scrape]) -> None:
        """Tokens add up by kind as the log tells them, and cached ones are not counted twice."""
        house, scrape = busy
        for kind in ("input", "input_cached", "output"):
            logged = sum(line["usage"].get(kind, 0) for line in house.lines())
            assert logged == scrape.total("meter_tokens_total", kind=kind, usage_source="reported")
        assert 4 == scrape.total("meter_tokens_total", kind="input_cached")
        assert sum(sum(x["usage"].values()) for x in house.lines()) == scrape.total("meter_tokens_total")
        assert 11 == scrape.total("meter_unpriced_tokens_total")

    def test_cost_is_the_logs(self, busy: tuple[House, Scrape]) -> None:
        """The counter of cost agrees with the sum of the log to nine digits."""
        house, scrape = busy
        raw = [json.loads(x, parse_float=Decimal) for x in house.log.getvalue().splitlines()]
        logged = sum((Decimal(x["cost_usd"]) for x in raw if x.get("cost_usd") is not None), Decimal(0))

        assert float(logged) == pytest.approx(scrape.total("meter_cost_usd_total"), rel=1e-9)
        assert logged > 0

    def test_times_of_streams(self, busy: tuple[House, Scrape]) -> None:
        """Times of tokens are those of streams alone."""
        house, scrape = busy
        streams = [line for line in house.lines() if line["stream"]]

        assert 2 == len(streams)
        for name in ("time_to_first_token", "time_per_output_token", "stream_stall"):
            assert 2 == scrape.total(f"meter_{name}_seconds_count"), name
        assert all(line["ttft_s"] is None for line in house.lines() if not line["stream"])
        assert all(0 < line["ttft_s"] <= line["duration_s"] for line in streams)

    def test_rate_limits(self, busy: tuple[House, Scrape]) -> None:
        """What an upstream says of its limits shows, by resource."""
        scrape = busy[1]
        labels = {"upstream": "up", "model": "gpt-4o", "key": "none"}

        assert 60 == scrape.total("meter_ratelimit_limit", resource="requests", **labels)
        assert 59 == scrape.total("meter_ratelimit_remaining", resource="requests", **labels)
        assert 90 == scrape.total("meter_ratelimit_reset_seconds", resource="requests", **labels)
        assert 1000 == scrape.total("meter_ratelimit_remaining", resource="input_tokens", **labels)
        assert {"requests", "input_tokens"} == scrape.values("resource", "meter_ratelimit_remaining")

    def test_counts_what_was_asked_for(self, busy: tuple[House, Scrape]) -> None:
        """A stream in which usage was asked for on the client's behalf is counted, one that asked is not."""
        assert 1 == busy[1].total("meter_usage_requests_rewritten_total", upstream="up")
        assert 0 == busy[1].total("meter_usage_requests_refused_total", upstream="up")

    def test_finish_reasons(self, upstream: Upstream, front: House) -> None:
        """Each choice has its reason; reasons that nobody published do not become labels."""
        reasons = ("stop", "length", "tool_calls", "invented-8f3a")
        choices = [{"index": i, "message": {}, "finish_reason": x} for i, x in enumerate(reasons)]
        upstream.answer = lambda _: answered(whole(choices=choices))

        chat(front)

        assert list(reasons) == recorded(front)["finish_reasons"]
        scrape = Scrape(front.admin_url)
        for reason in ("stop", "length", "tool_calls", OTHER):
            assert 1 == scrape.total("meter_finish_reasons_total", reason=reason)
        assert 4 == scrape.total("meter_finish_reasons_total")

    def test_in_flight(self, scripted: Scripted) -> None:
        """A request shows while it is under way, and the gauge goes back to 0, however it ends."""
        scripted.script = says(hang=True)
        with running_house(scripted.url) as house:
            host, _, port = house.url.removeprefix("http://").partition(":")
            with socket.create_connection((host, int(port)), timeout=20) as client:
                client.sendall(post(CHAT, b'{"model":"gpt-4o"}'))
                until(lambda: scripted.requests)
                now = Scrape(house.admin_url)
                assert 1 == now.total("meter_requests_in_flight", upstream="up", operation="chat")
                assert 0 == now.total("meter_requests_total")
            recorded(house)
            then = [s for s in Scrape(house.admin_url).samples if s.name == "meter_requests_in_flight"]

            assert [({"upstream": "up", "operation": "chat"}, 0)] == [(s.labels, s.value) for s in then]

    def test_upstream_up(self, scripted: Scripted) -> None:
        """An upstream is down after three failures to reach it in a row, and up with its next answer."""
        scripted.script = says(b"")
        with running_house(scripted.url) as house:
            seen = []
            for _ in range(3):
                chat(house)
                seen.append(Scrape(house.admin_url).total("meter_upstream_up", upstream="up"))
            scripted.script = says(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
            chat(house)
            seen.append(Scrape(house.admin_url).total("meter_upstream_up", upstream="up"))

        assert [1, 1, 0, 1] == seen

    def test_cost_mismatch(self, upstream: Upstream, tmp_path: Path) -> None:
        """Where the upstream's own cost is over 1 % away from the computed one, that is counted."""
        prices = tmp_path / "prices.yaml"
        prices.write_text("prices: [{model: m, per_million_tokens: {input: 1000000, output: 0}}]\n")
        with running_house(upstream.url, prices={"files": [str(prices)], "catalogue": "off"}) as house:
            for told in (100, 100.9, 99.1, 102, 98):
                upstream.answer = lambda _, told=told: answered(  # type: ignore[misc] # bound early
                    whole("m", usage=usage(100, 0, cost=told))
                )
                chat(house, model="m")
            recorded(house, 5)

            assert 2 == Scrape(house.admin_url).total("meter_cost_mismatch_total", upstream="up", model="m")


REFUSED_MODEL = (
    b'{"error":{"message":"no such model","type":"invalid_request_error","code":"model_not_found"}}'
)
REFUSED_KEY = b'{"error":{"message":"no such key","type":"invalid_request_error","code":"invalid_api_key"}}'


class TestAdmission:
    """What a client or an upstream may mint without end does not become series without end."""

    def test_refused_models(self, upstream: Upstream, front: House) -> None:
        """2,000 models that the upstream refuses add no series to those that the first one made."""
        upstream.answer = lambda _: answered(REFUSED_MODEL, 404)
        flood(front, [kept(CHAT, b'{"model":"random-first"}')])
        before = Scrape(front.admin_url).series

        flood(front, [kept(CHAT, b'{"model":"random-%d"}' % n) for n in range(2000)])

        scrape = Scrape(front.admin_url)
        assert before == scrape.series
        assert {OTHER} == scrape.values("model")
        assert 2001 == scrape.total("meter_requests_total", outcome="client_error", code="404")
        assert 2001 == scrape.total("meter_errors_total", error_type="model_not_found")
        assert 0 == scrape.total("meter_label_overflow_total")
        assert {"random-1999"} <= {line["model"] for line in front.lines()[-50:]}

    def test_refused_keys(self, upstream: Upstream, front: House) -> None:
        """2,000 keys that the upstream refuses add no series to those that the first one made."""
        upstream.answer = lambda _: answered(REFUSED_KEY, 401)
        flood(front, [kept(CHAT, b'{"model":"gpt-4o"}', "Authorization: Bearer sk-first")])
        before = Scrape(front.admin_url).series

        body = b'{"model":"gpt-4o"}'
        flood(front, [kept(CHAT, body, f"Authorization: Bearer sk-{n}") for n in range(2000)])

        scrape = Scrape(front.admin_url)
        assert before == scrape.series
        assert {OTHER} == scrape.values("key")
        assert 0 == scrape.total("meter_label_overflow_total")
        assert 2001 == len({line["key"] for line in front.lines()})

    def test_unknown_paths(self, upstream: Upstream, front: House) -> None:
        """Paths make no series, whatever they are and however they are answered."""
        upstream.answer = lambda _: answered(b"{}")
        flood(front, [kept("/v1/first", b"{}")])
        before = Scrape(front.admin_url).series

        flood(front, [kept(f"/v1/{n}/x{n}?q={n}", b'{"model":"m-%d"}' % n) for n in range(300)])

        scrape = Scrape(front.admin_url)
        assert before == scrape.series
        assert ({"other"}, {"none"}) == (scrape.values("operation"), scrape.values("model"))

    def test_success_that_proves_nothing(self, upstream: Upstream, front: House) -> None:
        """A key that only ever listed models or fetched what an upstream need not look at is not admitted."""
        upstream.answer = lambda _: answered(b"{}")
        for path in ("/v1/models", "/v1/files/f", "/v1/batches", "/v1/anything"):
            get(front.url, path, "Authorization: Bearer sk-visitor")
        recorded(front, 4)

        assert {OTHER} == Scrape(front.admin_url).values("key")

    def test_admitted_by_success(self, upstream: Upstream, front: House) -> None:
        """A model, a key shows from its first success on, and then also where it fails."""
        field = "Authorization: Bearer sk-mine"
        key = "k_" + sha256(b"sk-mine").hexdigest()[:12]
        upstream.answer = lambda _: answered(REFUSED_MODEL, 404)
        chat(front, field, model="mine")
        upstream.answer = lambda _: answered(whole("mine"))
        chat(front, field, model="mine")
        upstream.answer = lambda _: answered(REFUSED_MODEL, 404)
        chat(front, field, model="mine")
        recorded(front, 3)

        scrape = Scrape(front.admin_url)
        for model, shown, outcome in (
            (OTHER, OTHER, "client_error"),
            ("mine", key, "ok"),
            ("mine", key, "client_error"),
        ):
            assert 1 == scrape.total("meter_requests_total", model=model, key=shown, outcome=outcome)

    def test_a_redirect_is_no_success(self, upstream: Upstream, front: House) -> None:
        """An exchange that is `ok` without a 2xx admits nothing."""
        upstream.answer = lambda _: answered(b"", 302, headers={"Location": "/x"})
        chat(front, "Authorization: Bearer sk-mine", model="mine")

        assert "ok" == recorded(front)["outcome"]
        scrape = Scrape(front.admin_url)
        assert ({OTHER}, {OTHER}) == (scrape.values("model"), scrape.values("key"))

    def test_broken_streams_are_no_success(self, upstream: Upstream, front: House) -> None:
        """A stream that ends before its end admits nothing, though its head said 200."""
        upstream.answer = lambda _: answered(event({"content": "Hi"}), kind=SSE)
        chat(front, "Authorization: Bearer sk-mine", model="mine", **ASKS)

        assert "truncated" == recorded(front)["outcome"]
        scrape = Scrape(front.admin_url)
        assert ({OTHER}, {OTHER}) == (scrape.values("model"), scrape.values("key"))

    def test_configured_names(self, upstream: Upstream, tmp_path: Path) -> None:
        """Names of `keys` and exact models of price files show from the start; patterns name nothing."""
        prices = tmp_path / "prices.yaml"
        prices.write_text(
            "prices:\n"
            "  - {model: known, per_million_tokens: {input: 1, output: 1}}\n"
            "  - {model: 'guess-*', per_million_tokens: {input: 1, output: 1}}\n"
        )
        keys = [{"name": "search", "fingerprint": "k_" + sha256(b"sk-search").hexdigest()[:12]}]
        upstream.answer = lambda _: answered(REFUSED_KEY, 401)
        with running_house(upstream.url, keys=keys, prices={"files": [str(prices)]}) as house:
            chat(house, "Authorization: Bearer sk-search", model="known")
            chat(house, model="guess-1")
            recorded(house, 2)

            scrape = Scrape(house.admin_url)
        assert 1 == scrape.total("meter_requests_total", key="search", model="known")
        assert 1 == scrape.total("meter_requests_total", key="none", model=OTHER)

    def test_models_that_only_answers_tell(self, upstream: Upstream, front: House) -> None:
        """An upstream's answer mints no names: the request's stands."""
        chat(front, model="gpt-4o")
        recorded(front)
        before = Scrape(front.admin_url).series
        count = iter(range(1000))
        upstream.answer = lambda _: answered(whole(f"minted-{next(count)}"))

        flood(front, [kept(CHAT, b'{"model":"gpt-4o"}') for _ in range(300)])

        scrape = Scrape(front.admin_url)
        assert ({"gpt-4o"}, before) == (scrape.values("model"), scrape.series)
        assert ("gpt-4o", "minted-299") == (
            front.lines()[-1]["model"],
            front.lines()[-1]["response_model"],
        )

    @pytest.mark.parametrize(
        ("asked", "told", "expected"),
        [
            ("gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-2024-08-06"),
            ("mine", "mine-2024-08-06", "mine-2024-08-06"),
            ("mine", "mine-20240806", "mine-20240806"),
            ("mine", "mine-large", "mine"),
            ("mine", "theirs", "mine"),
            ("mine", "gpt-4o-mini", "gpt-4o-mini"),
            ("mine", None, "mine"),
            (None, "theirs", "none"),
            (None, None, "none"),
        ],
    )
    def test_model(
        self, upstream: Upstream, front: House, asked: str | None, told: str | None, expected: str
    ) -> None:
        """The model is the answer's where the price book knows it or it is a version of the request's."""
        upstream.answer = lambda _: answered(whole(told))

        chat(front, model=asked)

        line = recorded(front)
        assert (asked, told, expected) == (line["request_model"], line["response_model"], line["model"])
        assert {expected} == Scrape(front.admin_url).values("model")

    @pytest.mark.parametrize(
        ("model", "expected"),
        [
            ("m" * 128, "m" * 128),
            ("m" * 129, OTHER),
            ("\u00e9" * 64, "\u00e9" * 64),
            ("\u00e9" * 65, OTHER),
            ("m" * 300, OTHER),
            ("m" * 100_000, OTHER),
        ],
        ids=["128", "129", "64 of two bytes", "65 of two bytes", "300", "100000"],
    )
    def test_long_names(self, upstream: Upstream, front: House, model: str, expected: str) -> None:
        """A name of over 128 bytes folds, even after a success."""
        upstream.answer = lambda _: answered(whole(None))

        for _ in range(2):
            assert 200 == chat(front, model=model)[0]
        recorded(front, 2)

        assert {expected} == Scrape(front.admin_url).values("model")

    def test_names_that_break_formats(self, upstream: Upstream, front: House) -> None:
        """A name with line feeds, quotes and other marks breaks neither format nor log."""
        for model in ('a"b', "a\nb", "a\\b", "a\x00b", "a} 1\nmeter_forged 1", "\u2028", "\ud800x"):
            body = json.dumps({"model": model}).encode()
            upstream.answer = lambda _: answered(whole(None))
            call(front.url, post(CHAT, body))
        recorded(front, 7)

        assert 7 == Scrape(front.admin_url).total("meter_requests_total")
        text = get(front.admin_url, "/metrics", "Accept: application/openmetrics-text")[2].decode()
        assert 7 == sum(s.value for s in samples_of(text) if s.name == "meter_requests_total")
        assert "meter_forged" not in set(Scrape(front.admin_url).families)

    def test_tags(self, upstream: Upstream) -> None:
        """Tags that no success has admitted fold, and those that are admitted have a budget."""
        attribution = {"headers": {"team": "x-team", "user": "x-user"}, "labels": ["team"]}
        limits = {"series": {"tag": 3}}
        with running_house(upstream.url, attribution=attribution, limits=limits) as house:
            upstream.answer = lambda _: answered(REFUSED_KEY, 401)
            body = b'{"model":"gpt-4o"}'
            flood(house, [kept(CHAT, body, f"X-Team: a{n}", f"X-User: u{n}") for n in range(200)])
            assert {OTHER} == Scrape(house.admin_url).values("team")
            assert 0 == Scrape(house.admin_url).total("meter_label_overflow_total")

            upstream.answer = lambda _: answered(whole())
            flood(house, [kept(CHAT, body, f"X-Team: b{n}") for n in range(5)])
            flood(house, [kept(CHAT, body)])

            scrape = Scrape(house.admin_url)
            assert {OTHER, "none", "b0", "b1", "b2"} == scrape.values("team")
            assert 2 == scrape.total("meter_label_overflow_total", label="team")
            assert {"team": "a199", "user": "u199"} == house.lines()[199]["tags"]

    def test_budgets(self, upstream: Upstream) -> None:
        """Past `limits.series` a success is not enough, and each exchange that folds for it is counted."""
        upstream.answer = lambda asked: answered(whole(asked["model"]))
        with running_house(upstream.url, limits={"series": {"model": 3, "key": 2}}) as house:
            for n in range(5):
                chat(house, f"Authorization: Bearer sk-{n}", model=f"m{n}")
            chat(house, "Authorization: Bearer sk-0", model="m0")
            recorded(house, 6)

            scrape = Scrape(house.admin_url)
            assert {"m0", "m1", "m2", OTHER} == scrape.values("model")
            assert 3 == len(scrape.values("key"))
            assert 2 == scrape.total("meter_label_overflow_total", label="model")
            assert 3 == scrape.total("meter_label_overflow_total", label="key")
            assert {f"m{n}" for n in range(5)} == {line["model"] for line in house.lines()}
            assert 5 == len({line["key"] for line in house.lines()})

    def test_id_sets(self, upstream: Upstream) -> None:
        """Past `id_sets` combinations the key folds first, then the model; nothing is lost."""
        upstream.answer = lambda asked: answered(whole(asked["model"]))
        with running_house(upstream.url, limits={"series": {"id_sets": 8}}) as house:
            body = b'{"model":"m%d"}'
            for turn in range(12):
                requests = [
                    kept(CHAT, body % n, f"Authorization: Bearer sk-{(n + turn) % 12}") for n in range(12)
                ]
                flood(house, requests)

            scrape = Scrape(house.admin_url)
            sets = {
                (s.labels["model"], s.labels["key"])
                for s in scrape.samples
                if s.name == "meter_requests_total"
            }
            plain = {ids for ids in sets if OTHER not in ids}
            assert 8 == len(plain)
            assert len(sets) <= 8 + 12 + 1
            assert any(model != OTHER and key == OTHER for model, key in sets)
            assert not any(model == OTHER and key != OTHER for model, key in sets)
            assert 144 == scrape.total("meter_requests_total") == scrape.total("meter_accounting_total")
            folded = scrape.total("meter_requests_total", key=OTHER)
            assert folded == scrape.total("meter_label_overflow_total", label="key") > 0


FIELDS = [
    "timestamp",
    "level",
    "event",
    "id",
    "trace_id",
    "upstream",
    "operation",
    "method",
    "path",
    "status",
    "outcome",
    "error_type",
    "stream",
    "request_model",
    "response_model",
    "model",
    "key",
    "tags",
    "usage",
    "units",
    "cost_usd",
    "provider_cost_usd",
    "usage_source",
    "price_status",
    "price_source",
    "price_revision",
    "service_tier",
    "finish_reasons",
    "attempts",
    "duration_s",
    "ttft_s",
    "overhead_s",
    "request_bytes",
    "response_bytes",
    "upstream_request_id",
]


class TestLog:
    """One JSON object a line, once per exchange."""

    def test_fields(self, busy: tuple[House, Scrape]) -> None:
        """Every line has the same members in the same order."""
        for line in busy[0].lines():
            assert FIELDS == list(line)

    def test_says_what_happened(self, upstream: Upstream, front: House) -> None:
        """A line tells of one exchange what is known of it."""
        headers = {"x-request-id": "req_1"}
        upstream.answer = lambda _: answered(
            whole("gpt-4o-2024-08-06", service_tier="default"), headers=headers
        )
        body = b'{"model":"gpt-4o"}'
        before = datetime.now(UTC) - timedelta(milliseconds=2)

        status, fields, came = call(
            front.url,
            post(f"{CHAT}?x=1", body, f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01"),
        )

        line = recorded(front)
        expected = {
            "event": "exchange",
            "id": fields["x-meter-id"],
            "trace_id": TRACE,
            "upstream": "up",
            "operation": "chat",
            "method": "POST",
            "path": CHAT,
            "status": status,
            "outcome": "ok",
            "error_type": "",
            "stream": False,
            "request_model": "gpt-4o",
            "response_model": "gpt-4o-2024-08-06",
            "model": "gpt-4o-2024-08-06",
            "key": "none",
            "tags": {},
            "usage": {"input": 9, "output": 2},
            "units": {},
            "provider_cost_usd": None,
            "usage_source": "reported",
            "price_status": "list",
            "service_tier": "default",
            "finish_reasons": ["stop"],
            "attempts": 1,
            "ttft_s": None,
            "request_bytes": len(body),
            "response_bytes": len(came),
            "upstream_request_id": "req_1",
        }
        assert expected == {name: line[name] for name in expected}
        assert before <= datetime.fromisoformat(line["timestamp"]) <= datetime.now(UTC)
        assert line["price_source"]
        assert line["price_revision"]
        assert 0 < line["overhead_s"] <= line["duration_s"]

    def test_ids(self, front: House) -> None:
        """The id is a UUIDv7 of the time of the request, and the `x-meter-id` of the answer."""
        before = time.time_ns() // 1_000_000
        ids = [chat(front)[1]["x-meter-id"] for _ in range(3)]
        ids.append(get(front.url, "/v1/models")[1]["x-meter-id"])
        ids.append(call(front.url, b"BAD\r\n\r\n")[1]["x-meter-id"])
        ids.append(get(front.url, "/", method="TRACE")[1]["x-meter-id"])
        recorded(front, 6)

        assert ids == [line["id"] for line in front.lines()]
        for each in map(uuid.UUID, ids):
            assert (7, uuid.RFC_4122) == (each.version, each.variant)
            assert before - 1 <= each.int >> 80 <= time.time_ns() // 1_000_000 + 1
        assert 6 == len(set(ids))

    def test_ids_can_stay_home(self, upstream: Upstream) -> None:
        """With `response_headers.id: false` an answer is what the upstream said."""
        with running_house(upstream.url, response_headers={"id": False}) as house:
            assert "x-meter-id" not in chat(house)[1]

    def test_numbers_are_plain(self, upstream: Upstream, tmp_path: Path) -> None:
        """No number is written with an exponent, be it as small as a cost can be."""
        prices = tmp_path / "prices.yaml"
        prices.write_text("prices: [{model: m, per_million_tokens: {input: 0.000001, output: 1e-6}}]\n")
        upstream.answer = lambda _: answered(whole("m", usage=usage(3, 4)))
        with running_house(upstream.url, prices={"files": [str(prices)]}) as house:
            chat(house, model="m")
            recorded(house)

            raw = house.log.getvalue().splitlines()[-1]
        written: list[str] = []
        json.loads(raw, parse_float=written.append, parse_int=written.append)
        assert written
        assert [] == [text for text in written if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text)]
        assert re.search(rb'"cost_usd":0\.000000000007[,}]', raw)

    def test_unknown_is_null(self, upstream: Upstream, front: House) -> None:
        """What is not known is null or absent, never 0."""
        upstream.answer = lambda _: answered(b"{}")
        get(front.url, "/v1/models")
        chat(front, model="nobody-knows")
        upstream.answer = lambda _: answered(whole("nobody-knows"))
        chat(front, model="nobody-knows")
        recorded(front, 3)

        models, silent, unpriced = front.lines()
        assert ("models", "none", "none", "none") == tuple(
            models[name] for name in ("operation", "model", "usage_source", "price_status")
        )
        assert ("missing", {}) == (silent["usage_source"], silent["usage"])
        assert ("reported", "missing") == (unpriced["usage_source"], unpriced["price_status"])
        for line in (models, silent, unpriced):
            assert line["cost_usd"] is None
            assert line["provider_cost_usd"] is None
            assert line["ttft_s"] is None
        assert models["request_model"] is models["response_model"] is models["trace_id"] is None
        assert 0 == sum(1 for s in Scrape(front.admin_url).samples if s.name == "meter_cost_usd_total")

    def test_no_head_no_status(self, scripted: Scripted) -> None:
        """A client that leaves before a head went out has had no status: null here, code 0 there."""
        scripted.script = says(hang=True)
        with running_house(scripted.url) as house:
            host, _, port = house.url.removeprefix("http://").partition(":")
            with socket.create_connection((host, int(port)), timeout=20) as client:
                client.sendall(post(CHAT, b'{"model":"gpt-4o"}'))
                until(lambda: scripted.requests)
            line = recorded(house)

            assert (None, "client_closed", "client_closed") == (
                line["status"],
                line["outcome"],
                line["error_type"],
            )
            assert 1 == Scrape(house.admin_url).total(
                "meter_requests_total", code="0", outcome="client_closed"
            )

    def test_query_stays_out(self, front: House) -> None:
        """The path is logged as it came, without its query, in an absolute-form target too."""
        get(front.url, "/v1/a%2Fb//c?key=x")
        get(front.url, "http://elsewhere.example/v1/d?e=f")
        recorded(front, 2)

        assert ["/v1/a%2Fb//c", "/v1/d"] == [line["path"] for line in front.lines()]

    def test_standard_output(self, upstream: Upstream) -> None:
        """A process writes JSON to standard output and nothing to standard error."""
        with serving(upstream.url) as (meter, proxy, _):
            came = call(proxy, post(CHAT, b'{"model":"gpt-4o"}'))
            until(meter.lines)

            assert [came[1]["x-meter-id"]] == [line["id"] for line in meter.lines()]
            assert "default" == meter.lines()[0]["upstream"]
            assert b"" == meter.stderr

    def test_for_people(self, upstream: Upstream) -> None:
        """With `log.format: console` lines are no JSON, and still one an exchange."""
        with running_house(upstream.url) as house:
            chat(house)
            recorded(house)
        argv = ("serve", "--upstream", upstream.url, "--port", "0", "--admin-port", "0")
        with process(*argv, METER_LOG__FORMAT="console") as meter:
            until(lambda: meter.stdout.count(b"ready") == 2, seconds=30)

            assert not meter.stdout.startswith(b"{")


OUTCOMES: dict[str, tuple[web.Response | Callable[[], web.Response], str, str, str, bool]] = {
    "answer": (lambda: answered(whole()), "ok", "", "reported", False),
    "no usage": (lambda: answered(whole(usage=None)), "ok", "", "estimated", False),
    "redirect": (lambda: answered(b"", 307), "ok", "", "none", False),
    "published code": (
        lambda: answered(REFUSED_MODEL, 404),
        "client_error",
        "model_not_found",
        "none",
        False,
    ),
    "published type": (
        lambda: answered(b'{"error":{"type":"rate_limit_error","code":"made-up-77"}}', 429),
        "client_error",
        "rate_limit_error",
        "none",
        False,
    ),
    "made-up code": (
        lambda: answered(b'{"error":{"type":"made-up","code":"made-up-77"}}', 418),
        "client_error",
        "http_418",
        "none",
        False,
    ),
    "no json": (lambda: answered(b"gone", 404), "client_error", "http_404", "none", False),
    "empty": (lambda: answered(b"", 401), "client_error", "http_401", "none", False),
    "server error": (
        lambda: answered(b'{"error":{"message":"x","type":"server_error"}}', 500),
        "upstream_error",
        "server_error",
        "none",
        False,
    ),
    "gateway's page": (
        lambda: answered(b"<h1>502</h1>", 502, "text/html"),
        "upstream_error",
        "http_502",
        "none",
        False,
    ),
    "error in a 200": (
        lambda: answered(b'{"error":{"message":"x","code":"insufficient_quota"}}'),
        "stream_error",
        "insufficient_quota",
        "missing",
        False,
    ),
    "page in a 200": (
        lambda: answered(b"<h1>Log in</h1>", 200, "text/html"),
        "stream_error",
        "stream_error",
        "missing",
        False,
    ),
    "stream": (lambda: answered(STREAM, kind=SSE), "ok", "", "reported", True),
    "stream without a terminator": (
        lambda: answered(STREAM.removesuffix(DONE), kind=SSE),
        "ok",
        "",
        "reported",
        True,
    ),
    "stream without usage": (
        lambda: answered(event({"content": "a"}) + event({}, "stop") + DONE, kind=SSE),
        "ok",
        "",
        "estimated",
        True,
    ),
    "stream with a finish and no more": (
        lambda: answered(event({"content": "a"}) + event({}, "stop"), kind=SSE),
        "ok",
        "",
        "estimated",
        True,
    ),
    "stream without an end": (
        lambda: answered(event({"content": "a"}), kind=SSE),
        "truncated",
        "truncated",
        "estimated",
        True,
    ),
    "empty stream": (lambda: answered(b"", kind=SSE), "truncated", "truncated", "estimated", True),
    "error in a stream": (
        lambda: answered(event({"content": "a"}) + b'data: {"error":{"code":"server_error"}}\n\n', kind=SSE),
        "stream_error",
        "server_error",
        "estimated",
        True,
    ),
    "error told as a stream": (
        lambda: answered(b'data: {"error":{"code":"server_error"}}\n\n', 500, SSE),
        "upstream_error",
        "http_500",
        "none",
        False,
    ),
}


class TestOutcomes:
    """How an exchange ended, in words that are few and closed."""

    @pytest.mark.parametrize("kind", OUTCOMES)
    def test_answers(self, upstream: Upstream, front: House, kind: str) -> None:
        """An answer has one outcome, error type, source of usage and way of coming, in log and metrics."""
        make, outcome, error_type, source, stream = OUTCOMES[kind]
        assert callable(make)
        upstream.answer = lambda _: make()

        status, _, _ = chat(front, stream=True, stream_options={"include_usage": True})

        line = recorded(front)
        assert (outcome, error_type, source, stream, status) == tuple(
            line[name] for name in ("outcome", "error_type", "usage_source", "stream", "status")
        )
        scrape = Scrape(front.admin_url)
        labels = {"outcome": outcome, "code": str(status), "stream": "true" if stream else "false"}
        assert 1 == scrape.total("meter_requests_total", **labels)
        errors = [s.labels["error_type"] for s in scrape.samples if s.name == "meter_errors_total"]
        assert ([error_type] if error_type else []) == errors
        assert 1 == scrape.total("meter_accounting_total", usage_source=source)

    @pytest.mark.parametrize(
        "kind",
        [
            "application/x-ndjson",
            "application/jsonl",
            "text/event-stream; charset=utf-8",
            "TEXT/EVENT-STREAM",
        ],
    )
    def test_streams_by_their_type(self, upstream: Upstream, front: House, kind: str) -> None:
        """An answer streamed where its content type says so, whoever asked for what and wherever."""
        upstream.answer = lambda _: answered(b'{"done":true}\n', kind=kind)

        call(front.url, post("/api/generate", b"{}"))

        assert recorded(front)["stream"] is True

    @pytest.mark.parametrize(
        ("method", "path", "operation"),
        [
            ("POST", "/v1/chat/completions", "chat"),
            ("POST", "/chat/completions", "chat"),
            ("POST", "/openai/deployments/d/chat/completions?api-version=1", "chat"),
            ("GET", "/v1/chat/completions", "other"),
            ("GET", "/v1/chat/completions/chatcmpl-1", "other"),
            ("OPTIONS", "/v1/chat/completions", "other"),
            ("HEAD", "/v1/models", "other"),
            ("OPTIONS", "/v1/models", "other"),
            ("GET", "/v1/models", "models"),
            ("GET", "/v1/models/gpt-4o", "models"),
            ("DELETE", "/v1/models/ft:gpt-4o", "models"),
            ("GET", "/models", "models"),
            ("POST", "/v1/files", "files"),
            ("GET", "/v1/files/f/content", "files"),
            ("POST", "/v1/batches", "batches"),
            ("GET", "/v1/batches/b", "batches"),
            ("GET", "/v1/x/models", "other"),
            ("GET", "/", "other"),
        ],
    )
    def test_operations(
        self, upstream: Upstream, front: House, method: str, path: str, operation: str
    ) -> None:
        """The operation follows from method and path."""
        upstream.answer = lambda _: answered(b"{}")

        get(front.url, path, method=method)

        assert operation == recorded(front)["operation"]
        assert {operation} == Scrape(front.admin_url).values("operation")


class TestErrors:
    """Meter's own errors look like the API's, and say whose they are."""

    @pytest.mark.parametrize(
        ("request_bytes", "status", "code"),
        [
            (b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad_request"),
            (post("/nowhere", b"{}"), 404, "no_upstream"),
            (b"TRACE /up/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 405, "method_not_allowed"),
            (post("/up/v1/x", b"x" * 2000), 413, "body_too_large"),
            (post("/gone/v1/chat/completions", b'{"model":"m"}'), 502, "unreachable"),
            (post("/silent/v1/chat/completions", b'{"model":"m"}'), 504, "timeout"),
            (post("/silent/v1/chat/completions", b'{"model":"m","stream":true}'), 504, "timeout"),
        ],
    )
    def test_shape(self, scripted: Scripted, request_bytes: bytes, status: int, code: str) -> None:
        """An error is JSON of OpenAI's shape with `x-meter-error: 1`, and is logged under its id."""
        scripted.script = says(hang=True)
        upstreams = [
            {"name": "up", "base_url": scripted.url, "prefix": "/up"},
            {"name": "gone", "base_url": "http://127.0.0.1:1", "prefix": "/gone"},
            {
                "name": "silent",
                "base_url": scripted.url,
                "prefix": "/silent",
                "timeouts": {"idle": "100ms"},
            },
        ]
        with running_house("", upstreams=upstreams, limits={"body_bytes": "1kB"}) as house:
            got, fields, body = call(house.url, request_bytes)
            line = recorded(house)

        assert (status, "1", "application/json") == (got, fields["x-meter-error"], fields["content-type"])
        (error,) = json.loads(body).values()
        assert list(json.loads(body)) == ["error"]
        assert ["message", "type", "param", "code"] == list(error)
        assert ("meter_error", None, code) == (error["type"], error["param"], error["code"])
        assert error["message"]
        assert (fields["x-meter-id"], status, code) == (line["id"], line["status"], line["error_type"])
        outcomes = {502: "unreachable", 504: "timeout"}
        assert outcomes.get(status, "rejected") == line["outcome"]
        assert ("none", None) == (line["price_status"], line["cost_usd"])
        assert status == 504 or line["usage_source"] == "none"

    def test_a_body_that_does_not_come(self, upstream: Upstream) -> None:
        """A client that does not send its body gets 408."""
        with running_house(upstream.url, timeouts={"client_body": "100ms"}) as house:
            request = post(CHAT, b"{}").replace(b"Content-Length: 2", b"Content-Length: 20")
            client = Client(house.url, request)
            until(lambda: b"}}" in client.came)
            line = recorded(house)
            client.leave()

        assert b"\r\nx-meter-error: 1\r\n" in client.came
        assert line["status"] == 408
        assert line["outcome"] in ("rejected", "timeout")

    def test_upstreams_errors_are_theirs(self, upstream: Upstream, front: House) -> None:
        """An upstream's error passes as it came, without the header."""
        upstream.answer = lambda _: answered(REFUSED_MODEL, 404, headers={"X-A": "b"})

        status, fields, body = chat(front)

        assert (404, REFUSED_MODEL, "b") == (status, body, fields["x-a"])
        assert "x-meter-error" not in fields


KEYS_IN_ORDER = (
    ("Authorization: Bearer sk-1", "sk-1"),
    ("x-api-key: sk-2", "sk-2"),
    ("api-key: sk-3", "sk-3"),
    ("x-goog-api-key: sk-4", "sk-4"),
)


class TestKeys:
    """Who called."""

    @pytest.mark.parametrize("skipped", range(7))
    def test_order(self, front: House, skipped: int) -> None:
        """Of several credentials the first in the published order counts."""
        fields = [field for field, _ in KEYS_IN_ORDER[skipped:]]
        query = "" if skipped > 5 else "?api-key=sk-6" if skipped > 4 else "?api-key=sk-6&key=sk-5"
        protocol = "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-7, openai-beta.realtime-v1"

        chat(front, protocol, *reversed(fields), path=CHAT + query)

        expected = "k_" + sha256(b"sk-%d" % (skipped + 1)).hexdigest()[:12]
        assert expected == recorded(front)["key"]

    @pytest.mark.parametrize(
        ("field", "secret"),
        [
            ("Authorization: sk-whole", "sk-whole"),
            ("authorization: bearer sk-lower", "sk-lower"),
            ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
            ("Authorization: Bearer  sk-spaces ", "sk-spaces"),
        ],
    )
    def test_schemes(self, front: House, field: str, secret: str) -> None:
        """Of `Authorization` the part after a scheme counts, the whole if there is none."""
        chat(front, field)

        assert "k_" + sha256(secret.encode()).hexdigest()[:12] == recorded(front)["key"]

    def test_names_and_tags(self, upstream: Upstream) -> None:
        """Fingerprints go by the name they were given, several by one, with its tags; none is `none`."""
        keys = [
            {
                "name": "search-team",
                "fingerprint": "k_" + sha256(key).hexdigest()[:12],
                "tags": {"team": "search"},
            }
            for key in (b"sk-old", b"sk-new")
        ]
        with running_house(upstream.url, keys=keys, attribution={"labels": ["team"]}) as house:
            for key in ("sk-old", "sk-new", "sk-strange"):
                chat(house, f"Authorization: Bearer {key}")
            chat(house)
            recorded(house, 4)

            scrape = Scrape(house.admin_url)
            strange = "k_" + sha256(b"sk-strange").hexdigest()[:12]
            assert ["search-team", "search-team", strange, "none"] == [x["key"] for x in house.lines()]
            assert [{"team": "search"}] * 2 + [{}] * 2 == [x["tags"] for x in house.lines()]
        assert 2 == scrape.total("meter_requests_total", key="search-team")
        assert 1 == scrape.total("meter_requests_total", key=strange, team="none")
        assert 1 == scrape.total("meter_requests_total", key="none", team="none")

    @pytest.mark.parametrize("strip", [False, True])
    def test_attribution(self, upstream: Upstream, strip: bool) -> None:
        """Headers become tags; only `labels` become labels; `strip` keeps the headers home."""
        attribution = {"headers": {"user": "x-user-id", "team": "x-team"}, "labels": ["team"], "strip": strip}
        with running_house(upstream.url, attribution=attribution) as house:
            chat(house, "X-User-Id: ada", "X-TEAM: search", "X-Other: 1")
            line = recorded(house)
            scrape = Scrape(house.admin_url)

        assert {"user": "ada", "team": "search"} == line["tags"]
        assert 1 == scrape.total("meter_requests_total", team="search")
        assert "ada" not in scrape.text
        sent = upstream.seen[0][1]
        assert (None if strip else "ada") == sent.get("x-user-id")
        assert (None if strip else "search") == sent.get("x-team")
        assert "1" == sent["x-other"]


class TestRouting:
    """Where a request goes."""

    @pytest.mark.parametrize(
        ("base", "path", "expected"),
        [
            ("/v1", "/v1/x", "/v1/x"),
            ("", "/v1/x", "/v1/x"),
            ("/", "/v1/x", "/v1/x"),
            ("/openai/v1", "/v1/x", "/openai/v1/x"),
            ("/openai/v1", "/openai/v1/x", "/openai/v1/x"),
            ("/openai/v1/", "/v1/x?a=b&a=%20c", "/openai/v1/x?a=b&a=%20c"),
            ("/v1", "/x", "/v1/x"),
            ("/v1", "/v10/x", "/v1/v10/x"),
            ("/v1", "/deepseek/v1/x", "deepseek:/v1/x"),
            ("/v1", "/deepseek", "deepseek:/"),
            ("/v1", "/deepseek/beta/v1/x", "beta:/base/v1/x"),
            ("/v1", "/deepseeker/x", "/v1/deepseeker/x"),
            ("/v1", "/Deepseek/x", "/v1/Deepseek/x"),
        ],
    )
    def test_examples(self, upstream: Upstream, base: str, path: str, expected: str) -> None:
        """The longest prefix of whole segments is chosen, and what base and path share is said once."""
        upstreams = [
            {"name": "main", "base_url": upstream.url + base, "default": True},
            {"name": "deepseek", "base_url": upstream.url, "prefix": "/deepseek"},
            {"name": "beta", "base_url": f"{upstream.url}/base", "prefix": "/deepseek/beta"},
        ]
        with running_house("", upstreams=upstreams) as house:
            get(house.url, path)
            name = recorded(house)["upstream"]

        found = "" if name == "main" else f"{name}:"
        assert expected == found + upstream.seen[0][0]

    def test_a_strange_host_chooses_nothing(self, upstream: Upstream, front: House) -> None:
        """Neither Host nor an absolute-form target chooses the upstream."""
        call(
            front.url,
            b"GET http://evil.example/v1/x HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        )

        assert ["/v1/x"] == [target for target, _, _ in upstream.seen]
        assert upstream.url == "http://" + upstream.seen[0][1]["host"]

    def test_forwarded(self, upstream: Upstream) -> None:
        """Nothing tells the upstream of a proxy, unless `forwarded: append` wants it."""
        names = ("x-forwarded-for", "x-forwarded-proto", "forwarded", "via")
        with running_house(upstream.url) as house:
            chat(house)
        with running_house(upstream.url, forwarded="append") as house:
            chat(house, "X-Forwarded-For: 10.0.0.9")

        plain, told = (fields for _, fields, _ in upstream.seen)
        assert not any(name in plain for name in names)
        assert ("10.0.0.9, 127.0.0.1", "http") == (told["x-forwarded-for"], told["x-forwarded-proto"])
        assert "for=127.0.0.1" in told["forwarded"]


class TestUsage:
    """Whether usage is asked for."""

    @pytest.mark.parametrize(
        ("setting", "provider", "expected"),
        [
            ("auto", None, True),
            ("auto", "deepseek", False),
            ("ask", None, True),
            ("ask", "deepseek", True),
            ("never", None, False),
        ],
    )
    def test_setting(self, upstream: Upstream, setting: str, provider: str | None, expected: bool) -> None:
        """`auto` asks unless the upstream always tells, `ask` asks, `never` does not."""
        up = {"name": "up", "base_url": upstream.url, "usage": setting, "provider": provider}
        upstream.answer = lambda _: answered(STREAM, kind=SSE)
        with running_house("", upstreams=[up]) as house:
            _, _, body = chat(house, stream=True)
            recorded(house)

        asked = json.loads(upstream.seen[0][2]).get("stream_options", {}).get("include_usage", False)
        assert expected == asked
        assert expected == (b'"prompt_tokens"' not in body)

    def test_compressed_requests(self, scripted: Scripted) -> None:
        """A compressed request goes up as it came, unasked; its model is known all the same."""
        packed = gzip.compress(b'{"model":"gpt-4o","stream":true}')
        scripted.script = says(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + STREAM)
        with running_house(scripted.url) as house:
            _, _, body = call(house.url, post(CHAT, packed, "Content-Encoding: gzip"))
            line = recorded(house)

        assert STREAM == body
        assert scripted.requests[0].endswith(b"\r\n\r\n" + packed)
        assert ("gpt-4o", "reported", len(packed)) == tuple(
            line[name] for name in ("request_model", "usage_source", "request_bytes")
        )

    def test_refusal_is_remembered(self, upstream: Upstream) -> None:
        """`auto` does not ask again where it was refused; `ask` does."""
        refusal = b'{"error":{"message":"extra fields not permitted: stream_options"}}'
        upstream.answer = lambda asked: (
            answered(refusal, 400) if "stream_options" in asked else answered(STREAM, kind=SSE)
        )
        for setting, expected in (("auto", 3), ("ask", 4)):
            upstream.seen.clear()
            up = {"name": "up", "base_url": upstream.url, "usage": setting}
            with running_house("", upstreams=[up]) as house:
                for _ in range(2):
                    assert 200 == chat(house, stream=True)[0]
            assert expected == len(upstream.seen), setting


PRICED = "{input: 1, output: 10}"
DEAR = "{input: 5, output: 5}"
PRICES: dict[str, tuple[str, dict[str, Any], str | None, str]] = {
    # The file, members of the answer, what it costs (None: unknown), the status.
    "plain": (f"[{{model: m, per_million_tokens: {PRICED}}}]", {}, "0.000029", "exact"),
    "unlisted": (f"[{{model: other, per_million_tokens: {PRICED}}}]", {}, None, "missing"),
    "most exact": (
        f"[{{model: '*', per_million_tokens: {DEAR}}}, {{model: m, per_million_tokens: {PRICED}}}]",
        {},
        "0.000029",
        "exact",
    ),
    "pattern": (f"[{{model: '?', per_million_tokens: {PRICED}}}]", {}, "0.000029", "exact"),
    "pattern that does not fit": (f"[{{model: 'm?', per_million_tokens: {PRICED}}}]", {}, None, "missing"),
    "file's order": (
        f"[{{model: m, per_million_tokens: {PRICED}}}, {{model: m, per_million_tokens: {DEAR}}}]",
        {},
        "0.000029",
        "exact",
    ),
    "this upstream": (f"[{{model: m, upstream: up, per_million_tokens: {PRICED}}}]", {}, "0.000029", "exact"),
    "another upstream": (f"[{{model: m, upstream: b, per_million_tokens: {PRICED}}}]", {}, None, "missing"),
    "another provider": (
        f"[{{model: m, provider: openai, per_million_tokens: {PRICED}}}]",
        {},
        None,
        "missing",
    ),
    "this upstream's price": (
        (
            f"[{{model: m, upstream: b, per_million_tokens: {DEAR}}}, "
            f"{{model: m, per_million_tokens: {PRICED}}}]"
        ),
        {},
        "0.000029",
        "exact",
    ),
    "cached": (
        "[{model: m, per_million_tokens: {input: 1, input_cached: 0.5, output: 10}}]",
        {"usage": usage(prompt_tokens_details={"cached_tokens": 4})},
        "0.000027",
        "exact",
    ),
    "cached as plain": (
        f"[{{model: m, per_million_tokens: {PRICED}}}]",
        {"usage": usage(prompt_tokens_details={"cached_tokens": 4})},
        "0.000029",
        "exact",
    ),
    "reasoning as output": (
        f"[{{model: m, per_million_tokens: {PRICED}}}]",
        {"usage": usage(completion_tokens_details={"reasoning_tokens": 1})},
        "0.000029",
        "exact",
    ),
    "audio is not text": (
        f"[{{model: m, per_million_tokens: {PRICED}}}]",
        {"usage": usage(prompt_tokens_details={"audio_tokens": 4})},
        None,
        "missing",
    ),
    "no audio needs no price": (
        f"[{{model: m, per_million_tokens: {PRICED}}}]",
        {"usage": usage(prompt_tokens_details={"audio_tokens": 0})},
        "0.000029",
        "exact",
    ),
    "no price of output": ("[{model: m, per_million_tokens: {input: 1}}]", {}, None, "missing"),
    "free": ("[{model: m, per_million_tokens: {input: 0, output: 0}}]", {}, "0", "exact"),
    "above": (
        (
            f"[{{model: m, per_million_tokens: {PRICED}, "
            "tiers: [{above_input_tokens: 8, per_million_tokens: {input: 2, output: 20}}]}]"
        ),
        {},
        "0.000058",
        "exact",
    ),
    "not above": (
        (
            f"[{{model: m, per_million_tokens: {PRICED}, "
            "tiers: [{above_input_tokens: 9, per_million_tokens: {input: 2, output: 20}}]}]"
        ),
        {},
        "0.000029",
        "exact",
    ),
    "from": (
        (
            f"[{{model: m, per_million_tokens: {PRICED}, "
            "tiers: [{from_input_tokens: 9, per_million_tokens: {input: 2, output: 20}}]}]"
        ),
        {"usage": usage(prompt_tokens_details={"cached_tokens": 4})},
        "0.000058",
        "exact",
    ),
    "highest tier": (
        (
            f"[{{model: m, per_million_tokens: {PRICED}, "
            "tiers: [{from_input_tokens: 9, per_million_tokens: {input: 3, output: 30}}, "
            "{from_input_tokens: 2, per_million_tokens: {input: 2, output: 20}}]}]"
        ),
        {},
        "0.000087",
        "exact",
    ),
    "service tier": (
        (
            f"[{{model: m, per_million_tokens: {PRICED}, "
            "service_tiers: {flex: {per_million_tokens: {input: 0.5, output: 5}}}}]"
        ),
        {"service_tier": "flex"},
        "0.0000145",
        "exact",
    ),
    "default tier": (
        (
            f"[{{model: m, per_million_tokens: {PRICED}, "
            "service_tiers: {flex: {per_million_tokens: {input: 0.5, output: 5}}}}]"
        ),
        {"service_tier": "default"},
        "0.000029",
        "exact",
    ),
    "per request": (
        f"[{{model: m, per_million_tokens: {PRICED}, per_request: 0.01}}]",
        {},
        "0.010029",
        "exact",
    ),
    "from today": (
        f"[{{model: m, per_million_tokens: {PRICED}, valid_from: TODAY}}]",
        {},
        "0.000029",
        "exact",
    ),
    "from tomorrow": (
        f"[{{model: m, per_million_tokens: {PRICED}, valid_from: TOMORROW}}]",
        {},
        None,
        "missing",
    ),
    "until yesterday": (
        (
            f"[{{model: m, per_million_tokens: {PRICED}, valid_until: YESTERDAY}}, "
            "{model: m, per_million_tokens: {input: 2, output: 20}}]"
        ),
        {},
        "0.000058",
        "exact",
    ),
    "other currency": (
        f"[{{model: m, per_million_tokens: {PRICED}}}]\ncurrency: EUR\nusd_rate: 1.5",
        {},
        "0.0000435",
        "exact",
    ),
    "half to even, down": (
        "[{model: m, per_million_tokens: {input: 0.0000005, output: 0}}]",
        {"usage": usage(1, 0)},
        "0",
        "exact",
    ),
    "half to even, up": (
        "[{model: m, per_million_tokens: {input: 0.0000005, output: 0}}]",
        {"usage": usage(3, 0)},
        "0.000000000002",
        "exact",
    ),
    "rounded once": (
        "[{model: m, per_million_tokens: {input: 0.0000005, output: 0.0000005}}]",
        {"usage": usage(1, 1)},
        "0.000000000001",
        "exact",
    ),
    "provider's own": (
        f"[{{model: other, per_million_tokens: {PRICED}}}]",
        {"usage": usage(cost=0.000123)},
        "0.000123",
        "provider",
    ),
}


class TestPrices:
    """What it cost, or that this is not known."""

    @pytest.mark.parametrize("kind", PRICES)
    def test_file(self, upstream: Upstream, tmp_path: Path, kind: str) -> None:
        """A price file means what it says: the cost is exact, and what lacks a price has none."""
        text, members, cost, status = PRICES[kind]
        today = datetime.now(UTC).date()
        days = {"TODAY": 0, "TOMORROW": 2, "YESTERDAY": -1}
        for name, days_off in days.items():
            text = re.sub(rf"\b{name}\b", str(today + timedelta(days=days_off)), text)
        file = tmp_path / "prices.yaml"
        file.write_text(f"prices: {text}\n")
        upstream.answer = lambda _: answered(whole("m", **members))
        with running_house(upstream.url, prices={"files": [str(file)], "catalogue": "off"}) as house:
            chat(house, model="m")
            recorded(house)
            line = json.loads(house.log.getvalue().splitlines()[-1], parse_float=Decimal)
            scrape = Scrape(house.admin_url)

        assert (None if cost is None else Decimal(cost), status) == (line["cost_usd"], line["price_status"])
        counted = [s.value for s in scrape.samples if s.name == "meter_cost_usd_total"]
        assert ([] if cost is None else [pytest.approx(float(cost), rel=1e-9)]) == counted
        unpriced = sum(line["usage"].values()) if status == "missing" else 0
        assert unpriced == scrape.total("meter_unpriced_tokens_total")
        assert 1 == scrape.total("meter_accounting_total", price_status=status)
        if status == "exact":
            assert line["price_source"] == str(file)

    def test_cache_savings(self, upstream: Upstream, tmp_path: Path) -> None:
        """Savings are what cached input would have cost as plain input, less what it did."""
        file = tmp_path / "prices.yaml"
        file.write_text(
            "prices: [{model: m, per_million_tokens: {input: 1, input_cached: 0.25, output: 1}}]\n"
        )
        details = {"cached_tokens": 4}
        upstream.answer = lambda _: answered(whole("m", usage=usage(prompt_tokens_details=details)))
        with running_house(upstream.url, prices={"files": [str(file)]}) as house:
            chat(house, model="m")
            recorded(house)

            saved = Scrape(house.admin_url).total("meter_cache_savings_usd_total", model="m")
        assert pytest.approx(0.000003, rel=1e-9) == saved

    @pytest.mark.parametrize(
        ("catalogue", "provider", "expected"),
        [
            ("on", None, "list"),
            ("on", "openai", "exact"),
            ("known", None, "missing"),
            ("known", "openai", "exact"),
            ("off", None, "missing"),
            ("off", "openai", "missing"),
        ],
    )
    def test_catalogue(self, upstream: Upstream, catalogue: str, provider: str | None, expected: str) -> None:
        """The catalogue prices exactly where the provider is known, else by list, unless told not to."""
        up = {"name": "up", "base_url": upstream.url, "provider": provider}
        with running_house("", upstreams=[up], prices={"catalogue": catalogue}) as house:
            chat(house)
            line = recorded(house)

        assert (expected, expected == "missing") == (line["price_status"], line["cost_usd"] is None)

    def test_the_file_comes_first(self, upstream: Upstream, tmp_path: Path) -> None:
        """A price of the file stands before the catalogue's."""
        file = tmp_path / "prices.yaml"
        file.write_text("prices: [{model: gpt-4o, per_million_tokens: {input: 1000000, output: 0}}]\n")
        with running_house(upstream.url, prices={"files": [str(file)]}) as house:
            chat(house)
            line = recorded(house)

        assert (9, "exact", str(file)) == (line["cost_usd"], line["price_status"], line["price_source"])


class TestCommands:
    """What a shell sees."""

    @pytest.mark.parametrize(
        ("argv", "code"),
        [
            ((), 2),
            (("nonsense",), 2),
            (("serve", "--nonsense"), 2),
            (("serve",), 2),
            (("serve", "--config", "/nowhere.yaml"), 2),
            (("serve", "--upstream", "nonsense"), 2),
            (("serve", "--upstream", "http://h", "--port", "many"), 2),
            (("config", "check"), 2),
            (("config", "check", "/nowhere.yaml"), 2),
            (("demo", "--seconds", "0"), 2),
            (("--help",), 0),
            (("serve", "--help"), 0),
        ],
    )
    def test_exit_codes(self, argv: tuple[str, ...], code: int) -> None:
        """A wrong command line or configuration is 2, and says what is wrong without a traceback."""
        with process(*argv) as meter:
            assert code == meter.ended()
            assert bool(code) == bool(meter.stderr)
            assert b"Traceback" not in meter.stderr

    def test_wrong_settings_all_at_once(self, tmp_path: Path) -> None:
        """Each wrong setting is told with file, key, what came and what was expected, all in one go."""
        file = tmp_path / "meter.yaml"
        file.write_text(
            "upstreams: [{name: a, base_url: 'ftp://h', usage: sometimes}]\n"
            "port: 70000\n"
            "timeouts: {drain: soon}\n"
            "limits: {inspect_bytes: -1}\n"
            "nonsense: 1\n"
        )
        with process("config", "check", str(file)) as meter:
            assert 2 == meter.ended()
            said = meter.stderr.decode().splitlines()

        wrong = ("base_url", "usage", "port", "timeouts.drain", "limits.inspect_bytes", "nonsense")
        for key in wrong:
            (line,) = [line for line in said if f"{key}: " in line]
            assert line.startswith(str(file))
            assert "expected" in line
        for came in ("'ftp://h'", "'sometimes'", "70000", "'soon'", "-1"):
            assert any(f"got {came}," in line for line in said), came
        assert len(wrong) == len(said)

    def test_right_settings(self, tmp_path: Path) -> None:
        """A file in which everything is set is right: exit code 0 and nothing on standard error."""
        file = tmp_path / "meter.yaml"
        file.write_text(
            """
upstreams:
  - name: openai
    base_url: https://api.openai.com/v1
    default: true
    provider: openai
    usage: auto
    on_client_disconnect: cancel
    tls: {ca: , verify: true}
    proxy: off
    resend_post: false
    timeouts: {}
  - {name: deepseek, base_url: https://api.deepseek.com, prefix: /deepseek}
keys:
  - {name: search-team, fingerprint: k_0123456789ab, tags: {team: search}}
attribution: {headers: {user: x-user-id, team: x-team}, labels: [team], strip: false}
prices: {catalogue: on}
budgets: [{name: search, key: search-team, usd: 500, period: month, stop: false}]
usage: {estimate: true}
timeouts: {connect: 10s, idle: 15m, client_head: 30s, client_body: 60s, keep_alive: 75s, drain: 5m}
limits: {inspect_bytes: 64MiB, inspect_total: 512MiB, event_bytes: 1MiB, body_bytes: off, header_bytes: 64KiB,
  series: {model: 200, key: 200, tag: 100, id_sets: 1000}}
forwarded: off
response_headers: {id: true, cost: false}
tls: {cert: , key: }
admin: {token: , public: [healthz, readyz, metrics]}
ledger: {url: , retention: 90d, rollups: true}
metrics: {}
tracing: {endpoint: , propagate: false, content: false}
log: {format: json, level: info}
"""
        )
        with process("config", "check", str(file)) as meter:
            assert (0, b"") == (meter.ended(), meter.stderr)

    def test_precedence(self, tmp_path: Path) -> None:
        """Variables override the file, member by member, with lists as JSON; the rest is as the file says."""
        file = tmp_path / "meter.yaml"
        file.write_text(
            "upstreams: [{name: a, base_url: http://a}]\n"
            "timeouts: {drain: 1m, idle: 2m}\nlimits: {series: {model: 7, key: 8}}\nadmin_port: 1\n"
        )
        environ = {
            "METER_CONFIG": str(file),
            "METER_TIMEOUTS__DRAIN": "3m",
            "METER_LIMITS__SERIES__MODEL": "9",
            "METER_ATTRIBUTION__LABELS": '["team", "app"]',
            "METER_ADMIN_PORT": "2",
        }
        with process("config", "show", **environ) as meter:
            assert (0, b"") == (meter.ended(), meter.stderr)
            shown = meter.stdout.decode()

        for line in ("drain: 3m", "idle: 2m", "model: 9", "key: 8", "- team", "- app", "admin_port: 2"):
            assert re.search(rf"^ *{line}$", shown, re.MULTILINE), line
        assert "base_url: http://a" in shown

    def test_command_line_wins(self, tmp_path: Path) -> None:
        """The command line stands above variables and file."""
        file = tmp_path / "meter.yaml"
        file.write_text("upstreams: [{name: filed, base_url: http://127.0.0.1:1}]\nport: 1\nadmin_port: 1\n")
        argv = ("serve", "--config", str(file), "--port", "0", "--admin-port", "0")
        with process(*argv, METER_PORT="2", METER_ADMIN_PORT="2") as meter:
            proxy, admin = meter.ready()

            assert not proxy.endswith((":1", ":2"))
            assert not admin.endswith((":1", ":2"))
            get(proxy, "/v1/models")
            until(meter.lines)
            assert "filed" == meter.lines()[0]["upstream"]

    def test_demo(self) -> None:
        """`meter demo` is ready on both ports without a key, and ends with 0 when its time is up."""
        with process("demo", "--port", "0", "--admin-port", "0", "--seconds", "1", "--no-traffic") as meter:
            assert 0 == meter.ended()
            assert 2 == len(re.findall(rb"\bready\b.*http://127\.0\.0\.1:[1-9]", meter.stdout))
