"""Nothing that comes from outside raises, changes what is passed on, or is held beyond a bound.

Bodies, events and answers of every nasty shape are played through what reads them. Time is not measured;
what is counted instead is how much is handed to a decoder at once, and how often reading gives way.
"""

from __future__ import annotations

import gzip
import tracemalloc
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from play import read_request

from meter import dialects
from meter.abridge import SHORT_TEXT
from meter.dialect import Request
from meter.members import members
from meter.tap import Tap

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from meter.dialect import Dialect, Facts

MIB = 1 << 20
PIECE = 64 * 1024
EVENTS, LINES, JSON = b"text/event-stream", b"application/x-ndjson", b"application/json"
CHAT = dialects.DIALECTS[("chat", "completions")]
SPOKEN = [*dialects.DIALECTS.values(), *dialects.VERBS.values()]
SPOKEN_IDS = ["_".join(segments) for segments in dialects.DIALECTS] + list(dialects.VERBS)
ARRAYS = next((dialect for dialect in SPOKEN if dialect.streams_array), None)


@contextmanager
def peak() -> Iterator[Callable[[], int]]:
    """Measure the most bytes that are held at a time."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def filled(before: bytes, repeated: bytes, after: bytes = b"", size: int = 3 * MIB) -> bytes:
    """Return so many bytes of something repeated."""
    return before + repeated * (size // len(repeated)) + after


def event(data: bytes) -> bytes:
    """Return one event."""
    return b"data: %b\n\n" % data


NASTY = {
    "nothing": b"",
    "blanks": b" \n\t\r" * 2000,
    "nul": b"\0" * 5000,
    "not_utf8": b'{"model":"\xff\xfe","choices":"\xc3"}',
    "half_a_pair": b'{"id":"\\ud83d","model":"\\udc00","choices":[{"delta":{"content":"\\ud83d"}}]}',
    "nan": b'{"usage":{"prompt_tokens":NaN,"completion_tokens":-Infinity}}',
    "nested_lists": b"[" * 100_000,
    "nested_objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "nested_member": b'{"choices":%b1%b,"usage":null}' % (b"[" * 50_000, b"]" * 50_000),
    "nested_content": b'{"messages":[{"content":%b1%b}]}' % (b"[" * 900, b"]" * 900),
    "digits": b'{"id":%b,"usage":{"prompt_tokens":%b,"completion_tokens":1}}' % (b"7" * 5000, b"7" * 5000),
    "exponent": b'{"usage":{"prompt_tokens":1e999999,"completion_tokens":1e-999999}}',
    "negative": b'{"usage":{"prompt_tokens":-5,"completion_tokens":-0.0}}',
    "escapes": b'{"model":"%b"}' % (b"\\u0000\\\\\\/" * 3000),
    "unclosed": b'{"model":"' + b"x" * 50_000,
    "backslashes": b'{"model":"' + b"\\" * 50_001,
    "duplicates": b"{%b}" % b",".join([b'"model":"m","usage":{"prompt_tokens":3}'] * 2000),
    "keys": b"{%b}" % b",".join(b'"%x":0' % i for i in range(10_000)),
    "scalar": b"true",
    "html": b"<html>" * 1000,
    "byte_order_mark": b"\xef\xbb\xbf" * 3,
}


@pytest.mark.parametrize("dialect", SPOKEN, ids=SPOKEN_IDS)
@pytest.mark.parametrize("text", NASTY.values(), ids=list(NASTY))
def test_every_dialect_reads_anything(dialect: Dialect, text: bytes) -> None:
    """No dialect raises, be it fed a nasty text as a request, an answer, an event, a line or an element."""
    request = read_request(dialect, text)

    for media, answer in (
        (JSON, text),
        (JSON, b"[%b]" % text),
        (EVENTS, event(text)),
        (EVENTS, b"event: error\n" + event(text)),
        (LINES, text + b"\n"),
    ):
        tap = Tap(dialect, request=request)
        tap.answer(200, media, None)
        tap.watch(answer, 0.0)
        tap.end(1.0)
        tap.counted(tap.outcome(None), sent=True)

        assert 0 == tap.failures


class Spy:
    """A dialect that notes how much it is given at once."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.operation, self.consumes = dialect.operation, dialect.consumes
        self.streams_array, self.returned = dialect.streams_array, dialect.returned
        self.most = 0

    def read_request(self, body: bytes) -> Generator[None, None, Request]:
        """Read a request."""
        return self.dialect.read_request(body)

    def read_answer(self, body: bytes, facts: Facts) -> None:
        """Read an answer."""
        self.most = max(self.most, len(body))
        self.dialect.read_answer(body, facts)

    def read_event(self, name: bytes, data: bytes, facts: Facts) -> int:
        """Read an event."""
        self.most = max(self.most, len(data))
        return self.dialect.read_event(name, data, facts)


DELTA = b'{"choices":[{"delta":{"content":"a"}}]}'
ANSWERS = {
    "event_of_lists": (EVENTS, event(filled(b'{"choices":[', b"[],", b"1]}", MIB - 50))),
    "event_of_nested_lists": (EVENTS, event(filled(b'{"choices":', b"[", b"", MIB - 50))),
    "event_of_nan": (EVENTS, event(filled(b'{"a":[', b"NaN,", b"1]}", MIB - 50))),
    "event_of_numbers": (EVENTS, event(filled(b'{"a":[', b"1,", b"1]}", MIB - 50))),
    "event_of_blanks": (EVENTS, event(filled(b'{"a":[', b" ", b"]}", MIB - 50))),
    "event_of_choices": (EVENTS, event(filled(b'{"choices":[', b'{"delta":{"content":"a"}},', b"1]}"))),
    "event_of_an_image": (EVENTS, event(filled(b'{"image":"', b"iVBO", b'"}'))),
    "event_of_lines": (EVENTS, filled(b"", b"data: 1\n", b"\n", MIB)),
    "endless_line": (EVENTS, filled(b"data: ", b"x")),
    "endless_comment": (EVENTS, filled(b": ", b"x")),
    "tiny_events": (EVENTS, filled(b"", b"data:1\n\n", b"", MIB // 4)),
    "tiny_objects": (EVENTS, filled(b"", b"data:{}\n\n", b"", MIB // 4)),
    "tiny_deltas": (EVENTS, filled(b"", event(DELTA), b"", MIB)),
    "tiny_errors": (EVENTS, filled(b"", event(b'{"error":{"code":7}}'), b"", MIB // 2)),
    "finish_reasons": (
        EVENTS,
        b"".join(event(b'{"choices":[{"index":%d,"finish_reason":"a"}]}' % n) for n in range(20_000)),
    ),
    "comments": (EVENTS, filled(b"", b":\n\n", b"", MIB // 8)),
    "blank_lines": (EVENTS, filled(b"", b"\n")),
    "mixed_line_ends": (EVENTS, filled(b"", b"a\n\r", b"", MIB // 8)),
    "arrays": (JSON, filled(b'{"choices":[', b"[],", b"1]}")),
    "open_arrays": (JSON, filled(b"", b"[")),
    "numbers": (JSON, filled(b'{"data":[{"embedding":[', b"0.125,", b'1]}],"usage":{"prompt_tokens":5}}')),
    "numbers_that_break_off": (JSON, filled(b'{"data":[', b"0.125,", b"x")),
    "an_image": (JSON, filled(b'{"data":[{"b64_json":"', b"iVBO", b'"}],"usage":{"total_tokens":5}}')),
    "digits": (JSON, filled(b'{"usage":{"prompt_tokens":', b"7", b"}}")),
    "blanks": (JSON, filled(b"", b" ", b"{}")),
    "escapes": (JSON, filled(b'{"id":"', b'\\"', b'"}')),
    "short_texts": (JSON, filled(b'{"a":[', b'"a short text",', b"1]}")),
    "keys": (JSON, b"{%b}" % b",".join(b'"%x":0' % i for i in range(100_000))),
    "page": (b"text/html", filled(b"<html>", b"<p>")),
    "endless_json_line": (LINES, filled(b'{"a":"', b"x")),
    "tiny_lines": (LINES, filled(b"", b"1\n", b"", MIB // 16)),
    "empty_lines": (LINES, filled(b"", b"\n", b"", MIB // 8)),
    "lines_of_lists": (LINES, filled(b"", b"[" * 2000 + b"\n", b"", MIB)),
}


def played(tap: Tap, body: bytes) -> bytes:
    """Return what the client gets of a body that comes in pieces; the bytes count, so that none is kept."""
    out, size = [], 0
    for at in range(0, len(body), PIECE):
        piece = body[at : at + PIECE]
        if tap.hiding:
            piece = tap.edit(piece, 0.0)
        else:
            tap.watch(piece, 0.0)
        size += len(piece)
        out.append(hash(piece))
    rest = tap.end(1.0)
    assert 0 == tap.failures
    return b"%d" % (size + len(rest))


@pytest.mark.parametrize(("media", "body"), ANSWERS.values(), ids=list(ANSWERS))
@pytest.mark.parametrize("asked", [False, True])
def test_answers(media: bytes, body: bytes, asked: bool) -> None:
    """An answer of any shape passes whole, is read in short texts, and is held within bounds."""
    spy = Spy(CHAT)
    tap = Tap(spy, request=Request(stream=True), asked=asked)
    tap.answer(200, media, None)

    with peak() as most:
        size = played(tap, body)
        counted = tap.counted(tap.outcome(None), sent=True)

    assert b"%d" % len(body) == size
    assert spy.most <= SHORT_TEXT
    assert most() < (16 if "choices" in repr(body[:40]) else 12) * MIB
    assert all(count >= 0 for count in (counted.usage or {}).values())


ELEMENTS = {
    "arrays": filled(b"[", b"[],", b"", MIB // 16),
    "open_arrays": filled(b"", b"[", b"", MIB // 4),
    "objects": filled(b"[", b"{},", b"", MIB // 8),
    "within": filled(b'[{"a":', b"[],", b"", MIB // 4),
    "texts": filled(b"[", b'"",', b"", MIB // 4),
    "endless": filled(b'[{"a":"', b"x"),
    "shut": filled(b"", b"]", b"", MIB // 8),
}


@pytest.mark.parametrize("body", ELEMENTS.values(), ids=list(ELEMENTS))
def test_arrays_that_stream(body: bytes) -> None:
    """An array that streams is read in short texts and held within bounds, whatever is in it."""
    if ARRAYS is None:
        pytest.skip("no dialect streams arrays")
    spy = Spy(ARRAYS)
    tap = Tap(spy)
    tap.answer(200, JSON, None)

    with peak() as most:
        played(tap, body)

    assert spy.most <= SHORT_TEXT
    assert most() < 12 * MIB


@pytest.mark.parametrize(
    "plain",
    [
        filled(b"", b"[", b"", 40 * MIB),
        filled(b"data: ", b"x", b"", 40 * MIB),
        filled(b"", b"\n", b"", 40 * MIB),
    ],
    ids=["arrays", "endless_line", "blank_lines"],
)
@pytest.mark.parametrize("media", [JSON, EVENTS])
def test_bombs(plain: bytes, media: bytes) -> None:
    """A compressed answer that inflates without end passes as it came, and is read up to a bound."""
    body = gzip.compress(plain, 9)
    spy = Spy(CHAT)
    tap = Tap(spy)
    tap.answer(200, media, b"gzip")

    with peak() as most:
        size = played(tap, body)

    assert b"%d" % len(body) == size
    assert spy.most <= SHORT_TEXT
    assert most() < 12 * MIB


REQUESTS = {
    "image": filled(b'{"model":"m","stream":true,"messages":["', b"iVBO", b'"]}'),
    "text": filled(b'{"model":"m","stream":true,"messages":["', b"text ", b'"]}'),
    "escapes": filled(b'{"model":"m","stream":true,"messages":["', b"\\u4e2d", b'"]}'),
    "quotes": filled(b'{"model":"m","stream":true,"messages":["', b'\\"', b'"]}'),
    "numbers": filled(b'{"model":"m","stream":true,"messages":[', b"1,", b"1]}"),
    "numbers_that_break_off": filled(b'{"model":"m","stream":true,"messages":[', b"1,", b"x"),
    "blanks": filled(b'{"model":"m","stream":true,"messages":[', b" ", b"]}"),
    "arrays": filled(b'{"model":"m","stream":true,"messages":[', b"[],", b"1]}"),
    "keys": b'{"model":"m"%b}' % b"".join(b',"%x":0' % i for i in range(200_000)),
    "nan": filled(b'{"model":"m","stream":true,"messages":[', b"NaN,", b"1]}"),
    "short_texts": filled(b'{"model":"m","stream":true,"messages":[', b'"a short text",', b"1]}"),
    "open_arrays": filled(b"", b"["),
    "open_objects": filled(b"", b'{"a":'),
    "unclosed": filled(b'{"model":"', b"x"),
    "nul": filled(b"", b"\0"),
    "backslashes": filled(b'{"model":"', b"\\"),
    "bare_quotes": filled(b"", b'"'),
    "options_behind": filled(b'{"model":"m","stream":true,"a":"', b"text ", b'","stream_options":{}}'),
}


@pytest.mark.parametrize("body", REQUESTS.values(), ids=list(REQUESTS))
def test_requests(body: bytes) -> None:
    """Of a long request one copy is made at the most, where usage is asked for in it, and little else."""
    with peak() as most:
        request = read_request(CHAT, body)
        asked = request.asking is not None
        size = most()

    assert size < (len(body) if asked else 0) + 4 * MIB
    assert not asked or (request.asking or b"").startswith(body[:1000])


@pytest.mark.parametrize("body", REQUESTS.values(), ids=list(REQUESTS))
def test_reading_gives_way(body: bytes) -> None:
    """A long request is either given way to all along, or given up."""
    yields, looked = 0, CHAT.read_request(body)
    while True:
        try:
            next(looked)
        except StopIteration as end:
            given_up = end.value.model is None
            break
        yields += 1

    assert given_up or yields >= len(body) >> 17


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'{"a":%b1}' % (b" " * 65_536), 1),
        (b'{"a":%b1}' % (b" " * 200_000), None),
        (b'{"a":1%b}' % (b',"a":1' * 9_999), 10_000),
        (b'{"a":1%b}' % (b',"a":1' * 10_000), None),
        (b'{"a":%b1%b}' % (b"[" * 999, b"]" * 999), 1),
        (b'{"a":%b1%b}' % (b"[" * 1000, b"]" * 1000), None),
    ],
)
def test_looks_for_members_up_to_bounds(text: bytes, found: int | None) -> None:
    """Blanks without end, members by the thousands and deep nesting are no object to be looked at."""
    outline = members(text)

    assert found == (None if outline is None else len(outline))
