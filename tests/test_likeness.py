"""Events that are like the last one but for their text: recognised, and only those."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.dialect import Facts, Request
from meter.dialects.chat import ChatCompletions
from meter.likeness import likeness
from meter.tap import Tap

if TYPE_CHECKING:
    from collections.abc import Sequence

RAW = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"hi"}}],"usage":null}\n\n'
CUT = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'
LIKE = likeness(RAW, "hi", CUT)
ENDED = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"%b"}}],"usage":null}\n\n'


def test_recognises_another_text() -> None:
    """An event that differs in its text alone is recognised, and goes out as the first one did."""
    assert LIKE is not None
    piece = ENDED % "wörld 你好".encode()

    assert (["wörld 你好"], len(piece)) == LIKE.texts(piece)
    assert CUT.replace(b"hi", "wörld 你好".encode()) == LIKE.out(piece)


@pytest.mark.parametrize(
    "piece",
    [
        b"",
        ENDED % b"",
        ENDED % b'a"b',
        ENDED % b"a\\n",
        ENDED % b"a\nb",
        ENDED % b"\xff",
        ENDED % b"\xed\xa0\x80",
        (ENDED % b"a")[:-1],
        b" " + ENDED % b"a",
        (ENDED % b"a").replace(b'"x"', b'"y"'),
        (ENDED % b"a").replace(b"null", b"{}"),
        RAW[:50],
    ],
)
def test_leaves_all_else_alone(piece: bytes) -> None:
    """What has an escape, no text, half an event, or anything else that is new is not recognised."""
    assert LIKE is not None
    assert ([], 0) == LIKE.texts(piece)


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b"d",
        ENDED % b"",
        ENDED[:30],
        ENDED[:58] + b"hal",
        b": ping\n\n",
        ENDED % b"a\\n",
        ENDED % b"\xff",
    ],
)
def test_recognises_several(rest: bytes) -> None:
    """Of several events in one piece those are recognised that come before anything else."""
    assert LIKE is not None
    events = ENDED % b"a" + ENDED % b"b c"

    assert (["a", "b c"], len(events)) == LIKE.texts(events + rest)
    assert (["b c"], len(events)) == LIKE.texts(events + rest, len(ENDED % b"a"))
    assert CUT.replace(b"hi", b"a") + CUT.replace(b"hi", b"b c") == LIKE.out(events)


def test_looks_at_few_together() -> None:
    """What stands far behind is looked at once its turn has come, for what is unlike may come before it."""
    assert LIKE is not None
    events = [ENDED % b"%d" % number for number in range(20)]
    piece = b"".join(events)

    assert (list("01234567"), len(b"".join(events[:8]))) == LIKE.texts(piece)
    assert (["19"], len(piece)) == LIKE.texts(piece, len(b"".join(events[:19])))


@pytest.mark.parametrize(
    ("raw", "text", "out"),
    [
        (RAW, "x y", RAW),
        (RAW.replace(b'"x"', b'"hi"'), "hi", RAW),
        (RAW.replace(b'"x"', b'"\\u0078"'), "hi", RAW),
        (RAW[:-1], "hi", RAW[:-1]),
        (RAW[:-1] + b"\r", "hi", RAW),
        (RAW, "hi", RAW[4:]),
        (RAW.replace(b"hi", b"a\\tb"), "a\tb", RAW),
    ],
    ids=["not there", "twice", "escapes", "no end", "half an end", "cut before", "escaped"],
)
def test_learns_nothing_doubtful(raw: bytes, text: str, out: bytes) -> None:
    """Nothing is learned from an event in which the text's place is in doubt."""
    assert None is likeness(raw, text, out)


def test_keeps_the_piece() -> None:
    """Where nothing is taken out, the very piece goes out."""
    like = likeness(RAW, "hi", RAW)
    piece = ENDED % b"you"

    assert like is not None
    assert piece is like.out(piece)
    assert (RAW[: RAW.index(b"hi")], like.after) == (like.before, like.goes)


@pytest.mark.parametrize(
    ("said", "found"),
    [(b"you", b"you"), ("ö".encode(), None), (b'y"u', None), (b"y\\u", None), (b"y\nu", None), (b"", None)],
)
def test_one_event_in_ascii(said: bytes, found: bytes | None) -> None:
    """A piece that is one event like the last tells its text as it stands there, if that is plain ASCII."""
    like = likeness(RAW, "hi", RAW)

    assert like is not None
    assert found == like.said(ENDED % said)
    assert None is like.said(ENDED % said + b"\n")
    assert None is like.said((ENDED % said)[:-1])


# --- in a tap ---

TEXTS = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    ["a", "hi", "stop", '"', "\\", "x"]
)


def event(text: str, **members: Any) -> bytes:
    """Return an event with a text."""
    delta = {members.pop("member", "content"): text}
    choice = {"index": 0, "delta": delta, "finish_reason": members.pop("finish", None)}
    told = {"id": "x", "model": "m", "choices": [choice], **members}
    return b"data: " + json.dumps(told, ensure_ascii=members.pop("ascii", False)).encode() + b"\n\n"


EVENTS = st.one_of(
    st.builds(event, TEXTS, usage=st.none()),
    st.builds(event, TEXTS),
    st.builds(event, TEXTS, member=st.sampled_from(["content", "reasoning_content", "refusal"])),
    st.builds(event, TEXTS, usage=st.none(), finish=st.sampled_from([None, "stop"])),
    st.builds(event, TEXTS, model=st.sampled_from(["m", "n"]), usage=st.none()),
    st.just(b'data: {"id":"x","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'),
    st.just(b'data: {"id":"x","choices":[{"index":0,"delta":{}}],"usage":{"prompt_tokens":3}}\n\n'),
    st.sampled_from(
        [b": ping\n\n", b"\n", b"data: [DONE]\n\n", b'data: {"error":{"code":"e"}}\n\n', b"\r\n\r\n"]
    ),
    st.builds(event, TEXTS).map(lambda raw: raw.replace(b"\n\n", b"\r\n\r\n")),
    st.builds(event, TEXTS).map(lambda raw: raw.replace(b"\n\n", b"\r\r")),
)


def heard(pieces: Sequence[bytes], *, asked: bool, likely: int) -> tuple[list[bytes], Facts, tuple[Any, ...]]:
    """Return what goes out for each piece and what is learned, looking for likenesses or not."""
    tap = Tap(ChatCompletions(), request=Request(model="m", stream=True), asked=asked)
    tap._likely = likely
    tap.answer(200, b"text/event-stream", None)
    out = []
    for number, piece in enumerate(pieces):
        if tap.hiding:
            out.append(tap.edit(piece, float(number)))
        else:
            tap.watch(piece, float(number))
    out.append(tap.end(99.0))
    tap.facts.spoken = None
    times = (tap.first_content, tap.last_content, tap.content_events, tap.stall, tap.reasoning_streamed)
    return out, tap.facts, times


@given(
    st.lists(EVENTS.flatmap(lambda raw: st.lists(st.just(raw) | EVENTS, min_size=1, max_size=3)), max_size=8),
    st.booleans(),
    st.sampled_from([0, 1, 7, 60, 200, 500, 3000]),
)
def test_makes_no_difference(runs: list[list[bytes]], asked: bool, size: int) -> None:
    """A tap that looks for likenesses passes on the same bytes, piece by piece, and learns the same."""
    pieces = [raw for run in runs for raw in run]
    if size:
        whole = b"".join(pieces)
        pieces = [whole[at : at + size] for at in range(0, len(whole), size)]

    assert heard(pieces, asked=asked, likely=0) == heard(pieces, asked=asked, likely=1000)
