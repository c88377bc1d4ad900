"""Who called: a credential's fingerprint, the name it was given, and its tags.

A credential is held only for as long as it takes to find its fingerprint, in a type that cannot be printed,
copied or stored. There is no cache: hashing a key costs less than a microsecond, and a cache would have to
keep credentials.

Rules: standard library only, but for where fields stand; header fields, query, salt and environment come in
as arguments.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn, Protocol
from urllib.parse import unquote_to_bytes

from meter.headers import layout, values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

__all__ = ["Credential", "Keys", "NamedKey", "find_credential", "masked", "salt_from"]

_NO_TAGS: Mapping[str, str] = MappingProxyType({})


class Credential:
    """What a client proved itself with: it can be compared and fingerprinted, and that is all."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def fingerprint(self, salt: bytes | None) -> str:
        """Return `k_` and 12 hex digits: SHA-256 of the bytes, or HMAC-SHA-256 where there is a salt."""
        if salt:
            return "k_" + hmac.digest(salt, self._value, "sha256").hex()[:12]
        return "k_" + hashlib.sha256(self._value).hexdigest()[:12]

    def __repr__(self) -> str:
        return "<credential>"

    # `object.__format__` refuses a specification, and its refusal would surface in the middle of a log call.
    def __format__(self, spec: str, /) -> str:
        return "<credential>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Credential):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    # A dictionary keyed by credentials would keep them.
    __hash__ = None  # type: ignore[assignment]  # this is how Python spells "cannot be hashed"

    def __bytes__(self) -> NoReturn:
        raise TypeError("a credential does not give its bytes away")

    def __reduce_ex__(self, protocol: object, /) -> NoReturn:
        raise TypeError("a credential cannot be copied or pickled")


def find_credential(headers: Sequence[tuple[bytes, bytes]], query: str) -> Credential | None:
    """Return the first credential of a request, or `None`.

    `headers` are raw fields in the order in which they came, `query` is the raw query without its `?`. The
    order is that of `_FIELDS`, then the query's `key` and `api-key`, then the WebSocket sub-protocol. Names
    of fields are compared without regard to case; empty values are skipped.
    """
    places = layout(headers).places
    for name, read in _FIELDS:
        for place in places.get(name, ()):
            if found := read(headers[place][1]):
                return Credential(found)
    elsewhere = chain(_in_query(query), *map(_in_subprotocols, values(headers, _PROTOCOLS)))
    found = next(filter(None, elsewhere), b"")
    return Credential(found) if found else None


_BEARER = b"Bearer "
_SCHEME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]+(.+)", re.DOTALL)


def _after_scheme(value: bytes) -> bytes:
    value = value.strip()
    if value.startswith(_BEARER):  # nearly all do, and need no pattern
        return value[len(_BEARER) :].lstrip(b" \t")
    if match := _SCHEME.fullmatch(value):
        return match[1]
    # `Bearer $KEY` with an unset variable leaves a bare scheme, and parsers strip the space behind it.
    return b"" if value.lower() in {b"bearer", b"basic"} else value


def _in_query(query: str) -> Iterator[bytes]:
    pairs: dict[bytes, bytes] = {}
    for pair in query.encode("utf-8", "surrogateescape").split(b"&"):
        name, _, value = pair.partition(b"=")
        if decoded := unquote_to_bytes(value):
            pairs.setdefault(unquote_to_bytes(name), decoded)
    yield pairs.get(b"key", b"")
    yield pairs.get(b"api-key", b"")


def _in_subprotocols(value: bytes) -> Iterator[bytes]:
    for protocol in value.split(b","):
        before, _, credential = protocol.strip().partition(b"openai-insecure-api-key.")
        yield b"" if before else credential


_FIELDS: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (b"authorization", _after_scheme),
    (b"x-api-key", bytes.strip),
    (b"api-key", bytes.strip),
    (b"x-goog-api-key", bytes.strip),
)
_PROTOCOLS = b"sec-websocket-protocol"


class NamedKey(Protocol):
    """A fingerprint that the settings give a name and tags."""

    @property
    def name(self) -> str:
        """What metrics and logs call it."""

    @property
    def fingerprint(self) -> str:
        """`k_` and 12 hex digits."""

    @property
    def tags(self) -> Mapping[str, str]:
        """Tags of every exchange that this key makes."""


class Keys:
    """The names of the credentials that are known: made from the settings' `keys` and the salt."""

    __slots__ = ("_known", "_salt")

    def __init__(self, keys: Iterable[NamedKey], salt: bytes | None) -> None:
        self._salt = salt
        self._known = {key.fingerprint: (key.name, MappingProxyType(dict(key.tags))) for key in keys}

    def identify(self, credential: Credential | None) -> tuple[str | None, Mapping[str, str]]:
        """Return the configured name, else the fingerprint, else `None`; and the key's tags."""
        if credential is None:
            return None, _NO_TAGS
        fingerprint = credential.fingerprint(self._salt)
        return self._known.get(fingerprint, (fingerprint, _NO_TAGS))


def salt_from(environ: Mapping[str, str]) -> bytes | None:
    """Return the bytes of `METER_KEY_SALT`; `None` where it is unset or empty."""
    return environ.get("METER_KEY_SALT", "").encode("utf-8", "surrogateescape") or None


def masked(url: str) -> str:
    """Return a URL without what may be secret: user, password and query; a database's in words, likewise."""
    nobody = re.sub(r"(?s)^([\w+.-]+://)?.*@", r"\1***@", url)
    nobody = re.sub(r"(?is)\b(\w*password\s*=).*", r"\1***", nobody)
    return re.sub(r"(?s)\?.*", "?***", nobody)
