"""Each test of the ledger has both databases, with nothing in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ledgers import KINDS_OF_DATABASE, Server, a_url, postgresql

from meter.ledger.database import Database, open_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
