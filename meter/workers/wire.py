"""What a parent and its workers say to each other over a socket, and how.

A frame is a length and so many bytes. *Words* go up, from workers, and *orders* go down. Words are what
msgspec takes for one of these types and nothing else, since a worker reads what strangers send. Orders are
pickled: they are few, and have settings and prices in them as the parent made them of what it read. So no
worker reads those files: all serve by the same, whatever has become of the files meanwhile.
"""

from __future__ import annotations

import asyncio
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec import Struct, msgpack

from meter.exchange import Exchange  # noqa: TC001 - msgspec reads the types of fields when it decodes a word

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from meter.price import Book
    from meter.settings import Settings
    from meter.trace import Tracer

__all__ = [
    "Adopt",
    "Background",
    "Begin",
    "Doing",
    "Dropped",
    "Failed",
    "Failures",
    "Flush",
    "Flushed",
    "Missed",
    "Noted",
    "Order",
    "Reached",
    "Ready",
    "Records",
    "Spent",
    "Stop",
    "Stopped",
    "Unable",
    "Word",
    "frames",
    "ordered",
    "orders",
    "spoken",
    "word",
]

_LENGTH = 4
"""Bytes that say how long a frame is."""


# Words, from a worker to its parent.


class Ready(Struct, tag=True):
    """The worker listens."""


class Unable(Struct, tag=True):
    """The worker cannot listen, and ends."""

    reason: str


class Records(Struct, tag=True):
    """Exchanges that have ended, in the order in which they did."""

    exchanges: list[Exchange]


class Doing(Struct, tag=True):
    """What goes on in the worker at the moment."""

    in_flight: list[tuple[str, str, int]]
    """Exchanges under way, by upstream and operation."""
    drains: int
    late_s: float | None = None
    """How late the event loop was, where that was measured."""


class Flushed(Struct, tag=True):
    """All that had happened when `Flush` of this number came has been told."""

    number: int


class Missed(Struct, tag=True):
    """An upstream was out of reach."""

    upstream: str
    reason: str


class Reached(Struct, tag=True):
    """An upstream has answered that somebody had found out of reach."""

    upstream: str


class Background(Struct, tag=True):
    """An answer is being made in the background, or has been fetched; a word and an order."""

    upstream: str
    response_id: str
    begun: bool


class Failed(Struct, tag=True):
    """A part has failed."""

    part: str
    exception: str | None
    """Its class."""


class Dropped(Struct, tag=True):
    """So many exchanges were lost on the way: there was no room for them."""

    exchanges: int


class Noted(Struct, tag=True):
    """An event for the log."""

    level: str
    event: str
    told: dict[str, str | None]


class Stopped(Struct, tag=True):
    """The worker has told everything, and ends because it was to."""

    broken_off: int


Word = (
    Ready
    | Unable
    | Records
    | Doing
    | Flushed
    | Missed
    | Reached
    | Background
    | Failed
    | Dropped
    | Noted
    | Stopped
)


# Orders, from the parent to a worker.


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Serve by these; the first order, and once."""

    settings: Settings
    book: Book
    tracer: Tracer | None
    failures: Mapping[str, int]
    backgrounds: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt:
    """Serve by these from now on."""

    settings: Settings
    book: Book


@dataclass(frozen=True, slots=True)
class Flush:
    """Tell all that has happened until now."""

    number: int


@dataclass(frozen=True, slots=True)
class Failures:
    """So many times in a row upstreams have been out of reach, in all workers together."""

    by_upstream: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Spent:
    """So much was spent of each budget in its period of `at`, by its name."""

    at: datetime
    usd: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Stop:
    """Begin to drain; `at_once`: break off what is still under way."""

    at_once: bool


Order = Begin | Adopt | Flush | Failures | Spent | Stop | Background


_ENCODER = msgpack.Encoder(enc_hook=dict)  # of what it does not know, there are only read-only mappings
_DECODER = msgpack.Decoder(Word)


def spoken(word: Word) -> bytes:
    """Return a word's frame; raises ValueError or OverflowError where it holds what msgpack cannot say."""
    return _framed(_ENCODER.encode(word))


def word(frame: bytes) -> Word:
    """Return the word that a frame holds; raises msgspec.ValidationError where it is none."""
    found: Word = _DECODER.decode(frame)
    return found


def ordered(order: Order) -> bytes:
    """Return an order's frame."""
    return _framed(pickle.dumps(order, pickle.HIGHEST_PROTOCOL))


async def orders(reader: asyncio.StreamReader) -> AsyncIterator[Any]:
    """Yield the orders that come, until there is nobody left to give any."""
    async for frame in frames(reader):
        yield pickle.loads(frame)  # noqa: S301 - of the parent, which started this process


async def frames(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield what frames hold, until the other side is gone."""
    try:
        while True:
            length = int.from_bytes(await reader.readexactly(_LENGTH))
            yield await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return


def _framed(body: bytes) -> bytes:
    return len(body).to_bytes(_LENGTH) + body
