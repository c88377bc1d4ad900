"""Frames as the `websockets` library makes them, cut anywhere, are read as the messages that they carry."""

from __future__ import annotations

import zlib
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from meter.websocket import Frames, Message, deflates

LONG = 1 << 20
TEXT, BINARY, MORE = Opcode.TEXT, Opcode.BINARY, Opcode.CONT
PING, PONG, CLOSE = Opcode.PING, Opcode.PONG, Opcode.CLOSE


def deflating(*, takeover: bool = True, **options: Any) -> list[PerMessageDeflate]:
    """Return the extension of a side that deflates what it sends."""
    return [
        PerMessageDeflate(
            remote_no_context_takeover=not takeover,
            local_no_context_takeover=not takeover,
            remote_max_window_bits=15,
            local_max_window_bits=15,
            compress_settings=options or None,
        )
    ]


def frame(opcode: Opcode, data: bytes, *, fin: bool = True, mask: bool = False, using: Any = None) -> bytes:
    """Return the bytes of a frame."""
    return Frame(opcode, data, fin).serialize(mask=mask, extensions=using)


def conversation(*, mask: bool, using: Any = None) -> bytes:
    """Return one direction of a WebSocket: messages of every kind, and control frames among them."""
    return b"".join(
        frame(opcode, data, fin=fin, mask=mask, using=using)
        for opcode, data, fin in (
            (TEXT, b"one", True),
            (BINARY, b"\x00" * 300, True),
            (PING, b"are you there", True),
            (TEXT, b"", True),
            (TEXT, b"two and ", False),
            (PONG, b"", True),
            (MORE, b"a " * 100, False),
            (MORE, b"", False),
            (MORE, "hälf".encode(), True),
            (BINARY, b"x" * 70_000, False),
            (MORE, b"y", True),
            (TEXT, b"three" * 20_000, True),
            (CLOSE, b"\x03\xe8bye", True),
        )
    ) + frame(TEXT, b"after the end", mask=mask)


MESSAGES = [b"one", b"", b"two and " + b"a " * 100 + "hälf".encode(), b"three" * 20_000]


def read(frames: Frames, data: bytes, size: int) -> list[bytes]:
    """Return the texts that are read of data in pieces of a size."""
    return [m.text for at in range(0, len(data), size) for m in frames.feed(data[at : at + size])]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 125, 4096, 1 << 20])
@pytest.mark.parametrize("mask", [False, True], ids=["plain", "masked"])
@pytest.mark.parametrize("deflate", [False, True], ids=["", "deflated"])
def test_reads_messages_at_any_cut(*, mask: bool, deflate: bool, size: int) -> None:
    """Text messages are read whole in pieces of any size; what else there is is skipped."""
    using = deflating() if deflate else None
    frames = Frames(masked=mask, limit=LONG, deflate=deflate)

    assert MESSAGES == read(frames, conversation(mask=mask, using=using), size)
    assert (True, False) == (frames.closed, frames.broken)


@pytest.mark.parametrize("at", range(80))
def test_reads_a_head_cut_anywhere(at: int) -> None:
    """Two frames with heads of every length are read at every place where they may be cut."""
    data = frame(TEXT, b"short", mask=True) + frame(TEXT, b"x" * 300, mask=True)[:400]
    frames = Frames(masked=True, limit=LONG)

    assert [b"short", b"x" * 300] == [m.text for part in (data[:at], data[at:]) for m in frames.feed(part)]


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 6000), max_size=12),
    texts=st.lists(st.tuples(st.binary(max_size=900), st.booleans()), max_size=6),
    mask=st.booleans(),
    deflate=st.booleans(),
    takeover=st.booleans(),
)
def test_reads_what_was_written(
    *, cuts: list[int], texts: list[tuple[bytes, bool]], mask: bool, deflate: bool, takeover: bool
) -> None:
    """Whatever is written, and however it is cut, is read again."""
    using = deflating(takeover=takeover) if deflate else None
    data = b"".join(
        frame(TEXT if is_text else BINARY, body, mask=mask, using=using) for body, is_text in texts
    )
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    frames = Frames(masked=mask, limit=LONG, deflate=deflate)

    got = [m for a, b in pairwise(edges) for m in frames.feed(data[a:b])]

    assert [Message(body, whole=True) for body, is_text in texts if is_text] == got
    assert not frames.broken


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=400), mask=st.booleans(), deflate=st.booleans())
def test_reads_anything(*, data: bytes, mask: bool, deflate: bool) -> None:
    """Bytes that are no frames raise nothing, whole or one by one, and say the same."""
    whole = Frames(masked=mask, limit=100, deflate=deflate)
    parts = Frames(masked=mask, limit=100, deflate=deflate)

    assert [m.text for m in whole.feed(data)] == read(parts, data, 1)
    assert (whole.broken, whole.closed) == (parts.broken, parts.closed)


class TestTooLong:
    """Of a message that is longer than is held, what matters is kept."""

    @pytest.mark.parametrize("size", [1, 5, 1000])
    @pytest.mark.parametrize("deflate", [False, True], ids=["", "deflated"])
    def test_cuts_off(self, *, deflate: bool, size: int) -> None:
        """Where beginnings are enough, the beginning is given, and the next message is read as ever."""
        using = deflating() if deflate else None
        data = b"".join(
            (
                frame(TEXT, b"0123456", fin=False, mask=True, using=using),
                frame(MORE, b"789" * 500, fin=False, mask=True, using=using),
                frame(MORE, b"!", mask=True, using=using),
                frame(TEXT, b"0123456789", mask=True, using=using),
                frame(TEXT, b"next", mask=True, using=using),
            )
        )
        frames = Frames(masked=True, limit=10, deflate=deflate, beginnings=True)

        got = [m for at in range(0, len(data), size) for m in frames.feed(data[at : at + size])]

        assert [(b"0123456789", False), (b"0123456789", True), (b"next", True)] == got

    @pytest.mark.parametrize("size", [11, 1000, 10_000_000])
    def test_abridges(self, size: int) -> None:
        """Elsewhere the message is given without its long strings."""
        bulk = b"A" * 300_000
        data = frame(TEXT, b'{"type":"x","b64":"' + bulk + b'","usage":{"n":1}}') + frame(TEXT, b"next")
        frames = Frames(masked=False, limit=1000)

        got = [m for at in range(0, len(data), size) for m in frames.feed(data[at : at + size])]

        assert [(b'{"type":"x","b64":"","usage":{"n":1}}', False), (b"next", True)] == got

    def test_leaves_out_what_cannot_be_abridged(self) -> None:
        """A message that is all shape is not given, and the next is."""
        frames = Frames(masked=False, limit=1000)

        assert [(b"next", True)] == frames.feed(frame(TEXT, b"[" * 200_000) + frame(TEXT, b"next"))


class TestDeflate:
    """Deflated messages are read from a copy, within bounds."""

    @pytest.mark.parametrize("takeover", [True, False])
    def test_skips_deflated_sound(self, *, takeover: bool) -> None:
        """A message may refer to a binary one before it, which is not given."""
        using = deflating(takeover=takeover)
        words = b"some words that are said again and again"
        data = frame(BINARY, words, using=using) + frame(TEXT, words, using=using)

        assert [(words, True)] == Frames(masked=False, limit=LONG, deflate=True).feed(data)

    def test_reads_the_ones_that_are_not(self) -> None:
        """Where deflating was agreed on, messages may be sent plain all the same."""
        using = deflating()
        data = frame(TEXT, b"a", using=using) + frame(TEXT, b"b") + frame(TEXT, b"a", using=using)

        assert [b"a", b"b", b"a"] == read(Frames(masked=False, limit=LONG, deflate=True), data, 1)

    @pytest.mark.parametrize("padding", [b"", b"\x00"], ids=["bare", "padded"])
    def test_reads_on_behind_a_last_block(self, padding: bytes) -> None:
        """A message may end with a deflate block that says it is the last."""
        pack = zlib.compressobj(wbits=-15)
        packed = pack.compress(b"done") + pack.flush() + padding
        data = bytes((0xC1, len(packed))) + packed
        frames = Frames(masked=False, limit=LONG, deflate=True)

        assert [b"done", b"done"] == read(frames, data + data, 3)

    def test_stops_at_a_bomb(self) -> None:
        """Bytes that inflate beyond measure end the reading; what came before them has been read."""
        using = deflating(level=9)
        bomb = frame(TEXT, b"\x00" * (40 << 20), using=using)
        frames = Frames(masked=False, limit=LONG, deflate=True)

        assert [(b"a", True)] == frames.feed(frame(TEXT, b"a") + bomb)
        assert frames.broken
        assert [] == frames.feed(frame(TEXT, b"b"))

    def test_reads_silence(self) -> None:
        """Sound of silence deflates well, and is no bomb for coming in many messages."""
        using = deflating()
        silence = b'{"type":"response.output_audio.delta","delta":"' + b"A" * 32_000 + b'"}'
        frames = Frames(masked=False, limit=LONG, deflate=True)

        assert [silence] * 600 == [
            m.text for _ in range(600) for m in frames.feed(frame(TEXT, silence, using=using))
        ]

    def test_stops_at_damage(self) -> None:
        """What cannot be inflated ends the reading."""
        frames = Frames(masked=False, limit=LONG, deflate=True)

        assert [] == frames.feed(b"\xc1\x03\xff\xff\xff")
        assert frames.broken


@pytest.mark.parametrize(
    ("data", "masked"),
    [
        (frame(TEXT, b"a"), True),
        (frame(TEXT, b"a", mask=True), False),
        (b"\xc1\x01a", False),
        (b"\x91\x01a", False),
        (b"\xa1\x01a", False),
        (b"\x83\x01a", False),
        (b"\x8b\x01a", False),
        (b"\x80\x01a", False),
        (b"\x01\x01a\x81\x01b", False),
        (b"\x01\x01a\xc0\x01b", False),
        (b"\x09\x01a", False),
        (b"\x89\x7e\x00\x7e" + b"a" * 126, False),
        (b"\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00", False),
    ],
    ids=[
        "unmasked",
        "masked",
        "deflated",
        "second reserved bit",
        "third reserved bit",
        "unknown opcode",
        "unknown control",
        "nothing to go on with",
        "begun twice",
        "deflated in the middle",
        "half a ping",
        "long ping",
        "negative length",
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_stops_at_what_is_no_frame(data: bytes, size: int, *, masked: bool) -> None:
    """What no WebSocket says ends the reading for good, but not what was read before."""
    frames = Frames(masked=masked, limit=LONG)
    before = frame(TEXT, b"before", mask=masked)

    assert [b"before"] == read(frames, before + data + before, size)
    assert frames.broken


@pytest.mark.parametrize(
    ("extensions", "expected"),
    [
        (None, False),
        (b"", False),
        (b"permessage-deflate", True),
        (b" Permessage-Deflate ; server_no_context_takeover", True),
        (b"x-webkit-deflate-frame", False),
    ],
)
def test_knows_deflate(extensions: bytes | None, *, expected: bool) -> None:
    """Whether messages may be deflated is told by the extension that an answer names."""
    assert expected == deflates(extensions)
