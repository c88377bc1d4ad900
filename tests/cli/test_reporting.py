"""`meter report`: what was spent."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from ledger.kept import NOON, a_chat, at, keep

from meter.exchange import Outcome, PriceStatus, UsageSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cli.conftest import Run

    from meter.ledger.database import Database

UNPRICED: dict[str, Any] = {"cost_usd": None, "price_status": PriceStatus.MISSING}
HOSTILE = "\x1b[31m[bold]=\u202e🚀"
SPAN = ("--since", "2026-01-31", "--until", "2026-02-01")


@pytest.fixture
def spent(ledger: Database) -> Database:
    """Give a ledger with some of everything."""
    keep(
        ledger,
        [
            a_chat(usage={"input": 800, "input_cached": 200, "output": 50}),
            a_chat(at(hours=1), outcome=Outcome.TIMEOUT, usage_source=UsageSource.ESTIMATED),
            a_chat(at(hours=1), key="ops", model="m-1", **UNPRICED),
            a_chat(at(hours=2), key="ops", model=HOSTILE, cost_usd=Decimal("0.000000000001")),
            a_chat(at(days=-30), cost_usd=Decimal(1000)),
        ],
    )
    return ledger


TABLE = """\
2026-01-31 00:00 to 2026-02-01 00:00 UTC
key     model                    requests  errors  input  cached  output      USD  estimated  unpriced
------  -----------------------  --------  ------  -----  ------  ------  -------  ---------  --------
search  gpt-4o                          2       1  1,010     200      55   0.0200     0.0100         0
ops     \\x1b[31m[bold]=\\u202e🚀         1       0     10       0       5  <0.0001     0.0000         0
ops     m-1                             1       0     10       0       5        -          -        15
------  -----------------------  --------  ------  -----  ------  ------  -------  ---------  --------
total                                   4       1  1,030     200      65   0.0200     0.0100        15

15 tokens have no price: see `meter prices missing`
"""


def test_table(run: Run, spent: Database, url: str) -> None:
    """The table is by key and model, dearest first, unknown costs last, with the sum of all below."""
    del spent

    assert (0, TABLE, "") == run("report", "--ledger", url, *SPAN)


def test_narrow_table(run: Run, spent: Database, url: str, terminal: Callable[[int | None], None]) -> None:
    """At 80 columns the table fits, and says what it leaves out."""
    del spent
    terminal(80)
    told = run("report", "--ledger", url, *SPAN).out.splitlines()

    assert "no room here for: estimated, cached" in told
    assert max(map(len, told)) <= 80


def test_csv(run: Run, spent: Database, url: str) -> None:
    """In CSV kinds of tokens can be added up, costs have every digit, and unknown ones are empty."""
    del spent
    told = list(csv.DictReader(run("report", "--ledger", url, *SPAN, "--format", "csv").out.splitlines()))

    wanted = ("key", "model", "cost_usd", "input", "input_cached", "output", "images")
    assert [
        ["search", "gpt-4o", "0.02", "810", "200", "55", "0"],
        ["ops", r"\x1b[31m[bold]=\u202e🚀", "0.000000000001", "10", "0", "5", "0"],
        ["ops", "m-1", "", "10", "0", "5", "0"],
    ] == [[row[name] for name in wanted] for row in told]


def test_json(run: Run, spent: Database, url: str) -> None:
    """JSON has the names that the admin port has, and names of models as they came."""
    del spent
    done = run("report", "--ledger", url, *SPAN, "--by", "model", "--where", "key=ops", "--format", "json")
    told = json.loads(done.out, parse_float=Decimal)

    assert ("2026-01-31T00:00:00.000000Z", ["model"]) == (told["since"], told["by"])
    assert [(HOSTILE, Decimal("0.000000000001")), ("m-1", None)] == [
        (row["model"], row["cost_usd"]) for row in told["rows"]
    ]
    assert (2, 15) == (told["total"]["requests"], told["total"]["unpriced_tokens"])


def test_without_fields(run: Run, spent: Database, url: str) -> None:
    """By nothing, there is one row and no sum below it."""
    del spent
    told = run("report", "--ledger", url, *SPAN, "--by", "").out.splitlines()

    assert (6, "4") == (len(told), told[3].split()[0])


def test_quoted_names_of_tags(run: Run, spent: Database, url: str) -> None:
    """A heading that comes from the command line is as harmless as a name from a client."""
    del spent

    assert r"tag.\x1b[31m" in run("report", "--ledger", url, *SPAN, "--by", "tag.\x1b[31m").out


def test_by_minute(run: Run, ledger: Database, url: str) -> None:
    """A report may be by the minute, where exchanges tell of it."""
    keep(ledger, [a_chat(at(seconds=second)) for second in (0, 59, 60)])
    told = run("report", "--ledger", url, *SPAN, "--by", "minute").out.splitlines()

    assert [["2026-01-31T12:00:00Z", "2"], ["2026-01-31T12:01:00Z", "1"]] == [
        line.split()[:2] for line in told[3:5]
    ]


@pytest.mark.parametrize("argv", [(), ("--waste",), ("--where", "key=nobody")])
def test_nothing(run: Run, ledger: Database, url: str, argv: tuple[str, ...]) -> None:
    """Where there is nothing to tell, a sentence says so."""
    del ledger
    done = run("report", "--ledger", url, *SPAN, *argv)

    assert (0, "") == (done.code, done.err)
    assert done.out.endswith(" from 2026-01-31 00:00 to 2026-02-01 00:00 UTC\n")


WASTE = """\
2026-01-31 00:00 to 2026-02-01 00:00 UTC

cancelled or cut short, by key
key     requests  tokens     USD
------  --------  ------  ------
search         1      15  0.0100

cancelled: the client left before the answer's end
key     model   requests  tokens     USD
------  ------  --------  ------  ------
search  gpt-4o         1      15  0.0100

refused for rate limits: what comes after is a retry
key     model   requests
------  ------  --------
search  gpt-4o         1

written to a cache, and hardly read from it
                 tokens  tokens
key     model   written    read
------  ------  -------  ------
search  gpt-4o    1,000       0

"""


def test_waste(run: Run, ledger: Database, url: str) -> None:
    """Waste is told by what it is, and only what there is."""
    refused: dict[str, Any] = {
        "outcome": Outcome.CLIENT_ERROR,
        "status": 429,
        "error_type": "rate_limit_exceeded",
    }
    none: dict[str, Any] = {
        "usage": None,
        "usage_source": UsageSource.NONE,
        "cost_usd": None,
        "price_status": PriceStatus.NONE,
    }
    keep(
        ledger,
        [
            a_chat(outcome=Outcome.CLIENT_CLOSED),
            a_chat(**refused, **none),
            a_chat(usage={"input_cache_write": 1000}),
        ],
    )

    assert (0, WASTE, "") == run("report", "--ledger", url, *SPAN, "--waste")
    rows = list(
        csv.DictReader(run("report", "--ledger", url, *SPAN, "--waste", "--format", "csv").out.splitlines())
    )
    assert ["keys", "cancelled", "rate_limited", "unread"] == [row["waste"] for row in rows]
    told = json.loads(run("report", "--ledger", url, *SPAN, "--waste", "--format", "json").out)
    assert "2026-01-31T00:00:00.000000Z" == told["since"]
    assert [] == told["cut_short"]
    assert ["search", 1, 0, 1, 15] == [
        *(told["cancelled"][0][name] for name in ("key", "requests")),
        *(told["rate_limited"][0][name] for name in ("tokens", "errors")),
        told["keys"][0]["tokens"],
    ]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--where", "x"), "--where: got 'x', expected a field and a value, such as key=search-team"),
        (("--where", "bogus=1"), "got the field 'bogus', expected one of key, model, "),
        (("--by", "\x1b[31m"), r"got the field '\x1b[31m', expected one of key, model, "),
        (("--since", "soon"), "--since: got 'soon', expected how long ago, "),
        (("--until", "soon"), "--until: got 'soon', expected how long ago, "),
        (("--since", "1h", "--until", "2h"), "--since: got a moment after --until, expected one before it"),
        (("--by", "minute"), "minute: got a span of 168 hours, expected 48 at most"),
        (("--waste", "--by", "key"), "--waste: got --by or --where beside it, expected neither"),
        (("--ledger", "off"), "the ledger is off, expected its URL in ledger.url or --ledger"),
    ],
)
def test_wrong_arguments(run: Run, ledger: Database, url: str, argv: tuple[str, ...], said: str) -> None:
    """A wrong argument is told with what was expected, and the exit code is 2."""
    del ledger
    done = run("report", "--ledger", url, *argv)

    assert (2, "") == (done.code, done.out)
    assert done.err.startswith(f"meter: {said}")


def test_wrong_ledgers(run: Run, tmp_path: Path) -> None:
    """A URL that is no ledger's is a wrong command line; a ledger that cannot be had is a failure."""
    (tmp_path / "text").write_text("This is no database, however long it is read. " * 20)
    none, text = f"sqlite:///{tmp_path / 'none.db'}", f"sqlite:///{tmp_path / 'text'}"

    told = {url: run("report", "--ledger", url) for url in ("mysql://h/d", none, text, DOWN)}

    assert [2, 1, 1, 1] == [done.code for done in told.values()]
    assert [""] * 4 == [done.out for done in told.values()]
    assert f"meter: {tmp_path}/none.db: there is no ledger; `meter serve` makes it, " in told[none].err
    assert f"meter: {tmp_path}/text: file is not a database\n" == told[text].err
    assert ("secret" in told[DOWN].err, "onnection refused" in told[DOWN].err) == (False, True)
    assert all("Traceback" not in done.err for done in told.values())


DOWN = "postgresql://u:secret@127.0.0.1:1/meter"


def test_newer_ledger(run: Run, ledger: Database, url: str) -> None:
    """A ledger that a newer Meter wrote is not read."""
    with ledger.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    done = run("report", "--ledger", url)

    assert (1, "") == (done.code, done.out)
    assert "the ledger has version 9999, which is newer than" in done.err


def test_ledger_of_the_settings(run: Run, spent: Database, url: str, tmp_path: Path) -> None:
    """Without an option, the ledger is the one of the settings."""
    del spent
    file = tmp_path / "meter.yaml"
    file.write_text(f"ledger: {{url: '{url}'}}\n")

    assert TABLE == run("report", "--config", str(file), *SPAN).out


def test_default_span(run: Run, ledger: Database, url: str) -> None:
    """Without an option, the last seven days are told."""
    keep(ledger, [a_chat(NOON)])

    assert run("report", "--ledger", url).out.startswith("no request ended from ")
