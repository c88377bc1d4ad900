"""Turns the counts that upstreams tell into a partition of kinds.

OpenAI's totals include their details (cached, audio, reasoning); here each token is in exactly one kind, so
that kinds can be added up and priced. Counts come from outside: what is negative, not whole, not finite or
absurd is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["count", "from_openai"]

_ABSURD = 10**12
"""Tokens; no exchange has as many, and a float counter still adds this exactly."""


def count(value: Any) -> int | None:
    """Return `value` as a number of tokens; None where it is none (a bool, a text, -1, NaN, 0.5, 10**30)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= _ABSURD:  # NaN is never in between
        return None
    whole = int(value)
    return whole if whole == value else None


def from_openai(told: Mapping[str, Any]) -> dict[str, int] | None:
    """Return OpenAI's usage object as tokens by kind; None where it is a placeholder that tells no count.

    Details beyond their total are cut down to it, so that the parts always add up to the whole that was told.
    """
    prompt = _first(told, "prompt_tokens", "input_tokens")
    completion = _first(told, "completion_tokens", "output_tokens")
    if prompt is None and completion is None:
        return None
    usage: dict[str, int] = {}
    if prompt is not None:
        usage |= _input(prompt, told)
    if completion is not None:
        usage |= _output(completion, prompt, told)
    return usage


def _first(told: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        if (number := count(told.get(name))) is not None:
            return number
    return None


def _details(told: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        if isinstance(details := told.get(name), dict):
            return details
    return {}


def _input(prompt: int, told: Mapping[str, Any]) -> dict[str, int]:
    details = _details(told, "prompt_tokens_details", "input_tokens_details")
    cached = _first(details, "cached_tokens")
    if cached is None:  # DeepSeek; Anthropic's names, which compatible servers keep
        cached = _first(told, "prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens")
    written = _first(details, "cache_write_tokens", "cache_creation_tokens")
    if written is None:
        written = _first(told, "cache_creation_input_tokens")
    audio = _first(details, "audio_tokens")
    image = _first(details, "image_tokens")

    left = prompt
    parts: dict[str, int] = {}
    for kind, told_count in (("input_audio", audio), ("input_image", image)):
        if told_count is not None:
            parts[kind] = min(told_count, left)
            left -= parts[kind]
    if written is not None:
        parts["input_cache_write"] = min(written, left)
        left -= parts["input_cache_write"]
    if cached is not None:
        left = _split_cached(min(cached, prompt), left, parts)
    return {"input": left, **parts}


def _split_cached(cached: int, text: int, parts: dict[str, int]) -> int:
    """Move `cached` tokens out of the plain kinds, text first; return the text that is left."""
    parts["input_cached"] = min(cached, text)
    rest = cached - parts["input_cached"]
    for plain, kind in (("input_audio", "input_cached_audio"), ("input_image", "input_cached_image")):
        moved = min(rest, parts.get(plain, 0))
        if moved:
            parts[plain] -= moved
            parts[kind] = moved
            rest -= moved
    return text - parts["input_cached"]


def _output(completion: int, prompt: int | None, told: Mapping[str, Any]) -> dict[str, int]:
    details = _details(told, "completion_tokens_details", "output_tokens_details")
    reasoning = _first(details, "reasoning_tokens")
    if reasoning is None:
        reasoning = _first(told, "reasoning_tokens")
    total = count(told.get("total_tokens"))
    # All completion tokens, by the total; one without its prompt tokens says nothing of them.
    whole = None if total is None or prompt is None else total - prompt
    completion, reasoning = _place_reasoning(completion, reasoning, whole)
    left = completion
    parts: dict[str, int] = {}
    for kind, told_count in (
        ("output_reasoning", reasoning),
        ("output_audio", _first(details, "audio_tokens")),
        ("output_image", _first(details, "image_tokens")),
    ):
        if told_count is not None:
            parts[kind] = min(told_count, left)
            left -= parts[kind]
    return {"output": left, **parts}


def _place_reasoning(completion: int, reasoning: int | None, whole: int | None) -> tuple[int, int | None]:
    """Return (all completion tokens, reasoning among them): the total decides what includes what."""
    if reasoning is None:
        beyond = 0 if whole is None else whole - completion
        return (completion + beyond, beyond) if beyond > 0 else (completion, None)
    on_top = reasoning > completion if whole is None else whole == completion + reasoning
    return (completion + reasoning, reasoning) if on_top else (completion, reasoning)
