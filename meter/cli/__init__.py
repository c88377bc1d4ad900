"""The commands: each is a function from parsed arguments to an exit code, in the file of its subject.

Modules are imported where a command needs them: `meter --help`, `meter key` and `meter config check` are run
by hand and by scripts, and should not wait for a web server or a database to be imported.

    parsing        how commands are declared, and how they end
    serving        serve, demo
    configuration  config, key
    reporting      report
    repricing      reprice
    reconciling    reconcile
    prices         prices list, check
    explaining     prices show
    missing        prices missing
    ledgers        which ledger, and of what time
    asking         a running proxy, by its admin port
    sheet          rows as a table for people
    exports        rows as CSV or JSON
    terminal       what people look at, and what may be written to it
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from meter import __version__
from meter.cli import configuration, prices, reconciling, reporting, repricing, serving
from meter.cli.parsing import INTERRUPTED, OK, WRONG, Parser, failed
from meter.cli.terminal import close, let_all_be_shown, silence

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command (`sys.argv` by default) and return its exit code."""
    let_all_be_shown()
    try:
        code = _run(argv)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads has read enough
        silence()
        return OK
    except Exception as error:
        told = failed(error)
        if told is None:
            raise
        close()
        return told
    return code


def _run(argv: Sequence[str] | None) -> int:
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


def _parser() -> Parser:
    parser = Parser("meter", description="A proxy that meters OpenAI-compatible traffic.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"meter {__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for subject in (serving, reporting, repricing, reconciling, prices, configuration):
        subject.add(commands)
    return parser
