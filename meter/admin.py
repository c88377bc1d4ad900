"""The admin port: what operators and Prometheus ask.

Nothing here proxies, and nothing of this is on the proxy's port.
"""

from __future__ import annotations

import asyncio
import hmac
from typing import TYPE_CHECKING

from aiohttp import web

from meter.listener import error_body

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware

    from meter.settings import Admin
    from meter.sinks.prometheus import PrometheusSink
    from meter.state import State

__all__ = ["make_app"]


def make_app(settings: Admin, prometheus: PrometheusSink, state: State) -> web.Application:
    """Return the admin application: `/metrics`, `/healthz` and `/readyz`."""

    async def metrics(request: web.Request) -> web.Response:
        # In a thread: 20,000 series take a fifth of a second to render, which no stream should wait for.
        body, content_type = await asyncio.to_thread(prometheus.render, request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        if state.ready:
            return web.Response(text="ready\n")
        return web.Response(status=503, text="draining\n" if state.draining else "not listening yet\n")

    app = web.Application(middlewares=(_guard(settings),))
    for name, serve in (("metrics", metrics), ("healthz", healthz), ("readyz", readyz)):
        app.router.add_get(f"/{name}", serve)
    return app


def _guard(settings: Admin) -> Middleware:
    """Return the middleware that wants the token for everything but what is public, and makes errors JSON."""
    token = settings.token.get_secret_value() if settings.token is not None else None
    public = {f"/{name}" for name in settings.public}
    wanted = f"Bearer {token}".encode()

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if token is not None and request.path not in public:
            came = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
            if not hmac.compare_digest(came, wanted):
                return _error(401, "a bearer token is needed here", {"WWW-Authenticate": "Bearer"})
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _error(error.status, error.reason.lower(), {})

    return guard


def _error(status: int, message: str, headers: dict[str, str]) -> web.Response:
    body = error_body(message, f"http_{status}")
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)
