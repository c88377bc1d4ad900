"""The way to an upstream: certificates are verified, and proxies are used where they are asked for."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from stage import Loop, ask, running_house, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GET = b"GET /v1/models HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


@contextmanager
def listening(serve: Any, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve connections on a free port; yield it."""
    loop = Loop()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)

    server: asyncio.Server = loop.run(start())
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.run(closed(server))
        loop.close()


async def closed(server: asyncio.Server) -> None:
    """Stop listening."""
    server.close()


async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(ANSWER)
    await writer.drain()
    writer.close()


@pytest.fixture
def authority() -> trustme.CA:
    """Give somebody who signs certificates, whom no system trusts."""
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[int]:
    """Give the port of an upstream that speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with listening(answers, context) as port:
        yield port


def through(port: int, **upstream: Any) -> tuple[bytes, str]:
    """Ask an upstream through Meter; return the status line, and how it is recorded."""
    told = {"name": "up", "base_url": f"https://localhost:{port}", **upstream}
    with running_house(f"https://localhost:{port}", upstreams=[told]) as house:
        head, _ = ask(house.url, GET)
        line = until(house.lines)[0]
    return head.split(b"\r\n")[0], line["outcome"]


class TestCertificates:
    """Nobody is believed to be the upstream without a certificate."""

    def test_refuses_strangers(self, secure: int) -> None:
        """A certificate that nobody trusts signed is not accepted."""
        assert (b"HTTP/1.1 502 Bad Gateway", "unreachable") == through(secure)

    def test_trusts_whom_it_is_told_to(self, secure: int, authority: trustme.CA, tmp_path: Path) -> None:
        """With `tls.ca` the certificates of one's own authority are accepted."""
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

        assert (b"HTTP/1.1 200 OK", "ok") == through(secure, tls={"ca": str(tmp_path / "ca.pem")})

    def test_refuses_other_names(self, authority: trustme.CA, tmp_path: Path) -> None:
        """A trusted certificate of another name is not accepted."""
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("elsewhere.example").configure_cert(context)
        with listening(answers, context) as port:
            assert b"HTTP/1.1 502 Bad Gateway" == through(port, tls={"ca": str(tmp_path / "ca.pem")})[0]

    def test_may_be_told_to_trust_anybody(self, secure: int) -> None:
        """With `tls.verify: false` any certificate is accepted."""
        assert (b"HTTP/1.1 200 OK", "ok") == through(secure, tls={"verify": False})


class TestProxies:
    """A proxy on the way is used where it is asked for, and only there."""

    @pytest.mark.parametrize(("proxy", "used"), [("off", False), ("env", True)])
    def test_takes_the_environments_where_it_is_asked_to(
        self, secure: int, monkeypatch: pytest.MonkeyPatch, proxy: str, used: bool
    ) -> None:
        """HTTPS_PROXY counts with `proxy: env`, and not otherwise."""
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)

        status, _ = through(secure, proxy=proxy, tls={"verify": False})

        assert used == (status == b"HTTP/1.1 502 Bad Gateway")
