"""`meter report`, `meter reprice`, `meter reconcile`: what was spent, priced anew, and beside the bill."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from meter import directories
from meter.cli.ledgers import ledger_options, opened, settings_of
from meter.cli.parsing import OK, command, failures_told
from meter.cli.sheet import FORMATS, Column, as_json, count, csv_rows, money, ratio, table, text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from meter.ledger.reading import Spend, Usage, Waste
    from meter.reconcile import Billed
    from meter.reconcile.comparison import Reconciliation
    from meter.reprice import Change

__all__ = ["add"]

_BY = "key,model"


def add(commands: Any) -> None:
    """Declare the commands."""
    report = command(commands, "report", failures_told(_report), "what was spent, from the ledger")
    ledger_options(report)
    _span(report, default="7d")
    report.add_argument(
        "--by",
        metavar="FIELDS",
        help=f"key, model, upstream, operation, outcome, day, hour, tag.NAME, ... ({_BY})",
    )
    report.add_argument("--where", metavar="FIELD=VALUE", action="append", default=[], help="only these")
    report.add_argument("--waste", action="store_true", help="what was paid for and not used")
    report.add_argument("--format", choices=FORMATS, default="table")

    reprice = command(commands, "reprice", failures_told(_reprice), "price the past anew")
    ledger_options(reprice)
    _span(reprice)
    reprice.add_argument("--write", action="store_true", help="write the new prices, and not only show them")

    reconcile = command(
        commands, "reconcile", failures_told(_reconcile), "compare with what a provider billed"
    )
    ledger_options(reconcile)
    _span(reconcile)
    reconcile.add_argument("--provider", choices=("openai", "anthropic"), required=True)
    reconcile.add_argument(
        "--file",
        metavar="FILE",
        nargs="+",
        help="its exports of usage, of costs, or both, CSV or JSON; none: its API is asked",
    )
    reconcile.add_argument("--base-url", metavar="URL", help="where its API is")
    reconcile.add_argument("--format", choices=FORMATS, default="table")


def _span(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    usual = f" ({default})" if default else ""
    parser.add_argument(
        "--since", metavar="T", default=default, help=f"7d, 24h, 2026-01-31, 2026-01-31T12:00Z{usual}"
    )
    parser.add_argument("--until", metavar="T", help="likewise (now)")


def _moment(option: str, said: str, now: datetime) -> datetime:
    from meter.since import moment  # noqa: PLC0415

    try:
        return moment(said, now)
    except ValueError as error:
        raise ValueError(f"--{option}: {error}") from None


def _moments(args: argparse.Namespace) -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    if args.since is None:
        raise ValueError("--since: got nothing, expected how long ago or when, such as 7d or 2026-01-31")
    since = _moment("since", args.since, now)
    until = now if args.until is None else _moment("until", args.until, now)
    if since > until:
        raise ValueError("--since: got a moment after --until, expected one before it")
    return since, until


def _conditions(given: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for condition in given:
        field, equals, value = condition.partition("=")
        if not (field and equals):
            raise ValueError(
                f"--where: got {condition!r}, expected a field and a value, such as key=search-team"
            )
        found.setdefault(field, []).append(value)
    return found


# --- report ---

_SPEND = (
    Column("requests", show=count),
    Column("errors", show=count),
    Column("input", show=count),
    Column("cached", show=count),
    Column("output", show=count),
    Column("cost_usd", "USD", money),
    Column("estimated_cost_usd", "of it estimated", money),
    Column("unpriced_tokens", "unpriced tokens", count),
)


def _report(args: argparse.Namespace) -> int:
    from meter.ledger import reading  # noqa: PLC0415  # SQLAlchemy

    since, until = _moments(args)
    by = [field.strip() for field in (args.by or _BY).split(",") if field.strip()]
    with opened(settings_of(args)) as database:
        if args.waste:
            _show_waste(reading.waste(database, since=since, until=until), args.format)
        else:
            where = _conditions(args.where)
            found = reading.usage(database, by=by, since=since, until=until, where=where)
            _show_usage(found, reading.told(found), args.format)
    return OK


def _show_usage(usage: Usage, told: dict[str, Any], form: str) -> None:
    if form == "json":
        as_json(told)
        return
    rows = [_spent(row) for row in usage.rows]
    if form == "csv":
        from meter.exchange import KINDS, UNITS  # noqa: PLC0415

        sums = ("requests", "errors", "cost_usd", "estimated_cost_usd", "unpriced_tokens", *KINDS, *UNITS)
        csv_rows((*usage.by, *sums), rows)
        return
    columns = (*(Column(field) for field in usage.by), *_SPEND)
    total = _spent(usage.total) | ({usage.by[0]: "total"} if usage.by else {})
    table(columns, rows, title=f"{text(usage.since)} to {text(usage.until)}, UTC", total=total)


def _spent(spend: Spend) -> dict[str, Any]:
    """Give a row with what its tokens come to, input with what was cached."""
    tokens = spend.usage
    return {
        **asdict(spend),
        **spend.group,
        **tokens,
        **spend.units,
        "input": sum(n for kind, n in tokens.items() if kind.startswith("input")),
        "cached": sum(n for kind, n in tokens.items() if kind.startswith("input_cached")),
        "output": sum(n for kind, n in tokens.items() if kind.startswith("output")),
    }


_WASTED = (
    Column("key"),
    Column("model"),
    Column("requests", show=count),
    Column("tokens", show=count),
    Column("cost_usd", "USD", money),
)
_UNREAD = (
    Column("key"),
    Column("model"),
    Column("written_tokens", "tokens written", count),
    Column("read_tokens", "tokens read", count),
)
_WASTES = (
    ("keys", "cancelled or cut short, by key"),
    ("cancelled", "cancelled: the client left before the answer's end"),
    ("cut_short", "cut short: the answer ended for the most tokens that were allowed"),
    ("rate_limited", "refused for rate limits: what comes after is a retry"),
    ("unread", "written to a cache, and hardly read from it"),
)


def _show_waste(waste: Waste, form: str) -> None:
    found = {name: [_wasted(each) for each in getattr(waste, name)] for name, _ in _WASTES}
    if form == "json":
        as_json({"since": waste.since, "until": waste.until, **found})
    elif form == "csv":
        rows = [{"waste": name, **row} for name, _ in _WASTES for row in found[name]]
        keys = ("waste", "key", "model", "requests", "tokens", "cost_usd", "written_tokens", "read_tokens")
        csv_rows(keys, rows)
    else:
        for name, title in _WASTES:
            table(_UNREAD if name == "unread" else _WASTED, found[name], title=title)


def _wasted(each: Any) -> dict[str, Any]:
    if not hasattr(each, "group"):
        return asdict(each)
    told = {"requests": each.requests, "tokens": each.tokens, "cost_usd": each.cost_usd}
    return {**each.group, **told, "usage": dict(each.usage)}


# --- reprice ---

_CHANGED = (
    Column("upstream"),
    Column("model"),
    Column("requests", show=count),
    Column("before_usd", "USD before", money),
    Column("after_usd", "USD after", money),
    Column("newly_priced_tokens", "tokens without a price before", count),
)
_LOST = (*_CHANGED[:3], Column("usd", "USD kept", money))
_STILL = (*_CHANGED[:3], Column("tokens", show=count))


def _reprice(args: argparse.Namespace) -> int:
    from meter import pricing  # noqa: PLC0415  # pydantic and the catalogue
    from meter.reprice import reprice, rows_between  # noqa: PLC0415  # SQLAlchemy

    since, until = _moments(args)
    settings = settings_of(args)
    book = pricing.book(settings, pricing.catalogue(settings, directories.state(os.environ)))
    with opened(settings) as database:
        rows = rows_between(database, since, until)
        with _progress("pricing", rows) as progress:
            change = reprice(
                database,
                book,
                since=since,
                until=until,
                write=args.write,
                providers=pricing.upstream_providers(settings),
                progress=progress,
            )
    _show_change(change, written=args.write)
    return OK


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show on standard error how far something is; yields what is told how much is done."""
    from rich.console import Console  # noqa: PLC0415  # only what takes long should wait for it
    from rich.progress import Progress  # noqa: PLC0415

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


def _show_change(change: Change, *, written: bool) -> None:
    if change.by_model:
        table(_CHANGED, [asdict(each) for each in change.by_model], title="priced anew")
    if change.lost:
        table(_LOST, [asdict(each) for each in change.lost], title="without a price now: the old one stays")
    if change.still_missing:
        table(_STILL, [asdict(each) for each in change.still_missing], title="without a price still")
    would = "" if written else "would "
    sys.stdout.write(
        f"{change.changed:,} of {change.rows:,} exchanges {would}change: "
        f"{money(change.before_usd)} USD before, {money(change.after_usd)} USD after\n"
    )
    if change.changed and not written:
        sys.stdout.write("nothing was written: --write does\n")


# --- reconcile ---

_LINE = (
    Column("day"),
    Column("model"),
    Column("item"),
    Column("metered_requests", "requests", count),
    Column("billed_requests", "billed", count),
    Column("metered_tokens", "tokens", count),
    Column("billed_tokens", "billed", count),
    Column("token_ratio", "ratio", ratio),
    Column("metered_cost_usd", "USD", money),
    Column("billed_cost_usd", "billed", money),
    Column("cost_ratio", "ratio", ratio),
    Column("notes", "what explains it", lambda notes: "; ".join(notes or ())),
)


def _reconcile(args: argparse.Namespace) -> int:
    from meter.reconcile.comparison import compare  # noqa: PLC0415  # SQLAlchemy
    from meter.reconcile.metered import metered  # noqa: PLC0415

    settings = settings_of(args)
    with opened(settings) as database:
        bill, since, until = _bill(args)
        names = {upstream.name for upstream in settings.upstreams if upstream.provider == args.provider}
        counted = metered(database, args.provider, upstreams=names, since=since, until=until)
    _show_reconciliation(compare(bill, counted), args.format)
    return OK


def _bill(args: argparse.Namespace) -> tuple[list[Billed], date, date]:
    """Return the bill and the days that it is about; raises BillError."""
    from meter import reconcile  # noqa: PLC0415

    now = datetime.now(UTC)
    since = None if args.since is None else _moment("since", args.since, now).date()
    until = None if args.until is None else _moment("until", args.until, now).date()
    if args.file is None:
        first, last = since or (now - timedelta(days=30)).date(), until or now.date()
        days = {"since": first, "until": last, "base_url": args.base_url}
        return asyncio.run(reconcile.fetch(args.provider, os.environ, **days)), first, last
    bill = [line for file in args.file for line in reconcile.read(args.provider, file)]
    days_billed = [line.day for line in bill]
    first = since or min(days_billed, default=now.date())
    last = until or max(days_billed, default=now.date()) + timedelta(days=1)
    return [line for line in bill if first <= line.day < last], first, last


def _show_reconciliation(found: Reconciliation, form: str) -> None:
    if form == "json":
        days, models = ([line.row() for line in lines] for lines in (found.days, found.models))
        as_json({"lines": found.rows(), "days": days, "models": models, "total": found.total.row()})
    elif form == "csv":
        rows = [{**row, "notes": "; ".join(row["notes"])} for row in found.rows()]
        csv_rows(list(found.total.row()), rows)
    else:
        table(
            _LINE,
            [_line(line.row(), line) for line in found.lines],
            total=_line(found.total.row(), found.total),
        )


def _line(row: dict[str, Any], line: Any) -> dict[str, Any]:
    return {**row, "metered_tokens": line.metered.tokens, "billed_tokens": line.billed.tokens}
