"""What a request asks for besides its model: limits, temperature and the like, by OpenTelemetry's names.

One table for all formats: where two have a member of the same name, it means the same. Only numbers,
switches, words of a few letters and ids of a known form are taken, so that nothing of a prompt can be among
them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from meter import semconv

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from meter.inquiry import Inquiry

__all__ = ["Parameter", "parameters"]

Parameter = bool | int | float | str

_GREATEST = 2**53
"""What is not below it is no sane value of anything, and no JSON reader agrees with another on it."""
_MOST_READ = 1 << 14
"""Bytes of a member; one that is longer holds something else."""

_WORD = re.compile(r"[a-z_]{1,24}", re.IGNORECASE | re.ASCII)
_IDENTITY = re.compile(r"resp[_-][\w-]{1,250}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
"""Of a response: OpenAI's and those made after them, and UUIDs."""


def _whole(value: Any) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < _GREATEST
    return value if whole else None


def _count(value: Any) -> int | None:
    count = _whole(value)
    return count if count is not None and count >= 0 else None  # below 0: as many as there may be


def _number(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and abs(value) < _GREATEST else None  # NaN is below nothing


def _word(value: Any) -> str | None:
    return value.lower() if isinstance(value, str) and _WORD.fullmatch(value) else None


def _identity(value: Any) -> str | None:
    return value if isinstance(value, str) and _IDENTITY.fullmatch(value) else None


def _switch(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


_MEMBERS: Mapping[str, tuple[str, Callable[[Any], Parameter | None]]] = {
    "stream": (semconv.REQUEST_STREAM, _switch),
    "max_tokens": (semconv.REQUEST_MAX_TOKENS, _count),
    "max_completion_tokens": (semconv.REQUEST_MAX_TOKENS, _count),
    "max_output_tokens": (semconv.REQUEST_MAX_TOKENS, _count),
    "maxOutputTokens": (semconv.REQUEST_MAX_TOKENS, _count),
    "num_predict": (semconv.REQUEST_MAX_TOKENS, _count),
    "temperature": (semconv.REQUEST_TEMPERATURE, _number),
    "top_p": (semconv.REQUEST_TOP_P, _number),
    "topP": (semconv.REQUEST_TOP_P, _number),
    "p": (semconv.REQUEST_TOP_P, _number),
    "top_k": (semconv.REQUEST_TOP_K, _number),
    "topK": (semconv.REQUEST_TOP_K, _number),
    "k": (semconv.REQUEST_TOP_K, _number),
    "frequency_penalty": (semconv.REQUEST_FREQUENCY_PENALTY, _number),
    "frequencyPenalty": (semconv.REQUEST_FREQUENCY_PENALTY, _number),
    "presence_penalty": (semconv.REQUEST_PRESENCE_PENALTY, _number),
    "presencePenalty": (semconv.REQUEST_PRESENCE_PENALTY, _number),
    "seed": (semconv.REQUEST_SEED, _whole),
    "random_seed": (semconv.REQUEST_SEED, _whole),
    "n": (semconv.REQUEST_CHOICE_COUNT, _count),
    "num_generations": (semconv.REQUEST_CHOICE_COUNT, _count),
    "candidate_count": (semconv.REQUEST_CHOICE_COUNT, _count),
    "candidateCount": (semconv.REQUEST_CHOICE_COUNT, _count),
    "reasoning_effort": (semconv.REQUEST_REASONING_LEVEL, _word),
    "think": (semconv.REQUEST_REASONING_LEVEL, _word),
    "effort": (semconv.REQUEST_REASONING_LEVEL, _word),
    "thinkingLevel": (semconv.REQUEST_REASONING_LEVEL, _word),
    "service_tier": (semconv.REQUEST_SERVICE_TIER, _word),
    "previous_response_id": (semconv.REQUEST_PREVIOUS_RESPONSE_ID, _identity),
}
"""Where two of one name are there, the later one here counts."""

_GEMINI = (
    *("maxOutputTokens", "topP", "topK", "candidateCount", "frequencyPenalty", "presencePenalty"),
    *("max_output_tokens", "top_p", "top_k", "candidate_count", "frequency_penalty", "presence_penalty"),
    *("temperature", "seed"),
)
_OLLAMA = ("num_predict", "temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "seed")
_INSIDE: Mapping[tuple[str, ...], tuple[str, ...]] = {
    ("generationConfig",): _GEMINI,
    ("generation_config",): _GEMINI,
    ("generationConfig", "thinkingConfig"): ("thinkingLevel",),
    ("options",): _OLLAMA,
    ("reasoning",): ("effort",),
    ("output_config",): ("effort",),
}
"""Members that are objects, and which of those above stand in them.

Of Gemini, Ollama, OpenAI's responses and Anthropic.
"""

_INNER = frozenset(
    [
        *("maxOutputTokens", "topP", "topK", "candidate_count", "candidateCount", "num_predict", "effort"),
        *("frequencyPenalty", "presencePenalty", "thinkingLevel"),
    ]
)
"""Those that stand in an object only."""


def parameters(told: Inquiry) -> dict[str, Parameter]:
    """Return what a request asks for; what is no sane value of its kind is left out."""
    found = {name: _value(told, name) for name in _MEMBERS if name not in _INNER}
    for path, names in _INSIDE.items():
        inner = _at(_value(told, path[0]), path[1:])
        if isinstance(inner, dict):
            found |= {name: inner[name] for name in names if name in inner}
    read = ((name, kind(found.get(member))) for member, (name, kind) in _MEMBERS.items())
    return {name: value for name, value in read if value is not None}


def _value(told: Inquiry, name: str) -> Any:
    """Return a member's value; None where it is missing or too long."""
    return told.value(name) if len(told.raw(name) or b"") in range(1, _MOST_READ) else None


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value
