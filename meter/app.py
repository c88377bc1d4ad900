"""The one place where objects meet: settings -> book -> sinks -> proxy, and their life from start to drain.

`serving` is all of it as a context: listening inside, everything told and closed behind. Each reading of the
settings makes a `Proxy` of its own; a reload puts the next one at the desk that the listener asks, and what
is under way ends with the one that it began with. `run` adds the event loop, the signals and the exit code.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import ssl
import time
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import web

from meter import __version__, providers
from meter.admin import Admin
from meter.backgrounds import Backgrounds
from meter.keys import Keys, salt_from
from meter.labels import Admission
from meter.listener import Listener
from meter.price import Book
from meter.prices.catalogue import CatalogueSource
from meter.prices.file import PriceFileError, load
from meter.proxy import Proxy
from meter.routing import Routes
from meter.settings import SettingsError
from meter.sinks import Sinks
from meter.sinks.log import Journal, LibraryLog, LogSink
from meter.sinks.prometheus import Catalogue, PrometheusSink
from meter.state import State
from meter.upstream import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from typing import Any, BinaryIO

    from meter.price import Source
    from meter.settings import Settings

__all__ = ["Running", "run", "serving"]

_SINKS = ("prometheus", "log")
_PARTS = ("proxy", "tap", "book")
"""What else may fail without a client noticing, and is counted beside the sinks."""

_FIXED = ("host", "port", "admin_host", "admin_port", "workers", "ledger", "tls")
"""Settings that hold from start to end."""

_LAG_SECONDS = 0.5
"""How often the event loop's lateness is measured."""

_CLOSE_SECONDS = 1.0
"""What has been broken off is given so long to be recorded."""

_LOOK_SECONDS = 0.05
"""How often it is looked whether anything is still under way."""

_REPORT_SECONDS = 60.0
"""A failing part is logged so often at the most."""


class _Parts(NamedTuple):
    """What one reading of the settings makes, before anybody is served by it."""

    settings: Settings
    book: Book
    client: Client
    admission: Admission
    catalogue: Catalogue | None


def _parts(settings: Settings) -> _Parts:
    """Make the parts; raises PriceFileError where a price file is wrong, OSError where one is not there."""
    sources: list[Source] = [load(path) for path in settings.prices.files]
    if settings.prices.catalogue != "off":
        known_only = settings.prices.catalogue == "known"
        sources.append(CatalogueSource(ids=providers.catalogue_id, known_only=known_only))
    book = Book(sources)
    admission = Admission(
        models=book.models(),
        keys={key.name for key in settings.keys},
        label_names=settings.attribution.labels,
        limits=settings.limits.series,
    )
    return _Parts(settings, book, Client(settings), admission, _catalogue_facts(sources))


def _catalogue_facts(sources: list[Source]) -> Catalogue | None:
    for source in sources:
        if isinstance(source, CatalogueSource):
            return Catalogue(
                source=source.name, revision=source.revision, timestamp=source.timestamp(time.time())
            )
    return None


class Running:
    """A proxy that is listening."""

    def __init__(self, parts: _Parts, read: Callable[[], Settings], journal: Journal) -> None:
        self.url = ""
        """What clients put before `/v1`, such as `http://127.0.0.1:8080`."""
        self.admin_url = ""
        self.stopped = asyncio.Event()
        """Set when the process has been told to stop; what is under way has not ended yet."""
        names = [u.name for u in parts.settings.upstreams]
        self.state = State(names, partial(_tell_change, journal))
        self.prometheus = PrometheusSink(
            admission=parts.admission,
            state=self.state,
            version=__version__,
            upstreams=names,
            sinks=(*_SINKS, *_PARTS),
            catalogue=parts.catalogue,
        )
        self._settings = parts.settings
        self._read = read
        self._log = journal
        self._report = _Report(self.prometheus, journal)
        journal.tell(partial(self.prometheus.sink_dropped, "log"), partial(self._report, "log"))
        self.sinks = Sinks((self.prometheus, LogSink(journal)), self._report)
        self._backgrounds = Backgrounds()
        self._proxies: dict[Proxy, Client] = {}
        """The one that serves, last, and those before it that still have something under way."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._at_once = asyncio.Event()
        """Set when what is under way is to be broken off."""
        self._reloading = asyncio.Lock()

    async def listen(self, stack: AsyncExitStack, parts: _Parts) -> None:
        """Listen on both ports until `stack` is left; raises OSError where one cannot be had."""
        settings = self._settings
        proxy, admin = await self._begin(parts), self._admin()
        self._listeners = (_listener(settings, proxy), _listener(settings, admin))
        tls = _tls(settings)
        self.admin_url = await _listen(
            stack, self._listeners[1], settings.admin_host, settings.admin_port, None
        )
        self.url = await _listen(stack, self._listeners[0], settings.host, settings.port, tls)
        self.state.listening = True
        self._log.info("ready", listener="admin", url=self.admin_url)
        self._log.info("ready", listener="proxy", url=self.url)

    def stop(self) -> None:
        """Begin to drain; called again, break off what is still under way."""
        if self.stopped.is_set():
            self._at_once.set()
            return
        self.state.draining = True
        self.stopped.set()
        seconds = self._settings.timeouts.drain
        self._log.note("info", "draining", in_flight=self.state.busy, seconds=seconds)

    async def drained(self) -> None:
        """Wait until nothing is under way, the drain's time is up, or `stop` was called again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.timeouts.drain):
                while self.state.busy and not self._at_once.is_set():
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._at_once.wait(), _LOOK_SECONDS)

    def break_off(self) -> None:
        """Break off what is still under way."""
        for proxy in self._proxies:
            proxy.break_off()
        for task in self._tasks:
            task.cancel()

    async def let_go(self) -> None:
        """Close the connections to all upstreams."""
        for client in self._proxies.values():
            await client.close()

    # Settings that are read again.

    def reload_soon(self) -> None:
        """Read the settings again, as soon as may be."""
        self._spawn(self.reload())

    async def reload(self) -> None:
        """Read the settings again: they hold for new requests, unless there is something wrong with them."""
        async with self._reloading:
            try:
                settings = await asyncio.to_thread(self._read)
                fixed = {name: getattr(self._settings, name) for name in _FIXED}
                parts = await asyncio.to_thread(_parts, settings.model_copy(update=fixed))
                names = [u.name for u in settings.upstreams]
                self.prometheus.reconfigure(
                    admission=parts.admission, upstreams=names, catalogue=parts.catalogue
                )
            except (SettingsError, PriceFileError, OSError, ValueError) as error:
                self.prometheus.reloaded(False)
                self._log.note("error", "reload_failed", reason=str(error))
                return
            self.state.know(names)
            self._settings = parts.settings
            self._log.settle(settings.log.level, settings.log.format)
            before = list(self._proxies.items())
            _settle(self._listeners[0], parts.settings, await self._begin(parts))
            _settle(self._listeners[1], parts.settings, self._admin())
            for proxy, client in before:
                self._spawn(self._retire(proxy, client))
            self.prometheus.reloaded(True)
            ignored = [name for name, value in fixed.items() if getattr(settings, name) != value]
            self._log.note("info", "reloaded", ignored=ignored)

    async def _begin(self, parts: _Parts) -> Proxy:
        settings = parts.settings
        await parts.client.open()
        proxy = Proxy(
            settings,
            routes=Routes((u.name, u.base_url, u.prefix or "", u.default) for u in settings.upstreams),
            keys=Keys(settings.keys, salt_from(os.environ)),
            client=parts.client,
            book=parts.book,
            sinks=self.sinks,
            state=self.state,
            backgrounds=self._backgrounds,
            report=self._report,
        )
        self._proxies[proxy] = parts.client
        return proxy

    def _admin(self) -> Admin:
        return Admin(self._settings.admin, self.prometheus, self.state)

    async def _retire(self, proxy: Proxy, client: Client) -> None:
        """Let go of a proxy that serves nobody new, once all that it has begun has ended."""
        while proxy.busy:  # noqa: ASYNC110 - an event for it would cost every request
            await asyncio.sleep(_LOOK_SECONDS)
        if self._proxies.pop(proxy, None) is not None:
            await client.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@asynccontextmanager
async def serving(
    settings: Settings, read: Callable[[], Settings] | None = None, stream: BinaryIO | None = None
) -> AsyncIterator[Running]:
    """Listen on both ports until the context is left, then drain and close.

    `read` reads the settings again for a reload; the log goes to `stream`, standard output where there is
    none. Raises OSError where a port cannot be had, PriceFileError where a price file is wrong.
    """
    parts = _parts(settings)
    async with AsyncExitStack() as stack:
        journal = Journal(stream)
        stack.callback(journal.close)
        journal.settle(settings.log.level, settings.log.format)
        running = Running(parts, read or (lambda: settings), journal)
        if settings.ledger.url not in (None, "off"):
            journal.warning("ledger_not_supported")  # what passes is metered all the same
        stack.callback(running.sinks.close)
        stack.enter_context(_library_log(journal))
        stack.push_async_callback(running.let_go)
        await running.listen(stack, parts)
        await stack.enter_async_context(_background(_measure_lag(running.prometheus)))
        try:
            yield running
        finally:
            running.state.draining = True
            await running.drained()
            running.break_off()


def run(settings: Settings, read: Callable[[], Settings] | None = None) -> int:
    """Serve until told to stop by SIGTERM or SIGINT; return the exit code.

    SIGHUP reads the settings again.
    """

    async def main() -> None:
        async with serving(settings, read) as running:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, running.stop)
            loop.add_signal_handler(signal.SIGHUP, running.reload_soon)
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


def _tell_change(log: Journal, upstream: str, reason: str | None) -> None:
    if reason is None:
        log.note("info", "upstream_up", upstream=upstream)
    else:
        log.note("warning", "upstream_down", upstream=upstream, reason=reason)


class _Report:
    """Counts failures of sinks and other parts, and logs each part's at most once a minute."""

    def __init__(self, prometheus: PrometheusSink, log: Journal) -> None:
        self._prometheus = prometheus
        self._log = log
        self._next: dict[str, float] = {}

    def __call__(self, part: str, error: BaseException | None) -> None:
        """Count a failure; of the error only its class is told, for its text may quote what was sent."""
        self._prometheus.sink_failed(part)
        now = time.monotonic()
        if self._next.get(part, now) <= now:
            self._next[part] = now + _REPORT_SECONDS
            exception = type(error).__name__ if error else None
            self._log.note("error", "sink_failing", sink=part, exception=exception)


def _listener(settings: Settings, desk: Admin | Proxy) -> Listener:
    listener = Listener()
    _settle(listener, settings, desk)
    return listener


def _settle(listener: Listener, settings: Settings, desk: Admin | Proxy) -> None:
    """Let a listener ask `desk` from its next connection or request on, with the patience of `settings`."""
    listener.settle(
        desk.handle,
        desk.malformed,
        head_seconds=settings.timeouts.client_head,
        keep_alive_seconds=settings.timeouts.keep_alive,
        header_bytes=settings.limits.header_bytes,
    )


def _tls(settings: Settings) -> ssl.SSLContext | None:
    """Return how the proxy port speaks TLS, None where it does not."""
    if settings.tls.cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings.tls.cert, settings.tls.key)
    context.set_alpn_protocols(["http/1.1"])
    return context


async def _listen(
    stack: AsyncExitStack, listener: Listener, host: str, port: int, tls: ssl.SSLContext | None
) -> str:
    """Start a listener; return its URL, with the port that was had."""
    runner = web.ServerRunner(listener, shutdown_timeout=_CLOSE_SECONDS)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, host, port, ssl_context=tls, backlog=1024).start()
    except OSError as error:
        reason = (error.strerror or str(error)).rpartition(": ")[2].lower()
        raise OSError(error.errno, f"{host} port {port}: {reason}") from None
    bound = runner.addresses[0]
    name = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
    return f"{'http' if tls is None else 'https'}://{name}:{bound[1]}"


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
def _library_log(log: Journal) -> Iterator[None]:
    """Take over what libraries log, for as long as the context lasts."""
    root = logging.getLogger()
    before = root.handlers[:]
    root.handlers = [LibraryLog(log)]
    try:
        yield
    finally:
        root.handlers = before
