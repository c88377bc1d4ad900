"""How an answer's body gets to the client: in its order, at the client's pace, and soon."""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from typing import TYPE_CHECKING, Any, cast

from meter.dialects.chat import ChatCompletions
from meter.headers import head
from meter.listener import RawAnswer
from meter.passage import Passage
from meter.pump import Pump
from meter.tap import Tap
from meter.upstream import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from meter.headers import Fields
    from meter.upstream.connection import Connection


def delta(text: str, finish: str | None = None) -> bytes:
    """Return an event with one choice."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


class Line:
    """The connection of an answer; notes whether it is read from."""

    held = False

    def pause_reading(self) -> None:
        """Note it."""
        self.held = True

    def resume_reading(self) -> None:
        """Note it."""
        self.held = False


class Out(RawAnswer):
    """An answer to a client that takes things up when it is told to."""

    def __init__(self) -> None:
        super().__init__(200, "OK", [])
        self.sent: list[bytes] = []
        self.ready = asyncio.Event()
        self.ready.set()
        self.clog: Callable[[bool], None] = lambda _: None

    def send(self, data: bytes) -> bool:
        """Take a piece."""
        self.sent.append(data)
        return True

    def heed(self, on_clog: Callable[[bool], None] | None) -> None:
        """Note whom to tell."""
        self.clog = on_clog or (lambda _: None)

    async def taken_up(self) -> None:
        """Wait until it is told to."""
        await self.ready.wait()


class Stand:
    """A pump between an upstream and a client that do as they are told."""

    def __init__(self, fields: Fields | None = None) -> None:
        self.line, self.out = Line(), Out()
        tap = Tap(ChatCompletions(), asked=True)
        coding = dict(fields or []).get(b"content-encoding")
        tap.answer(200, b"text/event-stream", coding)
        self.answer = Answer(cast("Connection", self.line), 200, "OK", head(fields or []))
        passage = Passage(id="", began=0.0, started_at=0.0, method="POST", path="/", fields=[], peer="")
        self.pump = Pump(passage, tap, self.answer, time.monotonic, drain_bytes=0)

    async def running(self) -> asyncio.Task[Any]:
        """Let it run until it waits for something."""
        task = asyncio.ensure_future(self.pump.run(self.out))
        await asyncio.sleep(0)
        return task

    def comes(self, piece: bytes) -> None:
        """Let a piece come from the upstream."""
        (self.answer.on_piece or self.answer.keep)(piece)

    @property
    def sent(self) -> bytes:
        """What the client got."""
        return b"".join(self.out.sent)


class TestOrder:
    """What comes while a long piece is being edited."""

    async def test_waits_behind_it(self) -> None:
        """A client that catches up meanwhile lets nothing pass that came later."""
        stand = Stand()
        task = await stand.running()
        long, last = delta("long") * 3000, delta("last")

        stand.comes(long)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert 0 < len(stand.sent) < len(long)
        stand.out.clog(True)
        stand.out.clog(False)
        assert stand.line.held
        stand.comes(last)
        stand.answer.end_with(None)
        await task

        assert long + last == stand.sent


class TestPace:
    """A client that takes nothing."""

    async def test_holds_what_a_piece_grows_into(self) -> None:
        """No more of a compressed piece is written than one stretch while the client is clogged."""
        stand = Stand([(b"content-encoding", b"gzip")])
        task = await stand.running()
        plain = delta("x" * 900) * 5000
        packer = zlib.compressobj(wbits=31)
        stand.out.ready.clear()

        stand.comes(packer.compress(plain) + packer.flush())
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(stand.sent) < len(plain) // 10
        stand.out.ready.set()
        stand.answer.end_with(None)
        await task

        assert plain == stand.sent


class TestWaiting:
    """An event that is held for what may go back onto it."""

    async def test_is_let_go_of_whatever_way_it_came(self) -> None:
        """It is written soon, also where the answer is compressed."""
        stand = Stand([(b"content-encoding", b"gzip")])
        task = await stand.running()
        packer = zlib.compressobj(wbits=31)
        finish = delta("", "stop")

        stand.comes(packer.compress(finish) + packer.flush(zlib.Z_SYNC_FLUSH))
        async with asyncio.timeout(5):
            while not stand.sent:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.005)
        assert finish == stand.sent
        stand.comes(packer.flush())
        stand.answer.end_with(None)
        await task

        assert finish == stand.sent


class TestEnd:
    """What is left of a pump that has ended."""

    async def test_heeds_nobody(self) -> None:
        """The client's connection does not hold on to it, however it ended."""
        stand = Stand()
        task = await stand.running()
        assert stand.pump._clog == stand.out.clog

        task.cancel()
        await asyncio.wait([task])

        assert stand.pump._clog != stand.out.clog
