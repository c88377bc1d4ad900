"""The dashboards that are in the tree: as built, whole, legible, and about metrics that there are."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import promql_parser
import pytest
from dashboards.boards import BOARDS, ROOT, board, interpolated, panels, queries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.source import build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCE = sorted((ROOT / "dashboards" / "source").glob("*.py"))
METRIC = re.compile(r"\b(?:meter|process)_[a-z_]+\b")
NOWHERE: dict[str, str] = {}
"""Metrics of the README that are on no panel and in no rule, with the reason."""


def documented() -> set[str]:
    """Return the metrics of the README's table."""
    rows = re.findall(r"^\| (`meter_.*?|`process_.*?) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    return set(re.findall(r"`([a-z_*]+)`", " ".join(rows)))


def known(metric: str) -> bool:
    """Tell whether the README has a metric, or the histogram that a series is of."""
    whole = re.sub(r"_(bucket|sum|count)$", "", metric)
    return bool({metric, whole} & documented()) or metric.startswith("process_")


def paths(value: Any, at: str = "") -> Iterator[str]:
    """Yield where each member of an object is."""
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for name, member in members:
        yield f"{at}/{name}"
        yield from paths(member, f"{at}/{name}")


@pytest.mark.parametrize("name", BOARDS)
def test_as_built(name: str) -> None:
    """What is in the tree is what its source builds."""
    assert build.built(name) == (ROOT / "dashboards" / f"{name}.json").read_text()


def test_all_are_here() -> None:
    """There are as many dashboards as the source has."""
    assert set(BOARDS) == set(build.DASHBOARDS)


def test_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Building writes all files, and `--check` names the one that was edited by hand."""
    monkeypatch.setattr(build, "FOLDER", tmp_path)

    assert 0 == build.main([])
    assert 0 == build.main(["--check"])
    (tmp_path / "spend.json").write_text("{}")
    assert 1 == build.main(["--check"])
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'spend.json'} is not as built")


@pytest.mark.parametrize("name", BOARDS)
def test_round_trip(name: str) -> None:
    """Grafana's own types know every member: none is lost on the way through them."""
    register_default_plugins()
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(board(name))))

    assert set() == set(paths(board(name))) - set(paths(again))


@pytest.mark.parametrize("name", BOARDS)
def test_identity(name: str) -> None:
    """A dashboard is found by an id that stays, and by the tag that its siblings link to."""
    told = board(name)

    assert (f"meter-{name}", ["meter"], ["meter"]) == (told["uid"], told["tags"], told["links"][0]["tags"])
    assert 38 <= told["schemaVersion"] <= 41
    ids = [panel["id"] for panel in told["panels"]]
    assert list(range(1, len(ids) + 1)) == ids


@pytest.mark.parametrize("name", BOARDS)
def test_grid(name: str) -> None:
    """Panels fill each line of the grid, side by side, and no two share a place."""
    places = [panel["gridPos"] for panel in board(name)["panels"]]
    cells = [
        (x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])
    ]

    assert len(cells) == len(set(cells))
    assert (0, 23) == (min(x for x, _ in cells), max(x for x, _ in cells))
    assert len(cells) == 24 * (1 + max(y for _, y in cells))
    assert all(before["y"] <= after["y"] for before, after in pairwise(places))


@pytest.mark.parametrize("name", BOARDS)
def test_panels(name: str) -> None:
    """A panel has a title, a unit, thresholds, and says what it shows and when to worry."""
    for panel in panels(name):
        shows, worry = panel["description"].split("\n\n")
        assert panel["title"]
        assert len(shows) > 10
        assert re.fullmatch(r"\*\*Worry\*\* (when|where|over|under) .*\.", worry)
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert "green" == panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["color"]


@pytest.mark.parametrize("name", BOARDS)
def test_columns(name: str) -> None:
    """Every column of numbers has a unit of its own, and tables are sorted by a column that they show."""
    for panel in (panel for panel in panels(name) if panel["type"] == "table"):
        units = {
            override["matcher"]["options"]
            for override in panel["fieldConfig"]["overrides"]
            if "unit" in {prop["id"] for prop in override["properties"]}
        }
        shown = set(panel["transformations"][1]["options"]["renameByName"].values())
        assert len(panel["targets"]) == len(units)
        assert units <= shown
        assert {panel["options"]["sortBy"][0]["displayName"]} <= shown


@pytest.mark.parametrize("name", BOARDS)
def test_data_source(name: str) -> None:
    """Nothing names a data source: panels, queries and lists have the one that is chosen above."""
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    lists = [variable for variable in board(name)["templating"]["list"] if variable["type"] == "query"]

    for holder in (*panels(name), *(target for _, target in queries(name)), *lists):
        assert chosen == holder["datasource"]


@pytest.mark.parametrize("name", BOARDS)
def test_expressions(name: str) -> None:
    """Prometheus's own grammar takes every expression."""
    for _, target in queries(name):
        promql_parser.parse(interpolated(target["expr"]))


@pytest.mark.parametrize("name", BOARDS)
def test_windows(name: str) -> None:
    """No window is written out but the hours and days that a panel tells of, and every query has a name."""
    told = {"1d": r"\bdays?\b|24 hours", "1h": r"\bhour\b"}
    for panel, target in queries(name):
        assert target["refId"]
        for window in set(re.findall(r"\[([^]]+)\]", target["expr"])) - {"$__rate_interval", "$__range"}:
            assert re.search(told[window], panel["title"] + panel["description"])


@pytest.mark.parametrize("name", BOARDS)
def test_variables(name: str) -> None:
    """Every variable is used, everything used is a variable, and each list is narrowed by those before it."""
    listed = board(name)["templating"]["list"]
    names = {variable["name"] for variable in listed}
    content = json.dumps([board(name)["panels"], [variable.get("query") for variable in listed]])
    content += json.dumps([variable.get("datasource") for variable in listed])
    used = set(re.findall(r"\$\{?([a-z]\w*)", content))

    assert names == used
    for place, variable in enumerate(listed):
        needs = set(re.findall(r'=~"\$(\w+)"', json.dumps(variable["query"]).replace('\\"', '"')))
        assert needs <= {before["name"] for before in listed[:place]}


@pytest.mark.parametrize("name", BOARDS)
def test_lists(name: str) -> None:
    """Some or all of each list may be chosen; all is whatever there is, but of jobs only Meter's."""
    for variable in board(name)["templating"]["list"]:
        if variable["type"] == "query":
            assert (True, True) == (variable["multi"], variable["includeAll"])
            assert ("" if variable["name"] == "job" else ".*") == variable["allValue"]


@pytest.mark.parametrize("name", BOARDS)
def test_filters(name: str) -> None:
    """Every selector is narrowed by job, so that two Meters in one Prometheus can be told apart."""
    for _, target in queries(name):
        for metric, matchers in re.findall(
            r"((?:meter|process)_\w+)(\{[^}]*(?:\}[^}]*)?\})?", target["expr"]
        ):
            assert 'job=~"$job"' in matchers, metric


@pytest.mark.parametrize("name", BOARDS)
def test_metrics_are_documented(name: str) -> None:
    """Every metric that is asked for is in the README."""
    asked = {metric for _, target in queries(name) for metric in METRIC.findall(target["expr"])}

    assert asked
    assert set() == {metric for metric in asked if not known(metric)}


def test_every_metric_is_seen() -> None:
    """Every metric of the README is on a panel or in a rule, or on the list of those that are not."""
    shown = "".join(target["expr"] for name in BOARDS for _, target in queries(name))
    shown += "".join(file.read_text() for file in (ROOT / "dashboards" / "rules").glob("*.yaml"))

    unseen = {metric for metric in documented() if metric.rstrip("*") not in shown}
    assert NOWHERE.keys() == unseen


def test_selectors_are_written_once() -> None:
    """The source names each metric once, and narrows it nowhere but beside its name."""
    text = (ROOT / "dashboards" / "source" / "series.py").read_text()
    named = re.findall(r'"((?:meter|process)_\w+)"', text)
    narrowed = re.findall(r"= (\w+\.where\(.*\))$", text, re.MULTILINE)
    others = [file for file in SOURCE if file.name not in {"series.py", "prometheusrule.py"}]

    assert len(set(named)) == len(named)
    assert len(set(narrowed)) == len(narrowed)
    assert [] == [
        file.name for file in others if re.search(r"\bmeter_[a-z]+_|=~|\.where\(", file.read_text())
    ]


def test_exemplars() -> None:
    """Quantiles and costs ask for the requests behind them."""
    asked = {
        (name, panel["title"]) for name in BOARDS for panel, target in queries(name) if target.get("exemplar")
    }

    assert {
        ("latency", "Duration"),
        ("latency", "Time to first token"),
        ("overview", "Requests by outcome"),
        ("spend", "By model"),
    } <= asked
