"""Credentials: found in the right order, fingerprinted, never shown."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
import pickle
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meter.keys import Credential, Keys, find_credential, salt_from

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = b"sk-very-secret"


def fingerprint_of(value: bytes) -> str:
    """Return what the fingerprint of these bytes must be without a salt."""
    return "k_" + hashlib.sha256(value).hexdigest()[:12]


def test_fingerprint() -> None:
    """A fingerprint is k_ and the first 12 hex digits of SHA-256 over the credential's bytes."""
    assert fingerprint_of(SECRET) == Credential(SECRET).fingerprint(None)


def test_salted_fingerprint() -> None:
    """With a salt it is HMAC-SHA-256."""
    expected = "k_" + hmac.new(b"salt", SECRET, hashlib.sha256).hexdigest()[:12]

    assert expected == Credential(SECRET).fingerprint(b"salt")


@pytest.mark.parametrize("show", [repr, str, format, "{:>20}".format, "%s".__mod__, ascii])
def test_is_not_printed(show: Callable[[object], str]) -> None:
    """However a credential is printed, its text is the same for all."""
    assert show(Credential(SECRET)) == "<credential>"


@pytest.mark.parametrize(
    "take", [bytes, pickle.dumps, copy.copy, copy.deepcopy, json.dumps, hash, vars, iter]
)
def test_is_not_taken_out(take: Callable[[object], object]) -> None:
    """A credential cannot be converted, copied, pickled or hashed, and the refusal does not quote it."""
    with pytest.raises(TypeError) as caught:
        take(Credential(SECRET))

    assert SECRET.decode() not in str(caught.value)


def test_equality() -> None:
    """Credentials are equal when their bytes are, and equal to nothing else."""
    assert Credential(SECRET) == Credential(SECRET)
    assert Credential(SECRET) != Credential(b"other")
    assert Credential(SECRET) != SECRET


@pytest.mark.parametrize(
    ("headers", "query", "value"),
    [
        ([(b"Authorization", b"Bearer a")], "", b"a"),
        ([(b"AUTHORIZATION", b"bearer   a ")], "", b"a"),
        ([(b"authorization", b"Basic dXNlcjpw")], "", b"dXNlcjpw"),
        ([(b"authorization", b"sk-no-scheme")], "", b"sk-no-scheme"),
        ([(b"authorization", b"Bearer")], "", None),
        ([(b"authorization", b"Bearer "), (b"x-api-key", b"b")], "", b"b"),
        ([(b"x-api-key", b"b"), (b"authorization", b"Bearer a")], "", b"a"),
        ([(b"api-key", b"c"), (b"x-api-key", b"b")], "", b"b"),
        ([(b"x-goog-api-key", b"d"), (b"api-key", b"c")], "", b"c"),
        ([(b"X-Goog-Api-Key", b"d")], "key=e", b"d"),
        ([(b"x-goog-api-key", b"  ")], "key=e", b"e"),
        ([], "alt=sse&key=e%2Ff", b"e/f"),
        ([], "api-key=f&key=e", b"e"),
        ([], "api-key=f&key=", b"f"),
        ([], "monkey=f&keys=g&key", None),
        ([], "k%65y=a+b", b"a+b"),
        ([(b"Sec-WebSocket-Protocol", b"realtime, openai-insecure-api-key.g, x")], "", b"g"),
        ([(b"Sec-WebSocket-Protocol", b"openai-insecure-api-key.g")], "api-key=f", b"f"),
        (
            [
                (b"sec-websocket-protocol", b"realtime"),
                (b"sec-websocket-protocol", b"openai-insecure-api-key.g"),
            ],
            "",
            b"g",
        ),
        ([(b"sec-websocket-protocol", b"x-openai-insecure-api-key.g")], "", None),
        ([(b"cookie", b"key=h")], "", None),
    ],
)
def test_order(headers: list[tuple[bytes, bytes]], query: str, value: bytes | None) -> None:
    """The first credential in the order of places counts, and empty ones are skipped."""
    found = find_credential(headers, query)

    assert (None if value is None else Credential(value)) == found


@settings(max_examples=200)
@given(
    headers=st.lists(
        st.tuples(st.sampled_from([b"Authorization", b"api-key", b"x"]), st.binary(max_size=20))
    ),
    query=st.text(st.characters(codec="utf-8")),
)
def test_never_raises(headers: list[tuple[bytes, bytes]], query: str) -> None:
    """No header and no query makes the search fail."""
    assert isinstance(find_credential(headers, query), Credential | None)


@given(st.text(" \t\n\v", max_size=3), st.binary(max_size=8))
def test_the_usual_scheme_is_no_special_case(blanks: str, after: bytes) -> None:
    """What follows `Bearer` is what follows any other scheme."""
    rest = b" " + blanks.encode() + after
    usual, other = (find_credential([(b"authorization", name + rest)], "") for name in (b"Bearer", b"Token"))

    assert (usual == other) or not rest.strip()


class Named(NamedTuple):
    """A key as the settings have it."""

    name: str
    fingerprint: str
    tags: dict[str, str]


def test_identify() -> None:
    """A known fingerprint gives name and tags, another one itself, and no credential nothing."""
    keys = Keys(
        [Named("search", fingerprint_of(b"a"), {"team": "s"}), Named("search", fingerprint_of(b"b"), {})],
        None,
    )

    assert keys.identify(Credential(b"a")) == ("search", {"team": "s"})
    assert keys.identify(Credential(b"b")) == ("search", {})
    assert (fingerprint_of(b"c"), {}) == keys.identify(Credential(b"c"))
    assert keys.identify(None) == (None, {})


def test_identify_salted() -> None:
    """Names are looked up by salted fingerprints where there is a salt."""
    keys = Keys([Named("search", Credential(b"a").fingerprint(b"s"), {})], b"s")

    assert keys.identify(Credential(b"a"))[0] == "search"


def test_salt() -> None:
    """The salt is the variable's bytes, and an empty one is none."""
    assert [None, None, "sälz".encode()] == [
        salt_from(environ) for environ in ({}, {"METER_KEY_SALT": ""}, {"METER_KEY_SALT": "sälz"})
    ]
