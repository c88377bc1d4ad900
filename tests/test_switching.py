"""One end of a tunnel: what it is told, and what is done to its transport."""

from __future__ import annotations

import asyncio
import socket

import pytest

from meter.switching import End, Switching, reset


class _Asked:
    """What aiohttp's protocols do besides."""

    def __init__(self) -> None:
        self.writing_paused = False
        self.reading: list[str] = []

    def pause_reading(self) -> None:
        """Stop."""
        self.reading.append("pause")

    def resume_reading(self) -> None:
        """Go on."""
        self.reading.append("resume")


class Plain(_Asked, Switching):
    """A protocol that has nothing of HTTP."""

    def __init__(self) -> None:
        super().__init__()
        self.end: End | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Hand on what came."""
        if self.end is not None:
            self.end.feed_data(data)

    def switch(self, end: End) -> None:
        """Tell an end from now on."""
        self.end = end


class Ear:
    """Hears all that an end is told."""

    def __init__(self, end: End) -> None:
        self.told: list[object] = []
        self.gone = asyncio.Event()
        end.on_data = self.told.append
        end.on_over = lambda: self.told.append("over")
        end.on_clog = lambda clogged: self.told.append("clogged" if clogged else "clear")
        end.on_gone = self._gone

    def _gone(self, exc: BaseException | None) -> None:
        self.told.append(type(exc))
        self.gone.set()


async def connected() -> tuple[Plain, End, Ear, socket.socket]:
    """Return an end that is open, who hears of it, and the other side of its connection."""
    here, there = socket.socketpair()
    there.settimeout(5)
    _, protocol = await asyncio.get_running_loop().create_connection(Plain, sock=here)
    end = End(protocol)
    ear = Ear(end)
    end.open()
    return protocol, end, ear, there


async def test_tells_what_happens() -> None:
    """What comes, that no more comes, and that the connection is gone are told in that order, once."""
    _, end, ear, there = await connected()
    with there:
        there.sendall(b"hi")
        await asyncio.sleep(0.01)
        there.shutdown(socket.SHUT_WR)
        await asyncio.sleep(0.01)
        end.finished()
        end.send(b"still")

        assert b"still" == there.recv(5)
        assert (True, False) == (end.over, end.gone)
        end.close(1)
        await ear.gone.wait()
    assert [b"hi", "over", type(None)] == ear.told


async def test_ends_one_direction() -> None:
    """Saying that no more comes leaves the other direction open."""
    _, end, ear, there = await connected()
    with there:
        assert end.send_end()
        assert b"" == there.recv(1)
        there.sendall(b"hi")
        await asyncio.sleep(0.01)
        end.close(1)
        await ear.gone.wait()

    assert b"hi" == ear.told[0]
    assert not end.send_end()
    end.send(b"nobody hears this")


async def test_tells_when_it_clogs() -> None:
    """A peer that does not listen clogs its end, which is told, and told again when it has caught up."""
    _, end, ear, there = await connected()
    with there:
        end.send(b"x" * 10_000_000)
        assert ["clogged"] == ear.told
        assert end.unsent > 0
        end.close(5)
        there.setblocking(False)
        await _drain(there)
        await ear.gone.wait()

    assert ["clogged", "clear"] == ear.told[:2]


async def _drain(end: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while await loop.sock_recv(end, 1 << 20):
        pass


async def test_tells_what_was_clogged_before() -> None:
    """An end that is clogged when it is opened is told so."""
    protocol, end, ear, there = await connected()
    protocol.writing_paused = True
    end.open()
    there.close()
    end.close(1)
    await ear.gone.wait()

    assert "clogged" == ear.told[0]


async def test_gives_up_on_who_does_not_listen() -> None:
    """What is unsent is waited for, and no longer than was said."""
    _, end, ear, there = await connected()
    with there:
        end.send(b"x" * 10_000_000)
        end.close(0.05)
        async with asyncio.timeout(5):
            await ear.gone.wait()


async def test_holds() -> None:
    """Reading stops and goes on, but not once no more comes."""
    protocol, end, ear, there = await connected()
    end.hold(True)
    end.hold(False)
    there.close()
    await asyncio.sleep(0.01)
    end.hold(True)
    end.close(1)
    await ear.gone.wait()

    assert ["pause", "resume"] == protocol.reading


async def test_forgets() -> None:
    """Whoever is forgotten is told nothing more."""
    protocol, end, ear, there = await connected()
    end.forget()
    there.sendall(b"hi")
    there.close()
    await asyncio.sleep(0.01)
    end.feed_eof()
    end.hold(False)
    end.break_off()
    await asyncio.sleep(0.01)

    assert [] == ear.told
    assert end.gone
    assert protocol.end is end


async def test_breaks_off() -> None:
    """A connection that is broken off is reset; again, or once it is closed, that does nothing."""
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[asyncio.Transport] = loop.create_future()

    class Accepting(Plain):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            assert self.transport is not None
            accepted.set_result(self.transport)

    server = await loop.create_server(Accepting, "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname(), timeout=5) as client:
        transport = await accepted
        reset(transport)
        await asyncio.sleep(0.01)
        reset(transport)

        with pytest.raises(ConnectionResetError):
            client.recv(1)
    server.close()
