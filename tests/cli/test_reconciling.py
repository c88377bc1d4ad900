"""`meter reconcile`: what was counted, beside what a provider billed."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ledger.kept import a_chat, keep

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.conftest import Run

    from meter.ledger.database import Database

EXPORTS = Path(__file__).parent.parent / "reconcile" / "exports"
USAGE, COSTS = str(EXPORTS / "openai_usage.csv"), str(EXPORTS / "openai_costs.csv")
BILLED = datetime(2026, 11, 1, 12, tzinfo=UTC)
WIDE, NARROW = 120, 80


@pytest.fixture
def counted(ledger: Database) -> Database:
    """Give a ledger with nine of the ten requests that were billed."""
    part = {"input": 53440, "input_cached": 5760, "output": 10646}
    first = a_chat(
        BILLED, provider="openai", model="gpt-4o-2024-08-06", usage=part, cost_usd=Decimal("0.24726")
    )
    rest = (
        a_chat(BILLED, provider="openai", model="gpt-4o-2024-08-06", usage={"output": 0}) for _ in range(8)
    )
    keep(ledger, [first, *rest])
    return ledger


TABLE = """\
openai, 2026-11-01 to 2026-11-01, days in UTC
            model                  requests  requests   tokens  tokens  tokens      USD     USD     USD
day         or item                 metered    billed  metered  billed   ratio  metered  billed   ratio
----------  ---------------------  --------  --------  -------  ------  ------  -------  ------  ------
2026-11-01  gpt-4o-2024-08-06             9        10   69,846  69,846  100.0%   0.3273  0.2473  132.4%
    1 billed requests did not pass Meter
    the tokens agree and the cost does not: the price in the book is not the one that was paid
2026-11-01  gpt-4o-mini                   0         3        0   3,900    0.0%   0.0000  0.0000       -
    3900 tokens and 0 USD are of batch jobs, which Meter does not see
2026-11-01  web search tool calls         0         0        0       0       -   0.0000  0.0500    0.0%
    billed without a model
----------  ---------------------  --------  --------  -------  ------  ------  -------  ------  ------
total                                     9        13   69,846  73,746   94.7%   0.3273  0.2973  110.1%

"""


def test_table(run: Run, counted: Database, url: str, terminal: Callable[[int | None], None]) -> None:
    """Both sides stand beside each other within 120 columns, with the reasons below each line."""
    del counted
    terminal(WIDE)

    done = run("reconcile", "--provider", "openai", "--ledger", url, "--file", USAGE, "--file", COSTS)
    assert (0, TABLE, "") == done
    assert done == run("reconcile", "--provider", "openai", "--ledger", url, "--file", USAGE, COSTS)


def test_narrow_table(run: Run, counted: Database, url: str, terminal: Callable[[int | None], None]) -> None:
    """At 80 columns the numbers of requests make room."""
    del counted
    terminal(NARROW)
    told = run("reconcile", "--provider", "openai", "--ledger", url, "--file", USAGE, COSTS).out.splitlines()

    assert "no room here for: requests metered, requests billed" in told
    assert max(map(len, told)) <= NARROW


def test_csv_and_json(run: Run, counted: Database, url: str) -> None:
    """CSV and JSON have the same lines with every digit."""
    del counted
    argv = ("reconcile", "--provider", "openai", "--ledger", url, "--file", USAGE, COSTS, "--format")
    rows = list(csv.DictReader(run(*argv, "csv").out.splitlines()))
    told = json.loads(run(*argv, "json").out, parse_float=Decimal)

    assert {"lines", "days", "models", "total"} == set(told)
    assert [str(line["billed_cost_usd"]) for line in told["lines"]][:1] == ["0.24726000000000000"]
    assert ["0.24726", "0", "0.05"] == [row["billed_cost_usd"] for row in rows]
    assert ["; ".join(line["notes"]) for line in told["lines"]] == [row["notes"] for row in rows]


@pytest.mark.parametrize("argv", [(), ("--since", "2026-01-01", "--until", "2026-02-01")])
def test_nothing(run: Run, ledger: Database, url: str, tmp_path: Path, argv: tuple[str, ...]) -> None:
    """Where both sides are empty, a sentence says so."""
    del ledger
    file = tmp_path / "usage.json"
    file.write_text('{"object": "page", "data": []}')
    done = run("reconcile", "--provider", "openai", "--ledger", url, "--file", str(file), *argv)

    assert (0, "") == (done.code, done.err)
    assert done.out.endswith(", days in UTC: nothing was billed, and nothing metered\n")


@pytest.mark.parametrize(
    ("argv", "ended"),
    [
        ((), (1, "OPENAI_ADMIN_KEY is not set, ")),
        (("--file", "/nowhere.csv"), (1, "/nowhere.csv: cannot be read: ")),
        (("--file", __file__), (1, __file__)),
        (("--since", "soon"), (2, "--since: got 'soon', expected how long ago, ")),
        (("--since", "2026-01-02", "--until", "2026-01-02"), (2, "--since: got no day before --until, ")),
    ],
)
def test_failures(
    run: Run, ledger: Database, url: str, argv: tuple[str, ...], ended: tuple[int, str]
) -> None:
    """What cannot be had is a failure, and what cannot be meant a wrong command line."""
    del ledger
    code, said = ended
    done = run("reconcile", "--provider", "openai", "--ledger", url, *argv)

    assert (code, "") == (done.code, done.out)
    assert done.err.startswith(f"meter: {said}")
