"""Remembers answers that are still being made in the background, until somebody is told what they used.

Whoever starts one is told an id and no usage; the first finished answer that is fetched by that id tells it.
Fetching it again uses nothing, so an id is taken once.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Backgrounds"]


class Backgrounds:
    """Ids of answers under way, by upstream; at most `most`, the oldest of more is forgotten."""

    def __init__(self, *, most: int = 10_000) -> None:
        self._most = most
        self._ids: OrderedDict[tuple[str, str], None] = OrderedDict()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield upstream and id of each answer under way, the oldest first."""
        return iter(self._ids)

    def add(self, upstream: str, response_id: str) -> None:
        """Remember an answer that an upstream has begun."""
        self._ids[(upstream, response_id)] = None
        if len(self._ids) > self._most:
            self._ids.popitem(last=False)

    def knows(self, upstream: str, path: str) -> str | None:
        """Return the id of an answer under way that `path` (`/v1/responses/resp_1`) fetches, or None."""
        *_, resource, response_id = ("", "", *path.split("/"))
        return response_id if resource == "responses" and (upstream, response_id) in self._ids else None

    def take(self, upstream: str, response_id: str) -> bool:
        """Forget an answer; tell whether it was under way, so that what it used is still to be told."""
        return self._ids.pop((upstream, response_id), False) is None
