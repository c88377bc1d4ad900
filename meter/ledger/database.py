"""Opening a ledger: which database it is, whether it may be had, and whether its tables are of this version.

`open_database` is the one way in. The version is read by plain SQL. A new ledger gets the tables of this
version at once: Alembic, which takes some megabytes for as long as the process lives, is imported only where
there is something to migrate. Two processes that meet a fresh database take turns: SQLite by its write lock,
PostgreSQL by an advisory lock. What goes wrong is told in a sentence that never has a password in it.
"""

from __future__ import annotations

import errno
import math
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Column,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    create_engine,
    event,
    select,
    text,
)
from sqlalchemy import exc as errors
from sqlalchemy.engine import URL, make_url

from meter.ledger.adding import add, adjust
from meter.ledger.errors import LedgerAbsentError, LedgerDeniedError, LedgerError, LedgerUrlError
from meter.ledger.schema import tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

    from meter.ledger.schema import Tables

__all__ = [
    "HEAD",
    "Database",
    "LedgerDeniedError",
    "LedgerError",
    "add",
    "adjust",
    "open_database",
]

HEAD = "0002"
"""The version of the tables in `schema`: the last step in `migrations`."""

_SQLITE = "sqlite:///"
_POSTGRESQL = ("postgresql", "postgres", "postgresql+psycopg")
_EXPECTED = "expected sqlite:///PATH or postgresql://USER@HOST/DATABASE"

_BUSY_SECONDS = 5.0
"""A SQLite database that somebody else writes to is waited for so long."""

_MIGRATING = 0x6D657465726C6564
"""What processes that migrate one PostgreSQL database take turns by: `meterled`."""

_PATIENCE = {
    "application_name": "meter",
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""A server that is gone without a word is given up; each may be set in the URL's query instead."""

_DENIED_BY_SQLITE = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")
_DENIED = (PermissionError, NotADirectoryError, FileNotFoundError, IsADirectoryError)


class Database:
    """A ledger by its URL, whether or not it is there yet; connects when first asked.

    A server that says nothing for `silence` seconds is given up. Raises `LedgerError` for a URL that is none
    of a ledger's.
    """

    def __init__(self, url: str, *, silence: float = math.inf) -> None:
        self.url = _parsed(url)
        self.kind = self.url.get_backend_name()
        """`sqlite` or `postgresql`."""
        self.tables: Tables = tables(self.kind)
        self.engine: Engine = _ENGINES[self.kind](self.url, silence)
        self._writing = self.engine.execution_options(immediate=True)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Begin a transaction that writes, and commit it at the end.

        SQLite waits for its turn here: one that reads first and then writes is refused where another
        process has written in between.
        """
        with self._writing.begin() as connection:
            yield connection

    @property
    def path(self) -> Path | None:
        """The file, where it is one."""
        return Path(self.url.database or "") if self.kind == "sqlite" else None

    def __str__(self) -> str:
        """Say which it is, without password and query."""
        if self.path is not None:
            return str(self.path)
        return self.url.set(query={}, drivername=self.kind).render_as_string(hide_password=True)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def open_database(url: str, *, create: bool, silence: float = math.inf) -> Database:
    """Open a ledger; with `create`, make it where it is not there, and migrate one of an earlier version.

    A server that says nothing for `silence` seconds is given up, then and later.

    Raises `LedgerError` where it cannot be had, has another version, or, without `create`, is not there;
    `LedgerDeniedError` where permissions forbid it.
    """
    database = Database(url, silence=silence)
    try:
        _found(database, create=create)
        version = _version(database)
        if version != HEAD:
            _settle(database, version, create=create)
    except (OSError, errors.SQLAlchemyError) as error:
        database.close()
        raise _refusal(database, error) from None
    except BaseException:
        database.close()
        raise
    return database


# --- which database ---


def _parsed(url: str) -> URL:
    if url.startswith(_SQLITE):
        path = url.removeprefix(_SQLITE)
        if not path or path.startswith(":memory:"):
            raise LedgerUrlError(f"got a ledger without a file, {_EXPECTED}")
        return URL.create("sqlite", database=path)  # as it is: a path may have a ? in it
    try:
        parsed = make_url(url)
    except (errors.ArgumentError, ValueError):
        raise LedgerUrlError(f"got a ledger's URL that cannot be read, {_EXPECTED}") from None
    if parsed.drivername not in _POSTGRESQL:
        raise LedgerUrlError(f"got a ledger's URL of another kind, {_EXPECTED}")
    if "@" in (parsed.host or ""):  # half of a password stands where the host would, and would be told
        raise LedgerUrlError("got a ledger's URL with more than one @, expected %40 for each in a password")
    return parsed.set(drivername="postgresql+psycopg")


def _sqlite(url: URL, _silence: float) -> Engine:
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": _BUSY_SECONDS})
    path = Path(url.database or "").absolute()

    @event.listens_for(engine, "do_connect")
    def _open(dialect: Any, record: Any, _args: object, options: dict[str, Any]) -> Any:
        record.info["file"] = _identity(path)
        # A file is made by `_make` alone, for nobody else to read.
        return dialect.connect(f"{path.as_uri()}?mode=rw", **options, uri=True)

    @event.listens_for(engine, "checkout")
    def _look(_connection: object, record: Any, _proxy: object) -> None:
        # SQLite would go on with a file that was removed, and all that is written would go with it.
        if record.info["file"] != _identity(path):
            raise errors.InvalidatePoolError

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin below, not where the driver sees fit
        connection.execute("PRAGMA synchronous=NORMAL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _identity(path: Path) -> tuple[int, int] | None:
    """Tell which file has this name now, None for none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _postgresql(url: URL, silence: float) -> Engine:
    patience = {name: value for name, value in _PATIENCE.items() if name not in url.query}
    engine = create_engine(url, hide_parameters=True, connect_args=patience, pool_pre_ping=True, pool_size=2)

    @event.listens_for(engine, "do_connect")
    def _open(_dialect: object, _record: object, _args: object, options: dict[str, Any]) -> Any:
        from meter.ledger.silence import connect  # noqa: PLC0415 - the driver, which SQLite does not need

        return connect(silence, options)

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: object) -> None:
        # Not by `options`, which poolers between here and the server refuse.
        connection.execute("SET TIME ZONE 'UTC'")
        connection.commit()

    return engine


_ENGINES = {"sqlite": _sqlite, "postgresql": _postgresql}


def _found(database: Database, *, create: bool) -> None:
    path = database.path
    if path is None:
        return
    if create:
        _make(path)
        _settle_file(database)
    elif not path.exists():
        raise LedgerAbsentError(f"{database}: there is no ledger")
    _check(path, os.R_OK)


def _make(path: Path) -> None:
    for folder in reversed(path.parents):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
    if not path.exists():
        with suppress(FileExistsError):  # somebody else was faster
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    _check(path, os.R_OK | os.W_OK)


def _check(path: Path, access: int) -> None:
    """Raise what opening the file would raise; of what SQLite raises nobody can tell what it is.

    Without opening it: to close a file is to lose all locks on it, those of other connections too.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not os.access(path, access, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _settle_file(database: Database) -> None:
    """Let readers and one writer not wait for each other, and let the file become smaller again."""
    with database.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None  # noqa: S101 - the connection is open
        if driver.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            driver.execute("PRAGMA auto_vacuum=INCREMENTAL")
            driver.execute("PRAGMA journal_mode=WAL")


# --- which version ---


def _version(database: Database) -> str | None:
    with database.engine.connect() as connection:
        return _version_at(connection)


def _version_at(connection: Connection) -> str | None:
    """Return the version of the tables, None where there are none."""
    try:
        with connection.begin_nested() if connection.in_transaction() else connection.begin():
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except (errors.OperationalError, errors.ProgrammingError) as error:
        if _has_no_table(error):
            return None
        raise


def _has_no_table(error: errors.DBAPIError) -> bool:
    undefined_table = "42P01"
    return getattr(error.orig, "sqlstate", None) == undefined_table or "no such table" in str(error.orig)


def _settle(database: Database, version: str | None, *, create: bool) -> None:
    """Migrate to this version, or say why not."""
    if create:
        _migrate(database)
    elif version is None:
        raise LedgerAbsentError(f"{database}: there is no ledger in this database")
    elif version > HEAD:
        raise LedgerError(_newer(database, version))
    else:
        raise LedgerError(
            f"{database}: the ledger has version {version}, expected {HEAD}; `meter serve` migrates it"
        )


def _newer(database: Database, version: str) -> str:
    return f"{database}: the ledger has version {version}, which is newer than {HEAD} of this Meter"


def _migrate(database: Database) -> None:
    with database.writing() as connection:
        if database.kind == "postgresql":
            connection.execute(select(text(f"pg_advisory_xact_lock({_MIGRATING})")))
        version = _version_at(connection)  # somebody else may have been here first
        if version is not None and version > HEAD:
            raise LedgerError(_newer(database, version))
        if version is None:
            _make_tables(connection, database.tables)
        elif version != HEAD and not _upgraded(connection):
            raise LedgerError(f"{database}: the ledger has version {version}, which this Meter does not know")


def _make_tables(connection: Connection, made: Tables) -> None:
    """Make what all steps together make; raises where something is there by one of these names."""
    made.metadata.create_all(connection, checkfirst=False)
    version = Table("alembic_version", MetaData(), Column("version_num", String(32), nullable=False))
    version.append_constraint(PrimaryKeyConstraint("version_num", name="alembic_version_pkc"))
    version.create(connection)
    connection.execute(version.insert(), {"version_num": HEAD})


def _upgraded(connection: Connection) -> bool:
    """Take all steps to this version; tell whether there were any from where the database is."""
    from alembic.config import Config  # noqa: PLC0415 - slow, and needed once in a ledger's life
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    scripts = ScriptDirectory(Path(__file__).parent / "migrations")

    def steps(version: Any, _context: object) -> Any:
        return scripts._upgrade_revs("head", version)  # noqa: SLF001 - as Alembic's own command does

    with EnvironmentContext(Config(), scripts, fn=steps) as environment:
        environment.configure(connection=connection, transactional_ddl=True)
        try:
            environment.run_migrations()
        except CommandError:
            return False
    return True


# --- what went wrong ---


def _refusal(database: Database, error: Exception) -> LedgerError:
    kind = LedgerDeniedError if _denied(error) else LedgerError
    return kind(f"{database}: {_reason(error, database.url.password)}")


def _denied(error: Exception) -> bool:
    if isinstance(error, OSError):
        return isinstance(error, _DENIED) or error.errno == errno.EROFS
    orig = getattr(error, "orig", None)
    return str(getattr(orig, "sqlite_errorname", "")).startswith(_DENIED_BY_SQLITE)


def _reason(error: Exception, password: object) -> str:
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    told = str(getattr(error, "orig", None) or type(error).__name__).strip().split("\n", 1)[0]
    return told.replace(str(password), "***") if password else told
