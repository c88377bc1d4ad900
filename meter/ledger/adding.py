"""Adding rows to the ledger, and moving what rows add to the rollups when they change.

Both within a transaction that somebody else began. Rows and rollups are written in one order everywhere, so
that writers who meet on PostgreSQL wait for each other, and never each for the other.

Every exchange comes by here, so what is said to the database is composed once, and handed to its driver: of
SQLAlchemy's own ways of executing each takes longer for a row than the database does.
"""

from __future__ import annotations

from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from sqlalchemy import JSON, String, Text, bindparam, cast, delete, func, select, tuple_
from sqlalchemy import column as sql_column

from meter.ledger import lite
from meter.ledger.days import unfold
from meter.ledger.schema import SUMS, Row, row_of
from meter.ledger.sums import key_of, rollup_of, summed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Table

    from meter.ledger.schema import Tables
    from meter.ledger.sums import Key, Sums

__all__ = ["add", "adjust"]

_ADDED = ("hour", "digest")
"""By what a rollup is found."""

_KEPT = 4
"""Ledgers for which it is remembered what is said to them."""


def add(
    connection: Connection, tables: Tables, rows: Iterable[Row | Mapping[str, Any]], *, rollups: bool = True
) -> Sequence[Row]:
    """Insert the rows that are not there yet, by `id`, and what they add to the rollups; return them.

    Within the transaction of `connection`, which on SQLite is one that `Database.writing` began.
    """
    made = [row if isinstance(row, Row) else row_of(row) for row in rows]
    # In one order everywhere, so that two writers never wait for each other.
    ordered = sorted({row.id: row for row in made}.values(), key=attrgetter("id"))
    if not ordered:
        return []
    new = _INSERTS[connection.dialect.name](connection, tables, ordered)
    if rollups:
        _raise(connection, tables, summed(new))
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
    keys = [key_of(rollup_of(before)) for before, _ in pairs]
    there = _there(connection, tables.rollups, keys)
    moved = [pair for pair, key in zip(pairs, keys, strict=True) if key in there]
    sums = summed([row_of(before) for before, _ in moved], -1)
    _raise(connection, tables, summed([row_of(after) for _, after in moved], 1, sums))
    emptied = [key for key in sums if key in there]
    for some in _slices(emptied):
        connection.execute(
            delete(tables.rollups).where(_found_by(tables.rollups, some), tables.rollups.c.requests <= 0)
        )


# --- how rows get into PostgreSQL ---


def _insert(connection: Connection, tables: Tables, rows: Sequence[Row]) -> Sequence[Row]:
    # One text: thousands of parameters in a statement take much longer, and so do lists.
    told = msgspec.json.encode([row.columns for row in rows]).decode()
    new = set(connection.scalars(_statements(tables).insert, {"rows": told}))
    return [row for row in rows if row.id in new]


def _upsert(connection: Connection, tables: Tables, rollups: Sequence[Mapping[str, Any]]) -> None:
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


def _raised(insert: Any) -> Any:
    added = {name: insert.table.c[name] + insert.excluded[name] for name in SUMS}
    return insert.on_conflict_do_update(index_elements=_ADDED, set_=added)


_INSERTS = {"sqlite": lite.insert, "postgresql": _insert}
_UPSERTS = {"sqlite": lite.upsert, "postgresql": _upsert}


def _raise(connection: Connection, tables: Tables, sums: Sums) -> None:
    changed = [sums[key] for key in sorted(sums) if any(sums[key][name] for name in SUMS)]
    if changed:
        unfold(connection, tables, {rollup["hour"] for rollup in changed})
        _UPSERTS[connection.dialect.name](connection, tables, changed)


def _there(connection: Connection, rollups: Table, keys: Iterable[Key]) -> set[Key]:
    found: set[Key] = set()
    for some in _slices(sorted(set(keys))):
        asked = select(rollups.c.hour, rollups.c.digest).where(_found_by(rollups, some))
        found.update((hour, digest) for hour, digest in connection.execute(asked))
    return found


def _found_by(rollups: Table, keys: Sequence[Key]) -> Any:
    return tuple_(rollups.c.hour, rollups.c.digest).in_(keys)


def _slices(keys: list[Key], size: int = 500) -> Iterator[list[Key]]:
    return (keys[start : start + size] for start in range(0, len(keys), size))
