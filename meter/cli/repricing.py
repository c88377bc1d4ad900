"""`meter reprice`: the past at the prices that are known now."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from meter.cli.ledgers import ledger_options, opened, settings_of, span_of, span_options
from meter.cli.parsing import INTERRUPTED, OK, command, config, say
from meter.cli.pricing import book_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from meter.cli.ledgers import Span
    from meter.reprice import Change, ModelChange
    from meter.settings import Settings

__all__ = ["add"]


def add(commands: Any) -> None:
    """Declare the command."""
    reprice = command(commands, "reprice", _reprice, "price the past anew, and show the difference")
    ledger_options(reprice)
    span_options(reprice)
    reprice.add_argument("--write", action="store_true", help="write the new prices, and not only show them")


def _reprice(args: argparse.Namespace) -> int:
    settings, when = settings_of(args), span_of(args)
    if config(args) is None and not settings.prices.files:
        say("no settings were named (--config): prices are those of the catalogue alone", OK)
    try:
        change = _change(settings, when, write=args.write)
    except KeyboardInterrupt:
        kept = (
            "what was written stays, and another run does the rest" if args.write else "nothing was written"
        )
        return say(f"stopped: {kept}", INTERRUPTED)
    _show(change, when, written=args.write)
    return OK


def _change(settings: Settings, when: Span, *, write: bool) -> Change:
    from meter import pricing  # noqa: PLC0415  # pydantic and the catalogue
    from meter.reprice import reprice, rows_between  # noqa: PLC0415  # SQLAlchemy

    book = book_of(settings)
    providers = pricing.upstream_providers(settings)
    with opened(settings) as database:
        total = rows_between(database, *when)
        with _progress("pricing", total) as progress:
            return reprice(
                database,
                book,
                since=when.since,
                until=when.until,
                write=write,
                providers=providers,
                progress=progress,
            )


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how far something is; yields what is told how much is done."""
    from rich.console import Console  # noqa: PLC0415  # only what takes long should wait for it
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn  # noqa: PLC0415

    console = Console(stderr=True)
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = console.is_terminal and total > 0
    with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


def _show(change: Change, when: Span, *, written: bool) -> None:
    from meter.cli.sheet import Column, count, money, span, table  # noqa: PLC0415  # only here

    if not change.rows:
        sys.stdout.write(f"no request ended from {span(*when)}\n")
        return
    place = (Column("upstream", spare=1), Column("model"), Column("requests", show=count))
    priced = (
        *place,
        Column("before_usd", "USD\nbefore", money),
        Column("after_usd", "USD\nafter", money),
        Column("difference_usd", "USD\ndifference", money),
        Column("newly_priced_tokens", "tokens\nnewly priced", count, optional=True),
    )
    lost = (*place, Column("usd", "USD\nkept", money))
    missing = (*place, Column("tokens", show=count))
    for title, columns, rows in (
        ("priced anew", priced, [_changed(each) for each in change.by_model]),
        ("without a price now: the old cost stays", lost, [asdict(each) for each in change.lost]),
        ("without a price still", missing, [asdict(each) for each in change.still_missing]),
    ):
        if rows:
            table(columns, rows, title=title)
    sys.stdout.write(f"{_summary(change, written=written)}\n")
    if change.changed and not written:
        sys.stdout.write("Nothing was written; --write does it.\n")


def _changed(change: ModelChange) -> dict[str, Any]:
    return {**asdict(change), "difference_usd": change.after_usd - change.before_usd}


def _summary(change: Change, *, written: bool) -> str:
    from meter.cli.sheet import count, money  # noqa: PLC0415  # as above

    of = f"of {count(change.rows)} requests"
    if not change.changed:
        return f"None {of} changes: {money(change.before_usd)} USD."
    verb = "changed" if written else "would change"
    return (
        f"{count(change.changed)} {of} {verb}: "
        f"{money(change.before_usd)} USD before, {money(change.after_usd)} USD after."
    )
