"""The two ports: how a listener is had, and how patient it is.

What answers on one is asked anew for each request, so that a reload can put another behind it. The proxy port
may be one that several processes listen on together.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import web

from meter.listener import Listener

if TYPE_CHECKING:
    from contextlib import AsyncExitStack, ExitStack
    from typing import Any

    from meter.admin import Admin
    from meter.proxy import Proxy
    from meter.settings import Settings

__all__ = ["Port", "held", "listen", "listener_for", "settle", "tls_context"]

_CLOSE_SECONDS = 1.0
"""What has been broken off is given so long to be recorded."""


class Port(NamedTuple):
    """A port that is listened on."""

    url: str
    site: web.TCPSite

    async def close(self) -> None:
        """Take no more connections; those that there are go on."""
        await self.site.stop()


def listener_for(settings: Settings, desk: Admin | Proxy) -> Listener:
    """Make a listener that asks `desk`."""
    listener = Listener()
    settle(listener, settings, desk)
    return listener


def settle(listener: Listener, settings: Settings, desk: Admin | Proxy) -> None:
    """Let a listener ask `desk` from its next connection or request on, with the patience of `settings`."""
    listener.settle(
        desk.handle,
        desk.malformed,
        head_seconds=settings.timeouts.client_head,
        keep_alive_seconds=settings.timeouts.keep_alive,
        header_bytes=settings.limits.header_bytes,
    )


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return how the proxy port speaks TLS, None where it does not."""
    if settings.tls.cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings.tls.cert, settings.tls.key)
    context.set_alpn_protocols(["http/1.1"])
    return context


async def listen(
    stack: AsyncExitStack,
    listener: Listener,
    host: str,
    port: int,
    tls: ssl.SSLContext | None,
    *,
    together: bool = False,
) -> Port:
    """Start a listener; `together` with those of other processes, among which connections are shared out."""
    runner = web.ServerRunner(listener, shutdown_timeout=_CLOSE_SECONDS)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, host, port, ssl_context=tls, backlog=1024, reuse_port=together or None)
    try:
        await site.start()
    except OSError as error:
        raise _not_had(host, port, error) from None
    return Port(_url(runner.addresses[0], tls), site)


def held(stack: ExitStack | AsyncExitStack, host: str, port: int, tls: ssl.SSLContext | None) -> str:
    """Keep a port for processes that listen on it together, as long as `stack` lasts; return its URL.

    Raises OSError where somebody listens there already, be it one who would share.
    """
    bound: list[socket.socket] = []
    try:
        for family, *_, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            if port:  # one who shares would get some of the connections
                with socket.socket(family) as alone:
                    _bind(alone, (address[0], port, *address[2:]))
                    alone.listen(1)
            bound.append(stack.enter_context(socket.socket(family)))
            bound[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            _bind(bound[-1], (address[0], port, *address[2:]))
            port = bound[-1].getsockname()[1]
    except OSError as error:
        raise _not_had(host, port, error) from None
    return _url(bound[0].getsockname(), tls)


def _bind(bare: socket.socket, address: tuple[Any, ...]) -> None:
    bare.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if bare.family == socket.AF_INET6:
        bare.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    bare.bind(address)


def _not_had(host: str, port: int, error: OSError) -> OSError:
    reason = (error.strerror or str(error)).rpartition(": ")[2].lower()
    return OSError(error.errno, f"{host} port {port}: {reason}")


def _url(address: Any, tls: ssl.SSLContext | None) -> str:
    name = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"{'http' if tls is None else 'https'}://{name}:{address[1]}"
