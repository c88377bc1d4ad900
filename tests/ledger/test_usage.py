"""Reports from the ledger: what agrees in what one asks by, exact sums, unknown costs, cut hours."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger.kept import NOON, a_chat, at, forget, keep

from meter.exchange import KINDS, UNITS, Outcome, PriceStatus, UsageSource
from meter.ledger.reading import FIELDS, QuestionError, Spend, spent, usage
from meter.ledger.reading import exchanges as exchanges_of
from meter.ledger.schema import LENGTH_STOPS
from meter.telling import tellable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meter.exchange import Exchange
    from meter.ledger.database import Database

TOLD_APART = {
    "key": ["ops", "search"],
    "model": ["gpt-4o", "gpt-4o-mini"],
    "upstream": ["azure", "openai"],
    "operation": ["chat", "responses"],
    "outcome": ["ok", "timeout"],
    "error_type": ["", "timeout"],
    "usage_source": ["estimated", "reported"],
    "price_status": ["exact", "list"],
    "day": ["2026-01-31", "2026-02-01"],
    "hour": ["2026-01-31T12:00:00Z", "2026-02-01T00:00:00Z"],
    "minute": ["2026-01-31T12:00:00Z", "2026-02-01T00:00:00Z"],
    "tag.team": ["none", "red"],
}


class Span(TypedDict):
    """From when until when."""

    since: datetime
    until: datetime


DAY: Span = {"since": at(hours=-12), "until": at(hours=12)}
DAYS: Span = {"since": at(hours=-12), "until": at(hours=36)}

UNPRICED: dict[str, Any] = {"cost_usd": None, "price_status": PriceStatus.MISSING}
UNCOUNTED: dict[str, Any] = {
    "usage": None,
    "usage_source": UsageSource.MISSING,
    "cost_usd": None,
    "price_status": PriceStatus.NONE,
}
NOTHING_TO_PAY: dict[str, Any] = {**UNCOUNTED, "usage_source": UsageSource.NONE}


def test_a_report_has_the_shape_that_is_promised(database: Database) -> None:
    """A report by key and model says span, fields, rows and a total, each cost with all its digits."""
    keep(
        database,
        [
            a_chat(),
            a_chat(usage_source=UsageSource.ESTIMATED, cost_usd=Decimal("0.000000000001")),
            a_chat(outcome=Outcome.TIMEOUT, usage={"input": 7}, **UNPRICED),
        ],
    )

    answer = usage(database, by=["key", "model"], **DAY)

    sums = {
        "requests": 3,
        "errors": 1,
        "usage": {"input": 27, "output": 10},
        "units": {},
        "cost_usd": 0.010000000001,
        "estimated_cost_usd": 1e-12,
        "unpriced_tokens": 7,
        "duration_s": 1.5,
    }
    text = msgspec.json.encode(tellable(answer.told))
    assert {
        "since": "2026-01-31T00:00:00.000000Z",
        "until": "2026-02-01T00:00:00.000000Z",
        "by": ["key", "model"],
        "rows": [{"key": "search", "model": "gpt-4o", **sums}],
        "total": sums,
    } == json.loads(text)
    assert b'"cost_usd":0.010000000001,"estimated_cost_usd":0.000000000001,' in text


@pytest.mark.parametrize("rollups", [True, False])
def test_every_field_tells_exchanges_apart(database: Database, *, rollups: bool) -> None:
    """Two exchanges that differ in everything are two rows by any field, and one may be asked for alone."""
    other = a_chat(
        at(hours=12),
        key="ops",
        model="gpt-4o-mini",
        upstream="azure",
        operation="responses",
        outcome=Outcome.TIMEOUT,
        error_type="timeout",
        usage_source=UsageSource.ESTIMATED,
        price_status=PriceStatus.LIST,
        tags={"team": "red", "user": "ann"},
    )
    keep(database, [a_chat(), other], rollups=rollups)

    for field, values in TOLD_APART.items():
        assert values == sorted(row.group[field] for row in usage(database, by=[field], **DAYS).rows)
        for value in values:
            rows = usage(database, by=[field], where={field: [value]}, **DAYS).rows
            assert [({field: value}, 1)] == [(row.group, row.requests) for row in rows]


def test_conditions_hold_together_and_values_of_one_instead_of_each_other(database: Database) -> None:
    """Of one field any value will do, of several fields each must hold."""
    keys = ("a", "b", "c")
    keep(database, [a_chat(key=key, tags={"team": team}) for key in keys for team in ("red", "blue")])

    rows = usage(database, by=["key", "tag:team"], where={"key": ["a", "b"], "tag:team": ["red"]}, **DAY).rows

    assert [{"key": "a", "tag.team": "red"}, {"key": "b", "tag.team": "red"}] == [row.group for row in rows]


def test_tags_are_told_apart_by_their_exact_names(database: Database) -> None:
    """Names with dots, quotes and other signs are names like any other."""
    tags = {'a"b': "1", "a.b": "2", "$": "3", "é": "4", "": "5", "0": "6"}
    keep(database, [a_chat(tags=tags)])

    names = [name for name in tags if name]
    (row,) = usage(database, by=[f"tag.{name}" for name in names], **DAY).rows

    assert {f"tag.{name}": tags[name] for name in names} == row.group


def test_a_field_that_there_is_none_of_is_refused(database: Database) -> None:
    """What cannot be asked by is refused with the list of what can."""
    for field in ("modle", "tag.", "tag:", "provider", "cut_short", "", "hour; --"):
        with pytest.raises(QuestionError, match=r"expected one of key, model, .*, tag\.<name>"):
            usage(database, by=[field], **DAY)
        with pytest.raises(QuestionError, match=r"expected one of key, model, .*, tag\.<name>"):
            usage(database, by=[], where={field: ["x"]}, **DAY)


COSTS: tuple[tuple[list[dict[str, Any]], str | None, str | None, int], ...] = (
    ([], "0", "0", 0),
    ([NOTHING_TO_PAY], "0", "0", 0),
    ([UNPRICED], None, None, 15),
    ([UNCOUNTED], None, None, 0),
    ([UNPRICED, NOTHING_TO_PAY], None, None, 15),
    ([UNPRICED, {"cost_usd": Decimal(0)}], "0", "0", 15),
    ([UNCOUNTED, {}], "0.01", "0", 0),
    ([{"usage_source": UsageSource.ESTIMATED}, UNPRICED], "0.01", "0.01", 15),
)


@pytest.mark.parametrize("rollups", [True, False])
def test_an_unknown_cost_is_not_zero(database: Database, *, rollups: bool) -> None:
    """A cost is unknown where only unknown ones were there, and 0 where there was nothing to pay for."""
    for case, (exchanges, *_) in enumerate(COSTS):
        keep(database, [a_chat(key=str(case), **facts) for facts in exchanges], rollups=rollups)

    for case, (_, cost, estimated, unpriced) in enumerate(COSTS):
        total = usage(database, by=[], where={"key": [str(case)]}, **DAY).total
        expected = [None if amount is None else Decimal(amount) for amount in (cost, estimated)]
        assert [*expected, unpriced] == [total.cost_usd, total.estimated_cost_usd, total.unpriced_tokens]


def test_rows_come_dearest_first(database: Database) -> None:
    """Rows come by cost, those of an unknown one last, and by requests where costs are the same."""
    costs = {"cheap": Decimal("0.1"), "dear": Decimal(10), "busy": Decimal("0.05"), "never": None}
    keep(
        database,
        [
            a_chat(key=key, cost_usd=cost, price_status=PriceStatus.EXACT if cost else PriceStatus.MISSING)
            for key, cost in [*costs.items(), ("busy", costs["busy"])]
        ],
    )

    rows = usage(database, by=["key"], **DAY).rows

    assert ["dear", "busy", "cheap", "never"] == [row.group["key"] for row in rows]


def test_rows_by_time_come_oldest_first(database: Database) -> None:
    """Where rows are by hour they come in time, and within an hour dearest first."""
    keep(
        database,
        [
            a_chat(at(hours=1), key="late", cost_usd=Decimal(5)),
            a_chat(key="cheap"),
            a_chat(key="dear", cost_usd=Decimal(3)),
        ],
    )

    rows = usage(database, by=["key", "hour"], **DAY).rows

    assert ["dear", "cheap", "late"] == [row.group["key"] for row in rows]


@pytest.mark.parametrize("rollups", [True, False])
def test_minutes_are_told_by_exchanges(database: Database, *, rollups: bool) -> None:
    """By minute, an answer has what exchanges tell, oldest first, and no hour that rollups alone know."""
    keep(database, [a_chat(at(seconds=second)) for second in (60, 0, 59.999999, 119, 3600)], rollups=rollups)
    keep(database, [a_chat(at(hours=-2))], rollups=rollups)
    forget(database, at(hours=-1))

    rows = usage(database, by=["minute"], **DAY).rows
    one = usage(database, by=[], where={"minute": ["2026-01-31T12:01:00Z"]}, **DAY).total

    assert [("2026-01-31T12:00:00Z", 2), ("2026-01-31T12:01:00Z", 2), ("2026-01-31T13:00:00Z", 1)] == [
        (row.group["minute"], row.requests) for row in rows
    ]
    assert 2 == one.requests


def test_minutes_of_a_long_span_are_refused(database: Database) -> None:
    """Minutes are told of 48 hours at most, and a longer span is refused with its length."""
    until, longer = at(hours=48), at(hours=48, minutes=1)

    assert () == usage(database, by=["minute"], since=NOON, until=until).rows
    said = r"minute: got a span of 48\.0167 hours, expected 48 at most"
    with pytest.raises(QuestionError, match=said):
        usage(database, by=["minute"], since=NOON, until=longer)
    with pytest.raises(QuestionError, match=said):
        usage(database, by=[], where={"minute": ["x"]}, since=NOON, until=longer)


@pytest.mark.parametrize("rollups", [True, False])
def test_great_amounts_are_added_exactly(database: Database, *, rollups: bool) -> None:
    """Sums go beyond what 64 bits hold in units of 10^-12 USD, to the last digit."""
    dearest = Decimal("999999.999999999999")
    keep(database, [a_chat(at(hours=hour), cost_usd=dearest) for hour in range(12)], rollups=rollups)

    assert Decimal("11999999.999999999988") == usage(database, by=[], **DAY).total.cost_usd


def test_hours_that_are_cut_are_answered_by_exchanges(database: Database) -> None:
    """A span that begins and ends within hours has what ended in it, and nothing else of those hours."""
    moments = [at(minutes=minute) for minute in range(0, 240, 10)]
    keep(database, [a_chat(moment) for moment in moments])
    since, until = at(minutes=30), at(minutes=200)

    answer = usage(database, by=[], since=since, until=until)

    assert (17, since, until) == (answer.total.requests, answer.since, answer.until)


@pytest.mark.parametrize("rollups", [True, False])
def test_any_span_is_answered_to_the_microsecond(database: Database, *, rollups: bool) -> None:
    """What ended when a span begins is in it, what ended when it ends is not."""
    tick = timedelta(microseconds=1)
    for minutes in ((10, 20), (0, 20), (20, 60), (20, 90), (0, 60), (20, 20), (20, 10)):
        since, until = (at(minutes=minute) for minute in minutes)
        moments = {edge + step for edge in (since, until) for step in (-tick, timedelta(), tick)}
        forget(database, rollups=True)
        keep(database, [a_chat(moment) for moment in moments], rollups=rollups)

        answer = usage(database, by=[], since=since, until=until)

        within = sum(since <= moment < until for moment in moments)
        assert (within, since, until) == (answer.total.requests, answer.since, answer.until)


def test_rollups_tell_of_hours_whose_exchanges_are_gone(database: Database) -> None:
    """Whole hours are told by rollups alone; one that is cut is taken whole, and the answer says so."""
    keep(database, [a_chat(at(minutes=minute)) for minute in (5, 15, 70, 130, 140)])
    forget(database, at(hours=2))

    answer = usage(database, by=[], since=at(minutes=10), until=at(hours=2, minutes=15))

    assert (4, NOON, at(hours=2, minutes=15)) == (answer.total.requests, answer.since, answer.until)


def test_an_hour_at_the_end_whose_exchanges_are_gone_is_taken_whole(database: Database) -> None:
    """The answer's span ends where that hour does."""
    keep(database, [a_chat(at(minutes=minute)) for minute in (5, 15, 70)])
    forget(database)

    answer = usage(database, by=[], since=NOON, until=at(minutes=10))

    assert (2, NOON, at(hours=1)) == (answer.total.requests, answer.since, answer.until)


def test_exchanges_tell_of_hours_before_and_after_rollups(database: Database) -> None:
    """Hours from before rollups were turned on, and from after they were turned off, are not lost."""
    for hour in range(6):
        keep(database, [a_chat(at(hours=hour))], rollups=hour in (2, 3))

    assert 6 == usage(database, by=[], since=NOON, until=at(hours=6)).total.requests
    assert 5 == usage(database, by=[], since=at(minutes=1), until=at(hours=5, minutes=1)).total.requests
    assert 1 == usage(database, by=[], since=at(hours=4), until=at(hours=5)).total.requests


def test_a_moment_may_be_told_in_any_time_zone(database: Database) -> None:
    """A span is moments, whatever clock they are told by; the answer's days are UTC's."""
    keep(database, [a_chat(at(hours=11, minutes=59)), a_chat(at(hours=12))])
    chatham = datetime.fromisoformat("2026-02-01T12:45:00+13:45")

    answer = usage(database, by=["day"], since=chatham, until=chatham + timedelta(hours=1))

    assert ["2026-01-31"] == [row.group["day"] for row in answer.rows]
    assert b'"since":"2026-01-31T23:00:00.000000Z"' in msgspec.json.encode(tellable(answer.told))


@pytest.mark.parametrize("rollups", [True, False])
def test_what_was_spent_since_a_whole_hour(database: Database, *, rollups: bool) -> None:
    """What was spent is told of a key, of an upstream, of those who have all of some tags, and of all."""
    red, both = {"team": "red"}, {"team": "red", "user": "ann"}
    keep(
        database,
        [
            a_chat(at(hours=-1), cost_usd=Decimal(1000)),
            a_chat(cost_usd=Decimal(1)),
            a_chat(key=None, cost_usd=Decimal(2), tags=red),
            a_chat(upstream="azure", cost_usd=Decimal(4), tags=both),
            a_chat(at(hours=50), key="ops", cost_usd=Decimal(8), tags={"team": "redder"}),
            a_chat(tags=red, **UNPRICED),
        ],
        rollups=rollups,
    )
    questions: list[tuple[int, dict[str, Any]]] = [
        (15, {}),
        (5, {"key": "search"}),
        (4, {"upstream": "azure"}),
        (6, {"tags": red}),
        (4, {"tags": both}),
        (0, {"tags": both, "key": "ops"}),
        (1, {"key": "search", "upstream": "openai"}),
    ]

    with database.engine.connect() as connection:
        for usd, question in questions:
            assert Decimal(usd) == spent(connection, database.tables, since=NOON, **question)


# --- laws ---

texts = st.sampled_from(["none", "a", "b"])
counts = st.integers(0, 10**12)


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    """Any exchange of a few hours."""
    source = draw(st.sampled_from(UsageSource))
    status = draw(st.sampled_from(PriceStatus))
    cost = draw(st.integers(0, 10**15))
    unknown = status in (PriceStatus.MISSING, PriceStatus.NONE)
    return a_chat(
        at(seconds=draw(st.integers(0, 4 * 3600)), microseconds=draw(st.sampled_from([0, 1, 999_999]))),
        key=draw(texts),
        model=draw(texts),
        tags=draw(st.dictionaries(texts, texts, max_size=2)),
        outcome=draw(st.sampled_from(Outcome)),
        usage_source=source,
        price_status=status,
        usage=draw(st.dictionaries(st.sampled_from(KINDS), counts, max_size=3)),
        units=draw(st.dictionaries(st.sampled_from(UNITS), st.integers(0, 9).map(float), max_size=2)),
        finish_reasons=tuple(
            draw(st.lists(st.sampled_from([*LENGTH_STOPS, "stop", '["length"', ',"length']), max_size=2))
        ),
        cost_usd=None if unknown else Decimal(cost).scaleb(-12),
    )


def added(spends: Sequence[Spend]) -> dict[str, Any]:
    """Add up what can be added."""
    sums: dict[str, Any] = defaultdict(int)
    for spend in spends:
        sums["requests"] += spend.requests
        sums["errors"] += spend.errors
        sums["cost"] += spend.cost_usd or 0
        sums["estimated"] += spend.estimated_cost_usd or 0
        sums["unpriced"] += spend.unpriced_tokens
        for name, amount in (*spend.usage.items(), *spend.units.items()):
            sums[name] += amount
    return {name: amount for name, amount in sums.items() if amount}


def plainly(kept: Sequence[Exchange]) -> dict[str, Any]:
    """Add exchanges up one by one."""
    sums: dict[str, Any] = defaultdict(int)
    for one in kept:
        counted = one.usage if one.usage_source in (UsageSource.REPORTED, UsageSource.ESTIMATED) else None
        sums["requests"] += 1
        sums["errors"] += one.outcome != Outcome.OK
        sums["cost"] += one.cost_usd or 0
        sums["estimated"] += (one.cost_usd or 0) if one.usage_source == UsageSource.ESTIMATED else 0
        sums["unpriced"] += sum((counted or {}).values()) if one.price_status == PriceStatus.MISSING else 0
        for name, amount in (*(counted or {}).items(), *one.units.items()):
            sums[name] += amount
    return {name: amount for name, amount in sums.items() if amount}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kept=st.lists(exchanges(), max_size=8),
    by=st.lists(st.sampled_from([*FIELDS, "tag.a", "tag.b"]), max_size=3),
    edges=st.lists(st.integers(-1, 5 * 60), min_size=2, max_size=2),
    rollups=st.booleans(),
)
def test_any_question_is_answered_exactly(
    database: Database, kept: list[Exchange], by: list[str], edges: list[int], *, rollups: bool
) -> None:
    """Rows by any fields, the total, and what adding up one by one gives are the same, for any span."""
    forget(database, rollups=True)
    keep(database, kept, rollups=rollups)
    since, until = (at(minutes=minute) for minute in edges)

    answer = usage(database, by=by, since=since, until=until)

    ended = {one.id: datetime.fromtimestamp(one.started_at + one.duration_s, UTC) for one in kept}
    within = plainly([one for one in kept if since <= ended[one.id] < until])
    assert within == added(answer.rows)
    assert within == added([answer.total])
    assert len(answer.rows) == len({tuple(row.group.values()) for row in answer.rows})


treacherous = st.text(st.sampled_from('a{[,":]}\\\né'), max_size=4)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kept=st.lists(st.dictionaries(treacherous, treacherous, max_size=3), min_size=1, max_size=4),
    name=treacherous.filter(bool),
    values=st.lists(treacherous | st.just("none"), max_size=2),
    place=st.none() | st.integers(0, 9),
)
def test_tags_are_found_by_their_exact_names_and_values(
    database: Database, kept: list[dict[str, str]], name: str, values: list[str], place: int | None
) -> None:
    """Whatever signs of JSON are in names and values, a condition finds what Python would, and no more."""
    forget(database, rollups=True)
    keep(database, [a_chat(tags=tags) for tags in kept])
    there = [(known, value) for tags in kept for known, value in tags.items() if known]
    if there and place is not None:
        name, value = there[place % len(there)]
        values = [*values, value]

    where = {f"tag.{name}": values}
    expected = sum(tags.get(name, "none") in values for tags in kept)

    assert expected == usage(database, by=[], where=where, **DAY).total.requests
    assert expected == len(exchanges_of(database, 9, where=where))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kept=st.lists(exchanges(), max_size=8),
    by=st.lists(st.sampled_from([*FIELDS, "tag.a", "tag.b"]), max_size=3),
    key=st.lists(texts, max_size=2),
    tag=st.lists(texts, max_size=2),
)
def test_rollups_and_exchanges_agree(
    database: Database, kept: list[Exchange], by: list[str], key: list[str], tag: list[str]
) -> None:
    """The same question has the same answer, row by row, with and without rollups."""
    answers = []
    for rollups in (True, False):
        forget(database, rollups=True)
        keep(database, kept, rollups=rollups)
        where = {"key": key, "tag.a": tag}
        answer = usage(database, by=by, since=NOON, until=at(hours=5), where=where)
        answers.append(replace(answer, rows=tuple(replace(row, duration_s=0) for row in answer.rows)))

    assert answers[0].rows == answers[1].rows
