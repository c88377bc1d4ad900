"""The proxy port, as one process serves it.

Each reading of the settings makes a `Proxy` of its own; another one takes its place at the desk that the
listener asks, and what is under way ends with the one that it began with.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from meter.backgrounds import Backgrounds
from meter.capture import Capture
from meter.keys import Keys, salt_from
from meter.ports import listen, listener_for, settle, tls_context
from meter.proxy import Proxy
from meter.routing import Routes

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack

    from meter.budget import Budgets
    from meter.price import Book
    from meter.settings import Settings
    from meter.sinks import Sinks
    from meter.state import State
    from meter.trace import Tracer
    from meter.upstream import Client

__all__ = ["Front", "Offer", "Surroundings"]

_LOOK_SECONDS = 0.05
"""How often it is looked whether anything is still under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all proxies of a process share."""

    sinks: Sinks
    state: State
    budgets: Budgets
    report: Callable[[str, BaseException | None], None]
    """Counts what went wrong within some part."""
    tracer: Tracer | None
    backgrounds: Backgrounds = field(default_factory=Backgrounds)


class Offer(NamedTuple):
    """What clients are served by: made of one reading of the settings."""

    settings: Settings
    book: Book
    client: Client
    """Not open yet."""


class Front:
    """Serves the proxy port in this process; `together` with others that listen on it."""

    fresh = None
    """There is nobody whose word is to be waited for."""

    def __init__(self, surroundings: Surroundings, *, together: bool = False) -> None:
        self._around = surroundings
        self._together = together
        self._proxies: dict[Proxy, Client] = {}
        """The one that serves, last, and those before it that still have something under way."""
        self._retiring: set[asyncio.Task[None]] = set()
        self._at_once = asyncio.Event()
        """Set when what is under way is to be broken off."""
        self.broken_off = 0
        """Exchanges that did not end by themselves."""

    async def listen(self, stack: AsyncExitStack, offer: Offer) -> str:
        """Listen until `stack` is left; return the port's URL. Raises OSError where it cannot be had."""
        settings = offer.settings
        stack.push_async_callback(self._let_go)
        self._listener = listener_for(settings, await self._begin(offer))
        self._port = await listen(
            stack,
            self._listener,
            settings.host,
            settings.port,
            tls_context(settings),
            together=self._together,
        )
        return self._port.url

    async def adopt(self, offer: Offer) -> None:
        """Serve by other settings from now on."""
        before = list(self._proxies.items())
        settle(self._listener, offer.settings, await self._begin(offer))
        for proxy, client in before:
            task = asyncio.create_task(self._retire(proxy, client))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    def stop(self) -> None:
        """Begin to drain."""
        self._around.state.draining = True

    def hurry(self) -> None:
        """Wait no longer for what is under way."""
        self._at_once.set()

    async def close_port(self) -> None:
        """Take no more connections."""
        await self._port.close()

    async def drained(self, seconds: float) -> None:
        """Wait until nothing is under way, the time is up, or there is no more waiting."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._around.state.busy and not self._at_once.is_set():
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._at_once.wait(), _LOOK_SECONDS)

    def break_off(self) -> None:
        """Break off what is still under way."""
        self.broken_off = self._around.state.busy
        for proxy in self._proxies:
            proxy.break_off()
        for task in self._retiring:
            task.cancel()

    async def _let_go(self) -> None:
        """Close the connections to all upstreams."""
        for client in self._proxies.values():
            await client.close()

    async def _begin(self, offer: Offer) -> Proxy:
        settings, around = offer.settings, self._around
        await offer.client.open()
        proxy = Proxy(
            settings,
            routes=Routes((u.name, u.base_url, u.prefix or "", u.default) for u in settings.upstreams),
            keys=Keys(settings.keys, salt_from(os.environ)),
            client=offer.client,
            book=offer.book,
            sinks=around.sinks,
            state=around.state,
            backgrounds=around.backgrounds,
            report=around.report,
            budgets=around.budgets,
            tracer=around.tracer,
            capture=_capture(settings),
        )
        self._proxies[proxy] = offer.client
        return proxy

    async def _retire(self, proxy: Proxy, client: Client) -> None:
        """Let go of a proxy that serves nobody new, once all that it has begun has ended."""
        while proxy.busy:  # noqa: ASYNC110 - an event for it would cost every request
            await asyncio.sleep(_LOOK_SECONDS)
        if self._proxies.pop(proxy, None) is not None:
            await client.close()


def _capture(settings: Settings) -> Capture | None:
    """Return what takes prompts and answers down; None where nobody wants them."""
    wanted = settings.log.content or settings.tracing.content
    return Capture(settings.content.limit, settings.content.redact) if wanted else None
