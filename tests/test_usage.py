"""Counts that come from outside become a partition, and what is no count stays out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meter.exchange import INPUT_KINDS, OUTPUT_KINDS
from meter.usage import audio_seconds, cost_usd, count, from_openai, of_prompt, partition, seconds


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


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (9, 9),
        (8.470000267028809, 8.470000267028809),
        ("8.470000267028809", 8.470000267028809),
        ("12", 12),
        (10**9, 10**9),
        (10**10, None),
        ("9" * 5000, None),
        (-1, None),
        ("-1", None),
        (float("nan"), None),
        ("nan", None),
        ("1_0", None),
        ("١٢", None),
        (" 1", None),
        ("1.", None),
        ("", None),
        (True, None),
        (None, None),
        ([1], None),
    ],
)
def test_reads_seconds(value: Any, expected: float | None) -> None:
    """Seconds are a number, or the text of one, of a size that can be."""
    assert expected == seconds(value)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"type": "duration", "seconds": 9}, 9),
        ({"type": "duration", "seconds": 0}, 0),
        ({"type": "duration"}, None),
        ({"type": "tokens", "seconds": 9}, None),
        ({"seconds": 9}, None),
        ({"prompt_audio_seconds": 12, "prompt_tokens": 3}, 12),
        ({"prompt_audio_seconds": 0, "prompt_tokens": 3}, None),
        ({"prompt_audio_seconds": None}, None),
        ({}, None),
    ],
)
def test_reads_seconds_of_audio(usage: dict[str, Any], expected: float | None) -> None:
    """A usage that is a duration tells seconds, and so does Mistral's where there was audio."""
    assert expected == audio_seconds(usage)


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


@pytest.mark.parametrize("name", ["input_tokens_details", "input_token_details", "prompt_token_details"])
def test_knows_the_names_of_details(name: str) -> None:
    """Details of the prompt have several names; an empty object under one does not hide another."""
    usage = {"input_tokens": 20, "prompt_tokens_details": {}, name: {"audio_tokens": 15, "text_tokens": 5}}

    assert {"input": 5, "input_audio": 15} == from_openai(usage)


def test_knows_the_other_name_of_completion_details() -> None:
    """Details of the completion have a singular name too."""
    usage = {"output_tokens": 20, "output_token_details": {"audio_tokens": 15, "text_tokens": 5}}

    assert {"output": 5, "output_audio": 15} == from_openai(usage)


def realtime(cached: Any, by_modality: Any, **details: Any) -> dict[str, Any]:
    """Return a usage as the realtime API tells it, of 100 input tokens."""
    parts = {"cached_tokens": cached, "cached_tokens_details": by_modality, **details}
    return {"input_tokens": 100, "input_token_details": {k: v for k, v in parts.items() if v is not None}}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            realtime(
                60,
                {"text_tokens": 20, "audio_tokens": 30, "image_tokens": 10},
                text_tokens=40,
                audio_tokens=40,
                image_tokens=20,
            ),
            {
                "input": 20,
                "input_cached": 20,
                "input_audio": 10,
                "input_cached_audio": 30,
                "input_image": 10,
                "input_cached_image": 10,
            },
        ),
        (
            realtime(64, {"text_tokens": 0, "audio_tokens": 64}, audio_tokens=70),
            {"input": 30, "input_cached": 0, "input_audio": 6, "input_cached_audio": 64},
        ),
        (
            realtime(0, {"text_tokens": 0, "audio_tokens": 0}, audio_tokens=70),
            {"input": 30, "input_cached": 0, "input_audio": 70, "input_cached_audio": 0},
        ),
        (  # what is not told by modality is text first
            realtime(60, {"audio_tokens": 10}, audio_tokens=70),
            {"input": 0, "input_cached": 30, "input_audio": 40, "input_cached_audio": 30},
        ),
        (  # audio that is cached was in the prompt, told or not
            realtime(60, {"text_tokens": 20, "audio_tokens": 40}),
            {"input": 40, "input_cached": 20, "input_cached_audio": 40},
        ),
        (  # no more than there is of a modality
            realtime(50, {"text_tokens": 50}, audio_tokens=80),
            {"input": 0, "input_cached": 20, "input_audio": 50, "input_cached_audio": 30},
        ),
        (  # no more than the total
            realtime(10, {"text_tokens": 30, "audio_tokens": 30}, audio_tokens=50),
            {"input": 40, "input_cached": 10, "input_audio": 50, "input_cached_audio": 0},
        ),
        (  # a total that is not told is their sum
            realtime(None, {"text_tokens": 20, "image_tokens": 5, "other_tokens": 9}, image_tokens=50),
            {"input": 30, "input_cached": 20, "input_image": 45, "input_cached_image": 5},
        ),
        (realtime(20, {"text_tokens": "20", "audio_tokens": -1}), {"input": 80, "input_cached": 20}),
        (realtime(20, [20]), {"input": 80, "input_cached": 20}),
        (realtime(None, {}), {"input": 100}),
    ],
)
def test_splits_what_was_cached(usage: dict[str, Any], expected: dict[str, int]) -> None:
    """Cached tokens that are told by modality are taken from it, and the rest from text first."""
    assert expected == from_openai(usage)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (told(10, 50, 60), {"output_image": 50}),
        (told(10, 50, 90), {"output_image": 50}),
        (told(10, 50, 60, **completion_details(image_tokens=40)), {"output": 10, "output_image": 40}),
        (
            told(10, 50, 60, **completion_details(image_tokens=40, text_tokens=10)),
            {"output": 10, "output_image": 40},
        ),
        (told(10, 50, 60, **completion_details(text_tokens=50)), {"output": 50}),
        (
            told(10, 50, 60, **completion_details(reasoning_tokens=20)),
            {"output_image": 30, "output_reasoning": 20},
        ),
    ],
)
def test_takes_a_completion_for_what_it_is(usage: dict[str, Any], expected: dict[str, int]) -> None:
    """A completion that is not told apart is of the kind that the caller knows it to be."""
    assert {"input": 10, **expected} == from_openai(usage, output="output_image")


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({}, {"input": 3}),
        ({"audio_tokens": 375, "cached_tokens": 0}, {"input": 3, "input_cached": 0}),
    ],
)
def test_takes_no_audio_for_reasoning(details: dict[str, int], expected: dict[str, int]) -> None:
    """Audio that Mistral counts in the total, and not in the prompt, is neither text nor reasoning."""
    usage = told(3, 41, 419, prompt_audio_seconds=12, **prompt_details(**details))

    assert {**expected, "output": 41} == from_openai(usage)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({}, None),
        ({"completion_tokens": 3}, None),
        (told(total=8), {"input": 8}),
        (told(8, total=8), {"input": 8}),
        (told(0, total=8), {"input": 8}),
        (told(0, total=0), {"input": 0}),
        (told(0), {"input": 0}),
        (told(8, total=9), {"input": 8}),
        (told(8, 0, 8), {"input": 8, "output": 0}),
        ({"input_tokens": 8, "total_tokens": "8"}, {"input": 8}),
        (told(100, total=100, **prompt_details(image_tokens=90)), {"input": 10, "input_image": 90}),
        (told("x", total=-1), None),
    ],
)
def test_takes_prompts_alone(usage: dict[str, Any], expected: dict[str, int] | None) -> None:
    """Where an answer has no tokens, all that were used are the prompt's."""
    assert expected == of_prompt(usage)


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 200),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.just([]),
)
PARTS = ["cached_tokens", "audio_tokens", "image_tokens", "reasoning_tokens", "cache_write_tokens"]
BY_MODALITY = st.dictionaries(st.sampled_from(["text_tokens", "audio_tokens", "image_tokens"]), ODD)
DETAILS = st.builds(
    lambda parts, cached: {**parts, "cached_tokens_details": cached},
    st.dictionaries(st.sampled_from(PARTS), ODD),
    BY_MODALITY | ODD,
)
NAMES = ("prompt_tokens", "completion_tokens", "total_tokens", "reasoning_tokens", "prompt_cache_hit_tokens")


@settings(max_examples=300)
@given(
    counts=st.dictionaries(st.sampled_from(NAMES), ODD),
    details=st.dictionaries(
        st.sampled_from(["prompt_tokens_details", "completion_tokens_details", "input_token_details"]),
        DETAILS | ODD,
    ),
    output=st.sampled_from(["output", "output_audio", "output_image"]),
    audio=ODD,
)
def test_partitions(counts: dict[str, Any], details: dict[str, Any], output: str, audio: Any) -> None:
    """Whatever was told, kinds of input add up to the prompt and those of output to no less than was told."""
    usage = from_openai({**counts, **details, "prompt_audio_seconds": audio}, output) or {}

    assert set(usage) <= {*INPUT_KINDS, *OUTPUT_KINDS}
    assert all(tokens >= 0 for tokens in usage.values())
    assert (count(counts.get("prompt_tokens")) or 0) == sum(usage.get(kind, 0) for kind in INPUT_KINDS)
    assert (count(counts.get("completion_tokens")) or 0) <= sum(usage.get(kind, 0) for kind in OUTPUT_KINDS)


@settings(max_examples=200)
@given(
    totals=st.dictionaries(
        st.sampled_from(
            ["prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens"]
        ),
        ODD | st.integers(0, 99),
    ),
    output=st.sampled_from(["output", "output_image"]),
)
def test_partitions_totals_as_any_others(totals: dict[str, Any], output: str) -> None:
    """Totals alone, which are not looked into for details, say what they say beside a member unknown."""
    assert from_openai({**totals, "unknown": 1}, output) == from_openai(totals, output)


@given(counts=st.dictionaries(st.sampled_from(NAMES), ODD), details=DETAILS | ODD)
def test_partitions_prompts_alone(counts: dict[str, Any], details: Any) -> None:
    """Whatever was told of a prompt alone, its kinds add up to it, or to the total in its place."""
    usage = of_prompt({**counts, "prompt_tokens_details": details}) or {}

    expected = count(counts.get("prompt_tokens")) or count(counts.get("total_tokens")) or 0
    assert expected == sum(usage.get(kind, 0) for kind in INPUT_KINDS)
    assert all(tokens >= 0 for tokens in usage.values())


@pytest.mark.parametrize(
    ("value", "usd"),
    [
        (0.00125, Decimal("0.00125")),
        (0, Decimal(0)),
        (3, Decimal(3)),
        (-1, None),
        (float("nan"), None),
        (float("inf"), None),
        (1e30, None),
        (True, None),
        ("0.1", Decimal("0.1")),
        (0.00014275000000000003, Decimal("0.00014275")),
        (0.0000000000025, Decimal("0.000000000002")),
        (1e-300, Decimal(0)),
        ("much", None),
        (None, None),
    ],
)
def test_money(value: Any, usd: Decimal | None) -> None:
    """Money is a finite number that is not negative and not absurd, or its text, to 12 decimal places."""
    assert usd == cost_usd({"cost": value})


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        ((None, None, None), {}),
        ((9, None, None), {"input": 9}),
        ((9, 4, 3), {"input": 5, "input_cached": 4, "output": 3}),
        ((9, 10, 3), {"input": 0, "input_cached": 9, "output": 3}),
        ((None, 4, 3), {"output": 3}),
    ],
)
def test_partition(told: tuple[int | None, int | None, int | None], usage: dict[str, int]) -> None:
    """What was cached is no more than the prompt that it is a part of, and nothing without one."""
    assert usage == partition(*told)
