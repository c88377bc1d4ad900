"""Models that lack a price, as the ledger tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from ledger.kept import NOON, a_chat, at, keep

from meter.exchange import PriceStatus, UsageSource
from meter.ledger.reading import Missing, missing

if TYPE_CHECKING:
    from meter.ledger.database import Database

UNPRICED: dict[str, Any] = {"cost_usd": None, "price_status": PriceStatus.MISSING}


@pytest.mark.parametrize("rollups", [True, False])
def test_models_without_a_price(database: Database, *, rollups: bool) -> None:
    """Each model without a price is told once for each upstream, with all that it used, most tokens first."""
    keep(
        database,
        [
            a_chat(),
            a_chat(at(hours=-1), **UNPRICED),
            a_chat(at(hours=1), model="m1", **UNPRICED),
            a_chat(at(hours=3), model="m1", operation="responses", key=None, **UNPRICED),
            a_chat(at(hours=2), model="m1", usage_source=UsageSource.ESTIMATED, **UNPRICED),
            a_chat(at(hours=1), model="m1", upstream="azure", usage={"output": 99}, **UNPRICED),
            a_chat(at(hours=1), model="dall-e", usage=None, units={"images": 2.0}, **UNPRICED),
        ],
        rollups=rollups,
    )

    assert [
        Missing("azure", "m1", ("chat",), 1, 99, {"output": 99}, {}, at(hours=1), at(hours=1)),
        Missing(
            "openai",
            "m1",
            ("chat", "responses"),
            3,
            45,
            {"input": 30, "output": 15},
            {},
            at(hours=1),
            at(hours=3),
        ),
        Missing("openai", "dall-e", ("chat",), 1, 0, {}, {"images": 2.0}, at(hours=1), at(hours=1)),
    ] == missing(database, NOON)


def test_nothing_is_missing(database: Database) -> None:
    """Where all has a price nothing is told."""
    keep(database, [a_chat()])

    assert [] == missing(database, NOON)
