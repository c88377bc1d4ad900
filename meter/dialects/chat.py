"""Chat completions: POST .../chat/completions, streamed and not.

Vendors have added to the shape for years, each in their own way; what they are known to do is read here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from meter import inquiry
from meter.asking import ask
from meter.dialect import Facts, Marks, Request
from meter.dialects.reading import told_in
from meter.errors import error_of, refused
from meter.lenient import LONGEST_NAME, Shape, name
from meter.usage import audio_seconds, cost_usd, from_openai

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

__all__ = ["ChatCompletions", "Completions"]


class _Answer(msgspec.Struct):
    id: Any = None
    object: Any = None
    model: Any = None
    choices: Any = None
    usage: Any = UNSET
    service_tier: Any = None
    type: Any = None
    code: Any = None
    error: Any = None
    x_groq: Any = None
    base_resp: Any = None


_answer = Shape(_Answer)

_REASONING = Marks.CONTENT | Marks.REASONING
_SAYS = {
    "content": Marks.CONTENT,
    "refusal": Marks.CONTENT,
    "tool_calls": Marks.CONTENT,
    "function_call": Marks.CONTENT,
    "audio": Marks.CONTENT,
    "images": Marks.CONTENT,
    "reasoning": _REASONING,
    "reasoning_content": _REASONING,
    "reasoning_text": _REASONING,
    "reasoning_details": _REASONING,
}
"""Members of a message, or of a part of one, that carry content unless they are empty."""

_TEXTS = ("name", "arguments", "input", "text", "summary", "transcript")
"""Members of a piece of content, or of a call of a tool, that are text of the model's."""


class ChatCompletions:
    """The dialect of chat completions."""

    operation = "chat"
    consumes = True
    streams_array = False
    returned = ("timings",)  # llama.cpp puts them on its last event, which asking makes the usage event

    prompt: tuple[str, ...] = ("messages", "tools", "functions", "response_format")

    def read_request(self, body: bytes) -> Generator[None, None, Request]:
        """Read a request's body, and ask for usage where a stream is asked for without."""
        told = yield from inquiry.read(body)
        options = told.raw("stream_options")
        return Request(
            model=told.model,
            stream=told.streams,
            asking=(yield from ask(body, options)) if told.streams else None,
            prompt_tokens=told.tokens(*self.prompt),
        )

    def read_answer(self, body: bytes, facts: Facts) -> None:
        """Read a whole JSON answer."""
        told = told_in(_answer, body, facts)
        if told is None:
            return
        _read(told, facts)
        facts.final_usage = facts.usage is not None

    def read_event(self, name: bytes, data: bytes, facts: Facts) -> int:
        """Read one event's data."""
        told = told_in(_answer, data, facts, name)
        if told is None:
            return 0
        had = facts.usage
        marks = _read(told, facts, failed=name == b"error")
        if marks & Marks.CONTENT and not marks & Marks.FINISH:
            facts.final_usage = False  # a usage that is followed by content was a running total
        elif facts.usage is not had:
            ended = facts.finish_reasons or facts.error is not None or marks & Marks.USAGE_EVENT
            facts.final_usage = facts.final_usage or bool(ended)
        return marks


def _read(told: _Answer, facts: Facts, *, failed: bool = False) -> int:
    """Take what one object says into `facts`; return its `Marks`."""
    facts.response_id = facts.response_id or name(told.id)
    if told.model != facts.response_model:  # each event tells it once more
        facts.response_model = name(told.model) or facts.response_model
    if told.service_tier is not None:
        facts.service_tier = name(told.service_tier) or facts.service_tier
    choices = told.choices if isinstance(told.choices, list) else []
    usages = [told.usage]
    error = told.error
    if isinstance(told.x_groq, dict):
        usages.append(told.x_groq.get("usage"))
        error = error or told.x_groq.get("error")
    marks = 0
    begun = facts.begun
    for place, choice in enumerate(choices):
        if isinstance(choice, dict):
            marks |= _read_choice(place, choice, facts, begun=begun)
            if "usage" in choice:  # Moonshot
                usages.append(choice["usage"])
    _read_usage(usages, facts)
    if told.usage is None:
        marks |= Marks.USAGE_NULL
    if failed or error or told.object == "error" or told.type == "error" or refused(told.base_resp):
        facts.fail(error_of({"error": error or msgspec.structs.asdict(told)}) or "")
    elif isinstance(told.usage, dict) and not choices:
        marks |= Marks.USAGE_EVENT
    return marks


def _read_choice(place: int, choice: dict[str, Any], facts: Facts, *, begun: bool) -> int:
    marks = 0
    reason = choice.get("finish_reason")
    told = choice.get("index")
    index = facts.part = told if isinstance(told, int) else place
    if isinstance(reason, str) and reason:
        marks = Marks.FINISH
        facts.answered()
        facts.finish(index, reason[:LONGEST_NAME])
        if reason == "error":
            facts.fail(error_of({"error": choice.get("error")}) or "")
    # A message after deltas says what they said once more: MiniMax's last frame.
    part = choice.get("delta") or (None if begun else choice.get("message"))
    if isinstance(part, dict):
        return marks | _read_part(index, part, facts)
    if text := choice.get("text"):  # the older shape
        marks |= Marks.CONTENT
        facts.say(text)
    return marks


def _read_part(index: int, part: dict[str, Any], facts: Facts) -> int:
    """Take note of a message, or of a part of one; return its `Marks`."""
    marks = 0
    for member, value in part.items():
        if not value or member not in _SAYS:
            continue
        mark = _SAYS[member]
        if mark & marks & Marks.REASONING:
            continue  # servers that rename the member send it by both names
        facts.part = (index, member)
        if isinstance(value, str):
            facts.say(value)
        else:
            mark = _read_pieces(value, mark, facts)
        marks |= mark
    return marks


def _read_pieces(value: Any, mark: int, facts: Facts) -> int:
    """Take note of parts of a text, or of calls of tools and functions; return their `Marks`."""
    said, part = facts.said, facts.part
    thinks = False
    for place, piece in enumerate(value if isinstance(value, list) else (value,)):
        if not isinstance(piece, dict):
            continue
        index = piece.get("index")
        facts.part = (part, index if isinstance(index, int) else place)
        told = piece.get("function") or piece.get("custom") or piece
        for member in _TEXTS if isinstance(told, dict) else ():
            facts.say(told.get(member))
        if thought := piece.get("thinking"):  # Mistral: parts of its own among those of the content
            thinks = True
            for part in thought if isinstance(thought, list) else (thought,):
                facts.say(part.get("text") if isinstance(part, dict) else part)
    if mark & Marks.REASONING and facts.said == said:
        return 0  # encrypted: nobody saw it being thought
    return mark | Marks.REASONING if thinks else mark


def _read_usage(usages: Iterable[Any], facts: Facts) -> None:
    """Take the first usage of one object that tells a count; zeros do not replace what was counted before."""
    for usage in usages:
        if not isinstance(usage, dict):
            continue
        counted = from_openai(usage)
        if counted is not None and (not facts.usage or any(counted.values())):
            facts.usage = counted
            facts.provider_cost_usd = cost_usd(usage)
            if (spoken := audio_seconds(usage)) is not None:  # Mistral's, beside the tokens of the text
                facts.units["audio_seconds"] = spoken
            return


class Completions(ChatCompletions):
    """The dialect of the older text completions, which answer in the same shape."""

    operation = "text_completion"
    prompt = ("prompt", "suffix")
