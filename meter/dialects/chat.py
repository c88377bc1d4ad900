"""Chat completions: POST .../chat/completions, streamed and not.

Requests are read for three members and never re-serialised; asking for usage is a splice into the client's
own bytes. Answers are decoded with every member as `Any`: a wrong type in one of them must not cost us the
others.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from meter.dialect import Facts, Marks, Request
from meter.errors import error_of, read_error
from meter.members import Member, append, scan
from meter.usage import from_openai

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

__all__ = ["ChatCompletions"]

_DONE = b"[DONE]"
_ASKED = b'"include_usage":true'
_ASKING = b'"stream_options":{' + _ASKED + b"}"
_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
_LONGEST_NAME = 1024
"""Characters of a model name or an id that are kept."""
_LONGEST_NUMBER = 40
"""Digits; Python refuses to convert those of thousands."""
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
    code: Any = None
    error: Any = None
    x_groq: Any = None
    base_resp: Any = None


_request = msgspec.json.Decoder(_Request)
_answer = msgspec.json.Decoder(_Answer)

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
    returned = ("timings",)  # llama.cpp puts them on its last event, which asking makes the usage event

    def read_request(self, body: bytes) -> Generator[None, None, Request]:
        """Read a request's body; one that strict parsers refuse is scanned, in slices."""
        try:
            told = _request.decode(body)
        except _UNREADABLE:
            return (yield from _scanned(body))
        stream = told.stream is True
        asking = (yield from _ask(body, told.stream_options)) if stream else None
        return Request(model=_name(told.model), stream=stream, asking=asking)

    def read_answer(self, body: bytes, facts: Facts) -> None:
        """Read a whole JSON answer."""
        told = _decode(body)
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
        told = _decode(data)
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


def _name(value: Any) -> str | None:
    return value[:_LONGEST_NAME] if isinstance(value, str) and value else None


# Requests.


def _scanned(body: bytes) -> Generator[None, None, Request]:
    """Read a request by what stands where; one that is no JSON object says nothing."""
    found = yield from scan(body)
    if found is None:
        return Request()
    stream, model = _last(found, "stream"), _last(found, "model")
    streams = stream is not None and _value(body, stream) == b"true"
    asking = (yield from _spliced(body, found)) if streams else None
    return Request(model=_scanned_name(body, model), stream=streams, asking=asking)


def _last(found: list[Member], name: str) -> Member | None:
    """Return the member of a name; of duplicates the last is the one read and edited."""
    return next((member for member in reversed(found) if member.name == name), None)


def _value(text: bytes, member: Member) -> bytes:
    return text[member.value : member.end]


def _scanned_name(body: bytes, member: Member | None) -> str | None:
    try:
        return _name(msgspec.json.decode(_value(body, member))) if member is not None else None
    except _UNREADABLE:
        return None


def _ask(body: bytes, options: Any) -> Generator[None, None, bytes | None]:
    """Return a valid `body` with usage asked for; None where that has been done or is out of place."""
    if options is UNSET:
        return append(body, _ASKING)
    if isinstance(options, dict) and options.get("include_usage") is True:
        return None  # most who ask do: there is no need to know where it stands
    found = yield from scan(body)
    return None if found is None else (yield from _spliced(body, found))


def _spliced(body: bytes, found: list[Member]) -> Generator[None, None, bytes | None]:
    """Put `include_usage` into the body's bytes; everything else stays as it came."""
    options = _last(found, "stream_options")
    if options is None:
        return append(body, _ASKING)
    value = _value(body, options)
    edited = b"{" + _ASKED + b"}" if value == b"null" else (yield from _switched_on(value))
    return None if edited is None else body[: options.value] + edited + body[options.end :]


def _switched_on(options: bytes) -> Generator[None, None, bytes | None]:
    """Return a `stream_options` object's bytes with `include_usage` true.

    None where it is no object, or says anything but no: what is not a bool is the upstream's to judge.
    """
    found = yield from scan(options)
    if found is None:
        return None
    last = _last(found, "include_usage")
    if last is None:
        return append(options, _ASKED)
    if _value(options, last) not in (b"false", b"null"):
        return None
    return options[: last.value] + b"true" + options[last.end :]


# Answers.


def _decode(data: bytes) -> _Answer | None:
    """Decode an event or an answer; None where it is no JSON object."""
    try:
        return _answer.decode(data)
    except _UNREADABLE:
        pass
    try:  # models write half of a surrogate pair, servers write NaN and byte order marks
        told = _lenient.decode(data.decode("utf-8-sig", "replace").strip())
    except _UNREADABLE:
        return None
    if not isinstance(told, dict):
        return None
    return _Answer(**{name: told[name] for name in _Answer.__struct_fields__ if name in told})


def _whole_number(digits: str) -> int | None:
    return int(digits) if len(digits) <= _LONGEST_NUMBER else None


_lenient = json.JSONDecoder(parse_int=_whole_number, strict=False)


def _read(told: _Answer, facts: Facts, *, failed: bool = False) -> int:
    """Take what one object says into `facts`; return its `Marks`."""
    facts.response_id = facts.response_id or _name(told.id)
    facts.response_model = _name(told.model) or facts.response_model
    facts.service_tier = _name(told.service_tier) or facts.service_tier
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
        facts.finish_reasons[index if isinstance(index, int) else place] = reason[:_LONGEST_NAME]
        if reason == "error":
            facts.error = error_of({"error": choice.get("error")}) or facts.error or ""
    part = choice.get("delta") or choice.get("message")
    if isinstance(part, dict):
        for name, value in part.items():
            if value:
                marks |= _SAYS.get(name, 0)
    elif choice.get("text"):  # servers that answer chat in the older shape
        marks |= Marks.CONTENT
    return marks


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
    """Return what an upstream says it cost, in USD; None where it says nothing that can be money."""
    if isinstance(value, dict):  # Perplexity
        value = value.get("total_cost")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return Decimal(repr(value)) if 0 <= value <= _DEAREST_USD else None
