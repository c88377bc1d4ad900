"""The table of dialects, and of the paths that are known without one.

To add an API format, add its file here and its row to `DIALECTS`.
"""

from __future__ import annotations

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


def find(method: str, path: str) -> Dialect | None:
    """Return the dialect that is spoken at `path` (without query), or None."""
    if method != "POST":
        return None
    segments = tuple(path.rstrip("/").split("/"))
    return next((d for tail, d in DIALECTS.items() if segments[-len(tail) :] == tail), None)


def operation(method: str, path: str, dialect: Dialect | None) -> str:
    """Return the operation that metrics go by."""
    if dialect is not None:
        return dialect.operation
    if method in {"OPTIONS", "HEAD"}:
        return "other"
    # Only the first segments after a version name a resource: /v1/models/gpt-4o, not /v1/x/models.
    segments = [s for s in path.split("/") if s]
    named = next((s for s in segments[:3] if s in QUIET), None)
    return QUIET[named] if named else "other"
