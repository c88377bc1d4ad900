"""What is measured of the proxies side by side: each function takes one round's figures of all of them.

CPU time is read some time after the last answer, so that what waits in memory for the ledger and the log is
paid for, too. A proxy is late by as much as a stream of its is held up: by the longest gap between two of its
events that come every 2 ms.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from bench.dialogue import IMAGE_BYTES
from bench.figures import Figures
from bench.load import Load
from bench.proxies import PROXIES, start
from bench.upstream import EVENTS, PAUSE_MS

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterator, Mapping

    from bench.processes import Server, Stage

__all__ = ["COSTS", "PLAIN", "Run", "cpu_us", "held_up_ms", "idle_streams", "images", "peaks", "starts"]

SETTLE_S, QUICK_SETTLE_S, IDLE_S = 1.2, 0.3, 0.05
"""The ledger is written about once a second; others have nothing that they do later."""
QUICK = 0.25
"""How much of its time a paced load takes in a quick run."""
PROBE_MS = 2.0
KIB, MIB = 1 << 10, 1 << 20
STREAMS = 5000
FILES_ASIDE = 600
"""Open files of a proxy that are no streams: a proxy has two files a stream."""
WARM_UP = Load("sse", 50, 10, events=5, pause_ms=0)
PLAIN = ("json", "sse")
"""What a proxy is asked for that words its answers anew, and whose requests are all of one kind."""


@dataclass
class Run:
    """One run of the benchmark."""

    stage: Stage
    servers: deque[Server]
    rounds: int
    share: float = 1.0
    """Of all loads, so much is borne."""
    files: int = 1024
    """So many may be open in one process."""
    figures: Figures = field(default_factory=Figures)

    def turn(self) -> list[Server]:
        """Return the proxies, each time with another one first."""
        self.servers.rotate(-1)
        return list(self.servers)

    @property
    def settle_s(self) -> float:
        """For how long Meter is waited for after an answer."""
        return SETTLE_S if self.share == 1 else QUICK_SETTLE_S

    def sized(self, load: Load, server: Server) -> Load:
        """Return a load as it comes to a proxy."""
        exchanges = max(1, round(load.exchanges * self.share * server.share))
        connections = max(1, round(load.connections * server.share))
        if not server.verbatim:  # nor do fields of requests get through
            load = replace(load, events=EVENTS, pause_ms=PAUSE_MS)
        elif load.kind == "sse" and load.pause_ms and self.share < 1:
            load = replace(load, events=round(load.events * QUICK), spread_s=load.spread_s * QUICK)
        return replace(
            load,
            exchanges=max(exchanges, connections),
            connections=connections,
            verbatim=server.verbatim,
        )


@dataclass(frozen=True)
class Cost:
    """A load, and what CPU time is divided by."""

    load: Load
    per: str
    only: tuple[str, ...] = ()


COSTS: Mapping[str, Cost] = {
    "json": Cost(Load("json", 6000, 16), "exchanges"),
    "sse": Cost(Load("sse", 400, 200, spread_s=2.0), "events"),
    "asked": Cost(Load("sse", 400, 200, spread_s=2.0, asks=True), "events", ("meter", "nginx")),
    "flat": Cost(Load("sse", 4, 1, events=20_000, pause_ms=0), "events"),
    "embeddings": Cost(Load("embeddings", 100, 4), "exchanges"),
}


def cpu_us(run: Run, server: Server, load: Load, per: str) -> tuple[float, dict[str, float]]:
    """Return the microseconds of CPU time that a load took, per unit, and what it counted."""
    before = server.cpu_s()
    found = run.stage.bear(server, load)
    time.sleep(run.settle_s if server.admin_port else IDLE_S)
    return 1e6 * (server.cpu_s() - before) / found[per], found


def costs(run: Run, name: str) -> None:
    """Measure CPU time under one load, and how soon answers begin."""
    cost = COSTS[name]
    for server in run.turn():
        if (cost.only and server.name not in cost.only) or (name not in PLAIN and not server.verbatim):
            continue
        spent_us, found = cpu_us(run, server, run.sized(cost.load, server), cost.per)
        if server.process is not None:
            run.figures.add(f"{name}.cpu_us", server.name, spent_us)
        if cost.load.kind == "sse" and server.share == 1:
            for figure in ("first_p50_ms", "first_p99_ms", "gap_p99_ms"):
                run.figures.add(f"{name}.{figure}", server.name, found[figure])


def images(run: Run) -> None:
    """Measure requests of 8 MB: what they cost, and whom they hold up."""
    one = _images(run)
    for server in run.turn():
        if not server.verbatim:
            continue
        if server.process is not None:
            spent_us, _ = cpu_us(run, server, one, "exchanges")
            run.figures.add("image.cpu_ms", server.name, spent_us / 1000)
        late = held_up_ms(run, server, partial(run.stage.bear, server, one))
        run.figures.add("image.late_ms", server.name, late)


def peaks(run: Run, names: list[str]) -> None:
    """Measure what requests of 8 MB take of memory that was not there before."""
    for name in names:
        if not PROXIES[name].verbatim:
            continue
        with fresh(run, name) as server:
            run.stage.bear(server, WARM_UP)
            server.forget_peak()
            before = server.memory("Rss")
            run.stage.bear(server, _images(run))
            run.figures.add("image.peak", name, (server.memory("VmHWM") - before) / IMAGE_BYTES)


def _images(run: Run) -> Load:
    return Load("image", max(3, round(8 * run.share)), 1, rest_s=0.05)


def held_up_ms(run: Run, server: Server, meanwhile: Callable[[], object]) -> float:
    """Return for how long a stream was held up while something else went on."""
    probe = Load("sse", 1, 1, events=30_000, pause_ms=PROBE_MS, held=True)
    with run.stage.holding(server, probe) as held:
        meanwhile()
    return held.found["gap_max_ms"] - PROBE_MS


def starts(run: Run, names: list[str]) -> None:
    """Measure the time from start to listening, and memory then."""
    for name in names:
        if PROXIES[name].share < 1 and run.figures.of("start.s", name):
            continue  # it takes long enough once
        with ExitStack() as stack:
            server = start(run.stage, name, until=stack)
            time.sleep(0.3)
            run.figures.add("start.s", name, server.started_s)
            run.figures.add("start.mib", name, server.memory("Rss") / MIB)


def idle_streams(run: Run, names: list[str]) -> None:
    """Measure what open streams take of memory in which nothing happens."""
    streams = round(min(STREAMS, (run.files - FILES_ASIDE) / 2) * run.share)
    if streams < STREAMS * run.share:
        run.figures.notes.append(f"open streams: {streams} instead of {STREAMS}, for want of open files")
    load = Load("sse", streams, streams, events=2, pause_ms=3.6e6, spread_s=streams / 2500, held=True)
    for name in names:
        if not PROXIES[name].verbatim:
            continue
        with fresh(run, name) as server:
            run.stage.bear(server, WARM_UP)
            time.sleep(0.2)
            before = server.own_memory()
            with run.stage.holding(server, load):
                time.sleep(0.5)
                run.figures.add("idle.kib", name, (server.own_memory() - before) / streams / KIB)


@contextmanager
def fresh(run: Run, name: str, *more: str) -> Iterator[Server]:
    """Give a proxy that nobody has asked for anything yet."""
    with ExitStack() as stack:
        yield start(run.stage, name, *more, until=stack)
