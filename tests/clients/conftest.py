"""What client programs run against: the same upstream twice, once directly and once through Meter."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from clients.lines import Lines
from tools import needed

if TYPE_CHECKING:
    from collections.abc import Callable

    from stage import House

NODE_SOURCES = Path(__file__).parent / "node"
NODE_FOLDER = Path(__file__).parents[2] / ".tools" / "node-clients"
NODE_FILES = ("package.json", "package-lock.json")


@pytest.fixture
def lines(house: House) -> Lines:
    """Give the log lines of the exchanges that a test causes."""
    return Lines(house)


@pytest.fixture
def run() -> Callable[..., str]:
    """Give a function that runs a program with a base URL and a key, and returns what it prints."""

    def run(command: list[str], base_url: str, *, api_key: str = "sk-user", **environment: str) -> str:
        told = {"BASE_URL": base_url, "API_KEY": api_key, "NO_PROXY": "127.0.0.1", **environment}
        done = subprocess.run(  # noqa: S603 - a program of ours, with arguments of ours
            command, env={**os.environ, **told}, capture_output=True, text=True, timeout=120, check=False
        )
        assert 0 == done.returncode, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def node() -> tuple[str, Path]:
    """Give Node and a folder, outside of the sources, with the programs and their packages in place."""
    program, npm = needed("node", "apt-get install nodejs"), needed("npm", "apt-get install npm")
    NODE_FOLDER.mkdir(parents=True, exist_ok=True)
    with (NODE_FOLDER / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several runs may want it at once
        fresh = _is_installed()
        for source in NODE_SOURCES.iterdir():
            shutil.copy(source, NODE_FOLDER)
        if not fresh:
            _install(npm)
    return program, NODE_FOLDER


def _is_installed() -> bool:
    """Tell whether the folder's packages are those that the lock file names; npm writes its note last."""
    pairs = [(NODE_FOLDER / name, NODE_SOURCES / name) for name in NODE_FILES]
    same = all(ours.is_file() and ours.read_bytes() == wanted.read_bytes() for ours, wanted in pairs)
    return same and (NODE_FOLDER / "node_modules" / ".package-lock.json").is_file()


def _install(npm: str) -> None:
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(  # noqa: S603 - the packages that the lock file names, by their hashes
        command, cwd=NODE_FOLDER, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        shutil.rmtree(NODE_FOLDER / "node_modules", ignore_errors=True)
        pytest.fail(f"npm ci failed: {done.stderr}", pytrace=False)
