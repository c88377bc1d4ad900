"""Chat completions: what requests and single events say; whole exchanges are among the recorded cases."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from play import read_request

from meter.dialect import Facts, Marks, Request
from meter.dialects.chat import ChatCompletions

CHAT = ChatCompletions()


class Heard(Facts):
    """Facts that keep the words that were said."""

    heard: str = ""

    def say(self, text: Any) -> None:
        """Keep a text."""
        super().say(text)
        self.heard += text if isinstance(text, str) else ""


def read(body: bytes) -> Request:
    """Return what a request's body says."""
    return read_request(CHAT, body)


def event(data: bytes, name: bytes = b"") -> tuple[int, Facts]:
    """Return the marks and the facts of one event."""
    facts = Facts()
    return CHAT.read_event(name, data, facts), facts


@pytest.mark.parametrize(
    ("data", "marks"),
    [
        (b"", 0),
        (b"[DONE]", 0),
        (b" [DONE] ", 0),
        (b"ping", 0),
        (b"[]", 0),
        (b"{}", 0),
        (b'{"choices":{}}', 0),
        (b'{"choices":[null,1]}', 0),
        (b'{"choices":[{"delta":{"role":"assistant","content":""}}]}', 0),
        (b'{"choices":[{"delta":{"content":"a"}}]}', Marks.CONTENT),
        (b'{"choices":[{"delta":{"tool_calls":[{}]}}]}', Marks.CONTENT),
        (b'{"choices":[{"delta":{"images":[{}]}}]}', Marks.CONTENT),
        (b'{"choices":[{"text":"a"}]}', Marks.CONTENT),
        (b'{"choices":[{"message":{"content":"a"}}]}', Marks.CONTENT),
        (b'{"choices":[{"delta":{"reasoning_content":"a"}}]}', Marks.CONTENT | Marks.REASONING),
        (b'{"choices":[{"delta":{"reasoning_details":[{"text":"a"}]}}]}', Marks.CONTENT | Marks.REASONING),
        (b'{"choices":[{"delta":{"reasoning_details":[{"data":"gAAA"}]}}]}', 0),
        (b'{"choices":[{"delta":{"content":[{"thinking":"a"}]}}]}', Marks.CONTENT | Marks.REASONING),
        (b'{"choices":[{"delta":{"content":[{"text":"a"}]}}]}', Marks.CONTENT),
        (b'{"choices":[{"delta":{"annotations":[{}]}}]}', 0),
        (b'{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}', Marks.CONTENT | Marks.FINISH),
        (b'{"choices":[{"finish_reason":""}],"usage":{}}', 0),
        (b'{"choices":[],"usage":{}}', Marks.USAGE_EVENT),
        (b'{"choices":null,"usage":{}}', Marks.USAGE_EVENT),
        (b'{"usage":{}}', Marks.USAGE_EVENT),
        (b'{"usage":null}', Marks.USAGE_NULL),
        (b'{"usage":[]}', 0),
        (b'{"error":{},"usage":{}}', Marks.USAGE_EVENT),
        (b'{"error":{"code":1},"usage":{}}', 0),
    ],
)
def test_marks(data: bytes, marks: int) -> None:
    """Marks say what the tap has to know of an event."""
    assert marks == event(data)[0]


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (b"0", "0"),
        (b"0.0001495", "0.0001495"),
        (b"1.5e-7", "1.5E-7"),
        (b'{"total_cost":0.006}', "0.006"),
        (b"-0.1", "None"),
        (b"1e7", "None"),
        (b"true", "None"),
        (b'"0.0000036"', "0.0000036"),
        (b'"free"', "None"),
        (b'"inf"', "None"),
        (b"NaN", "None"),
        (b"{}", "None"),
    ],
)
def test_takes_the_upstreams_word_on_cost(cost: bytes, expected: str) -> None:
    """What an upstream says it cost is taken to 12 decimal places, unless it cannot be money."""
    _, facts = event(b'{"usage":{"prompt_tokens":1,"completion_tokens":1,"cost":' + cost + b"}}")

    assert expected == str(facts.provider_cost_usd)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (b'"cost_in_usd_ticks":37756000', "0.0037756000"),
        (b'"cost_in_usd_ticks":0', "0E-10"),
        (b'"cost_in_usd_ticks":-1', "None"),
        (b'"cost":0.05,"cost_details":{"upstream_inference_cost":1}', "0.05"),
        (b'"cost":0.05,"is_byok":true,"cost_details":{"upstream_inference_cost":1}', "1.05"),
        (b'"cost":0.05,"is_byok":true,"cost_details":{"upstream_inference_cost":null}', "0.05"),
        (b'"cost":0.05,"is_byok":true,"cost_details":[1]', "0.05"),
        (b'"is_byok":true,"cost_details":{"upstream_inference_cost":1}', "None"),
    ],
)
def test_adds_up_what_it_cost(members: bytes, expected: str) -> None:
    """XAI's ticks are read exactly, and a fee for the use of one's own key is added to what the key paid."""
    _, facts = event(b'{"usage":{"prompt_tokens":1,"completion_tokens":1,' + members + b"}}")

    assert expected == str(facts.provider_cost_usd)


@pytest.mark.parametrize(
    "told",
    [
        [
            b'{"choices":[{"delta":{"content":"one two"}}]}',
            b'{"choices":[{"message":{"content":"one two"}}]}',
        ],
        [b'{"choices":[{"message":{"content":"one two"}}]}'],
        [b'{"choices":[{"delta":{"content":"one two"},"message":{"content":"one two"}}]}'],
        [b'{"choices":[{"delta":{"reasoning":"one two","reasoning_content":"one two"}}]}'],
        [b'{"choices":[{"delta":{"reasoning":"one two","reasoning_details":[{"text":"one two"}]}}]}'],
        [b'{"choices":[{"delta":{"reasoning_details":[{"summary":"one two"}]}}]}'],
        [b'{"choices":[{"delta":{"content":[{"thinking":[{"text":"one"},1]},{"text":" two"}]}}]}'],
        [b'{"choices":[{"delta":{"content":[{"thinking":"one"},{"text":" two"}]}}]}'],
        [b'{"choices":[{"delta":{"tool_calls":[{"function":{"name":"one","arguments":" two"}}]}}]}'],
        [b'{"choices":[{"delta":{"tool_calls":[{"custom":{"name":"one","input":" two"}}]}}]}'],
        [b'{"choices":[{"delta":{"function_call":{"name":"one","arguments":" two"}}}]}'],
        [b'{"choices":[{"delta":{"audio":{"id":"a","data":"AAAA","transcript":"one two"}}}]}'],
        [b'{"choices":[{"delta":{"refusal":"one two"}}]}'],
        [b'{"choices":[{"text":"one two"}]}'],
        [b'{"choices":[{"delta":{"content":"one"}},{"delta":{"content":" two"}}]}'],
    ],
)
def test_hears_everything_once(told: list[bytes]) -> None:
    """What is said in a stream is estimated once, by however many names and however often it comes."""
    facts = Heard()
    for data in told:
        CHAT.read_event(b"", data, facts)

    assert "one two" == facts.heard


def test_an_empty_answer_was_seen() -> None:
    """An answer without a word has nothing to estimate, and is known to have come."""
    _, facts = event(b'{"choices":[{"delta":{},"finish_reason":"stop"}]}')

    assert 0.0 == facts.said


def test_keeps_no_more_reasons_than_there_are_choices() -> None:
    """An upstream that invents choices without end is not listened to for ever."""
    facts = Facts()
    for index in range(1000):
        CHAT.read_event(b"", b'{"choices":[{"index":%d,"finish_reason":"stop"}]}' % index, facts)

    assert 128 == len(facts.finish_reasons)


def test_keeps_no_long_names() -> None:
    """Of a model, an id or a tier of thousands of characters, as many are kept as tell it apart."""
    long = b"x" * 5000
    _, facts = event(b'{"id":"%b","model":"%b","service_tier":"%b"}' % (long, long, long))

    assert {"x" * 1024} == {facts.response_id, facts.response_model, facts.service_tier}


# Requests.


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"stream":true}', b'{"stream":true,"stream_options":{"include_usage":true}}'),
        (b' { "stream" : true } \n', b' { "stream" : true ,"stream_options":{"include_usage":true}} \n'),
        (b'{"stream":false,"stream":true}', None),
        (
            b'{"stream":true,"stream_options":null}',
            b'{"stream":true,"stream_options":{"include_usage":true}}',
        ),
        (b'{"stream_options":{},"stream":true}', b'{"stream_options":{"include_usage":true},"stream":true}'),
        (
            b'{"stream_options": {"include_usage" : null, "a" : 1.0 } ,"stream":true}',
            b'{"stream_options": {"include_usage" : true, "a" : 1.0 } ,"stream":true}',
        ),
        (
            b'{"stream_options":{"include_usage":false,"include_usage":false},"stream":true}',
            b'{"stream_options":{"include_usage":false,"include_usage":true},"stream":true}',
        ),
        (
            b'{"stream_options":1,"stream":true,"stream_options":{"a":NaN}}',
            b'{"stream_options":1,"stream":true,"stream_options":{"a":NaN,"include_usage":true}}',
        ),
        (
            b'{"stream":true,"stream\\u005foptions":{}}',
            b'{"stream":true,"stream\\u005foptions":{"include_usage":true}}',
        ),
        (
            b'\xef\xbb\xbf{"stream":true,"x":"\\ud800"}',
            b'\xef\xbb\xbf{"stream":true,"x":"\\ud800","stream_options":{"include_usage":true}}',
        ),
        (
            b'{"x":-Infinity,"stream":true,"stream_options":{"include_usage":false}}',
            b'{"x":-Infinity,"stream":true,"stream_options":{"include_usage":true}}',
        ),
    ],
)
def test_asks_by_a_splice(body: bytes, expected: bytes | None) -> None:
    """Usage is asked for in the client's own bytes, of which no other changes."""
    expected = expected or body[:-1] + b',"stream_options":{"include_usage":true}}'

    assert expected == read(body).asking


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[1]",
        b'"stream"',
        b'{"stream":true',
        b'{"stream":true}}',
        b'{"stream":"true"}',
        b'{"stream":1}',
        b'{"stream":null}',
        b'{"stream":true,"stream":false}',
        b'{"x":NaN,"stream":true,"stream":false}',
        b'{"stream":true,"stream_options":{"include_usage":true}}',
        b'{"x":NaN,"stream":true,"stream_options":{"include_usage":true}}',
        b'{"stream":true,"stream_options":{"include_usage":"no"}}',
        b'{"stream":true,"stream_options":{"include_usage":0}}',
        b'{"stream":true,"stream_options":[]}',
        b'{"stream":true,"stream_options":false}',
        b'{"x":NaN,"stream":true,"stream_options":"x"}',
        b'{"stream":true,"x":' + b"[" * 1001 + b"]" * 1001 + b"}",
        b"[" * 100_000,
    ],
    ids=lambda body: body[:60],
)
def test_does_not_ask(body: bytes) -> None:
    """Nothing is asked of what is no stream, has asked, or says what cannot be understood."""
    assert read(body).asking is None


@pytest.mark.parametrize(
    ("body", "model", "stream"),
    [
        (b'{"model":"gpt-4o"}', "gpt-4o", False),
        (b'{"model":"a","stream":true,"model":"b"}', "b", True),
        (b'{"m\\u006fdel":"a","x":NaN}', "a", False),
        (b'{"model":"\\ud800"}', None, False),
        (b'{"model":"\xff"}', None, False),
        (b'{"model":"","stream":true}', None, True),
        (b'{"model":["a"],"x":' + b"9" * 5000 + b"}", None, False),
        (b'{"model":' + b"9" * 5000 + b"}", None, False),
        (b'{"model":"' + b"m" * 2000 + b'"}', "m" * 1024, False),
        (b'{"model":"a"', None, False),
    ],
    ids=lambda body: body[:40] if isinstance(body, bytes) else None,
)
def test_reads_requests(body: bytes, model: str | None, stream: bool) -> None:
    """Model and stream are read as the last member of their name says, if it says what it should."""
    request = read(body)

    assert (model, stream) == (request.model, request.stream)


def test_gives_way() -> None:
    """Reading a long request that strict parsers refuse gives way to others."""
    reading = CHAT.read_request(b'{"x":NaN,"messages":[' + b"1," * 50_000 + b'1],"stream":true}')

    assert sum(1 for _ in reading) > 10


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
OPTIONS = st.none() | st.fixed_dictionaries(
    {}, optional={"include_usage": st.none() | st.just(False), "a": JSON}
)


@settings(max_examples=200)
@given(
    before=st.dictionaries(st.text(max_size=4), JSON, max_size=3),
    options=st.just({}) | st.fixed_dictionaries({"stream_options": OPTIONS}),
    after=st.dictionaries(st.text(max_size=4), JSON, max_size=3),
    indent=st.none() | st.integers(0, 2),
    strict=st.booleans(),
)
def test_asks_and_says_the_same(
    before: dict[str, Any], options: dict[str, Any], after: dict[str, Any], indent: int | None, strict: bool
) -> None:
    """A request that asks means what the client's means, and its bytes are the client's but for a splice."""
    told = before | options | {"stream": True} | after
    mark = b"" if strict else b"\xef\xbb\xbf"  # strict parsers refuse it
    body = mark + json.dumps(told, indent=indent, ensure_ascii=strict).encode()

    asking = read(body).asking

    assert asking is not None
    wanted = (told.get("stream_options") or {}) | {"include_usage": True}
    assert {**told, "stream_options": wanted} == json.loads(asking)
    assert replaced(body, asking) in {b"", b"null", b"fals"}


def replaced(body: bytes, asking: bytes) -> bytes:
    """Return what of `body` lies between the longest beginning and the longest end that both have."""
    start = next((i for i, (a, b) in enumerate(zip(body, asking, strict=False)) if a != b), len(body))
    ends = zip(reversed(body[start:]), reversed(asking[start:]), strict=False)
    same = next((i for i, (a, b) in enumerate(ends) if a != b), len(body) - start)
    return body[start : len(body) - same]


SHARDS = [
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b'"',
    b"\\",
    b'"stream":true',
    b'"stream_options"',
    b"null",
    b"{}",
    b"NaN",
]


@settings(max_examples=300)
@given(body=st.binary(max_size=60) | st.lists(st.sampled_from(SHARDS), max_size=16).map(b"".join))
def test_reads_any_request(body: bytes) -> None:
    """Whatever a body is, reading it raises nothing, and only an object is asked with."""
    asking = read(body).asking

    assert asking is None or json.loads(asking)["stream_options"]["include_usage"] is True


@settings(max_examples=300)
@given(
    data=st.binary(max_size=60)
    | st.lists(st.sampled_from(SHARDS), max_size=16).map(b"".join)
    | JSON.map(json.dumps).map(str.encode)
)
def test_reads_any_answer(data: bytes) -> None:
    """Whatever an event or an answer is, reading it raises nothing."""
    CHAT.read_event(b"error", data, Facts())
    CHAT.read_event(b"", data, Facts())
    CHAT.read_answer(data, Facts())


WORDS = (
    "id",
    "model",
    "choices",
    "usage",
    "error",
    "delta",
    "index",
    "finish_reason",
    "prompt_tokens",
    "x_groq",
    "content",
    "reasoning_details",
    "thinking",
    "function",
    "cost",
    "cost_details",
    "is_byok",
)


@settings(max_examples=300)
@given(
    told=st.dictionaries(
        st.sampled_from(WORDS),
        st.recursive(
            JSON | st.floats(),
            lambda inner: (
                st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3)
            ),
            max_leaves=12,
        ),
    )
)
def test_reads_any_types(told: dict[str, Any]) -> None:
    """Whatever types an answer's members have, reading it raises nothing."""
    data = json.dumps(told).encode()
    CHAT.read_event(b"", data, Facts())
    CHAT.read_answer(data, Facts())
