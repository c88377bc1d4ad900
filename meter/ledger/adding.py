"""Adding rows to the ledger, and moving what rows add to the rollups when they change.

Both within a transaction that somebody else began. Rows and rollups are written in one order everywhere, so
that writers who meet on PostgreSQL wait for each other, and never each for the other.

Every exchange comes by here, so what is said to the database is composed once, and handed to its driver: of
SQLAlchemy's own ways of executing each takes longer for a row than the database does.
"""

from __future__ import annotations

from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from sqlalchemy import JSON, String, Text, bindparam, cast, delete, func, select, tuple_
from sqlalchemy import column as sql_column

from meter.ledger.days import unfold
from meter.ledger.schema import SUMS, alike, count_in, empty_rollup, rollup_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Dialect, Insert, Table

    from meter.ledger.schema import Tables

__all__ = ["add", "adjust"]

_ADDED = ("hour", "digest")
"""By what a rollup is found."""

_KEPT = 4
"""Ledgers for which it is remembered what is said to them."""


def add(
    connection: Connection, tables: Tables, rows: Iterable[Mapping[str, Any]], *, rollups: bool = True
) -> list[Mapping[str, Any]]:
    """Insert the rows that are not there yet, by `id`, and what they add to the rollups; return them.

    Within the transaction of `connection`, which on SQLite is one that `Database.writing` began.
    """
    # In one order everywhere, so that two writers never wait for each other.
    ordered = sorted({row["id"]: row for row in rows}.values(), key=lambda row: row["id"])
    if not ordered:
        return []
    new = _INSERTS[connection.dialect.name](connection, tables, ordered)
    if rollups:
        _raise(connection, tables, _summed((row, 1) for row in new))
    return new


def adjust(
    connection: Connection,
    tables: Tables,
    before_rows: Iterable[Mapping[str, Any]],
    after_rows: Iterable[Mapping[str, Any]],
) -> None:
    """Move what rows add to the rollups from what they were to what they have become, pair by pair.

    A row whose hour has no rollup was written without, and is left so.
    """
    pairs = [(before, after) for before, after in zip(before_rows, after_rows, strict=True)]
    keys = [_key(rollup_of(before)) for before, _ in pairs]
    there = _there(connection, tables.rollups, keys)
    moved = [pair for pair, key in zip(pairs, keys, strict=True) if key in there]
    sums = _summed((row, sign) for pair in moved for row, sign in zip(pair, (-1, 1), strict=True))
    _raise(connection, tables, sums)
    emptied = [key for key in sums if key in there]
    for some in _slices(emptied):
        connection.execute(
            delete(tables.rollups).where(_found_by(tables.rollups, some), tables.rollups.c.requests <= 0)
        )


# --- how rows get into SQLite ---


class _Way(NamedTuple):
    """A statement for the driver, and what makes of a row its parameters."""

    sql: str
    bound: Callable[[Mapping[str, Any]], tuple[Any, ...]]


_KNOWN = "SELECT id FROM exchanges WHERE id IN (SELECT value FROM json_each(?))"


def _insert_lite(
    connection: Connection, tables: Tables, rows: list[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    # Nobody else can write in between, and asking first is faster than being told one by one.
    ids = msgspec.json.encode([row["id"] for row in rows]).decode()
    known = {id_ for (id_,) in connection.exec_driver_sql(_KNOWN, (ids,))}
    new = [row for row in rows if row["id"] not in known] if known else rows
    way = _ways(tables).insert
    if new:
        connection.exec_driver_sql(way.sql, [way.bound(row) for row in new])
    return new


def _upsert_lite(connection: Connection, tables: Tables, rollups: list[dict[str, Any]]) -> None:
    way = _ways(tables).upsert
    connection.exec_driver_sql(way.sql, [way.bound(rollup) for rollup in rollups])


class _Ways(NamedTuple):
    insert: _Way
    upsert: _Way


@lru_cache(_KEPT)
def _ways(tables: Tables) -> _Ways:
    from sqlalchemy.dialects import sqlite  # noqa: PLC0415 - only one of the two is ever needed

    dialect, upsert = sqlite.dialect(), _raised(sqlite.insert(tables.rollups))
    return _Ways(_way(tables.exchanges.insert(), dialect), _way(upsert, dialect))


def _way(statement: Insert, dialect: Dialect) -> _Way:
    compiled = statement.compile(dialect=dialect)
    keys = tuple(compiled.positiontup or ())
    columns = statement.table.c
    processors = [columns[key].type.dialect_impl(dialect).bind_processor(dialect) for key in keys]
    processed = [(place, process) for place, process in enumerate(processors) if process is not None]
    of_row = itemgetter(*keys)

    def bound(row: Mapping[str, Any]) -> tuple[Any, ...]:
        values = list(of_row(row))
        for place, process in processed:
            values[place] = process(values[place])
        return tuple(values)

    return _Way(str(compiled), bound)


# --- how rows get into PostgreSQL ---


def _insert(connection: Connection, tables: Tables, rows: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    # One text: thousands of parameters in a statement take much longer, and so do lists.
    new = set(connection.scalars(_statements(tables).insert, {"rows": msgspec.json.encode(rows).decode()}))
    return [row for row in rows if row["id"] in new]


def _upsert(connection: Connection, tables: Tables, rollups: list[dict[str, Any]]) -> None:
    connection.execute(_statements(tables).upsert, rollups)


class _Statements(NamedTuple):
    insert: Any
    upsert: Any


@lru_cache(_KEPT)
def _statements(tables: Tables) -> _Statements:
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - only one of the two is ever needed

    exchanges, columns = tables.exchanges, tables.exchanges.columns
    # A VARCHAR(36) would cut off without a word what is longer.
    types = [Text() if isinstance(column.type, String) else column.type for column in columns]
    names = [sql_column(c.key, kind) for c, kind in zip(columns, types, strict=True)]
    told = func.json_to_recordset(cast(bindparam("rows", type_=Text()), JSON))
    rows = select(told.table_valued(*names, name="rows").render_derived(with_types=True))
    insert = postgresql.insert(exchanges).from_select([c.key for c in columns], rows)
    upsert = _raised(postgresql.insert(tables.rollups))
    return _Statements(insert.on_conflict_do_nothing().returning(columns.id), upsert)


_INSERTS = {"sqlite": _insert_lite, "postgresql": _insert}
_UPSERTS = {"sqlite": _upsert_lite, "postgresql": _upsert}


def _raised(insert: Any) -> Any:
    added = {name: insert.table.c[name] + insert.excluded[name] for name in SUMS}
    return insert.on_conflict_do_update(index_elements=_ADDED, set_=added)


# --- what rows add ---


def _summed(rows: Iterable[tuple[Mapping[str, Any], int]]) -> dict[tuple[Any, str], dict[str, Any]]:
    """Return what rows add to each rollup, by hour and digest; those with the sign -1 take it away."""
    sums: dict[tuple[Any, str], dict[str, Any]] = {}
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row, sign in rows:
        shared = alike(row)
        if shared not in found:
            rollup = empty_rollup(row)
            found[shared] = sums.setdefault(_key(rollup), rollup)
        count_in(found[shared], row, sign)
    return sums


def _raise(connection: Connection, tables: Tables, sums: Mapping[tuple[Any, str], dict[str, Any]]) -> None:
    changed = [sums[key] for key in sorted(sums) if any(sums[key][name] for name in SUMS)]
    if changed:
        unfold(connection, tables, {rollup["hour"] for rollup in changed})
        _UPSERTS[connection.dialect.name](connection, tables, changed)


def _there(connection: Connection, rollups: Table, keys: Iterable[tuple[Any, str]]) -> set[tuple[Any, str]]:
    found: set[tuple[Any, str]] = set()
    for some in _slices(sorted(set(keys))):
        asked = select(rollups.c.hour, rollups.c.digest).where(_found_by(rollups, some))
        found.update((hour, digest) for hour, digest in connection.execute(asked))
    return found


def _found_by(rollups: Table, keys: Sequence[tuple[Any, str]]) -> Any:
    return tuple_(rollups.c.hour, rollups.c.digest).in_(keys)


def _slices(keys: list[tuple[Any, str]], size: int = 500) -> Iterator[list[tuple[Any, str]]]:
    return (keys[start : start + size] for start in range(0, len(keys), size))


def _key(rollup: Mapping[str, Any]) -> tuple[Any, str]:
    return rollup["hour"], rollup["digest"]
