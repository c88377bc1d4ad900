"""Moderations: requests and single answers; whole exchanges are among the recorded cases."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from play import read_request

from meter.dialect import Facts, Request
from meter.dialects.moderations import Moderations
from meter.exchange import Outcome, UsageSource
from meter.tap import Tap

MODERATIONS = Moderations()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"omni-moderation-latest","input":"a"}', Request(model="omni-moderation-latest")),
        (b'{"input":"a"}', Request()),
        (b'{"input":', Request()),
    ],
)
def test_reads_requests(body: bytes, expected: Request) -> None:
    """Of a request the model is read; nothing of it is estimated."""
    assert expected == read_request(MODERATIONS, body)


@pytest.mark.parametrize("cause", [None, Outcome.CLIENT_CLOSED, Outcome.TRUNCATED])
def test_lacks_nothing(cause: Outcome | None) -> None:
    """A moderation that tells no usage, or is broken off, has nothing to count."""
    tap = Tap(MODERATIONS, request=Request(model="omni-moderation-latest"))
    tap.answer(200, b"application/json", None)
    tap.watch(b'{"id":"modr-1","results":[]}', 0.0)
    tap.end(1.0)

    assert UsageSource.NONE == tap.counted(tap.outcome(cause), sent=True).source


def test_reads_an_event_as_an_answer() -> None:
    """Should moderations ever stream, what an event says is read, and is no content."""
    facts = Facts()

    assert 0 == MODERATIONS.read_event(b"", b'{"id":"a","usage":{"total_tokens":3}}', facts)
    assert ("a", {"input": 3}, True) == (facts.response_id, facts.usage, facts.final_usage)


WORDS = (
    "id",
    "model",
    "results",
    "usage",
    "error",
    "type",
    "code",
    "object",
    "total_tokens",
    "prompt_tokens",
)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200)
@given(told=st.dictionaries(st.sampled_from(WORDS), ANY))
def test_reads_any_types(told: dict[str, Any]) -> None:
    """Whatever types an answer's members have, reading it raises nothing."""
    data = json.dumps(told).encode()
    MODERATIONS.read_event(b"error", data, Facts())
    MODERATIONS.read_answer(data, Facts())
    read_request(MODERATIONS, data)
