"""Gemini's own API: what requests and single pieces say; whole exchanges are among the recorded cases."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from play import play, read_request

from meter.dialect import Dialect, Facts, Marks, Request
from meter.dialects.gemini import (
    EmbedContent,
    GenerateContent,
    StreamGenerateContent,
)
from meter.estimate import text_tokens
from meter.exchange import INPUT_KINDS, OUTPUT_KINDS, Outcome
from meter.lenient import written
from meter.tap import Tap

WHOLE, STREAM = GenerateContent(), StreamGenerateContent()
ALL: list[Dialect] = [WHOLE, STREAM, EmbedContent()]

TEXT = "river " * 70
THOUGHT = Marks.CONTENT | Marks.REASONING


def piece(data: bytes, name: bytes = b"") -> tuple[int, Facts]:
    """Return the marks and the facts of one piece of a stream."""
    facts = Facts()
    return STREAM.read_event(name, data, facts), facts


def candidate(content: bytes) -> bytes:
    """Return a piece with one candidate."""
    return b'{"candidates":[{%b}]}' % content


def part(content: bytes) -> bytes:
    """Return a piece with one part."""
    return candidate(b'"content":{"parts":[{%b}],"role":"model"}' % content)


@pytest.mark.parametrize(
    ("data", "marks"),
    [
        (b"", 0),
        (b"[DONE]", 0),
        (b"{}", 0),
        (b'{"candidates":{}}', 0),
        (b'{"candidates":[]}', 0),
        (candidate(b'"content":{"role":"model"}'), 0),
        (candidate(b'"content":{"parts":[]}'), 0),
        (part(b""), 0),
        (part(b'"text":""'), 0),
        (part(b'"text":"","thoughtSignature":"Ci"'), 0),
        (part(b'"text":"a"'), Marks.CONTENT),
        (part(b'"text":"a","thought":false'), Marks.CONTENT),
        (part(b'"text":"a","thought":true'), THOUGHT),
        (part(b'"functionCall":{"name":"f"}'), Marks.CONTENT),
        (part(b'"functionCall":{"partialArgs":[{"stringValue":"a"}]}'), Marks.CONTENT),
        (part(b'"inlineData":{"data":"AAAA"}'), Marks.CONTENT),
        (part(b'"fileData":{"fileUri":"x"}'), Marks.CONTENT),
        (part(b'"executableCode":{"code":"1"}'), Marks.CONTENT),
        (part(b'"codeExecutionResult":{"output":"1"}'), Marks.CONTENT),
        (candidate(b'"finishReason":"STOP"'), Marks.FINISH),
        (candidate(b'"finishReason":""'), 0),
        (candidate(b'"finishReason":"FINISH_REASON_UNSPECIFIED"'), 0),
        (
            candidate(b'"finishReason":"STOP","content":{"parts":[{"text":"a"}]}'),
            Marks.CONTENT | Marks.FINISH,
        ),
        (b'{"promptFeedback":{"blockReason":"SAFETY"}}', Marks.FINISH),
        (b'{"promptFeedback":{"safetyRatings":[]}}', 0),
        (b'{"usageMetadata":{"promptTokenCount":3}}', 0),
    ],
)
def test_marks(data: bytes, marks: int) -> None:
    """Marks say what the tap has to know of a piece."""
    assert marks == piece(data)[0]


@pytest.mark.parametrize(
    ("data", "name", "error"),
    [
        (b'{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}', b"", "RESOURCE_EXHAUSTED"),
        (b'{"error":{"code":429}}', b"", ""),
        (b'{"error":"busy"}', b"", ""),
        (b'[{"error":{"status":"UNAVAILABLE"}}]', b"", "UNAVAILABLE"),
        (b'[{"error":{"status":"MADE_UP"}}]', b"", ""),
        (b"busy", b"error", ""),
        (b'{"status":"UNAVAILABLE"}', b"error", ""),
        (b'{"error":null}', b"", None),
        (b"[]", b"", None),
        (b"busy", b"", None),
    ],
)
def test_finds_errors(data: bytes, name: bytes, error: str | None) -> None:
    """An error is one in an object, in a list, or by the name of its event."""
    assert error == piece(data, name)[1].error


def test_keeps_the_first_error_that_has_a_name() -> None:
    """What comes after an error does not take its name away."""
    facts = Facts()
    for data in (b'{"error":{"status":"UNAVAILABLE"}}', b'{"error":{}}', b'[{"error":{}}]', b"{}"):
        STREAM.read_event(b"error", data, facts)

    assert "UNAVAILABLE" == facts.error


@pytest.mark.parametrize(
    ("told", "tier"),
    [
        ({}, None),
        ({"serviceTier": "standard"}, "standard"),
        ({"serviceTier": "SERVICE_TIER_FLEX"}, "flex"),
        ({"serviceTier": "SERVICE_TIER_UNSPECIFIED"}, None),
        ({"serviceTier": "unspecified"}, None),
        ({"serviceTier": 3}, None),
        ({"trafficType": "ON_DEMAND"}, "standard"),
        ({"trafficType": "ON_DEMAND_PRIORITY"}, "priority"),
        ({"trafficType": "PROVISIONED_THROUGHPUT"}, "provisioned_throughput"),
        ({"trafficType": "TRAFFIC_TYPE_UNSPECIFIED"}, None),
    ],
)
def test_names_tiers_as_prices_do(told: dict[str, Any], tier: str | None) -> None:
    """A service tier, or Vertex's type of traffic, goes by the name that prices have for it."""
    assert tier == piece(json.dumps({"usageMetadata": told}).encode())[1].service_tier


def test_estimates_what_waswritten() -> None:
    """Texts, calls and code are what an estimate is made of; images and results of tools are not."""
    facts = piece(part(b'"text":"' + TEXT.encode() + b'"'))[1]
    STREAM.read_event(b"", part(b'"inlineData":{"data":"' + b"A" * 400 + b'"}'), facts)
    STREAM.read_event(b"", part(b'"codeExecutionResult":{"output":"' + b"1 " * 400 + b'"}'), facts)

    assert pytest.approx(text_tokens(TEXT)) == facts.said

    STREAM.read_event(b"", part(b'"functionCall":{"args":{"text":"' + TEXT.encode() + b'"}}'), facts)

    assert (facts.said or 0) > 2 * text_tokens(TEXT)


def test_keeps_no_names_without_end() -> None:
    """Of names of thousands of characters, and of thousands of candidates, as many are kept as make sense."""
    long = "x" * 5000
    told = {
        "responseId": long,
        "modelVersion": long,
        "candidates": [{"index": i, "finishReason": long} for i in range(1000)],
    }
    _, facts = piece(json.dumps(told).encode())

    assert {"x" * 1024} == {facts.response_id, facts.response_model, *facts.finish_reasons.values()}
    assert 128 == len(facts.finish_reasons)


@pytest.mark.parametrize(("dialect", "stream"), [(WHOLE, False), (STREAM, True)])
def test_reads_requests(dialect: Dialect, stream: bool) -> None:
    """Whether an answer streams, and from which model, is in the path; the body has the prompt."""
    request = read_request(
        dialect,
        b'{"contents":[{"parts":[{"text":"'
        + TEXT.encode()
        + b'"}]}],"systemInstruction":{},"stream":true,"model":"models/another","generationConfig":{}}',
    )

    assert (None, stream, None) == (request.model, request.stream, request.asking)
    assert 1 <= (request.prompt_tokens or 0) / text_tokens(TEXT) < 1.3


def test_leaves_images_out_of_an_estimate() -> None:
    """The base64 of a prompt's image is not taken for text."""
    image = (
        b'{"contents":[{"parts":[{"inlineData":{"data":"' + b"A" * 100_000 + b'"}},{"text":"What is it?"}]}]}'
    )

    assert (read_request(WHOLE, image).prompt_tokens or 0) < 100


@pytest.mark.parametrize("body", [b"", b"null", b"[1]", b'{"contents"', b"\xff", b"[" * 100_000])
@pytest.mark.parametrize("dialect", ALL)
def test_reads_any_request(dialect: Dialect, body: bytes) -> None:
    """What is no request says nothing."""
    assert Request(stream=dialect.streams_array) == read_request(dialect, body)


@pytest.mark.parametrize("media", [b"application/json", b"text/event-stream"])
@pytest.mark.parametrize("size", [1000, 65536, 1 << 23])
def test_reads_usage_behind_an_image(media: bytes, size: int) -> None:
    """Of a stream with an image of megabytes, in events or in an array, usage and finish are read."""
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 1290}
    image = {"inlineData": {"mimeType": "image/png", "data": "iVBO" * 500_000}}
    told = {
        "candidates": [{"content": {"parts": [image]}, "finishReason": "STOP"}],
        "usageMetadata": usage | {"candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}]},
        "modelVersion": "gemini-2.5-flash-image",
    }
    body = json.dumps(told).encode()
    answer = b"[" + body + b"\n]" if media == b"application/json" else b"data: " + body + b"\r\n\r\n"
    tap = Tap(STREAM, request=Request(stream=True))
    tap.answer(200, media, None)

    came = play(tap, (answer[i : i + size] for i in range(0, len(answer), size)))

    assert answer == came
    assert {"input": 9, "output": 0, "output_image": 1290} == tap.facts.usage
    assert (True, Outcome.OK) == (tap.first_content is not None, tap.outcome(None))


def test_reads_usage_of_a_whole_answer_with_an_image() -> None:
    """Of a whole answer with an image of megabytes usage is read."""
    image = {"inlineData": {"mimeType": "image/png", "data": "iVBO" * 500_000}}
    told = {"candidates": [{"content": {"parts": [image]}}], "usageMetadata": {"promptTokenCount": 9}}
    tap = Tap(WHOLE)
    tap.answer(200, b"application/json", None)
    play(tap, [json.dumps(told, indent=2).encode()])

    assert {"input": 9} == tap.facts.usage


# Any types.

COUNTS = st.integers(-2, 50) | st.floats() | st.text(max_size=2) | st.none() | st.booleans()
DETAILS = st.lists(
    st.fixed_dictionaries(
        {"modality": st.sampled_from(["TEXT", "IMAGE", "AUDIO", "VIDEO", "DOCUMENT", "NEW"])},
        optional={"tokenCount": COUNTS},
    ),
    max_size=4,
)
TOTALS = ("promptTokenCount", "toolUsePromptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
USAGE = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys((*TOTALS, "cachedContentTokenCount", "totalTokenCount"), COUNTS),
        **dict.fromkeys(
            (
                "promptTokensDetails",
                "toolUsePromptTokensDetails",
                "cacheTokensDetails",
                "candidatesTokensDetails",
            ),
            DETAILS,
        ),
    },
)


def whole(told: dict[str, Any], *names: str) -> int | None:
    """Return the sum of the counts that make sense, None where none does."""
    counts = [told.get(name) for name in names]
    sane = [
        int(c)
        for c in counts
        if isinstance(c, int | float) and not isinstance(c, bool) and 0 <= c <= 10**12 and c == int(c)
    ]
    return sum(sane) if sane else None


@settings(max_examples=400)
@given(told=USAGE)
def test_partitions_any_usage(told: dict[str, Any]) -> None:
    """Whatever is told, the kinds add up to the totals, and none is below nothing."""
    usage = piece(json.dumps({"usageMetadata": told}).encode())[1].usage or {}

    assert {True} == {tokens >= 0 for tokens in usage.values()} | {True}
    assert (whole(told, *TOTALS[:2]) or 0) == sum(usage.get(kind, 0) for kind in INPUT_KINDS)
    assert (whole(told, *TOTALS[2:]) or 0) == sum(usage.get(kind, 0) for kind in OUTPUT_KINDS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
WORDS = (
    "candidates",
    "content",
    "parts",
    "text",
    "thought",
    "functionCall",
    "index",
    "finishReason",
    "promptFeedback",
    "blockReason",
    "usageMetadata",
    "promptTokenCount",
    "cachedContentTokenCount",
    "promptTokensDetails",
    "modality",
    "tokenCount",
    "serviceTier",
    "modelVersion",
    "embedding",
    "error",
)


@settings(max_examples=300)
@given(
    told=st.dictionaries(
        st.sampled_from(WORDS),
        st.recursive(
            JSON,
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
    for dialect in ALL:
        dialect.read_event(b"", data, Facts())
        dialect.read_answer(data, Facts())


@settings(max_examples=200)
@given(data=st.binary(max_size=60) | JSON.map(json.dumps).map(str.encode))
def test_reads_any_answer(data: bytes) -> None:
    """Whatever a piece or an answer is, reading it raises nothing."""
    for dialect in ALL:
        dialect.read_event(b"error", data, Facts())
        dialect.read_answer(data, Facts())


@pytest.mark.parametrize("depth", [300, 900, 990, 2000, 100_000])
def test_reads_any_depth(depth: int) -> None:
    """However deep an answer is nested, reading it raises nothing."""
    deep = b'{"a":' * depth + b"1" + b"}" * depth
    for dialect in ALL:
        dialect.read_event(b"", part(b'"functionCall":' + deep), Facts())
        dialect.read_answer(part(b'"text":' + deep), Facts())


def test_estimates_nothing_without_end() -> None:
    """A call that is nested deeper than can be written down again counts as nothing."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]

    assert "" == written(deep)
