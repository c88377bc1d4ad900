"""The two ports: how a listener is had, and how patient it is.

What answers on one is asked anew for each request, so that a reload can put another behind it.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from aiohttp import web

from meter.listener import Listener

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from meter.admin import Admin
    from meter.proxy import Proxy
    from meter.settings import Settings

__all__ = ["listen", "listener_for", "settle", "tls_context"]

_CLOSE_SECONDS = 1.0
"""What has been broken off is given so long to be recorded."""


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
    stack: AsyncExitStack, listener: Listener, host: str, port: int, tls: ssl.SSLContext | None
) -> str:
    """Start a listener; return its URL, with the port that was had."""
    runner = web.ServerRunner(listener, shutdown_timeout=_CLOSE_SECONDS)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, host, port, ssl_context=tls, backlog=1024).start()
    except OSError as error:
        reason = (error.strerror or str(error)).rpartition(": ")[2].lower()
        raise OSError(error.errno, f"{host} port {port}: {reason}") from None
    bound = runner.addresses[0]
    name = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
    return f"{'http' if tls is None else 'https'}://{name}:{bound[1]}"
