"""A benchmark that measures errors is worse than none: the load finds whatever is not what was said."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.dialogue import PATHS, answer, chunk, request, stream
from bench.load import AlikeReading, Load, Reading, Work, WrongError, bear
from bench.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BODY = stream(usage=False).whole(3)


@asynccontextmanager
async def upstream() -> AsyncIterator[int]:
    """Run the upstream; give its port."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def borne(load: Load) -> dict[str, float]:
    """Let a load come to the upstream itself; return what came of it."""
    work = Work.of(load)
    async with upstream() as port, asyncio.timeout(20):
        await bear(port, work)
    return work.found(1.0)


@pytest.mark.parametrize(
    ("load", "events"),
    [
        (Load("json", 50, 4, keys=3), 0),
        (Load("embeddings", 3, 2), 0),
        (Load("image", 1, 1), 0),
        (Load("sse", 6, 3, events=5, pause_ms=1), 30),
        (Load("sse", 4, 2, events=500, pause_ms=0, asks=True), 2000),
    ],
    ids=lambda told: told.kind if isinstance(told, Load) else "",
)
async def test_everything_is_answered_and_counted(load: Load, events: int) -> None:
    """As many exchanges and events are counted as were asked for."""
    found = await borne(load)

    assert (load.exchanges, events) == (found["exchanges"], found["events"])


def cut(data: bytes, size: int) -> list[bytes]:
    """Cut data into pieces."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def whole(reading: Reading, data: bytes, size: int) -> bool:
    """Tell whether the last piece, and none before it, makes an answer whole."""
    *before, last = (reading.feed(piece) for piece in cut(data, size))
    return last and not any(before)


@pytest.mark.parametrize("size", [1, 2, 7, 100, 10_000])
@pytest.mark.parametrize("chunks", [1, 5, len(BODY)], ids=["small chunks", "middling", "one chunk"])
def test_an_answer_is_read_however_it_is_cut(size: int, chunks: int) -> None:
    """Neither the chunks of an answer nor the pieces in which it comes matter."""
    data = CHUNKED + b"".join(map(chunk, cut(BODY, chunks))) + b"0\r\n\r\n"

    assert whole(Reading(BODY), data, size)


@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_an_answer_of_known_length_is_read(size: int) -> None:
    """An answer that tells its length is whole when that has come."""
    body = answer("json")
    data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    assert whole(Reading(body), data, size)


WORD, END = stream(usage=False)


@pytest.mark.parametrize(
    ("came", "why"),
    [
        (CHUNKED + chunk(WORD) + chunk(END) + b"0\r\n\r\n", f"byte {len(WORD)} and on"),
        (
            CHUNKED + chunk(WORD) * 2 + b"0\r\n\r\n",
            f"the answer has {2 * len(WORD)} bytes, expected {len(BODY)}",
        ),
        (CHUNKED + chunk(WORD) * 3, "came"),
        (CHUNKED + chunk(stream(usage=True).word), "came"),
        (CHUNKED.replace(b"200 OK", b"502 Bad Gateway"), "expected a 200"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "the answer has 0 bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "expected a length or chunks"),
    ],
    ids=[
        "an event is missing",
        "the end is missing",
        "one too many",
        "another",
        "an error",
        "empty",
        "endless",
    ],
)
def test_what_is_wrong_is_found(came: bytes, why: str) -> None:
    """An answer that is not the upstream's, byte for byte, is an error that says how."""
    with pytest.raises(WrongError, match=why):
        Reading(BODY).feed(came)


def test_an_answer_that_is_worded_anew_must_have_as_many_events() -> None:
    """Of a proxy that writes answers itself, each event is counted at least."""
    alike, short = AlikeReading(BODY), AlikeReading(BODY)
    spaced = WORD.replace(b":", b": ")

    assert alike.feed(CHUNKED + chunk(spaced) * 2 + chunk(END) + b"0\r\n\r\n")
    with pytest.raises(WrongError, match="1 events, expected 2"):
        short.feed(CHUNKED + chunk(spaced) + chunk(END) + b"0\r\n\r\n")


class Cutting(asyncio.Protocol):
    """A proxy that ends an answer before its end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say half of an answer."""
        half: Any = transport
        half.write(CHUNKED + chunk(WORD))
        half.close()


async def test_a_broken_answer_ends_the_run_with_an_error() -> None:
    """The program says what broke and fails, and prints no figures."""
    server = await asyncio.get_running_loop().create_server(Cutting, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        load = json.dumps(asdict(Load("sse", 1, 1, events=3)))
        run = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.load", str(port), load),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        out, err = await run.communicate()

    assert (1, b"") == (run.returncode, out)
    assert b"a connection was closed before its answer's end" in err


async def test_a_request_reaches_the_upstream_whole() -> None:
    """The checksum of a long body, as the upstream got it, is what the load compares."""
    sent = request("image", {})
    async with upstream() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent[:-1] + b" ")
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()

    assert PATHS["image"].encode() in sent[:100]
    with pytest.raises(WrongError, match="x-body-crc32"):
        Reading(answer("json"), Work.of(Load("image", 1, 1)).told).feed(head)
