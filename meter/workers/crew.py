"""The parent's side: starts workers, replaces those that end by themselves, and passes on what they tell.

To the rest of the parent the crew is what serves the proxy port, as `Front` is where one process does it all.
What workers tell of exchanges goes to the audience; what they must agree in is kept here and told to all.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from asyncio import sleep
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

from meter.backgrounds import Backgrounds
from meter.budget import begins
from meter.ports import held, tls_context
from meter.workers import wire

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack

    from meter.audience import Audience
    from meter.front import Offer
    from meter.settings import Settings

__all__ = ["Crew"]

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0
"""Before a worker is replaced; twice as long each time, where workers end at once."""
_LASTING_SECONDS = 10.0
"""Who has served so long did not end at once."""

_FLUSH_SECONDS = 1.0
"""A worker whose loop is late is waited for no longer by who wants to know what goes on."""
_ADOPT_SECONDS = 10.0
"""Nor by a reload."""
_LATE_SECONDS = 5.0
"""Workers may take so much longer to end than they have for what is under way."""


class Crew:
    """Serves the proxy port by `number` workers, which tell `audience` everything."""

    def __init__(self, audience: Audience, number: int) -> None:
        self._audience = audience
        self._number = number
        self._backgrounds = Backgrounds()
        self._workers: dict[int, _Worker] = {}
        """Those that live, by number."""
        self._keeping: list[asyncio.Task[None]] = []
        self._stop = wire.Stop(at_once=False)
        self._stopping = False
        self._spent: object = None
        """Which budgets are spent that stop, in which period, as workers were told last."""
        self.broken_off = 0
        """Exchanges that did not end by themselves."""
        self._told: dict[type, Callable[[_Worker, Any], None]] = {
            wire.Ready: self._begin,
            wire.Unable: lambda worker, word: worker.ready.set_result(word.reason),
            wire.Records: self._record,
            wire.Doing: self._do,
            wire.Flushed: lambda worker, word: worker.has_flushed(word.number),
            wire.Missed: self._miss,
            wire.Reached: self._reach,
            wire.Background: self._remember,
            wire.Failed: lambda _, word: audience.report.count(word.part, word.exception),
            wire.Dropped: self._drop,
            wire.Noted: lambda _, word: audience.journal.note(word.level, word.event, **word.told),
            wire.Stopped: self._end,
        }

    # What serves the proxy port does.

    async def listen(self, stack: AsyncExitStack, offer: Offer) -> str:
        """Start the workers; return the port's URL once all listen. Raises OSError where one cannot."""
        settings = offer.settings
        self._offer = offer
        url = held(stack, settings.host, settings.port, tls_context(settings))
        self._port = int(url.rpartition(":")[2])
        stack.push_async_callback(self._let_go)
        numbers = range(1, self._number + 1)
        first = [await self._start(number) for number in numbers]
        for worker in first:
            unable = await worker.ready
            if unable is not None:
                raise OSError(unable)
        self._keeping = [
            asyncio.create_task(self._keep(number, worker))
            for number, worker in zip(numbers, first, strict=True)
        ]
        return url

    async def adopt(self, offer: Offer) -> None:
        """Serve by other settings from now on."""
        self._offer = offer
        self._say(wire.Adopt(settings=self._share(offer.settings), book=offer.book))
        self._spent = None
        self._tell_spent()
        await self._flushed(_ADOPT_SECONDS)

    async def fresh(self) -> None:
        """Wait until all has been told that has happened until now, but not for long."""
        await self._flushed(_FLUSH_SECONDS)

    def stop(self) -> None:
        """Begin to drain."""
        self._stopping = True
        self._say(self._stop)

    def hurry(self) -> None:
        """Wait no longer for what is under way."""
        self._stop = wire.Stop(at_once=True)
        self.stop()

    async def drained(self, seconds: float) -> None:
        """Wait until all workers have ended, which takes them so long at the most."""
        if not self._stopping:
            self.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds + _LATE_SECONDS):
                while self._workers:
                    await asyncio.wait([worker.hearing for worker in self._workers.values()])

    def break_off(self) -> None:
        """Do nothing: workers have."""

    async def _let_go(self) -> None:
        """End whoever is left."""
        self._stopping = True
        for task in self._keeping:
            task.cancel()
        for worker in list(self._workers.values()):
            worker.process.kill()
            await worker.hearing

    # Workers come and go.

    async def _start(self, number: int) -> _Worker:
        ours, theirs = socket.socketpair()
        with theirs, ExitStack() as failing:
            failing.enter_context(ours)
            # A session of its own: a terminal's signals are for the parent, which says what they mean.
            process = subprocess.Popen(  # noqa: S603, ASYNC220 - our own interpreter; a few milliseconds
                [sys.executable, "-m", "meter.workers", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
            failing.pop_all()
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        worker = self._workers[number] = _Worker(number, process, writer)
        self._audience.prometheus.processes.add(process.pid)
        worker.hearing = asyncio.create_task(self._hear(worker, reader))
        worker.say(
            wire.Begin(
                settings=self._share(self._offer.settings),
                book=self._offer.book,
                tracer=self._audience.tracer,
                failures=self._audience.state.failures,
                backgrounds=list(self._backgrounds),
            )
        )
        self._spent = None
        self._tell_spent()
        if self._stopping:
            worker.say(self._stop)
        return worker

    async def _keep(self, number: int, worker: _Worker) -> None:
        """Replace a worker whenever it has ended by itself."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            began = time.monotonic()
            await asyncio.wait([worker.hearing])
            if self._stopping:
                return
            if time.monotonic() - began > _LASTING_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            await sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            with suppress(OSError):  # there is no room for another process: as if it had ended at once
                worker = await self._start(number)
            self._audience.prometheus.worker_restarted()

    async def _hear(self, worker: _Worker, reader: asyncio.StreamReader) -> None:
        """Take a worker's words until it ends."""
        async for frame in wire.frames(reader):
            try:
                word = wire.word(frame)
                self._told[type(word)](worker, word)
            except Exception as error:  # noqa: BLE001 - the words after it are worth hearing
                self._audience.report("relay", error)
        del self._workers[worker.number]
        self._add_up()
        code = await worker.ended()
        self._audience.prometheus.processes.discard(worker.process.pid)
        if self._keeping and not self._stopping:
            told = {**worker.names, "code": code, "reason": worker.unable}
            self._audience.journal.note("error", "worker_died", **told)

    def _begin(self, worker: _Worker, _: wire.Ready) -> None:
        worker.ready.set_result(None)
        self._audience.journal.note("info", "worker_started", **worker.names)

    def _share(self, settings: Settings) -> Settings:
        """Return what one of the workers is to serve by."""
        limits = settings.limits
        share = limits.model_copy(update={"inspect_total": limits.inspect_total // self._number})
        return settings.model_copy(update={"port": self._port, "limits": share})

    def _say(self, order: wire.Order, but: _Worker | None = None) -> None:
        """Give an order to all workers, but one."""
        for worker in self._workers.values():
            if worker is not but:
                worker.say(order)

    async def _flushed(self, seconds: float) -> None:
        waiting = [worker.flushed() for worker in self._workers.values() if worker.listens]
        if waiting:
            await asyncio.wait(waiting, timeout=seconds)

    # What workers tell.

    def _record(self, _: _Worker, word: wire.Records) -> None:
        for exchange in word.exchanges:
            self._audience.sinks.tell(exchange)
        self._tell_spent()

    def _do(self, worker: _Worker, word: wire.Doing) -> None:
        worker.doing = word
        self._add_up()
        if word.late_s is not None:
            self._audience.prometheus.observe_lag(word.late_s)
            self._tell_spent()

    def _add_up(self) -> None:
        """Add up what is under way in all workers; a pair that was seen stays, at 0."""
        state = self._audience.state
        in_flight = dict.fromkeys(state.in_flight, 0)
        doing = [worker.doing for worker in self._workers.values()]
        for each in doing:
            for upstream, operation, number in each.in_flight:
                in_flight[(upstream, operation)] = in_flight.get((upstream, operation), 0) + number
        state.in_flight = in_flight
        state.drains = sum(each.drains for each in doing)

    def _miss(self, _: _Worker, word: wire.Missed) -> None:
        self._audience.state.missed(word.upstream, word.reason)
        self._say(wire.Failures(self._audience.state.failures))

    def _reach(self, _: _Worker, word: wire.Reached) -> None:
        self._audience.state.reached(word.upstream)
        self._say(wire.Failures(self._audience.state.failures))

    def _remember(self, worker: _Worker, word: wire.Background) -> None:
        (self._backgrounds.add if word.begun else self._backgrounds.take)(word.upstream, word.response_id)
        self._say(word, but=worker)

    def _drop(self, _: _Worker, word: wire.Dropped) -> None:
        for _number in range(word.exchanges):
            self._audience.prometheus.sink_dropped("relay")

    def _end(self, _: _Worker, word: wire.Stopped) -> None:
        self.broken_off += word.broken_off

    def _tell_spent(self) -> None:
        """Tell workers what was spent, where another budget that stops is spent now, or has a new period."""
        budgets = self._audience.budgets
        if not budgets.stops:
            return
        now = datetime.now(UTC)
        standing = budgets.standing(now)
        spent = {
            (budget.name, begins(budget.period, now))
            for budget, usd in standing
            if budget.stop and usd >= budget.usd
        }
        if spent != self._spent:
            self._spent = spent
            self._say(wire.Spent(now, {budget.name: usd for budget, usd in standing}))


class _Worker:
    """A worker that lives, as its parent knows it."""

    hearing: asyncio.Task[None]
    """Ends with the worker."""

    def __init__(self, number: int, process: subprocess.Popen[bytes], writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.process = process
        self.doing = wire.Doing([], 0)
        self.ready: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        """None once it listens; else why it cannot."""
        self._writer = writer
        self._flushes = count()
        self._flushing: dict[int, asyncio.Future[None]] = {}

    @property
    def names(self) -> dict[str, int]:
        """What the log calls it."""
        return {"worker": self.number, "pid": self.process.pid}

    @property
    def listens(self) -> bool:
        """It has said so."""
        return self.ready.done() and self.unable is None

    @property
    def unable(self) -> str | None:
        """Why it could not listen, where it has said so."""
        return self.ready.result() if self.ready.done() else None

    def say(self, order: wire.Order) -> None:
        """Give an order."""
        self._writer.write(wire.ordered(order))

    def flushed(self) -> asyncio.Future[None]:
        """Ask for all that has happened; the future is done when it has been told, or never will be."""
        number = next(self._flushes)
        told = self._flushing[number] = asyncio.get_running_loop().create_future()
        self.say(wire.Flush(number))
        return told

    def has_flushed(self, number: int) -> None:
        """Take note that all has been told."""
        told = self._flushing.pop(number)
        if not told.done():  # whoever waited may have left
            told.set_result(None)

    async def ended(self) -> int:
        """Wait until the process has ended, which has nothing more to say; return its exit code."""
        self._writer.close()
        for told in self._flushing.values():
            told.cancel()
        try:
            code = await asyncio.to_thread(self.process.wait, _LATE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = await asyncio.to_thread(self.process.wait)
        if not self.ready.done():
            self.ready.set_result(f"a worker ended before it listened, with exit code {code}")
        return code
