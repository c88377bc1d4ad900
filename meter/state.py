"""What is going on right now: read by gauges and by the readiness probe, written by proxy and app.

It is the one thing that changes and is shared; whoever has it may read it at any time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["State"]

_FAILURES = 3
"""Times in a row that an upstream must be out of reach to be called down."""


class State:
    """The running proxy's state; `upstreams` are all their names."""

    def __init__(
        self, upstreams: Iterable[str], on_change: Callable[[str, str | None], None] = lambda *_: None
    ) -> None:
        """Begin with all upstreams up; `on_change` hears of one that goes down and why, or of None for up."""
        self._on_change = on_change
        self.in_flight: dict[tuple[str, str], int] = {}
        """Exchanges under way, by upstream and operation.

        A pair that was seen stays, at 0: a gauge that vanishes leaves its last value on the screen.
        """
        self.listening = False
        """Both ports have been had."""
        self.drains = 0
        """Exchanges that go on although their clients have left."""
        self.draining = False
        """Nothing new is taken; what is under way may still end."""
        self._failures = dict.fromkeys(upstreams, 0)

    @property
    def ready(self) -> bool:
        """New requests are welcome."""
        return self.listening and not self.draining

    @property
    def busy(self) -> int:
        """Number of exchanges under way."""
        return sum(self.in_flight.values())

    @property
    def upstream_up(self) -> dict[str, bool]:
        """By upstream: False after three failures to reach it in a row."""
        return {name: failures < _FAILURES for name, failures in self._failures.items()}

    @property
    def failures(self) -> dict[str, int]:
        """How many times in a row each upstream has been out of reach."""
        return dict(self._failures)

    def enter(self, upstream: str, operation: str) -> None:
        """Count an exchange in."""
        pair = upstream, operation
        self.in_flight[pair] = self.in_flight.get(pair, 0) + 1

    def leave(self, upstream: str, operation: str) -> None:
        """Count an exchange out."""
        self.in_flight[(upstream, operation)] -= 1

    def know(self, upstreams: Iterable[str]) -> None:
        """Take these for all upstreams from now on; of one that is no more nothing is noted."""
        self._failures = {name: self._failures.get(name, 0) for name in upstreams}

    def fail(self, failures: Mapping[str, int]) -> None:
        """Take another's word for how many times in a row upstreams have been out of reach."""
        self._failures = {name: failures.get(name, 0) for name in self._failures}

    def reached(self, upstream: str) -> None:
        """Note that an upstream answered."""
        failures = self._failures.get(upstream)
        if not failures:
            return
        self._failures[upstream] = 0
        if failures >= _FAILURES:
            self._on_change(upstream, None)

    def missed(self, upstream: str, reason: str) -> None:
        """Note that an upstream was out of reach, and why, in words."""
        if upstream not in self._failures:
            return
        self._failures[upstream] += 1
        if self._failures[upstream] == _FAILURES:
            self._on_change(upstream, reason)
