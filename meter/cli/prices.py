"""`meter prices`: what a model costs, who says so, and which models nobody has a price of."""

from __future__ import annotations

import fnmatch
import json
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from meter import directories
from meter.cli.ledgers import ledger_options, opened, settings_of
from meter.cli.parsing import FAILED, OK, WRONG, command, config, config_option, failures_told, group, say
from meter.cli.sheet import FORMATS, Column, as_json, count, csv_rows, money, table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from meter.price import Book, Listed, Price, Rates
    from meter.settings import Settings

__all__ = ["add"]


def add(commands: Any) -> None:
    """Declare the commands."""
    actions = group(commands, "prices", "what models cost, by whom, since when")
    every = command(actions, "list", failures_told(_list), "list all prices, in the order of their sources")
    one = command(actions, "show", failures_told(_show), "show what a model costs, and where that comes from")
    one.add_argument("model", metavar="MODEL")
    for parser in (every, one):
        config_option(parser)
        parser.add_argument("--provider", metavar="NAME", help="as sold by this one")
        parser.add_argument("--format", choices=FORMATS, default="table")
    every.add_argument("--model", metavar="PATTERN", help="only models like this, with * and ?")
    one.add_argument("--upstream", metavar="NAME", help="at this upstream of the settings")
    check = command(actions, "check", failures_told(_check), "validate a price file")
    check.add_argument("file", metavar="FILE")
    missing = command(actions, "missing", failures_told(_missing), "list the models that lack a price")
    ledger_options(missing)
    missing.add_argument("--since", metavar="T", default="30d", help="7d, 24h, 2026-01-31, ... (30d)")
    missing.add_argument("--url", metavar="URL", help="ask a running proxy by its admin port, not the ledger")
    missing.add_argument("--format", choices=FORMATS, default="table")


def _settings(args: argparse.Namespace) -> Settings:
    from meter.settings import load  # noqa: PLC0415  # pydantic: see the package

    return load(config(args), {}, serves=False)


def _book(settings: Settings) -> Book:
    from meter import pricing  # noqa: PLC0415  # pydantic and the catalogue

    return pricing.book(settings, pricing.catalogue(settings, directories.state(os.environ)))


# --- list ---

_LISTED = (
    Column("model"),
    Column("place"),
    Column("input", show=money),
    Column("cached", show=money),
    Column("output", show=money),
    Column("other"),
    Column("valid"),
    Column("source"),
    Column("revision"),
)


def _list(args: argparse.Namespace) -> int:
    listed = [
        _told(one)
        for one in _book(_settings(args)).listing(datetime.now(UTC))
        if (args.provider in (None, one.provider))
        and (args.model is None or fnmatch.fnmatchcase(one.price.model, args.model))
    ]
    if args.format == "json":
        as_json({"prices": listed})
    elif args.format == "csv":
        csv_rows([column.key for column in _LISTED], [_row(told) for told in listed])
    else:
        table(_LISTED, [_row(told) for told in listed], title="USD per million tokens")
    return OK


def _told(listed: Listed) -> dict[str, Any]:
    """Give everything that is known of a price."""
    return {
        "model": listed.price.model,
        "upstream": listed.upstream,
        "provider": listed.provider,
        **_amounts(listed.price),
        "valid_from": listed.valid_from and listed.valid_from.isoformat(),
        "valid_until": listed.valid_until and listed.valid_until.isoformat(),
        "hours": listed.hours,
        **_origin(listed.price),
    }


def _amounts(price: Price) -> dict[str, Any]:
    return {
        **_rates(price.rates),
        "service_tiers": {name: _rates(rates) for name, rates in price.service_tiers.items()},
        "per_request": price.per_request,
        "per_unit": dict(price.per_unit),
    }


def _rates(rates: Rates) -> dict[str, Any]:
    return {
        "per_million_tokens": dict(rates.amounts),
        "tiers": [
            {
                "from_input_tokens" if tier.inclusive else "above_input_tokens": tier.threshold,
                "per_million_tokens": dict(tier.amounts),
            }
            for tier in rates.tiers
        ],
    }


def _origin(price: Price) -> dict[str, Any]:
    return {
        "status": str(price.status),
        "source": price.source,
        "revision": price.revision,
        "origin": price.origin,
    }


_USUAL = {"input": "input", "cached": "input_cached", "output": "output"}


def _row(told: dict[str, Any]) -> dict[str, Any]:
    """Give what a line of the list has room for."""
    amounts = told["per_million_tokens"]
    others = {kind: amount for kind, amount in amounts.items() if kind not in _USUAL.values()}
    others |= {f"per {unit}": amount for unit, amount in told["per_unit"].items()}
    if told["per_request"]:
        others["per request"] = told["per_request"]
    marks = [f"{name} {money(amount)}" for name, amount in others.items()]
    marks += [f"{len(told['tiers'])} tiers"] if told["tiers"] else []
    marks += [f"tier {name}" for name in told["service_tiers"]]
    valid = [f"from {told['valid_from']}" if told["valid_from"] else ""]
    valid += [f"until {told['valid_until']}" if told["valid_until"] else "", told["hours"] or ""]
    return {
        "model": told["model"],
        "place": told["upstream"] or told["provider"] or "any",
        **{title: amounts.get(kind) for title, kind in _USUAL.items()},
        "other": ", ".join(marks),
        "valid": " ".join(filter(None, valid)),
        "source": told["source"],
        "revision": told["revision"],
    }


# --- show ---

_SHOWN = (Column("what"), Column("usd", "USD", money), Column("of"))


def _show(args: argparse.Namespace) -> int:
    settings = _settings(args)
    known = {upstream.name: upstream.provider for upstream in settings.upstreams}
    if args.upstream is not None and args.upstream not in known:
        raise ValueError(f"--upstream: got {args.upstream!r}, expected an upstream of the settings")
    provider = args.provider or known.get(args.upstream)
    price = _book(settings).find(
        (args.model,), upstream=args.upstream or "none", provider=provider, when=datetime.now(UTC)
    )
    if price is None:
        return say(f"no price is known for {args.model!r}", FAILED)
    if args.format == "json":
        named = {"model": args.model, "entry": price.model, "upstream": args.upstream, "provider": provider}
        as_json({**named, **_amounts(price), **_origin(price)})
    elif args.format == "csv":
        csv_rows([column.key for column in _SHOWN], list(_lines(price)))
    else:
        table(_SHOWN, list(_lines(price)), title=_heading(args.model, price))
    return OK


def _heading(model: str, price: Price) -> str:
    entry = "" if price.model == model else f" (as {price.model})"
    origin = f"\n{price.origin}" if price.origin else ""
    return f"{model}{entry}: {price.status}, {price.source} {price.revision}{origin}"


def _lines(price: Price) -> Iterator[dict[str, Any]]:
    yield from _rate_lines(price.rates, "")
    for name, rates in price.service_tiers.items():
        yield from _rate_lines(rates, f"service tier {name}")
    if price.per_request is not None:
        yield {"what": "request", "usd": price.per_request, "of": ""}
    for unit, amount in price.per_unit.items():
        yield {"what": unit, "usd": amount, "of": "one"}


def _rate_lines(rates: Rates, where: str) -> Iterator[dict[str, Any]]:
    for kind, amount in rates.amounts.items():
        yield {"what": kind, "usd": amount, "of": _joined("million tokens", where)}
    for tier in rates.tiers:
        bound = f"{'from' if tier.inclusive else 'above'} {tier.threshold:,} input tokens"
        for kind, amount in tier.amounts.items():
            yield {"what": kind, "usd": amount, "of": _joined("million tokens", where, bound)}


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))


# --- check ---


def _check(args: argparse.Namespace) -> int:
    from meter.prices.audit import findings  # noqa: PLC0415  # pydantic and the catalogue

    found = findings(args.file)
    for finding in found:
        where = f"{finding.where}: " if finding.where else ""
        sys.stderr.write(f"{args.file}:{finding.line}: {finding.severity}: {where}{finding.what}\n")
    if any(finding.severity == "error" for finding in found):
        return WRONG
    sys.stdout.write(f"{args.file}: ok\n")
    return OK


# --- missing ---

_MISSING = (
    Column("upstream"),
    Column("model"),
    Column("requests", show=count),
    Column("tokens", show=count),
    Column("last", "last seen"),
)


def _missing(args: argparse.Namespace) -> int:
    found = _of_proxy(args) if args.url else _of_ledger(args)
    if args.format == "json":
        as_json({"missing": found})
    elif args.format == "csv":
        csv_rows([column.key for column in _MISSING], found)
    elif not found:
        sys.stdout.write("every model that was used has a price\n")
    else:
        table(_MISSING, found, title="models without a price")
        sys.stdout.write("prices:  # the lines to add to a file of prices.files\n")
        sys.stdout.writelines(map(_line_to_add, found))
    return OK


def _of_ledger(args: argparse.Namespace) -> list[Mapping[str, Any]]:
    from meter.ledger.reading import missing  # noqa: PLC0415  # SQLAlchemy
    from meter.since import moment  # noqa: PLC0415

    with opened(settings_of(args)) as database:
        return [asdict(each) for each in missing(database, moment(args.since, datetime.now(UTC)))]


def _of_proxy(args: argparse.Namespace) -> list[Mapping[str, Any]]:
    from meter.cli.asking import asked  # noqa: PLC0415

    answer = asked(settings_of(args), args.url, "/api/prices/missing", since=args.since)
    return list(answer["missing"])


def _line_to_add(missing: Mapping[str, Any]) -> str:
    model = json.dumps(  # YAML takes JSON's texts, whatever is in them
        missing["model"], ensure_ascii=False
    )
    usage = missing.get("usage") or {"input": 0, "output": 0}
    amounts = ", ".join(f"{kind}: ?" for kind in usage)
    units = "".join(f", {_PER_UNIT[unit]}: ?" for unit in missing.get("units") or {})
    return (
        f"  - {{model: {model}, upstream: {missing['upstream']}, per_million_tokens: {{{amounts}}}{units}}}\n"
    )


_PER_UNIT = {
    "audio_seconds": "per_second",
    "images": "per_image",
    "searches": "per_search",
    "characters": "per_character",
}
