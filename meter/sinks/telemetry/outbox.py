"""Things that wait to be sent, and the thread that sends them a batch at a time.

Whoever puts something in never waits. What there is no room for is dropped, and so is what could not be sent;
either is counted. At the end so much time is given, and not more.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

from meter.sinks.telemetry.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Batching", "Outbox", "Sending"]

_Thing_contra = TypeVar("_Thing_contra", contravariant=True)
_Thing = TypeVar("_Thing")

_HEAVIEST_BATCH = 1 << 20
_HEAVIEST_QUEUE = 32 << 20
"""Characters of content in a batch, and in all that waits: many collectors take 4 MiB at once."""
_ABORT_SECONDS = 0.5


class Sending(Protocol[_Thing_contra]):
    """What sends."""

    def send(self, batch: Sequence[_Thing_contra]) -> None:
        """Send a batch and wait until it was taken; raises ExportError where it was not."""
        ...

    def abort(self) -> None:
        """Send nothing more; what is being sent may fail. Called from another thread."""
        ...


class Batching(NamedTuple):
    """How many things may wait, how many go at once, and for how many seconds they gather."""

    room: int
    most: int
    pause: float


class Outbox(Generic[_Thing]):
    """What waits for one way out.

    `weigh` returns how many characters of content a thing has. `on_drop` hears of each thing that is lost,
    `on_error` of each batch that was not taken; both from either thread.
    """

    def __init__(
        self,
        name: str,
        sending: Sending[_Thing],
        batching: Batching,
        *,
        on_drop: Callable[[], None],
        on_error: Callable[[BaseException], None],
        weigh: Callable[[_Thing], int] = lambda _: 0,
    ) -> None:
        self._sending = sending
        self._batching = batching
        self._on_drop, self._on_error = on_drop, on_error
        self._weigh = weigh
        self._queue: deque[tuple[_Thing, int]] = deque()
        self._weight = 0
        self._flying = 0
        """Things that are being sent."""
        self._closing = False
        self._given_up = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"meter-{name}", daemon=True)
        self._thread.start()

    def put(self, thing: _Thing) -> None:
        """Send something soon; never waits."""
        weight = self._weigh(thing)
        with self._changed:
            room = len(self._queue) < self._batching.room and self._weight + weight <= _HEAVIEST_QUEUE
            taken = room and not self._closing
            if taken:
                self._queue.append((thing, weight))
                self._weight += weight
                # The first one begins the pause in which others gather, and a whole batch ends it.
                if len(self._queue) in (1, self._batching.most):
                    self._changed.notify()
        if not taken:
            self._on_drop()

    def stop(self) -> None:
        """Take nothing more, and send what is left."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def join(self, until: float) -> None:
        """Wait for what is left until a moment of the monotonic clock; drop what is still there then."""
        self.stop()
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            with self._changed:
                self._given_up = True
                left = len(self._queue) + self._flying
                self._queue.clear()
            self._sending.abort()
            self._thread.join(_ABORT_SECONDS)
            for _ in range(left):
                self._on_drop()
        else:
            self._sending.abort()

    def _run(self) -> None:
        while batch := self._next():
            try:
                self._sending.send(batch)
            except ExportError as error:
                self._lose(len(batch) if error.lost is None else error.lost, error)
            except Exception as error:  # noqa: BLE001 - whatever it is, there is a next batch
                self._lose(len(batch), error)

    def _next(self) -> list[_Thing]:
        """Return what is to go next; nothing where all has gone and no more will come."""
        with self._changed:
            self._flying = 0
            self._changed.wait_for(lambda: self._queue or self._closing)
            self._changed.wait_for(
                lambda: len(self._queue) >= self._batching.most or self._closing, self._batching.pause
            )
            batch: list[_Thing] = []
            weight = 0
            while self._queue and len(batch) < self._batching.most:
                weight += self._queue[0][1]
                if batch and weight > _HEAVIEST_BATCH:
                    break
                thing, own = self._queue.popleft()
                self._weight -= own
                batch.append(thing)
            self._flying = len(batch)
            return batch

    def _lose(self, count: int, error: Exception) -> None:
        with self._changed:
            if self._given_up:  # it has been counted
                return
            self._flying = 0
        for _ in range(count):
            self._on_drop()
        self._on_error(error)
