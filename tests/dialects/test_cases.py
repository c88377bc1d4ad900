"""Recorded exchanges of every dialect: what is read of them, and that nothing asking caused is passed on."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

import brotli  # type: ignore[import-untyped]  # it has no types of its own
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from play import CASES, cut, expected, learned, load, names, play

from meter.exchange import INPUT_KINDS, OUTPUT_KINDS, UNITS

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = names()
HIDDEN = [name for name in NAMES if (CASES / name / "hidden.sse").exists()]

PLACES = st.lists(st.integers(0, 1 << 20), max_size=12)


@pytest.mark.parametrize("name", NAMES)
class TestExchanges:
    """Recorded exchanges, however their bytes come."""

    @pytest.mark.parametrize("size", [1, 2, 7, 1 << 20])
    def test_plays(self, name: str, size: int) -> None:
        """Facts and bytes are the expected ones whole, byte by byte and in short pieces."""
        case = load(name)
        tap = case.tap()

        came = play(tap, (case.answer[i : i + size] for i in range(0, len(case.answer), size)))

        assert (case.answer if case.hidden is None else case.hidden) == came
        assert expected(case) == learned(tap)

    @settings(max_examples=12)
    @given(places=PLACES)
    def test_plays_at_any_cuts(self, name: str, places: list[int]) -> None:
        """Facts and bytes do not depend on where the answer was cut."""
        case = load(name)
        tap = case.tap()

        came = play(tap, cut(case.answer, places))

        assert (case.answer if case.hidden is None else case.hidden) == came
        assert expected(case) == learned(tap)

    @settings(max_examples=12)
    @given(end=st.integers(0, 1 << 20), places=PLACES)
    def test_breaks_off_anywhere(self, name: str, end: int, places: list[int]) -> None:
        """Of an answer that breaks off the client gets the same bytes at any cuts."""
        case = load(name)
        broken = case.answer[: end % (len(case.answer) + 1)]

        assert play(case.tap(), [broken]) == play(case.tap(), cut(broken, places))

    def test_partitions(self, name: str) -> None:
        """Every kind that is counted is one of the kinds."""
        told = expected(load(name))

        assert set(told["usage"] or {}) <= {*INPUT_KINDS, *OUTPUT_KINDS}
        assert set(told["units"]) <= set(UNITS)


def raw_deflate(data: bytes) -> bytes:
    """Return deflated data without a frame."""
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflate.compress(data) + deflate.flush()


CODINGS: list[tuple[bytes, Callable[[bytes], bytes]]] = [
    (b"gzip", gzip.compress),
    (b"deflate", zlib.compress),
    (b"deflate", raw_deflate),
    (b"br", brotli.compress),
    (b"zstd", zstandard.ZstdCompressor().compress),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("encoding", "compress"), CODINGS)
@settings(max_examples=3)
@given(places=PLACES)
def test_plays_compressed(
    name: str, encoding: bytes, compress: Callable[[bytes], bytes], places: list[int]
) -> None:
    """What is compressed is read from a copy; where something is hidden it is edited and not compressed."""
    case = load(name)
    coded = compress(case.answer)
    tap = case.tap(encoding)

    came = play(tap, cut(coded, places))

    assert (coded if case.hidden is None else case.hidden) == came
    assert expected(case) == learned(tap)
    assert tap.decodes == (case.hidden is not None)


@pytest.mark.parametrize("name", HIDDEN)
def test_hides_only_where_it_asks(name: str) -> None:
    """In every case that hides something the request is one that Meter asks with."""
    request = load(name).request

    assert request.stream
    assert request.asking is not None


# Not so where the stream ends without a terminator, an event has comments of its own or lines within its
# data, or a name is written with escapes: an end that says nothing yet goes out as it is.
_FAR_FETCHED = {
    "chat/done_missing",
    "chat/duplicate_members",
    "chat/escaped_names",
    "chat/llama_cpp_timings",
    "chat/other_fields_and_comments",
    "chat/several_data_lines",
    "chat/usage_broken_off",
    "chat/usage_without_a_blank_line",
}


@pytest.mark.parametrize("name", [name for name in HIDDEN if name not in _FAR_FETCHED])
def test_is_a_beginning_wherever_it_breaks_off(name: str) -> None:
    """A stream broken off at any byte reaches the client as a beginning of what it would have had."""
    case = load(name)
    hidden = case.hidden or b""

    came = [play(case.tap(), [case.answer[:end]]) for end in range(len(case.answer))]

    assert [] == [end for end, beginning in enumerate(came) if not hidden.startswith(beginning)]
