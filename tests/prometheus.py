"""Two versions of Prometheus to test with: the one that is installed, and a newer one beside it.

The newer one is Debian's next, unpacked into `.tools/` and not installed. Which version that is changes with
time; what matters is that it has another major version than Debian 12 has.

    .venv/bin/python tests/prometheus.py
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from tools import needed

__all__ = ["INSTALL", "NEWER", "VERSIONS", "main", "program"]

NEWER = Path(__file__).parents[1] / ".tools" / "prometheus3"
INSTALL = "apt-get install -y --no-install-recommends prometheus prometheus-alertmanager"
VERSIONS = ("installed", "newer")

_PACKAGES = ("prometheus", "promtool", "prometheus-alertmanager")
_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"


def program(name: str, version: str = "installed") -> str:
    """Return the path of a program of Prometheus's; skip or fail where it is missing."""
    if version == "installed":
        return needed(name, INSTALL)
    return needed(str(NEWER / "usr" / "bin" / name), ".venv/bin/python tests/prometheus.py")


def main() -> None:
    """Fetch the newer one, unless it is there."""
    if (NEWER / "usr" / "bin" / "promtool").is_file():
        return
    NEWER.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=NEWER.parent) as folder:
        unpacked = Path(folder, "unpacked")
        for package in _downloaded(Path(folder)):
            subprocess.run(["dpkg", "-x", str(package), str(unpacked)], check=True)  # noqa: S603, S607 - Debian's own
        shutil.rmtree(NEWER, ignore_errors=True)
        unpacked.rename(NEWER)
        NEWER.chmod(0o755)


def _downloaded(folder: Path) -> list[Path]:
    """Download the packages by lists of apt's own in this folder: those of the system stay as they are."""
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={_KEYS}] {_mirror()} sid main\n")
    told = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in told.items())]
    for command in (["update"], ["download", *_PACKAGES]):
        subprocess.run([*apt, *command], check=True, cwd=folder)  # noqa: S603 - our own arguments
    return list(folder.glob("*.deb"))


def _mirror() -> str:
    """Return where this system gets its packages from."""
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Identifier: Packages", "Origin: Debian"]
    told = subprocess.run(asked, check=True, capture_output=True, text=True)  # noqa: S603 - our own arguments
    return told.stdout.split("\n", 1)[0]


if __name__ == "__main__":
    main()
