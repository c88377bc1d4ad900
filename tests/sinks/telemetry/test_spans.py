"""What is told of an exchange as spans: a table from the record to names, status and attributes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs

from meter import semconv
from meter.exchange import Exchange, Outcome, PriceStatus, Spans, UsageSource
from meter.sinks.telemetry.spans import addresses, route, spans

TRACE = "0af7651916cd43dd8448eb211c80319c"
DRAWN = Spans(
    trace_id=TRACE,
    parent_id="b7ad6b7169203331",
    server_id="1011121314151617",
    client_id="18191a1b1c1d1e1f",
    sampled=True,
    state="a=1",
)
UPSTREAMS = addresses([("up", "https://api.example/v1"), ("local", "http://127.0.0.1:8000")])


def exchange(**changes: Any) -> Exchange:
    """Return an exchange that ended well."""
    told: dict[str, Any] = {
        "id": "01a",
        "started_at": 1_700_000_000.25,
        "upstream": "up",
        "provider": "openai",
        "operation": "chat",
        "method": "POST",
        "path": "/v1/chat/completions",
        "key": "team",
        "tags": {"team": "search"},
        "trace_id": TRACE,
        "spans": DRAWN,
        "outcome": Outcome.OK,
        "status": 200,
        "stream": True,
        "attempts": 1,
        "parameters": {semconv.REQUEST_TEMPERATURE: 0.5, semconv.REQUEST_STREAM: True},
        "question": '{"messages":[{"role":"user","content":"hi"}]}',
        "answer": "Hello",
        "request_model": "gpt-4o",
        "response_model": "gpt-4o-2024-08-06",
        "service_tier": "default",
        "finish_reasons": ("stop",),
        "response_id": "c1",
        "usage": {
            "input": 10,
            "input_cached": 5,
            "input_cached_audio": 1,
            "output": 4,
            "output_reasoning": 3,
        },
        "usage_source": UsageSource.REPORTED,
        "cost_usd": Decimal("0.001"),
        "price_status": PriceStatus.EXACT,
        "duration_s": 2.0,
        "sent_s": 0.5,
        "ttft_s": 1.0,
        "last_content_s": 1.5,
        "overhead_request_s": 0.1,
        "overhead_response_s": 0.25,
        "request_bytes": 100,
        "response_bytes": 200,
    }
    return Exchange(**{**told, **changes})


def test_serving_and_asking() -> None:
    """An exchange is a span of Meter's own, and one below it in which the upstream was asked."""
    serving, asking = spans(exchange(), UPSTREAMS)

    assert ("POST /v1/chat/completions", True, "b7ad6b7169203331", True) == (
        serving.name,
        serving.serves,
        serving.parent_id,
        serving.remote,
    )
    assert ("chat gpt-4o", False, serving.span_id, False) == (
        asking.name,
        asking.serves,
        asking.parent_id,
        asking.remote,
    )
    assert {(TRACE, "a=1", False)} == {(s.trace_id, s.state, s.error) for s in (serving, asking)}


def test_times() -> None:
    """Meter's span lasts from the first byte to the last; the other while the upstream was at it."""
    serving, asking = spans(exchange(), UPSTREAMS)

    second = 1_000_000_000
    began = 1_700_000_000_250_000_000
    assert (began, began + 2 * second) == (serving.begins, serving.ends)
    assert (began + second // 2, began + 2 * second - second // 4) == (asking.begins, asking.ends)


def test_attributes_of_serving() -> None:
    """Meter's own span is told as HTTP; what was used is not."""
    serving, _ = spans(exchange(), UPSTREAMS, scheme="https")

    assert {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "url.path": "/v1/chat/completions",
        "url.scheme": "https",
        "http.response.status_code": 200,
        "http.request.body.size": 100,
        "http.response.body.size": 200,
        "meter.id": "01a",
        "meter.key": "team",
        "meter.upstream": "up",
        "meter.outcome": "ok",
        "meter.tag.team": "search",
    } == serving.attributes


def test_attributes_of_asking() -> None:
    """The span below has all that is said of models, tokens and cost, by the conventions' names."""
    _, asking = spans(exchange(), UPSTREAMS)

    assert {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.id": "c1",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": 0.5,
        "openai.response.service_tier": "default",
        "gen_ai.usage.input_tokens": 16,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 6,
        "gen_ai.usage.reasoning.output_tokens": 3,
        "server.address": "api.example",
        "server.port": 443,
        "meter.id": "01a",
        "meter.key": "team",
        "meter.upstream": "up",
        "meter.outcome": "ok",
        "meter.cost_usd": 0.001,
        "meter.usage_source": "reported",
        "meter.price_status": "exact",
        "meter.tag.team": "search",
    } == asking.attributes


def test_cache_writes() -> None:
    """What was written to a cache is told under the old name and the new."""
    usage = {"input": 1, "input_cache_write": 2, "input_cache_write_5m": 3, "input_cache_write_1h": 4}
    _, asking = spans(exchange(usage=usage), UPSTREAMS)

    assert (10, 9, 9) == (
        asking.attributes["gen_ai.usage.input_tokens"],
        asking.attributes["gen_ai.usage.cache_creation.input_tokens"],
        asking.attributes["gen_ai.usage.cache_write.input_tokens"],
    )
    assert "gen_ai.usage.output_tokens" not in asking.attributes
    assert "gen_ai.usage.cache_read.input_tokens" not in asking.attributes


def test_unknown_is_absent() -> None:
    """What is not known is left out, and never 0 or empty."""
    bare = Exchange(
        id="01a",
        started_at=0.0,
        method="POST",
        path="/v1/chat/completions",
        operation="chat",
        outcome=Outcome.OK,
        attempts=1,
        overhead_request_s=0.0,
        spans=DRAWN,
    )
    serving, asking = spans(bare, {})

    assert "http.response.status_code" not in serving.attributes
    assert {
        "gen_ai.operation.name": "chat",
        "meter.id": "01a",
        "meter.key": "none",
        "meter.upstream": "none",
        "meter.outcome": "ok",
        "meter.usage_source": "none",
        "meter.price_status": "none",
    } == asking.attributes
    assert "chat" == asking.name


@pytest.mark.parametrize(
    ("outcome", "status", "error_type", "expected"),
    [
        (Outcome.OK, 200, "", (False, None, False)),
        (Outcome.CLIENT_ERROR, 429, "rate_limit_exceeded", (False, None, True)),
        (Outcome.UPSTREAM_ERROR, 500, "http_500", (True, "http_500", True)),
        (Outcome.STREAM_ERROR, 200, "server_error", (True, "server_error", True)),
        (Outcome.TRUNCATED, 200, "truncated", (True, "truncated", True)),
        (Outcome.TIMEOUT, 504, "timeout", (True, "timeout", True)),
        (Outcome.UNREACHABLE, 502, "unreachable", (True, "unreachable", True)),
        (Outcome.CLIENT_CLOSED, 200, "client_closed", (False, "client_closed", False)),
        (Outcome.CLIENT_CLOSED, None, "client_closed", (False, "client_closed", False)),
    ],
)
def test_errors(
    outcome: Outcome, status: int | None, error_type: str, expected: tuple[bool, str | None, bool]
) -> None:
    """A refusal is an error of whoever asked, a failure of both; that a client left is nobody's."""
    serving, asking = spans(exchange(outcome=outcome, status=status, error_type=error_type), UPSTREAMS)

    assert expected == (serving.error, serving.attributes.get("error.type"), asking.error)
    assert (error_type or None) == asking.attributes.get("error.type")


@pytest.mark.parametrize(("status", "error"), [(404, False), (503, True)])
def test_refusals(status: int, error: bool) -> None:
    """What Meter refused itself has no span below it."""
    refused = exchange(outcome=Outcome.REJECTED, status=status, error_type="no_upstream", attempts=0)
    (serving,) = spans(refused, UPSTREAMS)

    assert (error, "no_upstream") == (serving.error, serving.attributes["error.type"])


def test_unsampled() -> None:
    """What is not sampled is not told."""
    assert [] == spans(exchange(spans=structs.replace(DRAWN, sampled=False)), UPSTREAMS)
    assert [] == spans(exchange(spans=None), UPSTREAMS)


def test_turns() -> None:
    """A response inside of a WebSocket is one span, below that of the connection."""
    turn = exchange(
        method="GET",
        path="/v1/realtime",
        operation="realtime",
        status=101,
        overhead_request_s=None,
        sent_s=0.0,
    )
    (asking,) = spans(turn, UPSTREAMS)

    assert ("realtime gpt-4o", False, DRAWN.parent_id, DRAWN.client_id) == (
        asking.name,
        asking.serves,
        asking.parent_id,
        asking.span_id,
    )


def test_content_is_opt_in() -> None:
    """Prompt and answer are told only where they are wanted, as messages."""
    _, without = spans(exchange(), UPSTREAMS)
    _, asking = spans(exchange(), UPSTREAMS, content=True)

    assert without.attributes.items() < asking.attributes.items()
    assert {
        "gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"hi"}]}]',
        "gen_ai.output.messages": '[{"role":"assistant","parts":[{"type":"text","content":"Hello"}],'
        '"finish_reason":"stop"}]',
    } == {k: v for k, v in asking.attributes.items() if k not in without.attributes}


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/v1/chat/completions", "/v1/chat/completions"),
        ("POST", "/deepseek/chat/completions/", "/v1/chat/completions"),
        ("POST", "/openai/deployments/mine/chat/completions", "/v1/chat/completions"),
        ("POST", "/v1/messages", "/v1/messages"),
        ("POST", "/v1/messages/count_tokens", "/v1/messages/count_tokens"),
        ("POST", "/api/chat", "/api/chat"),
        ("POST", "/v2/chat", "/v2/chat"),
        (
            "POST",
            "/v1beta/models/gemini-x:streamGenerateContent",
            "/v1beta/models/{model}:streamGenerateContent",
        ),
        ("POST", "/v1beta/models/gemini-x:nonsense", None),
        ("GET", "/v1/models/gpt-4o", None),
        ("POST", "/v1/something/else", None),
        ("POST", "", None),
    ],
)
def test_routes(method: str, path: str, expected: str | None) -> None:
    """Few paths have a name of their own, and clients cannot invent one."""
    assert expected == route(exchange(method=method, path=path))


def test_strange_methods() -> None:
    """A method that HTTP does not know is told as the conventions tell it."""
    serving = spans(exchange(method="BREW", path="/x", operation="other"), UPSTREAMS)[0]

    assert ("HTTP", "_OTHER") == (serving.name, serving.attributes["http.request.method"])


def test_what_no_collector_takes() -> None:
    """Lone surrogates and numbers beyond 64 bits cost an attribute at most, and never the span."""
    strange = exchange(
        path="/v1/\udcff", request_model="m\ud800", tags={"t\ud800": "v\udfff"}, usage={"input": 2**70}
    )
    serving, asking = spans(strange, UPSTREAMS)

    assert ("/v1/?", "v?") == (serving.attributes["url.path"], serving.attributes["meter.tag.t?"])
    assert ("chat m?", "m?") == (asking.name, asking.attributes["gen_ai.request.model"])
    assert "gen_ai.usage.input_tokens" not in asking.attributes


def test_addresses() -> None:
    """Ports that a base URL leaves out are those of its scheme."""
    assert {"up": ("api.example", 443), "local": ("127.0.0.1", 8000)} == dict(UPSTREAMS)
