"""Recognises an event that says what the one before said, but for the text: nearly all events of a stream do.

Such an event need not be read as JSON to know all that it says. Where its text stands, and what is around it,
is learned from an event that was read; the next is alike if it has the very same bytes there, and between
them nothing that could end a JSON text or escape in it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Likeness", "likeness"]

_PLAIN = re.compile(rb'[^"\\\x00-\x1f]+')
_ENDS = (b"\n\n", b"\r\n\r\n")


class Likeness(NamedTuple):
    """What events have around their text; `after` as it comes, `goes` as it goes out."""

    before: bytes
    after: bytes
    goes: bytes

    def text(self, piece: bytes) -> str | None:
        """Return the text of a piece that is one event of this kind; None where it is anything else."""
        before, after = self.before, self.after
        end = len(piece) - len(after)
        if end <= len(before) or not (piece.startswith(before) and piece.endswith(after)):
            return None
        said = piece[len(before) : end]
        if _PLAIN.fullmatch(said) is None:
            return None
        try:
            return said.decode()
        except UnicodeDecodeError:
            return None

    def out(self, piece: bytes) -> bytes:
        """Return what goes out for a piece that is such an event."""
        return piece if self.goes is self.after else piece[: -len(self.after)] + self.goes


def likeness(raw: bytes, text: str, out: bytes) -> Likeness | None:
    """Return what the event `raw`, which says `text` and goes out as `out`, has around its text.

    None where that cannot be told: the text has to stand there once, and nothing may be escaped.
    """
    said = text.encode("utf-8", "surrogatepass")
    quoted = b'"%b"' % said
    if b"\\" in raw or raw.count(quoted) != 1 or not raw.endswith(_ENDS) or not _PLAIN.fullmatch(said):
        return None
    start = raw.index(quoted) + 1
    end = start + len(said)
    after = raw[end:]
    if out == raw:
        return Likeness(raw[:start], after, after)
    # What is taken out has to stand behind the text, for the text to be where it was.
    return Likeness(raw[:start], after, out[end:]) if out.startswith(raw[: end + 1]) else None
