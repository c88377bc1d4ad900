"""Keeps a JSON text's shape and leaves out its bulk, as it comes.

An answer may hold megabytes of base64 or of numbers before the few members that matter. Think of somebody who
copies a form and leaves empty what was a page of text: long strings become empty ones, of many numbers in a
row three stay, of one number the first 256 digits, and everything else stays. What is left of a valid text is
valid, says the same however the text was cut, and is small enough to be decoded at once. How many tokens were
left out is estimated.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from meter.estimate import has_base64, json_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SHORT_TEXT", "Abridger", "abridged"]

SHORT_TEXT = 1 << 17
"""Bytes that may be decoded at once, whatever they are: the most hostile ones take some 4 ms."""

_STRING_BYTES = 1024
"""A longer string is left out."""
_WEIGHED = 512
"""Bytes of what is left out by which its tokens are estimated."""

# What is short: at the speed of C, since a text may consist of little else.
_SHORT = re.compile(rb'(?:[^"\\]{0,256}+"[^"\\]{0,256}+(?:\\.[^"\\]{0,64}+){0,8}+")++', re.DOTALL)
_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
# Possessive, because a run that ends otherwise than hoped for would be read again from each of its bytes.
_NUMBERS = re.compile(rb"[-0-9][-+0-9eE., \t\r\n]{62,}+")
_DIGITS = re.compile(rb"(?<![0-9])([0-9]{256})[0-9]++")
"""No count is as long, nor does anybody tell the rest of a fraction."""
_SPACE = re.compile(rb"([ \t\r\n])[ \t\r\n]++")
_IN_RUNS = b"-+0123456789eE., \t\r\n"
_NOT_FIRST = b"+eE."
_BETWEEN = b", \t\r\n"
_NO_NUMBERS = (b":", b"{", b"}", b"u", b"a", b"n")
"""Of what is no list of numbers: members, objects, null and true, false and NaN, Infinity."""
_LONGEST_RUN = 256
_FEW = 3
"""Commas; a run with fewer may be a member's value."""
_LONGEST_HELD = 1024
"""Bytes: a lone number, made short, is shorter."""


class Abridger:
    """Abridges one text, fed in pieces; `most` bounds what is kept of it, in bytes.

    `counts` says that it is to be known how many numbers were left out.
    """

    def __init__(self, most: int = SHORT_TEXT, *, counts: bool = True) -> None:
        self._most = most
        self._counts = counts
        self._kept = bytearray()
        self._inside = False  # a string
        self._begun = 0  # where the string that we are inside of begins in `_kept`
        self._length = 0  # its bytes so far
        self._escaped = False  # its last byte was a backslash that escapes the next
        self._run = b""  # numbers at the end of the last piece, which may go on in the next
        self.words = 0.0
        """Tokens, about, of the texts that were left out; base64 is no text."""
        self._numbers = 0

    @property
    def left_out(self) -> float:
        """Tokens, about, of all that was left out of a prompt: a number may be a token itself."""
        return self.words + self._numbers

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
        if quote < 0:
            stretch = self._without_run(stretch)
        if len(stretch) > _LONGEST_RUN:
            stretch = self._shortened(stretch)
        self._kept += stretch
        if quote < 0:
            return len(piece)
        self._kept += b'"'
        self._inside, self._begun, self._length = True, len(self._kept), 0
        return quote + 1

    def _without_run(self, stretch: bytes) -> bytes:
        """Take numbers that may go on in the next piece off the end, and keep them, made short, for it."""
        start = max(stretch.rfind(b"["), stretch.rfind(b"]")) + 1
        listed = _is_run(stretch[start:])
        if not listed:
            start = len(stretch.rstrip(_IN_RUNS))
        run = stretch[start:].lstrip(_NOT_FIRST)
        held = run if len(run) <= _LONGEST_RUN else self._shortened(self._few(run) if listed else run)
        if len(held) > _LONGEST_HELD:
            return stretch[: len(stretch) - len(run)] + held
        self._run = held
        return stretch[: len(stretch) - len(run)]

    def _shortened(self, stretch: bytes) -> bytes:
        """Return a stretch between strings without most of its numbers, of their digits and of its blanks."""
        short = _NUMBERS.sub(lambda run: self._few(run[0]), b"".join(self._short_lists(stretch)))
        return _SPACE.sub(rb"\1", _DIGITS.sub(rb"\1", short))

    def _short_lists(self, stretch: bytes) -> Iterator[bytes]:
        """Yield a stretch without most of the numbers in its long lists, as far as it has few others.

        The pattern would find them all, but takes thrice as long as looking for brackets.
        """
        at = 0
        for _ in range(len(stretch) // _LONGEST_RUN):
            if at == len(stretch):
                return
            end = stretch.find(b"]", at + 1)
            end = len(stretch) if end < 0 else end
            start = max(at, stretch.rfind(b"[", at, end) + 1, at + stretch.startswith(b"]", at))
            run = stretch[start:end]
            yield stretch[at:start]
            yield self._few(run) if _is_run(run) else run
            at = end
        yield stretch[at:]

    def _few(self, run: bytes) -> bytes:
        """Return what stands for a run of numbers: two zeros and its last."""
        numbers = run.lstrip(_NOT_FIRST + _BETWEEN)  # a text may stand before them in their list
        if len(numbers.split(b",", _FEW)) <= _FEW:
            return run
        few = run[: len(run) - len(numbers)] + b"0,0," + numbers.rpartition(b",")[2]
        if self._counts:
            self._numbers += run.count(b",") - few.count(b",")
        return few

    def _string(self, piece: bytes, at: int) -> int:
        """Copy what is left of the string, as far as it is wanted; return where it ends."""
        start = at
        if self._escaped:
            self._escaped, at = False, at + 1
        end = piece.find(b'"', at)
        end = len(piece) if end < 0 else end
        escape = piece.find(b"\\", at, end)
        if escape >= 0:
            found = _STRING.match(piece, escape)
            end = escape if found is None else found.end()
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
            beginning = bytes(self._kept[self._begun :])
            if not has_base64(beginning):
                self.words += json_tokens(beginning[:_WEIGHED]) * self._length / _WEIGHED
            del self._kept[self._begun :]
        self._kept += b'"'
        self._inside = False


def _is_run(stretch: bytes) -> bool:
    """Tell whether what stands between two brackets is long, and nothing but numbers.

    In JSON it has one of a few signs, if it is not: each is looked for by memchr. Of what is no JSON, more
    may be taken for numbers.
    """
    return len(stretch) > _LONGEST_RUN and not any(map(stretch.__contains__, _NO_NUMBERS))


def abridged(text: bytes, most: int = SHORT_TEXT) -> bytes | None:
    """Return a whole text abridged; None where more than `most` bytes of it are shape."""
    abridger = Abridger(most)
    abridger.feed(text)
    return abridger.text
