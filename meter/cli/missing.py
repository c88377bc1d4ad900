"""`meter prices missing`: which models lack a price, and the lines that would give them one."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from meter.cli.exports import FORMATS, as_csv, as_json
from meter.cli.ledgers import ledger_options, moment_of, opened, settings_of
from meter.cli.parsing import OK, command
from meter.keys import masked
from meter.prices.lacking import with_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

__all__ = ["add"]

_CSV = ("upstream", "model", "operations", "requests", "tokens", "first", "last")


def add(actions: Any) -> None:
    """Declare the command."""
    missing = command(actions, "missing", _missing, "list the models that lack a price")
    ledger_options(missing)
    missing.add_argument("--since", metavar="T", default="30d", help="7d, 24h, 2026-01-31, ... (30d)")
    missing.add_argument("--url", metavar="URL", help="ask a running proxy by its admin port, not the ledger")
    missing.add_argument("--format", choices=FORMATS, default="table")


def _missing(args: argparse.Namespace) -> int:
    since = moment_of(args, "since", datetime.now(UTC))
    assert since is not None  # noqa: S101  # it has a default
    found = _of_proxy(args, since) if args.url else _of_ledger(args, since)
    if args.format == "json":
        as_json({"missing": found})
    elif args.format == "csv":
        as_csv(_CSV, found)
    else:
        _tell(found, since)
    return OK


def _of_ledger(args: argparse.Namespace, since: datetime) -> list[dict[str, Any]]:
    from meter.ledger.reading import missing  # noqa: PLC0415  # SQLAlchemy

    with opened(settings_of(args)) as database:
        return [with_line(asdict(each)) for each in missing(database, since)]


def _of_proxy(args: argparse.Namespace, since: datetime) -> list[dict[str, Any]]:
    from meter.cli.asking import AskError, asked  # noqa: PLC0415  # http.client

    answer = asked(settings_of(args), args.url, "/api/prices/missing", since=since.isoformat())
    try:
        return [with_line({**each, **_times(each)}) for each in answer["missing"]]
    except (LookupError, TypeError, ValueError):
        raise AskError(
            f"{masked(args.url)}: what answers there is not the admin port of this Meter"
        ) from None


def _times(told: Mapping[str, Any]) -> dict[str, datetime]:
    return {name: datetime.fromisoformat(told[name]) for name in ("first", "last")}


def _tell(found: Sequence[Mapping[str, Any]], since: datetime) -> None:
    from meter.cli.sheet import Column, count, moment, table  # noqa: PLC0415  # only here

    when = f"since {moment(since)} UTC"
    if not found:
        sys.stdout.write(f"every model that was used {when} has a price\n")
        return
    columns = (
        Column("upstream"),
        Column("model"),
        Column("requests", show=count),
        Column("tokens", show=count),
        Column("last", "last seen, UTC", moment, spare=1),
    )
    table(columns, found, title=f"models without a price {when}")
    lines = [each["line"] for each in found if each["line"] is not None]
    if lines:
        sys.stdout.write(
            "# To a file of prices.files, with USD for each ?; then reload, and `meter reprice`.\n"
        )
        sys.stdout.writelines(f"{line}\n" for line in ("prices:", *lines))
