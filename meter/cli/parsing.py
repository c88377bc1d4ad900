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

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "OK",
    "WRONG",
    "Parser",
    "command",
    "config",
    "config_option",
    "failures_told",
    "group",
    "say",
    "wrong",
]

OK, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130


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
    sys.stderr.write(f"meter: {sentence}\n")
    return code


def wrong(report: Exception) -> int:
    """Tell what is wrong with settings, a file or an argument."""
    sys.stderr.write(f"{report}\n")
    return WRONG


def failures_told(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Return a command that tells in a sentence what people can cause."""

    def told(args: argparse.Namespace) -> int:
        # pydantic and SQLAlchemy, which only such commands should wait for.
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

        from meter.ledger.database import LedgerError  # noqa: PLC0415
        from meter.prices.file import PriceFileError  # noqa: PLC0415
        from meter.reconcile import BillError  # noqa: PLC0415
        from meter.settings import SettingsError  # noqa: PLC0415

        try:
            return run(args)
        except (SettingsError, PriceFileError) as error:
            return wrong(error)
        except (LedgerError, BillError) as error:
            return say(str(error), FAILED)
        except SQLAlchemyError as error:
            return say(f"the ledger did not answer: {type(error).__name__}", FAILED)
        except ValueError as error:
            return say(str(error), WRONG)

    return told
