"""What a JSON request says at its top level, each member as it stands.

Requests are read for a few members and never re-serialised. A body that strict parsers refuse is scanned, and
one that is long is abridged first, in slices: no request stops the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from meter.abridge import Abridger
from meter.estimate import BYTES_PER_TOKEN, json_tokens
from meter.lenient import UNREADABLE, name
from meter.members import scan

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Inquiry", "read"]

_AT_ONCE = 1 << 21
"""Bytes whose members are found at once; the most hostile ones take some 4 ms."""
_SLICE = 1 << 17

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Inquiry:
    """The top-level members of a request."""

    def __init__(self, members: dict[str, bytes], left_out: int = 0) -> None:
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
        parts = [self.members[member] for member in prompt if member in self.members]
        if not parts:
            return None
        return sum(map(json_tokens, parts)) + self._left_out / BYTES_PER_TOKEN


def read(body: bytes) -> Generator[None, None, Inquiry]:
    """Read a request; one that is no JSON object says nothing."""
    if len(body) > _AT_ONCE:
        return (yield from _read_long(body))
    members = yield from _found(body)
    return Inquiry(members)


def _found(body: bytes) -> Generator[None, None, dict[str, bytes]]:
    try:
        return {name: bytes(raw) for name, raw in _members.decode(body).items()}
    except UNREADABLE:
        pass
    found = yield from scan(body)
    return {m.name: body[m.value : m.end] for m in found or () if m.name is not None}


def _read_long(body: bytes) -> Generator[None, None, Inquiry]:
    abridger = Abridger(_AT_ONCE)
    for at in range(0, len(body), _SLICE):
        abridger.feed(body[at : at + _SLICE])
        yield
    text = abridger.text
    if text is not None:
        return Inquiry((yield from _found(text)), abridger.left_out)
    found = yield from scan(body)  # hardly anything in it could be left out
    return Inquiry({m.name: body[m.value : m.end] for m in found or () if m.name is not None})
