"""Images: requests, single events, and images of megabytes; whole exchanges are among the recorded cases."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from play import read_request

from meter.dialect import Facts, Marks, Request
from meter.dialects.images import ImageEdits, ImageGenerations
from meter.exchange import Outcome, UsageSource
from meter.tap import Tap

IMAGES = ImageGenerations()
USAGE = {
    "total_tokens": 1069,
    "input_tokens": 13,
    "output_tokens": 1056,
    "input_tokens_details": {"text_tokens": 13, "image_tokens": 0},
}
COUNTED = {"input": 13, "input_image": 0, "output_image": 1056}


def event(data: bytes, name: bytes = b"") -> tuple[int, Facts]:
    """Return the marks and the facts of one event."""
    facts = Facts()
    return IMAGES.read_event(name, data, facts), facts


@pytest.mark.parametrize("dialect", [IMAGES, ImageEdits()])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"gpt-image-1","prompt":"A kite"}', Request(model="gpt-image-1")),
        (
            b'{"model":"gpt-image-1","prompt":"A kite","stream":true}',
            Request(model="gpt-image-1", stream=True),
        ),
        (b'{"prompt":"A kite"}', Request()),
        (b"--b7c1\r\nContent-Disposition: form-data", Request()),
    ],
)
def test_reads_requests(dialect: ImageGenerations, body: bytes, expected: Request) -> None:
    """Of a request the model is read, and that a stream is wanted; its prompt is not estimated."""
    assert expected == read_request(dialect, body)


@pytest.mark.parametrize(
    ("data", "marks"),
    [
        (b"", 0),
        (b"[DONE]", 0),
        (b"{}", 0),
        (b"[]", 0),
        (b'{"type":"image_generation.partial_image","b64_json":"AAAA"}', Marks.CONTENT),
        (b'{"type":"image_generation.partial_image","b64_json":""}', Marks.CONTENT),
        (b'{"type":"image_edit.completed","b64_json":"AAAA","usage":{}}', Marks.CONTENT),
        (b'{"type":"image_generation.partial_succeeded","url":"https://example.com/1.png"}', Marks.CONTENT),
        (b'{"type":"image_generation.completed","usage":{"output_tokens":6240}}', 0),
        (b'{"type":"image_generation.partial_image","b64_json":null}', 0),
        (b'{"type":"keepalive"}', 0),
        (b'{"type":"error","error":{"code":"server_error"}}', 0),
    ],
)
def test_marks_events(data: bytes, marks: int) -> None:
    """An event with an image, be it of a part or of the whole, carries content."""
    assert marks == event(data)[0]


@pytest.mark.parametrize(
    ("data", "terminated"),
    [
        (b"[DONE]", True),
        (b'{"type":"image_generation.completed"}', True),
        (b'{"type":"image_edit.completed"}', True),
        (b'{"type":"image_generation.partial_image"}', False),
        (b'{"type":["image_generation.completed"]}', False),
        (b'{"type":null}', False),
    ],
)
def test_knows_the_end(data: bytes, terminated: bool) -> None:
    """The image that is complete ends the stream."""
    assert terminated == event(data)[1].terminated


@pytest.mark.parametrize(
    ("data", "name", "error"),
    [
        (b'{"type":"error","error":{"code":"moderation_blocked"}}', b"error", "moderation_blocked"),
        (b'{"type":"error","error":{"code":"moderation_blocked"}}', b"", "moderation_blocked"),
        (b'{"error":{"message":"no"}}', b"", ""),
        (b'{"code":"server_error"}', b"error", "server_error"),
        (b'{"message":"no"}', b"error", ""),
        (b"no", b"error", ""),
        (b"no", b"", None),
        (b'[{"error":{"status":"UNAVAILABLE"}}]', b"", "UNAVAILABLE"),
        (b'{"type":"image_generation.completed"}', b"image_generation.completed", None),
    ],
)
def test_knows_errors(data: bytes, name: bytes, error: str | None) -> None:
    """An error inside a stream is known by its members or its event's name, and by its published code."""
    assert error == event(data, name)[1].error


def test_keeps_an_error() -> None:
    """What comes after an error does not undo it."""
    facts = Facts(error="server_error")
    IMAGES.read_event(b"", b'{"type":"image_generation.completed"}', facts)
    IMAGES.read_event(b"", b"no json", facts)

    assert "server_error" == facts.error


def test_keeps_a_usage() -> None:
    """A placeholder does not replace the usage that came before it."""
    facts = Facts()
    for usage in (USAGE, {}, None, {"total_tokens": 0}):
        data = json.dumps({"type": "image_generation.completed", "b64_json": "AA==", "usage": usage})
        IMAGES.read_event(b"", data.encode(), facts)

    assert (COUNTED, {}, True) == (facts.usage, facts.units, facts.final_usage)


def test_estimates_nothing() -> None:
    """Of a stream that broke off after part of an image, nobody knows what it used."""
    tap = Tap(IMAGES, request=read_request(IMAGES, b'{"model":"gpt-image-1","prompt":"A kite"}'))
    tap.answer(200, b"text/event-stream", None)
    tap.watch(b'data: {"type":"image_generation.partial_image","b64_json":"AAAA"}\n\n', 0.0)
    tap.end(1.0)

    assert Outcome.TRUNCATED == tap.outcome(None)
    assert UsageSource.MISSING == tap.counted(Outcome.TRUNCATED, sent=True).source


IMAGE = base64.b64encode(bytes(range(256)) * 8800).decode()


@pytest.mark.parametrize("usage", [USAGE, None])
def test_reads_around_megabytes(usage: dict[str, Any] | None) -> None:
    """Of a whole answer of 6 MB the usage behind its images is read, or else the images are counted."""
    told = {"created": 1760000000, "data": [{"b64_json": IMAGE}, {"b64_json": IMAGE}], "usage": usage}
    tap = played(IMAGES, b"application/json", json.dumps(told).encode())

    counted = tap.counted(tap.outcome(None), sent=True)

    assert (UsageSource.REPORTED, COUNTED, {}) == counted if usage else {"images": 2} == counted.units


def test_reads_events_of_megabytes() -> None:
    """Of a stream whose every event is 3 MB the usage is read, and when its images came."""
    partial = {"type": "image_generation.partial_image", "b64_json": IMAGE, "partial_image_index": 0}
    last = {"type": "image_generation.completed", "b64_json": IMAGE, "usage": USAGE}
    body = b"".join(b"data: " + json.dumps(told).encode() + b"\n\n" for told in (partial, last))
    tap = played(IMAGES, b"text/event-stream", body)

    assert (Outcome.OK, True) == (tap.outcome(None), tap.first_content is not None)
    assert (UsageSource.REPORTED, COUNTED, {}) == tap.counted(Outcome.OK, sent=True)


def played(dialect: ImageGenerations, media: bytes, body: bytes) -> Tap:
    """Return a tap that has seen an answer in pieces of 64 KB."""
    tap = Tap(dialect)
    tap.answer(200, media, None)
    for at in range(0, len(body), 1 << 16):
        tap.watch(body[at : at + (1 << 16)], float(at))
    tap.end(float(len(body)))
    assert 0 == tap.failures
    return tap


WORDS = ("id", "model", "data", "b64_json", "url", "usage", "error", "type", "code", "object", "cost")
COUNTS = ("input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details", "image_tokens")
TYPES = st.sampled_from(["image_generation.completed", "image_edit.partial_image", "error"])
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
    IMAGES.read_event(b"error", data, Facts())
    IMAGES.read_event(b"", data, Facts())
    IMAGES.read_answer(data, Facts())
    read_request(IMAGES, data)
