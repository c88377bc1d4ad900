"""Expressions and sentences that more than one dashboard needs."""

from __future__ import annotations

from dashboards.source import promql, series
from dashboards.source.panels import Query

__all__ = ["quantiles"]

FOLDED = (
    "`none`: the request had none. `__other__`: not admitted as a name, since no request with it has ended "
    "well yet, or there is no room for more."
)
NOT_BY_KEY = "Not narrowed by key and tag."
BY_THE_LEDGER = "The ledger (`meter report`) has it to the last digit."


def quantiles(histogram: series.Series, *, exemplars: bool) -> list[Query]:
    """Return the half, nine of ten, and 99 of 100."""
    return [Query(promql.quantile(q / 100, histogram), f"p{q}", exemplars=exemplars) for q in (50, 90, 99)]


def error_share(*by: str) -> str:
    """Return the share of requests that failed."""
    return promql.share(promql.rate(series.FAILED, *by), promql.rate(series.REQUESTS, *by))


ERROR_SHARE = error_share()
DURATIONS = quantiles(series.DURATION, exemplars=True)
COST_PER_HOUR = f"3600 * {promql.rate(series.COST)}"
UNPRICED_SHARE = promql.share(promql.rate(series.PRICELESS), promql.rate(series.TO_PRICE))
UNSURE_SHARE = promql.share(promql.rate(series.UNSURE), promql.rate(series.COUNTED))
OUTPUT_SPEED = f"1 / {promql.quantile(0.5, series.PER_TOKEN, 'model')}"

_SECONDS_LEFT = "((days_in_month() - day_of_month() + 1) * 86400 - time() % 86400)"
FORECAST = f"{promql.grown(series.COST)} + {promql.rate(series.COST, window='1d')} * {_SECONDS_LEFT}"
"""Over a panel whose range is the month so far."""
