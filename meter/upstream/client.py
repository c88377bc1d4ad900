"""Sends requests to upstreams, over connections that serve again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from meter.headers import first, lines, replace, without
from meter.upstream.dialing import Dialler, Place, Way

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from meter.headers import Fields
    from meter.settings import Settings
    from meter.upstream.answer import Answer
    from meter.upstream.connection import Connection

__all__ = ["Client"]

_IDLE_SECONDS = 4.0
"""Servers close idle connections after as little as 5 s (uvicorn): ours must be the shorter patience."""


class Client:
    """Sends requests to any of the upstreams; an async context."""

    def __init__(self, settings: Settings) -> None:
        self._ways = {u.name: Way.to(u, settings) for u in settings.upstreams}
        self._header_bytes = settings.limits.header_bytes
        self._places: dict[tuple[str, str], Place] = {}
        self._free: dict[Place, dict[Connection, float]] = {}
        """Connections that serve again, and since when they have been idle; the last one is asked first."""
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Get ready."""
        self._dialler = Dialler(self._header_bytes)
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """Close all connections, with all that is under way on them."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        await self._dialler.close()

    async def send(
        self,
        upstream: str,
        method: str,
        origin: str,
        target: str,
        *,
        fields: Fields,
        body: bytes | AsyncIterator[bytes] | None,
    ) -> Answer:
        """Send a request to `upstream`, named as in the settings, and return its answer, to be closed.

        `target`, path and query, is sent as it is. `Host` is the origin's; it stands where `fields` have one,
        else first. Raises UnreachableError, TimedOutError.
        """
        place = self._place(upstream, origin)
        chunked = False
        if body is not None and first(fields, b"content-length") is None:
            if isinstance(body, bytes):
                fields = [*fields, (b"Content-Length", b"%d" % len(body))]
            else:
                fields, chunked = [*fields, (b"Transfer-Encoding", b"chunked")], True
        head = _head(method, place, target, fields)
        connection = self._idle(place) or await self._fresh(place)
        return await connection.ask(method, head, fields=fields, body=body, chunked=chunked)

    def _place(self, upstream: str, origin: str) -> Place:
        place = self._places.get((upstream, origin))
        if place is None:
            place = self._places[upstream, origin] = Place(origin, self._ways[upstream])
        return place

    def _idle(self, place: Place) -> Connection | None:
        """Return a connection that has been used before and serves again."""
        free = self._free.get(place)
        long_ago = self._loop.time() - _IDLE_SECONDS
        while free:
            connection, since = free.popitem()
            if since >= long_ago and not connection.stale:
                return connection
            connection.close()
        return None

    async def _fresh(self, place: Place) -> Connection:
        connection = await self._dialler.connection(place)
        free = self._free.setdefault(place, {})

        def on_free(connection: Connection, serves: bool) -> None:
            if serves and not self._closed:
                free[connection] = self._loop.time()
                self._sweep_later()
            else:
                free.pop(connection, None)

        connection.on_free = on_free
        return connection

    def _sweep_later(self) -> None:
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(_IDLE_SECONDS / 4, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for too long."""
        self._sweeping = None
        long_ago = self._loop.time() - _IDLE_SECONDS
        for free in self._free.values():
            for connection in [one for one, since in free.items() if since < long_ago]:
                del free[connection]
                connection.close()
        if any(self._free.values()):
            self._sweep_later()


def _head(method: str, place: Place, target: str, fields: Fields) -> bytes:
    """Return the head of a request, with the fields in their order and spelling."""
    host = place.host
    if first(fields, b"host") is not None:
        fields = replace(fields, b"Host", host)
    else:
        fields = [(b"Host", host), *fields]
    if place.added:
        fields = without(fields, *(name.lower() for name, _ in place.added)) + place.added
    line = f"{method} {place.prefix}{target} HTTP/1.1\r\n".encode("utf-8", "surrogateescape")
    return b"%b%b\r\n" % (line, lines(fields))
