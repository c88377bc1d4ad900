"""The chart as Helm renders it: objects by kind and name, or the sentence in which values are refused.

Output is compared as data, never as text: versions of Helm put blank lines where they like.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CASES", "CHART", "MONITORING", "ROUTES", "Helm", "Manifest", "Rendering"]

CHART = Path(__file__).parents[2] / "helm" / "meter"
CASES = sorted(path.stem.removesuffix("-values") for path in (CHART / "ci").glob("*-values.yaml"))
MONITORING = "monitoring.coreos.com/v1"
ROUTES = "gateway.networking.k8s.io/v1"

Manifest: TypeAlias = dict[str, Any]


@dataclass
class Rendering:
    """What came of some values."""

    manifests: list[Manifest]

    def __iter__(self) -> Iterator[Manifest]:
        return iter(self.manifests)

    def all(self, kind: str) -> list[Manifest]:
        """Return the objects of a kind."""
        return [each for each in self.manifests if each["kind"] == kind]

    def one(self, kind: str, name: str | None = None) -> Manifest:
        """Return the only object of a kind, or of that name."""
        (found,) = (each for each in self.all(kind) if name in (None, each["metadata"]["name"]))
        return found

    @property
    def pod(self) -> Manifest:
        """The pods' specification."""
        return dict(self.one("Deployment")["spec"]["template"]["spec"])

    @property
    def container(self) -> Manifest:
        """The one container of a pod."""
        (container,) = self.pod["containers"]
        return dict(container)

    def environ(self) -> dict[str, Any]:
        """Return the container's variables: a text each, or where it is from."""
        return {each["name"]: each.get("value", each.get("valueFrom")) for each in self.container["env"]}

    def config(self) -> dict[str, Any]:
        """Return what is in Meter's file."""
        return dict(yaml.safe_load(self.one("ConfigMap", "meter")["data"]["meter.yaml"]))


@dataclass
class Helm:
    """One version of Helm; `home` is a folder of its own."""

    program: Path
    home: Path
    told: list[str] = field(default_factory=lambda: ["--namespace=llm"])

    def run(self, *argv: str, **values: Any) -> subprocess.CompletedProcess[str]:
        """Run it, with these values on standard input."""
        given = ["--values=-"] if values else []
        return subprocess.run(  # noqa: S603 - our own program with our own arguments
            [str(self.program), *argv, *given],
            input=yaml.safe_dump(values),
            env={"HOME": str(self.home), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def template(
        self,
        *argv: str,
        case: str | None = None,
        kube: str = "1.30",
        apis: tuple[str, ...] = (),
        **values: Any,
    ) -> Rendering:
        """Return what is rendered of values, or of a file in `ci/`."""
        options = [f"--kube-version={kube}", *(f"--api-versions={api}" for api in apis), *argv]
        options += [f"--values={CHART / 'ci' / case}-values.yaml"] if case else []
        done = self.run("template", "meter", str(CHART), *self.told, *options, **values)
        assert 0 == done.returncode, done.stderr
        return Rendering([each for each in yaml.load_all(done.stdout, Loader=_Strict) if each])

    def refusal(self, **values: Any) -> str:
        """Return why values are refused."""
        done = self.run("template", "meter", str(CHART), *self.told, **values)
        assert 1 == done.returncode, done.stdout
        return done.stderr


class _Strict(yaml.CSafeLoader):
    """Refuses a key that is there twice, as a cluster does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping each of whose keys is there once."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(set(keys)) == len(keys), f"{keys} has a key twice, {node.start_mark}"
        return super().construct_mapping(node, deep)
