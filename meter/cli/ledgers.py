"""The ledger that a command asks: by its option, else as the settings say."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from meter import directories

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from meter.ledger.database import Database
    from meter.settings import Settings

__all__ = ["ledger_options", "opened", "settings_of"]


def ledger_options(parser: argparse.ArgumentParser) -> None:
    """Let a command be told the settings and the ledger."""
    parser.add_argument("--config", metavar="FILE", help="settings as YAML (METER_CONFIG)")
    parser.add_argument("--ledger", metavar="URL", help="where exchanges are kept, instead of the settings'")


def settings_of(args: argparse.Namespace) -> Settings:
    """Read the settings; raises SettingsError."""
    from meter.settings import load  # noqa: PLC0415  # pydantic: see the package

    given = {} if args.ledger is None else {"ledger.url": args.ledger}
    return load(args.config or os.environ.get("METER_CONFIG") or None, given, serves=False)


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """Open the ledger of the settings; raises LedgerError where there is none."""
    from meter.ledger.database import LedgerError, open_database  # noqa: PLC0415  # SQLAlchemy

    url = settings.ledger.url or directories.ledger_url(os.environ)
    if url == "off":
        raise LedgerError("the ledger is off, expected its URL in ledger.url or --ledger")
    database = open_database(url, create=False)
    try:
        yield database
    finally:
        database.close()
