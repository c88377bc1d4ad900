"""What the commands have in common: how they are declared, and how they end.

0 is success, 1 a failure at run time, 2 a wrong command line or configuration. What people can cause is told
in sentences on standard error; a traceback is a defect of Meter.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from meter.cli.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "OK",
    "WRONG",
    "Parser",
    "WrongArgumentError",
    "command",
    "config",
    "config_option",
    "failed",
    "group",
    "say",
    "wrong",
]

OK, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130


class WrongArgumentError(Exception):
    """An argument that can mean nothing; `str` of it says which, what came and what was expected."""


class Parser(argparse.ArgumentParser):
    """Does not repeat what it did not expect: it may be a credential, pasted where none belongs."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line, and leave."""
        message = re.sub(r"(?s)(unrecognized arguments).*", r"\1", message)
        super().error(re.sub(r"(?s)(invalid choice): .*? (\(choose from .*)", r"\1 \2", message))


def command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], about: str
) -> argparse.ArgumentParser:
    """Declare a command; `run` makes an exit code of the parsed arguments."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=about, description=about, allow_abbrev=False
    )
    parser.set_defaults(run=run)
    return parser


def group(commands: Any, name: str, about: str) -> Any:
    """Declare a command that is followed by another; return what takes those."""
    parser = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=True)


def config_option(parser: argparse.ArgumentParser) -> None:
    """Let a command be told the file of settings."""
    parser.add_argument("--config", metavar="FILE", help="settings as YAML (METER_CONFIG)")


def config(args: argparse.Namespace) -> str | None:
    """Return the file of settings that was named, if any was."""
    return args.config or os.environ.get("METER_CONFIG") or None


def say(sentence: str, code: int) -> int:
    """Tell a sentence on standard error; return the code."""
    sys.stderr.write(f"meter: {printable(sentence)}\n")
    return code


def wrong(report: Exception) -> int:
    """Tell what is wrong with settings or a file, line by line."""
    sys.stderr.writelines(f"{printable(line)}\n" for line in str(report).split("\n"))
    return WRONG


def failed(error: Exception) -> int | None:
    """Tell what people can cause, and return the exit code; `None` for what is a defect of Meter."""
    # Only what fails should wait for these: pydantic, SQLAlchemy.
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from meter.ledger.cells import QuestionError  # noqa: PLC0415
    from meter.ledger.errors import LedgerError  # noqa: PLC0415
    from meter.prices.tree import PriceFileError  # noqa: PLC0415
    from meter.reconcile.bill import BillError  # noqa: PLC0415
    from meter.settings import SettingsError  # noqa: PLC0415

    match error:
        case SettingsError() | PriceFileError():
            return wrong(error)
        case WrongArgumentError() | QuestionError():
            return say(str(error), WRONG)
        case LedgerError() | BillError():
            return say(str(error), FAILED)
        case SQLAlchemyError():
            return say(f"the ledger did not answer: {_reason(error)}", FAILED)
        case OSError():
            return say(_told(error), FAILED)
    return None


def _reason(error: Any) -> str:
    """Say what the database said, without the statement, which may be long."""
    return str(getattr(error, "orig", None) or type(error).__name__).strip().partition("\n")[0]


def _told(error: OSError) -> str:
    reason = (error.strerror or "").lower() or str(error) or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename else reason
