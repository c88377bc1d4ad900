"""What our own statements write is what SQLAlchemy would have written."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import an_exchange
from sqlalchemy import delete, event
from sqlalchemy.exc import IntegrityError

from meter.exchange import KINDS, UNITS, Outcome, PriceStatus
from meter.ledger import lite
from meter.ledger.database import Database, open_database
from meter.ledger.schema import row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from meter.exchange import Exchange
    from meter.ledger.schema import Row

AMOUNT = st.none() | st.decimals(0, 9_000_000, places=12)
SECONDS = st.none() | st.just(0.0) | st.floats(0, 1e6)
TEXT = st.none() | st.text(max_size=3)
RANDOM = st.builds(
    an_exchange,
    id=st.uuids(version=4).map(str),
    started_at=st.integers(0, 2**31).map(float) | st.floats(0, 2**31),
    duration_s=st.floats(0, 1e6),
    ttft_s=SECONDS,
    overhead_request_s=SECONDS,
    trace_id=st.none() | st.just("0af7651916cd43dd8448eb211c80319c"),
    upstream_request_id=TEXT,
    request_model=TEXT,
    model=TEXT,
    tags=st.dictionaries(st.text(max_size=2), st.text(max_size=2), max_size=1),
    status=st.none() | st.integers(200, 201),
    stream=st.booleans(),
    outcome=st.sampled_from(Outcome),
    price_status=st.sampled_from(PriceStatus),
    usage=st.none() | st.dictionaries(st.sampled_from(KINDS), st.integers(0, 2**54), max_size=2),
    units=st.dictionaries(st.sampled_from(UNITS), st.integers(0, 2) | st.floats(0, 2), max_size=1),
    cost_usd=AMOUNT,
    provider_cost_usd=AMOUNT,
    request_bytes=st.integers(0, 2**40),
)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Database]:
    """Give a ledger with nothing in it."""
    ledger = open_database(f"sqlite:///{tmp_path / 'ledger.db'}", create=True)
    yield ledger
    ledger.close()


def stored(ledger: Database) -> list[tuple[Any, ...]]:
    """Give what SQLite has, whatever it is to the program, and empty it."""
    names = [column.name for column in ledger.tables.exchanges.c]
    kinds = ", ".join(f'typeof("{name}")' for name in names)
    with closing(sqlite3.connect(str(ledger))) as plain:
        found = plain.execute(f"SELECT *, {kinds} FROM exchanges ORDER BY id").fetchall()  # noqa: S608 - our own names
    with ledger.writing() as connection:
        connection.execute(delete(ledger.tables.exchanges))
    return found


def inserted(ledger: Database, rows: list[Row]) -> list[Row]:
    """Insert rows by our own statements; return the new ones."""
    with ledger.writing() as connection:
        return list(lite.insert(connection, ledger.tables, rows))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some=st.lists(RANDOM, min_size=1, max_size=6, unique_by=lambda x: x.id), copies=st.integers(0, 80))
def test_the_same_as_sqlalchemy(ledger: Database, some: list[Exchange], copies: int) -> None:
    """The same values of the same types are in every column, be it of one row or of many alike."""
    alike = [row(an_exchange(id=f"{n:036}", started_at=n / 8)) for n in range(copies)]
    rows = [*map(row, some), *alike]
    with ledger.writing() as connection:
        connection.execute(ledger.tables.exchanges.insert(), [each.columns for each in rows])
    expected = stored(ledger)

    assert rows == inserted(ledger, rows)
    assert expected == stored(ledger)


def test_what_is_there_stays(ledger: Database) -> None:
    """Rows that are there already are left as they are, and the others beside them are inserted."""
    rows = [row(an_exchange(id=f"{n:036}")) for n in range(100)]
    first, again = rows[:40], row(an_exchange(id=f"{0:036}", cost_usd=Decimal(1)))

    assert first == inserted(ledger, first)
    assert rows[40:] == inserted(ledger, [again, *rows[1:]])
    assert [] == inserted(ledger, rows)
    assert [each.id for each in rows] == [found[0] for found in stored(ledger)]


def test_what_cannot_be_is_refused(ledger: Database) -> None:
    """A row that lacks what it must have is an error, whether or not others are there."""
    lacking: Any = {"upstream": None}
    good, bad = row(an_exchange()), row(an_exchange(**lacking))
    for rows in ([good, bad], [bad]):
        with pytest.raises(IntegrityError):
            inserted(ledger, rows)

    assert [] == stored(ledger)


def test_no_numbered_places(ledger: Database) -> None:
    """No place of a statement has a number, which some versions of Python take for a name and warn of."""
    said: list[str] = []

    @event.listens_for(ledger.engine, "before_cursor_execute")
    def _hear(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        said.append(statement)

    with ledger.writing() as connection:
        lite.insert(connection, ledger.tables, [row(an_exchange(id=str(n))) for n in range(73)])

    assert [] == [statement for statement in said if re.search(r"\?[0-9]", statement)]
    assert [1, 8, 64] == sorted(s.count("nullif(?, '')") // 5 for s in said if s.startswith("INSERT"))
