"""How connections to upstreams come about: aiohttp's connector, for names, addresses, TLS and proxies.

It is asked for a connection and nothing else. The transport then gets a protocol of ours, and what aiohttp
made stays beside it, to be told of the end.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, NamedTuple
from urllib.request import getproxies, proxy_bypass

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from meter.upstream.connection import Connection
from meter.upstream.errors import TimedOutError, UnreachableError, reason

if TYPE_CHECKING:
    from meter.settings import Settings, UpstreamSettings

__all__ = ["Dialler", "Place", "Way"]

_LOGIN = "Proxy-Authorization"


class Way(NamedTuple):
    """How an upstream is reached."""

    tls: ssl.SSLContext | bool
    """A context, or whether the certificate is checked against the system's."""
    proxy: URL | None
    """A proxy on the way, without who is to be told to it."""
    login: str | None
    """Who asks, as that proxy is told in `Proxy-Authorization`."""
    connect: float | None
    """Seconds that a connection may take to come about, looking its name up included."""
    idle: float | None
    """Seconds that may pass without a byte from the upstream."""

    @classmethod
    def to(cls, upstream: UpstreamSettings, settings: Settings) -> Way:
        """Return what the settings say of an upstream; reads the environment where they say so."""
        own = settings.timeouts_for(upstream)
        return cls(_tls(upstream), *_proxy(upstream), own.connect, own.idle)


class Place:
    """An origin, seen from an upstream's way to it: what the head of each request there begins with."""

    def __init__(self, origin: str, way: Way) -> None:
        self.url = url = URL(origin)
        self.way = way
        self.host = (url.host_port_subcomponent or "").encode()
        # Through a proxy, what is not tunnelled is asked for by its whole address.
        by_address = way.proxy is not None and url.scheme == "http"
        self.prefix = f"{url.scheme}://{url.raw_authority}" if by_address else ""
        self.added = [(_LOGIN.encode(), way.login.encode())] if by_address and way.login else []
        """Fields for the proxy; it is told those of a tunnel when that is made."""


class Dialler:
    """Makes connections; to be opened and closed within the loop."""

    def __init__(self, header_bytes: int) -> None:
        self._header_bytes = header_bytes
        self._connector = aiohttp.TCPConnector(limit=0, limit_per_host=0, ttl_dns_cache=30)
        self._loop = asyncio.get_running_loop()
        self._no_timeout = aiohttp.ClientTimeout(total=None)

    async def connection(self, place: Place) -> Connection:
        """Return a fresh connection. Raises UnreachableError, TimedOutError."""
        way = place.way
        wanted = aiohttp.ClientRequest(
            "GET",
            place.url,
            loop=self._loop,
            ssl=way.tls,
            proxy=way.proxy,
            proxy_headers=CIMultiDict({_LOGIN: way.login}) if way.login else None,
        )
        try:
            # Not the connector's own patience: for looking a name up it has none.
            async with asyncio.timeout(way.connect):
                made = await self._connector.connect(wanted, [], self._no_timeout)
        except TimeoutError:
            raise TimedOutError(connecting=True) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise UnreachableError(reason(error)) from None
        return Connection(made, idle=way.idle, header_bytes=self._header_bytes)

    async def close(self) -> None:
        """Close all connections that there are."""
        await self._connector.close()


def _tls(upstream: UpstreamSettings) -> ssl.SSLContext | bool:
    if not upstream.tls.verify:
        return False
    return ssl.create_default_context(cafile=upstream.tls.ca) if upstream.tls.ca else True


def _proxy(upstream: UpstreamSettings) -> tuple[URL | None, str | None]:
    if upstream.proxy == "env":
        url = URL(upstream.base_url)
        found = None if proxy_bypass(url.host or "") else getproxies().get(url.scheme)
    else:
        found = None if upstream.proxy == "off" else upstream.proxy
    if found is None:
        return None, None
    told = URL(found)
    login = None if told.user is None else aiohttp.encode_basic_auth(told.user, told.password or "")
    return told.with_user(None), login
