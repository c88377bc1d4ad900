"""Content codings: bytes in, decoded bytes out, a bounded piece at a time.

A decoder is fed what came and yields what it says in pieces, of at most `PIECE` bytes where the library lets
itself be told and of a few MiB elsewhere, so that a small body that inflates to gigabytes never stands in
memory whole.
Damaged data raises `ValueError`; the caller knows whether that matters.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Protocol

import brotli  # type: ignore[import-untyped]  # it has no types of its own
import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["PIECE", "Decoder", "decoded", "decoder", "is_coded"]

PIECE = 64 * 1024

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
"""By what comes."""
_ZLIB_METHOD = 8
"""In the low half of a zlib frame's first byte."""
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
        while True:
            if self._inflate.eof:  # gzip may be several members in a row, and zeros after
                piece = piece.lstrip(b"\0")
                if not piece:
                    return
                self._inflate = zlib.decompressobj(_GZIP_OR_ZLIB)
            try:
                out = self._inflate.decompress(piece, PIECE)
            except zlib.error as error:
                raise ValueError(str(error)) from None
            if out:
                yield out
            piece = self._inflate.unconsumed_tail or self._inflate.unused_data
            if not piece and len(out) < PIECE:  # behind a full piece there may be more although all was taken
                return


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
            if out:
                yield out


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


def decoded(body: bytes, encoding: bytes, limit: int) -> bytes | None:
    """Return a whole body decoded; None where it is damaged, unknown in coding, or beyond `limit` bytes."""
    undo = decoder(encoding)
    if undo is None:
        return None
    out: list[bytes] = []
    size = 0
    try:
        for piece in undo.feed(body):
            size += len(piece)
            if size > limit:
                return None
            out.append(piece)
    except ValueError:
        return None
    return b"".join(out)
