"""SIGHUP and TLS on the proxy port: settings that are read again, and a port that speaks HTTPS."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from stage import ask, post, says, until
from test_app import BODY, CHAT, FIRST, REST, SSE, get, process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stage import Scripted
    from test_app import Process

MODELS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
)
PORTS = ("--port", "0", "--admin-port", "0")


def write(file: Path, **settings: Any) -> None:
    """Write a settings file; JSON is YAML."""
    file.write_text(json.dumps(settings))


@contextmanager
def meter(file: Path) -> Iterator[tuple[Process, str, str]]:
    """Run `meter serve` with a settings file."""
    with process("serve", "--config", str(file), *PORTS) as running:
        yield running, *running.ready()


def reload(running: Process, event: str = "reloaded") -> dict[str, Any]:
    """Tell it to read its settings again; return what it says then."""
    seen = len(running.lines(event))
    running.tell(signal.SIGHUP)
    return dict(until(lambda: running.lines(event)[seen:])[0])


class TestReload:
    """SIGHUP reads the settings again."""

    def test_new_settings_hold_for_new_requests(self, tmp_path: Path, scripted: Scripted) -> None:
        """After SIGHUP an upstream, a key's name, a price and a token of the changed file are in use."""
        file, prices = tmp_path / "meter.yaml", tmp_path / "prices.yaml"
        upstream = {"name": "a", "base_url": f"{scripted.url}/v1", "default": True}
        write(file, upstreams=[upstream])
        prices.write_text("prices: [{model: m, per_million_tokens: {input: 1, output: 2}}]")
        said = b'{"model":"m","choices":[],"usage":{"prompt_tokens":1000000,"completion_tokens":0}}'
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
        scripted.script = says(head + b"Content-Length: %d\r\n\r\n" % len(said) + said)
        key = {"name": "search", "fingerprint": "k_f858684fa8be"}
        with meter(file) as (running, proxy, admin):
            write(
                file,
                upstreams=[upstream, {"name": "b", "base_url": f"{scripted.url}/v1", "prefix": "/b"}],
                keys=[key],
                prices={"files": [str(prices)]},
                admin={"token": "t0ken-of-the-admin", "public": ["healthz"]},
            )
            assert [] == reload(running)["ignored"]

            ask(proxy, post("/b" + CHAT, b'{"model":"m"}'))

            line = until(lambda: running.lines()[-1:])[0]
            assert ("b", "m", 1.0) == (line["upstream"], line["model"], line["cost_usd"])
            assert 401 == get(admin, "/metrics")[0]
            assert 1 == value(admin, "meter_config_reload_success")
            assert 1 == value(admin, 'meter_upstream_up{upstream="b"}')

    def test_streams_end_as_they_began(self, tmp_path: Path, scripted: Scripted) -> None:
        """A stream that is under way at a reload goes on to its end, though its upstream is gone."""
        file = tmp_path / "meter.yaml"
        write(file, upstreams=[{"name": "a", "base_url": f"{scripted.url}/v1"}])
        going_on = threading.Event()
        scripted.script = waiting(going_on)
        with meter(file) as (running, proxy, _):
            client = socket.create_connection(address(proxy), timeout=20)
            client.sendall(post(CHAT, BODY))
            came = client.recv(65536)
            write(file, upstreams=[{"name": "z", "base_url": "http://127.0.0.1:1"}])
            reload(running)

            going_on.set()
            while piece := client.recv(65536):
                came += piece
            client.close()

            assert b"[DONE]" in came
            assert came.endswith(b"0\r\n\r\n")
            line = until(running.lines)[0]
            assert ("a", "ok") == (line["upstream"], line["outcome"])
            assert 502 == get(proxy, "/v1/models")[0]

    @pytest.mark.parametrize(
        ("text", "says_so"),
        [
            ("upstreams: [{name: a, base_url: nowhere}]", "upstreams[0].base_url"),
            ("upstreams: [", "meter.yaml"),
            ("upstreams: [{name: a, base_url: 'http://h'}]\nprices: {files: [gone.yaml]}", "gone.yaml"),
        ],
    )
    def test_a_broken_file_changes_nothing(
        self, tmp_path: Path, scripted: Scripted, text: str, says_so: str
    ) -> None:
        """A file that is wrong is reported, and the settings before it still hold."""
        file = tmp_path / "meter.yaml"
        write(file, upstreams=[{"name": "a", "base_url": f"{scripted.url}/v1"}])
        scripted.script = says(MODELS)
        with meter(file) as (running, proxy, admin):
            file.write_text(text)

            assert says_so in reload(running, "reload_failed")["reason"]

            assert 0 == value(admin, "meter_config_reload_success")
            assert 200 == get(proxy, "/v1/models")[0]

    def test_says_what_cannot_change(self, tmp_path: Path, scripted: Scripted) -> None:
        """Ports, workers, ledger and TLS stay as they were, and the log says which of them were changed."""
        file = tmp_path / "meter.yaml"
        upstreams = [{"name": "a", "base_url": f"{scripted.url}/v1"}]
        write(file, upstreams=upstreams)
        with meter(file) as (running, _, _):
            write(file, upstreams=upstreams, ledger={"url": "off"}, host="127.0.0.2")

            assert ["host", "ledger"] == reload(running)["ignored"]

    def test_says_where_telemetry_cannot_change(self, tmp_path: Path, scripted: Scripted) -> None:
        """Where spans, metrics and log records go stays as it was, reload after reload; the log says so."""
        file = tmp_path / "meter.yaml"
        upstreams = [{"name": "a", "base_url": f"{scripted.url}/v1"}]
        write(file, upstreams=upstreams)
        with meter(file) as (running, _, _):
            tracing = {"endpoint": "http://127.0.0.1:9", "propagate": True}
            write(file, upstreams=upstreams, tracing=tracing, log={"otlp": True})

            assert ["tracing.endpoint", "log.otlp"] == reload(running)["ignored"]
            assert ["tracing.endpoint", "log.otlp"] == reload(running)["ignored"]

    def test_counters_go_on(self, tmp_path: Path, scripted: Scripted) -> None:
        """A reload leaves counters as they are; other tags as labels begin them anew."""
        file = tmp_path / "meter.yaml"
        upstreams = [{"name": "a", "base_url": f"{scripted.url}/v1"}]
        write(file, upstreams=upstreams)
        scripted.script = says(MODELS)
        with meter(file) as (running, proxy, admin):
            get(proxy, "/v1/models")
            until(running.lines)
            reload(running)
            get(proxy, "/v1/models")
            until(lambda: len(running.lines()) == 2)

            assert 2 == value(admin, "meter_requests_total{")

            write(file, upstreams=upstreams, attribution={"headers": {"team": "x-team"}, "labels": ["team"]})
            reload(running)
            get(proxy, "/v1/models", "X-Team: search")
            until(lambda: len(running.lines()) == 3)

            assert 1 == value(admin, "meter_requests_total{")
            assert 'team="__other__"' in get(admin, "/metrics")[2].decode()


def waiting(going_on: threading.Event) -> Any:
    """Return a script that says the rest of a stream once it may."""

    async def script(_: bytes, writer: Any) -> None:
        import asyncio  # noqa: PLC0415 - of the upstream's loop alone

        writer.write(SSE + FIRST)
        await asyncio.to_thread(going_on.wait, 20)
        writer.write(REST)
        await writer.drain()

    return script


def address(url: str) -> tuple[str, int]:
    """Return host and port of a URL."""
    host, _, port = url.partition("://")[2].partition(":")
    return host, int(port)


def value(admin: str, beginning: str) -> float:
    """Return the sum of the samples that begin like this."""
    lines = get(admin, "/metrics", "Authorization: Bearer t0ken-of-the-admin")[2].decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(beginning))


class TestTls:
    """The proxy port speaks HTTPS where it has a certificate."""

    def test_speaks_https(self, tmp_path: Path, scripted: Scripted) -> None:
        """A client that trusts the certificate is served over TLS, and its exchange is recorded."""
        file, certificate = tmp_path / "meter.yaml", tmp_path / "localhost.pem"
        authority = trustme.CA()
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
        upstreams = [{"name": "a", "base_url": f"{scripted.url}/v1"}]
        write(file, upstreams=upstreams, tls={"cert": str(certificate)})
        scripted.script = says(MODELS)
        with meter(file) as (running, proxy, _):
            assert proxy.startswith("https://")
            context = ssl.create_default_context()
            authority.configure_trust(context)
            with (
                socket.create_connection(address(proxy), timeout=20) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as client,
            ):
                client.sendall(b"GET /v1/models HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n")
                came = b""
                while piece := client.recv(65536):
                    came += piece

            assert came.startswith(b"HTTP/1.1 200")
            assert "ok" == until(running.lines)[0]["outcome"]

    def test_refuses_what_is_no_certificate(self, tmp_path: Path, scripted: Scripted) -> None:
        """A file that holds no certificate ends the start with exit code 2 and a sentence."""
        file, cert = tmp_path / "meter.yaml", tmp_path / "cert.pem"
        cert.write_text("none")
        write(file, upstreams=[{"name": "a", "base_url": scripted.url}], tls={"cert": str(cert)})
        with process("serve", "--config", str(file), *PORTS) as running:
            assert 2 == running.ended()

            assert b"expected a certificate" in running.stderr
            assert b"Traceback" not in running.stderr
