"""The admin port: what operators and Prometheus ask.

Nothing here proxies, and nothing of this is on the proxy's port. `Admin.handle` is a table of paths; it is
served by the same kind of listener as the proxy, so that what is no HTTP is answered without a word of what
was sent.
"""

from __future__ import annotations

import asyncio
import hmac
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from meter.headers import first
from meter.listener import error_body

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from meter.settings import Admin as AdminSettings
    from meter.sinks.prometheus import PrometheusSink
    from meter.state import State

__all__ = ["Admin"]


class Admin:
    """Answers `/metrics`, `/healthz` and `/readyz`."""

    def __init__(self, settings: AdminSettings, prometheus: PrometheusSink, state: State) -> None:
        self._prometheus = prometheus
        self._state = state
        token = settings.token
        self._token = None if token is None else token.get_secret_value().encode()
        self._public = {f"/{name}" for name in settings.public}
        self._pages: dict[str, Callable[[web.BaseRequest], Awaitable[web.Response]]] = {
            "/metrics": self._metrics,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if not self._may(request):
            return _error(401, "a bearer token is needed here", ("WWW-Authenticate", "Bearer"))
        page = self._pages.get(request.path)
        if page is None:
            return _error(404, "there is no such page")
        if request.method not in {"GET", "HEAD"}:
            return _error(405, "nothing can be changed here", ("Allow", "GET, HEAD"))
        return await page(request)

    def malformed(self, _: web.BaseRequest, error: BaseException | None) -> web.StreamResponse:
        """Answer what is no HTTP, or a mistake of our own."""
        if isinstance(error, HttpProcessingError):
            answer = _error(400, "the request is not valid HTTP")
        else:
            answer = _error(500, "this page could not be made")
        answer.force_close()
        return answer

    def _may(self, request: web.BaseRequest) -> bool:
        if self._token is None or request.path in self._public:
            return True
        scheme, _, token = (first(request.raw_headers, b"authorization") or b"").partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token)

    async def _metrics(self, request: web.BaseRequest) -> web.Response:
        # In a thread: 20,000 series take a fifth of a second to render, which no stream should wait for.
        body, content_type = await asyncio.to_thread(
            self._prometheus.render, request.headers.get("Accept", "")
        )
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _healthz(self, _: web.BaseRequest) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.BaseRequest) -> web.Response:
        if self._state.ready:
            return web.Response(text="ready\n")
        return web.Response(status=503, text="draining\n" if self._state.draining else "not listening yet\n")


def _error(status: int, message: str, *headers: tuple[str, str]) -> web.Response:
    return web.Response(
        status=status,
        body=error_body(message, f"http_{status}"),
        content_type="application/json",
        headers=[*headers, ("x-meter-error", "1")],
    )
