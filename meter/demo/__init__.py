"""The demo: the proxy before a simulated upstream, with traffic: all there is to see, without a key.

All of it lives in one process and on one event loop: the upstream on a free port of the loopback, the proxy
as anybody would run it, and clients that call the proxy. Nothing is done here that a user could not do with a
settings file and a price file.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from meter import app
from meter.demo.traffic import KEYS, run_traffic
from meter.demo.upstream import SimulatedUpstream
from meter.keys import Credential, salt_from
from meter.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["PRICES", "demo_settings", "run", "summary"]

_LIMITED_SHARE = 0.01
PRICES = """\
# Prices of the demo. What is not here is looked up in the catalogue.
currency: USD
prices:
  - model: gpt-4o-mini
    per_million_tokens: {input: 0.15, input_cached: 0.075, output: 0.60}
    service_tiers:
      flex: {per_million_tokens: {input: 0.075, input_cached: 0.0375, output: 0.30}}
  - model: gpt-4o
    per_million_tokens: {input: 2.50, input_cached: 1.25, output: 10.00}
  - model: o1-preview
    per_million_tokens: {input: 15.00, input_cached: 7.50, output: 60.00}
  - model: meta-llama/llama-3.3-70b-instruct # the upstream says what it charged, and it is more than this
    per_million_tokens: {input: 0.10, output: 0.30}
  - model: claude-3-5-sonnet-20241022
    per_million_tokens: {input: 3.00, input_cached: 0.30, output: 15.00}
  - {model: text-embedding-3-small, per_million_tokens: {input: 0.02}}
  - {model: dall-e-3, per_image: 0.04}
  - {model: tts-1, per_character: 0.000015}
  - {model: rerank-v3.5, per_search: 0.002}
"""
_BUDGETS = [
    {"name": "everybody", "usd": 25, "period": "month"},
    # The first images alone take most of it.
    {"name": "support", "key": "support-team", "usd": 0.2, "period": "hour"},
]
_TEAMS = {"search-team": "search", "support-team": "support", "batch-jobs": "data"}

_WELCOME = """
Meter is running before a simulated upstream: no key is needed, and nothing leaves this machine.

  Console    {admin_url}/
  Metrics    {admin_url}/metrics
  Base URL   {url}/v1   for any OpenAI client, with any key

  curl -N {url}/v1/chat/completions -H 'Authorization: Bearer sk-mine' -H 'Content-Type: application/json' \
-d '{{"model":"gpt-4o-mini","stream":true,"messages":[{{"role":"user","content":"hello"}}]}}'

  Ctrl-C stops it. Each request is logged below.
"""


def run(
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    admin_host: str = "127.0.0.1",
    admin_port: int = 9464,
    seconds: float | None = None,
    traffic: bool = True,
) -> int:
    """Run the demo until it is told to stop, or for so many seconds; return the exit code.

    Port 0 is a free one. Raises OSError where a port cannot be had.
    """
    ports: dict[str, str | int] = {
        "host": host,
        "port": port,
        "admin_host": admin_host,
        "admin_port": admin_port,
    }
    with tempfile.TemporaryDirectory(prefix="meter-demo-") as folder:
        prices = Path(folder, "prices.yaml")
        prices.write_text(PRICES)
        app.run_loop(_demo(prices, ports, seconds, traffic))
    return 0


async def _demo(prices: Path, ports: dict[str, str | int], seconds: float | None, traffic: bool) -> None:
    async with _listening(SimulatedUpstream(limited_share=_LIMITED_SHARE).app()) as base_url:
        settings = demo_settings(base_url, prices, **ports)
        async with app.serving(settings) as running:
            _stop_on_signals(running)
            _say(_WELCOME.format(url=_within_reach(running.url), admin_url=_within_reach(running.admin_url)))
            await _play(running, seconds, traffic=traffic)
            _say("\n" + summary(await _metrics(running.admin_url)))


def demo_settings(base_url: str, prices: Path, **ports: str | int) -> Settings:
    """Return the settings of a proxy before the upstream at `base_url`, with named keys and a price file.

    `ports` are the settings of that name: `host`, `port`, `admin_host` and `admin_port`.
    """
    salt = salt_from(os.environ)
    keys = [
        {
            "name": name,
            "fingerprint": Credential(key.encode()).fingerprint(salt),
            "tags": {"team": _TEAMS[name]},
        }
        for name, key in KEYS.items()
    ]
    return Settings.model_validate(
        {
            "upstreams": [{"name": "demo", "base_url": base_url}],
            "keys": keys,
            "attribution": {"headers": {"user": "x-user-id"}, "labels": ["team"]},
            "prices": {"files": [str(prices)]},
            "ledger": {"url": f"sqlite:///{prices.parent / 'ledger.db'}"},
            "budgets": _BUDGETS,
            "timeouts": {"drain": "5s"},
            # Lines for people where people read them, and JSON for programs.
            "log": {"format": "console" if sys.stdout.isatty() else "json"},
            **ports,
        }
    )


@contextlib.asynccontextmanager
async def _listening(application: web.Application) -> AsyncIterator[str]:
    """Serve `application` on a free port of the loopback; yield its base URL."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


def _within_reach(url: str) -> str:
    """Return a URL that a person can follow: where all addresses are listened at, loopback is one of them."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:")


def _stop_on_signals(running: app.Running) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # the last: the terminal was closed
        loop.add_signal_handler(number, running.stop)


async def _play(running: app.Running, seconds: float | None, *, traffic: bool) -> None:
    """Send traffic, or nothing, until the time is up or the proxy is told to stop."""
    enough = asyncio.Event()
    sending = asyncio.create_task(run_traffic(running.url, stop=enough)) if traffic else None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await running.stopped.wait()
    enough.set()
    if sending is not None:
        await sending
        await running.drained()  # so that what was broken off is counted too


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")  # standard output is the log's
    sys.stderr.flush()


async def _metrics(admin_url: str) -> str:
    async with (
        aiohttp.ClientSession(raise_for_status=True) as session,
        session.get(f"{admin_url}/metrics") as answer,
    ):
        return await answer.text()


_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


def summary(metrics: str) -> str:
    """Return three lines on what went by, from Prometheus's text format: requests, tokens, USD."""

    def total(name: str, label: str = "") -> float:
        return sum(
            float(value)
            for found, labels, value in _SAMPLE.findall(metrics)
            if found == name and label in labels
        )

    requests, fine = total("meter_requests_total"), total("meter_requests_total", 'outcome="ok"')
    left = total("meter_requests_total", 'outcome="client_closed"')
    tokens, unpriced = total("meter_tokens_total"), total("meter_unpriced_tokens_total")
    return (
        f"requests  {requests:,.0f}: {fine:,.0f} ok, {requests - fine - left:,.0f} failed, "
        f"{left:,.0f} left by their client\n"
        f"tokens    {tokens:,.0f}, of which {unpriced:,.0f} have no known price\n"
        f"USD       {total('meter_cost_usd_total'):,.6f}"
    )
