"""Anthropic's messages: what requests and single events say; whole exchanges are among the recorded cases."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from play import read_request

from meter.dialect import Facts, Marks
from meter.dialects.messages import Messages
from meter.exchange import INPUT_KINDS, OUTPUT_KINDS
from meter.sinks.prometheus import REASONS

MESSAGES = Messages()
REASONING = Marks.CONTENT | Marks.REASONING


def event(told: Any, facts: Facts | None = None, name: bytes = b"") -> tuple[int, Facts]:
    """Return the marks and the facts of one event."""
    facts = Facts() if facts is None else facts
    return MESSAGES.read_event(name, json.dumps(told).encode(), facts), facts


def started(**usage: Any) -> Facts:
    """Return the facts of a stream that has started."""
    return event({"type": "message_start", "message": {"usage": usage}})[1]


def ended(facts: Facts, **usage: Any) -> Facts:
    """Return the facts of a stream that has ended."""
    return event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}, facts)[1]


def answer(**told: Any) -> Facts:
    """Return the facts of a whole answer."""
    facts = Facts()
    MESSAGES.read_answer(json.dumps(told).encode(), facts)
    return facts


# Requests.


@pytest.mark.parametrize(
    ("body", "model", "stream"),
    [
        (b'{"model":"claude-sonnet-4-5","stream":true}', "claude-sonnet-4-5", True),
        (b'{"model":"claude-sonnet-4-5"}', "claude-sonnet-4-5", False),
        (b'{"model":"a","stream":"true"}', "a", False),
        (b'{"model":"a","stream":1}', "a", False),
        (b'{"stream":true,"stream":false}', None, False),
        (b"", None, False),
        (b"[1]", None, False),
    ],
)
def test_reads_requests(body: bytes, model: str | None, stream: bool) -> None:
    """Model and stream are read, and usage is not asked for, which is told without."""
    request = read_request(MESSAGES, body)

    assert (model, stream, None) == (request.model, request.stream, request.asking)


@pytest.mark.parametrize("member", ["system", "messages", "tools"])
def test_estimates_prompts(member: str) -> None:
    """A prompt is what the system says, the messages and the tools."""
    short, long = (
        read_request(MESSAGES, json.dumps({"messages": [], member: ["river " * n]}).encode()).prompt_tokens
        for n in (1, 500)
    )

    assert short is not None
    assert long is not None
    assert 300 < long - short < 1500


# Events.


@pytest.mark.parametrize(
    ("told", "marks"),
    [
        ({"type": "ping"}, 0),
        ({"type": "message_start", "message": {"content": []}}, 0),
        ({"type": "message_start", "message": {"stop_reason": "end_turn"}}, 0),
        ({"type": "message_start", "message": {"content": [{"type": "text", "text": "a"}]}}, Marks.CONTENT),
        ({"content_block": {"type": "text", "text": ""}}, 0),
        ({"content_block": {"type": "text", "text": "a"}}, Marks.CONTENT),
        ({"content_block": {"type": "thinking", "thinking": "", "signature": "a"}}, 0),
        ({"content_block": {"type": "redacted_thinking", "data": "EmwK"}}, REASONING),
        ({"content_block": {"type": "tool_use", "name": "a", "input": {}}}, Marks.CONTENT),
        ({"content_block": {"type": "server_tool_use", "name": "a", "input": {}}}, Marks.CONTENT),
        ({"content_block": {"type": "mcp_tool_use", "name": "a", "input": {}}}, Marks.CONTENT),
        ({"content_block": {"type": "web_search_tool_result", "content": [{"title": "a"}]}}, 0),
        ({"content_block": {"type": "mcp_tool_result", "content": "a"}}, 0),
        ({"content_block": {"type": "compaction", "content": None}}, 0),
        ({"content_block": {"type": "fallback", "from": {}, "to": {}}}, 0),
        ({"delta": {"type": "text_delta", "text": ""}}, 0),
        ({"delta": {"type": "text_delta", "text": "a"}}, Marks.CONTENT),
        ({"delta": {"type": "thinking_delta", "thinking": "a"}}, REASONING),
        ({"delta": {"type": "thinking_delta", "thinking": "", "estimated_tokens": 64}}, 0),
        ({"delta": {"type": "signature_delta", "signature": "a"}}, 0),
        ({"delta": {"type": "citations_delta", "citation": {"cited_text": "a"}}}, 0),
        ({"delta": {"type": "input_json_delta", "partial_json": ""}}, 0),
        ({"delta": {"type": "input_json_delta", "partial_json": "{"}}, Marks.CONTENT),
        ({"delta": {"type": "compaction_delta", "content": "a"}}, Marks.CONTENT),
        ({"delta": {"stop_reason": None}}, 0),
        ({"delta": {"stop_reason": ""}}, 0),
        ({"delta": {"stop_reason": "end_turn"}}, Marks.FINISH),
        ({"type": "content_block_stop", "index": 0}, 0),
        ({"type": "message_stop"}, 0),
        ({"type": "error", "error": {"type": "api_error"}}, 0),
    ],
)
def test_marks(told: dict[str, Any], marks: int) -> None:
    """Content is what the model wrote and somebody can make use of, a call's name included."""
    assert marks == event(told)[0]


@pytest.mark.parametrize(
    ("name", "data", "terminated"),
    [
        (b"message_stop", b'{"type":"message_stop"}', True),
        (b"", b'{"type":"message_stop"}', True),
        (b"message_stop", b"", True),
        (b"", b" [DONE]", True),
        (b"ping", b'{"type":"ping"}', False),
        (b"content_block_stop", b'{"type":"content_block_stop"}', False),
        (b"", b'{"delta":{"type":"text_delta","text":"[DONE]"}}', False),
    ],
)
def test_terminates(name: bytes, data: bytes, terminated: bool) -> None:
    """A stream ends with its own last event, or as OpenAI's do."""
    facts = Facts()
    MESSAGES.read_event(name, data, facts)

    assert terminated == facts.terminated


@pytest.mark.parametrize(
    "reason",
    [
        "end_turn",
        "max_tokens",
        "stop_sequence",
        "tool_use",
        "pause_turn",
        "compaction",
        "refusal",
        "model_context_window_exceeded",
    ],
)
def test_knows_reasons(reason: str) -> None:
    """Every reason to stop that is published is told, streamed and whole, and shows by name."""
    _, streamed = event({"type": "message_delta", "delta": {"stop_reason": reason}})

    assert {0: reason} == streamed.finish_reasons == answer(stop_reason=reason).finish_reasons
    assert reason in REASONS


@pytest.mark.parametrize(
    ("name", "told", "error"),
    [
        (b"error", {"type": "error", "error": {"type": "overloaded_error"}}, "overloaded_error"),
        (b"", {"type": "error", "error": {"type": "overloaded_error"}}, "overloaded_error"),
        (b"error", {"type": "overloaded_error", "message": "a"}, "overloaded_error"),
        (b"", {"error": {"code": 1302, "message": "a"}}, ""),
        (b"error", "busy", ""),
        (b"error", {}, ""),
        (b"", {"success": False}, ""),
        (b"", {"base_resp": {"status_code": 1008}}, ""),
        (b"", {"base_resp": {"status_code": 0}}, None),
        (b"", {"base_resp": None, "success": None, "error": None}, None),
        (b"", {"success": True, "type": "ping"}, None),
    ],
)
def test_reads_errors(name: bytes, told: Any, error: str | None) -> None:
    """An error is told by its event's name, its type, or the members that vendors have for it."""
    assert error == event(told, name=name)[1].error


def test_keeps_the_first_error_that_has_a_name() -> None:
    """An error without a name does not take the name of the one before it."""
    _, facts = event({"type": "error", "error": {"type": "api_error"}})

    assert "api_error" == event({"type": "error", "error": {}}, facts)[1].error


# What was said.


@pytest.mark.parametrize(
    "piece",
    [
        {"type": "text_delta", "text": "rivers of Asia"},
        {"type": "thinking_delta", "thinking": "rivers of Asia"},
        {"type": "input_json_delta", "partial_json": "rivers of Asia"},
        {"type": "tool_use", "name": "rivers", "input": {"of": ["Asia"]}},
    ],
)
def test_says_content(piece: dict[str, Any]) -> None:
    """What a model writes is said, arguments of calls and thinking too, in pieces or whole."""
    said = event({"delta": piece})[1].said

    assert said is not None
    assert 2 < said < 15
    assert said == answer(content=[piece]).said


@pytest.mark.parametrize(
    "piece",
    [
        {"type": "redacted_thinking", "data": "EmwKAhgB" * 100},
        {"type": "signature_delta", "signature": "EmwKAhgB" * 100},
        {"type": "web_search_tool_result", "content": [{"title": "rivers"}]},
        {"type": "citations_delta", "citation": {"cited_text": "rivers"}},
    ],
)
def test_does_not_say_what_is_no_text_of_the_model(piece: dict[str, Any]) -> None:
    """What is encrypted and what others wrote is not estimated."""
    assert event({"content_block": piece})[1].said is None


def test_says_no_arguments_that_cannot_be_written() -> None:
    """Arguments nested beyond what can be written again are left out, and nothing else is."""
    nested = b'{"content":[{"type":"tool_use","name":"a","input":' + b"[" * 900 + b"1" + b"]" * 900 + b"}]}"
    facts = Facts()
    MESSAGES.read_answer(nested, facts)

    assert facts.said is not None


# Usage.


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ({"input_tokens": 9, "output_tokens": 1}, {"output_tokens": 7}, {"input": 9, "output": 7}),
        ({"input_tokens": 9, "output_tokens": 7}, {"output_tokens": 0}, {"input": 9, "output": 7}),
        ({"input_tokens": 9}, {"input_tokens": None, "output_tokens": 7}, {"input": 9, "output": 7}),
        ({"input_tokens": 9}, {"input_tokens": 5, "output_tokens": 7}, {"input": 5, "output": 7}),
        ({"input_tokens": 0, "output_tokens": 0}, {"output_tokens": 7}, {"output": 7}),
        ({}, {"input_tokens": 9.0, "output_tokens": 7.0}, {"input": 9, "output": 7}),
        ({}, {"input_tokens": 0, "output_tokens": 0}, {"input": 0, "output": 0}),
        ({"input_tokens": 9}, {"input_tokens": "5", "output_tokens": 7}, {"input": 9, "output": 7}),
        (
            {"input_tokens": 9, "output_tokens": 1},
            {"output_tokens": 7, "output_tokens_details": {"thinking_tokens": 4}},
            {"input": 9, "output": 3, "output_reasoning": 4},
        ),
        (
            {"input_tokens": 9, "cache_creation_input_tokens": 4, "cache_creation": {}},
            {"cache_creation": {"ephemeral_1h_input_tokens": 3}, "output_tokens": 7},
            {"input": 9, "input_cache_write": 1, "input_cache_write_1h": 3, "output": 7},
        ),
        (
            {"input_tokens": 9, "cache_creation": {"ephemeral_1h_input_tokens": 3}},
            {"cache_creation_input_tokens": 8},
            {"input": 9, "input_cache_write": 5, "input_cache_write_1h": 3},
        ),
        (
            {"input_tokens": 9, "cache_creation": {"ephemeral_1h_input_tokens": 3}},
            {"cache_creation_input_tokens": 2},
            {"input": 9, "input_cache_write_1h": 2},
        ),
    ],
)
def test_merges(first: dict[str, Any], last: dict[str, Any], expected: dict[str, int]) -> None:
    """The running totals at a stream's end replace those of its start, count by count."""
    facts = ended(started(**first), **last)

    assert expected == facts.usage
    assert facts.final_usage


COUNTS = st.none() | st.integers(0, 5000) | st.integers(0, 5000).map(float)
USAGES = st.fixed_dictionaries(
    {},
    optional={
        "input_tokens": COUNTS,
        "cache_read_input_tokens": COUNTS,
        "cache_creation_input_tokens": COUNTS,
        "cache_creation": st.fixed_dictionaries(
            {}, optional={"ephemeral_5m_input_tokens": COUNTS, "ephemeral_1h_input_tokens": COUNTS}
        ),
        "output_tokens": COUNTS,
        "output_tokens_details": st.fixed_dictionaries({"thinking_tokens": COUNTS}),
    },
)
WHOLES = {
    "input_tokens": ("input",),
    "cache_read_input_tokens": ("input_cached",),
    "cache_creation_input_tokens": ("input_cache_write", "input_cache_write_5m", "input_cache_write_1h"),
    "output_tokens": ("output", "output_reasoning"),
}


@settings(max_examples=200)
@given(first=USAGES, last=USAGES)
def test_adds_up_to_what_was_told(first: dict[str, Any], last: dict[str, Any]) -> None:
    """The kinds of each count add up to the last real word on it, whatever breaks it down."""
    first |= {"input_tokens": 1}  # a start without input is a placeholder

    usage = ended(started(**first), **last).usage or {}

    for member, kinds in WHOLES.items():
        told = last.get(member) or (first.get(member) if last.get(member) is None else 0)
        if told:
            assert told <= sum(usage.get(kind, 0) for kind in kinds)
        if last.get(member):
            assert last[member] == sum(usage.get(kind, 0) for kind in kinds)
    assert set(usage) <= {*INPUT_KINDS, *OUTPUT_KINDS}


def test_is_not_final_before_a_reason() -> None:
    """A running total in the middle of a stream is not the last word."""
    facts = started(input_tokens=9, output_tokens=1)
    event({"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 5}}, facts)

    assert {"input": 9, "output": 5} == facts.usage
    assert not facts.final_usage


@pytest.mark.parametrize("told", [0, None, -1, 0.5, "2", True])
def test_counts_no_searches_where_there_were_none(told: Any) -> None:
    """Vendors that cannot search tell 0 as well, and that is no unit."""
    assert {} == answer(usage={"server_tool_use": {"web_search_requests": told}}).units


@pytest.mark.parametrize(
    ("usage", "tier"),
    [
        ({"service_tier": "standard"}, "standard"),
        ({"service_tier": "batch", "speed": "standard"}, "batch"),
        ({"service_tier": "standard", "speed": "fast"}, "fast"),
        ({"service_tier": None, "speed": None}, None),
        ({"service_tier": 1, "speed": []}, None),
    ],
)
def test_reads_the_tier_that_served(usage: dict[str, Any], tier: str | None) -> None:
    """What was served fast has a price of its own, as a tier has."""
    assert tier == answer(usage=usage).service_tier


def test_keeps_no_long_names() -> None:
    """Of an id, a model, a tier or a reason of thousands of characters, as many are kept as tell it apart."""
    long = "x" * 5000
    facts = answer(id=long, model=long, stop_reason=long, usage={"service_tier": long})

    kept = {facts.response_id, facts.response_model, facts.service_tier, facts.finish_reasons[0]}
    assert {"x" * 1024} == kept


# Whatever comes.


SHARDS = [b"{", b"}", b"[", b"]", b":", b",", b'"', b"\\", b'"usage"', b'"delta"', b"null", b"NaN", b"[DONE]"]


@settings(max_examples=200)
@given(data=st.binary(max_size=60) | st.lists(st.sampled_from(SHARDS), max_size=16).map(b"".join))
def test_reads_anything(data: bytes) -> None:
    """Whatever a request, an event or an answer is, reading it raises nothing."""
    read_request(MESSAGES, data)
    MESSAGES.read_event(b"error", data, Facts())
    MESSAGES.read_event(b"", data, Facts())
    MESSAGES.read_answer(data, Facts())


WORDS = (
    "type",
    "message",
    "content_block",
    "delta",
    "usage",
    "error",
    "base_resp",
    "status_code",
    "content",
    "stop_reason",
    "text",
    "input",
    "name",
    "tool_use",
    "iterations",
    "compaction",
    "input_tokens",
    "cache_creation",
    "output_tokens",
    "server_tool_use",
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300)
@given(told=st.dictionaries(st.sampled_from(WORDS), JSON))
def test_reads_any_types(told: dict[str, Any]) -> None:
    """Whatever types an answer's members have, reading it raises nothing and counts nothing below zero."""
    data = json.dumps(told).encode()
    streamed, whole = Facts(), Facts()
    MESSAGES.read_event(b"", data, streamed)
    MESSAGES.read_answer(data, whole)

    assert all(number >= 0 for facts in (streamed, whole) for number in (facts.usage or {}).values())
