"""Sums over the last minutes: what is counted, for how long, and that those of many are those of one."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meter.exchange import Exchange, Outcome, UsageSource
from meter.live import CELL_S, SPAN_S, WINDOW_S, Cell, Live, Snapshot, Times, told

if TYPE_CHECKING:
    from collections.abc import Iterable

START = 1_770_000_000
"""Unix time of a whole cell, at which the tests' processes start."""

PERCENTS = (50, 90, 99)


def exchange(ended: float = START, duration_s: float = 0.5, **facts: Any) -> Exchange:
    """Return an exchange that ended then."""
    known: dict[str, Any] = {
        "id": "x",
        "started_at": ended - duration_s,
        "duration_s": duration_s,
        "method": "POST",
        "path": "/",
        "outcome": Outcome.OK,
    }
    return Exchange(**{**known, **facts})


def live(*exchanges: Exchange, began: float = START) -> Live:
    """Return what was told of these."""
    told_of = Live(began)
    for each in exchanges:
        told_of(each)
    return told_of


def after(seconds: float, *exchanges: Exchange) -> dict[str, Any]:
    """Return what is told so long after the start."""
    return told(live(*exchanges).snapshot(START + seconds))


@given(st.lists(st.tuples(st.integers(0, 3 * SPAN_S), st.booleans()), max_size=30))
def test_the_cell_at_hand_is_the_one_that_a_search_finds(moments: list[tuple[int, bool]]) -> None:
    """In whatever order seconds come, sums are what they are where no cell is remembered."""
    told_of, plain = Live(START), Live(START)
    for second, looks in moments:
        for each in (told_of, plain):
            if looks:
                each.look(START + second, second)
            else:
                each(exchange(START + second))
        for ring in (plain._seconds, plain._cells):
            ring._last = Cell(-(10**9))

        assert plain.snapshot(START + second) == told_of.snapshot(START + second)


def test_what_is_counted() -> None:
    """Requests, errors, leavers, tokens that count and known costs are added up, by minute and by cell."""
    reported: dict[str, Any] = {"usage": {"input": 9, "output": 2}, "usage_source": UsageSource.REPORTED}
    answer = after(
        10,
        exchange(START + 1, **reported, cost_usd=Decimal("0.000000000001"), ttft_s=0.2),
        exchange(START + 2, **reported, cost_usd=Decimal(1), ttft_s=0.4),
        exchange(START + 3, **{**reported, "usage_source": UsageSource.NONE}),
        exchange(START + 4, outcome=Outcome.TIMEOUT),
        exchange(START + 4, outcome=Outcome.CLIENT_ERROR),
        exchange(START + 4, outcome=Outcome.CLIENT_CLOSED),
    )

    sums = {"requests": 6, "errors": 2, "tokens": 22, "cost_usd": Decimal("1.000000000001")}
    assert {**sums, "client_closed": 1} == {name: answer[name] for name in (*sums, "client_closed")}
    assert (10, 0.6, 2.2, 0.333333) == (
        answer["window_s"],
        answer["requests_per_s"],
        answer["tokens_per_s"],
        answer["error_share"],
    )
    first, second = answer["cells"]
    assert sums == {name: first[name] for name in sums}
    assert (0, None, None) == (second["requests"], second["ttft_p50_s"], second["duration_p99_s"])
    assert pytest.approx({"p50": 0.2, "p90": 0.4, "p99": 0.4}, rel=0.05) == answer["ttft_s"]
    assert {"p50": 0.5, "p90": 0.5, "p99": 0.5} == answer["duration_s"]


def test_nothing_yet() -> None:
    """In the first second nothing is told, and of nothing there is no share and no percentile."""
    answer = after(0.9)

    nothing = dict.fromkeys(
        ("window_s", "requests", "tokens", "cost_usd", "requests_per_s", "tokens_per_s"), 0
    )
    assert nothing == {name: answer[name] for name in nothing}
    assert (None, []) == (answer["error_share"], answer["cells"])
    assert {"p50": None, "p90": None, "p99": None} == answer["ttft_s"] == answer["duration_s"]


@pytest.mark.parametrize(("seconds", "expected"), [(0, 0), (1.5, 1), (59.9, 59), (60, 60), (3600, 60)])
def test_the_last_minute_is_whole_seconds(seconds: float, expected: int) -> None:
    """It is so many seconds as there were since the start, sixty at most, and not the one under way."""
    every = [exchange(START + second / 2) for second in range(round(seconds * 2) + 2)]
    answer = after(seconds, *every)

    assert (expected, 2 * expected) == (answer["window_s"], answer["requests"])


@pytest.mark.parametrize(
    ("seconds", "expected"), [(30.9, 0), (31, 1), (90.9, 1), (91, 0), (99.9, 0), (100, 1)]
)
def test_the_second_in_which_it_ended(seconds: float, expected: int) -> None:
    """An exchange is in the second in which it ended, once that is over, however long it took."""
    both = exchange(START + 99, duration_s=90), exchange(START + 30.999, duration_s=3)

    assert expected == after(seconds, *both)["requests"]


def test_cells_of_ten_minutes() -> None:
    """Cells that are over are told, oldest first, for ten minutes; then they leave."""
    told_of = live(*(exchange(START + second) for second in range(700)))
    answer = told(told_of.snapshot(START + 699.5))

    assert [START + 695 - SPAN_S + at for at in range(0, SPAN_S, CELL_S)] == [
        each["at"].timestamp() for each in answer["cells"]
    ]
    assert {CELL_S} == {each["requests"] for each in answer["cells"]}
    later = told(told_of.snapshot(START + 700 + SPAN_S))["cells"]
    assert [0] * 120 == [each["requests"] for each in later]


def test_one_that_is_told_late() -> None:
    """An exchange that is told minutes after its end is in the cell in which it ended."""
    told_of = live(*(exchange(START + second) for second in range(300)), exchange(START + 7))
    cells = told(told_of.snapshot(START + 300))["cells"]

    assert [5, 6, *[5] * 58] == [each["requests"] for each in cells]


def test_nothing_is_kept_longer() -> None:
    """Hours of exchanges take no more cells than minutes of them."""
    told_of = Live(START)
    sizes = set()
    for hour in range(3):
        for second in range(0, 900, 3):
            told_of(exchange(START + 3600 * hour + second))
            told_of.look(START + 3600 * hour + second, 1)
        taken = msgspec.msgpack.encode(told_of.snapshot(START + 3600 * hour + 900))
        sizes.add(len(msgspec.msgpack.decode(taken, type=Snapshot).seconds))
        sizes.add(len(told_of._seconds._cells))

    assert 64 == max(sizes)
    assert SPAN_S // CELL_S + 4 == len(told_of._cells._cells)
    assert START + 7200 <= min(cell.at for cell in told_of.snapshot(START + 8100).cells)


def test_how_many_were_under_way() -> None:
    """A cell has the most that were under way at any look, and none where nobody looked."""
    told_of = Live(START)
    for second, in_flight in ((0.5, 3), (1, 7), (4.5, 2), (10, 1)):
        told_of.look(START + second, in_flight)

    assert [7, 0, 1] == [each["in_flight"] for each in told(told_of.snapshot(START + 15))["cells"]]


def test_a_clock_that_is_set_back() -> None:
    """After the clock was set back by an hour, what ends from then on is told; what ended before is not."""
    told_of = live(*(exchange(START + 3600 + second) for second in range(120)), began=START + 3600)
    told_of.look(START, 1)
    told_of(exchange(START + 2))
    answer = told(told_of.snapshot(START + 10))

    assert (10, 1, [1, 0]) == (
        answer["window_s"],
        answer["requests"],
        [each["requests"] for each in answer["cells"]],
    )


def test_a_snapshot_does_not_change() -> None:
    """What has been taken stays as it is while what comes later moves seconds into cells."""
    told_of = live(*(exchange(START + second) for second in range(100)))
    taken = told_of.snapshot(START + 100)
    before = told(taken)
    for second in range(100, 180):
        told_of(exchange(START + second))

    assert before == told(taken)


def test_closing() -> None:
    """Closing changes nothing."""
    told_of = live(exchange())
    told_of.close()

    assert 1 == told(told_of.snapshot(START + 1))["requests"]


# --- laws ---

ends = st.integers(0, 8 * 1300).map(lambda eighths: START + eighths / 8)
waits = st.floats(0, 10_000, allow_subnormal=False)
measured = st.floats(2.0**-13, 4095.0)


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    """Any exchange of some twenty minutes."""
    ended, duration_s = draw(ends), draw(st.sampled_from([0.0, 0.25, 3.5, 64.0]))
    return exchange(
        ended,
        duration_s,
        outcome=draw(st.sampled_from(Outcome)),
        usage=draw(st.none() | st.dictionaries(st.sampled_from(["input", "output"]), st.integers(0, 9**9))),
        usage_source=draw(st.sampled_from(UsageSource)),
        cost_usd=draw(st.none() | st.integers(0, 10**15).map(lambda pico: Decimal(pico).scaleb(-12))),
        ttft_s=draw(st.none() | waits),
    )


def ended(kept: Iterable[Exchange], begin: float, end: float) -> list[Exchange]:
    """Return those that ended in [begin, end)."""
    return [each for each in kept if begin <= each.started_at + each.duration_s < end]


@settings(max_examples=60, deadline=None)
@given(kept=st.lists(exchanges(), max_size=20), seconds=st.integers(0, 1400))
def test_sums_are_those_of_what_ended(kept: list[Exchange], seconds: int) -> None:
    """The minute and each cell have what ended in them, in whatever order it is told within ten minutes."""
    kept = ended(kept, START + max(0, seconds - SPAN_S), START + seconds)
    answer = after(seconds, *kept)

    window = ended(kept, START + max(0, seconds - WINDOW_S), START + seconds)
    failed = [each for each in window if each.outcome not in {Outcome.OK, Outcome.CLIENT_CLOSED}]
    costs = [each.cost_usd for each in window if each.cost_usd is not None]
    assert (len(window), len(failed), sum(costs, Decimal(0))) == (
        answer["requests"],
        answer["errors"],
        answer["cost_usd"],
    )
    expected = Counter(int(each.started_at + each.duration_s) // CELL_S * CELL_S for each in kept)
    begin = max(0, (seconds // CELL_S * CELL_S) - SPAN_S)
    cells = range(START + begin, START + seconds // CELL_S * CELL_S, CELL_S)
    assert [expected[at] for at in cells] == [each["requests"] for each in answer["cells"]]


def counted(times: Iterable[float]) -> Times:
    """Return these times in their buckets."""
    found = Times()
    for each in times:
        found.count(each)
    return found


@settings(max_examples=100, deadline=None)
@given(st.lists(measured, min_size=1, max_size=60))
def test_percentiles_are_near(times: list[float]) -> None:
    """In the range of the buckets a percentile is within 5 % of the time at its rank."""
    exact = [sorted(times)[(len(times) * percent + 99) // 100 - 1] for percent in PERCENTS]

    assert pytest.approx(exact, rel=0.05) == counted(times).percentiles(*PERCENTS)


@settings(max_examples=100, deadline=None)
@given(st.lists(waits, min_size=1, max_size=60), st.integers(0, 60))
def test_percentiles_were_seen(times: list[float], cut: int) -> None:
    """Whatever times there are, percentiles rise from the least at least to the most at most."""
    found = (counted(times[:cut]) + counted(times[cut:])).percentiles(1, *PERCENTS, 100)

    assert found == counted(times).percentiles(1, *PERCENTS, 100)
    known = [each for each in found if each is not None]
    assert [min(times) <= each <= max(times) for each in known] == [True] * 5
    assert sorted(known) == known


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 2.0**-13, 0.1, 1.0, 4095.999, 4096.0, 1e6])
def test_one_time_is_told_as_it_is(seconds: float) -> None:
    """Where there was one time, every percentile is that time."""
    assert [seconds] * 3 == counted([seconds]).percentiles(*PERCENTS)
