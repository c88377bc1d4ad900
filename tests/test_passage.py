"""What is seen of an exchange becomes its record, once, and says the same."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from meter.dialect import Request
from meter.dialects.chat import ChatCompletions
from meter.dialects.realtime import Realtime
from meter.exchange import Outcome, PriceStatus, RateLimit, UsageSource
from meter.passage import Passage, Refusal
from meter.session import Turn
from meter.tap import Tap

TRACE = "0af7651916cd43dd8448eb211c80319c"
LIMITS = (RateLimit(resource="requests", limit=10.0),)
CONTENT = b'data: {"id":"c1","model":"gpt-4o-2024-08-06","choices":[{"delta":{"reasoning":"a"}}]}\n\n'
END = (
    b'data: {"service_tier":"flex","choices":[{"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":2,"cost":0.5}}\n\ndata: [DONE]\n\n'
)


def passage(**more: Any) -> Passage:
    """Return the passage of a request that has just come."""
    fields = [(b"traceparent", f"00-{TRACE}-b7ad6b7169203331-01".encode())]
    return Passage(
        id="0",
        began=100.0,
        started_at=1_760_000_000.5,
        method="POST",
        path="/v1/chat/completions",
        fields=fields,
        peer="::1",
        **more,
    )


def answered(*pieces: tuple[float, bytes], status: int = 200) -> Tap:
    """Return a tap that has seen the beginning of an answer, as pieces and when they came."""
    tap = Tap(ChatCompletions())
    tap.answer(status, b"text/event-stream", None)
    for now, piece in pieces:
        tap.watch(piece, now)
    return tap


def test_records_what_was_seen() -> None:
    """All that is known of an exchange is in its record, with times counted from its first byte."""
    seen = passage(
        upstream="up",
        provider="openai",
        operation="chat",
        dialect=ChatCompletions(),
        key="team",
        tags={"team": "search"},
        request=Request(model="gpt-4o", stream=True, parameters={"top_p": 1}, question="[]"),
        tap=answered((101.0, CONTENT), (103.5, CONTENT), (104.0, END)),
        read_at=100.5,
        status=200,
        attempts=1,
        asked=True,
        request_bytes=70,
        response_bytes=700,
        request_overhead=0.001,
        response_overhead=0.002,
        upstream_request_id="req_1",
        rate_limits=LIMITS,
    )

    record = seen.record(105.0)

    told = {name: getattr(record, name) for name in record.__struct_fields__}
    assert {
        "id": "0",
        "started_at": 1_760_000_000.5,
        "upstream": "up",
        "provider": "openai",
        "operation": "chat",
        "method": "POST",
        "path": "/v1/chat/completions",
        "key": "team",
        "tags": {"team": "search"},
        "trace_id": TRACE,
        "spans": None,
        "outcome": Outcome.OK,
        "error_type": "",
        "status": 200,
        "stream": True,
        "attempts": 1,
        "usage_asked": True,
        "usage_refused": False,
        "parameters": {"top_p": 1},
        "question": "[]",
        "answer": None,
        "request_model": "gpt-4o",
        "response_model": "gpt-4o-2024-08-06",
        "model": "gpt-4o",
        "service_tier": "flex",
        "finish_reasons": ("stop",),
        "response_id": "c1",
        "upstream_request_id": "req_1",
        "rate_limits": LIMITS,
        "usage": {"input": 9, "output": 2},
        "units": {},
        "usage_source": UsageSource.REPORTED,
        "cost_usd": None,
        "provider_cost_usd": Decimal("0.5"),
        "computed_cost_usd": None,
        "cache_savings_usd": None,
        "price_status": PriceStatus.NONE,
        "price_source": None,
        "price_revision": None,
        "duration_s": 5.0,
        "sent_s": 0.501,
        "ttft_s": 1.0,
        "last_content_s": 3.5,
        "content_events": 2,
        "stall_s": 2.5,
        "reasoning_streamed": True,
        "overhead_request_s": 0.001,
        "overhead_response_s": 0.002,
        "request_bytes": 70,
        "response_bytes": 700,
    } == told


def test_records_a_request_that_went_nowhere() -> None:
    """What Meter refused has nothing to count, and goes by the code it was told."""
    seen = passage()
    seen.refusal = Refusal(404, "no_upstream", "no upstream serves this path")
    seen.broke(seen.refusal.outcome)
    seen.status = 404

    record = seen.record(100.25)

    assert (Outcome.REJECTED, "no_upstream", 404) == (record.outcome, record.error_type, record.status)
    assert (UsageSource.NONE, None, "none", "other") == (
        record.usage_source,
        record.usage,
        record.upstream,
        record.operation,
    )
    assert (0.25, None, None, None) == (
        record.duration_s,
        record.ttft_s,
        record.last_content_s,
        record.stall_s,
    )
    assert record.overhead_s is None


@pytest.mark.parametrize(
    ("cause", "code", "outcome", "usage_source"),
    [
        (Outcome.TIMEOUT, "timeout", Outcome.TIMEOUT, UsageSource.MISSING),
        (Outcome.UNREACHABLE, "unreachable", Outcome.UNREACHABLE, UsageSource.NONE),
        (Outcome.CLIENT_CLOSED, None, Outcome.CLIENT_CLOSED, UsageSource.MISSING),
    ],
)
def test_records_what_was_not_answered(
    cause: Outcome, code: str | None, outcome: Outcome, usage_source: UsageSource
) -> None:
    """Of a request that got no answer it is known why; whether it used anything is not, once it was sent."""
    seen = passage(dialect=ChatCompletions(), tap=Tap(ChatCompletions()), attempts=1)
    seen.refusal = Refusal(504, code, "x", outcome=cause) if code else None
    seen.broke(cause)

    record = seen.record(101.0)

    assert (outcome, code or cause, usage_source) == (record.outcome, record.error_type, record.usage_source)


def test_keeps_the_first_cause() -> None:
    """What broke an exchange off first is its cause, whatever else happens then."""
    seen = passage(tap=answered((101.0, CONTENT)), attempts=1)
    seen.broke(Outcome.TIMEOUT)
    seen.broke(Outcome.CLIENT_CLOSED)

    assert Outcome.TIMEOUT == seen.record(102.0).outcome


@pytest.mark.parametrize(
    ("asked", "refused", "told"), [(True, False, True), (False, True, True), (False, False, False)]
)
def test_tells_that_it_asked(asked: bool, refused: bool, told: bool) -> None:
    """Usage was asked for also where the upstream refused."""
    record = passage(asked=asked, refused=refused).record(101.0)

    assert (told, refused) == (record.usage_asked, record.usage_refused)


def test_records_what_took_place_inside() -> None:
    """An exchange inside of another has its own id, times, model and usage, and shares who called whom."""
    tap = Tap(Realtime())
    tap.switch()
    tap.message(b'{"type":"response.audio.delta","delta":"AAAA"}', 112.0)
    tap.message(
        b'{"type":"response.done","response":{"id":"r1","status":"completed",'
        b'"usage":{"input_tokens":9,"output_tokens":2}}}',
        113.0,
    )
    outer = passage(
        upstream="up",
        provider="openai",
        operation="realtime",
        key="team",
        tags={"team": "search"},
        path_model="gpt-realtime",
        status=101,
        attempts=1,
        request_bytes=70,
        response_bytes=700,
        request_overhead=0.001,
        rate_limits=LIMITS,
        cause=Outcome.TIMEOUT,
    )
    turn = Turn(tap, 110.0, "responses", Request(model="gpt-5"))

    inner = outer.inner(turn, "1", 1_760_000_010.5, None).record(113.5)

    assert ("1", 1_760_000_010.5, "responses", "gpt-5", "r1") == (
        inner.id,
        inner.started_at,
        inner.operation,
        inner.request_model,
        inner.response_id,
    )
    assert (3.5, 2.0, None) == (inner.duration_s, inner.ttft_s, inner.overhead_s)
    assert (Outcome.OK, 101, True, {"input": 9, "output": 2}, UsageSource.REPORTED) == (
        inner.outcome,
        inner.status,
        inner.stream,
        inner.usage,
        inner.usage_source,
    )
    assert (0, 0, (), 1) == (inner.request_bytes, inner.response_bytes, inner.rate_limits, inner.attempts)
    assert ("up", "openai", "team", {"team": "search"}, TRACE, "/v1/chat/completions") == (
        inner.upstream,
        inner.provider,
        inner.key,
        inner.tags,
        inner.trace_id,
        inner.path,
    )
    assert ("0", Outcome.TIMEOUT, 70) == (outer.id, outer.cause, outer.request_bytes)


def test_refuses_in_words() -> None:
    """A refusal says what the client is told, and how the exchange ended."""
    refusal = Refusal(503, "draining", "meter is shutting down", close=True)

    assert (503, "draining", "meter is shutting down", Outcome.REJECTED, True) == (
        refusal.status,
        refusal.code,
        str(refusal),
        refusal.outcome,
        refusal.close,
    )
