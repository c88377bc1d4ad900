"""Values that are wrong or do not go together: refused in a sentence that names them, by both Helms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from helm.chart import CHART

if TYPE_CHECKING:
    from helm.chart import Helm

pytestmark = pytest.mark.real

UPSTREAMS = [{"name": "openai", "base_url": "https://api.openai.com/v1"}]

BY_THE_SCHEMA: dict[str, dict[str, Any]] = {
    "replicaCont": {"replicaCont": 2},
    "replicaCount": {"replicaCount": "two"},
    "tagg": {"image": {"tagg": "v1"}},
    "repository": {"image": {"repository": "meter:latest"}},
    "digest": {"image": {"digest": "deadbeef"}},
    "pullPolicy": {"image": {"pullPolicy": "Sometimes"}},
    "store": {"ledger": {"store": "mysql"}},
    "url": {"ledger": {"store": "postgresql", "url": "mysql://db"}},
    "size": {"ledger": {"volume": {"size": "10 GB"}}},
    "upstreems": {"config": {"upstreems": []}},
    "workers": {"config": {"workers": 0}},
    "upstreams": {"config": {"upstreams": []}},
    "existingSecrets": {"existingSecrets": {"apiKey": {"name": "a"}}},
    "listen": {"listen": "localhost"},
    "containerPorts": {"containerPorts": {"http": 80}},
    "service": {"service": {"type": "ExternalName"}},
    "ingress": {"ingress": {"hosts": ["llm.example.com"]}},
    "serviceMonitor": {"serviceMonitor": {"enabled": "yes"}},
    "interval": {"podMonitor": {"interval": 30}},
    "MeterDown": {"prometheusRule": {"alerts": {"MeterDown": {"servity": "page"}}}},
    "livenessProbe": {"livenessProbe": {"exec": {"command": ["true"]}}},
    "commonLabels": {"commonLabels": {"team": "a b"}},
    "terminationGracePeriodSeconds": {"terminationGracePeriodSeconds": "5m"},
    "podLabels": {"podLabels": None},
}
"""What the message names, and the values."""

BY_SENTENCE: dict[str, dict[str, Any]] = {
    "priceFiles has prices.json: expected a name such as prices.yaml": {
        "priceFiles": {"prices.json": {"prices": []}}
    },
    "priceFiles has meter.yaml": {"priceFiles": {"meter.yaml": {"prices": []}}},
    "is 30, less than the 330 that preStopSeconds (15), config.timeouts.drain (300) and 15": {
        "terminationGracePeriodSeconds": 30
    },
    "config.timeouts.drain is 5 minutes: expected a duration such as": {
        "config": {"upstreams": UPSTREAMS, "timeouts": {"drain": "5 minutes"}}
    },
    "config.port is set in config": {"config": {"port": 80}},
    "set listen instead": {"config": {"admin_host": "127.0.0.1"}},
    "set existingSecrets.adminToken instead": {"config": {"admin": {"token": "sesame"}}},
    "set ledger.store instead": {"config": {"ledger": {"url": "sqlite:///x"}}},
    "set tls.existingSecret instead": {"config": {"tls": {"cert": "a.pem"}}},
    "replicaCount is 2 and ledger.store is volume": {"replicaCount": 2, "ledger": {"store": "volume"}},
    "autoscaling.maxReplicas is 10 and ledger.store is volume": {
        "autoscaling": {"enabled": True},
        "ledger": {"store": "volume"},
    },
    "updateStrategy.type is RollingUpdate and ledger.store is volume": {
        "updateStrategy": {"type": "RollingUpdate"},
        "ledger": {"store": "volume"},
    },
    "ledger.store is postgresql, and neither existingSecrets.ledgerUrl.name nor ledger.url": {
        "ledger": {"store": "postgresql"}
    },
    "ledger.url and existingSecrets.ledgerUrl are both set": {
        "ledger": {"store": "postgresql", "url": "postgresql://db/meter"},
        "existingSecrets": {"ledgerUrl": {"name": "a"}},
    },
    "existingSecrets.ledgerPassword belongs to ledger.url": {
        "ledger": {"store": "postgresql"},
        "existingSecrets": {"ledgerPassword": {"name": "a"}, "ledgerUrl": {"name": "a"}},
    },
    "existingSecrets.ledgerUrl is set and ledger.store is ephemeral: expected postgresql": {
        "existingSecrets": {"ledgerUrl": {"name": "a"}}
    },
    "ledger.url has a password": {
        "ledger": {"store": "postgresql", "url": "postgresql://meter:sesame@db/meter"}
    },
    "config.admin.public lacks readyz, which readinessProbe": {
        "config": {"upstreams": UPSTREAMS, "admin": {"public": ["healthz"]}},
        "existingSecrets": {"adminToken": {"name": "a"}},
    },
    "autoscaling.minReplicas is 20, more than autoscaling.maxReplicas, which is 10": {
        "autoscaling": {"enabled": True, "minReplicas": 20}
    },
    "says by what": {"autoscaling": {"enabled": True, "targetCPUUtilizationPercentage": 0}},
    "share of resources.requests.cpu": {
        "autoscaling": {"enabled": True},
        "resources": {"requests": {"cpu": None}},
    },
    "wants one of maxUnavailable (1) and minAvailable (1)": {"podDisruptionBudget": {"minAvailable": 1}},
    "ingress.hosts is empty": {"ingress": {"enabled": True}},
    "httpRoute.parentRefs names no gateway": {"httpRoute": {"enabled": True, "force": True}},
    "networkPolicy.egress.to is empty": {"networkPolicy": {"egress": {"enabled": True}}},
    "serviceMonitor.enabled and podMonitor.enabled are both true": {
        "serviceMonitor": {"enabled": True, "force": True},
        "podMonitor": {"enabled": True, "force": True},
    },
    "no monitoring.coreos.com/v1: install its CustomResourceDefinitions first, or set podMonitor.force": {
        "podMonitor": {"enabled": True}
    },
    "the cluster has no gateway.networking.k8s.io/v1": {
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "g"}]}
    },
    "prometheusRule.alerts.MeterSpent: there is no such alert; expected one of ": {
        "prometheusRule": {"enabled": True, "force": True, "alerts": {"MeterSpent": {"enabled": False}}}
    },
}
"""What the message says, and the values."""


@pytest.mark.parametrize("name", BY_THE_SCHEMA)
def test_schema(helm: Helm, name: str) -> None:
    """A name that is not known, or a value of the wrong type, is refused by its name."""
    assert name in helm.refusal(**BY_THE_SCHEMA[name])


@pytest.mark.parametrize("sentence", BY_SENTENCE)
def test_sentence(helm: Helm, sentence: str) -> None:
    """What cannot work together is refused in a sentence that names both ends, without what is secret."""
    said = helm.refusal(**BY_SENTENCE[sentence])

    assert sentence in said
    assert "sesame" not in said


def test_all_at_once(helm: Helm) -> None:
    """Everything that is wrong is told at once."""
    said = helm.refusal(replicaCount=3, terminationGracePeriodSeconds=1, ledger={"store": "volume"})

    assert "replicaCount is 3" in said
    assert "terminationGracePeriodSeconds is 1" in said


def test_old_cluster(helm: Helm) -> None:
    """A cluster before 1.27 is refused."""
    done = helm.run("template", "meter", str(CHART), "--kube-version=1.26")

    assert 1 == done.returncode
    assert "1.27" in done.stderr
