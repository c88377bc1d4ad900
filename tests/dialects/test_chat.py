"""Chat completions: what is read of recorded exchanges, and that nothing asking caused reaches the client.

A case is a folder: `request.json` and `answer.*` are bodies as they went over the wire, `expected.json` is
what is to be known afterwards, and `hidden.sse`, where Meter asked for usage, is what the client gets.
"""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import brotli  # type: ignore[import-untyped]  # it has no types of its own
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from meter.dialect import Facts, Marks, Request
from meter.dialects.chat import ChatCompletions
from meter.errors import error_type
from meter.exchange import INPUT_KINDS, OUTPUT_KINDS
from meter.tap import Tap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

CHAT = ChatCompletions()
CASES = Path(__file__).parent / "cases" / "chat"
NAMES = sorted(folder.name for folder in CASES.iterdir())
HIDDEN = [name for name in NAMES if (CASES / name / "hidden.sse").exists()]
MEDIA = {
    ".sse": b"text/event-stream",
    ".json": b"application/json",
    ".html": b"text/html",
    ".txt": b"text/plain",
}


def read(body: bytes) -> Request:
    """Return what a request's body says."""
    reading = CHAT.read_request(body)
    while True:
        try:
            next(reading)
        except StopIteration as end:
            request: Request = end.value
            return request


@dataclass(frozen=True)
class Case:
    """A recorded exchange."""

    request: Request
    answer: bytes
    media: bytes
    hidden: bytes | None
    expected: dict[str, Any]

    def tap(self, encoding: bytes | None = None) -> Tap:
        """Return a tap that has seen the answer's head."""
        tap = Tap(CHAT, asked=self.hidden is not None, client_streams=self.request.stream)
        tap.answer(self.expected.get("status", 200), self.media, encoding)
        return tap


@cache
def load(name: str) -> Case:
    """Read a case's files."""
    folder = CASES / name
    answer = next(folder.glob("answer.*"))
    hidden = folder / "hidden.sse"
    return Case(
        read((folder / "request.json").read_bytes()),
        answer.read_bytes(),
        MEDIA[answer.suffix],
        hidden.read_bytes() if hidden.exists() else None,
        json.loads((folder / "expected.json").read_text()),
    )


def play(tap: Tap, pieces: Iterable[bytes]) -> bytes:
    """Return what the client gets."""
    out: list[bytes] = []
    for now, piece in enumerate(pieces):
        if tap.hiding:
            out.append(tap.edit(piece, now))
        else:
            tap.watch(piece, now)
            out.append(piece)
    out.append(tap.end(-1.0))
    assert 0 == tap.failures
    return b"".join(out)


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Return the pieces that lie between places."""
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def learned(tap: Tap) -> dict[str, Any]:
    """Return what a tap knows at the upstream's own end, in the words of `expected.json`."""
    facts = tap.facts
    outcome = tap.outcome(None)
    cost = facts.provider_cost_usd
    return {
        "outcome": outcome,
        "error_type": error_type(facts.error, tap.status, outcome),
        "usage": facts.usage,
        "usage_source": tap.usage_source(outcome, sent=True),
        "finish_reasons": list(facts.finish_reasons.values()),
        "service_tier": facts.service_tier,
        "provider_cost_usd": None if cost is None else str(cost),
        "content": tap.first_content is not None,
        "reasoning": tap.reasoning_streamed,
        "response_model": facts.response_model,
        "response_id": facts.response_id,
        "status": tap.status,
    }


def expected(case: Case) -> dict[str, Any]:
    """Return all of `expected.json`; what a case does not mention is not to be found in it."""
    nothing = dict.fromkeys(("service_tier", "provider_cost_usd", "response_model", "response_id"))
    return {**nothing, "status": 200, "content": False, "reasoning": False, **case.expected}


PLACES = st.lists(st.integers(0, 1 << 20), max_size=12)


@pytest.mark.parametrize("name", NAMES)
class TestExchanges:
    """Recorded exchanges, however their bytes come."""

    @pytest.mark.parametrize("size", [1, 2, 7, 1 << 20])
    def test_plays(self, name: str, size: int) -> None:
        """Facts and bytes are the expected ones whole, byte by byte and in short pieces."""
        case = load(name)
        tap = case.tap()

        came = play(tap, (case.answer[i : i + size] for i in range(0, len(case.answer), size)))

        assert (case.answer if case.hidden is None else case.hidden) == came
        assert expected(case) == learned(tap)

    @settings(max_examples=12)
    @given(places=PLACES)
    def test_plays_at_any_cuts(self, name: str, places: list[int]) -> None:
        """Facts and bytes do not depend on where the answer was cut."""
        case = load(name)
        tap = case.tap()

        came = play(tap, cut(case.answer, places))

        assert (case.answer if case.hidden is None else case.hidden) == came
        assert expected(case) == learned(tap)

    @settings(max_examples=12)
    @given(end=st.integers(0, 1 << 20), places=PLACES)
    def test_breaks_off_anywhere(self, name: str, end: int, places: list[int]) -> None:
        """Of an answer that breaks off the client gets the same bytes at any cuts."""
        case = load(name)
        broken = case.answer[: end % (len(case.answer) + 1)]

        assert play(case.tap(), [broken]) == play(case.tap(), cut(broken, places))

    def test_partitions(self, name: str) -> None:
        """Every kind that is counted is one of the kinds."""
        usage = load(name).expected["usage"] or {}

        assert set(usage) <= {*INPUT_KINDS, *OUTPUT_KINDS}


def raw_deflate(data: bytes) -> bytes:
    """Return deflated data without a frame."""
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflate.compress(data) + deflate.flush()


CODINGS: list[tuple[bytes, Callable[[bytes], bytes]]] = [
    (b"gzip", gzip.compress),
    (b"deflate", zlib.compress),
    (b"deflate", raw_deflate),
    (b"br", brotli.compress),
    (b"zstd", zstandard.ZstdCompressor().compress),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("encoding", "compress"), CODINGS)
@settings(max_examples=3)
@given(places=PLACES)
def test_plays_compressed(
    name: str, encoding: bytes, compress: Callable[[bytes], bytes], places: list[int]
) -> None:
    """What is compressed is read from a copy; where something is hidden it is edited and not compressed."""
    case = load(name)
    coded = compress(case.answer)
    tap = case.tap(encoding)

    came = play(tap, cut(coded, places))

    assert (coded if case.hidden is None else case.hidden) == came
    assert expected(case) == learned(tap)
    assert tap.decodes == (case.hidden is not None)


@pytest.mark.parametrize("name", HIDDEN)
def test_hides_only_where_it_asks(name: str) -> None:
    """In every case that hides something the request is one that Meter asks with."""
    request = load(name).request

    assert request.stream
    assert request.asking is not None


# Not so where the stream ends without a terminator, an event has comments of its own or lines within its
# data, or a name is written with escapes: an end that says nothing yet goes out as it is.
_FAR_FETCHED = {
    "done_missing",
    "duplicate_members",
    "escaped_names",
    "llama_cpp_timings",
    "other_fields_and_comments",
    "several_data_lines",
    "usage_broken_off",
    "usage_without_a_blank_line",
}


@pytest.mark.parametrize("name", [name for name in HIDDEN if name not in _FAR_FETCHED])
def test_is_a_beginning_wherever_it_breaks_off(name: str) -> None:
    """A stream broken off at any byte reaches the client as a beginning of what it would have had."""
    case = load(name)
    hidden = case.hidden or b""

    came = [play(case.tap(), [case.answer[:end]]) for end in range(len(case.answer))]

    assert [] == [end for end, beginning in enumerate(came) if not hidden.startswith(beginning)]


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
        (b'"0.1"', "None"),
        (b"NaN", "None"),
        (b"{}", "None"),
    ],
)
def test_takes_the_upstreams_word_on_cost(cost: bytes, expected: str) -> None:
    """What an upstream says it cost is taken to the last digit, unless it cannot be money."""
    _, facts = event(b'{"usage":{"prompt_tokens":1,"completion_tokens":1,"cost":' + cost + b"}}")

    assert expected == str(facts.provider_cost_usd)


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
