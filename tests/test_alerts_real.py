"""Real Prometheus, a real Alertmanager, a real Meter under traffic: what the rules find, and who hears of it.

Two versions of Prometheus watch the same Meter at once, with the rules as they are, looked at every second.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import promql_parser
import pytest
import yaml
from aiohttp import web
from prometheus import VERSIONS, program
from stage import Loop, running_app, until
from test_app import free_port, process
from test_prometheus_real import asked, reachable
from test_rules import ALERTS, COMMANDS, EXPRESSIONS, QUERIES, RECORDS, ROOT, RULES
from tools import needed

from meter.demo import PRICES
from meter.demo.traffic import KEYS, run_traffic
from meter.demo.upstream import SimulatedUpstream
from meter.keys import Credential

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from test_app import Process

pytestmark = pytest.mark.real

PATIENCE_SECONDS = 90
"""Means over hours are read minute by minute, so they may take a minute to begin; over days, five."""
WHILE_BURNING = {"upstream:meter_slo_budget:fast_burn", "upstream:meter_slo_budget:slow_burn"}
"""Recorded only while too much fails."""
UNHEARD = {'meter_accounting_total{usage_source="missing"}'}
"""What only an upstream would cause that tells nothing and shows nothing."""
CAUSED = {
    "MeterUnpricedTokens": "models of the house have no price",
    "MeterCostMismatch": "one model costs more at the upstream than in the price file",
    "MeterErrorsBurnFast": "more models are broken than anywhere else",
    "MeterErrorsBurnSlow": "the same",
    "MeterFirstTokenBurnSlow": "one model thinks for three seconds",
    "MeterStreamsTruncated": "one model's streams are cut",
    "MeterRateLimited": "one key is always refused",
    "MeterBudgetWillBeSpent": "a budget is small",
    "MeterBudgetNearlySpent": "the same",
    "MeterBudgetSpent": "the same",
    "MeterPriceCatalogueOld": "the bundled catalogue is as old as this version",
}
"""What the traffic gives reason for, and why."""
ALWAYS = {"MeterUnpricedTokens"}
"""Of those, what fires at once, whatever the hour."""
BUSY = {"MeterEventLoopLag", "MeterOverheadHigh", "MeterFirstTokenBurnFast"}
"""What a machine that is busy with other tests causes, if it lasts."""


@dataclass
class Stage:
    """All that runs, by its address."""

    folder: Path
    meter: Process
    admin_url: str
    second: contextlib.ExitStack
    """The second upstream; closed, it is down."""
    alertmanager: str = ""
    prometheus: dict[str, str] = field(default_factory=dict)
    """By version."""
    heard: list[dict[str, Any]] = field(default_factory=list)
    """What the webhook was told."""


def told_meter(folder: Path, first: str, second: str) -> str:
    """Write the settings of a Meter with two upstreams; return the file."""
    (folder / "prices.yaml").write_text(PRICES)
    keys = [{"name": n, "fingerprint": Credential(key.encode()).fingerprint(None)} for n, key in KEYS.items()]
    settings = {
        "upstreams": [
            {"name": "openai", "base_url": f"{first}/v1", "default": True},
            {"name": "second", "base_url": f"{second}/v1", "prefix": "/second"},
        ],
        "keys": keys,
        "prices": {"files": ["prices.yaml"]},
        "budgets": [{"name": "support", "key": "support-team", "usd": 0.2, "period": "hour"}],
        "ledger": {"url": f"sqlite:///{folder / 'ledger.db'}"},
        "port": 0,
        "admin_port": 0,
    }
    (folder / "meter.yaml").write_text(yaml.safe_dump(settings))
    return str(folder / "meter.yaml")


def told_alertmanager(folder: Path, webhook: str) -> str:
    """Write the settings of an Alertmanager that tells a webhook of everything at once; return the file."""
    route = {"receiver": "webhook", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s"}
    told = {"route": route, "receivers": [{"name": "webhook", "webhook_configs": [{"url": webhook}]}]}
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(told))
    return str(folder / "alertmanager.yml")


def told_prometheus(folder: Path, version: str, meter: str, alertmanager: str) -> str:
    """Write the settings of a Prometheus that asks all rules every second; return the file."""
    told = {
        "global": {
            "scrape_interval": "1s",
            "scrape_timeout": "1s",
            "evaluation_interval": "1s",
            "external_labels": {"prometheus": version},
        },
        "rule_files": [str(file) for file in RULES],
        "scrape_configs": [{"job_name": "meter", "static_configs": [{"targets": [meter]}]}],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
    }
    (folder / f"{version}.yml").write_text(yaml.safe_dump(told))
    return str(folder / f"{version}.yml")


@contextlib.contextmanager
def serving(folder: Path, *argv: str) -> Iterator[str]:
    """Run a program that listens where it is told to; yield host and port."""
    port = free_port()
    with (folder / f"{port}.log").open("wb") as log:
        command = [*argv, f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
        running = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - our own arguments
        try:
            until(lambda: reachable(port), seconds=30)
            yield f"127.0.0.1:{port}"
        finally:
            running.terminate()
            running.wait(30)


@contextlib.contextmanager
def traffic(*urls: str) -> Iterator[None]:
    """Send the demo's traffic to each of these."""
    loop, stop = Loop(), asyncio.Event()
    sending = [asyncio.run_coroutine_threadsafe(run_traffic(url, stop=stop), loop._loop) for url in urls]
    try:
        yield
    finally:
        loop._loop.call_soon_threadsafe(stop.set)
        for each in sending:
            each.result(60)
        loop.close()


@contextlib.contextmanager
def webhook(heard: list[dict[str, Any]]) -> Iterator[str]:
    """Run what Alertmanager tells of alerts."""

    async def hear(request: web.Request) -> web.Response:
        heard.append(await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_post("/", hear)
    with running_app(app) as url:
        yield f"{url}/"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Give Meter before two upstreams under traffic, two Prometheus that watch it, and their Alertmanager."""
    folder = tmp_path_factory.mktemp("alerts")
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(running_app(SimulatedUpstream().app()))
        gone = stack.enter_context(contextlib.ExitStack())
        second = gone.enter_context(running_app(SimulatedUpstream().app()))
        meter = stack.enter_context(process("serve", "--config", told_meter(folder, first, second)))
        url, admin_url = meter.ready()
        it = Stage(folder, meter, admin_url, gone)
        stack.enter_context(traffic(url, f"{url}/second"))
        told = told_alertmanager(folder, stack.enter_context(webhook(it.heard)))
        alertmanager = program("prometheus-alertmanager")
        data = f"--storage.path={folder / 'alertmanager'}"
        it.alertmanager = stack.enter_context(
            serving(folder, alertmanager, f"--config.file={told}", data, "--cluster.listen-address=")
        )
        for version in VERSIONS:
            told = told_prometheus(folder, version, it.admin_url.removeprefix("http://"), it.alertmanager)
            data = f"--storage.tsdb.path={folder / version}"
            address = stack.enter_context(
                serving(folder, program("prometheus", version), f"--config.file={told}", data)
            )
            it.prometheus[version] = f"http://{address}"
        yield it


def query(stage: Stage, version: str, expression: str) -> list[dict[str, Any]]:
    """Return the series that an expression gives; none while Prometheus is not ready."""
    told = asked(stage.prometheus[version], "query", query=expression)
    return list(told["result"]) if told else []


def silent(stage: Stage, version: str, expressions: set[str]) -> set[str]:
    """Return which of these expressions give nothing, however long one waits."""
    left = set(expressions)

    def all_said() -> bool:
        left.difference_update([each for each in left if query(stage, version, each)])
        return not left

    with contextlib.suppress(AssertionError):
        until(all_said, seconds=PATIENCE_SECONDS)
    return left


def selectors_in(node: Any) -> Iterator[str]:
    """Yield what an expression asks for, without the times for which it does."""
    if isinstance(node, promql_parser.VectorSelector):
        yield re.sub(r" offset \w+", "", node.prettify())
    for name in ("lhs", "rhs", "expr", "args", "vector_selector"):
        inner = getattr(node, name, None)
        for each in inner if isinstance(inner, list) else [inner]:
            if each is not None:
                yield from selectors_in(each)


def test_alertmanager_takes_its_settings(tmp_path: Path) -> None:
    """The Alertmanager of these tests has settings that are right."""
    file = told_alertmanager(tmp_path, "http://127.0.0.1:1/")
    done = subprocess.run([program("amtool"), "check-config", file], capture_output=True, check=False)  # noqa: S603 - our own arguments

    assert (0, b"") == (done.returncode, done.stderr)


@pytest.mark.parametrize("version", VERSIONS)
def test_records(stage: Stage, version: str) -> None:
    """Every recording rule has something to say of the traffic."""
    means = "upstream:meter_slo_events:avg_rate5m"
    windows = {f'{means}{{window="{each}"}}' for each in ("5m", "30m", "1h", "2h", "6h")}

    assert set() == silent(stage, version, (RECORDS - WHILE_BURNING) | windows)


@pytest.mark.parametrize("version", VERSIONS)
def test_selectors(stage: Stage, version: str) -> None:
    """Every selector of a rule finds a series, so no rule waits for what never comes."""
    selectors = {each for expression in EXPRESSIONS for each in selectors_in(promql_parser.parse(expression))}
    early = {each for each in selectors if each.partition("{")[0] in WHILE_BURNING}
    early |= {each for each in selectors if "window=" in each}  # these want hundreds of requests

    assert set() == silent(stage, version, selectors - early - UNHEARD)


@pytest.mark.parametrize("version", VERSIONS)
def test_rules_are_healthy(stage: Stage, version: str) -> None:
    """No rule fails to be evaluated, and every one was."""

    def evaluated() -> Any:
        groups = (asked(stage.prometheus[version], "rules") or {"groups": []})["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return rules and all(rule["health"] != "unknown" for rule in rules) and rules

    rules = until(evaluated, seconds=PATIENCE_SECONDS)
    assert len(EXPRESSIONS) == len(rules)
    assert [] == [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] != "ok"]


@pytest.mark.parametrize("version", VERSIONS)
def test_alerts_are_those_that_the_traffic_causes(stage: Stage, version: str) -> None:
    """No alert fires, or is about to, that the traffic gives no reason for."""
    firing = {f'ALERTS{{alertname="{name}", alertstate="firing"}}' for name in ALWAYS}
    assert set() == silent(stage, version, firing)

    there = {series["metric"]["alertname"] for series in query(stage, version, "ALERTS")}

    assert set() == there - CAUSED.keys() - BUSY


@pytest.mark.parametrize("version", VERSIONS)
def test_queries_of_the_pages(stage: Stage, version: str) -> None:
    """Prometheus answers every query of a runbook, if only with nothing."""
    assert QUERIES
    for expression in QUERIES:
        assert asked(stage.prometheus[version], "query", query=expression)["resultType"] in (
            "vector",
            "scalar",
        )


def run(argv: list[str], folder: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end."""
    return subprocess.run(argv, cwd=folder, env=environ, capture_output=True, check=False, timeout=60)  # noqa: S603 - our own pages


def test_commands_of_the_pages(stage: Stage) -> None:
    """Every command of a runbook works, beside a log and a ledger."""
    for name in ("jq", "curl"):
        needed(name, f"apt-get install -y --no-install-recommends {name}")
    log, _, _ = stage.meter.stdout.rpartition(b"\n")
    (stage.folder / "meter.log").write_bytes(log)
    environ = {**os.environ, "METER_CONFIG": str(stage.folder / "meter.yaml"), "PYTHONPATH": str(ROOT)}
    failed = {}
    for command in COMMANDS:
        first, *rest = shlex.split(command.replace("http://127.0.0.1:9464", stage.admin_url))
        argv = [sys.executable, "-m", "meter", *rest] if first == "meter" else [first, *rest]
        done = run(argv, stage.folder, environ)
        if done.returncode:
            failed[command] = done.stderr.decode()

    assert {} == failed


def test_upstream_goes_down(stage: Stage) -> None:
    """Once an upstream is gone, both Prometheus say so, Alertmanager knows, and whom it tells has heard."""
    stage.second.close()

    url = f"http://{stage.alertmanager}/api/v2/alerts?filter=alertname%3DMeterUpstreamDown"

    def known() -> Any:
        with urlopen(url) as answer:
            alerts = json.load(answer)
        return len(alerts) == len(VERSIONS) and alerts

    alerts = until(known, seconds=180)
    runbook = ALERTS["MeterUpstreamDown"]["annotations"]["runbook"]
    assert {("second", "critical", "meter", version) for version in VERSIONS} == {
        (labels["upstream"], labels["severity"], labels["job"], labels["prometheus"])
        for labels in (alert["labels"] for alert in alerts)
    }
    assert {("second cannot be reached", runbook)} == {
        (told["summary"], told["runbook"]) for told in (alert["annotations"] for alert in alerts)
    }

    def heard() -> set[str]:
        alerts = [alert for told in stage.heard for alert in told["alerts"]]
        return {a["labels"]["prometheus"] for a in alerts if a["labels"]["alertname"] == "MeterUpstreamDown"}

    assert until(lambda: heard() == set(VERSIONS), seconds=30)
