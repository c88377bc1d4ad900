"""The commands: each is a function from parsed arguments to an exit code, in the file of its subject.

Modules are imported where a command needs them: `meter --help`, `meter key` and `meter config check` are run
by hand and by scripts, and should not wait for a web server or a database to be imported.

    parsing        how commands are declared, and how they end
    serving        serve, demo
    configuration  config, key
    prices         prices list, show, check, missing
    spending       report, reprice, reconcile
    sheet          rows as a table for people, CSV or JSON
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from meter import __version__
from meter.cli import configuration, prices, serving, spending
from meter.cli.parsing import FAILED, INTERRUPTED, OK, WRONG, Parser, say

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command (`sys.argv` by default) and return its exit code."""
    parser = _parser()
    try:
        args = parser.parse_args(argv)
        if args.run is None:
            parser.print_help(sys.stderr)
            return WRONG
        return int(args.run(args))
    except SystemExit as left:  # argparse has said why
        return int(left.code or OK)
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        return say(_told(error), FAILED)


def _told(error: OSError) -> str:
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    return f"{error.filename}: {reason}" if error.filename else reason


def _parser() -> Parser:
    parser = Parser("meter", description="A proxy that meters OpenAI-compatible traffic.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"meter {__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for subject in (serving, spending, prices, configuration):
        subject.add(commands)
    return parser
