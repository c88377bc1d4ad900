"""Which upstream serves a request, and what it is asked for.

A prefix chooses, the base path is put in front, and segments that both sides repeat are said once.
Everything is done on the raw text of the request's target: nothing is decoded, normalised or re-encoded,
and the query is never looked at.

Rules: standard library only; no model, header or host ever takes part in the choice.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Routes", "Target", "origin_form"]

_KEPT = 1024
"""Paths that are remembered; clients choose them, so neither too many nor long ones are."""
_LONGEST = 256

_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?]*")


class Target(NamedTuple):
    """Where one request goes."""

    upstream: str
    """Name of the upstream."""
    target: str
    """Path and query as they go upstream, behind the origin."""


class _Route(NamedTuple):
    upstream: str
    prefix: str
    base: str
    """Path of the base URL without its last slash; may be empty."""


class Routes:
    """The table of upstreams, each as `(name, base_url, prefix, default)`; no prefix is the empty string."""

    __slots__ = ("_default", "_kept", "_origins", "_prefixed")

    def __init__(self, upstreams: Iterable[tuple[str, str, str, bool]]) -> None:
        prefixed: list[_Route] = []
        self._default: _Route | None = None
        self._origins: dict[str, str] = {}
        for name, base_url, prefix, default in upstreams:
            url = urlsplit(base_url)
            self._origins[name] = f"{url.scheme}://{url.netloc}"
            route = _Route(name, prefix, url.path.rstrip("/"))
            if prefix:
                prefixed.append(route)
            if default:
                self._default = route._replace(prefix="")
        self._prefixed = sorted(prefixed, key=lambda route: len(route.prefix), reverse=True)
        self._kept: dict[str, Target | None] = {}

    def origin(self, upstream: str) -> str:
        """Return scheme, host and port of an upstream, as in `https://api.openai.com`."""
        return self._origins[upstream]

    def match(self, raw_target: str) -> Target | None:
        """Return the upstream and what it is asked for; `None` where no upstream serves the path.

        An absolute-form target is reduced to its path and query; `*` goes to the default as it is.
        """
        if raw_target == "*":
            return Target(self._default.upstream, "*") if self._default else None
        path, mark, query = origin_form(raw_target).partition("?")
        try:
            found = self._kept[path]
        except KeyError:
            found = self._sought(path)
        return found._replace(target=found.target + mark + query) if mark and found is not None else found

    def _sought(self, path: str) -> Target | None:
        """Return where a path leads. Its query is not kept, nor what is no path: a secret may be in them."""
        if not path.startswith("/"):
            return None
        route = self._choose(path)
        found = route and Target(route.upstream, _joined(route.base, path[len(route.prefix) :]))
        if len(path) <= _LONGEST:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            self._kept[path] = found
        return found

    def _choose(self, path: str) -> _Route | None:
        for route in self._prefixed:
            if path == route.prefix or path.startswith(route.prefix + "/"):
                return route
        return self._default


def origin_form(raw_target: str) -> str:
    """Return path and query of a request's target: an absolute-form one without its scheme and authority."""
    if raw_target.startswith("/"):
        return raw_target
    absolute = _ABSOLUTE.match(raw_target)
    if absolute is None:
        return raw_target
    rest = raw_target[absolute.end() :]
    return rest if rest.startswith("/") else "/" + rest


def _joined(base: str, path: str) -> str:
    """Put the base path before the client's, without the segments that end the one and begin the other."""
    base_segments, segments = base.split("/")[1:], path.split("/")[1:]
    for length in range(min(len(base_segments), len(segments)), 0, -1):
        if base_segments[-length:] == segments[:length]:
            repeated = sum(len(segment) + 1 for segment in segments[:length])
            return base + path[repeated:]
    return base + path or "/"
