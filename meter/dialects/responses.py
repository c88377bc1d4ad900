"""The Responses API: POST .../responses, streamed and not, and the calls below that path.

Think of one object that is told of again and again: a stream opens with it, goes on with pieces of its output
and closes with the whole of it, all that was said included. An event's name stands in its JSON too, and that
one decides, since the messages of a WebSocket have no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from meter import inquiry
from meter.dialect import Facts, Marks, Request
from meter.dialects.reading import told_in
from meter.errors import error_of
from meter.lenient import Shape, name
from meter.usage import cost_usd, from_openai

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

__all__ = ["Fetched", "Responses"]

_ERRORS = frozenset(("error", "response.error"))
_REASONING = Marks.CONTENT | Marks.REASONING


class _Response(msgspec.Struct):
    id: Any = None
    object: Any = None
    type: Any = None
    code: Any = None
    error: Any = None
    status: Any = None
    background: Any = True  # whoever gets a whole answer that is not finished will have to come back for it
    incomplete_details: Any = None
    model: Any = None
    output: Any = None
    usage: Any = None
    service_tier: Any = None


class _Event(msgspec.Struct):
    type: Any = None
    object: Any = None
    code: Any = None
    error: Any = None
    response: Any = None
    item: Any = None
    delta: Any = None


_response = Shape(_Response)
_event = Shape(_Event)

_UNDER_WAY = frozenset(("queued", "in_progress"))
"""Statuses of a response that goes on; its usage, if it has one, is a placeholder."""

_BEGINS = ("response.created", "response.queued", "response.in_progress")
_ENDS: Mapping[str, str | None] = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
    "response.cancelled": "cancelled",
    "response.done": None,  # it is for the response itself to say how
}
"""Events that end a stream, and the status that each is named after."""

_IMAGE = "response.image_generation_call.partial_image"
_ITEM = "response.output_item.done"
_SOUNDS = frozenset(("response.audio.delta", "response.output_audio.delta"))
"""Events whose deltas are base64."""
_RESULTS = frozenset(("response.shell_call_output_content.delta",))
"""Events whose deltas are no output of the model's."""

_WHOLE = ("apply_patch_call", "computer_call", "image_generation_call", "local_shell_call", "shell_call")
"""Items that are content and come without deltas, or may; what a server searches on its own is none."""

_TEXTS = ("name", "arguments", "input", "code")
_PARTS = ("content", "summary")
_PART_TEXTS = ("text", "refusal", "transcript")
"""Where an output item has its text: in members of its own, and in members of its parts."""

_ELSEWHERE = ("previous_response_id", "conversation", "prompt")
"""Members of a request that name what else is read as its prompt."""


class Responses:
    """The dialect of responses, and of their compaction, which answers in nearly the same shape."""

    operation = "responses"
    consumes = True
    streams_array = False
    returned = ()

    def read_request(self, body: bytes) -> Generator[None, None, Request]:
        """Read a request's body."""
        told = yield from inquiry.read(body)
        # Of a conversation that goes on, the request has the last turn only: any estimate would mislead.
        alone = all(told.value(member) is None for member in _ELSEWHERE)
        prompt = told.tokens("input", "instructions", "tools", "text") if alone else None
        return Request(model=told.model, stream=told.streams, prompt_tokens=prompt)

    def read_answer(self, body: bytes, facts: Facts) -> None:
        """Read a whole response, just made or fetched."""
        told = told_in(_response, body, facts)
        if told is None:
            return
        response = msgspec.structs.asdict(told)
        _identify(response, facts)
        if not facts.pending:
            _finish(response, told.status, facts)

    def read_event(self, name: bytes, data: bytes, facts: Facts) -> int:
        """Read one event's data, or a message of a WebSocket."""
        told = told_in(_event, data, facts, name)
        if told is None:
            return 0
        kind = told.type if isinstance(told.type, str) else name.decode("utf-8", "replace")
        # A tool of the server's may fail without the response failing: its events have longer names.
        failed = name == b"error" or kind in _ERRORS or told.object == "error"
        if failed or (told.error and kind.count(".") <= 1):
            facts.fail(error_of({"error": told.error or msgspec.structs.asdict(told)}) or "")
        return _READERS.get(kind, _read_delta)(kind, told, facts)


def _read_delta(kind: str, told: _Event, facts: Facts) -> int:
    """Read a piece of output; events of other names say nothing."""
    delta = told.delta
    if not delta or not kind.endswith(".delta") or kind in _RESULTS:
        return 0
    facts.part = kind
    facts.say(delta if isinstance(delta, str) and kind not in _SOUNDS else "")
    return _REASONING if "reasoning" in kind else Marks.CONTENT


def _read_image(_kind: str, _told: _Event, facts: Facts) -> int:
    facts.say("")
    return Marks.CONTENT


def _read_item(_kind: str, told: _Event, facts: Facts) -> int:
    """Read an output item that is done: a repetition, unless it came without deltas."""
    item = told.item
    if not isinstance(item, dict):
        return 0
    if _searched(item) and not facts.pending:
        facts.units["searches"] = facts.units.get("searches", 0) + 1
    return _say(item, facts) if facts.said is None or item.get("type") in _WHOLE else 0


def _read_begin(_kind: str, told: _Event, facts: Facts) -> int:
    if isinstance(told.response, dict):
        _identify(told.response, facts)
    return Marks.BARE  # it may be long all the same: instructions and tools are said back


def _read_end(kind: str, told: _Event, facts: Facts) -> int:
    response = told.response if isinstance(told.response, dict) else {}
    _identify(response, facts)
    facts.pending = False
    facts.terminated = True
    return _finish(response, _ENDS[kind] or response.get("status"), facts) | Marks.BARE  # all is said again


_READERS: Mapping[str, Callable[[str, _Event, Facts], int]] = {
    **dict.fromkeys(_BEGINS, _read_begin),
    **dict.fromkeys(_ENDS, _read_end),
    _ITEM: _read_item,
    _IMAGE: _read_image,
}
"""By the names of events; whatever is not here is a delta, or of no interest."""


def _identify(response: Mapping[str, Any], facts: Facts) -> None:
    """Take note of which response it is, and whether it is under way in the background."""
    facts.response_id = facts.response_id or name(response.get("id"))
    facts.response_model = name(response.get("model")) or facts.response_model
    facts.service_tier = name(response.get("service_tier")) or facts.service_tier
    status = name(response.get("status"))
    facts.pending = status in _UNDER_WAY and response.get("background") is True


def _finish(response: Mapping[str, Any], told: Any, facts: Facts) -> int:
    """Take what a response says that is done, `told` being its status; return its `Marks`."""
    status = name(told)
    _read_usage(response.get("usage"), facts)
    marks = _read_output(response.get("output"), facts)
    error = error_of(response)
    if error is not None or status == "failed":
        facts.fail(error or "")
    elif status in ("completed", "incomplete"):
        facts.answered()
    if status is None or status in _UNDER_WAY:
        return marks
    details = response.get("incomplete_details")
    why = name(details.get("reason")) if status == "incomplete" and isinstance(details, dict) else None
    facts.finish(0, why or status)
    return marks | Marks.FINISH


def _read_output(output: Any, facts: Facts) -> int:
    """Count searches, and read the text unless pieces of it came before; return its `Marks`."""
    items = [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
    searches = sum(map(_searched, items))
    if searches > facts.units.get("searches", 0):  # some servers send an output that is empty after all
        facts.units["searches"] = searches
    marks = 0
    if facts.said is None:
        for item in items:
            marks |= _say(item, facts)
    return marks


def _searched(item: Mapping[str, Any]) -> bool:
    """Return whether an output item is a search that is charged for; pages opened or searched in are not."""
    if item.get("type") != "web_search_call" or (item.get("status") or "completed") != "completed":
        return False
    action = item.get("action")
    return not isinstance(action, dict) or (action.get("type") or "search") == "search"


def _say(item: Mapping[str, Any], facts: Facts) -> int:
    """Take note of an output item of the model's; return its `Marks`."""
    texts = list(_texts(item))
    if not texts and item.get("type") not in _WHOLE:
        return 0
    facts.part = ("item", facts.said)  # each is one by itself
    facts.say("".join(texts))
    return _REASONING if item.get("type") == "reasoning" else Marks.CONTENT


def _texts(item: Mapping[str, Any]) -> Iterator[str]:
    if (item.get("role") or "assistant") != "assistant":
        return  # a compacted conversation has the user's words too
    told = [item.get(member) for member in _TEXTS]
    for member in _PARTS:
        parts = item.get(member)
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict):
                told += [part.get(text) for text in _PART_TEXTS]
    yield from (text for text in told if isinstance(text, str) and text)


def _read_usage(usage: Any, facts: Facts) -> None:
    """Take a usage that tells a count; zeros do not replace what was counted before."""
    counted = from_openai(usage) if isinstance(usage, dict) else None
    if counted is not None and (any(counted.values()) or not facts.usage):
        facts.usage = counted
        facts.provider_cost_usd = cost_usd(usage)
    facts.final_usage = facts.usage is not None


class Fetched(Responses):
    """The dialect of a response that is fetched after it was made: until it is finished, nothing is told."""

    operation = "other"
    consumes = False
