"""Where Meter's CPU time goes: for one JSON exchange and for one event of a stream, by phase.

Samples are taken within the process (`sampler.py`) as it takes CPU time, so that no hook makes small
functions dear, as a tracing profiler's does. A sample counts for the innermost frame whose file the table
below knows; time in C counts for the Python function that called it. Samples give shares, which are
multiplied by CPU time measured without them. What other threads take is by the kernel's clocks.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.proxies import start
from bench.sampler import LOOP
from bench.scenarios import COSTS, cpu_us, fresh

if TYPE_CHECKING:
    from bench.load import Load
    from bench.processes import Server
    from bench.scenarios import Run

__all__ = ["phase_of", "phases"]

SECONDS = 12.0
_ELSEWHERE = "everything else"
_THREADS = "other threads: ledger, log"
_KERNEL = "(of all that, in the kernel)"
_LAST = {_THREADS: 1, _KERNEL: 2}

PHASES = (
    (LOOP, "event loop: reads, writes, timers"),
    ("sinks/prometheus|prometheus_client", "sink: Prometheus"),
    ("sinks/log|meter/outlet|meter/telling|structlog|/logging/", "sink: log line"),
    ("sinks/ledger|meter/ledger|sqlalchemy|sqlite", "sink: ledger"),
    ("sinks/telemetry|opentelemetry", "sink: telemetry"),
    ("meter/(recent|sinks/__init__|budget)", "sinks: the rest"),
    ("meter/(price|pricing|prices/)|genai_prices", "price"),
    ("meter/(recorder|passage|exchange)", "record"),
    ("meter/(tap|sse|members|reckoning|usage|errors|estimate|coding|jsonstream|likeness)", "tap"),
    ("meter/(dialect|lenient|inquiry|asking|abridge|parameters)", "dialects: what is read of JSON"),
    ("meter/intake", "intake: the request's body"),
    (
        "meter/(routing|keys|headers|ids|labels|ratelimits|cost_headers|trace|state|providers)",
        "routing, keys, headers",
    ),
    ("meter/pump", "pump"),
    ("meter/(upstream|dispatch|refusals)|aiohttp/(client|connector)|yarl|httptools", "upstream client"),
    ("meter/(listener|ports|switching)|aiohttp/web", "server"),
    ("meter/proxy", "proxy: the way of one exchange"),
)
"""Files, and the phase that they belong to; a file of Meter's that is not here is a phase of its own."""


def phases(run: Run) -> None:
    """Measure what each phase takes."""
    seconds = max(2.0, SECONDS * run.share)
    found: dict[str, dict[str, float]] = {}
    for name in ("json", "sse"):
        cost = COSTS[name]
        with fresh(run, "meter") as meter:
            _warm(run, meter, cost.load)
            spent_us, _found = cpu_us(run, meter, run.sized(cost.load, meter), cost.per)
        for phase, share in _shares(run, cost.load, seconds).items():
            found.setdefault(phase, {})[f"phases.{name}_us"] = share * spent_us
    for phase in sorted(found, key=lambda phase: (_LAST.get(phase, 0), -sum(found[phase].values()))):
        for figure, value in found[phase].items():
            run.figures.add(figure, phase, value)


def _warm(run: Run, meter: Server, load: Load) -> None:
    run.stage.bear(meter, replace(load, exchanges=300, events=10, pause_ms=1, spread_s=0.1))


def _shares(run: Run, load: Load, seconds: float) -> dict[str, float]:
    """Return the share of each phase, the greatest first."""
    folder = run.stage.fresh("sampled")
    file = folder / "stacks"
    with ExitStack() as stack:
        meter = start(run.stage, "meter", until=stack, folder=folder, instead=("bench.sampler", str(file)))
        _warm(run, meter, load)
        with run.stage.holding(meter, replace(load, exchanges=10**9, held=True)):
            pid = meter.pids()[0]
            os.kill(pid, signal.SIGUSR1)
            before = _spent(pid)
            time.sleep(seconds)
            os.kill(pid, signal.SIGUSR2)
            after = _spent(pid)
        while not file.exists():
            time.sleep(0.01)
    main, all_of_it, kernel = (now - then for now, then in zip(after, before, strict=True))
    found = Counter[str]()
    for line in file.read_text().splitlines():
        count, _, files = line.partition(" ")
        found[phase_of(files.split(";"))] += int(count)
    shares = {phase: main / all_of_it * count / found.total() for phase, count in found.most_common()}
    return {**shares, _THREADS: 1 - main / all_of_it, _KERNEL: kernel / all_of_it}


def _spent(pid: int) -> tuple[float, float, float]:
    """Return the CPU time of the main thread, of all threads, and of these what the kernel took, in ticks."""
    main = Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()
    process = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, kernel = int(process[11]), int(process[12])
    return int(main[11]) + int(main[12]), user + kernel, kernel


def phase_of(files: list[str]) -> str:
    """Return the phase of a stack, the innermost file first."""
    for file in files:
        for known, phase in PHASES:
            if re.search(known, file):
                return phase
        if "/meter/" in file and not file.endswith(("/app.py", "__main__.py")):
            return "meter/" + file.rpartition("/meter/")[2]
    return _ELSEWHERE
