"""How people say when: so long ago, or on a day, or at a time of it.

Rules: standard library only; `now` is an argument. What names no zone is UTC, a day begins at its midnight.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

__all__ = ["moment"]

_AGO = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DATED = re.compile(r"\d{4}-\d\d-\d\d(?:[T ].*)?", re.ASCII | re.IGNORECASE)
_SPOILT_PLUS = re.compile(r"(?<=\d) (?=\d\d(?::?\d\d)?$)")
"""In a query a plus is a blank, and those who type a zone's offset seldom think of it."""

_EXPECTED = "how long ago, such as 7d or 24h, or a date or time, such as 2026-01-31 or 2026-01-31T12:00:00Z"
_SHOWN = 40
"""Characters of what came that are repeated."""


def moment(text: str, now: datetime) -> datetime:
    """Return the moment that `text` says, in UTC; raise ValueError with a sentence where it says none."""
    said = text.strip()
    try:
        if ago := _AGO.fullmatch(said):
            return (now - timedelta(**{_UNITS[ago[2]]: float(ago[1])})).astimezone(UTC)
        if _DATED.fullmatch(said):
            return _dated(said)
    except (ValueError, OverflowError):  # no such day, or before the first year
        pass
    raise ValueError(f"got {text[:_SHOWN]!r}, expected {_EXPECTED}")


def _dated(said: str) -> datetime:
    day, time = said[:10], said[10:]
    when = datetime.fromisoformat(day + time[:1] + _SPOILT_PLUS.sub("+", time[1:]).upper())
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC)
