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
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from meter import __version__, directories, pricing
from meter.admin import Admin
from meter.backgrounds import Backgrounds
from meter.budget import Budgets
from meter.capture import Capture
from meter.keys import Keys, salt_from
from meter.ledger.errors import LedgerDeniedError, LedgerError
from meter.ledger.questions import Questions
from meter.live import Live
from meter.parts import parts_of
from meter.ports import listen, listener_for, settle, tls_context
from meter.prices.file import PriceFileError
from meter.proxy import Proxy
from meter.recent import Recent
from meter.renewal import keep_fresh
from meter.routing import Routes
from meter.settings import SettingsError
from meter.sinks import Sinks
from meter.sinks.ledger import LedgerSink
from meter.sinks.log import Journal, LibraryLog, LogSink
from meter.sinks.prometheus import PrometheusSink
from meter.sinks.telemetry import ExportError, Telemetry, TelemetryError
from meter.state import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from decimal import Decimal
    from typing import Any, BinaryIO

    from sqlalchemy import Connection

    from meter.budget import Budget
    from meter.ledger.schema import Tables
    from meter.parts import Parts
    from meter.price import Source
    from meter.settings import Settings
    from meter.upstream import Client

__all__ = ["Running", "run", "serving"]

_SINKS = ("prometheus", "log", "budgets", "ledger", "traces")
_PARTS = ("proxy", "tap", "book")
"""What else may fail without a client noticing, and is counted beside the sinks."""

_FIXED = ("host", "port", "admin_host", "admin_port", "workers", "ledger", "tls")
"""Settings that hold from start to end."""

_FIXED_WITHIN = (("tracing", "endpoint"), ("tracing", "protocol"), ("metrics", "otlp"), ("log", "otlp"))
"""The same of sections whose other settings may change; whoever tells reads these at the start alone."""

_LAG_SECONDS = 0.5
"""How often it is measured how late the event loop is, and looked how much is under way."""

_BUDGETS_SECONDS = 10.0
"""How often the ledger is asked what others have spent."""

_LOOK_SECONDS = 0.05
"""How often it is looked whether anything is still under way."""

_SWITCH_SECONDS = 0.0005
"""So long a thread, such as the one that renders a scrape, keeps the event loop waiting; Python's 0.005 would
add up, for the loop lets go each time it asks for what has come."""

_REPORT_SECONDS = 60.0
"""A failing part is logged so often at the most."""


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
        names = [u.name for u in parts.settings.upstreams]
        self.state = State(names, partial(_tell_change, journal))
        url = directories.ledger_url(os.environ, parts.settings.ledger.url)
        self.budgets = Budgets(
            parts.settings.budgets, partial(_tell_reached, journal), ledger=url is not None
        )
        self.prometheus = PrometheusSink(
            admission=parts.admission,
            state=self.state,
            version=__version__,
            upstreams=names,
            sinks=(*_SINKS, *_PARTS),
            catalogue=parts.catalogue,
            budgets=self.budgets,
        )
        self._settings = self._begun = parts.settings
        self._read = read
        self._log = journal
        self._lines = LogSink(journal)
        self._settle_log()
        self._report = _Report(self.prometheus, journal)
        journal.tell(partial(self.prometheus.sink_dropped, "log"), partial(self._report, "log"))
        self.recent = Recent()
        self.live = Live(time.time())
        self._telemetry = self._telling()
        ledger = None if url is None else self._ledger(url)
        self._questions = None if url is None else Questions(url)
        """What the admin port asks of the ledger."""
        sinks = (
            self.prometheus,
            self._lines,
            self.budgets,
            self.recent,
            self.live,
            ledger,
            self._telemetry,
        )
        self.sinks = Sinks((sink for sink in sinks if sink is not None), self._report)
        self._catalogue = catalogue
        self._backgrounds = Backgrounds()
        self._proxies: dict[Proxy, Client] = {}
        """The one that serves, last, and those before it that still have something under way."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._at_once = asyncio.Event()
        """Set when what is under way is to be broken off."""
        self._reloading = asyncio.Lock()
        self._began = time.monotonic()
        self._broken_off = 0
        """Exchanges that did not end by themselves."""
        journal.note("info", "started", version=__version__)

    def _telling(self) -> Telemetry | None:
        """Return what tells by OpenTelemetry; raises SettingsError where a variable of its is wrong."""
        try:
            return Telemetry.of(
                self._settings, os.environ, on_drop=self.prometheus.sink_dropped, on_error=self._report
            )
        except TelemetryError as error:
            raise SettingsError([str(error)]) from None

    def _ledger(self, url: str) -> LedgerSink:
        settings = self._settings.ledger
        return LedgerSink(
            url,
            retention=settings.retention,
            rollups=settings.rollups,
            spill=directories.state(os.environ),
            on_drop=partial(self.prometheus.sink_dropped, "ledger"),
            on_error=partial(self._report, "ledger", mild=LedgerDeniedError if settings.url is None else ()),
            on_kept=self.budgets.kept,
            between=(_BUDGETS_SECONDS, self._ask_budgets),
            optional=settings.url is None,
        )

    def _ask_budgets(self, connection: Connection, tables: Tables) -> None:
        """Take the ledger's word for what was spent, by all who write into it."""
        from meter.ledger.reading import spent  # noqa: PLC0415 - SQLAlchemy, which its thread has by now

        def asked(budget: Budget, since: datetime) -> Decimal:
            return spent(
                connection, tables, since=since, key=budget.key, tags=budget.tags, upstream=budget.upstream
            )

        self.budgets.ask(asked, datetime.now(UTC))

    async def listen(self, stack: AsyncExitStack, parts: Parts) -> None:
        """Listen on both ports until `stack` is left; raises OSError where one cannot be had."""
        settings = self._settings
        proxy, admin = await self._begin(parts), self._admin()
        self._listeners = (listener_for(settings, proxy), listener_for(settings, admin))
        tls = tls_context(settings)
        self.admin_url = await listen(
            stack, self._listeners[1], settings.admin_host, settings.admin_port, None
        )
        self.url = await listen(stack, self._listeners[0], settings.host, settings.port, tls)
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
        self._broken_off = self.state.busy
        for proxy in self._proxies:
            proxy.break_off()
        for task in self._tasks:
            task.cancel()

    def close(self) -> None:
        """Tell what is still untold, and let go of what is open."""
        self.sinks.close()
        if self._questions is not None:
            self._questions.close()

    async def let_go(self) -> None:
        """Close the connections to all upstreams."""
        for client in self._proxies.values():
            await client.close()

    def tell_stopped(self) -> None:
        """Say that it is over, and nothing after."""
        seconds = round(time.monotonic() - self._began, 3)
        self._log.note("info", "stopped", seconds=seconds, broken_off=self._broken_off)

    # Settings and prices that are read again.

    def reload_soon(self) -> None:
        """Read the settings again, as soon as may be."""
        self._spawn(self.reload())

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
        names = [u.name for u in settings.upstreams]
        self.prometheus.reconfigure(admission=parts.admission, upstreams=names, catalogue=parts.catalogue)
        self.state.know(names)
        self.budgets.settle(settings.budgets)
        self._settings, self._catalogue = settings, catalogue
        self._settle_log()
        if self._telemetry is not None:
            self._telemetry.settle(settings)
        before = list(self._proxies.items())
        settle(self._listeners[0], settings, await self._begin(parts))
        settle(self._listeners[1], settings, self._admin())
        for proxy, client in before:
            self._spawn(self._retire(proxy, client))

    def _settle_log(self) -> None:
        log = self._settings.log
        self._log.settle(log.level, log.format)
        self._lines.settle(**log.model_dump(include={"outcomes", "sample", "content"}))

    async def _begin(self, parts: Parts) -> Proxy:
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
            budgets=self.budgets,
            tracer=None if self._telemetry is None else self._telemetry.tracer,
            capture=_capture(settings),
        )
        self._proxies[proxy] = parts.client
        return proxy

    def _admin(self) -> Admin:
        return Admin(
            self._settings.admin,
            self.prometheus,
            self.state,
            questions=self._questions,
            budgets=self.budgets,
            recent=self.recent,
            live=self.live,
            keys=Keys(self._settings.keys, salt_from(os.environ)),
        )

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
    catalogue = _catalogue(settings)
    parts = parts_of(settings, catalogue)
    async with AsyncExitStack() as stack:
        journal = Journal(stream)
        stack.callback(journal.close)
        running = Running(parts, read or (lambda: settings), journal, catalogue)
        stack.callback(running.tell_stopped)
        stack.callback(running.close)
        stack.enter_context(_library_log(journal))
        stack.push_async_callback(running.let_go)
        await running.listen(stack, parts)
        for work in (_look_around(running), running.keep_fresh()):
            await stack.enter_async_context(_background(work))
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
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        import uvloop  # noqa: PLC0415 - not to be had on Windows
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


def _catalogue(settings: Settings) -> Source | None:
    return pricing.catalogue(settings, directories.state(os.environ))


def _capture(settings: Settings) -> Capture | None:
    """Return what takes prompts and answers down; None where nobody wants them."""
    wanted = settings.log.content or settings.tracing.content
    return Capture(settings.content.limit, settings.content.redact) if wanted else None


def _tell_change(log: Journal, upstream: str, reason: str | None) -> None:
    if reason is None:
        log.note("info", "upstream_up", upstream=upstream)
    else:
        log.note("warning", "upstream_down", upstream=upstream, reason=reason)


def _tell_reached(log: Journal, budget: Budget, percent: int, spent: Decimal) -> None:
    told = {"period": budget.period, "usd": float(budget.usd), "spent_usd": float(spent)}
    log.note("warning", "budget_reached", budget=budget.name, percent=percent, **told)


class _Report:
    """Counts failures of sinks and other parts, and logs each part's at most once a minute."""

    def __init__(self, prometheus: PrometheusSink, log: Journal) -> None:
        self._prometheus = prometheus
        self._log = log
        self._next: dict[str, float] = {}

    def __call__(
        self, part: str, error: BaseException | None, *, mild: type[Exception] | tuple[()] = ()
    ) -> None:
        """Count a failure; only its class is told, as texts may quote what was sent; a ledger's do not.

        One that is `mild` is something to be warned of, and no error.
        """
        self._prometheus.sink_failed(part)
        now = time.monotonic()
        if self._next.get(part, now) <= now:
            self._next[part] = now + _REPORT_SECONDS
            exception = type(error).__name__ if error else None
            reason = {"reason": str(error)} if isinstance(error, LedgerError | ExportError) else {}
            level = "warning" if isinstance(error, mild) else "error"
            self._log.note(level, "sink_failing", sink=part, exception=exception, **reason)


async def _look_around(running: Running) -> None:
    """Look every so often how late the event loop is, and how much is under way; never returns."""
    while True:
        due = time.monotonic() + _LAG_SECONDS
        await asyncio.sleep(_LAG_SECONDS)
        running.prometheus.observe_lag(max(0.0, time.monotonic() - due))
        running.live.look(time.time(), running.state.busy)


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
