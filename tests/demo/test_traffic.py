"""The demo's traffic, sent straight to the simulated upstream."""

from __future__ import annotations

import asyncio
import json
from importlib import util
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestServer

from meter.demo import traffic
from meter.demo.traffic import KEYS, SCENARIOS, Bare, Call, run_traffic
from meter.demo.upstream import SimulatedUpstream

if TYPE_CHECKING:
    from collections.abc import Callable

    from meter.demo.upstream import Seen

PATIENCE_S = 30


@pytest.fixture(params=["sdk", "aiohttp"])
def sender(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have the traffic sent by the official SDK, and as if it were not installed."""
    if request.param == "aiohttp":
        monkeypatch.setattr(
            traffic, "find_spec", lambda name: None if name == "openai" else util.find_spec(name)
        )
    return str(request.param)


async def until(upstream: SimulatedUpstream, enough: Callable[[SimulatedUpstream], bool]) -> None:
    """Send traffic to `upstream` until it has seen enough."""
    stop = asyncio.Event()
    async with TestServer(upstream.app()) as server, asyncio.timeout(PATIENCE_S):
        sending = asyncio.create_task(run_traffic(str(server.make_url("")), stop=stop, pace=0))
        while not enough(upstream):  # noqa: ASYNC110  # a count, which only tests wait for
            await asyncio.sleep(0.01)
        stop.set()
        await sending


def calls(upstream: SimulatedUpstream) -> list[tuple[Seen, dict[str, Any]]]:
    """Return the calls of models that arrived, each with its body decoded."""
    return [(seen, json.loads(seen.body)) for seen in upstream.seen if seen.body.endswith(b"}")]


async def test_every_scenario_is_played(sender: str) -> None:
    """One round shows every model, key, method and path of the table."""
    upstream = SimulatedUpstream(pace=0, keep=10_000)
    await until(upstream, lambda seen: len(seen.seen) >= len(SCENARIOS) + 32)
    agents = {seen.headers["User-Agent"].split("/")[0] for seen, _ in calls(upstream)}
    keys = {seen.headers.get("Authorization", "").removeprefix("Bearer ") for seen in upstream.seen}
    models = {body["model"] for _, body in calls(upstream)}
    targets = {(seen.method, seen.target) for seen in upstream.seen}

    assert ("AsyncOpenAI" in agents) == (sender == "sdk")
    assert keys == {scenario.key for scenario in SCENARIOS}
    assert models == {scenario.model for scenario in SCENARIOS if isinstance(scenario, Call)}
    assert targets >= {(s.method, f"/v1{s.path}") for s in SCENARIOS if isinstance(s, Bare)}
    assert targets >= {("POST", f"/v1{s.path}") for s in SCENARIOS if isinstance(s, Call)}
    assert any("traceparent" in seen.headers for seen in upstream.seen)


@pytest.mark.usefixtures("sender")
async def test_some_clients_leave() -> None:
    """Some clients go away in mid-stream."""
    upstream = SimulatedUpstream(pace=0.02)
    await until(upstream, lambda seen: seen.left > 0)

    assert upstream.left > 0


async def test_questions_differ() -> None:
    """No two calls ask the same, so their answers differ too."""
    upstream = SimulatedUpstream(pace=0, keep=10_000)
    await until(upstream, lambda seen: len(seen.seen) > 100)
    asked = [json.dumps(body) for _, body in calls(upstream) if len(body) > 1]

    assert len(asked) == len(set(asked))


async def test_nobody_there_is_no_reason_to_fail() -> None:
    """With nothing to connect to, traffic goes on until it is stopped, and then ends."""
    stop = asyncio.Event()
    async with asyncio.timeout(PATIENCE_S):
        sending = asyncio.create_task(run_traffic("http://127.0.0.1:9/v1", stop=stop, pace=0))
        await asyncio.sleep(0.1)

        assert not sending.done()

        stop.set()
        await sending


async def test_stop_does_not_wait_for_answers() -> None:
    """What is under way when the traffic is stopped is broken off."""
    upstream = SimulatedUpstream(pace=1000, keep=100)  # the first answer would take minutes
    await until(upstream, lambda seen: len(seen.seen) > 8)

    assert upstream.seen


async def test_few_are_in_flight() -> None:
    """However slow the answers are, no more than twenty requests are in flight."""
    upstream = SimulatedUpstream(pace=1000, keep=100)
    stop = asyncio.Event()
    async with TestServer(upstream.app()) as server, asyncio.timeout(PATIENCE_S):
        sending = asyncio.create_task(run_traffic(str(server.make_url("/v1")), stop=stop, pace=0))
        while len(upstream.seen) < 16:  # noqa: ASYNC110  # a count, which only tests wait for
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # for those that there should not be
        stop.set()
        await sending

    assert len(upstream.seen) <= 20


def test_names_are_the_keys_own() -> None:
    """The keys that the demo names are used, and told apart."""
    used = {scenario.key for scenario in SCENARIOS}

    assert used >= set(KEYS.values())
    assert len(set(KEYS.values())) == len(KEYS)
