"""Lines that would give a price to models that lack one."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from meter.prices.file import of_text
from meter.prices.lacking import with_line

HOSTILE = 'x", "\x1b[31m\u202e: {é🚀'


@pytest.mark.parametrize(
    ("used", "prices"),
    [
        ({"usage": {"input": 9, "output": 2}}, "per_million_tokens: {input: ?, output: ?}"),
        (
            {"usage": {"input": 1}, "units": {"searches": 2.0}},
            "per_million_tokens: {input: ?}, per_search: ?",
        ),
        ({"usage": {}, "units": {"images": 1.0, "audio_seconds": 3.0}}, "per_image: ?, per_second: ?"),
        ({"units": {"characters": 1.0, "of a newer Meter": 1}}, "per_character: ?"),
        ({"usage": {}, "units": {}}, "per_request: ?"),
        ({}, "per_request: ?"),
    ],
)
def test_names_what_was_used(used: dict[str, Any], prices: str) -> None:
    """A line has a ? for each kind and unit that was used, or for a request where nothing was."""
    lacking = {"upstream": "a", "model": "m", **used}

    assert {**lacking, "line": f'  - {{model: "m", upstream: "a", {prices}}}'} == with_line(lacking)


def test_no_model() -> None:
    """Requests that named no model have no line."""
    assert with_line({"upstream": "a", "model": "none"})["line"] is None


def test_any_name() -> None:
    """Whatever a model is called, the line shows nothing that hides, and is YAML of that very name."""
    line = with_line({"upstream": HOSTILE, "model": HOSTILE})["line"]
    file = f"currency: USD\nprices:\n{line.replace('?', '1')}\n"

    assert line.isprintable()
    assert [{"model": HOSTILE, "upstream": HOSTILE, "per_request": 1}] == yaml.safe_load(file)["prices"]
    assert {HOSTILE} == of_text("prices.yaml", file.encode()).models()
