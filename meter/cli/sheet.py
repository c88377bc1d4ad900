"""Rows as a table for people, as CSV, or as JSON.

A table rounds and groups digits, for it is looked at; CSV and JSON have every digit, for they are added up.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["FORMATS", "Column", "as_json", "count", "csv_rows", "money", "ratio", "table", "text"]

FORMATS = ("table", "csv", "json")

_UNKNOWN = "-"
"""What people see where nothing is known; never 0."""

_CENTS = Decimal("0.01")
_CENT_DIGITS = 2
_WIDTH = 200
"""Columns of a table that goes to a file or a pipe: nothing there wraps for want of a terminal."""


def text(value: Any) -> str:
    """Show a text, or what has one."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="minutes").removesuffix("+00:00")
    return _UNKNOWN if value in (None, "") else str(value)


def count(value: Any) -> str:
    """Show a number of things, in groups of three digits."""
    return _UNKNOWN if value is None else f"{value:,}"


def money(value: Decimal | None) -> str:
    """Show USD: two decimals, or four significant digits of what is less than a cent."""
    if value is None:
        return _UNKNOWN
    if value == 0 or abs(value) >= 1:
        return f"{value:,.2f}"
    return f"{round(value, _CENT_DIGITS - value.adjusted()):f}" if abs(value) < _CENTS else f"{value:.4f}"


def ratio(value: Decimal | float | None) -> str:
    """Show a share as per cent."""
    return _UNKNOWN if value is None else f"{value:.1%}"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: where its values are, what stands above them, how they are shown."""

    key: str
    title: str = ""
    show: Callable[[Any], str] = text

    @property
    def is_number(self) -> bool:
        """Whether its values stand at the right."""
        return self.show is not text


def table(
    columns: Sequence[Column],
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str = "",
    total: Mapping[str, Any] | None = None,
) -> None:
    """Print a table for people, with a line for the total where there is one."""
    from rich import box  # noqa: PLC0415  # only what prints a table should wait for it
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    summed = total is not None
    sheet = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, show_footer=summed)
    for column in columns:
        footer = (
            Text(column.show(total[column.key])) if total is not None and column.key in total else Text("")
        )
        sheet.add_column(
            column.title or column.key,
            footer=footer,
            justify="right" if column.is_number else "left",
            overflow="fold",
        )
    for row in rows:
        # As `Text`: a model's name in brackets is no markup.
        sheet.add_row(*(Text(column.show(row.get(column.key))) for column in columns))
    console.print(sheet)


def csv_rows(keys: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as CSV, every digit of them; a cell is empty where nothing is known."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(keys)
    writer.writerows([_cell(row.get(key)) for key in keys] for row in rows)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    cell = str(value)
    # A spreadsheet would take it for a formula, and clients choose names.
    return f"'{cell}" if isinstance(value, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def as_json(value: Any) -> None:
    """Print a value as JSON, amounts as numbers with every digit, times as RFC 3339."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(plain(value)), indent=2).decode() + "\n")


def plain(value: Any) -> Any:
    """Give a value in which no amount becomes a text or loses digits."""
    if isinstance(value, Decimal):
        return msgspec.Raw(format(value, "f").encode())
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value
