"""`meter reprice`: the past at the prices that are known now."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from ledger.kept import a_chat, keep

from meter import reprice as repricing
from meter.exchange import PriceStatus
from meter.ledger.reading import usage
from meter.since import moment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cli.conftest import Run

    from meter.ledger.database import Database

SPAN = ("--since", "2026-01-31", "--until", "2026-02-01")
MISSING: dict[str, Any] = {"cost_usd": None, "price_status": PriceStatus.MISSING}


@pytest.fixture
def settings(ledger: Database, url: str, tmp_path: Path) -> str:
    """Give settings whose price file knows less, more and other prices than the ledger was priced by."""
    names = {"known": {}, "new": MISSING, "unknown": MISSING, "lost": {}}
    keep(ledger, [a_chat(request_model=name, model=name, **facts) for name, facts in names.items()])
    (tmp_path / "prices.yaml").write_text(
        "currency: USD\nprices:\n"
        "  - {model: known, per_million_tokens: {input: 2000, output: 0}}\n"
        "  - {model: new, per_million_tokens: {input: 1000, output: 1000}}\n"
    )
    file = tmp_path / "meter.yaml"
    file.write_text(f"ledger: {{url: '{url}'}}\nprices: {{files: [prices.yaml], catalogue: off}}\n")
    return str(file)


TABLE = """\
priced anew
                              USD     USD         USD        tokens
upstream  model  requests  before   after  difference  newly priced
--------  -----  --------  ------  ------  ----------  ------------
openai    new           1  0.0000  0.0150      0.0150            15
openai    known         1  0.0100  0.0200      0.0100             0

without a price now: the old cost stays
                              USD
upstream  model  requests    kept
--------  -----  --------  ------
openai    lost          1  0.0100

without a price still
upstream  model    requests  tokens
--------  -------  --------  ------
openai    unknown         1      15

"""


def cost(ledger: Database) -> Decimal | None:
    """Return what everything cost, by the ledger."""
    since, until = (moment(day, None) for day in ("2026-01-31", "2026-02-01"))  # type: ignore[arg-type] # dates
    return usage(ledger, by=(), since=since, until=until).total.cost_usd


def test_difference(run: Run, settings: str, ledger: Database) -> None:
    """What would change is shown, and nothing is written."""
    summary = (
        "2 of 4 requests would change: 0.0200 USD before, 0.0450 USD after.\n"
        "Nothing was written; --write does it.\n"
    )

    assert (0, TABLE + summary, "") == run("reprice", "--config", settings, *SPAN)
    assert Decimal("0.02") == cost(ledger)


def test_write(run: Run, settings: str, ledger: Database) -> None:
    """Written, the ledger has the new costs, and a second run finds nothing to do."""
    summary = "2 of 4 requests changed: 0.0200 USD before, 0.0450 USD after.\n"

    assert (0, TABLE + summary, "") == run("reprice", "--config", settings, *SPAN, "--write")
    assert Decimal("0.045") == cost(ledger)
    again = run("reprice", "--config", settings, *SPAN, "--write")
    assert again.out.endswith("\nNone of 4 requests changes: 0.0450 USD.\n")


def test_nothing(run: Run, ledger: Database, url: str) -> None:
    """An empty span is told, and that nobody named settings."""
    del ledger
    done = run("reprice", "--ledger", url, *SPAN)

    assert (0, "no request ended from 2026-01-31 00:00 to 2026-02-01 00:00 UTC\n") == (done.code, done.out)
    assert "meter: no settings were named (--config): prices are those of the catalogue alone\n" == done.err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ((), "nothing was written"),
        (("--write",), "what was written stays, and another run does the rest"),
    ],
)
def test_interrupt(
    run: Run, settings: str, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...], said: str
) -> None:
    """Who breaks it off is told what became of the ledger, without a traceback."""

    def interrupted(*_: object, progress: Callable[[int], None], **__: object) -> None:
        progress(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(repricing, "reprice", interrupted)

    assert (130, "", f"meter: stopped: {said}\n") == run("reprice", "--config", settings, *SPAN, *argv)


def test_no_span(run: Run) -> None:
    """The span must be said: nobody reprices everything by mistake."""
    said = "meter: --since: got nothing, expected how long ago or when, such as 7d or 2026-01-31\n"

    assert (2, "", said) == run("reprice")


def test_wrong_price_file(run: Run, settings: str, tmp_path: Path) -> None:
    """A wrong price file is a wrong configuration, told with its line."""
    (tmp_path / "prices.yaml").write_text("currency: USD\nprices:\n  - {model: x, per_minute: 1}\n")
    done = run("reprice", "--config", settings, *SPAN)

    assert (2, "", True) == (done.code, done.out, "prices.yaml:3: prices[0].per_minute: " in done.err)
