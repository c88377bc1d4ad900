"""The admin port: what operators and Prometheus ask.

Nothing here proxies, and nothing of this is on the proxy's port. `Admin.handle` is a table of paths; it is
served by the same kind of listener as the proxy, so that what is no HTTP is answered without a word of what
was sent.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import time
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from meter.admin.answers import error_answer
from meter.admin.api import OWN, Api
from meter.admin.page import assembled, is_wanted, page_answer
from meter.headers import first
from meter.live import Live

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from meter.admin.api import Page
    from meter.admin.asking import Budgets, Questions
    from meter.keys import Keys
    from meter.recent import Recent
    from meter.settings import Admin as AdminSettings
    from meter.sinks.prometheus import PrometheusSink
    from meter.state import State

__all__ = ["Admin"]

_AT_ONCE = frozenset({"/", "/healthz", "/readyz"})
"""Pages that tell nothing of exchanges."""


class Admin:
    """Answers the probes, `/metrics`, and what `Api` does.

    `questions` ask the ledger, where there is one; `recent` are the last exchanges, `live` their sums; `keys`
    know who calls. `fresh` waits for what other processes have yet to tell.
    """

    def __init__(
        self,
        settings: AdminSettings,
        prometheus: PrometheusSink,
        state: State,
        *,
        questions: Questions | None = None,
        budgets: Budgets | None = None,
        recent: Recent | None = None,
        live: Live | None = None,
        keys: Keys | None = None,
        fresh: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._prometheus = prometheus
        self._state = state
        self._fresh = fresh
        token = settings.token
        self._token = None if token is None else token.get_secret_value().encode()
        self._public = {f"/{name}" for name in settings.public}
        self._api = Api(
            state,
            live or Live(time.time()),
            questions=questions,
            budgets=budgets,
            recent=recent,
            keys=keys,
        )
        self._pages: Mapping[str, Page] = {
            "/metrics": self._metrics,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if not self._may(request):
            if is_wanted(request):  # the page holds no data, and can ask its reader for the token
                return await self._console(request, status=401)
            return error_answer(401, "a bearer token is needed here", ("WWW-Authenticate", "Bearer"))
        if self._token is None and request.path not in self._public and not _is_near(request):
            return error_answer(403, "without admin.token this is for local names and addresses only")
        page = self._page(request.path)
        if page is None:
            return error_answer(404, "there is no such page")
        if request.method not in {"GET", "HEAD"}:
            return error_answer(405, "nothing can be changed here", ("Allow", "GET, HEAD"))
        if self._fresh is not None and request.path not in _AT_ONCE:
            await self._fresh()
        return await page(request)

    def malformed(self, _: web.BaseRequest, error: BaseException | None) -> web.StreamResponse:
        """Answer what is no HTTP, or a mistake of our own."""
        if isinstance(error, HttpProcessingError):
            answer = error_answer(400, "the request is not valid HTTP")
        else:
            answer = error_answer(500, "this page could not be made")
        answer.force_close()
        return answer

    def _may(self, request: web.BaseRequest) -> bool:
        # Callers show their own credential at their own page, which is where others show the token.
        if self._token is None or request.path in self._public or request.path == OWN:
            return True
        scheme, _, token = (first(request.raw_headers, b"authorization") or b"").partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token)

    def _page(self, path: str) -> Page | None:
        if path == "/":  # for people: what programs may ask is described to them
            return self._console
        if path == OWN and self._token is None:  # without a token, anybody sees what all have spent
            return None
        return self._pages.get(path) or self._api.page(path)

    async def _metrics(self, request: web.BaseRequest) -> web.Response:
        # In a thread: 30,000 series take about 20 ms to render, which no stream should wait for.
        body, content_type = await asyncio.to_thread(
            self._prometheus.render, request.headers.get("Accept", "")
        )
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _console(self, request: web.BaseRequest, *, status: int = 200) -> web.Response:
        return page_answer(request, await asyncio.to_thread(assembled), status=status)

    async def _healthz(self, _: web.BaseRequest) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.BaseRequest) -> web.Response:
        if self._state.ready:
            return web.Response(text="ready\n")
        return web.Response(status=503, text="draining\n" if self._state.draining else "not listening yet\n")


_HOST = re.compile(rb"(\[[0-9a-f:.]+\]|[^:]*)(?::[0-9]*)?", re.IGNORECASE)
_NEAR = (b".localhost", b".local", b".internal", b".svc", b".lan", b".test")
_LOCAL = re.compile(rb"\[.*\]|[0-9.]+|[^.]*", re.DOTALL)


def _is_near(request: web.BaseRequest) -> bool:
    """Tell whether a request was made to an address or a name that nobody can have in the public DNS.

    Another's page in a browser may ask a name of its own, which then becomes this machine's address; the
    browser takes what comes for that page's, and lets it read.
    """
    host = _HOST.fullmatch(first(request.raw_headers, b"host") or b"")
    name = host[1].lower().rstrip(b".") if host else b"."
    return _LOCAL.fullmatch(name) is not None or name.endswith(_NEAR)
