"""Splits streams of JSON that are no server-sent events: lines of it, or the elements of one long array.

Think of the same ruler as for events, laid along another tape: what lies between two marks is one `Part`,
whose data are one JSON text. Nobody edits these streams, so bytes between the texts are of no interest and
are left out. What is longer than the limit passes in stretches.
"""

from __future__ import annotations

import re

from meter.sse import Kind, Part

__all__ = ["Elements", "Lines", "Text"]


class Text(Part):
    """One JSON text of a stream."""

    __slots__ = ()

    @property
    def data(self) -> bytes | None:
        """The text itself; None where it is a stretch of one that is too long."""
        return self.raw if self.kind is Kind.EVENT else None

    @property
    def name(self) -> bytes:
        """Empty: what these streams carry has no names."""
        return b""


class _Cutter:
    """Holds what is not complete yet, up to `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()
        self._passing = False  # inside a text that is too long

    @property
    def held(self) -> int:
        """Bytes held, at most `limit`."""
        return len(self._held)

    def close(self) -> list[Part]:
        """Return what is left: nothing, or what may be half a text."""
        return [self._ended(b"")] if self._held.strip() else []

    def _ended(self, last: bytes) -> Part:
        text = bytes(self._held) + last if self._held else last
        self._held.clear()
        kind = Kind.OVERSIZED if self._passing or len(text) > self._limit else Kind.EVENT
        self._passing = False
        return Text(text, kind)

    def _hold(self, rest: bytes, parts: list[Part]) -> None:
        self._held += rest
        if self._passing or len(self._held) > self._limit:
            self._passing = True
            parts.append(Text(bytes(self._held), Kind.OVERSIZED, ends=False))
            self._held.clear()


class Lines(_Cutter):
    """Cuts a stream after each line feed; empty lines are no texts."""

    def feed(self, piece: bytes) -> list[Part]:
        """Return the texts that `piece` completes."""
        *whole, rest = piece.split(b"\n")
        lines = map(self._ended, whole)
        parts = [line for line in lines if line.kind is Kind.OVERSIZED or line.raw.strip()]
        if rest:
            self._hold(rest, parts)
        return parts


_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)

# What is of no interest, whole strings included, and then brackets that open (1), brackets that close (2),
# a string that goes on in the next piece (3: its last byte, if that escapes the next one) or the end. It
# matches everywhere, so that a piece is gone through once, at the speed of C but for its brackets.
_STEP = re.compile(
    rb'(?:[^\[\]{}"]++|"(?:[^"\\]++|\\.)*+")*+'
    rb'(?:([\[{]++)|([\]}]++)|"(?:[^"\\]++|\\.)*+(\\?)\Z|\Z)',
    re.DOTALL,
)
_OPENS, _CLOSES, _GOES_ON = 1, 2, 3


class Elements(_Cutter):
    """Cuts the array that a stream is into those of its elements that are objects or arrays.

    A stream that is no array but an object is one text: so are errors told.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._level = 2  # of the brackets around a text
        self._depth = 0
        self._inside = False  # a string
        self._escaped = False  # its last byte was a backslash that escapes the next

    def feed(self, piece: bytes) -> list[Part]:
        """Return the elements that `piece` completes."""
        parts: list[Part] = []
        start = 0 if self._depth >= self._level else -1  # of the text that we are inside of
        at = self._string_end(piece) if self._inside and piece else 0
        for step in _STEP.finditer(piece, at):
            kind, end = step.lastindex, step.end()
            if kind == _OPENS:
                opens = self._opened(piece, step.start(_OPENS), end)
                start = opens if opens >= 0 else start
            elif kind == _CLOSES:
                closes = self._closed(step.start(_CLOSES), end)
                if closes >= 0 and start >= 0:
                    parts.append(self._ended(piece[start:closes]))
                    start = -1
            elif kind == _GOES_ON:
                self._inside, self._escaped = True, bool(step[_GOES_ON])
        if start >= 0 and piece:
            self._hold(piece[start:], parts)
        return parts

    def _opened(self, piece: bytes, first: int, end: int) -> int:
        """Go deeper by the brackets from `first` to `end`; return where a text begins, -1 where none does."""
        if self._depth == 0:
            self._level = 2 if piece.startswith(b"[", first) else 1
        begins = first + self._level - self._depth - 1
        self._depth += end - first
        return begins if first <= begins < end else -1

    def _closed(self, first: int, end: int) -> int:
        """Come up by the brackets from `first` to `end`; return where a text ends, -1 where none does."""
        ends = first + self._depth - self._level + 1
        self._depth = max(0, self._depth - (end - first))
        return ends if first < ends <= end else -1

    def _string_end(self, piece: bytes) -> int:
        """Return one past the closing quote of the string that we are inside of, or the piece's end."""
        at, self._escaped = int(self._escaped), False
        found = _STRING.match(piece, at)
        end = at if found is None else found.end()
        if end >= len(piece):
            return len(piece)
        self._inside = piece[end] != 0x22  # noqa: PLR2004 - a quote; else a backslash, the last byte
        self._escaped = self._inside
        return end + 1
