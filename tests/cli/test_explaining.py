"""`meter prices show`: what a model costs, who says so, and what that rests on."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cli.conftest import Run

PRICES = """
currency: USD
prices:
  - model: "m-*"
    upstream: apiyi
    per_million_tokens: {input: 2, input_cached: 0.5, output: 8}
    tiers: [{above_input_tokens: 200000, per_million_tokens: {input: 4, output: 12}}]
    service_tiers:
      batch: {per_million_tokens: {input: 1, output: 4}}
      flex: {per_million_tokens: {input: 1, output: 4}}
    per_search: 0.01
    valid_from: 2026-01-01
    valid_until: 2999-12-31
    source: https://example.com/prices
  - {model: image, per_image: 0.04}
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give settings with an upstream, a deployment of its own name, and a price file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prices.yaml").write_text(PRICES)
    (tmp_path / "meter.yaml").write_text(
        "upstreams: [{name: apiyi, base_url: http://h/v1, models: {prod: m-1}}]\n"
        "prices: {files: [prices.yaml]}\n"
    )
    return "meter.yaml"


SHOWN = """\
model   prod at upstream apiyi
entry   m-*
status  exact: the price there
source  REVISION
origin  https://example.com/prices
valid   from 2026-01-01 until 2999-12-31

USD per million tokens
service      input                  input
tier         tokens         input  cached  output
-----------  -------------  -----  ------  ------
standard     any             2.00    0.50    8.00
standard     above 200,000   4.00    -      12.00
batch, flex  any             1.00    -       4.00

Also 0.01 USD for each search.
Without a price of their own: input_cache_write as input, input_cache_write_5m
as input, input_cache_write_1h as input, output_reasoning as output.
"""


def test_shown(run: Run, settings: str, terminal: Callable[[int | None], None]) -> None:
    """Entry, status, source, origin, days, service tiers, long inputs and fall-backs are all told."""
    terminal(80)
    done = run("prices", "show", "prod", "--upstream", "apiyi", "--config", settings)
    source = next(line for line in done.out.splitlines() if line.startswith("source"))

    assert (0, SHOWN.replace("source  REVISION", source), "") == done
    assert "prices.yaml sha256:" in source


def test_json(run: Run, settings: str) -> None:
    """JSON has the same in members."""
    done = run("prices", "show", "m-x", "--upstream", "apiyi", "--config", settings, "--format", "json")
    told = json.loads(done.out, parse_float=Decimal)

    wanted = ("model", "entry", "upstream", "provider", "status", "origin", "valid_from", "valid_until")
    assert [
        "m-x",
        "m-*",
        "apiyi",
        None,
        "exact",
        "https://example.com/prices",
        "2026-01-01",
        "2999-12-31",
    ] == [told[name] for name in wanted]
    assert Decimal("0.5") == told["per_million_tokens"]["input_cached"]
    assert ("input", "output") == (
        told["fall_backs"]["input_cache_write"],
        told["fall_backs"]["output_reasoning"],
    )


def test_csv(run: Run, settings: str) -> None:
    """CSV has a row for each amount, with the kind of tokens whose price is taken where it has none."""
    done = run("prices", "show", "m-x", "--upstream", "apiyi", "--config", settings, "--format", "csv")
    told = list(csv.reader(done.out.splitlines()))

    assert ["what", "usd", "per", "service_tier", "input_tokens", "like"] == told[0]
    assert ["input_cached", "0.5", "million tokens", "", "", ""] in told
    assert ["input", "4", "million tokens", "", "above 200,000", ""] in told
    assert ["output_reasoning", "4", "million tokens", "batch", "", "output"] in told
    assert ["searches", "0.01", "search", "", "", ""] in told


def test_units_alone(run: Run, settings: str) -> None:
    """A model that is not priced by tokens is told in a sentence."""
    told = run("prices", "show", "image", "--config", settings).out

    assert told.endswith("valid   no dates told\n\n0.04 USD for each image.\n")


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        ((), "list: the provider is not known, so the list price of the model's maker"),
        (("--provider", "openai"), "exact: the price there"),
    ],
)
def test_catalogue(run: Run, argv: tuple[str, ...], status: str) -> None:
    """It is said whether a price is the seller's or the list price of the maker."""
    done = run("prices", "show", "gpt-4o", *argv)

    assert (0, "") == (done.code, done.err)
    assert f"status  {status}\nsource  genai-prices " in done.out


@pytest.mark.parametrize("provider", ["gcp.gemini", "google"])
def test_names_of_providers(run: Run, provider: str) -> None:
    """A provider may be called by Meter's name or by the catalogue's."""
    done = run("prices", "show", "gemini-2.5-pro", "--provider", provider)

    assert (0, "model   gemini-2.5-pro at provider gcp.gemini") == (done.code, done.out.splitlines()[0])


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("gpt-4oo",), "no price is known for 'gpt-4oo'; similar: gpt-4o, "),
        (
            ("gpt-4o", "--provider", "anthropic"),
            "no price is known for 'gpt-4o' at provider anthropic; others have one: ",
        ),
        (("\x1b[31m",), r"no price is known for '\x1b[31m'; `meter prices list` has all"),
        (("y" * 5000,), f"no price is known for '{'y' * 80}...'; `meter prices list` has all"),
    ],
)
def test_none(run: Run, argv: tuple[str, ...], said: str) -> None:
    """Where there is no price, similar names are told, or who else has it."""
    done = run("prices", "show", *argv)

    assert (1, "") == (done.code, done.out)
    assert done.err.startswith(f"meter: {said}")


def test_unknown_upstream(run: Run, settings: str) -> None:
    """An upstream that the settings do not have is a wrong command line."""
    said = "meter: --upstream: got 'x', expected one of apiyi\n"
    none = "meter: --upstream: got 'x', expected settings (--config) with upstreams\n"

    assert (2, "", said) == run("prices", "show", "m", "--upstream", "x", "--config", settings)
    assert (2, "", none) == run("prices", "show", "m", "--upstream", "x")
