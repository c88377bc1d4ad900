"""Anthropic's API, as its reference documents each answer."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from clients.answers.asked import Answer, Ask, compact, events, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients.answers.asked import Route

__all__ = ["ROUTES", "error"]

_MOMENT = "2025-10-09T08:53:20Z"
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_USAGE = {
    "input_tokens": 21,
    "cache_creation_input_tokens": 100,
    "cache_read_input_tokens": 2048,
    "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40},
    "output_tokens": 77,
    "service_tier": "standard",
}


def error(status: int, ask: Ask) -> Answer:
    """Return an error of Anthropic's shape."""
    told = {"type": _TYPES.get(status, "api_error"), "message": f"No: {ask.method} {ask.path}"}
    return whole({"type": "error", "error": told, "request_id": f"req_{ask.digest}"}, status)


def _messages(ask: Ask) -> Answer:
    if ask.streams:
        return events(_events(ask), named=True)
    return whole({**_message(ask), "content": _blocks(ask), "stop_reason": _reason(ask), "usage": _USAGE})


def _message(ask: Ask) -> dict[str, Any]:
    return {
        "id": f"msg_{ask.digest}",
        "type": "message",
        "role": "assistant",
        "model": ask.text("model"),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _blocks(ask: Ask) -> list[dict[str, Any]]:
    thinks = {"type": "thinking", "thinking": "Hm.", "signature": f"sig-{ask.digest}"}
    calls = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "北京"}}
    blocks = [thinks] if "thinking" in ask.told else []
    blocks.append({"type": "text", "text": "".join(ask.words)})
    return [*blocks, calls] if "tools" in ask.told else blocks


def _reason(ask: Ask) -> str:
    return "tool_use" if "tools" in ask.told else "end_turn"


def _events(ask: Ask) -> Iterator[dict[str, Any]]:
    begun = {**_USAGE, "output_tokens": 2}
    yield {"type": "message_start", "message": {**_message(ask), "usage": begun}}
    yield {"type": "ping"}
    if b"overloads" in ask.body:
        yield from islice(_content_events(ask), 4)
        yield {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        return
    yield from _content_events(ask)
    delta = {"stop_reason": _reason(ask), "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 77}}
    yield {"type": "message_stop"}


def _content_events(ask: Ask) -> Iterator[dict[str, Any]]:
    for index, block in enumerate(_blocks(ask)):
        start, deltas = _parts(ask, block)
        yield {"type": "content_block_start", "index": index, "content_block": start}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}


def _parts(ask: Ask, block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a content block's beginning and the deltas that make the rest of it."""
    if block["type"] == "thinking":
        signature = {"type": "signature_delta", "signature": block["signature"]}
        thinks = {"type": "thinking_delta", "thinking": block["thinking"]}
        return {"type": "thinking", "thinking": "", "signature": ""}, [thinks, signature]
    if block["type"] == "tool_use":
        halves = ('{"city": "', '北京"}')
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": half} for half in halves]
    return {"type": "text", "text": ""}, [{"type": "text_delta", "text": word} for word in ask.words]


def _counted(_: Ask) -> Answer:
    return whole({"input_tokens": 2095})


# What is kept.

_BATCH = {
    "type": "message_batch",
    "processing_status": "ended",
    "request_counts": {"processing": 0, "succeeded": 2, "errored": 0, "canceled": 0, "expired": 0},
    "created_at": _MOMENT,
    "expires_at": _MOMENT,
    "ended_at": _MOMENT,
    "archived_at": None,
    "cancel_initiated_at": None,
}
_FILE = {
    "type": "file",
    "filename": "a.txt",
    "mime_type": "text/plain",
    "size_bytes": 4,
    "created_at": _MOMENT,
    "downloadable": True,
}
_MODEL = {"type": "model", "display_name": "Claude", "created_at": _MOMENT}
_KEPT: dict[str, dict[str, Any]] = {"batches": _BATCH, "files": _FILE, "models": _MODEL}


def _object(ask: Ask, number: str) -> dict[str, Any]:
    kind = next((name for name in _KEPT if f"/{name}" in ask.path), "")
    results = {"results_url": f"/v1/messages/batches/{number}/results"} if kind == "batches" else {}
    return {"id": number, **_KEPT.get(kind, {"type": "thing"}), **results}


def _listed(ask: Ask) -> Answer:
    """Return one of two pages."""
    data = [_object(ask, f"{number}_{ask.digest}") for number in ("one", "two")]
    last = "after_id=" in ask.query or "page=" in ask.query
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"], "has_more": not last}
    return whole({"data": data, **ends, "next_page": None if last else "page_2"})


def _fetched(ask: Ask) -> Answer:
    return whole(_object(ask, ask.path.rpartition("/")[2]))


def _made(ask: Ask) -> Answer:
    return whole(_object(ask, f"new_{ask.digest}"))


def _gone(ask: Ask) -> Answer:
    kind = _object(ask, "")["type"]
    return whole({"id": ask.path.rpartition("/")[2], "type": f"{kind}_deleted"})


def _results(ask: Ask) -> Answer:
    message = {**_message(ask), "model": "claude-sonnet-4-5", "content": _blocks(ask), "usage": _USAGE}
    lines = [
        {"custom_id": f"request-{number}", "result": {"type": "succeeded", "message": message}}
        for number in range(2)
    ]
    return Answer(b"\n".join(map(compact, lines)) + b"\n", "application/x-jsonl", streams=True)


def _content(ask: Ask) -> Answer:
    return Answer(ask.digest.encode() * 100 + b"\xff\x00", "application/octet-stream", streams=True)


ROUTES: tuple[Route, ...] = (
    ("POST", "/messages", _messages),
    ("POST", "/messages/count_tokens", _counted),
    ("GET", "/batches/[^/]+/results", _results),
    ("GET", "/content", _content),
    ("GET", "/(?:batches|files|models)", _listed),
    ("GET", "", _fetched),
    ("DELETE", "", _gone),
    ("POST", "", _made),
)
