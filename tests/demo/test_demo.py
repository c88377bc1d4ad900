"""The demo as a whole, on free ports."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from meter import app
from meter.demo import PRICES, demo_settings, run, summary
from meter.demo.traffic import SCENARIOS, run_traffic
from meter.demo.upstream import SimulatedUpstream
from meter.exchange import UNITS

if TYPE_CHECKING:
    from pathlib import Path

METRICS = """\
# HELP meter_requests_total Requests
# TYPE meter_requests_total counter
meter_requests_total{code="200",outcome="ok"} 1200.0
meter_requests_total{code="404",outcome="client_error"} 34.0
meter_requests_total{code="200",outcome="client_closed"} 5.0
meter_tokens_total{kind="input"} 5e+06
meter_tokens_total{kind="output"} 1.0
meter_unpriced_tokens_total{model="a \\" } 7"} 12.0
meter_cost_usd_total{model="a"} 0.25
meter_cost_usd_total{model="b"} 1e-06
meter_draining 0.0
"""


def test_demo_tells_where_to_look_and_what_went_by(capfd: pytest.CaptureFixture[str]) -> None:
    """For as long as it is given the demo sends traffic, then it sums up and succeeds."""
    code = run(port=0, admin_port=0, seconds=4)
    out, told = capfd.readouterr()

    assert code == 0
    assert re.search(r"Metrics +http://127\.0\.0\.1:\d+/metrics\n", told)
    assert re.search(r"Base URL +http://127\.0\.0\.1:\d+/v1 ", told)
    assert "exchange" in {json.loads(line)["event"] for line in out.splitlines()}
    assert re.search(r"\nrequests  [1-9]\d*: .*\ntokens    .*\nUSD       [\d.]+\n$", told)


def test_demo_on_every_address_is_told_by_one_that_can_be_followed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """In a container the demo listens on every address, says so in the log, and is told of as on loopback."""
    everywhere = "0.0.0.0"  # noqa: S104 - what is tested
    code = run(host=everywhere, port=0, admin_host=everywhere, admin_port=0, seconds=0.2, traffic=False)
    out, told = capfd.readouterr()

    assert code == 0
    assert 2 == len(re.findall(r'"url":"http://0\.0\.0\.0:\d+"', out))
    assert re.search(r"Metrics +http://127\.0\.0\.1:\d+/metrics\n", told)
    assert re.search(r"Base URL +http://127\.0\.0\.1:\d+/v1 ", told)


def test_demo_without_traffic_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    """Without traffic nothing goes by."""
    code = run(port=0, admin_port=0, seconds=0.2, traffic=False)
    out, told = capfd.readouterr()

    assert code == 0
    assert "exchange" not in out
    assert "\nrequests  0: " in told


async def test_every_metric_is_filled(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One round of the traffic leaves no metric without a sample, and shows every unit and way to call."""
    prices = tmp_path / "prices.yaml"
    prices.write_text(PRICES)
    upstream = SimulatedUpstream(pace=0.05, keep=10_000)
    async with TestServer(upstream.app()) as server, asyncio.timeout(60):
        configured = demo_settings(str(server.make_url("/v1")), prices, port=0, admin_port=0)
        async with app.serving(configured) as running:
            stop = asyncio.Event()
            sending = asyncio.create_task(run_traffic(running.url, stop=stop, pace=0.05))
            while len(upstream.seen) < 2 * len(SCENARIOS):  # noqa: ASYNC110  # only tests wait for it
                await asyncio.sleep(0.01)
            stop.set()
            await sending
            await running.drained()
            async with aiohttp.ClientSession() as session, session.get(f"{running.admin_url}/metrics") as got:
                metrics = await got.text()
    capfd.readouterr()
    names = set(re.findall(r"^# TYPE (meter_\S+)", metrics, re.MULTILINE))
    filled = {
        re.sub("_(bucket|sum|count)$", "", name) for name in re.findall(r"^meter_\w+", metrics, re.MULTILINE)
    }
    operations = set(re.findall(r'^meter_requests_total\{.*?operation="(\w+)"', metrics, re.MULTILINE))
    units = set(re.findall(r'^meter_units_total\{.*?unit="(\w+)"', metrics, re.MULTILINE))

    assert set() == names - filled
    assert set(UNITS) == units
    assert {
        "embeddings",
        "image_generation",
        "speech",
        "transcription",
        "rerank",
        "responses",
        "messages",
    } < operations


def test_port_in_use_is_an_os_error() -> None:
    """A port that somebody else has surfaces as what the system says of it."""
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OSError, match="address already in use"),
    ):
        run(port=taken.getsockname()[1], admin_port=0, seconds=1)


def test_summary_adds_up() -> None:
    """Every series counts, whatever stands in its labels."""
    expected = (
        "requests  1,239: 1,200 ok, 34 failed, 5 left by their client\n"
        "tokens    5,000,001, of which 12 have no known price\n"
        "USD       0.250001"
    )

    assert summary(METRICS) == expected


def test_summary_of_nothing_is_zero() -> None:
    """Before any traffic there is nothing to add up."""
    assert summary("").splitlines()[2] == "USD       0.000000"
