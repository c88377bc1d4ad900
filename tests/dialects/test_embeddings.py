"""Embeddings: requests, single answers and megabytes; whole exchanges are among the recorded cases."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from play import read_request

from meter.dialect import Facts, Request
from meter.dialects.embeddings import Embeddings
from meter.exchange import Outcome, UsageSource
from meter.tap import Tap

EMBEDDINGS = Embeddings()
MODEL = "text-embedding-3-large"


def answer(body: bytes) -> Facts:
    """Return the facts of a whole answer."""
    facts = Facts()
    EMBEDDINGS.read_answer(body, facts)
    return facts


@pytest.mark.parametrize(
    ("body", "model", "stream"),
    [
        (b'{"model":"text-embedding-3-small","input":"a"}', "text-embedding-3-small", False),
        (b'{"model":"a","input":"a","stream":true}', "a", True),
        (b'{"input":"a"}', None, False),
        (b'{"model":5,"input":"a","x":NaN}', None, False),
        (b"not json", None, False),
        (b"", None, False),
    ],
)
def test_reads_requests(body: bytes, model: str | None, stream: bool) -> None:
    """Of a request the model is read, and usage is never asked for."""
    request = read_request(EMBEDDINGS, body)

    assert (model, stream, None) == (request.model, request.stream, request.asking)


@pytest.mark.parametrize(
    ("texts", "least", "most"),
    [("The ferry sails at eight.", 4, 9), (["The ferry sails at eight."] * 10, 40, 90)],
)
def test_estimates_the_prompt(texts: Any, least: float, most: float) -> None:
    """The prompt is estimated from what is to be embedded."""
    tokens = read_request(EMBEDDINGS, json.dumps({"model": MODEL, "input": texts}).encode()).prompt_tokens

    assert tokens is not None
    assert least < tokens < most


def test_estimates_nothing_from_nothing() -> None:
    """A request without an input has no estimate."""
    assert read_request(EMBEDDINGS, b'{"model":"a"}').prompt_tokens is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"data":[{"embedding":[0.1]}]}', 0.0),
        (b'{"data":[]}', None),
        (b'{"usage":{"prompt_tokens":1}}', None),
        (b'{"data":[1],"error":{"code":"server_error"}}', None),
        (b'{"data":[1],"base_resp":{"status_code":1002}}', None),
        (b'{"data":[1],"base_resp":{"status_code":0}}', 0.0),
        (b'["data"]', None),
        (b"", None),
    ],
)
def test_knows_a_good_answer(body: bytes, said: float | None) -> None:
    """An answer with data was given, for what came in; one that failed was not."""
    assert said == answer(body).said


def test_takes_the_upstreams_word_on_cost() -> None:
    """What the upstream says it cost is kept to the last digit."""
    told = b'{"data":[1],"usage":{"prompt_tokens":8,"total_tokens":8,"cost":0.0000001}}'

    assert Decimal("1E-7") == answer(told).provider_cost_usd


def test_reads_an_event_as_an_answer() -> None:
    """Should embeddings ever stream, what an event says is read, and is no content."""
    facts = Facts()

    assert 0 == EMBEDDINGS.read_event(b"", b'{"model":"a","usage":{"total_tokens":3}}', facts)
    assert ("a", {"input": 3}) == (facts.response_model, facts.usage)


@pytest.mark.parametrize("whole", [True, False])
def test_estimates_what_was_not_told(whole: bool) -> None:
    """Where nobody told usage, or the answer broke off, the prompt is all there is to estimate."""
    tap = Tap(EMBEDDINGS, request=Request(prompt_tokens=6.2))
    tap.answer(200, b"application/json", None)
    tap.watch(b'{"object":"list","data":[{"embedding":[0.1]}]' + b"}" * whole, 0.0)
    tap.end(1.0)

    counted = tap.counted(tap.outcome(None if whole else Outcome.TRUNCATED), sent=True)

    assert (UsageSource.ESTIMATED, {"input": 7}, {}) == counted


def long_answer(encoding: str) -> bytes:
    """Return an answer of some 3 MB whose model and usage come last."""
    each = 2048
    if encoding == "base64":
        vectors: list[Any] = [base64.b64encode(bytes(range(256)) * 32).decode() for _ in range(270)]
    else:
        vectors = [[(-1) ** i * i / 90_001 for i in range(1, each)] for _ in range(64)]
    data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    told = {
        "object": "list",
        "data": data,
        "model": MODEL,
        "usage": {"prompt_tokens": 4321, "total_tokens": 4321},
    }
    return json.dumps(told).encode()


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_reads_the_end_of_megabytes(encoding: str) -> None:
    """Of 3 MB of vectors that come in pieces of 64 KB, the model and the usage behind them are read."""
    body = long_answer(encoding)
    tap = Tap(EMBEDDINGS, request=Request(model=MODEL))
    tap.answer(200, b"application/json", None)
    for at in range(0, len(body), 1 << 16):
        tap.watch(body[at : at + (1 << 16)], 0.0)
    tap.end(1.0)

    assert 2_800_000 < len(body) < 3_300_000
    assert (MODEL, 0.0, 0) == (tap.facts.response_model, tap.facts.said, tap.failures)
    assert (UsageSource.REPORTED, {"input": 4321}, {}) == tap.counted(tap.outcome(None), sent=True)


WORDS = (
    "id",
    "model",
    "data",
    "usage",
    "error",
    "type",
    "code",
    "object",
    "base_resp",
    "status_code",
    "cost",
)
COUNTS = ("prompt_tokens", "total_tokens", "completion_tokens", "prompt_tokens_details", "cached_tokens")
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(WORDS + COUNTS), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=200)
@given(told=st.dictionaries(st.sampled_from(WORDS), ANY))
def test_reads_any_types(told: dict[str, Any]) -> None:
    """Whatever types an answer's members have, reading it raises nothing."""
    data = json.dumps(told).encode()
    EMBEDDINGS.read_event(b"error", data, Facts())
    EMBEDDINGS.read_answer(data, Facts())
    read_request(EMBEDDINGS, data)
