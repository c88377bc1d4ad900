"""The compose example: each file says what the others need it to, and the real programs take them."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from image.building import TOP, ran
from stage import until
from test_app import free_port, get, process
from test_prometheus_real import INSTALL, PATIENCE_SECONDS, asked, reachable
from tools import needed

from meter.cli import _parser

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER = TOP / "examples" / "compose"
SERVICES: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
PROMETHEUS = (FOLDER / "prometheus.yml").read_text()
DATASOURCE: dict[str, Any] = yaml.safe_load((FOLDER / "grafana" / "datasource.yaml").read_text())[
    "datasources"
][0]
COMPOSE = "github.com/compose-spec/compose-go/v2/cmd@v2.16.2"
"""What Docker Compose reads its files with."""


def binds(service: str) -> dict[str, Path]:
    """Return which file or folder of the repository is where in a container."""
    parts = [volume.split(":") for volume in SERVICES[service]["volumes"]]
    return {inside: (FOLDER / outside).resolve() for outside, inside, *_ in parts if outside.startswith(".")}


class TestFiles:
    """What the files say of each other."""

    @pytest.mark.parametrize("service", ["prometheus", "grafana"])
    def test_images_are_pinned(self, service: str) -> None:
        """Images are named with a version, and without a host."""
        assert re.fullmatch(r"\w+/\w+:v?\d+\.\d+\.\d+", SERVICES[service]["image"])

    @pytest.mark.parametrize("service", SERVICES)
    def test_only_this_machine_reaches_it(self, service: str) -> None:
        """Every port is published on loopback, under the number that it has inside."""
        for port in SERVICES[service]["ports"]:
            assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port)

    @pytest.mark.parametrize("service", ["prometheus", "grafana"])
    def test_what_is_mounted_is_there(self, service: str) -> None:
        """Every file and folder that a container is given is in the repository, and is read-only there."""
        assert len(binds(service)) > 1
        assert [] == [path for path in binds(service).values() if not path.exists()]
        assert all(volume.endswith(":ro") for volume in SERVICES[service]["volumes"] if volume[0] == ".")

    def test_meter_is_built_from_the_top(self) -> None:
        """The image is that of the Dockerfile, and the command one that Meter has."""
        args = _parser().parse_args(SERVICES["meter"]["command"])

        assert (FOLDER / SERVICES["meter"]["build"]).resolve() == TOP
        assert ("0.0.0.0", 8080, "0.0.0.0", 9464) == (args.host, args.port, args.admin_host, args.admin_port)  # noqa: S104 - in a container

    def test_prometheus_reads_meter_and_the_rules(self) -> None:
        """Prometheus finds its settings, the rules and Meter where the others put them."""
        told = yaml.safe_load(PROMETHEUS)
        (rules,) = told["rule_files"]
        folder, _, pattern = rules.rpartition("/")

        assert "--config.file=/etc/prometheus/prometheus.yml" in SERVICES["prometheus"]["command"]
        assert FOLDER / "prometheus.yml" == binds("prometheus")["/etc/prometheus/prometheus.yml"]
        assert [{"targets": ["meter:9464"]}] == told["scrape_configs"][0]["static_configs"]
        assert list(binds("prometheus")[folder].glob(pattern))

    def test_grafana_reads_prometheus_and_the_dashboards(self) -> None:
        """Grafana finds Prometheus, the dashboards and the one to open with where the others put them."""
        told = yaml.safe_load((FOLDER / "grafana" / "dashboards.yaml").read_text())
        dashboards = told["providers"][0]["options"]["path"]
        home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]

        assert ("http://prometheus:9090", "prometheus", True) == (
            DATASOURCE["url"],
            DATASOURCE["type"],
            DATASOURCE["isDefault"],
        )
        assert list(binds("grafana")[dashboards].glob("*.json"))
        assert (binds("grafana")[dashboards] / home.removeprefix(dashboards + "/")).exists()


@pytest.mark.real
def test_compose_takes_it() -> None:
    """What Docker Compose reads its files with finds nothing wrong, and every path is as it should be."""
    text = ran(
        needed("go", "apt-get install golang"), "run", COMPOSE, "-format=json", "compose.yaml", cwd=FOLDER
    )
    told = json.loads(text)["services"]
    sources = [v["source"] for name in told for v in told[name]["volumes"] if v["type"] == "bind"]

    assert {"meter", "prometheus", "grafana"} == set(told)
    assert str(TOP) == told["meter"]["build"]["context"]
    assert {str(path) for name in ("prometheus", "grafana") for path in binds(name).values()} == set(sources)


def beside(demo: str, folder: Path) -> Path:
    """Write Prometheus's settings for programs that run beside each other; return the file."""
    text = PROMETHEUS
    for inside, outside in (
        ("meter:9464", demo.removeprefix("http://")),
        ("/etc/prometheus/rules", str(TOP / "dashboards" / "rules")),
    ):
        assert 1 == text.count(inside)
        text = text.replace(inside, outside)
    (folder / "prometheus.yml").write_text(text)
    return folder / "prometheus.yml"


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    """Give the admin URL of the demo, run with the command of the example on free ports."""
    port = free_port()
    with process(*SERVICES["meter"]["command"], "--port", "0", "--admin-port", str(port)) as meter:
        until(lambda: meter.stdout.count(b"ready") >= 2, seconds=30)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def prometheus(demo: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the URL of a Prometheus with the settings and the options of the example."""
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    own = {"--config.file": beside(demo, folder), "--storage.tsdb.path": folder / "data"}
    told = dict(option.split("=", 1) for option in SERVICES["prometheus"]["command"])
    options = [f"{name}={value}" for name, value in (told | own).items()]
    argv = [
        needed("prometheus", INSTALL),
        *options,
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log) as running:  # noqa: S603 - ours
        try:
            until(lambda: reachable(port), seconds=30)
            yield f"http://127.0.0.1:{port}"
        finally:
            running.terminate()


@pytest.mark.real
class TestPrometheus:
    """A real Prometheus with these settings, before a real demo."""

    def test_settings_are_right(self, tmp_path: Path) -> None:
        """`promtool check config` has nothing to say, of the rules neither."""
        promtool = needed("promtool", INSTALL)

        assert "SUCCESS" in ran(promtool, "check", "config", beside("http://127.0.0.1:1", tmp_path))

    def test_it_scrapes(self, prometheus: str) -> None:
        """The demo is a target that is up."""
        query = {"query": 'up{job="meter"} == 1'}

        assert until(
            lambda: (asked(prometheus, "query", **query) or {}).get("result"), seconds=PATIENCE_SECONDS
        )

    def test_rules_are_evaluated(self, prometheus: str) -> None:
        """Every rule of the repository is there, and none fails."""

        def evaluated() -> Any:
            groups = (asked(prometheus, "rules") or {}).get("groups", [])
            rules = [rule for group in groups for rule in group["rules"]]
            return rules and all(rule["health"] != "unknown" for rule in rules) and rules

        rules = until(evaluated, seconds=90)
        files = (TOP / "dashboards" / "rules").glob("*.yaml")
        written = sum(
            len(group["rules"]) for file in files for group in yaml.safe_load(file.read_text())["groups"]
        )

        assert {"ok"} == {rule["health"] for rule in rules}
        assert written == len(rules)

    def test_a_point_leads_to_its_request(self, prometheus: str, demo: str) -> None:
        """What the data source links a point by is in Prometheus, and Meter knows the request."""
        (link,) = DATASOURCE["jsonData"]["exemplarTraceIdDestinations"]
        query = {"query": "meter_request_duration_seconds_bucket", "start": "0", "end": "9999999999"}
        series = until(lambda: asked(prometheus, "query_exemplars", **query), seconds=PATIENCE_SECONDS)
        name = series[-1]["exemplars"][-1]["labels"][link["name"]]
        path = link["url"].replace("$${__value.raw}", name).removeprefix("http://127.0.0.1:9464")

        status, _, body = get(demo, path)

        assert (200, name) == (status, json.loads(body)["id"])
