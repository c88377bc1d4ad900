"""What each of Meter's signals costs: CPU time of its process, beside a proxy that meters nothing.

All servers run at once, each in a process of its own, and are measured in turn, round after round: what the
machine does meanwhile falls on all of them. A ratio is to the bare proxy in the same round; told are the
median of the rounds, the least and the most. CPU time is read `SETTLE_S` after the last answer, so that
what waits in memory for the ledger and the collector is paid for, too.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import meter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HERE = Path(__file__).parent
ROUNDS = 3
SETTLE_S = 1.3
HEADING = "# CPU time by signal\n\nWritten by `make bench`; [README.md](README.md) tells what is measured."
TICKS = os.sysconf("SC_CLK_TCK")
LIBRARIES = ("aiohttp", "uvloop", "msgspec", "prometheus-client", "sqlalchemy", "opentelemetry-sdk", "grpcio")


@dataclass(frozen=True)
class Load:
    """One way of calling, and what CPU time is divided by."""

    kind: str
    per: str
    exchanges: int
    connections: int


LOADS = (Load("json", "exchanges", 2500, 16), Load("sse", "events", 200, 200))
WARM_UP = (Load("json", "exchanges", 300, 16), Load("sse", "events", 20, 20))


@dataclass
class Proxy:
    """A proxy that is measured; figures are microseconds of CPU time, by kind of load, one a round."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    admin_port: int | None = None
    figures: dict[str, list[float]] = field(default_factory=lambda: {load.kind: [] for load in LOADS})

    def cpu_s(self) -> float:
        """Return user and system time so far, of all threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def bear(self, load: Load) -> dict[str, float]:
        """Let a load come; return what it counted."""
        argv: list[str | Path] = [
            HERE / "load.py",
            str(self.port),
            load.kind,
            str(load.exchanges),
            str(load.connections),
        ]
        done = subprocess.run([sys.executable, *argv], capture_output=True, timeout=30, check=False)  # noqa: S603 - our own
        if done.returncode:
            raise RuntimeError(f"{self.name}, {load.kind}: {done.stderr.decode()}")
        return dict(json.loads(done.stdout))

    def measure(self, load: Load) -> float:
        """Return the microseconds of CPU time that a load took, for each of what it counts."""
        before = self.cpu_s()
        counted = self.bear(load)
        time.sleep(SETTLE_S)
        return 1e6 * (self.cpu_s() - before) / counted[load.per]

    def lost(self) -> float:
        """Return how much of what happened the sinks lost; 0 where there are none."""
        if self.admin_port is None:
            return 0
        with urlopen(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        names = ("meter_sink_dropped_total{", "meter_sink_errors_total{")
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(names))


class Stage:
    """Where processes run until the end."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.upstream = self._server("upstream.py", free_ports(1))[0]
        self.http, self.grpc = self._server("collector.py", free_ports(2))

    def bare(self) -> Proxy:
        """Start the bare proxy."""
        (port,) = free_ports(1)
        argv: list[str | Path] = [HERE / "bare.py", str(port), str(self.upstream)]
        return Proxy("bare", port, self._start("bare", argv, [port]))

    def meter(self, name: str, settings: Mapping[str, Any]) -> Proxy:
        """Start Meter, with settings beside those that all have."""
        port, admin_port = free_ports(2)
        upstream = {"name": "up", "base_url": f"http://127.0.0.1:{self.upstream}/v1", "provider": "openai"}
        told = {"upstreams": [upstream], "port": port, "admin_port": admin_port, **settings}
        file = self._folder / f"{name}.yaml"
        file.write_text(json.dumps(told))  # JSON is YAML
        argv: list[str | Path] = ["-m", "meter", "serve", "--config", file]
        return Proxy(name, port, self._start(name, argv, [port, admin_port]), admin_port)

    def ledger(self, name: str) -> dict[str, str]:
        """Return the settings of a ledger."""
        return {"url": f"sqlite:///{self._folder / name}.db"}

    def _server(self, program: str, ports: list[int]) -> list[int]:
        self._start(program, [HERE / program, *map(str, ports)], ports)
        return ports

    def _start(self, name: str, argv: Iterable[str | Path], ports: Iterable[int]) -> subprocess.Popen[bytes]:
        out = self._stack.enter_context((self._folder / f"{name}.out").open("wb"))
        ours = ("OTEL_", "METER_")
        environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        environ["XDG_STATE_HOME"] = str(self._folder / name)
        environ["OTEL_BSP_MAX_QUEUE_SIZE"] = (
            "8192"  # flat out, the default has no room for all, and what is lost costs less
        )
        process = subprocess.Popen([sys.executable, *argv], stdout=out, stderr=out, env=environ)  # noqa: S603 - our own
        self._stack.callback(process.wait, 20)
        self._stack.callback(process.terminate)
        for port in ports:
            self._await(name, port, process)
        return process

    def _await(self, name: str, port: int, process: subprocess.Popen[bytes]) -> None:
        give_up = time.monotonic() + 20
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            if process.poll() is not None or time.monotonic() > give_up:
                sys.exit(f"{name} did not start:\n{(self._folder / f'{name}.out').read_text()}")
            time.sleep(0.02)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def proxies(stage: Stage) -> list[Proxy]:
    """Start all that are measured, the bare one first."""
    quiet: dict[str, Any] = {"log": {"level": "error"}, "ledger": {"url": "off"}}
    log = {"log": {"level": "info"}}
    http = {"tracing": {"endpoint": f"http://127.0.0.1:{stage.http}"}}
    grpc = {"tracing": {"endpoint": f"http://127.0.0.1:{stage.grpc}", "protocol": "grpc"}}
    told: dict[str, dict[str, Any]] = {
        "metrics": {},
        "metrics + log": log,
        "metrics + ledger": {"ledger": stage.ledger("ledger")},
        "metrics + traces, HTTP": http,
        "metrics + traces, gRPC": grpc,
        "all, traces by HTTP": {**log, "ledger": stage.ledger("all"), **http},
    }
    return [stage.bare(), *(stage.meter(name, {**quiet, **each}) for name, each in told.items())]


def measured(stage: Stage) -> list[Proxy]:
    """Measure all proxies in turn, for some rounds."""
    found = proxies(stage)
    for load in WARM_UP:
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda each, load=load: each.bear(load), found))
    time.sleep(SETTLE_S)
    for number in range(ROUNDS):
        for load in LOADS:
            for proxy in found:
                proxy.figures[load.kind].append(proxy.measure(load))
        print(f"round {number + 1} of {ROUNDS}", file=sys.stderr)
    return found


def told(of: Proxy, bare: Proxy, kind: str) -> str:
    """Return the cells of a proxy under one load."""
    pairs = zip(of.figures[kind], bare.figures[kind], strict=True)
    ratios = [ours / theirs for ours, theirs in pairs]
    median, spread = statistics.median(ratios), f"{min(ratios):.2f} to {max(ratios):.2f}"
    return f"{statistics.median(of.figures[kind]):.0f} | {median:.2f} | {spread if of is not bare else ''}"


def table(found: list[Proxy]) -> str:
    """Return all figures as a table."""
    loads = [load.kind for load in LOADS]
    head = [
        "| | µs per JSON exchange | to bare | spread | µs per SSE event | to bare | spread | lost |",
        "|---|--:|--:|---|--:|--:|---|--:|",
    ]
    rows = [
        f"| {each.name} | {' | '.join(told(each, found[0], kind) for kind in loads)} | {each.lost():.0f} |"
        for each in found
    ]
    return "\n".join([*head, *rows])


def machine() -> str:
    """Return what it ran on."""
    versions = ", ".join([f"Meter {meter.__version__}", *(f"{name} {version(name)}" for name in LIBRARIES)])
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores ({platform.machine()}), "
        f"Linux {platform.release()}, Python {platform.python_version()}, {versions}."
    )


def main() -> None:
    """Measure, print, and write down."""
    if not Path("/proc/self/stat").exists():
        sys.exit("CPU time is read from /proc: this needs Linux")
    began = time.monotonic()
    with ExitStack() as stack:
        text = table(measured(Stage(stack)))
    print(text, f"{time.monotonic() - began:.0f} s", sep="\n\n")
    (HERE / "RESULTS.md").write_text(f"{HEADING}\n\n{machine()}\n\n{text}\n")


if __name__ == "__main__":
    main()
