"""Rows as a table for people."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from meter.cli import sheet
from meter.cli.sheet import Column, count, moment, money, price, ratio, span, table, text

if TYPE_CHECKING:
    from collections.abc import Callable

NUMBERS: list[tuple[Callable[[Any], str], Any, str]] = [
    (text, None, "-"),
    (text, "", "-"),
    (text, "a\x1bb", r"a\x1bb"),
    (count, None, "-"),
    (count, 0, "0"),
    (count, 1234567, "1,234,567"),
    (money, None, "-"),
    (money, Decimal(0), "0.0000"),
    (money, Decimal("0.000000000001"), "<0.0001"),
    (money, Decimal("-0.00001"), ">-0.0001"),
    (money, Decimal("0.0001"), "0.0001"),
    (money, Decimal("1234.56785"), "1,234.5678"),
    (price, None, "-"),
    (price, Decimal(0), "0.00"),
    (price, Decimal(15), "15.00"),
    (price, Decimal("0.075"), "0.075"),
    (price, Decimal("2.123456789"), "2.123457"),
    (price, Decimal("0.000012345678"), "0.00001235"),
    (price, Decimal("1e30"), "1,000,000,000,000,000,000,000,000,000,000.00"),
    (ratio, None, "-"),
    (ratio, Decimal("0.8214"), "82.1%"),
    (moment, datetime(2026, 1, 31, 12, 5, 59, tzinfo=UTC), "2026-01-31 12:05"),
]


@pytest.mark.parametrize(("show", "value", "shown"), NUMBERS)
def test_values(show: Callable[[Any], str], value: object, shown: str) -> None:
    """Numbers are grouped and rounded, what is little is not nothing, and what is unknown is not 0."""
    assert shown == show(value)


def test_span() -> None:
    """A span says that it is in UTC."""
    day = datetime(2026, 1, 31, tzinfo=UTC)

    assert "2026-01-31 00:00 to 2026-01-31 09:30 UTC" == span(day, day.replace(hour=9, minute=30))


COLUMNS = (
    Column("key"),
    Column("model"),
    Column("requests", show=count),
    Column("errors", show=count, spare=1, optional=True),
    Column("usd", "USD\nspent", money),
)
ROWS: list[dict[str, Any]] = [
    {
        "key": "search-team",
        "model": "gpt-4o-mini-2024-07-18",
        "requests": 1234,
        "errors": 2,
        "usd": Decimal(3),
    },
    {
        "key": "日本",
        "model": "[red]\x1b[31m",
        "requests": 1,
        "errors": 0,
        "usd": None,
        "notes": ["why\n not"],
    },
]


WIDE = """\
A title
                                                          USD
key          model                   requests  errors   spent
-----------  ----------------------  --------  ------  ------
search-team  gpt-4o-mini-2024-07-18     1,234       2  3.0000
日本         [red]\\x1b[31m                  1       0       -
    why\\n not
-----------  ----------------------  --------  ------  ------
total                                   1,235

"""
NARROW = """\
                                           USD
key          model            requests   spent
-----------  ---------------  --------  ------
search-team  gpt-4o-mini-        1,234  3.0000
             2024-07-18
no room here for: errors

"""


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Texts stand at the left and numbers at the right, however wide a sign is; notes are below their row."""
    table(COLUMNS, ROWS, title="A title", total={"key": "total", "requests": 1235}, notes="notes")

    assert WIDE == capsys.readouterr().out


def test_narrow_terminal(terminal: Callable[[int | None], None], capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is no room, spare columns are left out and texts broken between words."""
    terminal(46)
    table(COLUMNS, ROWS[:1])

    assert NARROW == capsys.readouterr().out


def test_optional_column(capsys: pytest.CaptureFixture[str]) -> None:
    """A column with nothing in it is left out where it may be."""
    table(COLUMNS, ROWS[1:])

    assert "errors" not in capsys.readouterr().out


def test_points_of_prices(capsys: pytest.CaptureFixture[str]) -> None:
    """The points of prices stand below each other."""
    table((Column("usd", "USD", price),), [{"usd": Decimal(n)} for n in ("2.5", "10", "0.0375")] + [{}])

    assert [" 2.50", "10.00", " 0.0375", " -"] == capsys.readouterr().out.splitlines()[2:-1]


@given(
    st.lists(st.tuples(st.text(max_size=60), st.text(max_size=60), st.integers(0, 10**12)), max_size=5),
    st.integers(40, 200),
)
def test_fits(rows: list[tuple[str, str, int]], columns: int) -> None:
    """Whatever is in a table, no line is wider than the terminal, and nothing commands it."""
    with pytest.MonkeyPatch.context() as patch:
        written: list[str] = []
        patch.setattr(sheet, "width", lambda: columns)
        patch.setattr("sys.stdout", type("Out", (), {"writelines": written.extend}))
        table(
            (Column("a"), Column("b"), Column("n", show=count, spare=1)),
            [dict(zip("abn", row, strict=True)) for row in rows],
        )

    assert all(cell_len(line.rstrip("\n")) <= columns for line in written)
    assert all(line.rstrip("\n").isprintable() for line in written)
