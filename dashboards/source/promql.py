"""The few shapes of PromQL that the dashboards use, as functions from series to expressions.

Rates look back over `$__rate_interval`, and totals over a window that their panel names. Everything is added
up over instances; a gauge that each instance tells of the same thing is not, and says so where it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dashboards.source.series import Series

__all__ = [
    "RANGE",
    "day",
    "grown",
    "heat",
    "highest",
    "least",
    "per",
    "quantile",
    "rate",
    "share",
    "top",
    "total",
]

RANGE = "$__range"
_LOOK_BACK = "$__rate_interval"
_MOST = 10


def total(expression: Series | str, *by: str) -> str:
    """Add up, by labels."""
    return f"{_aggregated('sum', by)} ({expression})"


def highest(expression: Series | str, *by: str) -> str:
    """Take the highest, by labels: what several instances tell of one thing."""
    return f"{_aggregated('max', by)} ({expression})"


def least(expression: Series | str, *by: str) -> str:
    """Take the lowest, by labels: the most careful of what several instances tell."""
    return f"{_aggregated('min', by)} ({expression})"


def rate(counter: Series, *by: str, window: str = _LOOK_BACK) -> str:
    """Return how much a counter grows in a second."""
    return total(f"rate({counter}[{window}])", *by)


def grown(counter: Series, *by: str) -> str:
    """Return how much a counter has grown over the panel's range, the first value of a new series included.

    `increase` alone begins with the second: of a key that called once it would show nothing.
    """
    new = f"last_over_time({counter}[{RANGE}]) unless {counter} offset {RANGE}"
    return total(f"({new}) or increase({counter}[{RANGE}])", *by)


def day(counter: Series, *by: str) -> str:
    """Return how much a counter grows in the day that begins at a point, as `grown` counts."""
    new = f"last_over_time({counter}[1d] offset -1d) unless {counter}"
    return total(f"({new}) or increase({counter}[1d] offset -1d)", *by)


def quantile(q: float, histogram: Series, *by: str) -> str:
    """Return a quantile of a histogram, by labels."""
    return f"histogram_quantile({q}, {rate(histogram.part('bucket'), 'le', *by)})"


def heat(histogram: Series) -> str:
    """Return the buckets of a histogram, for a heatmap."""
    return total(f"increase({histogram.part('bucket')}[{_LOOK_BACK}])", "le")


def share(part: str, whole: str) -> str:
    """Return one by the other; 0, and not nothing, where the part has never happened."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


def per(cost: str, count: str, many: float) -> str:
    """Return what `many` of a count cost."""
    return f"{many:.0f} * {cost} / ({count} > 0)"


def top(expression: str, counter: Series, *by: str) -> str:
    """Keep the lines whose counter grew the most over the whole range: none comes and goes."""
    most = f"topk({_MOST}, {total(f'increase({counter}[{RANGE}] @ end())', *by)})"
    return f"{expression} and on ({', '.join(by)}) {most}"


def _aggregated(operator: str, by: tuple[str, ...]) -> str:
    return f"{operator} by ({', '.join(by)})" if by else operator
