"""Writes lines to a stream from a thread of its own: whoever reads them slowly, or not at all, stops nobody.

Lines wait in memory, a bounded number of them, and go out a batch at a time some hundredths of a second after
the first. What there is no room for, or nobody takes any more, is dropped and counted.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Outlet"]

_BATCH_SECONDS = 0.02
_CLOSE_SECONDS = 2.0
"""A reader that takes nothing is waited for no longer at the end."""


class Outlet:
    """A stream of bytes that never makes its writer wait.

    `most` lines may wait, of `most_bytes` together.
    """

    def __init__(self, stream: Any, *, most: int = 10_000, most_bytes: int = 64 << 20) -> None:
        self.on_drop: Callable[[], None] = lambda: None
        """Called for each line that is lost: no room for it, or writing failed; from any thread."""
        self.on_error: Callable[[BaseException], None] = lambda _: None
        """Called with what writing raised; from the outlet's thread."""
        self._stream = stream
        self._most, self._most_bytes = most, most_bytes
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        """About as many wait: threads that write at once may count wrong, until the next batch goes out."""
        self._some = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Write a line, soon."""
        if len(self._lines) >= self._most or self._bytes + len(line) > self._most_bytes:
            self.on_drop()
            return
        self._lines.append(line)
        self._bytes += len(line)
        if not self._some.is_set():  # to wake it again takes longer than all the rest
            self._some.set()

    def flush(self) -> None:
        """Do nothing: lines go out as soon as somebody takes them."""

    def close(self) -> None:
        """Write what is left, for as long as somebody takes it; what is written after is lost."""
        self._closing = True
        self._some.set()
        self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._closing:
            self._some.wait()
            if not self._closing:
                time.sleep(_BATCH_SECONDS)
            self._some.clear()
            self._bytes = 0
            self._write([self._lines.popleft() for _ in range(len(self._lines))])
        self._write(list(self._lines))

    def _write(self, lines: list[bytes]) -> None:
        try:
            if lines:
                self._stream.write(b"".join(lines))
                self._stream.flush()
        except (OSError, ValueError) as error:  # nobody reads any more, or the stream is closed
            self.on_error(error)
            for _ in lines:
                self.on_drop()
