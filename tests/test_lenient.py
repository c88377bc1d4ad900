"""Answers are read the way servers write them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.lenient import LONGEST_NAME, Shape, name


class _Told(msgspec.Struct):
    a: Any = None
    b: Any = "unset"


shape = Shape(_Told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"{}", _Told()),
        (b'{"a":1,"c":2}', _Told(1)),
        (b'{"a":1,"a":2}', _Told(2)),
        (b' \n{"a":[true]} ', _Told([True])),
        (b'\xef\xbb\xbf{"a":1}', _Told(1)),
        (b'{"a":"\\ud83d","b":1}', _Told("\ud83d", 1)),
        (b'{"a":"\xff","b":1}', _Told("\ufffd", 1)),
        (b'{"a":"x\ny","b":NaN}', None),
        (b'{"a":Infinity,"b":1}', _Told(float("inf"), 1)),
        (b'{"a":NaN,"b":%b}' % (b"7" * 5000), None),
    ],
)
def test_reads(text: bytes, told: _Told | None) -> None:
    """An object is read in spite of marks, half characters, control characters and what is no number."""
    read = shape(text)

    assert read is not None
    if told is not None:
        assert told == read


@pytest.mark.parametrize(
    "text",
    [b"", b"null", b"[]", b'"a"', b"[DONE]", b'{"a":', b"<html>", b"[" * 100_000, b'{"a":' * 100_000, b"\0"],
)
def test_reads_nothing_else(text: bytes) -> None:
    """What is no JSON object is None."""
    assert shape(text) is None


def test_keeps_no_numbers_of_thousands_of_digits() -> None:
    """A number that Python would refuse to convert costs the other members nothing."""
    read = shape(b'{"b":NaN,"a":1,"c":%b}' % (b"7" * 5000))

    assert read is not None
    assert 1 == read.a


@given(
    value=st.dictionaries(st.sampled_from(["a", "b", "c"]), st.text() | st.integers() | st.lists(st.none()))
)
def test_reads_what_was_written(value: dict[str, Any]) -> None:
    """Members come out as they went in."""
    read = shape(json.dumps(value).encode())

    assert read is not None
    assert (value.get("a"), value.get("b", "unset")) == (read.a, read.b)


@given(text=st.binary(max_size=60))
def test_takes_anything(text: bytes) -> None:
    """Whatever the bytes are, something or nothing is read."""
    assert isinstance(shape(text), _Told | None)


@pytest.mark.parametrize(
    ("value", "named"),
    [("gpt", "gpt"), ("", None), (None, None), (7, None), (["gpt"], None), ("x" * 5000, "x" * LONGEST_NAME)],
)
def test_names(value: Any, named: str | None) -> None:
    """A name is a text that is not empty, cut to a sane length."""
    assert named == name(value)
