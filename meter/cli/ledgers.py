"""The ledger that a command asks, and of what time: by its options, else as the settings say."""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from meter import directories
from meter.cli.parsing import WrongArgumentError, config, config_option
from meter.ledger.errors import LedgerAbsentError, LedgerError, LedgerUrlError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from meter.ledger.database import Database
    from meter.settings import Settings

__all__ = ["Span", "ledger_options", "moment_of", "opened", "settings_of", "span_of", "span_options"]


def ledger_options(parser: argparse.ArgumentParser) -> None:
    """Let a command be told the settings and the ledger."""
    config_option(parser)
    parser.add_argument("--ledger", metavar="URL", help="where exchanges are kept, instead of the settings'")


def settings_of(args: argparse.Namespace) -> Settings:
    """Read the settings; raises SettingsError."""
    from meter.settings import load  # noqa: PLC0415  # pydantic: see the package

    given = {} if getattr(args, "ledger", None) is None else {"ledger.url": args.ledger}
    return load(config(args), given, serves=False)


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """Open the ledger of the settings; raises LedgerError where there is none."""
    from meter.ledger.database import open_database  # noqa: PLC0415  # SQLAlchemy

    url = directories.ledger_url(os.environ, settings.ledger.url)
    if url is None:
        raise WrongArgumentError("the ledger is off, expected its URL in ledger.url or --ledger")
    try:
        database = open_database(url, create=False)
    except LedgerUrlError as error:
        raise WrongArgumentError(str(error)) from None
    except LedgerAbsentError as error:
        raise LedgerError(f"{error}; `meter serve` makes it, --ledger and --config name another") from None
    try:
        yield database
    finally:
        database.close()


# --- the time ---


class Span(NamedTuple):
    """From when until before when, in UTC."""

    since: datetime
    until: datetime


def span_options(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Let a command be told a span of time; without a default it has to be."""
    usual = f" ({default})" if default else ""
    parser.add_argument(
        "--since", metavar="T", default=default, help=f"7d, 24h, 2026-01-31, 2026-01-31T12:00Z{usual}"
    )
    parser.add_argument("--until", metavar="T", help="likewise (now)")


def moment_of(args: argparse.Namespace, option: str, now: datetime) -> datetime | None:
    """Read one end of a span; `None` where it was not given."""
    from meter.since import moment  # noqa: PLC0415  # others need no clock

    said = getattr(args, option)
    try:
        return None if said is None else moment(said, now)
    except ValueError as error:
        raise WrongArgumentError(f"--{option}: {error}") from None


def span_of(args: argparse.Namespace) -> Span:
    """Read a span of time."""
    now = datetime.now(UTC)
    since = moment_of(args, "since", now)
    if since is None:
        raise WrongArgumentError(
            "--since: got nothing, expected how long ago or when, such as 7d or 2026-01-31"
        )
    until = moment_of(args, "until", now) or now
    if since > until:
        raise WrongArgumentError("--since: got a moment after --until, expected one before it")
    return Span(since, until)
