"""What a JSON request says at its top level, each member as it stands.

Requests are read for a few members and never re-serialised. A body that strict parsers refuse is scanned, and
one that is long is abridged first, in slices: no request stops the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from meter.abridge import Abridger
from meter.estimate import json_tokens
from meter.lenient import UNREADABLE, name
from meter.members import scan

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

__all__ = ["Inquiry", "read"]

_AT_ONCE = 1 << 19
"""Bytes whose members are found at once; the most hostile ones take some 10 ms, all others less than one."""
_SLICE = 1 << 17
_MOST_TOKENS = 500_000
"""Names, values and signs that are looked at where the quick ways fail; 10 MB of short texts have fewer."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_value = msgspec.json.Decoder()


class Inquiry:
    """The top-level members of a request."""

    __slots__ = ("_left_out", "_members")

    def __init__(self, members: Mapping[str, bytes | msgspec.Raw], left_out: float = 0.0) -> None:
        self._members = members
        self._left_out = left_out

    @property
    def members(self) -> dict[str, bytes]:
        """All by name, the last of duplicates; values as they stand."""
        return {name: bytes(value) for name, value in self._members.items()}

    def raw(self, member: str) -> bytes | None:
        """Return a member's value as it stands; None where it is missing."""
        value = self._members.get(member)
        return None if value is None else bytes(value)

    @property
    def model(self) -> str | None:
        """The model that is asked for."""
        return self.name("model")

    @property
    def streams(self) -> bool:
        """Whether `stream` is exactly `true`."""
        return self.raw("stream") == b"true"

    def name(self, member: str) -> str | None:
        """Return a member that is a text, cut to a sane length."""
        return name(self.value(member))

    def value(self, member: str) -> object:
        """Return a member decoded; None where it is missing or no JSON."""
        try:
            return _value.decode(self._members[member])
        except (KeyError, *UNREADABLE):
            return None

    def tokens(self, *prompt: str) -> float | None:
        """Return about how many tokens the members that make a prompt have; None with none of them."""
        tokens, seen = self._left_out, False
        for member in prompt:
            if member in self._members:
                tokens += json_tokens(bytes(self._members[member]))
                seen = True
        return tokens if seen else None


def read(body: bytes) -> Generator[None, None, Inquiry]:
    """Read a request; one that is no JSON object says nothing."""
    if len(body) > _AT_ONCE:
        return (yield from _read_long(body))
    members = _decoded(body)
    return Inquiry(members) if members is not None else Inquiry((yield from _scanned(body)))


def _decoded(body: bytes) -> dict[str, msgspec.Raw] | None:
    try:
        return _members.decode(body)
    except UNREADABLE:
        return None


def _scanned(body: bytes) -> Generator[None, None, dict[str, bytes]]:
    found = yield from scan(body, tokens=_MOST_TOKENS)
    return {m.name: body[m.value : m.end] for m in found or () if m.name is not None}


def _read_long(body: bytes) -> Generator[None, None, Inquiry]:
    abridger = Abridger(_AT_ONCE)
    for at in range(0, len(body), _SLICE):
        if abridger.overfull:
            break
        abridger.feed(body[at : at + _SLICE])
        yield
    text = abridger.text
    if text is None:  # hardly anything in it could be left out
        return Inquiry((yield from _scanned(body)))
    members = _decoded(text)
    found = members if members is not None else (yield from _scanned(text))
    return Inquiry(found, abridger.left_out)
