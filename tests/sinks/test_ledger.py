"""The ledger's sink loses nothing that it can keep, counts what it cannot, and never makes anybody wait."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from ledgers import an_exchange, columns, postgresql
from sqlalchemy import func, select, text
from stage import until

from meter.ledger import writer
from meter.ledger.database import Database, LedgerDeniedError, add, open_database
from meter.ledger.spill import Spill
from meter.sinks import ledger as module
from meter.sinks.ledger import LedgerSink

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from meter.exchange import Exchange
    from meter.ledger.schema import Tables

FOREVER = float("inf")


@pytest.fixture
def lite(tmp_path: Path) -> str:
    """Give the URL of a ledger in a file that is not there yet."""
    return f"sqlite:///{tmp_path / 'ledger.db'}"


class Heard:
    """What a sink has told."""

    def __init__(self) -> None:
        self.dropped = 0
        self.errors: list[BaseException] = []
        self.kept: list[str] = []

    def drop(self) -> None:
        """Hear of an exchange that is lost."""
        self.dropped += 1

    def keep(self, exchanges: Sequence[Exchange]) -> None:
        """Hear of exchanges that are in the database."""
        self.kept += [x.id for x in exchanges]


@contextmanager
def sinking(url: str, **options: Any) -> Iterator[tuple[LedgerSink, Heard]]:
    """Run a sink; close it at the end."""
    heard = Heard()
    given = {"retention": FOREVER, "rollups": True, "spill": None, "on_kept": heard.keep, **options}
    sink = LedgerSink(url, on_drop=heard.drop, on_error=heard.errors.append, **given)
    try:
        yield sink, heard
    finally:
        sink.close()


def counted(url: str) -> int:
    """Return how many exchanges a ledger has, 0 where there is none yet."""
    database = Database(url)
    try:
        with database.engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(database.tables.exchanges)) or 0
    except Exception:  # noqa: BLE001 - it is being made
        return 0
    finally:
        database.close()


def tell(sink: LedgerSink, count: int) -> list[str]:
    """Tell a sink of some exchanges; return their ids."""
    exchanges = [an_exchange() for _ in range(count)]
    for exchange in exchanges:
        sink(exchange)
    return [x.id for x in exchanges]


def spills(folder: Path) -> list[Path]:
    """Return what was spilled into a folder."""
    return sorted(folder.glob("ledger-spill-*.jsonl"))


# --- where all is well ---


def test_exchanges_are_kept(url: str) -> None:
    """What a sink is told is in the ledger soon, with its rollup, and whoever wants to know hears of it."""
    with sinking(url) as (sink, heard):
        ids = tell(sink, 2500)
        until(lambda: set(heard.kept) == set(ids), seconds=20)
        assert 2500 == counted(url)
    database = open_database(url, create=False)
    with database.engine.connect() as connection:
        rollups = database.tables.rollups
        told = connection.execute(select(rollups.c.requests, rollups.c.cost_usd)).one()
    database.close()
    assert (2500, 2500 * Decimal("0.001234567891")) == tuple(told)
    assert ([], 0) == (heard.errors, heard.dropped)


def test_close_writes_what_is_left(url: str) -> None:
    """What was told just before the end is kept, even before the ledger is open; closing twice is once."""
    with sinking(url) as (sink, heard):
        tell(sink, 10)
        sink.close()
        assert 10 == counted(url)
    assert ([], 0) == (heard.errors, heard.dropped)


def test_nothing_to_do(lite: str) -> None:
    """A sink that is told nothing makes a ledger, and ends its threads."""
    with sinking(lite):
        pass
    assert 0 == counted(lite)
    assert not [t for t in threading.enumerate() if t.name.startswith("meter-ledger")]


def test_without_rollups(lite: str) -> None:
    """Rollups are left out where nobody wants them."""
    with sinking(lite, rollups=False) as (sink, _):
        tell(sink, 1)
    with closing(sqlite3.connect(lite.removeprefix("sqlite:///"))) as plain:
        assert [(0,)] == plain.execute("SELECT count(*) FROM rollups").fetchall()


def test_between(lite: str) -> None:
    """Work for the time between is done first of all, and again."""
    seen: list[int] = []

    def work(connection: Connection, tables: Tables) -> None:
        seen.append(connection.scalar(select(func.count()).select_from(tables.exchanges)) or 0)

    with sinking(lite, between=(0.05, work)) as (sink, heard):
        until(lambda: seen == [0] * len(seen) and len(seen) > 1)
        tell(sink, 3)
        until(lambda: seen[-1] == 3)
    assert [] == heard.errors


def test_between_fails(lite: str) -> None:
    """Work that fails is told, and exchanges are kept all the same."""

    def work(_connection: Connection, _tables: Tables) -> None:
        raise ZeroDivisionError("secret")

    with sinking(lite, between=(0.05, work)) as (sink, heard):
        tell(sink, 3)
        until(lambda: heard.kept)
    assert 3 == counted(lite)
    assert [(ZeroDivisionError, "")] == [(type(error), str(error)) for error in heard.errors]


# --- rows that cannot be kept ---


def test_bad_rows_cost_no_others(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that no database takes is dropped and counted, by itself, without a word of what it says."""
    monkeypatch.setattr("meter.ledger.schema.held", lambda usd: usd)
    bad = [
        an_exchange(cost_usd=Decimal(10) ** 30),
        an_exchange(request_bytes=2**70),
        an_exchange(started_at=1e300),
        an_exchange(upstream=None),
    ]
    with sinking(url) as (sink, heard):
        tell(sink, 5)
        for exchange in bad:
            sink(exchange)
        tell(sink, 5)
        until(lambda: heard.dropped == len(bad) and len(heard.kept) >= 10, seconds=20)
        assert 10 == counted(url)
    assert len(bad) == len(heard.errors)
    assert {""} == {str(error).split(" ")[0].removeprefix(type(error).__name__) for error in heard.errors}


def test_hostile_exchanges_are_kept(url: str) -> None:
    """An exchange whose texts and numbers are out to hurt is kept."""
    for_sink = an_exchange(
        tags={"\x00": "\udfff" * 100_000}, usage={"input": 2**90}, cost_usd=Decimal(10) ** 20, model="\x00"
    )
    with sinking(url) as (sink, heard):
        sink(for_sink)
        until(lambda: heard.kept, seconds=20)
    assert ([for_sink.id], [], 0) == (heard.kept, heard.errors, heard.dropped)


# --- a database that fails ---


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Write to a SQLite database, and do not come to an end."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_locked_database(lite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While somebody else holds the database, exchanges are in the spill; afterwards they are kept."""
    monkeypatch.setattr("meter.ledger.database._BUSY_SECONDS", 0.2)
    open_database(lite, create=True).close()
    with sinking(lite, spill=tmp_path) as (sink, heard):
        with locked(lite):
            first = tell(sink, 5)
            until(lambda: sum(path.read_bytes().count(b"\n") for path in spills(tmp_path)) >= 5)
            second = tell(sink, 1500)
        until(lambda: set(heard.kept) == {*first, *second}, seconds=20)
        until(lambda: not spills(tmp_path))
        assert 1505 == counted(lite)
    assert 0 == heard.dropped
    assert {"OperationalError"} >= {type(error).__name__ for error in heard.errors}


@pytest.mark.parametrize("gone", ["removed", "moved", "replaced"])
def test_file_goes(lite: str, tmp_path: Path, gone: str) -> None:
    """A ledger whose file is taken away is made anew, for nobody else to read, and nothing more is lost."""
    path = tmp_path / "ledger.db"
    with sinking(lite, spill=tmp_path) as (sink, heard):
        before = tell(sink, 5)
        until(lambda: set(heard.kept) == set(before))
        if gone == "removed":
            path.unlink()
        else:
            path.rename(tmp_path / "old.db")
        if gone == "replaced":
            open_database(lite, create=True).close()
        after = tell(sink, 5)
        until(lambda: set(heard.kept) == {*before, *after})
        assert 5 == counted(lite)
    assert 0o600 == path.stat().st_mode & 0o777
    assert 0 == heard.dropped


def test_tables_go(url: str, tmp_path: Path) -> None:
    """A ledger whose tables are dropped has them again with what is written next."""
    with sinking(url, spill=tmp_path) as (sink, heard):
        before = tell(sink, 5)
        until(lambda: set(heard.kept) == set(before), seconds=20)
        database = Database(url)
        with database.writing() as connection:
            for table in ("alembic_version", *database.tables.metadata.tables):
                connection.execute(text(f"DROP TABLE {table}"))
        database.close()
        after = tell(sink, 5)
        until(lambda: set(heard.kept) == {*before, *after}, seconds=20)
        assert 5 == counted(url)
    assert 0 == heard.dropped


def test_spills_of_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ledgers that have the same name in different folders do not adopt each other's rows."""
    monkeypatch.setattr("meter.ledger.database._BUSY_SECONDS", 0.1)
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    monkeypatch.chdir(here)
    open_database("sqlite:///ledger.db", create=True).close()
    with locked("sqlite:///ledger.db"), sinking("sqlite:///ledger.db", spill=tmp_path) as (sink, _):
        tell(sink, 5)
    monkeypatch.chdir(there)
    with sinking("sqlite:///ledger.db", spill=tmp_path) as (sink, heard):
        ids = tell(sink, 5)
        until(lambda: set(heard.kept) == set(ids))
    assert (5, 1) == (counted("sqlite:///ledger.db"), len(spills(tmp_path)))
    with sinking(f"sqlite:///{here}/ledger.db", spill=tmp_path) as (_, heard):
        until(lambda: len(heard.kept) == 5)
    assert 5 == counted(f"sqlite:///{here}/ledger.db")


def test_no_spill(lite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a spill exchanges wait in the queue, and what it has no room for is dropped and counted."""
    monkeypatch.setattr("meter.ledger.database._BUSY_SECONDS", 0.1)
    monkeypatch.setattr(module, "_QUEUE", 50)
    open_database(lite, create=True).close()
    with sinking(lite) as (sink, heard):
        with locked(lite):
            tell(sink, 10)
            until(lambda: heard.errors)
            tell(sink, 60)
            assert 10 <= heard.dropped
        until(lambda: counted(lite) + heard.dropped == 70, seconds=20)


def test_close_while_it_fails(lite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a failing database does not take at the end is in the spill, and the next process adopts it."""
    monkeypatch.setattr("meter.ledger.database._BUSY_SECONDS", 0.1)
    open_database(lite, create=True).close()
    with locked(lite), sinking(lite, spill=tmp_path) as (sink, _):
        tell(sink, 20)
    assert 1 == len(spills(tmp_path))
    with sinking(lite, spill=tmp_path) as (_, heard):
        until(lambda: len(heard.kept) == 20)
        until(lambda: not spills(tmp_path))
    assert 20 == counted(lite)


def test_close_without_room(lite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What there is no place for at the end is counted."""
    monkeypatch.setattr("meter.ledger.database._BUSY_SECONDS", 0.1)
    monkeypatch.setattr(module, "_CLOSE_SECONDS", 0.5)
    open_database(lite, create=True).close()
    with locked(lite), sinking(lite) as (sink, heard):
        tell(sink, 20)
    assert (20, 0) == (heard.dropped, counted(lite))


def test_full_database(lite: str, tmp_path: Path) -> None:
    """Where the database's disk is full, exchanges are spilled, and are kept once there is room."""
    full = "PRAGMA max_page_count=1"

    def work(connection: Connection, _tables: Tables) -> None:
        connection.exec_driver_sql(full)

    with sinking(lite, spill=tmp_path, between=(0.1, work)) as (sink, heard):
        until(lambda: counted(lite) == 0 and not heard.errors)
        tell(sink, 2000)
        until(lambda: spills(tmp_path))
        full = "PRAGMA max_page_count=1000000"
        until(lambda: len(set(heard.kept)) == 2000, seconds=30)
    assert 2000 == counted(lite)
    assert 0 == heard.dropped


def test_spilled_by_another_version(lite: str, tmp_path: Path) -> None:
    """Spilled rows that know other columns are kept, and lines that are no rows are counted."""
    spill = Spill(tmp_path, str(Database(lite)))
    kept = {name: value for name, value in columns(an_exchange()).items() if name != "provider"}
    spill.put([{**kept, "tomorrow": 1}, {"id": "no row"}, {**columns(an_exchange()), "tags": None}])
    spill.close()
    with sinking(lite, spill=tmp_path) as (_, heard):
        until(lambda: heard.dropped == 2 and not spills(tmp_path))
        assert 1 == counted(lite)


def test_optional(tmp_path: Path) -> None:
    """A ledger that nobody asked for and permissions forbid is done without, after one error."""
    (tmp_path / "file").touch()
    with sinking(f"sqlite:///{tmp_path}/file/ledger.db", optional=True) as (sink, heard):
        until(lambda: heard.errors)
        until(lambda: sink._off)
        tell(sink, 5)
    assert [LedgerDeniedError] == [type(error) for error in heard.errors]
    assert 0 == heard.dropped


def test_not_optional(tmp_path: Path) -> None:
    """A ledger that was asked for is tried again, and is used as soon as it may be."""
    (tmp_path / "file").touch()
    url = f"sqlite:///{tmp_path}/file/ledger.db"
    with sinking(url) as (sink, heard):
        tell(sink, 5)
        until(lambda: len(heard.errors) > 1)
        (tmp_path / "file").unlink()
        until(lambda: len(heard.kept) == 5, seconds=20)
    assert 5 == counted(url)


# --- what is old ---


def test_retention(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exchanges that are too old are deleted, slice by slice; their rollups stay, and so does the rest."""
    monkeypatch.setattr(writer, "_SLICE", 100)
    monkeypatch.setattr(writer, "_SLICE_SECONDS", 0.0)
    database = open_database(url, create=True)
    old, new = an_exchange(started_at=1_760_000_000), an_exchange()
    with database.writing() as connection:
        ancient = [columns(old) | {"id": f"{n:036}", "path": "/" * 500} for n in range(1000)]
        add(connection, database.tables, [*ancient, columns(new)])
    with sinking(url, retention=3600) as (_, heard):
        until(lambda: counted(url) == 1, seconds=20)
    with database.engine.connect() as connection:
        assert [new.id] == list(connection.scalars(select(database.tables.exchanges.c.id)))
        assert 1001 == connection.scalar(select(func.sum(database.tables.rollups.c.requests)))
        if database.kind == "sqlite":
            assert 0 == connection.scalar(text("PRAGMA freelist_count"))
    database.close()
    assert [] == heard.errors


# --- kills and stops ---

TELL_AND_DIE = """
import os, sys, time
sys.path[:0] = ["tests", "."]
from pathlib import Path
from ledgers import an_exchange, columns
from meter.sinks.ledger import LedgerSink
sink = LedgerSink(sys.argv[1], retention=1e9, rollups=True, spill=Path(sys.argv[2]), on_drop=lambda: None,
    on_error=lambda _: None)
until = time.monotonic() + float(sys.argv[3])
told = 0
while time.monotonic() < until:
    for _ in range(15):
        sink(an_exchange())
    told += 15
    time.sleep(0.01)
time.sleep(1)
print(told, flush=True)
os.kill(os.getpid(), 9)
"""


def killed(url: str, folder: Path, seconds: float) -> int:
    """Run a process that is killed a second after what it told last; return how many that were."""
    argv = [sys.executable, "-c", TELL_AND_DIE, url, str(folder), str(seconds)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=False, timeout=60)  # noqa: S603 - our own arguments
    assert -signal.SIGKILL == done.returncode
    return int(done.stdout)


def test_kill(url: str, tmp_path: Path) -> None:
    """An exchange that ended a second before a kill is in the ledger."""
    assert killed(url, tmp_path / "spill", 0.5) == counted(url)


def test_kill_while_it_fails(lite: str, tmp_path: Path) -> None:
    """What a killed process had spilled is adopted, and counts once."""
    open_database(lite, create=True).close()
    with locked(lite):
        told = killed(lite, tmp_path, 0.5)
    assert 1 == len(spills(tmp_path))
    with sinking(lite, spill=tmp_path):
        until(lambda: counted(lite) == told, seconds=20)
        until(lambda: not spills(tmp_path))


@pytest.mark.real
def test_server_stops_and_starts(tmp_path: Path) -> None:
    """A PostgreSQL server that stops and starts again under load loses nothing."""
    with postgresql() as server:
        url = server.fresh()
        with sinking(url, spill=tmp_path) as (sink, heard):
            ids = tell(sink, 500)
            for _ in range(2):
                server.stop()
                ids += tell(sink, 3000)
                until(lambda: spills(tmp_path), seconds=20)
                server.start()
                ids += tell(sink, 500)
            until(lambda: set(heard.kept) == set(ids), seconds=60)
            until(lambda: not spills(tmp_path), seconds=20)
            assert len(ids) == counted(url)
        assert 0 == heard.dropped


@pytest.mark.real
def test_server_hangs(tmp_path: Path) -> None:
    """A PostgreSQL server that answers nobody holds nobody up, and what it was sent counts once."""
    with postgresql() as server:
        url = server.fresh()
        with sinking(url, spill=tmp_path) as (sink, heard):
            ids = tell(sink, 10)
            until(lambda: len(heard.kept) == 10, seconds=20)
            database = Database(url)
            with database.writing() as connection:
                connection.execute(text("LOCK TABLE exchanges IN ACCESS EXCLUSIVE MODE"))
                for _ in range(4):
                    ids += tell(sink, 3000)
                    until(lambda: sink._queue.qsize() < 3000, seconds=20)
                until(
                    lambda: sum(p.read_bytes().count(b"\n") for p in spills(tmp_path)) >= 12_000, seconds=20
                )
            database.close()
            until(lambda: set(heard.kept) == set(ids), seconds=60)
            assert len(ids) == counted(url)
        assert ([], 0) == (heard.errors, heard.dropped)


@pytest.mark.real
def test_connection_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection on which nothing more is said is given up, and rows come in by another one."""
    monkeypatch.setattr(writer, "_SILENCE_SECONDS", 1.0)
    with postgresql() as server:
        url = server.fresh()
        with sinking(url, spill=tmp_path) as (sink, heard):
            ids = tell(sink, 10)
            until(lambda: set(heard.kept) == set(ids), seconds=20)
            with stopped(_backends(url)):
                ids += tell(sink, 10)
                until(lambda: set(heard.kept) == set(ids), seconds=20)
                assert 20 == counted(url)
        assert 0 == heard.dropped


def _backends(url: str) -> list[int]:
    database = Database(url)
    try:
        with database.engine.connect() as connection:
            asked = "SELECT pid FROM pg_stat_activity WHERE application_name = 'meter'"
            return list(connection.scalars(text(f"{asked} AND pid <> pg_backend_pid()")))
    finally:
        database.close()


@contextmanager
def stopped(processes: Sequence[int]) -> Iterator[None]:
    """Let processes stand still."""
    assert processes
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


def test_import_is_light() -> None:
    """Who only imports the sink does not wait for SQLAlchemy."""
    code = "import sys, meter.sinks.ledger; sys.exit('sqlalchemy' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode  # noqa: S603 - our own arguments
