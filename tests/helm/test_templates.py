"""One template after the other, what it says nothing of first; and what each value changes."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from helm.chart import CHART, MONITORING, ROUTES
from tools import needed

import meter

if TYPE_CHECKING:
    from pathlib import Path

    from helm.chart import Helm

pytestmark = pytest.mark.real

ADMIN_TOKEN: dict[str, Any] = {"existingSecrets": {"adminToken": {"name": "meter", "key": "token"}}}
UPSTREAM = {"name": "openai", "base_url": "https://api.openai.com/v1"}


def config(**settings: Any) -> dict[str, Any]:
    """Return the value `config` with an upstream and these settings."""
    return {"upstreams": [UPSTREAM], **settings}


@pytest.fixture(name="helm")
def _helm(newest: Helm) -> Helm:
    """Give one version of Helm: that the others render the same is seen elsewhere."""
    return newest


def test_only_what_every_release_needs(helm: Helm) -> None:
    """Without values, the objects are these; none is for another program."""
    found = {(each["kind"], each["metadata"]["name"]) for each in helm.template()}

    expected = {
        ("ConfigMap", "meter"),
        ("Deployment", "meter"),
        ("NetworkPolicy", "meter"),
        ("Pod", "meter-test"),
        ("Service", "meter"),
        ("Service", "meter-admin"),
        ("ServiceAccount", "meter"),
    }
    assert expected == found


def test_everything_is_in_the_releases_namespace(helm: Helm) -> None:
    """What has no namespace of its own is in that of the release, labelled alike."""
    for each in helm.template(commonLabels={"team": "a"}):
        assert "llm" == each["metadata"]["namespace"]
        assert {"app.kubernetes.io/instance": "meter", "team": "a"}.items() <= each["metadata"][
            "labels"
        ].items()


def test_names_have_room_for_what_follows(helm: Helm) -> None:
    """A long name is cut so that every name is one that Kubernetes takes."""
    for each in helm.template(fullnameOverride="x" * 90):
        assert len(each["metadata"]["name"]) <= 63


def test_selectors_outlive_versions(helm: Helm) -> None:
    """A selector has no label that a new version or another value changes."""
    labels = {"team": "a"}
    rendering = helm.template(commonLabels=labels, podLabels=labels, image={"tag": "9"})

    expected = {"name": "meter", "instance": "meter", "component": "proxy"}
    selector = rendering.one("Deployment")["spec"]["selector"]["matchLabels"]
    assert {f"app.kubernetes.io/{name}": value for name, value in expected.items()} == selector


def test_config_is_meters_file(helm: Helm) -> None:
    """Without prices the ConfigMap has one file, with just what `config` says."""
    rendering = helm.template(config=config(timeouts={"idle": "1h"}))

    assert ["meter.yaml"] == list(rendering.one("ConfigMap")["data"])
    assert {"upstreams": [UPSTREAM], "timeouts": {"idle": "1h"}} == rendering.config()


def test_price_files_are_named_in_it(helm: Helm) -> None:
    """Price files are beside it, and named in it unless it has an order of its own."""
    files: dict[str, Any] = {"b.yaml": {"prices": []}, "a.yaml": {"prices": []}}
    rendering = helm.template(priceFiles=files)

    assert {"meter.yaml", "a.yaml", "b.yaml"} == rendering.one("ConfigMap")["data"].keys()
    assert {"files": ["a.yaml", "b.yaml"]} == rendering.config()["prices"]
    own = config(prices={"files": ["b.yaml"], "catalogue": "known"})
    assert own["prices"] == helm.template(priceFiles=files, config=own).config()["prices"]


def test_a_changed_file_rolls_the_pods(helm: Helm) -> None:
    """The pods' annotation changes with the settings, and with nothing else."""

    def checksum(**values: Any) -> str:
        metadata = helm.template(**values).one("Deployment")["spec"]["template"]["metadata"]
        return str(metadata["annotations"]["checksum/config"])

    assert checksum() == checksum(replicaCount=2)
    assert checksum() != checksum(config=config(timeouts={"idle": "1h"}))
    assert checksum() != checksum(priceFiles={"a.yaml": {"prices": []}})


def test_no_secret_unless_named(helm: Helm) -> None:
    """Without Secrets no variable is read from one; each that is named becomes its variable."""
    assert "secretKeyRef" not in json.dumps(helm.template().pod)

    named = {
        "adminToken": "METER_ADMIN__TOKEN",
        "keySalt": "METER_KEY_SALT",
        "ledgerPassword": "PGPASSWORD",
        "otlpHeaders": "OTEL_EXPORTER_OTLP_HEADERS",
    }
    secrets = {name: {"name": name.lower(), "key": "k"} for name in named}
    ledger = {"store": "postgresql", "url": "postgresql://meter@db/meter"}
    variables = helm.template(existingSecrets=secrets, ledger=ledger).environ()
    for name, variable in named.items():
        assert {"secretKeyRef": {"name": name.lower(), "key": "k"}} == variables[variable]
    assert ledger["url"] == variables["METER_LEDGER__URL"]


def test_own_variables_win(helm: Helm) -> None:
    """A variable of the user's takes the place of the chart's."""
    variables = helm.template(extraEnv=[{"name": "XDG_STATE_HOME", "value": "/data"}]).environ()

    assert "/data" == variables["XDG_STATE_HOME"]
    assert "/var/lib/meter" == helm.template().environ()["XDG_STATE_HOME"]


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({}, f"meter:{meter.__version__}"),
        ({"repository": "r:5000/meter", "tag": "v2"}, "r:5000/meter:v2"),
        ({"tag": "v2", "digest": f"sha256:{'0' * 64}"}, f"meter@sha256:{'0' * 64}"),
    ],
)
def test_image(helm: Helm, values: dict[str, str], image: str) -> None:
    """The image is of the chart's version unless a tag is told; a digest wins over both."""
    rendering = helm.template(image=values)

    assert image == rendering.container["image"]
    assert image == rendering.one("Pod")["spec"]["containers"][0]["image"]


def test_security(helm: Helm) -> None:
    """Both pods run as nobody, write nowhere but to volumes, and hold no credential of the cluster."""
    rendering = helm.template()

    for pod in (rendering.pod, rendering.one("Pod")["spec"]):
        (container,) = pod["containers"]
        assert {"runAsNonRoot": True, "runAsUser": 65532}.items() <= pod["securityContext"].items()
        assert {"type": "RuntimeDefault"} == pod["securityContext"]["seccompProfile"]
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert {"drop": ["ALL"]} == container["securityContext"]["capabilities"]
        assert {"memory"} == container["resources"]["limits"].keys()


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ({}, 330),
        ({"preStopSeconds": 5, "config": config(timeouts={"drain": "1.5m"})}, 110),
        ({"preStopSeconds": 0, "config": config(timeouts={"drain": 0})}, 15),
        ({"config": config(timeouts={"drain": "1500ms"})}, 32),
        ({"config": config(timeouts={"drain": 3000000})}, 3000030),
        ({"config": config(timeouts=None)}, 330),
        ({"terminationGracePeriodSeconds": 330}, 330),
        ({"terminationGracePeriodSeconds": 900}, 900),
    ],
)
def test_grace(helm: Helm, values: dict[str, Any], seconds: int) -> None:
    """A pod has time for the wait before the stop, for the drain and to flush, or more where that is told."""
    assert seconds == helm.template(**values).pod["terminationGracePeriodSeconds"]


def test_wait_before_the_stop(helm: Helm) -> None:
    """Nothing waits where nothing is to; before Kubernetes 1.30 the image's Python does, then the kubelet."""
    assert "lifecycle" not in helm.template(preStopSeconds=0).container

    slept = {"preStop": {"sleep": {"seconds": 15}}}
    executed = {"preStop": {"exec": {"command": ["python3", "-c", "import time; time.sleep(15)"]}}}
    assert slept == helm.template(kube="v1.30.0-eks-123").container["lifecycle"]
    assert executed == helm.template(kube="1.29").container["lifecycle"]


def test_probes(helm: Helm) -> None:
    """A probe that is null is absent; the others ask the admin port, each its own page."""
    rendering = helm.template(startupProbe=None)

    assert "startupProbe" not in rendering.container
    for name, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert {"path": path, "port": "admin"} == rendering.container[name]["httpGet"]


def test_spread(helm: Helm) -> None:
    """Pods are not spread where they are not to be, else over zones and nodes, or as is told."""
    assert not {"affinity", "topologySpreadConstraints"} & helm.template(spread=False).pod.keys()

    pod = helm.template().pod
    assert ["ScheduleAnyway"] * 2 == [each["whenUnsatisfiable"] for each in pod["topologySpreadConstraints"]]
    own: dict[str, Any] = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
    assert own == helm.template(affinity=own).pod["affinity"]


def test_replicas_are_the_autoscalers(helm: Helm) -> None:
    """No autoscaler unless enabled; with it the Deployment says no number, which would undo its work."""
    assert [] == helm.template().all("HorizontalPodAutoscaler")

    rendering = helm.template(autoscaling={"enabled": True, "targetRequestsInFlight": 50})
    assert "replicas" not in rendering.one("Deployment")["spec"]
    metrics = rendering.one("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert ["Resource", "Pods"] == [each["type"] for each in metrics]
    assert "meter_requests_in_flight" == metrics[1]["pods"]["metric"]["name"]


def test_disruption_budget_for_several(helm: Helm) -> None:
    """One replica has no budget, which could only keep its node from being drained; several have."""
    assert [] == helm.template().all("PodDisruptionBudget")
    assert [] == helm.template(replicaCount=2, podDisruptionBudget={"enabled": False}).all(
        "PodDisruptionBudget"
    )

    assert 1 == helm.template(replicaCount=2).one("PodDisruptionBudget")["spec"]["maxUnavailable"]
    least = {"maxUnavailable": "", "minAvailable": "50%"}
    spec = helm.template(autoscaling={"enabled": True}, podDisruptionBudget=least).one("PodDisruptionBudget")[
        "spec"
    ]
    assert "50%" == spec["minAvailable"]
    assert "maxUnavailable" not in spec


def test_services_are_apart(helm: Helm) -> None:
    """What may lead to the outside has the proxy port alone; the admin port stays inside whatever is told."""
    rendering = helm.template(service={"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/8"]})
    proxy, admin = rendering.one("Service", "meter")["spec"], rendering.one("Service", "meter-admin")["spec"]

    assert ["http"] == [port["targetPort"] for port in proxy["ports"]]
    assert ["admin"] == [port["targetPort"] for port in admin["ports"]]
    assert ("LoadBalancer", "ClusterIP") == (proxy["type"], admin["type"])


def test_service_account(helm: Helm) -> None:
    """Where none is made the pods have the one that is named, or the default."""
    rendering = helm.template(serviceAccount={"create": False})

    assert [] == rendering.all("ServiceAccount")
    assert "default" == rendering.pod["serviceAccountName"]
    assert "own" == helm.template(serviceAccount={"create": False, "name": "own"}).pod["serviceAccountName"]


def test_volume_for_the_ledger(helm: Helm) -> None:
    """No claim unless the ledger is to be on a volume; then one, kept, with one pod at a time."""
    assert [] == helm.template().all("PersistentVolumeClaim")
    assert {"sizeLimit": "4Gi"} == volume(helm.template().pod, "state")["emptyDir"]

    rendering = helm.template(ledger={"store": "volume", "volume": {"storageClass": "-"}})
    claim = rendering.one("PersistentVolumeClaim")
    assert "keep" == claim["metadata"]["annotations"]["helm.sh/resource-policy"]
    assert "" == claim["spec"]["storageClassName"]
    assert {"claimName": "meter"} == volume(rendering.pod, "state")["persistentVolumeClaim"]
    assert {"type": "Recreate"} == rendering.one("Deployment")["spec"]["strategy"]


def test_claim_that_is_there(helm: Helm) -> None:
    """A claim of the user's is mounted, and none is made."""
    rendering = helm.template(ledger={"store": "volume", "volume": {"existingClaim": "own"}})

    assert [] == rendering.all("PersistentVolumeClaim")
    assert {"claimName": "own"} == volume(rendering.pod, "state")["persistentVolumeClaim"]


def volume(pod: dict[str, Any], name: str) -> dict[str, Any]:
    """Return one of a pod's volumes."""
    (found,) = (each for each in pod["volumes"] if each["name"] == name)
    return dict(found)


def test_certificate(helm: Helm) -> None:
    """No certificate is mounted unless named; with one, what leads to the proxy port says HTTPS."""
    assert "tls" not in {each["name"] for each in helm.template().pod["volumes"]}

    hosts = {"enabled": True, "hosts": [{"host": "a.example"}]}
    rendering = helm.template(tls={"existingSecret": "cert"}, ingress=hosts)
    assert "/etc/meter-tls/tls.crt" == rendering.environ()["METER_TLS__CERT"]
    assert "https" == rendering.one("Service", "meter")["spec"]["ports"][0]["appProtocol"]
    annotations = rendering.one("Ingress")["metadata"]["annotations"]
    assert "HTTPS" == annotations["nginx.ingress.kubernetes.io/backend-protocol"]
    assert "https://meter.llm.svc:8080" in rendering.one("Pod")["spec"]["containers"][0]["args"]


def test_network_policy(helm: Helm) -> None:
    """Off, there is none; on, the admin port is for the monitoring namespace and for the test's pod."""
    assert [] == helm.template(networkPolicy={"enabled": False}).all("NetworkPolicy")

    rendering = helm.template()
    spec = rendering.one("NetworkPolicy")["spec"]
    assert ["Ingress"] == spec["policyTypes"]
    http, admin = spec["ingress"]
    assert {"ports": [{"port": "http"}]} == http
    monitoring, tester = admin["from"]
    assert {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}} == monitoring["namespaceSelector"]
    labels = rendering.one("Pod")["metadata"]["labels"]
    assert tester["podSelector"]["matchLabels"].items() <= labels.items()


def test_network_policy_of_ones_own(helm: Helm) -> None:
    """Who is told may use the ports, and the test's pod; what Meter may reach is told with DNS."""
    peers = [{"ipBlock": {"cidr": "10.0.0.0/8"}}]
    egress = {"enabled": True, "to": [{"ports": [{"port": 443}]}]}
    told = {"http": {"from": peers}, "admin": {"from": []}, "egress": egress}
    spec = helm.template(networkPolicy=told).one("NetworkPolicy")["spec"]

    http, admin = spec["ingress"]
    assert 2 == len(http["from"])
    assert peers[0] == http["from"][0]
    assert 1 == len(admin["from"])
    assert [53, 53, 443] == [port["port"] for rule in spec["egress"] for port in rule["ports"]]


def test_ingress(helm: Helm) -> None:
    """No Ingress unless enabled; it leads to the proxy port, and nginx holds nothing back."""
    assert [] == helm.template().all("Ingress")

    rendering = helm.template(ingress={"enabled": True, "hosts": [{"host": "a.example"}]})
    ingress = rendering.one("Ingress")
    (path,) = ingress["spec"]["rules"][0]["http"]["paths"]
    assert {"name": "meter", "port": {"name": "http"}} == path["backend"]["service"]
    assert "off" == ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-buffering"]


def test_route(helm: Helm) -> None:
    """No HTTPRoute unless enabled; it leads to the proxy port, without an end to streams."""
    assert [] == helm.template(apis=(ROUTES,)).all("HTTPRoute")

    route = helm.template(apis=(ROUTES,), httpRoute={"enabled": True, "parentRefs": [{"name": "g"}]})
    (rule,) = route.one("HTTPRoute")["spec"]["rules"]
    assert [{"name": "meter", "port": 8080}] == rule["backendRefs"]
    assert {"request": "0s"} == rule["timeouts"]


@pytest.mark.parametrize(
    ("value", "kind", "endpoints"),
    [
        ("serviceMonitor", "ServiceMonitor", "endpoints"),
        ("podMonitor", "PodMonitor", "podMetricsEndpoints"),
    ],
)
def test_monitors(helm: Helm, value: str, kind: str, endpoints: str) -> None:
    """No monitor unless enabled; it finds the admin port, and shows the token only where metrics want it."""
    assert [] == helm.template(apis=(MONITORING,)).all(kind)

    private = config(admin={"public": ["healthz", "readyz"]})
    enabled: dict[str, Any] = {value: {"enabled": True, "labels": {"release": "p"}}}
    public = helm.template(apis=(MONITORING,), **enabled, **ADMIN_TOKEN)
    (endpoint,) = public.one(kind)["spec"][endpoints]
    assert {"port": "admin", "path": "/metrics", "honorLabels": False} == endpoint
    selector = public.one(kind)["spec"]["selector"]["matchLabels"].items()
    selected = (
        public.one("Deployment")["spec"]["template"]
        if kind == "PodMonitor"
        else public.one("Service", "meter-admin")
    )
    assert selector <= selected["metadata"]["labels"].items()

    (endpoint,) = helm.template(apis=(MONITORING,), config=private, **enabled, **ADMIN_TOKEN).one(kind)[
        "spec"
    ][endpoints]
    assert {"name": "meter", "key": "token"} == endpoint["authorization"]["credentials"]


def test_service_monitor_selects_one_service(helm: Helm) -> None:
    """A ServiceMonitor finds the admin port's Service and not the proxy's."""
    rendering = helm.template(apis=(MONITORING,), serviceMonitor={"enabled": True})
    selector = rendering.one("ServiceMonitor")["spec"]["selector"]["matchLabels"].items()

    found = [
        each["metadata"]["name"]
        for each in rendering.all("Service")
        if selector <= each["metadata"]["labels"].items()
    ]
    assert ["meter-admin"] == found


def rules(helm: Helm, **values: Any) -> list[dict[str, Any]]:
    """Return the rules that are rendered."""
    rendering = helm.template(apis=(MONITORING,), prometheusRule={"enabled": True, **values})
    return [rule for group in rendering.one("PrometheusRule")["spec"]["groups"] for rule in group["rules"]]


def test_rules_are_those_of_the_files(helm: Helm) -> None:
    """No rules unless enabled; then those of the files, with `{{ $labels }}` as Prometheus wants it."""
    assert [] == helm.template(apis=(MONITORING,)).all("PrometheusRule")

    files = [yaml.safe_load(path.read_text()) for path in sorted((CHART / "rules").glob("*.yaml"))]
    assert [rule for file in files for group in file["groups"] for rule in group["rules"]] == rules(helm)


def test_rules_are_changed_one_by_one(helm: Helm) -> None:
    """An alert is turned off, made to wait or made grave by its name, and the others stay as they are."""
    changes = {
        "MeterBudgetSpent": {"severity": "page", "for": "10m"},
        "MeterPriceCatalogueOld": {"enabled": False},
    }
    before = {rule["alert"]: rule for rule in rules(helm) if "alert" in rule}
    after = {rule["alert"]: rule for rule in rules(helm, alerts=changes) if "alert" in rule}

    assert {"MeterPriceCatalogueOld"} == before.keys() - after.keys()
    assert ("10m", "page") == (
        after["MeterBudgetSpent"]["for"],
        after["MeterBudgetSpent"]["labels"]["severity"],
    )
    assert {"MeterBudgetSpent"} == {name for name in after if after[name] != before[name]}


def test_runbooks_are_linked(helm: Helm) -> None:
    """Every alert links to its runbook where it is told that they can be read."""
    told = rules(helm, runbookBaseUrl="https://wiki.example.com/")

    for rule in told:
        if "alert" in rule:
            assert f"https://wiki.example.com/{rule['alert']}.md" == rule["annotations"]["runbook_url"]


def test_promtool_takes_the_rules(helm: Helm, tmp_path: Path) -> None:
    """Prometheus's own tool reads the rules as they are rendered."""
    promtool = needed("promtool", "apt-get install -y --no-install-recommends prometheus")
    rendering = helm.template(case="monitoring")
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(rendering.one("PrometheusRule")["spec"]))
    command = [promtool, "check", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own file

    assert 0 == done.returncode, done.stdout + done.stderr


def test_dashboards(helm: Helm) -> None:
    """No dashboards unless enabled; then each file as it is, in a ConfigMap that Grafana's sidecar finds."""
    assert 1 == len(helm.template().all("ConfigMap"))

    rendering = helm.template(dashboards={"enabled": True, "namespace": "monitoring"})
    found = [each for each in rendering.all("ConfigMap") if each["metadata"]["namespace"] == "monitoring"]
    files = {path.name: path.read_text() for path in (CHART / "dashboards").glob("*.json")}
    assert files == {name: text for each in found for name, text in each["data"].items()}
    for each in found:
        assert "1" == each["metadata"]["labels"]["grafana_dashboard"]
        assert {"grafana_folder": "Meter"} == each["metadata"]["annotations"]


def test_more_objects(helm: Helm) -> None:
    """Objects of the user's are rendered with the templates in them, given as data or as text."""
    text = "apiVersion: v1\nkind: Secret\nmetadata: {name: '{{ .Release.Name }}-b'}"
    data = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": '{{ include "meter.fullname" . }}-a'}}

    assert [] == helm.template().all("Secret")
    found = helm.template(extraObjects=[data, text]).all("Secret")
    assert ["meter-a", "meter-b"] == [each["metadata"]["name"] for each in found]
