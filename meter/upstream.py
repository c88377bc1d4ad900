"""The connection to an upstream, behind a narrow face: aiohttp's client, told to add and keep nothing.

A request goes out with exactly the fields it is given (and the Host that follows from the origin); an answer
comes back as status, reason, raw fields, and pieces of a body that nobody has decoded.
"""

from __future__ import annotations

import asyncio
import io
import ssl
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self
from urllib.request import getproxies, proxy_bypass

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from meter.coding import decoder
from meter.headers import first

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
    "UnsendableError",
    "address",
]

_LONG_BODY = 1 << 20
"""Bytes."""

_SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
_SWITCHING_PROTOCOLS = 101
_NOT_INVENTED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class UnreachableError(Exception):
    """No answer's head came: no connection, or one that broke before."""


class TimedOutError(Exception):
    """The upstream took too long; `connecting` says that it was not even reached."""

    def __init__(self, *, connecting: bool = False) -> None:
        super().__init__()
        self.connecting = connecting


class BrokenOffError(Exception):
    """The answer's body broke off."""


class UnsendableError(Exception):
    """The request has a field that cannot be carried as it came."""


class Answer:
    """An upstream's answer, its body still to be read."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.reason = response.reason or ""
        self.fields: Fields = list(response.raw_headers)
        self._pushed: deque[bytes] = deque()

    async def read(self) -> bytes:
        """Return the next piece of the body as it came, b"" at its end.

        Raises TimedOutError, BrokenOffError.
        """
        return self._pushed.popleft() if self._pushed else await self._read()

    async def beginning(self, size: int) -> bytes:
        """Return the first bytes of the body, decoded, without taking them from `read`."""
        undo = decoder(first(self.fields, b"content-encoding"))
        seen = b""
        with suppress(
            TimedOutError, BrokenOffError, ValueError
        ):  # what broke will break again for the reader
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
        except aiohttp.ServerTimeoutError:
            raise TimedOutError from None
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError):
            raise BrokenOffError from None

    def close(self) -> None:
        """Let go of the answer; what is left of it is not waited for, its connection is closed."""
        self._response.close()


class Client:
    """Sends requests to any of the upstreams, over one pool of connections."""

    def __init__(self, settings: Settings) -> None:
        self._tls = {u.name: _tls(u) for u in settings.upstreams}
        self._proxies = {u.name: _proxy(u) for u in settings.upstreams}
        self._timeouts = {u.name: _timeout(settings, u) for u in settings.upstreams}
        self._header_bytes = settings.limits.header_bytes or 1 << 30
        self._sessions: tuple[aiohttp.ClientSession, aiohttp.ClientSession] | None = None

    async def __aenter__(self) -> Self:
        """Open the pool."""
        # Servers close idle connections after as little as 5 s (uvicorn): ours must be the shorter patience.
        connector = aiohttp.TCPConnector(limit=0, limit_per_host=0, keepalive_timeout=4, ttl_dns_cache=30)
        self._sessions = (self._session(connector), self._session(connector))
        # aiohttp would send PUT and DELETE again as well when a reused connection breaks.
        self._sessions[0]._retry_connection = False  # noqa: SLF001 - there is no public switch
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the pool."""
        for session in self._sessions or ():
            await session.close()

    def _session(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=self._header_bytes,
            max_field_size=self._header_bytes,
            max_headers=1024,
            read_bufsize=2**16,
            skip_auto_headers=_NOT_INVENTED,
        )

    async def send(
        self,
        upstream: str,
        method: str,
        url: URL,
        fields: Fields,
        body: bytes | AsyncIterator[bytes] | None,
    ) -> Answer:
        """Send a request; `url` is made by `address`, and sent as it is.

        Raises UnreachableError, TimedOutError, UnsendableError.
        """
        assert self._sessions is not None  # noqa: S101 - sending goes on within `async with`
        again = method in _SAFE and (body is None or isinstance(body, bytes))
        try:
            response = await self._sessions[again].request(
                method,
                url,
                headers=_headers(fields),
                data=_paced(body),
                allow_redirects=False,
                ssl=self._tls[upstream],
                proxy=self._proxies[upstream],
                timeout=self._timeouts[upstream],
            )
        except aiohttp.ConnectionTimeoutError:
            raise TimedOutError(connecting=True) from None
        except aiohttp.ServerTimeoutError:
            raise TimedOutError from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise UnreachableError from None
        if response.status == _SWITCHING_PROTOCOLS:  # nobody asked to: Upgrade stays home
            response.close()
            raise UnreachableError
        return Answer(response)


def _paced(body: bytes | AsyncIterator[bytes] | None) -> Any:
    """Return a body as aiohttp should write it: a long one in pieces, for as a whole it stops the loop."""
    return io.BytesIO(body) if isinstance(body, bytes) and len(body) > _LONG_BODY else body


def address(origin: str, target: str) -> URL:
    """Return the URL of an origin and a target, path and query, that will be sent as it is."""
    url = URL(origin)
    # All of the target is put where the path goes: as a query, an empty one would lose its question mark.
    return URL.build(scheme=url.scheme, authority=url.raw_authority, path=target, encoded=True)


def _headers(fields: Fields) -> CIMultiDict[str]:
    """Return fields as aiohttp takes them.

    Repetitions get the spelling of the first, for aiohttp lets one in another case replace it.
    """
    out: CIMultiDict[str] = CIMultiDict()
    spelling: dict[bytes, str] = {}
    for name, value in fields:
        try:
            out.add(spelling.setdefault(name.lower(), name.decode("ascii")), value.decode("utf-8"))
        except UnicodeDecodeError:  # aiohttp would drop the bytes in silence
            raise UnsendableError from None
    return out


def _timeout(settings: Settings, upstream: UpstreamSettings) -> aiohttp.ClientTimeout:
    own = settings.timeouts_for(upstream)
    return aiohttp.ClientTimeout(total=None, connect=None, sock_connect=own.connect, sock_read=own.idle)


def _tls(upstream: UpstreamSettings) -> ssl.SSLContext | bool:
    if not upstream.tls.verify:
        return False
    return ssl.create_default_context(cafile=upstream.tls.ca) if upstream.tls.ca else True


def _proxy(upstream: UpstreamSettings) -> Any:
    if upstream.proxy == "env":
        url = URL(upstream.base_url)
        return None if proxy_bypass(url.host or "") else getproxies().get(url.scheme)
    return None if upstream.proxy == "off" else upstream.proxy
