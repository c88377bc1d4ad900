"""What two packages of npm say: that the README's table is of the values, and that a route is a route."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from helm.chart import CHART
from helm.conftest import NODE_FOLDER, NODE_SOURCES

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from helm.chart import Helm

pytestmark = pytest.mark.real

GENERATOR = NODE_FOLDER / "node_modules" / "@bitnami" / "readme-generator-for-helm" / "bin" / "index.js"


def test_readme(node: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    """Each value has a line on what it is, and the README's table is made of them."""
    readme = tmp_path / "README.md"
    shutil.copy(CHART / "README.md", readme)
    done = node(str(GENERATOR), f"--values={CHART / 'values.yaml'}", f"--readme={readme}")

    assert 0 == done.returncode, done.stdout + done.stderr
    command = f"node {GENERATOR} --values=helm/meter/values.yaml --readme=helm/meter/README.md"
    assert readme.read_text() == (CHART / "README.md").read_text(), f"make it anew with: {command}"


@pytest.mark.parametrize(("request_timeout", "code"), [("0s", 0), ("for ever", 1)])
def test_route(
    newest: Helm, node: Callable[..., subprocess.CompletedProcess[str]], request_timeout: str, code: int
) -> None:
    """The HTTPRoute is one by the Gateway API's own schema, which sees what is wrong."""
    shutil.copy(NODE_SOURCES / "route.mjs", NODE_FOLDER)  # a module finds packages beside itself only
    rendering = newest.template(case="gateway", httpRoute={"timeouts": {"request": request_timeout}})
    done = node("route.mjs", input=json.dumps(rendering.one("HTTPRoute")))

    assert code == done.returncode, done.stderr
