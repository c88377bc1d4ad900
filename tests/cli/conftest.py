"""Commands run in this process on a ledger of SQLite, before a terminal of any width, or none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

import pytest

from meter import cli
from meter.cli import sheet
from meter.ledger.database import Database, open_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Done(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


class Run(Protocol):
    """Runs a command."""

    def __call__(self, *argv: str) -> Done:
        """Take its words, without `meter`."""


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the variables of whoever runs it."""
    for name in list(os.environ):
        if name.startswith(("METER_", "OPENAI_", "ANTHROPIC_")):
            monkeypatch.delenv(name)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Give the URL of a ledger that is not there before `ledger` makes it."""
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def ledger(url: str) -> Iterator[Database]:
    """Give a ledger with nothing in it."""
    database = open_database(url, create=True)
    yield database
    database.close()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Give what runs a command."""

    def run(*argv: str) -> Done:
        capsys.readouterr()
        return Done(cli.main(argv), *capsys.readouterr())

    return run


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Give what sets the width of the terminal."""
    return lambda columns: monkeypatch.setattr(sheet, "width", lambda: columns)
