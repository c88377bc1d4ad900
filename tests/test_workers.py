"""`meter serve --workers 2`: several processes on one port, and one that is told everything."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import threading
from collections import Counter
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from load import ASK_WHOLE, Stage
from prometheus_client.parser import text_string_to_metric_families
from stage import ask, dechunked, post, running_house, says, until
from test_app import CHAT, FIRST, REST, SSE, Process, free_port, get, process, serving, streaming
from test_app import waits_for as _waits_for

from meter.workers import crew

if TYPE_CHECKING:
    from collections.abc import Iterator

    from load import Load
    from stage import Scripted

TWO = ("--workers", "2")
TRACE = "0af7651916cd43dd8448eb211c80319c"


class Fleet(NamedTuple):
    """Meter with two workers, as processes."""

    process: Process
    url: str
    admin: str

    @property
    def pids(self) -> list[int]:
        """Return the ids of the workers that were started last, by number."""
        return list({line["worker"]: line["pid"] for line in self.process.lines("worker_started")}.values())

    def samples(self, name: str, **labels: str) -> dict[tuple[str, ...], float]:
        """Scrape; give a metric's samples that have these labels, by the values of the others."""
        told = get(self.admin, "/metrics")[2].decode()
        families = text_string_to_metric_families(told)
        return {
            tuple(
                value for label, value in sorted(sample.labels.items()) if label not in labels
            ): sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        }

    def value(self, name: str, **labels: str) -> float:
        """Scrape; give the sum of a metric's samples that have these labels."""
        return sum(self.samples(name, **labels).values())


@contextmanager
def fleet(upstream_url: str, *argv: str, **environ: str) -> Iterator[Fleet]:
    """Run Meter with two workers for as long as the context lasts."""
    with serving(upstream_url, *TWO, *argv, **environ) as running:
        yield Fleet(*running)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Give an upstream, and clients for whatever is before it."""
    stage = Stage()
    yield stage
    stage.close()


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the ledger's file."""
    return tmp_path_factory.mktemp("ledger") / "ledger.db"


@pytest.fixture(scope="module")
def two(stage: Stage, ledger: Path) -> Iterator[Fleet]:
    """Give two workers before an upstream that knows, one that is away, and one that makes answers slowly."""
    upstreams = [
        {"name": "up", "base_url": f"{stage.url}/v1", "default": True},
        {"name": "away", "base_url": f"http://127.0.0.1:{free_port()}", "prefix": "/away"},
    ]
    argv = ("serve", "--port", "0", "--admin-port", "0", "--ledger", f"sqlite:///{ledger}", *TWO)
    with process(*argv, METER_UPSTREAMS=json.dumps(upstreams)) as running:
        yield Fleet(running, *running.ready())


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Give what the scripted upstream waits for; it is opened at the latest when the test ends."""
    gate = threading.Event()
    yield gate
    gate.set()


def waits_for(gate: threading.Event) -> Any:
    """Return a script of a stream that goes on once the gate is opened."""
    return _waits_for(gate, SSE + FIRST, REST)


def rows(ledger: Path) -> dict[str, tuple[dict[str, int], Decimal | None]]:
    """Return usage and cost of what the ledger has, by id."""
    with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True) as database:
        found = database.execute("SELECT id, usage, cost_pico_usd FROM exchanges").fetchall()
    database.close()
    return {
        str(id_): (json.loads(usage), None if pico is None else Decimal(pico).scaleb(-12))
        for id_, usage, pico in found
    }


def told(line: dict[str, Any]) -> tuple[dict[str, int], Decimal | None]:
    """Return usage and cost of a line of the log."""
    cost = line["cost_usd"]
    return line["usage"], None if cost is None else Decimal(str(cost))


def connections(port: int, pids: list[int]) -> dict[int, int]:
    """Return how many connections to a port each process has."""
    ours = {
        fields[9]
        for fields in map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])
        if int(fields[1].partition(":")[2], 16) == port and fields[3] == "01"
    }
    return {pid: sum(_inode(link) in ours for link in Path(f"/proc/{pid}/fd").iterdir()) for pid in pids}


def _inode(link: Path) -> str:
    try:
        return os.readlink(link).removeprefix("socket:[").removesuffix("]")  # noqa: PTH115 - it leads nowhere
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Tell whether a process is there, and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def _asked(load: Load, requests: int) -> None:
    until(lambda: len(load.ended) >= requests, seconds=30)


class TestTwo:
    """Two workers, as seen from outside."""

    def test_one_port(self, two: Fleet) -> None:
        """The parent says once for each port that it listens, after all workers do."""
        events = [json.loads(line)["event"] for line in two.process.stdout.splitlines()[:5]]

        assert ["started", "worker_started", "worker_started", "ready", "ready"] == events
        assert {1, 2} == {line["worker"] for line in two.process.lines("worker_started")}
        assert two.process._process.pid not in two.pids

    def test_every_scrape_is_exact(self, two: Fleet, stage: Stage, ledger: Path) -> None:
        """After any answer a scrape has it, and counters, log and ledger agree in tokens and cost."""
        counted = 0.0
        for _ in range(3):
            with stage.load(two.url) as load:
                _asked(load, 100)
            before, counted = counted, two.value("meter_requests_total", operation="chat")
            assert [] == load.failures
            assert len(load.ended) == counted - before

        until(lambda: sum(line["operation"] == "chat" for line in two.process.lines()) == counted)
        lines = {line["id"]: told(line) for line in two.process.lines() if line["operation"] == "chat"}
        kinds = sum((Counter(usage) for usage, _ in lines.values()), Counter[str]())
        cost = sum((cost for _, cost in lines.values() if cost is not None), Decimal(0))
        assert counted == len(lines)
        for kind, count in kinds.items():
            assert count == two.value("meter_tokens_total", kind=kind)
        assert float(cost) == pytest.approx(two.value("meter_cost_usd_total"), rel=1e-9)
        assert counted == two.value("meter_request_duration_seconds_count", operation="chat")
        until(lambda: lines.keys() <= rows(ledger).keys())
        kept = rows(ledger)
        assert lines == {id_: kept[id_] for id_ in lines}

    def test_exemplars(self, two: Fleet) -> None:
        """A scrape in OpenMetrics has the exemplar of what either worker served."""
        ask(two.url, post(CHAT, ASK_WHOLE, f"traceparent: 00-{TRACE}-b7ad6b7169203331-01"))

        text = get(two.admin, "/metrics", "Accept: application/openmetrics-text")[2].decode()
        assert f'trace_id="{TRACE}"' in text

    def test_both_serve(self, two: Fleet) -> None:
        """Of many connections each worker gets some."""
        port = int(two.url.rpartition(":")[2])
        clients = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(40)]
        try:
            until(lambda: sum(connections(port, two.pids).values()) >= 40)

            assert all(connections(port, two.pids).values())
            assert 0 == connections(port, [two.process._process.pid])[two.process._process.pid]
        finally:
            for client in clients:
                client.close()

    def test_an_upstream_that_is_away(self, two: Fleet) -> None:
        """Three failures in a row make an upstream down, whichever workers met them; the log says so once."""
        assert 1 == two.value("meter_upstream_up", upstream="away")
        for _ in range(3):
            assert 502 == get(two.url, "/away/v1/models")[0]
        assert 0 == two.value("meter_upstream_up", upstream="away")
        for _ in range(9):
            get(two.url, "/away/v1/models")

        until(lambda: two.process.lines("upstream_down"))
        assert ["away"] == [line["upstream"] for line in two.process.lines("upstream_down")]
        assert 1 == two.value("meter_upstream_up", upstream="up")

    def test_process_metrics(self, two: Fleet) -> None:
        """Memory and open files of the process are those of all processes together."""
        pids = [*two.pids, two.process._process.pid]
        pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids]
        resident = two.value("process_resident_memory_bytes")

        assert 0.8 * sum(pages) < resident / os.sysconf("SC_PAGE_SIZE") < 1.2 * sum(pages)
        assert 3 * len(list(Path("/proc/self/fd").iterdir())[:5]) < two.value("process_open_fds")

    def test_lag_and_restarts(self, two: Fleet) -> None:
        """How late each loop was is in one histogram, and nothing was restarted."""
        until(lambda: two.value("meter_event_loop_lag_seconds_count") >= 3)

        assert 0 == two.value("meter_worker_restarts_total")
        assert {} == {
            sink: errors for sink, errors in two.samples("meter_sink_errors_total").items() if errors
        }

    def test_the_api_has_what_has_just_ended(self, two: Fleet) -> None:
        """`/api/live` counts an answer that any worker has just given."""
        before = json.loads(get(two.admin, "/api/live")[2])
        ask(two.url, post(CHAT, ASK_WHOLE))

        now = json.loads(get(two.admin, "/api/live")[2])
        assert before["in_flight"] == now["in_flight"] == 0
        assert {"up": True}.items() <= {each["name"]: each["up"] for each in now["upstreams"]}.items()


def test_in_flight(scripted: Scripted, gate: threading.Event) -> None:
    """What is under way is added up, leaves with a worker that dies, and ends with a second SIGTERM."""
    scripted.script = waits_for(gate)
    with fleet(scripted.url) as two:
        clients = [streaming(two.url) for _ in range(12)]
        assert {("chat", "default"): 12.0} == two.samples("meter_requests_in_flight")
        first, second = two.pids
        left = connections(int(two.url.rpartition(":")[2]), two.pids)[second]
        assert 0 < left < 12

        os.kill(first, signal.SIGKILL)
        until(lambda: two.process.lines("worker_died"))
        assert {("chat", "default"): float(left)} == two.samples("meter_requests_in_flight")

        two.process.tell(signal.SIGTERM)
        until(lambda: get(two.admin, "/readyz")[0] == 503)
        two.process.tell(signal.SIGTERM)
        for client in clients:
            client.ended()
            assert client.came.endswith(FIRST + b"\r\n")
        assert (0, b"") == (two.process.ended(), two.process.stderr)
        told = [(line["status"], line["outcome"]) for line in two.process.lines()]
        assert [(200, "truncated")] * left == told
        assert [left] == [line["broken_off"] for line in two.process.lines("stopped")]


def test_kill(stage: Stage, tmp_path: Path) -> None:
    """A worker that is killed under load is replaced; what was counted stays, and rows are kept."""
    ledger = tmp_path / "ledger.db"
    with fleet(stage.url, "--ledger", f"sqlite:///{ledger}") as two:
        with stage.load(two.url, clients=16) as load:
            _asked(load, 100)
            early = dict(load.ended)
            counted = two.value("meter_requests_total")
            assert len(early) <= counted
            threading.Event().wait(1.0)  # what ended before is kept, whoever is killed
            (pid, other) = two.pids
            os.kill(pid, signal.SIGKILL)
            until(lambda: two.process.lines("worker_died"))
            after = two.value("meter_requests_total")
            assert counted < after
            until(lambda: len(two.process.lines("worker_started")) == 3, seconds=30)
        assert 0 < len(load.failures) < 16

        number = {line["pid"]: line["worker"] for line in two.process.lines("worker_started")}[pid]
        assert [(number, pid, -signal.SIGKILL)] == [
            (line["worker"], line["pid"], line["code"]) for line in two.process.lines("worker_died")
        ]
        assert 1 == two.value("meter_worker_restarts_total")
        assert after <= two.value("meter_requests_total")
        assert early.keys() <= rows(ledger).keys()
        assert other in two.pids
        assert pid not in two.pids
        with stage.load(two.url, clients=16) as again:
            _asked(again, 50)
        assert [] == again.failures
        two.process.tell(signal.SIGTERM)
        assert 0 == two.process.ended()
        assert again.ended.keys() <= rows(ledger).keys()
        assert rows(ledger).keys() == {line["id"] for line in two.process.lines()}


def test_drains(scripted: Scripted, gate: threading.Event) -> None:
    """After SIGTERM streams of both workers end well, new requests are refused, and all of it is told."""
    scripted.script = waits_for(gate)
    with fleet(scripted.url) as two:
        clients = [streaming(two.url) for _ in range(10)]
        assert all(connections(int(two.url.rpartition(":")[2]), two.pids).values())
        for pid in two.pids:  # they mind no signal: what is sent to a whole group means the parent
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                os.kill(pid, number)
        two.process.tell(signal.SIGTERM)
        until(lambda: get(two.admin, "/readyz")[0] == 503)
        refused = until(lambda: [each for each in [get(two.url, "/v1/models")] if each[0] == 503])
        assert "close" == refused[0][1]["connection"].lower()
        assert 1 == two.value("meter_draining")
        assert 200 == get(two.admin, "/healthz")[0]

        gate.set()
        for client in clients:
            assert not client.ended()
            assert FIRST + REST == dechunked(client.came.partition(b"\r\n\r\n")[2])
        assert (0, b"") == (two.process.ended(), two.process.stderr)
        assert 10 == [line["outcome"] for line in two.process.lines()].count("ok")
        assert [0] == [line["broken_off"] for line in two.process.lines("stopped")]
        assert [] == two.process.lines("worker_died")


def test_reload(tmp_path: Path, scripted: Scripted) -> None:
    """A good file holds for new requests on all workers, those started later too; a broken one for none."""
    file = tmp_path / "meter.yaml"
    scripted.script = says(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
    upstream = {"name": "a", "base_url": f"{scripted.url}/v1", "default": True}
    file.write_text(json.dumps({"upstreams": [upstream], "workers": 2}))
    argv = ("serve", "--config", str(file), "--port", "0", "--admin-port", "0")
    with process(*argv) as running:
        two = Fleet(running, *running.ready())
        assert {204} == {get(two.url, "/b/v1/models")[0] for _ in range(8)}  # by the default

        file.write_text(json.dumps({"upstreams": [upstream | {"name": "b", "prefix": "/b"}], "workers": 3}))
        running.tell(signal.SIGHUP)
        (line,) = until(lambda: running.lines("reloaded"))
        assert ["workers"] == line["ignored"]
        assert {204} == {get(two.url, "/b/v1/models")[0] for _ in range(8)}
        until(lambda: len(running.lines()) == 16)
        assert {"b"} == {line["upstream"] for line in running.lines()[8:]}

        file.write_text("upstreams: [{name: c, base_url: nowhere}]")
        running.tell(signal.SIGHUP)
        until(lambda: running.lines("reload_failed"))
        assert 0 == two.value("meter_config_reload_success")
        assert {204} == {get(two.url, "/b/v1/models")[0] for _ in range(8)}

        os.kill(two.pids[0], signal.SIGKILL)  # whoever comes next serves by what the others do
        until(lambda: len(running.lines("worker_started")) == 3, seconds=30)
        until(lambda: get(two.url, "/b/v1/models")[0] == 204)
        assert {204} == {get(two.url, "/b/v1/models")[0] for _ in range(8)}
        assert {"a", "b"} == {line["upstream"] for line in running.lines()}
        assert [] == running.lines("sink_failing")


def test_what_workers_agree_in(scripted: Scripted) -> None:
    """What is made in the background counts once, whoever is asked; a budget that is spent stops all."""
    made = b'{"id":"resp_1","object":"response","status":"%b","model":"gpt-4o","usage":%b}'
    usage = b'{"input_tokens":9,"output_tokens":3,"total_tokens":12}'
    begun, done = made % (b"queued", b"null"), made % (b"completed", usage)
    fields = b"Content-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\n" + fields

    async def script(request: bytes, writer: Any) -> None:
        body = begun if request.startswith(b"POST /v1/responses") else done
        await says(head % len(body) + body)(request, writer)

    scripted.script = script
    budgets = json.dumps([{"name": "b", "usd": "0.00001", "period": "year", "stop": True}])
    with fleet(scripted.url, METER_BUDGETS=budgets, METER_LEDGER__URL="off") as two:
        ask(two.url, post("/v1/responses", b'{"model":"gpt-4o","background":true,"input":"x"}'))
        for _ in range(8):
            get(two.admin, "/metrics")  # what workers were told before is heard by then
            assert 200 == get(two.url, "/v1/responses/resp_1")[0]
        assert 12 == two.value("meter_tokens_total")
        until(lambda: two.process.lines("budget_reached"))

        def statuses() -> set[bytes]:
            return {ask(two.url, post(CHAT, ASK_WHOLE))[0][9:12] for _ in range(8)}

        get(two.admin, "/metrics")
        assert {b"429"} == statuses()
        os.kill(two.pids[0], signal.SIGKILL)
        until(lambda: len(two.process.lines("worker_started")) == 3, seconds=30)
        assert {b"429"} == statuses()


class TestEnds:
    """What ends, and what does not."""

    def test_port_in_use(self) -> None:
        """A port that another has, even one who would share it, is a sentence and exit code 1."""
        with socket.socket() as held:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind(("127.0.0.1", 0))
            held.listen()
            port = held.getsockname()[1]
            argv = ("--upstream", "http://127.0.0.1:1", "--port", str(port), "--admin-port", "0", *TWO)
            with process("serve", *argv) as meter:
                assert 1 == meter.ended()
                assert ([], []) == (meter.lines("ready"), meter.lines("worker_started"))
                assert meter.stderr.endswith(b" port %d: address already in use\n" % port)
                assert 1 == meter.stderr.count(b"\n")

    def test_the_parent_dies(self, scripted: Scripted, gate: threading.Event) -> None:
        """Workers whose parent is killed take nobody new, let streams end, and end themselves."""
        scripted.script = waits_for(gate)
        with fleet(scripted.url) as two:
            client, pids = streaming(two.url), two.pids
            port = int(two.url.rpartition(":")[2])
            two.process.tell(signal.SIGKILL)
            until(lambda: not _listens(port))
            gate.set()

            assert not client.ended()
            assert FIRST + REST == dechunked(client.came.partition(b"\r\n\r\n")[2])
            until(lambda: not any(map(alive, pids)))
            assert b"Traceback" not in two.process.stderr

    def test_workers_that_cannot_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where workers end before they listen, nothing is served, and an error says with what they ended."""
        monkeypatch.setattr("sys.executable", "/bin/false")
        with (
            pytest.raises(OSError, match="a worker ended before it listened, with exit code 1"),
            running_house("http://127.0.0.1:1", workers=2),
        ):
            pass

    def test_a_crash_loop_does_not_spin(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A worker that ends again and again is replaced after twice as long each time."""
        slept: list[float] = []

        async def noted(seconds: float) -> None:
            slept.append(seconds)
            await asyncio.sleep(seconds / 50)

        with running_house("http://127.0.0.1:1", workers=2) as house:
            monkeypatch.setattr("sys.executable", "/bin/false")
            monkeypatch.setattr(crew, "sleep", noted)
            os.kill(house.lines("worker_started")[0]["pid"], signal.SIGKILL)
            until(lambda: len(slept) >= 8)

            assert [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] == slept[:8]
            assert 502 == get(house.url, "/v1/models")[0]
            assert 200 == get(house.admin_url, "/readyz")[0]
            until(lambda: house.value("meter_worker_restarts_total") >= 7)
            assert {1} == {line["code"] for line in house.lines("worker_died")[1:]}
        assert house.lines("stopped")


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
