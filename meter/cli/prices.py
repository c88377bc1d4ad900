"""`meter prices`: all prices that are known, and what is wrong with a file of them."""

from __future__ import annotations

import fnmatch
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from meter.cli import explaining, missing
from meter.cli.exports import FORMATS, as_csv, as_json
from meter.cli.ledgers import settings_of
from meter.cli.parsing import OK, WRONG, command, config_option, group, say
from meter.cli.pricing import book_of, origin_of, period_of, rates_of
from meter.cli.terminal import printable

if TYPE_CHECKING:
    import argparse
    from decimal import Decimal

    from meter.price import Listed

__all__ = ["add"]


def add(commands: Any) -> None:
    """Declare the commands."""
    actions = group(commands, "prices", "what models cost, by whom, since when")
    every = command(actions, "list", _list, "list all prices, in the order in which they are asked")
    config_option(every)
    every.add_argument("--model", metavar="PATTERN", help="only models like this, with * and ?")
    every.add_argument("--provider", metavar="NAME", help="only what this one sells")
    every.add_argument("--format", choices=FORMATS, default="table")
    explaining.add(actions)
    check = command(actions, "check", _check, "validate a price file")
    check.add_argument("file", metavar="FILE")
    missing.add(actions)


# --- list ---

_USUAL = {"input": "input", "cached": "input_cached", "output": "output"}
"""Columns of their own, and the kinds of tokens in them."""

_CSV = ("model", "place", *_USUAL, "other", "valid", "source", "revision")


def _list(args: argparse.Namespace) -> int:
    listed = [one for one in book_of(settings_of(args)).listing(datetime.now(UTC)) if _is_wanted(args, one)]
    if args.format == "json":
        as_json({"prices": [_told(one) for one in listed]})
    elif args.format == "csv":
        as_csv(_CSV, map(_row, listed))
    elif listed:
        _tell(listed)
    else:
        say("no price is like that: `meter prices list` without options has all", OK)
    return OK


def _is_wanted(args: argparse.Namespace, listed: Listed) -> bool:
    from meter.prices.places import place  # noqa: PLC0415  # pydantic: see the package

    if args.provider is not None and (
        listed.provider is None or place(args.provider) != place(listed.provider)
    ):
        return False
    return args.model is None or fnmatch.fnmatchcase(listed.price.model, args.model)


def _told(listed: Listed) -> dict[str, Any]:
    """Give everything that is known of a price."""
    return {
        "model": listed.price.model,
        "upstream": listed.upstream,
        "provider": listed.provider,
        **rates_of(listed.price),
        **period_of(listed),
        **origin_of(listed.price),
    }


def _row(listed: Listed) -> dict[str, Any]:
    """Give what a line has room for."""
    price = listed.price
    amounts = price.rates.amounts
    return {
        "model": price.model,
        "place": listed.upstream or listed.provider or "any",
        **{title: amounts.get(kind) for title, kind in _USUAL.items()},
        "other": ", ".join(_others(listed)),
        "valid": explaining.valid(listed),
        "source": price.source,
        "revision": price.revision,
    }


def _others(listed: Listed) -> list[str]:
    from meter.cli.sheet import price as shown  # noqa: PLC0415  # only where it is shown

    price = listed.price
    others: dict[str, Decimal | None] = {
        kind: amount for kind, amount in price.rates.amounts.items() if kind not in _USUAL.values()
    }
    others |= {f"{explaining.ONE[unit]}": amount for unit, amount in price.per_unit.items()}
    others |= {"request": price.per_request} if price.per_request else {}
    tiers = [f"{'from' if tier.inclusive else 'above'} {tier.threshold:,}" for tier in price.rates.tiers]
    return [*(f"{name} {shown(amount)}" for name, amount in others.items()), *tiers, *price.service_tiers]


def _tell(listed: list[Listed]) -> None:
    from meter.cli.sheet import Column, price, table  # noqa: PLC0415  # only here

    columns = (
        Column("model"),
        Column("place"),
        *(Column(title, show=price) for title in _USUAL),
        Column("other", spare=1, optional=True),
        Column("valid", spare=2, optional=True),
        Column("source", spare=3),
        Column("revision", spare=4),
    )
    table(columns, [_row(one) for one in listed], title="USD per million tokens")


# --- check ---


def _check(args: argparse.Namespace) -> int:
    from meter.prices.audit import findings  # noqa: PLC0415  # pydantic and the catalogue

    found = findings(args.file)
    for finding in found:
        where = f"{finding.where}: " if finding.where else ""
        sentence = f"{args.file}:{finding.line}: {finding.severity}: {where}{finding.what}"
        sys.stderr.write(f"{printable(sentence)}\n")
    if any(finding.severity == "error" for finding in found):
        return WRONG
    sys.stdout.write(f"{printable(args.file)}: ok\n")
    return OK
