"""What people look at: how wide it is, and what may be written to it.

Clients choose names of models and keys, and upstreams choose sentences. Nothing of that may move a cursor,
change a colour or turn the direction of a line: `printable` spells out signs that do not show.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from pathlib import Path

from meter.telling import printable

__all__ = ["close", "let_all_be_shown", "printable", "silence", "width"]

_LEAST = 40
"""A narrower terminal is written to as if it were so wide."""


def width() -> int | None:
    """Return the columns of the terminal; `None` in a file or a pipe, where nothing need fit."""
    return max(_LEAST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else None


def let_all_be_shown() -> None:
    """Let no name fail to be written for want of its letters in the terminal's encoding, or of a terminal."""
    if sys.stdout is None:  # it was closed before the start: `>&-`
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def close() -> None:
    """Write what is left to be written, as far as that can be done."""
    try:
        sys.stdout.flush()
    except OSError:
        silence()


def silence() -> None:
    """Let nothing more be written to standard output, whose reader is gone: Python would at its end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # no file at all, as in tests
        return
