"""The log lines that a client's calls cause: those written after one moment, amounts exact."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from stage import until

if TYPE_CHECKING:
    from stage import House

__all__ = ["Lines", "tokens"]


class Lines:
    """The `exchange` events that a house logs from now on, or the `whole` of them."""

    def __init__(self, house: House, *, whole: bool = False) -> None:
        until(lambda: not house.running.state.busy)
        house.loop.run(asyncio.sleep(0))  # an exchange is no longer under way shortly before it is logged
        self._log = house.log
        self._begin = 0 if whole else len(house.log.getvalue())

    def take(self, count: int) -> list[dict[str, Any]]:
        """Return so many lines, once they are there, and fail where there are more; then begin anew."""
        until(lambda: len(self._so_far()) >= count)
        found = self._so_far()
        assert count == len(found)
        self._begin = len(self._log.getvalue())
        return found

    def one(self) -> dict[str, Any]:
        """Return the only line."""
        return self.take(1)[0]

    def _so_far(self) -> list[dict[str, Any]]:
        written = self._log.getvalue()[self._begin :].splitlines()
        lines = [json.loads(line, parse_float=Decimal) for line in written]
        return [line for line in lines if line["event"] == "exchange"]


def tokens(usage: dict[str, Any]) -> tuple[int, int]:
    """Return how many tokens of prompt and of completion a log line's `usage` adds up to."""
    prompt = sum(count for kind, count in usage.items() if kind.startswith("input"))
    return prompt, sum(count for kind, count in usage.items() if kind.startswith("output"))
