"""The Realtime API: what is said of one response, and of one transcription, in the messages of a WebSocket.

A response opens with `response.created`, goes on with pieces of text, sound and calls of tools, and closes
with `response.done`, which tells what this response used. What the user says may be transcribed beside it, by
another model at another price. Sound is base64, and never taken for text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from meter.dialect import Facts, Marks, Request
from meter.errors import error_of
from meter.lenient import Shape, name
from meter.usage import audio_seconds, from_openai

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

__all__ = ["InputTranscriptions", "Realtime"]

_DELTA = ".delta"
_SOUNDS = frozenset(("response.audio.delta", "response.output_audio.delta"))
"""Events whose deltas are base64."""
_DONE = "response.done"
_COMPLETED, _FAILED, _SEGMENT = ".completed", ".failed", ".segment"


class _Message(msgspec.Struct):
    type: Any = None
    response: Any = None
    delta: Any = None
    transcript: Any = None
    usage: Any = None
    error: Any = None


_message = Shape(_Message)


class _Messages:
    """What both have in common: they come as messages, of which there is no request and no whole answer."""

    consumes = True
    streams_array = False
    returned = ()

    def read_request(self, body: bytes) -> Generator[None, None, Request]:  # noqa: ARG002 - as every dialect's
        """Read nothing: what asks for a response does not name a model."""
        yield from ()
        return Request()

    def read_answer(self, body: bytes, facts: Facts) -> None:
        """Read nothing: an answer without messages is an error, which is nobody's dialect."""


class Realtime(_Messages):
    """The dialect of the responses of a session."""

    operation = "realtime"

    def read_event(self, name: bytes, data: bytes, facts: Facts) -> int:  # noqa: ARG002 - messages have none
        """Read a message that is about one response."""
        told = _message(data)
        if told is None or not isinstance(told.type, str):
            return 0
        if isinstance(told.response, dict):
            return _read_response(told.response, facts, done=told.type == _DONE)
        if not told.delta or not told.type.endswith(_DELTA):
            return 0
        facts.say(told.delta if isinstance(told.delta, str) and told.type not in _SOUNDS else "")
        return Marks.CONTENT | Marks.REASONING if "reasoning" in told.type else Marks.CONTENT


def _read_response(response: Mapping[str, Any], facts: Facts, *, done: bool) -> int:
    facts.response_id = name(response.get("id")) or facts.response_id
    facts.response_model = name(response.get("model")) or facts.response_model
    if not done:
        return 0
    facts.terminated = True
    usage = response.get("usage")
    facts.usage = from_openai(usage) if isinstance(usage, dict) else None
    facts.final_usage = facts.usage is not None
    details = response.get("status_details")
    details = details if isinstance(details, dict) else {}
    status = name(response.get("status"))
    if status == "failed":
        facts.fail(error_of({"error": details.get("error")}) or "")
    if status is None:
        return 0
    # Why one was cancelled (somebody spoke, somebody said so) is no reason that a model had.
    facts.finish(0, (name(details.get("reason")) if status == "incomplete" else None) or status)
    return Marks.FINISH


class InputTranscriptions(_Messages):
    """The dialect of the transcriptions of what the user says."""

    operation = "transcription"

    def read_event(self, name: bytes, data: bytes, facts: Facts) -> int:  # noqa: ARG002 - messages have none
        """Read a message that is about one transcription."""
        told = _message(data)
        if told is None or not isinstance(told.type, str):
            return 0
        if told.type.endswith(_FAILED):
            facts.terminated = True
            facts.fail(error_of({"error": told.error}) or "")
            return 0
        if told.type.endswith(_SEGMENT):
            return Marks.CONTENT  # says once more what deltas say
        text = told.transcript if told.type.endswith(_COMPLETED) and facts.said is None else told.delta
        said = isinstance(text, str) and bool(text)
        facts.say(text if said else None)
        if told.type.endswith(_COMPLETED):
            facts.terminated = True
            facts.answered()
            _read_usage(told.usage, facts)
        return Marks.CONTENT if said else 0


def _read_usage(usage: Any, facts: Facts) -> None:
    """Take the usage of a transcription, by tokens or by the length of what was heard."""
    if not isinstance(usage, dict):
        return
    heard = audio_seconds(usage)
    if heard is not None:
        facts.units["audio_seconds"] = heard
    else:
        facts.usage = from_openai(usage)
    facts.final_usage = facts.usage is not None
