"""Columns that more than one table has, each over its panel's range and by one label."""

from __future__ import annotations

from dashboards.source import promql, series
from dashboards.source.panels import RED, YELLOW, Column

__all__ = ["cost", "errors", "requests", "tokens"]


def requests(by: str) -> Column:
    """Return how many requests there were."""
    return Column(title="Requests", expression=promql.grown(series.REQUESTS, by), unit="locale", decimals=0)


def errors(by: str) -> Column:
    """Return the share of them that failed."""
    failed = promql.share(promql.grown(series.FAILED, by), promql.grown(series.REQUESTS, by))
    steps = [(0.02, YELLOW), (0.05, RED)]
    return Column(title="Errors", expression=failed, unit="percentunit", decimals=1, steps=steps)


def tokens(by: str) -> Column:
    """Return tokens of all kinds."""
    return Column(title="Tokens", expression=promql.grown(series.TOKENS, by), unit="short", decimals=1)


def cost(by: str) -> Column:
    """Return the known cost."""
    return Column(title="Cost", expression=promql.grown(series.COST, by), unit="currencyUSD", bar=True)


def unpriced(by: str) -> Column:
    """Return tokens that are in no cost."""
    return Column(
        title="Unpriced tokens",
        expression=promql.grown(series.UNPRICED, by),
        unit="short",
        decimals=1,
        steps=[(1, RED)],
    )


def cost_per_1k_requests(by: str) -> Column:
    """Return what a thousand requests cost."""
    each = promql.per(promql.grown(series.COST, by), promql.grown(series.REQUESTS, by), 1_000)
    return Column(title="Per 1k requests", expression=each, unit="currencyUSD", decimals=2)


def cost_per_million_tokens(by: str) -> Column:
    """Return what a million tokens cost."""
    each = promql.per(promql.grown(series.COST, by), promql.grown(series.TOKENS, by), 1_000_000)
    return Column(title="Per 1M tokens", expression=each, unit="currencyUSD", decimals=2)
