"""Budgets: periods of the calendar, sums that outlast a restart, and a stop that goes by what was spent."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any, get_args

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import OpenAI
from stage import ask, post, running_house, says, until

from meter.budget import Budgets, begins, ends
from meter.exchange import Exchange, Outcome
from meter.ledger.database import add, open_database
from meter.ledger.reading import spent as ledger_spent
from meter.ledger.schema import row
from meter.settings import Budget

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from stage import House, Scripted

    from meter.budget import Budget as Terms

PERIODS = get_args(Budget.model_fields["period"].annotation)
CHAT = "/v1/chat/completions"
NOON = datetime(2026, 11, 18, 12, tzinfo=UTC)  # a Wednesday
MONTH_AGO = NOON - timedelta(30)
MOMENTS = st.integers(0, 2**32).map(lambda second: datetime.fromtimestamp(second, UTC))


def spending(cost: str | Decimal | None = "1", ended: datetime = NOON, **facts: Any) -> Exchange:
    """Make an exchange that ended at a moment and cost so many USD."""
    known = {
        "id": "x",
        "started_at": ended.timestamp(),
        "method": "POST",
        "path": CHAT,
        "outcome": Outcome.OK,
        "upstream": "up",
        "cost_usd": None if cost is None else Decimal(cost),
    }
    return Exchange(**{**known, **facts})


def budget(usd: str = "10", **terms: Any) -> Budget:
    """Make a budget."""
    return Budget.model_validate({"name": "b", "usd": usd, **terms})


def spent(budgets: Budgets, now: datetime = NOON) -> list[Decimal]:
    """Return what was spent of each budget."""
    return [amount for _, amount in budgets.standing(now)]


def fits(terms: Terms, exchange: Exchange) -> bool:
    """Tell whether an exchange counts for a budget, in the plainest words."""
    return (
        (terms.key is None or terms.key == (exchange.key or "none"))
        and (terms.upstream is None or terms.upstream == exchange.upstream)
        and all(exchange.tags.get(tag) == value for tag, value in terms.tags.items())
    )


def total(terms: Terms, exchanges: Iterable[Exchange], now: datetime = NOON) -> Decimal:
    """Add up what exchanges cost that count for a budget in the period of `now`."""
    begin, end = begins(terms.period, now), ends(terms.period, now)
    return sum(
        (
            each.cost_usd or Decimal(0)
            for each in exchanges
            if fits(terms, each)
            and begin <= datetime.fromtimestamp(each.started_at + each.duration_s, UTC) < end
        ),
        Decimal(0),
    )


class TestPeriods:
    """Periods are those of the calendar, in UTC."""

    @pytest.mark.parametrize(
        ("period", "now", "begin", "end"),
        [
            ("hour", "2026-11-18T12:59:59.999999", "2026-11-18T12:00", "2026-11-18T13:00"),
            ("day", "2026-12-31T23:59", "2026-12-31T00:00", "2027-01-01T00:00"),
            ("week", "2026-11-16T00:00", "2026-11-16T00:00", "2026-11-23T00:00"),
            ("week", "2026-11-22T23:59", "2026-11-16T00:00", "2026-11-23T00:00"),
            ("week", "2027-01-01T08:00", "2026-12-28T00:00", "2027-01-04T00:00"),
            ("month", "2028-02-29T08:00", "2028-02-01T00:00", "2028-03-01T00:00"),
            ("month", "2026-12-31T08:00", "2026-12-01T00:00", "2027-01-01T00:00"),
            ("year", "2028-12-31T08:00", "2028-01-01T00:00", "2029-01-01T00:00"),
            ("year", "2027-01-01T00:00", "2027-01-01T00:00", "2028-01-01T00:00"),
        ],
    )
    def test_examples(self, period: str, now: str, begin: str, end: str) -> None:
        """A week begins on Monday, a month and a year on their first, a day at midnight."""
        moment = datetime.fromisoformat(now + "+00:00")

        assert datetime.fromisoformat(begin + "+00:00") == begins(period, moment)
        assert datetime.fromisoformat(end + "+00:00") == ends(period, moment)

    @given(period=st.sampled_from(PERIODS), now=MOMENTS)
    def test_follow_upon_one_another(self, period: str, now: datetime) -> None:
        """Every moment is in one period, and where one ends the next begins."""
        begin, end = begins(period, now), ends(period, now)

        assert begin <= now < end
        assert (begin, end) == (begins(period, begin), begins(period, end))
        assert begin == begins(period, end - timedelta(microseconds=1))

    def test_go_by_utc(self) -> None:
        """A moment in another zone is in the period that it is in UTC."""
        moment = datetime.fromisoformat("2026-12-01T01:00:00+02:00")

        assert datetime(2026, 11, 1, tzinfo=UTC) == begins("month", moment)


TERMS = st.builds(
    Budget,
    name=st.just("b"),
    usd=st.just(Decimal(10)),
    period=st.sampled_from(PERIODS),
    key=st.sampled_from([None, "a", "none"]),
    tags=st.sampled_from([{}, {"team": "x"}, {"team": "x", "app": "y"}]),
    upstream=st.sampled_from([None, "up"]),
)
EXCHANGES = st.builds(
    spending,
    st.none() | st.decimals("0", "1000", places=12),
    ended=st.timedeltas(timedelta(0), timedelta(30)).map(lambda after: MONTH_AGO + after),
    id=st.uuids().map(str),
    key=st.sampled_from([None, "a", "b"]),
    tags=st.sampled_from([{}, {"team": "x"}, {"team": "x", "app": "y", "user": "z"}]),
    upstream=st.sampled_from(["up", "down"]),
)


class Process:
    """A proxy with a ledger, `rows`, that others write to as well."""

    def __init__(self, terms: list[Budget], rows: list[Exchange]) -> None:
        self._terms = terms
        self._rows = rows
        self._unwritten: list[Exchange] = []
        self._seen: list[Exchange] = []
        self._told: list[Exchange] = []
        self.budgets = Budgets(terms, ledger=True)

    @property
    def known(self) -> list[Exchange]:
        """All that the process can know: the ledger as it has seen it, and what itself has told."""
        return list({each.id: each for each in [*self._seen, *self._told]}.values())

    def tell(self, exchange: Exchange) -> None:
        """End an exchange."""
        self.budgets(exchange)
        self._unwritten.append(exchange)
        self._told.append(exchange)

    def write(self) -> None:
        """Commit what there is."""
        self._rows += self._unwritten
        self.budgets.kept(self._unwritten)
        self._unwritten = []

    def refresh(self) -> None:
        """Ask the ledger."""
        self._seen = list(self._rows)
        self.budgets.ask(self._sum, NOON)

    def restart(self) -> None:
        """Stop in good order, and begin anew."""
        self.write()
        self.__init__(self._terms, self._rows)  # type: ignore[misc] # this is what starting anew is

    def _sum(self, terms: Terms, since: datetime) -> Decimal:
        assert begins(terms.period, NOON) == since
        return total(terms, self._rows)


class TestSums:
    """What was spent is what exchanges cost."""

    @settings(max_examples=60)
    @given(
        terms=st.lists(TERMS, max_size=4),
        exchanges=st.lists(EXCHANGES, max_size=12),
        after=st.timedeltas(timedelta(0), timedelta(40)),
    )
    def test_without_a_ledger(self, terms: list[Budget], exchanges: list[Exchange], after: timedelta) -> None:
        """From the last exchange on, spent is the sum of what ended in the period that it is."""
        exchanges.sort(key=lambda each: each.started_at)
        budgets = Budgets(terms)
        for each in exchanges:
            budgets(each)
        last = datetime.fromtimestamp(exchanges[-1].started_at, UTC) if exchanges else NOON

        assert [total(each, exchanges, last + after) for each in terms] == spent(budgets, last + after)

    @settings(max_examples=60)
    @given(
        terms=st.lists(TERMS, min_size=1, max_size=3),
        steps=st.lists(
            st.tuples(st.integers(0, 1), EXCHANGES | st.sampled_from(["write", "refresh", "restart"])),
            max_size=30,
        ),
    )
    def test_with_a_ledger(self, terms: list[Budget], steps: list[tuple[int, Any]]) -> None:
        """However processes write, ask and restart, each has what the ledger told it and its own, once."""
        rows: list[Exchange] = []
        processes = [Process(terms, rows), Process(terms, rows)]
        for number, step in steps:
            process = processes[number]
            getattr(process, step)() if isinstance(step, str) else process.tell(step)
            assert [total(each, process.known) for each in terms] == spent(process.budgets)
        for process in processes:
            process.write()
        for process in processes:
            process.refresh()
            assert [total(each, rows) for each in terms] == spent(process.budgets)

    def test_a_new_period_begins_at_0(self) -> None:
        """At the first moment of a period nothing is spent, whatever the ledger was asked before."""
        budgets = Budgets([budget(period="hour")])
        budgets(spending("3", NOON + timedelta(minutes=59, seconds=59)))

        assert [3] == spent(budgets, NOON + timedelta(minutes=59, seconds=59, microseconds=999_999))
        assert [0] == spent(budgets, NOON + timedelta(hours=1))

    def test_what_comes_late_counts_where_it_ended(self) -> None:
        """An exchange that is told after its period has ended adds nothing to the next."""
        budgets = Budgets([budget(period="hour")], ledger=True)
        late = spending("3", NOON - timedelta(microseconds=1))
        budgets(spending("1", NOON))
        budgets(late)
        budgets.kept([late])

        assert [1] == spent(budgets)
        assert [3] == spent(budgets, NOON - timedelta(hours=1))

    def test_counts_where_an_exchange_ended(self) -> None:
        """What began in one period and ended in the next counts in the next."""
        budgets = Budgets([budget(period="hour")])
        budgets(spending("3", NOON - timedelta(seconds=10), duration_s=10.0))

        assert [3] == spent(budgets)

    def test_only_the_latest_periods_are_kept(self) -> None:
        """A year of hours takes no more room than two of them."""
        budgets = Budgets([budget(period="hour")])
        for hour in range(24 * 365):
            budgets(spending("1", NOON + timedelta(hours=hour)))

        (account,) = budgets._accounts.values()
        assert 2 == len(account._periods)

    def test_repricing_shows_when_the_ledger_is_asked(self) -> None:
        """The ledger's word replaces what was told of what it has."""
        budgets = Budgets([budget()], ledger=True)
        told = spending("3")
        budgets(told)
        budgets.kept([told])
        budgets.ask(lambda *_: Decimal("1.5"), NOON)

        assert [Decimal("1.5")] == spent(budgets)

    def test_what_the_ledger_drops_was_spent(self) -> None:
        """What the ledger never gets stays in the sum."""
        budgets = Budgets([budget()], ledger=True)
        budgets(spending("3"))
        for _ in range(3):
            budgets.ask(lambda *_: Decimal(2), NOON)

        assert [5] == spent(budgets)

    def test_the_ledger_is_waited_for_within_bounds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of what the ledger lacks for too long the oldest counts until the ledger has been asked again."""
        monkeypatch.setattr("meter.budget._MOST_WAITING", 2)
        budgets = Budgets([budget()], ledger=True)
        for number in range(3):
            budgets(spending("1", id=str(number)))

        assert 2 == len(budgets._waiting)
        assert [3] == spent(budgets)
        budgets.ask(lambda *_: Decimal(0), NOON)
        assert [2] == spent(budgets)

    def test_without_a_ledger_nothing_is_waited_for(self) -> None:
        """Where there is no ledger, no exchange is kept in mind."""
        budgets = Budgets([budget()])
        budgets(spending())

        assert {} == budgets._waiting

    def test_a_ledger_that_fails_changes_nothing(self) -> None:
        """Where the ledger cannot be asked, its error is raised and the sums stay."""
        budgets = Budgets([budget()], ledger=True)
        budgets.ask(lambda *_: Decimal(2), NOON)

        def fails(*_: object) -> Decimal:
            raise ConnectionError

        with pytest.raises(ConnectionError):
            budgets.ask(fails, NOON)
        assert [2] == spent(budgets)

    def test_threads(self) -> None:
        """One thread tells, one confirms and asks, and nothing is lost or counted twice."""
        budgets = Budgets([budget()], ledger=True)
        exchanges = [spending("0.000000000001", id=str(number)) for number in range(4000)]
        rows: list[Exchange] = []

        def write() -> None:
            while len(rows) < len(exchanges):
                batch = told[len(rows) :]
                rows.extend(batch)
                budgets.kept(batch)
                budgets.ask(lambda *_: total(budget(), rows), NOON)
                assert spent(budgets) >= [total(budget(), rows)]

        told: list[Exchange] = []
        writer = threading.Thread(target=write)
        writer.start()
        for each in exchanges:
            budgets(each)
            told.append(each)
        writer.join()

        assert [Decimal("0.000000004")] == spent(budgets)
        assert {} == budgets._waiting


class TestLedger:
    """The ledger of the program agrees with what was told."""

    @pytest.mark.parametrize("period", PERIODS)
    def test_agrees_to_the_last_digit(self, tmp_path: Path, period: str) -> None:
        """What a process counted, one that starts anew is told by the ledger, at the edges of periods too."""
        random = Random(7)  # noqa: S311 - made-up money
        terms = [
            budget(period=period),
            budget(name="key", period=period, key="a"),
            budget(name="nobody", period=period, key="none", upstream="up"),
            budget(name="tag", period=period, tags={"team": "x"}),
        ]
        since = begins(period, NOON)
        exchanges = [
            spending(
                Decimal(random.randrange(10**15)).scaleb(-12),
                since + timedelta(seconds=random.choice((-1, 0, 1)) * random.random() * 1e-4),
                id=str(number),
                duration_s=random.choice((0.0, 1e-6, 30.0)),
                key=random.choice(("a", "b", None)),
                upstream=random.choice(("up", "down")),
                tags=random.choice(({}, {"team": "x", "user": "é"}, {"team": "y"})),
            )
            for number in range(300)
        ]
        exchanges.sort(key=lambda each: each.started_at + each.duration_s)
        told, anew = Budgets(terms), Budgets(terms, ledger=True)
        database = open_database(f"sqlite:///{tmp_path}/ledger.db", create=True)
        for each in exchanges:
            told(each)
        with database.writing() as connection:
            add(connection, database.tables, map(row, exchanges))
        with database.engine.connect() as connection:

            def ask_ledger(asked: Terms, since: datetime) -> Decimal:
                about = {"key": asked.key, "tags": asked.tags, "upstream": asked.upstream}
                return ledger_spent(connection, database.tables, since=since, **about)  # type: ignore[arg-type] # each as it should be

            anew.ask(ask_ledger, NOON)
        database.close()

        assert all(spent(told))
        assert spent(told) == spent(anew)


class TestSettle:
    """Settings that are read again."""

    def test_keeps_what_was_spent(self) -> None:
        """Amount, name and stop may change; what was spent stays with the callers whom a budget is about."""
        budgets = Budgets([budget(key="a", upstream="up"), budget(name="all")])
        budgets(spending("3", key="a"))
        budgets(spending("4", key="b"))
        again = [
            budget(name="new"),
            budget("99", name="renamed", key="a", upstream="up", stop=True),
            budget(key="b"),
            budget(period="day"),
        ]
        budgets.settle(again)

        assert [7, 3, 0, 0] == spent(budgets)
        budgets(spending("1", key="a"))
        assert [8, 4, 0, 1] == spent(budgets)

    def test_what_the_ledger_gets_after_is_counted_once(self) -> None:
        """A budget that is new when the ledger gets what was told before has nothing taken from it."""
        budgets = Budgets([], ledger=True)
        budgets.settle([budget(name="old")])
        told = spending("3")
        budgets(told)
        budgets.settle([budget(name="old"), budget(name="new", upstream="up")])
        budgets.kept([told, spending("5", id="another process's")])
        assert [3, 0] == spent(budgets)

        budgets.ask(lambda *_: Decimal(8), NOON)
        assert [8, 8] == spent(budgets)

    def test_budgets_about_the_same_callers_share(self) -> None:
        """Two amounts for the same callers both show what was spent, once."""
        budgets = Budgets([budget("1", name="soft"), budget("2", name="hard", stop=True)])
        budgets(spending("1.5"))

        assert [Decimal("1.5"), Decimal("1.5")] == spent(budgets)


class TestReach:
    """Somebody is told before a budget is spent, and when it is."""

    @staticmethod
    def heard(*costs: str, usd: str = "10") -> list[tuple[str, int, Decimal]]:
        """Return what is told when exchanges cost so much, one after the other."""
        told: list[tuple[str, int, Decimal]] = []
        budgets = Budgets([budget(usd)], lambda b, percent, amount: told.append((b.name, percent, amount)))
        for cost in costs:
            budgets(spending(cost))
        return told

    @pytest.mark.parametrize(
        ("costs", "expected"),
        [
            (("7.999999999999",), []),
            (("8",), [("b", 80, Decimal(8))]),
            (("8", "1.999", "0.5"), [("b", 80, Decimal(8)), ("b", 100, Decimal("10.499"))]),
            (("10", "10", "10"), [("b", 100, Decimal(10))]),
        ],
    )
    def test_once_each(self, costs: tuple[str, ...], expected: list[tuple[str, int, Decimal]]) -> None:
        """At 80 and at 100 per cent it is told once; where both are passed at once, only the latter."""
        assert expected == self.heard(*costs)

    def test_again_in_the_next_period(self) -> None:
        """A new period is told of anew, and so is the ledger's word and another amount."""
        told: list[int] = []
        budgets = Budgets([budget(period="hour")], lambda _, percent, __: told.append(percent))
        budgets(spending("9"))
        assert [80] == told

        later = NOON + timedelta(hours=1)
        budgets(spending("8", later))
        budgets.ask(lambda *_: Decimal(3), later)
        assert [80, 80, 100] == told

        budgets.settle([budget("12", period="hour")])
        budgets(spending("0.1", later))
        assert [80, 80, 100, 80] == told

    def test_a_ledger_that_says_less_is_not_news(self) -> None:
        """Repricing below a mark and rising to it again is told of no second time."""
        told: list[int] = []
        budgets = Budgets([budget()], lambda _, percent, __: told.append(percent))
        for amount in (8, 1, 9):
            budgets.ask(lambda *_, amount=amount: Decimal(amount), NOON)

        assert [80] == told


class TestRefused:
    """Who has spent a budget that stops is refused."""

    @pytest.mark.parametrize(
        ("terms", "refused"),
        [
            ({}, True),
            ({"key": "a"}, True),
            ({"key": "b"}, False),
            ({"key": "none"}, False),
            ({"upstream": "up"}, True),
            ({"upstream": "down"}, False),
            ({"tags": {"team": "x"}}, True),
            ({"tags": {"team": "y"}}, False),
            ({"tags": {"team": "x", "app": "y"}}, False),
            ({"key": "a", "tags": {"team": "x"}, "upstream": "up"}, True),
            ({"stop": False}, False),
            ({"usd": "18.000000000001"}, False),
            ({"usd": "18"}, True),
        ],
    )
    def test_matching(self, terms: dict[str, Any], refused: bool) -> None:
        """Key, tags and upstream must all fit, and as much must have been spent."""
        budgets = Budgets([budget(**{"usd": "3", "stop": True, **terms})])
        for key, tags in (("a", {"team": "x", "user": "u"}), ("b", {}), (None, {"team": "y"})):
            for upstream in ("up", "down"):
                budgets(spending("3", key=key, tags=tags, upstream=upstream))

        found = budgets.refused("a", {"team": "x", "user": "u"}, "up", NOON)
        assert refused == (found is not None)

    def test_until_the_period_ends(self) -> None:
        """The first budget of those that are spent is named, and when it can be spent again."""
        budgets = Budgets(
            [
                budget("9", name="large", stop=True),
                budget("2", name="hourly", period="hour", stop=True),
                budget("3", name="daily", period="day", stop=True),
            ]
        )
        budgets(spending("3"))
        later = NOON + timedelta(hours=1)

        assert budgets.stops
        for now, name, until_ in (
            (later - timedelta(microseconds=1), "hourly", later),
            (later, "daily", datetime(2026, 11, 19, tzinfo=UTC)),
        ):
            found = budgets.refused(None, {}, "up", now)
            assert found is not None
            assert (name, until_) == (found[0].name, found[1])
        assert None is budgets.refused(None, {}, "up", datetime(2026, 11, 19, tzinfo=UTC))

    def test_nobody_is_asked_about_where_nothing_stops(self) -> None:
        """Without a budget that stops, there is nothing to look up."""
        assert not Budgets([budget()]).stops


# --- In the proxy

SPENT = json.dumps(
    {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11, "cost": 0.75},
    }
).encode()
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n" % len(SPENT) + SPENT
)
BODY = b'{"model": "m", "messages": []}'


@pytest.fixture
def upstream(scripted: Scripted) -> Scripted:
    """Give an upstream that takes 0.75 USD for everything."""
    scripted.script = says(ANSWER)
    return scripted


@pytest.fixture
def stopped(upstream: Scripted) -> Iterator[House]:
    """Give Meter with a budget that one chat has spent."""
    with running_house(upstream.url, budgets=[{"name": "trial", "usd": 0.75, "stop": True}]) as house:
        chat(house)
        assert 200 == until(house.lines)[0]["status"]
        yield house


def chat(house: House, *fields: str) -> tuple[int, bytes, bytes]:
    """Send a chat; return status, head and body of the answer."""
    return send(house, post(CHAT, BODY, *fields))


def send(house: House, request: bytes) -> tuple[int, bytes, bytes]:
    """Send a request, and wait until it is recorded; return status, head and body of the answer."""
    before = len(house.lines())
    head, body = ask(house.url, request)
    until(lambda: len(house.lines()) > before)
    return int(head.split(b" ")[1]), head, body


class TestStop:
    """A budget that stops, in front of an upstream."""

    def test_openai_sdk(self, stopped: House, upstream: Scripted) -> None:
        """The official SDK raises RateLimitError at once, tries no second time, and nothing goes upstream."""
        with (
            OpenAI(base_url=f"{stopped.url}/v1", api_key="sk-user") as client,
            pytest.raises(openai.RateLimitError) as caught,
        ):
            client.chat.completions.create(model="m", messages=[])
        until(lambda: len(stopped.lines()) == 2)
        line = stopped.lines()[1]

        assert ("budget_exceeded", "meter_error") == (caught.value.code, caught.value.type)
        assert 1 == len(upstream.requests)
        assert ("rejected", "budget_exceeded", 429) == (line["outcome"], line["error_type"], line["status"])
        assert ("none", "none", 0) == (line["usage_source"], line["price_status"], line["attempts"])
        assert 1 == stopped.value("meter_errors_total", error_type="budget_exceeded")

    def test_answer(self, stopped: House) -> None:
        """The answer names the budget and when it can be spent again, and no amount."""
        _, head, body = chat(stopped)
        until_ = ends("month", datetime.now(UTC))
        seconds = int(head.partition(b"Retry-After: ")[2].partition(b"\r\n")[0])

        assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
        assert b"\r\nx-should-retry: false\r\n" in head
        assert b"\r\nx-meter-error: 1\r\n" in head
        assert 0 <= seconds - (until_ - datetime.now(UTC)).total_seconds() < 60
        assert {
            "message": f"budget trial is spent until {until_:%Y-%m-%d}T00:00:00Z",
            "type": "meter_error",
            "param": None,
            "code": "budget_exceeded",
        } == json.loads(body)["error"]

    @pytest.mark.parametrize(
        ("request_bytes", "passes"),
        [
            (post(CHAT, BODY), False),
            (post("/v1/embeddings", BODY), False),
            (post("/v1beta/models/m:generateContent", BODY), False),
            (post("/v1/audio/transcriptions", BODY), False),
            (b"GET /v1/models HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n", True),
            (b"GET /v1/responses/r_1 HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n", True),
            (post("/v1/messages/count_tokens", BODY), True),
            (post("/v1/files", BODY), True),
            (post("/v1/nobody/knows", BODY), True),
        ],
    )
    def test_what_costs_nothing_passes(self, stopped: House, request_bytes: bytes, passes: bool) -> None:
        """Only what costs something that Meter reads is refused."""
        assert (200 if passes else 429) == send(stopped, request_bytes)[0]

    @pytest.mark.parametrize(("path", "status"), [("/v1/realtime?model=m", 429), ("/v1/elsewhere", 200)])
    def test_sockets(self, stopped: House, path: str, status: int) -> None:
        """A session whose messages Meter reads is not opened; any other is asked for upstream."""
        fields = (
            "Host: m\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )

        assert status == send(stopped, f"GET {path} HTTP/1.1\r\n{fields}".encode())[0]

    def test_without_stop_nothing_changes(self, upstream: Scripted) -> None:
        """A budget that does not stop lets everything pass, however much is spent."""
        with running_house(upstream.url, budgets=[{"name": "soft", "usd": 0.1}]) as house:
            assert [200, 200, 200] == [chat(house)[0] for _ in range(3)]

            assert 0.1 == house.value("meter_budget_usd", budget="soft", period="month")
            assert 2.25 == house.value("meter_budget_spent_usd", budget="soft", period="month")

    def test_only_whom_it_is_about(self, upstream: Scripted) -> None:
        """A budget of a tag stops those who have it, at the upstream that it names."""
        terms = {"name": "b", "usd": 0.5, "tags": {"team": "x"}, "upstream": "up", "stop": True}
        upstreams = [
            {"name": "up", "base_url": upstream.url, "default": True},
            {"name": "other", "base_url": upstream.url, "prefix": "/other"},
        ]
        with running_house(
            upstream.url, upstreams=upstreams, budgets=[terms], attribution={"headers": {"team": "x-team"}}
        ) as house:
            assert 200 == chat(house, "X-Team: x")[0]

            assert 429 == chat(house, "X-Team: x")[0]
            assert 200 == chat(house, "X-Team: y")[0]
            assert 200 == chat(house)[0]
            assert 200 == send(house, post(f"/other{CHAT}", BODY, "X-Team: x"))[0]

    def test_another_period(self, upstream: Scripted) -> None:
        """What was spent in the last period stops nobody in this one."""
        now = datetime.now(UTC)
        with running_house(upstream.url, budgets=[{"name": "b", "usd": 1, "stop": True}]) as house:
            house.running.budgets(spending("9", begins("month", now) - timedelta(seconds=1)))
            assert 200 == chat(house)[0]

            house.running.budgets(spending("9", now))
            assert 429 == chat(house)[0]

    def test_reload(self, stopped: House) -> None:
        """What was spent before the settings are read again is still spent after."""
        stopped.loop.run(stopped.running.reload())

        assert 429 == chat(stopped)[0]
        assert 0.75 == stopped.value("meter_budget_spent_usd", budget="trial")

    def test_outlasts_a_restart(self, upstream: Scripted, tmp_path: Path) -> None:
        """A Meter that starts anew on the same ledger knows what was spent."""
        terms = {
            "ledger": {"url": f"sqlite:///{tmp_path}/ledger.db"},
            "budgets": [{"name": "trial", "usd": 0.75, "stop": True}],
        }
        with running_house(upstream.url, **terms) as house:
            assert 200 == chat(house)[0]
        with running_house(upstream.url, **terms) as house:
            until(lambda: house.value("meter_budget_spent_usd", budget="trial") == 0.75)

            assert 429 == chat(house)[0]

    def test_is_logged_when_reached(self, stopped: House) -> None:
        """The log says once that a budget is spent, by how much."""
        chat(stopped)
        (line,) = until(lambda: stopped.lines("budget_reached"))

        assert {
            "level": "warning",
            "event": "budget_reached",
            "budget": "trial",
            "percent": 100,
            "period": "month",
            "usd": 0.75,
            "spent_usd": 0.75,
        } == {name: value for name, value in line.items() if name != "timestamp"}
