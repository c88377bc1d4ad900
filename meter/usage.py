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

_CACHED_ELSEWHERE = (
    "prompt_cache_hit_tokens",  # DeepSeek
    "cached_tokens",
    "cache_read_input_tokens",  # Anthropic's, as the next, which compatible servers keep
)
_WRITTEN_ELSEWHERE = ("cache_creation_input_tokens",)
_WRITTEN = ("cache_write_tokens", "cache_creation_tokens")
_BY_MODALITY = ("cached_tokens_details",)
_TOTALS = frozenset((*_PROMPT, *_COMPLETION, "total_tokens"))
"""Of a usage that has no other members, nothing is told in detail."""
_NO_DETAILS: Mapping[str, Any] = {}

_NUMBERS = (int, float)
"""Types of numbers in JSON; a bool's is another."""

_COSTS = frozenset(("cost_in_usd_ticks", "cost"))

_CACHED = {
    "input": ("input_cached", "text_tokens"),
    "input_audio": ("input_cached_audio", "audio_tokens"),
    "input_image": ("input_cached_image", "image_tokens"),
}
"""By kind of input: the kind of what was cached of it, and its name among the details; text comes first."""


def count(value: Any) -> int | None:
    """Return `value` as a number of tokens; None where it is none (a bool, a text, -1, NaN, 0.5, 10**30)."""
    if type(value) is int:  # as nearly all are
        return value if 0 <= value <= _ABSURD else None
    if type(value) is not float or not 0 <= value <= _ABSURD:  # NaN is never in between
        return None
    whole = int(value)
    return whole if whole == value else None


def seconds(value: Any) -> float | None:
    """Return `value`, a number or its text, as seconds; None where it is none (-1, NaN, "1 s", 10**10)."""
    if isinstance(value, str) and _SECONDS.fullmatch(value):  # OpenAI once told durations as texts
        return float(value)
    if type(value) not in _NUMBERS:
        return None
    return value if 0 <= value <= _LONGEST_SECONDS else None


def audio_seconds(told: Mapping[str, Any]) -> float | None:
    """Return the seconds of audio that a usage object charges for; None where it charges for none.

    OpenAI tells them instead of tokens, Mistral beside them: audio is in the total then, not in the prompt.
    """
    if told.get("type") == "duration":
        return seconds(told.get("seconds"))
    spoken = told.get("prompt_audio_seconds")
    return None if spoken is None else seconds(spoken) or None


def from_openai(told: Mapping[str, Any], output: str = "output") -> dict[str, int] | None:
    """Return OpenAI's usage object as tokens by kind; None where it is a placeholder that tells no count.

    `output` is the kind of a completion that is not told apart by modality. Details beyond their total are
    cut down to it, so that the parts always add up to the whole that was told.
    """
    prompt, completion = _first(told, _PROMPT), _first(told, _COMPLETION)
    if prompt is None and completion is None:
        return None
    plain = _TOTALS.issuperset(told)
    usage = {} if prompt is None else {"input": prompt} if plain else _input(prompt, told)
    if completion is not None:
        total = count(told.get("total_tokens"))
        # All completion tokens, by the total; one without its prompt tokens says nothing of them.
        # Of other completions than texts, none is thought.
        whole = None if total is None or prompt is None or output != "output" else total - prompt
        if plain and (whole is None or whole <= completion):
            usage[output] = completion
        else:
            usage.update(_output(completion, whole, told, output))
    return usage


def of_prompt(told: Mapping[str, Any]) -> dict[str, int] | None:
    """Return the usage of a call whose answer has no tokens; None where none was told.

    A total is its prompt's where that is all there is.
    """
    prompt = _first(told, _PROMPT) or _first(told, ("total_tokens", *_PROMPT))
    if prompt is None:
        return None
    usage = _input(prompt, told)
    completion = _first(told, _COMPLETION)
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


def _first(told: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        if name in told and (number := count(told[name])) is not None:
            return number
    return None


def _details(told: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any]:
    for name in names:
        if name in told and isinstance(details := told[name], dict) and details:
            return details
    return _NO_DETAILS


def _input(prompt: int, told: Mapping[str, Any]) -> dict[str, int]:
    details = _details(told, _PROMPT_DETAILS)
    by_modality = _details(details, _BY_MODALITY)
    cached = count(details.get("cached_tokens"))
    if cached is None:
        cached = _first(told, _CACHED_ELSEWHERE)
    if cached is None and by_modality:
        cached = sum(count(by_modality.get(name)) or 0 for _, name in _CACHED.values())
    written = _first(details, _WRITTEN)
    if written is None:
        written = _first(told, _WRITTEN_ELSEWHERE)
    parts = {"input": prompt}
    if not audio_seconds(told):
        _part(count(details.get("audio_tokens")), "input", "input_audio", parts)
    _part(count(details.get("image_tokens")), "input", "input_image", parts)
    _part(written, "input", "input_cache_write", parts)
    if cached is not None:
        parts["input_cached"] = 0
        if cached or by_modality:
            _split_cached(cached, by_modality, parts)
    return parts


def _split_cached(cached: int, by_modality: Mapping[str, Any], parts: dict[str, int]) -> None:
    """Move `cached` tokens out of the plain kinds: as they were told by modality, else text first."""
    for plain, (kind, name) in _CACHED.items() if by_modality else ():
        told_count = count(by_modality.get(name))
        if told_count is not None:
            cached -= _move(min(told_count, cached), plain if plain in parts else "input", kind, parts)
    for plain, (kind, _) in _CACHED.items():
        if cached and parts.get(plain):
            cached -= _move(cached, plain, kind, parts)


def _move(tokens: int, origin: str, kind: str, parts: dict[str, int]) -> int:
    """Move up to `tokens` from one kind to another; return how many there were to move."""
    moved = min(tokens, parts[origin])
    parts[origin] -= moved
    parts[kind] = parts.get(kind, 0) + moved
    return moved


def _part(tokens: int | None, origin: str, kind: str, parts: dict[str, int]) -> None:
    """Make a kind of its own of the tokens that were told to be in another, of which there may be fewer."""
    if tokens is not None:
        parts[kind] = 0
        if tokens:
            _move(tokens, origin, kind, parts)


def _output(completion: int, whole: int | None, told: Mapping[str, Any], kind: str) -> dict[str, int]:
    details = _details(told, _COMPLETION_DETAILS)
    reasoning = count(details.get("reasoning_tokens"))
    if reasoning is None:
        reasoning = count(told.get("reasoning_tokens"))
    if audio_seconds(told):
        whole = None  # audio is in the total as well
    completion, reasoning = _place_reasoning(completion, reasoning, whole)
    audio, image = count(details.get("audio_tokens")), count(details.get("image_tokens"))
    if not (audio is None and image is None and count(details.get("text_tokens")) is None):
        kind = "output"
    parts = {kind: completion}
    _part(reasoning, kind, "output_reasoning", parts)
    _part(audio, kind, "output_audio", parts)
    _part(image, kind, "output_image", parts)
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
    if _COSTS.isdisjoint(told):
        return None
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
    if type(amount) not in _NUMBERS:
        return None
    return Decimal(repr(amount)) if 0 <= amount <= _DEAREST_USD else None
