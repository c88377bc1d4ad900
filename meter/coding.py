"""Content codings: bytes in, decoded bytes out, a bounded piece at a time.

A decoder is fed what came and yields what it says in pieces of at most `PIECE` bytes (Brotli's library bounds
its own pieces less strictly), so that a small body that inflates to gigabytes never stands in memory whole.
Damaged data raises `ValueError`; the caller knows whether that matters.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Protocol

import brotli  # type: ignore[import-untyped]  # it has no types of its own
import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["PIECE", "Decoder", "decoded", "decoder"]

PIECE = 64 * 1024


class Decoder(Protocol):
    """Undoes one content coding."""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield what `piece` adds; raise ValueError where it is damaged."""
        ...


class _Zlib:
    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=47)  # gzip or zlib, by what comes

    def feed(self, piece: bytes) -> Iterator[bytes]:
        while piece:
            try:
                out = self._inflate.decompress(piece, PIECE)
            except zlib.error as error:
                raise ValueError(str(error)) from None
            if out:
                yield out
            piece = self._inflate.unconsumed_tail
            if self._inflate.eof:  # gzip may be several members in a row
                piece = self._inflate.unused_data.lstrip(b"\0")
                self._inflate = zlib.decompressobj(wbits=47)


class _Brotli:
    def __init__(self) -> None:
        self._inflate = brotli.Decompressor()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        try:
            out = self._inflate.process(piece, output_buffer_limit=PIECE)
            while True:
                if out:
                    yield out
                if self._inflate.can_accept_more_data():
                    return
                out = self._inflate.process(b"", output_buffer_limit=PIECE)
        except brotli.error as error:
            raise ValueError(str(error)) from None


class _Zstandard:
    def __init__(self) -> None:
        self._inflate = zstandard.ZstdDecompressor(max_window_size=8 << 20).decompressobj()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        # A slice of 1 KiB bounds what one call can inflate to; the library has no bound of its own here.
        for at in range(0, len(piece), 1024):
            try:
                out = self._inflate.decompress(piece[at : at + 1024])
            except zstandard.ZstdError as error:
                raise ValueError(str(error)) from None
            if out:
                yield out


_DECODERS: dict[bytes, Callable[[], Decoder]] = {
    b"gzip": _Zlib,
    b"x-gzip": _Zlib,
    b"deflate": _Zlib,
    b"br": _Brotli,
    b"zstd": _Zstandard,
}


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
