"""Content codings: bytes in, decoded bytes out, a bounded piece at a time.

A decoder is fed what came and yields what it says in pieces of at most `PIECE` bytes, so that a small body
that inflates to gigabytes never stands in memory whole, and its reader can give way between two pieces.
Damaged data raises `ValueError`; the caller knows whether that matters.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Protocol

import brotli  # type: ignore[import-untyped]  # it has no types of its own
import zstandard

from meter.abridge import Abridger

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

__all__ = ["PIECE", "Decoder", "decoded", "decoder", "is_coded"]

PIECE = 64 * 1024

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
"""By what comes."""
_LONG = 1 << 19
"""Bytes; a longer body is abridged."""
_ZLIB_METHOD = 8
"""In the low half of a zlib frame's first byte."""
_SLICE = 16 * 1024
"""Bytes that are fed at once: what is left of them is copied for each member of gzip."""
_MOST_MEMBERS = 1_000
"""Members of gzip in one piece that was fed; nobody writes as many, and each takes a microsecond or two."""
_ZSTANDARD_SLICE = 128
"""Bytes that inflate to 4 MiB at the most; the library has no bound of its own here."""


class Decoder(Protocol):
    """Undoes one content coding."""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield what `piece` adds; raise ValueError where it is damaged."""
        ...


class _Zlib:
    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(_GZIP_OR_ZLIB)

    def feed(self, piece: bytes) -> Iterator[bytes]:
        members = 0
        for at in range(0, len(piece), _SLICE):
            rest = piece[at : at + _SLICE]
            while rest:
                if self._inflate.eof:  # gzip may be several members in a row, and zeros after
                    rest = rest.lstrip(b"\0")
                    if not rest:
                        break
                    members += 1
                    if members > _MOST_MEMBERS:
                        raise ValueError(f"more than {_MOST_MEMBERS} members in {len(piece)} bytes")
                    self._inflate = zlib.decompressobj(_GZIP_OR_ZLIB)
                rest = yield from self._inflated(rest)

    def _inflated(self, piece: bytes) -> Generator[bytes, None, bytes]:
        """Yield what the current member says; return what follows it."""
        while True:
            try:
                out = self._inflate.decompress(piece, PIECE)
            except zlib.error as error:
                raise ValueError(str(error)) from None
            if out:
                yield out
            piece = self._inflate.unconsumed_tail
            # Behind a full piece there may be more although all was taken.
            if self._inflate.eof or (not piece and len(out) < PIECE):
                return self._inflate.unused_data


class _Deflate(_Zlib):
    """The zlib format, or what some servers take the name to mean: deflated data without a frame."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = False

    def feed(self, piece: bytes) -> Iterator[bytes]:
        if piece and not self._begun:
            self._begun = True
            if piece[0] & 0x0F != _ZLIB_METHOD:
                self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        return super().feed(piece)


class _Brotli:
    def __init__(self) -> None:
        self._inflate = brotli.Decompressor()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        try:
            out = self._inflate.process(piece, output_buffer_limit=PIECE)
            while out:  # `can_accept_more_data` is true although there is more to come
                yield out
                out = self._inflate.process(b"", output_buffer_limit=PIECE)
        except brotli.error as error:
            raise ValueError(str(error)) from None


class _Zstandard:
    def __init__(self) -> None:
        undo = zstandard.ZstdDecompressor(max_window_size=8 << 20)
        self._inflate = undo.decompressobj(read_across_frames=True)

    def feed(self, piece: bytes) -> Iterator[bytes]:
        for at in range(0, len(piece), _ZSTANDARD_SLICE):
            try:
                out = self._inflate.decompress(piece[at : at + _ZSTANDARD_SLICE])
            except zstandard.ZstdError as error:
                raise ValueError(str(error)) from None
            for start in range(0, len(out), PIECE):
                yield out[start : start + PIECE]


_DECODERS: dict[bytes, Callable[[], Decoder]] = {
    b"gzip": _Zlib,
    b"x-gzip": _Zlib,
    b"deflate": _Deflate,
    b"br": _Brotli,
    b"zstd": _Zstandard,
}


def is_coded(encoding: bytes | None) -> bool:
    """Tell whether a Content-Encoding says that a body is anything but as it is."""
    return encoding is not None and encoding.strip().lower() not in (b"", b"identity")


def decoder(encoding: bytes | None) -> Decoder | None:
    """Return what undoes a Content-Encoding of one known coding; None for any other, `identity` included."""
    make = _DECODERS.get((encoding or b"").strip().lower())
    return make() if make is not None else None


def decoded(body: bytes, encoding: bytes, limit: int) -> Generator[None, None, tuple[bytes, float] | None]:
    """Decode a whole body, and abridge one that is long; yields, so that a caller can give way to others.

    Returns what is left of it, with about how many tokens were left out; None where it is damaged, unknown in
    coding, beyond `limit` bytes, or nearly all shape.
    """
    undo = decoder(encoding)
    if undo is None:
        return None
    plain, abridger, size = bytearray(), Abridger(_LONG), 0
    try:
        for at in range(0, len(body), _SLICE):
            for piece in undo.feed(body[at : at + _SLICE]):
                size += len(piece)
                if size > limit or abridger.overfull:
                    return None
                plain += piece
                if size > _LONG:
                    abridger.feed(bytes(plain))
                    plain.clear()
                    yield
            yield
    except ValueError:
        return None
    if size <= _LONG:
        return bytes(plain), 0.0
    text = abridger.text
    return None if text is None else (text, abridger.left_out)
