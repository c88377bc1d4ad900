"""`meter report`: what was spent, and what of it for nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from meter.cli.exports import FORMATS, as_csv, as_json
from meter.cli.ledgers import ledger_options, opened, settings_of, span_of, span_options
from meter.cli.parsing import OK, WrongArgumentError, command
from meter.exchange import KINDS, UNITS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from meter.ledger.reading import Spend, Usage

__all__ = ["add"]

_BY = "key,model"


def add(commands: Any) -> None:
    """Declare the command."""
    report = command(commands, "report", _report, "what was spent, from the ledger")
    ledger_options(report)
    span_options(report, default="7d")
    report.add_argument(
        "--by",
        metavar="FIELDS",
        help=f"key, model, upstream, operation, outcome, day, hour, minute, tag.NAME, ... ({_BY})",
    )
    report.add_argument("--where", metavar="FIELD=VALUE", action="append", default=[], help="only these")
    report.add_argument("--waste", action="store_true", help="what was paid for and not used")
    report.add_argument("--format", choices=FORMATS, default="table")


def _report(args: argparse.Namespace) -> int:
    from meter.ledger import reading  # noqa: PLC0415  # SQLAlchemy

    if args.waste and (args.by is not None or args.where):
        raise WrongArgumentError("--waste: got --by or --where beside it, expected neither")
    since, until = span_of(args)
    by = [field.strip() for field in (_BY if args.by is None else args.by).split(",") if field.strip()]
    where = _conditions(args.where)
    with opened(settings_of(args)) as database:
        if args.waste:
            _show_waste(reading.waste(database, since=since, until=until).told, args.format)
        else:
            found = reading.usage(database, by=by, since=since, until=until, where=where)
            _show_usage(found, args.format)
    return OK


def _conditions(given: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for condition in given:
        field, equals, value = condition.partition("=")
        if not (field and equals):
            raise WrongArgumentError(
                f"--where: got {condition!r}, expected a field and a value, such as key=search-team"
            )
        found.setdefault(field.strip(), []).append(value.strip())
    return found


# --- usage ---

_SUMS = ("requests", "errors", "cost_usd", "estimated_cost_usd", "unpriced_tokens")


def _show_usage(usage: Usage, form: str) -> None:
    if form == "json":
        as_json(usage.told)
    elif form == "csv":
        as_csv((*usage.by, *_SUMS, *KINDS, *UNITS), map(_counted, usage.rows))
    else:
        _tell_usage(usage)


def _counted(spend: Spend) -> dict[str, Any]:
    """Give a row whose kinds of tokens can be added up: of those that are not told there were none."""
    none = dict.fromkeys((*KINDS, *UNITS), 0)
    return {**none, **_sums(spend), **spend.usage, **spend.units}


def _sums(spend: Spend) -> dict[str, Any]:
    return {**spend.group, **{name: getattr(spend, name) for name in _SUMS}}


def _tell_usage(usage: Usage) -> None:
    from meter.cli.sheet import Column, count, money, span, table  # noqa: PLC0415  # only here

    when, total = span(usage.since, usage.until), usage.total
    if not total.requests:
        sys.stdout.write(f"no request ended from {when}\n")
        return
    columns = (
        *(Column(field) for field in usage.by),
        Column("requests", show=count),
        Column("errors", show=count, spare=2, optional=True),
        Column("input", show=count, spare=1),
        Column("cached", show=count, spare=3, optional=True),
        Column("output", show=count, spare=1),
        Column("cost_usd", "USD", money),
        Column("estimated_cost_usd", "estimated", money, spare=4, optional=True),
        Column("unpriced_tokens", "unpriced", count, optional=True),
    )
    rows = [_read(row) for row in usage.rows]
    if usage.by:
        table(columns, rows, title=when, total={**_read(total), usage.by[0]: "total"})
    else:
        table(columns, rows, title=when)
    if total.unpriced_tokens:
        sys.stdout.write(f"{total.unpriced_tokens:,} tokens have no price: see `meter prices missing`\n")


def _read(spend: Spend) -> dict[str, Any]:
    """Give a row for people: input with what was cached."""

    def tokens(kinds: str) -> int:
        return sum(count for kind, count in spend.usage.items() if kind.startswith(kinds))

    summed = {"input": tokens("input"), "cached": tokens("input_cached"), "output": tokens("output")}
    return {**_sums(spend), **summed}


# --- waste ---

_WASTES = {
    "keys": "cancelled or cut short, by key",
    "cancelled": "cancelled: the client left before the answer's end",
    "cut_short": "cut short: the answer ended for the most tokens that were allowed",
    "rate_limited": "refused for rate limits: what comes after is a retry",
    "unread": "written to a cache, and hardly read from it",
}
_WASTE_KEYS = ("waste", "key", "model", "requests", "tokens", "cost_usd", "written_tokens", "read_tokens")


def _show_waste(told: Mapping[str, Any], form: str) -> None:
    if form == "json":
        as_json(told)
    elif form == "csv":
        as_csv(_WASTE_KEYS, ({"waste": name, **row} for name in _WASTES for row in told[name]))
    else:
        _tell_waste(told)


def _tell_waste(told: Mapping[str, Any]) -> None:
    from meter.cli.sheet import Column, count, money, span, table  # noqa: PLC0415  # only here

    columns = (
        Column("key"),
        Column("model"),
        Column("requests", show=count, optional=True),
        Column("tokens", show=count, optional=True),
        Column("cost_usd", "USD", money, optional=True),
        Column("written_tokens", "tokens\nwritten", count),
        Column("read_tokens", "tokens\nread", count),
    )
    when = span(told["since"], told["until"])
    if not any(told[name] for name in _WASTES):
        sys.stdout.write(f"nothing was wasted from {when}\n")
        return
    sys.stdout.write(f"{when}\n\n")
    for name, title in _WASTES.items():
        if rows := told[name]:
            table([column for column in columns if column.key in rows[0]], rows, title=title)
