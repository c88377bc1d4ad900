"""Hours of the day, in UTC, by the quarter."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.prices.hours import Hours

QUARTERS = st.integers(0, 95).map(lambda quarter: quarter * 15)


def at(clock: str) -> datetime:
    """Give a moment at this time of a day."""
    hour, minute = clock.split(":")
    return datetime(2026, 11, 21, int(hour), int(minute), 59, tzinfo=UTC)


def test_hours_within_a_day() -> None:
    """Hours hold from their begin until just before their end."""
    hours = Hours.read("09:15-17:00")

    assert [False, True, True, False] == [
        hours.hold(at(clock)) for clock in ("09:14", "09:15", "16:59", "17:00")
    ]


def test_hours_past_midnight() -> None:
    """Hours that end before they begin go on past midnight."""
    hours = Hours.read("16:30 - 00:30")

    assert [True, True, True, False, False] == [
        hours.hold(at(clock)) for clock in ("16:30", "23:59", "00:29", "00:30", "16:29")
    ]


def test_the_whole_day() -> None:
    """Hours that end when they begin hold all day, and `24:00` is midnight."""
    assert all(Hours.read("08:00-08:00").hold(at(clock)) for clock in ("00:00", "07:59", "08:00"))
    assert Hours.read("16:30-00:00") == Hours.read("16:30-24:00")


@pytest.mark.parametrize(
    "wrong", ["", "16:30", "16:31-17:00", "25:00-26:00", "24:15-01:00", "9:00-10:00", "a-b"]
)
def test_what_are_no_hours(wrong: str) -> None:
    """Anything but two quarters of an hour is refused, with an example."""
    with pytest.raises(ValueError, match="like 16:30-00:30"):
        Hours.read(wrong)


@given(QUARTERS, QUARTERS)
def test_a_quarter_is_in_them_as_a_whole(begin: int, end: int) -> None:
    """The quarters of hours are those in which any and every minute is within them."""
    hours = Hours(begin, end)
    minutes = {m for m in range(24 * 60) if hours.hold(at(f"{m // 60}:{m % 60}"))}

    assert minutes == {quarter * 15 + minute for quarter in hours.quarters() for minute in range(15)}


@given(QUARTERS, QUARTERS)
def test_hours_are_read_as_they_are_written(begin: int, end: int) -> None:
    """What hours are written as is read as the same hours."""
    assert Hours(begin, end) == Hours.read(str(Hours(begin, end)))
