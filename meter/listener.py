"""The client's side: a listener whose answers say exactly what they are told to.

aiohttp parses requests and frames answers. What it would add of its own (Server, Date, a content type, HTML
errors, no patience limit for a slow head) is taken out here, through names that it keeps private: its version
is pinned, and a test fails when they move.
"""

from __future__ import annotations

import asyncio
import select
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import msgspec
from aiohttp import HttpVersion11, web
from aiohttp.http import StreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import ERROR, PayloadAccessError

from meter.headers import first, lines
from meter.switching import Switching, reset

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from typing import TypeAlias

    from aiohttp import StreamReader

    from meter.headers import Fields
    from meter.switching import End

    Handle: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
    Malformed: TypeAlias = Callable[[web.BaseRequest, BaseException | None], web.StreamResponse]

__all__ = ["Connection", "Listener", "PatientAnswer", "RawAnswer", "error_body"]

_FLUSH_SECONDS = 60.0
"""A client that does not take what is left of a broken answer is waited for no longer."""

_BROKEN = select.POLLHUP | select.POLLERR
_GONE = getattr(select, "POLLRDHUP", 0) | _BROKEN
_LOOK_SECONDS = 0.05
"""So often a client that is not being read from is looked at: its leaving would not be noticed otherwise."""

_HEADS = 16
"""A head may be so many times as long as one field of it."""
_NO_HTTP = b"\0"
"""What no parser takes, wherever it stands in a head."""

_BODILESS_STATUSES = frozenset((204, 304))
_SWITCHING = 101


def error_body(message: str, code: str) -> bytes:
    """Return an error of Meter's own in the OpenAI shape, as JSON."""
    error = {"message": message, "type": "meter_error", "param": None, "code": code}
    return msgspec.json.encode({"error": error})


class RawAnswer(web.StreamResponse):
    """An answer whose head is written as given: status, reason and fields, in their order and spelling.

    aiohttp's own, which this stands in for, says more, and takes a task's turn for each piece of a body.
    """

    # What most answers leave as it is stands here: that takes neither time nor room.
    gone = False
    """There is no client any more; what is written goes nowhere."""
    _connection: web.RequestHandler | None = None
    _bodiless = False
    _chunked = False
    _delimited = True
    """The end of the body shows before the connection's."""
    _head = b""
    """What is still to be written before anything else."""
    _over = False

    def __init__(  # aiohttp's keeps headers and cookies that nobody asks for here
        self,
        status: int,
        reason: str,
        fields: Fields,
        *,
        body: bytes = b"",
        keep_alive: bool = True,
        announced: Sequence[bytes] = (),
    ) -> None:
        """Make an answer; `announced` are the names of `trailers`, told in the head where they can follow."""
        self._status, self._reason = status, reason
        self._fields = fields
        self._whole = body
        self._announced = announced
        self._keep_alive = keep_alive
        self.trailers: Fields = []
        """What goes behind the last chunk, if that was announced; set before the answer ends."""

    @property
    def keep_alive(self) -> bool:
        """The connection may serve again."""
        return bool(self._keep_alive)

    async def prepare(self, request: web.BaseRequest) -> None:
        """Settle the head, which goes out with what comes first of the body, or with `flush`."""
        if self._connection is not None:
            return
        self._connection = request.protocol
        if self._transport is None:
            raise ConnectionResetError
        self._frame(request)
        minor = 1 if request.version >= HttpVersion11 else 0
        reason = self._reason.encode("utf-8", "surrogateescape")
        self._head = b"HTTP/1.%d %d %b\r\n%b\r\n" % (minor, self._status, reason, lines(self._fields))
        if self._status == _SWITCHING:
            self.flush()

    def _frame(self, request: web.BaseRequest) -> None:
        """Settle how the body's end shows; `Transfer-Encoding` and `Connection` are all that is added."""
        if self._status == _SWITCHING:  # what follows is no HTTP
            self._keep_alive = False
            return
        keep = request.keep_alive and self._keep_alive
        modern = request.version >= HttpVersion11
        self._bodiless = request.method == "HEAD" or self._status in _BODILESS_STATUSES
        if not self._bodiless and first(self._fields, b"content-length") is None:
            if modern:
                self._chunked = True
                self._fields.append((b"Transfer-Encoding", b"chunked"))
                if self._announced:
                    self._fields.append((b"Trailer", b", ".join(self._announced)))
            else:
                keep = self._delimited = False
        if not keep:
            self._fields.append((b"Connection", b"close"))
        elif not modern:
            self._fields.append((b"Connection", b"keep-alive"))
        self._keep_alive = keep

    @property
    def _transport(self) -> asyncio.Transport | None:
        """What leads to the client, if it is still there."""
        transport = self._connection.transport if self._connection is not None else None
        return None if transport is None or transport.is_closing() else transport

    def send(self, data: bytes) -> bool:
        """Write a piece of the body in this turn of the loop; tell whether there is somebody to take it.

        Whether the client keeps up is for `heed` to say.
        """
        transport = self._connection.transport if self._connection is not None else None
        if self.gone or transport is None or transport.is_closing():
            return False
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if self._head:
            data, self._head = self._head + data, b""
        transport.write(data)
        return True

    def flush(self) -> None:
        """Write the head, if it has not gone out."""
        transport = self._transport
        if self._head and transport is not None and not self.gone:
            transport.write(self._head)
            self._head = b""

    def heed(self, on_clog: Callable[[bool], None] | None) -> None:
        """Tell `on_clog` whether the client takes less than it is sent, now and whenever that changes."""
        if isinstance(self._connection, Connection):
            self._connection.on_clog = on_clog
            if on_clog is not None:
                on_clog(self._connection.writing_paused)

    async def taken_up(self) -> None:
        """Wait until the client has taken most of what was written."""
        if self._connection is not None and self._connection.writing_paused and not self.gone:
            await self._connection._drain_helper()  # noqa: SLF001 - there is no public way

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write a piece of the body, at the client's pace; raises ConnectionResetError where it has left."""
        if not self.send(bytes(data)):
            raise ConnectionResetError
        await self.taken_up()

    async def write_eof(self, data: bytes = b"") -> None:
        """End the answer, with the body it was made with if it has not been written."""
        if self._over:
            return
        self._over = True
        data = self._whole or data
        if data and not self._bodiless and not self.send(data):
            raise ConnectionResetError
        transport = self._transport
        if transport is None:
            raise ConnectionResetError
        end = b"0\r\n%b\r\n" % lines(self.trailers) if self._chunked else b""
        if self._head or end:
            transport.write(self._head + end)
            self._head = b""
        await self.taken_up()

    def break_off(self) -> None:
        """End the answer so that the client sees it broken, after what has been written of it.

        Where only the connection's end says where the body ends, what is unsent is given up for that.
        """
        self.flush()
        transport = self._connection.transport if self._connection is not None else None
        if transport is None:
            return
        if self._delimited:
            unsent = transport.get_write_buffer_size()
            transport.close()  # without the last chunk, or short of Content-Length
            if unsent:
                asyncio.get_running_loop().call_later(_FLUSH_SECONDS, transport.abort)
        else:
            reset(transport)


class PatientAnswer(RawAnswer):
    """An answer that goes on being made when its client has gone."""

    async def prepare(self, request: web.BaseRequest) -> None:
        """Settle the head."""
        await self._unless_gone(super().prepare(request))

    async def taken_up(self) -> None:
        """Wait until the client has taken most of what was written."""
        await self._unless_gone(super().taken_up())

    async def write_eof(self, data: bytes = b"") -> None:
        """End the answer."""
        await self._unless_gone(super().write_eof(data))

    async def _unless_gone(self, work: Coroutine[Any, Any, None]) -> None:
        if self.gone:
            work.close()
            return
        try:
            await work
        except ConnectionError:
            self.gone = True


class Connection(Switching, web.RequestHandler):  # type: ignore[misc] # as to `eof_received`, aiohttp's has no say
    """One client's connection: notes when a request began, and does not wait for a slow head for ever."""

    __slots__ = (
        "_began",
        "_body",
        "_head_bytes",
        "_head_timer",
        "_heading",
        "_listener",
        "_look_timer",
        "end",
        "on_clog",
    )

    def __init__(self, listener: Listener, **options: Any) -> None:
        super().__init__(listener, **options)
        self._listener = listener
        self._began: float | None = None
        """When the first byte of the request being read came, on the monotonic clock."""
        self._body: StreamReader | None = None
        """Body of the last request that was parsed."""
        self._heading = False
        """A head has begun to come, and has yet to end."""
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        """That have come of a head that is still to end."""
        self._look_timer: asyncio.TimerHandle | None = None
        self.end: End | None = None
        self.on_clog: Callable[[bool], None] | None = None
        """Told when the client takes less than it is sent, and when it has caught up or is gone."""

    async def start(self) -> None:
        """Serve one request after the other, in this very task: aiohttp's own makes another one for each."""
        try:
            while not self._force_close:
                if not self._messages:
                    await self._request_comes()
                if not await self._serve(*self._next()):
                    break
                self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
                if self._keepalive_handle is None:
                    close_time = self._next_keepalive_close_time
                    self._keepalive_handle = self._loop.call_at(close_time, self._process_keepalive)
                if self._messages:
                    await asyncio.sleep(0)  # what needs no wait would all be served before anybody else
        except Exception as error:  # noqa: BLE001 - there is nobody who could be told but the log
            self.log_exception("a connection failed", exc_info=error)
            self.force_close()
        except BaseException:
            self.force_close()
            raise
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()

    async def _request_comes(self) -> None:
        """Wait for a request."""
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _next(self) -> tuple[Any, StreamReader]:
        """Return the next request, as far as it has been parsed, and its body."""
        message, payload = self._messages.popleft()
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
        return message, payload

    async def _serve(self, message: Any, payload: StreamReader) -> bool:
        """Answer one request; tell whether the connection serves another."""
        handle = self._listener.request_handler
        if not isinstance(message, RawRequestMessage):
            handle, message = self._make_error_handler(message), ERROR
        writer, task = StreamWriter(self, self._loop), cast("asyncio.Task[None]", self._task_handler)
        request = self._listener.request_factory(message, payload, self, writer, task)
        try:
            answer, broken = await self._handle_request(request, None, handle)
        except ConnectionError:
            return False
        finally:
            request._task = None  # type: ignore[assignment] # noqa: SLF001 - it would keep what the task keeps
        self._keepalive = not broken and bool(answer.keep_alive)
        if not (broken or payload.is_eof()):
            await self._drop(payload)
        return self._keepalive and not (self._close or self._force_close)

    async def _drop(self, payload: StreamReader) -> None:
        """Read what is left of a body for a while, for the answer to get through."""
        await asyncio.sleep(0)  # whoever was sending it on has been told to stop, and reads it until then
        with suppress(TimeoutError, web.RequestPayloadError):
            async with asyncio.timeout(self._lingering_time):
                while not (payload.is_eof() or self._force_close):
                    await payload.readany()
        if not payload.is_eof():
            self.close()
            payload.set_exception(PayloadAccessError())

    def data_received(self, data: bytes) -> None:
        """Note the first byte of a request; give its head so much time and room and no more."""
        if self.end is not None:
            super().data_received(data)
            return
        # Bytes that are no part of the last request's body begin the next one, whoever is at what meanwhile;
        # aiohttp itself calls this with none, to go on with what it has.
        if data and not self._heading and (self._body is None or self._body.is_eof()):
            self._began = time.monotonic()
            self._head_bytes = 0
            self._heading = True
        if self._heading:
            data = data if self._head_bytes <= self._listener.head_bytes else _NO_HTTP
            self._head_bytes += len(data)
        parsed = self._request_count
        super().data_received(data)
        if self._request_count > parsed:
            self._body = self._messages[-1][1]
            self._stop_head_timer()
        elif self._heading and self._head_timer is None:  # most heads come in one piece, and need no timer
            self._head_timer = self._loop.call_later(self._listener.head_seconds, self._give_up)
        if self._messages:
            self._spoil()

    def pause_writing(self) -> None:
        """Take note that the client takes less than it is sent."""
        super().pause_writing()
        if self.on_clog is not None:
            self.on_clog(True)

    def resume_writing(self) -> None:
        """Take note that the client has caught up."""
        super().resume_writing()
        if self.on_clog is not None:
            self.on_clog(False)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the timers, and hold nothing up for a client that is no more."""
        if self.on_clog is not None:
            self.on_clog(False)
        self._stop_head_timer()
        self._stop_looking()
        super().connection_lost(exc)

    @property
    def may_switch(self) -> bool:
        """The request at hand asks for a WebSocket, and what follows it has not been taken for HTTP."""
        return self._upgraded

    def switch(self, end: End) -> None:
        """Speak HTTP no more: tell `end` of what comes, and first of what has come behind the request."""
        self._stop_head_timer()
        self.end = end
        self.set_parser(end)  # type: ignore[arg-type] # it has all that is asked of a parser

    def taken(self) -> float:
        """Return when the request at hand began, in seconds on the monotonic clock.

        To be asked once for each request: from then on the next one may begin.
        """
        began, self._began = self._began, None
        return time.monotonic() if began is None else began

    def _give_up(self) -> None:
        """Close the connection of a head that does not come, but not while an answer is still going out."""
        if self._current_request is None and not self._messages:
            self.force_close()
        else:
            self._head_timer = self._loop.call_later(self._listener.head_seconds, self._give_up)

    def _spoil(self) -> None:
        """Tell whoever reads a body that it goes on as no HTTP: aiohttp only queues the error behind it."""
        request = self._current_request
        if request is None or isinstance(self._messages[-1][0], RawRequestMessage):
            return
        if not request.content.is_eof() and request.content.exception() is None:
            request.content.set_exception(web.RequestPayloadError())
            self._lingering_time = 0.0  # what is left of the body cannot be read

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on reading, if that had stopped: aiohttp asks for it after each piece, and parses none anew."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def _pause_transport_reading(self) -> None:
        super()._pause_transport_reading()
        if self._look_timer is None:
            self._look()

    def _resume_transport_reading(self) -> None:
        self._stop_looking()
        super()._resume_transport_reading()

    def _look(self) -> None:
        """Break the connection where the client has left; look again soon where not."""
        self._look_timer = None
        if self.transport is None:
            return
        poll = select.poll()
        # In a tunnel, a client that says no more may still listen.
        gone = _GONE if self.end is None else _BROKEN
        poll.register(self.transport.get_extra_info("socket").fileno(), gone)
        if poll.poll(0):
            self.transport.abort()
        else:
            self._look_timer = self._loop.call_later(_LOOK_SECONDS, self._look)

    def _stop_looking(self) -> None:
        if self._look_timer is not None:
            self._look_timer.cancel()
            self._look_timer = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,  # noqa: ARG002 - always 400 or 500, by the exception
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it may quote what was sent
    ) -> web.StreamResponse:
        """Answer what is no HTTP, or what went wrong within, in the OpenAI shape; closes the connection."""
        if isinstance(exc, ConnectionError):  # the client has gone, or was sent away: nobody is left
            raise exc
        return self._listener.on_error(request, exc)

    def _stop_head_timer(self) -> None:
        self._heading = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class Listener(web.Server):
    """Makes a `Connection` for each client, which asks whom `settle` has named last."""

    def __init__(self) -> None:
        super().__init__(self._asked, handler_cancellation=True, access_log=None, auto_decompress=False)

    def settle(
        self,
        handle: Handle,
        on_error: Malformed,
        *,
        head_seconds: float,
        keep_alive_seconds: float,
        header_bytes: int,
    ) -> None:
        """Go on like this: the first two for requests from now on, the others for connections from now on.

        `on_error(request, exception)` answers what `handle` does not: what is no HTTP, and what it raised.
        `head_seconds` is how long a request's head may take from its first byte, `keep_alive_seconds` how
        long a connection may be idle, `header_bytes` how long a request line or one field may be; all of
        a head may be 16 times as long.
        """
        self._handle, self.on_error, self.head_seconds = handle, on_error, head_seconds
        self.head_bytes = _HEADS * header_bytes
        self._kwargs |= {
            "keepalive_timeout": keep_alive_seconds,
            "max_field_size": header_bytes,
            "max_line_size": header_bytes,
            "max_headers": 1024,
        }

    def _asked(self, request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        return self._handle(request)

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of one new connection."""
        return Connection(self, loop=self._loop, **self._kwargs)
