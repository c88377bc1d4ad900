"""Kinds that their makers charge alike."""

from __future__ import annotations

import pytest

from meter.prices.same import completed


@pytest.mark.parametrize(
    ("model", "told", "expected"),
    [
        ("gemini-9-pro", {"input": 1}, {"input": 1, "input_image": 1, "input_audio": 1}),
        (
            "gemini-9-pro",
            {"input": 1, "input_image": 2, "input_audio": 3},
            {"input": 1, "input_image": 2, "input_audio": 3},
        ),
        (
            "gemini-9-pro",
            {"input_cached": 1},
            {"input_cached": 1, "input_cached_image": 1, "input_cached_audio": 1},
        ),
        ("gpt-9-mini-tts", {"input": 1, "output": 2}, {"input": 1, "output": 2, "output_audio": 2}),
        ("gpt-image-9", {"output": 2}, {"output": 2, "output_image": 2}),
        ("gpt-9", {"input": 1, "output": 2}, {"input": 1, "output": 2}),
    ],
)
def test_only_what_is_known_to_be_the_same(
    model: str, told: dict[str, int], expected: dict[str, int]
) -> None:
    """A kind takes another's price only for models whose maker has one price for both, and only if unsaid."""
    assert expected == completed(model, told)
