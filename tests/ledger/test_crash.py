"""Meter under load is killed, its database stops, and the ledger still has every exchange, once.

`meter serve` runs as a process, its log in a file; upstream and clients are here, on loopback. Clients note
the id of every answer and when its last byte came, which is what the ledger is held to.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from ledgers import postgresql
from load import Stage
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import func, select
from stage import until

from meter.exchange import KINDS
from meter.ledger.database import Database
from meter.ledger.schema import SUMS
from meter.ledger.sums import rollup_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from load import Load

HEAD_SECONDS = 1.0
"""What ended so long before a kill is in the ledger."""

LOG_SECONDS = 0.2
"""What ended so long before a kill is in the log; a row of the last moment may be ahead of its line."""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Give an upstream, and clients for whatever is before it."""
    stage = Stage()
    yield stage
    stage.close()


# --- Meter ---


class Meter:
    """`meter serve` as a process with a ledger, whose log goes to a file."""

    def __init__(self, upstream: str, ledger: str, log: Path) -> None:
        self._log = log
        self._from = log.stat().st_size if log.exists() else 0
        argv = ["serve", "--upstream", f"{upstream}/v1", "--port", "0", "--admin-port", "0"]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("METER_")}
        with log.open("ab") as stream:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter with our own arguments
                [sys.executable, "-m", "meter", *argv, "--ledger", ledger],
                cwd=Path(__file__).parents[2],
                env=environ | {"XDG_STATE_HOME": str(log.parent / "state")},
                stdin=subprocess.DEVNULL,
                stdout=stream,
            )
        self.url = self.admin_url = ""

    def ready(self) -> Meter:
        """Wait until it listens."""

        def both() -> dict[str, str] | None:
            assert self._process.poll() is None
            with self._log.open("rb") as log:
                log.seek(self._from)
                urls = {line["listener"]: line["url"] for line in lines(log.read(), "ready")}
            return urls if len(urls) == 2 else None

        urls = until(both, seconds=30)
        self.url, self.admin_url = urls["proxy"], urls["admin"]
        return self

    def kill(self) -> float:
        """Kill it; return when, on the monotonic clock."""
        now = time.monotonic()
        self._process.kill()
        assert -signal.SIGKILL == self._process.wait(30)
        return now

    def end(self) -> float:
        """Tell it to end, which it should; return how many seconds it took."""
        began = time.monotonic()
        self._process.terminate()
        assert 0 == self._process.wait(30)
        return time.monotonic() - began

    def close(self) -> None:
        """End it, whatever it is doing."""
        if self._process.poll() is None:
            self.kill()


@contextmanager
def metering(upstream: str, ledger: str, log: Path) -> Iterator[Meter]:
    """Run a process for as long as the context lasts."""
    meter = Meter(upstream, ledger, log)
    try:
        yield meter.ready()
    finally:
        meter.close()


def lines(log: bytes, event: str = "exchange") -> list[dict[str, Any]]:
    """Give the log's whole lines of one event, numbers as they are written."""
    whole = (line for line in log.splitlines(keepends=True) if line.endswith(b"\n"))
    told = (json.loads(line, parse_float=Decimal) for line in whole)
    return [line for line in told if line["event"] == event]


def counters(admin_url: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Scrape a proxy; give the sums of some counters, those that are 0 left out."""

    async def scrape() -> str:
        async with aiohttp.ClientSession() as session, session.get(f"{admin_url}/metrics") as answer:
            return await answer.text()

    by: dict[str, tuple[str, ...]] = {
        "meter_requests_total": (),
        "meter_tokens_total": ("kind",),
        "meter_cost_usd_total": (),
        "meter_sink_dropped_total": (),
        "meter_sink_errors_total": (),
    }
    sums: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in by}
    for family in text_string_to_metric_families(asyncio.run(scrape())):
        for sample in family.samples:
            if sample.name in by and sample.value:
                key = tuple(sample.labels[label] for label in by[sample.name])
                sums[sample.name][key] = sums[sample.name].get(key, 0) + sample.value
    return sums


# --- the ledger ---


class Rows:
    """What a ledger has."""

    def __init__(self, url: str) -> None:
        database = Database(url)
        tables = database.tables
        with database.engine.connect() as connection:
            keys = tables.exchanges.columns.keys()
            found = [
                dict(zip(keys, row, strict=True)) for row in connection.execute(select(tables.exchanges))
            ]
            sums = connection.execute(select(*(func.sum(tables.rollups.c[name]) for name in SUMS))).one()
        database.close()
        self.by_id = {str(row["id"]): row for row in found}
        self.rollups = dict(zip(SUMS, sums, strict=True))

    def check_rollups(self) -> None:
        """Hold the rollups to what the rows add up to: none is missing, none counts twice."""
        added = [rollup_of(row) for row in self.by_id.values()]
        exact = [name for name in SUMS if name in ("requests", "errors", "cost_usd", *KINDS)]
        assert {name: sum(each[name] for each in added) for name in exact} == {
            name: self.rollups[name] for name in exact
        }


def told(row: dict[str, Any]) -> dict[str, Any]:
    """Give what a row and a line of the log agree in."""
    same = ("id", "upstream", "operation", "model", "key", "outcome", "error_type", "status", "cost_usd")
    return {name: row[name] for name in same} | {
        "usage": row["usage"] if isinstance(row["usage"], dict) else json.loads(row["usage"])
    }


def check_lines(rows: Rows, log: bytes, ids: Iterable[str]) -> None:
    """Hold rows to their lines of the log: the same request, tokens by kind, and cost to the last digit.

    Those of `ids` have one; others may lack it.
    """
    logged = {line["id"]: told(line) for line in lines(log)}
    asked = (logged.keys() | ids) & rows.by_id.keys()
    assert {id_: told(rows.by_id[id_]) for id_ in asked} == {id_: logged.get(id_) for id_ in asked}


# --- kills ---


def killed(stage: Stage, ledger: str, log: Path, times: int) -> set[str]:
    """Kill a process after it served for a bit more than a second, and look for what ended before.

    Returns the ids of what the log should have.
    """
    logged: set[str] = set()
    for n in range(times):
        with metering(stage.url, ledger, log) as meter, stage.load(meter.url) as load:
            _more(load, 1)
            time.sleep(HEAD_SECONDS + 0.05 + 0.37 * n % 0.4)
            at = meter.kill()
        safe = {id_ for id_, ended in load.ended.items() if ended <= at - HEAD_SECONDS}
        assert safe
        assert [] == [failed for failed in load.failures if failed < at]
        missing = safe - _known(ledger, safe)
        last = max((load.ended[id_] for id_ in missing), default=0.0)
        assert set() == missing, f"{len(missing)} of {len(safe)}, the last ended {at - last:.3f} s before"
        logged.update(id_ for id_, ended in load.ended.items() if ended <= at - LOG_SECONDS)
    return logged


def _known(ledger: str, ids: set[str]) -> set[str]:
    database = Database(ledger)
    try:
        with database.engine.connect() as connection:
            return ids & set(connection.scalars(select(database.tables.exchanges.c.id)))
    finally:
        database.close()


def test_five_kills(stage: Stage, tmp_path: Path) -> None:
    """Whoever is killed has what ended a second before in the ledger, and rows say what the log says."""
    ledger, log = f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path / "log"
    logged = killed(stage, ledger, log, 5)
    rows = Rows(ledger)
    rows.check_rollups()
    check_lines(rows, log.read_bytes(), logged)


@pytest.mark.real
def test_fifty_kills(stage: Stage, tmp_path: Path) -> None:
    """Two at a time on one ledger, twenty-five times: nothing is lost, and nothing counts twice."""
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    logs = [tmp_path / "log1", tmp_path / "log2"]
    with ThreadPoolExecutor(2) as pool:
        logged = set().union(*pool.map(lambda log: killed(stage, ledger, log, 25), logs))
    with metering(stage.url, ledger, logs[0]) as meter:  # adopts what the killed had spilled
        until(lambda: not list(tmp_path.glob("state/meter/ledger-spill-*")))
        meter.end()
    rows = Rows(ledger)
    rows.check_rollups()
    check_lines(rows, b"".join(log.read_bytes() for log in logs), logged)


def test_orderly_end(stage: Stage, tmp_path: Path) -> None:
    """After an orderly end the counters, the log and the ledger say the same of every answer."""
    ledger, log = f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path / "log"
    with metering(stage.url, ledger, log) as meter:
        with stage.load(meter.url) as load:
            until(lambda: len(load.ended) >= 500, seconds=30)
        until(lambda: len(load.ended) == counters(meter.admin_url)["meter_requests_total"][()])
        counted = counters(meter.admin_url)
        meter.end()
    rows, logged = Rows(ledger), [told(line) for line in lines(log.read_bytes())]
    cost = sum((line["cost_usd"] for line in logged), Decimal(0))
    tokens = sum((Counter(line["usage"]) for line in logged), Counter[str]())

    assert [] == load.failures
    assert sorted(load.ended) == sorted(rows.by_id) == sorted(line["id"] for line in logged)
    rows.check_rollups()
    check_lines(rows, log.read_bytes(), load.ended)
    assert cost == sum(row["cost_usd"] for row in rows.by_id.values())
    assert {(kind,): n for kind, n in tokens.items() if n} == counted["meter_tokens_total"]
    assert float(cost) == pytest.approx(counted["meter_cost_usd_total"][()], rel=1e-9)


# --- a fleet ---


@pytest.mark.real
def test_four_proxies(stage: Stage, tmp_path: Path) -> None:
    """Four that write into one PostgreSQL, which stops and starts, lose nothing and let nobody fail."""
    with postgresql() as server, ExitStack() as stack:
        ledger, logs = server.fresh(), [tmp_path / f"log{n}" for n in range(4)]
        meters = [stack.enter_context(metering(stage.url, ledger, log)) for log in logs]
        with stage.load(*(meter.url for meter in meters), pause=0.02) as load:
            for _ in range(2):
                _more(load, 300)
                server.stop()
                _more(load, 300)
                server.start()
            _more(load, 300)
        assert [] == load.failures
        until(lambda: load.ended.keys() <= _known(ledger, set(load.ended)), seconds=30)
        dropped = [counters(meter.admin_url)["meter_sink_dropped_total"] for meter in meters]
        assert 6 > max(meter.end() for meter in meters)
        rows = Rows(ledger)
    assert [{}] * 4 == dropped
    assert sorted(load.ended) == sorted(rows.by_id)
    rows.check_rollups()
    check_lines(rows, b"".join(log.read_bytes() for log in logs), load.ended)


def _more(load: Load, requests: int) -> None:
    enough = len(load.ended) + requests
    until(lambda: len(load.ended) >= enough, seconds=30)
