"""Prompts and answers, for those who asked for them: cut to a size, and without what must not be kept.

Off unless it is switched on. What looks like a credential is never kept, however it is written: escaped as in
JSON, a JSON text inside of another, or in a URL. Other patterns come from the settings. What is cut ends in a
mark that says so. All of it takes time in proportion to the limit, not to what was sent.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from meter.credentials import CREDENTIALS

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

    from meter.inquiry import Inquiry

__all__ = ["Capture", "Captured"]

_REDACTED = "[redacted]"
_CUT = "[cut]"
_LEFT_OUT = b"[left out]"

_PROMPTS = (
    "system",
    "instructions",
    "system_instruction",
    "systemInstruction",
    "preamble",
    "messages",
    "message",
    "input",
    "inputs",
    "texts",
    "prompt",
    "suffix",
    "content",
    "contents",
    "requests",
    "query",
    "documents",
)
"""Members that have a prompt, in the order in which they are told."""

_MARGIN = 4096
"""Characters behind what is kept that are looked at: a credential that begins before may end there."""

_BULK = re.compile(rb"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{1024,}+={0,2}")
"""Pictures and the like."""
_MOST_READ = 1 << 19
"""Bytes of a prompt that are looked at; what was left out of a longer request is no part of them."""

_ESCAPE = re.compile(r"""(?<!\\)\\++(?:u([0-9A-Fa-f]{4})|([nrtbf"'/]))|%(?:25)*+([0-9A-Fa-f]{2})""")
_MEANT = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}

_STRETCH = 1024
_STRIDE = 512
"""Characters in which the settings' expressions search at once, and from where to where.

They may take the square of a text's length.
"""


class Capture:
    """How much is kept of a text, in characters, and what is left out of it: regular expressions."""

    def __init__(self, limit: int, redact: Iterable[str] = ()) -> None:
        self.limit = limit
        self.room = limit + _MARGIN
        """Characters of a text that are of any use."""
        self._patterns = [re.compile(pattern) for pattern in redact]

    def cleansed(self, *texts: str) -> str:
        """Return texts as they may be kept, a line break between them."""
        return self.joined((text, False) for text in texts)

    def joined(self, texts: Iterable[tuple[str, bool]]) -> str:
        """Return texts as they may be kept; each comes with whether its end is missing."""
        kept: list[str] = []
        left, cut = self.limit, False
        for text, broken in texts:
            # Where the end is missing, half a credential may be there that nobody would know for one.
            end = max(0, min(left, len(text) - _MARGIN if broken else len(text)))
            cut = cut or broken or end < len(text)
            if end:
                kept.append(self._shown(text[: end + _MARGIN], end))
                left -= end + 1
        told = "\n".join(kept)
        return told[: self.limit] + (_CUT if cut or len(told) > self.limit else "")

    def question(self, told: Inquiry) -> str | None:
        """Return the prompt of a request as JSON, its members as they stand; None where there is none."""
        room = _MOST_READ
        parts: list[str] = []
        for name in _PROMPTS:
            value = told.raw(name)
            if value is not None and room > 0:
                shorter = _BULK.sub(_LEFT_OUT, value[:room])[: 4 * self.room]
                parts.append(f'"{name}":{shorter.decode("utf-8", "replace")}')
                room -= len(value)
        if not parts:
            return None
        return self.joined([("{" + ",".join(parts) + ("}" if room >= 0 else ""), room < 0)])

    def _shown(self, text: str, end: int) -> str:
        """Return a text up to `end`, and what is found in it and reaches there replaced."""
        kept: list[str] = []
        at = 0
        for start, stop in sorted(_apart(text, *span) for span in self._found(text)):
            if start >= end:
                break
            if start >= stop:
                continue
            if start >= at:
                kept += (text[at:start], _REDACTED)
            at = max(at, stop)
        kept.append(text[at:end])
        return "".join(kept)

    def _found(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where in a text there is something that must not be kept, as it stands and as it is meant."""
        yield from self._matches(text)
        if _ESCAPE.search(text):
            plain, places = _meant(text)
            for start, end in self._matches(plain):
                yield places[start], places[end]

    def _matches(self, text: str) -> Iterator[tuple[int, int]]:
        for pattern in CREDENTIALS:
            for match in pattern.finditer(text):
                yield match.span(match.lastindex or 0)
        for pattern in self._patterns:
            for begin in range(0, max(1, len(text) - _STRIDE), _STRIDE):
                for match in pattern.finditer(text, begin, begin + _STRETCH):
                    yield match.span()


def _apart(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a stretch of a text that divides no escape: what is left around it is JSON as before."""
    return start - _escaped(text, start), end - _escaped(text, end)


def _escaped(text: str, at: int) -> bool:
    first = at
    while first and text[first - 1] == "\\":
        first -= 1
    return (at - first) % 2 == 1


def _meant(text: str) -> tuple[str, list[int]]:
    """Return a text with its escapes undone, and where each character of it, and its end, was."""
    pieces: list[str] = []
    places: list[int] = []
    at = 0
    for match in _ESCAPE.finditer(text):
        code, sign, byte = match.groups()
        pieces += (text[at : match.start()], _MEANT.get(sign, sign) if sign else chr(int(code or byte, 16)))
        places += range(at, match.start() + 1)
        at = match.end()
    pieces.append(text[at:])
    places += range(at, len(text) + 1)
    return "".join(pieces), places


class Captured:
    """Takes down what is said, in pieces, each of some part of an answer; a little more than is kept.

    The parts of an answer, such as its choices, may be said by turns: a secret is to be seen whole.
    """

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._parts: dict[Hashable, list[str]] = {}
        self._left: dict[Hashable, int] = {}
        """Room that each part has; below 0 where it has said more."""
        self._room = 4 * capture.room
        self._lost = False
        """There are parts that there was no room for at all."""

    def add(self, text: str, part: Hashable = None) -> None:
        """Take down a piece of a part."""
        left = self._left.get(part, self._capture.room)
        if not text or left < 0:
            return
        taken = text[: min(left, self._room)]
        if taken:
            self._parts.setdefault(part, []).append(taken)
            self._room -= len(taken)
        if part in self._parts:
            self._left[part] = left - len(taken) if len(taken) == len(text) else -1
        else:
            self._lost = True

    @property
    def text(self) -> str:
        """What was said, as it may be kept."""
        told = [("".join(pieces), self._left[part] < 0) for part, pieces in self._parts.items()]
        return self._capture.joined([*told, ("", self._lost)])
