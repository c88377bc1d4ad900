"""Responses: what requests, single events and messages say; whole exchanges are among the recorded cases."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from play import CASES, learned, load, names, play, read_request

from meter.dialect import Facts, Marks
from meter.dialects.responses import Responses
from meter.estimate import text_tokens

RESPONSES = Responses()
REASONING = Marks.CONTENT | Marks.REASONING


def event(told: dict[str, Any], facts: Facts | None = None) -> tuple[int, Facts]:
    """Return the marks of one event, and the facts after it."""
    facts = facts or Facts()
    return RESPONSES.read_event(b"", json.dumps(told).encode(), facts), facts


def answer(**response: Any) -> Facts:
    """Return the facts of a whole answer."""
    facts = Facts()
    RESPONSES.read_answer(json.dumps(response).encode(), facts)
    return facts


def done(item: dict[str, Any]) -> dict[str, Any]:
    """Return the event of an output item that is done."""
    return {"type": "response.output_item.done", "item": item}


MESSAGE = {
    "type": "message",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hello there"}],
}
THOUGHT = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hello there"}]}
CALL = {"type": "function_call", "name": "greet", "arguments": "{}"}

# What single events are.


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(
    ("told", "marks"),
    [
        ({"type": "response.created", "response": {"output": [MESSAGE]}}, Marks.BARE),
        ({"type": "response.queued", "response": {}}, Marks.BARE),
        ({"type": "response.in_progress", "response": {}}, Marks.BARE),
        ({"type": "response.output_item.added", "item": CALL}, 0),
        ({"type": "response.content_part.added", "part": {"type": "output_text", "text": ""}}, 0),
        ({"type": "response.reasoning_summary_part.added", "part": {"text": ""}}, 0),
        ({"type": "response.output_text.delta", "delta": ""}, 0),
        ({"type": "response.output_text.delta", "delta": "", "obfuscation": "k3x9"}, 0),
        ({"type": "response.output_text.delta"}, 0),
        ({"type": "response.output_text.delta", "delta": "a"}, Marks.CONTENT),
        ({"type": "response.refusal.delta", "delta": "a"}, Marks.CONTENT),
        ({"type": "response.function_call_arguments.delta", "delta": "a"}, Marks.CONTENT),
        ({"type": "response.custom_tool_call_input.delta", "delta": "a"}, Marks.CONTENT),
        ({"type": "response.mcp_call_arguments.delta", "delta": "a"}, Marks.CONTENT),
        ({"type": "response.code_interpreter_call_code.delta", "delta": "a"}, Marks.CONTENT),
        ({"type": "response.shell_call_command.delta", "delta": "a"}, Marks.CONTENT),
        ({"type": "response.audio.delta", "delta": "UklG"}, Marks.CONTENT),
        ({"type": "response.audio.transcript.delta", "delta": "a"}, Marks.CONTENT),
        (
            {"type": "response.image_generation_call.partial_image", "partial_image_b64": "iVBO"},
            Marks.CONTENT,
        ),
        ({"type": "response.reasoning_text.delta", "delta": "a"}, REASONING),
        ({"type": "response.reasoning_summary_text.delta", "delta": "a"}, REASONING),
        ({"type": "response.shell_call_output_content.delta", "delta": {"stdout": "a"}}, 0),
        ({"type": "response.output_text.annotation.added", "annotation": {"type": "url_citation"}}, 0),
        ({"type": "response.output_text.done", "text": "a"}, 0),
        ({"type": "response.web_search_call.searching"}, 0),
        (done({"type": "web_search_call", "action": {"type": "search"}}), 0),
        (done({"type": "reasoning", "summary": [], "encrypted_content": "gAAA"}), 0),
        (done({"type": "mcp_list_tools", "tools": []}), 0),
        (done({"type": "computer_call", "action": {"type": "click"}}), Marks.CONTENT),
        (done({"type": "local_shell_call", "action": {"command": ["ls"]}}), Marks.CONTENT),
        (done({"type": "image_generation_call", "result": "iVBO"}), Marks.CONTENT),
        ({"type": "keepalive", "sequence_number": 3}, 0),
        ({"type": "error", "code": "server_error"}, 0),
        ({"type": "response.completed"}, Marks.FINISH | Marks.BARE),
        ({"type": "response.incomplete"}, Marks.FINISH | Marks.BARE),
        ({"type": "response.failed"}, Marks.FINISH | Marks.BARE),
        ({"type": "response.done", "response": {}}, Marks.BARE),
        ({}, 0),
    ],
)
def test_marks(told: dict[str, Any], marks: int, begun: bool) -> None:
    """Content is what a piece of output carries, and no event about a response or an item that begins."""
    assert marks == event(told, Facts(weighed=1.0 if begun else None))[0]


@pytest.mark.parametrize(
    ("item", "marks"), [(MESSAGE, Marks.CONTENT), (THOUGHT, REASONING), (CALL, Marks.CONTENT)]
)
def test_repetitions_are_content_where_nothing_came_before(item: dict[str, Any], marks: int) -> None:
    """An item that is done, and a response that is, repeat what was said; without deltas they say it."""
    whole = {"type": "response.completed", "response": {"output": [item]}}

    assert (marks, marks | Marks.FINISH | Marks.BARE) == (event(done(item))[0], event(whole)[0])
    again = event(done(item), Facts(weighed=0.0))[0], event(whole, Facts(weighed=0.0))[0]
    assert (0, Marks.FINISH | Marks.BARE) == again


@pytest.mark.parametrize(
    "name", [name for name in names("responses") if (CASES / name / "answer.sse").exists()]
)
def test_messages_need_no_names(name: str) -> None:
    """The same events say the same as messages of a WebSocket, which have no names."""
    case = load(name)
    named, unnamed = Facts(), Facts()
    for part in case.answer.replace(b"\r\n", b"\n").split(b"\n\n"):
        lines = dict(line.split(b": ", 1) for line in part.split(b"\n") if b": " in line)
        if (data := lines.get(b"data", b"")).startswith(b'{"type":'):
            RESPONSES.read_event(lines.get(b"event", b""), data, named)
            RESPONSES.read_event(b"", data, unnamed)

    assert named == unnamed


def test_reads_an_error_of_a_web_socket() -> None:
    """An error that a WebSocket tells with a status is one by its code."""
    error = {"code": "rate_limit_exceeded", "type": "invalid_request_error", "message": "Slow down."}

    assert "rate_limit_exceeded" == event({"type": "error", "status": 429, "error": error})[1].error


# What is said is estimated once.


@pytest.mark.parametrize("name", ["openai", "no_deltas", "openai_whole", "output_empty_at_the_end"])
def test_says_once(name: str) -> None:
    """Text that is repeated when it is done is estimated once, and once too where it comes only then."""
    case = load(f"responses/{name}")
    tap = case.tap()

    play(tap, [case.answer])

    thought = "**Weighing** both options" if name == "no_deltas" else ""
    assert text_tokens("Hello there, how are you?" + thought) == pytest.approx(tap.facts.said)


def test_estimates_nothing_of_sounds_and_images() -> None:
    """Base64 is content without text."""
    for kind in ("response.audio.delta", "response.image_generation_call.partial_image"):
        assert 0.0 == event({"type": kind, "delta": "UklG" * 100, "partial_image_b64": "iVBO" * 100})[1].said


def test_the_users_words_are_no_output() -> None:
    """A compacted conversation repeats what the user said; it is no output of the model's."""
    told = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}

    assert answer(object="response.compaction", output=[told]).said is None


@pytest.mark.parametrize(
    ("name", "source"), [("broken_off", "estimated"), ("background_broken_off", "missing")]
)
def test_estimates_what_broke_off(name: str, source: str) -> None:
    """A stream that breaks off is estimated, unless its response goes on in the background."""
    case = load(f"responses/{name}")
    tap = case.tap(estimate=True)

    play(tap, [case.answer])

    assert source == learned(tap)["usage_source"]


# In the background.


@pytest.mark.parametrize(
    ("response", "pending"),
    [
        ({"status": "queued", "background": True}, True),
        ({"status": "in_progress", "background": True}, True),
        ({"status": "in_progress"}, True),
        ({"status": "in_progress", "background": False}, False),
        ({"status": "completed", "background": True}, False),
        ({"status": "incomplete", "background": True}, False),
        ({"status": "failed", "background": True}, False),
        ({"status": "cancelled", "background": True}, False),
        ({"background": True}, False),
        ({"status": ["queued"], "background": True}, False),
    ],
)
def test_is_pending(response: dict[str, Any], pending: bool) -> None:
    """A whole answer that is not finished is pending, and tells no usage yet."""
    zeros = {"input_tokens": 0, "output_tokens": 0}
    facts = answer(id="resp_1", usage=zeros, **response)

    assert (pending, pending, "resp_1") == (facts.pending, facts.usage is None, facts.response_id)


@pytest.mark.parametrize(
    ("background", "pending"), [(True, True), (False, False), (None, False), ("true", False), (1, False)]
)
def test_a_stream_is_pending_until_it_ends(background: Any, pending: bool) -> None:
    """Every response that streams is under way at first, but only one in the background is pending."""
    response = {"status": "in_progress", "background": background}

    _, facts = event({"type": "response.created", "response": response})
    assert pending == facts.pending

    event({"type": "response.output_text.delta", "delta": "a"}, facts)
    event({"type": "response.in_progress", "response": response}, facts)
    assert pending == facts.pending

    # Some servers forget to say that it is done.
    event({"type": "response.completed", "response": response | {"usage": {"input_tokens": 3}}}, facts)
    assert (False, True, {"input": 3}) == (facts.pending, facts.terminated, facts.usage)


def test_reads_a_fetched_response_as_one_just_made() -> None:
    """A response that was made in the background says the same when it is fetched, whole or streamed."""
    streamed, whole = load("responses/background_streamed"), load("responses/background_fetched")
    taps = streamed.tap(), whole.tap()
    for tap, case in zip(taps, (streamed, whole), strict=True):
        play(tap, [case.answer])

    first, second = (learned(tap) for tap in taps)
    assert {"content", "stream"} == {name for name in first if first[name] != second[name]}


# Ends.


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ({"status": "completed"}, "completed"),
        ({"status": "incomplete"}, "incomplete"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({"status": "incomplete", "incomplete_details": {"reason": None}}, "incomplete"),
        ({"status": "incomplete", "incomplete_details": "length"}, "incomplete"),
        ({"status": "completed", "incomplete_details": {"reason": "content_filter"}}, "completed"),
        ({"status": "failed"}, "failed"),
        ({"status": "cancelled"}, "cancelled"),
        ({"status": "in_progress", "background": False}, None),
        ({"status": 1}, None),
        ({}, None),
    ],
)
def test_finish_reasons(response: dict[str, Any], reason: str | None) -> None:
    """A response ends as its status says, or for the reason that it is incomplete."""
    assert ([reason] if reason else []) == list(answer(**response).finish_reasons.values())


def test_later_zeros_replace_nothing() -> None:
    """What was counted stays when a later event has zeros or no usage."""
    _, facts = event({"type": "response.completed", "response": {"usage": {"input_tokens": 3}}})
    for usage in ({"input_tokens": 0, "output_tokens": 0}, None):
        event({"type": "response.done", "response": {"usage": usage}}, facts)

    assert ({"input": 3}, True) == (facts.usage, facts.final_usage)


@pytest.mark.parametrize(
    "kind", ["response.mcp_call.failed", "response.mcp_list_tools.failed", "response.steer.failed"]
)
def test_a_tool_may_fail(kind: str) -> None:
    """The failure of a tool is none of the response."""
    assert event({"type": kind, "error": {"code": "server_error"}})[1].error is None


def test_keeps_no_long_names() -> None:
    """Of names of thousands of characters, as many are kept as tell them apart."""
    long = "x" * 5000
    facts = answer(id=long, model=long, service_tier=long, status=long)

    told = {facts.response_id, facts.response_model, facts.service_tier, *facts.finish_reasons.values()}
    assert {"x" * 1024} == told


# What is charged for beside tokens.


@pytest.mark.parametrize(
    ("item", "searches"),
    [
        ({"status": "completed", "action": {"type": "search", "queries": ["a", "b"]}}, 1),
        ({"status": "completed", "action": {"type": "open_page"}}, 0),
        ({"status": "completed", "action": {"type": "find_in_page"}}, 0),
        ({"status": "completed", "action": {}}, 1),
        ({"status": "completed", "action": {"type": None}}, 1),
        ({"status": "completed", "action": None}, 1),
        ({"status": "completed", "action": "search"}, 1),
        ({"status": "completed"}, 1),
        ({"status": "failed", "action": {"type": "search"}}, 0),
        ({"status": "in_progress"}, 0),
        ({}, 1),
        ({"type": "file_search_call", "status": "completed"}, 0),
        ({"type": {"web_search_call": 1}}, 0),
    ],
)
def test_counts_searches(item: dict[str, Any], searches: int) -> None:
    """A search that came to its end is one, whatever it searched for; a page that was opened is none."""
    item = {"type": "web_search_call"} | item
    expected = {"searches": searches} if searches else {}
    _, facts = event(done(item))

    assert (expected, expected) == (facts.units, answer(status="completed", output=[item]).units)
    event({"type": "response.completed", "response": {"output": [item]}}, facts)
    assert expected == facts.units


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"cost": 0}, "0"),
        ({"cost": 0.0001495}, "0.0001495"),
        ({"cost": 0.1, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.2}}, "0.1"),
        ({"cost": 0.1, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.2}}, "0.3"),
        ({"cost": 0.1, "is_byok": True, "cost_details": {"upstream_inference_cost": None}}, "0.1"),
        ({"cost": 0.1, "is_byok": True, "cost_details": 7}, "0.1"),
        ({"cost": {"total_cost": 0.006}}, "0.006"),
        ({"cost_in_usd_ticks": 158500}, "0.0000158500"),
        ({"cost_in_usd_ticks": -1}, "None"),
        ({"cost": -0.1}, "None"),
        ({"cost": True}, "None"),
        ({"cost": "free"}, "None"),
        ({}, "None"),
    ],
)
def test_takes_the_upstreams_word_on_cost(usage: dict[str, Any], expected: str) -> None:
    """What an upstream says it cost is taken to the last digit, unless it cannot be money."""
    facts = answer(status="completed", usage={"input_tokens": 1, "output_tokens": 1} | usage)

    assert expected == str(facts.provider_cost_usd)


# Requests.


def test_reads_requests() -> None:
    """Model and stream are read, the prompt is estimated, and nothing is asked for."""
    request = read_request(
        RESPONSES, b'{"model":"gpt-4o","stream":true,"input":"Say hello.","stream_options":{"x":1}}'
    )

    assert ("gpt-4o", True, None) == (request.model, request.stream, request.asking)
    assert request.prompt_tokens is not None
    assert 1 <= request.prompt_tokens <= 5


@pytest.mark.parametrize(
    ("more", "estimated"),
    [
        ("", True),
        (',"previous_response_id":null,"conversation":null,"prompt":null', True),
        (',"previous_response_id":"resp_1"', False),
        (',"conversation":"conv_1"', False),
        (',"conversation":{"id":"conv_1"}', False),
        (',"prompt":{"id":"pmpt_1"}', False),
    ],
)
def test_estimates_no_part_of_a_prompt(more: str, estimated: bool) -> None:
    """The prompt of a request that goes on with a conversation kept elsewhere is not estimated."""
    body = b'{"model":"gpt-4o","input":"Say hello."%b}' % more.encode()

    assert estimated == (read_request(RESPONSES, body).prompt_tokens is not None)


# Anything at all.

WORDS = (
    "id",
    "type",
    "status",
    "model",
    "response",
    "background",
    "output",
    "usage",
    "error",
    "item",
    "delta",
    "role",
    "content",
    "summary",
    "text",
    "action",
    "incomplete_details",
    "reason",
    "input_tokens",
    "cost",
    "cost_details",
    "is_byok",
)
KINDS = (
    "error",
    "response.created",
    "response.in_progress",
    "response.completed",
    "response.incomplete",
    "response.failed",
    "response.done",
    "response.output_item.done",
    "response.output_text.delta",
    "response.image_generation_call.partial_image",
    "web_search_call",
    "computer_call",
    "queued",
    "incomplete",
)
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(KINDS)
)
MEMBERS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300)
@given(
    told=st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(KINDS) | MEMBERS,
            **{word: MEMBERS for word in WORDS if word != "type"},
        },
    )
)
def test_reads_any_types(told: dict[str, Any]) -> None:
    """Whatever types an answer's members have, reading it raises nothing."""
    data = json.dumps(told).encode()
    facts = Facts()
    RESPONSES.read_event(b"", data, facts)
    RESPONSES.read_event(b"error", data, facts)
    RESPONSES.read_answer(data, facts)


@settings(max_examples=200)
@given(data=st.binary(max_size=60) | MEMBERS.map(json.dumps).map(str.encode))
def test_reads_anything(data: bytes) -> None:
    """Whatever an event or an answer is, reading it raises nothing."""
    RESPONSES.read_event(b"error", data, Facts())
    RESPONSES.read_event(b"", data, Facts())
    RESPONSES.read_answer(data, Facts())
