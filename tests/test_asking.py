"""Usage is asked for by a splice, wherever `stream_options` stands, and every other byte stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter import inquiry
from meter.asking import ask


def asked(body: bytes) -> bytes | None:
    """Return a request with usage asked for."""

    def reading() -> Any:
        told = yield from inquiry.read(body)
        return (yield from ask(body, told.members.get("stream_options")))

    run = reading()
    while True:
        try:
            next(run)
        except StopIteration as end:
            spliced: bytes | None = end.value
            return spliced


ASKING = b'"stream_options":{"include_usage":true}'


@pytest.mark.parametrize(
    ("body", "spliced"),
    [
        (b"{}", b"{" + ASKING + b"}"),
        (b'{"n":1.0}', b'{"n":1.0,' + ASKING + b"}"),
        (b'{"n":1E3 } \n', b'{"n":1E3 ,' + ASKING + b"} \n"),
        (b'{"n":1,"n":2}', b'{"n":1,"n":2,' + ASKING + b"}"),
        (b'{"stream_options":null,"n":1}', b"{" + ASKING + b',"n":1}'),
        (b'{"stream_options": {} ,"n":1}', b'{"stream_options": {"include_usage":true} ,"n":1}'),
        (
            b'{"stream_options":{"include_usage" : false}}',
            b'{"stream_options":{"include_usage" : true}}',
        ),
        (b'{"stream_options":{"include_usage":null}}', b"{" + ASKING + b"}"),
        (
            b'{"stream_options":{"x":[1]},"n":1}',
            b'{"stream_options":{"x":[1],"include_usage":true},"n":1}',
        ),
        (
            b'{"stream_options":{"include_usage":true},"stream_options":{}}',
            b'{"stream_options":{"include_usage":true},"stream_options":{"include_usage":true}}',
        ),
        (b'{"stream\\u005foptions":{}}', b'{"stream\\u005foptions":{"include_usage":true}}'),
    ],
)
def test_splices(body: bytes, spliced: bytes) -> None:
    """What asks is put in or switched on where it stands, and every other byte stays."""
    assert spliced == asked(body)


@pytest.mark.parametrize(
    "options",
    [
        b'{"include_usage":true}',
        b'{"include_usage":false,"include_usage":true}',
        b'{"include_usage":"yes"}',
        b'{"include_usage":0}',
        b"[]",
        b'"on"',
        b"true",
        b"[" * 900 + b"]" * 900,
    ],
)
def test_leaves_alone_what_has_asked_or_is_out_of_place(options: bytes) -> None:
    """What asks already, and options that are no object or say something else, stay as they are."""
    assert asked(b'{"n":1,"stream_options":%b}' % options) is None


@given(
    members=st.dictionaries(
        st.text(max_size=8).filter(lambda name: name != "stream_options"),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=9),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
            ),
        ),
        max_size=5,
    ),
    options=st.sampled_from([None, {}, {"include_usage": False}, {"other": [1, {"a": "}"}]}]),
    stands=st.booleans(),
)
def test_changes_nothing_else(members: dict[str, Any], options: dict[str, Any] | None, stands: bool) -> None:
    """Whatever else a request says, with usage asked for it says the same and that."""
    body = members | ({"stream_options": options} if stands else {})
    expected = members | {"stream_options": (options or {} if stands else {}) | {"include_usage": True}}

    spliced = asked(json.dumps(body).encode())

    assert spliced is not None
    assert expected == json.loads(spliced)


def test_looks_at_a_long_request_in_bounded_steps() -> None:
    """Where options stand behind megabytes, looking for them gives way."""
    text = b'{"messages":"%b","stream_options":{}}' % (b"text " * (1 << 20))
    yields = sum(1 for _ in ask(text, b"{}"))

    assert yields >= (len(text) >> 18) - 1
    assert text[:-3] + b'{"include_usage":true}}' == asked(text)
