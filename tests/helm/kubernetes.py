"""What Kubernetes would say to an object, by its own schemas and by those of the Prometheus operator.

What neither has is judged by another program, in `test_node`.
"""

from __future__ import annotations

import importlib
import json
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from helm.chart import Manifest

__all__ = ["VERSIONS", "check"]

VERSIONS = ("1.27", "1.30", "1.37")
"""The oldest that the chart is for, the first with a `sleep` before the stop, the newest that is known."""

CRDS = Path(__file__).parent / "crds"
ELSEWHERE = {"HTTPRoute"}
"""Judged by another program."""


def check(manifest: Manifest, version: str) -> None:
    """Raise what is wrong; strictly, so that a name that is not known is wrong."""
    kind = manifest["kind"]
    crd = CRDS / f"{kind.lower()}_v1.json"
    if crd.is_file():
        _validator(crd).validate(manifest)
    elif kind not in ELSEWHERE:
        _kubernetes().validate(manifest, version, strict=True)


@cache
def _validator(crd: Path) -> Any:
    # Go takes a flag behind the start of an expression, Python before it only.
    schema = json.loads(crd.read_text().replace("^(?i)", "(?i)^"))
    return _module("jsonschema").Draft7Validator(schema)


@cache
def _kubernetes() -> Any:
    module = _module("kubernetes_validate.utils")
    # Else megabytes of schemas are read anew for each object.
    module.schema_contents = cache(module.schema_contents)
    return module


def _module(name: str) -> Any:
    """Return a module; where it is missing, skip or fail with the command that installs it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        reason = f"{name} is not installed; get it with: pip install -r requirements/real.txt"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
