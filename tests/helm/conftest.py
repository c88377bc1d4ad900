"""Helm 3 and Helm 4, which the chart has to work with alike, and Node's packages that judge it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from helm.chart import Helm
from helm.fetch import HELMS, PATHS
from tools import needed

if TYPE_CHECKING:
    from collections.abc import Callable

INSTALL = "python tests/helm/fetch.py"
NODE_SOURCES = Path(__file__).parent / "node"
NODE_FOLDER = Path(__file__).parents[2] / ".tools" / "node-chart"


def found(name: str, home: Path) -> Helm:
    """Return one version of Helm; where it is missing, skip or fail with the command that gets it."""
    return Helm(Path(needed(str(PATHS[name]), INSTALL)), home)


@pytest.fixture(scope="session", params=HELMS)
def helm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Give Helm, each version in its turn."""
    return found(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def helms(tmp_path_factory: pytest.TempPathFactory) -> list[Helm]:
    """Give all versions of Helm at once."""
    return [found(name, tmp_path_factory.mktemp(name)) for name in HELMS]


@pytest.fixture(scope="session")
def newest(helms: list[Helm]) -> Helm:
    """Give the newest Helm, where one is enough."""
    return helms[-1]


@pytest.fixture(scope="session")
def node() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Give a function that runs a program of Node's, with the packages of the lock file in place."""
    program, npm = needed("node", "apt-get install nodejs"), needed("npm", "apt-get install npm")
    NODE_FOLDER.mkdir(parents=True, exist_ok=True)
    lock = (NODE_SOURCES / "package-lock.json").read_bytes()
    if not (NODE_FOLDER / "lock").is_file() or (NODE_FOLDER / "lock").read_bytes() != lock:
        for name in ("package.json", "package-lock.json"):
            (NODE_FOLDER / name).write_bytes((NODE_SOURCES / name).read_bytes())
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=NODE_FOLDER, capture_output=True, timeout=300, check=True)  # noqa: S603 - by hashes
        (NODE_FOLDER / "lock").write_bytes(lock)

    def run(*argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - packages of the lock file, with our own arguments
            [program, *argv],
            cwd=NODE_FOLDER,
            env={**os.environ, "NODE_PATH": str(NODE_FOLDER / "node_modules")},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
            **options,
        )

    return run
