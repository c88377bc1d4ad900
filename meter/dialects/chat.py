"""Chat completions: POST .../chat/completions, streamed and not.

Requests are read for three members and never re-serialised; asking for usage is a splice into the client's
own bytes. Answers are decoded with every member as `Any`: a wrong type in one of them must not cost us the
others.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from meter.dialect import Facts, Marks, Request
from meter.errors import error_of
from meter.members import Member, append, members, scan
from meter.usage import from_openai

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["ChatCompletions"]

_DONE = b"[DONE]"
_ASKED = b'"include_usage":true'
_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
_LONGEST_NAME = 256
"""Characters of a model name or an id that are kept; what is longer names nothing."""
_DEAREST_USD = 10**6
"""An upstream's word on the cost of one exchange is not taken beyond this."""


class _Request(msgspec.Struct):
    model: Any = None
    stream: Any = None
    stream_options: Any = UNSET


class _Answer(msgspec.Struct):
    id: Any = None
    object: Any = None
    model: Any = None
    choices: Any = None
    usage: Any = UNSET
    service_tier: Any = None
    type: Any = None
    error: Any = None
    x_groq: Any = None
    base_resp: Any = None


_request = msgspec.json.Decoder(_Request)
_answer = msgspec.json.Decoder(_Answer)

_CONTENT = ("content", "refusal", "tool_calls", "function_call", "audio")
_REASONING = ("reasoning_content", "reasoning", "reasoning_details")


class ChatCompletions:
    """The dialect of chat completions."""

    operation = "chat"
    returned = ("timings",)  # llama.cpp puts them on its last event, which asking makes the usage event

    def read_request(self, body: bytes) -> Generator[None, None, Request]:
        """Read a request's body; one that strict parsers refuse is scanned, in slices."""
        try:
            told = _request.decode(body)
        except _UNREADABLE:
            return (yield from _scanned_request(body))
        stream = told.stream is True
        asking = (yield from _ask(body, told.stream_options)) if stream else None
        return Request(model=_name(told.model), stream=stream, asking=asking)

    def read_answer(self, body: bytes, facts: Facts) -> None:
        """Read a whole JSON answer."""
        told = _decode(body)
        if told is None:
            return
        _read(told, facts)
        facts.final_usage = facts.usage is not None

    def read_event(self, name: bytes, data: bytes, facts: Facts) -> int:
        """Read one event's data."""
        if data.startswith(_DONE):
            facts.terminated = True
            return 0
        told = _decode(data)
        if told is None:
            return 0
        had = facts.usage
        marks = _read(told, facts)
        if name == b"error" and facts.error is None:
            facts.error = error_of({"error": told.error or msgspec.structs.asdict(told)}) or ""
        told_usage = facts.usage is not had
        if told_usage and (facts.finish_reasons or marks & Marks.USAGE_EVENT):
            facts.final_usage = True
        return marks


def _decode(data: bytes) -> _Answer | None:
    """Decode an event or an answer; None where it is no JSON object."""
    try:
        return _answer.decode(data)
    except _UNREADABLE:
        return None


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME else None


# Requests.


def _scanned_request(body: bytes) -> Generator[None, None, Request]:
    found = yield from scan(body)
    if found is None:
        return Request()
    last = {m.name: m for m in found}  # of duplicate members the last is the one read and edited
    stream = _value(body, last.get("stream")) == b"true"
    asking = None
    if stream:
        try:
            options = msgspec.json.decode(_value(body, last.get("stream_options")) or b'""')
        except _UNREADABLE:
            options = ""
        if "stream_options" not in last:
            options = UNSET
        asking = _splice(body, options, last.get("stream_options"))
    return Request(model=_scanned_name(_value(body, last.get("model"))), stream=stream, asking=asking)


def _value(body: bytes, member: Member | None) -> bytes | None:
    return body[member.value : member.end] if member is not None else None


def _scanned_name(value: bytes | None) -> str | None:
    try:
        return _name(msgspec.json.decode(value or b"null"))
    except _UNREADABLE:
        return None


def _ask(body: bytes, options: Any) -> Generator[None, None, bytes | None]:
    """Return `body` with usage asked for; None where the client has asked, or said what is no option."""
    if options is UNSET:
        return _splice(body, options, None)
    if not (options is None or isinstance(options, dict)) or _has_asked(options):
        return None
    found = yield from scan(body)
    last = next((m for m in reversed(found or ()) if m.name == "stream_options"), None)
    return _splice(body, options, last) if last is not None else None


def _has_asked(options: Any) -> bool:
    """Tell whether `include_usage` says anything but no: what is not a bool is the upstream's to judge."""
    return options is not None and options.get("include_usage") not in (None, False)


def _splice(body: bytes, options: Any, member: Member | None) -> bytes | None:
    """Put `include_usage` into the body's bytes; everything else stays as it came."""
    if options is UNSET:
        return append(body, b'"stream_options":{' + _ASKED + b"}")
    if not (options is None or isinstance(options, dict)) or _has_asked(options) or member is None:
        return None
    value = body[member.value : member.end]
    edited = b"{" + _ASKED + b"}" if options is None else _switched_on(value)
    return None if edited is None else body[: member.value] + edited + body[member.end :]


def _switched_on(options: bytes) -> bytes | None:
    """Return a `stream_options` object's bytes with `include_usage` true."""
    found = members(options)
    if found is None:
        return None
    last = next((m for m in reversed(found) if m.name == "include_usage"), None)
    if last is None:
        return append(options, _ASKED)
    return options[: last.value] + b"true" + options[last.end :]


# Answers.


def _read(told: _Answer, facts: Facts) -> int:
    """Take what one object says into `facts`; return its `Marks`."""
    facts.response_id = facts.response_id or _name(told.id)
    facts.response_model = _name(told.model) or facts.response_model
    facts.service_tier = _name(told.service_tier) or facts.service_tier
    choices = told.choices if isinstance(told.choices, list) else []
    marks = 0
    for choice in choices:
        if isinstance(choice, dict):
            marks |= _read_choice(choice, facts)
    _read_error(told, facts)
    marks |= _read_usage(told, choices, facts)
    return marks


def _read_choice(choice: dict[str, Any], facts: Facts) -> int:
    marks = 0
    reason = choice.get("finish_reason")
    if isinstance(reason, str) and reason:
        marks |= Marks.FINISH
        index = choice.get("index")
        facts.finish_reasons[index if isinstance(index, int) else 0] = reason[:_LONGEST_NAME]
        if reason == "error" and facts.error is None:
            facts.error = error_of({"error": choice.get("error") or True}) or ""
    part = choice.get("delta") or choice.get("message")
    if isinstance(part, dict):
        if any(part.get(name) for name in _REASONING):
            marks |= Marks.CONTENT | Marks.REASONING
        elif any(part.get(name) for name in _CONTENT):
            marks |= Marks.CONTENT
    elif choice.get("text"):  # servers that answer chat in the older shape
        marks |= Marks.CONTENT
    return marks


def _read_error(told: _Answer, facts: Facts) -> None:
    if told.error is not None or told.object == "error" or told.type == "error":
        facts.error = error_of(msgspec.structs.asdict(told)) or facts.error or ""
    elif isinstance(told.base_resp, dict) and told.base_resp.get("status_code"):  # MiniMax
        facts.error = facts.error or ""


def _read_usage(told: _Answer, choices: list[Any], facts: Facts) -> int:
    for usage in _usages(told, choices):
        counted = from_openai(usage)
        if counted is not None:
            facts.usage = counted
            facts.provider_cost_usd = _cost(usage.get("cost"))
            break
    if isinstance(told.usage, dict) and not choices:
        return Marks.USAGE_EVENT
    return Marks.USAGE_NULL if told.usage is None else 0


def _usages(told: _Answer, choices: list[Any]) -> Generator[dict[str, Any], None, None]:
    """Yield the usage objects of one event, the most telling first."""
    if isinstance(told.usage, dict):
        yield told.usage
    if isinstance(told.x_groq, dict) and isinstance(told.x_groq.get("usage"), dict):
        yield told.x_groq["usage"]
    for choice in choices:  # Moonshot
        if isinstance(choice, dict) and isinstance(choice.get("usage"), dict):
            yield choice["usage"]


def _cost(value: Any) -> Decimal | None:
    """Return what an upstream says it cost, in USD; None where it says nothing that can be money."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return Decimal(repr(value)) if 0 <= value <= _DEAREST_USD else None
