"""The commands that the documents show do what they are shown for."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ledger.kept import a_chat, keep

if TYPE_CHECKING:
    from cli.conftest import Run

    from meter.ledger.database import Database

ROOT = Path(__file__).parent.parent.parent
EXPORTS = Path(__file__).parent.parent / "reconcile" / "exports"
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
SHOWN = sorted(
    {
        line.partition(" #")[0].strip()
        for document in DOCUMENTS
        for block in re.findall(r"```sh\n(.*?)```", document.read_text(), re.DOTALL)
        for line in block.splitlines()
        if re.match("meter (report|prices|reprice|reconcile) ", line)
    }
)


@pytest.fixture
def _at_work(ledger: Database, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be where somebody works: in a folder with exports, and a ledger with something in it."""
    keep(ledger, [a_chat()])
    for name, export in (("costs", "costs"), ("usage", "usage"), ("export", "usage")):
        (tmp_path / f"{name}.csv").write_bytes((EXPORTS / f"openai_{export}.csv").read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METER_LEDGER__URL", url)


@pytest.mark.usefixtures("_at_work")
@pytest.mark.parametrize("line", SHOWN)
def test_shown(run: Run, line: str) -> None:
    """A command of the documents succeeds on a ledger with something in it."""
    done = run(*shlex.split(line)[1:])

    if "reconcile" in line and "--file" not in line:  # it would ask the provider
        assert (1, True) == (done.code, "_ADMIN_KEY is not set" in done.err)
    else:
        assert (0, True) == (done.code, bool(done.out))


def test_something_is_shown() -> None:
    """The documents show each of these commands."""
    assert {"report", "reprice", "reconcile"} <= {line.split()[1] for line in SHOWN}
