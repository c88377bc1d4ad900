"""What the benchmark tells: the goals beside what was reached, then a table a scenario.

A goal is met if the median of the rounds is within it. Where one figure must never be passed, as with what
holds up a stream or with the peak of memory, the worst of the rounds counts.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench.figures import median, spread
from bench.proxies import PROXIES
from bench.remarks import MET_BEFORE, REMARKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bench.figures import Figures

__all__ = ["GOALS", "Goal", "goals", "machine", "missed", "table", "tables"]

_ORDER = {name: at for at, name in enumerate((*PROXIES, "direct"))}
_LEAST_MS = 0.01
"""What nginx adds may be less than the machine's noise, and so below 0: medians are compared."""
_LONG, _SHORT = "100,000 events", "100 events"


@dataclass(frozen=True)
class Goal:
    """What is to be reached, and where the figures for it are."""

    figure: str
    goal: str
    values: Callable[[Figures], list[float]]
    limit: float
    unit: str = "x"
    digits: int = 2
    worst: bool = False
    stretch: bool = False

    def row(self, figures: Figures) -> tuple[str, ...]:
        """Return what a table says of it."""
        values, reached = self.values(figures), self.reached(figures)
        goal = f"{'stretch: ' if self.stretch else ''}{self.goal}"
        if reached is None:
            return (self.figure, goal, "not measured", "", "")
        verdict = "yes" if reached <= self.limit else "no"
        told = f"{reached:.{self.digits}f} {self.unit}"
        return self.figure, goal, told, spread(values, self.digits), verdict

    def reached(self, figures: Figures) -> float | None:
        """Return the figure that counts; None where it was not measured."""
        values = self.values(figures)
        if not values:
            return None
        return max(values) if self.worst else median(values)

    def is_missed(self, figures: Figures) -> bool:
        """Tell whether it was measured, and is not met."""
        reached = self.reached(figures)
        return reached is not None and reached > self.limit


def _to(figure: str, other: str) -> Callable[[Figures], list[float]]:
    return lambda figures: figures.ratios(figure, "meter", other)


def _of(figure: str, name: str = "meter") -> Callable[[Figures], list[float]]:
    return lambda figures: figures.of(figure, name)


def _added(figure: str) -> Callable[[Figures], list[float]]:
    def values(figures: Figures) -> list[float]:
        ours, theirs = figures.added(figure, "meter"), figures.added(figure, "nginx")
        return [median(ours) / max(median(theirs), _LEAST_MS)] if ours and theirs else []

    return values


def _many_series(figures: Figures) -> list[float]:
    names = [name for name in figures.names("scrape.late_ms") if name.endswith(" series")]
    return figures.of("scrape.late_ms", names[-1]) if names else []


def _two_to_one(figure: str) -> Callable[[Figures], list[float]]:
    return lambda figures: figures.ratios(figure, "2 workers", "1 worker")


GOALS = (
    Goal("CPU per streamed event, to nginx", "≤ 1.5 x", _to("sse.cpu_us", "nginx"), 1.5),
    Goal("CPU per streamed event, to Envoy", "≤ 1.0 x", _to("sse.cpu_us", "envoy"), 1.0),
    Goal("CPU per small JSON exchange, to bare aiohttp", "≤ 1.0 x", _to("json.cpu_us", "bare"), 1.0),
    Goal("CPU per small JSON exchange, to Caddy", "≤ 1.0 x", _to("json.cpu_us", "caddy"), 1.0, stretch=True),
    Goal("added time to first event, p50, to nginx's", "≤ 1.5 x", _added("sse.first_p50_ms"), 1.5),
    Goal("added time to first event, p99, to nginx's", "≤ 1.5 x", _added("sse.first_p99_ms"), 1.5),
    Goal("memory of an open stream, to bare aiohttp", "≤ 1.0 x", _to("idle.kib", "bare"), 1.0),
    Goal("memory of an open stream", "≤ 16 KiB", _of("idle.kib"), 16, "KiB", 1, stretch=True),
    Goal("resident memory when idle", "≤ 85 MiB", _of("start.mib"), 85, "MiB", 0),
    Goal("start to listening", "≤ 0.9 s", _of("start.s"), 0.9, "s"),
    Goal("8 MB request: peak memory, to the body", "≤ 2.5 x", _of("image.peak"), 2.5, worst=True),
    Goal("8 MB request: a stream held up", "≤ 10 ms", _of("image.late_ms"), 10, "ms", 1, worst=True),
    Goal(
        "event of a 100,000-event answer, to one of 100",
        "≤ 1.05 x",
        lambda figures: figures.ratios("growth.event_us", _LONG, _SHORT),
        1.05,
    ),
    Goal("two workers: CPU per JSON exchange, to one", "≤ 1.05 x", _two_to_one("workers.json_us"), 1.05),
    Goal("two workers: CPU per event, to one", "≤ 1.05 x", _two_to_one("workers.sse_us"), 1.05),
    Goal("two workers: most that one takes", "≤ 60 %", _of("workers.json_most", "2 workers"), 60, "%", 0),
    Goal("scrape of many series: a stream held up", "≤ 20 ms", _many_series, 20, "ms", 1, worst=True),
)


@dataclass(frozen=True)
class Column:
    """One figure of all proxies; `compared`: beside it, how many times Meter's figure is of that."""

    title: str
    figure: str
    digits: int = 1
    compared: bool = False
    added: bool = False
    """The figure less what the upstream itself takes."""

    def titles(self) -> list[str]:
        """Return the heads of its columns."""
        return [self.title, "spread", *(["Meter to it", "spread"] if self.compared else [])]

    def cells(self, figures: Figures, name: str) -> list[str]:
        """Return what is told of one proxy."""
        values = figures.added(self.figure, name) if self.added else figures.of(self.figure, name)
        told = [f"{median(values):.{self.digits}f}" if values else "", spread(values, self.digits)]
        if self.compared:
            ratios = figures.ratios(self.figure, "meter", name) if name != "meter" else []
            told += [f"{median(ratios):.2f} x" if ratios else "", spread(ratios, 2)]
        return told


_FIRST = (
    Column("first event, p50 ms", "sse.first_p50_ms", 2),
    Column("added", "sse.first_p50_ms", 2, added=True),
    Column("p99 ms", "sse.first_p99_ms", 2),
    Column("added", "sse.first_p99_ms", 2, added=True),
)

TABLES: Mapping[str, tuple[Column, ...]] = {
    "Small JSON exchange": (Column("µs of CPU", "json.cpu_us", compared=True),),
    "Paced event, 200 streams": (Column("µs of CPU", "sse.cpu_us", compared=True),),
    "Paced event, clients ask for usage": (Column("µs of CPU", "asked.cpu_us", compared=True),),
    "Event of one stream, flat out": (Column("µs of CPU", "flat.cpu_us", 2, compared=True),),
    "Embeddings, 1 MB": (Column("µs of CPU", "embeddings.cpu_us", 0, compared=True),),
    "Time to first event, 200 streams": _FIRST,
    "Request of 8 MB": (
        Column("ms of CPU", "image.cpu_ms", compared=True),
        Column("peak memory, bodies", "image.peak", 2),
        Column("a stream held up, ms", "image.late_ms"),
    ),
    "Open stream in which nothing happens": (Column("KiB", "idle.kib", compared=True),),
    "Start": (
        Column("seconds to listening", "start.s", 3),
        Column("resident when idle, MiB", "start.mib", 0),
    ),
    "Growth: events of an answer": (Column("µs of CPU per event", "growth.event_us", 2),),
    "Growth: streams at once, 10,000 events a second in all": (
        Column("µs of CPU per event", "growth.stream_us"),
    ),
    "Growth: series": (
        Column("µs of CPU per JSON exchange", "growth.series_us"),
        Column("scrapes hold up a stream, ms", "scrape.late_ms"),
    ),
    "A scrape of the most series": (Column("ms", "scrape.ms", 0), Column("ms of CPU", "scrape.cpu_ms", 0)),
    "Growth: rows of the ledger": (Column("µs of CPU per JSON exchange", "growth.row_us"),),
    "Workers on one CPU": (
        Column("µs of CPU per JSON exchange", "workers.json_us"),
        Column("most of one, %", "workers.json_most", 0),
        Column("µs per event", "workers.sse_us"),
        Column("most of one, %", "workers.sse_most", 0),
    ),
    "Phases": (
        Column("µs per JSON exchange", "phases.json_us"),
        Column("µs per paced event", "phases.sse_us", 2),
    ),
}


def goals(figures: Figures) -> str:
    """Return the goals beside what was reached."""
    head = ("figure", "goal", "reached", "spread", "met")
    return table(head, [goal.row(figures) for goal in GOALS])


def missed(figures: Figures) -> str:
    """Return what is known of the goals that are not met; nothing where all are."""
    told = [(goal, REMARKS.get(goal.figure, MET_BEFORE)) for goal in GOALS if goal.is_missed(figures)]
    lines = [f"- **{goal.figure}** ({goal.goal}; {goal.row(figures)[2]}). {remark}" for goal, remark in told]
    return "\n".join(["## Short of the goal, and why", "", *lines]) if lines else ""


def tables(figures: Figures) -> str:
    """Return a table for each scenario that was measured."""
    return "\n\n".join(
        f"## {title}\n\n{_per_name(figures, columns)}"
        for title, columns in TABLES.items()
        if any(figures.names(column.figure) for column in columns)
    )


def _per_name(figures: Figures, columns: tuple[Column, ...]) -> str:
    found = dict.fromkeys(name for column in columns for name in figures.names(column.figure))
    names = sorted(found, key=lambda name: _ORDER.get(name, len(_ORDER)))
    head = ["", *(title for column in columns for title in column.titles())]
    rows = [[name, *(cell for column in columns for cell in column.cells(figures, name))] for name in names]
    return table(*_without_empty(head, rows))


def _without_empty(head: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Leave out columns that say nothing, as spreads of one round."""
    kept = [at for at in range(len(head)) if at == 0 or any(row[at] for row in rows)]
    return [head[at] for at in kept], [[row[at] for at in kept] for row in rows]


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table of Markdown, its first column to the left."""
    titles = list(head)
    ruler = ["---", *["--:"] * (len(titles) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (titles, ruler, *map(list, rows)))


def machine(versions: Mapping[str, str], rounds: int) -> str:
    """Return when, on what and with what it ran."""
    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    model = models[0].partition(":")[2].strip() if models else platform.machine()
    told = "; ".join(filter(None, versions.values()))
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} x {model}, Linux {platform.release()}, "
        f"Python {platform.python_version()}; {told}; rounds: {rounds}."
    )
