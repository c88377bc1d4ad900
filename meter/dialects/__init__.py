"""The table of dialects, and of the paths that are known without one.

To add an API format, add its file here and its row to `DIALECTS`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from meter.dialects.chat import ChatCompletions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meter.dialect import Dialect

__all__ = ["DIALECTS", "QUIET", "find", "operation"]

DIALECTS: Mapping[tuple[str, ...], Dialect] = {
    ("chat", "completions"): ChatCompletions(),
}
"""By the last segments of the path that a POST goes to."""

QUIET = {"models": "models", "files": "files", "batches": "batches"}
"""Operations that use no tokens, by the path's segment that names them."""

_VERSION = re.compile(r"v[0-9]+[a-z0-9]*")


def find(method: str, path: str) -> Dialect | None:
    """Return the dialect that is spoken at `path` (without query), or None."""
    if method != "POST":
        return None
    segments = tuple(path.rstrip("/").split("/"))
    return next((d for tail, d in DIALECTS.items() if segments[-len(tail) :] == tail), None)


def operation(method: str, path: str, dialect: Dialect | None) -> str:
    """Return the operation that metrics go by: the dialect's, one of `QUIET`, or `other`."""
    if dialect is not None:
        return dialect.operation
    if method in {"OPTIONS", "HEAD"}:
        return "other"
    segments = [s for s in path.split("/") if s and s != "openai"]
    # What follows a version names the resource: /v1/models/gpt-4o, but not /v1/vector_stores/v/files.
    versions = [i for i, s in enumerate(segments) if _VERSION.fullmatch(s)]
    named = segments[versions[0] + 1 :][:1] if versions else segments
    quiet = next((QUIET[s] for s in named if s in QUIET), "other")
    return "other" if (method, quiet) == ("POST", "models") else quiet  # below a model it is a call of it
