"""Exchanges out of the ledger: as the log told them, newest first, and all of them in time."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger.kept import NOON, a_chat, at, forget, keep
from sqlalchemy import select

from meter.exchange import Exchange, Outcome, PriceStatus, UsageSource
from meter.ledger.reading import QuestionError, exchange, exchanges
from meter.ledger.schema import exchange_of
from meter.sinks.log import LogSink, configure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meter.ledger.database import Database

FULL: dict[str, Any] = {
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "provider": "openai",
    "tags": {"team": "red"},
    "stream": True,
    "attempts": 2,
    "request_model": "gpt-4o",
    "response_model": "gpt-4o-2024-08-06",
    "service_tier": "default",
    "finish_reasons": ("stop", "length"),
    "upstream_request_id": "req_1",
    "units": {"audio_seconds": 0.1, "images": 2.0},
    "provider_cost_usd": Decimal("0.00123"),
    "price_source": "prices.yaml",
    "price_revision": "r1",
    "duration_s": 1.0000004,
    "ttft_s": 0.25,
    "overhead_request_s": 0.001,
    "overhead_response_s": 0.002,
    "request_bytes": 10**10,
    "response_bytes": 7,
}


def logged(one: Exchange) -> bytes:
    """Give the line that the log has of an exchange, spelled by the log itself."""
    lines = io.BytesIO()
    LogSink(configure(stream=lines))(one)
    return lines.getvalue().rstrip(b"\n")


def test_an_exchange_is_told_as_the_log_told_it(database: Database) -> None:
    """Whatever is known of an exchange comes back in the log's words, to the last digit."""
    told = [
        a_chat(**FULL),
        a_chat(),
        a_chat(key=None, model=None, upstream="none", status=None, outcome=Outcome.REJECTED),
        a_chat(usage=None, usage_source=UsageSource.MISSING, cost_usd=None, price_status=PriceStatus.NONE),
        a_chat(cost_usd=Decimal("0.000000000001"), provider_cost_usd=Decimal("1.2E-8")),
        a_chat(cost_usd=Decimal("0.000000000000"), provider_cost_usd=Decimal(100)),
    ]
    keep(database, told)

    for one in told:
        assert logged(one) == msgspec.json.encode(exchange(database, one.id))


def test_an_exchange_that_is_not_there(database: Database) -> None:
    """Of an id that the ledger does not have it has nothing to tell."""
    assert exchange(database, "01978a3e-0000-7000-8000-00000000dead") is None


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    microseconds=st.integers(0, 10**12),
    duration=st.floats(0, 10**5),
    cost=st.integers(0, 10**18),
    text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
)
def test_times_and_amounts_lose_nothing(
    database: Database, microseconds: int, duration: float, cost: int, text: str
) -> None:
    """Any moment, duration, amount and text that the log may have had comes back as it was."""
    forget(database, rollups=True)
    one = a_chat(
        started_at=NOON.timestamp() + microseconds / 10**6,
        duration_s=duration,
        cost_usd=Decimal(cost).scaleb(-12),
        path=text,
        tags={text: text},
        finish_reasons=(text,),
    )
    keep(database, [one])

    found = exchange(database, one.id)

    assert found is not None
    assert msgspec.json.decode(logged(one)) == msgspec.json.decode(msgspec.json.encode(found))


def test_a_row_becomes_the_exchange_that_it_was(database: Database) -> None:
    """A row gives all of an exchange that pricing it again needs, and all else that was kept."""
    one = a_chat(**{**FULL, "duration_s": 1.5, "overhead_response_s": None})
    keep(database, [one])

    columns = database.tables.exchanges.c
    with database.engine.connect() as connection:  # by their keys: SQLite's own names are others
        rows = connection.execute(select(*(column.label(column.key) for column in columns)))
        kept = rows.one()._asdict()

    # All numbers here are sums of powers of 2.
    assert one == exchange_of(kept)


def test_the_newest_come_first(database: Database) -> None:
    """As many as are asked for come, by when they ended, and by id where they ended at once."""
    told = [a_chat(at(minutes=minute)) for minute in (0, 0, 10, 5)]
    keep(database, told)

    newest = [told[2], told[3], told[1], told[0]]
    for limit in (0, 1, 3, 4, 9):
        assert [one.id for one in newest[:limit]] == [line["id"] for line in exchanges(database, limit)]


def test_exchanges_may_be_chosen(database: Database) -> None:
    """Only those come in which one of the values of each field holds, up to as many as asked for."""
    told = [
        a_chat(at(minutes=0), key="a", tags={"team": "red"}),
        a_chat(at(minutes=1), key="b", tags={"team": "red"}),
        a_chat(at(minutes=2), key="b"),
        a_chat(at(minutes=3), key="c", outcome=Outcome.TIMEOUT),
    ]
    keep(database, told)
    questions: list[tuple[list[int], int, Mapping[str, list[str]]]] = [
        ([3], 9, {"outcome": ["timeout"]}),
        ([2, 1, 0], 9, {"key": ["a", "b"]}),
        ([2, 1], 2, {"key": ["a", "b"]}),
        ([1, 0], 9, {"tag.team": ["red"]}),
        ([1], 1, {"tag.team": ["red"]}),
        ([3, 2], 9, {"tag.team": ["none"]}),
        ([0], 9, {"tag.team": ["red"], "key": ["a"]}),
        ([], 9, {"key": []}),
    ]

    for chosen, limit, where in questions:
        lines = exchanges(database, limit, where=where)
        assert [told[index].id for index in chosen] == [line["id"] for line in lines]
    with pytest.raises(QuestionError, match="got the field 'path'"):
        exchanges(database, 1, where={"path": ["/"]})
