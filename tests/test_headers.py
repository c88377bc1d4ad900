"""Which fields travel, and that they travel as they came."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter import headers
from meter.headers import (
    HOP_BY_HOP,
    Fields,
    end_to_end,
    first,
    forwarded,
    head,
    layout,
    media_type,
    replace,
    switching,
    values,
    wants_websocket,
    without,
)

if TYPE_CHECKING:
    from collections.abc import Callable

FIELDS: Fields = [(b"Host", b"a"), (b"X-A", b"1"), (b"ACCEPT", b"x"), (b"x-a", b"2")]


def test_keeps_order_and_spelling() -> None:
    """What is end-to-end travels in its order, spelling and repetitions."""
    assert FIELDS == end_to_end(FIELDS)


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_leaves_hop_by_hop_fields_at_home(name: bytes) -> None:
    """Hop-by-hop fields stay home, however they are spelled."""
    assert FIELDS == end_to_end([(name.title(), b"x"), *FIELDS, (name.upper(), b"y")])


def test_leaves_nominated_fields_at_home() -> None:
    """What any Connection field names stays home too."""
    came = [(b"Connection", b"close, X-MINE"), *FIELDS, (b"x-mine", b"1"), (b"connection", b" x-other ,")]

    assert FIELDS == end_to_end([*came, (b"X-Other", b"2")])


def test_switches() -> None:
    """Where protocols switch, Upgrade travels, Connection names it alone, and each keeps its place, once."""
    came = [
        (b"connection", b"keep-alive, Upgrade, x-mine"),
        *FIELDS,
        (b"Keep-Alive", b"1"),
        (b"UPGRADE", b"WebSocket"),
        (b"X-Mine", b"1"),
        (b"upgrade", b"h2c"),
        (b"Connection", b"Upgrade"),
    ]

    assert [(b"connection", b"Upgrade"), *FIELDS, (b"UPGRADE", b"WebSocket")] == switching(came)


@pytest.mark.parametrize(
    ("method", "fields", "expected"),
    [
        ("GET", [(b"upgrade", b"WebSocket"), (b"CONNECTION", b"keep-alive, upgrade")], True),
        ("GET", [(b"Upgrade", b" websocket "), (b"Connection", b"x"), (b"Connection", b"Upgrade")], True),
        ("POST", [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")], False),
        ("GET", [(b"Upgrade", b"websocket")], False),
        ("GET", [(b"Connection", b"Upgrade")], False),
        ("GET", [(b"Upgrade", b"h2c"), (b"Connection", b"Upgrade")], False),
        ("GET", [(b"Upgrade", b"websocket, h2c"), (b"Connection", b"Upgrade")], False),
        ("GET", [(b"Upgrade", b"websocket")] * 2 + [(b"Connection", b"Upgrade")], False),
        ("GET", [], False),
    ],
)
def test_knows_who_wants_a_websocket(method: str, fields: Fields, *, expected: bool) -> None:
    """A GET that asks for WebSocket and nothing else, and names that in Connection, wants one."""
    assert expected == wants_websocket(method, fields)


_NAMES = st.sampled_from([b"Host", b"HOST", b"x-a", b"x", b"Connection", b"connection", b"TE", b"x\nx"])
_VALUES = st.sampled_from([b"a", b"", b"close", b"keep-alive, X-a", b" HOST ,", b"x" * 80 + b", x-a"])
_FIELDS = st.lists(st.tuples(_NAMES, _VALUES), max_size=6)


@given(_FIELDS, st.sampled_from([head, list]), st.sets(st.sampled_from([b"x", b"x-a"])))
def test_finds_what_a_search_finds(fields: Fields, kind: Callable[[Fields], Fields], but: set[bytes]) -> None:
    """What is looked up by a layout, kept or not, is what going through all fields finds."""
    nominated = {
        token.strip().lower()
        for name, value in fields
        if name.lower() == b"connection"
        for token in value.split(b",")
    }
    home = HOP_BY_HOP | nominated | but
    travelling = [field for field in fields if field[0].lower() not in home]
    for _ in range(2):
        came = kind(fields)
        found = end_to_end(came, frozenset(but))

        assert travelling == found
        assert [name.lower() for name, _ in travelling] == [*layout(found).lower]
        for name in (b"host", b"x-a", b"connection", b"te", b"x"):
            told = [value for each, value in fields if each.lower() == name]

            assert told == values(came, name)
            assert next(iter(told), None) == first(came, name)
            assert [field for field in fields if field[0].lower() != name] == without(came, name)
        assert fields == came


@given(_FIELDS, st.sampled_from([head, list]))
def test_replaces_the_first_and_drops_the_others(fields: Fields, kind: Callable[[Fields], Fields]) -> None:
    """What is given another value stands where its first was, spelled as that, and only there."""
    places = [place for place, (name, _) in enumerate(fields) if name.lower() == b"x-a"]
    expected = [field for place, field in enumerate(fields) if place not in places[1:]]
    if places:
        expected[places[0]] = (fields[places[0]][0], b"new")
    else:
        expected.append((b"X-a", b"new"))

    assert expected == replace(kind(fields), b"X-a", b"new")


def test_what_is_kept_of_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither many different heads, nor long ones, nor many values of Connection are all remembered."""
    kept: dict[bytes, headers.Layout] = {}
    monkeypatch.setattr(headers, "_layouts", kept)
    for number in range(1000):
        layout([(b"x-%d" % number, b"")])
    layout([(b"x" * 5000, b"")])
    layout([(b"x", b"")] * 100)
    for number in range(100):
        end_to_end([(b"Connection", b"x-%d" % number)])

    assert len(kept) <= 256
    assert max(map(len, kept)) <= 2048
    assert len(layout([(b"Connection", b"")])._choices) <= 4


def test_takes_out() -> None:
    """Fields are taken out by their names in any case."""
    assert [(b"Host", b"a")] == without(FIELDS, b"x-a", b"accept")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"X-A", [(b"Host", b"a"), (b"X-A", b"new"), (b"ACCEPT", b"x")]),
        (b"accept", [(b"Host", b"a"), (b"X-A", b"1"), (b"ACCEPT", b"new"), (b"x-a", b"2")]),
        (b"X-B", [*FIELDS, (b"X-B", b"new")]),
    ],
)
def test_replaces(name: bytes, expected: Fields) -> None:
    """A field keeps its place and spelling, loses its repetitions, and is put last where there was none."""
    assert expected == replace(FIELDS, name, b"new")


@pytest.mark.parametrize(("name", "expected"), [(b"x-a", b"1"), (b"accept", b"x"), (b"x-b", None)])
def test_finds_the_first(name: bytes, expected: bytes | None) -> None:
    """Of repetitions the first is found."""
    assert expected == first(FIELDS, name)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, b""),
        (b"", b""),
        (b"application/json", b"application/json"),
        (b" Text/Event-Stream ; charset=utf-8", b"text/event-stream"),
    ],
)
def test_reads_media_types(value: bytes | None, expected: bytes) -> None:
    """A media type is read without its parameters, in lower case."""
    assert expected == media_type([] if value is None else [(b"CONTENT-type", value)])


def test_tells_who_called() -> None:
    """The client is added behind those that are named already."""
    came: Fields = [
        (b"x-forwarded-for", b"10.0.0.1"),
        (b"X-Forwarded-For", b"10.0.0.2"),
        (b"Forwarded", b"for=a"),
    ]

    assert [
        (b"x-forwarded-for", b"10.0.0.1, 10.0.0.2, 10.0.0.3"),
        (b"Forwarded", b'for=a, for=10.0.0.3;proto=http;host="h:1"'),
        (b"X-Forwarded-Proto", b"http"),
    ] == forwarded(came, "10.0.0.3", "http", "h:1")


def test_quotes_what_it_tells() -> None:
    """An IPv6 address and a host with a quote in it keep within their quotes."""
    told = dict(forwarded([], "::1", "http", 'a";for="b\\'))

    assert b'for="[::1]";proto=http;host="a\\";for=\\"b\\\\"' == told[b"Forwarded"]
    assert b"::1" == told[b"X-Forwarded-For"]
