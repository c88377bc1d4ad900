"""Meter starts as the chart says: with its arguments, variables and files, though in other places."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import trustme
import yaml
from helm.chart import CASES, CHART, MONITORING
from stage import until
from test_app import get, process
from tools import needed

from meter.cli import main
from meter.settings import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helm.chart import Helm, Rendering
    from test_app import Process

    from meter.demo.upstream import SimulatedUpstream

pytestmark = pytest.mark.real

EXAMPLES = Path(__file__).parents[2] / "examples"
SECRETS = {"admin-token": "sesame", "key-salt": "salt"}
"""Keys of Secrets, and what is in them."""
OWNED = ("host", "port", "admin_host", "admin_port", "tls", "admin", "workers")
"""Settings that the chart makes itself."""


def write_files(rendering: Rendering, folder: Path) -> Path:
    """Write the ConfigMap as it is mounted; return the path of Meter's file."""
    folder.mkdir(parents=True, exist_ok=True)
    name = rendering.container["volumeMounts"][0]["name"]
    (volume,) = (each for each in rendering.pod["volumes"] if each["name"] == name)
    for file, text in rendering.one("ConfigMap", volume["configMap"]["name"])["data"].items():
        (folder / file).write_text(text)
    return folder / "meter.yaml"


@contextmanager
def meter(rendering: Rendering, folder: Path) -> Iterator[tuple[Process, str, str]]:
    """Run the container's command in `folder`; yield it with the URLs of its ports."""
    places = {
        "/etc/meter-tls": folder / "tls",
        "/etc/meter": folder / "etc",
        "/var/lib/meter": folder / "lib",
    }

    def placed(text: str) -> str:
        for there, here in places.items():
            if there in text:
                return text.replace(there, str(here))
        return (
            "--port=0" if text == "--port=8080" else "--admin-port=0" if text == "--admin-port=9464" else text
        )

    def value(variable: Any) -> str:
        if isinstance(variable, str):
            return placed(variable)
        reference = variable.get("secretKeyRef")
        return SECRETS[reference["key"]] if reference else "from-the-cluster"

    write_files(rendering, folder / "etc")
    container = rendering.container
    assert ["meter"] == container["command"]
    arguments = [placed(text).replace("0.0.0.0", "127.0.0.1") for text in container["args"]]  # noqa: S104 - is taken out
    variables = {name: value(told) for name, told in rendering.environ().items()}
    with process(*arguments, **variables) as running:
        yield running, *running.ready()


def upstream(simulated: tuple[SimulatedUpstream, str]) -> dict[str, Any]:
    """Return an upstream for `config`."""
    return {"name": "simulated", "base_url": f"{simulated[1]}/v1"}


@pytest.mark.parametrize("case", CASES)
def test_meter_reads_what_is_rendered(newest: Helm, case: str, tmp_path: Path) -> None:
    """`meter config check` finds nothing wrong with the files of any case, prices included."""
    assert 0 == main(["config", "check", str(write_files(newest.template(case=case), tmp_path))])


def test_the_readmes_values(helm: Helm, tmp_path: Path) -> None:
    """The file of values that the chart's README shows is rendered, and Meter finds nothing wrong with it."""
    blocks = (CHART / "README.md").read_text().split("```yaml\n")
    values = yaml.safe_load(blocks[1].partition("```")[0])
    rendering = helm.template(apis=(MONITORING,), **values)

    assert {"PersistentVolumeClaim", "PrometheusRule"} <= {each["kind"] for each in rendering}
    assert 0 == main(["config", "check", str(write_files(rendering, tmp_path))])


def test_every_setting_passes(helm: Helm, tmp_path: Path) -> None:
    """Every setting of the example, numbers and switches included, comes through Helm as it was."""
    told = yaml.safe_load((EXAMPLES / "meter.yaml").read_text())
    config = {name: value for name, value in told.items() if name not in OWNED}
    prices = {
        "prices.yaml": yaml.safe_load((EXAMPLES / "prices.yaml").read_text().replace("valid_from: ", "# "))
    }
    rendered = load(str(write_files(helm.template(config=config, priceFiles=prices), tmp_path)), {}, {})

    expected = load(str(EXAMPLES / "meter.yaml"), {}, {}).show().replace(str(EXAMPLES), str(tmp_path))
    assert expected == rendered.show()


def test_it_serves(newest: Helm, simulated: tuple[SimulatedUpstream, str], tmp_path: Path) -> None:
    """Meter is ready as rendered, passes requests on, keeps them on its volume, and ends well."""
    rendering = newest.template(config={"upstreams": [upstream(simulated)]})
    with meter(rendering, tmp_path) as (running, proxy, admin):
        assert 200 == get(admin, "/readyz", host="meter-admin.llm.svc:9464")[0]
        assert 200 == get(proxy, "/v1/models", "Authorization: Bearer sk-user")[0]
        until(running.lines)
        running.tell(signal.SIGTERM)

        assert 0 == running.ended()
    assert (tmp_path / "lib" / "meter" / "ledger.db").is_file()


def test_secrets_arrive(newest: Helm, simulated: tuple[SimulatedUpstream, str], tmp_path: Path) -> None:
    """The admin port wants the token of the Secret; and no ledger is kept where none is to be."""
    secrets = {"adminToken": {"name": "meter"}, "keySalt": {"name": "meter"}}
    config = {"upstreams": [upstream(simulated)], "admin": {"public": ["healthz", "readyz"]}}
    rendering = newest.template(config=config, existingSecrets=secrets, ledger={"store": "none"})
    with meter(rendering, tmp_path) as (_, _, admin):
        assert 401 == get(admin, "/metrics")[0]
        assert 200 == get(admin, "/metrics", f"Authorization: Bearer {SECRETS['admin-token']}")[0]
    assert not (tmp_path / "lib" / "meter" / "ledger.db").exists()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_pod_of_helm_test(newest: Helm, scheme: str, tmp_path: Path) -> None:
    """What `helm test` runs passes before a Meter that works, also by HTTPS, and fails before another."""
    certificate = trustme.CA().issue_cert("meter.llm.svc")
    (tmp_path / "tls").mkdir()
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "tls" / "tls.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "tls" / "tls.key")
    rendering = newest.template(tls={"existingSecret": "cert" if scheme == "https" else ""})
    (container,) = rendering.one("Pod")["spec"]["containers"]
    script, *urls = container["args"]
    assert ["python3", "-c"] == container["command"]
    assert {f"{scheme}://meter.llm.svc:8080", "http://meter-admin.llm.svc:9464", "/metrics"} == set(urls)

    def run(*told: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", script, *told]
        return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)  # noqa: S603 - the chart's own

    with meter(rendering, tmp_path) as (_, proxy, admin):
        good, bad = run(proxy, admin, "/metrics"), run(admin, admin, "/metrics")
    assert (0, "both ports answer\n") == (good.returncode, good.stdout)
    assert 0 != bad.returncode


@pytest.mark.parametrize("case", CASES)
def test_notes(newest: Helm, case: str) -> None:
    """What is printed after an installation names Services that are there, and ends in a look at a metric."""
    text = notes(newest, f"--values={CHART / 'ci' / case}-values.yaml")
    ports = {
        service["metadata"]["name"]: service["spec"]["ports"][0]["port"]
        for service in newest.template(case=case).all("Service")
    }
    forwards = [line.split() for line in text.splitlines() if "port-forward" in line]

    assert "curl" in text.splitlines()[-1]
    assert ports == {words[4].removeprefix("service/"): int(words[5].partition(":")[2]) for words in forwards}


@pytest.mark.parametrize("private", [False, True])
def test_the_notes_commands_show_a_metric(
    newest: Helm, simulated: tuple[SimulatedUpstream, str], private: bool, tmp_path: Path
) -> None:
    """The commands that end the notes, run as they stand, show the request that they make."""
    needed("curl", "apt-get install -y curl")
    values: dict[str, Any] = {"config": {"upstreams": [upstream(simulated)]}}
    if private:
        values["existingSecrets"] = {"adminToken": {"name": "meter"}}
        values["config"]["admin"] = {"public": ["healthz", "readyz"]}
    commands = notes(newest, **values).partition("See a first metric")[2].partition("\n")[2]
    with meter(newest.template(**values), tmp_path) as (running, proxy, admin):
        # The cluster is played: its ports are those that Meter has here, and its Secret is known.
        for port, url in (("8080", proxy), ("9464", admin)):
            commands = commands.replace(f"127.0.0.1:{port}", urlsplit(url).netloc)
        cluster = f'kubectl() {{ case "$*" in *secret*) printf {SECRETS["admin-token"]};; esac; }}\n'
        first, _, last = commands.rstrip().rpartition("\n")
        assert "curl" in last
        assert 0 == shell(cluster + first).returncode
        until(running.lines)
        token = next((line for line in first.splitlines() if "token=" in line), "")
        shown = shell(f"{cluster}{token}\n{last}").stdout

    assert 'operation="models"' in shown


def shell(script: str) -> subprocess.CompletedProcess[str]:
    """Run what somebody would paste into a shell."""
    bash = needed("bash", "apt-get install -y bash")
    return subprocess.run([bash, "-c", script], capture_output=True, text=True, timeout=180, check=False)  # noqa: S603 - the chart's


def notes(helm: Helm, *argv: str, **values: Any) -> str:
    """Return what is printed after an installation; Helm 3 prints nothing without a cluster."""
    done = helm.run(
        "install", "meter", str(CHART), "--dry-run=client", "--output=json", *helm.told, *argv, **values
    )
    assert 0 == done.returncode, done.stderr
    return str(json.loads(done.stdout)["info"]["notes"])
