"""What each of Meter's signals costs: `python -m bench.signals`, CPU time beside a proxy that meters nothing.

All run at once, each in a process of its own, and are measured in turn, round after round. A ratio is to the
bare proxy in the same round. Every exchange is traced; what is lost on the way costs less, and is told.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from bench.figures import median, spread
from bench.load import Load
from bench.processes import CPUS, Stage, ending_in_order, free_ports, python
from bench.proxies import start, versions
from bench.report import machine, table
from bench.scenarios import Cost, Run, cpu_us

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.figures import Figures
    from bench.processes import Server

RESULTS = Path(__file__).parent / "RESULTS-signals.md"
ROUNDS = 3
COSTS = {
    "json": Cost(Load("json", 2500, 16), "exchanges"),
    "sse": Cost(Load("sse", 200, 200), "events"),
}
QUIET = {"METER_LOG__LEVEL": "error", "METER_LEDGER__URL": "off"}
HEADING = (
    "# CPU time by signal\n\nWritten by `make bench-signals`; [README.md](README.md) tells what is measured."
)


def settings(stage: Stage) -> Mapping[str, dict[str, str]]:
    """Return what Meter is told, by what it then does; start what it tells."""
    http, grpc = free_ports(2)
    stage.start("collector", python("bench.collector", http, grpc), (http, grpc), aside=True)
    log, ledger = {"METER_LOG__LEVEL": "info"}, {"METER_LEDGER__URL": ""}  # empty: as the file says
    by_http = {
        "METER_TRACING__ENDPOINT": f"http://127.0.0.1:{http}",
        "OTEL_BSP_MAX_QUEUE_SIZE": "8192",  # flat out, the default has no room for all
    }
    by_grpc = {
        **by_http,
        "METER_TRACING__ENDPOINT": f"http://127.0.0.1:{grpc}",
        "METER_TRACING__PROTOCOL": "grpc",
    }
    return {
        "metrics": {},
        "metrics + log": log,
        "metrics + ledger": ledger,
        "metrics + traces, HTTP": by_http,
        "metrics + traces, gRPC": by_grpc,
        "all, traces by HTTP": {**log, **ledger, **by_http},
    }


def servers(stage: Stage) -> list[Server]:
    """Start all that are measured."""
    meters = [
        replace(start(stage, "meter", environ={**QUIET, **told}), name=name)
        for name, told in settings(stage).items()
    ]
    return [start(stage, "bare"), *meters]


def measured(run: Run) -> None:
    """Measure all in turn, for some rounds."""
    for server in run.servers:
        for load in (Load("json", 300, 16), Load("sse", 20, 20)):
            run.stage.bear(server, load)
    for number in range(run.rounds):
        for kind, cost in COSTS.items():
            for server in run.turn():
                spent_us, _found = cpu_us(run, server, cost.load, cost.per)
                run.figures.add(kind, server.name, spent_us)
        print(f"round {number + 1} of {run.rounds}", file=sys.stderr)


def told(figures: Figures, kind: str, name: str) -> tuple[str, str, str]:
    """Return the cells of a proxy under one load."""
    ratios = figures.ratios(kind, name, "bare")
    return (
        f"{median(figures.of(kind, name)):.0f}",
        f"{median(ratios):.2f}",
        "" if name == "bare" else spread(ratios, 2),
    )


def results(run: Run) -> str:
    """Return all figures as a table."""
    head = (
        "",
        "µs per JSON exchange",
        "to bare",
        "spread",
        "µs per paced event",
        "to bare",
        "spread",
        "lost",
    )
    lost = {server.name: f"{server.lost():.0f}" for server in run.servers}
    rows = [
        (name, *told(run.figures, "json", name), *told(run.figures, "sse", name), lost[name])
        for name in sorted(lost, key=lambda name: median(run.figures.of("json", name)))
    ]
    return table(head, rows)


def main() -> None:
    """Measure, print, and write down."""
    ending_in_order()
    os.sched_setaffinity(0, CPUS[:-1] or CPUS)
    began = time.monotonic()
    with ExitStack() as stack:
        stage = Stage(stack)
        run = Run(stage, deque(servers(stage)), ROUNDS)
        measured(run)
        text = results(run)
    print(text, f"{time.monotonic() - began:.0f} s", sep="\n\n")
    telling = ", ".join(f"{name} {version(name)}" for name in ("opentelemetry-sdk", "grpcio"))
    what = machine({**versions(["meter"]), "signals": telling}, ROUNDS)
    RESULTS.write_text(f"{HEADING}\n\n{what}\n\n{text}\n")


if __name__ == "__main__":
    main()
