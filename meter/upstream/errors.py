"""What may go wrong with an upstream, in our words: libraries quote what was sent."""

from __future__ import annotations

import ssl

import aiohttp

__all__ = ["CLOSED", "NOT_HTTP", "BrokenOffError", "TimedOutError", "UnreachableError", "reason"]


class UnreachableError(Exception):
    """No answer's head came: no connection, or one that broke before; `reason` says why, in words.

    `reused` says that it was a connection used before, which broke before the first byte of an answer.
    """

    def __init__(self, reason: str, *, reused: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.reused = reused


class TimedOutError(Exception):
    """The upstream took too long; `connecting` says that it was not even reached."""

    def __init__(self, *, connecting: bool = False) -> None:
        super().__init__()
        self.connecting = connecting


class BrokenOffError(Exception):
    """The answer's body broke off."""


CLOSED = "it closed the connection"
NOT_HTTP = "what it said is not valid HTTP"

_REASONS: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((aiohttp.ClientConnectorDNSError,), "its name could not be resolved"),
    (
        (aiohttp.ClientSSLError, ssl.SSLError),
        "no secure connection could be made, or its certificate is not trusted",
    ),
    (
        (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError),
        "the proxy before it did not connect",
    ),
    ((aiohttp.ClientConnectorError,), "no connection could be made"),
    ((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, OSError), CLOSED),
    ((Exception,), NOT_HTTP),
)


def reason(error: Exception) -> str:
    """Say why no connection came about, by the first kind of error that fits."""
    return next(words for kinds, words in _REASONS if isinstance(error, kinds))
