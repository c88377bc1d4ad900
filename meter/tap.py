"""The tap: watches the bytes of one exchange; bytes in, the same bytes out, facts kept.

It never waits, reads no clock and raises nothing that matters: what it cannot read it lets pass. While
nothing is to be hidden, the caller writes each piece first and lets the tap `watch` it after. While it hides
what asking for usage caused, each piece goes through `edit`: an event is held until its end, then passed,
edited or dropped, and at any end what is held goes out first, unless it is the usage event.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from meter.abridge import SHORT_TEXT, Abridger, abridged
from meter.coding import decoder, is_coded
from meter.dialect import MOST_UNWEIGHED, Facts, Marks, Request
from meter.errors import read_error
from meter.exchange import Outcome, UsageSource
from meter.jsonstream import Elements, Lines
from meter.likeness import likeness
from meter.members import append, cut_null, member_bytes, members
from meter.reckoning import Counted, reckon
from meter.sse import Kind, Part, Splitter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from meter.coding import Decoder
    from meter.dialect import Dialect
    from meter.likeness import Likeness

__all__ = ["Tap"]

_EVENTS = b"text/event-stream"
_LINES = frozenset(
    (b"application/x-ndjson", b"application/ndjson", b"application/jsonl", b"application/x-jsonl")
)
"""Media types of answers that stream as lines of JSON."""

_JSON = b"application/json"
_OPAQUE = (b"audio/", b"image/", b"video/")
"""Beginnings of media types that hold no text to be read."""

_UNTYPED = frozenset((b"", b"text/plain", b"application/octet-stream"))
"""Media types under which a server may stream to a client that asked for it."""

_PAGE = b"text/html"

_SUCCESS = range(200, 300)
_NO_CONTENT = 204
_SWITCHED = 101
"""Status under which the messages of a WebSocket come."""
_CLIENT_ERRORS = range(400, 500)
_FIRST_SERVER_ERROR = 500

_AT_ONCE = 1 << 13
_ENDS_AT_ONCE = 1000
"""A stretch of a stream that is longer, and has more ends of events in it, is read in parts."""

_BOMB_BYTES = 8 << 20
_BOMB_RATIO = 100
"""A compressed answer that inflates past both is read no further."""

_TAIL = 64 * 1024
"""Of an answer that is too long to keep, the last part is: usage is among the last members."""

_NAME = b'"usage"'
_NULL_LAST = b',"usage":null}'
_BLANKS = b" \t\r\n"

_DATA_LINE = re.compile(rb"((?:\xef\xbb\xbf)?data(?:: ?)?)[^\r\n]*([\r\n]*)")

# Of an event that broke off. Inside a JSON text a quote is escaped: what has plain ones is a member's name.
_CHOICE = re.compile(rb'"choices"\s*:\s*\[\s*\{')
_USAGE_OBJECT = re.compile(rb'"usage"\s*:\s*\{')
_USAGE_NAME = re.compile(rb'"(?:usage(?:"|$)|(?:usag|usa|us|u|)$)')


_UNREAD = Request()
_LIKELY = 16
"""Once so many events in a row were not like the one before, no likeness is looked for any more."""
_MORE_THAN_TEXT = Marks.FINISH | Marks.USAGE_EVENT | Marks.BARE

_UNTOLD = frozenset((Outcome.UNREACHABLE, Outcome.REJECTED))


class Tap:
    """Watches one answer.

    `dialect` is None where no dialect is spoken: then only outcome and times are learned. `request` is what
    it read in the client's request, `asked` says that Meter asked for usage where the client had not,
    `event_bytes` bounds an event that is held, `estimate` says that what nobody told may be estimated.

    Every `now` is in seconds on one clock; so are `first_content` and `last_content`, while `stall` is the
    longest pause between two events with content, in seconds.
    """

    # What is still as it is in nearly all exchanges stands here, and costs none of them anything.
    stream = False
    hiding = False
    status: int | None = None
    first_content: float | None = None
    last_content: float | None = None
    content_events = 0
    """Events that carry content, so far."""
    stall: float | None = None
    reasoning_streamed = False
    failures = 0
    """Times that a reader raised, which is a bug."""
    kept = b""
    """An event with a finish reason, held until the next tells whether something goes back onto it."""
    at_once = sys.maxsize
    """Bytes of a piece that can be read as it came, and does not take long."""

    _splitter: Splitter | Lines | Elements | None = None
    _decoder: Decoder | None = None
    _readable = True
    _received = 0
    _inflated = 0
    _body: bytes | bytearray = b""
    """Of a whole answer: all of it, or, where it is long, its end."""
    _abridger: Abridger | None = None
    """Of a whole answer that is long, or of an event that is longer than is held: what is kept of it."""
    _like: Likeness | None = None
    """What the last event had around its text, if nothing else in it was new and the next one begins here."""
    _likely = _LIKELY
    _spoken = ""
    """The text that the last event said, if that was all that was new in it."""
    _dropping = False
    _nulls = True
    """The next event may have a null `usage`, for the last one that said anything had."""
    _ended = False

    def __init__(
        self,
        dialect: Dialect | None,
        *,
        request: Request | None = None,
        asked: bool = False,
        event_bytes: int = 1 << 20,
        estimate: bool = True,
    ) -> None:
        self.facts = Facts()
        self._dialect = dialect
        self._request = request or _UNREAD
        self._asked = asked
        self._event_bytes = event_bytes
        self._estimate = estimate

    # The answer's head.

    def answer(self, status: int, media_type: bytes, encoding: bytes | None) -> None:
        """Take note of an answer's head; settles `stream` and `hiding`.

        `media_type` is in lower case and without parameters, `encoding` is Content-Encoding as it came.
        """
        self.status = status
        success = status in _SUCCESS
        splitter = self._splitter_of(media_type) if success and status != _NO_CONTENT else None
        self.stream = splitter is not None
        if encoding is not None and is_coded(encoding):
            self._decoder = decoder(encoding)
            self._readable = self._decoder is not None
        if success and self._dialect is None:
            self._readable = False  # nobody could read it
        elif success and media_type != _JSON:
            if media_type.startswith(_OPAQUE):
                self._readable = False
            elif media_type == _PAGE:
                self.facts.error = ""  # no API speaks HTML: a portal or a proxy on the way does
        self._splitter = splitter
        if not isinstance(splitter, Splitter):
            self._likely = 0
        self.hiding = self._asked and isinstance(splitter, Splitter) and self._readable
        if not self._readable or self._decoder is not None:
            self.at_once = -1
        elif splitter is not None:
            self.at_once = _AT_ONCE

    def switch(self) -> None:
        """Take note that what follows are the messages of a WebSocket, each read with `message`."""
        self.status, self.stream = _SWITCHED, True

    def _splitter_of(self, media_type: bytes) -> Splitter | Lines | Elements | None:
        """Return what splits a stream of this type; None where it is no stream."""
        if media_type == _JSON:
            array = self._dialect is not None and self._dialect.streams_array
            return Elements(self._event_bytes) if array else None
        if media_type == _EVENTS:
            return Splitter(self._event_bytes)
        if media_type in _LINES:
            return Lines(self._event_bytes)
        return Splitter(self._event_bytes) if self._request.stream and media_type in _UNTYPED else None

    @property
    def decodes(self) -> bool:
        """The answer came compressed although it is to be edited, and goes on as identity."""
        return self.hiding and self._decoder is not None

    # The answer's body.

    def watch(self, piece: bytes, now: float) -> None:
        """Read a piece that has gone out as it came; `now` is when it came."""
        if self._like is not None and self._hears(self._like, piece, now):
            return
        if len(piece) <= self.at_once:
            self._read(piece, now)
            return
        for _ in self._watching(piece, now):
            pass

    def watching(self, piece: bytes, now: float) -> Iterable[None]:
        """Read as `watch` does, giving way by a `yield` where there is much to read in a piece."""
        if len(piece) > self.at_once:
            return self._watching(piece, now)
        self._read(piece, now)
        return ()

    def _watching(self, piece: bytes, now: float) -> Iterator[None]:
        begun = False
        for stretch in self._cut_up(piece):
            if begun:
                yield
            begun = True
            self._read(stretch, now)

    def edit(self, piece: bytes, now: float) -> bytes:
        """Return what goes out for a piece that came at `now`: it without what asking caused."""
        like = self._like
        if like is not None and self._hears(like, piece, now):
            return piece if like.goes is like.after else piece[: like.end] + like.goes
        if len(piece) <= self.at_once:
            return self._edited(piece, now)
        return b"".join(self.editing(piece, now))

    def editing(self, piece: bytes, now: float) -> Iterable[bytes]:
        """Edit as `edit` does, and yield what goes out of it in its turn."""
        if len(piece) <= self.at_once:
            return (self._edited(piece, now),)
        return (self._edited(stretch, now) for stretch in self._cut_up(piece))

    def message(self, data: bytes, now: float) -> None:
        """Read a message of a WebSocket, which came at `now`."""
        self._take(b"", data, now)

    @property
    def damaged(self) -> bool:
        """What is being edited could not be decoded; nothing more of it can go out."""
        return self.hiding and not self._readable

    @property
    def waiting(self) -> bool:
        """An event is held although it is whole, and nothing has come of the next."""
        return bool(self.kept) and self._splitter is not None and not self._splitter.held

    def release(self) -> bytes:
        """Return what is held although it is whole."""
        kept, self.kept = self.kept, b""
        return kept

    def end(self, now: float) -> bytes:
        """Read what is left at the answer's end, whichever it is; return what goes out of it while hiding.

        The second call does nothing.
        """
        if self._ended:
            return b""
        self._ended = True
        if self._splitter is None:
            if self._body and self._readable:
                self._read_body()
            return b""
        out: list[bytes] = []
        for part in self._splitter.close():
            if self.hiding:
                self._edit_last(part, now, out)
            else:
                self._see(part, now)
        if self._abridger is not None:
            self._see_abridged(Part(b"", Kind.OVERSIZED), now)
        out.append(self.release())
        return b"".join(out)

    # What was learned.

    @property
    def complete(self) -> bool:
        """The stream has said all: its terminator, or a final usage after a finish reason, was seen."""
        facts = self.facts
        return facts.terminated or (facts.final_usage and bool(facts.finish_reasons))

    def outcome(self, cause: Outcome | None) -> Outcome:
        """Return how the exchange ended; `cause` is what broke it off, None for the upstream's own end."""
        status = self.status
        if status is None:
            return cause or Outcome.UNREACHABLE
        if status >= _FIRST_SERVER_ERROR:
            return Outcome.UPSTREAM_ERROR
        if status in _CLIENT_ERRORS:
            return Outcome.CLIENT_ERROR
        if self.facts.error is not None:
            return Outcome.STREAM_ERROR
        return self._end_of_success(cause)

    def _end_of_success(self, cause: Outcome | None) -> Outcome:
        if not self.stream or self._dialect is None:
            return cause or Outcome.OK
        if self.complete:
            return Outcome.OK
        ended = self.facts.finish_reasons or self.facts.final_usage
        # Of what could not be read, nobody knows that its end was missing.
        return cause or (Outcome.OK if ended or not self._readable else Outcome.TRUNCATED)

    def counted(self, outcome: Outcome, *, sent: bool) -> Counted:
        """Return what was used, and how sure that is; `sent` says that the upstream had the request."""
        dialect, facts = self._dialect, self.facts
        answered = self.status is None or self.status in _SUCCESS or self.status == _SWITCHED
        if dialect is None or not (sent and answered) or outcome in _UNTOLD:
            return Counted(UsageSource.NONE)
        return reckon(dialect, self._request, facts, outcome, estimate=self._estimate)

    # Inside.

    def _cut_up(self, piece: bytes) -> Iterator[bytes]:
        """Yield what a piece says, in stretches each of which can be read at once."""
        if not self._readable:
            return
        for plain in (piece,) if self._decoder is None else self._undone(self._decoder, piece):
            # What ends an event, a line or an element: the more there are, the longer reading takes.
            ends = sum(map(plain.count, (b"\n", b"\r", b"}", b"]"))) if len(plain) > _AT_ONCE else 0
            step = max(1, len(plain) * _ENDS_AT_ONCE // ends if ends > _ENDS_AT_ONCE else len(plain))
            for at in range(0, len(plain), step):
                yield plain[at : at + step]

    def _undone(self, undo: Decoder, piece: bytes) -> Iterator[bytes]:
        """Yield what a coded piece says; nothing more where it is damaged or a bomb."""
        self._received += len(piece)
        try:
            for plain in undo.feed(piece):
                self._inflated += len(plain)
                if self._inflated > _BOMB_BYTES and self._inflated > _BOMB_RATIO * self._received:
                    self._readable = False
                    return
                yield plain
        except ValueError:
            self._readable = False

    def _take_in(
        self, splitter: Splitter | Lines | Elements, piece: bytes, now: float, out: list[bytes] | None
    ) -> None:
        """Read a piece of a stream; put what goes out for it into `out`, where that is edited."""
        at = 0
        while at < len(piece):
            if self._like is not None and (end := self._repeated(self._like, piece, at, now, out)) > at:
                at = end
                continue
            # What said nothing but a text is read by itself, for what follows may be like it.
            alone = piece.find(b"\n\n", at) + 2 if self._spoken and self._likely > 0 else 0
            end = alone if alone > 1 else len(piece)
            for part in splitter.feed(piece[at:end]):
                if out is None:
                    self._see(part, now)
                    self._learn(part, part.raw)
                else:
                    self._edit(part, now, out)
            if self._like is not None and isinstance(splitter, Splitter) and not splitter.fresh:
                self._like = None  # the next byte begins no event
            at = end

    def _repeated(self, like: Likeness, piece: bytes, at: int, now: float, out: list[bytes] | None) -> int:
        """Take in the events from `at` on that are like the last; return where they end."""
        texts, end = like.texts(piece, at) if len(piece) <= self._event_bytes else ((), at)
        if not texts:
            self._like = None
            self._likely -= 1
            return at
        self._likely = _LIKELY
        for text in texts:
            self.facts.say(text)
        self._time(now, len(texts))
        if out is not None:
            out.append(like.out(piece[at:end]))
        return end

    def _hears(self, like: Likeness, piece: bytes, now: float) -> bool:
        """Take in a piece that is one event like the last, as most are; tell whether it is."""
        said, last, facts = like.said(piece), self.last_content, self.facts
        if said is None or last is None or facts.captured is not None or len(piece) > self._event_bytes:
            return False
        # As `hear` and `_time` do; to call them would take as long as all of this.
        unweighed = facts.unweighed
        unweighed += said
        if len(unweighed) > MOST_UNWEIGHED:
            facts.weigh()
        self._likely = _LIKELY
        self.content_events += 1
        if self.stall is None or now - last > self.stall:
            self.stall = now - last
        self.last_content = now
        return True

    def _learn(self, part: Part, out: bytes) -> None:
        """Learn what an event has around its text that goes out like this, if the next may be like it."""
        self._like = likeness(part.raw, self._spoken, out) if self._spoken and self._likely > 0 else None

    def _read(self, piece: bytes, now: float) -> None:
        if self._splitter is not None:
            self._take_in(self._splitter, piece, now, None)
            return
        if not self._body and len(piece) <= SHORT_TEXT:
            self._body = piece  # that is all of it, of most
            return
        if isinstance(self._body, bytes):
            self._body = bytearray(self._body)
        self._body += piece
        if self._abridger is None and len(self._body) > SHORT_TEXT:
            self._abridger = Abridger(counts=False)
            piece = bytes(self._body)
        if self._abridger is not None:
            self._abridger.feed(piece)
            del self._body[:-_TAIL]

    def _read_body(self) -> None:
        body = bytes(self._body)
        if self._abridger is not None:
            body = self._abridger.text or _usage_object(body)
        if self.status is not None and self.status not in _SUCCESS:
            self.facts.error = read_error(body)
        else:
            assert self._dialect is not None  # noqa: S101 - without one no success is read
            try:
                self._dialect.read_answer(body, self.facts)
            except Exception:  # noqa: BLE001 - as in `_take`
                self.failures += 1
            if self._abridger is not None and self.facts.said is not None:
                self.facts.weighed = self.facts.said + self._abridger.words

    def _see(self, part: Part, now: float) -> int:
        self._like, self._spoken = None, ""
        data = part.data
        if data is not None:
            return self._take(part.name, data, now)
        if part.kind is Kind.OVERSIZED:
            self._see_abridged(part, now)
        return 0

    def _take(self, name: bytes, data: bytes, now: float, *, long: bool = False) -> int:
        """Let the dialect read an event, a `long` one abridged; return its marks."""
        assert self._dialect is not None  # noqa: S101 - without one no stream is read
        if len(data) > SHORT_TEXT:
            data, long = abridged(data) or b"", True
        facts = self.facts
        begun, facts.spoken = facts.begun, None
        try:
            marks = self._dialect.read_event(name, data, facts)
        except Exception:  # noqa: BLE001 - a reader's mistake must not cost the client a byte; it is counted
            self.failures += 1
            return 0
        if marks & Marks.CONTENT or (long and not marks & Marks.BARE):
            self._time(now)
            if marks & Marks.REASONING:
                self.reasoning_streamed = True
            if begun and not (long or marks & _MORE_THAN_TEXT):
                self._spoken = self.facts.spoken or ""
        return marks

    def _see_abridged(self, part: Part, now: float) -> None:
        """Take in a stretch of an event that is longer than is held; read what is left of it at its end."""
        if self._abridger is None:
            self._abridger = Abridger(counts=False)
        self._abridger.feed(part.raw)
        if part.ends:
            text, self._abridger = self._abridger.text, None
            whole = type(part)(text or b"", Kind.EVENT)
            self._take(whole.name, whole.data or b"", now, long=True)

    def _time(self, now: float, events: int = 1) -> None:
        """Take note that so many events with content have come."""
        last, stall = self.last_content, self.stall
        if last is None:
            self.first_content = last = now
            events -= 1
            self.content_events += 1
        if events and (stall is None or now - last > stall):
            self.stall = now - last
        self.content_events += events
        self.last_content = now

    def _edited(self, piece: bytes, now: float) -> bytes:
        """Return what goes out for a piece that can be read at once."""
        assert isinstance(self._splitter, Splitter)  # noqa: S101 - only events are edited
        out: list[bytes] = []
        self._take_in(self._splitter, piece, now, out)
        return out[0] if len(out) == 1 else b"".join(out)

    def _edit(self, part: Part, now: float, out: list[bytes]) -> None:
        if part.kind is Kind.REST:  # the line feed that belongs to the event before it
            if self.kept:
                self.kept += part.raw
            elif not self._dropping:
                out.append(part.raw)
            return
        marks = self._see(part, now)
        self._dropping = bool(marks & Marks.USAGE_EVENT)
        if self._dropping:
            self._give_back(part)
        if self.kept:
            out.append(self.release())
        if self._dropping:
            out.append(part.preamble)
            return
        raw = _without_null(part) if marks & Marks.USAGE_NULL else part.raw
        if marks:
            self._nulls = bool(marks & Marks.USAGE_NULL)
        if marks & Marks.FINISH:
            self.kept = raw
        else:
            out.append(raw)
            self._learn(part, raw)

    def _edit_last(self, part: Part, now: float, out: list[bytes]) -> None:
        """Edit what came without its blank line: a whole event, or one that broke off.

        Of half an event the client gets a beginning of what it would have had: what may be of the usage
        event, or of a null `usage` in a stream of those, stays here.
        """
        data = part.data
        if data is None or b"{" not in data or members(data) is not None:
            self._edit(part, now, out)
            return
        out.append(self.release())
        if not _CHOICE.search(data) and (self.facts.finish_reasons or _USAGE_OBJECT.search(data)):
            out.append(part.preamble)
        else:
            out.append(_before_usage(part.raw) if self._nulls else part.raw)

    def _give_back(self, part: Part) -> None:
        """Put members of the usage event that the client would have had back onto the event that is held."""
        assert self._dialect is not None  # noqa: S101 - it told that this is a usage event
        data = part.data
        if not self.kept or data is None:
            return
        for name in self._dialect.returned:
            quoted = b'"%b"' % name.encode()
            if quoted in self.kept or quoted not in data:
                continue
            member = member_bytes(data, name)
            if member is not None:
                self.kept = append(self.kept, member)


def _without_null(part: Part) -> bytes:
    """Return an event's bytes without the null `usage` in its data."""
    data = part.data or b""
    if data.endswith(_NULL_LAST) and data.count(_NAME) == 1 and b"\\u00" not in data:  # as most write it
        cut = data[: -len(_NULL_LAST)].rstrip(_BLANKS) + b"}"
    else:
        cut = cut_null(data, "usage")
    if part.raw.count(data) == 1:
        return part.raw.replace(data, cut)
    # The data are several lines: what is left of them fills as many of the event's as it needs.
    left = iter(cut.split(b"\n"))
    out = bytearray()
    for line in part.raw.splitlines(keepends=True):
        field = _DATA_LINE.fullmatch(line)
        if field is None:
            out += line
        elif (text := next(left, None)) is not None:
            out += (field[1] if not text or b":" in field[1] else b"data: ") + text + field[2]
    return bytes(out)


def _before_usage(half: bytes) -> bytes:
    """Return as much of half an event as comes before a `usage` that it has, or that its end may begin."""
    name = _USAGE_NAME.search(half)
    return half[: name.start() if name else len(half)].rstrip(b"," + _BLANKS)


def _usage_object(tail: bytes) -> bytes:
    """Return the last usage object of an answer that is nearly all shape, as an answer of its own.

    Inside a JSON text a quote is escaped, so that `"usage":` is always a member's name.
    """
    at = max(tail.rfind(b'"usage"'), tail.rfind(b'"usageMetadata"'))
    return b"{" + tail[at:] if at >= 0 else b""
