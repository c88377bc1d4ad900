"""Who owns the database: opens it, commits what it is offered, and mends what went wrong, in a thread.

What the database does not take at once goes to the spill, and comes back from there in the time between.
After a failure the database is left alone for a while, longer each time. A row may come twice, for whoever
offered it could not wait: it has an id, and counts once. A row that no database would take is dropped alone.
"""

from __future__ import annotations

import math
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import delete, exc, select

from meter.ledger.database import Database, LedgerDeniedError, LedgerError, add, open_database
from meter.ledger.days import DAY, day_of, fold, unfolded
from meter.ledger.schema import exchange_of
from meter.ledger.spill import Spill

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from meter.exchange import Exchange
    from meter.ledger.schema import Row, Tables

__all__ = ["Entry", "Plan", "Writer"]

_BATCH = 1_000
"""Rows of one transaction."""

_PATIENCE_SECONDS = 0.3
"""What the database has not taken by then is spilled. Who comes meanwhile waits so long twice."""

_SILENCE_SECONDS = 30.0
"""A server that says nothing for so long is asked anew, by another connection."""

_FIRST_DELAY_SECONDS, _LAST_DELAY_SECONDS = 0.1, 5.0
"""After a failure, and after many in a row, the database is left alone for so long."""

_ADOPT_SECONDS = 60.0
_RETAIN_SECONDS = _FOLD_SECONDS = 3600.0
_WHERE = ("host", "hostaddr", "port", "dbname", "service", "options")
"""What a PostgreSQL URL may say after a ? about which database it is, and which schema."""

_SLICE, _SLICE_SECONDS = 10_000, 0.2
"""Old rows are deleted so many at a time, with a pause for others to write in."""

_FREED_PAGES = 2_000
"""Pages that SQLite gives back to the file system with each slice."""

_ROW_ERRORS = (
    exc.DataError,
    exc.IntegrityError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
"""What a row that cannot be stored is refused with; anything else is the database's trouble."""


class Entry(NamedTuple):
    """An exchange and its row."""

    row: Row
    exchange: Exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a writer is to do; as `meter.sinks.ledger.LedgerSink` says."""

    url: str
    retention: float
    rollups: bool
    spill: Path | None
    on_drop: Callable[[], None]
    on_error: Callable[[BaseException], None]
    on_kept: Callable[[Sequence[Exchange]], None] | None = None
    between: tuple[float, Callable[[Connection, Tables], None]] | None = None
    on_denied: Callable[[], None] | None = None
    """What to do where permissions forbid the ledger; None: to try again."""


@dataclass(slots=True)
class _Offer:
    entries: Sequence[Entry]
    kept: bool = False
    done: Event = field(default_factory=Event)


@dataclass(slots=True)
class _Duty:
    """What is done now and then; `work` gives the seconds until the next time."""

    work: Callable[[Database], float]
    due: float = -math.inf


class Writer:
    """Writes what it is offered by one other thread, until that closes it."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._offers: deque[_Offer] = deque()
        """The one that is waited for, if any."""
        self._turn = Event()
        """There may be something to do."""
        self._stop = Event()
        self._until = math.inf
        self._failing = False
        self._database: Database | None = None
        self._used = False
        """It could be opened before."""
        self._spill: Spill | None = None
        self._duties: list[_Duty] = []
        if plan.between is not None:
            self._duties.append(_Duty(self._between))
        if math.isfinite(plan.retention):
            self._duties.append(_Duty(self._retain))
        if plan.rollups:
            self._duties.append(_Duty(self._fold))
        if plan.spill is not None:
            self._spill = Spill(plan.spill, _name(plan.url))
            self._duties.append(_Duty(self._adopt))
        self._thread = Thread(target=self._run, name="meter-ledger-writer", daemon=True)
        self._thread.start()

    # For the thread that offers.

    def taken(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Bring entries into the database or the spill; return those for which there is room in neither."""
        until = time.monotonic() + _PATIENCE_SECONDS
        for start in range(0, len(entries), _BATCH):
            if not self._committed(entries[start : start + _BATCH], until):
                return self._spilled(entries[start:])
        return ()

    def lost(self, error: Exception) -> None:
        """Tell of a row that cannot be stored."""
        self._tell(error)
        self._plan.on_drop()

    def close(self, until: float) -> None:
        """Write what was spilled, until a moment on the monotonic clock, and end."""
        self._until = until
        self._stop.set()
        self._turn.set()
        self._thread.join(max(0.0, until - time.monotonic()) + _PATIENCE_SECONDS)

    def _committed(self, entries: Sequence[Entry], until: float) -> bool:
        if self._failing:
            return False
        offer = _Offer(entries)
        self._offers.append(offer)
        self._turn.set()
        if not offer.done.wait(max(0.0, until - time.monotonic())):
            self._offers.clear()  # it may be with the database now, and is written once all the same
        return offer.kept

    def _spilled(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        if self._spill is None:
            return entries
        try:
            kept = self._spill.put(entry.row.columns for entry in entries)
        except OSError as error:
            self._tell(error)
            return entries
        self._turn.set()
        return entries[kept:]

    # The thread.

    def _run(self) -> None:
        delay = _FIRST_DELAY_SECONDS
        while not self._ended():
            try:
                self._work()
                delay = _FIRST_DELAY_SECONDS
            except Exception as error:  # noqa: BLE001 - whatever it is, it may be gone the next time
                self._tell(error)
                if isinstance(error, LedgerDeniedError) and self._plan.on_denied and not self._used:
                    self._plan.on_denied()
                    break
                self._let_go()
                self._rest(delay)
                delay = min(2 * delay, _LAST_DELAY_SECONDS)
        if self._spill is not None:
            self._spill.close()
        self._let_go()

    def _ended(self) -> bool:
        """Tell whether it is time to end: all is written, or there is no use or no time to go on."""
        if not self._stop.is_set():
            return False
        spilled = self._spill is not None and self._spill.pending
        return self._failing or not spilled or self._database is None or time.monotonic() >= self._until

    def _rest(self, delay: float) -> None:
        self._failing = True
        with suppress(IndexError):
            self._offers.popleft().done.set()
        if not self._stop.wait(delay):
            self._failing = False

    def _work(self) -> None:
        """Do what is due, or wait for something to do; raises what the database raises."""
        database = self._opened()
        now = time.monotonic()
        for duty in self._duties:
            if duty.due <= now:
                duty.due = now + self._performed(duty, database)
                database = self._opened()
        if not (self._write_offered(database) or self._write_spilled(database)):
            next_due = min((duty.due for duty in self._duties), default=math.inf)
            self._turn.wait(max(0.0, next_due - time.monotonic()) if math.isfinite(next_due) else None)
            self._turn.clear()

    def _opened(self) -> Database:
        if self._database is None:
            url = self._plan.url
            self._database = open_database(url, create=True, silence=_SILENCE_SECONDS)
            self._used = True
        return self._database

    def _let_go(self) -> None:
        """Close the database: it may have been moved, restored or emptied, and is looked at anew."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _write_offered(self, database: Database) -> bool:
        try:
            offer = self._offers.popleft()
        except IndexError:
            return False
        try:
            self._commit(database, [entry.row for entry in offer.entries])
            offer.kept = True
        finally:
            offer.done.set()
        self._kept([entry.exchange for entry in offer.entries])
        return True

    def _write_spilled(self, database: Database) -> bool:
        part = self._spill.take(_BATCH) if self._spill is not None else None
        if self._spill is None or part is None:
            return False
        columns = database.tables.exchanges.columns.keys()
        # Another version of Meter may have written it.
        rows = [{name: row.get(name) for name in columns} for row in part.rows]
        self._commit(database, rows)
        self._spill.done(part)
        for _ in range(part.broken):
            self.lost(ValueError())
        self._kept([exchange for row in rows if (exchange := _exchange(row)) is not None])
        return True

    def _commit(self, database: Database, rows: Sequence[Row | dict[str, Any]]) -> None:
        try:
            self._add(database, rows)
        except Exception as error:
            if not _about_rows(error):
                raise
            for row in rows:
                self._add_alone(database, row)

    def _add_alone(self, database: Database, row: Row | dict[str, Any]) -> None:
        try:
            self._add(database, [row])
        except Exception as error:
            if not _about_rows(error):
                raise
            self.lost(error)

    def _add(self, database: Database, rows: Sequence[Row | dict[str, Any]]) -> None:
        with database.writing() as connection:
            add(connection, database.tables, rows, rollups=self._plan.rollups)

    def _kept(self, exchanges: Sequence[Exchange]) -> None:
        if self._plan.on_kept is not None:
            try:
                self._plan.on_kept(exchanges)
            except Exception as error:  # noqa: BLE001 - it is the listener's trouble, not the database's
                self._tell(error)

    # What is done now and then.

    def _performed(self, duty: _Duty, database: Database) -> float:
        try:
            return duty.work(database)
        except Exception as error:  # noqa: BLE001 - rows do not wait for it
            self._tell(error)
            self._let_go()
            return _LAST_DELAY_SECONDS

    def _between(self, database: Database) -> float:
        seconds, work = self._plan.between or (math.inf, lambda *_: None)
        with database.engine.connect() as connection:
            work(connection, database.tables)
        return seconds

    def _adopt(self, _database: Database) -> float:
        if self._spill is not None:
            self._spill.adopt()
        return _ADOPT_SECONDS

    def _retain(self, database: Database) -> float:
        exchanges = database.tables.exchanges
        before = datetime.now(UTC) - timedelta(seconds=self._plan.retention)
        old = select(exchanges.c.id).where(exchanges.c.timestamp < before).order_by(exchanges.c.timestamp)
        # Another process may be at it too: PostgreSQL lets each take what the other has not.
        old = old.limit(_SLICE).with_for_update(skip_locked=True)
        with database.writing() as connection:
            deleted = connection.execute(delete(exchanges).where(exchanges.c.id.in_(old))).rowcount
        if deleted and database.kind == "sqlite":
            with database.engine.connect() as connection:
                driver: Any = connection.connection.driver_connection
                # A page for each step, and of all that the driver has only this takes every step.
                driver.executescript(f"PRAGMA incremental_vacuum({_FREED_PAGES})")
        return _SLICE_SECONDS if deleted == _SLICE else _RETAIN_SECONDS

    def _fold(self, database: Database) -> float:
        """Add up one day that is over."""
        day, today = None, day_of(datetime.now(UTC))
        while (day := unfolded(database, day, today)) is not None:
            if fold(database, day):
                return _SLICE_SECONDS
            day += DAY
        return _FOLD_SECONDS

    def _tell(self, error: Exception) -> None:
        with suppress(Exception):
            self._plan.on_error(_bare(error))


def _name(url: str) -> str:
    """Give what tells one ledger from another in the names of files; a password may change."""
    try:
        database = Database(url)
    except Exception:  # noqa: BLE001 - whoever opens it will tell
        return ""
    if database.path is not None:
        return str(database.path.absolute())
    where = {name: value for name, value in database.url.query.items() if name in _WHERE}
    return f"{database} {sorted(where.items())}" if where else str(database)


def _exchange(row: dict[str, Any]) -> Exchange | None:
    try:
        return exchange_of(row)
    except _ROW_ERRORS:
        return None


def _about_rows(error: Exception) -> bool:
    # SQLAlchemy wraps what goes wrong while it makes a statement ready.
    cause = error.orig if type(error) is exc.StatementError else error
    return isinstance(cause, _ROW_ERRORS)


def _bare(error: Exception) -> BaseException:
    """Give an error of the same class without what it says, which may quote a row or a statement."""
    if isinstance(error, LedgerError):
        return error
    kind = type(getattr(error, "orig", None) or error)
    try:
        return kind()
    except TypeError:
        return LedgerError(kind.__name__)
