"""The benchmark: `python -m bench [--quick] [--only json,sse] [--proxy meter,nginx] ...`.

All proxies run at once, each pinned to the same CPU and measured in turn, round after round, before one
simulated upstream; the load and the upstream run on the others.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import deque
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench import growth
from bench.load import Load
from bench.phases import phases
from bench.processes import CPUS, FailedError, Stage, ending_in_order, room_for_files
from bench.proxies import PROXIES, start, versions
from bench.report import goals, machine, missed, tables
from bench.scenarios import COSTS, PLAIN, Run, costs, idle_streams, images, peaks, starts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

RESULTS = Path(__file__).parent / "RESULTS.md"
ROUNDS = 3
QUICK = 0.1
"""Of each load, so much is borne in a quick run."""

IN_TURN: dict[str, Callable[[Run], None]] = {
    **{name: partial(costs, name=name) for name in COSTS},
    "image": images,
}
"""Scenarios in which proxies that run all the time are measured in turn."""

AFRESH: dict[str, Callable[[Run, list[str]], None]] = {"image": peaks, "idle": idle_streams}
"""Scenarios for which each proxy is started anew."""

ALONE: dict[str, Callable[[Run], None]] = {**growth.GROWTH, "phases": phases}
"""Scenarios that are about Meter alone."""

SCENARIOS = ("start", *IN_TURN, "idle", *ALONE)


def measured(stage: Stage, wanted: Sequence[str], names: list[str], rounds: int, share: float) -> Run:
    """Measure what is wanted of the proxies of these names."""
    run = Run(stage, deque(), rounds, share, room_for_files())
    for _ in range(rounds if "start" in wanted else 0):
        starts(run, names)
    in_turn(run, [measure for name, measure in IN_TURN.items() if name in wanted], names)
    for name, measure in AFRESH.items():
        if name in wanted:
            print(name, file=sys.stderr)
            measure(run, names)
    for name, alone in ALONE.items():
        if name in wanted and "meter" in names:
            print(name, file=sys.stderr)
            alone(run)
    return run


def in_turn(run: Run, scenarios: list[Callable[[Run], None]], names: list[str]) -> None:
    """Measure proxies side by side, round after round."""
    if not scenarios:
        return
    with ExitStack() as stack:
        run.servers.extend(start(run.stage, name, until=stack) for name in names)
        run.servers.append(run.stage.direct())
        _warm_up(run)
        for number in range(run.rounds):
            for measure in scenarios:
                measure(run)
            print(f"round {number + 1} of {run.rounds}", file=sys.stderr)
        if lost := sum(server.lost() for server in run.servers):
            run.figures.notes.append(f"sinks lost {lost:.0f} of what happened: figures of Meter are too good")


def _warm_up(run: Run) -> None:
    """Let each proxy do once what it may be measured at."""
    for server in run.turn():
        for kind in ("json", "sse", "embeddings", "image") if server.verbatim else PLAIN:
            run.stage.bear(server, run.sized(Load(kind, 24, 4, events=40, pause_ms=4), server))


def report(run: Run, names: list[str], seconds: float) -> str:
    """Return all that was found, as a page."""
    notes = [f"- {note}" for note in run.figures.notes]
    parts = [
        "# What it costs to pass through Meter, and through others",
        "Written by `make bench`; [README.md](README.md) tells what is measured.",
        machine(versions(names), run.rounds) + f" It took {seconds:.0f} s.",
        goals(run.figures),
        *filter(None, [missed(run.figures)]),
        *(["\n".join(notes)] if notes else []),
        tables(run.figures),
    ]
    return "\n\n".join(parts) + "\n"


def wanted_of(told: str | None, known: Collection[str], what: str) -> list[str]:
    """Return the names that an option tells, all that are known where it is not given."""
    names = [name for name in known if name in told.split(",")] if told else list(known)
    unknown = set((told or "").split(",")) - {"", *known}
    if unknown:
        sys.exit(f"got {what} {', '.join(sorted(unknown))}, expected some of {', '.join(known)}")
    return names


def main() -> None:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="compare Meter with other proxies")
    parser.add_argument("--quick", action="store_true", help="one short round, to see that all works")
    parser.add_argument("--only", metavar="SCENARIO,...", help=", ".join(SCENARIOS))
    parser.add_argument("--proxy", metavar="NAME,...", help=", ".join(PROXIES))
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how often each is measured ({ROUNDS})")
    parser.add_argument(
        "--write", type=Path, help="where to write the results (RESULTS.md, if all was measured)"
    )
    args = parser.parse_args()
    if not Path("/proc/self/stat").exists():
        sys.exit("CPU time is read from the kernel: this needs Linux")
    ending_in_order()
    os.sched_setaffinity(0, CPUS[:-1] or CPUS)
    wanted, asked = wanted_of(args.only, SCENARIOS, "scenario"), wanted_of(args.proxy, PROXIES, "proxy")
    names = [name for name in asked if PROXIES[name].path]
    missing = [
        f"{name} is not installed; get it with: {PROXIES[name].get}" for name in asked if name not in names
    ]
    began = time.monotonic()
    rounds, share = (1, QUICK) if args.quick else (args.rounds, 1.0)
    try:
        with ExitStack() as stack:
            run = measured(Stage(stack), wanted, names, rounds, share)
    except FailedError as error:
        sys.exit(str(error))
    run.figures.notes += missing + ([] if len(CPUS) > 1 else ["one CPU for all: figures are rough"])
    text = report(run, names, time.monotonic() - began)
    print(text)
    everything = not (args.quick or args.only or args.proxy)
    if file := args.write or (RESULTS if everything else None):
        file.write_text(text)


if __name__ == "__main__":
    main()
