"""A worker's process: the proxy port, and a parent that is told everything and says what to do.

It has no sink but the relay, reads no settings and minds no signal. What workers must agree in (which
upstreams are out of reach, which budgets are spent, what is made in the background) is what the parent last
said of it.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from meter.backgrounds import Backgrounds
from meter.budget import Budgets
from meter.front import Front, Offer, Surroundings
from meter.process import alongside, library_log, looking, settled
from meter.sinks import Sinks
from meter.state import State
from meter.upstream import Client
from meter.workers import wire
from meter.workers.relay import Relay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

__all__ = ["work"]


async def work(number: int) -> None:
    """Serve until the parent, at the other end of the socket of this number, says so or is no more."""
    reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=number))
    orders = wire.orders(reader)
    begin = await anext(orders, None)
    if begin is None:
        return
    relay = Relay(writer)
    await _Worker(relay, begin).serve(orders)
    relay.flush()
    writer.close()
    with suppress(ConnectionError):  # the parent may be no more
        await writer.wait_closed()


class _Worker:
    def __init__(self, relay: Relay, begin: wire.Begin) -> None:
        settings = begin.settings
        self._relay = relay
        self._offer = Offer(settings, begin.book, Client(settings))
        self._state = _State((u.name for u in settings.upstreams), relay.say)
        self._state.fail(begin.failures)
        self._budgets = Budgets(settings.budgets)
        self._backgrounds = _Backgrounds(begin.backgrounds, relay.say)
        self._front = Front(
            Surroundings(
                sinks=Sinks([relay], relay.failed),
                state=self._state,
                budgets=self._budgets,
                report=relay.failed,
                tracer=begin.tracer,
                backgrounds=self._backgrounds,
            ),
            together=True,
        )
        self._stopped = asyncio.Event()
        self._obey: dict[type, Callable[[Any], Any]] = {
            wire.Adopt: self._adopt,
            wire.Flush: self._flush,
            wire.Failures: lambda order: self._state.fail(order.by_upstream),
            wire.Spent: self._spend,
            wire.Background: self._backgrounds.hear,
            wire.Stop: self._stop,
        }

    async def serve(self, orders: AsyncIterator[Any]) -> None:
        """Serve until told to stop, and until what is under way has ended."""
        async with AsyncExitStack() as stack:
            stack.enter_context(library_log(self._relay))
            try:
                await self._front.listen(stack, self._offer)
            except OSError as error:
                self._relay.say(wire.Unable(error.strerror or str(error)))
                return
            settled()
            self._relay.say(wire.Ready())
            for work in (self._hear(orders), looking(self._tell)):
                await stack.enter_async_context(alongside(work))
            await self._stopped.wait()
            await self._front.drained(self._offer.settings.timeouts.drain)
            self._front.break_off()
        self._relay.say(wire.Stopped(self._front.broken_off))

    async def _hear(self, orders: AsyncIterator[Any]) -> None:
        async for order in orders:
            doing = self._obey[type(order)](order)
            if doing is not None:
                await doing
        # The parent is no more, and another may soon want the port.
        await self._front.close_port()
        self._stop(wire.Stop(at_once=False))

    def _tell(self, late_s: float | None = None) -> None:
        in_flight = [(*pair, count) for pair, count in self._state.in_flight.items()]
        self._relay.say(wire.Doing(in_flight, self._state.drains, late_s))

    async def _adopt(self, order: wire.Adopt) -> None:
        settings = order.settings
        try:
            offer = Offer(settings, order.book, await asyncio.to_thread(Client, settings))
        except OSError as error:  # a certificate that was there when the parent looked
            self._relay.failed("proxy", error)
            return
        self._state.know(u.name for u in settings.upstreams)
        self._budgets.settle(settings.budgets)
        self._offer = offer
        await self._front.adopt(offer)

    def _flush(self, order: wire.Flush) -> None:
        self._tell()
        self._relay.say(wire.Flushed(order.number))

    def _spend(self, order: wire.Spent) -> None:
        # As if the ledger had said it: the parent has what all have spent.
        self._budgets.ask(lambda budget, _: order.usd.get(budget.name, Decimal(0)), order.at)

    def _stop(self, order: wire.Stop) -> None:
        self._front.stop()
        if order.at_once:
            self._front.hurry()
        self._stopped.set()


class _State(State):
    """Tells of upstreams that are out of reach, and of the first answer after that."""

    def __init__(self, upstreams: Iterable[str], say: Callable[[wire.Word], None]) -> None:
        super().__init__(upstreams)
        self._say = say

    def reached(self, upstream: str) -> None:
        if self._failures.get(upstream):
            super().reached(upstream)
            self._say(wire.Reached(upstream))

    def missed(self, upstream: str, reason: str) -> None:
        super().missed(upstream, reason)
        self._say(wire.Missed(upstream, reason))


class _Backgrounds(Backgrounds):
    """Tells of answers that are begun and taken here, and hears of others."""

    def __init__(self, known: Iterable[tuple[str, str]], say: Callable[[wire.Word], None]) -> None:
        super().__init__()
        for upstream, response_id in known:
            super().add(upstream, response_id)
        self._say = say

    def add(self, upstream: str, response_id: str) -> None:
        super().add(upstream, response_id)
        self._say(wire.Background(upstream, response_id, begun=True))

    def take(self, upstream: str, response_id: str) -> bool:
        took = super().take(upstream, response_id)
        if took:
            self._say(wire.Background(upstream, response_id, begun=False))
        return took

    def hear(self, told: wire.Background) -> None:
        """Take note of one that another worker has told of."""
        (super().add if told.begun else super().take)(told.upstream, told.response_id)
