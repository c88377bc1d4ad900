"""Audio: POST .../audio/transcriptions and .../audio/translations hear, .../audio/speech speaks.

Some models charge by the token, some by the second heard or by the character spoken. A model that tells the
seconds charges for them and for nothing else: tokens told beside them are left out, since a count without a
price makes the cost unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from meter import inquiry
from meter.dialect import Facts, Marks, Request
from meter.dialects.reading import told_in
from meter.errors import error_of
from meter.lenient import Shape, name
from meter.usage import audio_seconds, cost_usd, from_openai, seconds

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Speech", "Transcriptions", "Translations"]

_LAST = ".done"
"""How the type of a stream's last event ends; it says once more, and in full, what parts said before it."""
_SEGMENT = ".segment"
"""How the type of an event ends that says once more what parts said, with times and speakers."""


class _Answer(msgspec.Struct):
    id: Any = None
    object: Any = None
    model: Any = None
    type: Any = None
    text: Any = None
    delta: Any = None
    audio: Any = None
    audio_data: Any = None
    choices: Any = None
    duration: Any = None
    usage: Any = None
    x_groq: Any = None
    code: Any = None
    error: Any = None

    def ends(self, how: str) -> bool:
        """Whether an event's type ends so."""
        return isinstance(self.type, str) and self.type.endswith(how)


_answer = Shape(_Answer)


class _Audio:
    """What hearing and speaking have in common."""

    consumes = True
    streams_array = False
    returned = ()

    output = "output"
    """The kind of tokens that an answer has."""

    def read_answer(self, body: bytes, facts: Facts) -> None:
        """Read a whole answer; one that is no JSON is a text, subtitles or audio."""
        told = told_in(_answer, body, facts)
        if told is None:
            return
        self._read(told, facts)
        facts.final_usage = facts.usage is not None

    def read_event(self, name: bytes, data: bytes, facts: Facts) -> int:
        """Read one event's data."""
        told = told_in(_answer, data, facts, name)
        if told is None:
            return 0
        had = facts.usage
        self._read(told, facts)
        if name == b"error":
            facts.fail(error_of({"error": msgspec.structs.asdict(told)}))
        facts.terminated = facts.terminated or told.ends(_LAST)
        marks = _read_content(told, facts)
        if marks & Marks.CONTENT and not told.ends(_LAST):
            facts.final_usage = False  # a usage that is followed by content was a running total
        elif facts.usage is not had:
            facts.final_usage = True
        return marks

    def _read(self, told: _Answer, facts: Facts) -> None:
        groq = told.x_groq if isinstance(told.x_groq, dict) else {}
        if not told.ends(_SEGMENT):  # which has an id of its own
            facts.response_id = name(told.id) or name(groq.get("id")) or facts.response_id
        facts.response_model = name(told.model) or facts.response_model
        facts.fail(error_of(msgspec.structs.asdict(told)))
        usage = told.usage or groq.get("usage")
        if isinstance(usage, dict):
            facts.provider_cost_usd = cost_usd(usage)
            self._read_usage(usage, facts)

    def _read_usage(self, usage: dict[str, Any], facts: Facts) -> None:
        facts.usage = from_openai(usage, self.output) or facts.usage


class Transcriptions(_Audio):
    """The dialect of audio made into text; its requests are forms, and not read, but for some vendors'."""

    operation = "transcription"

    def read_request(self, body: bytes) -> Generator[None, None, Request]:
        """Read a request's body."""
        told = yield from inquiry.read(body)
        return Request(model=told.model, stream=told.streams)

    def _read(self, told: _Answer, facts: Facts) -> None:
        super()._read(told, facts)
        length = seconds(told.duration)
        if length is not None and not (facts.units or any((facts.usage or {}).values())):
            facts.units["audio_seconds"] = length  # what Whisper charges for

    def _read_usage(self, usage: dict[str, Any], facts: Facts) -> None:
        heard = audio_seconds(usage)
        if heard is None:
            super()._read_usage(usage, facts)
        else:
            facts.units["audio_seconds"] = heard


class Translations(Transcriptions):
    """The dialect of audio made into English text."""

    operation = "translation"


class Speech(_Audio):
    """The dialect of text made into audio.

    That a client wants events is told in `stream_format`, and not believed: what has no type is audio.
    """

    operation = "speech"
    output = "output_audio"

    def read_request(self, body: bytes) -> Generator[None, None, Request]:
        """Read a request's body."""
        told = yield from inquiry.read(body)
        text = told.value("input")
        return Request(model=told.model, characters=len(text) if isinstance(text, str) and text else None)


def _read_content(told: _Answer, facts: Facts) -> int:
    """Take note of what an event says; return its `Marks`."""
    marks = 0
    for choice in told.choices if isinstance(told.choices, list) else ():  # vLLM streams as chat does
        if isinstance(choice, dict):
            marks |= _read_choice(choice, facts)
    text = told.delta or told.text
    again = told.ends(_SEGMENT) or (told.ends(_LAST) and facts.said is not None)
    if isinstance(text, str) and text and not again:
        facts.say(text)
        marks |= Marks.CONTENT
    if told.ends(_SEGMENT) or told.audio or told.audio_data:
        marks |= Marks.CONTENT
    return marks


def _read_choice(choice: dict[str, Any], facts: Facts) -> int:
    marks = 0
    reason, delta = name(choice.get("finish_reason")), choice.get("delta")
    if reason is not None:
        marks = Marks.FINISH
        facts.finish(0, reason)
    text = delta.get("content") if isinstance(delta, dict) else None
    if isinstance(text, str) and text:
        facts.say(text)
        marks |= Marks.CONTENT
    return marks
