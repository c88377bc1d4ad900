"""Checkov finds nothing to harden in what is rendered, but for what is excused here with a reason."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from tools import needed

if TYPE_CHECKING:
    from helm.chart import Helm

pytestmark = pytest.mark.real

FOLDER = Path(__file__).parents[2] / ".tools" / "checkov"
INSTALL = f"python3 -m venv {FOLDER} && {FOLDER}/bin/pip install --require-hashes -r requirements/checkov.txt"
EXCUSED = {
    ("Deployment", "CKV_K8S_11"): "a limit of CPU would show as time to first token",
    ("Deployment", "CKV_K8S_15"): "the tag is a version, which does not change",
    (
        "Deployment",
        "CKV_K8S_35",
    ): "settings are read from variables, and root writes no file that others could read",
    ("Deployment", "CKV_K8S_43"): "the digest is that of the user's own image",
    ("Pod", "CKV_K8S_8"): "the test's pod ends by itself",
    ("Pod", "CKV_K8S_9"): "nothing is led to the test's pod",
    ("Pod", "CKV_K8S_11"): "the test's pod ends by itself",
    ("Pod", "CKV_K8S_15"): "as above",
    ("Pod", "CKV_K8S_43"): "as above",
    ("Pod", "CKV2_K8S_6"): "the test's pod listens to nobody",
}


def test_hardened(newest: Helm, tmp_path: Path) -> None:
    """What Checkov finds is what is excused, no more and no less."""
    program = needed(str(FOLDER / "bin" / "checkov"), INSTALL)
    for case in ("default", "fleet", "volume", "ingress"):
        (tmp_path / f"{case}.yaml").write_text(yaml.safe_dump_all(newest.template(case=case)))
    options = ["--framework=kubernetes", "--skip-download", "--compact", "--quiet", "--output=json"]
    done = subprocess.run(  # noqa: S603 - the program of the lock file, on our own files
        [program, f"--directory={tmp_path}", *options],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    found = {
        (check["resource"].partition(".")[0], check["check_id"])
        for check in json.loads(done.stdout)["results"]["failed_checks"]
    }

    assert set(EXCUSED) == found
