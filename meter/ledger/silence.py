"""A connection to PostgreSQL that does not wait for ever.

A server that is gone is found out by TCP. One that hangs, or something between here and there that has
forgotten a connection, still acknowledges every byte; the driver itself would wait for its answer for good.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from psycopg import Connection, OperationalError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

__all__ = ["connect"]


class _Impatient(Connection[Any]):
    """Gives up a statement after so many seconds, and itself with it."""

    silence: float

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **options: Any) -> Any:
        """Wait until what `gen` does has been done; raises OperationalError where it takes too long."""
        return super().wait(self._limited(gen), *args, **options)

    def _limited(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        until = time.monotonic() + self.silence
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted  # nothing is ready every tenth of a second or so
                if not ready and time.monotonic() > until:
                    self.pgconn.finish()
                    raise OperationalError("the server says nothing")
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value


def connect(silence: float, options: Mapping[str, Any]) -> Connection[Any]:
    """Connect as the options say; a server that says nothing for `silence` seconds is given up."""
    connection = _Impatient.connect(**options)
    connection.silence = silence
    return connection
