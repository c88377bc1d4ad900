"""Many exchanges at once, with faults on both sides: all are recorded, once, and nothing is left behind.

The formats are those of the recorded cases. Each request carries a number, by which its record is known.
"""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import os
import random
import socket
import stat
import struct
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from play import CASES, MEDIA, PATHS
from stage import Loop, running_house, until
from websockets.frames import Frame, Opcode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stage import House

FORMATS = (
    *("chat/openai", "chat/crlf", "chat/openai_whole", "chat/groq_three_times", "chat/error_in_the_middle"),
    *(
        "completions/openai",
        "completions/whole",
        "completions/several_choices",
        "chat/openai_asked_by_the_client",
    ),
)
"""Recorded cases that are asked for most; all of the others are too, now and then."""

HTML = b"<html><body>down</body></html>"
REFUSED = b'{"error":{"message":"Unknown parameter: stream_options"}}'
ERROR = b'{"error":{"message":"no","code":"rate_limit_exceeded"}}'
HUGE = b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * 1_500_000 + b'"}}]}\n\n'


@dataclass(frozen=True)
class Spoken:
    """A recorded case, as it is asked and answered over the wire."""

    path: str
    request: bytes
    answer: bytes
    media: bytes


def spoken() -> dict[str, Spoken]:
    """Return the recorded cases, by name."""
    out = {}
    for folder in sorted(CASES.glob("*/*")):
        answer = next(folder.glob("answer.*"))
        body = folder / "request.json"
        if not body.exists():
            continue
        expected = json.loads((folder / "expected.json").read_text())
        media = expected.get("media", "").encode() or MEDIA[answer.suffix]
        path = expected.get("path", PATHS[folder.parent.name])
        out[f"{folder.parent.name}/{folder.name}"] = Spoken(
            path, body.read_bytes(), answer.read_bytes(), media
        )
    return out


SPOKEN = spoken()


def chunk(data: bytes) -> bytes:
    """Return a chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def head(status: int, media: bytes, *fields: bytes) -> bytes:
    """Return an answer's head."""
    return b"\r\n".join([b"HTTP/1.1 %d X" % status, b"Content-Type: " + media, *fields, b"", b""])


def sized(status: int, media: bytes, body: bytes, *fields: bytes) -> bytes:
    """Return a whole answer."""
    return head(status, media, b"Content-Length: %d" % len(body), *fields) + body


CHUNKED = b"Transfer-Encoding: chunked"

FAULTS = {
    **dict.fromkeys(
        ("streams", "streams at once", "streams slowly", "answers", "compresses", "closes after"), 3
    ),
    **dict.fromkeys(
        ("closes behind", "compresses in vain", "huge", "no", "fails", "page", "error in 200"), 1
    ),
    **dict.fromkeys(("refuses to be asked", "says nothing", "resets", "says half a head", "breaks off"), 1),
    **dict.fromkeys(("breaks off by a reset", "is short", "is silent", "is silent from the start"), 1),
    **dict.fromkeys(("says no HTTP", "goes on as no HTTP"), 1),
}
"""What an upstream does, and how often."""


def scripted(fault: str, case: Spoken) -> tuple[list[bytes], str]:
    """Return what an upstream says in pieces, and how it ends."""
    body, media = case.answer, case.media
    third = len(body) // 3 + 1
    pieces = [body[at : at + third] for at in range(0, len(body), third)]
    opening = head(200, media, CHUNKED)
    chunks = [chunk(piece) for piece in pieces]
    begun = [opening, *chunks[:1]]
    coded = gzip.compress(body)
    return {
        "streams": ([opening, *chunks, b"0\r\n\r\n"], ""),
        "streams at once": ([b"".join([opening, *chunks, b"0\r\n\r\n"])], ""),
        "streams slowly": ([opening, *chunks, b"0\r\n\r\n"], "slow"),
        "answers": ([sized(200, media, body)], ""),
        "compresses": (
            [head(200, media, CHUNKED, b"Content-Encoding: gzip"), chunk(coded), b"0\r\n\r\n"],
            "",
        ),
        "compresses in vain": ([sized(200, media, body, b"Content-Encoding: gzip")], ""),
        "closes after": ([sized(200, media, body)], "close"),
        "closes behind": ([head(200, media), *pieces], "close"),
        "huge": ([opening, chunk(HUGE), *chunks, b"0\r\n\r\n"], ""),
        "no": ([sized(429, b"application/json", ERROR)], ""),
        "fails": ([sized(503, b"text/html", HTML)], ""),
        "page": ([sized(200, b"text/html", HTML)], ""),
        "error in 200": (
            [sized(200, media, b"data: " * (media == b"text/event-stream") + ERROR + b"\n\n")],
            "",
        ),
        "refuses to be asked": ([sized(400, b"application/json", REFUSED)], ""),
        "says nothing": ([], "close"),
        "resets": ([], "reset"),
        "says half a head": ([opening[:30]], "close"),
        "breaks off": (begun, "close"),
        "breaks off by a reset": (begun, "reset"),
        "is short": ([sized(200, media, body + b"more")[:-3]], "close"),
        "is silent": (begun, "wait"),
        "is silent from the start": ([], "wait"),
        "says no HTTP": ([b"hello\r\n\r\n"], "close"),
        "goes on as no HTTP": ([*begun, b"zz\r\n"], "wait"),
    }[fault]


CLIENT = {
    "stays": 6,
    **dict.fromkeys(("reads slowly", "sends chunks", "sends gzip", "sends a form"), 1),
    **dict.fromkeys(("leaves at once", "leaves soon", "resets soon", "leaves its upload", "mumbles"), 1),
    **dict.fromkeys(("talks", "talks and vanishes", "is hung up on"), 1),
}
"""What a client does, and how often; the last ones open a WebSocket."""


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve requests on one connection, each with the fault that its `X-Fault` names."""
    # A RuntimeError is the loop's word for writing to what is closed.
    with suppress(asyncio.IncompleteReadError, ConnectionError, RuntimeError):
        while not writer.is_closing():
            request = await reader.readuntil(b"\r\n\r\n")
            if b"\r\nUpgrade:" in request:
                await echo(request, reader, writer)
                break
            await read_body(request.lower(), reader)
            pieces, end = scripted(told(request, b"X-Fault"), SPOKEN[told(request, b"X-Case")])
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0.01 if end == "slow" else 0)
            if end == "wait":
                await reader.read(1)
            if end == "reset":
                reset(writer)
            if end not in ("", "slow"):
                break
    writer.close()


async def echo(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Switch protocols and say again what comes, or hang up in the middle."""
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    while data := await reader.read(65536):
        writer.write(data)
        if told(request, b"X-Fault") == "is hung up on":
            reset(writer)
            break


def told(request: bytes, name: bytes) -> str:
    """Return the value of a header field."""
    return request.partition(name + b": ")[2].split(b"\r\n", 1)[0].decode()


async def read_body(lower: bytes, reader: asyncio.StreamReader) -> None:
    """Read a request's body."""
    if CHUNKED.lower() in lower:
        while size := int(await reader.readline(), 16):
            await reader.readexactly(size + 2)
        await reader.readline()
        return
    at = lower.index(b"content-length:")
    await reader.readexactly(int(lower[at + 15 :].split(b"\r\n", 1)[0]))


def reset(writer: asyncio.StreamWriter) -> None:
    """Let a connection be reset when it is closed."""
    no_linger = struct.pack("ii", 1, 0)
    with suppress(OSError, AttributeError):  # it may be closed already, and have no socket
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)


@dataclass(frozen=True)
class Call:
    """One request: its number, what the client does, what the upstream does, and where it goes."""

    number: int
    way: str
    fault: str
    case: str
    prefix: str

    @property
    def socket(self) -> bool:
        """It asks for a WebSocket."""
        return self.way in ("talks", "talks and vanishes", "is hung up on")

    def request(self) -> tuple[bytes, bytes]:
        """Return head and body."""
        case = SPOKEN[self.case]
        if self.socket:
            fields = ["Connection: Upgrade", "Upgrade: websocket", f"X-Fault: {self.way}"]
            return self._head("GET", "/v1/anything", *fields), b""
        body, fields = case.request, ["Content-Type: application/json"]
        if self.way == "sends gzip":
            body, fields = gzip.compress(body), [*fields, "Content-Encoding: gzip"]
        if self.way == "sends a form":
            fields = ["Content-Type: multipart/form-data; boundary=b"]
        if self.way == "sends chunks":
            body = chunk(body[:9]) + chunk(body[9:]) + b"0\r\n\r\n"
            fields.append("Transfer-Encoding: chunked")
        else:
            fields.append(f"Content-Length: {len(body)}")
        return self._head("POST", case.path, "Connection: close", f"X-Fault: {self.fault}", *fields), body

    def _head(self, method: str, path: str, *fields: str) -> bytes:
        lines = [
            f"{method} {self.prefix}{path} HTTP/1.1",
            "Host: h",
            f"X-Case: {self.case}",
            f"X-No: {self.number}",
        ]
        return "\r\n".join([*lines, *fields, "", ""]).encode()


async def make(url: str, call: Call, luck: random.Random) -> None:
    """Make one call, in the client's way."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    opening, body = call.request()
    way = call.way
    writer.write(b"mumble\r\n\r\n" if way == "mumbles" else opening)
    writer.write(body[: len(body) // 2] if way == "leaves its upload" else body)
    with suppress(ConnectionError):
        if call.socket:
            await talk(reader, writer, way)
        elif way == "reads slowly":
            while await reader.read(2000):  # noqa: ASYNC110 - slowly is how it is to be read
                await asyncio.sleep(0.001 if luck.random() < 0.2 else 0)
        elif way in ("leaves soon", "resets soon", "leaves its upload"):
            await asyncio.sleep(luck.random() * 0.02)
        elif way != "leaves at once":
            await reader.read()
    if way in ("resets soon", "talks and vanishes"):
        reset(writer)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
    """Say something in a WebSocket, and hear it again."""
    with suppress(asyncio.IncompleteReadError):
        if b" 101 " not in await reader.readuntil(b"\r\n\r\n"):
            return
        for said in (b"word", b"x" * 5000):
            message = Frame(Opcode.TEXT, said).serialize(mask=True)
            writer.write(message)
            await reader.readexactly(len(message) // (2 if way == "talks and vanishes" else 1))
        if way == "talks":
            writer.write(Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True))
            writer.write_eof()
            await reader.read()


def calls(count: int, luck: random.Random) -> list[Call]:
    """Return so many calls, of all formats, ways and faults."""
    rest = list(SPOKEN)
    return [
        Call(
            number,
            luck.choices(list(CLIENT), list(CLIENT.values()))[0],
            luck.choices(list(FAULTS), list(FAULTS.values()))[0],
            luck.choice(FORMATS if luck.random() < 0.3 else rest),
            luck.choices(("", "/drains", "/gone"), (20, 5, 1))[0],
        )
        for number in range(count)
    ]


async def soak(url: str, wanted: Sequence[Call], at_once: int, luck: random.Random) -> None:
    """Make all the calls, so many at once."""
    room = asyncio.Semaphore(at_once)

    async def one(call: Call) -> None:
        async with room, asyncio.timeout(30):
            await make(url, call, luck)

    await asyncio.gather(*map(one, wanted))


def memory() -> int:
    """Return how many bytes this process has in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def sockets() -> int:
    """Return how many sockets this process has open."""
    count = 0
    for descriptor in range(4096):
        with suppress(OSError):
            count += stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    return count


def tasks(house: House) -> int:
    """Return how many tasks Meter has."""

    async def count() -> int:
        return len(asyncio.all_tasks())

    return int(house.loop.run(count()))


def total(house: House, name: str, label: str) -> dict[str, float]:
    """Return the sums of a metric's samples by one of its labels."""
    out: Counter[str] = Counter()
    for line in house.metrics().splitlines():
        sample, _, value = line.rpartition(" ")
        if sample.partition("{")[0] == name and float(value):
            out[sample.partition(f'{label}="')[2].partition('"')[0]] += float(value)  # type: ignore[assignment] # a Counter takes floats
    return dict(out)


def recorded(house: House, count: int) -> bool:
    """Tell whether so many exchanges have been recorded."""
    return house.value("meter_requests_total") >= count and len(house.lines()) >= count


def check_totals(house: House) -> None:
    """Compare the counters with the log lines, of which they tell the same."""
    lines = house.lines()
    tokens: Counter[str] = Counter()
    for line in lines:
        tokens.update(line["usage"])
    assert {kind: n for kind, n in tokens.items() if n} == total(house, "meter_tokens_total", "kind")
    for label in ("outcome", "operation"):
        told = Counter(line[label] for line in lines)
        assert told == total(house, "meter_requests_total", label)
    assert len(lines) == sum(total(house, "meter_accounting_total", "upstream").values())
    errors = Counter(line["error_type"] for line in lines if line["outcome"] != "ok")
    assert errors == total(house, "meter_errors_total", "error_type")


def check_quiet(house: House, tasks_before: int, sockets_before: int) -> None:
    """Wait until nothing is under way, and compare what is open with what was."""
    gauges = ("meter_requests_in_flight", "meter_drains_in_flight", "meter_draining")
    until(lambda: not any(map(house.value, gauges)), seconds=15)
    until(lambda: tasks(house) <= tasks_before and sockets() <= sockets_before, seconds=15)
    assert 0 == house.value("meter_sink_errors_total")
    events = Counter(line for name in ("library", "sink_failing") for line in map(str, house.lines(name)))
    assert {} == events


@pytest.mark.parametrize(
    ("count", "at_once"),
    [(1500, 50), pytest.param(10_000, 200, marks=pytest.mark.slow)],
    ids=["short", "long"],
)
def test_soak(count: int, at_once: int) -> None:
    """Whatever goes wrong, each request has one record, and no task, socket or byte is left behind."""
    luck = random.Random(7)  # noqa: S311 - nothing is kept secret by it
    upstream, clients = Loop(), Loop()

    async def listen() -> asyncio.Server:
        return await asyncio.start_server(serve, "127.0.0.1", 0)

    server: asyncio.Server = upstream.run(listen())
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        drain = {"on_client_disconnect": "drain", "drain": {"seconds": "2s"}}
        # A refusal is not remembered where usage is to be asked for in any case: each is met anew.
        ups = [
            {"name": "up", "base_url": url, "default": True, "usage": "ask"},
            {"name": "drains", "base_url": url, "prefix": "/drains", **drain},
            {"name": "gone", "base_url": f"http://127.0.0.1:{nobody.getsockname()[1]}", "prefix": "/gone"},
        ]
        attribution = {"headers": {"no": "x-no"}}
        with running_house(url, upstreams=ups, timeouts={"idle": "500ms"}, attribution=attribution) as house:
            tasks_before, sockets_before = tasks(house), sockets()
            wanted = calls(count, luck)
            used = []
            for half in (wanted[: count // 2], wanted[count // 2 :]):
                done = len(house.lines()) + len(half)
                work = soak(house.url, half, at_once, luck)
                asyncio.run_coroutine_threadsafe(work, clients._loop).result(550)
                until(partial(recorded, house, done), seconds=30)
                check_quiet(house, tasks_before, sockets_before)
                used.append(memory() - 3 * len(house.log.getvalue()))

            lines = house.lines()
            numbers = Counter(int(line["tags"]["no"]) for line in lines if line["tags"])
            assert Counter(call.number for call in wanted if call.way != "mumbles") == numbers
            assert count == len(lines) == len({line["id"] for line in lines})
            check_totals(house)
            outcomes = {line["outcome"] for line in lines}
            assert {
                "ok",
                "client_error",
                "upstream_error",
                "stream_error",
                "truncated",
                "client_closed",
            } <= outcomes
            assert {"timeout", "unreachable", "rejected"} <= outcomes
            if count > 5000:
                assert used[1] - used[0] < 16 << 20

    async def stop() -> None:
        server.close()

    upstream.run(stop())
    upstream.close()
    clients.close()
