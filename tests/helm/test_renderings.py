"""Every file of values in `ci/`, and many at random, under both versions of Helm and three of Kubernetes."""

from __future__ import annotations

import random
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from helm.chart import CASES, CHART, MONITORING, ROUTES
from helm.kubernetes import VERSIONS, check

if TYPE_CHECKING:
    from helm.chart import Helm, Rendering

pytestmark = pytest.mark.real

CHOICES: dict[str, tuple[Any, ...]] = {
    "replicaCount": (1, 3),
    "autoscaling": ({}, {"enabled": True}, {"enabled": True, "targetRequestsInFlight": 9, "metrics": []}),
    "ledger": ({}, {"store": "none"}, {"store": "postgresql", "url": "postgresql://meter@db/meter"}),
    "preStopSeconds": (0, 30),
    "terminationGracePeriodSeconds": (None, 3600),
    "livenessProbe": (None, {"periodSeconds": 30}),
    "networkPolicy": (
        {},
        {"enabled": False},
        {"http": {"from": [{"podSelector": {}}]}},
        {"admin": {"from": []}},
    ),
    "serviceMonitor": ({}, {"enabled": True}),
    "prometheusRule": ({}, {"enabled": True}),
    "dashboards": ({}, {"enabled": True, "folder": ""}),
    "existingSecrets": (
        {},
        {"adminToken": {"name": "a"}},
        {"keySalt": {"name": "a"}, "otlpHeaders": {"name": "b"}},
    ),
    "config": (
        {},
        {"admin": {"public": ["healthz", "readyz"]}},
        {"timeouts": {"drain": "1.5m"}},
        {"timeouts": None, "prices": {"catalogue": False}},
    ),
    "priceFiles": ({}, {"a.yaml": {"currency": "USD", "prices": []}}),
    "tls": ({}, {"existingSecret": "tls"}),
    "ingress": ({}, {"enabled": True, "hosts": [{"host": "a.example"}, {}], "annotations": {"a": "b"}}),
    "service": ({}, {"type": "LoadBalancer", "port": 443}, {"type": "NodePort"}),
    "spread": (True, False),
    "podDisruptionBudget": ({}, {"enabled": False}, {"maxUnavailable": "25%"}),
    "commonLabels": ({}, {"team": "a", "app.kubernetes.io/component": "b", "grafana_dashboard": "no"}),
    "podLabels": ({}, {"team": "b"}),
    "serviceAccount": ({}, {"create": False}, {"name": "a"}),
    "resources": ({}, {"limits": {"memory": "2Gi"}}),
    "extraEnv": ([], [{"name": "METER_LOG__LEVEL", "value": "debug"}, {"name": "POD_NAME", "value": "a"}]),
    "nameOverride": ("", "proxy"),
}


@pytest.mark.parametrize("case", CASES)
def test_lint(helm: Helm, case: str) -> None:
    """Helm finds nothing to warn of in any case."""
    done = helm.run("lint", "--strict", str(CHART), f"--values={CHART / 'ci' / case}-values.yaml")

    assert 0 == done.returncode, done.stdout


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CASES)
def test_kubernetes_takes_every_case(helms: list[Helm], case: str, version: str) -> None:
    """Both versions of Helm render the same, and Kubernetes knows every word of it."""
    first, *others = (list(helm.template(case=case, kube=version)) for helm in helms)

    for other in others:
        assert sorted(map(repr, first)) == sorted(map(repr, other))
    for manifest in first:
        check(manifest, version)


def test_package(helm: Helm, tmp_path: Path) -> None:
    """The package has what the templates read, and fits into the Secret that Helm keeps it in."""
    done = helm.run("package", str(CHART), f"--destination={tmp_path}")
    (package,) = tmp_path.iterdir()
    with tarfile.open(package) as tar:
        folders = {Path(name).parts[1] for name in tar.getnames()}

    assert 0 == done.returncode, done.stderr
    assert {"Chart.yaml", "README.md", "dashboards", "rules", "templates"} <= folders
    assert "ci" not in folders
    assert package.stat().st_size < 2**19


@pytest.mark.parametrize("seed", range(32))
def test_values_go_together(newest: Helm, seed: int) -> None:
    """Whatever values are chosen from the table, what is rendered is what Kubernetes takes."""
    chosen = random.Random(seed)  # noqa: S311 - the same choices in every run
    values = {name: chosen.choice(choices) for name, choices in CHOICES.items()}
    version = chosen.choice(VERSIONS)
    rendering = newest.template(kube=version, apis=(MONITORING, ROUTES), **values)

    for manifest in rendering:
        check(manifest, version)
    belongs_together(rendering)


def belongs_together(rendering: Rendering) -> None:
    """Fail where a name leads nowhere."""
    labels = rendering.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    ports = {port["name"] for port in rendering.container["ports"]}
    tester = rendering.one("Pod")["metadata"]["labels"]
    for service in rendering.all("Service"):
        selector = service["spec"]["selector"].items()
        assert selector <= labels.items()
        assert not selector <= tester.items()
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    volumes = {volume["name"] for volume in rendering.pod["volumes"]}
    assert volumes == {mount["name"] for mount in rendering.container["volumeMounts"]}
    names = [
        (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in rendering
    ]
    assert len(set(names)) == len(names)
    variables = [each["name"] for each in rendering.container["env"]]
    assert len(set(variables)) == len(variables)
