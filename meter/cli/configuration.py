"""`meter config` and `meter key`: what is set, and who calls."""

from __future__ import annotations

import getpass
import os
import sys
from typing import TYPE_CHECKING, Any

from meter.cli.parsing import OK, WRONG, command, config, config_option, group, say
from meter.cli.terminal import printable
from meter.keys import Credential, salt_from

if TYPE_CHECKING:
    import argparse

__all__ = ["add"]


def add(commands: Any) -> None:
    """Declare the commands."""
    command(commands, "key", _key, "print the fingerprint of a credential read from standard input")
    actions = group(commands, "config", "validate or show settings")
    check = command(actions, "check", _check, "validate a file")
    check.add_argument("file", metavar="FILE")
    config_option(command(actions, "show", _show, "print the effective settings, secrets masked"))


def _key(_args: argparse.Namespace) -> int:
    if sys.stdin.isatty():
        typed = getpass.getpass("credential: ").encode("utf-8", "surrogateescape")
    else:
        typed = sys.stdin.buffer.readline()
    value = typed.strip()
    scheme, _, rest = value.partition(b" ")
    if scheme.lower() == b"bearer":  # people copy the header's whole value
        value = rest.strip()
    if not value:
        return say("got nothing, expected a credential on standard input", WRONG)
    sys.stdout.write(Credential(value).fingerprint(salt_from(os.environ)) + "\n")
    return OK


def _check(args: argparse.Namespace) -> int:
    from meter.pricing import book  # noqa: PLC0415  # pydantic: see the package
    from meter.settings import load  # noqa: PLC0415

    book(load(args.file, {}, {}), None)
    sys.stdout.write(f"{printable(args.file)}: ok\n")
    return OK


def _show(args: argparse.Namespace) -> int:
    from meter.settings import load  # noqa: PLC0415  # pydantic: see the package

    sys.stdout.write(load(config(args), {}).show())
    return OK
