"""What tests stand on: Meter, upstreams and clients, real parts on loopback, each on a port of its own."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import threading
import time
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import uvloop
from aiohttp import web

from meter.app import serving
from meter.settings import load

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

    from meter.app import Running


def until(holds: Callable[[], Any], *, seconds: float = 10.0) -> Any:
    """Wait until something holds, and return it; fail where it never does."""
    give_up = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < give_up, f"still not so after {seconds} s"
        time.sleep(0.005)
    return value


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()  # what `meter serve` runs on
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine there; return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def close(self) -> None:
        """Cancel what is left, let transports close, and stop the loop."""

        async def settle() -> None:
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            for _ in range(3):
                await asyncio.sleep(0)

        self.run(settle())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass
class House:
    """Meter in front of an upstream, both listening on loopback."""

    url: str
    """Meter's, without `/v1`."""
    admin_url: str
    upstream_url: str
    log: io.BytesIO
    running: Running
    loop: Loop

    def lines(self, event: str = "exchange") -> list[dict[str, Any]]:
        """Return the log's events of one kind so far."""
        lines = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in lines if line["event"] == event]

    def line(self, response_id: str) -> dict[str, Any]:
        """Return the log line of the exchange whose answer had this `x-meter-id`, once it is there."""
        found = until(lambda: [line for line in self.lines() if line["id"] == response_id])
        assert len(found) == 1
        return dict(found[0])

    def metrics(self, accept: str = "") -> str:
        """Return what a scrape gets."""
        return self.running.prometheus.render(accept)[0].decode()

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        total = 0.0
        for line in self.metrics().splitlines():
            sample, _, value = line.rpartition(" ")
            if sample.partition("{")[0] == name and all(f'{k}="{v}"' in sample for k, v in labels.items()):
                total += float(value)
        return total


@contextmanager
def running_house(upstream_url: str, **settings: Any) -> Iterator[House]:
    """Run Meter in front of an upstream; `settings` are those of a file."""
    loop = Loop()
    stack = AsyncExitStack()
    log = io.BytesIO()
    told = {
        "upstreams": [{"name": "up", "base_url": f"{upstream_url}/v1", "default": True}],
        "port": 0,
        "admin_port": 0,
        "ledger.url": "off",
        **settings,
    }
    effective = load(None, told, environ={})

    async def start() -> Running:
        return await stack.enter_async_context(serving(effective, stream=log))

    running: Running = loop.run(start())
    try:
        yield House(running.url, running.admin_url, upstream_url, log, running, loop)
    finally:
        loop.run(stack.aclose())
        loop.close()


@contextmanager
def running_app(app: web.Application) -> Iterator[str]:
    """Serve an application on a free port; yield its URL."""
    loop = Loop()
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None)

    async def start() -> str:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    try:
        yield loop.run(start())
    finally:
        loop.run(runner.cleanup())
        loop.close()


@dataclass
class Scripted:
    """An upstream on a raw socket: what it was sent, and what it says to each request in turn."""

    url: str = ""
    requests: list[bytes] = field(default_factory=list)
    """Heads and bodies as they came, one a request."""
    closed: list[float] = field(default_factory=list)
    """When Meter closed a connection, on the monotonic clock."""
    connections: int = 0
    script: Callable[[bytes, asyncio.StreamWriter], Awaitable[None]] | None = None


async def _serve(scripted: Scripted, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one request a connection, and note when the other side goes away before the answer's end."""
    scripted.connections += 1
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        request = head + await _body(head, reader)
        scripted.requests.append(request)
        assert scripted.script is not None
        left = asyncio.ensure_future(reader.read(1))
        work = asyncio.ensure_future(scripted.script(request, writer))
        await asyncio.wait((left, work), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            scripted.closed.append(time.monotonic())
        work.cancel()
        left.cancel()
    except (asyncio.IncompleteReadError, ConnectionError):
        return
    finally:
        writer.close()


async def _body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        body = b""
        while size := int((await reader.readline()).strip() or b"0", 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
        return body
    at = lower.find(b"content-length:")
    return await reader.readexactly(int(lower[at + 15 :].split(b"\r\n", 1)[0])) if at >= 0 else b""


def says(*pieces: bytes, hang: bool = False, reset: bool = False) -> Callable[..., Awaitable[None]]:
    """Return a script that writes pieces one by one, then ends the connection, hangs or breaks it."""

    async def script(_: bytes, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.002)
        if hang:
            await asyncio.Event().wait()
        if reset:
            writer.transport.abort()

    return script


def ask(url: str, request: bytes) -> tuple[bytes, bytes]:
    """Send a request's bytes; return the answer's head and its body, both as they came, read to the end."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(request)
        came = b""
        while piece := client.recv(65536):
            came += piece
    head, _, body = came.partition(b"\r\n\r\n")
    return head, body


def dechunked(body: bytes) -> bytes:
    """Return a chunked body's bytes; fail where it does not end as it should."""
    out = b""
    while True:
        size, _, body = body.partition(b"\r\n")
        count = int(size, 16)
        if count == 0:
            assert body == b"\r\n"
            return out
        out, body = out + body[:count], body[count + 2 :]


def post(path: str, body: bytes, *fields: str) -> bytes:
    """Return the bytes of a POST of JSON that closes its connection."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: meter",
        "Content-Type: application/json",
        "Connection: close",
        *fields,
    ]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


@contextmanager
def scripted_upstream() -> Iterator[Scripted]:
    """Run an upstream that says what its `script` writes."""
    loop = Loop()
    scripted = Scripted()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(lambda r, w: _serve(scripted, r, w), "127.0.0.1", 0)

    server: asyncio.Server = loop.run(start())
    scripted.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield scripted
    finally:
        loop.run(_closed(server))
        loop.close()


async def _closed(server: asyncio.Server) -> None:
    server.close()
