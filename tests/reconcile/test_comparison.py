"""A bill beside what was counted: sums, ratios, names, and the sentences that explain a difference."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meter.reconcile.bill import Billed
from meter.reconcile.comparison import Counts, Line, compare
from meter.reconcile.metered import Metered

FIRST, SECOND = date(2026, 11, 1), date(2026, 11, 2)


def billed(model: str | None = "gpt-4o", **fields: Any) -> Billed:
    """Give a line of a bill."""
    return Billed(**{"day": FIRST, "model": model, **fields})


def counted(model: str = "gpt-4o", **fields: Any) -> Metered:
    """Give what was counted of ten requests."""
    plain = {
        "day": FIRST,
        "requests": 10,
        "usage": {"input": 900, "input_cached": 100, "output": 200},
        "cost_usd": Decimal("0.5"),
    }
    return Metered(**{**plain, "model": model, **fields})


MORE = {"input": 2000}
FEWER = "fewer tokens were billed than Meter counted: not charged for, or the bill is not complete yet"
USED = {"input": 900, "input_cached": 100, "output": 200}


def only(lines: tuple[Line, ...]) -> Line:
    """Give the one line there is."""
    (line,) = lines
    return line


def test_what_agrees_needs_no_words() -> None:
    """Usage and costs from two reports of the same day join into one line that agrees."""
    bill = [
        billed(usage={"input": 900, "output": 200}, requests=6),
        billed(usage={"input_cached": 100}, requests=4),
        billed(cost_usd=Decimal("0.3")),
        billed(cost_usd=Decimal("0.2")),
    ]
    line = only(compare(bill, [counted()]).lines)
    assert Counts(10, 1000, 100, 200, Decimal("0.5")) == line.billed == line.metered
    assert {Decimal(1)} == {line.request_ratio, line.token_ratio, line.cost_ratio}
    assert line.agrees
    assert () == line.notes


def test_what_a_bill_does_not_tell_is_not_0() -> None:
    """A report of costs alone has no ratio of tokens, and one of usage none of costs."""
    costs = only(compare([billed(cost_usd=Decimal(1))], [counted()]).lines)
    assert Counts(cost_usd=Decimal(1)) == costs.billed
    assert (None, None, Decimal("0.5")) == (costs.request_ratio, costs.token_ratio, costs.cost_ratio)
    usage = only(compare([billed(usage={"input": 2400})], [counted()]).lines)
    assert (None, Decimal("0.5"), None) == (usage.request_ratio, usage.token_ratio, usage.cost_ratio)


@pytest.mark.parametrize("doubt", ["unpriced_requests", "missing_requests"])
def test_an_unknown_cost_is_not_0(doubt: str) -> None:
    """Where Meter knows the cost of no request it is not known, agrees with no bill, and adds nothing."""
    unknown = counted("o3", cost_usd=Decimal(0), **{doubt: 10})
    found = compare([billed(usage=USED, cost_usd=Decimal("0.5"))], [unknown, counted()])

    assert (None, None) == (found.lines[1].metered.cost_usd, found.models[1].metered.cost_usd)
    assert Decimal("0.5") == found.total.metered.cost_usd
    line = only(compare([billed("o3", usage=USED, requests=10, cost_usd=Decimal("0.5"))], [unknown]).lines)
    assert (False, None) == (line.agrees, line.cost_ratio)
    assert line.notes


def test_a_model_that_is_on_no_bill_was_billed_0() -> None:
    """Where a bill tells tokens of models, one that it does not name had none."""
    found = compare([billed(usage=USED, requests=10)], [counted(), counted("o3")])
    line = found.lines[1]
    assert ("o3", Counts(0, 0, 0, 0, None), None) == (line.model, line.billed, line.token_ratio)
    assert (
        "10 requests more than were billed: not charged for, or the bill is not complete yet",
    ) == line.notes


@pytest.mark.parametrize(
    ("on_the_bill", "counted_as", "lines"),
    [
        (["gpt-4o-2024-08-06"], ["gpt-4o"], ["gpt-4o"]),
        (["gpt-4o-2024-08-06"], ["gpt-4o-2024-08-06"], ["gpt-4o-2024-08-06"]),
        (["gpt-4o-2024-08-06"], ["gpt-4o", "gpt-4o-2024-08-06"], ["gpt-4o"]),
        (
            ["gpt-4o-2024-08-06", "gpt-4o-2024-05-13"],
            ["gpt-4o-2024-05-13", "gpt-4o-2024-08-06"],
            ["gpt-4o-2024-05-13", "gpt-4o-2024-08-06"],
        ),
        (
            ["claude-haiku-4-5", "claude-haiku-4-5-20251001"],
            ["claude-haiku-4-5-20251001"],
            ["claude-haiku-4-5"],
        ),
        (["claude-3-5-sonnet-2024-10-22"], ["claude-3-5-sonnet-latest"], ["claude-3-5-sonnet"]),
        (["gpt-4o-mini"], ["gpt-4o"], ["gpt-4o", "gpt-4o-mini"]),
    ],
)
def test_names_of_one_model_are_brought_together(
    on_the_bill: list[str], counted_as: list[str], lines: list[str]
) -> None:
    """Versions stay apart where both sides have the same; else the model is one line."""
    found = compare(
        [billed(name, requests=1) for name in on_the_bill], [counted(name) for name in counted_as]
    )
    assert lines == [line.model for line in found.lines]


def test_what_is_billed_without_a_model_is_a_line_of_its_own() -> None:
    """Searches and storage stand beside the models, and in the sums."""
    bill = [billed(cost_usd=Decimal("0.5")), billed(None, item="web search tool calls", cost_usd=Decimal(2))]
    found = compare(bill, [counted()])
    assert [("gpt-4o", None), (None, "web search tool calls")] == [(x.model, x.item) for x in found.lines]
    assert ("billed without a model",) == found.lines[1].notes
    assert (Decimal("0.5"), Decimal("2.5")) == (found.total.metered.cost_usd, found.total.billed.cost_usd)


def test_costs_by_day_are_compared_by_day() -> None:
    """A bill without models still has a ratio for each day and for all."""
    bill = [billed(None, cost_usd=Decimal(1)), billed(None, day=SECOND, cost_usd=Decimal(2))]
    found = compare(bill, [counted(), counted("o3"), counted(day=SECOND)])
    assert [(FIRST, Decimal(1)), (SECOND, Decimal("0.25"))] == [(x.day, x.cost_ratio) for x in found.days]
    assert Decimal("0.5") == found.total.cost_ratio
    assert {None} == {line.cost_ratio for line in found.lines if line.model}


@pytest.mark.parametrize(
    ("bill", "doubts", "notes"),
    [
        ({"usage": MORE, "requests": 12}, {}, ["2 billed requests did not pass Meter"]),
        (
            {"usage": MORE, "requests": 10},
            {"missing_requests": 3},
            ["3 requests told no usage and count as nothing"],
        ),
        (
            {"usage": MORE, "requests": 10},
            {"estimated_requests": 1, "estimated_tokens": 50, "estimated_usd": Decimal("0.01")},
            ["1 requests are estimated: 50 tokens, 0.01 USD"],
        ),
        (
            {"usage": MORE, "requests": 10},
            {"cut_requests": 2},
            ["2 requests were broken off, and the provider may have counted more of them"],
        ),
        (
            {"usage": USED, "requests": 10, "cost_usd": Decimal(1)},
            {"unpriced_requests": 4, "unpriced_tokens": 80},
            ["4 requests have no price: 80 tokens"],
        ),
        (
            {"usage": USED, "requests": 10, "cost_usd": Decimal(1)},
            {},
            ["the tokens agree and the cost does not: the price in the book is not the one that was paid"],
        ),
        (
            {"usage": MORE},
            {},
            ["more tokens were billed than Meter counted: some did not pass Meter"],
        ),
        (
            {"usage": {"input": 20}},
            {},
            [FEWER],
        ),
    ],
)
def test_a_difference_is_explained(bill: dict[str, Any], doubts: dict[str, Any], notes: list[str]) -> None:
    """What is missing, estimated, unpriced, broken off or not seen is said in a sentence."""
    line = only(compare([billed(**bill)], [counted(**doubts)]).lines)
    assert notes == list(line.notes)


def test_batch_jobs_are_not_missed() -> None:
    """Requests of batch jobs are told as such, and not as ones that went past Meter."""
    bill = [
        billed(usage=USED, requests=10, cost_usd=Decimal("0.5")),
        billed(usage={"input": 300}, requests=3, cost_usd=Decimal("0.1"), batch=True),
    ]
    line = only(compare(bill, [counted()]).lines)
    assert 0 == line.unseen_requests
    assert ("300 tokens and 0.1 USD are of batch jobs, which Meter does not see",) == line.notes


def test_rows_are_plain_and_alike() -> None:
    """Each row has the same names, in one order, for a table, CSV or JSON."""
    found = compare([billed(requests=1), billed(None, item="x", cost_usd=Decimal(1))], [counted(day=SECOND)])
    rows = found.rows()
    assert 1 == len({tuple(row) for row in rows})
    first = rows[0]
    assert ("2026-11-01", "gpt-4o", 0, 1) == (
        first["day"],
        first["model"],
        first["metered_requests"],
        first["billed_requests"],
    )


def test_nothing_beside_nothing_is_nothing() -> None:
    """An empty bill and an empty ledger agree."""
    found = compare([], [])
    assert ((), (), (), True) == (found.lines, found.days, found.models, found.total.agrees)


bills = st.builds(
    Billed,
    day=st.sampled_from([FIRST, SECOND]),
    model=st.sampled_from(["gpt-4o", "gpt-4o-2024-08-06", "o3", None]),
    usage=st.none() | st.fixed_dictionaries({"input": st.integers(0, 99), "output": st.integers(0, 99)}),
    requests=st.none() | st.integers(0, 99),
    cost_usd=st.none() | st.decimals(-9, 99, places=6),
    batch=st.booleans(),
)
counts = st.builds(
    counted,
    st.sampled_from(["gpt-4o", "gpt-4o-2024-08-06", "o3"]),
    day=st.sampled_from([FIRST, SECOND]),
    requests=st.integers(1, 99),
)


@settings(max_examples=200)
@given(st.lists(bills, max_size=6), st.lists(counts, max_size=6))
def test_no_sum_is_lost(bill: list[Billed], metered: list[Metered]) -> None:
    """Days, models and the total add up to all that was billed and all that was counted."""
    found = compare(bill, metered)
    spent = sum((b.cost_usd or Decimal(0) for b in bill), Decimal(0))
    requests = sum(m.requests for m in metered)
    for lines in (found.lines, found.days, found.models, (found.total,)):
        assert spent == sum((line.billed.cost_usd or Decimal(0) for line in lines), Decimal(0))
        assert requests == sum(line.metered.requests or 0 for line in lines)
    assert all(line.row() for line in found.lines)
