"""What goes by in a WebSocket is sorted into exchanges: one a response, one a transcription."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from meter.dialect import Request
from meter.dialects.realtime import Realtime
from meter.dialects.responses import Responses
from meter.exchange import Outcome, UsageSource
from meter.session import Session, Turn

if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE = {"input_tokens": 10, "output_tokens": 4, "total_tokens": 14}
COUNTED = {"input": 10, "output": 4}
TRANSCRIPTION = "conversation.item.input_audio_transcription"


def text(message: Any, *, mask: bool = False) -> bytes:
    """Return the frame of a message."""
    return Frame(Opcode.TEXT, json.dumps(message).encode()).serialize(mask=mask)


class Call:
    """A session that somebody overhears, with a clock that moves a second at each message."""

    def __init__(self, dialect: Any = None, **options: Any) -> None:
        self.session = Session(dialect or Realtime(), **options)
        self.now = 100.0
        self.turns: list[Turn] = []

    def asks(self, *messages: dict[str, Any]) -> Call:
        """Let the client say something."""
        for message in messages:
            self.now += 1
            self.turns += self.session.client(text(message, mask=True), self.now)
        return self

    def says(self, *messages: dict[str, Any]) -> Call:
        """Let the upstream say something."""
        for message in messages:
            self.now += 1
            self.turns += self.session.upstream(text(message), self.now)
        return self

    def ends(self, cause: Outcome) -> Call:
        """End it."""
        self.now += 1
        self.turns += self.session.end(self.now, cause)
        return self

    @property
    def told(self) -> list[tuple[str, str | None, str, Any]]:
        """Of each turn: its operation and id, how it ended, what it used."""
        return [(t.operation, t.tap.facts.response_id, *ended(t)) for t in self.turns]

    @property
    def times(self) -> list[tuple[float, float | None, float]]:
        """Of each turn: when it began, had its first content, and ended, in seconds from the start."""
        return [
            (t.began - 100, t.tap.first_content and t.tap.first_content - 100, t.ended - 100)
            for t in self.turns
        ]


def ended(turn: Turn) -> tuple[str, Any]:
    """Return how a turn ended, and what it used."""
    outcome = turn.tap.outcome(turn.cause)
    counted = turn.tap.counted(outcome, sent=True)
    used: Any = counted.usage or counted.units or str(counted.source)
    return str(outcome), used


CREATE = {"type": "response.create"}


def session_of(model: str, **more: Any) -> dict[str, Any]:
    """Return the message that opens a session."""
    return {"type": "session.created", "session": {"id": "sess_1", "model": model, **more}}


def created(key: str, **more: Any) -> dict[str, Any]:
    """Return the message that begins a response."""
    return {"type": "response.created", "response": {"id": key, "status": "in_progress", **more}}


def delta(key: str, kind: str = "response.output_audio.delta", **more: Any) -> dict[str, Any]:
    """Return a piece of a response."""
    return {"type": kind, "response_id": key, "delta": "AAAA", **more}


def done(key: str, **more: Any) -> dict[str, Any]:
    """Return the message that ends a response."""
    return {"type": "response.done", "response": {"id": key, "status": "completed", "usage": USAGE, **more}}


class TestRealtime:
    """The responses of a realtime session."""

    def test_gives_a_response_that_is_done(self) -> None:
        """A response counts from the client's asking, and is given back when it is done."""
        call = Call().says(session_of("gpt-realtime-2025-08-28")).asks(CREATE)
        call.says(created("r1"), delta("r1"), delta("r1"))

        assert [] == call.turns
        call.says(done("r1"))
        assert [("realtime", "r1", "ok", COUNTED)] == call.told
        assert [(2.0, 4.0, 6.0)] == call.times
        assert "gpt-realtime-2025-08-28" == call.turns[0].tap.facts.response_model

    def test_times_what_nobody_asked_for(self) -> None:
        """A response that a pause in speech caused counts from its beginning."""
        call = Call().says(created("r1"), delta("r1"), done("r1"))

        assert [(1.0, 2.0, 3.0)] == call.times

    def test_tells_responses_apart(self) -> None:
        """Responses that overlap, and come one after the other, have their own usage each."""
        call = Call().asks(CREATE, CREATE).says(created("r1"), created("r2"), delta("r2"), delta("r1"))
        call.says(done("r2", usage={"input_tokens": 1, "output_tokens": 1}), delta("r1"), done("r1"))
        call.says(created("r3"), done("r3", usage=None))

        assert [
            ("realtime", "r2", "ok", {"input": 1, "output": 1}),
            ("realtime", "r1", "ok", COUNTED),
            ("realtime", "r3", "ok", "missing"),
        ] == call.told
        assert [(2.0, 5.0, 7.0), (1.0, 6.0, 9.0), (10.0, None, 11.0)] == call.times

    def test_knows_a_response_from_its_middle(self) -> None:
        """A response whose beginning was missed is one all the same, and none is begun twice."""
        call = Call().says(done("r1"), delta("r1"), done("r1"))

        assert [("realtime", "r1", "ok", COUNTED)] == call.told

    @pytest.mark.parametrize("cause", [Outcome.CLIENT_CLOSED, Outcome.TRUNCATED])
    def test_gives_what_was_under_way(self, cause: Outcome) -> None:
        """A response that the end finds under way is broken off by what ended it."""
        call = Call().says(created("r1"), delta("r1", "response.output_text.delta")).ends(cause)

        assert [("realtime", "r1", str(cause), "missing")] == call.told
        assert [(1.0, 2.0, 3.0)] == call.times

    def test_gives_a_failure(self) -> None:
        """A response that failed has its code."""
        details = {"type": "failed", "error": {"code": "rate_limit_exceeded"}}
        call = Call().says(created("r1"), done("r1", status="failed", status_details=details, usage=None))

        assert [("realtime", "r1", "stream_error", "missing")] == call.told
        assert "rate_limit_exceeded" == call.turns[0].tap.facts.error

    def test_takes_the_last_model(self) -> None:
        """The model is the session's as it was last told, unless the response names one."""
        call = Call().says(session_of("a"), created("r1"), done("r1"))
        call.says({"type": "session.updated", "session": {"model": "b"}}, created("r2"), done("r2"))
        call.says({"type": "session.updated", "session": None}, created("r3", model="c"), done("r3"))

        assert ["a", "b", "c"] == [turn.tap.facts.response_model for turn in call.turns]

    def test_ignores_what_is_no_response(self) -> None:
        """Messages about other things, and what is no message, make no exchange."""
        call = Call().says(
            {"type": "conversation.item.added", "item": {"id": "i"}},
            {"type": "rate_limits.updated", "rate_limits": []},
            {"type": "response.output_text.delta", "delta": "nobody's"},
            {"type": 1},
            {"type": "session.updated", "session": 1},
            {"type": "input_audio_buffer.committed"},
            {"type": f"{TRANSCRIPTION}.delta"},
        )
        for data in (b"[]", b"\xff", b"no json"):
            call.turns += call.session.upstream(Frame(Opcode.TEXT, data).serialize(mask=False), 0)
        call.asks({"type": "session.update", "session": {"instructions": "response.create"}}, CREATE)

        assert [] == call.ends(Outcome.TRUNCATED).told

    def test_finds_what_is_asked_among_the_sound(self) -> None:
        """Asking is found behind sound, and where it is long, by its beginning."""
        sound = {"type": "input_audio_buffer.append", "audio": "A" * 40_000}
        long = {
            "event_id": "e",
            "type": "response.create",
            "n": -1.5,
            "response": {"instructions": "x" * 9000},
        }
        call = Call().asks(sound, long, sound, {"response": {"metadata": {}}, "type": "response.create"})
        call.says(created("r1"), done("r1"), created("r2"), done("r2"))

        assert [2.0, 4.0] == [began for began, _, _ in call.times]

    def test_bounds_what_is_under_way(self) -> None:
        """Of more responses than anybody has, the oldest are given up."""
        call = Call().says(*[created(f"r{i}") for i in range(150)])

        assert [f"r{i}" for i in range(50)] == [turn.tap.facts.response_id for turn in call.turns]
        assert {Outcome.TRUNCATED} == {turn.cause for turn in call.turns}


class TestErrors:
    """An error is an exchange only where it answers what was asked for."""

    def error(self, event_id: str | None = None) -> dict[str, Any]:
        """Return an error that says what it answers, if anything."""
        return {"type": "error", "error": {"code": "invalid_value", "event_id": event_id}}

    def test_answers_by_its_id(self) -> None:
        """An error that names what it answers is its answer, which used nothing."""
        call = Call().asks(CREATE | {"event_id": "e1"}, CREATE | {"event_id": "e2"}).says(self.error("e2"))

        assert [("realtime", None, "stream_error", "none")] == call.told
        assert [(2.0, None, 3.0)] == call.times
        assert [(1.0, None, 5.0)] == call.says(created("r1"), done("r1")).times[1:]

    @pytest.mark.parametrize("event_id", [None, "e1"])
    def test_may_answer_something_else(self, event_id: str | None) -> None:
        """An error that names something else, or nothing while the response then comes, is no exchange."""
        call = Call().asks(CREATE).says(self.error(event_id), created("r1"), done("r1"))

        assert [("realtime", "r1", "ok", COUNTED)] == call.told
        assert [(1.0, None, 4.0)] == call.times

    def test_answers_where_no_response_comes(self) -> None:
        """An error that names nothing is the answer where the next thing is that the client asks again."""
        call = Call().asks(CREATE).says(self.error()).asks(CREATE)

        assert [("realtime", None, "stream_error", "none")] == call.told
        assert [(1.0, None, 2.0)] == call.times
        assert "invalid_value" == call.turns[0].tap.facts.error
        assert [(3.0, None, 5.0)] == call.says(created("r1"), done("r1")).times[1:]

    def test_answers_the_one_before(self) -> None:
        """Of two that were asked for at once, the first was refused where one response comes."""
        call = Call().asks(CREATE, CREATE).says(self.error(), created("r1"), done("r1"))

        assert [(1.0, None, 3.0), (2.0, None, 5.0)] == call.times

    def test_answers_at_the_end(self) -> None:
        """An error that nothing comes after is the answer."""
        call = Call().asks(CREATE).says(self.error()).ends(Outcome.CLIENT_CLOSED)

        assert [("realtime", None, "stream_error", "none")] == call.told

    def test_answers_nobody(self) -> None:
        """An error while nothing is asked for is no exchange, and breaks no response."""
        call = Call().says(self.error(), created("r1"), self.error(), self.error("e"), done("r1"))

        assert [("realtime", "r1", "ok", COUNTED)] == call.told


class TestTranscriptions:
    """What the user says is transcribed beside the responses, and charged for apart."""

    def said(self, what: str, item: str = "i1", **more: Any) -> dict[str, Any]:
        """Return a message about a transcription."""
        return {"type": f"{TRANSCRIPTION}.{what}", "item_id": item, **more}

    @pytest.mark.parametrize(
        "opening",
        [
            session_of("gpt-realtime", audio={"input": {"transcription": {"model": "whisper-1"}}}),
            session_of("gpt-realtime", input_audio_transcription={"model": "whisper-1"}),
            {
                "type": "transcription_session.created",
                "session": {"input_audio_transcription": {"model": "whisper-1"}},
            },
        ],
    )
    def test_gives_one(self, opening: dict[str, Any]) -> None:
        """A transcription counts from when the sound was taken in, by the session's model for it."""
        call = Call().says(opening, {"type": "input_audio_buffer.committed", "item_id": "i1"})
        call.says(self.said("delta", delta="hello"))
        call.says(self.said("completed", usage={"type": "duration", "seconds": 2.5}))
        call.says(self.said("completed", usage={"type": "duration", "seconds": 2.5}))

        assert [("transcription", None, "ok", {"audio_seconds": 2.5})] == call.told
        assert [(2.0, 3.0, 4.0)] == call.times
        assert "whisper-1" == call.turns[0].tap.facts.response_model

    def test_does_not_mix_them_with_responses(self) -> None:
        """Transcriptions that overlap each other and a response are told apart."""
        call = Call().says(created("i1"), self.said("delta", "i1"), self.said("delta", "i2"))
        call.says(self.said("completed", "i2", usage=USAGE), done("i1"), self.said("failed", "i1"))

        assert [
            ("transcription", None, "ok", COUNTED),
            ("realtime", "i1", "ok", COUNTED),
            ("transcription", None, "stream_error", "missing"),
        ] == call.told

    def test_gives_what_was_under_way(self) -> None:
        """A transcription that the end finds under way is broken off."""
        call = Call().says(self.said("delta", delta="hello")).ends(Outcome.TRUNCATED)

        assert [("transcription", None, "truncated", "missing")] == call.told


class TestResponses:
    """The Responses API over a WebSocket, whose pieces do not say whose they are."""

    ASK: ClassVar[dict[str, Any]] = {
        "type": "response.create",
        "model": "gpt-5.2",
        "input": [{"role": "user", "content": "x" * 420}],
    }

    def test_gives_what_was_asked_for(self) -> None:
        """Each asking has its model and its response."""
        call = Call(Responses()).asks(self.ASK).says(created("r1", model="gpt-5.2-2025-12-11"))
        call.says({"type": "response.output_text.delta", "delta": "a"})
        call.says({"type": "response.completed", "response": {"id": "r1", "usage": USAGE}})
        call.asks(self.ASK | {"model": "gpt-5-mini"}).says(created("r2"), done("r2"))

        assert [("responses", "r1", "ok", COUNTED), ("responses", "r2", "ok", COUNTED)] == call.told
        assert [(1.0, 3.0, 4.0), (5.0, None, 7.0)] == call.times
        assert ["gpt-5.2", "gpt-5-mini"] == [turn.request.model for turn in call.turns]
        assert "gpt-5.2-2025-12-11" == call.turns[0].tap.facts.response_model

    @pytest.mark.parametrize("limit", [1000, 1 << 20])
    def test_reads_what_is_long(self, limit: int) -> None:
        """What is asked for at length has its model, and messages of any length are read."""
        image = {"type": "input_image", "image_url": "data:," + "A" * 200_000}
        ask = {"type": "response.create", "input": [image], "model": "gpt-5.2"}
        result = {"type": "image_generation_call", "result": "B" * 300_000}
        call = Call(Responses(), event_bytes=limit).asks(ask).says(created("r1"))
        call.says(
            {"type": "response.completed", "response": {"id": "r1", "output": [result], "usage": USAGE}}
        )

        assert [("responses", "r1", "ok", COUNTED)] == call.told
        assert "gpt-5.2" == call.turns[0].request.model

    def test_estimates_what_was_under_way(self) -> None:
        """A response that broke off is estimated by its prompt and what was said of it."""
        call = Call(Responses()).asks(self.ASK).says(created("r1"))
        call.says({"type": "response.output_text.delta", "delta": "word " * 20}).ends(Outcome.CLIENT_CLOSED)

        [turn] = call.turns
        counted = turn.tap.counted(Outcome.CLIENT_CLOSED, sent=True)
        assert UsageSource.ESTIMATED is counted.source
        assert 90 < (counted.usage or {})["input"] < 130
        assert 20 <= (counted.usage or {})["output"] < 30

    def test_tells_lanes_apart(self) -> None:
        """Responses that share the connection are told apart by their lanes."""
        call = Call(Responses()).asks(self.ASK, self.ASK)
        call.says(created("r1") | {"stream_id": "a"}, created("r2") | {"stream_id": "b"})
        call.says({"type": "response.output_text.delta", "delta": "x", "stream_id": "a"})
        call.says(done("r2"), done("r1"))

        assert [(2.0, None, 6.0), (1.0, 5.0, 7.0)] == call.times

    def test_answers_with_an_error_at_once(self) -> None:
        """An error is the answer to what was asked for, and gives it back."""
        error = {"type": "error", "status": 400, "error": {"code": "invalid_prompt"}}
        call = Call(Responses()).asks(self.ASK).says(error)

        assert [("responses", None, "stream_error", "none")] == call.told
        assert ["gpt-5.2"] == [turn.request.model for turn in call.turns]

    def test_fails_what_is_under_way(self) -> None:
        """An error while nothing else is asked for is that of the response under way."""
        call = Call(Responses()).asks(self.ASK).says(created("r1"), {"type": "error", "code": "server_error"})
        call.ends(Outcome.TRUNCATED)

        assert [("responses", "r1", "stream_error", "missing")] == call.told
        assert "server_error" == call.turns[0].tap.facts.error


class TestGoodbye:
    """Whose close frame came first is known."""

    @pytest.mark.parametrize("client_first", [True, False])
    def test_knows_who_said_it_first(self, *, client_first: bool) -> None:
        """The first close frame is the one that counts."""
        session = Session(Realtime())
        close = Frame(Opcode.CLOSE, b"\x03\xe8")
        if client_first:
            session.client(close.serialize(mask=True), 0)
            session.upstream(close.serialize(mask=False), 0)
        else:
            session.upstream(close.serialize(mask=False), 0)
            session.client(close.serialize(mask=True), 0)

        expected = Outcome.CLIENT_CLOSED if client_first else Outcome.TRUNCATED
        assert (expected, True) == (session.closed_by, session.readable)

    def test_knows_when_it_cannot_read(self) -> None:
        """What is no WebSocket is not read, in either direction."""
        session = Session(Realtime())
        session.upstream(b"HTTP/1.1 200 OK\r\n", 0)

        assert not session.readable


ANY = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)
KINDS = (
    *("response.create", "response.created", "response.done", "response.audio.delta", "error"),
    *(
        "session.created",
        "input_audio_buffer.committed",
        f"{TRANSCRIPTION}.completed",
        f"{TRANSCRIPTION}.delta",
    ),
)
KEYS = st.sampled_from(("a", "b", "c"))
MESSAGES = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS) | ANY},
    optional={
        "response": st.fixed_dictionaries({"id": KEYS}) | ANY,
        "response_id": KEYS | ANY,
        "item_id": KEYS | ANY,
        "stream_id": KEYS | ANY,
        "event_id": KEYS | ANY,
        "error": st.fixed_dictionaries({"event_id": KEYS | ANY}) | ANY,
        "session": ANY,
        "usage": ANY,
    },
)


@settings(max_examples=120, deadline=None)
@given(
    messages=st.lists(st.tuples(st.booleans(), MESSAGES), max_size=12),
    dialect=st.sampled_from((Realtime(), Responses())),
)
def test_gives_each_turn_once(messages: Sequence[tuple[bool, Any]], dialect: Any) -> None:
    """Whatever is said in any order and of any types, nothing is raised, and no turn is given twice."""
    call = Call(dialect)
    for asked, message in messages:
        (call.asks if asked else call.says)(message)
    call.ends(Outcome.TRUNCATED)

    assert len(call.turns) == len({id(turn) for turn in call.turns})
    assert [] == call.session.end(0, Outcome.TRUNCATED)
    assert all(turn.began <= turn.ended for turn in call.turns)
    assert [0] * len(call.turns) == [turn.tap.failures for turn in call.turns]
    assert all(isinstance(turn.request, Request) for turn in call.turns)
