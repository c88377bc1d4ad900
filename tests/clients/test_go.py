"""Programs in Go, with its standard library, print through Meter what they print directly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tools import needed

if TYPE_CHECKING:
    from collections.abc import Callable

    from clients.lines import Lines
    from stage import House

pytestmark = pytest.mark.real

FOLDER = Path(__file__).parent / "go"
ALONE = {"GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local"}


@pytest.mark.parametrize("program", ["chat.go", "stream.go"])
def test_prints_the_same(house: House, lines: Lines, run: Callable[..., str], program: str) -> None:
    """A program prints what it prints directly, and is metered."""
    command = [needed("go", "apt-get install golang"), "run", str(FOLDER / program)]

    expected = run(command, house.upstream_url, **ALONE)

    assert len(expected) > 20
    assert expected == run(command, house.url, **ALONE)
    line = lines.one()
    assert ("ok", "reported", "gpt-4o", program == "stream.go") == (
        line["outcome"],
        line["usage_source"],
        line["request_model"],
        line["stream"],
    )
