"""A real Prometheus has an answer to everything that the dashboards ask, once Meter has had some traffic."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from dashboards.asking import Asking
from dashboards.boards import BOARDS, queries
from stage import until
from test_app import free_port, process
from test_prometheus_real import INSTALL, prometheus
from tools import needed

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real

PATIENCE_SECONDS = 45
MAY_BE_EMPTY: dict[tuple[str, str], str] = {}
"""Panels without data under the demo's traffic, with the reason."""


@pytest.fixture(scope="module")
def scraping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the URL of a Prometheus that scrapes a Meter under the demo's traffic."""
    program = needed("prometheus", INSTALL)
    port = free_port()
    with (
        process("demo", "--port", "0", "--admin-port", str(port)) as meter,
        prometheus(program, f"127.0.0.1:{port}", tmp_path_factory.mktemp("prometheus")) as url,
    ):
        until(lambda: meter.stdout.count(b"ready") >= 2, seconds=30)
        yield url


@pytest.fixture(scope="module")
def deadline(scraping: str) -> float:
    """Give the time until which there may be nothing; it is the same for all dashboards."""
    assert scraping
    return time.monotonic() + PATIENCE_SECONDS


@pytest.mark.parametrize("name", BOARDS)
def test_every_panel_has_data(scraping: str, deadline: float, name: str) -> None:
    """Every query of every panel brings a number."""
    left = [(panel, target) for panel, target in queries(name) if (name, panel["title"]) not in MAY_BE_EMPTY]

    def empty() -> list[str]:
        asking = Asking(scraping, until=time.time(), span=300, scraped_every=1)
        left[:] = [
            (panel, target)
            for panel, target in left
            if not any(value is not None for line in asking.lines(panel, target) for value in line.values)
        ]
        return [f"{panel['title']}, {target['refId']}: {target['expr']}" for panel, target in left]

    while (missing := empty()) and time.monotonic() < deadline:
        time.sleep(0.5)

    assert [] == missing


@pytest.mark.parametrize("name", BOARDS)
def test_exemplars(scraping: str, deadline: float, name: str) -> None:
    """What asks for single requests beside its lines can have them, by trace."""
    asked = [target for _, target in queries(name) if target.get("exemplar")]
    asking = Asking(scraping, until=time.time(), span=300, scraped_every=1)

    while asked and not all(map(asking.traces, asked)) and time.monotonic() < deadline:
        time.sleep(0.5)

    assert [] == [target["expr"] for target in asked if not asking.traces(target)]
