"""How people say when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.since import moment

NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("7d", datetime(2026, 1, 25, 12, tzinfo=UTC)),
        ("24h", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("1.5h", datetime(2026, 2, 1, 10, 30, tzinfo=UTC)),
        ("90m", datetime(2026, 2, 1, 10, 30, tzinfo=UTC)),
        ("30s", datetime(2026, 2, 1, 11, 59, 30, tzinfo=UTC)),
        ("2w", datetime(2026, 1, 18, 12, tzinfo=UTC)),
        ("0d", NOW),
        (" 7d ", datetime(2026, 1, 25, 12, tzinfo=UTC)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T10:20", datetime(2026, 1, 31, 10, 20, tzinfo=UTC)),
        ("2026-01-31T10:20Z", datetime(2026, 1, 31, 10, 20, tzinfo=UTC)),
        ("2026-01-31 10:20:30", datetime(2026, 1, 31, 10, 20, 30, tzinfo=UTC)),
        ("2026-01-31t10:20:30.250z", datetime(2026, 1, 31, 10, 20, 30, 250_000, tzinfo=UTC)),
        ("2026-01-31T10:20:00+02:00", datetime(2026, 1, 31, 8, 20, tzinfo=UTC)),
        ("2026-01-31T10:20:00 02:00", datetime(2026, 1, 31, 8, 20, tzinfo=UTC)),
        ("2026-01-31T10:20:00-0530", datetime(2026, 1, 31, 15, 50, tzinfo=UTC)),
    ],
)
def test_says_when(said: str, expected: datetime) -> None:
    """So long ago, a day, and a time with or without its zone are each one moment in UTC."""
    assert (expected, UTC) == (moment(said, NOW), moment(said, NOW).tzinfo)


@pytest.mark.parametrize(
    "said",
    [
        *("", "7", "d", "-7d", "7 days", "yesterday", "now", "7D", "\u0667d", "99999999d", "1e3d", "nan"),
        *("2026", "2026-13-01", "2026-02-30", "2026-01-31T", "2026-01-31T25:00", "31.01.2026", "20260131"),
        *("0001-01-01T00:00+05:00", "2026-01-31T10:20 Europe/Berlin", "1738368000"),
    ],
)
def test_says_what_was_expected(said: str) -> None:
    """Anything else is an error that says what came and what was expected."""
    with pytest.raises(ValueError, match=r"^got '.*', expected how long ago, such as 7d or 24h, or ") as told:
        moment(said, NOW)

    assert repr(said) in str(told.value)


def test_does_not_repeat_everything() -> None:
    """Of what is long only the beginning is repeated."""
    with pytest.raises(ValueError, match=r"^got 'x{40}', expected"):
        moment("x" * 5000, NOW)


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)), st.integers(-840, 840))  # noqa: DTZ001 - the zone is drawn beside them
def test_whatever_is_written(naive: datetime, minutes: int) -> None:
    """Every moment that ISO 8601 writes is read as that moment."""
    when = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))

    assert when == moment(when.isoformat(), NOW)


@given(st.text(max_size=30))
def test_nothing_else_is_raised(said: str) -> None:
    """No text makes it raise anything but its sentence."""
    try:
        moment(said, NOW)
    except ValueError as error:
        assert str(error).startswith("got ")  # noqa: PT017 - most texts say no moment
