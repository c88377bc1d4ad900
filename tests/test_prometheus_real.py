"""A real Prometheus scrapes a real Meter: what is exposed is what it can read, keep and answer for."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from stage import until
from test_app import free_port, get, process
from test_promises import METRICS
from tools import needed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

INSTALL = "apt-get install -y --no-install-recommends prometheus"
EMPTY_IN_THE_DEMO = {
    "meter_draining",
    "meter_drains_in_flight",
    "meter_sink_errors_total",
    "meter_sink_dropped_total",
    "meter_worker_restarts_total",
}
"""What a demo that goes well leaves at 0."""
PATIENCE_SECONDS = 25
"""The demo's first round of traffic takes some time, and a slow machine more."""


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    """Give the admin URL of a Meter under the demo's traffic."""
    port = free_port()
    with process("demo", "--port", "0", "--admin-port", str(port)) as meter:
        until(lambda: meter.stdout.count(b"ready") >= 2, seconds=30)
        yield f"http://127.0.0.1:{port}"


@contextmanager
def prometheus(program: str, target: str, folder: Path) -> Iterator[str]:
    """Run Prometheus with one target, scraped every half second; yield its URL."""
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 500ms, scrape_timeout: 500ms}\n"
        f"scrape_configs: [{{job_name: meter, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    port = free_port()
    argv = [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
    ]
    log = (folder / "prometheus.log").open("wb")
    with log, subprocess.Popen(argv, stdout=log, stderr=log) as running:  # noqa: S603 - our own arguments
        try:
            until(lambda: reachable(port), seconds=30)
            yield f"http://127.0.0.1:{port}"
        finally:
            running.terminate()


def reachable(port: int) -> bool:
    """Tell whether somebody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def asked(url: str, path: str, **parameters: str | int) -> Any:
    """Return what Prometheus's API answers; None while it is not ready."""
    try:
        with urlopen(f"{url}/api/v1/{path}?{urlencode(parameters)}", timeout=10) as answer:  # noqa: S310 - loopback
            return json.load(answer)["data"]
    except URLError:
        return None


@pytest.fixture(scope="module")
def scraping(demo: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the URL of a Prometheus that scrapes the demo."""
    program = needed("prometheus", INSTALL)
    target = demo.removeprefix("http://")
    with prometheus(program, target, tmp_path_factory.mktemp("prometheus")) as url:
        yield url


def test_target_is_up(scraping: str) -> None:
    """Scrapes succeed, without a word of complaint."""

    def scraped() -> Any:
        told = asked(scraping, "targets")
        return told and [t for t in told["activeTargets"] if t["health"] != "unknown"]

    (target,) = until(scraped, seconds=20)
    assert ("up", "") == (target["health"], target["lastError"])


@pytest.mark.parametrize("name", METRICS)
def test_series(scraping: str, name: str) -> None:
    """The demo fills every metric, and Prometheus knows its type and finds its series."""
    kind, labels = METRICS[name]
    sample = name + ("_count" if kind == "histogram" else "")
    least = "0" if name in EMPTY_IN_THE_DEMO or name == "meter_label_overflow_total" else "1e-9"
    told = until(
        lambda: (asked(scraping, "query", query=f"max_over_time({sample}[5m]) >= {least}") or {}).get(
            "result"
        ),
        seconds=PATIENCE_SECONDS,
    )

    assert labels <= set(told[0]["metric"]) | {"team"}
    (about,) = asked(scraping, "metadata", metric=name.removesuffix("_total") if kind == "counter" else name)[
        name.removesuffix("_total") if kind == "counter" else name
    ]
    assert (kind, True) == (about["type"], bool(about["help"]))


def test_quantiles(scraping: str) -> None:
    """Buckets of the time to the first token give a quantile."""
    query = "histogram_quantile(0.5, sum by (le) (rate(meter_time_to_first_token_seconds_bucket[30s])))"

    def quantile() -> float | None:
        result = (asked(scraping, "query", query=query) or {}).get("result")
        return float(result[0]["value"][1]) if result and result[0]["value"][1] != "NaN" else None

    assert 0 < until(quantile, seconds=PATIENCE_SECONDS) < 60


def test_exemplars(scraping: str) -> None:
    """A trace that a client began is found from the series that it went into."""

    def found() -> Any:
        query = {"query": "meter_request_duration_seconds_bucket", "start": "0", "end": "9999999999"}
        return asked(scraping, "query_exemplars", **query)

    told = until(found, seconds=PATIENCE_SECONDS)
    traces = {e["labels"]["trace_id"] for series in told for e in series["exemplars"]}
    assert traces
    assert all(re.fullmatch(r"[0-9a-f]{32}", trace) for trace in traces)


def test_lint(demo: str) -> None:
    """`promtool check metrics` has nothing to say of the text format."""
    promtool = needed("promtool", INSTALL)
    _, _, text = get(demo, "/metrics")

    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)  # noqa: S603

    assert (0, "", "") == (done.returncode, done.stdout.decode(), done.stderr.decode())
