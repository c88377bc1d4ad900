"""What the steps make of a database is what the tables say."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from ledgers import an_exchange
from sqlalchemy import inspect, text

from meter.ledger import database as module
from meter.ledger.database import HEAD, Database, LedgerError, add, open_database
from meter.ledger.schema import row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

SCRIPTS = ScriptDirectory(Path(module.__file__).parent / "migrations")


def test_steps_make_the_tables(database: Database) -> None:
    """What the steps make differs in nothing from what the program expects."""
    with _stepped(database) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, database.tables.metadata) == []


def test_new_is_as_stepped(database: Database) -> None:
    """A new ledger, made without the steps, is what they make, and of their version."""
    with database.engine.connect() as connection:
        new = _described(connection)
    with _stepped(database) as connection:
        assert _described(connection) == new


@contextmanager
def _stepped(database: Database) -> Iterator[Connection]:
    """Make the tables anew by all steps, one after the other."""
    with database.writing() as connection:
        for table in ("alembic_version", *database.tables.metadata.tables):
            connection.execute(text(f"DROP TABLE {table}"))
        assert module._upgraded(connection)
        yield connection


def _described(connection: Connection) -> dict[str, Any]:
    found = inspect(connection)
    version = connection.scalar(text("SELECT version_num FROM alembic_version"))
    statements = _statements(connection) if connection.dialect.name == "sqlite" else set()
    return {"version": version, "statements": statements} | {
        table: (
            [{**column, "type": str(column["type"])} for column in found.get_columns(table)],
            found.get_pk_constraint(table),
            found.get_indexes(table),
        )
        for table in found.get_table_names()
    }


def _statements(connection: Connection) -> set[str]:
    asked = text("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {" ".join(sql.split()) for sql in connection.scalars(asked)}


def test_foreign_tables(url: str) -> None:
    """Where a table of that name is none of a ledger's, nothing is made, and it is as it was."""
    with closing(open_database(url, create=True)) as database:
        with database.writing() as connection:
            for name in ("alembic_version", "rollups", "days", "day_rollups"):
                connection.execute(text(f"DROP TABLE {name}"))
        with pytest.raises(LedgerError, match="exchanges"):
            open_database(url, create=True)
        with database.engine.connect() as connection:
            assert ["exchanges"] == inspect(connection).get_table_names()


def test_head() -> None:
    """The version that the program names is the one after the last step."""
    assert HEAD == SCRIPTS.get_current_head()


def test_again(database: Database) -> None:
    """A ledger that is of this version is opened as it is, and keeps what it has."""
    with database.writing() as connection:
        add(connection, database.tables, [row(an_exchange())])
    again = open_database(_text(database), create=True)
    with again.engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM exchanges")) == 1
    again.close()


def test_newer(database: Database) -> None:
    """A ledger of a newer version is refused in a sentence, and is not changed."""
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for create in (True, False):
        with pytest.raises(LedgerError, match="has version 9999, which is newer than"):
            open_database(_text(database), create=create)
    with database.engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "9999"


def test_older(database: Database) -> None:
    """A ledger of an older version is not read, and the sentence says what migrates it."""
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    with pytest.raises(LedgerError, match="version 0000, expected 0002; `meter serve` migrates it"):
        open_database(_text(database), create=False)


@pytest.mark.parametrize("version", ["0000", "-"])
def test_unknown(database: Database, version: str) -> None:
    """A version that no step leads on from is told, and nothing is changed."""
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})
    with pytest.raises(LedgerError, match="which this Meter does not know"):
        open_database(_text(database), create=True)
    with database.engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == version


def test_none(url: str) -> None:
    """Where there is no ledger, reading says so, and makes none."""
    for _ in range(2):
        with pytest.raises(LedgerError, match="there is no ledger"):
            open_database(url, create=False)


OPEN = (
    "import sys; from meter.ledger.database import open_database; input();"
    "open_database(sys.argv[1], create=True).close()"
)


def test_at_once(url: str) -> None:
    """Processes that open a fresh ledger at once all find it made."""
    argv = [sys.executable, "-c", OPEN, url]
    running = [
        subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE)  # noqa: S603 - our own arguments
        for _ in range(4)
    ]
    for process in running:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    told = [process.communicate(timeout=60)[1] for process in running]
    assert ([b""] * 4, [0] * 4) == (told, [process.returncode for process in running])
    database = open_database(url, create=False)
    expected = {"alembic_version", *database.tables.metadata.tables}
    assert expected == set(inspect(database.engine).get_table_names())
    database.close()


def test_alembic_is_not_imported(url: str) -> None:
    """A new ledger, and one that is of this version, is opened without Alembic, which is slow to import."""
    code = (
        "import sys; from meter.ledger.database import open_database;"
        "open_database(sys.argv[1], create=True).close(); sys.exit('alembic' in sys.modules)"
    )
    argv = [sys.executable, "-c", code, url]
    done = [subprocess.run(argv, check=False).returncode for _ in range(2)]  # noqa: S603 - our own arguments
    assert [0, 0] == done


def _text(database: Database) -> str:
    return database.url.set(drivername=database.kind).render_as_string(hide_password=False)
