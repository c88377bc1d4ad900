"""What of Meter grows with what: each function measures one thing at some sizes, in turn, for some rounds.

Of what is well made the cost does not depend on the size: events of an answer, streams at once, series of
`/metrics`, rows of the ledger, workers.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from bench.load import Load
from bench.processes import StartError
from bench.proxies import start
from bench.scenarios import COSTS, cpu_us, fresh, held_up_ms

if TYPE_CHECKING:
    from pathlib import Path

    from bench.processes import Server
    from bench.scenarios import Run

__all__ = ["GROWTH"]

ROWS = 200_000
WATCHED_S = 3.0
SCRAPES = 6
KEYS = 200
_WRONG = 2
"""The exit code where what is told is not possible."""


def events(run: Run) -> None:
    """Measure an event of short answers and of long ones."""
    # As many events each, and of the longest answer one whole.
    sizes = {size: max(1, round(100_000 / size * run.share)) for size in (100, 1000, 100_000)}
    with fresh(run, "meter") as meter:
        run.stage.bear(meter, Load("sse", 20, 1, events=100, pause_ms=0))
        for _ in range(run.rounds):
            for size, exchanges in sizes.items():
                spent_us, _found = cpu_us(
                    run, meter, Load("sse", exchanges, 1, events=size, pause_ms=0), "events"
                )
                run.figures.add("growth.event_us", f"{size:,} events", spent_us)


def streams(run: Run) -> None:
    """Measure an event among few streams and among many, of as many events a second in all."""
    sizes = {50: 5.0, 200: 20.0, 800: 80.0}
    with fresh(run, "meter") as meter:
        run.stage.bear(meter, Load("sse", 50, 50, events=5))
        for _ in range(run.rounds):
            for size, pause_ms in sizes.items():
                load = Load("sse", size, size, events=5000, pause_ms=pause_ms, spread_s=0.5, held=True)
                with run.stage.holding(meter, load) as held:
                    time.sleep(0.3)
                    began, before = time.monotonic(), meter.cpu_s()
                    time.sleep(WATCHED_S * run.share)
                    a_second = (meter.cpu_s() - before) / (time.monotonic() - began)
                rate = held.found["events"] / held.found["seconds"]
                run.figures.add("growth.stream_us", f"{size} streams", 1e6 * a_second / rate)


def series(run: Run) -> None:
    """Measure an exchange among few series and among many, and whom a scrape of many holds up."""
    json, most = COSTS["json"].load, max(20, round(KEYS * run.share))
    with fresh(run, "meter") as few, fresh(run, "meter") as many:
        for meter, keys in ((few, 1), (many, most)):
            for kind in ("json", "sse", "embeddings"):
                run.stage.bear(meter, Load(kind, 2 * keys, 2, events=5, pause_ms=0, keys=keys))
        sizes = {_series(few): few, _series(many): many}
        for _ in range(run.rounds):
            for name, meter in sizes.items():
                spent_us, _found = cpu_us(run, meter, run.sized(json, meter), "exchanges")
                run.figures.add("growth.series_us", name, spent_us)
                scrape = held_up_ms(run, meter, partial(_scrapes, meter))
                run.figures.add("scrape.late_ms", name, scrape)
            quiet = held_up_ms(run, many, partial(time.sleep, 2.0))
            run.figures.add("scrape.late_ms", "no scrape", quiet)
            began, before = time.monotonic(), many.cpu_s()
            many.scrape()
            run.figures.add("scrape.ms", "meter", 1000 * (time.monotonic() - began))
            run.figures.add("scrape.cpu_ms", "meter", 1000 * (many.cpu_s() - before))


def _series(meter: Server) -> str:
    count = sum(not line.startswith(b"#") for line in meter.scrape().splitlines())
    return f"{count:,} series"


def _scrapes(meter: Server) -> None:
    for _ in range(SCRAPES):
        meter.scrape()
        time.sleep(0.2)


def rows(run: Run) -> None:
    """Measure an exchange before a ledger with no row, and before one with many."""
    count = round(ROWS * run.share)
    with fresh(run, "meter") as meter:
        run.stage.bear(meter, Load("json", 10, 1))
        time.sleep(2.0)
    _multiply(meter.folder / "ledger.db", count)
    with ExitStack() as stack:
        full = start(run.stage, "meter", until=stack, folder=meter.folder)
        empty = start(run.stage, "meter", until=stack)
        for each in (full, empty):
            run.stage.bear(each, Load("json", 500, 16))
        for _ in range(run.rounds):
            for name, each in (("no rows", empty), (f"{count:,} rows", full)):
                spent_us, _found = cpu_us(run, each, run.sized(COSTS["json"].load, each), "exchanges")
                run.figures.add("growth.row_us", name, spent_us)


def _multiply(file: Path, count: int) -> None:
    """Copy a ledger's rows until there are so many."""
    ledger = sqlite3.connect(file)
    try:
        columns = [row[1] for row in ledger.execute("PRAGMA table_info(exchanges)")]
        names = ", ".join(f'"{name}"' for name in columns)
        drawn = "substr(id, 1, 24) || lower(hex(randomblob(6)))"
        copied = ", ".join(drawn if name == "id" else f'"{name}"' for name in columns)
        (there,) = ledger.execute("SELECT count(*) FROM exchanges").fetchone()
        times = "WITH RECURSIVE times(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM times WHERE n < ?)"
        ledger.execute(
            f"{times} INSERT INTO exchanges ({names}) SELECT {copied} FROM exchanges, times",  # noqa: S608 - a ledger of our own
            (max(1, count // there),),
        )
        ledger.commit()
    finally:
        ledger.close()


def workers(run: Run) -> None:
    """Measure two workers on the CPU of one, and how they share the work."""
    try:
        with fresh(run, "meter", "--workers", "2") as two, fresh(run, "meter") as one:
            _compare(run, {"1 worker": one, "2 workers": two})
    except StartError as error:
        if error.code != _WRONG:
            raise
        run.figures.notes.append(f"two workers: not measured; {error.said}")


def _compare(run: Run, told: dict[str, Server]) -> None:
    for server in told.values():
        run.stage.bear(server, Load("json", 300, 16))
    for _ in range(run.rounds):
        for scenario in ("json", "sse"):
            cost = COSTS[scenario]
            load = run.sized(cost.load, told["1 worker"])
            half = replace(load, exchanges=load.exchanges // 2, connections=load.connections // 2)
            for name, server in told.items():
                before = server.cpu_by_pid()
                spent_us, _found = cpu_us(run, server, load, cost.per)
                run.figures.add(f"workers.{scenario}_us", name, spent_us)
                shares = [spent - before.get(pid, 0.0) for pid, spent in server.cpu_by_pid().items()]
                run.figures.add(f"workers.{scenario}_most", name, 100 * max(shares) / sum(shares))
            # As each of two has it: the less there is to do at once, the more each thing takes.
            spent_us, _found = cpu_us(run, told["1 worker"], half, cost.per)
            run.figures.add(f"workers.{scenario}_us", "1 worker, half the load", spent_us)


GROWTH = {"events": events, "streams": streams, "series": series, "rows": rows, "workers": workers}
