"""Splits a byte stream of server-sent events into events, at any chunking, with one bounded buffer.

Think of a ruler laid along the stream: every blank line is a mark, and a part is what lies between two marks.
Nothing is decoded or rebuilt, so the parts laid end to end are the stream. A mark is two line ends with
nothing between them; the last byte of a piece is therefore all that the next piece has to know.
"""

from __future__ import annotations

import re
from enum import Enum

__all__ = ["Kind", "Part", "Splitter"]

_BOM = b"\xef\xbb\xbf"
_LF, _CR = b"\n\r"

# The LF that may follow a closing CR is no part of it: the event is complete without.
_BLANK_LINE = re.compile(rb"\n[\n\r]|\r\r")
_RUN = re.compile(rb"[\r\n]+")
_LINE_ENDS = frozenset((_LF, _CR))
_BLANK_LINES = frozenset({(_LF, _LF), (_LF, _CR), (_CR, _CR)})
_LONG_LINE = 1 << 14


class Kind(Enum):
    """What a part is a part of."""

    EVENT = "event"
    """One whole event."""
    OVERSIZED = "oversized"
    """A stretch of an event that is longer than the limit: bytes to pass on, not to read."""
    REST = "rest"
    """The LF of a CRLF whose CR ended the part before; it shares that part's fate."""


_EVENT, _OVERSIZED, _REST = Kind


class Part:
    """Bytes of the stream as they came (`raw`), and what `kind` of part they are.

    `ends` is false for all but the last part of an oversized event.
    """

    __slots__ = ("_skip", "ends", "kind", "raw")

    def __init__(self, raw: bytes, kind: Kind, skip: int = 0, *, ends: bool = True) -> None:
        self.raw = raw
        self.kind = kind
        self.ends = ends
        self._skip = skip  # bytes before the first line: the byte order mark of the stream

    def __repr__(self) -> str:
        # Sizes only: an answer's text has no place in a log or a traceback.
        return f"<Part {self.kind.value} of {len(self.raw)} bytes>"

    @property
    def data(self) -> bytes | None:
        """The `data` lines joined by LF; `None` where an event has none, and for every other kind of part."""
        values = self._values(b"data")
        return b"\n".join(values) if values else None

    @property
    def name(self) -> bytes:
        """Value of the last `event` line; empty where there is none."""
        return (self._values(b"event") or [b""])[-1]

    @property
    def preamble(self) -> bytes:
        """Comment and blank lines (and a byte order mark) before the event: they stay when it is dropped."""
        raw, end = self.raw, self._skip
        if self.kind is not _EVENT or raw[end : end + 1] not in _LEADING:
            return raw[:end]
        for line in raw[end:].splitlines(keepends=True):
            if line[:1] not in _LEADING:
                break
            end += len(line)
        return raw[:end]

    def _values(self, field: bytes) -> list[bytes]:
        if self.kind is not _EVENT or field not in self.raw:
            return []
        fields = (line.partition(b":") for line in self.raw[self._skip :].splitlines())
        return [value.removeprefix(b" ") for name, _, value in fields if name == field]


_LEADING = (b":", b"\n", b"\r")


class Line(Part):
    """An event that is one line closed by two LF, as nearly every one is: it is read without splitting."""

    __slots__ = ()

    @property
    def data(self) -> bytes | None:
        """The value of its `data` line; `None` where it is another."""
        raw = self.raw
        if raw.startswith(b"data: "):
            return raw[6:-2]
        return raw[5:-2] if raw.startswith(b"data:") else super().data

    @property
    def name(self) -> bytes:
        """Value of its `event` line; empty where it is another."""
        return super().name if self.raw.startswith(b"event") else b""


class Splitter:
    """Cuts a stream after each blank line.

    `limit` is the longest event that is held, in bytes up to the one that completes its blank line. A longer
    one passes in `OVERSIZED` parts, as it comes. The `raw` of all parts, `close` included, is what was fed.
    """

    __slots__ = ("_held", "_last", "_limit", "_opening", "_owed", "_passing")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()
        self._last = _LF  # byte before the next one; an event begins as if after a line end
        self._owed = False  # a CR ended both the last event and its piece: an LF may still belong to it
        self._passing = False  # inside an oversized event
        self._opening = True  # inside the first event, the only one that may begin with a byte order mark

    @property
    def held(self) -> int:
        """Bytes held, at most `limit`."""
        return len(self._held)

    @property
    def fresh(self) -> bool:
        """The next byte begins an event, and not the first."""
        return not (self._held or self._owed or self._passing or self._opening)

    def feed(self, piece: bytes) -> list[Part]:
        """Return the parts that `piece` completes; a piece that is one event is that part's very `raw`."""
        parts: list[Part] = []
        start, size = 0, len(piece)
        if self._owed and size:
            self._owed = False
            if piece[0] == _LF:
                parts.append(Part(b"\n", _REST))
                start = 1
        while start < size:
            if not (self._held or self._passing):
                end = _line_end(piece, start)
                if 0 < end - start <= self._limit and not self._opening:
                    parts.append(Line(piece[start:end], _EVENT))
                    start = end
                    continue
                if piece[start] in _LINE_ENDS:
                    start = self._blank_lines(piece, start, parts)
                    continue
            complete = self._completed(piece, start)
            if not complete:
                self._hold(piece[start:], parts)
                break
            end = complete
            if piece[complete - 1] == _CR:
                self._owed = complete == size
                end += piece.startswith(b"\n", complete)
            parts.append(self._close_event(piece[start:end], complete - start))
            start = end
        return parts

    def close(self) -> list[Part]:
        """Return what is still held: nothing, or one event without its blank line."""
        return [self._close_event(b"", 0)] if self._held else []

    def _blank_lines(self, piece: bytes, start: int, parts: list[Part]) -> int:
        """Give a run of blank lines out as one part, for a stream may consist of little else."""
        run = _RUN.match(piece, start)
        end = run.end() if run else start + 1
        self._owed = end == len(piece) and piece[end - 1] == _CR
        parts.append(self._close_event(piece[start:end], 0))
        return end

    def _completed(self, piece: bytes, start: int) -> int:
        """Return one past the byte that completes the current event, 0 where none does."""
        if (self._last, piece[start]) in _BLANK_LINES:
            return start + 1
        if end := _line_end(piece, start):
            return end
        found = _BLANK_LINE.search(piece, start)
        return found.end() if found else 0

    def _close_event(self, tail: bytes, size: int) -> Part:
        if self._held:
            size += len(self._held)
            tail = bytes(self._held) + tail
            self._held.clear()
        kind = _OVERSIZED if self._passing or size > self._limit else _EVENT
        skip = len(_BOM) if self._opening and kind is _EVENT and tail.startswith(_BOM) else 0
        self._last, self._passing, self._opening = _LF, False, False
        return Part(tail, kind, skip)

    def _hold(self, rest: bytes, parts: list[Part]) -> None:
        self._last = rest[-1]
        if self._passing:
            parts.append(Part(rest, _OVERSIZED, ends=False))
            return
        self._held += rest
        if len(self._held) > self._limit:
            parts.append(Part(bytes(self._held), _OVERSIZED, ends=False))
            self._held.clear()
            self._passing = True


def _line_end(piece: bytes, start: int) -> int:
    """Return where one line and two LF end, 0 where anything else begins at `start`.

    They are found by memchr: thrice as fast as the pattern.
    """
    # Bounded, because where lines end in CR each event would search the whole piece for an LF.
    end = piece.find(b"\n", start, start + _LONG_LINE)
    if end <= start or piece[end + 1 : end + 2] != b"\n" or piece.find(b"\r", start, end) >= 0:
        return 0
    return end + 2
