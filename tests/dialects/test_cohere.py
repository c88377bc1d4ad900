"""Cohere's own API and rerank: what requests and single events say; whole exchanges are among the cases."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from play import read_request

from meter.dialect import Facts, Marks, Request
from meter.dialects.cohere import Chat, Rerank
from meter.estimate import text_tokens

if TYPE_CHECKING:
    from meter.dialect import Dialect

CHAT, RERANK = Chat(), Rerank()
ALL: list[Dialect] = [CHAT, RERANK]

TEXT = "river " * 70
THOUGHT = Marks.CONTENT | Marks.REASONING


def event(data: bytes, name: bytes = b"") -> tuple[int, Facts]:
    """Return the marks and the facts of one event."""
    facts = Facts()
    return CHAT.read_event(name, data, facts), facts


def delta(message: bytes) -> bytes:
    """Return an event with a part of a message."""
    return b'{"type":"content-delta","index":0,"delta":{"message":{%b}}}' % message


@pytest.mark.parametrize(
    ("data", "marks"),
    [
        (b"", 0),
        (b"[DONE]", 0),
        (b"[]", 0),
        (b"{}", 0),
        (delta(b'"role":"assistant","content":[],"tool_plan":"","tool_calls":[],"citations":[]'), 0),
        (delta(b'"content":{"type":"text","text":""}'), 0),
        (delta(b'"content":{"type":"thinking","thinking":""}'), 0),
        (delta(b'"content":{"text":"a"}'), Marks.CONTENT),
        (delta(b'"content":"a"'), Marks.CONTENT),
        (delta(b'"content":{"thinking":"a"}'), THOUGHT),
        (delta(b'"content":[{"type":"text","text":"a"}]'), Marks.CONTENT),
        (delta(b'"tool_plan":"a"'), Marks.CONTENT),
        (delta(b'"tool_calls":{"id":"f_1","function":{"name":"f","arguments":""}}'), Marks.CONTENT),
        (delta(b'"tool_calls":{"function":{"arguments":"{"}}'), Marks.CONTENT),
        (delta(b'"tool_calls":{"function":{"arguments":""}}'), 0),
        (delta(b'"citations":{"start":0,"text":"a"}'), 0),
        (b'{"type":"message-end","delta":{"finish_reason":"COMPLETE"}}', Marks.FINISH),
        (b'{"type":"message-end","delta":{"finish_reason":""}}', 0),
        (b'{"type":"message-end"}', 0),
    ],
)
def test_marks(data: bytes, marks: int) -> None:
    """Marks say what the tap has to know of an event."""
    assert marks == event(data)[0]


@pytest.mark.parametrize(
    ("data", "terminated"),
    [
        (b'{"type":"message-end","delta":{}}', True),
        (b"[DONE]", True),
        (b'{"type":"content-end"}', False),
        (b'{"type":["message-end"]}', False),
    ],
)
def test_terminates(data: bytes, terminated: bool) -> None:
    """A stream ends with its last event, or with what others end theirs with."""
    assert terminated == event(data)[1].terminated


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        (
            {"billed_units": {"input_tokens": 5, "output_tokens": 3}, "tokens": {"input_tokens": 71}},
            {"input": 5, "output": 3},
        ),
        ({"billed_units": {"output_tokens": 3}, "tokens": {"input_tokens": 71}}, {"input": 71, "output": 3}),
        (
            {"billed_units": {}, "tokens": {"input_tokens": 71, "output_tokens": 5}},
            {"input": 71, "output": 5},
        ),
        ({"billed_units": None, "tokens": {"output_tokens": 5}}, {"output": 5}),
        ({"billed_units": {"input_tokens": 0.0}, "tokens": {"input_tokens": 71}}, {"input": 0}),
        (
            {"billed_units": {"input_tokens": 100}, "cached_tokens": 64},
            {"input": 36, "input_cached": 64},
        ),
        ({"billed_units": {"input_tokens": 5}, "cached_tokens": 64}, {"input": 0, "input_cached": 5}),
        ({"billed_units": {"input_tokens": 5}, "cached_tokens": 0}, {"input": 5, "input_cached": 0}),
        ({"cached_tokens": 64}, None),
        ({"billed_units": [5], "tokens": "5"}, None),
    ],
)
def test_counts_what_is_billed(told: dict[str, Any], usage: dict[str, int] | None) -> None:
    """Billed tokens are those that count; others stand in where those are not told."""
    end = {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": told}}
    _, facts = event(json.dumps(end).encode())

    assert (usage, usage is not None) == (facts.usage, facts.final_usage)


@pytest.mark.parametrize(
    ("data", "name", "error"),
    [
        (b'{"message":"busy"}', b"", ""),
        (b'{"message":""}', b"", None),
        (b'{"error":{"type":"rate_limit_error"}}', b"", "rate_limit_error"),
        (b'{"type":"message-end","delta":{"finish_reason":"ERROR"}}', b"", ""),
        (b'{"type":"message-end","delta":{"finish_reason":"ERROR","error":"x"}}', b"", ""),
        (b'{"type":"message-end","delta":{"error":{"code":"server_error"}}}', b"", "server_error"),
        (b'{"type":"message-end","delta":{"finish_reason":"MAX_TOKENS"}}', b"", None),
        (b"{}", b"error", ""),
        (b"busy", b"error", ""),
        (b'[{"error":"busy"}]', b"", ""),
        (b"busy", b"", None),
    ],
)
def test_finds_errors(data: bytes, name: bytes, error: str | None) -> None:
    """An error is a text where a message should be, an `error`, a reason, or the name of an event."""
    assert error == event(data, name)[1].error


def test_estimates_what_was_written() -> None:
    """Texts, thoughts, plans and calls of tools are what an estimate is made of."""
    call = {"id": "x" * 4000, "function": {"name": "", "arguments": TEXT}}
    parts = [{"type": "text", "text": TEXT}, {"type": "thinking", "thinking": TEXT}]
    told = {"message": {"content": parts, "tool_plan": TEXT, "tool_calls": [call]}}
    facts = Facts()
    CHAT.read_answer(json.dumps(told).encode(), facts)

    assert pytest.approx(4 * text_tokens(TEXT)) == facts.said


def test_keeps_no_long_names() -> None:
    """Of an id or a reason of thousands of characters, as many are kept as tell it apart."""
    long = "x" * 5000
    end = {"id": long, "type": "message-end", "delta": {"finish_reason": long}}
    _, facts = event(json.dumps(end).encode())

    assert {"x" * 1024} == {facts.response_id, *facts.finish_reasons.values()}


@pytest.mark.parametrize(
    ("told", "usage", "units"),
    [
        ({"meta": {"billed_units": {"search_units": 2}}}, None, {"searches": 2}),
        ({"meta": {"billed_units": {"search_units": 0}}}, None, {"searches": 0}),
        (
            {"meta": {"billed_units": {"search_units": 1}, "tokens": {"input_tokens": 9}}},
            None,
            {"searches": 1},
        ),
        ({"meta": {"billed_units": {"search_units": 0, "input_tokens": 9}}}, {"input": 9}, {}),
        ({"meta": {"tokens": {"input_tokens": 9}}}, {"input": 9}, {}),
        ({"usage": {"total_tokens": 9}}, {"input": 9}, {}),
        ({"usage": {"prompt_tokens": 9, "total_tokens": 9}}, {"input": 9}, {}),
        ({"usage": {"search_units": 1, "total_tokens": 9}}, None, {"searches": 1}),
        ({"usage": {"total_tokens": 0}}, {"input": 0}, {}),
        ({"meta": {"billed_units": {"search_units": -1}}, "usage": []}, None, {}),
        ({}, None, {}),
    ],
)
def test_prices_rankings(told: dict[str, Any], usage: dict[str, int] | None, units: dict[str, int]) -> None:
    """A ranking is charged for by searches, or else by tokens, and never by both."""
    facts = Facts()
    RERANK.read_answer(json.dumps({"results": [{"index": 0}], **told}).encode(), facts)

    assert (usage, units) == (facts.usage, facts.units)
    assert (usage is not None or bool(units), 0.0) == (facts.final_usage, facts.said)


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        (b'[{"index":0,"score":0.9}]', None, 0.0),
        (b'[{"error":"busy"}]', "", None),
        (b'{"message":"busy"}', "", None),
        (b'{"error":{"code":"server_error"}}', "server_error", None),
        (b'{"results":[]}', None, None),
        (b"no", None, None),
    ],
)
def test_tells_rankings_from_errors(data: bytes, error: str | None, said: float | None) -> None:
    """Whether an answer is a ranking decides whether its prompt may be estimated."""
    facts = Facts()

    assert 0 == RERANK.read_event(b"", data, facts)
    assert (error, said) == (facts.error, facts.said)


@pytest.mark.parametrize(
    ("body", "model", "stream"),
    [
        (b'{"model":"command-a-03-2025","stream":true}', "command-a-03-2025", True),
        (b'{"model":"command-a-03-2025"}', "command-a-03-2025", False),
        (b'{"stream":"true"}', None, False),
        (b"[]", None, False),
        (b"", None, False),
    ],
)
def test_reads_requests(body: bytes, model: str | None, stream: bool) -> None:
    """Model and stream are read, and usage is never asked for."""
    assert Request(model=model, stream=stream) == read_request(CHAT, body)


@pytest.mark.parametrize(
    ("dialect", "member"),
    [(CHAT, "messages"), (CHAT, "documents"), (RERANK, "query"), (RERANK, "documents"), (RERANK, "texts")],
)
def test_estimates_prompts(dialect: Dialect, member: str) -> None:
    """A prompt is estimated by the members that hold it."""
    request = read_request(dialect, json.dumps({"model": "m", member: TEXT}).encode())

    assert 1 <= (request.prompt_tokens or 0) / text_tokens(TEXT) < 1.1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
WORDS = (
    "id",
    "message",
    "delta",
    "content",
    "text",
    "tool_calls",
    "function",
    "finish_reason",
    "usage",
    "billed_units",
    "tokens",
    "input_tokens",
    "cached_tokens",
    "search_units",
    "meta",
    "results",
    "model",
    "error",
)


@settings(max_examples=300)
@given(
    kind=st.sampled_from(["message-end", "content-delta"]) | JSON,
    told=st.dictionaries(
        st.sampled_from(WORDS),
        st.recursive(
            JSON,
            lambda inner: (
                st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3)
            ),
            max_leaves=12,
        ),
    ),
)
def test_reads_any_types(kind: Any, told: dict[str, Any]) -> None:
    """Whatever types an answer's members have, reading it raises nothing."""
    data = json.dumps({"type": kind, **told}).encode()
    for dialect in ALL:
        dialect.read_event(b"", data, Facts())
        dialect.read_answer(data, Facts())


@settings(max_examples=200)
@given(data=st.binary(max_size=60) | JSON.map(json.dumps).map(str.encode))
def test_reads_any_answer(data: bytes) -> None:
    """Whatever an event or an answer is, reading it raises nothing."""
    for dialect in ALL:
        dialect.read_event(b"error", data, Facts())
        dialect.read_answer(data, Facts())
