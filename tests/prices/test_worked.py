"""Exchanges priced by hand, at the rates that providers publish.

`worked/*.yaml` lists what a price page says, as a price file would, and below it exchanges with their
arithmetic spelled out and their cost as a literal. No expected cost is computed from rates here: a price file
made of the published rates must come to the literal, and so must the bundled catalogue where `catalogue` says
`true`. Elsewhere the word before the colon says how it differs, so that an update of it is noticed.
"""

from __future__ import annotations

import ast
import json
import operator
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec
import pytest
import yaml

from meter.exchange import KINDS, UNITS, Exchange, Outcome, PriceStatus, UsageSource
from meter.price import Book
from meter.prices.catalogue import CatalogueSource
from meter.prices.files import load
from meter.providers import catalogue_id

if TYPE_CHECKING:
    from collections.abc import Callable

WORKED = Path(__file__).with_name("worked")


class _Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One exchange."""

    name: str
    model: str
    """The request's."""
    answered: str | None = None
    """The response's."""
    at: datetime = datetime(2026, 11, 16, 12, tzinfo=UTC)
    tier: str | None = None
    """Service tier that the answer tells."""
    usage: dict[str, int] | None = None
    units: dict[str, float] = {}
    arithmetic: str
    """Dollars, in numbers, `+ - * /` and brackets."""
    cost_usd: str
    catalogue: str
    """`true`, or one of the other words of `verdict` and, behind a colon, the reason."""


class _Published(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a price page says, and exchanges at its rates."""

    provider: str | None = None
    upstream: str = "u"
    source: str
    by: Literal["copy", "reader", "catalogue"]
    """Who saw these rates: we, in a copy of the page; a reader who wrote them down; the catalogue alone."""
    checked: date
    """The day on which they did, or where they did not say, the day on which we read it."""
    note: str = ""
    file: dict[str, Any]
    exchanges: list[_Row]


class Case(NamedTuple):
    """One exchange, and the rates that it was worked out at."""

    sheet: str
    published: _Published
    row: _Row


def _read(path: Path) -> list[_Published]:
    # Every number stays the text that was written: 0.1 must not go through a float.
    written = yaml.BaseLoader(path.read_text(encoding="utf-8")).get_single_data()
    return msgspec.convert(written, list[_Published], strict=False)


CASES = [
    Case(path.stem, published, row)
    for path in sorted(WORKED.glob("*.yaml"))
    for published in _read(path)
    for row in published.exchanges
]

each = pytest.mark.parametrize("case", CASES, ids=[f"{c.sheet}: {c.row.model}: {c.row.name}" for c in CASES])

CATALOGUE = Book([CatalogueSource(ids=catalogue_id)])


def exchange(case: Case) -> Exchange:
    """Make the record of an exchange before it is priced."""
    row, published = case.row, case.published
    return Exchange(
        id="0",
        started_at=row.at.timestamp(),
        upstream=published.upstream,
        provider=published.provider,
        method="POST",
        path="/v1/any",
        outcome=Outcome.OK,
        request_model=row.model,
        response_model=row.answered,
        service_tier=row.tier,
        usage=row.usage,
        units=row.units,
        usage_source=UsageSource.REPORTED,
    )


@each
def test_a_file_of_the_published_rates_comes_to_the_same(case: Case, tmp_path: Path) -> None:
    """A price file that says what the page says prices an exchange as a hand does, to the last digit."""
    path = tmp_path / "prices.yaml"
    path.write_text(json.dumps(case.published.file), encoding="utf-8")

    priced = Book([load(path)]).price(exchange(case))

    assert (Decimal(case.row.cost_usd), PriceStatus.EXACT) == (priced.cost_usd, priced.price_status)
    assert str(path) == priced.price_source


def verdict(priced: Exchange, expected: Decimal) -> str:
    """Say how the catalogue's cost compares with the expected one."""
    if priced.cost_usd is None:
        return "incomplete" if priced.price_source else "unlisted"
    if priced.cost_usd != expected:
        return "differs"
    return "true" if priced.price_status is PriceStatus.EXACT else "list"


@each
def test_the_catalogue_comes_to_the_same_or_is_known_not_to(case: Case) -> None:
    """The bundled catalogue prices an exchange to the same digit, or fails to in the way that is told."""
    word, _, reason = case.row.catalogue.partition(": ")

    assert word == verdict(CATALOGUE.price(exchange(case)), Decimal(case.row.cost_usd))
    assert (word == "true") == (not reason)


_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def worked(text: str) -> Fraction:
    """Work out a text of numbers, `+ - * /` and brackets, exactly."""

    def value(node: ast.expr) -> Fraction:
        match node:
            case ast.BinOp(left, sign, right):
                return _OPERATORS[type(sign)](value(left), value(right))
            case ast.Constant():
                # The number as it is written, and not the float that Python makes of it.
                return Fraction(ast.get_source_segment(text, node) or "")
        raise ValueError(f"got {ast.dump(node)}, expected a number or a sum of numbers")

    return value(ast.parse(text, mode="eval").body)


@each
def test_the_arithmetic_comes_to_the_cost(case: Case) -> None:
    """The arithmetic that is spelled out, rounded half to even to 12 places, is the cost that is written."""
    exact = worked(case.row.arithmetic)

    assert Fraction(case.row.cost_usd) == Fraction(round(exact * 10**12), 10**12)


@pytest.mark.parametrize("text", ["f()", "2 ** 3", "(1).real", "-1", "[1]", "1 if 1 else 2", "a", "'1'"])
def test_nothing_but_arithmetic_is_worked_out(text: str) -> None:
    """A text that is more than numbers, four signs and brackets is refused."""
    with pytest.raises((ValueError, KeyError)):
        worked(text)


@each
def test_every_row_says_where_it_is_from(case: Case) -> None:
    """A row has an address, a day that has passed, arithmetic, and counts of kinds and units that exist."""
    published, row = case.published, case.row
    source = urlsplit(published.source)

    assert ("https", True) == (source.scheme, "." in source.netloc)
    assert date(2023, 1, 1) <= published.checked <= datetime.now(UTC).date()
    assert row.arithmetic.strip()
    assert row.usage or row.units
    assert set(row.usage or {}) <= set(KINDS)
    assert set(row.units) <= set(UNITS)


def test_there_are_rows_enough() -> None:
    """More than a hundred exchanges of more than ten providers are worked out, and each is there once."""
    names = [(case.sheet, case.row.model, case.row.tier, case.row.name, case.row.at) for case in CASES]

    assert len(names) == len(set(names))
    assert len(CASES) > 150
    assert len({case.published.provider for case in CASES}) > 10
    assert sum(case.row.catalogue == "true" for case in CASES) > 120


def test_every_kind_and_unit_is_worked_out() -> None:
    """Each kind of token, each unit and each word for how the catalogue compares is in some row."""
    used = {kind for case in CASES for kind in (*(case.row.usage or {}), *case.row.units)}

    assert {*KINDS, *UNITS} == used
    assert {"true", "list", "differs", "incomplete", "unlisted"} == {
        case.row.catalogue.partition(":")[0] for case in CASES
    }
