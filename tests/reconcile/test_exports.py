"""Exports in the shapes that providers document, with numbers that are made up."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meter.reconcile import PROVIDERS, Billed, BillError, read
from meter.reconcile.formats import billed
from meter.reconcile.openai import FORMATS
from meter.reconcile.records import of_pages

EXPORTS = Path(__file__).parent / "exports"
FIRST = date(2026, 11, 1)
SECOND = date(2026, 11, 2)


def usd(model: str | None, amount: str, *, item: str | None = None, batch: bool = False) -> Billed:
    """Give a charge of the first day."""
    return Billed(day=FIRST, model=model, item=item, cost_usd=Decimal(amount), batch=batch)


READ: dict[str, list[Billed]] = {
    "openai_usage.csv": [
        Billed(
            day=FIRST,
            model="gpt-4o-2024-08-06",
            usage={"input": 53440, "input_cached": 5760, "output": 10646},
            requests=10,
        ),
        Billed(
            day=FIRST,
            model="gpt-4o-mini-2024-07-18",
            usage={"input": 3000, "output": 900},
            requests=3,
            batch=True,
        ),
    ],
    "openai_costs.csv": [
        usd("gpt-4o-2024-08-06", "0.1336"),
        usd("gpt-4o-2024-08-06", "0.0072"),
        usd("gpt-4o-2024-08-06", "0.10646"),
        usd(None, "0.05", item="web search tool calls"),
    ],
    "openai_costs_by_day.csv": [
        usd(None, "0.895874"),
        Billed(day=SECOND, cost_usd=Decimal("0.56177125")),
    ],
    "openai_usage.json": [
        Billed(
            day=FIRST,
            model="gpt-4o-mini-2024-07-18",
            usage={"input": 100, "input_cached": 800, "input_cache_write": 100, "output": 500},
            requests=5,
        ),
        Billed(
            day=FIRST,
            model="gpt-4o-mini-2024-07-18",
            usage={"input": 2000, "output": 200},
            requests=2,
            batch=True,
        ),
    ],
    "openai_costs.json": [
        usd("gpt-4o-2024-08-06", "0.06"),
        usd("gpt-audio-mini-2025-12-15", "0.1308043800000000012"),
        usd(None, "1.5", item="assistants api | file search"),
    ],
    "anthropic_usage.csv": [
        Billed(
            day=FIRST,
            model="claude-haiku-4-5-20251001",
            usage={
                "input": 46981,
                "input_cached": 5000,
                "input_cache_write_5m": 15969,
                "input_cache_write_1h": 100,
                "output": 16932,
            },
        ),
        Billed(
            day=FIRST,
            model="claude-haiku-4-5-20251001",
            usage={"input": 1000, "output": 500},
            batch=True,
        ),
    ],
    "anthropic_costs.csv": [
        usd("claude-haiku-4-5", "0.05"),
        usd("claude-haiku-4-5", "0.08"),
        usd("claude-3-5-sonnet-2024-10-22", "1.25"),
        usd(None, "0.02", item="web_search"),
    ],
    "anthropic_usage.json": [
        Billed(
            day=FIRST,
            model="claude-haiku-4-5-20251001",
            usage={
                "input": 1500,
                "input_cached": 200,
                "input_cache_write_5m": 500,
                "input_cache_write_1h": 1000,
                "output": 500,
            },
        ),
    ],
    "anthropic_costs.json": [
        usd("claude-haiku-4-5-20251001", "1.2378912"),
        usd(None, "0.1", item="Web Search Usage"),
    ],
}


@pytest.mark.parametrize("name", READ)
def test_exports_are_read_as_they_are_documented(name: str) -> None:
    """Each documented export is recognised by its columns and read to the last digit."""
    assert READ[name] == read(name.partition("_")[0], EXPORTS / name)


def test_every_export_has_its_expectation() -> None:
    """No export lies beside the tests unread."""
    assert sorted(READ) == sorted(path.name for path in EXPORTS.iterdir())


def test_tabs_semicolons_and_a_byte_order_mark_are_no_obstacle(tmp_path: Path) -> None:
    """A table that went through a spreadsheet reads as it did before."""
    plain = (EXPORTS / "openai_usage.csv").read_text()
    for delimiter in ("\t", ";"):
        path = tmp_path / "export.csv"
        path.write_text("\ufeff" + plain.replace(",", delimiter).replace("\n", "\r\n"), "utf-8")
        assert READ["openai_usage.csv"] == read("openai", path)


def test_an_older_export_of_usage_is_read(tmp_path: Path) -> None:
    """The names of OpenAI's former activity export mean what the newer ones do."""
    path = tmp_path / "activity.json"
    row = {
        "date": "2026-11-01",
        "snapshot_id": "gpt-4-0613",
        "n_requests": 2,
        "n_context_tokens_total": 30,
        "n_generated_tokens_total": 12,
    }
    path.write_text(json.dumps({"data": [row]}))
    expected = Billed(day=FIRST, model="gpt-4-0613", usage={"input": 30, "output": 12}, requests=2)
    assert [expected] == read("openai", path)


def test_pages_that_were_put_in_a_list_are_read(tmp_path: Path) -> None:
    """Answers saved one after the other in a JSON list count as one export."""
    page = json.loads((EXPORTS / "openai_usage.json").read_text())
    path = tmp_path / "pages.json"
    path.write_text(json.dumps([page, page]))
    assert READ["openai_usage.json"] * 2 == read("openai", path)


def test_an_export_without_rows_bills_nothing(tmp_path: Path) -> None:
    """Days without traffic are no mistake."""
    path = tmp_path / "empty.json"
    path.write_text('{"data": [{"start_time": 1793491200, "results": []}], "has_more": false}')
    assert [] == read("openai", path)


UNKNOWN = (
    "{path}: no export that is known: got the columns what, when; expected those of OpenAI's costs: "
    "start_time_iso or date or day or start_time, amount_value or amount.value or cost_usd or cost; "
    "or OpenAI's usage: start_time_iso or date or day or start_time, "
    "num_model_requests or num_requests or n_requests"
)
HEADER = "start_time_iso,amount_value,amount_currency,line_item\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            HEADER + "2026-11-01,a lot,usd,gpt-4o\n",
            "{path}:2: amount_value: got 'a lot', expected an amount, such as 1.25",
        ),
        (
            HEADER + "2026-11-01,1,usd,gpt-4o\n01.11.2026,1,usd,gpt-4o\n",
            "{path}:3: start_time_iso: got '01.11.2026', {date}",
        ),
        (
            HEADER + ",1,usd,gpt-4o\n",
            "{path}:2: start_time_iso: got nothing, {date}",
        ),
        (HEADER + "2026-11-01,1,eur,gpt-4o\n", "{path}:2: amount_currency: got 'eur', expected usd"),
        (
            "date,model,n_requests\n2026-11-01,gpt-4o,-1\n",
            "{path}:2: n_requests: got '-1', expected a whole number, 0 or more",
        ),
        (
            "date,model,n_requests\n2026-11-01,gpt-4o,1.5\n",
            "{path}:2: n_requests: got '1.5', expected a whole number, 0 or more",
        ),
        (
            "when,what\n1,2\n",
            UNKNOWN,
        ),
        ('{"data": [\n', "{path}:2: no JSON: Expecting value"),
        ('{"data": ["x"]}', "{path}: data[0]: got a text, expected the JSON of a usage or cost report"),
        (
            '{"data": [{"start_time": 1793491200, "results": [{"num_model_requests": true}]}]}',
            "{path}: data[0].results[0]: num_model_requests: got 'True', expected a whole number, 0 or more",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, complaint: str, tmp_path: Path) -> None:
    """A wrong value is told with file and line or member, an unknown export with its columns."""
    path = tmp_path / "export"
    path.write_text(text)
    with pytest.raises(BillError) as raised:
        read("openai", path)
    expected = "expected a date, such as 2026-01-31, or Unix seconds"
    assert complaint.format(path=path, date=expected) == str(raised.value)


def test_files_that_are_not_there_or_no_text_are_told(tmp_path: Path) -> None:
    """A file that cannot be read is a sentence, and no traceback."""
    with pytest.raises(BillError, match="cannot be read: No such file"):
        read("openai", tmp_path / "nowhere")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BillError, match="no UTF-8 text"):
        read("openai", tmp_path / "binary")


@pytest.mark.parametrize("amount", ["$1,234.50", "1,234.50", "1234.5", "1.2345e3"])
def test_amounts_may_be_written_for_people(amount: str, tmp_path: Path) -> None:
    """Thousands may have commas, and dollars a sign."""
    path = tmp_path / "costs.csv"
    path.write_text(f'{HEADER}2026-11-01,"{amount}",usd,gpt-4o\n')
    assert [usd("gpt-4o", "1234.5")] == read("openai", path)


@pytest.mark.parametrize(
    "moment",
    ["2026-11-01", "2026-11-01 23:59", "2026-11-01T00:00:00Z", "2026-11-02T01:00:00+02:00", "1793491200.0"],
)
def test_a_day_is_one_of_utc(moment: str, tmp_path: Path) -> None:
    """Moments of any zone, and Unix seconds, fall on their day in UTC."""
    path = tmp_path / "costs.csv"
    path.write_text(f"{HEADER}{moment},1,usd,gpt-4o\n")
    assert [usd("gpt-4o", "1")] == read("openai", path)


@pytest.mark.parametrize(
    ("item", "model"),
    [
        ("gpt-4o-mini-2024-07-18, cached input", "gpt-4o-mini-2024-07-18"),
        ("gpt-image-1 image, output", "gpt-image-1"),
        ("whisper-1", "whisper-1"),
        ("batch | gpt-4o, input", "gpt-4o"),
        ("Vector storage", None),
    ],
)
def test_line_items_have_the_model_before_the_comma(item: str, model: str | None, tmp_path: Path) -> None:
    """A line item names a model and a kind, or something that is no model."""
    path = tmp_path / "costs.csv"
    path.write_text(f'{HEADER}2026-11-01,1,usd,"{item}"\n')
    expected = usd(model, "1", item=None if model else item, batch=item.startswith("batch"))
    assert [expected] == read("openai", path)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("Claude Opus 4.6", "claude-opus-4-6"),
        ("Claude Haiku 3.5", "claude-3-5-haiku"),
        ("Claude Haiku 3", "claude-3-haiku"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4-20250514"),
    ],
)
def test_names_for_people_become_ids(name: str, model: str, tmp_path: Path) -> None:
    """What Anthropic's cost export calls a model is spelled as its id is."""
    path = tmp_path / "costs.csv"
    path.write_text(f"usage_date_utc,model,cost_usd\n2026-11-01,{name},1\n")
    assert [usd(model, "1")] == read("anthropic", path)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["data", "results", "amount", "value", "start_time", "num_model_requests", "model"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(values)
def test_whatever_an_api_answers_is_read_or_told(value: Any) -> None:
    """JSON of any shape is a bill or a sentence, never another error."""
    try:
        lines = billed(of_pages(value, "answer"), FORMATS, "answer")
    except BillError as error:
        told = str(error)
    else:
        told = "answer" if all(isinstance(line, Billed) for line in lines) else "something else"
    assert told.startswith("answer")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=200) | st.text(max_size=100).map(lambda text: HEADER + text))
def test_whatever_a_file_holds_is_read_or_told(tmp_path: Path, text: str) -> None:
    """Any text is a bill or a sentence, never another error."""
    path = tmp_path / "export"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    for provider in PROVIDERS:
        try:
            lines = read(provider, path)
        except BillError as error:
            told = str(error)
        else:
            told = str(path) if all(isinstance(line, Billed) for line in lines) else "something else"
        assert told.startswith(str(path))
