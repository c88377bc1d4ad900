"""The connection to an upstream, behind a narrow face: aiohttp's client, told to add and keep nothing.

A request goes out with exactly the fields it is given (and the Host that follows from the origin); an answer
comes back as status, reason, raw fields, and pieces of a body that nobody has decoded.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import select
import ssl
import termios
from collections import deque
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_writer import StreamWriter
from yarl import URL

from meter.coding import decoder
from meter.headers import first, replace, without
from meter.switching import End, Switching, reset

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from meter.headers import Fields
    from meter.settings import Settings, UpstreamSettings

__all__ = [
    "Answer",
    "BrokenOffError",
    "Client",
    "TimedOutError",
    "UnreachableError",
    "address",
]

_PIECE = 1 << 16
"""Bytes of a body that are handed to aiohttp at once: a long body as a whole would stop the loop."""

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SWITCHING = 101
_FIRST_FINAL_STATUS = 200
_INTERIM = frozenset((100, *range(102, 200)))
_NOT_INVENTED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")

_HEAD = re.compile(rb"[\r\n]*+[^\n]*\n([ \t])?(?:(?!\r?\n)[^\n]*\n)*+\r?\n")
"""The head of an answer; its group is a blank where the first field should be, which aiohttp leaves out."""

_FIELDS: ContextVar[Fields] = ContextVar("_FIELDS")
"""Of the request that is being sent, for aiohttp itself takes text only, and one spelling of a name."""
_OWN_WORDS = (b"content-length", b"upgrade")
"""Fields that aiohttp is told of all the same: it goes by them."""


class UnreachableError(Exception):
    """No answer's head came: no connection, or one that broke before; `reason` says why, in words.

    `reused` says that it was a connection used before, which broke before the first byte of an answer.
    """

    def __init__(self, reason: str, *, reused: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.reused = reused


class TimedOutError(Exception):
    """The upstream took too long; `connecting` says that it was not even reached."""

    def __init__(self, *, connecting: bool = False) -> None:
        super().__init__()
        self.connecting = connecting


class BrokenOffError(Exception):
    """The answer's body broke off."""


class _StaleError(aiohttp.ClientError):
    """A connection from the pool had ended, or spoken out of turn; nothing was written to it."""


class _BrokeEarlyError(aiohttp.ClientError):
    """A connection from the pool broke before the first byte of an answer."""


class _Connection(Switching, ResponseHandler):
    """A connection that lets a reader know of everything that ends its body."""

    end: End | None = None
    used = False
    """It has carried a request before."""
    folded = False
    """The first line of the answer's fields, or of an interim answer's, began with a blank."""
    _coming: bytearray | None = None
    """What has come of the next head, if the final one has not come yet."""
    _interim = False
    """The last head that came was not the final one."""
    _over = False
    """It has switched, and says no more although nobody listens yet."""

    @property
    def stale(self) -> bool:
        """It has ended, or there is something to read on it although nothing has been asked yet."""
        return self.transport is None or self.should_close or self.speaks

    @property
    def speaks(self) -> bool:
        """There is something to be read on it, if only its end, that nobody has read yet."""
        if self.transport is None:
            return False
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close it, by a reset where the upstream would not hear of it before it has taken its request."""
        transport = self.transport
        super().close()
        if self.end is None and transport is not None and _owed(transport):
            reset(transport)

    def set_response_params(self, **options: Any) -> None:
        """Get ready for an answer."""
        self._coming = bytearray()
        super().set_response_params(**options)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Take note of what head came."""
        super().feed_data(data, size)
        self._interim = data[0].code in _INTERIM
        if self._coming is not None:
            head = _HEAD.match(self._coming)
            self.folded |= head is None or head[1] is not None
            if self._interim and head is not None:
                del self._coming[: head.end()]
            else:
                self._coming = None

    def data_received(self, data: bytes) -> None:
        """Be patient anew, and no longer than that, where an interim answer came: aiohttp waits for ever."""
        if self._coming is not None:
            self._coming += data
        super().data_received(data)
        if self._interim:
            self._interim = False
            self.start_timeout()

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """Fail whoever waits for a head, and whoever reads a body that goes on as no HTTP."""
        if isinstance(exc, OSError):
            self._catch_up()
        super().set_exception(exc, *cause)
        self._break_off(exc)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Fail whoever reads; aiohttp takes a reset for the end where a body has no other."""
        if exc is not None:
            self._catch_up()
            self._break_off(exc)
        super().connection_lost(exc)

    def eof_received(self) -> bool | None:  # type: ignore[override] # asyncio asks, aiohttp's never keeps
        """Keep what has switched, until somebody listens to what it has said."""
        if self.end is None and self.upgraded and self.halves:
            self._over = True
            return True
        return super().eof_received()

    def switch(self, end: End) -> None:
        """Speak HTTP no more: tell `end` of what comes, and first of what came behind the answer's head."""
        self.read_timeout = None  # of a tunnel, both directions count
        self.end = end
        self.set_parser(end, None)
        if self._over:
            end.finished()
        if self.transport is None:
            end.lost(self.exception())

    def _catch_up(self) -> None:
        """Take in what came before the connection broke: if it broke on writing, nobody has read it."""
        if self.transport is None or self.end is not None or self.transport.get_extra_info("ssl_object"):
            return
        with suppress(OSError, ValueError):
            fd = self.transport.get_extra_info("socket").fileno()
            while piece := os.read(fd, _PIECE):
                self.data_received(piece)

    def _break_off(self, exc: BaseException) -> None:
        body = self._payload
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(exc if isinstance(exc, aiohttp.ClientError) else aiohttp.ClientPayloadError())


def _owed(transport: asyncio.Transport) -> bool:
    """Tell whether the other side has not taken all yet of what was written."""
    with suppress(OSError, ValueError):  # it is gone
        return any(fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4)))
    return False


class _Writer(StreamWriter):
    """Writes a request, and hears an upstream out that has answered before the request's end."""

    async def write(self, chunk: Any, **options: Any) -> None:
        """Write a piece of the body, after what there is to read: writing may break what holds it."""
        if cast("_Connection", self.protocol).speaks:
            await asyncio.sleep(0)
        await super().write(chunk, **options)


class _Request(aiohttp.ClientRequest):
    """A request that goes out as told, and on no connection that holds bytes of somebody else's answer."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._fields = _FIELDS.get()
        super().__init__(*args, **options)

    def update_body_from_data(self, body: Any, _stacklevel: int = 3) -> None:
        """Take the body; do not invent a length where there is none."""
        told = "Content-Length" in self.headers
        super().update_body_from_data(body, _stacklevel)
        if body is None and not told:
            self.headers.pop("Content-Length", None)

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        """Send it, unless the connection has been used before and is of no more use.

        As aiohttp's, but for the head, which that would write as text.
        """
        protocol = conn.protocol
        if protocol.used and protocol.stale:
            raise _StaleError
        writer = _Writer(protocol, self.loop)
        if self.chunked is not None:
            writer.enable_chunking()
        writer._headers_buf = self._head()  # noqa: SLF001 - there is no public way
        task = None
        if self._body or protocol.writing_paused:
            task = asyncio.create_task(self.write_bytes(writer, conn, self._get_content_length()))
            self._writer = task
        else:
            protocol.start_timeout()
            writer.set_eof()
        return self.response_class(
            self.method,
            self.original_url,
            writer=task,
            continue100=None,
            timer=self._timer,
            request_info=self.request_info,
            traces=[],
            loop=self.loop,
            session=self._session,
            stream_writer=writer,
        )

    def _head(self) -> bytes:
        """Return the head, with the fields in their order and spelling; what aiohttp adds comes last."""
        target = str(self.url) if self.proxy and not self.is_ssl() else self.url.raw_path_qs
        words = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        host, *added = (word for word in words if word[0].lower() not in _OWN_WORDS)
        fields = without(self._fields, *(name.lower() for name, _ in added))
        fields = replace(fields, *host) if first(fields, b"host") is not None else [host, *fields]
        line = f"{self.method} {target} HTTP/1.1".encode("utf-8", "surrogateescape")
        return b"\r\n".join((line, *(b"%s: %s" % field for field in fields + added), b"", b""))


class _Response(aiohttp.ClientResponse):
    """A response that knows whether it broke before it began."""

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        """Read the head; raise _BrokeEarlyError where a connection used before gave no byte of it."""
        protocol = connection.protocol
        used, protocol.used = protocol.used, True
        try:
            await super().start(connection)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            # Where a head had begun, `message` is that head; otherwise it is a sentence, or missing.
            begun = not isinstance(getattr(error, "message", ""), str)
            if used and not begun:
                raise _BrokeEarlyError from None
            raise
        if protocol.folded or not self._is_clear(switched=protocol.upgraded):
            protocol.close()  # it may have gone back to the pool already
            raise aiohttp.ClientPayloadError
        return self

    def _is_clear(self, *, switched: bool) -> bool:
        """Tell whether the head leaves no doubt; aiohttp is lenient with what others read otherwise."""
        codings = [value.lower() for name, value in self.raw_headers if name.lower() == b"transfer-encoding"]
        final = self.status >= _FIRST_FINAL_STATUS
        return (
            (final or (self.status == _SWITCHING and switched and self._is_asked_for))
            and codings in ([], [b"chunked"] if final else [])
            and all(_NAME.fullmatch(name) for name, _ in self.raw_headers)
        )

    @property
    def _is_asked_for(self) -> bool:
        """It switches to the protocol that was asked for."""
        asked = self.request_info.headers.getall("Upgrade", [])
        told = self.headers.getall("Upgrade", [])
        return [protocol.lower() for protocol in asked] == [protocol.lower() for protocol in told]


class Answer:
    """An upstream's answer, its body still to be read."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.reason = response.reason or ""
        self.fields: Fields = list(response.raw_headers)
        self._pushed: deque[bytes] = deque()

    @property
    def switches(self) -> bool:
        """It is no answer but the beginning of a tunnel, whose end here is `end`."""
        return self.status == _SWITCHING

    def end(self) -> End:
        """Return the upstream's end of a tunnel."""
        connection = self._response.connection
        assert connection is not None  # noqa: S101 - what has switched keeps its connection
        assert isinstance(connection.protocol, _Connection)  # noqa: S101 - there is no other
        return End(connection.protocol)

    async def read(self) -> bytes:
        """Return the next piece of the body as it came, b"" at its end.

        Raises TimedOutError, BrokenOffError.
        """
        return self._pushed.popleft() if self._pushed else await self._read()

    async def beginning(self, size: int) -> bytes:
        """Return the first `size` bytes of the body at most, decoded, without taking them from `read`."""
        undo = decoder(first(self.fields, b"content-encoding"))
        seen = b""
        # What broke will break again for the reader.
        with suppress(TimedOutError, BrokenOffError, ValueError):
            while len(seen) < size and (piece := await self._read()):
                self._pushed.append(piece)
                for plain in (piece,) if undo is None else undo.feed(piece):
                    seen += plain
                    if len(seen) >= size:
                        break
        return seen[:size]

    async def _read(self) -> bytes:
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            if rest := self._rest():
                return rest
            broke = TimedOutError if isinstance(error, aiohttp.ServerTimeoutError) else BrokenOffError
            raise broke from None

    def _rest(self) -> bytes:
        """Return what had come before the body broke off: aiohttp gives no more of it, but still has it."""
        buffer = self._response.content._buffer  # noqa: SLF001 - there is no public way
        rest = b"".join(buffer)
        buffer.clear()
        return rest

    def close(self) -> None:
        """Let go of the answer; what is left of it is not waited for, its connection is closed."""
        self._response.close()


class _Way(NamedTuple):
    """How an upstream is reached."""

    tls: ssl.SSLContext | bool
    """A context, or whether the certificate is checked against the system's."""
    proxy: str | None
    """URL of a proxy on the way."""
    timeout: aiohttp.ClientTimeout


class Client:
    """Sends requests to any of the upstreams, over one pool of connections; an async context."""

    def __init__(self, settings: Settings) -> None:
        self._ways = {u.name: _Way(_tls(u), _proxy(u), _timeout(settings, u)) for u in settings.upstreams}
        self._header_bytes = settings.limits.header_bytes
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Open the pool."""
        # Servers close idle connections after as little as 5 s (uvicorn): ours must be the shorter patience.
        connector = aiohttp.TCPConnector(limit=0, limit_per_host=0, keepalive_timeout=4, ttl_dns_cache=30)
        connector._factory = partial(_Connection, loop=asyncio.get_running_loop())  # type: ignore[assignment] # noqa: SLF001 - there is no public way
        self._session = aiohttp.ClientSession(
            connector=connector,
            request_class=_Request,
            response_class=_Response,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=self._header_bytes,
            max_field_size=self._header_bytes,
            max_headers=1024,
            read_bufsize=2**16,
            skip_auto_headers=_NOT_INVENTED,
        )
        # aiohttp would send again what was not on a reused connection, and PUT and DELETE as well.
        self._session._retry_connection = False  # noqa: SLF001 - there is no public switch

    async def close(self) -> None:
        """Close the pool, with all that is under way in it."""
        if self._session is not None:
            await self._session.close()

    async def send(
        self,
        upstream: str,
        method: str,
        url: URL,
        fields: Fields,
        body: bytes | AsyncIterator[bytes] | None,
    ) -> Answer:
        """Send a request to `upstream`, named as in the settings, and return its answer, to be closed.

        `url` is made by `address`, and sent as it is. `Host` is the URL's; it stands where `fields` have one,
        else first.

        Raises UnreachableError, TimedOutError.
        """
        while True:  # at most once for each connection in the pool
            try:
                return await self._send(upstream, method, url, fields, body)
            except _StaleError:
                continue
            except _BrokeEarlyError:
                raise UnreachableError(_CLOSED, reused=True) from None

    async def _send(
        self,
        upstream: str,
        method: str,
        url: URL,
        fields: Fields,
        body: bytes | AsyncIterator[bytes] | None,
    ) -> Answer:
        assert self._session is not None  # noqa: S101 - sending goes on within `async with`
        if isinstance(body, bytes) and first(fields, b"content-length") is None:
            fields = [*fields, (b"Content-Length", b"%d" % len(body))]  # in pieces, it would not be told
        sending = _FIELDS.set(fields)
        way = self._ways[upstream]
        try:
            async with asyncio.timeout(None) as patience:
                response = await self._session.request(
                    method,
                    url,
                    headers=_own_words(fields),
                    data=_paced(body, patience, way.timeout.sock_read),
                    allow_redirects=False,
                    ssl=way.tls,
                    proxy=way.proxy,
                    timeout=way.timeout,
                )
        except (_StaleError, _BrokeEarlyError):
            raise
        except aiohttp.ConnectionTimeoutError:
            raise TimedOutError(connecting=True) from None
        except TimeoutError:
            raise TimedOutError from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Of what libraries say nothing is repeated: it may quote what was sent.
            raise UnreachableError(
                next(words for kinds, words in _REASONS if isinstance(error, kinds))
            ) from None
        finally:
            _FIELDS.reset(sending)
        return Answer(response)


_CLOSED = "it closed the connection"
_REASONS: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((aiohttp.ClientConnectorDNSError,), "its name could not be resolved"),
    (
        (aiohttp.ClientSSLError, ssl.SSLError),
        "no secure connection could be made, or its certificate is not trusted",
    ),
    (
        (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError),
        "the proxy before it did not connect",
    ),
    ((aiohttp.ClientConnectorError,), "no connection could be made"),
    ((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, OSError), _CLOSED),
    ((Exception,), "what it said is not valid HTTP"),
)
"""Why no answer came, by the first kind of error that fits."""


def _paced(
    body: bytes | AsyncIterator[bytes] | None, patience: asyncio.Timeout, seconds: float | None
) -> Any:
    """Return a body as aiohttp should write it; an upstream that takes none of a long one is timed out."""
    if body is None or (isinstance(body, bytes) and len(body) <= _PIECE):
        return body
    return _watched(_pieces(body) if isinstance(body, bytes) else body, patience, seconds)


async def _watched(
    pieces: AsyncIterator[bytes], patience: asyncio.Timeout, seconds: float | None
) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    async for piece in pieces:
        with suppress(RuntimeError):  # the answer has begun before the request's end
            patience.reschedule(None if seconds is None else loop.time() + seconds)
        yield piece
        with suppress(RuntimeError):
            patience.reschedule(None)  # how long the client takes for the next is not the upstream's fault


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), _PIECE):
        yield body[at : at + _PIECE]


def address(origin: str, target: str) -> URL:
    """Return the URL of an origin and a target, path and query, that will be sent as it is."""
    url = URL(origin)
    # All of the target is put where the path goes: as a query, an empty one would lose its question mark.
    return URL.build(scheme=url.scheme, authority=url.raw_authority, path=target, encoded=True)


def _own_words(fields: Fields) -> list[tuple[str, str]]:
    """Return what aiohttp is told of the fields."""
    words = (field for field in fields if field[0].lower() in _OWN_WORDS)
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in words]


def _timeout(settings: Settings, upstream: UpstreamSettings) -> aiohttp.ClientTimeout:
    own = settings.timeouts_for(upstream)
    # `connect` for looking the name up too, which `sock_connect` is not for.
    return aiohttp.ClientTimeout(
        total=None, connect=own.connect, sock_connect=own.connect, sock_read=own.idle
    )


def _tls(upstream: UpstreamSettings) -> ssl.SSLContext | bool:
    if not upstream.tls.verify:
        return False
    return ssl.create_default_context(cafile=upstream.tls.ca) if upstream.tls.ca else True


def _proxy(upstream: UpstreamSettings) -> str | None:
    if upstream.proxy == "env":
        url = URL(upstream.base_url)
        return None if proxy_bypass(url.host or "") else getproxies().get(url.scheme)
    return None if upstream.proxy == "off" else upstream.proxy
