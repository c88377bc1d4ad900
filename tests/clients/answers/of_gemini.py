"""Gemini's API, as its reference documents each answer."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from clients.answers.asked import Answer, Ask, events, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients.answers.asked import Route

__all__ = ["ROUTES", "error"]

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
_MOMENT = "2025-10-09T08:53:20Z"
_USAGE = {
    "promptTokenCount": 264,
    "cachedContentTokenCount": 128,
    "candidatesTokenCount": 33,
    "thoughtsTokenCount": 50,
    "totalTokenCount": 347,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 264}],
    "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 128}],
}


def error(status: int, ask: Ask) -> Answer:
    """Return an error of Gemini's shape."""
    told = {"code": status, "message": f"No: {ask.method} {ask.path}", "status": _STATUSES.get(status, "X")}
    return whole({"error": told}, status)


def _generated(ask: Ask) -> Answer:
    return whole(_told(ask, _parts(ask), "STOP", _USAGE))


def _streamed(ask: Ask) -> Answer:
    assert "alt=sse" in ask.query
    return events(_chunks(ask))


def _chunks(ask: Ask) -> Iterator[dict[str, Any]]:
    """Yield a stream's objects: usage is a running total on each."""
    running = {"promptTokenCount": 264, "totalTokenCount": 264}
    *first, last = [[part] for part in _parts(ask)]
    for parts in first:
        yield _told(ask, parts, None, running)
    yield _told(ask, last, "STOP", _USAGE)


def _parts(ask: Ask) -> list[dict[str, Any]]:
    if "tools" in ask.told:
        return [{"functionCall": {"name": "get_weather", "args": {"city": "北京"}}}]
    thought = [{"text": "Hm.", "thought": True}] if "thinkingConfig" in str(ask.told) else []
    return [*thought, *({"text": word} for word in ask.words)]


def _told(ask: Ask, parts: list[dict[str, Any]], reason: str | None, usage: dict[str, Any]) -> dict[str, Any]:
    candidate = {"content": {"parts": parts, "role": "model"}, "index": 0}
    return {
        "candidates": [candidate if reason is None else {**candidate, "finishReason": reason}],
        "usageMetadata": usage,
        "modelVersion": ask.path.rpartition("/")[2].partition(":")[0],
        "responseId": f"r-{ask.digest}",
    }


def _counted(_: Ask) -> Answer:
    details = [{"modality": "TEXT", "tokenCount": 264}]
    return whole({"totalTokens": 264, "promptTokensDetails": details})


def _embedded(ask: Ask) -> Answer:
    vectors = [{"values": _vector(str(one["content"]))} for one in ask.told["requests"]]
    return whole({"embeddings": vectors})


def _embedded_one(ask: Ask) -> Answer:
    return whole({"embedding": {"values": _vector(str(ask.told["content"]))}})


def _vector(said: str) -> list[float]:
    return [byte / 256 - 0.5 for byte in hashlib.sha256(said.encode()).digest() * 8]


# What is kept.

_MODEL = {
    "version": "001",
    "displayName": "Gemini",
    "inputTokenLimit": 1048576,
    "outputTokenLimit": 65536,
    "supportedGenerationMethods": ["generateContent", "countTokens"],
}
_FILE = {"displayName": "a.txt", "mimeType": "text/plain", "sizeBytes": "4", "createTime": _MOMENT}
_BATCH = {"metadata": {"state": "BATCH_STATE_SUCCEEDED", "createTime": _MOMENT}, "done": True}
_CACHE = {"model": "models/gemini-2.5-flash", "createTime": _MOMENT, "usageMetadata": {"totalTokenCount": 9}}
_KEPT: dict[str, dict[str, Any]] = {
    "models": _MODEL,
    "files": _FILE,
    "batches": _BATCH,
    "cachedContents": _CACHE,
}


def _object(ask: Ask, number: str) -> dict[str, Any]:
    kind = next((name for name in _KEPT if f"/{name}" in ask.path), "things")
    uri = {"uri": f"https://files.example/{number}", "state": "ACTIVE"} if kind == "files" else {}
    return {"name": f"{kind}/{number}", **_KEPT.get(kind, {}), **uri}


def _listed(ask: Ask) -> Answer:
    """Return one of two pages."""
    kind = ask.path.rpartition("/")[2]
    # `list` of batches answers with operations.
    data = [_object(ask, f"{number}_{ask.digest}") for number in ("one", "two")]
    more = {} if "pageToken=" in ask.query else {"nextPageToken": "two"}
    return whole({"operations" if kind == "batches" else kind: data, **more})


def _fetched(ask: Ask) -> Answer:
    return whole(_object(ask, ask.path.rpartition("/")[2]))


def _made(ask: Ask) -> Answer:
    return whole(_object(ask, f"new-{ask.digest}"))


def _gone(_: Ask) -> Answer:
    return whole({})


def _uploaded(ask: Ask) -> Answer:
    """Say where an upload's bytes go, or take them."""
    if ask.headers["X-Goog-Upload-Command"] == "start":
        where = f"https://generativelanguage.googleapis.com{ask.path}?upload_id={ask.digest}"
        return whole({}, headers={"x-goog-upload-url": where, "x-goog-upload-status": "active"})
    digest = hashlib.sha256(ask.body).hexdigest()
    sized = {"sizeBytes": str(len(ask.body)), "sha256Hash": digest}
    return whole({"file": {**_object(ask, digest[:12]), **sized}}, headers={"x-goog-upload-status": "final"})


def _content(ask: Ask) -> Answer:
    return Answer(ask.digest.encode() * 100 + b"\xff\x00", "application/octet-stream", streams=True)


ROUTES: tuple[Route, ...] = (
    ("POST", ":generateContent", _generated),
    ("POST", ":streamGenerateContent", _streamed),
    ("POST", ":countTokens", _counted),
    ("POST", ":embedContent", _embedded_one),
    ("POST", ":batchEmbedContents", _embedded),
    ("POST", "/upload/v1[a-z]*/files", _uploaded),
    ("GET", ":download", _content),
    ("GET", "/(?:models|files|batches|cachedContents)", _listed),
    ("GET", "", _fetched),
    ("DELETE", "", _gone),
    ("POST", "", _made),
    ("PATCH", "", _made),
)
