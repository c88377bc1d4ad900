"""What tests stand on: real parts on loopback, each on a port of its own.

`house` is the simulated upstream with Meter in front of it, in a thread, so that clients of every kind can
talk to both; `scripted` is an upstream that says exactly the bytes it is told to, for what no well-behaved
server would say.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis.database import InMemoryExampleDatabase
from stage import House, Scripted, running_app, running_house, scripted_upstream

from meter.demo.upstream import SimulatedUpstream

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", autouse=True)
def _state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let no test, nor a process that it starts, leave anything in the state directory of whoever runs it."""
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    yield
    del os.environ["XDG_STATE_HOME"]
    if before is not None:
        os.environ["XDG_STATE_HOME"] = before


pytest_plugins = ["ledgers"]

# Settings are nested once more for each parameter of a test, and a database that is None, as it is in CI, is
# looked up through all of them: thousands of cases would exhaust the stack.
settings.register_profile("meter", database=InMemoryExampleDatabase(), deadline=None)
settings.load_profile("meter")


@pytest.fixture(scope="session")
def simulated() -> Iterator[tuple[SimulatedUpstream, str]]:
    """Give a simulated upstream that never waits, and its URL."""
    upstream = SimulatedUpstream(pace=0, created=1_760_000_000, keep=1000)
    with running_app(upstream.app()) as url:
        yield upstream, url


@pytest.fixture(scope="session")
def house(simulated: tuple[SimulatedUpstream, str]) -> Iterator[House]:
    """Give Meter in front of the simulated upstream."""
    with running_house(simulated[1]) as house:
        yield house


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """Give an upstream that says exactly the bytes it is told to."""
    with scripted_upstream() as scripted:
        yield scripted
