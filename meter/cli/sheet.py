"""Rows as a table for people, who look at it: rounded, in groups of digits, within the terminal's width.

Numbers are never broken. Where a terminal is too narrow, texts are, and then columns that can be done without
are left out, which is said below the table. A file or a pipe gets everything, each row on one line.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from meter.cli.terminal import printable, width

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

__all__ = ["Column", "count", "moment", "money", "paragraph", "price", "ratio", "span", "table", "text"]

UNKNOWN = "-"
"""What people see where nothing is known; never 0."""

_LEAST_SHOWN = Decimal("0.0001")
_PRICE_DIGITS = 6
_GAP = "  "
_NARROWEST = 16
"""Texts are not broken to less than this, as long as a column can be left out instead."""


def text(value: Any) -> str:
    """Show a text, or what has one."""
    return UNKNOWN if value in (None, "") else printable(str(value))


def moment(value: datetime | None) -> str:
    """Show a time, to the minute."""
    return UNKNOWN if value is None else f"{value:%Y-%m-%d %H:%M}"


def span(since: datetime, until: datetime) -> str:
    """Show from when until when."""
    return f"{moment(since)} to {moment(until)} UTC"


def count(value: float | None) -> str:
    """Show a number of things, in groups of three digits."""
    return UNKNOWN if value is None else f"{value:,}"


def money(value: Decimal | None) -> str:
    """Show USD that were spent, to the hundredth of a cent; less than that is not shown as nothing."""
    if value is None:
        return UNKNOWN
    if 0 < abs(value) < _LEAST_SHOWN:
        return f"<{_LEAST_SHOWN}" if value > 0 else f">-{_LEAST_SHOWN}"
    return f"{value:,.4f}"


def price(value: Decimal | None) -> str:
    """Show USD that something costs: two decimals at least, and six, or four digits of less, at most."""
    if value is None:
        return UNKNOWN
    digits = max(_PRICE_DIGITS, 3 - value.adjusted())
    whole, _, rest = f"{value:,.{digits}f}".partition(".")
    return f"{whole}.{rest.rstrip('0'):0<2}"


def ratio(value: Decimal | None) -> str:
    """Show a share as per cent."""
    return UNKNOWN if value is None else f"{value:.1%}"


_NUMBERS = (count, money, price, ratio)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: where its values are, what stands above them, how they are shown."""

    key: str
    title: str = ""
    show: Callable[[Any], str] = text
    spare: int = 0
    """The greatest is left out first where there is no room; 0 never is."""
    optional: bool = False
    """Whether it is left out where there is nothing in it."""

    @property
    def head(self) -> str:
        """What stands above it; of several lines, where there are some in it."""
        return "\n".join(map(printable, (self.title or self.key).split("\n")))

    @property
    def is_number(self) -> bool:
        """Whether its values stand at the right, and are never broken."""
        return self.show in _NUMBERS


@dataclass(slots=True)
class _Filled:
    """A column with its cells as they are shown: one for each row, then one for the total if there is one."""

    column: Column
    cells: list[str]
    width: int = 0

    def __post_init__(self) -> None:
        if self.column.show is price:
            self.cells = list(_points_aligned(self.cells))
        self.width = max(map(cell_len, (*self.column.head.split("\n"), *self.cells)))

    @property
    def least(self) -> int:
        return self.width if self.column.is_number else min(self.width, _NARROWEST)

    def lines(self, cell: str) -> list[str]:
        return [cell] if self.column.is_number else list(_folded(cell, self.width))

    def padded(self, line: str) -> str:
        blank = " " * (self.width - cell_len(line))
        return blank + line if self.column.is_number else line + blank


def table(
    columns: Sequence[Column],
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str = "",
    total: Mapping[str, Any] | None = None,
    notes: str | None = None,
) -> None:
    """Print rows, and the total of them where there is one.

    `total` has what stands in its cells by the columns' keys; others stay empty. `notes` is the key of
    sentences that are told of a row below it.
    """
    room = width()
    found, left_out = _fitted(
        [_filled(column, rows, total) for column in columns if _wanted(column, rows)], room
    )
    written = [title] if title else []
    written += _line_by_line(found, [each.column.head for each in found], bottom=True)
    written += (rule := [_GAP.join("-" * each.width for each in found)])
    for number, row in enumerate(rows):
        written += _line_by_line(found, [each.cells[number] for each in found])
        for note in row.get(notes) or () if notes else ():
            written += (f"{_GAP * 2}{line}" for line in _folded(printable(note), room and room - 4))
    if total is not None:
        written += rule + _line_by_line(found, [each.cells[-1] for each in found])
    if left_out:
        names = ", ".join(each.head.replace("\n", " ") for each in left_out)
        written += _folded(f"no room here for: {names}", room)
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in (*written, ""))


def paragraph(sentence: str) -> None:
    """Print a sentence, broken into lines where the terminal is narrower."""
    sys.stdout.writelines(f"{line}\n" for line in _folded(printable(sentence), width()))


def _wanted(column: Column, rows: Sequence[Mapping[str, Any]]) -> bool:
    return not column.optional or any(row.get(column.key) for row in rows)


def _filled(column: Column, rows: Sequence[Mapping[str, Any]], total: Mapping[str, Any] | None) -> _Filled:
    cells = [column.show(row.get(column.key)) for row in rows]
    if total is not None:
        cells.append(column.show(total[column.key]) if column.key in total else "")
    return _Filled(column, cells)


def _points_aligned(cells: Iterable[str]) -> Iterator[str]:
    behind = [cell.partition(".")[2] for cell in cells]
    longest = max(map(len, behind), default=0)
    for cell, digits in zip(cells, behind, strict=True):
        missing = longest - len(digits) + ("." not in cell)
        yield cell + " " * (missing if longest else 0)


# --- room ---


def _fitted(filled: Sequence[_Filled], room: int | None) -> tuple[list[_Filled], list[Column]]:
    """Leave out columns and narrow texts until the table fits; give what is left, and what is not."""
    found = list(filled)
    left_out: list[Column] = []
    if room is None:
        return found, left_out
    while _total(each.least for each in found) > room and any(each.column.spare for each in found):
        found.remove(spared := max(found, key=lambda each: each.column.spare))
        left_out.append(spared.column)
    texts = [each for each in found if not each.column.is_number]
    limit = max((each.width for each in texts), default=0)
    while _total(each.width for each in found) > room and limit > 1:
        limit -= 1
        for each in texts:
            each.width = min(each.width, limit)
    return found, left_out


def _total(widths: Iterable[int]) -> int:
    each = list(widths)
    return sum(each) + len(_GAP) * (len(each) - 1)


def _line_by_line(columns: Sequence[_Filled], cells: Sequence[str], *, bottom: bool = False) -> list[str]:
    """Give the lines of a row, as many as its tallest cell has."""
    tall = [
        cell.split("\n") if bottom else each.lines(cell) for each, cell in zip(columns, cells, strict=True)
    ]
    height = max(map(len, tall), default=0)
    blank = [[""] * (height - len(lines)) for lines in tall]
    full = [before + lines if bottom else lines + before for lines, before in zip(tall, blank, strict=True)]
    return [
        _GAP.join(each.padded(line) for each, line in zip(columns, across, strict=True))
        for across in zip(*full, strict=True)
    ]


_BREAKS = (" ", "-/_")


def _folded(line: str, room: int | None) -> Iterator[str]:
    """Break a text into lines: behind a blank in the latter half, else another sign that parts words."""
    while room is not None and cell_len(line) > room:
        most = _fitting(line, room)
        ends = (max(line.rfind(sign, most // 2, most) for sign in signs) + 1 for signs in _BREAKS)
        at = next((end for end in ends if end), most)
        yield line[:at].rstrip(" ")
        line = line[at:].lstrip(" ")
    yield line


def _fitting(line: str, room: int) -> int:
    """Count the signs of a text that are no wider than the room, one at least."""
    for length in range(min(len(line), room), 1, -1):
        if cell_len(line[:length]) <= room:
            return length
    return 1
