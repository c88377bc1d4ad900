"""Rows as CSV or JSON, for programs: every digit of them, since they are added up."""

from __future__ import annotations

import csv
import re
import sys
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from meter.cli.terminal import printable
from meter.telling import tellable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["FORMATS", "as_csv", "as_json"]

FORMATS = ("table", "csv", "json")

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_HIDDEN = re.compile(r"[\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""Signs that do not show, and that JSON need not spell out."""


def as_csv(keys: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print rows as CSV; a cell is empty where nothing is known."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(keys)
    writer.writerows([_cell(row.get(key)) for key in keys] for row in rows)


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case Decimal():
            whole, point, rest = format(value, "f").partition(".")
            return f"{whole}{point}{rest}".rstrip("0.") if rest.strip("0") else whole
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case str():
            # A spreadsheet would take it for a formula, and clients choose names.
            return f"'{printable(value)}" if value.startswith(_FORMULA) else printable(value)
        case list() | tuple():
            return "; ".join(map(_cell, value))
    return str(value)


def as_json(value: Any) -> None:
    """Print a value as JSON, amounts as numbers with every digit, times as RFC 3339."""
    document = msgspec.json.format(msgspec.json.encode(tellable(value)), indent=2).decode()
    sys.stdout.write(_HIDDEN.sub(lambda sign: f"\\u{ord(sign[0]):04x}", document) + "\n")
