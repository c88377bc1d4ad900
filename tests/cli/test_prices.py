"""`meter prices list` and `check`: all prices that are known, and what is wrong with a file."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.conftest import Run

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
PRICES = r"""
currency: USD
prices:
  - model: "m-*"
    upstream: apiyi
    per_million_tokens: {input: 2, output: 8, input_audio: 32.5}
    tiers: [{above_input_tokens: 200000, per_million_tokens: {input: 4}}]
    service_tiers: {batch: {per_million_tokens: {input: 1}}}
    valid_from: 2026-01-01
    valid_until: 2026-12-31
    hours: 00:00-23:45
  - {model: "img[1]", per_image: 0.04, per_request: 0.001}
  - {model: "a\e[31m\u202eb", per_million_tokens: {input: 0.0375}}
"""


@pytest.fixture
def settings(tmp_path: Path) -> str:
    """Give settings with a price file and no catalogue."""
    (tmp_path / "prices.yaml").write_text(PRICES)
    file = tmp_path / "meter.yaml"
    file.write_text("prices: {files: [prices.yaml], catalogue: off}\n")
    return str(file)


TABLE = """\
USD per million tokens
model             place   input  cached  output  other
----------------  -----  ------  ------  ------  -------------------------------
a\\x1b[31m\\u202eb  any    0.0375       -    -     -
img[1]            any    -            -    -     image 0.04, request 0.001
m-*               apiyi  2.00         -    8.00  input_audio 32.50, above
                                                 200,000, batch
no room here for: revision, source, valid

"""


def test_table(run: Run, settings: str, terminal: Callable[[int | None], None]) -> None:
    """A line for each price in the order in which they are asked, as harmless as it may be."""
    terminal(80)

    assert (0, TABLE, "") == run("prices", "list", "--config", settings)


def test_csv(run: Run, settings: str) -> None:
    """In CSV each price is a row with all its digits."""
    told = list(csv.reader(run("prices", "list", "--config", settings, "--format", "csv").out.splitlines()))

    period = "from 2026-01-01 until 2026-12-31 daily 00:00-23:45"
    assert [
        ["model", "place", "input", "cached", "output", "other", "valid"],
        [r"a\x1b[31m\u202eb", "any", "0.0375", "", "", "", ""],
        ["img[1]", "any", "", "", "", "image 0.04, request 0.001", ""],
        ["m-*", "apiyi", "2", "", "8", "input_audio 32.50, above 200,000, batch", period],
    ] == [row[:7] for row in told]


def test_json(run: Run, settings: str) -> None:
    """In JSON each price has all that is known of it."""
    done = run("prices", "list", "--config", settings, "--model", "m-*", "--format", "json")
    (told,) = json.loads(done.out, parse_float=Decimal)["prices"]

    assert ("m-*", "apiyi", None) == (told["model"], told["upstream"], told["provider"])
    assert {"input": 2, "output": 8, "input_audio": Decimal("32.5")} == told["per_million_tokens"]
    assert [{"above_input_tokens": 200000, "per_million_tokens": {"input": 4}}] == told["tiers"]
    assert {"batch": {"per_million_tokens": {"input": 1}, "tiers": []}} == told["service_tiers"]
    assert ("2026-01-01", "2026-12-31", "00:00-23:45") == (
        told["valid_from"],
        told["valid_until"],
        told["hours"],
    )


@pytest.mark.parametrize("provider", ["gcp.gemini", "google"])
def test_provider(run: Run, provider: str) -> None:
    """A provider may be called by Meter's name or by the catalogue's."""
    done = run("prices", "list", "--provider", provider, "--model", "gemini-2.5-*", "--format", "json")

    assert {"google"} == {price["provider"] for price in json.loads(done.out)["prices"]}


def test_none(run: Run) -> None:
    """Where no price is like what is asked for, that is said beside the output, which stays empty."""
    said = "meter: no price is like that: `meter prices list` without options has all\n"

    assert (0, "", said) == run("prices", "list", "--model", "nobody-sells-*")


def test_wrong_configuration(run: Run, tmp_path: Path) -> None:
    """Settings that are not there, and a price file that is wrong, exit with 2."""
    file = tmp_path / "meter.yaml"
    file.write_text("prices: {files: [none.yaml]}\n")

    told = [run("prices", "list", "--config", str(path)) for path in (file, tmp_path / "none")]

    assert [(2, ""), (2, "")] == [(done.code, done.out) for done in told]
    assert f"{tmp_path}/none.yaml: cannot be read" in told[0].err
    assert f"{tmp_path}/none: cannot be read" in told[1].err


def test_check(run: Run, tmp_path: Path) -> None:
    """A good file is ok; what is wrong with another is told line by line, and the exit code is 2."""
    good, wrong = str(EXAMPLES / "prices.yaml"), tmp_path / "wrong.yaml"
    wrong.write_text("currency: USD\nprices:\n  - {model: x, per_million_tokens: {input: 2000000}}\n")

    assert (0, f"{good}: ok\n", "") == run("prices", "check", good)
    done = run("prices", "check", str(wrong))
    assert (2, "") == (done.code, done.out)
    assert done.err.startswith(f"{wrong}:3: error: prices[0].per_million_tokens.input: ")
