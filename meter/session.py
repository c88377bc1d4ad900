"""Sorts what goes by in a WebSocket into the responses it is made of, each an exchange of its own.

Think of somebody who overhears a telephone call and keeps a slip of paper for each thing that was asked for:
begun when the client asks, or when the upstream begins unasked; filled in by what is said of it; handed in
when it is done, or when the line goes dead. Nothing here waits, reads a clock or says a word.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from meter.abridge import SHORT_TEXT, abridged
from meter.dialect import Request
from meter.dialects.realtime import InputTranscriptions
from meter.errors import error_of
from meter.exchange import Outcome
from meter.lenient import Shape, name
from meter.members import at_once
from meter.tap import Tap
from meter.websocket import Frames

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from meter.dialect import Dialect
    from meter.websocket import Message

__all__ = ["Session", "Turn"]

_ASK = "response.create"
_ASK_BYTES = _ASK.encode()
_BEGINNING = 4096
"""Of a client's message so many bytes are looked at: most of them are sound."""
_TURNS = 100
"""Turns that may be under way, asked for or awaited at once; more are nobody's doing but a hostile one's."""

_ANSWERS = "response."
_ERROR = "error"
_HEARD = "input_audio_buffer.committed"
_TRANSCRIPTION = "conversation.item.input_audio_transcription."
_SESSIONS = frozenset(
    f"{kind}.{what}" for kind in ("session", "transcription_session") for what in ("created", "updated")
)

# Members at the beginning of an object, as long as their values are plain.
_PLAIN = re.compile(rb'[{,]\s*"(\w+)"\s*:\s*(?:"([^"\\]*)"|[-+.\w]+)\s*(?=,)')


class _Asked(msgspec.Struct):
    type: Any = None
    event_id: Any = None
    model: Any = None


class _Said(msgspec.Struct):
    type: Any = None
    response_id: Any = None
    response: Any = None
    stream_id: Any = None
    item_id: Any = None
    session: Any = None
    error: Any = None
    code: Any = None


_asked = Shape(_Asked)
_said = Shape(_Said)


@dataclass(slots=True)
class Turn:
    """One response, or one transcription: an exchange inside of another."""

    tap: Tap
    began: float
    """When it was asked for, else when the upstream began with it."""
    operation: str
    request: Request = field(default_factory=Request)
    lane: str | None = None
    """The stream that it belongs to, where several share the connection."""
    ended: float = 0.0
    cause: Outcome | None = None
    """What broke it off."""


@dataclass(slots=True, eq=False)
class _Ask:
    """A response that the client has asked for, and that nobody has begun."""

    at: float
    event_id: str | None
    request: Request
    error: str | None = None
    """Code of an error that may be the answer to it."""
    failed: float = 0.0
    """When that came."""


class Session:
    """The turns of one WebSocket, whose responses speak `dialect`.

    `deflate` says that its messages may be deflated, `event_bytes` how long one may be that is held,
    `estimate` that what nobody told may be estimated. All times are seconds on one clock. Turns are given
    back when they have ended, in that order.
    """

    def __init__(
        self, dialect: Dialect, *, deflate: bool = False, event_bytes: int = 1 << 20, estimate: bool = True
    ) -> None:
        self.closed_by: Outcome | None = None
        """CLIENT_CLOSED or TRUNCATED, by whose close frame came first; None while none has."""

        self._dialect = dialect
        self._event_bytes = event_bytes
        self._estimate = estimate
        # What asks for a realtime response is short, amid a flood of sound; elsewhere it is the whole prompt.
        self._flooded = dialect.operation == "realtime"
        self._from_client = Frames(
            masked=True,
            limit=_BEGINNING if self._flooded else event_bytes,
            deflate=deflate,
            beginnings=self._flooded,
        )
        self._from_upstream = Frames(masked=False, limit=event_bytes, deflate=deflate)
        self._asks: deque[_Ask] = deque(maxlen=_TURNS)
        self._turns: dict[str, Turn] = {}
        self._done: deque[str] = deque(maxlen=_TURNS)
        """Ids of turns that have ended: some upstreams have afterthoughts."""
        self._heard: dict[str, float] = {}
        """When sound was taken in that may be transcribed, by item."""
        self._out: list[Turn] = []
        self._model: str | None = None
        self._transcriber: str | None = None

    @property
    def readable(self) -> bool:
        """Both directions are WebSockets as far as they were read."""
        return not (self._from_client.broken or self._from_upstream.broken)

    def client(self, data: bytes, now: float) -> Sequence[Turn]:
        """Take in what the client sent; return the turns that have ended with it."""
        for message in self._from_client.feed(data):
            if _ASK_BYTES in message.text:
                self._ask(message, now)
        if self._from_client.closed and self.closed_by is None:
            self.closed_by = Outcome.CLIENT_CLOSED
        return self._ended()

    def upstream(self, data: bytes, now: float) -> Sequence[Turn]:
        """Take in what the upstream sent; return the turns that have ended with it."""
        for message in self._from_upstream.feed(data):
            self._hear(message.text, now)
        if self._from_upstream.closed and self.closed_by is None:
            self.closed_by = Outcome.TRUNCATED
        return self._ended()

    def end(self, now: float, cause: Outcome) -> Sequence[Turn]:
        """End what is under way, broken off by `cause`; return it."""
        self._settle(len(self._asks))
        for key in list(self._turns):
            self._finish(key, now, cause)
        return self._ended()

    def _ended(self) -> Sequence[Turn]:
        out, self._out = self._out, []
        return out

    # What the client asks for.

    def _ask(self, message: Message, now: float) -> None:
        told = _asked(message.text) if message.whole or not self._flooded else _beginning(message.text)
        if told is None or told.type != _ASK:
            return
        self._settle(len(self._asks))
        self._asks.append(_Ask(now, name(told.event_id), self._request(message, told)))

    def _request(self, message: Message, told: _Asked) -> Request:
        request = Request(model=name(told.model))
        if self._flooded or not message.whole:
            return request
        return at_once(self._dialect.read_request(message.text)).unasked

    def _settle(self, count: int) -> None:
        """Give back those of the first `count` asks that seem to have been refused."""
        for ask in list(self._asks)[:count]:
            if ask.error is not None:
                self._asks.remove(ask)
                self._refuse(ask)

    def _refuse(self, ask: _Ask) -> None:
        tap = Tap(None)  # a request that is refused uses nothing
        tap.switch()
        tap.facts.fail(ask.error)
        tap.facts.response_model = self._model
        turn = Turn(tap, ask.at, self._dialect.operation, ask.request, ended=ask.failed)
        self._out.append(turn)

    # What the upstream says.

    def _hear(self, text: bytes, now: float) -> None:
        told = _said(text if len(text) <= SHORT_TEXT else abridged(text) or b"")
        if told is None or not isinstance(told.type, str):
            return
        kind = told.type
        if kind.startswith(_ANSWERS):
            self._answer(told, text, now)
        elif kind.startswith(_TRANSCRIPTION):
            self._transcribe(told, text, now)
        elif kind in self._readers:
            self._readers[kind](self, told, text, now)

    def _answer(self, told: _Said, text: bytes, now: float) -> None:
        """Take in what is said of a response."""
        response = told.response if isinstance(told.response, dict) else {}
        key = name(told.response_id) or name(response.get("id"))
        if key in self._done:
            return
        if key is None:
            key = self._latest(name(told.stream_id))
        elif key not in self._turns:
            self._begin(key, self._asked_for(now), name(told.stream_id), now)
        if key is not None:
            self._say(key, text, now)

    def _latest(self, lane: str | None) -> str | None:
        """Return the last response that was begun in a lane: the events of some formats do not say whose."""
        return next((key for key, turn in reversed(self._turns.items()) if turn.lane == lane), None)

    def _asked_for(self, now: float) -> _Ask:
        """Return what a response that begins was asked for by; by nothing, where a pause in speech was it."""
        place = next((i for i, ask in enumerate(self._asks) if ask.error is None), 0)
        if place >= len(self._asks):
            return _Ask(now, None, Request())
        ask = self._asks[place]
        self._settle(place)
        self._asks.remove(ask)
        return ask

    def _begin(self, key: str, ask: _Ask, lane: str | None, now: float) -> None:
        turn = self._turn(self._dialect, ask.at, self._model, ask.request)
        turn.tap.facts.response_id = key
        turn.lane = lane
        self._add(key, turn, now)

    def _turn(
        self, dialect: Dialect, began: float, model: str | None, request: Request | None = None
    ) -> Turn:
        request = request or Request()
        tap = Tap(dialect, request=request, event_bytes=self._event_bytes, estimate=self._estimate)
        tap.switch()
        tap.facts.response_model = model
        return Turn(tap, began, dialect.operation, request)

    def _add(self, key: str, turn: Turn, now: float) -> None:
        self._turns[key] = turn
        if len(self._turns) > _TURNS:
            self._finish(next(iter(self._turns)), now, Outcome.TRUNCATED)

    def _say(self, key: str, text: bytes, now: float) -> None:
        """Let a turn's tap read a message; the turn ends with what says that it does."""
        tap = self._turns[key].tap
        tap.message(text, now)
        if tap.facts.terminated:
            self._finish(key, now, None)

    def _finish(self, key: str, now: float, cause: Outcome | None) -> None:
        turn = self._turns.pop(key)
        turn.ended, turn.cause = now, cause
        self._done.append(key)
        self._out.append(turn)

    def _transcribe(self, told: _Said, text: bytes, now: float) -> None:
        """Take in what is said of the transcription of what the client said."""
        item = name(told.item_id)
        if item is None:
            return
        key = f"{_TRANSCRIPTION}{item}"
        if key in self._done:
            return
        if key not in self._turns:
            self._add(key, self._turn(_transcriptions, self._heard.pop(item, now), self._transcriber), now)
        self._say(key, text, now)

    def _take_in(self, told: _Said, _text: bytes, now: float) -> None:
        """Take note that sound was taken in: its transcription begins."""
        item = name(told.item_id)
        if item is not None and len(self._heard) < _TURNS:
            self._heard[item] = now

    def _learn(self, told: _Said, _text: bytes, _now: float) -> None:
        """Take note of the models that a session has."""
        session = told.session
        if not isinstance(session, dict):
            return
        self._model = name(session.get("model")) or self._model
        audio = _inside(session, "audio", "input")
        transcription = _inside(audio, "transcription") or _inside(session, "input_audio_transcription")
        self._transcriber = name(transcription.get("model")) or self._transcriber

    def _fail(self, told: _Said, text: bytes, now: float) -> None:
        """Take in an error: of what was asked for, of what is under way, or of something else."""
        error = told.error if isinstance(told.error, dict) else {}
        event_id = name(error.get("event_id"))
        waiting = [ask for ask in self._asks if ask.error is None and event_id in (None, ask.event_id)]
        if waiting:
            ask = waiting[0]
            ask.error = error_of({"error": error or msgspec.structs.asdict(told)}) or ""
            ask.failed = now
            if event_id is not None or not self._flooded:
                self._asks.remove(ask)
                self._refuse(ask)
        elif not self._flooded and (key := self._latest(name(told.stream_id))) is not None:
            self._say(key, text, now)

    _readers: Mapping[str, Callable[[Session, _Said, bytes, float], None]] = {
        _ERROR: _fail,
        _HEARD: _take_in,
        **dict.fromkeys(_SESSIONS, _learn),
    }


_transcriptions = InputTranscriptions()


def _inside(members: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """Return an object inside of an object; an empty one where there is none."""
    value: Any = members
    for member in path:
        value = value.get(member) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _beginning(text: bytes) -> _Asked:
    """Return what the first members of an object say, of which only the beginning is held."""
    told: dict[str, str] = {}
    at = len(text) - len(text.lstrip())
    while member := _PLAIN.match(text, at):
        told[member[1].decode()] = (member[2] or b"").decode("utf-8", "replace")
        at = member.end()
    return _Asked(**{field: told.get(field) for field in _Asked.__struct_fields__})
