"""What was paid for and not used, as the ledger tells it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from ledger.kept import NOON, a_chat, at, keep

from meter.errors import ERROR_TYPES
from meter.exchange import Outcome, UsageSource
from meter.ledger.reading import Unread, waste
from meter.ledger.schema import LENGTH_STOPS
from meter.ledger.waste import RATE_LIMITED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meter.ledger.database import Database
    from meter.ledger.spend import Spend


def facts(spends: Iterable[Spend]) -> list[tuple[str, str | None, int, Decimal | None]]:
    """Give key, model, requests and cost of each."""
    return [(one.group["key"], one.group.get("model"), one.requests, one.cost_usd) for one in spends]


@pytest.mark.parametrize("rollups", [True, False])
def test_what_was_cancelled_or_cut_short(database: Database, *, rollups: bool) -> None:
    """Both are told by key and model, dearest first, and an exchange that was both counts once by key."""
    keep(
        database,
        [
            a_chat(finish_reasons=("stop",)),
            a_chat(finish_reasons=("stop", "length")),
            a_chat(finish_reasons=("max_tokens",), model="claude", cost_usd=Decimal(3)),
            a_chat(outcome=Outcome.CLIENT_CLOSED, usage_source=UsageSource.ESTIMATED),
            a_chat(outcome=Outcome.CLIENT_CLOSED, finish_reasons=("length",), cost_usd=Decimal(1)),
            a_chat(outcome=Outcome.CLIENT_CLOSED, key="ops", cost_usd=Decimal(2)),
        ],
        rollups=rollups,
    )

    found = waste(database, NOON, at(hours=1))

    assert {"key": "ops", "model": "gpt-4o", "requests": 1, "tokens": 15, "cost_usd": Decimal(2)}.items() <= (
        found.told["cancelled"][0].items()
    )
    assert [
        ("ops", "gpt-4o", 1, Decimal(2)),
        ("search", "gpt-4o", 2, Decimal("1.01")),
    ] == facts(found.cancelled)
    assert [
        ("search", "claude", 1, Decimal(3)),
        ("search", "gpt-4o", 2, Decimal("1.01")),
    ] == facts(found.cut_short)
    assert [("search", None, 4, Decimal("4.02")), ("ops", None, 1, Decimal(2))] == facts(found.keys)


@pytest.mark.parametrize("rollups", [True, False])
def test_every_length_stop_is_one_in_rollups_and_in_exchanges(database: Database, *, rollups: bool) -> None:
    """An answer was cut short if one of its reasons is a length, and not if a reason only has one in it."""
    stops = [(stop,) for stop in sorted(LENGTH_STOPS)]
    others = [(), ("stop",), ('x["length"]',), (',"length"',), ("LENGTH",), ("lengthy",), ('"', "x"), ("\\",)]
    keep(
        database,
        [
            *(a_chat(finish_reasons=reasons, key="short") for reasons in stops),
            *(a_chat(finish_reasons=("\\", *reasons, '"'), key="short") for reasons in stops),
            *(a_chat(finish_reasons=reasons, key="whole") for reasons in others),
        ],
        rollups=rollups,
    )

    assert [("short", None, 8, Decimal("0.08"))] == facts(waste(database, NOON, at(hours=1)).keys)


def test_refusals_for_rate_limits(database: Database) -> None:
    """Answers that say too much, too fast are counted by key and model."""
    refused: dict[str, Any] = {"outcome": Outcome.CLIENT_ERROR, "usage": None, "cost_usd": None}
    keep(
        database,
        [
            *(a_chat(error_type=kind, **refused) for kind in ("rate_limit_exceeded", "http_429")),
            a_chat(error_type="insufficient_quota", **refused),
        ],
    )

    found = waste(database, NOON, at(hours=1)).rate_limited

    assert [("search", "gpt-4o", 2)] == [row[:3] for row in facts(found)]


def test_types_of_errors_are_those_that_meter_tells() -> None:
    """What counts as a rate limit is in the closed set of error types."""
    assert RATE_LIMITED - {"http_429"} <= ERROR_TYPES


def test_caches_that_are_written_and_not_read(database: Database) -> None:
    """A cache counts as unread where less than a quarter of what was written to it was read from it."""
    keep(
        database,
        [
            a_chat(key="never", usage={"input_cache_write": 100, "input_cache_write_1h": 1}),
            a_chat(key="hardly", usage={"input_cache_write_5m": 500}),
            a_chat(at(minutes=5), key="hardly", usage={"input_cached": 124}, outcome=Outcome.TIMEOUT),
            a_chat(key="enough", usage={"input_cache_write_5m": 500, "input_cached": 125}),
            a_chat(key="none", usage={"input": 500}),
        ],
    )

    assert (
        Unread("hardly", "gpt-4o", 500, 124),
        Unread("never", "gpt-4o", 101, 0),
    ) == waste(database, NOON, at(hours=1)).unread
