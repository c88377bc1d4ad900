"""Adding rows to the ledger, and moving what rows add to the rollups when they change.

Both within a transaction that somebody else began. Rows and rollups are written in one order everywhere, so
that writers who meet on PostgreSQL wait for each other, and never each for the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import String, Text, bindparam, delete, func, select, tuple_
from sqlalchemy import column as sql_column
from sqlalchemy.dialects import postgresql, sqlite

from meter.ledger.schema import SUMS, rollup_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Table

    from meter.ledger.schema import Tables

__all__ = ["add", "adjust"]

_ADDED = ("hour", "digest")
"""By what a rollup is found."""


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
    new = _INSERTS[connection.dialect.name](connection, tables.exchanges, ordered)
    if rollups:
        _raise(connection, tables.rollups, _summed((row, 1) for row in new))
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
    _raise(connection, tables.rollups, sums)
    emptied = [key for key in sums if key in there]
    for some in _slices(emptied):
        connection.execute(
            delete(tables.rollups).where(_found_by(tables.rollups, some), tables.rollups.c.requests <= 0)
        )


def _insert_lite(
    connection: Connection, exchanges: Table, rows: list[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    # Nobody else can write in between, and asking first is faster than being told one by one.
    ids = [row["id"] for row in rows]
    known = set(connection.scalars(select(exchanges.c.id).where(exchanges.c.id.in_(ids))))
    new = [row for row in rows if row["id"] not in known] if known else rows
    if new:
        connection.execute(exchanges.insert(), new)
    return new


def _insert(
    connection: Connection, exchanges: Table, rows: list[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    # A column at a time: thousands of parameters in a statement take much longer than some lists.
    lists = {column.key: [row[column.key] for row in rows] for column in exchanges.columns}
    new = set(connection.scalars(_from_lists(exchanges), lists))
    return [row for row in rows if row["id"] in new]


def _from_lists(exchanges: Table) -> Any:
    columns = exchanges.columns
    # A list of VARCHAR(36) would cut off without a word what is longer.
    types = [Text() if isinstance(column.type, String) else column.type for column in columns]
    lists = [bindparam(c.key, type_=postgresql.ARRAY(kind)) for c, kind in zip(columns, types, strict=True)]
    names = [sql_column(c.key, kind) for c, kind in zip(columns, types, strict=True)]
    rows = select(func.unnest(*lists).table_valued(*names, name="rows").render_derived())
    insert = postgresql.insert(exchanges).from_select([c.key for c in columns], rows)
    return insert.on_conflict_do_nothing().returning(columns.id)


_INSERTS = {"sqlite": _insert_lite, "postgresql": _insert}
_UPSERTS: Mapping[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def _summed(rows: Iterable[tuple[Mapping[str, Any], int]]) -> dict[tuple[Any, str], dict[str, Any]]:
    """Return what rows add to each rollup, by hour and digest; those with the sign -1 take it away."""
    sums: dict[tuple[Any, str], dict[str, Any]] = {}
    for row, sign in rows:
        rollup = rollup_of(row)
        if sign != 1:
            rollup.update((name, sign * rollup[name]) for name in SUMS)
        held = sums.setdefault(_key(rollup), rollup)
        if held is not rollup:
            for name in SUMS:
                held[name] += rollup[name]
    return sums


def _raise(connection: Connection, rollups: Table, sums: Mapping[tuple[Any, str], dict[str, Any]]) -> None:
    changed = [sums[key] for key in sorted(sums) if any(sums[key][name] for name in SUMS)]
    if not changed:
        return
    statement = _UPSERTS[connection.dialect.name](rollups)
    added = {name: rollups.c[name] + statement.excluded[name] for name in SUMS}
    connection.execute(statement.on_conflict_do_update(index_elements=_ADDED, set_=added), changed)


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
