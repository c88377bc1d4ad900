"""What is asked and what is answered in the benchmark, byte for byte.

The simulated upstream writes these bytes and the load generator compares with them what it gets: a proxy that
loses an event, or an error that is answered quickly, is a failure and not a figure. As OpenAI does, a stream
tells its usage only if it is asked to, and then says `"usage": null` in each event before.
"""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any, NamedTuple

__all__ = ["IMAGE_BYTES", "PATHS", "Stream", "answer", "chunk", "request", "stream"]

IMAGE_BYTES = 8 << 20
"""The length of an image in a request."""

PATHS = {
    "json": "/v1/chat/completions",
    "sse": "/v1/chat/completions",
    "image": "/v1/chat/completions",
    "embeddings": "/v1/embeddings",
}
"""Where each kind of request goes."""

_VECTORS, _DIMENSIONS = 48, 1024
_MODEL = "gpt-4o-mini-2024-07-18"
_SAID: dict[str, Any] = {"id": "chatcmpl-1", "created": 1_760_000_000, "model": _MODEL}
_PROMPT = "Tell me of the weather by the river today. " * 10


class Stream(NamedTuple):
    """An answer of events: all but the last are `word`; the last one finishes it."""

    word: bytes
    end: bytes

    def whole(self, events: int) -> bytes:
        """Return the body of an answer of so many events."""
        return self.word * (events - 1) + self.end


def chunk(data: bytes) -> bytes:
    """Return data as a chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@cache
def stream(*, usage: bool) -> Stream:
    """Return what a stream says, with its usage or without."""
    told = {"usage": None} if usage else {}
    word = _event([{"index": 0, "delta": {"content": " token"}, "finish_reason": None}], **told)
    end = _event([{"index": 0, "delta": {}, "finish_reason": "stop"}], **told)
    end += _event([], usage=_usage(100)) if usage else b""
    return Stream(word, end + b"data: [DONE]\n\n")


@cache
def answer(kind: str) -> bytes:
    """Return the body of an answer that is no stream."""
    if kind == "embeddings":
        return _json(object="list", data=_vectors(), model="text-embedding-3-small", usage=_usage(0))
    message = {"role": "assistant", "content": "It is a fine day for a walk along the river. " * 8}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return _json(**_SAID, object="chat.completion", choices=choices, usage=_usage(90))


def request(kind: str, fields: dict[str, str], *, asks: bool = False) -> bytes:
    """Return a request with these fields beside its own; `asks`: for the usage of a stream."""
    body = _asked(kind, asks=asks)
    told = {
        "host": "bench",
        "content-type": "application/json",
        **fields,
        "content-length": str(len(body)),
    }
    lines = [f"POST {PATHS[kind]} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items()), "", ""]
    return "\r\n".join(lines).encode() + body


@cache
def _asked(kind: str, *, asks: bool) -> bytes:
    if kind == "embeddings":
        return _json(model="text-embedding-3-small", input=[_PROMPT] * _VECTORS)
    told: dict[str, Any] = {"model": "gpt-4o-mini", "temperature": 0.7}
    if kind == "sse":
        told["stream"] = True
    if asks:
        told["stream_options"] = {"include_usage": True}
    content: Any = _PROMPT
    if kind == "image":
        url = "data:image/png;base64," + "iVBORw0K" * (IMAGE_BYTES // 8)
        content = [{"type": "text", "text": _PROMPT}, {"type": "image_url", "image_url": {"url": url}}]
    system = {"role": "system", "content": "You are terse."}
    return _json(**told, messages=[system, {"role": "user", "content": content}])


def _event(choices: list[dict[str, Any]], **more: Any) -> bytes:
    return b"data: " + _json(**_SAID, object="chat.completion.chunk", choices=choices, **more) + b"\n\n"


def _usage(completion: int) -> dict[str, int]:
    return {"prompt_tokens": 120, "completion_tokens": completion, "total_tokens": 120 + completion}


def _vectors() -> list[dict[str, Any]]:
    draw = random.Random(1)  # noqa: S311 - numbers that look like any others
    return [
        {
            "object": "embedding",
            "index": index,
            "embedding": [round(draw.uniform(-0.1, 0.1), 17) for _ in range(_DIMENSIONS)],
        }
        for index in range(_VECTORS)
    ]


def _json(**told: Any) -> bytes:
    return json.dumps(told, separators=(",", ":")).encode()
