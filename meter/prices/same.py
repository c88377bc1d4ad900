"""Kinds of tokens that makers charge alike, where a list names the price of but one of them.

This is what is known of the makers, not a guess: a kind without a price is otherwise never priced as another.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["completed"]

_SAME = (
    ("*-tts*", "output_audio", "output"),
    ("gpt-image-*", "output_image", "output"),
    ("gemini-*", "input_image", "input"),
    ("gemini-*", "input_cached_image", "input_cached"),
    ("gemini-*", "input_audio", "input"),
    ("gemini-*", "input_cached_audio", "input_cached"),
)
"""Models, a kind that lists have no price of, and the one whose price their makers have for both.

The output of the first two is all of one kind; Google has one price for text and images that go in, and for
audio too where it does not name another.
"""

_Amount = TypeVar("_Amount")


def completed(model: str, told: Mapping[str, _Amount]) -> dict[str, _Amount]:
    """Give the amounts by kind with those that the model's maker has for two kinds at once."""
    found = dict(told)
    for pattern, kind, same in _SAME:
        if same in found and fnmatchcase(model, pattern):
            found.setdefault(kind, found[same])
    return found
