"""Counts that come from outside become a partition, and what is no count stays out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meter.exchange import INPUT_KINDS, OUTPUT_KINDS
from meter.usage import count, from_openai


@pytest.mark.parametrize("value", [0, 1, 12.0, 10**12, 1e12, -0.0])
def test_counts(value: float) -> None:
    """A whole number of a size that can be is a count, however it is written."""
    assert value == count(value)
    assert isinstance(count(value), int)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        "12",
        b"1",
        [],
        {},
        -1,
        -0.5,
        0.5,
        1e13,
        10**40,
        float("nan"),
        float("inf"),
        -float("inf"),
    ],
)
def test_refuses(value: Any) -> None:
    """What is negative, not whole, not finite, absurd or no number at all is not counted."""
    assert count(value) is None


def told(prompt: Any = None, completion: Any = None, total: Any = None, **more: Any) -> dict[str, Any]:
    """Return a usage object without what is None."""
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}
    return {name: value for name, value in {**counts, **more}.items() if value is not None}


def prompt_details(**details: Any) -> dict[str, Any]:
    """Return prompt details."""
    return {"prompt_tokens_details": details}


def completion_details(**details: Any) -> dict[str, Any]:
    """Return completion details."""
    return {"completion_tokens_details": details}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({}, None),
        (told(total=5), None),
        (told(-1, True), None),
        (told(9, 12, 21), {"input": 9, "output": 12}),
        (told(0, 0, 0), {"input": 0, "output": 0}),
        (told(8, total=8), {"input": 8}),
        (told(completion=5, total=14), {"output": 5}),
        (told("x", 5, 14), {"output": 5}),
        ({"input_tokens": 9, "output_tokens": 12}, {"input": 9, "output": 12}),
    ],
)
def test_takes_totals(usage: dict[str, Any], expected: dict[str, int] | None) -> None:
    """What was told is there, zero included, and what was not told is not."""
    assert expected == from_openai(usage)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (prompt_details(cached_tokens=0), {"input": 100, "input_cached": 0}),
        (prompt_details(cached_tokens=64), {"input": 36, "input_cached": 64}),
        ({"prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36}, {"input": 36, "input_cached": 64}),
        ({"cached_tokens": 64}, {"input": 36, "input_cached": 64}),
        (
            {**prompt_details(cached_tokens=64), "prompt_cache_hit_tokens": 1},
            {"input": 36, "input_cached": 64},
        ),
        (prompt_details(cached_tokens=101), {"input": 0, "input_cached": 100}),
        (
            prompt_details(audio_tokens=30, image_tokens=20),
            {"input": 50, "input_audio": 30, "input_image": 20},
        ),
        (
            prompt_details(cached_tokens=60, audio_tokens=30, image_tokens=20),
            {
                "input": 0,
                "input_cached": 50,
                "input_audio": 20,
                "input_cached_audio": 10,
                "input_image": 20,
            },
        ),
        (
            prompt_details(cached_tokens=90, audio_tokens=30, image_tokens=20),
            {
                "input": 0,
                "input_cached": 50,
                "input_audio": 0,
                "input_cached_audio": 30,
                "input_image": 10,
                "input_cached_image": 10,
            },
        ),
        (
            prompt_details(cached_tokens=20, cache_write_tokens=70),
            {"input": 10, "input_cached": 20, "input_cache_write": 70},
        ),
        (
            {"cache_read_input_tokens": 20, "cache_creation_input_tokens": 70},
            {"input": 10, "input_cached": 20, "input_cache_write": 70},
        ),
        ({"prompt_tokens_details": None}, {"input": 100}),
        ({"prompt_tokens_details": [1]}, {"input": 100}),
        (prompt_details(cached_tokens="64", audio_tokens=-1), {"input": 100}),
    ],
)
def test_splits_the_prompt(usage: dict[str, Any], expected: dict[str, int]) -> None:
    """Details are taken out of the prompt that includes them, cached ones from its text first."""
    assert expected == from_openai(told(100, **usage))


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (told(10, 50, 60, **completion_details(reasoning_tokens=30)), {"output": 20, "output_reasoning": 30}),
        (told(10, 50, 90, **completion_details(reasoning_tokens=30)), {"output": 50, "output_reasoning": 30}),
        (
            told(10, 50, None, **completion_details(reasoning_tokens=30)),
            {"output": 20, "output_reasoning": 30},
        ),
        (told(10, 5, None, **completion_details(reasoning_tokens=30)), {"output": 5, "output_reasoning": 30}),
        (told(10, 50, 60, **completion_details(reasoning_tokens=99)), {"output": 0, "output_reasoning": 50}),
        (told(10, 50, 90), {"output": 50, "output_reasoning": 30}),
        (told(10, 50, 60), {"output": 50}),
        (told(10, 50, 59), {"output": 50}),
        (told(10, 50, 60, reasoning_tokens=30), {"output": 20, "output_reasoning": 30}),
        (
            told(10, 50, 60, **completion_details(reasoning_tokens=0, audio_tokens=30, image_tokens=30)),
            {"output": 0, "output_reasoning": 0, "output_audio": 30, "output_image": 20},
        ),
        (
            told(
                10, 50, 60, **completion_details(accepted_prediction_tokens=9, rejected_prediction_tokens=9)
            ),
            {"output": 50},
        ),
    ],
)
def test_splits_the_completion(usage: dict[str, Any], expected: dict[str, int]) -> None:
    """The total decides whether reasoning is inside the completion or on top of it."""
    assert {"input": 10, **expected} == from_openai(usage)


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 200),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.just([]),
)
DETAILS = st.dictionaries(
    st.sampled_from(
        ["cached_tokens", "audio_tokens", "image_tokens", "reasoning_tokens", "cache_write_tokens"]
    ),
    ODD,
)
NAMES = ("prompt_tokens", "completion_tokens", "total_tokens", "reasoning_tokens", "prompt_cache_hit_tokens")


@settings(max_examples=300)
@given(
    counts=st.dictionaries(st.sampled_from(NAMES), ODD),
    details=st.dictionaries(
        st.sampled_from(["prompt_tokens_details", "completion_tokens_details"]), DETAILS | ODD
    ),
)
def test_partitions(counts: dict[str, Any], details: dict[str, Any]) -> None:
    """Whatever was told, kinds of input add up to the prompt and those of output to no less than was told."""
    usage = from_openai({**counts, **details}) or {}

    assert set(usage) <= {*INPUT_KINDS, *OUTPUT_KINDS}
    assert all(tokens >= 0 for tokens in usage.values())
    assert (count(counts.get("prompt_tokens")) or 0) == sum(usage.get(kind, 0) for kind in INPUT_KINDS)
    assert (count(counts.get("completion_tokens")) or 0) <= sum(usage.get(kind, 0) for kind in OUTPUT_KINDS)
