"""Build the dashboards: `python -m dashboards.source.build`; `--check` asks whether they are as built.

Rows and panels flow from left to right, and are numbered from 1. What is written is sorted, so that a change
shows as just that.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DashboardLinkType

from dashboards.source import errors_and_limits, latency, meter_itself, overview, spend
from dashboards.source.variables import by_instance, by_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models.dashboard import Dashboard, VariableModel

    from dashboards.source.panels import Panel

__all__ = ["DASHBOARDS", "built", "main"]

FOLDER = Path(__file__).parent.parent
_SCHEMA = 39  # older ones Grafana brings up to date; newer ones the older Grafana would not read
_TAG = "meter"


@dataclass(frozen=True, slots=True)
class Plan:
    """One dashboard."""

    title: str
    description: str
    sections: Callable[[], Mapping[str, Iterable[Panel]]]
    variables: Callable[[], Iterator[Builder[VariableModel]]] = by_request
    since: str = "now-3h"
    refresh: str = "30s"
    zone: str = "browser"


DASHBOARDS = {
    "overview": Plan("Meter / Overview", "Traffic, errors, time and money in one look.", overview.sections),
    "spend": Plan(
        "Meter / Spend",
        "What is spent, by whom and on what; budgets, caches, and how sure the figures are. Days and months "
        "are UTC's, as budgets are.",
        spend.sections,
        since="now-24h",
        refresh="5m",
        zone="utc",
    ),
    "latency": Plan(
        "Meter / Latency",
        "How long answers take: to the first token, from token to token, to the end; and what Meter adds.",
        latency.sections,
    ),
    "errors-and-limits": Plan(
        "Meter / Errors and limits",
        "What fails, whose fault it is, why answers end, and how near the upstreams' rate limits are.",
        errors_and_limits.sections,
    ),
    "meter-itself": Plan(
        "Meter / Meter itself",
        "The proxy's own health: instances, drains, overhead, event loop, sinks, labels, resources.",
        meter_itself.sections,
        variables=by_instance,
    ),
}


def built(name: str) -> str:
    """Return a dashboard as the text of its file."""
    return json.dumps(_content(name), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _content(name: str) -> Any:
    told: Any = json.loads(JSONEncoder().encode(_dashboard(name, DASHBOARDS[name])))
    for panel in told["panels"]:
        panel.pop("repeatDirection", None)  # nothing is repeated
    return told


def _dashboard(name: str, plan: Plan) -> Dashboard:
    board = (
        grafana.Dashboard(plan.title)
        .uid(f"meter-{name}")
        .description(plan.description)
        .tags([_TAG])
        .editable()
        .timezone(plan.zone)
        .time(plan.since, "now")
        .refresh(plan.refresh)
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            grafana.DashboardLink(plan.title.partition(" / ")[0])
            .type(DashboardLinkType.DASHBOARDS)
            .tags([_TAG])
            .icon("dashboard")
            .as_dropdown(as_dropdown=False)
            .include_vars(include_vars=True)
            .keep_time(keep_time=True)
        )
        .version(1)
    )
    for variable in plan.variables():
        board = board.with_variable(variable)
    number = 0
    for title, panels in plan.sections().items():
        board = board.with_row(grafana.Row(title).id(number := number + 1))
        for panel in panels:
            board = board.with_panel(panel.id(number := number + 1))
    done = board.build()
    done.schema_version = _SCHEMA
    return done


def main(argv: list[str]) -> int:
    """Write the files, or with `--check` name those that are not as they would be written."""
    stale = (
        [name for name in DASHBOARDS if _file(name).read_text() != built(name)] if "--check" in argv else []
    )
    for name in stale:
        print(f"{_file(name)} is not as built: run python -m dashboards.source.build", file=sys.stderr)  # noqa: T201  # what is wrong is what this is asked for
    if "--check" not in argv:
        for name in DASHBOARDS:
            _file(name).write_text(built(name))
    return 1 if stale else 0


def _file(name: str) -> Path:
    return FOLDER / f"{name}.json"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
