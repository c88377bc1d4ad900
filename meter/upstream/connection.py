"""One connection to an upstream: a request goes out as told, and its answer comes back as it was said.

httptools finds where heads, pieces and ends are; it decodes nothing and joins nothing. A piece is handed
to the answer in the turn of the loop in which it came, all that came at once as one: no task wakes up for it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import select
import termios
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httptools

from meter.headers import head, values
from meter.switching import End, Switching, reset
from meter.upstream.answer import Answer
from meter.upstream.errors import CLOSED, NOT_HTTP, BrokenOffError, TimedOutError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import aiohttp

    from meter.headers import Fields, Head

__all__ = ["Connection"]

_PIECE = 1 << 16
"""Bytes of a body that are written at once: a long body as a whole would stop the loop."""

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_DOUBTFUL = re.compile(rb"[\r\n\0]")
_HEAD = re.compile(rb"[\r\n]*+[^\n]*\n([ \t])?(?:(?!\r?\n)[^\n]*\n)*+\r?\n")
"""The head of an answer; its group is a blank where the first field should be, which the parser drops."""
_FOLDS = (b"\n ", b"\n\t")
_FOLD = re.compile(rb"[ \t]*+\r?\n[ \t]++")
"""Where a field goes on in the next line."""
_CLEAN_HEAD = re.compile(
    rb"HTTP/1\.[01] [1-9][0-9]{2}(?: [^\r\n\0]*+)?\r\n"
    rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[^\r\n\0]*+\r\n)*+\r\n"
)
"""A head that nobody could read otherwise, as nearly all are; what is not like this is looked at closely."""

_HEADS = 16
"""A head may be so many times as long as one field of it."""
_MOST_FIELDS = 1024

_SWITCHING = 101
_INTERIM = frozenset((100, *range(102, 200)))
_FIRST_FINAL_STATUS = 200
_EMPTY = 204

_LENIENT = {
    "lenient_headers": True,
    "lenient_optional_cr_before_lf": True,
    "lenient_spaces_after_chunk_size": True,
}
"""What servers do get wrong, and what nobody reads in two ways."""

_FREE, _HEAD_COMES, _DOUBTED, _BODY_COMES, _ENDED, _SWITCHED = range(6)
"""Nothing is asked; a head is to come, or has come and is none; its body is to come, has, or is none."""
_NO_ANSWER = (_FREE, _SWITCHED)


class Connection(Switching):
    """A connection that asks for one thing at a time; `made` is what it was made by.

    `idle` is how many seconds may pass without a byte, None for any; `header_bytes` how long a field of an
    answer may be. `on_free` is called, with whether it may serve again, when an answer has ended.
    """

    __slots__ = (
        "_answer",
        "_ask",
        "_came",
        "_coming",
        "_drained",
        "_early",
        "_fields",
        "_header_bytes",
        "_idle",
        "_keep",
        "_loop",
        "_made",
        "_method",
        "_moved",
        "_over",
        "_parser",
        "_patient",
        "_pieces",
        "_poll",
        "_reason",
        "_sent",
        "_sized",
        "_spoiled",
        "_stage",
        "_timer",
        "_writing",
        "end",
        "on_free",
        "reading_paused",
        "transport",
        "used",
        "writing_paused",
    )

    def __init__(self, made: aiohttp.connector.Connection, *, idle: float | None, header_bytes: int) -> None:
        assert made.transport is not None  # noqa: S101 - it has just been made
        self._made = made
        self._loop = asyncio.get_running_loop()
        self._idle = idle
        self._header_bytes = header_bytes
        self.transport: asyncio.Transport | None = made.transport
        self.end: End | None = None
        self.on_free: Callable[[Connection, bool], None] = lambda _, __: None
        self.used = False
        """It has carried a request before."""
        self.writing_paused = self.reading_paused = False
        self._parser: Any = None
        self._stage = _FREE
        self._spoiled = False
        """It has spoken out of turn."""
        self._over = False
        """It has switched, and says no more although nobody listens yet."""
        self._early = b""
        """What came behind a head that switches."""
        self._ask: asyncio.Future[Answer] | None = None
        self._answer: Answer | None = None
        self._drained: asyncio.Future[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._moved = self._loop.time()
        self._patient = False
        """It is our turn: silence is nothing to be timed out for."""
        self._poll = select.poll()
        self._poll.register(made.transport.get_extra_info("socket").fileno(), select.POLLIN)
        made.transport.set_protocol(self)

    # What is asked.

    async def ask(
        self,
        method: str,
        head: bytes,
        *,
        fields: Fields,
        body: bytes | AsyncIterator[bytes] | None,
        chunked: bool,
    ) -> Answer:
        """Send a request, and return its answer once its head has come.

        `head` is all of it as it is sent, `fields` are those of it; the body goes out in chunks where it is
        `chunked`. Raises UnreachableError, TimedOutError.
        """
        transport = self.transport
        assert transport is not None  # noqa: S101 - whoever asks has looked
        asked = self._begin(method, fields)
        if body is None or (isinstance(body, bytes) and len(body) <= _PIECE):
            transport.write(head + body if body else head)
        else:
            transport.write(head)
            pieces = _cut(body) if isinstance(body, bytes) else body
            self._writing = self._loop.create_task(self._write(pieces, chunked=chunked))
        try:
            return await asked
        except BaseException:
            if self._ask is asked:  # the answer may have come, and another request be under way by now
                self.close()
            raise

    def _begin(self, method: str, fields: Fields) -> asyncio.Future[Answer]:
        self._stage = _HEAD_COMES
        self._method = method
        self._sent = fields
        self._ask = self._loop.create_future()
        self._answer = None
        self._coming = b""
        self._came = False
        self._pieces: list[bytes] = []
        self._clear()
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
            self._parser.set_dangerous_leniencies(**_LENIENT)
        self._moved = self._loop.time()
        if self._timer is None and self._idle is not None:
            self._timer = self._loop.call_later(self._idle, self._look)
        return self._ask

    def _clear(self) -> None:
        self._fields: Fields = []
        self._reason = b""

    async def _write(self, pieces: AsyncIterator[bytes], *, chunked: bool) -> None:
        """Write a body; whatever stops that breaks the connection, for what has gone out is no request."""
        try:
            self._patient = True  # how long the client takes for the next piece is not the upstream's fault
            async for piece in pieces:
                # Writing may break what holds an answer that has come already: hear it first.
                if self.speaks:
                    await asyncio.sleep(0)
                if self.transport is None:
                    return
                self._patient, self._moved = False, self._loop.time()
                self.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                await self._take_up()
                self._patient = True
            if chunked and self.transport is not None:
                self.transport.write(b"0\r\n\r\n")
        except Exception:  # noqa: BLE001 - whoever made the pieces has said why already
            self._fail(CLOSED)
        finally:
            self._patient, self._moved = False, self._loop.time()

    async def _take_up(self) -> None:
        """Wait until the upstream has taken most of what was written."""
        if self.writing_paused:
            self._drained = self._loop.create_future()
            await self._drained

    # What comes.

    def data_received(self, data: bytes) -> None:
        """Take in what came, and hand on what it has of a body."""
        self._moved = self._loop.time()
        if self._stage in _NO_ANSWER:
            self._stray(data)
            return
        if self._stage == _HEAD_COMES:
            self._coming += data
            self._came = True
        doubted = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as switched:
            self._early = data[switched.args[0] :]
        except httptools.HttpParserError:
            doubted = True
        answer, pieces = self._answer, self._pieces
        if pieces and answer is not None:
            self._pieces = []
            (answer.on_piece or answer.keep)(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        # What came with the end of a head may be a long piece of a body: only what is still a head counts.
        endless = self._stage == _HEAD_COMES and len(self._coming) > _HEADS * self._header_bytes
        if self._stage == _ENDED:  # it came whole, whatever is behind it
            self._spoiled |= doubted
            self._finish()
        elif doubted or endless or self._stage == _DOUBTED:
            self._fail(NOT_HTTP)

    def _stray(self, data: bytes) -> None:
        """Take in what is no part of an answer."""
        if self.end is not None:
            self.end.feed_data(data)
        elif self._stage == _FREE:
            self._spoiled = True
            self.close()
        else:
            self._early += data
            if len(self._early) > _PIECE:
                self.pause_reading()

    # What the parser finds.

    def on_message_begin(self) -> None:
        """Begin an answer, unless there has been one already."""
        if self._stage == _ENDED:
            self._spoiled = True

    def on_status(self, reason: bytes) -> None:
        """Take the reason."""
        if self._stage == _HEAD_COMES:
            self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field; one of a trailer is not carried."""
        if self._stage == _HEAD_COMES:
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Take a head; an interim one is dropped."""
        if self._stage != _HEAD_COMES:
            return
        status = self._parser.get_status_code()
        if status in _INTERIM:
            if self._is_doubtful(interim=True):
                self._stage = _DOUBTED
            self._clear()
            return
        doubtful = self._is_doubtful()
        fields = head(self._fields)
        if doubtful or not self._is_clear(status, fields):
            self._stage = _DOUBTED
            return
        self._coming, self._sent = b"", []
        self._keep = self._parser.should_keep_alive()
        self._answer = Answer(self, status, self._reason.decode("utf-8", "surrogateescape"), fields)
        self._stage = _SWITCHED if status == _SWITCHING else _BODY_COMES
        if self._ask is not None and not self._ask.done():
            self._ask.set_result(self._answer)
        if self._method == "HEAD":
            self._stage, self._parser = _ENDED, None  # it would wait for a body

    def on_body(self, piece: bytes) -> None:
        """Take a piece of the body."""
        if self._stage == _BODY_COMES:
            self._pieces.append(piece)
        else:
            self._spoiled = True

    def on_message_complete(self) -> None:
        """Take the end of the body."""
        if self._stage == _BODY_COMES:
            self._stage = _ENDED

    def _is_doubtful(self, *, interim: bool = False) -> bool:
        """Tell whether a head that has come says something that others would read otherwise."""
        clean = None if interim else _CLEAN_HEAD.match(self._coming)
        if clean is not None and clean.end() <= self._header_bytes:
            return len(self._fields) > _MOST_FIELDS
        folds = any(fold in self._coming for fold in _FOLDS)
        if folds or interim:
            head = _HEAD.match(self._coming)
            if head is None or head[1] is not None:
                return True
            if interim:
                self._coming = self._coming[head.end() :]
            else:
                self._unfold(head[0])
        return len(self._fields) > _MOST_FIELDS or not all(map(self._is_plain, self._fields))

    def _unfold(self, head: bytes) -> None:
        """Put one blank where a field went on in the next line, as a proxy has to; the parser leaves any."""
        lines = _FOLD.sub(b" ", head.strip(b"\r\n")).split(b"\n")[1:]
        if len(lines) == len(self._fields):
            values = [line.partition(b":")[2].strip(b" \t\r") for line in lines]
            names = [name for name, _ in self._fields]
            self._fields = list(zip(names, values, strict=True))

    def _is_plain(self, field: tuple[bytes, bytes]) -> bool:
        name, value = field
        short = len(name) + len(value) <= self._header_bytes
        return short and _NAME.fullmatch(name) is not None and _DOUBTFUL.search(value) is None

    def _is_clear(self, status: int, fields: Head) -> bool:
        """Tell whether a final head leaves no doubt of what follows it; the parser is lenient."""
        codings = [value.lower() for value in values(fields, b"transfer-encoding")]
        lengths = values(fields, b"content-length")
        self._sized = bool(codings or lengths)
        if status == _EMPTY and (codings or lengths not in ([], [b"0"])):
            return False
        if status == _SWITCHING:
            asked, had = (
                [value.lower() for value in values(told, b"upgrade")] for told in (self._sent, fields)
            )
            return self._parser.should_upgrade() and bool(had) and had == asked and not codings
        return status >= _FIRST_FINAL_STATUS and codings in ([], [b"chunked"])

    # How it ends.

    def _finish(self) -> None:
        """Take note that the answer has come, whole; serve again, unless something speaks against it."""
        answer, self._answer = self._answer, None
        writing, self._writing = self._writing, None
        asked_all = writing is None or writing.done()
        if writing is not None and not asked_all:
            writing.cancel()
        self._stage = _FREE
        keep = self._keep and asked_all and not self._spoiled
        self.used = True
        if keep and self.reading_paused:
            self.resume_reading()
        if not keep:
            self.close()
        self.on_free(self, keep)
        if answer is not None:
            answer.end_with(None)

    def _fail(self, words: str, error: Exception | None = None) -> None:
        """Tell whoever waits that this is no answer, or that it has broken off."""
        stage, self._stage = self._stage, _FREE
        answer, self._answer = self._answer, None
        if stage != _FREE:
            if answer is not None:
                answer.end_with(error or BrokenOffError())
            elif self._ask is not None and not self._ask.done():
                self._ask.set_exception(
                    error or UnreachableError(words, reused=self.used and not self._came and words == CLOSED)
                )
        self.close()

    def let_go(self, answer: Answer) -> None:
        """Forget an answer, and close the connection that it is still coming on."""
        if self._answer is answer:
            self._answer = None
            self.close()

    def close(self) -> None:
        """Close it, by a reset where the upstream would not hear of it before it has taken its request."""
        if self._writing is not None:
            self._writing.cancel()
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        owed = self.end is None and _owed(transport)
        transport.close()
        if owed:
            reset(transport)

    def eof_received(self) -> bool | None:
        """Keep what has switched, until somebody listens to what it has said."""
        if self.end is None and self._stage == _SWITCHED and self.halves:
            self._over = True
            return True
        return super().eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell everybody that there is no connection any more."""
        if exc is not None:
            self._catch_up()
        if self._stage == _BODY_COMES and exc is None and not self._sized:
            self._keep = False
            self._finish()
        self.transport = None
        self._fail(CLOSED)
        self._parser = self._ask = None  # they hold on to this, and would keep it until it is looked for
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if self._made.protocol is not None:
            self._made.protocol.connection_lost(exc)
        self._made.close()
        self.on_free(self, False)
        super().connection_lost(exc)

    def _catch_up(self) -> None:
        """Take in what came before the connection broke: if it broke on writing, nobody has read it."""
        if self.transport is None or self.end is not None or self.transport.get_extra_info("ssl_object"):
            return
        with suppress(OSError, ValueError):
            fd = self.transport.get_extra_info("socket").fileno()
            while piece := os.read(fd, _PIECE):
                self.data_received(piece)

    def _look(self) -> None:
        """Give up where nothing has come for too long; look again when that may be."""
        self._timer = None
        if self._stage in (_FREE, _SWITCHED) or self._idle is None:
            return
        now = self._loop.time()
        if self._patient or self.reading_paused:
            self._moved = now
        if now - self._moved >= self._idle:
            self._fail("", TimedOutError())
        else:
            self._timer = self._loop.call_later(self._moved + self._idle - now, self._look)

    # Its state.

    @property
    def stale(self) -> bool:
        """It has ended, or there is something to read on it although nothing has been asked yet."""
        return self.transport is None or self.transport.is_closing() or self._spoiled or self.speaks

    @property
    def speaks(self) -> bool:
        """There is something to be read on it, if only its end, that nobody has read yet."""
        return self.transport is not None and bool(self._poll.poll(0))

    # The other end's pace.

    def pause_writing(self) -> None:
        """Take note that the upstream takes less than it is sent."""
        self.writing_paused = True
        super().pause_writing()

    def resume_writing(self) -> None:
        """Take note that the upstream has caught up."""
        self.writing_paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        super().resume_writing()

    def pause_reading(self) -> None:
        """Take no more from the upstream for now."""
        if not self.reading_paused and self.transport is not None:
            self.reading_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on taking."""
        if self.reading_paused and self.transport is not None:
            self.reading_paused = False
            self._moved = self._loop.time()
            self.transport.resume_reading()

    def switch(self, end: End) -> None:
        """Speak HTTP no more: tell `end` of what comes, and first of what came behind the answer's head."""
        self.end = end
        early, self._early = self._early, b""
        if early:
            end.feed_data(early)
        self.resume_reading()
        if self._over:
            end.finished()
        if self.transport is None:
            end.lost(None)


def _owed(transport: asyncio.Transport) -> bool:
    """Tell whether the other side has not taken all yet of what was written."""
    with suppress(OSError, ValueError):  # it is gone
        return any(fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4)))
    return False


async def _cut(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), _PIECE):
        yield body[at : at + _PIECE]
