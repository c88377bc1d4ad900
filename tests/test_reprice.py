"""The past at new prices: what changes, what never does, and that the ledger is whole wherever a run ends."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import an_exchange
from msgspec.structs import replace
from sqlalchemy import delete, select

from meter.exchange import KINDS, UNITS, PriceStatus, UsageSource
from meter.ledger import settling
from meter.ledger.database import add
from meter.ledger.schema import GROUP, SUMS, row
from meter.ledger.sums import rollup_of
from meter.price import Book, Price, Rates
from meter.reprice import Change, LostPrice, ModelChange, Unpriced, reprice, rows_between

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from meter.exchange import Exchange
    from meter.ledger.database import Database
    from meter.price import Listed

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
EVER = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a batch be three rows."""
    monkeypatch.setattr(settling, "_BATCH", 3)


@dataclass
class Shelf:
    """A source of prices for input, USD per million tokens by model."""

    prices: Mapping[str, str] = field(default_factory=dict)
    revision: str = "r2"
    name: str = "shelf"
    since: datetime = datetime(2020, 1, 1, tzinfo=UTC)
    asked: Callable[[], None] = lambda: None
    providers: Counter[str | None] = field(default_factory=Counter)

    def find(self, model: str, *, upstream: str, provider: str | None, when: datetime) -> Price | None:
        """Give the price, whoever asks."""
        del upstream
        self.asked()
        self.providers[provider] += 1
        if model not in self.prices or when < self.since:
            return None
        rates = Rates(dict.fromkeys(("input", "output"), Decimal(self.prices[model])))
        return Price(model=model, rates=rates, source=self.name, revision=self.revision)

    def knows(self, model: str, *, upstream: str, provider: str | None) -> bool:
        """Whether there is a price."""
        del upstream, provider
        return model in self.prices

    def models(self) -> frozenset[str]:
        """Give the names."""
        return frozenset(self.prices)

    def listing(self, when: datetime) -> Iterator[Listed]:
        """Give nothing: nobody reads this one."""
        del when
        yield from ()


def at(seconds: float = 0, **facts: Any) -> Exchange:
    """Give an exchange that ended so long after noon, of a million tokens of `m` without a price."""
    plain: dict[str, Any] = {
        "started_at": NOON.timestamp() + seconds - 1.5,
        "duration_s": 1.5,
        "request_model": "m",
        "response_model": None,
        "model": "m",
        "service_tier": None,
        "usage": {"input": 1_000_000},
        "units": {},
        "cost_usd": None,
        "provider_cost_usd": None,
        "price_status": PriceStatus.MISSING,
        "price_source": None,
        "price_revision": None,
    }
    return an_exchange(**{**plain, **facts})


def priced(usd: str, seconds: float = 0, **facts: Any) -> Exchange:
    """Give one that had a price."""
    known = {"cost_usd": Decimal(usd), "price_status": PriceStatus.EXACT, "price_source": "shelf"}
    return at(seconds, **{**known, "price_revision": "r1", **facts})


def keep(database: Database, *exchanges: Exchange, rollups: bool = True) -> None:
    """Put exchanges where their sink does."""
    with database.writing() as connection:
        add(connection, database.tables, [row(x) for x in exchanges], rollups=rollups)


def run(database: Database, shelf: Shelf, *, write: bool = True, **options: Any) -> Change:
    """Reprice all there is."""
    plain: dict[str, Any] = {"since": None, "until": EVER, "providers": {}, "progress": lambda _: None}
    return reprice(database, Book([shelf]), write=write, **{**plain, **options})


def rows(database: Database) -> list[dict[str, Any]]:
    """Give all rows, the oldest first."""
    table = database.tables.exchanges
    with database.engine.connect() as connection:
        columns = (column.label(column.key) for column in table.c)
        found = connection.execute(select(*columns).order_by(table.c.timestamp, table.c.id)).mappings()
        return [dict(one) for one in found]


def costs(database: Database) -> list[Decimal | None]:
    """Give the costs of all rows, the oldest first."""
    return [one["cost_usd"] for one in rows(database)]


def assert_whole(database: Database) -> None:
    """Assert that rollups are what their rows add up to."""
    expected: dict[Any, dict[str, Any]] = {}
    for one in map(rollup_of, rows(database)):
        place = tuple(one[name] for name in GROUP)
        held = expected.setdefault(place, dict.fromkeys(SUMS, Decimal(0)))
        held.update({name: held[name] + Decimal(str(one[name])) for name in SUMS})
    with database.engine.connect() as connection:
        columns = (column.label(column.key) for column in database.tables.rollups.c)
        found = [dict(one) for one in connection.execute(select(*columns)).mappings()]
    exact = [name for name in SUMS if name != "duration_s"]
    assert {place: [sums[name] for name in exact] for place, sums in expected.items()} == {
        tuple(one[name] for name in GROUP): [Decimal(str(one[name])) for name in exact] for one in found
    }


def test_a_price_that_was_added_later_is_applied_to_the_past(database: Database) -> None:
    """Cost, status, source and revision of a row become what the book says, and its rollup follows."""
    keep(database, at(1), at(2, usage={"input": 500_000, "output": 250_000}))
    before = rows(database)
    change = run(database, Shelf({"m": "2"}))
    settled = {"price_status": "exact", "price_source": "shelf", "price_revision": "r2"}
    assert [
        {**before[0], **settled, "cost_usd": Decimal(2)},
        {**before[1], **settled, "cost_usd": Decimal("1.5")},
    ] == rows(database)
    assert (
        Change(
            rows=2,
            changed=2,
            before_usd=Decimal(0),
            after_usd=Decimal("3.5"),
            by_model=(ModelChange("openai", "m", 2, Decimal(0), Decimal("3.5"), 1_750_000),),
            lost=(),
            still_missing=(),
        )
        == change
    )
    assert_whole(database)


def test_a_dry_run_tells_the_same_and_writes_nothing(database: Database) -> None:
    """What a run without writing tells is what one with writing then does."""
    keep(database, at(1), priced("7", 2), at(3, request_model="x", model="x"))
    before = rows(database)
    told = run(database, Shelf({"m": "2"}), write=False)
    assert before == rows(database)
    assert told == run(database, Shelf({"m": "2"}))
    assert (3, 2, Decimal(7), Decimal(4)) == (told.rows, told.changed, told.before_usd, told.after_usd)
    assert_whole(database)


def test_a_second_run_changes_nothing(database: Database) -> None:
    """Repricing is done once: the same book finds nothing more to do."""
    keep(database, at(1), priced("7", 2), at(3, request_model="x", model="x"))
    run(database, Shelf({"m": "2"}))
    once = rows(database)
    again = run(database, Shelf({"m": "2"}))
    assert (0, ()) == (again.changed, again.by_model)
    assert again.before_usd == again.after_usd == Decimal(4)
    assert once == rows(database)


def test_what_the_upstream_said_stays(database: Database) -> None:
    """A cost that came from the upstream is not replaced by a computed one."""
    said: dict[str, Any] = {
        "cost_usd": Decimal(5),
        "provider_cost_usd": Decimal(5),
        "price_status": PriceStatus.PROVIDER,
    }
    keep(database, at(**said, price_source="provider"))
    change = run(database, Shelf({"m": "2"}))
    assert (0, Decimal(5), ()) == (change.changed, change.after_usd, change.lost)
    assert [Decimal(5)] == costs(database)


def test_a_known_cost_is_never_lost(database: Database) -> None:
    """What the book no longer has a price for keeps its cost, and is told."""
    keep(database, priced("7"), priced("8", 1))
    change = run(database, Shelf({}))
    assert (0, Decimal(15), Decimal(15)) == (change.changed, change.before_usd, change.after_usd)
    assert (LostPrice("openai", "m", 2, Decimal(15)),) == change.lost
    assert [Decimal(7), Decimal(8)] == costs(database)


def test_what_is_still_without_a_price_is_told(database: Database) -> None:
    """Models that the book does not know are listed with their tokens, the most first."""
    keep(database, at(), at(1, request_model="x", model="x"), at(2, request_model="x", model="x"))
    missing = run(database, Shelf({})).still_missing
    assert (Unpriced("openai", "x", 2, 2_000_000), Unpriced("openai", "m", 1, 1_000_000)) == missing


def test_another_revision_alone_is_no_change(database: Database) -> None:
    """A row whose cost and status stay keeps the revision that it was priced by."""
    keep(database, priced("2"))
    assert 0 == run(database, Shelf({"m": "2"}, revision="r9")).changed
    assert ["r1"] == [one["price_revision"] for one in rows(database)]


def test_a_row_is_priced_at_its_own_time(database: Database) -> None:
    """A price counts from the moment on which it begins, by when an exchange began, not when it ended."""
    keep(database, at(1), at(1.5), at(2))
    run(database, Shelf({"m": "2"}, since=NOON))
    assert [None, Decimal(2), Decimal(2)] == costs(database)


def test_only_the_span_is_repriced(database: Database) -> None:
    """A span has its first moment and not its last."""
    keep(database, at(0), at(1), at(2))
    span: dict[str, Any] = {"since": NOON.replace(second=1), "until": NOON.replace(second=2)}
    assert 1 == rows_between(database, **span)
    assert 1 == run(database, Shelf({"m": "2"}), **span).rows
    assert [None, Decimal(2), None] == costs(database)
    assert 3 == rows_between(database, None, EVER)


def test_a_row_s_own_provider_comes_first(database: Database) -> None:
    """The settings' provider of an upstream counts only for rows that have none."""
    keep(database, at(1), at(2, provider=None), at(3, provider=None, upstream="gone"))
    shelf = Shelf({"m": "2"})
    run(database, shelf, providers={"openai": "azure.ai.openai"})
    assert {"openai", "azure.ai.openai", None} == set(shelf.providers)


def test_labels_of_the_past_stay(database: Database) -> None:
    """A model that goes by another name now keeps the one under which it was counted."""
    keep(database, at(response_model="m-fast"))
    run(database, Shelf({"m-fast": "2"}))
    assert [("m", Decimal(2))] == [(one["model"], one["cost_usd"]) for one in rows(database)]


@pytest.mark.usefixtures("small_batches")
def test_progress_is_told_after_each_batch(database: Database) -> None:
    """Whoever waits learns how many rows are done, also of one moment with more rows than a batch."""
    keep(database, *(at(1) for _ in range(5)), *(at(second) for second in (1, 2)))
    told: list[int] = []
    change = run(database, Shelf({"m": "2"}), progress=told.append)
    assert [3, 6, 7] == told
    assert 7 == change.changed
    assert [Decimal(2)] * 7 == costs(database)


@pytest.mark.usefixtures("small_batches")
def test_a_run_that_is_broken_off_leaves_a_whole_ledger(database: Database) -> None:
    """After Ctrl-C some rows are new, the rollups agree with them, and another run does the rest."""
    keep(database, *(at(second) for second in range(8)))

    def interrupt(done: int) -> None:
        if done > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(database, Shelf({"m": "2"}), progress=interrupt)
    assert [Decimal(2)] * 6 + [None] * 2 == costs(database)
    assert_whole(database)
    assert 2 == run(database, Shelf({"m": "2"})).changed
    assert_whole(database)


def test_a_batch_that_fails_is_not_written(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and rollups change together or not at all."""
    keep(database, at(1), at(2))

    def fails(*_: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(settling, "adjust", fails)
        with pytest.raises(MemoryError):
            run(database, Shelf({"m": "2"}))
    assert [None, None] == costs(database)
    assert_whole(database)


def test_a_row_that_went_away_meanwhile_is_left_alone(database: Database) -> None:
    """What retention removes between reading and writing is neither written nor counted."""
    keep(database, at(1))

    def remove() -> None:
        with database.writing() as connection:
            connection.execute(delete(database.tables.exchanges))
            connection.execute(delete(database.tables.rollups))

    change = run(database, Shelf({"m": "2"}, asked=remove))
    assert (1, 0) == (change.rows, change.changed)
    assert [] == rows(database)
    assert_whole(database)


def test_a_row_that_another_run_changed_meanwhile_is_left_alone(database: Database) -> None:
    """Of two runs at once the first to write a row wins, and its rollup has it once."""
    keep(database, at(1))

    def other() -> None:
        run(database, Shelf({"m": "3"}))

    assert 0 == run(database, Shelf({"m": "2"}, asked=other)).changed
    assert [Decimal(3)] == costs(database)
    assert_whole(database)


def test_rows_without_rollups_get_none(database: Database) -> None:
    """A ledger that keeps no rollups still keeps none."""
    keep(database, at(1), rollups=False)
    assert 1 == run(database, Shelf({"m": "2"})).changed
    with database.engine.connect() as connection:
        assert [] == connection.execute(select(database.tables.rollups)).all()


@pytest.mark.usefixtures("small_batches")
def test_a_proxy_may_write_all_the_while(database: Database) -> None:
    """Rows that come in during a run are neither lost nor counted twice."""
    keep(database, *(at(second) for second in range(30)))
    done = threading.Event()

    def proxy() -> None:
        for second in range(40):
            keep(database, priced("1", second))
        done.set()

    writer = threading.Thread(target=proxy)
    writer.start()
    while not done.is_set():
        run(database, Shelf({"m": "2"}))
    writer.join()
    run(database, Shelf({"m": "2"}))
    assert [Decimal(2)] * 70 == costs(database)
    assert_whole(database)


@pytest.mark.usefixtures("small_batches")
def test_two_runs_at_once_end_whole(database: Database) -> None:
    """Two runs with other books never wait for each other for ever, and leave rollups that agree."""
    keep(database, *(at(second) for second in range(30)))
    runs = [threading.Thread(target=run, args=(database, Shelf({"m": usd}))) for usd in ("2", "3")]
    for one in runs:
        one.start()
    for one in runs:
        one.join()
    assert {Decimal(2), Decimal(3)} >= set(costs(database))
    assert_whole(database)


def test_a_cost_that_no_column_holds_is_unknown(database: Database) -> None:
    """A price at which an exchange costs more than the ledger can hold leaves it without a cost."""
    keep(database, at(1))
    shelf = Shelf({"m": "90000000"})
    assert 0 == run(database, shelf).changed
    assert [None] == costs(database)


exchanges = st.builds(
    an_exchange,
    started_at=st.floats(1.7e9, 1.8e9),
    duration_s=st.floats(0, 100),
    request_model=st.sampled_from(["m", "x", None]),
    response_model=st.sampled_from(["m", "m-2026-01-01", "y", None]),
    service_tier=st.sampled_from([None, "default", "flex"]),
    usage=st.none() | st.dictionaries(st.sampled_from(KINDS), st.integers(0, 10**7), max_size=4),
    units=st.dictionaries(st.sampled_from(UNITS), st.floats(0, 1000), max_size=2),
    usage_source=st.sampled_from(UsageSource),
    provider_cost_usd=st.none() | st.decimals(0, 100, places=12),
    cost_usd=st.none(),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(exchanges, min_size=1, max_size=8))
def test_a_row_is_priced_as_its_exchange_was(database: Database, lived: list[Exchange]) -> None:
    """With the book that priced them live, rows are what they should be already."""
    shelf = Shelf({"m": "0.15", "m-2026-01-01": "1.1"})
    book = Book([shelf])
    with database.writing() as connection:
        connection.execute(delete(database.tables.exchanges))
        connection.execute(delete(database.tables.rollups))
    keep(database, *(book.price(replace(x, price_status=PriceStatus.NONE)) for x in lived))
    change = run(database, shelf)
    assert (0, (), ()) == (change.changed, change.by_model, change.lost)
