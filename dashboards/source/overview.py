"""Overview: what somebody on call and somebody who pays both read in ten seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboards.source import columns, promql, series
from dashboards.source.panels import (
    OUTCOMES,
    QUANTILES,
    RED,
    YELLOW,
    Column,
    Look,
    Panel,
    Query,
    about,
    lines,
    number,
    rows,
    stack,
)
from dashboards.source.queries import (
    COST_PER_HOUR,
    DURATIONS,
    ERROR_SHARE,
    FOLDED,
    FORECAST,
    NOT_BY_KEY,
    OUTPUT_SPEED,
    UNPRICED_SHARE,
    UNSURE_SHARE,
    error_share,
)
from dashboards.source.variables import TAG

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["sections"]


def sections() -> dict[str, Iterator[Panel]]:
    """Return the panels, by the title of their row."""
    return {
        "Now": _now(),
        "Requests": _requests(),
        "Time and money": _time_and_money(),
        "Who, what and where": _tables(),
    }


def _now() -> Iterator[Panel]:
    yield number(
        "Requests per second",
        about("Requests that ended, of all kinds.", "when it falls to nothing while callers are at work."),
        Query(promql.rate(series.REQUESTS)),
        Look(width=4, height=4, unit="reqps"),
    )
    yield number(
        "Errors",
        about(
            "The share of requests that failed. A client that left did not fail.",
            "over 5 %: *Errors and limits* says which and whose.",
        ),
        Query(ERROR_SHARE),
        Look(width=4, height=4, unit="percentunit", decimals=1, steps=[(0.02, YELLOW), (0.05, RED)]),
    )
    yield number(
        "First token, p90",
        about(
            "Nine streams of ten showed their first content within this time.",
            "when it doubles: readers notice.",
        ),
        Query(promql.quantile(0.9, series.FIRST_TOKEN)),
        Look(width=4, height=4, unit="s", decimals=2, steps=[(5, YELLOW), (15, RED)]),
    )
    yield number(
        "Duration, p90",
        about(
            "Nine requests of ten were answered in full within this time. Long answers take long.",
            "when it rises and the number of tokens does not.",
        ),
        Query(promql.quantile(0.9, series.DURATION)),
        Look(width=4, height=4, unit="s", decimals=1, steps=[(60, YELLOW), (300, RED)]),
    )
    yield number(
        "Tokens per second",
        about("Tokens of all kinds, in and out.", "when it leaps and the number of requests does not."),
        Query(promql.rate(series.TOKENS)),
        Look(width=4, height=4, unit="short", decimals=0),
    )
    yield number(
        "In flight",
        about(
            "Requests under way in all instances. " + NOT_BY_KEY,
            "when it only rises: an upstream has stopped to answer.",
        ),
        Query(promql.total(series.IN_FLIGHT)),
        Look(width=4, height=4, unit="short", decimals=0),
    )
    yield number(
        "Cost per hour",
        about("What an hour costs at the pace of this moment.", "when it leaps: *Spend* says by whom."),
        Query(COST_PER_HOUR),
        Look(width=4, height=4, unit="currencyUSD"),
    )
    yield number(
        "Cost today",
        about(
            "Since midnight, in the dashboard's time zone. The ledger has it to the last digit.",
            "when it is over a day's share of the budget before the day is.",
        ),
        Query(promql.grown(series.COST)),
        Look(width=4, height=4, unit="currencyUSD", since="now/d"),
        latest=True,
    )
    yield number(
        "Forecast for the month",
        about(
            "The cost of this month so far, and the rest of it at the pace of the last 24 hours.",
            "when it is over the budget.",
        ),
        Query(FORECAST),
        Look(width=4, height=4, unit="currencyUSD", since="now/M"),
        latest=True,
    )
    yield number(
        "Unpriced",
        about(
            "Of the requests that cost something, the share whose price is not known: what is shown as cost "
            "is too low by these. " + NOT_BY_KEY,
            "over 0: `meter prices missing` gives the lines to add to a price file.",
        ),
        Query(UNPRICED_SHARE),
        Look(width=4, height=4, unit="percentunit", decimals=1, steps=[(0.001, YELLOW), (0.05, RED)]),
    )
    yield number(
        "Unsure",
        about(
            "Of the requests that use something, the share whose usage is Meter's own estimate, or not known "
            "at all. " + NOT_BY_KEY,
            "over 5 %: an upstream does not tell its usage.",
        ),
        Query(UNSURE_SHARE),
        Look(width=4, height=4, unit="percentunit", decimals=1, steps=[(0.05, YELLOW), (0.2, RED)]),
    )
    yield number(
        "Upstreams down",
        about(
            "Upstreams that could not be reached three times in a row, from one instance at least.",
            "over 0.",
        ),
        Query(promql.total(f"{promql.least(series.UPSTREAM_UP, 'upstream')} == bool 0")),
        Look(width=4, height=4, unit="short", decimals=0, steps=[(1, RED)]),
    )


def _requests() -> Iterator[Panel]:
    yield stack(
        "Requests by outcome",
        about(
            "Requests per second, by how they ended. `client_closed` is a client that left before the end.",
            "when anything but `ok` is thick.",
        ),
        [Query(promql.rate(series.REQUESTS, "outcome"), "{{outcome}}", exemplars=True)],
        Look(width=12, height=9, unit="reqps", colors=OUTCOMES),
    )
    yield lines(
        "Errors by upstream",
        about("The share of requests that failed.", "over 5 % for some minutes."),
        [Query(error_share("upstream"), "{{upstream}}")],
        Look(width=12, height=9, unit="percentunit", decimals=1, steps=[(0.05, RED)]),
    )


def _time_and_money() -> Iterator[Panel]:
    yield lines(
        "Duration",
        about(
            "From a request's first byte to its answer's last: the half, nine of ten, and 99 of 100 are "
            "quicker. Points are single requests with a trace.",
            "when p99 leaves the others: something waits.",
        ),
        DURATIONS,
        Look(width=8, height=9, unit="s", colors=QUANTILES),
    )
    yield lines(
        "First token by model, p90",
        about(
            "Nine streams of ten showed content within this time. " + FOLDED,
            "when one model leaves the others.",
        ),
        [
            Query(
                promql.top(
                    promql.quantile(0.9, series.FIRST_TOKEN, "model"),
                    series.FIRST_TOKEN.part("count"),
                    "model",
                ),
                "{{model}}",
            )
        ],
        Look(width=8, height=9, unit="s"),
    )
    yield stack(
        "Cost per hour by model",
        about(
            "What an hour costs at the pace of each moment. " + FOLDED,
            "when a model takes more than it is worth.",
        ),
        [Query(promql.top(f"3600 * {promql.rate(series.COST, 'model')}", series.COST, "model"), "{{model}}")],
        Look(width=8, height=9, unit="currencyUSD"),
    )


def _tables() -> Iterator[Panel]:
    yield rows(
        "Models",
        about(
            "Over the dashboard's range; speeds as of now. " + FOLDED,
            "where a row is red, or `__other__` is large: made-up names, or too little room in "
            "`limits.series`.",
        ),
        {"model": "Model"},
        [
            columns.requests("model"),
            columns.errors("model"),
            Column(
                title="First token, p90",
                expression=promql.quantile(0.9, series.FIRST_TOKEN, "model"),
                unit="s",
                decimals=2,
            ),
            Column(title="Tokens/s of a stream", expression=OUTPUT_SPEED, unit="short", decimals=0),
            columns.tokens("model"),
            columns.cost("model"),
        ],
        Look(width=24, height=10, unit="short"),
        sort="Cost",
    )
    yield rows(
        "Keys",
        about(
            "Over the dashboard's range. Keys without a name show as fingerprints. " + FOLDED,
            "when a key that nobody knows is at the top.",
        ),
        {"key": "Key"},
        _who("key"),
        Look(width=8, height=9, unit="short"),
        sort="Cost",
    )
    yield rows(
        "By ${tag}",
        about(
            "Over the dashboard's range, by the label that the variable *Tag* names. " + FOLDED,
            "when `none` is large: callers without a tag.",
        ),
        {"${tag}": ""},
        _who(TAG),
        Look(width=8, height=9, unit="short"),
        sort="Cost",
    )
    yield rows(
        "Upstreams",
        about(
            "Over the dashboard's range; *State* is as of now. An upstream is down after three failures in a "
            "row to reach it.",
            "when one is down.",
        ),
        {"upstream": "Upstream"},
        [
            Column(
                title="State",
                expression=promql.least(series.UPSTREAM_UP, "upstream"),
                unit="short",
                words={"0": ("down", "red"), "1": ("up", "green")},
            ),
            *_who("upstream"),
        ],
        Look(width=8, height=9, unit="short"),
        sort="Cost",
    )


def _who(by: str) -> list[Column]:
    return [columns.requests(by), columns.errors(by), columns.cost(by)]
