"""How rows get into SQLite: by statements of our own, handed to its driver.

The driver takes longer for a value that it is given than SQLite does to write it down, and ten times as long
for None. Most rows differ in little, so what they have in common is given once for many of them.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from sqlalchemy.exc import IntegrityError

from meter.ledger.schema import COMMON, OWN, PICO, SUMS
from meter.telling import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy import Connection, Table

    from meter.ledger.schema import Common, Row, Tables

__all__ = ["insert", "upsert"]

_SIZES = (64, 8, 1)
"""Rows of one statement. After each the driver waits for its turn to run; with more rows than these, SQLite
before 3.32 would have too many parameters."""

_SELDOM = frozenset({"trace_id", "cost_usd", "provider_cost_usd", "ttft_s", "overhead_s"})
"""What many rows do not have: '' stands for None here, for none of these can be that."""

_KNOWN = "SELECT id FROM exchanges WHERE id IN (SELECT value FROM json_each(?))"


def insert(connection: Connection, tables: Tables, rows: Sequence[Row]) -> Sequence[Row]:
    """Insert those of the rows that are not there yet; return them."""
    connection.exec_driver_sql("SAVEPOINT before_rows")
    try:
        _put(connection, tables, rows)
    except IntegrityError:
        # Rarely is one there already. Nobody else can write in between, so they may be asked for now.
        connection.exec_driver_sql("ROLLBACK TO before_rows")
        ids = msgspec.json.encode([row.id for row in rows]).decode()
        known = {id_ for (id_,) in connection.exec_driver_sql(_KNOWN, (ids,))}
        rows = [row for row in rows if row.id not in known]
        _put(connection, tables, rows)
    return rows


def upsert(connection: Connection, tables: Tables, rollups: Iterable[Mapping[str, Any]]) -> None:
    """Add to the rollups that are there, and insert the others."""
    ways = _ways(tables)
    connection.exec_driver_sql(ways.upsert, [ways.summed(_stored(rollup)) for rollup in rollups])


def _put(connection: Connection, tables: Tables, rows: Sequence[Row]) -> None:
    ways = _ways(tables)
    alike: dict[Common, list[tuple[Any, ...]]] = {}
    for row in rows:
        alike.setdefault(row.common, []).append(_own(row))
    for larger, size in pairwise((len(rows) + 1, *_SIZES)):
        parameters = [
            (*common.columns.values(), *chain.from_iterable(own[start : start + size]))
            for common, own in alike.items()
            for start in range(len(own) - len(own) % larger, len(own) - len(own) % size, size)
        ]
        if parameters:
            connection.exec_driver_sql(ways.inserts[size], parameters)


def _own(row: Row) -> tuple[Any, ...]:
    trace, cost, said, first, overhead = (
        row.trace_id,
        row.cost_usd,
        row.provider_cost_usd,
        row.ttft_s,
        row.overhead_s,
    )
    return (
        row.id,
        rfc3339(row.timestamp),
        "" if trace is None else trace,
        row.usage,
        "" if cost is None else int(cost * PICO),
        "" if said is None else int(said * PICO),
        row.duration_s,
        "" if first is None else first,
        "" if overhead is None else overhead,
        row.request_bytes,
        row.response_bytes,
        row.upstream_request_id,
    )


def _stored(rollup: Mapping[str, Any]) -> dict[str, Any]:
    return {**rollup, "hour": rfc3339(rollup["hour"]), "cost_usd": int(rollup["cost_usd"] * PICO)}


class _Ways(NamedTuple):
    """What is said to a ledger, and what of a rollup goes with it."""

    inserts: Mapping[int, str]
    upsert: str
    summed: Callable[[Mapping[str, Any]], tuple[Any, ...]]


@lru_cache(4)
def _ways(tables: Tables) -> _Ways:
    return _Ways(
        {size: _insert(tables.exchanges, size) for size in _SIZES},
        _upsert(tables.rollups),
        itemgetter(*tables.rollups.c.keys()),
    )


def _insert(table: Table, rows: int) -> str:
    # What is common stands in a row of its own. To name it by number in each would do as well, but of numbers
    # Python 3.12 warns before 3.12.4, which takes ten times as long as all else.
    common = ", ".join("?" * len(COMMON))
    own = ", ".join("nullif(?, '')" if name in _SELDOM else "?" for name in OWN)
    values = ", ".join([f"({own})"] * rows)
    insert = f"INSERT INTO exchanges ({_names(table, [*COMMON, *OWN])})"
    return f"{insert} SELECT * FROM (SELECT {common}) CROSS JOIN (VALUES {values})"  # noqa: S608 - our own names


def _upsert(table: Table) -> str:
    keys = table.c.keys()
    sums = [f'"{table.c[name].name}"' for name in SUMS]
    added = ", ".join(f"{name} = rollups.{name} + excluded.{name}" for name in sums)
    insert = f"INSERT INTO rollups ({_names(table, keys)}) VALUES ({', '.join('?' * len(keys))})"  # noqa: S608
    return f"{insert} ON CONFLICT (hour, digest) DO UPDATE SET {added}"


def _names(table: Table, keys: Iterable[str]) -> str:
    return ", ".join(f'"{table.c[key].name}"' for key in keys)
