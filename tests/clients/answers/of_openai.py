"""OpenAI's API, as its reference documents each answer; Azure's is the same at other paths."""

from __future__ import annotations

import base64
import hashlib
import struct
from typing import TYPE_CHECKING, Any

from clients.answers.asked import CREATED, Answer, Ask, compact, events, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients.answers.asked import Route

__all__ = ["ROUTES", "error"]

_VERSIONS = {"gpt-4o": "gpt-4o-2024-08-06", "gpt-5": "gpt-5-2025-08-07"}
_CODES = {
    400: ("invalid_request_error", "unsupported_value"),
    401: ("invalid_request_error", "invalid_api_key"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
    500: ("server_error", None),
}


def error(status: int, ask: Ask) -> Answer:
    """Return an error of OpenAI's shape."""
    kind, code = _CODES.get(status, ("server_error", None))
    told = {"message": f"No: {ask.method} {ask.path}", "type": kind, "param": None, "code": code}
    return whole({"error": told}, status, {"retry-after-ms": "1"} if status >= 429 else {})


def _model(ask: Ask) -> str:
    asked = ask.text("model", "gpt-4o")
    return _VERSIONS.get(asked, asked)


# Chat and text completions.

_CHAT_USAGE = {
    "prompt_tokens": 120,
    "completion_tokens": 40,
    "total_tokens": 160,
    "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 12,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}


def _chat(ask: Ask) -> Answer:
    return events(_chunks(ask), done=True) if ask.streams else whole(_completion(ask))


def _completion(ask: Ask) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(ask.words),
        "refusal": None,
        "annotations": [],
    }
    return {
        **_named("chatcmpl", "chat.completion", ask),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": _CHAT_USAGE,
        "service_tier": "default",
        "system_fingerprint": "fp_44709d6fcb",
    }


def _chunks(ask: Ask) -> Iterator[dict[str, Any]]:
    """Yield a stream's chunks; of usage they speak only where they are asked to."""
    asked = (ask.told.get("stream_options") or {}).get("include_usage") is True
    frame = {**_named("chatcmpl", "chat.completion.chunk", ask), "service_tier": "default"}
    untold: dict[str, Any] = {"usage": None} if asked else {}

    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**frame, "choices": [choice], **untold}

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    for word in ask.words:
        yield chunk({"content": word})
    yield chunk({}, "stop")
    if asked:
        yield {**frame, "choices": [], "usage": _CHAT_USAGE}


def _text(ask: Ask) -> Answer:
    usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
    frame = _named("cmpl", "text_completion", ask)

    def choice(text: str, reason: str | None) -> list[dict[str, Any]]:
        return [{"text": text, "index": 0, "logprobs": None, "finish_reason": reason}]

    if not ask.streams:
        return whole({**frame, "choices": choice("".join(ask.words), "length"), "usage": usage})
    asked = (ask.told.get("stream_options") or {}).get("include_usage") is True
    untold: dict[str, Any] = {"usage": None} if asked else {}
    told = [{**frame, "choices": choice(word, None), **untold} for word in ask.words]
    told.append({**frame, "choices": choice("", "length"), **untold})
    return events(told + ([{**frame, "choices": [], "usage": usage}] if asked else []), done=True)


def _named(prefix: str, kind: str, ask: Ask) -> dict[str, Any]:
    return {"id": f"{prefix}-{ask.digest}", "object": kind, "created": CREATED, "model": _model(ask)}


# Responses.

_RESPONSE_USAGE = {
    "input_tokens": 300,
    "input_tokens_details": {"cached_tokens": 256},
    "output_tokens": 90,
    "output_tokens_details": {"reasoning_tokens": 64},
    "total_tokens": 390,
}


def _response(ask: Ask, status: str = "completed", number: str = "") -> dict[str, Any]:
    done = status == "completed"
    return {
        "id": number or f"resp_{ask.digest}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": ask.told.get("background", False),
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "model": _model(ask),
        "output": [_reasoning(), _message(ask)] if done else [],
        "parallel_tool_calls": True,
        "reasoning": {"effort": "medium", "summary": None},
        "service_tier": "default",
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": _RESPONSE_USAGE if done else None,
    }


def _reasoning() -> dict[str, Any]:
    return {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}


def _message(ask: Ask, status: str = "completed") -> dict[str, Any]:
    part = {"type": "output_text", "text": "".join(ask.words), "annotations": [], "logprobs": []}
    content = [part] if status == "completed" else []
    return {"id": "msg_1", "type": "message", "status": status, "role": "assistant", "content": content}


def _responses(ask: Ask) -> Answer:
    if ask.told.get("background") and not ask.streams:
        return whole(_response(ask, "queued"))
    return events(_numbered(_response_events(ask)), named=True) if ask.streams else whole(_response(ask))


def _numbered(values: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for number, value in enumerate(values):
        yield {**value, "sequence_number": number}


def _response_events(ask: Ask) -> Iterator[dict[str, Any]]:
    begun = _response(ask, "in_progress")
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    at = {"output_index": 1, "item_id": "msg_1", "content_index": 0}
    summary = {"output_index": 0, "item_id": "rs_1", "summary_index": 0}
    whole_part = {**part, "text": "".join(ask.words)}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    reasoning = {"id": "rs_1", "type": "reasoning", "summary": []}
    yield {"type": "response.output_item.added", "output_index": 0, "item": reasoning}
    empty = {"type": "summary_text", "text": ""}
    yield {"type": "response.reasoning_summary_part.added", **summary, "part": empty}
    yield {"type": "response.reasoning_summary_text.delta", **summary, "delta": "Hm."}
    yield {"type": "response.reasoning_summary_text.done", **summary, "text": "Hm."}
    yield {"type": "response.output_item.done", "output_index": 0, "item": _reasoning()}
    message = _message(ask, "in_progress")
    yield {"type": "response.output_item.added", "output_index": 1, "item": message}
    yield {"type": "response.content_part.added", **at, "part": part}
    for word in ask.words:
        yield {"type": "response.output_text.delta", **at, "delta": word, "logprobs": []}
    yield {"type": "response.output_text.done", **at, "text": whole_part["text"], "logprobs": []}
    yield {"type": "response.content_part.done", **at, "part": whole_part}
    yield {"type": "response.output_item.done", "output_index": 1, "item": _message(ask)}
    yield {"type": "response.completed", "response": _response(ask)}


def _stored_response(ask: Ask) -> Answer:
    number = ask.path.rpartition("/")[2]
    if "stream=true" in ask.query:
        return events(_numbered(_response_events(ask)), named=True)
    return whole(_response(ask, number=number))


def _cancelled(ask: Ask) -> Answer:
    return whole(_response(ask, "cancelled", ask.path.split("/")[-2]))


def _input_tokens(_: Ask) -> Answer:
    return whole({"object": "response.input_tokens", "input_tokens": 11})


def _compaction(ask: Ask) -> Answer:
    item = {"id": "cmp_1", "type": "compaction", "encrypted_content": ask.digest}
    told = {"id": f"resp_{ask.digest}", "object": "response.compaction", "created_at": CREATED}
    return whole({**told, "output": [item], "usage": _RESPONSE_USAGE})


# Embeddings, images, moderations.


def _embeddings(ask: Ask) -> Answer:
    asked = ask.told["input"]
    inputs = asked if isinstance(asked, list) and not isinstance(asked[0], int) else [asked]
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(ask, repr(one))}
        for index, one in enumerate(inputs)
    ]
    usage = {"prompt_tokens": 8 * len(inputs), "total_tokens": 8 * len(inputs)}
    return whole({"object": "list", "data": data, "model": _model(ask), "usage": usage})


def _vector(ask: Ask, said: str) -> list[float] | str:
    digest = hashlib.sha256(said.encode()).digest() * 8
    floats = [byte / 256 - 0.5 for byte in digest]
    if ask.told.get("encoding_format") != "base64":
        return floats
    return base64.b64encode(struct.pack(f"<{len(floats)}f", *floats)).decode()


_IMAGE_USAGE = {
    "input_tokens": 13,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 13},
    "output_tokens": 1056,
    "total_tokens": 1069,
}
_EDIT_USAGE = {
    "input_tokens": 336,
    "input_tokens_details": {"image_tokens": 323, "text_tokens": 13},
    "output_tokens": 1056,
    "total_tokens": 1392,
}


def _picture(ask: Ask, times: int = 400) -> str:
    return base64.b64encode(hashlib.sha256(ask.digest.encode()).digest() * times).decode()


def _generated(ask: Ask) -> Answer:
    return _drawn(ask, "image_generation", _IMAGE_USAGE)


def _edited(ask: Ask) -> Answer:
    return _drawn(ask, "image_edit", _EDIT_USAGE)


def _varied(ask: Ask) -> Answer:
    return whole({"created": CREATED, "data": [{"url": f"https://images.example/{ask.digest}.png"}]})


def _drawn(ask: Ask, kind: str, usage: dict[str, Any]) -> Answer:
    made = {"size": "1024x1024", "quality": "medium", "background": "opaque", "output_format": "png"}
    if ask.text("model").startswith("dall-e"):
        count = int(ask.text("n", "1"))
        url = f"https://images.example/{ask.digest}.png"
        return whole({"created": CREATED, "data": [{"revised_prompt": "An otter.", "url": url}] * count})
    if not ask.streams:
        return whole({"created": CREATED, **made, "data": [{"b64_json": _picture(ask)}], "usage": usage})
    frame = {"created_at": CREATED, **made}
    partial = [
        {"type": f"{kind}.partial_image", "b64_json": _picture(ask, 100), "partial_image_index": i, **frame}
        for i in range(int(ask.text("partial_images", "0")))
    ]
    last = {"type": f"{kind}.completed", "b64_json": _picture(ask), **frame, "usage": usage}
    return events([*partial, last], named=True)


def _moderated(ask: Ask) -> Answer:
    names = ("harassment", "hate", "self-harm", "sexual", "violence")
    result = {
        "flagged": False,
        "categories": dict.fromkeys(names, False),
        "category_scores": {name: index / 1e6 for index, name in enumerate(names, 1)},
        "category_applied_input_types": {name: ["text"] for name in names},
    }
    return whole({"id": f"modr-{ask.digest}", "model": _model(ask), "results": [result]})


# Audio.

_HEARD = {
    "type": "tokens",
    "input_tokens": 140,
    "input_token_details": {"text_tokens": 0, "audio_tokens": 140},
    "output_tokens": 30,
    "total_tokens": 170,
}
_LASTED = {"type": "duration", "seconds": 11}


def _heard(ask: Ask) -> Answer:
    """Transcribe or translate, in the format that is asked for."""
    text = "".join(ask.words)
    if ask.streams:
        deltas = [{"type": "transcript.text.delta", "delta": word} for word in ask.words]
        return events([*deltas, {"type": "transcript.text.done", "text": text, "usage": _HEARD}])
    form = ask.text("response_format", "json")
    if form == "verbose_json":
        return whole(_verbose(ask, text))
    if form != "json":
        return Answer(f"{text}\n".encode(), "text/plain; charset=utf-8")
    if ask.path.endswith("translations"):
        return whole({"text": text})
    usage = _LASTED if ask.text("model").startswith("whisper") else _HEARD
    return whole({"text": text, "usage": usage})


def _verbose(ask: Ask, text: str) -> dict[str, Any]:
    segment = {"id": 0, "seek": 0, "start": 0.0, "end": 10.4, "text": text, "tokens": [50364, 440, 7534]}
    odds = {"temperature": 0.0, "avg_logprob": -0.28, "compression_ratio": 1.2, "no_speech_prob": 0.01}
    task = "translate" if ask.path.endswith("translations") else "transcribe"
    told = {"task": task, "language": "english", "duration": 10.4, "text": text}
    usage = {} if task == "translate" else {"usage": _LASTED}
    return {**told, "segments": [{**segment, **odds}], **usage}


def _spoken(ask: Ask) -> Answer:
    sound = hashlib.sha256(ask.digest.encode()).digest() * 200
    if ask.text("stream_format") != "sse":
        return Answer(b"ID3\x04" + sound, "audio/mpeg", streams=True)
    half = len(sound) // 2
    parts = [base64.b64encode(part).decode() for part in (sound[:half], sound[half:])]
    usage = {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115}
    deltas = [{"type": "speech.audio.delta", "audio": part} for part in parts]
    return events([*deltas, {"type": "speech.audio.done", "usage": usage}])


# What is kept: lists, objects, and what is done with them.

_KEPT: dict[str, tuple[str, dict[str, Any]]] = {
    "batches": (
        "batch",
        {
            "endpoint": "/v1/chat/completions",
            "input_file_id": "file-1",
            "output_file_id": "file-2",
            "completion_window": "24h",
            "status": "completed",
            "request_counts": {"total": 100, "completed": 95, "failed": 5},
            "usage": {
                "input_tokens": 1000,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": 500,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": 1500,
            },
        },
    ),
    "files": ("file", {"bytes": 120, "filename": "in.jsonl", "purpose": "batch", "status": "processed"}),
    "uploads": (
        "upload",
        {"bytes": 4, "expires_at": CREATED, "filename": "a.txt", "purpose": "batch", "status": "pending"},
    ),
    "parts": ("upload.part", {"upload_id": "upload_1"}),
    "jobs": ("fine_tuning.job", {"model": "gpt-4o-mini", "status": "succeeded", "trained_tokens": 5768}),
    "vector_stores": (
        "vector_store",
        {
            "name": "docs",
            "usage_bytes": 4096,
            "status": "completed",
            "last_active_at": CREATED,
            "file_counts": {"in_progress": 0, "completed": 1, "failed": 0, "cancelled": 0, "total": 1},
        },
    ),
    "conversations": ("conversation", {"metadata": {"topic": "demo"}}),
    "items": ("conversation.item", {"type": "message", "role": "user", "status": "completed", "content": []}),
    "models": ("model", {"created": CREATED, "owned_by": "system"}),
    "completions": (
        "chat.completion",
        {"created": CREATED, "model": "gpt-4o-2024-08-06", "choices": [], "usage": _CHAT_USAGE},
    ),
    "messages": ("chat.completion.store_message", {"role": "user", "content": "Hello"}),
    "input_items": ("message", {"type": "message", "role": "user", "status": "completed", "content": []}),
}
"""By the path's segment that names their list."""


def _kind(ask: Ask) -> tuple[str, dict[str, Any]]:
    named = [segment for segment in ask.path.split("/") if segment in _KEPT]
    return _KEPT[named[-1]] if named else ("thing", {})


def _object(ask: Ask, number: str) -> dict[str, Any]:
    kind, members = _kind(ask)
    return {"id": number, "object": kind, "created_at": CREATED, **members}


def _listed(ask: Ask) -> Answer:
    """Return one of two pages."""
    last = "after=" in ask.query or ask.path.endswith("/models")
    data = [_object(ask, f"{number}_{ask.digest}") for number in ("one", "two")]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"], "has_more": not last}
    return whole({"object": "list", "data": data, **ends})


def _fetched(ask: Ask) -> Answer:
    return whole(_object(ask, ask.path.rpartition("/")[2]))


def _made(ask: Ask) -> Answer:
    return whole({**_object(ask, f"new_{ask.digest}"), "metadata": {"digest": ask.digest}})


def _gone(ask: Ask) -> Answer:
    kind, _ = _kind(ask)
    return whole({"id": ask.path.rpartition("/")[2], "object": f"{kind}.deleted", "deleted": True})


def _content(ask: Ask) -> Answer:
    lines = [{"custom_id": f"request-{number}", "response": ask.digest} for number in range(40)]
    return Answer(b"\n".join(map(compact, lines)) + b"\xff\x00", "application/octet-stream", streams=True)


_LISTS = r"/(?:models|files|batches|jobs|vector_stores|input_items|items|chat/completions|messages)"

ROUTES: tuple[Route, ...] = (
    ("POST", "/chat/completions", _chat),
    ("POST", "/completions", _text),
    ("POST", "/responses", _responses),
    ("POST", "/responses/input_tokens", _input_tokens),
    ("POST", "/responses/compact", _compaction),
    ("POST", "/responses/[^/]+/cancel", _cancelled),
    ("GET", "/responses/[^/]+", _stored_response),
    ("POST", "/embeddings", _embeddings),
    ("POST", "/images/generations", _generated),
    ("POST", "/images/edits", _edited),
    ("POST", "/images/variations", _varied),
    ("POST", "/moderations", _moderated),
    ("POST", "/audio/(?:transcriptions|translations)", _heard),
    ("POST", "/audio/speech", _spoken),
    ("GET", "/content", _content),
    ("GET", _LISTS, _listed),
    ("GET", "", _fetched),
    ("DELETE", "", _gone),
    ("POST", "", _made),
)
