"""Spend: what is spent, by whom and on what, and how sure the figures are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboards.source import columns, promql, series
from dashboards.source.panels import (
    ORANGE,
    RED,
    SURENESS,
    YELLOW,
    Column,
    Look,
    Panel,
    Query,
    about,
    bars,
    lines,
    number,
    rows,
    stack,
)
from dashboards.source.queries import BY_THE_LEDGER, FOLDED, FORECAST, NOT_BY_KEY
from dashboards.source.variables import TAG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dashboards.source.series import Series

__all__ = ["sections"]

_RANGE = "Over the dashboard's range. "
_BUDGET = ("budget", "period")
_HOUR = "1h"


def sections() -> dict[str, Iterator[Panel]]:
    """Return the panels, by the title of their row."""
    return {
        "The bill": _bill(),
        "Days and budgets": _days(),
        "Cost per hour": _per_hour(),
        "Who and what": _tables(),
        "Tokens and caches": _tokens(),
        "How sure it is": _sureness(),
    }


def _bill() -> Iterator[Panel]:
    yield number(
        "Cost",
        about(
            _RANGE + BY_THE_LEDGER,
            "when it is not what the provider's bill says: `meter reconcile` compares them.",
        ),
        Query(promql.grown(series.COST)),
        Look(width=3, height=4, unit="currencyUSD"),
        latest=True,
    )
    yield number(
        "Today",
        about(
            f"Since midnight, UTC. {BY_THE_LEDGER}",
            "when it is over a day's share of the budget before the day is.",
        ),
        Query(promql.grown(series.COST)),
        Look(width=3, height=4, unit="currencyUSD", since="now/d"),
        latest=True,
    )
    yield number(
        "This month",
        about(
            f"Since the month began, UTC. {BY_THE_LEDGER} Prometheus knows what its retention lets it.",
            "when it is over the month's share of the budget.",
        ),
        Query(promql.grown(series.COST)),
        Look(width=3, height=4, unit="currencyUSD", since="now/M"),
        latest=True,
    )
    yield number(
        "Forecast",
        about(
            "The cost of this month so far, and for each second that is left of it as much as one of the "
            "last 24 hours cost on average. So on the first day of use it is too low, and after a Sunday "
            "too.",
            "when it is over the month's budget.",
        ),
        Query(FORECAST),
        Look(width=3, height=4, unit="currencyUSD", since="now/M"),
        latest=True,
    )
    yield number(
        "Per 1k requests",
        about(
            _RANGE + "What a thousand requests of all kinds cost.",
            "when it rises: longer prompts, or dearer models.",
        ),
        Query(promql.per(promql.grown(series.COST), promql.grown(series.REQUESTS), 1_000)),
        Look(width=3, height=4, unit="currencyUSD", decimals=2),
        latest=True,
    )
    yield number(
        "Per 1M tokens",
        about(
            _RANGE
            + "What a million tokens of all kinds cost; images, searches and the like are in the cost too.",
            "when it rises: dearer models, or fewer tokens from caches.",
        ),
        Query(promql.per(promql.grown(series.COST), promql.grown(series.TOKENS), 1_000_000)),
        Look(width=3, height=4, unit="currencyUSD", decimals=2),
        latest=True,
    )
    yield number(
        "Saved by caches",
        about(
            _RANGE + "What cached input would have cost as plain input, less what it did.",
            "when it falls to nothing: a prompt no longer begins with what stays the same.",
        ),
        Query(promql.grown(series.SAVINGS)),
        Look(width=3, height=4, unit="currencyUSD"),
        latest=True,
    )
    yield number(
        "Input from caches",
        about(
            _RANGE + "The share of input tokens that came from a cache.",
            "when it falls after a change of a prompt.",
        ),
        Query(promql.share(promql.grown(series.CACHED), promql.grown(series.INPUT))),
        Look(width=3, height=4, unit="percentunit", decimals=1),
        latest=True,
    )


def _days() -> Iterator[Panel]:
    yield bars(
        "Cost per day by model, 30 days",
        about(
            "The last 30 days, each from midnight to midnight, UTC; the last bar is today so far. " + FOLDED,
            "when a day is far above the same day a week ago.",
        ),
        [Query(promql.day(series.COST, "model"), "{{model}}")],
        Look(width=14, height=10, unit="currencyUSD", since="30d"),
        each="1d",
    )
    limit, spent = promql.highest(series.BUDGET, *_BUDGET), promql.highest(series.BUDGET_SPENT, *_BUDGET)
    pace = promql.highest(f"deriv({series.BUDGET_SPENT}[{_HOUR}])", *_BUDGET)
    yield rows(
        "Budgets",
        about(
            "As of now. *Spent in* is how long what is left lasts at the pace of the last hour; empty: "
            "nothing is being spent. Instances that share a ledger tell the same, so the highest is shown; "
            "without a ledger each knows its own share only. Not narrowed by the variables.",
            "when *Used* is over 80 %, or *Spent in* ends before the period.",
        ),
        {"budget": "Budget", "period": "Period"},
        [
            Column(title="Spent", expression=spent, unit="currencyUSD", decimals=2),
            Column(title="Limit", expression=limit, unit="currencyUSD", decimals=2),
            Column(
                title="Used",
                expression=f"{spent} / {limit}",
                unit="percentunit",
                decimals=0,
                bar=True,
                most=1,
                steps=[(0.8, ORANGE), (1, RED)],
            ),
            Column(
                title="Spent in",
                expression=f"clamp_min({limit} - {spent}, 0) / ({pace} > 0)",
                unit="s",
                decimals=1,
            ),
        ],
        Look(width=10, height=10, unit="short"),
        sort="Used",
    )


def _per_hour() -> Iterator[Panel]:
    for title, by, name in (("model", "model", "{{model}}"), ("key", "key", "{{key}}"), (TAG, TAG, "")):
        yield stack(
            f"By {title}",
            about(
                f"What an hour costs at the pace of each moment: the ten that cost most. {FOLDED}",
                "when one grows and nobody knows why.",
            ),
            [_hourly(series.COST, by, name)],
            Look(width=8, height=9, unit="currencyUSD"),
        )


def _hourly(cost: Series, by: str, name: str) -> Query:
    return Query(promql.top(f"3600 * {promql.rate(cost, by)}", cost, by), name, exemplars=True)


def _tables() -> Iterator[Panel]:
    told = "when `Unpriced tokens` is over 0: the cost beside it is too low."
    for title, by, shown in (("Models", "model", "Model"), ("Keys", "key", "Key"), (f"By {TAG}", TAG, "")):
        each = [columns.cost_per_1k_requests(by)] if by == "model" else []  # the others are narrower
        yield rows(
            title,
            about(_RANGE + FOLDED, told),
            {by: shown},
            [
                columns.requests(by),
                columns.tokens(by),
                *each,
                columns.cost_per_million_tokens(by),
                columns.unpriced(by),
                columns.cost(by),
            ],
            Look(width=24 if each else 12, height=10 if each else 8, unit="short"),
            sort="Cost",
        )


def _tokens() -> Iterator[Panel]:
    yield stack(
        "Tokens by kind",
        about(
            "Tokens per second. Kinds do not overlap: cached input is not in `input`, reasoning is not in "
            "`output`.",
            "when `input` grows and `input_cached` does not.",
        ),
        [Query(f"{promql.rate(series.TOKENS, 'kind')} > 0", "{{kind}}")],
        Look(width=8, height=9, unit="short"),
    )
    yield lines(
        "Input from caches by model",
        about(
            "The share of input tokens that came from a cache. " + FOLDED,
            "when it falls after a change of a prompt.",
        ),
        [
            Query(
                promql.share(promql.rate(series.CACHED, "model"), promql.rate(series.INPUT, "model"))
                + " > 0",
                "{{model}}",
            )
        ],
        Look(width=8, height=9, unit="percentunit", decimals=0, most=1),
    )
    yield lines(
        "Units that are not tokens",
        about(
            "Per second: seconds of audio, images, searches, characters. Each has a price of its own.",
            "when it leaps: an image costs as much as many thousand tokens.",
        ),
        [Query(promql.rate(series.UNITS, "unit"), "{{unit}}")],
        Look(width=8, height=9, unit="short"),
    )


def _sureness() -> Iterator[Panel]:
    yield stack(
        "Requests by price",
        about(
            "Requests per second that cost something, by where their price is from. `exact`: the price file, "
            "or the catalogue where the provider is known. `list`: the list price of the model's maker. "
            "`provider`: the upstream said what it cost. `missing`: nobody knows. " + NOT_BY_KEY,
            "when `missing` is there.",
        ),
        [Query(promql.rate(series.TO_PRICE, "price_status"), "{{price_status}}")],
        Look(width=8, height=9, unit="reqps", colors=SURENESS),
    )
    yield stack(
        "Requests by usage",
        about(
            "Requests per second that use something, by who counted. `reported`: the upstream. `estimated`: "
            "Meter, in part at least. `missing`: nobody. " + NOT_BY_KEY,
            "when `estimated` or `missing` are thick: an upstream does not tell its usage.",
        ),
        [Query(promql.rate(series.COUNTED, "usage_source"), "{{usage_source}}")],
        Look(width=8, height=9, unit="reqps", colors=SURENESS),
    )
    yield lines(
        "Estimated share of cost",
        about(
            "The part of the cost that rests on Meter's own count of tokens, by upstream.",
            "over 5 %: the bill may differ by some of it.",
        ),
        [
            Query(
                promql.share(
                    promql.rate(series.ESTIMATED_COST, "upstream"), promql.rate(series.COST, "upstream")
                ),
                "{{upstream}}",
            )
        ],
        Look(width=8, height=9, unit="percentunit", decimals=1, steps=[(0.05, YELLOW)]),
    )
    yield rows(
        "Unpriced tokens",
        about(
            _RANGE
            + "Tokens of requests whose price is not known: they are in no cost and in no budget. "
            + FOLDED,
            "when there is any: `meter prices missing` gives the lines to add, `meter reprice` puts the past "
            "right.",
        ),
        {"upstream": "Upstream", "model": "Model"},
        [
            Column(
                title="Tokens",
                expression=f"{promql.grown(series.UNPRICED, 'upstream', 'model')} > 0",
                unit="locale",
                decimals=0,
                bar=True,
                steps=[(0, RED)],
            )
        ],
        Look(width=12, height=8, unit="short"),
        sort="Tokens",
    )
    yield rows(
        "Another price than the provider's",
        about(
            _RANGE
            + "Requests for which the upstream's own cost and the computed one differ by over 1 %. The "
            f"upstream's counts. {NOT_BY_KEY}",
            "when there is any: the price book is out of date.",
        ),
        {"upstream": "Upstream", "model": "Model"},
        [
            Column(
                title="Requests",
                expression=f"{promql.grown(series.MISMATCHES, 'upstream', 'model')} > 0",
                unit="locale",
                decimals=0,
                bar=True,
                steps=[(0, ORANGE)],
            )
        ],
        Look(width=12, height=8, unit="short"),
        sort="Requests",
    )
