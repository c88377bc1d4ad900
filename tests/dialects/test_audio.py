"""Audio: requests, single events, and what is estimated; whole exchanges are among the recorded cases."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from play import read_request

from meter.dialect import Facts, Marks, Request
from meter.dialects.audio import Speech, Transcriptions, Translations
from meter.exchange import Outcome, UsageSource
from meter.tap import Tap

HEARS = Transcriptions()
SPEAKS = Speech()
SSE = b"text/event-stream"


def heard(*events: bytes, name: bytes = b"") -> tuple[int, Facts]:
    """Return the marks of the last event of a transcription, and the facts of all."""
    facts = Facts()
    return [HEARS.read_event(name, data, facts) for data in events][-1], facts


@pytest.mark.parametrize("dialect", [HEARS, Translations()])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"whisper-1","file":"AAAA"}', Request(model="whisper-1")),
        (b'{"model":"whisper-1","stream":true}', Request(model="whisper-1", stream=True)),
        (b"--b7c1\r\nContent-Disposition: form-data", Request()),
        (b"", Request()),
    ],
)
def test_reads_requests_to_hear(dialect: Transcriptions, body: bytes, expected: Request) -> None:
    """Of a request that is JSON the model is read; nothing of it is estimated."""
    assert expected == read_request(dialect, body)


@pytest.mark.parametrize(
    ("members", "characters"),
    [
        ({"input": "The ferry sails."}, 16),
        ({"input": "Die Fähre 🌍"}, 11),
        ({"input": 'a "quoted"\n word'}, 16),
        ({"input": ""}, None),
        ({"input": ["a"]}, None),
        ({"input": 5}, None),
        ({"input": None}, None),
        ({}, None),
    ],
)
def test_counts_characters(members: dict[str, Any], characters: int | None) -> None:
    """What is to be spoken is counted in characters, not in bytes; no tokens are estimated from it."""
    body = json.dumps({"model": "tts-1", "voice": "alloy", "stream_format": "sse", **members}).encode()

    assert Request(model="tts-1", characters=characters) == read_request(SPEAKS, body)


def test_counts_no_characters_that_were_left_out() -> None:
    """Of a text so long that it is not kept, nobody knows how long it is."""
    body = json.dumps({"model": "tts-1", "input": "sail " * 600_000}).encode()

    assert Request(model="tts-1") == read_request(SPEAKS, body)


@pytest.mark.parametrize(
    ("data", "marks"),
    [
        (b"", 0),
        (b"[DONE]", 0),
        (b"{}", 0),
        (b"[1]", 0),
        (b'{"type":"transcript.text.delta","delta":"Low"}', Marks.CONTENT),
        (b'{"type":"transcript.text.delta","delta":""}', 0),
        (b'{"type":"transcript.text.delta","delta":{"a":1}}', 0),
        (b'{"type":"transcript.text.segment","text":"Low"}', Marks.CONTENT),
        (b'{"type":"transcript.text.done","text":"Low"}', Marks.CONTENT),
        (b'{"type":"transcript.text.done","text":""}', 0),
        (b'{"type":"transcription.text.delta","text":"Low"}', Marks.CONTENT),
        (b'{"type":"transcription.language","audio_language":"en"}', 0),
        (b'{"text":"Low"}', Marks.CONTENT),
        (b'{"choices":[{"delta":{"content":"Low"}}]}', Marks.CONTENT),
        (b'{"choices":[{"delta":{"content":""},"finish_reason":"stop"}]}', Marks.FINISH),
        (b'{"choices":[{"delta":{"content":"Low"},"finish_reason":"stop"}]}', Marks.CONTENT | Marks.FINISH),
        (b'{"choices":[]}', 0),
        (b'{"type":"speech.audio.delta","audio":"AAAA"}', Marks.CONTENT),
        (b'{"type":"speech.audio.delta","audio_data":"AAAA"}', Marks.CONTENT),
        (b'{"type":"speech.audio.delta","audio":""}', 0),
        (b'{"type":"speech.audio.done","usage":{}}', 0),
    ],
)
def test_marks_events(data: bytes, marks: int) -> None:
    """An event with a piece of text or of audio carries content."""
    assert marks == heard(data)[0]


def test_hears_nothing_twice() -> None:
    """What the last event says in full, and a segment with its times, is not said again."""
    low = b'{"type":"transcript.text.delta","delta":"Low water"}'
    once = heard(low)[1].said
    marks, facts = heard(
        low,
        b'{"type":"transcript.text.segment","text":"Low water"}',
        b'{"type":"transcript.text.done","text":"Low water"}',
    )

    assert (0, once) == (marks, facts.said)


@pytest.mark.parametrize(
    ("events", "final"),
    [
        ([b'{"usage":{"input_tokens":9,"output_tokens":1}}'], True),
        ([b'{"delta":"a","usage":{"input_tokens":9,"output_tokens":1}}'], False),
        ([b'{"usage":{"input_tokens":9,"output_tokens":1}}', b'{"delta":"a"}'], False),
        ([b'{"delta":"a","usage":{"input_tokens":9,"output_tokens":1}}', b'{"type":"ping"}'], False),
        ([b'{"type":"transcript.text.done","text":"a","usage":{"input_tokens":9}}'], True),
        ([b'{"delta":"a"}', b'{"type":"transcript.text.done","text":"a"}'], False),
    ],
)
def test_knows_a_running_total(events: list[bytes], final: bool) -> None:
    """A usage that text comes with, or after, is a running total unless the text is the whole."""
    assert final == heard(*events)[1].final_usage


@pytest.mark.parametrize(
    ("data", "name", "error"),
    [
        (b'{"type":"error","error":{"code":"server_error"}}', b"", "server_error"),
        (b'{"code":"server_error"}', b"error", "server_error"),
        (b'{"error":"no"}', b"", ""),
        (b"no", b"error", ""),
        (b"no", b"", None),
        (b'[{"error":{"status":"UNAVAILABLE"}}]', b"", "UNAVAILABLE"),
        (b'{"type":"transcript.text.done"}', b"transcript.text.done", None),
    ],
)
def test_knows_errors(data: bytes, name: bytes, error: str | None) -> None:
    """An error inside a stream is known by its members or its event's name, and by its published code."""
    assert error == heard(data, name=name)[1].error


@pytest.mark.parametrize(
    ("told", "usage", "units"),
    [
        ({"duration": 8.5}, None, {"audio_seconds": 8.5}),
        ({"duration": "8.5"}, None, {"audio_seconds": 8.5}),
        ({"duration": "8,5"}, None, {}),
        ({"duration": 8.5, "usage": {"type": "duration", "seconds": 9}}, None, {"audio_seconds": 9}),
        ({"duration": 8.5, "usage": {"type": "duration"}}, None, {"audio_seconds": 8.5}),
        ({"duration": 8.5, "usage": {"input_tokens": 9}}, {"input": 9}, {}),
        ({"duration": 8.5, "usage": {"input_tokens": 0}}, {"input": 0}, {"audio_seconds": 8.5}),
        ({"usage": {"prompt_audio_seconds": 12, "prompt_tokens": 3}}, None, {"audio_seconds": 12}),
        ({"usage": {"prompt_audio_seconds": 0, "prompt_tokens": 3}}, {"input": 3}, {}),
        ({"x_groq": {"id": "r", "usage": {"prompt_tokens": 3}}}, {"input": 3}, {}),
    ],
)
def test_takes_one_measure(
    told: dict[str, Any], usage: dict[str, int] | None, units: dict[str, float]
) -> None:
    """What was heard is counted in tokens or in seconds, whichever is charged for."""
    facts = Facts()
    HEARS.read_answer(json.dumps(told).encode(), facts)

    assert (usage, units, usage is not None) == (facts.usage, facts.units, facts.final_usage)


def test_takes_the_upstreams_word_on_cost() -> None:
    """What the upstream says it cost is kept."""
    facts = Facts()
    HEARS.read_answer(b'{"text":"a","usage":{"seconds":9,"cost":0.25}}', facts)

    assert "0.25" == str(facts.provider_cost_usd)


def spoken(media: bytes, *pieces: bytes, status: int = 200, **options: Any) -> Tap:
    """Return a tap that has seen an answer to a request that 25 characters be spoken."""
    body = b'{"model":"tts-1","input":"The ferry sails at eight.","voice":"alloy"}'
    tap = Tap(SPEAKS, request=read_request(SPEAKS, body), **options)
    tap.answer(status, media, None)
    for piece in pieces:
        tap.watch(piece, 0.0)
    tap.end(1.0)
    return tap


DELTA = b'data: {"type":"speech.audio.delta","audio":"AAAA"}\n\n'
LAST = b'data: {"type":"speech.audio.done"}\n\n'
TOLD = b'data: {"type":"speech.audio.done","usage":{"input_tokens":14,"output_tokens":101}}\n\n'


@pytest.mark.parametrize(
    ("media", "body"),
    [
        (b"audio/mpeg", b"\xff\xf3\xe4\xc4"),
        (b"audio/mpeg", b""),
        (b"application/octet-stream", b"RIFF"),
        (b"application/json", b'{"audio_data":"AAAA"}'),
        (SSE, DELTA + LAST),
        (SSE, DELTA),
    ],
)
def test_estimates_what_was_spoken(media: bytes, body: bytes) -> None:
    """Speech whose answer tells no usage is counted by the characters of the request, as an estimate."""
    tap = spoken(media, body)

    assert (UsageSource.ESTIMATED, None, {"characters": 25}) == tap.counted(tap.outcome(None), sent=True)


@pytest.mark.parametrize("cause", [Outcome.CLIENT_CLOSED, Outcome.TRUNCATED, Outcome.TIMEOUT])
def test_estimates_what_was_being_spoken(cause: Outcome) -> None:
    """Speech that was broken off is charged for as a whole."""
    tap = spoken(b"audio/mpeg", b"\xff\xf3")

    assert {"characters": 25} == tap.counted(tap.outcome(cause), sent=True).units


def test_prefers_what_was_told() -> None:
    """Where tokens are told, characters are not counted beside them."""
    tap = spoken(SSE, DELTA + TOLD)

    counted = tap.counted(tap.outcome(None), sent=True)

    assert (UsageSource.REPORTED, {"input": 14, "output_audio": 101}, {}) == counted


@pytest.mark.parametrize(
    ("media", "body", "status", "source"),
    [
        (b"application/json", b'{"error":{"code":"server_error"}}', 200, UsageSource.MISSING),
        (b"text/html", b"<html>", 200, UsageSource.MISSING),
        (SSE, DELTA + b'data: {"error":"no"}\n\n', 200, UsageSource.MISSING),
        (b"application/json", b"{}", 400, UsageSource.NONE),
        (b"audio/mpeg", b"", 500, UsageSource.NONE),
    ],
)
def test_estimates_no_failure(media: bytes, body: bytes, status: int, source: UsageSource) -> None:
    """What failed was not spoken."""
    tap = spoken(media, body, status=status)

    assert (source, {}) == tap.counted(tap.outcome(None), sent=True)[::2]


def test_estimates_nothing_that_was_heard() -> None:
    """Of a transcription that broke off nobody knows how long the audio was."""
    tap = Tap(HEARS)
    tap.answer(200, SSE, None)
    tap.watch(b'data: {"type":"transcript.text.delta","delta":"Low"}\n\n', 0.0)
    tap.end(1.0)

    assert UsageSource.MISSING == tap.counted(tap.outcome(None), sent=True).source


WORDS = (
    "id",
    "model",
    "type",
    "text",
    "delta",
    "audio",
    "choices",
    "content",
    "finish_reason",
    "duration",
    "usage",
    "x_groq",
    "error",
    "code",
)
COUNTS = ("input_tokens", "output_tokens", "input_token_details", "audio_tokens", "seconds", "cost")
TYPES = st.sampled_from(["transcript.text.done", "speech.audio.delta", "duration", "error"])
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | TYPES,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(WORDS + COUNTS), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=200)
@given(told=st.dictionaries(st.sampled_from(WORDS), ANY))
def test_reads_any_types(told: dict[str, Any]) -> None:
    """Whatever types an answer's members have, reading it raises nothing."""
    data = json.dumps(told).encode()
    for dialect in (HEARS, SPEAKS):
        dialect.read_event(b"error", data, Facts())
        dialect.read_event(b"", data, Facts())
        dialect.read_answer(data, Facts())
        read_request(dialect, data)
