"""The image does what the package does, under the conditions of a cluster."""

from __future__ import annotations

import json
import re
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest
from stage import ask, post, says, until
from test_app import BODY, CHAT, FIRST, REST, SSE, free_port, get, streaming, waits_for

from meter import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from image.building import Image
    from image.running import Runtime
    from stage import Scripted

pytestmark = pytest.mark.real

NOBODY = 65532
LARGEST_BYTES = 320_000_000


def before(scripted: Scripted, **environ: str) -> dict[str, str]:
    """Return the variables of a Meter before an upstream, on free ports."""
    upstreams = json.dumps([{"name": "up", "base_url": f"{scripted.url}/v1"}])
    ports = {"METER_PORT": "0", "METER_ADMIN_PORT": str(free_port())}
    return {"METER_UPSTREAMS": upstreams} | ports | environ


def usage(admin_url: str) -> list[dict[str, Any]]:
    """Return what each model used, as far as the ledger knows."""
    return list(json.loads(get(admin_url, "/api/usage?by=model")[2])["rows"])


class TestWhatItSays:
    """What an engine and a cluster are told of the image."""

    def test_labels(self, image: Image) -> None:
        """Labels say what it is, which version, from which state of the sources."""
        prefix = "org.opencontainers.image."
        told = {name.removeprefix(prefix): value for name, value in image.config["Labels"].items()}

        assert ("Meter", __version__, "0123abc", "Apache-2.0") == tuple(
            told[name] for name in ("title", "version", "revision", "licenses")
        )

    def test_how_it_runs(self, image: Image) -> None:
        """It runs without a shell as a number that is nobody's, and says where it listens and keeps state."""
        config = image.config

        assert (["meter"], ["serve"]) == (config["Entrypoint"], config["Cmd"])
        assert (f"{NOBODY}:{NOBODY}", "SIGTERM") == (config["User"], config["StopSignal"])
        assert {"8080/tcp", "9464/tcp"} == set(config["ExposedPorts"])
        assert {"/var/lib/meter"} == set(config["Volumes"])

    def test_size(self, image: Image) -> None:
        """It has not grown unnoticed."""
        assert image.size_bytes < LARGEST_BYTES


class TestWhatIsInside:
    """The files of the image, and the commands that read them."""

    def test_only_the_state_can_be_written(self, image: Image) -> None:
        """Nothing but the folder of the state belongs to the user, and nothing of Meter's is open to all."""
        top = image.root / "opt" / "meter"
        files = [top, *top.rglob("*")]

        assert [] == [file for file in files if file.lstat().st_uid != 0]
        assert [] == [file for file in files if file.lstat().st_mode & 0o022 and not file.is_symlink()]
        state = (image.root / "var/lib/meter").stat()
        assert (NOBODY, NOBODY, 0o700) == (state.st_uid, state.st_gid, state.st_mode & 0o777)

    def test_what_built_it_is_left_behind(self, image: Image) -> None:
        """Neither pip, nor what builds packages, nor tests are in it; bytecode and data are."""
        (packages,) = image.root.glob("opt/meter/lib/python3*/site-packages")

        assert [] == [
            name for name in ("pip", "setuptools", "hatchling", "openai") if (packages / name).exists()
        ]
        assert [] == list(packages.rglob("tests"))
        sources = list((packages / "meter").rglob("*.py"))
        assert [] == [name for name in sources if not any(name.parent.glob(f"__pycache__/{name.stem}.*.pyc"))]
        programs = {program.name for program in (image.root / "opt/meter/bin").iterdir()}
        assert {"meter", "python", "python3", packages.parent.name} == programs

    @pytest.mark.parametrize("command", ["--version", "prices show gpt-4o --provider openai"])
    def test_commands(self, runtime: Runtime, command: str) -> None:
        """Every command works, and finds its data."""
        code, told = runtime.done("meter", *command.split())

        assert 0 == code, told
        assert {"--version": __version__}.get(command, "2.5") in told


class TestServing:
    """One process, from its start to its end."""

    def test_meters_an_exchange(self, runtime: Runtime, scripted: Scripted) -> None:
        """It serves, is alive and ready, and counts what went by."""
        scripted.script = says(SSE, FIRST, REST)
        with runtime.run(**before(scripted)) as meter:
            url, admin_url = meter.ready()
            health, readiness = get(admin_url, "/healthz")[0], get(admin_url, "/readyz")[0]
            _, body = ask(url, post(CHAT, BODY))
            line = until(meter.lines)[0]
            metrics = get(admin_url, "/metrics")[2].decode()

        assert (200, 200) == (health, readiness)
        assert FIRST in body
        assert ("ok", "gpt-4o") == (line["outcome"], line["model"])
        assert re.search(r'^meter_requests_total\{code="200",.*model="gpt-4o".* 1\.0$', metrics, re.MULTILINE)

    def test_root_is_read_only(self, runtime: Runtime) -> None:
        """The conditions are what they are meant to be: no rights, and one folder that can be written."""
        program = (
            "import os, sys\n"
            "for name in ('/opt/meter/x', '/tmp/x', '/x', 'x'):\n"
            "    try: open(name, 'w').close(); print(name)\n"
            "    except OSError as error: print(name, error.strerror)\n"
            "print(os.getpid(), os.getuid(), os.getgroups(), os.getcwd())\n"
            "status = [line.split() for line in open('/proc/self/status')]\n"
            "print([fields[1] for fields in status if fields[0] in ('CapEff:', 'NoNewPrivs:')])\n"
        )
        told = runtime.done("python", "-c", program)[1].splitlines()

        read_only = "Read-only file system"
        assert [f"/opt/meter/x {read_only}", f"/tmp/x {read_only}", f"/x {read_only}", "x"] == told[:4]  # noqa: S108 - that it cannot be written is what is tested
        assert [f"1 {NOBODY} [] /var/lib/meter", "['0000000000000000', '1']"] == told[4:]

    def test_health(self, runtime: Runtime, scripted: Scripted) -> None:
        """The health check asks at the admin port that was chosen: good while Meter lives, and no longer."""
        environ = before(scripted)
        with runtime.run(**environ) as meter:
            meter.ready()
            alive, elsewhere = runtime.healthy(**environ), runtime.healthy(METER_ADMIN_PORT=str(free_port()))
            meter.stop()
            assert 0 == meter.ended()
            dead = runtime.healthy(**environ)

        assert (True, False, False) == (alive, elsewhere, dead)

    def test_health_with_a_token(self, runtime: Runtime, scripted: Scripted) -> None:
        """A health that is not public is a sign of life all the same."""
        environ = before(scripted, METER_ADMIN__TOKEN="t" * 20, METER_ADMIN__PUBLIC="[]")
        with runtime.run(**environ) as meter:
            _, admin_url = meter.ready()

            assert 401 == get(admin_url, "/healthz")[0]
            assert runtime.healthy(**environ)

    def test_drains(self, runtime: Runtime, scripted: Scripted) -> None:
        """Told to stop, it is ready no more, ends the stream that is under way, and then itself, with 0."""
        gate = threading.Event()
        scripted.script = waits_for(gate, SSE + FIRST, REST)
        with runtime.run(**before(scripted)) as meter:
            url, admin_url = meter.ready()
            client = streaming(url)
            meter.stop(signal.SIGTERM)
            try:
                until(lambda: get(admin_url, "/readyz")[0] == 503)
            finally:
                gate.set()

            assert not client.ended()
            assert 0 == meter.ended()
        assert b"data: [DONE]" in client.came
        assert client.came.endswith(b"0\r\n\r\n")
        assert ["ok"] == [line["outcome"] for line in meter.lines()]

    def test_remembers(self, runtime: Runtime, scripted: Scripted, tmp_path: Path) -> None:
        """What is on the volume outlives the container."""
        scripted.script = says(SSE, FIRST, REST)
        environ = before(scripted)
        with runtime.run(**environ) as first:
            ask(first.ready()[0], post(CHAT, BODY))
            first.stop()
            assert 0 == first.ended()
        with runtime.run(**environ) as second:
            rows = usage(second.ready()[1])
        code, report = runtime.done("meter", "report", "--by", "model", "--format", "csv")

        assert [("gpt-4o", 1)] == [(row["model"], row["requests"]) for row in rows]
        assert (0, True) == (code, "gpt-4o" in report)
        assert ["meter"] == [entry.name for entry in runtime.state.iterdir()]
        assert {NOBODY} == {entry.stat().st_uid for entry in (tmp_path / "state").rglob("*")}

    def test_demo(self, runtime: Runtime) -> None:
        """The demo runs in it too, with somewhere for its files, and is reached from outside."""
        ports = ("--host", "0.0.0.0", "--admin-host", "0.0.0.0", "--port", "0", "--admin-port", "0")  # noqa: S104 - a container
        with runtime.run("demo", *ports, TMPDIR="/var/lib/meter") as demo:
            _, admin_url = demo.ready()
            until(demo.lines, seconds=30)
            status, _, metrics = get(admin_url, "/metrics", host="meter:9464")
            demo.stop()

            assert 0 == demo.ended()
        assert 200 == status
        assert b"\nmeter_requests_total{" in metrics
