"""What the database does not take is kept in a file until it does: JSON lines, one row each.

One file for each process, locked for as long as the process lives. A line is the operating system's as soon
as it is written, so that whoever kills the process loses nothing; a file that nobody locks is an orphan, and
adopted. Rows may well be in the database already: they have ids, and are added once. Used from two threads,
one that puts and one that takes.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from threading import Lock
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["LIMIT", "Part", "Spill"]

LIMIT = 256 * 1024 * 1024
"""Bytes of one file."""

_MOST_READ = 8 * 1024 * 1024
"""Bytes of lines that are taken at once; a longer one is none of ours."""

_RESTORED: tuple[tuple[str, Any], ...] = (
    ("timestamp", datetime.fromisoformat),
    ("cost_usd", Decimal),
    ("provider_cost_usd", Decimal),
)
"""What JSON has no type for."""

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Part:
    """Rows from the beginning of a file, and how many lines among them were none."""

    rows: list[dict[str, Any]]
    broken: int
    file: _File
    end: int


class _File:
    """A file that this process has locked; `taken` is how much of it is in the database."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self.taken = 0
        self.size = os.fstat(descriptor).st_size

    def append(self, lines: bytes) -> None:
        """Write lines at the end; raises OSError, and is then as it was before."""
        written = 0
        try:
            while written < len(lines):
                written += os.write(self.descriptor, lines[written:])
        except OSError:
            with suppress(OSError):
                os.ftruncate(self.descriptor, self.size)
            raise
        self.size += written

    def lines(self, most: int) -> list[bytes]:
        """Give the next whole lines, and what stands at the end, or goes on and on, without being one."""
        read = b""
        while read.count(b"\n") < most and len(read) < _MOST_READ:
            chunk = os.pread(self.descriptor, 1 << 20, self.taken + len(read))
            if not chunk:
                break
            read += chunk
        lines = _split(read)
        if len(lines) > 1 and self.taken + len(read) < self.size and not lines[-1].endswith(b"\n"):
            lines.pop()  # it is read from its beginning the next time
        return lines[:most]

    def remove(self) -> None:
        """Remove it while it is still locked, so that nobody adopts it."""
        with suppress(OSError):
            os.ftruncate(self.descriptor, 0)
            self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go of it; others may adopt it."""
        os.close(self.descriptor)


class Spill:
    """The files of one ledger in a folder: the one that this process writes, and those that it adopted.

    `ledger` says which ledger (any text; its digest is part of the files' names): two that share a folder
    do not adopt each other's rows.
    """

    def __init__(self, folder: Path, ledger: str, limit: int = LIMIT) -> None:
        self._folder = folder
        self._prefix = f"ledger-spill-{blake2b(ledger.encode(), digest_size=4).hexdigest()}-"
        self._limit = limit
        self._lock = Lock()
        self._own: _File | None = None
        self._files: deque[_File] = deque()

    @property
    def pending(self) -> bool:
        """There is something to take."""
        return bool(self._files)

    def put(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Keep rows, from the first on; return how many there was room for. Raises OSError."""
        with self._lock:
            room = self._limit - (self._own.size if self._own else 0)
            lines = []
            for row in rows:
                line = _encode(row) + b"\n"
                room -= len(line)
                if room < 0:
                    break
                lines.append(line)
            if lines:
                self._opened().append(b"".join(lines))
            return len(lines)

    def adopt(self) -> None:
        """Take over the files that nobody has locked. Raises OSError where the folder cannot be read."""
        with self._lock:
            for path in sorted(self._folder.glob(f"{self._prefix}*.jsonl")):
                with suppress(OSError):  # another process was faster
                    file = _locked(path, os.O_RDWR)
                    if file is not None:
                        self._files.append(file)

    def take(self, most: int) -> Part | None:
        """Give the next rows, which stay in the file until they are `done`; None where there are none.

        Raises OSError for a file that cannot be read, and lets go of it.
        """
        with self._lock:
            if not self._files:
                return None
            file = self._files[0]
            try:
                lines = file.lines(most)
            except OSError:
                self._let_go(file).close()
                raise
            rows = [_row(line) for line in lines]
            whole = [row for row in rows if row is not None]
            return Part(whole, len(rows) - len(whole), file, file.taken + sum(map(len, lines)))

    def done(self, part: Part) -> None:
        """Note that these rows are in the database; a file that is done with is removed."""
        with self._lock:
            part.file.taken = part.end
            if part.file.taken >= part.file.size:
                self._let_go(part.file).remove()

    def close(self) -> None:
        """Let go of all files; what is in them is for the next process."""
        with self._lock:
            for file in self._files:
                file.close()
            self._files.clear()
            self._own = None

    def _let_go(self, file: _File) -> _File:
        self._files.remove(file)
        if file is self._own:
            self._own = None
        return file

    def _opened(self) -> _File:
        while self._own is None:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = self._folder / f"{self._prefix}{uuid.uuid4()}.jsonl"
            # None where another process adopted it before it was locked.
            self._own = _locked(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            if self._own is not None:
                self._files.append(self._own)
        return self._own


def _locked(path: Path, flags: int) -> _File | None:
    """Open a file and lock it; None where another process has, or has removed it meanwhile."""
    descriptor = os.open(path, flags | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:
            return _File(path, descriptor)
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None


def _split(read: bytes) -> list[bytes]:
    *lines, last = read.split(b"\n")
    return [line + b"\n" for line in lines] + ([last] if last else [])


def _row(line: bytes) -> dict[str, Any] | None:
    """Give the row of a line, None where it is none: it may have been cut off, or altered."""
    try:
        row: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
        for name, restore in _RESTORED:
            if row[name] is not None:
                row[name] = restore(row[name])
        return row if isinstance(row["id"], str) and not any(map(_nested, row.values())) else None
    except (ValueError, KeyError, TypeError, ArithmeticError):
        return None


def _nested(value: object) -> bool:
    return isinstance(value, dict | list)
