"""Days that are added up tell what their hours would."""

from __future__ import annotations

import math
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger.kept import a_chat, at, forget, keep
from ledgers import columns
from sqlalchemy import func, select, text

from meter.exchange import KINDS, UNITS, Outcome, PriceStatus
from meter.ledger.database import add, adjust, open_database
from meter.ledger.days import DAY, Span, day_of, fold, spans, unfolded
from meter.ledger.reading import FIELDS, Usage, missing, spent, usage
from meter.ledger.writer import Plan, Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meter.exchange import Exchange
    from meter.ledger.database import Database

MIDNIGHT = datetime(2026, 2, 1, tzinfo=UTC)
"""Of the day after that of noon."""

FOREVER = datetime(9998, 1, 1, tzinfo=UTC)


def folded(database: Database) -> list[datetime]:
    """Give the days that are folded."""
    with database.engine.connect() as connection:
        return sorted(connection.scalars(select(database.tables.days.c.day)))


def fold_all(database: Database) -> None:
    """Fold every day that has rollups and can be folded."""
    day: datetime | None = None
    while (day := unfolded(database, day, FOREVER)) is not None:
        fold(database, day)
        day += DAY


def without_duration(answer: Usage) -> Usage:
    """Give the answer but for what floats add up to, which depends on the order."""
    rows = tuple(replace(spend, duration_s=0) for spend in answer.rows)
    return replace(answer, rows=rows, total=replace(answer.total, duration_s=0))


texts = st.sampled_from(["none", "a", "b"])


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    """Any chat of four days."""
    return a_chat(
        at(hours=draw(st.integers(0, 4 * 24)), microseconds=draw(st.integers(0, 1))),
        key=draw(texts),
        model=draw(texts),
        tags=draw(st.dictionaries(texts, texts, max_size=2)),
        usage=draw(st.dictionaries(st.sampled_from(KINDS), st.integers(0, 10**12), max_size=2)),
        units=draw(st.dictionaries(st.sampled_from(UNITS), st.integers(0, 9).map(float), max_size=1)),
        outcome=draw(st.sampled_from(Outcome)),
        finish_reasons=draw(st.sampled_from([(), ("length",)])),
        price_status=draw(st.sampled_from([PriceStatus.EXACT, PriceStatus.MISSING])),
        cost_usd=Decimal(draw(st.integers(0, 10**15))).scaleb(-12),
    )


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kept=st.lists(exchanges(), max_size=8),
    late=st.lists(exchanges(), max_size=2),
    by=st.lists(st.sampled_from([*(field for field in FIELDS if field != "minute"), "tag.a"]), max_size=3),
    where=st.fixed_dictionaries({}, optional={"key": st.lists(texts), "tag.b": st.lists(texts)}),
    edges=st.tuples(st.integers(-30, 5 * 24), st.integers(-30, 5 * 24)).map(sorted),
)
def test_folded_or_not_an_answer_is_the_same(
    database: Database,
    *,
    kept: Sequence[Exchange],
    late: Sequence[Exchange],
    by: Sequence[str],
    where: dict[str, list[str]],
    edges: Sequence[int],
) -> None:
    """Any question has one answer, whether days are folded, some of them again, or none."""
    forget(database, rollups=True)
    since, until = (at(hours=hour) for hour in edges)
    question: dict[str, Any] = {"by": by, "where": where, "since": since, "until": until}

    for more in (kept, late):
        keep(database, more)
        by_hours = usage(database, **question)
        fold_all(database)

        assert without_duration(by_hours) == without_duration(usage(database, **question))


def test_what_cost_nothing_is_0(database: Database) -> None:
    """Where no exchange of a folded day cost anything, nothing was spent."""
    keep(database, [a_chat(cost_usd=Decimal(0))])
    fold_all(database)

    with database.engine.connect() as connection:
        assert 0 == spent(connection, database.tables, since=MIDNIGHT - DAY)


def test_a_model_without_a_price_is_told_with_its_hours(database: Database) -> None:
    """A folded day still knows the first and the last hour of what has no price."""
    keep(database, [a_chat(at(hours=hour), price_status=PriceStatus.MISSING) for hour in (1, 5, 30)])
    by_hours = missing(database, at(hours=-12))

    fold_all(database)

    assert by_hours == missing(database, at(hours=-12))
    assert [(at(hours=1), at(hours=30))] == [(model.first, model.last) for model in by_hours]


def test_what_comes_late_unfolds_its_day_alone(database: Database) -> None:
    """A row of a folded day counts at once, and the day is folded anew with it."""
    keep(database, [a_chat(), a_chat(at(hours=24))])
    fold_all(database)

    keep(database, [a_chat(at(minutes=1))])

    assert [MIDNIGHT] == folded(database)
    assert (3, 2) == tuple(_requests(database, until) for until in (at(hours=48), MIDNIGHT))
    fold_all(database)
    assert [MIDNIGHT - DAY, MIDNIGHT] == folded(database)
    assert (3, 2) == tuple(_requests(database, until) for until in (at(hours=48), MIDNIGHT))


def _requests(database: Database, until: datetime) -> int:
    return usage(database, by=[], since=at(hours=-12), until=until).total.requests


def test_what_changes_unfolds_its_day(database: Database) -> None:
    """A row that is settled anew is told as it has become."""
    before = columns(a_chat())
    with database.writing() as connection:
        add(connection, database.tables, [before])
    fold_all(database)

    with database.writing() as connection:
        adjust(connection, database.tables, [before], [{**before, "cost_usd": Decimal(3)}])

    for _ in range(2):
        assert Decimal(3) == usage(database, by=[], since=at(hours=-12), until=MIDNIGHT).total.cost_usd
        fold_all(database)


def test_a_row_that_is_there_already_unfolds_nothing(database: Database) -> None:
    """What adds nothing to a rollup leaves its day as it is."""
    chat = a_chat()
    keep(database, [chat])
    fold_all(database)

    keep(database, [chat])

    assert [MIDNIGHT - DAY] == folded(database)


def test_a_day_that_is_too_great_is_left_to_its_hours(database: Database) -> None:
    """Where a database could not add up a day, its hours tell, and later days are folded all the same."""
    dear = Decimal(1_500_000)
    keep(database, [a_chat(at(hours=hour), cost_usd=dear) for hour in (1, 2, 3, 4)])
    keep(database, [a_chat(at(hours=24))])

    fold_all(database)

    assert 4 * dear == usage(database, by=[], since=at(hours=-12), until=MIDNIGHT).total.cost_usd
    if database.kind == "sqlite":
        assert [MIDNIGHT] == folded(database)


def test_days_are_looked_for_in_their_order(database: Database) -> None:
    """The first day that is not folded comes first, also between others, and days without rows never."""
    days = [MIDNIGHT + number * DAY for number in (0, 2, 3, 9)]
    keep(database, [a_chat(day) for day in days])

    assert days[0] == unfolded(database, None, FOREVER)
    for day in (days[0], days[2], days[3]):
        assert fold(database, day)
    assert days[1] == unfolded(database, None, FOREVER)
    assert None is unfolded(database, None, days[1])
    assert None is unfolded(database, days[2], FOREVER)


def test_a_day_is_folded_once(database: Database) -> None:
    """Whoever comes second finds it folded."""
    keep(database, [a_chat()])

    assert [True, True] == [fold(database, MIDNIGHT - DAY) for _ in range(2)]
    with database.engine.connect() as connection:
        told = connection.execute(select(database.tables.day_rollups.c.tagged)).scalars()
        assert [False, True] == sorted(told)


def test_tags_are_told_apart_or_not(database: Database) -> None:
    """What differs in tags alone is one sum where nobody asks for tags."""
    keep(database, [a_chat(tags={"user": user}) for user in "abc"])

    fold_all(database)

    tables = database.tables.day_rollups.c
    counted = select(tables.tagged, func.count(), func.sum(tables.requests)).group_by(tables.tagged)
    with database.engine.connect() as connection:
        told = sorted(tuple(found) for found in connection.execute(counted))
    assert [(False, 1, 3), (True, 3, 3)] == told


def test_spans_follow_each_other(database: Database) -> None:
    """A span is cut where folded days begin and end; a day that is cut is left to its hours."""
    keep(database, [a_chat(MIDNIGHT + number * DAY) for number in range(5)])
    keep(database, [a_chat(MIDNIGHT + DAY, units={"images": 1})])
    for number in (0, 1, 3, 4):
        fold(database, MIDNIGHT + number * DAY)
    since, until = MIDNIGHT - timedelta(hours=1), MIDNIGHT + 4 * DAY + timedelta(hours=23)

    with database.engine.connect() as connection:
        found = list(spans(connection, database.tables, since, until))

    day = [MIDNIGHT + number * DAY for number in range(5)]
    sums = frozenset({"requests", "duration_s", "cost_usd", "input", "output"})
    assert [
        Span(since, day[0]),
        Span(day[0], day[2], sums | {"images"}),
        Span(day[2], day[3]),
        Span(day[3], day[4], sums),
        Span(day[4], until),
    ] == found


def test_who_folds_waits_for_who_writes(database: Database) -> None:
    """A row that is about to be committed is in the sums of its day, or its day is not folded."""
    keep(database, [a_chat()])
    folding = Thread(target=fold, args=(database, MIDNIGHT - DAY))

    with database.writing() as connection:
        add(connection, database.tables, [columns(a_chat(at(minutes=1)))])
        folding.start()
        folding.join(0.2)
        waits = folding.is_alive()
    folding.join(10)

    assert waits
    assert 2 == _requests(database, MIDNIGHT)


@pytest.mark.parametrize("rollups", [True, False])
def test_a_writer_folds_days_that_are_over(url: str, *, rollups: bool) -> None:
    """Yesterday is folded, one day after the other; today is not, and nothing is where rollups are off."""
    today = day_of(datetime.now(UTC))
    with closing(open_database(url, create=True)) as database:
        keep(database, [a_chat(today - number * DAY + timedelta(seconds=1)) for number in range(3)])
        writer = Writer(_plan(url, rollups=rollups))
        expected = [today - 2 * DAY, today - DAY] if rollups else []
        until = time.monotonic() + 10
        while folded(database) != expected and time.monotonic() < until:
            time.sleep(0.01)
        writer.close(time.monotonic() + 5)

        assert expected == folded(database)


def _plan(url: str, *, rollups: bool) -> Plan:
    def fail(*_: object) -> None:
        raise AssertionError

    return Plan(url=url, retention=math.inf, rollups=rollups, spill=None, on_drop=fail, on_error=fail)


def test_a_ledger_from_before_days_is_migrated(url: str) -> None:
    """What a ledger of version 0001 has is told as before, and its days can be folded."""
    with closing(open_database(url, create=True)) as database:
        keep(database, [a_chat(at(hours=hour), key=str(hour % 3)) for hour in range(0, 60, 7)])
        before = usage(database, by=["key"], since=at(hours=-12), until=at(hours=72))
        with database.writing() as connection:
            for table in ("days", "day_rollups"):
                connection.execute(text(f"DROP TABLE {table}"))
            connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))

    with closing(open_database(url, create=True)) as database:
        assert [] == folded(database)
        assert before == usage(database, by=["key"], since=at(hours=-12), until=at(hours=72))
        fold_all(database)
        assert 3 == len(folded(database))
        after = usage(database, by=["key"], since=at(hours=-12), until=at(hours=72))
        assert without_duration(before) == without_duration(after)
