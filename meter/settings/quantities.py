"""Durations in seconds, sizes in bytes, amounts of money: a number, with a unit where it has one."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Annotated, NamedTuple

from pydantic import BeforeValidator, PlainSerializer
from pydantic_core import PydanticCustomError

from meter.settings.types import expected

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Duration", "DurationOrZero", "Size", "SizeOrOff", "SizeOrZero", "Usd"]


class _Scale(NamedTuple):
    """How a quantity is written."""

    what: str
    form: re.Pattern[str]
    units: Mapping[str, float]
    """From the largest down; a number without a unit is taken as it is."""

    def number(self, value: object) -> float:
        """Return what a value comes to; NaN where it is nothing of the kind."""
        if isinstance(value, str) and (match := self.form.fullmatch(value.strip())):
            sizes = {unit.lower(): size for unit, size in self.units.items()}
            return float(match[1]) * sizes.get((match[2] or "").lower(), 1)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return math.nan
        try:
            return float(value)
        except OverflowError:
            return math.inf

    def read(self, value: object, *, zero: bool = False) -> float:
        """Return what a value comes to, above 0 or, where `zero` allows it, 0; raise what was expected."""
        number = self.number(value)
        if 0 < number < math.inf or (zero and number == 0):
            return number
        least = (", 0 or more" if zero else ", above 0") if number <= 0 else ""
        raise expected(self.what + least)

    def show(self, number: float) -> str:
        """Return a short spelling: the largest unit of which there is a whole number, else nine decimals."""
        for unit, size in self.units.items():
            if number >= size and math.isclose(number / size, round(number / size), rel_tol=1e-12):
                return f"{round(number / size)}{unit}"
        return f"{number:.9f}".rstrip("0").rstrip(".")


_DURATION = _Scale(
    "a duration such as 30s, 15m, 1h",
    re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?"),
    {"d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 0.001},
)
_SIZE = _Scale(
    "a size such as 10kB, 64MiB, 1GiB",
    re.compile(r"(\d+(?:\.\d+)?) ?(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)?", re.IGNORECASE),
    {
        "TiB": 2**40,
        "GiB": 2**30,
        "MiB": 2**20,
        "KiB": 2**10,
        "TB": 10**12,
        "GB": 10**9,
        "MB": 10**6,
        "kB": 10**3,
        "B": 1,
    },
)


def _bytes(value: object, *, zero: bool = False) -> int:
    size = _SIZE.read(value, zero=zero)
    if size % 1:
        raise expected(_SIZE.what)
    return int(size)


def _bytes_or_off(value: object) -> int | None:
    if value in ("off", False, None):
        return None
    try:
        return _bytes(value)
    except PydanticCustomError:
        raise expected(f"{_SIZE.what}, or off") from None


_AMOUNT = re.compile(r"\d{1,12}(?:\.\d{1,12})?")


def _usd(value: object) -> Decimal:
    # A float goes through its text: 0.1 USD are a tenth.
    text = "" if isinstance(value, bool) else format(Decimal(str(value)), "f") if _is_number(value) else value
    if isinstance(text, str) and _AMOUNT.fullmatch(text) and Decimal(text) > 0:
        return Decimal(text)
    raise expected("an amount of USD above 0, such as 500 or 0.25")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal)


def _show_usd(amount: Decimal) -> str:
    return format(amount.normalize(), "f")


def _show_bytes(size: int | None) -> str:
    return "off" if size is None else _SIZE.show(size)


Duration = Annotated[float, BeforeValidator(_DURATION.read), PlainSerializer(_DURATION.show)]
DurationOrZero = Annotated[
    float, BeforeValidator(partial(_DURATION.read, zero=True)), PlainSerializer(_DURATION.show)
]
Size = Annotated[int, BeforeValidator(_bytes), PlainSerializer(_SIZE.show)]
SizeOrZero = Annotated[int, BeforeValidator(partial(_bytes, zero=True)), PlainSerializer(_SIZE.show)]
SizeOrOff = Annotated[int | None, BeforeValidator(_bytes_or_off), PlainSerializer(_show_bytes)]
Usd = Annotated[Decimal, BeforeValidator(_usd), PlainSerializer(_show_usd)]
