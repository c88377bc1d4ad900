"""Recognises an event that says what the one before said, but for the text: nearly all events of a stream do.

Such an event need not be read as JSON to know all that it says. Where its text stands, and what is around it,
is learned from an event that was read; the next is alike if it has the very same bytes there, and between
them nothing that could end a JSON text or escape in it.
"""

from __future__ import annotations

import re
from itertools import takewhile

import msgspec

__all__ = ["Likeness", "likeness"]

_PLAIN = re.compile(rb'[^"\\\x00-\x1f]+')
_is_plain = _PLAIN.fullmatch
_ORDINARY = bytes(set(range(0x20, 0x7F)) - set(b'"\\'))
"""What stands in a JSON text for itself, of ASCII."""
_PLAIN_LINES = re.compile(rb'[^"\\\x00-\x1f]++(?:\n[^"\\\x00-\x1f]++)*+')
_ENDS = (b"\n\n", b"\r\n\r\n")
_TOGETHER = 8
"""Events that are looked at at once: all behind one that is not like them would be looked at once more."""


class Likeness(msgspec.Struct, frozen=True):
    """What events have around their text."""

    before: bytes
    after: bytes
    goes: bytes
    """`after`, as it goes out."""
    start: int
    """Where the text begins."""
    end: int
    """And ends, from the event's end."""

    def said(self, piece: bytes) -> bytes | None:
        """Return the text of a piece that is one event of this kind, and in ASCII; None for any other."""
        if piece.startswith(self.before) and piece.endswith(self.after):
            said = piece[self.start : self.end]
            if said and not said.strip(_ORDINARY):  # of nothing else, then: no pattern is as quick
                return said
        return None

    def texts(self, piece: bytes, at: int = 0) -> tuple[list[str], int]:
        """Return the texts of the events of this kind that stand in a piece from `at` on, and where they end.

        What follows may be anything, and there may be more: after `_TOGETHER` others may be asked for.
        """
        before, after = self.before, self.after
        if not at:  # one event makes up most pieces
            said = piece.removeprefix(before).removesuffix(after)
            if len(before) + len(said) + len(after) == len(piece) and (text := _text(said)):
                return [text], len(piece)
        if not piece.startswith(before, at):
            return [], at
        found: list[bytes] = []
        between, start = after + before, at + len(before)
        for _ in range(_TOGETHER):
            stop = piece.find(b'"', start)
            if stop < 0:
                break
            goes_on = piece[stop : stop + len(between)] == between
            if goes_on or piece.startswith(after, stop):
                found.append(piece[start:stop])
            if not goes_on:
                break
            start = stop + len(between)
        texts = _texts(found)
        return texts, at + sum(map(len, found[: len(texts)])) + len(texts) * len(between)

    def out(self, events: bytes) -> bytes:
        """Return what goes out for such events."""
        return events if self.goes is self.after else events.replace(self.after, self.goes)


def _text(said: bytes) -> str:
    """Return what a JSON text says, empty where it says it in any but the plain way."""
    if _is_plain(said) is None:
        return ""
    try:
        return said.decode()
    except UnicodeDecodeError:  # to be replaced, by whoever reads it as JSON
        return ""


def _texts(said: list[bytes]) -> list[str]:
    """Return what JSON texts say, up to the first that says it in any but the plain way."""
    lines = b"\n".join(said)
    if _PLAIN_LINES.fullmatch(lines) is not None:
        try:
            texts = lines.decode().split("\n")
        except UnicodeDecodeError:
            texts = []
        if len(texts) == len(said):
            return texts
    return list(takewhile(bool, map(_text, said)))


def likeness(raw: bytes, text: str, out: bytes) -> Likeness | None:
    """Return what the event `raw`, which says `text` and goes out as `out`, has around its text.

    None where that cannot be told: the text has to stand there once, and nothing may be escaped.
    """
    if b"\\" in raw or not raw.endswith(_ENDS):
        return None
    said = text.encode("utf-8", "surrogatepass")
    quoted = b'"%b"' % said
    if raw.count(quoted) != 1 or _is_plain(said) is None:
        return None
    start = raw.index(quoted) + 1
    end = start + len(said)
    after = raw[end:]
    if out == raw:
        return Likeness(raw[:start], after, after, start, -len(after))
    # What is taken out has to stand behind the text, for the text to be where it was.
    goes = out[end:]
    return Likeness(raw[:start], after, goes, start, -len(after)) if out.startswith(raw[: end + 1]) else None
