"""The worker's mouth: what it says, in which order, and what it does where nobody can hear it."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from meter.exchange import Exchange, Outcome
from meter.workers import relay as module
from meter.workers import wire
from meter.workers.relay import Relay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

ONE = Exchange(id="1", started_at=0.0, method="GET", path="/", outcome=Outcome.OK)
TWO, THREE = replace(ONE, id="2"), replace(ONE, id="3")


class Line:
    """A relay, and the other end of its socket."""

    def __init__(self, relay: Relay, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.relay = relay
        self.reader = reader
        self.writer = writer

    async def heard(self, number: int) -> list[wire.Word]:
        """Return so many words."""
        found: list[wire.Word] = []
        async for frame in wire.frames(self.reader):
            found.append(wire.word(frame))
            if len(found) == number:
                break
        return found


@asynccontextmanager
async def line() -> AsyncIterator[Line]:
    """Give a relay and who hears it."""
    ours, theirs = socket.socketpair()
    _, ending = await asyncio.open_unix_connection(sock=ours)
    reader, writer = await asyncio.open_unix_connection(sock=theirs)
    yield Line(Relay(ending), reader, writer)
    for each in (ending, writer):
        each.close()


async def test_exchanges_gather() -> None:
    """Exchanges that end at about the same time go together."""
    async with line() as there:
        for exchange in (ONE, TWO, THREE):
            there.relay(exchange)

        assert [wire.Records([ONE, TWO, THREE])] == await there.heard(1)


async def test_order() -> None:
    """What is said besides comes behind what happened before it."""
    async with line() as there:
        there.relay(ONE)
        there.relay.say(wire.Flushed(1))
        there.relay(TWO)
        there.relay.failed("tap", ValueError("of a prompt"))
        there.relay.log(30, "library", logger="asyncio", exception=None)

        assert [
            wire.Records([ONE]),
            wire.Flushed(1),
            wire.Records([TWO]),
            wire.Failed("tap", "ValueError"),
            wire.Noted("warning", "library", {"logger": "asyncio", "exception": None}),
        ] == await there.heard(5)


async def test_what_cannot_be_said() -> None:
    """Half a character becomes a sign, what cannot be said at all is a failure, and the others go."""
    async with line() as there:
        there.relay(ONE)
        there.relay(replace(ONE, id="h", path="/\ud800", tags={"a": "\udfff"}))
        there.relay(replace(ONE, id="u", usage={"input": 2**70}))
        there.relay(TWO)

        half = replace(ONE, id="h", path="/\ufffd", tags={"a": "\ufffd"})
        assert [
            wire.Records([ONE]),
            wire.Records([half]),
            wire.Failed("relay", "OverflowError"),
            wire.Records([TWO]),
        ] == await there.heard(4)


async def test_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parent that does not listen stops nobody; what there was no room for is counted once it does."""
    monkeypatch.setattr(module, "_ROOM", 1 << 16)
    async with line() as there:
        sent = 0
        while not there.relay._dropped:
            there.relay(replace(ONE, path="/" * 2000))
            there.relay.flush()
            sent += 1
        heard = await there.heard(sent - 1)
        assert {wire.Records} == set(map(type, heard))
        there.relay(TWO)
        there.relay.close()

        assert [wire.Dropped(1), wire.Records([TWO])] == await there.heard(2)


async def test_nobody() -> None:
    """To a parent that is no more nothing is said, and nothing is raised."""
    async with line() as there:
        there.writer.transport.abort()
        for _ in range(100):
            there.relay(ONE)
            there.relay.say(wire.Flushed(1))
            await asyncio.sleep(0)

        assert there.relay._writer.transport.is_closing()
