"""What the simulated upstream answers to calls that are no chats: one table, by the end of the path.

As with chats, the same request gets the same answer. Each is as small as can be read for what it is: enough
to see every operation, every unit that is no token, and two more ways to stream.

Rules: no clock and no socket; delays are seconds beside the bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from meter.demo import words
from meter.demo.answer import Step, compact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TypeAlias

    Asked: TypeAlias = Mapping[str, Any]
    _Make: TypeAlias = Callable[[Asked, Random, int], "Reply"]

__all__ = ["OPERATIONS", "Reply", "reply_to"]

_WHOLE_S = 0.3
_FIRST_S = 0.4
_PIECE_S = 0.025
_MP3_FRAME = b"\xff\xfb\x90\x64" + bytes(413)
_FRAMES_PER_PIECE = 8


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, in the pieces in which it is sent."""

    media_type: str
    steps: tuple[Step, ...]


def reply_to(end: str, asked: Asked, *, seed: int, created: int) -> Reply:
    """Return the answer to a call of the operation whose path has this `end`."""
    digest = hashlib.sha256(b"%d\0%b" % (seed, compact(asked))).hexdigest()
    return OPERATIONS[end](asked, Random(digest), created)  # noqa: S311  # the same answer to the same call


def _embeddings(asked: Asked, rng: Random, _: int) -> Reply:
    texts = asked.get("input")
    data = [
        {"object": "embedding", "index": index, "embedding": [round(rng.gauss(0, 0.1), 8) for _ in range(8)]}
        for index, _ in enumerate(texts if isinstance(texts, list) else [texts])
    ]
    prompt = _tokens(texts)
    usage = {"prompt_tokens": prompt, "total_tokens": prompt}
    return _json({"object": "list", "data": data, "model": asked.get("model"), "usage": usage})


def _images(asked: Asked, rng: Random, created: int) -> Reply:
    wanted = asked.get("n")
    images = wanted if type(wanted) is int and 0 < wanted <= 10 else 1  # noqa: PLR2004  # as many as OpenAI makes
    urls = [{"url": f"https://images.example/{rng.getrandbits(64):016x}.png"} for _ in range(images)]
    return _json({"created": created, "data": urls})


def _speech(asked: Asked, rng: Random, _: int) -> Reply:
    pieces = 1 + len(words.pieces(str(asked.get("input")))) // _FRAMES_PER_PIECE
    audio = _MP3_FRAME * _FRAMES_PER_PIECE
    return Reply("audio/mpeg", _paced(audio for _ in range(pieces + rng.randrange(2))))


def _transcription(_: Asked, rng: Random, __: int) -> Reply:
    usage = {"type": "duration", "seconds": rng.randint(2, 90)}
    return _json({"text": words.prose(rng, ""), "usage": usage})


def _rerank(asked: Asked, rng: Random, _: int) -> Reply:
    documents = asked.get("documents")
    offered = len(documents) if isinstance(documents, list) else 0
    scores = sorted((rng.random() for _ in range(offered)), reverse=True)
    results = [{"index": index, "relevance_score": round(score, 6)} for index, score in enumerate(scores)]
    meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
    return _json({"id": _id("", rng), "results": results, "meta": meta})


def _responses(asked: Asked, rng: Random, created: int) -> Reply:
    said = words.pieces(words.prose(rng, str(asked.get("input"))))
    part = {"type": "output_text", "text": "".join(said), "annotations": []}
    item = {"id": _id("msg_", rng), "type": "message", "status": "completed", "role": "assistant"}
    prompt = _tokens(asked.get("input"))
    response: dict[str, Any] = {
        "id": _id("resp_", rng),
        "object": "response",
        "created_at": created,
        "status": "completed",
        "model": asked.get("model"),
        "output": [{**item, "content": [part]}],
        "service_tier": "default",
        "usage": {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": len(said),
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt + len(said),
        },
    }
    if asked.get("stream") is not True:
        return _json(response)
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    where = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    told: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": begun}),
        ("response.output_item.added", {"output_index": 0, "item": {**item, "content": []}}),
        ("response.content_part.added", {**where, "part": {**part, "text": ""}}),
        *(("response.output_text.delta", {**where, "delta": piece}) for piece in said),
        ("response.output_text.done", {**where, "text": part["text"]}),
        ("response.output_item.done", {"output_index": 0, "item": {**item, "content": [part]}}),
        ("response.completed", {"response": response}),
    ]
    return _events((name, {"sequence_number": n, **members}) for n, (name, members) in enumerate(told))


def _messages(asked: Asked, rng: Random, _: int) -> Reply:
    said = words.pieces(words.prose(rng, str(asked.get("messages"))))
    usage = {
        "input_tokens": _tokens(asked.get("messages")),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": _tokens(asked.get("system")) if asked.get("system") else 0,
        "output_tokens": len(said),
        "service_tier": "standard",
    }
    message = {
        "id": _id("msg_", rng),
        "type": "message",
        "role": "assistant",
        "model": asked.get("model"),
        "content": [{"type": "text", "text": "".join(said)}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }
    if asked.get("stream") is not True:
        return _json(message)
    begun = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    return _events(
        [
            ("message_start", {"message": begun}),
            ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
            ("ping", {}),
            *(
                ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": piece}})
                for piece in said
            ),
            ("content_block_stop", {"index": 0}),
            ("message_delta", {"delta": end, "usage": {"output_tokens": len(said)}}),
            ("message_stop", {}),
        ]
    )


OPERATIONS: Mapping[str, _Make] = {
    "/embeddings": _embeddings,
    "/images/generations": _images,
    "/audio/speech": _speech,
    "/audio/transcriptions": _transcription,
    "/rerank": _rerank,
    "/responses": _responses,
    "/messages": _messages,
}
"""By the end of the path that a POST goes to."""


def _json(body: dict[str, Any]) -> Reply:
    return Reply("application/json", (Step(_WHOLE_S, compact(body)),))


def _events(told: Iterable[tuple[str, dict[str, Any]]]) -> Reply:
    events = (
        b"event: %b\ndata: %b\n\n" % (name.encode(), compact({"type": name, **members}))
        for name, members in told
    )
    return Reply("text/event-stream", _paced(events))


def _paced(pieces: Iterable[bytes]) -> tuple[Step, ...]:
    return tuple(Step(_PIECE_S if at else _FIRST_S, piece) for at, piece in enumerate(pieces))


def _tokens(value: Any) -> int:
    return words.count(compact(value).decode())


def _id(prefix: str, rng: Random) -> str:
    return f"{prefix}{rng.getrandbits(96):024x}"
