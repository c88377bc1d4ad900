"""Gemini's own API: generateContent, whole and streamed, countTokens and embeddings.

Every piece of a stream is an answer of the same shape, whose usage is a running total: the last one counts.
Nothing terminates a stream; it is complete once a candidate has a finish reason. A prompt that is blocked has
no candidates, and the reason why it was blocked is how that exchange finished. The model is in the path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from meter import inquiry
from meter.dialect import Facts, Marks, Request
from meter.dialects.reading import told_in
from meter.errors import error_of
from meter.exchange import OUTPUT_KINDS
from meter.lenient import Shape, name, written
from meter.usage import count

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

__all__ = ["EmbedContent", "GenerateContent", "StreamGenerateContent"]


class _Answer(msgspec.Struct, rename="camel"):
    candidates: Any = None
    prompt_feedback: Any = None
    usage_metadata: Any = None
    model_version: Any = None
    response_id: Any = None
    embedding: Any = None
    embeddings: Any = None
    error: Any = None


_answer = Shape(_Answer)

_SAYS = ("text", "functionCall", "executableCode", "codeExecutionResult", "inlineData", "fileData")
"""Members of a part that carry content unless they are empty."""

_WRITTEN = ("text", "functionCall", "executableCode")
"""Those of them that the model wrote, token by token, as text."""

_UNFINISHED = "FINISH_REASON_UNSPECIFIED"
"""The default of a candidate that goes on, which some servers spell out."""

# Video and documents have no kind of their own: what generates content charges them as it does text.
_MEDIA = {"AUDIO": "_audio", "IMAGE": "_image"}

_TIERS = {
    "unspecified": None,
    "traffic_type_unspecified": None,
    "on_demand": "standard",
    "on_demand_flex": "flex",
    "on_demand_priority": "priority",
}
"""The names that prices go by, of service tiers that are told by others; Vertex tells a type of traffic."""


class GenerateContent:
    """The dialect of generateContent."""

    operation = "generate_content"
    consumes = True
    streams_array = False
    returned = ()

    prompt: tuple[str, ...] = ("contents", "systemInstruction", "system_instruction", "tools")

    def read_request(self, body: bytes) -> Generator[None, None, Request]:
        """Read a request's body: its prompt, since what else matters is in the path."""
        told = yield from inquiry.read(body)
        return Request(stream=self.streams_array, prompt_tokens=told.tokens(*self.prompt))

    def read_answer(self, body: bytes, facts: Facts) -> None:
        """Read a whole JSON answer."""
        told = told_in(_answer, body, facts)
        if told is None:
            return
        _read(told, facts)
        facts.final_usage = facts.usage is not None

    def read_event(self, name: bytes, data: bytes, facts: Facts) -> int:
        """Read one piece of a stream, an event's data or an element of the array."""
        told = told_in(_answer, data, facts, name)
        if told is None:
            return 0
        had = facts.usage
        marks = _read(told, facts)
        if marks & Marks.CONTENT and not marks & Marks.FINISH:
            facts.final_usage = False  # another candidate goes on
        elif facts.usage is not had:
            ended = facts.finish_reasons or facts.error is not None
            facts.final_usage = facts.final_usage or bool(ended)
        return marks


class StreamGenerateContent(GenerateContent):
    """The dialect of streamGenerateContent, which answers with events or with one long array."""

    streams_array = True


class EmbedContent(GenerateContent):
    """The dialect of embedContent and batchEmbedContents; the newer models tell what they used."""

    operation = "embeddings"
    prompt = ("content", "requests")


def _read(told: _Answer, facts: Facts) -> int:
    """Take what one object says into `facts`; return its `Marks`."""
    facts.response_id = facts.response_id or name(told.response_id)
    facts.response_model = name(told.model_version) or facts.response_model
    marks = 0
    for place, candidate in enumerate(told.candidates if isinstance(told.candidates, list) else ()):
        if isinstance(candidate, dict):
            marks |= _read_candidate(place, candidate, facts)
    if isinstance(told.prompt_feedback, dict) and not marks:
        marks |= _finish(0, told.prompt_feedback.get("blockReason"), facts)
    if told.embedding or told.embeddings:
        facts.answered()
    if isinstance(told.usage_metadata, dict):
        _read_usage(told.usage_metadata, facts)
    facts.fail(error_of({"error": told.error}))
    return marks


def _read_candidate(place: int, candidate: dict[str, Any], facts: Facts) -> int:
    told = candidate.get("index")
    index = facts.part = told if isinstance(told, int) else place
    marks = _finish(index, candidate.get("finishReason"), facts)
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, dict):
            marks |= _read_part(part, facts)
    return marks


def _finish(index: int, why: Any, facts: Facts) -> int:
    reason = name(why)
    if reason is None or reason == _UNFINISHED:
        return 0
    facts.answered()
    facts.finish(index, reason)
    return Marks.FINISH


def _read_part(part: dict[str, Any], facts: Facts) -> int:
    if not any(part.get(member) for member in _SAYS):
        return 0
    for member in _WRITTEN:
        if value := part.get(member):
            facts.say(value if isinstance(value, str) else written(value))
    return Marks.CONTENT | Marks.REASONING if part.get("thought") is True else Marks.CONTENT


# Usage.


def _read_usage(told: dict[str, Any], facts: Facts) -> None:
    """Take a running total; one that tells no output leaves the output that was told before."""
    facts.service_tier = _tier(told) or facts.service_tier
    counted = _input(told) | _output(told)
    had = facts.usage or {}
    if not any(kind in counted for kind in OUTPUT_KINDS):
        counted |= {kind: tokens for kind, tokens in had.items() if kind in OUTPUT_KINDS}
    if any(counted.values()) or (counted and not had):
        facts.usage = counted


def _tier(told: Mapping[str, Any]) -> str | None:
    """Return the tier that served, by the names that prices go by."""
    tier = (name(told.get("serviceTier")) or name(told.get("trafficType")) or "").lower()
    tier = tier.removeprefix("service_tier_")
    return _TIERS.get(tier, tier or None)


def _input(told: Mapping[str, Any]) -> dict[str, int]:
    prompt, tools = count(told.get("promptTokenCount")), count(told.get("toolUsePromptTokenCount"))
    if prompt is None and tools is None:
        return {}
    whole = (prompt or 0) + (tools or 0)
    media = _by_medium(told, "promptTokensDetails", "promptTokenDetails", "toolUsePromptTokensDetails")
    cached = count(told.get("cachedContentTokenCount"))
    if cached is None:
        return _apart("input", whole, media)
    of_cached = _by_medium(told, "cacheTokensDetails")
    media |= {medium: max(tokens, media.get(medium, 0)) for medium, tokens in of_cached.items()}
    return _without_cached(_apart("input", whole, media), min(cached, whole), of_cached)


def _output(told: Mapping[str, Any]) -> dict[str, int]:
    candidates, thoughts = count(told.get("candidatesTokenCount")), count(told.get("thoughtsTokenCount"))
    parts: dict[str, int] = {}
    if candidates is not None:
        parts = _apart("output", candidates, _by_medium(told, "candidatesTokensDetails"))
    return parts if thoughts is None else parts | {"output_reasoning": thoughts}


def _by_medium(told: Mapping[str, Any], *names: str) -> dict[str, int]:
    """Return the tokens that the details of these names tell of media that have kinds of their own."""
    found: dict[str, int] = {}
    lists = (told.get(details) for details in names)
    for detail in (detail for listed in lists if isinstance(listed, list) for detail in listed):
        modality = detail.get("modality") if isinstance(detail, dict) else None
        medium = _MEDIA.get(modality) if isinstance(modality, str) else None
        tokens = count(detail.get("tokenCount")) if medium else None
        if medium and tokens is not None:
            found[medium] = found.get(medium, 0) + tokens
    return found


def _apart(side: str, whole: int, media: Mapping[str, int]) -> dict[str, int]:
    """Tell media apart from text; what their details tell beyond the whole is cut down to it."""
    parts = {side: whole}
    for medium, tokens in media.items():
        parts[side + medium] = min(tokens, parts[side])
        parts[side] -= parts[side + medium]
    return parts


def _without_cached(parts: dict[str, int], cached: int, media: Mapping[str, int]) -> dict[str, int]:
    """Move cached tokens to kinds of their own: media as they are told, then text, then what is left."""
    everything = dict.fromkeys(("", *_MEDIA.values()), cached)
    for medium, most in (*media.items(), *everything.items()):
        moved = min(most, cached, parts.get("input" + medium, 0))
        if moved or not medium:
            parts["input" + medium] -= moved
            parts["input_cached" + medium] = parts.get("input_cached" + medium, 0) + moved
            cached -= moved
    return parts
