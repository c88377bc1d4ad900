"""What the simulated upstream says, and how it counts.

A text is a list of pieces, one a token: that is how it is streamed, cut at a limit and counted, so that the
usage of an answer is exactly the number of its pieces. Prompts are counted by their characters: some are
long.
"""

# ruff: noqa: RUF001  # Chinese has a comma of its own
from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

__all__ = ["count", "pieces", "prose", "thoughts"]

_CJK = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uac00-\ud7af\uff00-\uffef]")
_PIECE = re.compile(rf"{_CJK.pattern}| ?[^\W\u3000-\uffef]{{1,6}}| ?[^\w\s]|\s|.", re.DOTALL)
_CHARACTERS_PER_TOKEN = 4

_ENGLISH = (
    "A stream is an answer that begins before it is finished.",
    "The first token says how long the model thought; the others say how fast it talks.",
    "Count what was served, not what was asked for.",
    "A cached token costs less, because somebody has already paid for reading it.",
    "An unknown price is not a price of zero, and a good bill says which of the two it is.",
    "When a reader walks away in mid-sentence, the meter still knows how far the sentence went.",
    "Every key has a name, every name has a team, and every team has a budget.",
    "The slowest pause of a stream is the one that its reader remembers.",
    "A gauge tells you where the water stands; a counter tells you how much has passed.",
    "Retries look like traffic, errors look like silence, and both end up on the invoice.",
    "If two dashboards disagree, at least one of them was built from a different record.",
    "Measure at the door: everything that enters or leaves has to go through it.",
)
_CHINESE = (
    "流式输出让读者不必等到最后一个字。",
    "首字延迟说明模型想了多久，其后的间隔说明它讲得多快。",
    "计量应以实际提供的服务为准，而不是以请求为准。",
    "命中缓存的词元更便宜，因为已经有人为它付过费。",
    "价格未知并不等于免费，账单应当把两者分清楚。",
    "每一把密钥都有名字，每个名字都属于一个团队。",
    "客户端中途离开时，已经产生的用量仍然要记下来。",
    "计数器只增不减，仪表则随水位起落。",
)
_THOUGHTS = (
    "The question is about counting, so first settle what is counted.",
    "Two readings are possible; the shorter one fits the words better.",
    "Check the sum: the parts must add up to the whole.",
    "A small example would help, then the general rule.",
    "Nothing here depends on the order, so keep the order simple.",
)


def count(text: str) -> int:
    """Return about how many tokens `text` is: one a CJK character, one for every four others."""
    cjk = len(_CJK.findall(text))
    return cjk + -(-(len(text) - cjk) // _CHARACTERS_PER_TOKEN)


def pieces(text: str) -> list[str]:
    """Split `text` into tokens; joined, they are `text` again."""
    return _PIECE.findall(text)


def prose(rng: Random, asked: str) -> str:
    """Return a few sentences, in Chinese where `asked` holds any, else in English."""
    if _CJK.search(asked):
        return "".join(rng.sample(_CHINESE, rng.randint(2, 5)))
    return " ".join(rng.sample(_ENGLISH, rng.randint(2, 6)))


def thoughts(rng: Random) -> str:
    """Return what a model that shows its reasoning thinks first."""
    return " ".join(rng.sample(_THOUGHTS, rng.randint(2, 4)))
