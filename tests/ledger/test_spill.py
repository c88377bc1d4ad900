"""A spill keeps rows in a file, in their order, until they are done with."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from ledgers import an_exchange, columns

from meter.ledger.spill import Spill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEDGER = "postgresql://meter@db/meter"


@pytest.fixture
def spill(tmp_path: Path) -> Iterator[Spill]:
    """Give a spill with nothing in it."""
    spill = Spill(tmp_path, LEDGER)
    yield spill
    spill.close()


def some(count: int) -> list[dict[str, Any]]:
    """Give rows."""
    return [columns(an_exchange()) for _ in range(count)]


def all_of(spill: Spill, most: int = 1000) -> list[dict[str, Any]]:
    """Take everything out of a spill."""
    rows = []
    while part := spill.take(most):
        assert 0 == part.broken
        rows += part.rows
        spill.done(part)
    return rows


def files(folder: Path) -> list[Path]:
    """Give the files of a folder."""
    return sorted(folder.iterdir())


@pytest.mark.parametrize("most", [1, 3, 1000])
def test_rows_come_back(spill: Spill, tmp_path: Path, most: int) -> None:
    """Rows come back as they went in, first to last, and leave no file."""
    rows = some(10)
    assert (4, 6) == (spill.put(rows[:4]), spill.put(rows[4:]))
    assert rows == all_of(spill, most)
    assert [] == files(tmp_path)
    assert not spill.pending


def test_every_column_comes_back(spill: Spill) -> None:
    """What JSON has no type for is restored, to the last digit."""
    bare: dict[str, Any] = {
        "cost_usd": None,
        "provider_cost_usd": None,
        "key": "\r\n\x85 \u2028 \U0001f600",
        "tags": {},
    }
    rows = [
        columns(an_exchange()),
        columns(an_exchange(**bare)),
        columns(an_exchange(cost_usd=Decimal("1E-12"))),
    ]
    spill.put(rows)
    assert rows == all_of(spill)


def test_what_is_not_done_comes_again(spill: Spill) -> None:
    """Rows that were taken and are not in the database stay."""
    rows = some(2)
    spill.put(rows)
    assert spill.take(1) == spill.take(1)
    assert rows == all_of(spill)


def test_rows_that_come_meanwhile(spill: Spill, tmp_path: Path) -> None:
    """Rows may be put while others are taken; the file is removed after the last."""
    rows = some(3)
    spill.put(rows[:2])
    part = spill.take(1)
    assert part is not None
    spill.put(rows[2:])
    spill.done(part)
    assert rows[1:] == all_of(spill)
    assert [] == files(tmp_path)


def test_bound(tmp_path: Path) -> None:
    """A full spill says how many rows there was room for, and keeps those."""
    rows = some(3)
    tight = Spill(tmp_path, LEDGER, limit=2000)
    assert 1 <= tight.put(rows) < 3
    assert 0 == tight.put(rows)
    assert files(tmp_path)[0].stat().st_size <= 2000
    assert rows[:1] == all_of(tight)[:1]
    assert 1 <= tight.put(rows)
    tight.close()


def test_file_is_private(tmp_path: Path) -> None:
    """Nobody else may read what was spilled, nor look into a folder that was made for it."""
    inner = Spill(tmp_path / "state" / "meter", LEDGER)
    inner.put(some(1))
    folder = tmp_path / "state" / "meter"
    assert (0o700, 0o600) == (folder.stat().st_mode & 0o777, files(folder)[0].stat().st_mode & 0o777)
    inner.close()


def test_orphans_are_adopted(spill: Spill, tmp_path: Path) -> None:
    """A file of a process that is gone is taken over, one of a process that lives is not."""
    rows = some(4)
    gone, lives = Spill(tmp_path, LEDGER), Spill(tmp_path, LEDGER)
    gone.put(rows[:2])
    lives.put(rows[2:])
    gone.close()
    spill.adopt()
    spill.adopt()
    assert rows[:2] == all_of(spill)
    assert rows[2:] == all_of(lives)
    assert [] == files(tmp_path)
    lives.close()


def test_another_ledger(spill: Spill, tmp_path: Path) -> None:
    """Rows of another ledger that share the folder stay for it."""
    other = Spill(tmp_path, "postgresql://meter@db/other")
    other.put(some(1))
    other.close()
    spill.adopt()
    assert not spill.pending
    assert 1 == len(files(tmp_path))


BROKEN = (b"\n", b"{}\n", b"null\n", b"\xff\xfe\n", b'{"id":1}\n', b"[" * 100_000 + b"\n")


def test_broken_lines(spill: Spill, tmp_path: Path) -> None:
    """Lines that are no rows, and one that was cut off, are counted and cost no other."""
    rows = some(2)
    gone = Spill(tmp_path, LEDGER)
    gone.put(rows)
    gone.close()
    file = files(tmp_path)[0]
    first, second = file.read_bytes().splitlines(keepends=True)
    nested = first.replace(b'"upstream":"openai"', b'"upstream":{"a":1}')
    wrong = first.replace(b'"cost_usd":"', b'"cost_usd":"x')
    file.write_bytes(first + b"".join(BROKEN) + nested + wrong + second + second[:50])
    spill.adopt()
    part = spill.take(1000)
    assert part is not None
    assert (rows, len(BROKEN) + 3) == (part.rows, part.broken)
    spill.done(part)
    assert [] == files(tmp_path)


def test_endless_line(spill: Spill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with a hole in it, as a loss of power leaves one, is read piece by piece, and costs no row."""
    monkeypatch.setattr("meter.ledger.spill._MOST_READ", 1 << 20)
    rows = some(3000)
    gone = Spill(tmp_path, LEDGER)
    gone.put(rows)
    gone.close()
    file = files(tmp_path)[0]
    lines = file.read_bytes().splitlines(keepends=True)
    hole = b"\x00" * 5_000_000 + b"\n"
    file.write_bytes(b"".join(lines[:10]) + hole + b"".join(lines[10:]))
    spill.adopt()
    came, broken = [], 0
    while part := spill.take(2000):
        assert len(part.rows) <= 2000
        came += part.rows
        broken += part.broken
        spill.done(part)
    assert rows == came
    assert 1 <= broken <= 6
    assert [] == files(tmp_path)


@contextmanager
def files_of(size: int) -> Iterator[None]:
    """Let no file become larger than `size`, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_full_disk(spill: Spill) -> None:
    """What could not be written whole is not there in part, and what was there before stays."""
    rows = some(3)
    spill.put(rows[:1])
    with files_of(1500), pytest.raises(OSError, match="File too large"):
        spill.put(rows[1:])
    spill.put(rows[2:])
    assert [rows[0], rows[2]] == all_of(spill)


def _unreadable(*_: int) -> bytes:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_unreadable_file(spill: Spill, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be read is told once and left for later; what comes next has a file of its own."""
    first, second = some(2)
    spill.put([first])
    with monkeypatch.context() as broken:
        broken.setattr("os.pread", _unreadable)
        with pytest.raises(OSError, match="Input/output error"):
            spill.take(1)
    assert spill.take(1) is None
    spill.put([second])
    assert [second] == all_of(spill)
    spill.adopt()
    assert [first] == all_of(spill)


def test_no_folder(tmp_path: Path) -> None:
    """A folder that cannot be is an error, and one that is not there has no orphans."""
    (tmp_path / "file").touch()
    impossible = Spill(tmp_path / "file" / "folder", LEDGER)
    with pytest.raises(NotADirectoryError):
        impossible.put(some(1))
    absent = Spill(tmp_path / "absent", LEDGER)
    absent.adopt()
    assert absent.take(1) is None


PUT_AND_DIE = """
import os, sys
sys.path[:0] = ["tests", "."]
from pathlib import Path
from ledgers import an_exchange, columns
from meter.ledger.spill import Spill
Spill(Path(sys.argv[1]), sys.argv[2]).put([columns(an_exchange())] * 100)
os.kill(os.getpid(), 9)
"""


def test_kill(spill: Spill, tmp_path: Path) -> None:
    """What was put before a kill is there after it, and the file is free to be adopted."""
    argv = [sys.executable, "-c", PUT_AND_DIE, str(tmp_path), LEDGER]
    killed = subprocess.run(argv, check=False, timeout=60)  # noqa: S603 - our own arguments
    assert -signal.SIGKILL == killed.returncode
    spill.adopt()
    assert 100 == len(all_of(spill))
