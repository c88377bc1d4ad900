"""Processes of a benchmark: started on their CPUs, measured from outside, and ended with it, however it ends.

Whatever is measured runs on the last CPU, all else on the others. Each process begins a session of its own,
so that Ctrl-C reaches the benchmark alone, which then ends them one by one.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.load import Load

__all__ = [
    "CPUS",
    "FailedError",
    "Held",
    "Server",
    "Stage",
    "StartError",
    "ending_in_order",
    "free_ports",
    "python",
    "room_for_files",
]

ROOT = Path(__file__).parent.parent
CPUS = sorted(os.sched_getaffinity(0))
_START_S = 180.0
_END_S = 5.0
_KIB = 1024


class FailedError(Exception):
    """A process of the benchmark failed, so that there is nothing to be told."""


class StartError(FailedError):
    """A server did not come to listen; `code` is what it ended with, if it has ended."""

    def __init__(self, name: str, code: int | None, said: str) -> None:
        why = "it does not listen" if code is None else f"exit code {code}"
        super().__init__(f"{name} did not start, {why}: {said}")
        self.code, self.said = code, said


@dataclass
class Server:
    """A process that serves, with all that it has started."""

    name: str
    port: int
    process: subprocess.Popen[bytes] | None
    """None for the upstream itself, asked without a proxy."""
    out: Path = field(default_factory=lambda: Path(os.devnull))
    folder: Path = field(default_factory=Path)
    admin_port: int | None = None
    verbatim: bool = True
    share: float = 1.0
    """Of a load, so much is borne by this one."""
    started_s: float = 0.0
    """From its start until it listened."""

    def pids(self) -> list[int]:
        """Return its processes, the first one first."""
        return [] if self.process is None else _family(self.process.pid)

    def cpu_s(self) -> float:
        """Return user and system time so far, of all its processes and their threads."""
        return sum(self.cpu_by_pid().values())

    def cpu_by_pid(self) -> dict[int, float]:
        """Return user and system time so far, by process.

        From the kernel's clock of a process: /proc has the same in steps of 10 ms.
        """
        return {pid: time.clock_gettime((~pid << 3) | 2) for pid in self.pids()}

    def memory(self, name: str) -> int:
        """Return the bytes of a kind of memory (Rss, Pss, VmHWM, ...) of all its processes."""
        return sum(_memory(pid, name) for pid in self.pids())

    def own_memory(self) -> int:
        """Return the bytes of memory that would be free without it."""
        return self.memory("Private_Clean") + self.memory("Private_Dirty")

    def forget_peak(self) -> None:
        """Let the peak of its memory be what it is now."""
        for pid in self.pids():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def scrape(self) -> bytes:
        """Return its metrics, as Prometheus asks for them; none where it has no admin port."""
        if self.admin_port is None:
            return b""
        url, accept = f"http://127.0.0.1:{self.admin_port}/metrics", "application/openmetrics-text"
        with urlopen(Request(url, headers={"Accept": accept}), timeout=30) as answer:
            return bytes(answer.read())

    def lost(self) -> float:
        """Return how much of what happened its sinks lost; 0 where there are none."""
        names = (b"meter_sink_dropped_total{", b"meter_sink_errors_total{")
        lines = self.scrape().splitlines()
        return sum(float(line.rpartition(b" ")[2]) for line in lines if line.startswith(names))


class Held:
    """A load that goes on until it is ended; `found` is then what came."""

    def __init__(self, process: subprocess.Popen[bytes], name: str) -> None:
        self._process, self._name = process, name
        self.found: dict[str, float] = {}

    def opened(self) -> None:
        """Wait until all of its connections are served."""
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        if not self._process.stdout.readline():
            raise FailedError(f"{self._name}: {self._process.communicate()[1].decode()}")

    def end(self) -> None:
        """Let it end."""
        out, err = self._process.communicate(timeout=_END_S)
        if self._process.returncode:
            raise FailedError(f"{self._name}: {err.decode()}")
        self.found = json.loads(out)


class Stage:
    """Where processes run until the end; `folder` is theirs."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (port,) = free_ports(1)
        # What the upstream is told to end by is that nobody holds its input any more.
        self.upstream = self.start("upstream", python("bench.upstream", port), (port,), aside=True).port

    def start(
        self,
        name: str,
        argv: Sequence[str | Path],
        ports: Sequence[int],
        *,
        environ: Mapping[str, str] | None = None,
        aside: bool = False,
        until: ExitStack | None = None,
        folder: Path | None = None,
    ) -> Server:
        """Start a server, `aside` from what is measured or on its CPU, and wait until it listens.

        It is ended with `until`, otherwise with the stage.
        """
        folder = folder or self.fresh(name)
        out = folder / "out"
        stack = until or self._stack
        began = time.monotonic()
        process = stack.enter_context(_running(argv, out, _environ(folder, environ or {}), aside=aside))
        for port in ports:
            _await(name, port, process, out)
        server = Server(name, ports[0], process, out, folder)
        server.started_s = time.monotonic() - began
        return server

    def fresh(self, name: str) -> Path:
        """Return a new folder."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))

    def direct(self) -> Server:
        """Return the upstream itself, to be asked as a proxy is."""
        return Server("direct", self.upstream, None)

    def bear(self, server: Server, load: Load) -> dict[str, float]:
        """Let a load come; return what it counted."""
        with self._load(server, load) as process:
            out, err = process.communicate(timeout=load.give_up_s + 10)
        if process.returncode:
            raise FailedError(f"{server.name}, {load.kind}: {err.decode()}")
        return dict(json.loads(out))

    @contextmanager
    def holding(self, server: Server, load: Load) -> Iterator[Held]:
        """Let a load come and stay."""
        with self._load(server, load) as process:
            held = Held(process, f"{server.name}, {load.kind}")
            held.opened()
            yield held
            held.end()

    @contextmanager
    def _load(self, server: Server, load: Load) -> Iterator[subprocess.Popen[bytes]]:
        argv = python("bench.load", server.port, json.dumps(asdict(load)))
        with _running(argv, None, dict(os.environ), aside=True) as process:
            yield process


def python(module: str, *arguments: object) -> list[str]:
    """Return the command that runs a module of this tree."""
    return [sys.executable, "-m", module, *map(str, arguments)]


@contextmanager
def _running(
    argv: Sequence[str | Path], out: Path | None, environ: dict[str, str], *, aside: bool
) -> Iterator[subprocess.Popen[bytes]]:
    process = None
    try:
        with _ENDING.later():  # or one that has just begun would be nobody's
            process = _popen(argv, out, environ, aside=aside)
        yield process
    finally:
        if process is not None:
            _end(process)


def _popen(
    argv: Sequence[str | Path], out: Path | None, environ: dict[str, str], *, aside: bool
) -> subprocess.Popen[bytes]:
    here = os.sched_getaffinity(0)
    # A child begins where its parent is: so no thread of it is ever elsewhere.
    os.sched_setaffinity(0, _cpus(aside=aside))
    with ExitStack() as stack:
        stack.callback(os.sched_setaffinity, 0, here)
        file = subprocess.PIPE if out is None else stack.enter_context(out.open("wb"))
        return subprocess.Popen(  # noqa: S603 - programs of the benchmark
            argv,
            cwd=ROOT,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


def _cpus(*, aside: bool) -> list[int]:
    return (CPUS[:-1] or CPUS) if aside else CPUS[-1:]


def _environ(folder: Path, more: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which nothing of whoever runs this tells a server what to do.

    Nor that it may not keep its bytecode, which what is installed has: to compile all of it takes longer than
    the rest of a start, and memory that stays.
    """
    foreign = ("OTEL_", "METER_", "XDG_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, "XDG_STATE_HOME": str(folder), "XDG_DATA_HOME": str(folder), **more}


def _await(name: str, port: int, process: subprocess.Popen[bytes], out: Path) -> None:
    give_up = time.monotonic() + _START_S
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None or time.monotonic() > give_up:
            raise StartError(name, process.returncode, out.read_text().strip())
        time.sleep(0.005)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it has started: they are a group of their own."""
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with suppress(OSError, ValueError):
                stream.close()
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)


def _family(pid: int) -> list[int]:
    """Return a process and those below it."""
    below: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):  # a thread ended meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            below += map(int, (task / "children").read_text().split())
    return [pid, *(each for child in below for each in _family(child))]


def _memory(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/{'status' if name.startswith('Vm') else 'smaps_rollup'}").read_text()
    told = next(line for line in lines.splitlines() if line.startswith(f"{name}:"))
    return int(told.split()[1]) * _KIB


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def room_for_files() -> int:
    """Allow as many open files as may be, here and in what is started; return how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


class _Ending:
    """Ends the benchmark when it is told to, or a little later."""

    def __init__(self) -> None:
        self._waits = self._told = False

    def __call__(self, *_: object) -> None:
        """Be told."""
        self._told = True
        if not self._waits:
            self._end()

    @contextmanager
    def later(self) -> Iterator[None]:
        """Do not end within this context, but behind it."""
        self._waits = True
        try:
            yield
        finally:
            self._waits = False
        if self._told:
            self._end()

    def _end(self) -> None:
        for number in _BOTH:
            signal.signal(number, signal.SIG_IGN)
        sys.exit("told to stop")


_BOTH = (signal.SIGTERM, signal.SIGINT)
_ENDING = _Ending()


def ending_in_order() -> None:
    """Let SIGTERM and Ctrl-C end the benchmark, once, so that it leaves no process behind."""
    for number in _BOTH:
        signal.signal(number, _ENDING)
