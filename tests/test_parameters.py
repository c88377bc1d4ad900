"""What requests ask for, as each format says it, and what is no answer to that."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meter import inquiry, semconv
from meter.parameters import parameters

SHORT = {
    "choice.count": "n",
    "openai.request.service_tier": "tier",
    "reasoning.level": "level",
    "previous_response.id": "previous",
}


def read(body: bytes) -> dict[str, Any]:
    """Read a request's parameters."""
    reading = inquiry.read(body)
    while True:
        try:
            next(reading)
        except StopIteration as end:
            return dict(parameters(end.value))


def asked(body: bytes) -> dict[str, Any]:
    """Read a request's parameters, by names without what they all begin with."""
    found = read(body)
    short = {name.removeprefix("gen_ai.request."): value for name, value in found.items()}
    return {SHORT.get(name, name): value for name, value in short.items()}


COMMON = {"temperature": 0.5, "top_p": 0.9, "seed": 7, "stream": True}
PENALTIES = {"frequency_penalty": 0.1, "presence_penalty": -0.2}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param(
            {
                **COMMON,
                **PENALTIES,
                "max_completion_tokens": 100,
                "n": 2,
                "reasoning_effort": "high",
                "service_tier": "flex",
            },
            {**COMMON, **PENALTIES, "max_tokens": 100, "n": 2, "level": "high", "tier": "flex"},
            id="chat",
        ),
        pytest.param({"max_tokens": 16, "top_k": 40}, {"max_tokens": 16, "top_k": 40.0}, id="chat-vllm"),
        pytest.param(
            {
                "max_output_tokens": 64,
                "reasoning": {"effort": "low"},
                "previous_response_id": "resp_67ca09c5efe0819096d0511c92b8c890096610f474011cc0",
                "text": {"format": {"type": "text"}},
            },
            {
                "max_tokens": 64,
                "level": "low",
                "previous": "resp_67ca09c5efe0819096d0511c92b8c890096610f474011cc0",
            },
            id="responses",
        ),
        pytest.param(
            {
                "max_tokens": 1024,
                "top_k": 5,
                "output_config": {"effort": "max"},
                "service_tier": "standard_only",
            },
            {"max_tokens": 1024, "top_k": 5.0, "level": "max", "tier": "standard_only"},
            id="messages",
        ),
        pytest.param(
            {
                "generationConfig": {
                    "maxOutputTokens": 8,
                    "temperature": 1,
                    "topP": 0.5,
                    "topK": 3,
                    "candidateCount": 2,
                    "seed": 1,
                    "frequencyPenalty": 0.1,
                    "presencePenalty": 0.2,
                    "thinkingConfig": {"thinkingLevel": "HIGH"},
                }
            },
            {
                "max_tokens": 8,
                "temperature": 1.0,
                "top_p": 0.5,
                "top_k": 3.0,
                "n": 2,
                "seed": 1,
                "frequency_penalty": 0.1,
                "presence_penalty": 0.2,
                "level": "high",
            },
            id="gemini",
        ),
        pytest.param(
            {"generation_config": {"max_output_tokens": 8, "candidate_count": 3, "top_p": 0.5}},
            {"max_tokens": 8, "n": 3, "top_p": 0.5},
            id="gemini-snake",
        ),
        pytest.param(
            {
                "stream": False,
                "think": "low",
                "options": {"num_predict": 9, "temperature": 0, "top_k": 4, "seed": 2},
            },
            {"stream": False, "level": "low", "max_tokens": 9, "temperature": 0.0, "top_k": 4.0, "seed": 2},
            id="ollama",
        ),
        pytest.param(
            {"max_tokens": 5, "p": 0.7, "k": 9, "seed": 3},
            {"max_tokens": 5, "top_p": 0.7, "top_k": 9.0, "seed": 3},
            id="cohere",
        ),
        pytest.param({"input": "x", "dimensions": 256, "encoding_format": "float"}, {}, id="embeddings"),
        pytest.param(
            {"prompt": "x", "n": 4, "size": "1024x1024", "response_format": "url"}, {"n": 4}, id="images"
        ),
        pytest.param(
            {"input": "x", "voice": "alloy", "speed": 1.5, "response_format": "mp3"}, {}, id="speech"
        ),
    ],
)
def test_formats(request_: dict[str, Any], expected: dict[str, Any]) -> None:
    """Each format's members are found where that format has them, as the types that the conventions want."""
    found = asked(json.dumps({"model": "m", **request_}).encode())

    assert expected == found
    assert {name: type(value) for name, value in expected.items()} == {n: type(v) for n, v in found.items()}


def test_counts_of_old_give_way() -> None:
    """Where a request has two names of its limit, the newer one counts, if it is a count."""
    assert {"max_tokens": 2} == asked(b'{"max_tokens":1,"max_completion_tokens":2}')
    assert {"max_tokens": 1} == asked(b'{"max_tokens":1,"max_completion_tokens":null}')


@pytest.mark.parametrize(
    "name", ["max_tokens", "temperature", "n", "seed", "stream", "top_k", "service_tier"]
)
@pytest.mark.parametrize(
    "value", ["null", "[]", "{}", '"1"', '"a b"', '""', "NaN", "Infinity", "1e999", "9" * 400]
)
def test_odd_values(name: str, value: str) -> None:
    """What is no sane value of its kind is left out, and costs the others nothing."""
    assert {"top_p": 0.5} == asked(f'{{"{name}":{value},"top_p":0.5}}'.encode())


@pytest.mark.parametrize(
    "text",
    [
        b'{"max_tokens":true,"seed":true,"n":true,"temperature":false}',
        b'{"max_tokens":1.5,"seed":0.5,"n":2.5}',
        b'{"max_tokens":-1,"n":-1,"options":{"num_predict":-2}}',
        b'{"stream":1,"reasoning_effort":1,"think":true,"previous_response_id":1}',
        b'{"maxOutputTokens":5,"num_predict":5,"effort":"high"}',
        b'{"options":[1],"reasoning":"high","generationConfig":{"thinkingConfig":[]}}',
        b"[]",
        b"",
        b"{",
    ],
)
def test_other_types(text: bytes) -> None:
    """A switch is no number, a part of one no count, and members count only where their format has them."""
    assert {} == asked(text)


@pytest.mark.parametrize(
    "word",
    [
        "tell me",
        "sk-proj-abcdef",
        "sk_live_4242",
        "AKIAIOSFODNN7EXAMPLE",
        "x" * 25,
        "\u65e5\u672c",
        "a\\n",
        "Ignore-all",
    ],
)
def test_no_text_slips_in(word: str) -> None:
    """What holds more than a word of a few letters, or an id of a known form, is never told."""
    body = f'{{"service_tier":"{word}","reasoning_effort":"{word}","previous_response_id":"{word}"}}'

    assert {} == asked(body.encode())


def test_a_long_member_is_not_read() -> None:
    """A member that is far longer than any parameter is not decoded."""
    assert {} == asked(b'{"options":{"seed":1,"x":[' + b"1," * 10_000 + b"1]}}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["effort", "seed", "topK", "thinkingConfig", "x"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
NAMES = [
    "stream",
    "max_tokens",
    "temperature",
    "k",
    "n",
    "seed",
    "service_tier",
    "think",
    "options",
    "reasoning",
]
ATTRIBUTES = {value for name, value in vars(semconv).items() if name.startswith("REQUEST_")}


@given(st.dictionaries(st.sampled_from([*NAMES, "generationConfig", "output_config"]), JSON, max_size=5))
@settings(max_examples=200, deadline=None)
def test_any_json(told: dict[str, Any]) -> None:
    """Whatever a request says, what is made of it are known names and plain values."""
    found = read(json.dumps(told).encode())

    assert set(found) <= ATTRIBUTES
    assert all(isinstance(value, bool | int | float | str) for value in found.values())
    assert all(abs(value) < 2**53 for value in found.values() if not isinstance(value, str))
