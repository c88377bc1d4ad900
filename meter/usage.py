"""Turns the counts that upstreams tell into a partition of kinds.

OpenAI's totals include their details (cached, audio, reasoning); here each token is in exactly one kind, so
that kinds can be added up and priced. Counts come from outside: what is negative, not whole, not finite or
absurd is refused.

Upstreams spell one thing in several ways; the first spelling in a table that tells a count is taken.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["audio_seconds", "cost_usd", "count", "from_openai", "of_prompt", "partition", "seconds"]

_ABSURD = 10**12
"""Tokens; no exchange has as many, and a float counter still adds this exactly."""

_TICKS = 10
"""Decimal places of the unit that xAI tells its costs in."""

_DEAREST_USD = 10**6
"""An upstream's word on the cost of one exchange is not taken beyond this."""

_PLACES = 12
"""Decimal places of a USD that are kept: what the log tells, a ledger must hold."""

_LONGEST_SECONDS = 10**9
_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,30})?")

_PROMPT = ("prompt_tokens", "input_tokens")
_COMPLETION = ("completion_tokens", "output_tokens")
_PROMPT_DETAILS = (
    "prompt_tokens_details",
    "input_tokens_details",
    "input_token_details",  # realtime, transcriptions
    "prompt_token_details",  # Mistral
)
_COMPLETION_DETAILS = ("completion_tokens_details", "output_tokens_details", "output_token_details")

_CACHED = {
    "input": ("input_cached", "text_tokens"),
    "input_audio": ("input_cached_audio", "audio_tokens"),
    "input_image": ("input_cached_image", "image_tokens"),
}
"""By kind of input: the kind of what was cached of it, and its name among the details; text comes first."""


def count(value: Any) -> int | None:
    """Return `value` as a number of tokens; None where it is none (a bool, a text, -1, NaN, 0.5, 10**30)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= _ABSURD:  # NaN is never in between
        return None
    whole = int(value)
    return whole if whole == value else None


def seconds(value: Any) -> float | None:
    """Return `value`, a number or its text, as seconds; None where it is none (-1, NaN, "1 s", 10**10)."""
    if isinstance(value, str) and _SECONDS.fullmatch(value):  # OpenAI once told durations as texts
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value <= _LONGEST_SECONDS else None


def audio_seconds(told: Mapping[str, Any]) -> float | None:
    """Return the seconds of audio that a usage object charges for; None where it charges for none.

    OpenAI tells them instead of tokens, Mistral beside them: audio is in the total then, not in the prompt.
    """
    if told.get("type") == "duration":
        return seconds(told.get("seconds"))
    return seconds(told.get("prompt_audio_seconds")) or None


def from_openai(told: Mapping[str, Any], output: str = "output") -> dict[str, int] | None:
    """Return OpenAI's usage object as tokens by kind; None where it is a placeholder that tells no count.

    `output` is the kind of a completion that is not told apart by modality. Details beyond their total are
    cut down to it, so that the parts always add up to the whole that was told.
    """
    prompt, completion = _first(told, *_PROMPT), _first(told, *_COMPLETION)
    if prompt is None and completion is None:
        return None
    usage: dict[str, int] = {}
    if prompt is not None:
        usage |= _input(prompt, told)
    if completion is not None:
        usage |= _output(completion, prompt, told, output)
    return usage


def of_prompt(told: Mapping[str, Any]) -> dict[str, int] | None:
    """Return the usage of a call whose answer has no tokens; None where none was told.

    A total is its prompt's where that is all there is.
    """
    prompt = _first(told, *_PROMPT) or _first(told, "total_tokens", *_PROMPT)
    if prompt is None:
        return None
    usage = _input(prompt, told)
    completion = _first(told, *_COMPLETION)
    return usage if completion is None else usage | {"output": completion}


def partition(prompt: int | None, cached: int | None, output: int | None) -> dict[str, int]:
    """Return counts that are told one by one as tokens by kind; what was `cached` is a part of the prompt."""
    usage: dict[str, int] = {}
    if prompt is not None:
        usage["input"] = prompt
        if cached is not None:
            usage["input_cached"] = min(cached, prompt)
            usage["input"] -= usage["input_cached"]
    return usage if output is None else usage | {"output": output}


def _first(told: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        if (number := count(told.get(name))) is not None:
            return number
    return None


def _details(told: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        if isinstance(details := told.get(name), dict) and details:
            return details
    return {}


def _input(prompt: int, told: Mapping[str, Any]) -> dict[str, int]:
    details = _details(told, *_PROMPT_DETAILS)
    by_modality = _details(details, "cached_tokens_details")
    cached = _first(details, "cached_tokens")
    if cached is None:  # DeepSeek; Anthropic's names, which compatible servers keep
        cached = _first(told, "prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens")
    if cached is None and by_modality:
        cached = sum(count(by_modality.get(name)) or 0 for _, name in _CACHED.values())
    written = _first(details, "cache_write_tokens", "cache_creation_tokens")
    if written is None:
        written = _first(told, "cache_creation_input_tokens")
    audio = None if audio_seconds(told) else _first(details, "audio_tokens")

    parts = {"input": prompt}
    for kind, told_count in (
        ("input_audio", audio),
        ("input_image", _first(details, "image_tokens")),
        ("input_cache_write", written),
    ):
        if told_count is not None:
            parts[kind] = 0
            _move(told_count, "input", kind, parts)
    if cached is not None:
        _split_cached(cached, by_modality, parts)
    return parts


def _split_cached(cached: int, by_modality: Mapping[str, Any], parts: dict[str, int]) -> None:
    """Move `cached` tokens out of the plain kinds: as they were told by modality, else text first."""
    parts["input_cached"] = 0
    for plain, (kind, name) in _CACHED.items():
        told_count = count(by_modality.get(name))
        if told_count is not None:
            parts.setdefault(kind, 0)
            cached -= _move(min(told_count, cached), plain if plain in parts else "input", kind, parts)
    for plain, (kind, _) in _CACHED.items():
        if min(cached, parts.get(plain, 0)):
            parts.setdefault(kind, 0)
            cached -= _move(cached, plain, kind, parts)


def _move(tokens: int, origin: str, kind: str, parts: dict[str, int]) -> int:
    """Move up to `tokens` from one kind to another; return how many there were to move."""
    moved = min(tokens, parts[origin])
    parts[origin] -= moved
    parts[kind] += moved
    return moved


def _output(completion: int, prompt: int | None, told: Mapping[str, Any], kind: str) -> dict[str, int]:
    details = _details(told, *_COMPLETION_DETAILS)
    reasoning = _first(details, "reasoning_tokens")
    if reasoning is None:
        reasoning = _first(told, "reasoning_tokens")
    total = count(told.get("total_tokens"))
    # All completion tokens, by the total; one without its prompt tokens says nothing of them.
    whole = None if total is None or prompt is None else total - prompt
    if kind != "output" or audio_seconds(told):
        whole = None  # nothing is thought, or audio is in the total as well
    completion, reasoning = _place_reasoning(completion, reasoning, whole)
    if _first(details, "text_tokens", "audio_tokens", "image_tokens") is not None:
        kind = "output"
    parts = {kind: completion}
    for part, told_count in (
        ("output_reasoning", reasoning),
        ("output_audio", _first(details, "audio_tokens")),
        ("output_image", _first(details, "image_tokens")),
    ):
        if told_count is not None:
            parts[part] = 0
            _move(told_count, kind, part, parts)
    return parts


def _place_reasoning(completion: int, reasoning: int | None, whole: int | None) -> tuple[int, int | None]:
    """Return (all completion tokens, reasoning among them): the total decides what includes what."""
    if reasoning is None:
        beyond = 0 if whole is None else whole - completion
        return (completion + beyond, beyond) if beyond > 0 else (completion, None)
    on_top = reasoning > completion if whole is None else whole == completion + reasoning
    return (completion + reasoning, reasoning) if on_top else (completion, reasoning)


def cost_usd(told: Mapping[str, Any]) -> Decimal | None:
    """Return what a usage object says that it all cost, to 12 decimal places at most.

    None where it says nothing that can be money.
    """
    amount = _told_cost(told)
    if amount is None:
        return None
    rounded = round(amount, _PLACES)  # half-even
    return amount if amount == rounded else rounded


def _told_cost(told: Mapping[str, Any]) -> Decimal | None:
    ticks = count(told.get("cost_in_usd_ticks"))
    if ticks is not None:
        return Decimal(ticks).scaleb(-_TICKS)
    cost, details = told.get("cost"), told.get("cost_details")
    amount = _amount(cost.get("total_cost") if isinstance(cost, dict) else cost)  # Perplexity's has parts
    if amount is not None and told.get("is_byok") is True and isinstance(details, dict):
        # OpenRouter's is its fee alone where the maker's own key was used.
        amount += _amount(details.get("upstream_inference_cost")) or 0
    return amount


def _amount(value: Any) -> Decimal | None:
    """Return an amount of money, which some write as a text; None for what can be none."""
    try:
        amount = float(value) if isinstance(value, str) else value
    except ValueError:
        return None
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        return None
    return Decimal(repr(amount)) if 0 <= amount <= _DEAREST_USD else None
