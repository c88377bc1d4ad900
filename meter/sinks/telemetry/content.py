"""Prompts and answers in the shape that the conventions give messages: a role, and parts of some type.

Formats differ in where they put a text and agree in the rest, so that one reading does for all of them. What
it cannot read, such as a prompt that was cut, is one part as it stands.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from meter.lenient import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["asked", "told"]

_SYSTEM = ("system", "instructions", "system_instruction", "systemInstruction")
_ROLES = {"model": "assistant", "chatbot": "assistant", "developer": "system"}
_TEXTS = (
    "text",
    "input_text",
    "output_text",
    "refusal",
    "thinking",
    "content",
    "parts",
    "output",
    "response",
)
"""Members in which a part or a message has its text, or parts of its own, in the order of trust."""
_CALLS = frozenset({"tool_use", "function_call", "tool_call"})
_RESULTS = frozenset({"tool_result", "function_call_output", "tool"})
_DEEPEST = 8

_Json = dict[str, Any]


def asked(question: str) -> str:
    """Return `gen_ai.input.messages` of a prompt: members of a request as JSON, else any text."""
    try:
        members = msgspec.json.decode(question)
    except UNREADABLE:
        members = None
    if not isinstance(members, dict):
        return _dumped([_message("user", [_text(question)])])
    try:
        return _dumped(list(_messages(members)))
    except (RecursionError, ValueError):
        return _dumped([_message("user", [_text(question)])])


def told(answer: str, finish_reasons: Sequence[str]) -> str:
    """Return `gen_ai.output.messages` of an answer."""
    message = _message("assistant", [_text(answer)])
    if finish_reasons:
        message["finish_reason"] = finish_reasons[0]
    return _dumped([message])


def _messages(members: _Json) -> Iterator[_Json]:
    for name, value in members.items():
        if name in _SYSTEM:
            yield _message("system", list(_parts(value)))
            continue
        spoken = value if isinstance(value, list) else [value]
        for each in spoken:
            yield from _spoken(each)


def _spoken(value: Any) -> Iterator[_Json]:
    role = "user"
    if isinstance(value, dict):
        kind = value.get("type")
        said = value.get("role", "tool" if kind in _RESULTS else "assistant" if kind in _CALLS else role)
        role = said if isinstance(said, str) else role
    parts = list(_parts(value))
    if parts:
        yield _message(_ROLES.get(role.lower(), role.lower()), parts)


def _parts(value: Any, depth: int = 0) -> Iterator[_Json]:
    if isinstance(value, str):
        yield _text(value)
    elif isinstance(value, list) and depth < _DEEPEST:
        for each in value:
            yield from _parts(each, depth + 1)
    elif isinstance(value, dict):
        yield from _parts_of(value, depth + 1)


def _parts_of(value: _Json, depth: int) -> Iterator[_Json]:
    kind = value.get("type")
    if kind in _CALLS or "functionCall" in value:
        yield _call(value.get("functionCall") or value)
        return
    if kind in _RESULTS or "functionResponse" in value or value.get("role") == "tool":
        yield _result(value.get("functionResponse") or value)
        return
    inner = next((value[name] for name in _TEXTS if value.get(name)), None)
    if inner is not None and not isinstance(inner, dict):
        yield from _parts(inner, depth)
    elif isinstance(kind, str):  # an image, say: that it was there, and not what is on it
        yield {"type": kind}
    for call in value.get("tool_calls") or ():
        if isinstance(call, dict):
            yield _call(call)


def _call(value: _Json) -> _Json:
    function = value.get("function")
    inside = function if isinstance(function, dict) else value
    arguments = next((inside[n] for n in ("arguments", "input", "args") if n in inside), None)
    identity = value.get("call_id") or value.get("id")
    return {"type": "tool_call", "id": identity, "name": inside.get("name"), "arguments": arguments}


def _result(value: _Json) -> _Json:
    identity = next(
        (value[name] for name in ("tool_call_id", "tool_use_id", "call_id", "id") if name in value), None
    )
    answer = next(
        (value[name] for name in ("content", "output", "response", "result") if name in value), None
    )
    return {"type": "tool_call_response", "id": identity, "response": answer}


def _text(text: str) -> _Json:
    return {"type": "text", "content": text}


def _message(role: str, parts: list[_Json]) -> _Json:
    return {"role": role, "parts": parts}


def _dumped(messages: list[_Json]) -> str:
    return json.dumps(messages, ensure_ascii=False, separators=(",", ":"))
