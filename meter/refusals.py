"""Remembers which upstreams refuse to be asked for usage, so that no request is sent twice in vain.

A refusal here is an upstream's, and the client never sees it; what Meter itself refuses is
`meter.passage.Refusal`.
"""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["REFUSAL_BYTES", "REFUSAL_STATUSES", "Refusals", "refuses"]

REFUSAL_BYTES = 64 * 1024
"""Of an answer that may be a refusal, as much is looked at."""

REFUSAL_STATUSES = frozenset((400, 422, 500))
"""Statuses of answers that may be refusals."""

_WORDS = (b"stream_options", b"include_usage")


def refuses(status: int, beginning: bytes) -> bool:
    """Tell whether an answer refuses to be asked for usage; `beginning` is of its body, decoded."""
    return status in REFUSAL_STATUSES and any(word in beginning for word in _WORDS)


class Refusals:
    """Pairs of upstream and model that refused, at most `most` of them, each for `seconds`."""

    def __init__(self, *, most: int = 1000, seconds: float = 3600.0) -> None:
        self._most = most
        self._seconds = seconds
        self._until: OrderedDict[tuple[str, str | None], float] = OrderedDict()

    def add(self, upstream: str, model: str | None, now: float) -> None:
        """Remember a refusal; the oldest is forgotten where there are too many."""
        self._until[(upstream, model)] = now + self._seconds
        self._until.move_to_end((upstream, model))
        if len(self._until) > self._most:
            self._until.popitem(last=False)

    def knows(self, upstream: str, model: str | None, now: float) -> bool:
        """Tell whether the pair refused less than `seconds` ago, on the clock that `add` was told."""
        until = self._until.get((upstream, model))
        if until is None:
            return False
        if until <= now:
            del self._until[(upstream, model)]
            return False
        return True
