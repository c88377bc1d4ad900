"""What any process of Meter has around what it serves.

Its event loop, its garbage, work alongside, how late the loop is, and what libraries log.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

from meter.sinks.log import LibraryLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from typing import Any

    from meter.sinks.log import Heedful

__all__ = ["alongside", "library_log", "looking", "run_loop", "settled"]

_SWITCH_SECONDS = 0.0005
"""So long a thread, such as the one that renders a scrape, keeps the event loop waiting; Python's 0.005 would
add up, for the loop lets go each time it asks for what has come."""

_LOOK_SECONDS = 0.5
"""How often it is measured how late the event loop is, and looked how much is under way."""


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


def settled() -> None:
    """Let searches for garbage pass over all that there is by now, from here on: it stays.

    One through everything takes 0.04 s, for which nobody is served.
    """
    gc.freeze()
    gc.enable()


@asynccontextmanager
async def alongside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Let `work` go on for as long as the context lasts."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def looking(look: Callable[[float], None]) -> None:
    """Call `look` every so often with how many seconds late the event loop is; never returns."""
    while True:
        due = time.monotonic() + _LOOK_SECONDS
        await asyncio.sleep(_LOOK_SECONDS)
        look(max(0.0, time.monotonic() - due))


@contextmanager
def library_log(log: Heedful) -> Iterator[None]:
    """Take over what libraries log, for as long as the context lasts."""
    root = logging.getLogger()
    before = root.handlers[:]
    root.handlers = [LibraryLog(log)]
    try:
        yield
    finally:
        root.handlers = before
