"""A request's top-level members are found in whatever servers would take, and no request stops the others."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter import inquiry

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1 << 20


def read(body: bytes) -> tuple[inquiry.Inquiry, int]:
    """Return what a request says, and how often reading it gave way."""
    reading = inquiry.read(body)
    yields = 0
    while True:
        try:
            next(reading)
        except StopIteration as end:
            return end.value, yields
        yields += 1


def told(body: bytes) -> inquiry.Inquiry:
    """Return what a request says."""
    return read(body)[0]


def long(middle: bytes) -> bytes:
    """Return a request around something long."""
    return b'{"model":"m","messages":[' + middle + b'],"stream":true}'


def test_reads_members_as_they_stand() -> None:
    """Values are bytes of the request, the last of duplicates counts."""
    asked = told(b'{"model":"a", "n": 1.0 ,"model":"b","stream":true}')

    assert {"model": b'"b"', "n": b"1.0", "stream": b"true"} == asked.members
    assert "b" == asked.model
    assert asked.streams


@pytest.mark.parametrize(
    ("value", "streams"),
    [
        (b"true", True),
        (b"false", False),
        (b'"true"', False),
        (b"1", False),
        (b"null", False),
        (b"[true]", False),
    ],
)
def test_streams_where_it_is_exactly_true(value: bytes, streams: bool) -> None:
    """Only `true` itself asks for a stream."""
    assert streams == told(b'{"stream":%b}' % value).streams


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"model":"m","stream":true}',
        b'{"model":"m","temperature":NaN,"stream":true}',
        b'{"model":"m","user":"\\ud83d","stream":true}',
        b'{"model":"m","user":"\xff\xfe","stream":true}',
        b'{"model":"m","n":%b,"stream":true}' % (b"7" * 5000),
        b'{"model":"m","x":%b1%b,"stream":true}' % (b"[" * 900, b"]" * 900),
    ],
)
def test_reads_what_strict_parsers_refuse(body: bytes) -> None:
    """A byte order mark, NaN, odd text and long numbers keep nobody from reading the rest."""
    asked = told(body)

    assert "m" == asked.model
    assert asked.streams


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b'"model"', b'{"model":"m"', b"[" * 100_000, b'{"a":' * 100_000, b"\0" * MIB],
)
def test_says_nothing_of_what_is_no_object(body: bytes) -> None:
    """What is no JSON object has no members."""
    assert {} == told(body).members


def test_names_are_texts_of_sane_length() -> None:
    """A model that is no text is none, and a long one is cut."""
    assert told(b'{"model":7}').model is None
    assert told(b'{"model":""}').model is None
    assert 1024 == len(told(b'{"model":"%b"}' % (b"m" * 5000)).model or "")


def test_decodes_values() -> None:
    """A member can be had decoded; one that is missing or odd is None."""
    asked = told(b'{"n":[1,"a"],"odd":NaN}')

    assert [1, "a"] == asked.value("n")
    assert asked.value("odd") is None
    assert asked.value("none") is None


def test_counts_the_members_that_make_a_prompt() -> None:
    """Tokens are those of the members that were named, and not known without any of them."""
    asked = told(b'{"messages":"one two three","input":[1,2,3]}')

    assert 3 == asked.tokens("input")
    assert (asked.tokens("messages") or 0) + 3 == asked.tokens("messages", "input", "tools")
    assert asked.tokens("tools") is None


@pytest.mark.parametrize(
    "middle",
    [
        b'"%b"' % (b"iVBORw0KGgo/" * (MIB // 2)),
        b'"%b"' % (b"\\u4e2d" * MIB),
        b'"%b"' % (b'\\"' * (3 * MIB)),
        b"1,2.5,-3e9," * (MIB // 2) + b"0",
        b"[],{}," * 40_000 + b'"%b"' % (b" text" * MIB),
        b'"a short text of somebody who writes many",' * 200_000 + b'""',
    ],
)
def test_gives_way_while_it_reads_a_long_one(middle: bytes) -> None:
    """A request of megabytes is told like a short one, and given way to at least every 128 KiB."""
    asked, yields = read(long(middle))

    assert "m" == asked.model
    assert asked.streams
    assert yields >= len(middle) >> 17


@pytest.mark.parametrize(
    ("middle", "tokens"),
    [
        (b'"%b"' % (b"iVBORw0KGgo/" * (MIB // 2)), 0),
        (b'"data:image/png;base64,%b"' % (b"iVBORw0KGgo/" * (MIB // 2)), 0),
        (b'"%b"' % (b"some words of text " * 200_000), 4 * 200_000),
        (b'"a short text of somebody who writes",' * 50_000 + b'""', 7 * 50_000),
        (b"12,345," * MIB + b"6", 2 * MIB),
    ],
)
def test_counts_in_a_long_one(middle: bytes, tokens: int) -> None:
    """Texts and numbers of a long request are counted although they are left out, images are not."""
    assert tokens == pytest.approx(told(long(middle)).tokens("messages"), rel=0.35, abs=10)


@pytest.mark.parametrize("repeated", [b"[],", b'{"a":1},', b'"",', b"NaN,", b'"\\n",'])
def test_gives_up_on_mere_shape(repeated: bytes) -> None:
    """Of a long request that is nothing but shape, nothing is told, after a bounded number of looks."""
    asked, yields = read(long(repeated * (8 * MIB // len(repeated)) + b"0"))

    assert {} == asked.members
    assert yields < 400


@given(
    value=st.dictionaries(
        st.sampled_from(["model", "stream", "messages", "input", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
            max_leaves=10,
        ),
    ),
    ensure_ascii=st.booleans(),
)
def test_reads_any_object(value: dict[str, Any], ensure_ascii: bool) -> None:
    """Of any object its members are found, and its prompt is counted."""
    asked = told(json.dumps(value, ensure_ascii=ensure_ascii).encode("utf-8", "surrogatepass"))

    assert set(value) == set(asked.members)
    assert (asked.tokens("messages", "input") is None) == (not {"messages", "input"} & set(value))
    assert value.get("stream") is True or not asked.streams


@pytest.mark.parametrize("make", [told, lambda body: told(body).tokens("messages")])
def test_reads_a_short_request_in_few_calls(make: Callable[[bytes], object]) -> None:
    """A short request is decoded at once and gives way to nobody."""
    body = b'{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}],"stream":true}'
    calls = 0

    def count(_frame: object, event: str, _of: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        make(body)
    finally:
        sys.setprofile(None)

    assert 0 == read(body)[1]
    assert calls < 15
