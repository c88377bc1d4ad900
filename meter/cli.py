"""The commands: each is a function from parsed arguments to an exit code, and a row in `_parser`.

0 is success, 1 a failure at run time, 2 a wrong command line or configuration. What people can cause is told
in sentences on standard error; a traceback is a defect of Meter.

Modules are imported where a command needs them: `meter --help`, `meter key` and `meter config check` are run
by hand and by scripts, and should not wait for a web server to be imported.
"""

from __future__ import annotations

import argparse
import getpass
import os
import re
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from meter import __version__
from meter.keys import Credential, salt_from

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["main"]

_OK, _FAILED, _WRONG, _INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command (`sys.argv` by default) and return its exit code."""
    parser = _parser()
    try:
        args = parser.parse_args(argv)
        if args.run is None:
            parser.print_help(sys.stderr)
            return _WRONG
        return int(args.run(args))
    except SystemExit as left:  # argparse has said why
        return int(left.code or _OK)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as error:
        return _say(_told(error), _FAILED)


def _say(sentence: str, code: int) -> int:
    sys.stderr.write(f"meter: {sentence}\n")
    return code


def _told(error: OSError) -> str:
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    return f"{error.filename}: {reason}" if error.filename else reason


class _Parser(argparse.ArgumentParser):
    """Does not repeat what it did not expect: it may be a credential, pasted where none belongs."""

    def error(self, message: str) -> NoReturn:
        message = re.sub(r"(?s)(unrecognized arguments).*", r"\1", message)
        super().error(re.sub(r"(?s)(invalid choice): .*? (\(choose from .*)", r"\1 \2", message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        "meter", description="A proxy that meters OpenAI-compatible traffic.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"meter {__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    serve = _command(commands, "serve", _serve, "run the proxy")
    _config_option(serve)
    serve.add_argument("--upstream", metavar="URL", help="add an upstream named default")
    serve.add_argument("--host", help="address of the proxy port (127.0.0.1)")
    serve.add_argument("--port", help="the proxy port, 0 for a free one (8080)")
    serve.add_argument("--admin-host", metavar="HOST", help="address of the admin port (127.0.0.1)")
    serve.add_argument("--admin-port", metavar="PORT", help="the admin port, 0 for a free one (9464)")
    serve.add_argument("--workers", metavar="N", help="processes (1)")
    serve.add_argument("--ledger", metavar="URL", help="where exchanges are kept, or off")

    demo = _command(commands, "demo", _demo, "run the proxy before a simulated upstream")
    demo.add_argument("--port", type=_port, default=8080, help="the proxy port, 0 for a free one (8080)")
    demo.add_argument(
        "--admin-port",
        metavar="PORT",
        type=_port,
        default=9464,
        help="the admin port, 0 for a free one (9464)",
    )
    demo.add_argument("--seconds", metavar="N", type=_seconds, help="stop after so long")
    demo.add_argument("--no-traffic", dest="traffic", action="store_false", help="send no requests")

    _command(commands, "key", _key, "print the fingerprint of a credential read from standard input")

    config = commands.add_parser("config", help="validate or show settings", allow_abbrev=False)
    actions = config.add_subparsers(title="commands", metavar="COMMAND", required=True)
    check = _command(actions, "check", _config_check, "validate a file")
    check.add_argument("file", metavar="FILE")
    _config_option(_command(actions, "show", _config_show, "print the effective settings, secrets masked"))
    return parser


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], about: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=about, description=about, allow_abbrev=False
    )
    parser.set_defaults(run=run)
    return parser


def _config_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="settings as YAML (METER_CONFIG)")


_LAST_PORT = 65535


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _LAST_PORT:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a port from 0 to {_LAST_PORT}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number of seconds above 0")
    return seconds


_OVERRIDES = {
    "upstream": "upstream",
    "host": "host",
    "port": "port",
    "admin_host": "admin_host",
    "admin_port": "admin_port",
    "workers": "workers",
    "ledger": "ledger.url",
}
"""Options of `serve` and the settings that they override."""


def _serve(args: argparse.Namespace) -> int:
    from meter.prices.file import PriceFileError  # noqa: PLC0415  # pydantic: see the top
    from meter.settings import SettingsError, load  # noqa: PLC0415  # pydantic: see the top

    given = {name: getattr(args, option) for option, name in _OVERRIDES.items()}
    overrides = {name: value for name, value in given.items() if value is not None}
    read = partial(load, _config(args), overrides)
    try:
        settings = read()
        from meter import app  # noqa: PLC0415  # aiohttp: see the top

        return app.run(settings, read)
    except (SettingsError, PriceFileError) as error:
        return _wrong(error)


def _demo(args: argparse.Namespace) -> int:
    from meter import demo  # noqa: PLC0415  # aiohttp: see the top

    return demo.run(port=args.port, admin_port=args.admin_port, seconds=args.seconds, traffic=args.traffic)


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
        return _say("got nothing, expected a credential on standard input", _WRONG)
    sys.stdout.write(Credential(value).fingerprint(salt_from(os.environ)) + "\n")
    return _OK


def _config_check(args: argparse.Namespace) -> int:
    from meter.prices.file import PriceFileError  # noqa: PLC0415  # pydantic: see the top
    from meter.prices.file import load as load_prices  # noqa: PLC0415
    from meter.settings import SettingsError, load  # noqa: PLC0415

    try:
        for prices in load(args.file, {}, {}).prices.files:
            load_prices(prices)
    except (SettingsError, PriceFileError) as error:
        return _wrong(error)
    sys.stdout.write(f"{args.file}: ok\n")
    return _OK


def _config_show(args: argparse.Namespace) -> int:
    from meter.settings import SettingsError, load  # noqa: PLC0415  # pydantic: see the top

    try:
        sys.stdout.write(load(_config(args), {}).show())
    except SettingsError as error:
        return _wrong(error)
    return _OK


def _config(args: argparse.Namespace) -> str | None:
    return args.config or os.environ.get("METER_CONFIG") or None


def _wrong(report: Exception) -> int:
    sys.stderr.write(f"{report}\n")
    return _WRONG
