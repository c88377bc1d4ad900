"""Streams of JSON: every text comes out once and whole, however its bytes were cut."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meter.jsonstream import Elements, Lines, Text
from meter.sse import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from meter.sse import Part

Ruler = Elements | Lines
MAKERS: list[Callable[[int], Ruler]] = [Elements, Lines]
PLENTY = 1 << 20


def parts(ruler: Ruler, pieces: Iterable[bytes]) -> list[Part]:
    """Return all parts of a stream, its end included."""
    return [part for piece in pieces for part in ruler.feed(piece)] + ruler.close()


def texts(ruler: Ruler, pieces: Iterable[bytes]) -> list[bytes]:
    """Return the texts of a stream, those that are too long put together again."""
    found: list[bytes] = []
    whole = True
    for part in parts(ruler, pieces):
        assert (part.data is None) == (part.kind is Kind.OVERSIZED)
        if whole:
            found.append(part.raw)
        else:
            found[-1] += part.raw
        whole = part.ends
    return found


def without_blanks(pieces: Iterable[bytes]) -> bytes:
    """Return pieces laid end to end, but for the blanks: a line of those may be too long as well."""
    return b"".join(b"".join(pieces).split())


def halves(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return `data` cut in two at every place."""
    return [(data[:place], data[place:]) for place in range(len(data) + 1)]


def singles(data: bytes) -> list[bytes]:
    """Return `data` byte by byte."""
    return [data[i : i + 1] for i in range(len(data))]


PRETTY = b'[{\n  "a": "x"\n}\n,\r\n{\n  "a": [1, {"b": "]"}]\n}\n]\n'
PRETTY_TEXTS = [b'{\n  "a": "x"\n}', b'{\n  "a": [1, {"b": "]"}]\n}']

STREAMS: list[tuple[Callable[[int], Ruler], bytes, list[bytes]]] = [
    (Elements, b"", []),
    (Elements, b"[]", []),
    (Elements, b" [ \r\n ] \n", []),
    (Elements, b'[{"a":1}]', [b'{"a":1}']),
    (Elements, b'\xef\xbb\xbf[{"a":1}]', [b'{"a":1}']),
    (Elements, b'[{"a":1},{"b":2}]', [b'{"a":1}', b'{"b":2}']),
    (Elements, b"[{}{}]", [b"{}", b"{}"]),
    (Elements, PRETTY, PRETTY_TEXTS),
    (Elements, b'[[{"error":1}],{"a":[[]]}]', [b'[{"error":1}]', b'{"a":[[]]}']),
    (Elements, b'[1,"{",null,{"a":1}]', [b'{"a":1}']),
    (Elements, rb'[{"a":"[{\"}]\\"},{"\\\"":"}"}]', [rb'{"a":"[{\"}]\\"}', rb'{"\\\"":"}"}']),
    (Elements, rb'[{"a":"\u007b\\\\"}]', [rb'{"a":"\u007b\\\\"}']),
    (Elements, '[{"a":"héllo ☃"}]'.encode(), ['{"a":"héllo ☃"}'.encode()]),
    (Elements, b'{\n "error": {"code": 1}\n}\n', [b'{\n "error": {"code": 1}\n}']),
    (Elements, b'{"a":1}\n{"a":2}', [b'{"a":1}', b'{"a":2}']),
    (Elements, b'{"a":1}[{"b":2}]', [b'{"a":1}', b'{"b":2}']),
    (Elements, b'[{"a":1},{"b":', [b'{"a":1}', b'{"b":']),
    (Elements, b'[{"a":"\\', [b'{"a":"\\']),
    (Elements, b"]]}}", []),
    (Elements, b'}][{"a":1}]', [b'{"a":1}']),
    (Elements, b"upstream connect error", []),
    (Lines, b"", []),
    (Lines, b"\n\r\n \n", []),
    (Lines, b'{"a":1}\n', [b'{"a":1}']),
    (Lines, b'{"a":1}\n{"b":2}\n', [b'{"a":1}', b'{"b":2}']),
    (Lines, b'{"a":1}\r\n\r\n{"b":2}\r\n', [b'{"a":1}\r', b'{"b":2}\r']),
    (Lines, b'\n\n{"a":1}\n \n{"b":2}', [b'{"a":1}', b'{"b":2}']),
    (Lines, b'{"a":1}\n  ', [b'{"a":1}']),
    (Lines, rb'{"a":"\n"}' + b"\n{", [rb'{"a":"\n"}', b"{"]),
]


@pytest.mark.parametrize(("make", "stream", "expected"), STREAMS)
def test_cuts_into_texts(make: Callable[[int], Ruler], stream: bytes, expected: list[bytes]) -> None:
    """A stream is cut into its texts whole, byte by byte and cut in two at every place."""
    assert expected == texts(make(PLENTY), [stream])
    assert expected == texts(make(PLENTY), singles(stream))
    assert [expected] * (len(stream) + 1) == [texts(make(PLENTY), cut) for cut in halves(stream)]


@pytest.mark.parametrize(("make", "stream", "expected"), STREAMS)
@pytest.mark.parametrize("limit", [0, 1, 7])
def test_lets_pass_what_is_too_long(
    make: Callable[[int], Ruler], stream: bytes, expected: list[bytes], limit: int
) -> None:
    """Texts beyond the limit come in stretches of which the last ends, all others as they are."""
    for cut in (*halves(stream), singles(stream)):
        ruler = make(limit)
        found = parts(ruler, cut)

        assert [text for text in expected if len(text) <= limit] == [p.data for p in found if p.data]
        assert without_blanks(expected) == without_blanks(part.raw for part in found)


@pytest.mark.parametrize(
    ("make", "stream"), [(Elements, b'[{"a":"0123456789"},{}]'), (Lines, b'{"a":"0123456789"}\n{}\n')]
)
def test_marks_where_a_long_text_ends(make: Callable[[int], Ruler], stream: bytes) -> None:
    """Only the last stretch of a text that is too long ends, and the next text is whole again."""
    *stretches, last, after = parts(make(8), singles(stream))

    assert {(Kind.OVERSIZED, False)} == {(part.kind, part.ends) for part in stretches}
    assert (Kind.OVERSIZED, True) == (last.kind, last.ends)
    assert (Kind.EVENT, b"{}", b"") == (after.kind, after.data, after.name)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("size", [1, 3, 64])
def test_holds_no_more_than_its_limit(make: Callable[[int], Ruler], size: int) -> None:
    """Whatever comes, no more is held than may be."""
    stream = b'[{"a":"' + b"x" * 5000 + b'"},' + b'{"b":[1]},' * 200
    ruler = make(100)
    held = []
    for start in range(0, len(stream), size):
        ruler.feed(stream[start : start + size])
        held.append(ruler.held)

    assert 0 < max(held) <= 100


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("limit", [2, PLENTY])
def test_takes_nothing_from_an_empty_piece(make: Callable[[int], Ruler], limit: int) -> None:
    """A piece without bytes completes nothing and changes nothing, not even after a backslash."""
    ruler = make(limit)
    ruler.feed(rb'[{"a":"' + b"\\")

    assert [] == ruler.feed(b"")
    assert b'"}"}' == b"".join(part.raw for part in ruler.feed(b'"}"}\n'))[-4:]


def test_shows_sizes_only() -> None:
    """A text in a traceback shows its size and nothing of what it says."""
    assert "<Part event of 2 bytes>" == repr(Text(b"{}", Kind.EVENT))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.sampled_from('a"\\[]{},:\n é☃'), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)
PLACES = st.lists(st.integers(0, 1 << 20), max_size=10)


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """Return the pieces that lie between places."""
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@settings(max_examples=300)
@given(
    elements=st.lists(JSON, max_size=5),
    style=st.tuples(
        st.none() | st.integers(0, 2), st.sampled_from([",", ",\r\n", "\n, ", "\n,\r\n\t"]), st.booleans()
    ),
    places=PLACES,
    limit=st.integers(0, 60) | st.just(PLENTY),
)
def test_finds_the_elements_of_any_array(
    elements: list[Any], style: tuple[int | None, str, bool], places: list[int], limit: int
) -> None:
    """Of any array, however it is written and cut, all objects and arrays come out in order."""
    indent, comma, escapes = style
    written = [json.dumps(e, indent=indent, ensure_ascii=escapes) for e in elements]
    stream = ("[" + comma.join(written) + "]\n").encode("utf-8")

    found = texts(Elements(limit), cut(stream, places))

    assert [e for e in elements if isinstance(e, dict | list)] == [json.loads(text) for text in found]


@settings(max_examples=200)
@given(lines=st.lists(JSON, max_size=5), places=PLACES, limit=st.integers(0, 60) | st.just(PLENTY))
def test_finds_the_lines_of_any_stream(lines: list[Any], places: list[int], limit: int) -> None:
    """Of any lines, however they are cut, all come out in order."""
    stream = "".join(json.dumps(line) + "\n" for line in lines).encode()

    assert lines == [json.loads(text) for text in texts(Lines(limit), cut(stream, places))]


@pytest.mark.parametrize("make", MAKERS)
@settings(max_examples=300)
@given(
    data=st.binary(max_size=40) | st.lists(st.sampled_from(list('[]{}",\\\n a')), max_size=40).map("".join),
    places=PLACES,
    limit=st.sampled_from([0, 1, 5, PLENTY]),
)
def test_depends_on_no_cut(
    make: Callable[[int], Ruler], data: bytes | str, places: list[int], limit: int
) -> None:
    """Whatever comes, nothing is raised, and the texts are the same ones at any cuts."""
    stream = data.encode() if isinstance(data, str) else data

    whole = texts(make(limit), [stream])

    assert whole == texts(make(limit), cut(stream, places))
    assert whole == texts(make(limit), singles(stream))
