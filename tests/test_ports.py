"""Ports that several processes listen on together."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from meter.ports import held


def listening(address: str, port: int, *, shares: bool) -> socket.socket:
    """Return a socket that listens."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    there = socket.socket(family)
    there.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shares))
    try:
        there.bind((address, port))
        there.listen()
    except OSError:
        there.close()
        raise
    return there


@pytest.mark.parametrize(
    ("host", "beginning"), [("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:")]
)
def test_a_free_port(host: str, beginning: str) -> None:
    """Port 0 is a free one, on which some may listen together, and nobody alone."""
    with ExitStack() as stack:
        url = held(stack, host, 0, None)
        port = int(url.rpartition(":")[2])
        for _ in range(2):
            stack.enter_context(listening(host, port, shares=True))

        assert url == f"{beginning}{port}"
        with pytest.raises(OSError, match="in use"):
            listening(host, port, shares=False).close()


@pytest.mark.parametrize("shares", [False, True])
def test_a_port_in_use(shares: bool) -> None:
    """A port that somebody listens on is not had, though they would share it."""
    with listening("127.0.0.1", 0, shares=shares) as there, ExitStack() as stack:
        port = there.getsockname()[1]
        with pytest.raises(OSError, match=rf"^\[Errno \d+\] 127.0.0.1 port {port}: address already in use$"):
            held(stack, "127.0.0.1", port, None)


def test_no_such_host() -> None:
    """A host that nobody knows is a sentence."""
    with ExitStack() as stack, pytest.raises(OSError, match=r"nowhere\.invalid port 1: "):
        held(stack, "nowhere.invalid", 1, None)
