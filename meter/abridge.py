"""Keeps a JSON text's shape and leaves out its bulk, as it comes.

An answer may hold megabytes of base64 or of numbers before the few members that matter. Think of somebody who
copies a form and leaves empty what was a page of text: long strings become empty ones, long runs of numbers
become a 0, everything else stays. What is left of a valid text is valid, and small enough to be
decoded at once.
"""

from __future__ import annotations

import re

__all__ = ["SHORT_TEXT", "Abridger", "abridged"]

SHORT_TEXT = 1 << 17
"""Bytes that may be decoded at once, whatever they are: the most hostile ones take some 4 ms."""

_STRING_BYTES = 1024
"""A longer string is left out."""

# What is short: at the speed of C, since a text may consist of little else.
_SHORT = re.compile(rb'(?:[^"\\]{0,256}+"[^"\\]{0,256}+(?:\\.[^"\\]{0,64}+){0,8}+")++', re.DOTALL)
_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_NUMBERS = re.compile(rb"[-0-9][-+0-9eE., \t\r\n]{62,}[0-9]")
_OPEN_RUN = re.compile(rb"[-0-9, \t\r\n][-+0-9eE., \t\r\n]*\Z")
_LONGEST_RUN = 256


class Abridger:
    """Abridges one text, fed in pieces; `most` bounds what is kept of it, in bytes."""

    def __init__(self, most: int = SHORT_TEXT) -> None:
        self._most = most
        self._kept = bytearray()
        self._inside = False  # a string
        self._begun = 0  # where the string that we are inside of begins in `_kept`
        self._length = 0  # its bytes so far
        self._escaped = False  # its last byte was a backslash that escapes the next
        self._run = b""  # numbers at the end of the last piece, which may go on in the next
        self.left_out = 0
        """Bytes left out of strings that look like text: they have blanks, as no base64 has."""

    @property
    def overfull(self) -> bool:
        """There is more shape than may be kept: nothing can be said of this text."""
        return len(self._kept) > self._most

    @property
    def text(self) -> bytes | None:
        """What is left of the text so far; None where it is `overfull`."""
        return None if self.overfull else bytes(self._kept) + self._run

    def feed(self, piece: bytes) -> None:
        """Take in the next piece; it is not kept."""
        if not self._inside and self._run:
            piece, self._run = self._run + piece, b""
        at, end = 0, len(piece)
        while at < end and not self.overfull:
            at = self._string(piece, at) if self._inside else self._between(piece, at)

    def _between(self, piece: bytes, at: int) -> int:
        """Copy what stands before the next long string; return where that begins."""
        if short := _SHORT.match(piece, at):
            self._kept += short[0]
            at = short.end()
        quote = piece.find(b'"', at)
        stretch = piece[at:] if quote < 0 else piece[at:quote]
        if quote < 0 and (run := _OPEN_RUN.search(stretch)):
            stretch, self._run = stretch[: run.start()], _shortened(run[0])
        self._kept += _NUMBERS.sub(b"0", stretch) if len(stretch) > _LONGEST_RUN else stretch
        if quote < 0:
            return len(piece)
        self._kept += b'"'
        self._inside, self._begun, self._length = True, len(self._kept), 0
        return quote + 1

    def _string(self, piece: bytes, at: int) -> int:
        """Copy what is left of the string, as far as it is wanted; return where it ends."""
        start = at
        if self._escaped:
            self._escaped, at = False, at + 1
        found = _STRING.match(piece, at)
        end = at if found is None else found.end()
        shut = piece.startswith(b'"', end)
        if not shut and end < len(piece):  # a backslash is the last byte
            self._escaped, end = True, end + 1
        wanted = max(0, _STRING_BYTES - self._length)
        self._kept += piece[start : min(end, start + wanted)]
        self._length += end - start
        if shut:
            self._shut()
            end += 1
        return end

    def _shut(self) -> None:
        if self._length > _STRING_BYTES:
            if b" " in self._kept[self._begun :]:
                self.left_out += self._length
            del self._kept[self._begun :]
        self._kept += b'"'
        self._inside = False


def _shortened(run: bytes) -> bytes:
    """Return a run of numbers that may go on, made short: what stands before its last number matters not."""
    comma = run.rfind(b",")
    if len(run) <= _LONGEST_RUN or comma <= 0:
        return run[:_LONGEST_RUN]
    first = run.lstrip()[:1]
    return (b"," if first == b"," else b"") + b"0" + run[comma : comma + _LONGEST_RUN]


def abridged(text: bytes, most: int = SHORT_TEXT) -> bytes | None:
    """Return a whole text abridged; None where more than `most` bytes of it are shape."""
    abridger = Abridger(most)
    abridger.feed(text)
    return abridger.text
