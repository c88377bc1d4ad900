"""Events come out the same however the stream is cut, and no byte is lost, added or moved."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from meter.sse import Kind, Part, Splitter

if TYPE_CHECKING:
    from collections.abc import Callable

BOM = b"\xef\xbb\xbf"
LIMIT = 1 << 20

# stream, its events, the data of each
CASES = {
    "nothing": (b"", [], []),
    "one event": (b"data: a\n\n", [b"data: a\n\n"], [b"a"]),
    "CRLF": (b"data: a\r\n\r\n", [b"data: a\r\n\r\n"], [b"a"]),
    "bare CR": (b"data: a\r\r", [b"data: a\r\r"], [b"a"]),
    "LF then CRLF": (b"data: a\n\r\n", [b"data: a\n\r\n"], [b"a"]),
    "CRLF then LF": (b"data: a\r\n\n", [b"data: a\r\n\n"], [b"a"]),
    "CRLF then CR": (b"data: a\r\n\rdata: b\n\n", [b"data: a\r\n\r", b"data: b\n\n"], [b"a", b"b"]),
    "CR then CRLF": (b"data: a\r\r\ndata: b\n\n", [b"data: a\r\r\n", b"data: b\n\n"], [b"a", b"b"]),
    "CRLF inside": (b"event: e\r\ndata: a\r\n\r\n", [b"event: e\r\ndata: a\r\n\r\n"], [b"a"]),
    "several events": (
        b"data: a\n\ndata: b\r\n\r\ndata: c\r\rdata: d\n\n",
        [b"data: a\n\n", b"data: b\r\n\r\n", b"data: c\r\r", b"data: d\n\n"],
        [b"a", b"b", b"c", b"d"],
    ),
    "no space": (b"data:a\n\n", [b"data:a\n\n"], [b"a"]),
    "two spaces": (b"data:  a\n\n", [b"data:  a\n\n"], [b" a"]),
    "empty data": (b"data:\n\n", [b"data:\n\n"], [b""]),
    "empty data with a space": (b"data: \n\n", [b"data: \n\n"], [b""]),
    "no colon": (b"data\n\n", [b"data\n\n"], [b""]),
    "two data lines": (b"data: a\ndata: b\n\n", [b"data: a\ndata: b\n\n"], [b"a\nb"]),
    "data lines with CR": (b"data: a\rdata: b\n\n", [b"data: a\rdata: b\n\n"], [b"a\nb"]),
    "other fields": (b"id: 1\nretry: 2\ndata: a\n\n", [b"id: 1\nretry: 2\ndata: a\n\n"], [b"a"]),
    "a field that begins like data": (b"database: a\n\n", [b"database: a\n\n"], [None]),
    "comment": (b": ping\n\ndata: a\n\n", [b": ping\n\n", b"data: a\n\n"], [None, b"a"]),
    "comment before data": (b": ping\ndata: a\n\n", [b": ping\ndata: a\n\n"], [b"a"]),
    "colon in the data": (b"data: a: b\n\n", [b"data: a: b\n\n"], [b"a: b"]),
    "blank lines": (
        b"\n\r\n\rdata: a\n\n\n",
        [b"\n\r\n\r", b"data: a\n\n", b"\n"],
        [b"a"],
    ),
    "byte order mark": (BOM + b"data: a\n\n", [BOM + b"data: a\n\n"], [b"a"]),
    "byte order mark, CRLF": (BOM + b"data: a\r\n\r\n", [BOM + b"data: a\r\n\r\n"], [b"a"]),
    "byte order mark later": (b"\n" + BOM + b"data: a\n\n", [b"\n", BOM + b"data: a\n\n"], [None]),
    "no blank line at the end": (
        b"data: a\n\ndata: [DONE]\n",
        [b"data: a\n\n", b"data: [DONE]\n"],
        [b"a", b"[DONE]"],
    ),
    "no line end at the end": (b"data: [DONE]", [b"data: [DONE]"], [b"[DONE]"]),
    "a byte after the line end": (b"data: a\nx", [b"data: a\nx"], [b"a"]),
    "only a byte order mark": (BOM, [BOM], [None]),
}

WORDS = [b"data: a", b"data:", b"event: e", b":", b"x" * 20, b"\xc3\xa9", BOM]
LINE_ENDS = [b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r"]
STREAMS = st.lists(st.sampled_from(WORDS + LINE_ENDS), max_size=30).map(b"".join)


def play(pieces: list[bytes], limit: int = LIMIT) -> list[Part]:
    """Return all parts that a splitter makes of `pieces`, up to its close."""
    splitter = Splitter(limit)
    return [part for piece in pieces for part in splitter.feed(piece)] + splitter.close()


def whole(stream: bytes) -> list[bytes]:
    """Return the stream in one piece."""
    return [stream]


def bytewise(stream: bytes) -> list[bytes]:
    """Return the stream in pieces of one byte."""
    return [stream[i : i + 1] for i in range(len(stream))]


def cut(stream: bytes, at: list[int]) -> list[bytes]:
    """Return the stream in pieces that end at the places in `at`."""
    places = [0, *sorted(min(place, len(stream)) for place in at), len(stream)]
    return [stream[a:b] for a, b in pairwise(places)]


def events(parts: list[Part]) -> list[tuple[Kind, bytes]]:
    """Return kinds and bytes, with rests, further stretches of a long event and blank lines merged."""
    merged: list[tuple[Kind, bytes]] = []
    for part in parts:
        joins = merged and (
            part.kind is Kind.REST
            or part.kind is Kind.OVERSIZED is merged[-1][0]
            or not (part.raw + merged[-1][1]).strip(b"\r\n")
        )
        if joins:
            merged[-1] = (merged[-1][0], merged[-1][1] + part.raw)
        else:
            merged.append((part.kind, part.raw))
    return merged


@pytest.mark.parametrize("split", [whole, bytewise])
@pytest.mark.parametrize("case", CASES)
def test_cases(case: str, split: Callable[[bytes], list[bytes]]) -> None:
    """Each stream gives the same events and the same data, whole and byte by byte."""
    stream, expected, data = CASES[case]
    parts = play(split(stream))

    assert expected == [raw for _, raw in events(parts)]
    assert Kind.OVERSIZED not in {part.kind for part in parts}
    assert data == [part.data for part in parts if part.kind is Kind.EVENT and part.raw.strip(b"\r\n")]


@settings(max_examples=300, deadline=None)
@given(STREAMS, st.lists(st.integers(0, 200), max_size=8), st.sampled_from([1, 7, 25, LIMIT]))
@example(b"data: a\r\n\r\n", [10], 10)
@example(b"xx\r\n\r\n", [5], 5)
def test_any_cuts(stream: bytes, at: list[int], limit: int) -> None:
    """Wherever a stream is cut, no byte is lost and the events are those of the whole stream."""
    parts, single = play(cut(stream, at), limit), play(bytewise(stream), limit)

    assert stream == b"".join(part.raw for part in parts)
    assert stream == b"".join(part.raw for part in single)
    assert events(play([stream], limit)) == events(parts) == events(single)


@settings(max_examples=200, deadline=None)
@given(STREAMS, st.lists(st.integers(0, 200), max_size=8), st.sampled_from([1, 7, 25]))
def test_held_is_bounded(stream: bytes, at: list[int], limit: int) -> None:
    """After any piece no more than `limit` bytes are held, and what is held is what has not come out."""
    splitter, out, fed = Splitter(limit), 0, 0
    for piece in cut(stream, at):
        out += sum(len(part.raw) for part in splitter.feed(piece))
        fed += len(piece)

        assert fed - out == splitter.held <= limit


@settings(max_examples=200, deadline=None)
@given(STREAMS)
def test_data_agrees_with_the_plain_reading(stream: bytes) -> None:
    """Data, name and preamble of any event are those that reading it line by line gives."""
    for i, part in enumerate(play([stream])):
        raw = part.raw.removeprefix(BOM) if i == 0 else part.raw
        lines = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n").split(b"\n")
        pairs = [line.split(b":", 1) if b":" in line else [line, b""] for line in lines]
        data = [value.removeprefix(b" ") for name, value in pairs if name == b"data"]
        names = [value.removeprefix(b" ") for name, value in pairs if name == b"event"]

        assert (b"\n".join(data) if data else None) == part.data
        assert (names[-1] if names else b"") == part.name
        assert part.raw.startswith(part.preamble)
        assert raw[len(part.preamble) - len(part.raw) + len(raw) :][:1] not in (b":", b"\n", b"\r")


def test_one_event_is_the_piece_itself() -> None:
    """A piece that is one event comes out as the same object, whatever its line ends."""
    splitter = Splitter(LIMIT)
    for piece in (
        b"data: a\n\n",
        b"data: b\r\n\r\n",
        b"event: c\ndata: c\n\n",
        b"data: d\r\r",
        b"data: e\n\n",
    ):
        [part] = splitter.feed(piece)

        assert part.raw is piece


def test_closing_cr_does_not_wait() -> None:
    """An event whose blank line ends in CR comes out at once, and the LF that follows is its rest."""
    splitter = Splitter(LIMIT)

    assert events(splitter.feed(b"data: a\r\n\r")) == [(Kind.EVENT, b"data: a\r\n\r")]
    assert splitter.held == 0
    assert splitter.feed(b"") == []

    rest, event = splitter.feed(b"\ndata: b\n\n")

    assert (rest.kind, rest.raw, rest.data, rest.name, rest.preamble) == (Kind.REST, b"\n", None, b"", b"")
    assert (event.kind, event.raw) == (Kind.EVENT, b"data: b\n\n")


def test_lf_after_another_byte_is_no_rest() -> None:
    """An LF is a rest only where it comes directly after the closing CR."""
    splitter = Splitter(LIMIT)
    kinds = [
        part.kind for piece in (b"data: a\r\r", b"data: b", b"\n\n", b"\n") for part in splitter.feed(piece)
    ]

    assert kinds == [Kind.EVENT] * 3


def test_line_end_in_two_pieces_is_one() -> None:
    """CRLF cut in two inside an event is no blank line."""
    splitter = Splitter(LIMIT)

    assert splitter.feed(b"event: e\r") == []
    assert splitter.feed(b"\n") == []
    assert splitter.feed(b"data: a\r") == []
    assert events(splitter.feed(b"\n\r\n")) == [(Kind.EVENT, b"event: e\r\ndata: a\r\n\r\n")]


def test_name() -> None:
    """The name is the value of the last `event` line, and empty without one."""
    names = [
        part.name for part in play([b"event: a\ndata: event\n\ndata: event\n\nevent:b\nevent:c\n\nevent\n\n"])
    ]

    assert names == [b"a", b"", b"c", b""]


@pytest.mark.parametrize(
    ("raw", "preamble"),
    [
        (b"data: a\n\n", b""),
        (b": ping\n: pong\r\ndata: a\n: later\n\n", b": ping\n: pong\r\n"),
        (b": ping\n\n", b": ping\n\n"),
        (b"\r\n", b"\r\n"),
        (BOM + b"data: a\n\n", BOM),
        (BOM + b"\n: ping\ndata: a\n\n", BOM + b"\n: ping\n"),
    ],
)
def test_preamble(raw: bytes, preamble: bytes) -> None:
    """What stays of a dropped event are its leading comments and blank lines, and the byte order mark."""
    assert [preamble] == [part.preamble for part in play([raw])]


def test_limit_is_the_longest_event_that_is_held() -> None:
    """An event of `limit` bytes is an event, one of a byte more is oversized; a closing LF is not counted."""
    for stream, kind in (
        (b"data: 7\n\n", Kind.EVENT),
        (b"data: 78\n\n", Kind.OVERSIZED),
        (b"data: \r\n\r\n", Kind.EVENT),
        (b"data: 7\r\n\r\n", Kind.OVERSIZED),
    ):
        assert [(kind, stream)] == events(play([stream], 9))
        assert [(kind, stream)] == events(play(bytewise(stream), 9))
        assert [(Kind.EVENT, b":\n\n"), (kind, stream)] == events(play([b":\n\n" + stream], 9))


def test_oversized_passes_as_it_comes() -> None:
    """A too long event comes out piece by piece up to its blank line, and the next event is whole again."""
    splitter = Splitter(10)
    parts = [splitter.feed(piece) for piece in (b"data: 67", b"8901", b"2345", b"\n", b"\ndata: b", b"\n\n")]

    assert [[part.raw for part in piece] for piece in parts] == [
        [],
        [b"data: 678901"],
        [b"2345"],
        [b"\n"],
        [b"\n"],
        [b"data: b\n\n"],
    ]
    assert [part.kind for piece in parts for part in piece] == [Kind.OVERSIZED] * 4 + [Kind.EVENT]
    assert (parts[1][0].data, parts[1][0].name, parts[1][0].preamble) == (None, b"", b"")
    assert splitter.close() == []


def test_close_inside_an_oversized_event() -> None:
    """Nothing is held of an oversized event, so nothing is left at its end."""
    assert events(play([b"data: 1234", b"567890"], 8)) == [(Kind.OVERSIZED, b"data: 1234567890")]


def test_close_gives_the_last_event() -> None:
    """An event without its blank line comes out at the close, once, with its data."""
    splitter = Splitter(LIMIT)
    splitter.feed(b"data: [DONE]\r\n")
    [last] = splitter.close()

    assert (last.kind, last.raw, last.data) == (Kind.EVENT, b"data: [DONE]\r\n", b"[DONE]")
    assert splitter.close() == []


def test_repr_tells_no_content() -> None:
    """A part shows its kind and size, nothing of its bytes."""
    assert repr(Part(b"data: secret\n\n", Kind.EVENT)) == "<Part event of 14 bytes>"


def test_long_lines_and_long_streams_of_cr() -> None:
    """Events longer than any shortcut's reach, and bare CR for megabytes, are split like short ones."""
    long = b"data: " + b"x" * 100_000
    for end in (b"\n\n", b"\r\n\r\n", b"\r\r"):
        assert [(Kind.EVENT, long + end)] * 2 == events(play([(long + end) * 2]))

    assert len(play([b"data: a\r\r" * 200_000])) == 200_000


def test_memory_of_small_pieces() -> None:
    """A million bytes in small pieces are held in little more than their size."""
    splitter = Splitter(1 << 20)
    tracemalloc.start()
    try:
        for _ in range(1 << 16):
            splitter.feed(b"0123456789abcdef")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert splitter.held == 1 << 20
    assert peak < 3 << 20
