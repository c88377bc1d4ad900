"""Two connections joined, bytes both ways and nothing read: `python -m bench.splice PORT UPSTREAM_PORT`.

No proxy, for it makes one connection to the upstream for each of a client's; what it takes is what the
kernel, uvloop and a call of Python take for each piece, which nothing in Python comes below.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop


class _End(asyncio.Protocol):
    """One of the two ends."""

    transport: asyncio.Transport

    def __init__(self, other: _End | None = None) -> None:
        self.other = other
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if self.other is not None:
            self.other.join(self)

    def join(self, other: _End) -> None:
        self.other = other
        other.transport.writelines(self._early)
        self._early = []

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        else:
            self.other.transport.write(data)

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: ARG002 - asyncio's
        if self.other is not None:
            self.other.transport.close()


class _Client(_End):
    """The end at which a client is; it asks for the other one."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        loop = asyncio.get_running_loop()
        self._asking = loop.create_task(
            loop.create_connection(lambda: _End(self), "127.0.0.1", int(sys.argv[2]))
        )


async def main() -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(_Client, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
