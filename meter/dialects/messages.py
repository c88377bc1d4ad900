"""Anthropic's messages: POST .../v1/messages, streamed and not.

A stream tells its usage twice: at its start, as far as it is known then, and at its end as running totals,
which replace the first ones count by count. The partition itself is what is kept in between: each whole is
found again as the sum of its kinds. Vendors of compatible endpoints tell less at the start, or nothing.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from meter import inquiry
from meter.dialect import Facts, Marks, Request
from meter.dialects.reading import told_in
from meter.errors import error_of, refused
from meter.exchange import INPUT_KINDS
from meter.lenient import UNREADABLE, Shape, name, written
from meter.usage import cost_usd, count

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

__all__ = ["Messages"]


class _Told(msgspec.Struct):
    """An event, or a whole answer, which has the members of the `message` in an event."""

    type: Any = None
    message: Any = None
    content_block: Any = None
    delta: Any = None
    index: Any = None
    usage: Any = None
    error: Any = None
    code: Any = None
    base_resp: Any = None
    success: Any = None
    id: Any = None
    model: Any = None
    content: Any = None
    stop_reason: Any = None


_told = Shape(_Told)

_REASONS = Marks.CONTENT | Marks.REASONING

# Left out is what the model did not write (results of tools, what a citation quotes) and what nobody reads
# (signatures). A call's beginning has its name alone, and is content as it is in chat completions.
_SAYS: Mapping[str, tuple[str, int]] = {
    "text": ("text", Marks.CONTENT),
    "text_delta": ("text", Marks.CONTENT),
    "thinking": ("thinking", _REASONS),
    "thinking_delta": ("thinking", _REASONS),
    "redacted_thinking": ("data", _REASONS),
    "tool_use": ("name", Marks.CONTENT),
    "server_tool_use": ("name", Marks.CONTENT),
    "mcp_tool_use": ("name", Marks.CONTENT),
    "input_json_delta": ("partial_json", Marks.CONTENT),
    "compaction": ("content", Marks.CONTENT),
    "compaction_delta": ("content", Marks.CONTENT),
}
"""By the type of a block or of a delta: the member that is content unless it is empty, and its marks."""


class _Count(NamedTuple):
    """A count that is told, and those that only break it down."""

    rest: str
    """The kind of what is not told apart."""
    member: str
    parts: Mapping[str, tuple[str, str]]
    """By kind, the path to the count."""


_COUNTS = (
    _Count("input", "input_tokens", {}),
    _Count("input_cached", "cache_read_input_tokens", {}),
    _Count(
        "input_cache_write",
        "cache_creation_input_tokens",
        {
            "input_cache_write_5m": ("cache_creation", "ephemeral_5m_input_tokens"),
            "input_cache_write_1h": ("cache_creation", "ephemeral_1h_input_tokens"),
        },
    ),
    _Count("output", "output_tokens", {"output_reasoning": ("output_tokens_details", "thinking_tokens")}),
)


class Messages:
    """The dialect of messages."""

    operation = "messages"
    consumes = True
    streams_array = False
    returned = ()

    def read_request(self, body: bytes) -> Generator[None, None, Request]:
        """Read a request's body; usage is told without asking."""
        told = yield from inquiry.read(body)
        return Request(
            model=told.model,
            stream=told.streams,
            prompt_tokens=told.tokens("system", "messages", "tools"),
        )

    def read_answer(self, body: bytes, facts: Facts) -> None:
        """Read a whole JSON answer."""
        told = _read(body, facts)
        if told is None:
            return
        _read_message(msgspec.structs.asdict(told), facts)
        _read_reason(told.stop_reason, facts)
        facts.final_usage = facts.usage is not None

    def read_event(self, name: bytes, data: bytes, facts: Facts) -> int:
        """Read one event's data."""
        told = _read(data, facts, name)
        if name == b"message_stop" or (told is not None and told.type == "message_stop"):
            facts.terminated = True
        if told is None:
            return 0
        facts.part = told.index if isinstance(told.index, int) else None
        marks = _read_piece(told.content_block, facts) | _read_piece(told.delta, facts)
        if isinstance(told.delta, dict):
            marks |= _read_reason(told.delta.get("stop_reason"), facts)
        if isinstance(told.message, dict):
            marks |= _read_message(told.message, facts)
            _drop_placeholder(facts)
        elif _read_usage(told.usage, facts):
            facts.final_usage = facts.final_usage or bool(facts.finish_reasons)
        return marks


# Errors.


def _read(data: bytes, facts: Facts, event: bytes = b"") -> _Told | None:
    """Return what an object says, once the error that it may tell is taken; None where `data` is none."""
    told = told_in(_told, data, facts, event)
    if told is not None:
        facts.fail(_error_in(told, failed=event == b"error"))
    return told


def _error_in(told: _Told, *, failed: bool) -> str | None:
    # GLM tells `success` of a route it does not have.
    said_no = told.success is False or refused(told.base_resp)
    if not (failed or said_no or told.error or told.type == "error"):
        return None
    return error_of({"error": told.error or {"code": told.code, "type": told.type}})


# Content.


def _read_message(message: Mapping[str, Any], facts: Facts) -> int:
    """Take what a message says, all but why it stopped: at a stream's start it has not."""
    facts.response_id = facts.response_id or name(message.get("id"))
    facts.response_model = name(message.get("model")) or facts.response_model
    _read_usage(message.get("usage"), facts)
    content = message.get("content")
    marks = 0
    for facts.part, block in enumerate(content if isinstance(content, list) else ()):
        marks |= _read_piece(block, facts)
    return marks


def _read_reason(reason: Any, facts: Facts) -> int:
    told = name(reason)
    if told is None:
        return 0
    facts.finish(0, told)
    return Marks.FINISH


def _read_piece(piece: Any, facts: Facts) -> int:
    """Take a block or a delta; return its marks."""
    kind = piece.get("type") if isinstance(piece, dict) else None
    if not isinstance(kind, str) or kind not in _SAYS:
        return 0
    member, marks = _SAYS[kind]
    text = piece.get(member)
    if not isinstance(text, str) or not text:
        return 0
    if member != "data":  # what is encrypted has no length to go by
        facts.say(text)
    if piece.get("input"):  # empty where it follows in deltas
        with suppress(*UNREADABLE):
            facts.say(written(piece["input"]))
    return marks


# Usage.


def _read_usage(usage: Any, facts: Facts) -> bool:
    """Take what a usage tells; return whether it tells any count."""
    if not isinstance(usage, dict):
        return False
    speed = name(usage.get("speed"))
    # Fast is priced like a tier of its own, and it is told beside the standard one.
    tier = speed if speed != "standard" else None
    facts.service_tier = tier or name(usage.get("service_tier")) or facts.service_tier
    searches = _at(usage, ("server_tool_use", "web_search_requests"))
    if searches:  # vendors who cannot search tell 0
        facts.units["searches"] = searches
    cost = cost_usd(usage)
    if cost is not None:
        facts.provider_cost_usd = cost
    had = facts.usage or {}
    counted = {kind: number for each in _COUNTS for kind, number in _merged(each, usage, had).items()}
    if counted:
        facts.usage = counted
    return any(_at(usage, (each.member,)) is not None for each in _COUNTS)


def _drop_placeholder(facts: Facts) -> None:
    """Forget what the start of a stream tells where that is no input: no prompt is empty."""
    if facts.usage is not None and not any(facts.usage.get(kind) for kind in INPUT_KINDS):
        facts.usage = None


def _merged(each: _Count, usage: Mapping[str, Any], had: Mapping[str, int]) -> dict[str, int]:
    """Return the kinds of one count, as `usage` tells them or, where it does not, as they were before."""
    known = [had[kind] for kind in (each.rest, *each.parts) if kind in had]
    before = sum(known) if known else None
    parts = {kind: _later(_summed(usage, path), had.get(kind)) for kind, path in each.parts.items()}
    told = {kind: part for kind, part in parts.items() if part is not None}
    total = _summed(usage, (each.member,))
    if total is None and told:  # the parts are told without their whole
        total = max(sum(told.values()), before or 0)
    total = _later(total, before)
    return {} if total is None else _split(total, told, each.rest)


def _split(left: int, parts: Mapping[str, int], rest: str) -> dict[str, int]:
    """Return a whole by kind; parts beyond it are cut."""
    kinds: dict[str, int] = {}
    for kind, part in parts.items():
        kinds[kind] = min(part, left)
        left -= kinds[kind]
    # Of cache writes, the plain kind is those that are not told apart: none is not a count of 0.
    if left or not kinds or rest != "input_cache_write":
        kinds[rest] = left
    return kinds


def _later(told: int | None, had: int | None) -> int | None:
    """Return the later word on a count: a 0 does not replace what was counted before."""
    return had if told is None else told or had or 0


def _summed(usage: Mapping[str, Any], path: tuple[str, ...]) -> int | None:
    """Return a count with what compacting the context used, which is charged for and in no total.

    Other iterations are in the totals, but for those of another model, which this one's price does not fit.
    """
    total = _at(usage, path)
    iterations = usage.get("iterations")
    if total is None or not isinstance(iterations, list):
        return total
    return total + sum(
        _at(each, path) or 0
        for each in iterations
        if isinstance(each, dict) and each.get("type") == "compaction"
    )


def _at(told: Any, path: tuple[str, ...]) -> int | None:
    """Return the count at `path`; None where there is none."""
    for member in path:
        told = told.get(member) if isinstance(told, dict) else None
    return count(told)
