"""Latency: to the first token, from token to token, to the end, and what Meter adds to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboards.source import columns, promql, series
from dashboards.source.panels import (
    QUANTILES,
    RED,
    YELLOW,
    Column,
    Look,
    Panel,
    Query,
    about,
    heats,
    lines,
    number,
    rows,
)
from dashboards.source.queries import DURATIONS, FOLDED, OUTPUT_SPEED, quantiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dashboards.source.series import Series

__all__ = ["sections"]

_EXEMPLARS = "Points are single requests with a trace."
_HEAT = "The warmer, the more requests; the scale doubles with each step."


def sections() -> dict[str, Iterator[Panel]]:
    """Return the panels, by the title of their row."""
    return {
        "Now": _now(),
        "First token": _first_token(),
        "From token to token": _speed(),
        "Whole requests": _whole(),
        "By model": _models(),
        "What Meter adds": _overhead(),
    }


def _now() -> Iterator[Panel]:
    for title, shows, q, histogram, steps in (
        ("First token, p50", "Half of the streams show content within", 0.5, series.FIRST_TOKEN, (5, 15)),
        ("First token, p99", "99 streams of 100 show content within", 0.99, series.FIRST_TOKEN, (15, 60)),
        (
            "Duration, p50",
            "Half of the requests are answered in full within",
            0.5,
            series.DURATION,
            (60, 300),
        ),
        (
            "Duration, p99",
            "99 requests of 100 are answered in full within",
            0.99,
            series.DURATION,
            (120, 600),
        ),
        ("Longest pause, p99", "In 99 streams of 100, each pause is below", 0.99, series.STALL, (5, 15)),
    ):
        yield number(
            title,
            about(f"{shows} this time.", "when it doubles within an hour."),
            Query(promql.quantile(q, histogram)),
            Look(width=4, height=4, unit="s", decimals=2, steps=_warmer(steps)),
        )
    yield number(
        "Meter's own, p99",
        about(
            "What Meter adds before a request is sent on: all but one of a hundred are below.",
            "over 50 ms: *Meter itself* says why.",
        ),
        Query(f"max({promql.quantile(0.99, series.OVERHEAD, 'phase')})"),
        Look(width=4, height=4, unit="s", decimals=2, steps=[(0.01, YELLOW), (0.05, RED)]),
    )


def _first_token() -> Iterator[Panel]:
    yield from _pair(
        "Time to first token",
        "Streams: from the request's first byte to the first event with content: text, reasoning, refusal, "
        "tool call or audio.",
        "when p99 leaves the others: requests queue at the upstream.",
        series.FIRST_TOKEN,
        exemplars=True,
    )


def _speed() -> Iterator[Panel]:
    yield from _pair(
        "Time per output token",
        "Streams with two output tokens or more: from the first content to the last, by output tokens less "
        "one.",
        "over 100 ms: slower than people read.",
        series.PER_TOKEN,
    )
    yield from _pair(
        "Longest pause of a stream",
        "Of each stream the longest pause between two events with content.",
        "over 10 s: readers take it for the end.",
        series.STALL,
    )


def _whole() -> Iterator[Panel]:
    yield lines(
        "Duration",
        about(
            f"From the request's first byte to the answer's last. {_EXEMPLARS}",
            "when it rises and the number of output tokens does not.",
        ),
        DURATIONS,
        Look(width=8, height=9, unit="s", colors=QUANTILES),
    )
    yield lines(
        "Duration, streamed or not, p90",
        about(
            "Nine of ten are quicker. A stream lasts as long, but shows something at once.",
            "when what is not streamed comes near the timeouts of clients.",
        ),
        [
            Query(promql.quantile(0.9, series.STREAMED), "streamed"),
            Query(promql.quantile(0.9, series.WHOLE), "whole"),
        ],
        Look(width=8, height=9, unit="s"),
    )
    yield heats(
        "Durations",
        about(_HEAT, "when a second band appears above the first."),
        promql.heat(series.DURATION),
        Look(width=8, height=9, unit="s"),
    )


def _models() -> Iterator[Panel]:
    for title, histogram in (("First token", series.FIRST_TOKEN), ("Duration", series.DURATION)):
        yield lines(
            f"{title} by model, p90",
            about(
                f"Nine of ten are quicker: the ten models with the most requests. {FOLDED}",
                "when one model leaves the others.",
            ),
            [
                Query(
                    promql.top(promql.quantile(0.9, histogram, "model"), histogram.part("count"), "model"),
                    "{{model}}",
                )
            ],
            Look(width=8, height=10, unit="s"),
        )
    yield lines(
        "Tokens per second of a stream, by model",
        about(
            f"What half of the streams reach, from the first content on. {FOLDED}",
            "when a model slows down: its upstream is full.",
        ),
        [Query(promql.top(OUTPUT_SPEED, series.PER_TOKEN.part("count"), "model"), "{{model}}")],
        Look(width=8, height=10, unit="short", decimals=0),
    )
    yield rows(
        "Models",
        about(f"As of now; requests over the dashboard's range. {FOLDED}", "where a row is red."),
        {"model": "Model"},
        [
            columns.requests("model"),
            _column("First token, p50", 0.5, series.FIRST_TOKEN, (5, 15)),
            _column("First token, p99", 0.99, series.FIRST_TOKEN, (15, 60)),
            Column(title="Tokens/s", expression=OUTPUT_SPEED, unit="short", decimals=0),
            _column("Longest pause, p99", 0.99, series.STALL, (5, 15)),
            _column("Duration, p50", 0.5, series.DURATION, (60, 300)),
            _column("Duration, p99", 0.99, series.DURATION, (120, 600)),
        ],
        Look(width=24, height=10, unit="short"),
        sort="Requests",
    )


def _column(title: str, q: float, histogram: Series, steps: tuple[float, float]) -> Column:
    return Column(
        title=title,
        expression=promql.quantile(q, histogram, "model"),
        unit="s",
        decimals=2,
        steps=_warmer(steps),
    )


def _warmer(steps: tuple[float, float]) -> list[tuple[float, str]]:
    return list(zip(steps, (YELLOW, RED), strict=True))


def _overhead() -> Iterator[Panel]:
    for phase, quantile in (("p50", 0.5), ("p99", 0.99)):
        yield lines(
            f"Overhead by phase, {phase}",
            about(
                "Time in Meter itself. `request`: from the request read to the upstream write. `response`: "
                "from the upstream's last byte to the client's. Narrowed by upstream only.",
                "when p99 is over 50 ms: the CPU is short, or requests are huge.",
            ),
            [Query(promql.quantile(quantile, series.OVERHEAD, "phase"), "{{phase}}")],
            Look(width=8, height=9, unit="s"),
        )
    yield heats(
        "Overheads",
        about(f"Both phases. {_HEAT} Narrowed by upstream only.", "when the band moves up."),
        promql.heat(series.OVERHEAD),
        Look(width=8, height=9, unit="s"),
    )


def _pair(
    title: str, shows: str, worry: str, histogram: Series, *, exemplars: bool = False
) -> Iterator[Panel]:
    seen = f" {_EXEMPLARS}" if exemplars else ""
    yield lines(
        title,
        about(f"{shows} The half, nine of ten, and 99 of 100 are quicker.{seen}", worry),
        quantiles(histogram, exemplars=exemplars),
        Look(width=12, height=9, unit="s", colors=QUANTILES),
    )
    yield heats(
        f"{title}, all",
        about(f"{shows} {_HEAT}", "when a second band appears above the first."),
        promql.heat(histogram),
        Look(width=12, height=9, unit="s"),
    )
