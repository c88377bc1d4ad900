"""An exchange becomes a row that every database takes, and a row becomes the exchange again."""

from __future__ import annotations

import json
import tracemalloc
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from ledgers import an_exchange, columns

from meter.exchange import KINDS, UNITS, Exchange, Outcome, PriceStatus, UsageSource
from meter.ledger.schema import GROUP, SUMS, exchange_of, row_of, tables
from meter.ledger.sums import rollup_of
from meter.telling import rfc3339


def test_row_has_every_column() -> None:
    """A row has the columns of the table, on both databases."""
    for kind in ("sqlite", "postgresql"):
        assert set(tables(kind).exchanges.columns.keys()) == set(columns(an_exchange()))


def test_rollup_has_every_column() -> None:
    """A rollup has the columns of the table: what it is by, its digest, and what it adds up."""
    rollup = rollup_of(columns(an_exchange()))
    assert set(tables("sqlite").rollups.columns.keys()) == set(rollup)
    assert {*GROUP, "digest", *SUMS} == set(rollup)


def test_exchange_comes_back() -> None:
    """What a row keeps of an exchange is the exchange again."""
    known = an_exchange(started_at=1_760_000_000.25, duration_s=0.5)
    bare = Exchange(id="1", started_at=1_760_000_000.5, method="GET", path="/", outcome=Outcome.REJECTED)
    for exchange in (known, bare):
        assert exchange == exchange_of(columns(exchange))


@pytest.mark.parametrize(
    "text", ["\x00", "a\x00b", "\ud800", "x\udfffy", "\U0001f600", "\u2028", "é" * 50_000]
)
def test_hostile_texts(text: str) -> None:
    """A text is one that every database takes, wherever it stands."""
    kept = columns(
        an_exchange(
            key=text, path=text, request_model=text, tags={text: text, "team": text}, finish_reasons=(text,)
        )
    )
    for value in kept.values():
        if isinstance(value, str):
            value.encode()
            assert "\x00" not in value
            assert "\\u0000" not in value
    expected = text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    assert {expected: expected, "team": expected} == json.loads(kept["tags"])


@pytest.mark.parametrize("usd", [Decimal("9000000.000000000001"), Decimal(10) ** 30])
def test_absurd_costs(usd: Decimal) -> None:
    """A cost that no column holds is unknown, and is said to be."""
    kept = columns(an_exchange(cost_usd=usd, provider_cost_usd=usd))
    assert (None, None, "missing") == (kept["cost_usd"], kept["provider_cost_usd"], kept["price_status"])


def test_absurd_counts() -> None:
    """A count beyond all reason is unknown; those beside it are kept."""
    usage = {"input": 2**63, "output": 2**53}
    units = {"images": float("inf"), "searches": float("nan"), "characters": 3}
    kept = columns(an_exchange(usage=usage, units=units))
    assert ('{"output":9007199254740992}', '{"characters":3}') == (kept["usage"], kept["units"])


def test_whole_numbers() -> None:
    """A number is kept as it was told, whatever was told before."""
    for units in ({"images": 2}, {"images": 2.0}, {"images": 1}):
        assert msgspec.json.encode(units).decode() == columns(an_exchange(units=units))["units"]


@pytest.mark.parametrize(
    ("reasons", "cut"), [(("stop",), False), (("stop", "length"), True), (("MAX_TOKENS",), True), ((), False)]
)
def test_cut_short(reasons: tuple[str, ...], *, cut: bool) -> None:
    """A rollup knows whether a choice ended for its length."""
    assert rollup_of(columns(an_exchange(finish_reasons=reasons)))["cut_short"] is cut


@pytest.mark.parametrize(
    ("source", "counted"),
    [
        (UsageSource.REPORTED, True),
        (UsageSource.ESTIMATED, True),
        (UsageSource.MISSING, False),
        (UsageSource.NONE, False),
    ],
)
def test_rollup_counts(source: UsageSource, *, counted: bool) -> None:
    """A rollup adds up tokens that were counted, units, and costs that are known."""
    rollup = rollup_of(columns(an_exchange(usage_source=source, cost_usd=None, units={"images": 2})))
    tokens = {"input": 1000, "input_cached": 200, "output": 50} if counted else {}
    assert {kind: tokens.get(kind, 0) for kind in KINDS} == {kind: rollup[kind] for kind in KINDS}
    assert {**dict.fromkeys(UNITS, 0), "images": 2} == {unit: rollup[unit] for unit in UNITS}
    assert (0, 1, 0) == (rollup["cost_usd"], rollup["requests"], rollup["errors"])


CHANGES: list[dict[str, Any]] = [
    {"upstream": "azure"},
    {"operation": "responses"},
    {"model": None},
    {"key": None},
    {"tags": {}},
    {"outcome": Outcome.TIMEOUT},
    {"error_type": "timeout"},
    {"usage_source": UsageSource.ESTIMATED},
    {"price_status": PriceStatus.LIST},
    {"finish_reasons": ()},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_digest(change: dict[str, Any]) -> None:
    """Rows that differ in anything that one may ask by have rollups of their own."""
    same, other = an_exchange(status=201, duration_s=1.0), an_exchange(**change)
    assert _digest(an_exchange()) == _digest(same)
    assert _digest(an_exchange()) != _digest(other)


def _digest(exchange: Exchange) -> str:
    digest: str = rollup_of(columns(exchange))["digest"]
    return digest


@pytest.mark.parametrize("wrong", [{"stream": "null"}, {"stream": None}, {"ttft_s": "1"}, {"tags": 1.5}])
def test_wrong_columns(wrong: dict[str, Any]) -> None:
    """Columns that are none of a row's, as a file may have them, make no row."""
    with pytest.raises(TypeError):
        row_of({**columns(an_exchange()), **wrong})


@pytest.mark.parametrize("told", [{"tags": {"user": "x" * 60_000}}, {"finish_reasons": ("x" * 1000,) * 128}])
def test_long_texts_are_not_remembered(told: dict[str, Any]) -> None:
    """Of rows whose tags or finish reasons are long nothing is kept once they are written."""
    rollup_of(columns(an_exchange()))
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(20):
            rollup_of(columns(an_exchange(**told, path=f"/{number}")))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert after - before < 60_000


def test_moments() -> None:
    """A moment is written in UTC, to the microsecond, as in the log."""
    kept = columns(an_exchange(started_at=1_760_000_000, duration_s=0.25))
    assert "2025-10-09T08:53:20.250000Z" == rfc3339(kept["timestamp"])
    assert kept["timestamp"].replace(minute=0, second=0, microsecond=0) == rollup_of(kept)["hour"]
