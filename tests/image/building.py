"""An image built as anybody would build it, of parts that can be had without a registry of images.

`debootstrap` makes the base: the release of Debian and the version of Python are those that the Dockerfile
names. The packages are fetched before, checked by their hashes, and the build itself is told to ask nobody.
What took long to get is kept in `.tools/image-base`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import pytest
from tools import needed

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BUILDAH", "DEBOOTSTRAP", "TOP", "Image", "Store", "base_of", "built", "packages", "ran"]

TOP = Path(__file__).parents[2]
KEPT = TOP / ".tools" / "image-base"
BUILDAH = ("buildah", "apt-get install -y --no-install-recommends buildah")
DEBOOTSTRAP = ("debootstrap", "apt-get install -y --no-install-recommends debootstrap")
_BASE = re.compile(r"^ARG BASE=python:(?P<python>\d+\.\d+)-slim-(?P<debian>\w+)$", re.MULTILINE)
_CONTEXT = (".dockerignore", "Dockerfile", "LICENSE", "README.md", "meter", "pyproject.toml", "requirements")
_LEFT_OUT = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man")
_GLIBC = (
    "manylinux_2_28",
    "manylinux_2_27",
    "manylinux_2_17",
    "manylinux2014",
    "manylinux_2_5",
    "manylinux1",
)


def ran(*argv: str | Path, **options: Any) -> str:
    """Run a program to its end; return what it printed, or fail with what it said."""
    done = subprocess.run(  # noqa: S603 - programs and arguments of ours
        argv, capture_output=True, text=True, timeout=300, check=False, **options
    )
    assert 0 == done.returncode, (done.stdout + done.stderr)[-4000:]
    return str(done.stdout)


def base_of(dockerfile: str) -> tuple[str, str]:
    """Return the version of Python and the release of Debian that a Dockerfile asks for."""
    named = _BASE.search(dockerfile)
    assert named is not None
    return named["python"], named["debian"]


def packages(lock: str, machine: str) -> Path:
    """Return a folder with each package of a lock file, hashes checked, as a wheel for a machine.

    What the lock file no longer names is not kept.
    """
    source = TOP / "requirements" / lock
    prefix = f"{source.stem}-{machine}-"
    folder = KEPT / (prefix + hashlib.sha256(source.read_bytes()).hexdigest()[:12])
    if not folder.exists():
        for old in KEPT.glob(prefix + "*"):
            shutil.rmtree(old)
        _fetch(source, machine, _partial()).rename(folder)
    return folder


def _fetch(lock: Path, machine: str, folder: Path) -> Path:
    python, _ = base_of((TOP / "Dockerfile").read_text())
    platforms = [option for name in _GLIBC for option in ("--platform", f"{name}_{machine}")]
    asked = ["--only-binary", ":all:", "--python-version", python, *platforms, "--dest", str(folder)]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    ran(*pip, "--require-hashes", "--requirement", lock, *asked)
    return folder


def _partial() -> Path:
    """Return a place for what is not whole yet."""
    KEPT.mkdir(parents=True, exist_ok=True)
    return Path(mkdtemp(prefix="partial-", dir=KEPT))


def _root_file_system() -> Path:
    """Return an archive of a small Debian with Python and certificates."""
    python, debian = base_of((TOP / "Dockerfile").read_text())
    archive = KEPT / f"{debian}.tar"
    if archive.exists():
        return archive
    folder = _partial()
    root, partial = folder / "root", folder / archive.name
    wanted = f"--include=python{python},python3,python3-venv,ca-certificates"
    ran(needed(*DEBOOTSTRAP), "--variant=minbase", wanted, debian, root)
    for left_out in _LEFT_OUT:
        shutil.rmtree(root / left_out)
    ran("tar", "-C", root, "-cf", partial, ".")
    partial.rename(archive)
    shutil.rmtree(folder)
    return archive


@dataclass(frozen=True)
class Image:
    """A built image: what it says of itself, and its files."""

    config: dict[str, Any]
    root: Path
    size_bytes: int


@dataclass(frozen=True)
class Store:
    """Where buildah keeps images, apart from those of whoever runs the tests."""

    folder: Path

    def buildah(self, *argv: str | Path) -> str:
        """Run buildah on this store; return what it prints."""
        own = ("--root", self.folder / "root", "--runroot", self.folder / "runroot")
        return ran(needed(*BUILDAH), *own, *argv).strip()

    def build(self, context: Path, tag: str, dockerfile: str, *options: str) -> None:
        """Build an image."""
        file = self.folder / "Dockerfile"
        file.write_text(dockerfile)
        how = ("--quiet", "--format=docker", "--isolation=chroot", f"--file={file}", *options)
        self.buildah("bud", *how, "--tag", tag, context)

    def mounted(self, tag: str) -> Path:
        """Return the files of an image."""
        return Path(self.buildah("mount", self.buildah("from", "--pull-never", tag)))

    def image(self, tag: str) -> Image:
        """Return an image."""
        (about,) = json.loads(self.buildah("images", "--json", tag))
        told = json.loads(self.buildah("inspect", "--type=image", tag))["Docker"]["config"]
        return Image(told, self.mounted(tag), size_bytes=_bytes(about["size"]))


def _bytes(size: str) -> int:
    number, unit = size.split()
    return int(float(number) * {"MB": 1_000_000, "GB": 1_000_000_000}[unit])


@contextmanager
def store(folder: Path) -> Iterator[Store]:
    """Give a store of images, and leave nothing of it."""
    if os.getuid() != 0:
        reason = "building an image needs root; run: sudo make test-real"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    folder.mkdir()
    store = Store(folder)
    needed(*BUILDAH)
    needed(*DEBOOTSTRAP)
    try:
        yield store
    finally:
        store.buildah("umount", "--all")
        shutil.rmtree(folder)


def context(folder: Path) -> Path:
    """Return a copy of what is built from, with the packages and with what does not belong there."""
    unwanted = shutil.ignore_patterns("__pycache__")
    for name in _CONTEXT:
        source = TOP / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=unwanted)
        else:
            shutil.copy(source, folder / name)
    shutil.copytree(packages("demo.txt", os.uname().machine), folder / "wheels")
    return folder


def built(store: Store, context: Path) -> Image:
    """Return the image of a context."""
    archive = _root_file_system()
    store.build(archive.parent, "localhost/python:ground", f"FROM scratch\nADD {archive.name} /\n")
    chosen = ("BASE=localhost/python:ground", "PIP_NO_INDEX=1", "REVISION=0123abc")
    dockerfile = (context / "Dockerfile").read_text()
    store.build(context, "localhost/meter:test", dockerfile, *(f"--build-arg={name}" for name in chosen))
    return store.image("localhost/meter:test")
