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
    from collections.abc import Generator

__all__ = ["Inquiry", "read"]

_AT_ONCE = 1 << 19
"""Bytes whose members are found at once; the most hostile ones take some 10 ms, all others less than one."""
_SLICE = 1 << 17
_MOST_TOKENS = 500_000
"""Names, values and signs that are looked at where the quick ways fail; 10 MB of short texts have fewer."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Inquiry:
    """The top-level members of a request."""

    def __init__(self, members: dict[str, bytes], left_out: float = 0.0) -> None:
        self.members = members
        """By name, the last of duplicates; values as they stand."""
        self._left_out = left_out

    @property
    def model(self) -> str | None:
        """The model that is asked for."""
        return self.name("model")

    @property
    def streams(self) -> bool:
        """Whether `stream` is exactly `true`."""
        return self.members.get("stream") == b"true"

    def name(self, member: str) -> str | None:
        """Return a member that is a text, cut to a sane length."""
        return name(self.value(member))

    def value(self, member: str) -> object:
        """Return a member decoded; None where it is missing or no JSON."""
        try:
            return msgspec.json.decode(self.members[member])
        except (KeyError, *UNREADABLE):
            return None

    def tokens(self, *prompt: str) -> float | None:
        """Return about how many tokens the members that make a prompt have; None with none of them."""
        tokens, seen = self._left_out, False
        for member in prompt:
            if (value := self.members.get(member)) is not None:
                tokens += json_tokens(value)
                seen = True
        return tokens if seen else None


def read(body: bytes) -> Generator[None, None, Inquiry]:
    """Read a request; one that is no JSON object says nothing."""
    if len(body) > _AT_ONCE:
        return (yield from _read_long(body))
    members = _decoded(body)
    return Inquiry((yield from _scanned(body)) if members is None else members)


def _decoded(body: bytes) -> dict[str, bytes] | None:
    try:
        return {name: bytes(raw) for name, raw in _members.decode(body).items()}
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
    return Inquiry((yield from _scanned(text)) if members is None else members, abridger.left_out)
