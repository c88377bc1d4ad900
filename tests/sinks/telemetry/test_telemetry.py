"""Meter in front of an upstream and with a collector behind it: what comes there, and what it may cost."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from otlp import Collector, attributes, collector
from stage import House, ask, post, running_house, says, scripted_upstream, until
from test_app import process
from test_promises import CHAT, DONE, STREAM, TRACE, event, usage
from test_tunnel import REALTIME, dial, library
from websockets.exceptions import ConnectionClosed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stage import Scripted
    from websockets.asyncio.server import ServerConnection

SPAN = "00f067aa0ba902b7"
PARENT = f"traceparent: 00-{TRACE}-{SPAN}-01"
BOTH = pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let batches gather for a moment only."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "20")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "50")


@pytest.fixture
def upstream() -> Iterator[Scripted]:
    """Give an upstream that streams a chat."""
    with scripted_upstream() as scripted:
        scripted.script = says(HEAD, STREAM)
        yield scripted


def chat(house: House, *fields: str, **members: Any) -> str:
    """Send a chat; return its `x-meter-id`."""
    body = json.dumps({"model": "gpt-4o", "stream": True, "messages": [], **members}).encode()
    head, answer = ask(house.url, post(CHAT, body, *fields))
    assert b" 200 " in head.splitlines()[0]
    assert answer
    found = re.search(rb"x-meter-id: (\S+)", head)
    assert found
    return found[1].decode()


def of(told: Collector, id_: str, kind: str) -> Any:
    """Return the span of one kind that an exchange has, once it is there."""
    found = until(lambda: [s for s in told.spans if s.attributes["meter.id"] == id_ and s.kind == kind])
    assert 1 == len(found)
    return found[0]


@BOTH
def test_round_trip(upstream: Scripted, protocol: str) -> None:
    """A chat comes to the collector as two spans below the client's, with attributes of the right types."""
    prompt = {"cached_tokens": 4, "cache_write_tokens": 2}
    details = {"prompt_tokens_details": prompt, "completion_tokens_details": {"reasoning_tokens": 1}}
    upstream.script = says(
        HEAD, event({"content": "Hi"}), event({}, "stop"), event(usage=usage(9, 2, **details)), DONE
    )
    key = {"name": "search-team", "fingerprint": "k_2c70e12b7a06", "tags": {"team": "search"}}
    with collector(protocol) as told:
        tracing = {"endpoint": told.url, "protocol": protocol}
        with running_house(upstream.url, tracing=tracing, keys=[key]) as house:
            before = time.time_ns()
            asked = {"temperature": 1, "max_tokens": 7, "seed": 3, "top_p": 0.5, "n": 1}
            id_ = chat(house, PARENT, "tracestate: a=1,b=2", **asked)
            after = time.time_ns()
            serving, asking = of(told, id_, "SERVER"), of(told, id_, "CLIENT")
            line = house.line(id_)

    assert ("POST /v1/chat/completions", TRACE, SPAN) == (serving.name, serving.trace, serving.parent)
    assert ("chat gpt-4o", TRACE, serving.id) == (asking.name, asking.trace, asking.parent)
    assert {"a=1,b=2"} == {serving.state, asking.state}
    assert {"UNSET"} == {serving.status, asking.status}
    slack = 50_000_000
    assert before - slack <= serving.begins <= asking.begins <= asking.ends <= serving.ends <= after + slack
    assert line["duration_s"] == pytest.approx((serving.ends - serving.begins) / 1e9, abs=1e-5)
    port = int(upstream.url.rpartition(":")[2])
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 1.0,
        "gen_ai.request.top_p": 0.5,
        "gen_ai.request.max_tokens": 7,
        "gen_ai.request.seed": 3,
        "gen_ai.request.choice.count": 1,
        "gen_ai.response.id": "c1",
        "gen_ai.response.model": "gpt-4o",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 2,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.reasoning.output_tokens": 1,
        "server.address": "127.0.0.1",
        "server.port": port,
        "meter.id": id_,
        "meter.key": "none",
        "meter.upstream": "up",
        "meter.outcome": "ok",
        "meter.cost_usd": line["cost_usd"],
        "meter.usage_source": "reported",
        "meter.price_status": line["price_status"],
    }
    found = {name: value for name, value in asking.attributes.items() if name in expected}
    assert expected == found
    assert {name: type(value) for name, value in expected.items()} == {n: type(v) for n, v in found.items()}
    first = asking.attributes["gen_ai.response.time_to_first_chunk"]
    assert 0 <= first <= line["ttft_s"]
    assert not any(name.startswith("gen_ai") for name in serving.attributes)
    assert ("meter", "meter") == (asking.resource["service.name"], asking.scope[0])
    assert asking.resource["service.version"] == asking.scope[1]


def test_no_content_unless_wanted(upstream: Scripted) -> None:
    """Neither prompt nor answer is in a span, until that is switched on."""
    secret = [{"role": "user", "content": "promptcanary"}]
    upstream.script = says(HEAD, event({"content": "answercanary"}), event({}, "stop"), DONE)
    for content in (False, True):
        with collector() as told:
            with running_house(upstream.url, tracing={"endpoint": told.url, "content": content}) as house:
                asking = of(told, chat(house, messages=secret), "CLIENT")
            sent = "".join(str(message) for _, message, _ in told.requests)
        assert [content] * 2 == [canary in sent for canary in ("promptcanary", "answercanary")]
        assert content == ("gen_ai.input.messages" in asking.attributes)


def test_no_secrets(upstream: Scripted) -> None:
    """Neither credentials nor a query are in a span."""
    with collector() as told:
        with running_house(upstream.url, tracing={"endpoint": told.url}) as house:
            body = json.dumps({"model": "gpt-4o", "stream": True}).encode()
            ask(house.url, post(f"{CHAT}?key=querycanary", body, "Authorization: Bearer keycanary"))
            until(lambda: told.spans)
        sent = "".join(str(message) for _, message, _ in told.requests)

    assert "canary" not in sent
    assert "k_" in sent


@pytest.mark.parametrize("name", ["traceparent", "TraceParent"])
def test_propagates_where_wanted(upstream: Scripted, name: str) -> None:
    """The client's field passes byte for byte, or names the span below in its place."""
    sent = f"{name}: 00-{TRACE}-{SPAN}-01"
    for propagate in (False, True):
        with collector() as told:
            tracing = {"endpoint": told.url, "propagate": propagate}
            with running_house(upstream.url, tracing=tracing) as house:
                asking = of(told, chat(house, sent, "tracestate: a=1"), "CLIENT")
        lines = upstream.requests[-1].decode().split("\r\n")
        expected = f"{name}: 00-{TRACE}-{asking.id}-01" if propagate else sent

        assert [expected] == [line for line in lines if line.lower().startswith("traceparent")]
        assert "tracestate: a=1" in lines


def test_adds_a_parent_only_where_it_propagates(upstream: Scripted) -> None:
    """Where a client sends none, one goes up with propagation on, and none with it off."""
    for propagate in (False, True):
        with collector() as told:
            tracing = {"endpoint": told.url, "propagate": propagate}
            with running_house(upstream.url, tracing=tracing) as house:
                id_ = chat(house)
                asking = of(told, id_, "CLIENT")
                line = house.line(id_)
        went = re.findall(rb"(?i)traceparent: (\S+)", upstream.requests[-1])

        assert ([f"00-{asking.trace}-{asking.id}-01".encode()] if propagate else []) == went
        assert asking.trace == line["trace_id"]


def test_samples(upstream: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many traces are told as the sampler says, and a client that says not to is not told."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    with collector() as told:
        with running_house(upstream.url, tracing={"endpoint": told.url, "propagate": True}) as house:
            for i in range(40):
                trace = f"{'1' * 16}{i << 59 | 1:016x}"[:32]
                chat(house, f"traceparent: 00-{trace}-{SPAN}-0{i % 2}")
            drawn = [chat(house) for _ in range(40)]
        ids = {span.attributes["meter.id"] for span in told.spans}

    assert 20 == len(ids - set(drawn))
    assert 0 < len(ids & set(drawn)) < 40
    flags = re.findall(rb"(?i)traceparent: 00-\w+-\w+-(\d\d)", b"".join(upstream.requests))
    assert len(ids) == flags.count(b"01")


@BOTH
@pytest.mark.parametrize("status", [503, 429, 401])
def test_collector_that_refuses(
    upstream: Scripted, protocol: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs spans, each of which is counted, and one line in the log; requests go on as ever."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "300")
    with collector(protocol) as told:
        told.status = status
        with running_house(upstream.url, tracing={"endpoint": told.url, "protocol": protocol}) as house:
            for _ in range(5):
                chat(house)
            until(lambda: house.value("meter_sink_dropped_total", sink="traces") == 5)
            assert 5 == house.value("meter_requests_total", outcome="ok")
            assert 1 <= house.value("meter_sink_errors_total", sink="traces")
        (failing,) = house.lines("sink_failing")
        assert [] == house.lines("library")

    names = {503: "UNAVAILABLE", 429: "RESOURCE_EXHAUSTED", 401: "UNAUTHENTICATED"}
    code = names[status] if protocol == "grpc" else status
    assert ("traces", "ExportError", f"the collector answered {code}") == (
        failing["sink"],
        failing["exception"],
        failing["reason"],
    )
    assert [] == told.spans


def test_collector_that_asks_to_wait(upstream: Scripted) -> None:
    """What a collector cannot take now is sent again when it said to, and nothing is lost."""
    with collector() as told:
        told.status, told.fields = 503, {"Retry-After": "0"}
        with running_house(upstream.url, tracing={"endpoint": told.url}) as house:
            id_ = chat(house)
            until(lambda: told.attempts)
            told.status = 200
            of(told, id_, "SERVER")
            assert 0 == house.value("meter_sink_dropped_total", sink="traces")


@BOTH
def test_collector_that_is_away(upstream: Scripted, protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody listens, requests go on, and what is lost is counted by the end at the latest."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "300")
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    with running_house(upstream.url, tracing={"endpoint": url, "protocol": protocol}) as house:
        for _ in range(5):
            chat(house)
    assert (5, 5) == (
        house.value("meter_requests_total", outcome="ok"),
        house.value("meter_sink_dropped_total", sink="traces"),
    )


@BOTH
def test_collector_that_hangs(upstream: Scripted, protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds up neither requests nor, for long, the end; all that it did not take is counted."""
    monkeypatch.setattr("meter.sinks.telemetry.signals._CLOSE_SECONDS", 0.2)
    with collector(protocol) as told:
        told.delay = 60
        with running_house(upstream.url, tracing={"endpoint": told.url, "protocol": protocol}) as house:
            for _ in range(3):
                chat(house)
            until(lambda: told.attempts)
            for _ in range(3):
                chat(house)
            assert 0 == house.value("meter_sink_dropped_total", sink="traces")
        assert (6, 6) == (
            house.value("meter_requests_total", outcome="ok"),
            house.value("meter_sink_dropped_total", sink="traces"),
        )


@BOTH
def test_collector_that_is_slow(upstream: Scripted, protocol: str) -> None:
    """What it takes in time is not lost: the end waits for it a while."""
    with collector(protocol) as told:
        told.delay = 0.3
        with running_house(upstream.url, tracing={"endpoint": told.url, "protocol": protocol}) as house:
            ids = [chat(house) for _ in range(6)]
        assert 0 == house.value("meter_sink_dropped_total", sink="traces")
        assert set(ids) == {span.attributes["meter.id"] for span in told.spans}


@BOTH
def test_collector_that_hangs_on_everything(
    upstream: Scripted, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all signals on, the end is held up no longer than with one, and log records are counted too."""
    monkeypatch.setattr("meter.sinks.telemetry.signals._CLOSE_SECONDS", 0.2)
    with collector(protocol) as told:
        told.delay = 60
        tracing = {"endpoint": told.url, "protocol": protocol}
        with running_house(
            upstream.url, tracing=tracing, log={"otlp": True}, metrics={"otlp": True}
        ) as house:
            chat(house)
            until(lambda: told.attempts >= 3)
        assert [1, 1] == [
            house.value("meter_sink_dropped_total", sink=sink) for sink in ("traces", "otlp_logs")
        ]


def test_failing_metrics_are_told(upstream: Scripted) -> None:
    """An export of metrics that fails is counted; the next one has all of them."""
    with collector() as told:
        told.status = 400
        with running_house(upstream.url, tracing={"endpoint": told.url}, metrics={"otlp": True}) as house:
            chat(house)
            until(lambda: house.value("meter_sink_errors_total", sink="otlp_metrics"))
            told.status = 200
            until(lambda: "gen_ai.client.operation.duration" in told.metrics)


def test_full_queue(upstream: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a collector hangs, so many wait as the variable says; the rest is dropped and counted at once."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    with collector() as told:
        told.delay = 60
        with running_house(upstream.url, tracing={"endpoint": told.url}) as house:
            chat(house)
            until(lambda: told.attempts)
            for _ in range(10):
                chat(house)
            until(lambda: house.value("meter_requests_total") == 11)
            assert 6 == house.value("meter_sink_dropped_total", sink="traces")
            told.delay = 0
            told.free.set()
        assert 6 == house.value("meter_sink_dropped_total", sink="traces")
        assert 10 == len(told.spans)


def test_partial_success(upstream: Scripted) -> None:
    """What a collector says that it rejected is counted, two spans as one exchange."""
    with collector() as told:
        told.rejected = 2
        with running_house(upstream.url, tracing={"endpoint": told.url}) as house:
            chat(house)
            until(lambda: house.value("meter_sink_dropped_total", sink="traces") == 1)
            assert 1 == house.value("meter_sink_errors_total", sink="traces")


def test_redirects_are_no_success(upstream: Scripted) -> None:
    """A collector that has moved has taken nothing, whatever the library makes of it."""
    with collector() as told:
        told.status, told.fields = 301, {"Location": "https://elsewhere.invalid/v1/traces"}
        with running_house(upstream.url, tracing={"endpoint": told.url}) as house:
            chat(house)
            until(lambda: house.value("meter_sink_dropped_total", sink="traces") == 1)


@BOTH
def test_variables_alone(upstream: Scripted, protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The standard variables are enough, with headers, compression, limits and resource as they say."""
    with collector(protocol) as told:
        for name, value in {
            "EXPORTER_OTLP_ENDPOINT": told.url,
            "EXPORTER_OTLP_PROTOCOL": protocol,
            "EXPORTER_OTLP_HEADERS": "x-token=abc%20d",
            "EXPORTER_OTLP_COMPRESSION": "gzip",
            "SERVICE_NAME": "gate",
            "RESOURCE_ATTRIBUTES": "deployment.environment.name=prod",
            "SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "5",
        }.items():
            monkeypatch.setenv(f"OTEL_{name}", value)
        with running_house(upstream.url) as house:
            chat(house)
        span = told.spans[0]
        fields = told.requests[0][2]

    assert ("gate", "prod") == (
        span.resource["service.name"],
        span.resource["deployment.environment.name"],
    )
    assert "abc d" == fields["x-token"]
    assert protocol == "grpc" or "gzip" == fields["content-encoding"]
    assert "/v1/c" == span.attributes["url.path"]


def test_reload(upstream: Scripted, tmp_path: Any) -> None:
    """Content, propagation and upstreams' addresses follow the settings while the proxy runs."""
    del tmp_path
    with collector() as told, scripted_upstream() as other:
        other.script = upstream.script
        told_settings: dict[str, Any] = {"tracing": {"endpoint": told.url}}
        with running_house(upstream.url, **told_settings) as house:
            first = of(told, chat(house), "CLIENT")
            settings = house.running._settings
            new = settings.model_copy(
                update={
                    "tracing": settings.tracing.model_copy(update={"content": True, "propagate": True}),
                    "upstreams": (settings.upstreams[0].model_copy(update={"base_url": f"{other.url}/v1"}),),
                }
            )
            house.running._read = lambda: new
            house.loop.run(house.running.reload())
            second = of(told, chat(house), "CLIENT")

    assert "gen_ai.output.messages" not in first.attributes
    assert "gen_ai.output.messages" in second.attributes
    assert int(other.url.rpartition(":")[2]) == second.attributes["server.port"]
    assert second.id.encode() in other.requests[0]


def test_many_at_once(upstream: Scripted) -> None:
    """Under many requests at once every exchange has two spans of its own, and no other."""
    ids: list[str] = []
    with collector() as told:
        with running_house(upstream.url, tracing={"endpoint": told.url}) as house:

            def some() -> None:
                for _ in range(20):
                    ids.append(chat(house))  # noqa: PERF401 - what has come counts, if one fails

            threads = [threading.Thread(target=some) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        spans = told.spans

    assert 160 == len(set(ids))
    for kind in ("SERVER", "CLIENT"):
        assert sorted(ids) == sorted(s.attributes["meter.id"] for s in spans if s.kind == kind)
    assert 320 == len({span.id for span in spans})
    serving = {s.attributes["meter.id"]: s.id for s in spans if s.kind == "SERVER"}
    assert all(serving[s.attributes["meter.id"]] == s.parent for s in spans if s.kind == "CLIENT")


def test_errors_and_refusals(upstream: Scripted) -> None:
    """An upstream's error is one of both spans; what Meter refuses is a span alone."""
    upstream.script = says(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    with collector() as told:
        with running_house(upstream.url, tracing={"endpoint": told.url}) as house:
            ask(house.url, post(CHAT, b'{"model":"gpt-4o"}'))
            ask(house.url, b"TRACE / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        spans = told.spans

    assert [("POST /v1/chat/completions", "ERROR"), ("chat gpt-4o", "ERROR"), ("TRACE", "UNSET")] == [
        (span.name, span.status) for span in spans
    ]
    assert ["http_500", "http_500"] == [span.attributes["error.type"] for span in spans[:2]]
    assert "rejected" == spans[2].attributes["meter.outcome"]


@BOTH
def test_metrics(upstream: Scripted, protocol: str) -> None:
    """Where it is wanted, the conventions' metrics come too, with their buckets, units and attributes."""
    with collector(protocol) as told:
        tracing = {"endpoint": told.url, "protocol": protocol}
        with running_house(upstream.url, tracing=tracing, metrics={"otlp": True}) as house:
            chat(house)
            chat(house)
            ask(house.url, b"GET /v1/models HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        metrics = told.metrics

    port = int(upstream.url.rpartition(":")[2])
    base = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o",
        "server.address": "127.0.0.1",
        "server.port": port,
    }
    seconds = [0.01 * 2**n for n in range(14)]
    for name in ("duration", "time_to_first_chunk", "time_per_output_chunk"):
        metric = metrics[f"gen_ai.client.operation.{name}"]
        (point,) = metric.histogram.data_points
        assert ("s", 2, base) == (metric.unit, point.count, attributes(point.attributes))
        assert seconds == pytest.approx(list(point.explicit_bounds))
    tokens = metrics["gen_ai.client.token.usage"]
    assert "{token}" == tokens.unit
    assert {("input", 18.0), ("output", 4.0)} == {
        (attributes(point.attributes)["gen_ai.token.type"], point.sum)
        for point in tokens.histogram.data_points
    }
    assert [4**n for n in range(14)] == list(tokens.histogram.data_points[0].explicit_bounds)


def test_metrics_tell_errors(upstream: Scripted) -> None:
    """An error is told by its type, and models that only errors know do not become names."""
    upstream.script = says(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    with collector() as told:
        with running_house(upstream.url, tracing={"endpoint": told.url}, metrics={"otlp": True}) as house:
            for i in range(5):
                ask(house.url, post(CHAT, json.dumps({"model": f"made-up-{i}"}).encode()))
        (point,) = told.metrics["gen_ai.client.operation.duration"].histogram.data_points

    assert ("__other__", "http_404", 5) == (
        attributes(point.attributes)["gen_ai.request.model"],
        attributes(point.attributes)["error.type"],
        point.count,
    )


@BOTH
def test_logs(upstream: Scripted, protocol: str) -> None:
    """Where it is wanted, each exchange is a log record as on standard output, in Meter's own span."""
    with collector(protocol) as told:
        tracing = {"endpoint": told.url, "protocol": protocol}
        with running_house(upstream.url, tracing=tracing, log={"otlp": True}) as house:
            id_ = chat(house, PARENT)
            serving = of(told, id_, "SERVER")
            line = house.line(id_)
        (record,) = [r for r in told.records if r.event_name == "exchange"]

    assert ("INFO", 9) == (record.severity_text, record.severity_number)
    assert (TRACE, serving.id) == (record.trace_id.hex(), record.span_id.hex())
    expected = {
        name: value
        for name, value in line.items()
        if value is not None and name not in ("timestamp", "level", "event")
    }
    assert expected == attributes(record.attributes)


def test_logs_as_the_log_is_set(upstream: Scripted) -> None:
    """Which exchanges are told of, how loud and with what, is as for standard output."""
    log = {"otlp": True, "outcomes": {"ok": "error"}, "content": True, "sample": {"client_error": 0}}
    with collector() as told:
        with running_house(upstream.url, tracing={"endpoint": told.url}, log=log) as house:
            id_ = chat(house)
            upstream.script = says(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            ask(house.url, post(CHAT, b'{"model":"gpt-4o"}'))
            until(lambda: house.value("meter_requests_total", code="404"))
        (record,) = told.records

    found = attributes(record.attributes)
    assert ("ERROR", id_, "Hi!") == (record.severity_text, found["id"], found["answer"])


def test_notes(upstream: Scripted) -> None:
    """Other events of the log can be told of, with what they say."""
    with collector() as told:
        with running_house(upstream.url, tracing={"endpoint": told.url}, log={"otlp": True}) as house:
            telemetry = house.running.audience._telemetry
            assert telemetry is not None
            telemetry.note("warning", "upstream_down", {"upstream": "up", "reason": None, "seconds": 1.5})
            telemetry.note("debug", "nothing", {})
        (record,) = told.records

    assert ("upstream_down", "WARNING", {"upstream": "up", "seconds": 1.5}) == (
        record.event_name,
        record.severity_text,
        attributes(record.attributes),
    )


def test_off_means_not_there() -> None:
    """Without telemetry, nothing of the library is imported."""
    code = "import sys, meter.app, meter.cli.serving; print([m for m in sys.modules if 'opentelemetry' in m])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)  # noqa: S603 - ourselves

    assert b"[]" == ran.stdout.strip()


@BOTH
def test_process_ends(protocol: str) -> None:
    """A collector that hangs does not hold up the end of the process for long, and it ends well."""
    with collector(protocol) as told, scripted_upstream() as scripted:
        scripted.script = says(HEAD, STREAM)
        told.delay = 60
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": told.url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_TIMEOUT": "30000",
            "OTEL_BSP_SCHEDULE_DELAY": "20",
        }
        argv = ("serve", "--upstream", scripted.url, "--port", "0", "--admin-port", "0", "--ledger", "off")
        with process(*argv, **environ) as meter:
            proxy, _ = meter.ready()
            ask(proxy, post(CHAT, b'{"model":"gpt-4o","stream":true}'))
            until(lambda: told.attempts)
            began = time.monotonic()
            meter.tell(signal.SIGTERM)
            assert 0 == meter.ended()
            assert time.monotonic() - began < 20
            assert b"" == meter.stderr


@pytest.mark.parametrize("name", ["OTEL_TRACES_SAMPLER", "OTEL_EXPORTER_OTLP_PROTOCOL"])
def test_wrong_variables(name: str) -> None:
    """A wrong variable is told at the start, with exit code 2 and no traceback."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", name: "nonsense"}
    argv = (
        "serve",
        "--upstream",
        "http://127.0.0.1:1",
        "--port",
        "0",
        "--admin-port",
        "0",
        "--ledger",
        "off",
    )
    with process(*argv, **environ) as meter:
        assert 2 == meter.ended()
        assert name.encode() in meter.stderr
        assert b"Traceback" not in meter.stderr


async def realtime(server: ServerConnection) -> None:
    """Answer as a realtime session does."""

    async def say(kind: str, **members: Any) -> None:
        await server.send(json.dumps({"type": kind, **members}))

    await say("session.created", session={"model": "gpt-realtime"})
    with suppress(ConnectionClosed):
        async for number in server:
            response = {"id": f"resp_{json.loads(number)['event_id']}", "status": "in_progress", "output": []}
            await say("response.created", response=response)
            used = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
            await say("response.done", response=response | {"status": "completed", "usage": used})


def test_turns_of_a_websocket() -> None:
    """Each response inside of a WebSocket is a span below the one that Meter serves the connection by."""
    with collector() as told, library(realtime) as url:
        with running_house(url, tracing={"endpoint": told.url}) as house:
            with dial(house, REALTIME, additional_headers={"traceparent": PARENT[13:]}) as client:
                client.recv(timeout=10)
                for number in (1, 2):
                    client.send(json.dumps({"type": "response.create", "event_id": str(number)}))
                    client.recv(timeout=10)
                    client.recv(timeout=10)
            until(lambda: len(house.lines()) == 3)
        spans = told.spans

    (serving,) = [span for span in spans if span.kind == "SERVER"]
    turns = [span for span in spans if "gen_ai.response.id" in span.attributes]
    (connection,) = [span for span in spans if span.kind == "CLIENT" and span not in turns]
    assert ("GET /v1/realtime", TRACE, SPAN) == (serving.name, serving.trace, serving.parent)
    assert [serving.id] * 3 == [span.parent for span in (connection, *turns)]
    assert ["resp_1", "resp_2"] == [span.attributes["gen_ai.response.id"] for span in turns]
    assert {"realtime gpt-realtime"} == {span.name for span in (connection, *turns)}
    assert [7, 7] == [span.attributes["gen_ai.usage.input_tokens"] for span in turns]
    assert "gen_ai.usage.input_tokens" not in connection.attributes
    slack = 1_000_000
    assert all(serving.begins <= turn.begins <= turn.ends <= serving.ends + slack for turn in turns)
