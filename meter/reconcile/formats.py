"""How the columns of an export become a bill.

A `Format` lists, for each thing that is read, the names under which providers have called it. An export is
recognised by its columns alone: the first format all of whose required things are there is the one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, NamedTuple

from meter.reconcile.bill import Billed, BillError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from meter.reconcile.records import Record

__all__ = ["Format", "Line", "billed"]

_SHOWN = 40

_THOUSANDS = re.compile(r"-?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?")

_LATEST = 253_402_300_800
"""Seconds from 1970 to the year 10000, where dates end."""


class Format(NamedTuple):
    """One kind of export."""

    name: str
    columns: Mapping[str, tuple[str, ...]]
    """What is read, and the names under which it may come; of two in one record, the first."""
    required: tuple[str, ...]
    billed: Callable[[Line], Billed | None]
    """`None` for a record that bills nothing, such as a day without traffic."""

    def fits(self, present: frozenset[str]) -> bool:
        """Whether all that is required is there."""
        return all(not present.isdisjoint(self.columns[what]) for what in self.required)


@dataclass(frozen=True, slots=True)
class Line:
    """A record, asked by what is to be read."""

    record: Record
    columns: Mapping[str, tuple[str, ...]]

    def text(self, what: str) -> str | None:
        """Give a text; `None` where there is none or an empty one."""
        _, value = self._found(what)
        return None if value is None else str(value)

    def count(self, what: str) -> int | None:
        """Give a whole number of 0 or more; exports also write it as `10.0`."""
        column, value = self._found(what)
        if value is None:
            return None
        number = _number(value)
        if number is None or number != number.to_integral_value() or number < 0:
            raise self._wrong(column, value, "a whole number, 0 or more")
        return int(number)

    def amount(self, what: str) -> Decimal | None:
        """Give an amount of money as it is written."""
        column, value = self._found(what)
        if value is None:
            return None
        number = _number(value.removeprefix("$") if isinstance(value, str) else value)
        if number is None:
            raise self._wrong(column, value, "an amount, such as 1.25")
        return number

    def day(self) -> date:
        """Give the day in UTC; a moment without a zone is in UTC."""
        column, value = self._found("day")
        moment = None if value is None else _moment(value)
        if moment is None:
            raise self._wrong(column, value, "a date, such as 2026-01-31, or Unix seconds")
        return moment.astimezone(UTC).date()

    def in_usd(self) -> None:
        """Raise BillError where the currency is told and is another."""
        column, value = self._found("currency")
        if value is not None and str(value).lower() != "usd":
            raise self._wrong(column, value, "usd")

    def _found(self, what: str) -> tuple[str, Any]:
        """Give the first name that has a value, and the value."""
        names = self.columns[what]
        for name in names:
            value = self.record.values.get(name)
            if value is not None and value != "":
                return name, value
        return names[0], None

    def _wrong(self, column: str, value: Any, expected: str) -> BillError:
        came = "nothing" if value is None else repr(str(value)[:_SHOWN])
        return BillError(f"{self.record.place}: {column}: got {came}, expected {expected}")


def _number(value: Any) -> Decimal | None:
    if isinstance(value, str) and _THOUSANDS.fullmatch(value):
        value = value.replace(",", "")
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    # Beyond that no bill goes, and arithmetic in 28 digits would no longer be exact.
    return number if number.is_finite() and abs(number) < 10**15 else None


def _moment(value: Any) -> datetime | None:
    number = _number(value)
    if number is not None and 0 <= number < _LATEST:
        return datetime.fromtimestamp(int(number), UTC)
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def billed(records: Sequence[Record], formats: Sequence[Format], name: str) -> list[Billed]:
    """Read records of one export; raises BillError where no format fits or a value is wrong."""
    if not records:
        return []
    present = frozenset(column for record in records for column in record.values)
    fitting = next((format_ for format_ in formats if format_.fits(present)), None)
    if fitting is None:
        raise BillError(_unknown(present, formats, name))
    lines = (fitting.billed(Line(record, fitting.columns)) for record in records)
    return [line for line in lines if line is not None]


def _unknown(present: frozenset[str], formats: Sequence[Format], name: str) -> str:
    came = ", ".join(sorted(present)) or "none"
    expected = "; or ".join(f"{format_.name}: {_needs(format_)}" for format_ in formats)
    return f"{name}: no export that is known: got the columns {came}; expected those of {expected}"


def _needs(format_: Format) -> str:
    return ", ".join(" or ".join(format_.columns[what]) for what in format_.required)
