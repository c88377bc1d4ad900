"""A ledger keeps what it is given to the last digit, once, and its rollups add up."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import an_exchange, columns
from msgspec.structs import replace
from sqlalchemy import delete, select, text

from meter.exchange import KINDS, UNITS, Exchange, Outcome, PriceStatus, UsageSource
from meter.ledger.database import (
    Database,
    LedgerDeniedError,
    LedgerError,
    add,
    adjust,
    open_database,
)
from meter.ledger.schema import GROUP, SUMS
from meter.ledger.sums import rollup_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ledgers import Server
    from sqlalchemy import Table

HOSTILE = [
    "\x00",
    "\ud800\udc00\udfff",
    "'; DROP TABLE exchanges; --",
    "%s %(id)s :id ?",
    "\\",
    "é" * 100_000,
]


def everything(database: Database, table: Table) -> list[dict[str, Any]]:
    """Return all rows of a table, by their keys in the program."""
    with database.engine.connect() as connection:
        keys = table.columns.keys()
        return [dict(zip(keys, found, strict=True)) for found in connection.execute(select(table))]


def exchanges(database: Database) -> list[dict[str, Any]]:
    """Return all rows of exchanges, by id."""
    return sorted(everything(database, database.tables.exchanges), key=lambda found: str(found["id"]))


def rollups(database: Database) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return all sums, by what they are the sums of."""
    return _by_group(everything(database, database.tables.rollups))


def sums(rows: Iterable[dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the sums that rollups of these rows should have."""
    added: dict[tuple[Any, ...], dict[str, Any]] = {}
    for group, rollup in ((tuple(r[name] for name in GROUP), r) for r in map(rollup_of, rows)):
        before = added.get(group)
        added[group] = {name: rollup[name] + (before[name] if before else 0) for name in SUMS}
    return {group: _rounded(held) for group, held in added.items()}


def _by_group(found: Iterable[dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    return {tuple(r[name] for name in GROUP): _rounded({name: r[name] for name in SUMS}) for r in found}


def _rounded(sums: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in sums.items()}


def keep(database: Database, rows: list[dict[str, Any]], **options: bool) -> list[Any]:
    """Add rows in a transaction of their own; return the ids of the new ones."""
    with database.writing() as connection:
        return [new.id for new in add(connection, database.tables, rows, **options)]


# --- what is kept ---


BARE = Exchange(id="1", started_at=1_760_000_000.5, method="GET", path="/", outcome=Outcome.REJECTED)


def test_every_column_comes_back(database: Database) -> None:
    """What is read is what was written, to the last digit, also where nothing is known."""
    extremes = [
        an_exchange(cost_usd=Decimal(usd), provider_cost_usd=Decimal(usd))
        for usd in ("0", "0.000000000001", "8999999.999999999999")
    ]
    rows = [columns(x) for x in (BARE, an_exchange(), *extremes)]
    keep(database, rows)
    assert sorted(rows, key=lambda r: r["id"]) == exchanges(database)


def test_hostile_texts_come_back(database: Database) -> None:
    """No text is too strange or too long to be kept beside others."""
    rows = [
        columns(
            an_exchange(key=t, path=t, model=t, upstream=t, tags={"team": t, t: "x"}, finish_reasons=(t,))
        )
        for t in HOSTILE
    ]
    keep(database, rows)
    assert sorted(rows, key=lambda r: r["id"]) == exchanges(database)
    assert sums(rows) == rollups(database)


def test_many_alike_come_back(database: Database) -> None:
    """Rows of which many are alike are kept each by itself, whichever of them know what, or are there."""
    seldom = (
        "trace_id",
        "cost_usd",
        "provider_cost_usd",
        "ttft_s",
        "overhead_request_s",
        "upstream_request_id",
    )
    exchanges_ = [
        an_exchange(id=f"{n:036}", duration_s=n / 8, **{name: None for name in seldom if n % len(name) == 0})
        for n in range(300)
    ]
    rows = [columns(replace(one, model="m") if n % 7 == 0 else one) for n, one in enumerate(exchanges_)]
    keep(database, rows[100:110])

    assert [row["id"] for row in rows[:100] + rows[110:]] == keep(database, rows)
    assert rows == exchanges(database)
    assert sums(rows) == rollups(database)


def test_rows_are_added_once(database: Database) -> None:
    """A row that is there is not added again, and neither is what it adds to a rollup."""
    first, second, third = sorted((columns(an_exchange()) for _ in range(3)), key=lambda r: r["id"])
    assert [first["id"], second["id"]] == keep(database, [second, first, second])
    assert [] == keep(database, [first])
    assert [third["id"]] == keep(database, [first, third, second])
    assert [] == keep(database, [])
    assert 3 == len(exchanges(database))
    assert sums([first, second, third]) == rollups(database)


def test_without_rollups(database: Database) -> None:
    """Rollups are left out where nobody wants them."""
    kept = columns(an_exchange())
    assert [kept["id"]] == keep(database, [kept], rollups=False)
    assert {} == rollups(database)


RANDOM = st.builds(
    an_exchange,
    id=st.uuids(version=4).map(str),
    started_at=st.integers(1_760_000_000, 1_760_020_000).map(float) | st.floats(1_760_000_000, 1_760_020_000),
    duration_s=st.floats(0, 5000),
    model=st.sampled_from(["a", "b", None]),
    key=st.none() | st.text(max_size=3),
    tags=st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    outcome=st.sampled_from(Outcome),
    usage=st.none() | st.dictionaries(st.sampled_from(KINDS), st.integers(0, 10**12)),
    units=st.dictionaries(st.sampled_from(UNITS), st.integers(0, 10**6)),
    usage_source=st.sampled_from(UsageSource),
    price_status=st.sampled_from(PriceStatus),
    cost_usd=st.none() | st.decimals(0, 10_000, places=12),
    finish_reasons=st.lists(st.sampled_from(["stop", "length"]), max_size=2).map(tuple),
)


def emptied(database: Database) -> None:
    """Forget everything."""
    with database.writing() as connection:
        for table in (database.tables.exchanges, database.tables.rollups):
            connection.execute(delete(table))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(RANDOM, max_size=8), max_size=4))
def test_rollups_are_sums(database: Database, batches: list[list[Exchange]]) -> None:
    """Rollups are the sums of the rows, however those came, once or twice."""
    emptied(database)
    for batch in (*batches, *batches[:1]):
        keep(database, [columns(x) for x in batch])
    kept = exchanges(database)
    assert len({x.id for batch in batches for x in batch}) == len(kept)
    assert sums(kept) == rollups(database)


# --- what is changed ---


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=st.lists(st.tuples(RANDOM, RANDOM), min_size=1, max_size=8, unique_by=lambda pair: pair[0].id))
def test_adjusted_rollups_are_sums(database: Database, pairs: list[tuple[Exchange, Exchange]]) -> None:
    """Rollups move with rows that change, and those with nothing left in them go."""
    emptied(database)
    before = [columns(x) for x, _ in pairs]
    after = [columns(replace(y, id=x.id)) for x, y in pairs]
    keep(database, before)
    with database.writing() as connection:
        adjust(connection, database.tables, before, after)
    expected, found = sums(after), rollups(database)
    assert expected.keys() == found.keys()
    for group, told in expected.items():
        assert pytest.approx(told.pop("duration_s"), abs=1e-6) == found[group].pop("duration_s")
        assert told == found[group]


def test_adjusted_without_rollups(database: Database) -> None:
    """Rows that were written without rollups get none when they change."""
    before = columns(an_exchange())
    keep(database, [before], rollups=False)
    with database.writing() as connection:
        adjust(connection, database.tables, [before], [{**before, "model": "b"}])
    assert {} == rollups(database)


# --- several at once ---


def test_writers_at_once(database: Database) -> None:
    """Writers of the same rows and rollups in different orders neither fail nor count twice."""
    rows = [columns(an_exchange(model=f"m{n % 7}", key=f"k{n % 5}")) for n in range(400)]

    def write(number: int) -> int:
        shuffled = rows[number * 100 :] + rows[: number * 100]
        batches = [shuffled[start : start + 50] for start in range(0, len(shuffled), 50)]
        return sum(len(keep(database, batch[:: -1 if number % 2 else 1])) for batch in batches)

    with ThreadPoolExecutor(4) as writers:
        assert len(rows) == sum(writers.map(write, range(4)))
    assert len(rows) == len(exchanges(database))
    assert sums(rows) == rollups(database)


def test_readers_do_not_wait(database: Database) -> None:
    """What is read while somebody writes is what was there before."""
    with database.writing() as connection:
        add(connection, database.tables, [columns(an_exchange())])
        assert [] == exchanges(database)
    assert 1 == len(exchanges(database))


# --- how it is opened ---


def test_sqlite_file(tmp_path: Path) -> None:
    """A new file is private, in folders that are, and set up for one writer and many readers."""
    path = tmp_path / "state?x=%20" / "meter" / "ledger.db"
    database = open_database(f"sqlite:///{path}", create=True)
    modes = [stat.S_IMODE(p.stat().st_mode) for p in (path.parent.parent, path.parent, path)]
    assert [0o700, 0o700, 0o600] == modes
    with database.engine.connect() as connection:
        pragmas = [
            connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "auto_vacuum", "busy_timeout")
        ]
        assert ["wal", 1, 2, 5000] == pragmas
    database.close()
    assert str(path) == str(database)


def test_money_in_sqlite(tmp_path: Path) -> None:
    """Money is a whole number of 10^-12 USD in SQLite, and times are texts as in the log."""
    database = open_database(f"sqlite:///{tmp_path / 'ledger.db'}", create=True)
    keep(database, [columns(an_exchange(started_at=1_760_000_000, duration_s=0.5))])
    database.close()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as plain:
        asked = "SELECT typeof(cost_pico_usd), cost_pico_usd, timestamp, usage FROM exchanges"
        usage = json.dumps({"input": 1000, "input_cached": 200, "output": 50}, separators=(",", ":"))
        expected = [("integer", 1234567891, "2025-10-09T08:53:20.500000Z", usage)]
        assert expected == plain.execute(asked).fetchall()


def test_times_in_postgresql(server: Server) -> None:
    """Times come in UTC from PostgreSQL, whatever the server's time zone."""
    server.say("ALTER DATABASE postgres SET timezone = 'Asia/Kolkata'")
    database = open_database(server.fresh(), create=True)
    server.say("ALTER DATABASE postgres RESET timezone")
    keep(database, [columns(an_exchange())])
    assert UTC.utcoffset(None) == exchanges(database)[0]["timestamp"].utcoffset()
    assert datetime.now(UTC).year == exchanges(database)[0]["timestamp"].year
    database.close()


def test_opening_again_keeps_locks(tmp_path: Path) -> None:
    """Opening a file that this process has open already does not cost it its locks."""
    locks = Path("/proc/locks")
    if not locks.exists():
        pytest.skip("the system does not tell who has locked what")
    path = tmp_path / "ledger.db"
    first = open_database(f"sqlite:///{path}", create=True)
    with first.writing():
        before = _held(locks, path)
        for create in (True, False):
            open_database(f"sqlite:///{path}", create=create).close()
        assert before == _held(locks, path) != []
    first.close()


def _held(locks: Path, path: Path) -> list[str]:
    inode = f":{path.stat().st_ino} "
    return sorted(line.split(":", 1)[1] for line in locks.read_text().splitlines() if inode in line)


# --- what goes wrong ---


@pytest.mark.parametrize(
    "url",
    [
        "",
        "off",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "mysql://root:secret-word@db/meter",
        "postgresql+asyncpg://root:secret-word@db/meter",
        "postgresql://root:secret-word@db:port/meter",
        "://secret-word",
    ],
)
def test_wrong_urls(url: str) -> None:
    """A URL that is none of a ledger's is told what is expected, without being repeated."""
    with pytest.raises(LedgerError, match="expected sqlite:///PATH or postgresql://") as caught:
        Database(url)
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize("create", [True, False])
def test_server_is_down(create: bool) -> None:
    """A server that is not there is told in a sentence without the password."""
    with pytest.raises(LedgerError) as caught:
        open_database("postgresql://meter:secret-word@127.0.0.1:1/meter?sslmode=disable", create=create)
    told = str(caught.value)
    assert told.startswith("postgresql://meter:***@127.0.0.1:1/meter: ")
    assert "secret-word" not in told
    assert "\n" not in told
    assert not isinstance(caught.value, LedgerDeniedError)


def test_path_is_no_file(tmp_path: Path) -> None:
    """A path that leads through a file or to a folder is told as the system tells it."""
    (tmp_path / "file").touch()
    with pytest.raises(LedgerDeniedError, match=r"file/ledger\.db: not a directory"):
        open_database(f"sqlite:///{tmp_path}/file/ledger.db", create=True)
    with pytest.raises(LedgerDeniedError, match="is a directory"):
        open_database(f"sqlite:///{tmp_path}", create=True)


def test_file_is_no_database(tmp_path: Path) -> None:
    """A file that is something else is left alone."""
    other = tmp_path / "notes.txt"
    other.write_text("not a database " * 100)
    for create in (True, False):
        with pytest.raises(LedgerError, match="file is not a database"):
            open_database(f"sqlite:///{other}", create=create)
    assert "not a database " * 100 == other.read_text()


@contextmanager
def nobody() -> Iterator[None]:
    """Be somebody who may do nothing; root may do all, and is put aside."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_read_only_folder(tmp_path: Path) -> None:
    """A folder that may not be written to is told, for trying again is of no use."""
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o500)
    for path in (folder / "ledger.db", folder / "deeper" / "ledger.db"):
        with nobody(), pytest.raises(LedgerDeniedError, match="permission denied"):
            open_database(f"sqlite:///{path}", create=True)
    folder.chmod(0o700)


def test_read_only_file(tmp_path: Path) -> None:
    """A ledger that may be read may not always be written to."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    open_database(url, create=True).close()
    (tmp_path / "ledger.db").chmod(0o400)
    with nobody(), pytest.raises(LedgerDeniedError, match="permission denied"):
        open_database(url, create=True)
