"""What is left of a long text keeps its shape, however it was cut, and is short."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from play import cut

from meter.abridge import SHORT_TEXT, Abridger, abridged

LONG = "long text " * 200
BLOB = "iVBORw0KGgo/" * 200

NUMBERS = st.one_of(
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([10**3000, -(10**700)]),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    NUMBERS,
    st.text(max_size=30),
    st.sampled_from([LONG, BLOB, '\\"' * 900, "字" * 700]),
)
MANY = st.lists(NUMBERS, max_size=200)
VALUES = st.recursive(
    SCALARS | MANY | st.tuples(MANY, MANY).map(lambda lists: ["x", *lists[0], None, *lists[1], "y"]),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=12), inner, max_size=6),
    max_leaves=20,
)
WRITINGS = st.sampled_from([{}, {"separators": (",", ":")}, {"indent": 70}, {"ensure_ascii": False}])


def shape(value: Any) -> Any:
    """Return what abridging must keep of a value: all but long texts and what numbers there are in lists."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        inner = [shape(item) for item in value]
        return [kept for i, kept in enumerate(inner) if kept != 0 or i == 0 or inner[i - 1] != 0]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 0
    return "" if isinstance(value, str) and len(json.dumps(value)) > 1000 else value


def left_of(pieces: list[bytes], most: int = 1 << 20) -> bytes | None:
    """Return what is left of a text that comes in pieces."""
    abridger = Abridger(most)
    for piece in pieces:
        abridger.feed(piece)
    return abridger.text


@settings(max_examples=300)
@given(value=VALUES, writing=WRITINGS, places=st.lists(st.integers(0, 1 << 20), max_size=8))
def test_keeps_the_shape(value: Any, writing: dict[str, Any], places: list[int]) -> None:
    """What is left of any JSON text at any cuts is JSON of the same shape."""
    text = json.dumps(value, **writing).encode()

    left = left_of(cut(text, places))

    assert left is not None
    assert shape(value) == shape(json.loads(left, parse_int=lambda _: 0))


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257])
def test_keeps_the_shape_in_short_pieces(size: int) -> None:
    """Texts, numbers, escapes and blanks of any length keep their shape in pieces of any size."""
    value = {
        "a": [1.5e300] * 200,
        "b": [LONG, {"c": -1}, 2, BLOB],
        "d": "\\" * 3000,
        "e": 10**400,
        "f": [0.1, {}],
    }
    text = json.dumps(value, indent=90).encode()

    left = left_of([text[i : i + size] for i in range(0, len(text), size)])

    assert left is not None
    assert shape(value) == shape(json.loads(left, parse_int=lambda _: 0))
    assert len(left) < len(text) / 2


PLACES = st.lists(st.integers(0, 1 << 20), max_size=8)
LISTED = ",".join(map(str, range(900)))


@settings(max_examples=300)
@given(
    number=st.sampled_from(["7", "-1", "0.5", "1.5e3", "1E+07", "9" * 40, "1." + "3" * 200, "1" + "0" * 255])
    | st.integers(0, 10**60).map(str),
    blank=st.sampled_from(["", " ", "\n" * 70, "\t" * 3000]),
    before=st.sampled_from(["", "[{}]" * 100, LISTED]),
    places=PLACES,
)
def test_keeps_what_a_member_says(number: str, blank: str, before: str, places: list[int]) -> None:
    """A number that is no list's is read as it was told at any cuts, whatever stands around it."""
    text = f'{{"a":[{before.replace("][", "],[")}],"n":{blank}{number}{blank},"b":{{"n":{number}{blank}}}}}'

    for pieces in (cut(text.encode(), places), [text.encode()]):
        told = json.loads(left_of(pieces) or b"", parse_int=str, parse_float=str)

        assert (number, number) == (told["n"], told["b"]["n"])


@pytest.mark.parametrize("size", [1, 2, 100, 255, 256, 257, 1000])
@pytest.mark.parametrize("digits", [250, 256, 257, 300, 5000])
def test_keeps_no_count_of_a_number_that_is_none(size: int, digits: int) -> None:
    """What is too long for a count stays so at any cuts, and reads the same at each."""
    for written in ("%s", "-%s", "0.%s", "1e%s", "%s.5"):
        text = (f'{{"a":"{LONG}","n":' + written % ("3" * digits) + "}").encode()
        left = left_of([text[i : i + size] for i in range(0, len(text), size)]) or b""

        assert written % ("3" * min(digits, 256)) == json.loads(left, parse_int=str, parse_float=str)["n"]


@given(
    value=st.recursive(
        st.none() | st.integers() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=12,
    )
)
def test_leaves_short_texts_alone(value: Any) -> None:
    """Of a text whose strings and lists are short nothing is left out."""
    text = json.dumps(value, separators=(",", ":")).encode()

    assert text == abridged(text)


@given(data=st.binary(max_size=300), places=st.lists(st.integers(0, 1 << 20), max_size=6))
def test_takes_anything(data: bytes, places: list[int]) -> None:
    """Bytes that are no JSON are taken at any cuts."""
    assert isinstance(left_of(cut(data, places)), bytes)


@pytest.mark.parametrize("piece", [b"[],", b'"",', b'{"a":true},', b'"' + b"x" * 1000 + b'",'])
def test_is_overfull(piece: bytes) -> None:
    """Of a text that is nearly all shape little is held, and nothing is told."""
    abridger = Abridger(SHORT_TEXT)
    for _ in range(4 * SHORT_TEXT // len(piece)):
        abridger.feed(piece)

    assert abridger.overfull
    assert abridger.text is None
    assert len(abridger._kept) <= SHORT_TEXT + len(piece)


@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        (BLOB, 0),
        ("data:image/png;base64," + BLOB, 0),
        (LONG, len(LONG) / 5),
        ("字" * 3000, 3000),
        (list(range(3000)), 3000),
        ("short", 0),
    ],
)
def test_estimates_what_it_leaves_out(value: Any, tokens: float) -> None:
    """Texts and numbers that are left out are counted as tokens, base64 is not."""
    abridger = Abridger()

    abridger.feed(json.dumps({"x": value}).encode())

    assert tokens == pytest.approx(abridger.left_out, rel=0.3, abs=3)


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b"1," * 100_000 + b"1]x",
        b"[" + b" " * 200_000 + b"]x",
        b"[" + b"- " * 100_000 + b"x",
        b"9" * 200_000 + b"x",
        b"e+." * 70_000 + b"x",
        b'"' + b"\\" * 200_001,
        b'"\\' * 100_000,
        b'"a":' * 50_000,
    ],
)
def test_goes_through_once(text: bytes) -> None:
    """A text that ends otherwise than it began is gone through once, so that this comes to an end."""
    left_of([text, text])
