"""The one place where objects meet: settings -> parts -> audience -> who serves, and their life.

`serving` is all of it as a context: listening inside, everything told and closed behind. Who serves the proxy
port is this process, a `Front`, or several others, a `Crew`; everything else is the same for both. `run` adds
the event loop, the signals and the exit code.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from meter import __version__, directories, pricing
from meter.audience import Audience
from meter.front import Front, Surroundings
from meter.parts import parts_of
from meter.ports import listen, listener_for, settle
from meter.prices.tree import PriceFileError
from meter.process import alongside, library_log, looking, run_loop, settled
from meter.renewal import keep_fresh
from meter.settings import SettingsError
from meter.sinks.log import Journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import BinaryIO

    from meter.parts import Parts
    from meter.price import Source
    from meter.settings import Settings
    from meter.workers.crew import Crew

__all__ = ["Running", "run", "run_loop", "serving"]

_FIXED = ("host", "port", "admin_host", "admin_port", "workers", "ledger", "tls")
"""Settings that hold from start to end."""

_FIXED_WITHIN = (("tracing", "endpoint"), ("tracing", "protocol"), ("metrics", "otlp"), ("log", "otlp"))
"""The same of sections whose other settings may change; whoever tells reads these at the start alone."""


class Running:
    """A proxy that is listening."""

    def __init__(
        self, parts: Parts, read: Callable[[], Settings], journal: Journal, catalogue: Source | None
    ) -> None:
        self.url = ""
        """What clients put before `/v1`, such as `http://127.0.0.1:8080`."""
        self.admin_url = ""
        self.stopped = asyncio.Event()
        """Set when the process has been told to stop; what is under way has not ended yet."""
        self._settings = self._begun = parts.settings
        self._read = read
        self._log = journal
        self._catalogue = catalogue
        self.audience = Audience(parts, journal)
        self.prometheus, self.budgets = self.audience.prometheus, self.audience.budgets
        self.state = self.audience.state
        workers = parts.settings.workers
        self.front = _several(self.audience, workers) if workers > 1 else _alone(self.audience)
        self._reloading = asyncio.Lock()
        self._reloads: set[asyncio.Task[None]] = set()
        self._began = time.monotonic()
        journal.note("info", "started", version=__version__)

    async def listen(self, stack: AsyncExitStack, parts: Parts) -> None:
        """Listen on both ports until `stack` is left; raises OSError where one cannot be had."""
        settings = parts.settings
        self._desk = listener_for(settings, self.audience.admin(settings, self.front.fresh))
        admin = await listen(stack, self._desk, settings.admin_host, settings.admin_port, None)
        self.admin_url = admin.url
        self.url = await self.front.listen(stack, parts.offer)
        self.state.listening = True
        self._log.info("ready", listener="admin", url=self.admin_url)
        self._log.info("ready", listener="proxy", url=self.url)

    def stop(self) -> None:
        """Begin to drain; called again, break off what is still under way."""
        if self.stopped.is_set():
            self.front.hurry()
            return
        self.state.draining = True
        self.stopped.set()
        self.front.stop()
        seconds = self._settings.timeouts.drain
        self._log.note("info", "draining", in_flight=self.state.busy, seconds=seconds)

    async def drained(self) -> None:
        """Wait until nothing is under way, the drain's time is up, or `stop` was called again."""
        await self.front.drained(self._settings.timeouts.drain)

    def tell_stopped(self) -> None:
        """Say that it is over, and nothing after."""
        seconds = round(time.monotonic() - self._began, 3)
        self._log.note("info", "stopped", seconds=seconds, broken_off=self.front.broken_off)

    # Settings and prices that are read again.

    def reload_soon(self) -> None:
        """Read the settings again, as soon as may be."""
        task = asyncio.create_task(self.reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def reload(self) -> None:
        """Read the settings again: they hold for new requests, unless there is something wrong with them."""
        async with self._reloading:
            try:
                settings = await asyncio.to_thread(self._read)
                fixed = {name: getattr(self._settings, name) for name in _FIXED}
                same = settings.prices == self._settings.prices
                catalogue = self._catalogue if same else await asyncio.to_thread(_catalogue, settings)
                await self._adopt(settings.model_copy(update=fixed), catalogue)
            except (SettingsError, PriceFileError, OSError, ValueError) as error:
                self.prometheus.reloaded(False)
                self._log.note("error", "reload_failed", reason=str(error))
                return
            self.prometheus.reloaded(True)
            ignored = [name for name, value in fixed.items() if getattr(settings, name) != value]
            ignored += self._untold(settings)
            self._log.note("info", "reloaded", ignored=ignored)

    def _untold(self, settings: Settings) -> list[str]:
        """Return which of `_FIXED_WITHIN` are not as they were at the start."""
        return [
            f"{section}.{name}"
            for section, name in _FIXED_WITHIN
            if getattr(getattr(settings, section), name) != getattr(getattr(self._begun, section), name)
        ]

    async def keep_fresh(self) -> None:
        """Read the catalogue anew every so often, if that is wanted; never returns."""
        await keep_fresh(
            lambda: self._settings,
            lambda: self._catalogue,
            self._adopt_catalogue,
            lambda reason: self._log.note("warning", "catalogue_refresh_failed", reason=reason),
        )

    async def _adopt_catalogue(self, catalogue: Source) -> None:
        async with self._reloading:
            try:
                await self._adopt(self._settings, catalogue)
            except (PriceFileError, OSError) as error:  # a price file has become a wrong one
                self._log.note("warning", "catalogue_refresh_failed", reason=str(error))
                return
            self._log.note("info", "catalogue_refreshed", revision=catalogue.revision)

    async def _adopt(self, settings: Settings, catalogue: Source | None) -> None:
        """Serve by these settings from now on; raises what `parts_of` does, and nothing has changed then."""
        parts = await asyncio.to_thread(parts_of, settings, catalogue)
        self.audience.settle(parts)
        self._settings, self._catalogue = settings, catalogue
        settle(self._desk, settings, self.audience.admin(settings, self.front.fresh))
        await self.front.adopt(parts.offer)


def _several(audience: Audience, workers: int) -> Crew:
    """Return what has other processes serve the proxy port."""
    from meter.workers.crew import Crew  # noqa: PLC0415 - only they need it

    return Crew(audience, workers)


def _alone(audience: Audience) -> Front:
    """Return what serves the proxy port in this process, and tells its audience by a call."""
    return Front(
        Surroundings(
            sinks=audience.sinks,
            state=audience.state,
            budgets=audience.budgets,
            report=audience.report,
            tracer=audience.tracer,
        )
    )


@asynccontextmanager
async def serving(
    settings: Settings, read: Callable[[], Settings] | None = None, stream: BinaryIO | None = None
) -> AsyncIterator[Running]:
    """Listen on both ports until the context is left, then drain and close.

    `read` reads the settings again for a reload; the log goes to `stream`, standard output where there is
    none. Raises OSError where a port cannot be had, PriceFileError where a price file is wrong.
    """
    catalogue = _catalogue(settings)
    parts = parts_of(settings, catalogue)
    async with AsyncExitStack() as stack:
        journal = Journal(stream)
        stack.callback(journal.close)
        running = Running(parts, read or (lambda: settings), journal, catalogue)
        stack.callback(running.tell_stopped)
        stack.callback(running.audience.close)
        stack.enter_context(library_log(journal))
        await running.listen(stack, parts)
        for work in (looking(running.audience.look), running.keep_fresh()):
            await stack.enter_async_context(alongside(work))
        try:
            yield running
        finally:
            running.state.draining = True
            await running.drained()
            running.front.break_off()


def run(settings: Settings, read: Callable[[], Settings] | None = None) -> int:
    """Serve until told to stop by SIGTERM or SIGINT; return the exit code.

    SIGHUP reads the settings again.
    """

    async def main() -> None:
        async with serving(settings, read) as running:
            settled()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, running.stop)
            loop.add_signal_handler(signal.SIGHUP, running.reload_soon)
            await running.stopped.wait()

    run_loop(main())
    return 0


def _catalogue(settings: Settings) -> Source | None:
    return pricing.catalogue(settings, directories.state(os.environ))
