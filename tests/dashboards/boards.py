"""The dashboards as data, and their expressions as Grafana would send them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["BOARDS", "ROOT", "board", "interpolated", "panels", "queries"]

ROOT = Path(__file__).parent.parent.parent
BOARDS = ("overview", "spend", "latency", "errors-and-limits", "meter-itself")
_VALUES = {
    "${tag}": "team",
    "$tag_value": ".*",
    "$job": "meter",
    "$instance": ".*",
    "$upstream": ".*",
    "$model": ".*",
    "$key": ".*",
}


@cache
def board(name: str) -> dict[str, Any]:
    """Return a dashboard as it is in the tree."""
    told: dict[str, Any] = json.loads((ROOT / "dashboards" / f"{name}.json").read_text())
    return told


def panels(name: str) -> list[dict[str, Any]]:
    """Return a dashboard's panels, without its rows."""
    return [panel for panel in board(name)["panels"] if panel["type"] != "row"]


def queries(name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return a dashboard's queries, each after its panel."""
    return [(panel, target) for panel in panels(name) for target in panel["targets"]]


def interpolated(expression: str, *, look_back: str = "1m", span: str = "1h") -> str:
    """Return an expression with its variables replaced, everything being chosen."""
    for name, value in {**_VALUES, "$__rate_interval": look_back, "$__range": span}.items():
        expression = expression.replace(name, value)
    return expression
