"""`meter serve` as a process: what it says when it is ready, and how it goes when it is told to."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from stage import ask, dechunked, post, says, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stage import Scripted

MODELS = b"GET /v1/models HTTP/1.1\r\nHost: m\r\n\r\n"
CHAT = "/v1/chat/completions"
BODY = b'{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":true}}'
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
FIRST = b'data: {"id":"c","model":"gpt-4o","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
REST = b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


class Process:
    """`meter` in a process of its own, with no `METER_` variables but those given."""

    def __init__(self, *argv: str, **environ: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("METER_")}
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter with our own arguments
            [sys.executable, "-m", "meter", *argv],
            cwd=Path(__file__).parents[1],
            env=inherited | {"PYTHONUNBUFFERED": "1"} | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.stdout = b""
        self.stderr = b""
        self._readers = [threading.Thread(target=self._read, args=(n,), daemon=True) for n in (1, 2)]
        for reader in self._readers:
            reader.start()

    def _read(self, number: int) -> None:
        pipe = self._process.stdout if number == 1 else self._process.stderr
        assert pipe is not None
        for line in pipe:
            if number == 1:
                self.stdout += line
            else:
                self.stderr += line

    def lines(self, event: str = "exchange") -> list[dict[str, Any]]:
        """Return the log's events of one kind so far."""
        lines = [json.loads(line) for line in self.stdout.splitlines(keepends=True) if line.endswith(b"\n")]
        return [line for line in lines if line["event"] == event]

    def ready(self) -> tuple[str, str]:
        """Return the URLs of the proxy and of the admin port, once both are listening."""

        def both() -> dict[str, str] | None:
            assert self._process.poll() is None, self.stderr
            urls = {line["listener"]: line["url"] for line in self.lines("ready")}
            return urls if len(urls) == 2 else None

        urls = until(both, seconds=30)
        return urls["proxy"], urls["admin"]

    def tell(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def ended(self) -> int:
        """Wait for the end; return the exit code."""
        code = self._process.wait(30)
        for reader in self._readers:
            reader.join()
        return code

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._process.poll() is None:
            self._process.kill()
        self.ended()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()


@contextmanager
def process(*argv: str, **environ: str) -> Iterator[Process]:
    """Run `meter` with these arguments and variables for as long as the context lasts."""
    running = Process(*argv, **environ)
    try:
        yield running
    finally:
        running.close()


@contextmanager
def serving(upstream_url: str, *argv: str, **environ: str) -> Iterator[tuple[Process, str, str]]:
    """Run `meter serve` before an upstream; yield it with the URLs of its proxy and its admin port."""
    ports = ("--port", "0", "--admin-port", "0")
    with process("serve", "--upstream", f"{upstream_url}/v1", *ports, *argv, **environ) as running:
        yield running, *running.ready()


def get(
    url: str, path: str, *fields: str, method: str = "GET", host: str = "meter"
) -> tuple[int, dict[str, str], bytes]:
    """Return status, fields (names in lower case) and body of an answer."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *fields, "", ""]
    head, body = ask(url, "\r\n".join(lines).encode())
    first, *rest = head.decode("latin-1").split("\r\n")
    named = (line.partition(":") for line in rest)
    return int(first.split(" ")[1]), {name.lower(): value.strip() for name, _, value in named}, body


class Client:
    """A client's connection, read in its own time by a thread."""

    def __init__(self, url: str, request: bytes) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=20)
        self._socket.sendall(request)
        self._ended: queue.Queue[bool] = queue.Queue()
        self.came = b""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        reset = False
        try:
            while piece := self._socket.recv(65536):
                self.came += piece
        except OSError as error:
            reset = isinstance(error, ConnectionResetError)
        self._socket.close()
        self._ended.put(reset)

    def ended(self) -> bool:
        """Wait until the other side has ended the connection; tell whether it was reset."""
        return self._ended.get(timeout=30)

    def leave(self) -> None:
        """End the connection from this side."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self.ended()


def waits_for(gate: threading.Event, before: bytes, after: bytes) -> Any:
    """Return a script of an upstream that goes on once the gate is opened."""

    async def script(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(before)
        await asyncio.to_thread(gate.wait)
        writer.write(after)
        await writer.drain()

    return script


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Give what the scripted upstream waits for; it is opened at the latest when the test ends."""
    gate = threading.Event()
    yield gate
    gate.set()


def streaming(url: str) -> Client:
    """Return a client in the middle of a stream."""
    client = Client(url, post(CHAT, BODY))
    until(lambda: FIRST in client.came)
    return client


_PLAIN = """
import asyncio, sys
from meter import app, settings
from meter.cli import serving

async def main():
    plain = settings.load(None, {"upstream": "http://127.0.0.1:1", "port": 0, "admin_port": 0})
    async with app.serving(plain):
        pass

asyncio.run(main())
print(*sys.modules, file=sys.stderr)
"""
"""Serves for a moment, and tells what that has imported."""


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


class TestStart:
    """What is said before the first request."""

    def test_says_where_it_listens(self) -> None:
        """One event `ready` for each port names it and its URL; port 0 is a free one, and both answer."""
        with serving("http://127.0.0.1:1") as (meter, proxy, admin):
            ready = meter.lines("ready")

            assert {"proxy", "admin"} == {line["listener"] for line in ready}
            assert 2 == len(ready) == len({proxy, admin})
            assert all(url.startswith("http://127.0.0.1:") for url in (proxy, admin))
            assert 502 == get(proxy, "/v1/models")[0]
            assert 200 == get(admin, "/readyz")[0]

            meter.tell(signal.SIGTERM)
            assert (0, b"") == (meter.ended(), meter.stderr)

    def test_imports_what_it_uses(self, tmp_path: Path) -> None:
        """A plain proxy holds neither what is for people's terminals nor what only some settings want."""
        done = subprocess.run(  # noqa: S603 - our own interpreter with our own code
            [sys.executable, "-c", _PLAIN],
            env={"XDG_STATE_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        libraries = {"alembic", "difflib", "opentelemetry", "psycopg", "requests"}
        own = {"meter.demo", "meter.prices.files", "meter.workers.crew"}

        assert set() == (libraries | own) & set(done.stderr.split())

    def test_listens_where_it_is_told(self) -> None:
        """Ports of the command line and of the environment are the ports that are had."""
        port, admin_port = free_port(), free_port()
        argv = ("serve", "--upstream", "http://127.0.0.1:1", "--port", str(port))
        with process(*argv, METER_ADMIN_PORT=str(admin_port), METER_PORT="1") as meter:
            proxy, admin = meter.ready()

            assert f"http://127.0.0.1:{port}" == proxy
            assert f"http://127.0.0.1:{admin_port}" == admin

    @pytest.mark.parametrize(("url", "level"), [("", "warning"), ("sqlite:///{folder}/ledger.db", "error")])
    def test_a_ledger_that_cannot_be_written(self, tmp_path: Path, url: str, level: str) -> None:
        """A default ledger that may not be had is a warning, one that was asked for an error; both serve."""
        folder = tmp_path / "file" / "meter"
        folder.parent.touch()
        environ = {"XDG_STATE_HOME": str(folder.parent), "METER_LEDGER__URL": url.format(folder=folder)}
        with serving("http://127.0.0.1:1", **environ) as (meter, proxy, admin):
            (told,) = until(lambda: meter.lines("sink_failing"))

            assert (level, "ledger") == (told["level"], told["sink"])
            assert 502 == get(proxy, "/v1/models")[0]
            assert b'meter_sink_errors_total{sink="ledger"} 0.0' not in get(admin, "/metrics")[2]

    @pytest.mark.parametrize("taken", ["--port", "--admin-port"])
    def test_port_in_use(self, taken: str) -> None:
        """A port that is taken is a sentence with that port, exit code 1, and nothing is called ready."""
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            held.listen()
            port = held.getsockname()[1]
            other = "--admin-port" if taken == "--port" else "--port"
            argv = ("--upstream", "http://127.0.0.1:1", taken, str(port), other, "0")
            with process("serve", *argv) as meter:
                assert 1 == meter.ended()
                assert [] == meter.lines("ready")
                said = meter.stderr.decode()
                assert 1 == said.count("\n")
                assert str(port) in said
                assert "in use" in said

    def test_wrong_price_file(self, tmp_path: Path) -> None:
        """A price file that cannot be used is a wrong configuration: exit code 2, no traceback."""
        prices = tmp_path / "prices.yaml"
        prices.write_text("prices: [{model: m, per_million_tokens: {inptu: 1}}]\n")
        argv = ("--upstream", "http://127.0.0.1:1", "--port", "0", "--admin-port", "0")
        with process("serve", *argv, METER_PRICES__FILES=json.dumps([str(prices)])) as meter:
            assert 2 == meter.ended()
            assert str(prices).encode() in meter.stderr
            assert b"inptu" in meter.stderr
            assert b"Traceback" not in meter.stderr


class TestDrain:
    """SIGTERM: what is under way ends well, what is new is sent away."""

    def test_drains(self, scripted: Scripted, gate: threading.Event) -> None:
        """Running exchanges finish, new ones get 503, probes tell, and the process ends with 0."""
        scripted.script = waits_for(gate, SSE + FIRST, REST)
        with serving(scripted.url) as (meter, proxy, admin):
            client = streaming(proxy)
            meter.tell(signal.SIGTERM)
            until(lambda: get(admin, "/readyz")[0] == 503)

            status, fields, body = get(proxy, "/v1/models", "Authorization: Bearer sk-x")
            assert 503 == status
            assert ("close", "1") == (fields["connection"].lower(), fields["x-meter-error"])
            error = json.loads(body)["error"]
            assert ("meter_error", None, "draining") == (error["type"], error["param"], error["code"])
            assert error["message"]
            assert 200 == get(admin, "/healthz")[0]
            assert b"\nmeter_draining 1.0\n" in get(admin, "/metrics")[2]
            refused = fields["x-meter-id"]

            gate.set()
            assert not client.ended()
            assert FIRST + REST == dechunked(client.came.partition(b"\r\n\r\n")[2])
            assert (0, b"") == (meter.ended(), meter.stderr)
            outcomes = {line["id"]: (line["outcome"], line["status"]) for line in meter.lines()}
            assert ("rejected", 503) == outcomes[refused]
            assert [("ok", 200)] == [told for told in outcomes.values() if told[0] == "ok"]
            assert ["draining"] == [x["error_type"] for x in meter.lines() if x["id"] == refused]

    def test_new_request_on_an_old_connection(self, scripted: Scripted, gate: threading.Event) -> None:
        """A connection that was kept alive is told to close with the first answer of the drain."""
        streams = waits_for(gate, SSE + FIRST, REST)

        async def script(request: bytes, writer: asyncio.StreamWriter) -> None:
            at_once = says(b"HTTP/1.1 204 No Content\r\n\r\n")
            await (streams if request.startswith(b"POST") else at_once)(request, writer)

        scripted.script = script
        with serving(scripted.url) as (meter, proxy, admin):
            client = streaming(proxy)
            with socket.create_connection(("127.0.0.1", int(proxy.rpartition(":")[2])), timeout=20) as kept:
                kept.sendall(MODELS)
                assert kept.recv(65536).startswith(b"HTTP/1.1 204 ")
                meter.tell(signal.SIGTERM)
                until(lambda: get(admin, "/readyz")[0] == 503)
                kept.sendall(MODELS)
                came = b""
                while piece := kept.recv(65536):
                    came += piece
            assert came.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nconnection: close\r\n" in came.lower()
            gate.set()
            assert not client.ended()
            assert 0 == meter.ended()

    def test_waits_for_an_answer_that_has_not_begun(self, scripted: Scripted, gate: threading.Event) -> None:
        """An exchange whose answer has not begun when SIGTERM comes gets all of it."""
        answer = b'{"model":"gpt-4o","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":0}}'
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
            answer
        )
        scripted.script = waits_for(gate, b"", head + answer)
        with serving(scripted.url) as (meter, proxy, admin):
            client = Client(proxy, post(CHAT, b'{"model":"gpt-4o"}'))
            until(lambda: scripted.requests)
            meter.tell(signal.SIGTERM)
            until(lambda: get(admin, "/readyz")[0] == 503)
            gate.set()

            assert not client.ended()
            assert client.came.endswith(b"\r\n\r\n" + answer)
            assert (0, ["ok"]) == (meter.ended(), [line["outcome"] for line in meter.lines()])

    def test_second_signal_breaks_off(self, scripted: Scripted, gate: threading.Event) -> None:
        """A second SIGTERM breaks running streams off, never as if they had ended, and logs them as such."""
        scripted.script = waits_for(gate, SSE + FIRST, REST)
        with serving(scripted.url) as (meter, proxy, admin):
            client = streaming(proxy)
            meter.tell(signal.SIGTERM)
            until(lambda: get(admin, "/readyz")[0] == 503)
            meter.tell(signal.SIGTERM)

            client.ended()
            assert client.came.endswith(FIRST + b"\r\n")
            assert (0, b"") == (meter.ended(), meter.stderr)
            (line,) = meter.lines()
            assert (200, "truncated") == (line["status"], line["outcome"])

    def test_drain_takes_so_long_and_no_longer(self, scripted: Scripted, gate: threading.Event) -> None:
        """At the end of `timeouts.drain` what still runs is broken off, here and upstream."""
        scripted.script = waits_for(gate, SSE + FIRST, REST)
        with serving(scripted.url, METER_TIMEOUTS__DRAIN="300ms") as (meter, proxy, _):
            client = streaming(proxy)
            meter.tell(signal.SIGTERM)

            client.ended()
            assert client.came.endswith(FIRST + b"\r\n")
            assert (0, b"") == (meter.ended(), meter.stderr)
            until(lambda: scripted.closed)
            (line,) = meter.lines()
            assert (200, "truncated") == (line["status"], line["outcome"])

    def test_a_log_that_nobody_reads_any_more(self, scripted: Scripted) -> None:
        """Where standard output is gone requests pass all the same, and SIGTERM still ends the process."""
        scripted.script = says(b"HTTP/1.1 204 No Content\r\n\r\n")
        port, admin_port = free_port(), free_port()
        argv = ("--upstream", scripted.url, "--port", str(port), "--admin-port", str(admin_port))
        read, write = os.pipe()
        with subprocess.Popen(  # noqa: S603 - our own interpreter with our own arguments
            [sys.executable, "-m", "meter", "serve", *argv],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.DEVNULL,
            stdout=write,
            stderr=subprocess.PIPE,
        ) as running:
            try:
                os.close(write)
                said = b""
                while said.count(b"\n") < 2 and (piece := os.read(read, 4096)):
                    said += piece
                os.close(read)
                assert 204 == get(f"http://127.0.0.1:{port}", "/v1/models")[0]
                failed = b'\nmeter_sink_errors_total{sink="log"} 0.0\n'
                until(lambda: failed not in get(f"http://127.0.0.1:{admin_port}", "/metrics")[2])
                running.send_signal(signal.SIGTERM)

                assert 0 == running.wait(5)
            finally:
                running.kill()


def test_lines_are_out_before_a_kill(scripted: Scripted) -> None:
    """Of exchanges that ended a second before the process was killed, every line is there."""
    scripted.script = says(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
    with serving(scripted.url) as (meter, proxy, _):
        for _ in range(100):
            get(proxy, "/v1/models")
        threading.Event().wait(1.0)
        meter.tell(signal.SIGKILL)

        assert -signal.SIGKILL == meter.ended()
        assert 100 == len({line["id"] for line in meter.lines()})
