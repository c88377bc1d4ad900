"""`meter serve` and `meter demo`: the proxy, until it is told to stop."""

from __future__ import annotations

import argparse
import gc
from functools import partial
from typing import TYPE_CHECKING, Any

from meter.cli.parsing import command, config, config_option

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["add"]


def add(commands: Any) -> None:
    """Declare the commands."""
    serve = command(commands, "serve", _serve, "run the proxy")
    config_option(serve)
    serve.add_argument("--upstream", metavar="URL", help="add an upstream named default")
    serve.add_argument("--host", help="address of the proxy port (127.0.0.1)")
    serve.add_argument("--port", help="the proxy port, 0 for a free one (8080)")
    serve.add_argument("--admin-host", metavar="HOST", help="address of the admin port (127.0.0.1)")
    serve.add_argument("--admin-port", metavar="PORT", help="the admin port, 0 for a free one (9464)")
    serve.add_argument("--workers", metavar="N", help="processes (1)")
    serve.add_argument("--ledger", metavar="URL", help="where exchanges are kept, or off")

    demo = command(commands, "demo", _demo, "run the proxy before a simulated upstream")
    demo.add_argument("--host", default="127.0.0.1", help="address of the proxy port (127.0.0.1)")
    demo.add_argument("--port", type=_port, default=8080, help="the proxy port, 0 for a free one (8080)")
    demo.add_argument(
        "--admin-host", metavar="HOST", default="127.0.0.1", help="address of the admin port (127.0.0.1)"
    )
    demo.add_argument(
        "--admin-port",
        metavar="PORT",
        type=_port,
        default=9464,
        help="the admin port, 0 for a free one (9464)",
    )
    demo.add_argument("--seconds", metavar="N", type=_seconds, help="stop after so long")
    demo.add_argument("--no-traffic", dest="traffic", action="store_false", help="send no requests")


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
    gc.disable()  # until it serves: modules stay, and a tenth of the time would go into looking them through
    try:
        return _served(args)
    finally:
        gc.enable()


def _served(args: argparse.Namespace) -> int:
    from meter.settings import load  # noqa: PLC0415  # pydantic: see the package

    given = {name: getattr(args, option) for option, name in _OVERRIDES.items()}
    overrides = {name: value for name, value in given.items() if value is not None}
    read: Callable[[], Any] = partial(load, config(args), overrides)
    settings = read()
    from meter import app  # noqa: PLC0415  # aiohttp

    return app.run(settings, read)


def _demo(args: argparse.Namespace) -> int:
    from meter import demo  # noqa: PLC0415  # aiohttp

    ports = {name: getattr(args, name) for name in ("host", "port", "admin_host", "admin_port")}
    return demo.run(**ports, seconds=args.seconds, traffic=args.traffic)
