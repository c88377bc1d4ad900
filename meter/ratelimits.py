"""What an upstream says of its limits, in the headers of an answer.

Two families of names, each a triple of limit, remaining and reset: `x-ratelimit-*` of OpenAI and those who
follow it, and `anthropic-ratelimit-*`. A reset comes as a duration (`6m0s`), as seconds, as Unix time or as
an RFC 3339 time; all become seconds from now. What does not read as a sane number is left out: these are
hints, and nobody's promise.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from meter.exchange import RateLimit
from meter.headers import layout

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["read"]

_RESOURCES = ("requests", "tokens", "input_tokens", "output_tokens")
_BARE = ""
"""What names without a resource tell of: requests, unless others tell better."""
_FACTS = {"limit": "limit", "remaining": "remaining", "reset": "reset_seconds"}


def _names() -> dict[bytes, tuple[str, str]]:
    names = {f"x-ratelimit-{word}".encode(): (_BARE, fact) for word, fact in _FACTS.items()}
    for resource in _RESOURCES:
        dashed = resource.replace("_", "-")
        for word, fact in _FACTS.items():
            names[f"x-ratelimit-{word}-{dashed}".encode()] = (resource, fact)
            names[f"anthropic-ratelimit-{dashed}-{word}".encode()] = (resource, fact)
    return names


_KNOWN = _names()

_NUMBER = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})?")
_DURATION = re.compile(r"(?:[0-9]{1,12}(?:\.[0-9]{1,12})?(?:d|h|ms|m|us|µs|ns|s))+")
_PART = re.compile(r"([0-9.]+)([a-zµ]+)")
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}

_DURATIONS = 1024
"""Kept: of texts no longer than the next."""
_LONGEST_TEXT = 64
_LONGEST_WHOLE = 18
_MOST = 1e15
"""No limit is larger: what is, stands for "unlimited" or for nothing."""
_LONGEST_RESET = 366 * 86400.0
_UNIX_TIME = 1e9
"""A reset from here on is a Unix time, not a number of seconds to wait."""
_UNIX_MILLISECONDS = 1e11


def read(headers: Sequence[tuple[bytes, bytes]], now: float) -> tuple[RateLimit, ...]:
    """Read the limits out of an answer's headers, at most one of each resource.

    `now` is Unix time in seconds. Never raises.
    """
    known = layout(headers)
    if _KNOWN.keys().isdisjoint(known.places):
        return ()
    facts: dict[str, dict[str, float]] = {}
    for (_, value), name in zip(headers, known.lower, strict=True):
        if (told := _KNOWN.get(name)) is not None:
            resource, fact = told
            resets = fact == "reset_seconds"
            number = _seconds(value, now) if resets else _count(value)
            if number is not None and 0 <= number <= (_LONGEST_RESET if resets else _MOST):
                facts.setdefault(resource, {})[fact] = number
    if _BARE in facts:
        facts["requests"] = {**facts[_BARE], **facts.get("requests", {})}
    return tuple([RateLimit(resource=name, **facts[name]) for name in _RESOURCES if name in facts])


def _count(value: bytes) -> float | None:
    if value.isdigit() and len(value) <= _LONGEST_WHOLE:  # nearly all are
        return float(value)
    text = _text(value)
    return float(text) if text is not None and _NUMBER.fullmatch(text) else None


def _seconds(value: bytes, now: float) -> float | None:
    text = _text(value)
    if text is None:
        return None
    duration = _duration(text)
    if duration is not None:
        return duration
    return _from_number(float(text), now) if _NUMBER.fullmatch(text) else _from_time(text, now)


def _text(value: bytes) -> str | None:
    text = value.decode("utf-8", "replace").strip()
    return text if len(text) <= _LONGEST_TEXT else None


@lru_cache(_DURATIONS)
def _duration(text: str) -> float | None:
    """Return the seconds of a duration; many are the same, of limits that are nearly whole."""
    if not _DURATION.fullmatch(text):
        return None
    parts = _PART.findall(text)
    # Thousandths of a nanosecond are noise of the addition: `59.9s` and `1m` make 119.9.
    return round(sum([float(amount) * _SECONDS[unit] for amount, unit in parts]), 12)


def _from_number(number: float, now: float) -> float:
    if number < _UNIX_TIME:
        return number
    # Clocks differ: a moment just past means that the limit is whole again, not that the header is wrong.
    return max(0.0, (number / 1000 if number >= _UNIX_MILLISECONDS else number) - now)


def _from_time(text: str, now: float) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
        # Without an offset the text would be read in the zone of this machine.
        return max(0.0, moment.timestamp() - now) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
