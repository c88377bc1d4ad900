"""Recognises an event that says what the one before said, but for the text: nearly all events of a stream do.

Such an event need not be read as JSON to know all that it says. Where its text stands, and what is around it,
is learned from an event that was read; the next is alike if it has the very same bytes there, and between
them nothing that could end a JSON text or escape in it.
"""

from __future__ import annotations

import re

import msgspec

__all__ = ["Likeness", "likeness"]

_PLAIN = re.compile(rb'[^"\\\x00-\x1f]+')
_is_plain = _PLAIN.fullmatch
_ENDS = (b"\n\n", b"\r\n\r\n")


class Likeness(msgspec.Struct, frozen=True):
    """What events have around their text; `after` as it comes, `goes` as it goes out."""

    before: bytes
    after: bytes
    goes: bytes

    def texts(self, piece: bytes, at: int = 0) -> tuple[list[str], int]:
        """Return the texts of the events of this kind that stand in a piece from `at` on, and where they end.

        What follows may be anything.
        """
        before, after = self.before, self.after
        texts: list[str] = []
        try:
            said = piece.removeprefix(before).removesuffix(after)
            # One event makes up most pieces; compared as one, it takes half as long.
            if not at and len(before) + len(said) + len(after) == len(piece) and _is_plain(said):
                return [said.decode()], len(piece)
            while piece.startswith(before, at):
                found = _PLAIN.match(piece, at + len(before))
                if found is None or not piece.startswith(after, found.end()):
                    break
                texts.append(found[0].decode())
                at = found.end() + len(after)
        except UnicodeDecodeError:
            pass  # to be replaced, by whoever reads it as JSON
        return texts, at

    def out(self, events: bytes) -> bytes:
        """Return what goes out for such events."""
        return events if self.goes is self.after else events.replace(self.after, self.goes)


def likeness(raw: bytes, text: str, out: bytes) -> Likeness | None:
    """Return what the event `raw`, which says `text` and goes out as `out`, has around its text.

    None where that cannot be told: the text has to stand there once, and nothing may be escaped.
    """
    if b"\\" in raw or not raw.endswith(_ENDS):
        return None
    said = text.encode("utf-8", "surrogatepass")
    quoted = b'"%b"' % said
    if raw.count(quoted) != 1 or not _is_plain(said):
        return None
    start = raw.index(quoted) + 1
    end = start + len(said)
    after = raw[end:]
    if out == raw:
        return Likeness(raw[:start], after, after)
    # What is taken out has to stand behind the text, for the text to be where it was.
    return Likeness(raw[:start], after, out[end:]) if out.startswith(raw[: end + 1]) else None
