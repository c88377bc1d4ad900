"""Meter with something to look at: a ledger that remembers weeks, and traffic that goes on.

What is remembered is made up, always the same way up to the clock. `PYTHONPATH=.:tests python
tests/admin/showing.py` takes the pictures of the console that the documentation shows, in five minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from ledgers import an_exchange
from stage import running_app, running_house

from meter.demo import PRICES
from meter.demo.traffic import KEYS, run_traffic
from meter.demo.upstream import SimulatedUpstream
from meter.exchange import Exchange, Outcome, PriceStatus, UsageSource
from meter.ids import uuid7
from meter.keys import Credential, salt_from
from meter.ledger.adding import add
from meter.ledger.database import open_database
from meter.ledger.schema import row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page
    from stage import House

__all__ = ["browser", "page_of", "remember", "shown", "take_pictures", "traffic"]

TEAMS = {"search-team": "search", "support-team": "support", "batch-jobs": "data"}


class Habit(NamedTuple):
    """How a key uses a model: how often, and what a request of it costs, in USD for a million tokens."""

    weight: int
    model: str
    key: str
    operation: str
    input: int
    output: int
    cached: float
    price_in: float | None
    price_out: float


HABITS = (
    Habit(34, "gpt-4o-mini-2024-07-18", "search-team", "chat", 2600, 240, 0.35, 0.15, 0.6),
    Habit(17, "gpt-4o-2024-08-06", "support-team", "chat", 3100, 380, 0.55, 2.5, 10),
    Habit(9, "claude-3-5-sonnet-20241022", "support-team", "messages", 2800, 420, 0.4, 3, 15),
    Habit(7, "o1-preview-2024-09-12", "batch-jobs", "chat", 900, 610, 0, 15, 60),
    Habit(9, "gpt-4.1-mini", "search-team", "responses", 2100, 300, 0.2, 0.4, 1.6),
    Habit(8, "deepseek-reasoner", "batch-jobs", "chat", 1600, 900, 0.1, 0.55, 2.19),
    Habit(6, "gemini-2.5-flash", "batch-jobs", "chat", 5200, 500, 0.1, 0.3, 2.5),
    Habit(8, "text-embedding-3-small", "search-team", "embeddings", 7000, 0, 0, 0.02, 0),
    Habit(3, "qwen-turbo", "support-team", "chat", 1200, 220, 0, 0.05, 0.2),
    Habit(3, "mistral-large-2411", "search-team", "chat", 1500, 260, 0, 2, 6),
    Habit(3, "house-writer-7b", "search-team", "chat", 900, 310, 0, None, 0),
)
BAD = (
    (Outcome.CLIENT_ERROR, "rate_limit_exceeded", 429),
    (Outcome.CLIENT_ERROR, "invalid_request_error", 400),
    (Outcome.UPSTREAM_ERROR, "http_503", 503),
    (Outcome.CLIENT_CLOSED, "client_closed", 200),
    (Outcome.TIMEOUT, "first_byte_timeout", 504),
)
MILLION = Decimal(1_000_000)
BAD_SHARE = 0.035
HOUR_S = 3600


def remember(url: str, *, days: int, seed: int = 7) -> None:
    """Write a past into a ledger: busy by day, quiet by night and on Sundays, and a busy last hour."""
    rng = Random(seed)  # noqa: S311 - not for secrets
    now = time.time()
    moments = [now - rng.random() * HOUR_S for _ in range(90)]
    for hour in range(2, days * 24):
        started = now - hour * HOUR_S
        moments += [
            started + rng.random() * HOUR_S for _ in range(round(_busy(started) * rng.uniform(18, 34)))
        ]
    rows = [row(_made_up(moment, rng)) for moment in moments]
    database = open_database(url, create=True)
    try:
        for first, last in pairwise([*range(0, len(rows), 500), len(rows)]):
            with database.writing() as connection:
                add(connection, database.tables, rows[first:last])
    finally:
        database.close()


def _busy(moment: float) -> float:
    at = datetime.fromtimestamp(moment, UTC)
    day = 1 + 0.75 * math.sin((at.hour - 8) / 24 * 2 * math.pi)
    return day * (0.35 if at.isoweekday() >= 6 else 1)


def _made_up(started: float, rng: Random) -> Exchange:
    habit = rng.choices(HABITS, [each.weight for each in HABITS])[0]
    known: dict[str, Any] = {
        "id": uuid7(int(started * 1000), rng.randbytes(10)),
        "started_at": started,
        "upstream": "demo",
        "operation": habit.operation,
        "model": habit.model,
        "request_model": habit.model,
        "response_model": habit.model,
        "key": habit.key,
        "tags": {"team": TEAMS[habit.key]},
        "provider_cost_usd": None,
        "units": {},
        "finish_reasons": ("stop",),
    }
    duration = rng.lognormvariate(0.6, 0.6)
    known |= {"duration_s": duration, "ttft_s": duration * rng.uniform(0.1, 0.4)}
    if rng.random() < BAD_SHARE:
        outcome, error_type, status = rng.choice(BAD)
        known |= {"outcome": outcome, "error_type": error_type, "status": status}
        if outcome is not Outcome.CLIENT_CLOSED:
            known |= {"usage": None, "usage_source": UsageSource.NONE, "cost_usd": None, "ttft_s": None}
            return an_exchange(**known, price_status=PriceStatus.NONE)
    return an_exchange(**known, **_used(habit, rng))


def _used(habit: Habit, rng: Random) -> dict[str, Any]:
    size = rng.lognormvariate(0, 0.5)
    cached = int(habit.input * size * habit.cached * rng.random() * 1.5)
    usage = {
        "input": int(habit.input * size) - min(cached, int(habit.input * size)),
        "output": int(habit.output * size),
    }
    if habit.cached:
        usage["input_cached"] = cached
    if habit.price_in is None:
        return {"usage": usage, "cost_usd": None, "price_status": PriceStatus.MISSING}
    price_in, price_out = Decimal(str(habit.price_in)), Decimal(str(habit.price_out))
    cost = (usage["input"] * price_in + cached * price_in / 2 + usage["output"] * price_out) / MILLION
    return {"usage": usage, "cost_usd": cost}


@contextlib.contextmanager
def shown(folder: Path, *, days: int = 0, ledger: bool = True, **settings: Any) -> Iterator[House]:
    """Run Meter before a simulated upstream, as the demo does, on a ledger with so many days in it."""
    salt = salt_from({})
    prices = folder / "prices.yaml"
    prices.write_text(PRICES)
    url = f"sqlite:///{folder / 'ledger.db'}"
    if days:
        remember(url, days=days)
    keys = [
        {
            "name": name,
            "fingerprint": Credential(key.encode()).fingerprint(salt),
            "tags": {"team": TEAMS[name]},
        }
        for name, key in KEYS.items()
    ]
    told: dict[str, Any] = {
        "keys": keys,
        "attribution": {"headers": {"user": "x-user-id"}},
        "prices": {"files": [str(prices)]},
        "ledger.url": url if ledger else "off",
        "budgets": [
            {"name": "everybody", "usd": 250, "period": "month"},
            {"name": "support", "key": "support-team", "usd": 3, "period": "day"},
            {"name": "batch", "key": "batch-jobs", "usd": 20, "period": "week", "stop": True},
        ],
        **settings,
    }
    with running_app(SimulatedUpstream(limited_share=0.01).app()) as upstream:
        told.setdefault("upstreams", [{"name": "demo", "base_url": f"{upstream}/v1"}])
        with running_house(upstream, **told) as house:
            yield house


@contextlib.contextmanager
def traffic(house: House, pace: float = 1.0) -> Iterator[None]:
    """Let the demo's clients call; at the end, all that they asked has been answered and written down."""
    stop = asyncio.Event()

    async def play() -> asyncio.Task[None]:
        return asyncio.create_task(run_traffic(house.url, stop=stop, pace=pace))

    async def end(playing: asyncio.Task[None]) -> None:
        stop.set()
        await playing
        await house.running.drained()

    playing = house.loop.run(play())
    try:
        yield
    finally:
        house.loop.run(end(playing))


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Give Debian's Chromium."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - not in the lock of the quick tests

    with sync_playwright() as play:
        started = play.chromium.launch(
            executable_path=shutil.which("chromium"), headless=True, args=["--no-sandbox"]
        )
        yield started
        started.close()


def page_of(browser: Browser, url: str, **context: Any) -> Page:
    """Open the console in a context of its own."""
    page = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **context}).new_page()
    page.goto(url)
    return page


def take_pictures(
    started: Browser, folder: Path, *, days: int = 45, seconds: float = 60, height: int = 1260
) -> list[Path]:
    """Take the pictures that the documentation shows: `console-light.png` and `console-dark.png`."""
    taken = []
    with tempfile.TemporaryDirectory() as home, shown(Path(home), days=days) as house, traffic(house):
        time.sleep(seconds)
        for theme in ("light", "dark"):
            path = folder / f"console-{theme}.png"
            page = page_of(
                started,
                f"{house.admin_url}/#range=30d",
                color_scheme=theme,
                viewport={"width": 1440, "height": height},
            )
            page.wait_for_selector("#spend .legend [data-row]")
            page.wait_for_selector("#exchanges tbody tr")
            page.wait_for_selector("#right-by label:nth-of-type(3)")
            page.wait_for_timeout(2500)
            page.screenshot(path=path)
            page.context.close()
            taken.append(path)
    return taken


if __name__ == "__main__":
    docs = Path(__file__).parents[2] / "docs"
    with browser() as chromium:
        for picture in take_pictures(chromium, docs, seconds=240):
            sys.stdout.write(f"{picture} {picture.stat().st_size}\n")
