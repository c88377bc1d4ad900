"""Reads the messages of one direction of a WebSocket in bytes that go by (RFC 6455, 7692); it says nothing.

Think of a ruler laid along a film: heads of frames are looked at, what is between them mostly is not. Only
text is of interest, and of that at most `limit` bytes are held. What is no WebSocket ends the reading for
good, and costs the bytes nothing: they have gone by already.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, NamedTuple

from meter.abridge import Abridger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Frames", "Message", "deflates"]

_FINAL, _DEFLATED, _RESERVED = 0x80, 0x40, 0x30
_MASKED, _LENGTH = 0x80, 0x7F
_MORE, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_CONTROL = 0x8
_CONTROL_BYTES = 125
_LENGTH_BYTES = {126: 2, 127: 8}
_LONGEST = 1 << 63

_PIECE = 1 << 16
_TAIL = b"\x00\x00\xff\xff"
"""What a sender leaves off at the end of a deflated message."""
_BOMB_BYTES = 8 << 20
_BOMB_RATIO = 100
"""What one piece of bytes may inflate to: past both, nothing more is read."""


class Message(NamedTuple):
    """A text message, as bytes of UTF-8."""

    text: bytes
    whole: bool
    """All of it; otherwise it was longer than is held, and this is its beginning, or it abridged."""


class Frames:
    """Reads the frames of one direction.

    `masked` says that it is the client's. A message longer than `limit` bytes is abridged, or, where
    `beginnings` are enough, cut off there: what is behind is not even unmasked. `deflate` says that
    permessage-deflate was agreed on.
    """

    def __init__(self, *, masked: bool, limit: int, deflate: bool = False, beginnings: bool = False) -> None:
        self.closed = False
        """A close frame has come; nothing after it is read."""
        self.broken = False
        """Something has come that is no WebSocket; nothing after it is read."""

        self._masked = masked
        self._limit = limit
        self._beginnings = beginnings
        self._inflate = _Inflate() if deflate else None
        self._head = bytearray()
        self._left: int | None = None
        """Bytes of the frame's payload still to come; None while its head is being read."""
        self._opcode = 0
        self._final = True
        self._key = b""
        """What the rest of the payload is masked with; empty where it is not."""
        self._kind: int | None = None
        """Opcode that the message began with; None between messages."""
        self._deflated = False
        self._text: _Text | None = None

    def feed(self, data: bytes) -> Sequence[Message]:
        """Take in what came; return the text messages that it completes."""
        messages: list[Message] = []
        if self.closed or self.broken:
            return messages
        try:
            messages.extend(self._read(data))
        except ValueError:
            self.broken = True
            self._text, self._inflate = None, None
        return messages

    def _read(self, data: bytes) -> Iterator[Message]:
        if self._inflate is not None:
            self._inflate.expect(len(data))
        at, end = 0, len(data)
        while at < end and not self.closed:
            if self._left is None:
                at = self._read_head(data, at)
            if self._left is None:
                return
            size = min(self._left, end - at)
            if size and self._opcode < _CONTROL:
                self._take(data, at, at + size)
            at += size
            self._left -= size
            if not self._left:
                self._left = None
                yield from self._end_frame()

    def _read_head(self, data: bytes, at: int) -> int:
        """Read on in a frame's head; return where reading goes on."""
        head = self._head
        while (missing := _head_bytes(head) - len(head)) > 0:
            if at >= len(data):
                return at
            head += data[at : at + missing]
            at += missing
        self._begin_frame(bytes(head))
        head.clear()
        return at

    def _begin_frame(self, head: bytes) -> None:
        """Take in a whole head; raise ValueError where it is none."""
        self._opcode, self._final = head[0] & 0x0F, bool(head[0] & _FINAL)
        masked, length = bool(head[1] & _MASKED), head[1] & _LENGTH
        size = _LENGTH_BYTES.get(length, 0)
        if size:
            length = int.from_bytes(head[2 : 2 + size], "big")
        if masked is not self._masked or head[0] & _RESERVED or length >= _LONGEST:
            raise ValueError("no frame")
        self._left, self._key = length, head[2 + size :]
        deflated = bool(head[0] & _DEFLATED)
        if self._opcode in (_TEXT, _BINARY) and self._kind is None:
            if deflated and self._inflate is None:
                raise ValueError("deflated, which nobody agreed on")
            self._kind, self._deflated = self._opcode, deflated
            self._text = _Text(self._limit, cut=self._beginnings) if self._opcode == _TEXT else None
        elif deflated or not self._fits():
            raise ValueError("a frame out of place")

    def _fits(self) -> bool:
        """Tell whether a frame that begins no message may stand here."""
        if self._opcode == _MORE:
            return self._kind is not None
        small = self._final and (self._left or 0) <= _CONTROL_BYTES
        return self._opcode in (_CLOSE, _PING, _PONG) and small

    def _take(self, data: bytes, start: int, end: int) -> None:
        """Take in a part of a message's payload."""
        text = self._text
        if self._deflated:
            assert self._inflate is not None  # noqa: S101 - no deflated message begins without
            for plain in self._inflate.feed(self._unmasked(data[start:end])):
                if text is not None:
                    text.add(plain)
        elif text is not None:
            wanted = text.wanted(end - start)
            if wanted:
                text.add(self._unmasked(data[start : start + wanted]))
            if wanted < end - start:
                text.cut_off()

    def _unmasked(self, piece: bytes) -> bytes:
        key = self._key
        if not key:
            return piece
        size = len(piece)
        mask = (key * (size // 4 + 1))[:size]
        turn = size % 4
        self._key = key[turn:] + key[:turn]
        return (int.from_bytes(piece, "little") ^ int.from_bytes(mask, "little")).to_bytes(size, "little")

    def _end_frame(self) -> Iterator[Message]:
        if self._opcode >= _CONTROL:
            self.closed = self._opcode == _CLOSE
            return
        if not self._final:
            return
        text, self._text, self._kind = self._text, None, None
        if self._deflated:
            assert self._inflate is not None  # noqa: S101 - as in `_take`
            for plain in self._inflate.feed(_TAIL):
                if text is not None:
                    text.add(plain)
        message = text.message() if text is not None else None
        if message is not None:
            yield message


def _head_bytes(head: bytearray) -> int:
    """Return how long a head is, as far as its beginning tells."""
    if len(head) < 2:  # noqa: PLR2004 - the second byte says how much there is
        return 2
    return 2 + _LENGTH_BYTES.get(head[1] & _LENGTH, 0) + (4 if head[1] & _MASKED else 0)


class _Text:
    """One text message that is coming in."""

    def __init__(self, limit: int, *, cut: bool) -> None:
        self._limit = limit
        self._cut = cut
        self._held = bytearray()
        self._whole = True
        self._abridger: Abridger | None = None

    def wanted(self, size: int) -> int:
        """Return how many of the next `size` bytes are to be added."""
        return min(size, self._limit - len(self._held)) if self._cut else size

    def cut_off(self) -> None:
        """Take note that there is more than was wanted."""
        self._whole = False

    def add(self, piece: bytes) -> None:
        """Take in a part of it."""
        if self._abridger is not None:
            self._abridger.feed(piece)
            return
        self._held += piece
        if len(self._held) <= self._limit:
            return
        self._whole = False
        if self._cut:
            del self._held[self._limit :]
            return
        self._abridger = Abridger()
        self._abridger.feed(bytes(self._held))
        self._held.clear()

    def message(self) -> Message | None:
        """Return what is held of it; None where that is of no use."""
        text = bytes(self._held) if self._abridger is None else self._abridger.text
        return None if text is None else Message(text, self._whole)


class _Inflate:
    """Undoes permessage-deflate; what one message says may refer to what the ones before it said."""

    def __init__(self) -> None:
        self._undo = zlib.decompressobj(-zlib.MAX_WBITS)
        self._most = 0

    def expect(self, size: int) -> None:
        """Allow what `size` bytes may inflate to."""
        self._most = max(_BOMB_BYTES, _BOMB_RATIO * size)

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield what a part of a message says, a bounded piece at a time; raise ValueError on damage."""
        while True:
            if self._undo.eof:  # a sender may end a message with a last block, and begin anew
                self._undo = zlib.decompressobj(-zlib.MAX_WBITS)
                if piece == _TAIL:
                    return
            try:
                out = self._undo.decompress(piece, _PIECE)
            except zlib.error as error:
                raise ValueError(str(error)) from None
            self._most -= len(out)
            if self._most < 0:
                raise ValueError("a bomb")
            if out:
                yield out
            piece = self._undo.unconsumed_tail or self._undo.unused_data
            if (
                not piece and len(out) < _PIECE
            ):  # behind a full piece there may be more although all was taken
                return


def deflates(extensions: bytes | None) -> bool:
    """Tell whether the extensions that an answer names are permessage-deflate."""
    return (extensions or b"").partition(b";")[0].strip().lower() == b"permessage-deflate"
