"""A ledger of each kind, with nothing in it."""

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
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Give a ledger with nothing in it."""
    database = open_database(a_url(request.param, request, tmp_path), create=True)
    yield database
    database.close()
