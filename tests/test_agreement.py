"""Log, ledger, counters and reports say the same of what has passed: the demo's traffic, of every kind."""

from __future__ import annotations

import asyncio
import io
import json
from collections import Counter, defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import create_engine, text

from meter import app, cli
from meter.demo import PRICES, demo_settings
from meter.demo.traffic import SCENARIOS, run_traffic
from meter.demo.upstream import SimulatedUpstream
from meter.exchange import KINDS

if TYPE_CHECKING:
    from pathlib import Path


class Told:
    """What each of those who are told has said."""

    def __init__(self, log: bytes, metrics: str, shown: list[dict[str, Any]], database: Path) -> None:
        told = [json.loads(line, parse_float=Decimal) for line in log.splitlines()]
        self.lines = {line["id"]: line for line in told if line["event"] == "exchange"}
        """By the log."""
        self.shown = {exchange["id"]: exchange for exchange in shown}
        """By the admin port."""
        self.samples = [
            sample for family in text_string_to_metric_families(metrics) for sample in family.samples
        ]
        self.database = database

    @property
    def url(self) -> str:
        """The ledger's."""
        return f"sqlite:///{self.database}"

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return a table of the ledger as it is on disk."""
        with create_engine(self.url).connect() as connection:
            return [dict(row) for row in connection.execute(text(f"SELECT * FROM {table}")).mappings()]  # noqa: S608 - a name of ours

    def counted(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Return the sums of a metric's samples by some of their labels, those that are 0 left out."""
        sums: dict[tuple[str, ...], float] = defaultdict(float)
        for sample in self.samples:
            if sample.name == name:
                sums[tuple(sample.labels[label] for label in labels)] += sample.value
        return {key: value for key, value in sums.items() if value}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Give what is told of two rounds of the demo's traffic."""
    folder = tmp_path_factory.mktemp("agreement")
    prices = folder / "prices.yaml"
    prices.write_text(PRICES)
    log = io.BytesIO()

    async def play() -> tuple[str, list[dict[str, Any]]]:
        upstream = SimulatedUpstream(pace=0.01, keep=10_000)
        async with TestServer(upstream.app()) as server, asyncio.timeout(60):
            settings = demo_settings(str(server.make_url("/v1")), prices, port=0, admin_port=0)
            async with app.serving(settings, stream=log) as running:
                stop = asyncio.Event()
                sending = asyncio.create_task(run_traffic(running.url, stop=stop, pace=0.02))
                while len(upstream.seen) < 2 * len(SCENARIOS):  # noqa: ASYNC110  # only tests wait for it
                    await asyncio.sleep(0.01)
                stop.set()
                await sending
                await running.drained()
                async with aiohttp.ClientSession(running.admin_url) as admin:
                    passed = log.getvalue().count(b'"event":"exchange"')
                    shown: list[dict[str, Any]] = []
                    while len(shown) < passed:
                        async with admin.get("/api/exchanges?limit=1000") as answer:
                            shown = (await answer.json(loads=_exact))["exchanges"]
                    async with admin.get("/metrics") as answer:
                        return await answer.text(), shown

    metrics, shown = asyncio.run(play())
    return Told(log.getvalue(), metrics, shown, folder / "ledger.db")


def _exact(raw: str) -> Any:
    return json.loads(raw, parse_float=Decimal)


def test_admin_port_and_log(told: Told) -> None:
    """The admin port tells of each exchange what the log does, every digit of it, and of no other."""
    assert told.lines == told.shown


def test_rows_and_log(told: Told) -> None:
    """The ledger has a row for each line of the log, with its cost to the last digit."""
    rows = {row["id"]: row for row in told.rows("exchanges")}

    assert {id_: _columns(line) for id_, line in told.lines.items()} == {
        id_: {name: row[name] for name in _columns(told.lines[id_])} for id_, row in rows.items()
    }


def _columns(line: dict[str, Any]) -> dict[str, Any]:
    """Give what a row of SQLite has where the log has this line."""
    pico = {
        name.replace("_usd", "_pico_usd"): None if line[name] is None else int(line[name] * 10**12)
        for name in ("cost_usd", "provider_cost_usd")
    }
    whole = ("id", "timestamp", "upstream", "model", "key", "outcome", "error_type", "status", "attempts")
    return pico | {name: line[name] for name in whole}


def test_requests(told: Told) -> None:
    """The counter of requests, by upstream, operation and outcome, counts the lines of the log."""
    by = ("upstream", "operation", "outcome")

    assert Counter(tuple(line[name] for name in by) for line in told.lines.values()) == told.counted(
        "meter_requests_total", *by
    )


def test_tokens(told: Told) -> None:
    """Tokens by kind are the same in counters, log, rows and hourly sums."""
    logged: Counter[str] = Counter()
    for line in told.lines.values():
        logged.update(line["usage"])
    summed = {kind: sum(row[kind] for row in told.rows("rollups")) for kind in KINDS}

    assert +logged == {kind: n for (kind,), n in told.counted("meter_tokens_total", "kind").items()}
    assert +logged == {kind: n for kind, n in summed.items() if n}


def test_cost(told: Told) -> None:
    """The cost is the same in log, rows and hourly sums to the last digit, and in the counter to 1e-9."""
    logged = sum((line["cost_usd"] or Decimal(0) for line in told.lines.values()), Decimal(0))
    pico = int(logged * 10**12)

    assert pico == sum(row["cost_pico_usd"] or 0 for row in told.rows("exchanges"))
    assert pico == sum(row["cost_pico_usd"] or 0 for row in told.rows("rollups"))
    assert sum(told.counted("meter_cost_usd_total").values()) == pytest.approx(float(logged), rel=1e-9)


@pytest.mark.parametrize("by", ["key", "model,key", "upstream", "day", "outcome,usage_source", "tag.team"])
def test_report(told: Told, by: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a report is by, its total is what the log has, and its rows add up to the total."""
    assert cli.main(["report", "--by", by, "--format", "json", "--ledger", told.url]) == 0
    report = _exact(capsys.readouterr().out)
    logged = sum((line["cost_usd"] or Decimal(0) for line in told.lines.values()), Decimal(0))

    assert len(told.lines) == report["total"]["requests"]
    assert logged == report["total"]["cost_usd"]
    for name in ("requests", "errors", "unpriced_tokens"):
        assert report["total"][name] == sum(row[name] for row in report["rows"])
    assert logged == sum((row["cost_usd"] or 0 for row in report["rows"]), Decimal(0))


def test_repricing_by_the_same_prices(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    """Who prices anew by the same prices changes nothing."""
    config = told.database.parent / "meter.yaml"
    config.write_text("prices: {files: [prices.yaml]}\n")
    argv = ["reprice", "--since", "1d", "--write", "--config", str(config), "--ledger", told.url]

    assert cli.main(argv) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("None of ")


def test_missing(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    """Models without a price are told with as many tokens as the counter has of them."""
    assert cli.main(["prices", "missing", "--format", "json", "--ledger", told.url]) == 0
    missing = json.loads(capsys.readouterr().out)["missing"]

    assert sum(one["tokens"] for one in missing) == sum(told.counted("meter_unpriced_tokens_total").values())
