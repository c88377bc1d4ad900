"""Recorded exchanges, and how to play them: whole, in pieces, compressed, cut off.

A case is a folder below `tests/dialects/cases/<dialect>/`: `request.json` and `answer.*` are bodies as they
went over the wire (a request that is no JSON is `request.bin`), `expected.json` is what is to be known
afterwards, and `hidden.sse`, where Meter asked for usage, is what the client gets. What `expected.json` does
not mention is not to be found in the exchange; its `path`, `status` and `media` are those of the exchange,
where they are not the usual ones.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meter import dialects
from meter.dialect import Request
from meter.errors import error_type
from meter.members import at_once
from meter.tap import Tap

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meter.dialect import Dialect

CASES = Path(__file__).parent / "dialects" / "cases"
PATHS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "embeddings": "/v1/embeddings",
    "images": "/v1/images/generations",
    "transcriptions": "/v1/audio/transcriptions",
    "speech": "/v1/audio/speech",
    "moderations": "/v1/moderations",
    "gemini": "/v1beta/models/gemini-2.5-flash:generateContent",
    "ollama": "/api/chat",
    "cohere": "/v2/chat",
    "rerank": "/v2/rerank",
}
"""Where the cases of each folder were asked, unless they say otherwise."""

MEDIA = {
    ".sse": b"text/event-stream",
    ".ndjson": b"application/x-ndjson",
    ".json": b"application/json",
    ".html": b"text/html",
    ".txt": b"text/plain",
    ".mp3": b"audio/mpeg",
}


def read_request(dialect: Dialect, body: bytes) -> Request:
    """Return what a request's body says."""
    return at_once(dialect.read_request(body))


@dataclass(frozen=True)
class Case:
    """A recorded exchange."""

    dialect: Dialect
    request: Request
    answer: bytes
    media: bytes
    hidden: bytes | None
    expected: dict[str, Any]

    def tap(self, encoding: bytes | None = None, *, estimate: bool = False) -> Tap:
        """Return a tap that has seen the answer's head."""
        tap = Tap(self.dialect, request=self.request, asked=self.hidden is not None, estimate=estimate)
        tap.answer(self.expected.get("status", 200), self.media, encoding)
        return tap


def names(folder: str = "*") -> list[str]:
    """Return the names of all cases, or of a dialect's."""
    return sorted(f"{case.parent.name}/{case.name}" for case in CASES.glob(f"{folder}/*"))


@cache
def load(name: str) -> Case:
    """Read a case's files."""
    folder = CASES / name
    expected = json.loads((folder / "expected.json").read_text())
    dialect = dialects.find("POST", expected.pop("path", PATHS[folder.parent.name]))
    assert dialect is not None
    answer = next(folder.glob("answer.*"))
    media = expected.pop("media", "").encode() or MEDIA[answer.suffix]
    body, hidden = folder / "request.json", folder / "hidden.sse"
    return Case(
        dialect,
        read_request(dialect, body.read_bytes()) if body.exists() else Request(),
        answer.read_bytes(),
        media,
        hidden.read_bytes() if hidden.exists() else None,
        expected,
    )


def play(tap: Tap, pieces: Iterable[bytes]) -> bytes:
    """Return what the client gets."""
    out: list[bytes] = []
    for now, piece in enumerate(pieces):
        if tap.hiding:
            out.append(tap.edit(piece, now))
        else:
            tap.watch(piece, now)
            out.append(piece)
    out.append(tap.end(-1.0))
    assert 0 == tap.failures
    return b"".join(out)


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Return the pieces that lie between places."""
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def learned(tap: Tap) -> dict[str, Any]:
    """Return what a tap knows at the upstream's own end, in the words of `expected.json`."""
    facts = tap.facts
    outcome = tap.outcome(None)
    counted = tap.counted(outcome, sent=True)
    cost = facts.provider_cost_usd
    return {
        "outcome": outcome,
        "error_type": error_type(facts.error, tap.status, outcome),
        "usage": counted.usage,
        "units": counted.units,
        "usage_source": counted.source,
        "finish_reasons": list(facts.finish_reasons.values()),
        "service_tier": facts.service_tier,
        "provider_cost_usd": None if cost is None else str(cost),
        "content": tap.first_content is not None,
        "reasoning": tap.reasoning_streamed,
        "stream": tap.stream,
        "response_model": facts.response_model,
        "response_id": facts.response_id,
        "status": tap.status,
    }


def expected(case: Case) -> dict[str, Any]:
    """Return all of `expected.json`; what a case does not mention is not to be found in it."""
    nothing: dict[str, Any] = dict.fromkeys(
        ("usage", "service_tier", "provider_cost_usd", "response_model", "response_id")
    )
    usual = {"outcome": "ok", "error_type": "", "status": 200, "stream": not case.media.startswith(_WHOLE)}
    empty: dict[str, Any] = {"units": {}, "finish_reasons": [], "content": False, "reasoning": False}
    return {**nothing, **usual, **empty, **case.expected}


_WHOLE = (b"application/json", b"text/html", b"text/plain", b"audio/")
