"""Hours of the day at which a price holds: `16:30-00:30`, in UTC.

They begin and end on a quarter of an hour, since a price that has been looked up is good for one. The end
does not belong to them, and they may go on past midnight.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Hours"]

_CLOCK = "([01][0-9]|2[0-4]):(00|15|30|45)"
_HOURS = re.compile(f"{_CLOCK} ?- ?{_CLOCK}")
_DAY = 24 * 60


class Hours(NamedTuple):
    """From `begin` until before `end`, both in minutes after midnight; of two equal ones, the whole day."""

    begin: int
    end: int

    @classmethod
    def read(cls, text: str) -> Hours:
        """Read hours as people write them; raises ValueError that says what was expected."""
        found = _HOURS.fullmatch(text)
        if found is None:
            raise ValueError("hours in UTC by the quarter, like 16:30-00:30")
        begin, end = (int(found[n]) * 60 + int(found[n + 1]) for n in (1, 3))
        if max(begin, end) > _DAY:
            raise ValueError("hours in UTC by the quarter, like 16:30-00:30")
        return cls(begin % _DAY, end % _DAY)

    def hold(self, when: datetime) -> bool:
        """Whether a moment in UTC is within them."""
        minute = when.hour * 60 + when.minute
        if self.begin < self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end

    def quarters(self) -> frozenset[int]:
        """Give the quarters of an hour in them, counted from midnight."""
        length = (self.end - self.begin) % _DAY or _DAY
        return frozenset((self.begin + minute) % _DAY // 15 for minute in range(0, length, 15))

    def __str__(self) -> str:
        return "-".join(f"{minutes // 60:02}:{minutes % 60:02}" for minutes in self)
