"""A simulated upstream that speaks chat completions as OpenAI does, so that no key is needed to see it all.

It has a word for other calls too (`meter.demo.operations`).

Names decide what happens: a credential that begins with `sk-invalid`, `sk-forbidden` or `sk-limited` is
refused, and a model whose name contains one of these words misbehaves as the word says:

- `invalid`, `does-not-exist`: 404; `broken`: 500; `broken-503`: 503; `portal`: an HTML page with 502;
- `strict`: refuses `stream_options`; `slow`: thinks for three seconds more;
- `flaky`: an error in mid-stream; `cut`: the connection breaks in the middle of the answer.

Every other name is a model. The same request gets the same answer (`meter.demo.answer`); only `created` is
the clock's, unless it is given.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from aiohttp import web

from meter.demo import refusals
from meter.demo.answer import answer_to, compact
from meter.demo.operations import OPERATIONS, reply_to

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from multidict import CIMultiDictProxy

    from meter.demo.answer import Answer
    from meter.demo.refusals import Refusal

    _Serve = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]

__all__ = ["MODELS", "Seen", "SimulatedUpstream", "go_duration", "make_app"]

MODELS = (
    "gpt-4o-mini",
    "gpt-4o",
    "gpt-4.1-mini",
    "o1-preview",
    "o3-mini",
    "claude-3-5-sonnet-20241022",
    "gemini-2.5-flash-all",
    "deepseek-chat",
    "deepseek-reasoner",
    "qwen-turbo",
)
_MIB = 1024 * 1024
_WINDOW_S = 360.0
_ALLOWED = {"requests": 1_000, "tokens": 400_000}  # in one window, of one credential
_MISBEHAVES_AFTER = 6  # events of a stream


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it arrived."""

    method: str
    target: str
    """Path and query as they stood in the request line."""
    headers: CIMultiDictProxy[str]
    body: bytes


@dataclass(slots=True)
class _Window:
    """What one credential has used since `opened` (seconds, monotonic); all of it comes back at once."""

    opened: float
    used: dict[str, int]

    def headers(self, now: float, tokens: int) -> dict[str, str]:
        """Count one more request of so many tokens; return what OpenAI says of it."""
        if now - self.opened >= _WINDOW_S:
            self.opened, self.used = now, dict.fromkeys(_ALLOWED, 0)
        self.used["requests"] += 1
        self.used["tokens"] += tokens
        told = {}
        for resource, limit in _ALLOWED.items():
            told[f"x-ratelimit-limit-{resource}"] = str(limit)
            told[f"x-ratelimit-remaining-{resource}"] = str(max(limit - self.used[resource], 0))
            told[f"x-ratelimit-reset-{resource}"] = go_duration(_WINDOW_S - (now - self.opened))
        return told


def go_duration(seconds: float) -> str:
    """Write `seconds` as Go does, and so as OpenAI does: `6m0s`, `1h0m2s`, `8.64s`, `120ms`."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 2), 60)
    hours, minutes = divmod(int(minutes), 60)
    head = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{head}{round(rest, 2):g}s"


class SimulatedUpstream:
    """The server's state, and its one way in: `app()`.

    `pace` stretches every wait: 1.0 is lifelike, 0 never waits. `seed` changes what is said. `created`
    fixes the answers' Unix time. `body_limit` is in bytes. `limited_share` is the share of requests, 0 to
    1, that get 429 at random. `keep` is how many requests are kept in `seen`, newest last; the default
    keeps none.
    """

    def __init__(
        self,
        *,
        pace: float = 1.0,
        seed: int = 0,
        created: int | None = None,
        body_limit: int = 64 * _MIB,
        limited_share: float = 0.0,
        keep: int = 0,
    ) -> None:
        self.seen: deque[Seen] = deque(maxlen=keep)
        self.left = 0
        """Clients that went away before their answer's end."""
        self._pace = pace
        self._seed = seed
        self._created = created
        self._body_limit = body_limit
        self._limited_share = limited_share
        self._chance = Random(seed)  # noqa: S311  # a dice, not a secret
        self._windows: dict[str, _Window] = {}

    def app(self) -> web.Application:
        """Return an application that serves this upstream on every path."""
        app = web.Application(client_max_size=self._body_limit)
        app.router.add_route("*", "/{path:.*}", self._serve)
        return app

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return self._refused(refusals.TOO_LARGE)
        if self.seen.maxlen:
            self.seen.append(Seen(request.method, request.raw_path, request.headers, body))
        try:
            return await self._routed(request, body)
        except asyncio.CancelledError:
            self.left += 1
            raise
        except ConnectionError:
            self.left += 1
            return web.Response()  # nobody is there to get it; raising would log an error of ours

    async def _routed(self, request: web.Request, body: bytes) -> web.StreamResponse:
        for method, end, serve in self._routes():
            if request.method == method and request.path.endswith(end):
                refusal = refusals.for_key(_credential(request))
                return self._refused(refusal) if refusal else await serve(request, body)
        return self._refused(refusals.no_such_path(request.method, request.path))

    def _routes(self) -> tuple[tuple[str, str, _Serve], ...]:
        others = (("POST", end, partial(self._other, end)) for end in OPERATIONS)
        return (("POST", "/chat/completions", self._chat), ("GET", "/models", self._models), *others)

    async def _other(self, end: str, request: web.Request, body: bytes) -> web.StreamResponse:
        # A form is no JSON, and says nothing that the answer depends on.
        reply = reply_to(end, _decoded(body) or {}, seed=self._seed, created=self._now())
        response = web.StreamResponse(headers=self._headers(_credential(request), 0, 0.0))
        response.content_type = reply.media_type
        if len(reply.steps) == 1:
            response.content_length = len(reply.steps[0].event)
        for step in reply.steps:
            await self._wait(step.delay_s)
            if not response.prepared:
                await response.prepare(request)
            await response.write(step.event)
        await response.write_eof()
        return response

    async def _models(self, request: web.Request, _body: bytes) -> web.StreamResponse:
        created = self._now()
        listed = [{"id": m, "object": "model", "created": created, "owned_by": "simulated"} for m in MODELS]
        headers = self._headers(_credential(request), 0, 0.0)
        return _json(200, compact({"object": "list", "data": listed}), headers)

    async def _chat(self, request: web.Request, body: bytes) -> web.StreamResponse:
        asked = _decoded(body)
        if asked is None:
            return self._refused(refusals.MALFORMED)
        refusal = refusals.for_body(asked)
        if refusal is None and self._chance.random() < self._limited_share:
            refusal = refusals.LIMITED
        if refusal is not None:
            return self._refused(refusal)
        if "portal" in asked["model"]:
            return web.Response(status=502, body=refusals.BAD_GATEWAY_PAGE, content_type="text/html")
        answer = answer_to(asked, seed=self._seed, created=self._now())
        if asked.get("stream") is True:
            return await self._streamed(request, asked, answer)
        return await self._whole(request, asked, answer)

    async def _whole(self, request: web.Request, asked: dict[str, Any], answer: Answer) -> web.StreamResponse:
        await self._wait(answer.duration_s)
        if "flaky" in asked["model"]:
            return self._refused(refusals.BROKEN)
        headers = self._headers(_credential(request), answer.usage["total_tokens"], answer.duration_s)
        if "cut" not in asked["model"]:
            return _json(200, answer.body(), headers)
        response = web.StreamResponse(headers={**headers, "Content-Type": "application/json"})
        response.content_length = len(answer.body())
        await response.prepare(request)
        await response.write(answer.body()[: len(answer.body()) // 2])
        return _broken_off(request, response)

    async def _streamed(
        self, request: web.Request, asked: dict[str, Any], answer: Answer
    ) -> web.StreamResponse:
        options = asked.get("stream_options") or {}
        headers = self._headers(_credential(request), answer.usage["total_tokens"], answer.first_token_s)
        response = web.StreamResponse(
            headers={
                **headers,
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-cache",
            }
        )
        for told, step in enumerate(answer.steps(usage=options.get("include_usage") is True)):
            if told == _MISBEHAVES_AFTER and "cut" in asked["model"]:
                return _broken_off(request, response)
            if told == _MISBEHAVES_AFTER and "flaky" in asked["model"]:
                await response.write(b"data: " + refusals.MIDSTREAM.body() + b"\n\n")
                break
            await self._wait(step.delay_s)
            if not told:
                await response.prepare(request)
            await response.write(step.event)
        await response.write_eof()
        return response

    async def _wait(self, seconds: float) -> None:
        if self._pace > 0 and seconds > 0:
            await asyncio.sleep(seconds * self._pace)

    def _now(self) -> int:
        return int(time.time()) if self._created is None else self._created

    def _headers(self, credential: str, tokens: int, seconds: float) -> dict[str, str]:
        now = time.monotonic()
        window = self._windows.setdefault(credential, _Window(now, dict.fromkeys(_ALLOWED, 0)))
        return {
            "x-request-id": f"req_{self._chance.getrandbits(128):032x}",
            "openai-organization": "org-simulated",
            "openai-version": "2020-10-01",
            "openai-processing-ms": str(round(seconds * self._pace * 1000)),
            **window.headers(now, tokens),
        }

    def _refused(self, refusal: Refusal) -> web.Response:
        headers = {"x-request-id": f"req_{self._chance.getrandbits(128):032x}", **refusal.headers}
        if refusal is refusals.LIMITED:
            for resource, limit in _ALLOWED.items():
                headers[f"x-ratelimit-limit-{resource}"] = str(limit)
                headers[f"x-ratelimit-remaining-{resource}"] = "0"
                headers[f"x-ratelimit-reset-{resource}"] = "2s"
        return _json(refusal.status, refusal.body(), headers)


def make_app(*, pace: float = 1.0, seed: int = 0, created: int | None = None) -> web.Application:
    """Return the application of a new simulated upstream; see `SimulatedUpstream` for the options."""
    return SimulatedUpstream(pace=pace, seed=seed, created=created).app()


def _credential(request: web.Request) -> str:
    words = request.headers.get("Authorization", "").split()
    bare = words[1:] if words and words[0].lower() == "bearer" else words
    return " ".join(bare) or request.headers.get("api-key", "")


def _decoded(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object that `body` is, or `None` for anything else."""
    try:
        decoded = json.loads(body, parse_int=_integer)
    except (ValueError, RecursionError):
        return None
    return decoded if isinstance(decoded, dict) else None


def _integer(text: str) -> float:
    """Read an integer of any length; Python itself refuses to convert more than 4,300 digits."""
    return int(text) if len(text) < 20 else float(text)  # noqa: PLR2004  # what 64 bits can hold


def _json(status: int, body: bytes, headers: dict[str, str]) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def _broken_off(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Break the connection: what has not been sent never will be."""
    if request.transport is not None:
        request.transport.close()  # not abort(): what was written has to arrive before the end does
    return response
