"""What waits to be sent: nobody waits for it, it is bounded, and what is lost is counted."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from stage import until

from meter.sinks.telemetry.errors import ExportError
from meter.sinks.telemetry.outbox import Batching, Outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Postman:
    """Takes batches; held up, or refusing, as told."""

    def __init__(self) -> None:
        self.came: list[list[int]] = []
        self.go = threading.Event()
        self.go.set()
        self.error: Exception | None = None
        self.aborted = False
        self.wakes = True
        """What hangs ends when it is aborted."""

    def send(self, batch: Sequence[int]) -> None:
        """Take a batch."""
        self.came.append(list(batch))
        self.go.wait(20)
        if self.error is not None:
            raise self.error

    def abort(self) -> None:
        """End what hangs, maybe."""
        self.aborted = True
        if self.wakes:
            self.error = ExportError("aborted")
            self.go.set()


class Told:
    """An outbox and what was heard of it."""

    def __init__(self, postman: Postman, batching: Batching, weigh: Callable[[int], int]) -> None:
        self.postman = postman
        self.drops = 0
        self.errors: list[BaseException] = []
        self.box = Outbox[int](
            "test", postman, batching, on_drop=self._drop, on_error=self.errors.append, weigh=weigh
        )

    def _drop(self) -> None:
        self.drops += 1

    def close(self, seconds: float = 5.0) -> None:
        """Close it."""
        self.box.join(time.monotonic() + seconds)


@contextmanager
def outbox(
    room: int = 100, most: int = 10, pause: float = 0.01, weigh: Callable[[int], int] = lambda _: 0
) -> Iterator[Told]:
    """Give an outbox."""
    told = Told(Postman(), Batching(room, most, pause), weigh)
    try:
        yield told
    finally:
        told.postman.go.set()
        told.close()


def test_sends_in_batches() -> None:
    """What is put in goes out in order, so many at once at the most."""
    with outbox() as told:
        for i in range(35):
            told.box.put(i)
        told.close()

        assert list(range(35)) == [i for batch in told.postman.came for i in batch]
        assert max(map(len, told.postman.came)) <= 10
        assert 0 == told.drops


def test_waits_for_a_batch_no_longer_than_its_pause() -> None:
    """One thing alone goes out when the pause is over."""
    with outbox() as told:
        told.box.put(1)

        assert [[1]] == until(lambda: told.postman.came)


def test_does_not_wait_for_the_pause_where_a_batch_is_full() -> None:
    """As many as go at once go at once."""
    with outbox(pause=60) as told:
        for i in range(10):
            told.box.put(i)

        assert [list(range(10))] == until(lambda: told.postman.came)


def test_drops_what_there_is_no_room_for() -> None:
    """While one batch hangs, so many wait as there is room for; the others are dropped and counted."""
    with outbox(room=5) as told:
        told.postman.go.clear()
        told.box.put(0)
        until(lambda: told.postman.came)
        for i in range(1, 21):
            told.box.put(i)
        assert 15 == told.drops
        told.postman.go.set()
        told.close()

        assert [[0], [1, 2, 3, 4, 5]] == told.postman.came


def test_counts_what_was_not_taken() -> None:
    """A batch that fails is lost whole, or as much of it as is said; the next one goes out all the same."""
    with outbox() as told:
        for error in (ExportError("no"), ExportError("some", 1), ValueError("odd")):
            told.postman.error = error
            before = len(told.errors)
            told.box.put(1)
            until(lambda before=before: len(told.errors) > before)  # type: ignore[misc]  # mypy cannot infer it
        told.postman.error = None
        told.box.put(2)
        told.close()

        assert ["no", "some", "odd"] == [str(error) for error in told.errors]
        assert (3, [2]) == (told.drops, told.postman.came[-1])


@pytest.mark.parametrize("wakes", [True, False])
def test_closes_in_time(wakes: bool) -> None:
    """At the end a hanging batch is waited for no longer than told; it and what waits count as lost, once."""
    with outbox() as told:
        told.postman.go.clear()
        told.postman.wakes = wakes
        told.box.put(0)
        until(lambda: told.postman.came)
        for i in range(7):
            told.box.put(i)
        told.close(0.05)
        assert (8, True) == (told.drops, told.postman.aborted)
        told.box.put(9)
        told.postman.go.set()

        assert 9 == told.drops


def test_bounds_what_is_heavy() -> None:
    """Content is bounded in what waits and in what goes at once, for messages have limits."""
    with outbox(weigh=lambda _: 700_000) as told:
        told.postman.go.clear()
        told.box.put(0)
        until(lambda: told.postman.came)
        for i in range(1, 60):
            told.box.put(i)
        assert 59 - (32 << 20) // 700_000 == told.drops
        told.postman.go.set()
        told.close()

        assert {1} == set(map(len, told.postman.came))
