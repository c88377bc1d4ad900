"""`meter reconcile`: what was counted, beside what a provider billed."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from meter.cli.exports import FORMATS, as_csv, as_json
from meter.cli.ledgers import ledger_options, moment_of, opened, settings_of, span_options
from meter.cli.parsing import OK, WrongArgumentError, command

if TYPE_CHECKING:
    import argparse

    from meter.reconcile import Billed
    from meter.reconcile.comparison import Line, Reconciliation

__all__ = ["add"]

_DAYS = 30
"""So many are asked of an API where nobody says how many."""


def add(commands: Any) -> None:
    """Declare the command."""
    reconcile = command(commands, "reconcile", _reconcile, "compare with what a provider billed")
    ledger_options(reconcile)
    span_options(reconcile)
    reconcile.add_argument("--provider", choices=("openai", "anthropic"), required=True)
    reconcile.add_argument(
        "--file",
        metavar="FILE",
        nargs="+",
        action="extend",
        help="its exports of usage, of costs, or both, CSV or JSON; none: its API is asked",
    )
    reconcile.add_argument("--base-url", metavar="URL", help="where its API is")
    reconcile.add_argument("--format", choices=FORMATS, default="table")


class _Bill(NamedTuple):
    lines: list[Billed]
    since: date
    until: date
    """The first day that it is not about."""


def _reconcile(args: argparse.Namespace) -> int:
    from meter.reconcile.comparison import compare  # noqa: PLC0415  # SQLAlchemy
    from meter.reconcile.metered import metered  # noqa: PLC0415

    settings = settings_of(args)
    with opened(settings) as database:
        bill = _bill(args)
        names = {upstream.name for upstream in settings.upstreams if upstream.provider == args.provider}
        counted = metered(database, args.provider, upstreams=names, since=bill.since, until=bill.until)
    found = compare(bill.lines, counted)
    if args.format == "json":
        days, models = ([line.row() for line in lines] for lines in (found.days, found.models))
        as_json({"lines": found.rows(), "days": days, "models": models, "total": found.total.row()})
    elif args.format == "csv":
        as_csv(list(found.total.row()), found.rows())
    else:
        _tell(found, f"{args.provider}, {bill.since} to {bill.until - timedelta(days=1)}, days in UTC")
    return OK


def _bill(args: argparse.Namespace) -> _Bill:
    """Return the bill and the days that it is about; raises BillError."""
    from meter import reconcile  # noqa: PLC0415  # aiohttp

    now = datetime.now(UTC)
    since, until = (
        moment and moment.date() for moment in (moment_of(args, o, now) for o in ("since", "until"))
    )
    if since is not None and until is not None and since >= until:
        raise WrongArgumentError("--since: got no day before --until, expected one at least")
    if args.file is None:
        since, until = since or (now - timedelta(days=_DAYS)).date(), until or now.date()
        asked = reconcile.fetch(args.provider, os.environ, since=since, until=until, base_url=args.base_url)
        return _Bill(asyncio.run(asked), since, until)
    lines = [line for file in args.file for line in reconcile.read(args.provider, file)]
    days = [line.day for line in lines]
    since = since or min(days, default=now.date())
    until = until or max(days, default=now.date()) + timedelta(days=1)
    return _Bill([line for line in lines if since <= line.day < until], since, until)


def _tell(found: Reconciliation, title: str) -> None:
    from meter.cli.sheet import Column, count, money, ratio, table  # noqa: PLC0415  # only here

    if not found.lines:
        sys.stdout.write(f"{title}: nothing was billed, and nothing metered\n")
        return
    columns = (
        Column("day"),
        Column("model", "model\nor item"),
        Column("metered_requests", "requests\nmetered", count, spare=2),
        Column("billed_requests", "requests\nbilled", count, spare=2),
        Column("metered_tokens", "tokens\nmetered", count, spare=1),
        Column("billed_tokens", "tokens\nbilled", count, spare=1),
        Column("token_ratio", "tokens\nratio", ratio),
        Column("metered_cost_usd", "USD\nmetered", money),
        Column("billed_cost_usd", "USD\nbilled", money),
        Column("cost_ratio", "USD\nratio", ratio),
    )
    total = {**_row(found.total), "day": "total", "model": " "}
    table(columns, [_row(line) for line in found.lines], title=title, total=total, notes="notes")


def _row(line: Line) -> dict[str, Any]:
    tokens = {"metered_tokens": line.metered.tokens, "billed_tokens": line.billed.tokens}
    return {**line.row(), **tokens, "model": line.model or line.item or ""}
