"""What the simulated upstream answers: pure, from a request's body and a seed.

An `Answer` is decided once, whole, by a hash of the request without its `stream_options`; it can then be
written as one JSON object or told as a stream of events. So a stream that was asked for usage and one that
was not say the same things with the same ids, and differ in nothing but the usage.

Rules: no clock and no socket; delays are seconds beside the bytes, and waiting is the server's business.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from meter.demo import schema, words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Answer", "Choice", "Step", "answer_to", "compact"]

_DATED = {
    "gpt-3.5-turbo": "gpt-3.5-turbo-0125",
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "o1": "o1-2024-12-17",
    "o1-mini": "o1-mini-2024-09-12",
    "o1-preview": "o1-preview-2024-09-12",
    "o3-mini": "o3-mini-2025-01-31",
}
_THINKS_IN_SECRET = ("o1", "o3", "o4", "gpt-5")
_THINKS_ALOUD = ("deepseek-reasoner", "deepseek-r1")

_PARTS = {  # a part's type: what it is called here, and the member that tells most about it
    "text": ("text", "text", ""),
    "image_url": ("image", "detail", "auto"),
    "input_audio": ("audio", "data", ""),
}
_PER_MESSAGE = 3  # role and separators
_IMAGE = {"low": 85}
_IMAGE_IN_DETAIL = 765
_AUDIO_CHARACTERS_PER_TOKEN = 4000
_MOST_PROMPT_TOKENS = 2_000_000
_CACHED_FROM = 1000
_CACHE_BLOCK = 128
_SECONDS_PER_HIDDEN_TOKEN = 0.004
_ROUTED_USD_PER_TOKEN = 0.000_000_4


def compact(value: Any) -> bytes:
    """Return `value` as JSON without a space, text as UTF-8."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.encode(errors="backslashreplace")


@dataclass(frozen=True, slots=True)
class Step:
    """One event of a stream, and the seconds to wait before it."""

    delay_s: float
    event: bytes


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice, token by token."""

    index: int
    reasoning: tuple[str, ...]
    content: tuple[str, ...] | None
    """`None` where the answer is calls of tools."""
    calls: tuple[dict[str, Any], ...]
    finish_reason: str
    logprobs: tuple[dict[str, Any], ...] | None

    @property
    def tokens(self) -> int:
        """How many tokens a reader can see."""
        called = sum(len(words.pieces(call["function"]["arguments"])) + 7 for call in self.calls)
        return len(self.reasoning) + len(self.content or ()) + called

    def message(self) -> dict[str, Any]:
        """Return the choice as a member of a JSON answer."""
        content = None if self.content is None else "".join(self.content)
        message: dict[str, Any] = {"role": "assistant", "content": content}
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        if self.calls:
            message["tool_calls"] = list(self.calls)
        message |= {"refusal": None, "annotations": []}
        logprobs = None if self.logprobs is None else {"content": list(self.logprobs), "refusal": None}
        return {
            "index": self.index,
            "message": message,
            "logprobs": logprobs,
            "finish_reason": self.finish_reason,
        }

    def deltas(self) -> Iterator[dict[str, Any]]:
        """Yield the choice as members of a stream's events: its role, its tokens, its end."""
        first = "" if self.content is not None else None
        yield self._delta({"role": "assistant", "content": first, "refusal": None})
        for piece in self.reasoning:
            yield self._delta({"reasoning_content": piece})
        for position, piece in enumerate(self.content or ()):
            yield self._delta({"content": piece}, position)
        for position, call in enumerate(self.calls):
            named = {**call["function"], "arguments": ""}
            yield self._delta({"tool_calls": [{"index": position, **call, "function": named}]})
            for piece in words.pieces(call["function"]["arguments"]):
                yield self._delta({"tool_calls": [{"index": position, "function": {"arguments": piece}}]})
        yield {**self._delta({}), "finish_reason": self.finish_reason}

    def _delta(self, delta: dict[str, Any], position: int | None = None) -> dict[str, Any]:
        logprobs = None
        if self.logprobs is not None and position is not None:
            logprobs = {"content": [self.logprobs[position]], "refusal": None}
        return {"index": self.index, "delta": delta, "logprobs": logprobs, "finish_reason": None}


@dataclass(frozen=True, slots=True)
class Answer:
    """All of one answer."""

    id: str
    created: int
    """Unix time, in seconds."""
    model: str
    service_tier: str
    system_fingerprint: str
    choices: tuple[Choice, ...]
    usage: dict[str, Any]
    first_token_s: float
    """Seconds from the request to the first token, as a real server would need."""
    token_s: float
    """Seconds from one token to the next."""

    @property
    def duration_s(self) -> float:
        """Seconds that a real server would need for all of it."""
        return self.first_token_s + self.token_s * max(choice.tokens for choice in self.choices)

    def body(self) -> bytes:
        """Return the answer as one JSON object."""
        return compact(
            {
                "id": self.id,
                "object": "chat.completion",
                "created": self.created,
                "model": self.model,
                "choices": [choice.message() for choice in self.choices],
                "usage": self.usage,
                "service_tier": self.service_tier,
                "system_fingerprint": self.system_fingerprint,
            }
        )

    def steps(self, *, usage: bool) -> Iterator[Step]:
        """Yield the answer as events, choices taking turns; the usage only if `usage`."""
        asked: dict[str, Any] = {"usage": None} if usage else {}
        turns = [choice.deltas() for choice in self.choices]
        delays = iter(
            (self.first_token_s / 4, self.first_token_s * 3 / 4)
        )  # a role comes before the first token
        while turns:
            delay = next(delays, self.token_s)
            turns, told = _turn(turns)
            for delta in told:
                yield Step(delay, self._event({"choices": [delta], **asked}))
                delay = 0.0
        if usage:
            yield Step(0.0, self._event({"choices": [], "usage": self.usage}))
        yield Step(0.0, b"data: [DONE]\n\n")

    def _event(self, members: Mapping[str, Any]) -> bytes:
        head = {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "service_tier": self.service_tier,
            "system_fingerprint": self.system_fingerprint,
        }
        return b"data: " + compact({**head, **members}) + b"\n\n"


def _turn(
    turns: list[Iterator[dict[str, Any]]],
) -> tuple[list[Iterator[dict[str, Any]]], list[dict[str, Any]]]:
    """Return the choices that still had something to say, and what they said."""
    said = [(turn, delta) for turn in turns if (delta := next(turn, None)) is not None]
    return [turn for turn, _ in said], [delta for _, delta in said]


def answer_to(body: Mapping[str, Any], *, seed: int, created: int) -> Answer:
    """Decide the answer to the body of a chat completion that nothing was found wrong with."""
    asked = {name: value for name, value in body.items() if name != "stream_options"}
    canonical = json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(b"%d\0" % seed + canonical).hexdigest()
    rng = Random(digest)  # noqa: S311  # the same request has to get the same answer
    model = str(body["model"])
    hidden = rng.randrange(64, 641, 64) if model.startswith(_THINKS_IN_SECRET) else 0
    limit = _limit(body)
    choices = tuple(_choice(index, body, rng, limit, hidden) for index in range(body.get("n") or 1))
    return Answer(
        id=f"chatcmpl-{digest[:29]}",
        created=created,
        model=_DATED.get(model, model),
        service_tier=_tier(body),
        system_fingerprint=f"fp_{hashlib.sha256(model.encode(errors='replace')).hexdigest()[:10]}",
        choices=choices,
        usage=_usage(body, choices, hidden if limit is None else min(hidden, limit)),
        first_token_s=rng.uniform(0.2, 0.8) + hidden * _SECONDS_PER_HIDDEN_TOKEN + 3.0 * ("slow" in model),
        token_s=rng.uniform(0.015, 0.040),
    )


def _limit(body: Mapping[str, Any]) -> int | None:
    """Return how many tokens a choice may have; `None` for any number."""
    told = (body.get(name) for name in ("max_completion_tokens", "max_tokens"))
    return next((limit for limit in told if type(limit) is int and limit > 0), None)


def _tier(body: Mapping[str, Any]) -> str:
    tier = body.get("service_tier")
    return tier if tier in ("flex", "priority") else "default"


def _choice(index: int, body: Mapping[str, Any], rng: Random, limit: int | None, hidden: int) -> Choice:
    model, left = str(body["model"]), None if limit is None else max(limit - hidden, 0)
    calls = _calls(body, rng)
    thought = words.pieces(words.thoughts(rng)) if any(name in model for name in _THINKS_ALOUD) else []
    content = [] if calls else words.pieces(_text(body, rng))
    over = left is not None and len(thought) + len(content) > left
    reasoning = thought[:left]
    content = content if left is None else content[: left - len(reasoning)]
    return Choice(
        index=index,
        reasoning=tuple(reasoning),
        content=None if calls else tuple(content),
        calls=calls,
        finish_reason="length" if over else "tool_calls" if calls else "stop",
        logprobs=_logprobs(body, content, rng),
    )


def _text(body: Mapping[str, Any], rng: Random) -> str:
    asked = _last_words(body)
    form = body.get("response_format")
    kind = form.get("type") if isinstance(form, dict) else None
    if kind == "json_schema":
        described = form.get("json_schema") if isinstance(form, dict) else None
        shape = described.get("schema") if isinstance(described, dict) else None
        text = compact(schema.example(shape if shape is not None else {"type": "object"}, rng)).decode()
    elif kind == "json_object":
        text = compact(
            {"answer": words.prose(rng, asked), "certain": True, "count": rng.randint(1, 99)}
        ).decode()
    else:
        text = words.prose(rng, asked)
    return _until(text, body.get("stop"))


def _until(text: str, stop: Any) -> str:
    stops = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    found = [at for end in stops if isinstance(end, str) and end and (at := text.find(end)) >= 0]
    return text[: min(found)] if found else text


def _last_words(body: Mapping[str, Any]) -> str:
    return "".join(text for kind, text in _parts(body["messages"][-1]) if kind == "text")


def _parts(message: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a message holds: `text` with the text, `image` with its detail, `audio` with its base64."""
    content = message.get("content")
    if isinstance(content, str):
        yield "text", content
    for part in content if isinstance(content, list) else ():
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(kind, str) and kind in _PARTS:
            name, member, default = _PARTS[kind]
            inner = part if kind == "text" else part.get(kind)
            told = inner.get(member, default) if isinstance(inner, dict) else default
            yield name, told if isinstance(told, str) else default


def _calls(body: Mapping[str, Any], rng: Random) -> tuple[dict[str, Any], ...]:
    """Return calls of the tools offered; none where none is wanted, or a tool's result was just brought."""
    tools, wish = body.get("tools"), body.get("tool_choice")
    offered = [tool["function"] for tool in tools if _is_function(tool)] if isinstance(tools, list) else []
    brought = body["messages"][-1].get("role") == "tool" and wish in (None, "auto")
    if not offered or wish == "none" or brought:
        return ()
    wanted = wish.get("function") if isinstance(wish, dict) else None
    name = wanted.get("name") if isinstance(wanted, dict) else None
    called = [function for function in offered if function["name"] == name][:1] or offered[:2]
    if name is None and (body.get("parallel_tool_calls") is False or rng.random() < 0.5):  # noqa: PLR2004  # a coin
        called = called[:1]
    return tuple(_call(function, rng) for function in called)


def _is_function(tool: Any) -> bool:
    function = tool.get("function") if isinstance(tool, dict) else None
    return isinstance(function, dict) and isinstance(function.get("name"), str)


def _call(function: Mapping[str, Any], rng: Random) -> dict[str, Any]:
    arguments = schema.example(function.get("parameters") or {"type": "object"}, rng)
    return {
        "id": f"call_{rng.getrandbits(96):024x}",
        "type": "function",
        "function": {"name": function["name"], "arguments": compact(arguments).decode()},
    }


def _logprobs(body: Mapping[str, Any], content: list[str], rng: Random) -> tuple[dict[str, Any], ...] | None:
    if body.get("logprobs") is not True:
        return None
    top = bool(body.get("top_logprobs"))
    return tuple(_logprob(piece, round(-rng.expovariate(4), 6), top=top) for piece in content)


def _logprob(piece: str, logprob: float, *, top: bool) -> dict[str, Any]:
    token = {"token": piece, "logprob": logprob, "bytes": list(piece.encode())}
    return {**token, "top_logprobs": [token] if top else []}


def _usage(body: Mapping[str, Any], choices: tuple[Choice, ...], hidden: int) -> dict[str, Any]:
    audio, prompt = _prompt_tokens(body)
    cached = prompt * 3 // 4 // _CACHE_BLOCK * _CACHE_BLOCK if prompt > _CACHED_FROM else 0
    reasoning = sum(hidden + len(choice.reasoning) for choice in choices)
    completion = sum(hidden + choice.tokens for choice in choices)
    usage: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": audio},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
    if "/" in str(body["model"]):  # a router's name for a model; routers tell what they charged
        usage["cost"] = round((prompt + completion) * _ROUTED_USD_PER_TOKEN, 9)
    return usage


def _prompt_tokens(body: Mapping[str, Any]) -> tuple[int, int]:
    """Return the prompt's tokens of audio, and all of its tokens."""
    audio = 0
    total = _PER_MESSAGE
    for message in body["messages"]:
        total += _PER_MESSAGE
        for kind, told in _parts(message):
            if kind == "audio":
                audio += 1 + len(told) // _AUDIO_CHARACTERS_PER_TOKEN
            else:
                total += words.count(told) if kind == "text" else _IMAGE.get(told, _IMAGE_IN_DETAIL)
    if body.get("tools"):
        total += words.count(json.dumps(body["tools"]))
    return audio, min(total + audio, _MOST_PROMPT_TOKENS)
