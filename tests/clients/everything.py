"""A simulated upstream that answers every operation of the official SDKs, in the documented shapes.

OpenAI (also at Azure's paths), Anthropic and Gemini on one port, told apart by the fields that their SDKs
send. A body that names `status-429` gets that status, in the error shape of its API. Each request is kept
in `asked`, newest last.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aiohttp import web
from clients.answers import of_anthropic, of_gemini, of_openai
from clients.answers.asked import Ask, answered
from stage import running_app, running_house

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients.answers.asked import Answer
    from stage import House

__all__ = ["Everything", "standing"]

_PROVIDERS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "gcp.gemini",
    "azure": "azure.ai.openai",
}
_STATUS = re.compile(rb"status-(\d{3})")
_ROUTES = {"openai": of_openai.ROUTES, "anthropic": of_anthropic.ROUTES, "gemini": of_gemini.ROUTES}
_ERRORS = {"openai": of_openai.error, "anthropic": of_anthropic.error, "gemini": of_gemini.error}
_FIXED = {"Date": "Thu, 09 Oct 2025 08:53:20 GMT", "Server": "cloudflare", "CF-RAY": "98ab-FRA"}
_OF_API: dict[str, dict[str, str]] = {
    "openai": {
        "openai-version": "2020-10-01",
        "openai-organization": "org-simulated",
        "openai-processing-ms": "12",
        "x-ratelimit-limit-tokens": "400000",
        "x-ratelimit-remaining-tokens": "399000",
        "x-ratelimit-reset-tokens": "150ms",
        "Set-Cookie": "__cf_bm=a; path=/; HttpOnly",
    },
    "anthropic": {
        "anthropic-organization-id": "org-simulated",
        "anthropic-ratelimit-input-tokens-limit": "30000",
        "anthropic-ratelimit-input-tokens-remaining": "29000",
        "anthropic-ratelimit-input-tokens-reset": "2025-10-09T08:53:24Z",
    },
    "gemini": {"Server-Timing": "gfet4t7; dur=12", "Vary": "Origin, X-Origin, Referer"},
}
_NUMBERED = {"openai": "x-request-id", "anthropic": "request-id", "gemini": "x-goog-request-id"}
"""How each calls its number of a request."""


class Everything:
    """The upstream; `app()` is its one way in."""

    def __init__(self) -> None:
        self.asked: deque[Ask] = deque(maxlen=1000)

    def app(self) -> web.Application:
        """Return an application that serves it on every path."""
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._serve)
        return app

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        ask = Ask(request.method, request.raw_path, request.headers, await request.read())
        self.asked.append(ask)
        answer = _answer(ask)
        body, fields = answer.coded_for(ask)
        fields |= _FIXED | _OF_API[_api(ask)]
        fields[_NUMBERED[_api(ask)]] = f"req_{ask.digest}"
        if not answer.streams:
            return web.Response(status=answer.status, body=body, headers=fields)
        response = web.StreamResponse(status=answer.status, headers=fields)
        await response.prepare(request)
        for piece in answer.pieces():
            await response.write(piece)
            await asyncio.sleep(0)
        await response.write_eof()
        return response


def _answer(ask: Ask) -> Answer:
    api = _api(ask)
    if told := _STATUS.search(ask.body):
        return _ERRORS[api](int(told[1]), ask)
    return answered(_ROUTES[api], ask) or _ERRORS[api](404, ask)


def _api(ask: Ask) -> str:
    if "anthropic-version" in ask.headers:
        return "anthropic"
    return "gemini" if any(name.lower().startswith("x-goog-") for name in ask.headers) else "openai"


@contextmanager
def standing(default: str = "openai") -> Iterator[tuple[Everything, House]]:
    """Run the upstream, and Meter in front of it once for each API.

    One API is the default, with OpenAI's version in its base URL, and each has a prefix.
    """
    everything = Everything()
    with running_app(everything.app()) as url:
        base_urls = {"openai": f"{url}/v1", "anthropic": url, "gemini": url, "azure": url}
        upstreams = [
            {
                "name": name,
                "base_url": base_url,
                "prefix": f"/{name}",
                "provider": _PROVIDERS[name],
                "default": name == default,
            }
            for name, base_url in base_urls.items()
        ]
        with running_house(url, upstreams=upstreams) as house:
            yield everything, house
