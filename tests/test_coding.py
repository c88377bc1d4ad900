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


def whole(body: bytes, encoding: bytes, limit: int) -> tuple[bytes, float] | None:
    """Return what a whole body says, without giving way."""
    decoding = decoded(body, encoding, limit)
    while True:
        try:
            next(decoding)
        except StopIteration as end:
            text: tuple[bytes, float] | None = end.value
            return text


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

    assert (TEXT, 0.0) == whole(coded, encoding, len(TEXT))
    assert whole(coded, encoding, len(TEXT) - 1) is None


@pytest.mark.parametrize(("encoding", "compress"), CODINGS)
def test_abridges_a_long_body(encoding: bytes, compress: Callable[[bytes], bytes]) -> None:
    """A long body is given way to often, stands in memory nowhere whole, and says what is short in it."""
    coded = compress(b'{"model":"m","input":"%b","n":1}' % (b"a long text " * (1 << 20)))
    tracemalloc.start()
    try:
        text = whole(coded, encoding, 64 << 20)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert text is not None
    assert b'{"model":"m","input":"","n":1}' == text[0]
    assert 3 << 20 == pytest.approx(text[1], rel=0.4)
    assert most < 8 << 20
    assert sum(1 for _ in decoded(coded, encoding, 64 << 20)) >= 12 * 8


def test_takes_few_members_at_once() -> None:
    """Thousands of empty gzip members in one piece are damage; one after the other they are not."""
    coded = gzip.compress(b"") * 3000
    undo = decoder(b"gzip")
    assert undo is not None

    assert [] == [plain for at in range(0, len(coded), 1000) for plain in undo.feed(coded[at : at + 1000])]
    with pytest.raises(ValueError, match="more than 1000 members in 60000 bytes"):
        list(undo.feed(coded))


@pytest.mark.parametrize("encoding", [b"gzip", b"zstd"])
def test_gives_way_where_nothing_is_said(encoding: bytes) -> None:
    """A body of empty frames is given way to as any other."""
    coded = dict(IN_FRAMES)[encoding](b"") * 20_000

    assert (b"", 0.0) == whole(coded, encoding, 1 << 20)
    assert sum(1 for _ in decoded(coded, encoding, 1 << 20)) >= len(coded) >> 14


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
    assert whole(bytes(coded), encoding, 1 << 20) is None


@pytest.mark.parametrize("encoding", [None, b"", b"identity", b"compress", b"gzip, br", b"dcz"])
def test_knows_one_coding_at_a_time(encoding: bytes | None) -> None:
    """What is no coding that is known has no decoder."""
    assert decoder(encoding) is None
    assert whole(b"x", encoding or b"", 10) is None


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
    assert most < 12 << 20


@given(data=st.binary(max_size=200), encoding=st.sampled_from([b"gzip", b"deflate", b"br", b"zstd"]))
def test_takes_anything(data: bytes, encoding: bytes) -> None:
    """Whatever the bytes are, a body comes out of them or none does."""
    assert isinstance(whole(data, encoding, 1 << 20), tuple | None)


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [(None, False), (b"", False), (b" Identity ", False), (b"gzip", True), (b"compress", True)],
)
def test_tells_what_is_coded(encoding: bytes | None, expected: bool) -> None:
    """No coding, an empty one and `identity` leave a body as it is; every other name does not."""
    assert expected == is_coded(encoding)
