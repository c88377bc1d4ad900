"""Traffic for the demo: a table of scenarios, dealt like cards to a few loops that play them.

The first round deals every scenario once, so that within seconds each metric has something to show; after
that they come by weight. What fails is traffic too, so nothing here raises. Chats go through the official SDK
where it is installed; what the SDK would not send, and everything where it is missing, goes through plain
aiohttp.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from random import Random
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import openai

__all__ = ["KEYS", "SCENARIOS", "Bare", "Call", "run_traffic"]

KEYS = {
    "search-team": "sk-demo-search-3f9a41c7",
    "support-team": "sk-demo-support-b20e66d1",
    "batch-jobs": "sk-demo-batch-75c8f0aa",
}
"""Credentials by the names that the demo's settings give them."""

_SEARCH, _SUPPORT, _BATCH = KEYS.values()
_VISITOR = "sk-demo-visitor-0d1e2f3a"  # has no name, and so goes by its fingerprint

_CHAT = "/chat/completions"

_LOOPS = 16
_GAP_S = (0.5, 2.5)
_AFTER_FAILURE_S = 0.02  # or a proxy that is gone would be asked thousands of times a second
_REQUEST_S = 120.0

_QUESTIONS = (
    "Why does the first token take longest?",
    "Explain backpressure to a new colleague.",
    "What should an alert on cost look like?",
    "Summarise yesterday's incident in two sentences.",
    "Which of our prompts could be shorter?",
    "Draft a friendly answer to a customer who waited too long.",
    "如何统计流式输出的用量?",
    "请用两句话解释缓存命中。",
)
_USERS = ("ada", "grace", "linus", "mei", "sophie")
_HANDBOOK = "You are a patient assistant. " + " ".join(
    f"Rule {number}: measure before you change anything, and write down what you saw."
    for number in range(1, 71)
)
_PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYPhfDwAChAGA"
    "WjR9awAAAABJRU5ErkJggg=="
)
_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {member: {"type": "string"}, "limit": {"type": "integer"}},
                "required": [member],
            },
        },
    }
    for name, member in (("search_tickets", "query"), ("get_weather", "city"))
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of a model, a chat for most, with a new question each time it is played."""

    model: str
    path: str = _CHAT
    """Below the base URL."""
    asks: str = "messages"
    """Member of the body that has the question: in a message, or as it is."""
    weight: int = 1
    key: str = _SEARCH
    stream: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    """Members of the body beside `model`, the question and `stream`."""
    system: str = ""
    attachment: Mapping[str, Any] | None = None
    """A part of the message beside its text."""
    traced: bool = False
    leaves_after: int | None = None
    """Pieces of the answer after which the client goes away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bare:
    """A request that calls no model, or that no SDK would send."""

    method: str
    path: str
    """Below the base URL."""
    weight: int = 1
    key: str = _SEARCH
    body: bytes | None = None
    media_type: str = "application/json"


_AUDIO = {"type": "input_audio", "input_audio": {"data": "A" * 24_000, "format": "wav"}}
_IMAGE = {"type": "image_url", "image_url": {"url": _PIXEL, "detail": "low"}}
_FORM_TYPE = "multipart/form-data; boundary=form"
_FORM = (
    b'--form\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--form\r\nContent-Disposition: form-data; name="file"; filename="call.wav"\r\n\r\n'
    + bytes(2048)
    + b"\r\n--form--\r\n"
)
_ASKS_USAGE = {"stream_options": {"include_usage": True}}

SCENARIOS: tuple[Call | Bare, ...] = (
    # What most of a day looks like
    Call(model="gpt-4o-mini", weight=10),
    Call(model="gpt-4o-mini", weight=12, key=_SUPPORT, stream=True),
    Call(model="gpt-4o", weight=6, stream=True, options=_ASKS_USAGE),
    Call(model="gpt-4o", weight=6, key=_SUPPORT, stream=True, system=_HANDBOOK),
    Call(model="gpt-4o", weight=6, stream=True, traced=True),
    Call(model="claude-3-5-sonnet-20241022", weight=6, key=_SUPPORT, stream=True),
    Call(model="gemini-2.5-flash-all", weight=4, key=_BATCH, stream=True),
    Call(model="deepseek-chat", weight=4, key=_BATCH),
    Call(model="deepseek-reasoner", weight=4, key=_BATCH, stream=True),
    Call(model="o1-preview", weight=3, key=_BATCH),
    Call(model="qwen-turbo", weight=4, key=_VISITOR, stream=True),
    # What a request may hold
    Call(model="gpt-4o-mini", weight=3, key=_SUPPORT, stream=True, options={"tools": _TOOLS}),
    Call(model="gpt-4o-mini", weight=2, options={"tools": _TOOLS, "tool_choice": "required"}),
    Call(model="gpt-4o-mini", weight=2, options={"response_format": {"type": "json_object"}}),
    Call(model="gpt-4o", weight=2, attachment=_IMAGE),
    Call(model="gpt-4o-audio-preview", attachment=_AUDIO),
    Call(model="gpt-4o-mini", key=_BATCH, options={"n": 3, "service_tier": "flex"}),
    Call(model="gpt-4o-mini", stream=True, options={"max_tokens": 12}),
    # Prices: unknown, and told by the upstream itself
    Call(model="house-writer-7b", weight=2, stream=True),
    Call(model="meta-llama/llama-3.3-70b-instruct", weight=2, key=_VISITOR),
    # What is no chat, and what is charged for but is no token
    Call(model="text-embedding-3-small", weight=3, key=_BATCH, path="/embeddings", asks="input"),
    Call(model="dall-e-3", key=_SUPPORT, path="/images/generations", asks="prompt", options={"n": 2}),
    Call(model="tts-1", key=_SUPPORT, path="/audio/speech", asks="input", options={"voice": "alloy"}),
    Bare(method="POST", path="/audio/transcriptions", body=_FORM, media_type=_FORM_TYPE, key=_SUPPORT),
    Call(model="rerank-v3.5", path="/rerank", asks="query", options={"documents": ["one", "two", "three"]}),
    Call(model="gpt-4.1-mini", weight=2, path="/responses", asks="input", stream=True),
    Call(model="claude-3-5-sonnet-20241022", weight=2, key=_SUPPORT, path="/messages", stream=True),
    # Streams that go another way
    Call(model="house-strict-7b", stream=True),
    Call(model="house-slow-32b", key=_SUPPORT, stream=True, traced=True),
    Call(model="gpt-4o-mini", weight=3, key=_SUPPORT, stream=True, leaves_after=10),
    Call(model="house-flaky-7b", stream=True),
    Call(model="house-cut-7b", stream=True),
    # Errors
    Call(model="gpt-4o-mini", key="sk-invalid-demo"),
    Call(model="gpt-4o-mini", weight=2, key="sk-limited-demo"),
    Call(model="gpt-4o-invalid"),
    Call(model="o1-preview", options={"temperature": 0.2}),
    Call(model="house-broken-7b", stream=True),
    Call(model="house-broken-503-7b"),
    Call(model="house-portal-7b"),
    Bare(method="POST", path=_CHAT, body=b'{"model": "gpt-4o-mini", "messages": ['),
    Bare(method="POST", path=_CHAT, key="", body=b'{"model": "gpt-4o-mini"}'),
    # Everything else that comes through a door
    Bare(method="GET", path="/models", weight=2),
    Bare(method="GET", path="/nothing/here"),
    Bare(method="TRACE", path="/models"),
)


async def run_traffic(base_url: str, *, stop: asyncio.Event, pace: float = 1.0) -> None:
    """Send traffic to `base_url` (as a client would be given it, with or without `/v1`) until `stop` is set.

    About four requests a second at a `pace` of 1.0; the gaps between requests are as many times longer. What
    is under way when `stop` is set is broken off.
    """
    rng = Random(0)  # noqa: S311  # every demo shows the same day
    url = base_url.rstrip("/").removesuffix("/v1") + "/v1"
    async with AsyncExitStack() as stack:
        player = await _player(stack, url, rng)
        deck = _deck(rng)
        loops = [asyncio.create_task(_play(player, deck, rng, pace)) for _ in range(_LOOPS)]
        try:
            await stop.wait()
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)


def _deck(rng: Random) -> Iterator[Call | Bare]:
    yield from SCENARIOS
    while True:
        cards = [scenario for scenario in SCENARIOS for _ in range(scenario.weight)]
        rng.shuffle(cards)
        yield from cards


async def _play(player: _Player, deck: Iterator[Call | Bare], rng: Random, pace: float) -> None:
    await asyncio.sleep(pace * rng.uniform(0, _GAP_S[1]))  # not all at once
    while True:
        try:
            await player.play(next(deck))
        except Exception:  # noqa: BLE001  # a failed request is traffic too
            await asyncio.sleep(_AFTER_FAILURE_S)
        await asyncio.sleep(pace * rng.uniform(*_GAP_S))


async def _player(stack: AsyncExitStack, url: str, rng: Random) -> _Player:
    timeout = aiohttp.ClientTimeout(total=_REQUEST_S)
    session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
    if find_spec("openai") is None:
        return _Player(url, session, None, rng)
    sdk = await asyncio.to_thread(
        __import__, "openai"
    )  # takes a second or two, in which a proxy has to answer
    client: openai.AsyncOpenAI = sdk.AsyncOpenAI(
        api_key="given with each request",
        base_url=url,
        max_retries=0,
        timeout=_REQUEST_S,
        # The environment's proxy would be asked for a loopback address
        http_client=sdk.DefaultAsyncHttpxClient(trust_env=False),
    )
    return _Player(url, session, await stack.enter_async_context(client), rng)


class _Player:
    """Sends one scenario at a time to `url`, by `sdk` where there is one."""

    def __init__(
        self, url: str, session: aiohttp.ClientSession, sdk: openai.AsyncOpenAI | None, rng: Random
    ) -> None:
        self._url = url
        self._session = session
        self._sdk = sdk
        self._rng = rng
        self._played = itertools.count(1)

    async def play(self, scenario: Call | Bare) -> None:
        """Send it, and read the answer to its end or until the client leaves; an error answer may raise."""
        headers = self._headers(scenario)
        if isinstance(scenario, Bare):
            await self._by_aiohttp(scenario.method, scenario.path, headers, scenario.body, None)
            return
        body = self._body(scenario)
        if self._sdk is not None and scenario.path == _CHAT:
            await self._by_sdk(headers, body, scenario.leaves_after)
            return
        data = json.dumps(body).encode()
        await self._by_aiohttp("POST", scenario.path, headers, data, scenario.leaves_after)

    def _headers(self, scenario: Call | Bare) -> dict[str, str]:
        media_type = scenario.media_type if isinstance(scenario, Bare) else "application/json"
        headers = {"x-user-id": self._rng.choice(_USERS), "Content-Type": media_type}
        if scenario.key:
            headers["Authorization"] = f"Bearer {scenario.key}"
        if isinstance(scenario, Call) and scenario.traced:
            trace, span = self._rng.getrandbits(128), self._rng.getrandbits(64)
            headers["traceparent"] = f"00-{trace:032x}-{span:016x}-01"
        return headers

    def _body(self, call: Call) -> dict[str, Any]:
        question = f"{self._rng.choice(_QUESTIONS)} (#{next(self._played)})"
        parts = [{"type": "text", "text": question}, call.attachment]
        asked = {"role": "user", "content": parts if call.attachment else question}
        told = [{"role": "system", "content": call.system}] if call.system else []
        streamed = {"stream": True} if call.stream else {}
        asks = [*told, asked] if call.asks == "messages" else question
        return {"model": call.model, call.asks: asks, **streamed, **call.options}

    async def _by_sdk(self, headers: dict[str, str], body: dict[str, Any], leaves_after: int | None) -> None:
        create: Any = self._sdk.chat.completions.create if self._sdk is not None else None
        answer = await create(**body, extra_headers=headers)
        if not body.get("stream"):
            return
        async with answer:
            told = 0
            async for _ in answer:
                told += 1
                if told == leaves_after:
                    return

    async def _by_aiohttp(
        self, method: str, path: str, headers: dict[str, str], data: bytes | None, leaves_after: int | None
    ) -> None:
        async with self._session.request(method, self._url + path, headers=headers, data=data) as answer:
            told = 0
            async for _ in answer.content.iter_any():
                told += 1
                if told == leaves_after:
                    answer.close()
                    return
