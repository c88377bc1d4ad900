"""The benchmark itself, run short: that it makes its tables, and whatever it started ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.figures import Figures
from bench.processes import Server
from bench.remarks import MET_BEFORE, REMARKS
from bench.report import GOALS, goals, missed, tables

ROOT = Path(__file__).parents[2]


def test_cpu_time_is_read_of_another_process() -> None:
    """The kernel's clock of a process tells what /proc does, all its threads together."""
    works = "w = lambda: sum(range(10**6)); w(); a = t.Thread(target=w); a.start(); a.join()"
    code = f"import threading as t; {works}; print(flush=True); input()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603 - our own
        assert process.stdout is not None
        process.stdout.readline()
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks = os.sysconf("SC_CLK_TCK")
        told = (int(fields[11]) + int(fields[12])) / ticks
        found = Server("it", 0, process).cpu_s()
        process.communicate(b"\n")

    assert told == pytest.approx(found, abs=3 / ticks)


def test_a_goal_that_was_not_measured_says_so() -> None:
    """Every goal is told of, measured or not."""
    text = goals(Figures())

    assert len(GOALS) == text.count("not measured")


def test_ratios_are_within_a_round_and_told_by_their_median() -> None:
    """A goal is met by the median of the ratios of rounds."""
    figures = Figures()
    for nginx, meter in ((10, 14), (20, 24), (10, 90)):
        figures.add("sse.cpu_us", "nginx", nginx)
        figures.add("sse.cpu_us", "meter", meter)

    assert "| CPU per streamed event, to nginx | ≤ 1.5 x | 1.40 x | 1.20 to 9.00 | yes |" in goals(figures)
    assert "| nginx | 10.0 | 10.0 to 20.0 | 1.40 x | 1.20 to 9.00 |" in tables(figures)


def test_a_goal_that_is_missed_says_what_is_in_the_way() -> None:
    """What is known of a goal is told where it is measured and missed, and what is known is of goals."""
    figures = Figures()
    for name, spent_us in (("nginx", 10), ("envoy", 30), ("meter", 20)):
        figures.add("sse.cpu_us", name, spent_us)

    assert set() == REMARKS.keys() - {goal.figure for goal in GOALS}
    assert REMARKS["CPU per streamed event, to nginx"] in missed(figures)
    assert "to Envoy" not in missed(figures)
    assert "" == missed(Figures())

    figures.add("start.s", "meter", 99)
    assert f"- **start to listening** (≤ 0.9 s; 99.00 s). {MET_BEFORE}" in missed(figures)


def bench(*arguments: str) -> list[str]:
    """Return the command of a benchmark."""
    return [sys.executable, "-m", "bench", *arguments]


@pytest.mark.real
def test_a_quick_run_makes_the_table() -> None:
    """Meter and a bare proxy are measured at JSON, and the goal that follows from that is told of."""
    done = subprocess.run(  # noqa: S603 - our own
        bench("--quick", "--only", "json", "--proxy", "meter,bare"),
        cwd=ROOT,
        capture_output=True,
        timeout=300,
        check=False,
    )
    text = done.stdout.decode()

    assert 0 == done.returncode, done.stderr.decode()
    assert "## Small JSON exchange" in text
    assert "| meter | " in text
    assert "| bare | " in text
    (goal,) = (
        line for line in text.splitlines() if line.startswith("| CPU per small JSON exchange, to bare")
    )
    assert "not measured" not in goal


@pytest.mark.real
def test_nothing_is_left_behind() -> None:
    """Told to stop in the middle, the benchmark ends whatever it has started."""
    with subprocess.Popen(  # noqa: S603 - our own
        bench("--quick", "--only", "json", "--proxy", "bare"), cwd=ROOT, stderr=subprocess.PIPE
    ) as process:
        give_up = time.monotonic() + 60
        while not (below := children(process.pid)) and time.monotonic() < give_up:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        process.wait(60)

    assert below
    assert not [pid for pid in below if Path(f"/proc/{pid}").exists()]


def children(pid: int) -> list[int]:
    """Return the processes that one has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
