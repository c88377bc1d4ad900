"""Exports as flat records, whatever they are written in.

CSV, tab-separated text and the JSON of an API all become a list of `Record`: names and values, and the place
in the file. Members of JSON objects inside others are named with dots (`amount.value`), and each result of a
time bucket has the bucket's start as a member of its own. Numbers of JSON stay exact.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meter.reconcile.bill import BillError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Record", "of_json", "of_pages", "read"]

_BUCKET_START = ("start_time", "start_time_iso", "starting_at")
_RESULTS = ("results", "result")
_DELIMITERS = ",\t;"
_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a table, or one result of a time bucket."""

    place: str
    """File and line, or file and member."""
    values: Mapping[str, Any]


def read(path: str | Path) -> list[Record]:
    """Read a file; raises BillError where it cannot be read or is neither JSON nor a table."""
    try:
        text = Path(path).read_text("utf-8-sig")
    except OSError as error:
        raise BillError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BillError(f"{path}: no UTF-8 text, expected an export as CSV or JSON") from error
    if text.lstrip()[:1] in ("{", "["):
        return of_pages(of_json(text, str(path)), str(path))
    return list(_of_table(text, str(path)))


def of_json(text: str | bytes, name: str) -> Any:
    """Read JSON with exact numbers; raises BillError with the line of a mistake."""
    try:
        return json.loads(text, parse_float=Decimal)
    except json.JSONDecodeError as error:
        raise BillError(f"{name}:{error.lineno}: no JSON: {error.msg}") from error
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise BillError(f"{name}: no JSON") from error


def of_pages(value: Any, name: str) -> list[Record]:
    """Give the results of all buckets in a page, a list of pages, or a list of buckets or rows."""
    return list(_results(value, name, {}, 0))


def _results(value: Any, place: str, start: Mapping[str, Any], depth: int) -> Iterator[Record]:
    if depth > _DEPTH or not isinstance(value, dict | list):
        raise BillError(f"{place}: got {_kind(value)}, expected the JSON of a usage or cost report")
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _results(item, f"{place}[{index}]", start, depth + 1)
        return
    inner = next((member for member in ("data", *_RESULTS) if isinstance(value.get(member), list)), None)
    if inner is None:
        yield Record(place, {**start, **dict(_flat(value))})
        return
    begun = {member: value[member] for member in _BUCKET_START if member in value}
    dot = "." if "[" in place else ": "
    yield from _results(value[inner], f"{place}{dot}{inner}", begun, depth + 1)


def _kind(value: Any) -> str:
    return {str: "a text", bool: "true or false", type(None): "nothing"}.get(type(value), "a number")


def _flat(value: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    for name, member in value.items():
        if isinstance(member, dict) and depth < _DEPTH:
            yield from _flat(member, f"{prefix}{name}.", depth + 1)
        else:
            yield f"{prefix}{name}", member


def _of_table(text: str, name: str) -> Iterator[Record]:
    first = text.partition("\n")[0]
    rows = csv.reader(text.splitlines(keepends=True), delimiter=max(_DELIMITERS, key=first.count))
    try:
        columns = [column.strip() for column in next(rows, [])]
        for row in rows:
            if any(cell.strip() for cell in row):
                values = dict(zip(columns, row, strict=False))
                yield Record(f"{name}:{rows.line_num}", {c: v.strip() for c, v in values.items()})
    except csv.Error as error:
        raise BillError(f"{name}:{rows.line_num}: no table: {error}") from error
