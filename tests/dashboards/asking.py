"""Ask a Prometheus what a panel asks, as Grafana would: its range, its steps, its variables.

Times are Unix seconds, UTC. A panel's own range begins where `timeFrom` says; its steps are as many as fit
into its width, but none is shorter than the scrape interval or the panel's own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

from dashboards.boards import interpolated

__all__ = ["Asking", "Line"]

_UNITS = {"m": 60, "h": 3600, "d": 86_400}
_POINTS_PER_COLUMN = 50
_STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an answer: its labels, and a value or nothing at each time."""

    labels: dict[str, str]
    times: list[float]
    values: list[float | None]


@dataclass(frozen=True, slots=True)
class Asking:
    """What does not change from panel to panel."""

    url: str
    until: float
    span: float
    """Seconds of the dashboard's range."""
    scraped_every: float

    def began(self, panel: dict[str, Any]) -> float:
        """Return where a panel's range begins."""
        today = datetime.fromtimestamp(self.until, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        since = panel.get("timeFrom")
        if since == "now/d":
            return today.timestamp()
        if since == "now/M":
            return today.replace(day=1).timestamp()
        return self.until - (int(since[:-1]) * _UNITS[since[-1]] if since else self.span)

    def lines(self, panel: dict[str, Any], target: dict[str, Any]) -> list[Line]:
        """Return what a query of a panel brings."""
        span = self.until - self.began(panel)
        step = self._step(panel, span)
        look_back = max(step + self.scraped_every, 4 * self.scraped_every)
        query = interpolated(target["expr"], look_back=f"{look_back:.0f}s", span=f"{max(span, 1):.0f}s")
        if target.get("instant"):
            return [
                Line(series["metric"], [series["value"][0]], [_number(series["value"][1])])
                for series in self._told("query", query=query, time=self.until)
            ]
        start, end = (at // step * step for at in (self.until - span, self.until))
        times = [start + place * step for place in range(int((end - start) / step) + 1)]
        lines = []
        for series in self._told("query_range", query=query, start=start, end=end, step=step):
            found = {at: _number(value) for at, value in series["values"]}
            lines.append(Line(series["metric"], times, [found.get(at) for at in times]))
        return lines

    def traces(self, target: dict[str, Any]) -> set[str]:
        """Return the traces of the single requests that a query shows beside its lines."""
        query = interpolated(target["expr"], look_back="60s", span="60s")
        found = self._told(
            "query_exemplars", query=query, start=self.until - self.span, end=self.until + self.span
        )
        return {exemplar["labels"]["trace_id"] for series in found for exemplar in series["exemplars"]}

    def _step(self, panel: dict[str, Any], span: float) -> float:
        own = panel.get("interval", "0m")
        least = max(
            self.scraped_every,
            int(own[:-1]) * _UNITS[own[-1]],
            span / (panel["gridPos"]["w"] * _POINTS_PER_COLUMN),
        )
        return next(step for step in _STEPS if step >= least)

    def _told(self, path: str, **parameters: str | float) -> Any:
        try:
            with urlopen(f"{self.url}/api/v1/{path}?{urlencode(parameters)}", timeout=60) as answer:  # noqa: S310 - loopback
                told = json.load(answer)["data"]
        except HTTPError as error:
            raise ValueError(f"{parameters['query']}: {json.load(error)['error']}") from error
        return told if isinstance(told, list) else told["result"]


def _number(text: str) -> float | None:
    """Return what Prometheus wrote; what is no number is a gap, as in Grafana."""
    value = float(text)
    return value if value == value and abs(value) != float("inf") else None  # noqa: PLR0124  # not a number
