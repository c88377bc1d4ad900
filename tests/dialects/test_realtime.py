"""Messages of realtime sessions: what one response, and one transcription, says of itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from play import read_request

from meter.dialect import Facts, Marks, Request
from meter.dialects.realtime import InputTranscriptions, Realtime
from meter.estimate import text_tokens

WORD = text_tokens("word")
REALTIME, TRANSCRIPTIONS = Realtime(), InputTranscriptions()
COMPLETED = "conversation.item.input_audio_transcription.completed"

USAGE = {
    "total_tokens": 253,
    "input_tokens": 132,
    "output_tokens": 121,
    "input_token_details": {
        "text_tokens": 119,
        "audio_tokens": 13,
        "image_tokens": 0,
        "cached_tokens": 68,
        "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 4, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
}
COUNTED = {
    "input": 55,
    "input_cached": 64,
    "input_audio": 9,
    "input_cached_audio": 4,
    "input_image": 0,
    "input_cached_image": 0,
    "output": 30,
    "output_audio": 91,
}


def heard(*messages: dict[str, Any], dialect: Any = REALTIME) -> tuple[Facts, int]:
    """Return what messages say, and the marks of the last."""
    facts, marks = Facts(), 0
    for message in messages:
        marks = dialect.read_event(b"", json.dumps(message).encode(), facts)
    return facts, marks


def done(**response: Any) -> dict[str, Any]:
    """Return the message that ends a response."""
    told = {"object": "realtime.response", "id": "resp_1", "status": "completed", **response}
    return {"type": "response.done", "event_id": "event_9", "response": told}


class TestResponses:
    """The responses of a session."""

    def test_reads_what_one_used(self) -> None:
        """A response that is done tells its usage by modality, cached tokens apart."""
        facts, marks = heard(done(usage=USAGE, output=[], status_details=None))

        assert COUNTED == facts.usage
        assert (True, True, {0: "completed"}) == (facts.final_usage, facts.terminated, facts.finish_reasons)
        assert Marks.FINISH == marks
        assert ("resp_1", None, None) == (facts.response_id, facts.response_model, facts.error)

    @pytest.mark.parametrize(
        ("status", "details", "reason", "error"),
        [
            ("cancelled", {"type": "cancelled", "reason": "turn_detected"}, "cancelled", None),
            ("cancelled", None, "cancelled", None),
            ("incomplete", {"reason": "max_output_tokens"}, "max_output_tokens", None),
            ("incomplete", {"reason": "content_filter"}, "content_filter", None),
            ("incomplete", None, "incomplete", None),
            ("failed", {"error": {"type": "server_error", "code": None}}, "failed", "server_error"),
            ("failed", {"error": {"code": "rate_limit_exceeded"}}, "failed", "rate_limit_exceeded"),
            ("failed", {"error": {"code": "sk-secret"}}, "failed", ""),
            ("failed", None, "failed", ""),
        ],
    )
    def test_reads_how_one_ended(
        self, status: str, details: dict[str, Any] | None, reason: str, error: str | None
    ) -> None:
        """A status, and of an incomplete response its reason, is why it finished; a failed one has a code."""
        facts, _ = heard(done(status=status, status_details=details, usage=None))

        assert ({0: reason}, error, True) == (facts.finish_reasons, facts.error, facts.terminated)
        assert (None, False) == (facts.usage, facts.final_usage)

    @pytest.mark.parametrize(
        ("kind", "delta", "said", "marks"),
        [
            ("response.text.delta", "word", WORD, Marks.CONTENT),
            ("response.output_text.delta", "word", WORD, Marks.CONTENT),
            ("response.audio_transcript.delta", "word", WORD, Marks.CONTENT),
            ("response.output_audio_transcript.delta", "word", WORD, Marks.CONTENT),
            ("response.function_call_arguments.delta", "word", WORD, Marks.CONTENT),
            ("response.audio.delta", "AAAA", 0.0, Marks.CONTENT),
            ("response.output_audio.delta", "AAAA", 0.0, Marks.CONTENT),
            ("response.reasoning_text.delta", "word", WORD, Marks.CONTENT | Marks.REASONING),
            ("response.output_text.delta", "", None, 0),
            ("response.output_text.done", "word", None, 0),
            ("response.output_item.added", None, None, 0),
            ("rate_limits.updated", None, None, 0),
        ],
    )
    def test_tells_content(self, kind: str, delta: str | None, said: float | None, marks: int) -> None:
        """Pieces of text, transcripts, calls and sound are content, and sound is no text."""
        message = {"type": kind, "response_id": "resp_1", "delta": delta}

        facts, found = heard(message)

        assert (said, marks, False) == (facts.said, found, facts.terminated)

    def test_takes_a_model(self) -> None:
        """A response that names its model is believed."""
        facts, marks = heard({"type": "response.created", "response": {"id": "r", "model": "gpt-realtime"}})

        assert ("r", "gpt-realtime", 0, False) == (
            facts.response_id,
            facts.response_model,
            marks,
            facts.terminated,
        )

    def test_has_no_requests(self) -> None:
        """Neither a request nor a whole answer says anything."""
        facts = Facts()
        REALTIME.read_answer(b'{"response":{"id":"r"}}', facts)

        assert Request() == read_request(REALTIME, b'{"model":"m"}')
        assert Facts() == facts


class TestTranscriptions:
    """What the user says, made into text."""

    @pytest.mark.parametrize(
        ("usage", "counted", "units"),
        [
            (
                {
                    "type": "tokens",
                    "total_tokens": 48,
                    "input_tokens": 17,
                    "input_token_details": {"text_tokens": 0, "audio_tokens": 17},
                    "output_tokens": 31,
                },
                {"input": 0, "input_audio": 17, "output": 31},
                {},
            ),
            ({"type": "duration", "seconds": 3.5}, None, {"audio_seconds": 3.5}),
            (None, None, {}),
            ([], None, {}),
        ],
    )
    def test_reads_what_one_used(
        self, usage: Any, counted: dict[str, int] | None, units: dict[str, float]
    ) -> None:
        """A transcription tells tokens, or the seconds that were heard."""
        facts, marks = heard(
            {"type": COMPLETED, "item_id": "item_1", "transcript": "word", "usage": usage},
            dialect=TRANSCRIPTIONS,
        )

        assert (counted, units, True) == (facts.usage, facts.units, facts.terminated)
        assert (WORD, Marks.CONTENT) == (facts.said, marks)

    def test_says_each_word_once(self) -> None:
        """What deltas said is not said again by the end, nor by segments."""
        kind = "conversation.item.input_audio_transcription"
        facts, marks = heard(
            {"type": f"{kind}.delta", "delta": "word"},
            {"type": f"{kind}.segment", "text": "word"},
            {"type": f"{kind}.completed", "transcript": "word"},
            dialect=TRANSCRIPTIONS,
        )

        assert (WORD, 0, True) == (facts.said, marks, facts.terminated)

    def test_reads_silence(self) -> None:
        """Of what has no words, a transcription was made all the same."""
        facts, marks = heard({"type": COMPLETED, "transcript": ""}, dialect=TRANSCRIPTIONS)

        assert (0.0, 0) == (facts.said, marks)

    def test_reads_a_failure(self) -> None:
        """One that failed ends with its code."""
        failed = {
            "type": "conversation.item.input_audio_transcription.failed",
            "error": {"type": "server_error", "code": "audio_unintelligible"},
        }

        facts, _ = heard(failed, dialect=TRANSCRIPTIONS)

        assert ("server_error", True) == (facts.error, facts.terminated)


ANY = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
TYPES = st.sampled_from(("response.done", "response.created", "response.audio.delta", COMPLETED, 1, None))
INNER = st.sampled_from(("id", "model", "status", "status_details", "usage", "reason", "error", "seconds"))


@settings(max_examples=150, deadline=None)
@given(
    kind=TYPES,
    response=ANY | st.dictionaries(INNER, ANY, max_size=6),
    rest=st.dictionaries(st.sampled_from(("delta", "transcript", "usage", "error")), ANY),
)
def test_reads_any_types(kind: Any, response: Any, rest: dict[str, Any]) -> None:
    """Members of any types raise nothing."""
    text = json.dumps({"type": kind, "response": response, **rest}).encode()
    for dialect in (REALTIME, TRANSCRIPTIONS):
        dialect.read_event(b"", text, Facts())


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"{", b"\xff", b"[DONE]"])
def test_reads_no_json(text: bytes) -> None:
    """What is no JSON object says nothing."""
    for dialect in (REALTIME, TRANSCRIPTIONS):
        facts = Facts()
        assert 0 == dialect.read_event(b"", text, facts)
        assert Facts() == facts
