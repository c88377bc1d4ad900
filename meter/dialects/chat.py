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
from meter.errors import error_of, read_error
from meter.lenient import LONGEST_NAME, Shape, money, name
from meter.usage import from_openai

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from decimal import Decimal

__all__ = ["ChatCompletions", "Completions"]

_DONE = b"[DONE]"


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

_SAYS = {
    "content": Marks.CONTENT,
    "refusal": Marks.CONTENT,
    "tool_calls": Marks.CONTENT,
    "function_call": Marks.CONTENT,
    "audio": Marks.CONTENT,
    "images": Marks.CONTENT,
    "reasoning": Marks.CONTENT | Marks.REASONING,
    "reasoning_content": Marks.CONTENT | Marks.REASONING,
    "reasoning_details": Marks.CONTENT | Marks.REASONING,
}
"""Members of a message, or of a part of one, that carry content unless they are empty."""


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
        options = told.members.get("stream_options")
        return Request(
            model=told.model,
            stream=told.streams,
            asking=(yield from ask(body, options)) if told.streams else None,
            prompt_tokens=told.tokens(*self.prompt),
        )

    def read_answer(self, body: bytes, facts: Facts) -> None:
        """Read a whole JSON answer."""
        told = _answer(body)
        if told is None:
            facts.error = read_error(body) or facts.error
            return
        _read(told, facts)
        facts.final_usage = facts.usage is not None

    def read_event(self, name: bytes, data: bytes, facts: Facts) -> int:
        """Read one event's data."""
        if data.lstrip().startswith(_DONE):
            facts.terminated = True
            return 0
        failed = name == b"error"
        told = _answer(data)
        if told is None:
            error = read_error(data)
            facts.error = error or facts.error or ("" if failed or error is not None else None)
            return 0
        had = facts.usage
        marks = _read(told, facts, failed=failed)
        if marks & Marks.CONTENT and not marks & Marks.FINISH:
            facts.final_usage = False  # a usage that is followed by content was a running total
        elif facts.usage is not had:
            ended = facts.finish_reasons or facts.error is not None or marks & Marks.USAGE_EVENT
            facts.final_usage = facts.final_usage or bool(ended)
        return marks


def _read(told: _Answer, facts: Facts, *, failed: bool = False) -> int:
    """Take what one object says into `facts`; return its `Marks`."""
    facts.response_id = facts.response_id or name(told.id)
    facts.response_model = name(told.model) or facts.response_model
    facts.service_tier = name(told.service_tier) or facts.service_tier
    choices = told.choices if isinstance(told.choices, list) else []
    usages = [told.usage]
    if isinstance(told.x_groq, dict):
        usages.append(told.x_groq.get("usage"))
    marks = 0
    for place, choice in enumerate(choices):
        if isinstance(choice, dict):
            marks |= _read_choice(place, choice, facts)
            usages.append(choice.get("usage"))  # Moonshot
    _read_usage(usages, facts)
    if told.usage is None:
        marks |= Marks.USAGE_NULL
    if failed or told.error or "error" in (told.object, told.type) or _minimax_failed(told.base_resp):
        facts.error = error_of({"error": told.error or msgspec.structs.asdict(told)}) or facts.error or ""
    elif isinstance(told.usage, dict) and not choices:
        marks |= Marks.USAGE_EVENT
    return marks


def _read_choice(place: int, choice: dict[str, Any], facts: Facts) -> int:
    marks = 0
    reason = choice.get("finish_reason")
    if isinstance(reason, str) and reason:
        marks = Marks.FINISH
        index = choice.get("index")
        facts.finish_reasons[index if isinstance(index, int) else place] = reason[:LONGEST_NAME]
        if reason == "error":
            facts.error = error_of({"error": choice.get("error")}) or facts.error or ""
    part = choice.get("delta") or choice.get("message")
    if isinstance(part, dict):
        for member, value in part.items():
            if value and member in _SAYS:
                marks |= _SAYS[member]
                _say(value, facts)
    elif text := choice.get("text"):  # the older shape
        marks |= Marks.CONTENT
        facts.say(text)
    return marks


def _say(value: Any, facts: Facts) -> None:
    """Take note of content for an estimate: a text, or the calls of tools and functions."""
    if isinstance(value, str):
        facts.say(value)
        return
    for call in value if isinstance(value, list) else (value,):
        told = call.get("function", call) if isinstance(call, dict) else {}
        for member in ("name", "arguments", "text", "transcript") if isinstance(told, dict) else ():
            facts.say(told.get(member))


def _minimax_failed(status: Any) -> bool:
    return isinstance(status, dict) and status.get("status_code") not in (None, 0, "0")


def _read_usage(usages: Iterable[Any], facts: Facts) -> None:
    """Take the first usage of one object that tells a count; zeros do not replace what was counted before."""
    for usage in usages:
        if not isinstance(usage, dict):
            continue
        counted = from_openai(usage)
        if counted is not None and (any(counted.values()) or not facts.usage):
            facts.usage = counted
            facts.provider_cost_usd = _cost(usage.get("cost"))
            return


def _cost(value: Any) -> Decimal | None:
    """Return what an upstream says it cost, in USD."""
    return money(value.get("total_cost") if isinstance(value, dict) else value)  # Perplexity


class Completions(ChatCompletions):
    """The dialect of the older text completions, which answer in the same shape."""

    operation = "text_completion"
    prompt = ("prompt", "suffix")
