"""What was encoded comes out whole at any cuts, and never all at once."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from typing import TYPE_CHECKING

import brotli  # type: ignore[import-untyped]  # it has no types of its own
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from meter.coding import PIECE, decoded, decoder, is_coded

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = b"".join(b'data: {"n":%d,"text":"\xe4\xb8\x96"}\n\n' % n for n in range(300))


def raw_deflate(data: bytes) -> bytes:
    """Return deflated data without a frame."""
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflate.compress(data) + deflate.flush()


def zstd(data: bytes) -> bytes:
    """Return data in a Zstandard frame."""
    return zstandard.ZstdCompressor().compress(data)


CODINGS: list[tuple[bytes, Callable[[bytes], bytes]]] = [
    (b"gzip", gzip.compress),
    (b" X-GZIP ", gzip.compress),
    (b"deflate", zlib.compress),
    (b"deflate", raw_deflate),
    (b"br", brotli.compress),
    (b"zstd", zstd),
]
IN_FRAMES: list[tuple[bytes, Callable[[bytes], bytes]]] = [(b"gzip", gzip.compress), (b"zstd", zstd)]


def undone(encoding: bytes, pieces: list[bytes]) -> bytes:
    """Return what pieces of a coded body say."""
    undo = decoder(encoding)
    assert undo is not None
    return b"".join(plain for piece in pieces for plain in undo.feed(piece))


@pytest.mark.parametrize(("encoding", "compress"), CODINGS)
@settings(max_examples=20)
@given(size=st.integers(1, 400))
def test_undoes_pieces_of_any_size(encoding: bytes, compress: Callable[[bytes], bytes], size: int) -> None:
    """Every coding is undone, however its bytes come."""
    coded = compress(TEXT)

    assert TEXT == undone(encoding, [coded[i : i + size] for i in range(0, len(coded), size)])


@pytest.mark.parametrize(("encoding", "compress"), CODINGS)
def test_undoes_a_whole_body(encoding: bytes, compress: Callable[[bytes], bytes]) -> None:
    """A whole body is decoded up to a limit."""
    coded = compress(TEXT)

    assert TEXT == decoded(coded, encoding, len(TEXT))
    assert decoded(coded, encoding, len(TEXT) - 1) is None


@pytest.mark.parametrize(("encoding", "compress"), IN_FRAMES)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_reads_frames_in_a_row(encoding: bytes, compress: Callable[[bytes], bytes], size: int) -> None:
    """Where a coding may come in several frames, all of them are read."""
    coded = compress(b"one ") + compress(b"two") + compress(b"")

    assert b"one two" == undone(encoding, [coded[i : i + size] for i in range(0, len(coded), size)])


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_takes_zeros_behind_gzip(size: int) -> None:
    """Zeros that pad the end of gzip are no damage."""
    coded = gzip.compress(TEXT) + b"\0" * 512

    assert TEXT == undone(b"gzip", [coded[i : i + size] for i in range(0, len(coded), size)])


def test_gives_all_that_a_piece_says() -> None:
    """What was flushed comes out with its piece, though it is long and the end is still to come."""
    deflate = zlib.compressobj(wbits=31)
    text = b"\n" * (3 * PIECE + 7)
    coded = deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH)

    assert text == undone(b"gzip", [coded])


@pytest.mark.parametrize(("encoding", "compress"), CODINGS)
def test_tells_damage(encoding: bytes, compress: Callable[[bytes], bytes]) -> None:
    """What is damaged raises ValueError, and is no body."""
    coded = bytearray(compress(TEXT))
    coded[2:40] = b"\xff" * 38

    with pytest.raises(ValueError, match=r"."):
        undone(encoding, [bytes(coded)])
    assert decoded(bytes(coded), encoding, 1 << 20) is None


@pytest.mark.parametrize("encoding", [None, b"", b"identity", b"compress", b"gzip, br", b"dcz"])
def test_knows_one_coding_at_a_time(encoding: bytes | None) -> None:
    """What is no coding that is known has no decoder."""
    assert decoder(encoding) is None
    assert decoded(b"x", encoding or b"", 10) is None


@pytest.mark.parametrize(("encoding", "compress"), CODINGS)
def test_bounds_its_memory(encoding: bytes, compress: Callable[[bytes], bytes]) -> None:
    """A small body that says a hundred megabytes is told piece by piece."""
    bomb = compress(bytes(100 << 20))
    undo = decoder(encoding)
    assert undo is not None
    tracemalloc.start()
    try:
        size = sum(len(plain) for plain in undo.feed(bomb))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 100 << 20 == size
    assert most < 24 << 20


@given(data=st.binary(max_size=200), encoding=st.sampled_from([b"gzip", b"deflate", b"br", b"zstd"]))
def test_takes_anything(data: bytes, encoding: bytes) -> None:
    """Whatever the bytes are, a body comes out of them or none does."""
    assert isinstance(decoded(data, encoding, 1 << 20), bytes | None)


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [(None, False), (b"", False), (b" Identity ", False), (b"gzip", True), (b"compress", True)],
)
def test_tells_what_is_coded(encoding: bytes | None, expected: bool) -> None:
    """No coding, an empty one and `identity` leave a body as it is; every other name does not."""
    assert expected == is_coded(encoding)
