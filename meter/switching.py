"""One end of a tunnel: a connection that has stopped speaking HTTP.

aiohttp's protocols go on to own the transport and its flow control; what comes in, what ends and what clogs
they tell an `End`, which acts at once, in the same turn of the loop: no task wakes up for a piece of bytes.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["End", "Switching", "reset"]

_NO_LINGER = struct.pack("ii", 1, 0)


def reset(transport: asyncio.WriteTransport) -> None:
    """Break a connection so that nobody can take it for a clean end: by RST, which drops what is unsent."""
    with suppress(OSError, ValueError):  # it may be closed already
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()


class Switching(asyncio.Protocol):
    """What a protocol of aiohttp's does once it has switched; goes before it among the bases."""

    __slots__ = ()

    end: End | None
    """What is told of all that happens, from the switch on."""
    transport: asyncio.Transport | None

    @property
    def halves(self) -> bool:
        """The connection may end in one direction and go on in the other, as TLS may not."""
        return self.transport is not None and self.transport.can_write_eof()

    def pause_writing(self) -> None:
        """Take note that the peer takes less than it is sent."""
        super().pause_writing()
        if self.end is not None:
            self.end.on_clog(True)

    def resume_writing(self) -> None:
        """Take note that the peer has caught up."""
        super().resume_writing()
        if self.end is not None:
            self.end.on_clog(False)

    def eof_received(self) -> bool | None:
        """Take note that the peer says no more; tell whether it may still listen."""
        super().eof_received()
        if self.end is None:
            return None
        keeps = self.halves
        self.end.finished()
        return keeps

    def connection_lost(self, exc: BaseException | None) -> None:
        """Take note that there is no connection any more."""
        super().connection_lost(exc)  # type: ignore[arg-type] # aiohttp's take any
        if self.end is not None:
            self.end.lost(exc)


class _Switched(Protocol):
    """What an end asks of a protocol of aiohttp's."""

    transport: asyncio.Transport | None

    @property
    def halves(self) -> bool: ...

    @property
    def writing_paused(self) -> bool: ...

    def switch(self, end: End) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class End:
    """One end of a tunnel; whoever joins two of them sets what is to happen."""

    def __init__(self, protocol: _Switched) -> None:
        self._protocol = protocol
        self._transport = protocol.transport
        self.over = False
        """It says no more."""
        self.gone = False
        """There is no connection any more."""
        self.forget()

    def open(self) -> None:
        """Begin: what has come already comes at once."""
        self._protocol.switch(self)
        if self._protocol.writing_paused:
            self.on_clog(True)

    def forget(self) -> None:
        """Tell nobody any more."""
        self.on_data: Callable[[bytes], None] = lambda _: None
        self.on_over: Callable[[], None] = lambda: None
        self.on_gone: Callable[[BaseException | None], None] = lambda _: None
        self.on_clog: Callable[[bool], None] = lambda _: None

    # What aiohttp calls of what it takes for a parser.

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take in what came."""
        if data:
            self.on_data(data)
        return False, b""

    def feed_eof(self) -> None:
        """Do nothing: `lost` says more."""

    # What happens to it.

    def finished(self) -> None:
        """Take note that it says no more."""
        if not self.over:
            self.over = True
            self.on_over()

    def lost(self, exc: BaseException | None) -> None:
        """Take note that the connection is no more; `exc` is what broke it."""
        self.gone = True
        self.on_gone(exc)

    # What is done to it.

    def send(self, data: bytes) -> None:
        """Send bytes, unless nobody is left to take them."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def send_end(self) -> bool:
        """Say that no more comes; tell whether that can be said without closing the connection."""
        if self._transport is None or self._transport.is_closing() or not self._protocol.halves:
            return False
        self._transport.write_eof()
        return True

    def hold(self, held: bool) -> None:
        """Stop reading from it, or go on."""
        if not self.over:  # reading on would give the end once more
            (self._protocol.pause_reading if held else self._protocol.resume_reading)()

    @property
    def unsent(self) -> int:
        """Bytes that it has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def break_off(self) -> None:
        """Break the connection, so that nobody takes it for a clean end."""
        if self._transport is not None:
            reset(self._transport)

    def close(self, patience: float) -> None:
        """Close the connection after what is unsent, which may take `patience` seconds."""
        if self._transport is None:
            return
        unsent = self.unsent
        self._transport.close()
        if unsent:
            asyncio.get_running_loop().call_later(patience, self._transport.abort)
