"""The table of dialects, and of the paths that are known without one.

To add an API format, add its file here and its rows to the table.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote

from meter.dialects import cohere, gemini, ollama
from meter.dialects.audio import Speech, Transcriptions, Translations
from meter.dialects.chat import ChatCompletions, Completions
from meter.dialects.counting import CountTokens
from meter.dialects.embeddings import Embeddings
from meter.dialects.images import ImageEdits, ImageGenerations
from meter.dialects.messages import Messages
from meter.dialects.moderations import Moderations
from meter.dialects.realtime import Realtime
from meter.dialects.responses import Fetched, Responses
from meter.lenient import name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meter.dialect import Dialect

__all__ = [
    "DIALECTS",
    "FETCHED",
    "QUIET",
    "SOCKETS",
    "VERBS",
    "find",
    "find_socket",
    "model_asked",
    "model_in",
    "operation",
]

DIALECTS: Mapping[tuple[str, ...], Dialect] = {
    ("chat", "completions"): ChatCompletions(),
    ("completions",): Completions(),
    ("embeddings",): Embeddings(),
    ("images", "generations"): ImageGenerations(),
    ("images", "edits"): ImageEdits(),
    ("images", "variations"): ImageEdits(),
    ("audio", "transcriptions"): Transcriptions(),
    ("audio", "translations"): Translations(),
    ("audio", "speech"): Speech(),
    ("moderations",): Moderations(),
    ("responses",): Responses(),
    ("responses", "compact"): Responses(),
    ("responses", "input_tokens"): CountTokens(),
    ("v1", "messages"): Messages(),
    ("messages", "count_tokens"): CountTokens(),
    ("api", "chat"): ollama.Chat(),
    ("api", "generate"): ollama.Generate(),
    ("api", "embed"): ollama.Embed(),
    ("api", "embeddings"): ollama.Embed(),
    ("v2", "chat"): cohere.Chat(),
    ("rerank",): cohere.Rerank(),
}
"""By the last segments of the path that a POST goes to; the longer ones first."""

VERBS: Mapping[str, Dialect] = {
    "generateContent": gemini.GenerateContent(),
    "streamGenerateContent": gemini.StreamGenerateContent(),
    "countTokens": CountTokens(),
    "embedContent": gemini.EmbedContent(),
    "batchEmbedContents": gemini.EmbedContent(),
}
"""By what follows a colon in the last segment of the path that a POST goes to: Gemini's way."""

FETCHED: Dialect = Fetched()
"""Of a GET that fetches what was made in the background."""

SOCKETS: Mapping[str, Dialect] = {"realtime": Realtime(), "responses": Responses()}
"""Of the messages of a WebSocket, by the last segment of the path that it is opened at."""

QUIET = {"models": "models", "files": "files", "batches": "batches"}
"""Operations that use no tokens, by the path's segment that names them."""

_BATCH = ":batchGenerateContent"
_VERSION = re.compile(r"v[0-9]+[a-z0-9]*")
_NAMED = re.compile(r"/(?:deployments/([^/:]+)/|models/([^/:]+):)")


def find(method: str, path: str) -> Dialect | None:
    """Return the dialect that is spoken at `path` (without query), or None."""
    if method != "POST":
        return None
    return _at(path) if len(path) <= _LONGEST else _found_at(path)


def _found_at(path: str) -> Dialect | None:
    segments = tuple(path.rstrip("/").split("/"))
    _, colon, verb = segments[-1].rpartition(":")
    if colon:
        return VERBS.get(verb)
    return DIALECTS.get(segments[-2:]) or DIALECTS.get(segments[-1:])


_LONGEST = 256
_at = lru_cache(1024)(_found_at)  # clients choose paths: neither too many nor long ones are kept


def find_socket(path: str) -> Dialect | None:
    """Return the dialect of the messages of a WebSocket that is opened at `path` (without query), or None."""
    return SOCKETS.get(path.rstrip("/").rpartition("/")[2])


def model_asked(query: str) -> str | None:
    """Return the model that a query asks for by `model=`; None where it asks for none."""
    told = (pair[6:] for pair in query.split("&") if pair.startswith("model="))
    return name(unquote(next(told, "")))


def model_in(path: str) -> str | None:
    """Return the model or deployment that a path names, and something below it; None where it names none."""
    if "/deployments/" not in path and "/models/" not in path:  # as nearly all, and far sooner said
        return None
    named = _NAMED.search(path)
    return unquote(named[1] or named[2]) if named else None


def operation(method: str, path: str, dialect: Dialect | None) -> str:
    """Return the operation that metrics go by: the dialect's, one of `QUIET`, or `other`."""
    if dialect is not None:
        return dialect.operation
    if method in {"OPTIONS", "HEAD"}:
        return "other"
    if path.endswith(_BATCH):
        return "batches"
    segments = [s for s in path.split("/") if s and s != "openai"]
    # What follows a version names the resource: /v1/models/gpt-4o, but not /v1/vector_stores/v/files.
    versions = [i for i, s in enumerate(segments) if _VERSION.fullmatch(s)]
    named = segments[versions[0] + 1 :] if versions else segments
    if versions:
        named = named[1:2] if named[:1] == ["messages"] else named[:1]  # Anthropic's /v1/messages/batches
    quiet = next((QUIET[s] for s in named if s in QUIET), "other")
    return "other" if (method, quiet) == ("POST", "models") else quiet  # below a model it is a call of it
