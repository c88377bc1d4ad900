"""Ollama's own API: what requests and single lines say; whole exchanges are among the recorded cases."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from play import read_request

from meter.dialect import Facts, Marks, Request
from meter.dialects.ollama import Chat, Embed, Generate
from meter.estimate import text_tokens
from meter.lenient import written

if TYPE_CHECKING:
    from meter.dialect import Dialect

CHAT, GENERATE, EMBED = Chat(), Generate(), Embed()
ALL: list[Dialect] = [CHAT, GENERATE, EMBED]

TEXT = "river " * 70
THOUGHT = Marks.CONTENT | Marks.REASONING


def line(data: bytes, name: bytes = b"") -> tuple[int, Facts]:
    """Return the marks and the facts of one line."""
    facts = Facts()
    return CHAT.read_event(name, data, facts), facts


@pytest.mark.parametrize(
    ("data", "marks"),
    [
        (b"", 0),
        (b"null", 0),
        (b"{}", 0),
        (b'{"message":{"role":"assistant","content":""},"done":false}', 0),
        (b'{"message":{"content":"a"},"done":false}', Marks.CONTENT),
        (b'{"message":{"content":"","thinking":"a"}}', THOUGHT),
        (b'{"message":{"content":"","tool_calls":[{"function":{"name":"f"}}]}}', Marks.CONTENT),
        (b'{"message":{"tool_calls":[]}}', 0),
        (b'{"response":"a"}', Marks.CONTENT),
        (b'{"response":"","thinking":"a"}', THOUGHT),
        (b'{"response":"","done":true,"done_reason":"stop"}', Marks.FINISH),
        (b'{"response":"a","done":true,"done_reason":"length"}', Marks.CONTENT | Marks.FINISH),
        (b'{"response":"","done":true}', 0),
        (b'{"done":false,"done_reason":"stop"}', 0),
    ],
)
def test_marks(data: bytes, marks: int) -> None:
    """Marks say what the tap has to know of a line."""
    assert marks == line(data)[0]


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"prompt_eval_count": 26, "eval_count": 298}, {"input": 26, "output": 298}),
        ({"eval_count": 298}, {"output": 298}),
        ({"prompt_eval_count": 26}, {"input": 26}),
        ({"prompt_eval_count": 26, "prompt_eval_cached_count": 20}, {"input": 6, "input_cached": 20}),
        ({"prompt_eval_count": 26, "prompt_eval_cached_count": 90}, {"input": 0, "input_cached": 26}),
        ({"prompt_eval_cached_count": 20}, None),
        ({"prompt_eval_count": 0, "eval_count": 0}, {"input": 0, "output": 0}),
        ({"prompt_eval_count": 1.5, "eval_count": "3"}, None),
        ({}, None),
        ({"done_reason": "load"}, {"input": 0, "output": 0}),
        ({"done_reason": "unload"}, {"input": 0, "output": 0}),
        ({"done_reason": "load", "prompt_eval_count": 5}, {"input": 5}),
        ({"done_reason": ["load"]}, None),
    ],
)
def test_counts_at_the_end(counts: dict[str, Any], usage: dict[str, int] | None) -> None:
    """The line that is done has the counts; what it does not tell is unknown, unless it was but loading."""
    _, facts = line(json.dumps({"done": True, **counts}).encode())

    assert (usage, usage is not None, True) == (facts.usage, facts.final_usage, facts.terminated)


def test_counts_at_the_end_alone() -> None:
    """Counts of a line that is not done are no usage."""
    assert line(b'{"done":false,"prompt_eval_count":3}')[1].usage is None


@pytest.mark.parametrize(
    ("data", "name", "error"),
    [
        (b'{"error":"gone"}', b"", ""),
        (b'{"error":{"code":"server_error"}}', b"", "server_error"),
        (b'[{"error":"gone"}]', b"", ""),
        (b"gone", b"error", ""),
        (b"gone", b"", None),
        (b'{"error":""}', b"", None),
    ],
)
def test_finds_errors(data: bytes, name: bytes, error: str | None) -> None:
    """An error is a line that tells one, or an event of that name."""
    assert error == line(data, name)[1].error


def test_estimates_what_waswritten() -> None:
    """Texts, thoughts and calls of tools are what an estimate is made of."""
    _, facts = line(json.dumps({"message": {"content": TEXT, "thinking": TEXT}}).encode())

    assert pytest.approx(2 * text_tokens(TEXT)) == facts.said

    CHAT.read_event(b"", json.dumps({"message": {"tool_calls": [{"function": TEXT}]}}).encode(), facts)

    assert (facts.said or 0) > 3 * text_tokens(TEXT)


def test_keeps_no_long_names() -> None:
    """Of a model or a reason of thousands of characters, as many are kept as tell it apart."""
    long = "x" * 5000
    _, facts = line(json.dumps({"model": long, "done": True, "done_reason": long}).encode())

    assert {"x" * 1024} == {facts.response_model, *facts.finish_reasons.values()}


@pytest.mark.parametrize(
    ("member", "stream"),
    [("", True), (',"stream":true', True), (',"stream":null', True), (',"stream":false', False)],
)
@pytest.mark.parametrize("dialect", [CHAT, GENERATE])
def test_streams_unless_told_not_to(dialect: Dialect, member: str, stream: bool) -> None:
    """An answer streams unless the client says exactly no."""
    request = read_request(dialect, b'{"model":"qwen3:8b"' + member.encode() + b"}")

    assert Request(model="qwen3:8b", stream=stream) == request


@pytest.mark.parametrize(
    ("dialect", "member"), [(CHAT, "messages"), (GENERATE, "prompt"), (EMBED, "input"), (EMBED, "prompt")]
)
def test_estimates_prompts(dialect: Dialect, member: str) -> None:
    """A prompt is estimated by the member that holds it, and its images are not taken for text."""
    told = {"model": "m", member: TEXT, "images": ["A" * 100_000], "keep_alive": "5m"}
    request = read_request(dialect, json.dumps(told).encode())

    assert 1 <= (request.prompt_tokens or 0) / text_tokens(TEXT) < 1.1


@pytest.mark.parametrize("body", [b"", b"null", b'{"model"', b"[" * 100_000])
@pytest.mark.parametrize("dialect", ALL)
def test_reads_any_request(dialect: Dialect, body: bytes) -> None:
    """What is no request says nothing."""
    request = read_request(dialect, body)

    assert (None, None) == (request.model, request.prompt_tokens)


@pytest.mark.parametrize(
    ("data", "usage", "error"),
    [
        (b'{"embeddings":[[0.1]],"prompt_eval_count":3}', {"input": 3}, None),
        (b'{"embedding":[0.1]}', None, None),
        (b'{"data":[{}],"usage":{"prompt_tokens":3,"total_tokens":3}}', {"input": 3}, None),
        (b'{"error":"too long"}', None, ""),
        (b'[{"error":"too long"}]', None, ""),
        (b"no", None, None),
    ],
)
def test_reads_embeddings(data: bytes, usage: dict[str, int] | None, error: str | None) -> None:
    """Embeddings tell what was read, by Ollama's name or by OpenAI's, or nothing."""
    facts = Facts()

    assert 0 == EMBED.read_event(b"", data, facts)
    assert (usage, usage is not None, error) == (facts.usage, facts.final_usage, facts.error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
WORDS = (
    "model",
    "message",
    "content",
    "thinking",
    "tool_calls",
    "response",
    "done",
    "done_reason",
    "prompt_eval_count",
    "prompt_eval_cached_count",
    "eval_count",
    "embeddings",
    "usage",
    "error",
)


@settings(max_examples=300)
@given(
    told=st.dictionaries(
        st.sampled_from(WORDS),
        st.just(value=True) | JSON | st.dictionaries(st.sampled_from(WORDS), JSON, max_size=3),
    )
)
def test_reads_any_types(told: dict[str, Any]) -> None:
    """Whatever types a line's members have, reading it raises nothing."""
    data = json.dumps(told).encode()
    for dialect in ALL:
        dialect.read_event(b"", data, Facts())
        dialect.read_answer(data, Facts())


@settings(max_examples=200)
@given(data=st.binary(max_size=60) | JSON.map(json.dumps).map(str.encode))
def test_reads_any_answer(data: bytes) -> None:
    """Whatever a line or an answer is, reading it raises nothing."""
    for dialect in ALL:
        dialect.read_event(b"error", data, Facts())
        dialect.read_answer(data, Facts())


@pytest.mark.parametrize("depth", [300, 900, 990, 2000, 100_000])
def test_reads_any_depth(depth: int) -> None:
    """However deep a line is nested, reading it raises nothing."""
    deep = b'{"message":{"tool_calls":' + b"[" * depth + b"1" + b"]" * depth + b'},"done":true}'
    for dialect in ALL:
        dialect.read_event(b"", deep, Facts())


def test_estimates_nothing_without_end() -> None:
    """A call that is nested deeper than can be written down again counts as nothing."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]

    assert "" == written(deep)
