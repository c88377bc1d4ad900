"""The last exchanges, as they were told: what the admin port shows of them where there is no ledger.

A sink that keeps the records themselves, which are frozen, and makes nothing of them before somebody asks.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meter.exchange import Exchange

__all__ = ["Recent"]


class Recent:
    """The last `most` exchanges; told and asked on one thread."""

    name = "recent"

    def __init__(self, most: int = 1000) -> None:
        self._ring: deque[Exchange] = deque(maxlen=most)

    def __call__(self, exchange: Exchange) -> None:
        """Keep an exchange, and forget the oldest where there are too many."""
        self._ring.append(exchange.discreet)

    def close(self) -> None:
        """Do nothing: what is kept ends with the process."""

    def last(self) -> list[Exchange]:
        """Return what is kept, the newest first."""
        return list(reversed(self._ring))
