"""Rows as CSV and JSON."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.cli.exports import as_csv, as_json


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        (0, "0"),
        (True, "True"),
        (Decimal("0.000000000001"), "0.000000000001"),
        (Decimal("10.500"), "10.5"),
        (Decimal("100.000000000000"), "100"),
        (Decimal("1E+3"), "1000"),
        (Decimal("123456789012345678901234567890.123"), "123456789012345678901234567890.123"),
        (datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31T12:00:00Z"),
        (("chat", "responses"), "chat; responses"),
        ("=1+1", "'=1+1"),
        ("@x", "'@x"),
        ("\x1b[31m", r"\x1b[31m"),
        ('a,"b"', 'a,"b"'),
    ],
)
def test_cells(value: object, cell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A cell has every digit, nothing where nothing is known, and neither formulas nor signs that hide."""
    as_csv(("it", "end"), [{"it": value, "end": 1}])

    assert [["it", "end"], [cell, "1"]] == list(csv.reader(capsys.readouterr().out.splitlines()))


def test_amounts_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Amounts are numbers with all their digits."""
    as_json({"usd": [Decimal("0.000000000001"), Decimal("1E+3")], "none": None})

    told = json.loads(capsys.readouterr().out, parse_float=Decimal)
    assert {"usd": [Decimal("0.000000000001"), 1000], "none": None} == told


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_texts_in_json(text: str) -> None:
    """A text comes back as it was, and no control sign of it is written as it is."""
    written: Any = _written_by(text)

    assert text == json.loads(written)
    assert not {sign for sign in written if sign < " " or "\x7f" <= sign <= "\x9f"} - {"\n"}


def _written_by(value: object) -> str:
    with pytest.MonkeyPatch.context() as patch:
        written: list[str] = []
        patch.setattr("sys.stdout", type("Out", (), {"write": written.append}))
        as_json(value)
    return "".join(written)
