"""What may be written to a terminal, and what becomes of a reader that leaves."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from meter.cli.terminal import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("gpt-4o [preview] é 日本 🚀", "gpt-4o [preview] é 日本 🚀"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\nb\tc\rd\x00e\x7ff", r"a\nb\tc\rd\x00e\x7ff"),
        ("\x9b2J", r"\x9b2J"),
        ("abc\u202egnp.exe", r"abc\u202egnp.exe"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("\ud800", r"\ud800"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    """Signs that show stay; those that would command a terminal or hide are spelled out."""
    assert shown == printable(text)


def meter(*argv: str, **options: object) -> subprocess.Popen[bytes]:
    """Start a command in a process of its own."""
    return subprocess.Popen([sys.executable, "-m", "meter", *argv], stderr=subprocess.PIPE, **options)  # type: ignore[call-overload, no-any-return] # noqa: S603 - our own


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_reader_that_leaves(form: str) -> None:
    """A command whose reader has read enough, as `head` does, ends with 0 and without a word."""
    with meter("prices", "list", "--format", form, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(10)
        process.stdout.close()
        _, said = process.communicate(timeout=30)

    assert (0, b"") == (process.returncode, said)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full disk here")  # noqa: PTH110
def test_full_disk() -> None:
    """A disk without room is a failure that is told in a sentence."""
    with open("/dev/full", "wb") as full, meter("prices", "show", "gpt-4o", stdout=full) as process:  # noqa: PTH123
        _, said = process.communicate(timeout=30)

    assert (1, b"meter: no space left on device\n") == (process.returncode, said)


def test_width_of_a_terminal() -> None:
    """A table fits the terminal that it is written to."""
    mine, its = pty.openpty()
    environ = {**os.environ, "COLUMNS": "80"}
    with meter("prices", "list", "--model", "claude-*", stdout=its, env=environ) as process:
        os.close(its)
        told = b""
        try:
            while piece := os.read(mine, 65536):
                told += piece
        except OSError:  # the other end is closed
            pass
        process.communicate(timeout=30)
    os.close(mine)

    lines = told.decode().splitlines()
    assert (0, "USD per million tokens") == (process.returncode, lines[0])
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in told.decode()


def test_letters_that_a_terminal_lacks() -> None:
    """What an encoding has no letters for is spelled out."""
    environ = {**os.environ, "PYTHONIOENCODING": "ascii"}
    with meter("prices", "show", "modèle", stdout=subprocess.PIPE, env=environ) as process:
        _, said = process.communicate(timeout=30)

    assert (1, True) == (process.returncode, said.startswith(rb"meter: no price is known for 'mod\xe8le'"))
