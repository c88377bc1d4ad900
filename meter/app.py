"""The one place where objects meet: settings -> book -> sinks -> proxy, and their life from start to drain.

`serving` is all of it as a context: listening inside, everything told and closed behind. `run` adds the event
loop, the signals and the exit code.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from meter import __version__, providers
from meter.admin import Admin
from meter.keys import Keys, salt_from
from meter.labels import Admission
from meter.listener import Listener
from meter.price import Book
from meter.prices.catalogue import CatalogueSource
from meter.prices.file import load
from meter.proxy import Proxy
from meter.routing import Routes
from meter.sinks import Sinks
from meter.sinks.log import LibraryLog, LogSink, configure
from meter.sinks.prometheus import Catalogue, PrometheusSink
from meter.state import State
from meter.upstream import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator
    from typing import Any

    from structlog.typing import FilteringBoundLogger

    from meter.price import Source
    from meter.settings import Settings

__all__ = ["Running", "run", "serving"]

_SINKS = ("prometheus", "log")
_PARTS = ("proxy", "tap", "book")
"""What else may fail without a client noticing, and is counted beside the sinks."""

_LAG_SECONDS = 0.5
"""How often the event loop's lateness is measured."""

_CLOSE_SECONDS = 1.0
"""What has been broken off is given so long to be recorded."""

_LOOK_SECONDS = 0.05
"""How often a drain looks whether anything is still under way."""

_REPORT_SECONDS = 60.0
"""A failing part is logged so often at the most."""


class Running:
    """A proxy that is listening."""

    def __init__(
        self, settings: Settings, state: State, prometheus: PrometheusSink, log: FilteringBoundLogger
    ) -> None:
        self.url = ""
        """What clients put before `/v1`, such as `http://127.0.0.1:8080`."""
        self.admin_url = ""
        self.prometheus = prometheus
        self.state = state
        self.stopped = asyncio.Event()
        """Set when the process has been told to stop; what is under way has not ended yet."""
        self._settings = settings
        self._log = log
        self._at_once = asyncio.Event()
        """Set when what is under way is to be broken off."""

    def stop(self) -> None:
        """Begin to drain; called again, break off what is still under way."""
        if self.stopped.is_set():
            self._at_once.set()
            return
        self.state.draining = True
        self.stopped.set()
        with suppress(OSError, ValueError):  # nobody may be reading the log any more
            self._log.info("draining", in_flight=self.state.busy, seconds=self._settings.timeouts.drain)

    def not_reloaded(self) -> None:
        """Say that SIGHUP is not obeyed; by default it would end the process."""
        with suppress(OSError, ValueError):
            self._log.warning("reload_not_supported")

    async def drained(self) -> None:
        """Wait until nothing is under way, the drain's time is up, or `stop` was called again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.timeouts.drain):
                while self.state.busy and not self._at_once.is_set():
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._at_once.wait(), _LOOK_SECONDS)


@asynccontextmanager
async def serving(settings: Settings, log: FilteringBoundLogger | None = None) -> AsyncIterator[Running]:
    """Listen on both ports until the context is left, then drain and close.

    Raises OSError where a port cannot be had, PriceFileError where a price file is wrong.
    """
    log = log or configure(settings.log.level, settings.log.format)
    if settings.ledger.url not in (None, "off"):
        log.warning("ledger_not_supported")  # what passes is metered all the same
    sources = _sources(settings)
    book = Book(sources)
    state = State((u.name for u in settings.upstreams), partial(_tell_change, log))
    prometheus = _prometheus(settings, book, state, sources)
    report = _Report(prometheus, log)
    sinks = Sinks((prometheus, LogSink(log)), report)
    running = Running(settings, state, prometheus, log)
    async with AsyncExitStack() as stack:
        stack.callback(sinks.close)
        stack.enter_context(_library_log(log))
        client = await stack.enter_async_context(Client(settings))
        proxy = Proxy(
            settings,
            routes=Routes((u.name, u.base_url, u.prefix or "", u.default) for u in settings.upstreams),
            keys=Keys(settings.keys, salt_from(os.environ)),
            client=client,
            book=book,
            sinks=sinks,
            state=state,
            report=report,
        )
        admin = _listener(settings, Admin(settings.admin, prometheus, state))
        running.admin_url = await _listen(stack, admin, settings.admin_host, settings.admin_port)
        running.url = await _listen(stack, _listener(settings, proxy), settings.host, settings.port)
        state.listening = True
        log.info("ready", listener="admin", url=running.admin_url)
        log.info("ready", listener="proxy", url=running.url)
        await stack.enter_async_context(_background(_measure_lag(prometheus)))
        try:
            yield running
        finally:
            state.draining = True
            await running.drained()
            proxy.break_off()


def run(settings: Settings) -> int:
    """Serve until told to stop by SIGTERM or SIGINT; return the exit code."""

    async def main() -> None:
        async with serving(settings) as running:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, running.stop)
            loop.add_signal_handler(signal.SIGHUP, running.not_reloaded)
            await running.stopped.wait()

    run_loop(main())
    return 0


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on uvloop, where there is one."""
    try:
        import uvloop  # noqa: PLC0415 - not to be had on Windows
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


def _sources(settings: Settings) -> list[Source]:
    sources: list[Source] = [load(path) for path in settings.prices.files]
    if settings.prices.catalogue != "off":
        known_only = settings.prices.catalogue == "known"
        sources.append(CatalogueSource(ids=providers.catalogue_id, known_only=known_only))
    return sources


def _prometheus(settings: Settings, book: Book, state: State, sources: list[Source]) -> PrometheusSink:
    admission = Admission(
        models=book.models(),
        keys={key.name for key in settings.keys},
        label_names=settings.attribution.labels,
        limits=settings.limits.series,
    )
    return PrometheusSink(
        admission=admission,
        state=state,
        version=__version__,
        upstreams=[u.name for u in settings.upstreams],
        sinks=(*_SINKS, *_PARTS),
        catalogue=_catalogue_facts(sources),
    )


def _catalogue_facts(sources: list[Source]) -> Catalogue | None:
    for source in sources:
        if isinstance(source, CatalogueSource):
            return Catalogue(
                source=source.name, revision=source.revision, timestamp=source.timestamp(time.time())
            )
    return None


def _tell_change(log: FilteringBoundLogger, upstream: str, reason: str | None) -> None:
    with suppress(OSError, ValueError):  # standard output may be gone
        if reason is None:
            log.info("upstream_up", upstream=upstream)
        else:
            log.warning("upstream_down", upstream=upstream, reason=reason)


class _Report:
    """Counts failures of sinks and other parts, and logs each part's at most once a minute."""

    def __init__(self, prometheus: PrometheusSink, log: FilteringBoundLogger) -> None:
        self._prometheus = prometheus
        self._log = log
        self._next: dict[str, float] = {}

    def __call__(self, part: str, error: BaseException | None) -> None:
        """Count a failure; of the error only its class is told, for its text may quote what was sent."""
        self._prometheus.sink_failed(part)
        now = time.monotonic()
        if self._next.get(part, now) <= now:
            self._next[part] = now + _REPORT_SECONDS
            with suppress(OSError, ValueError):  # standard output may be what failed
                self._log.error("sink_failing", sink=part, exception=type(error).__name__ if error else None)


def _listener(settings: Settings, desk: Admin | Proxy) -> Listener:
    return Listener(
        desk.handle,
        desk.malformed,
        head_seconds=settings.timeouts.client_head,
        keep_alive_seconds=settings.timeouts.keep_alive,
        header_bytes=settings.limits.header_bytes,
    )


async def _listen(stack: AsyncExitStack, listener: Listener, host: str, port: int) -> str:
    """Start a listener; return its URL, with the port that was had."""
    runner = web.ServerRunner(listener, shutdown_timeout=_CLOSE_SECONDS)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, host, port, backlog=1024).start()
    except OSError as error:
        reason = (error.strerror or str(error)).rpartition(": ")[2].lower()
        raise OSError(error.errno, f"{host} port {port}: {reason}") from None
    bound = runner.addresses[0]
    name = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
    return f"http://{name}:{bound[1]}"


async def _measure_lag(prometheus: PrometheusSink) -> None:
    while True:
        due = time.monotonic() + _LAG_SECONDS
        await asyncio.sleep(_LAG_SECONDS)
        prometheus.observe_lag(max(0.0, time.monotonic() - due))


@asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@contextmanager
def _library_log(log: FilteringBoundLogger) -> Iterator[None]:
    """Take over what libraries log, for as long as the context lasts."""
    root = logging.getLogger()
    before = root.handlers[:]
    root.handlers = [LibraryLog(log)]
    try:
        yield
    finally:
        root.handlers = before
