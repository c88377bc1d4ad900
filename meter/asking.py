"""Asks for usage in a request's own bytes: `stream_options.include_usage`, by a splice.

Nothing is re-serialised. The member goes before the last brace; only where `stream_options` stands already is
its place looked for. Of duplicate members the last is the one read and edited.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from meter.lenient import UNREADABLE
from meter.members import Member, append, scan

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["ask"]

_ASKED = b'"include_usage":true'
_ASKING = b'"stream_options":{' + _ASKED + b"}"


def ask(body: bytes, options: bytes | None) -> Generator[None, None, bytes | None]:
    """Return `body`, one JSON object, with usage asked for; None where that was done or is out of place.

    `options` is the value of its `stream_options` as it stands, None where it has none.
    """
    if options is None:
        return append(body, _ASKING)
    if _has_asked(options):  # most who say anything do: there is no need to know where it stands
        return None
    found = yield from scan(body)
    place = _last(found or [], "stream_options")
    if place is None:
        return None
    standing = body[place.value : place.end]
    asking = b"{" + _ASKED + b"}" if standing == b"null" else (yield from _switched_on(standing))
    if asking is None:
        return None
    whole = memoryview(body)  # of which nothing is copied twice
    return b"".join((whole[: place.value], asking, whole[place.end :]))


def _has_asked(options: bytes) -> bool:
    try:
        told = msgspec.json.decode(options)
    except UNREADABLE:
        return False
    return isinstance(told, dict) and told.get("include_usage") is True


def _switched_on(options: bytes) -> Generator[None, None, bytes | None]:
    """Return a `stream_options` object's bytes with `include_usage` true.

    None where it is no object, or says anything but no: what is not a bool is the upstream's to judge.
    """
    found = yield from scan(options)
    if found is None:
        return None
    last = _last(found, "include_usage")
    if last is None:
        return append(options, _ASKED)
    if options[last.value : last.end] not in (b"false", b"null"):
        return None
    return options[: last.value] + b"true" + options[last.end :]


def _last(found: list[Member], name: str) -> Member | None:
    return next((member for member in reversed(found) if member.name == name), None)
