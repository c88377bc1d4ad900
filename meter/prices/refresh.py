"""A newer catalogue in the place of the bundled one: fetched, checked before it is used, and kept.

It is off unless a source for it is set. What comes may be anything: a page of an error, half a file, or
prices in another unit. Nothing is used that does not look like the catalogue that it would replace, and the
last good one is kept on disk for a start at which its source cannot be reached.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from decimal import Decimal

    from aiohttp import ClientSession

    from meter.price import Price, Source

__all__ = [
    "FETCH_SECONDS",
    "Kept",
    "RefreshError",
    "checked",
    "fetch",
    "is_url",
    "keep",
    "kept",
    "masked",
    "read",
]

FETCH_SECONDS = 30.0
"""So long a fetch may take in all."""

_LIMIT = 64 * 2**20
"""Bytes; ten times the greatest list there is."""

_PIECE = 2**16

_ENOUGH = 20
"""Models with a price; a list with fewer is a piece of one, or an example."""

_WELL_KNOWN = (
    ("openai", "gpt-4o"),
    ("openai", "gpt-4o-mini"),
    ("openai", "gpt-4.1"),
    ("openai", "gpt-5"),
    ("openai", "o3"),
    ("anthropic", "claude-3-5-haiku-20241022"),
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-opus-4-5"),
    ("gcp.gemini", "gemini-2.0-flash"),
    ("gcp.gemini", "gemini-2.5-flash"),
    ("gcp.gemini", "gemini-2.5-pro"),
    ("deepseek", "deepseek-chat"),
)
"""Models that every catalogue has some of, and whose prices tell whether its unit is the right one."""

_FACTOR = 1000
"""A price that is so many times the one before it, or less than that part of it, is in another unit."""


class RefreshError(Exception):
    """A catalogue that cannot be had or is not used; `str` of it is a sentence without any secret."""


class Kept(NamedTuple):
    """The last good catalogue."""

    raw: bytes
    at: float
    """When it was kept, in Unix seconds."""


def is_url(source: str) -> bool:
    """Whether a source is an address rather than a file's path."""
    return source.lower().startswith(("http://", "https://"))


def masked(source: str) -> str:
    """Give a source without what may be secret in an address: a name and password, and the query."""
    if not is_url(source):
        return source
    try:
        parts = urlsplit(source)
    except ValueError:
        return "an address that is none"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def read(path: str | Path) -> bytes:
    """Read a catalogue from a file; raises RefreshError."""
    try:
        with Path(path).open("rb") as file:
            raw = file.read(_LIMIT + 1)
    except OSError as error:
        raise RefreshError(f"{path}: cannot be read: {error.strerror or type(error).__name__}") from error
    return _bounded(raw, str(path))


async def fetch(session: ClientSession, url: str) -> bytes:
    """Fetch a catalogue in `FETCH_SECONDS`, following redirects; raises RefreshError."""
    where = masked(url)
    try:
        async with asyncio.timeout(FETCH_SECONDS):
            status, raw = await _got(session, url)
    except Exception as error:  # noqa: BLE001  # what may be raised has no name here, but for its class
        # Its text would repeat the address, with what is secret in it.
        raise RefreshError(f"{where}: cannot be fetched: {type(error).__name__}") from None
    if status != HTTPStatus.OK:
        raise RefreshError(f"{where}: answered with status {status}, expected 200")
    return _bounded(raw, where)


async def _got(session: ClientSession, url: str) -> tuple[int, bytes]:
    raw = bytearray()
    async with session.get(url) as answer:
        async for piece in answer.content.iter_chunked(_PIECE):
            raw += piece
            if len(raw) > _LIMIT:
                break
        return answer.status, bytes(raw)


def _bounded(raw: bytes, where: str) -> bytes:
    if len(raw) > _LIMIT:
        raise RefreshError(f"{where}: got more than {_LIMIT} bytes, expected a catalogue")
    return raw


def checked(
    raw: bytes, *, where: str, used: Source, known_only: bool = False, when: datetime | None = None
) -> Source:
    """Make a source of a catalogue's bytes, once it has been compared with the one in use.

    Takes about a second for the greatest: not for an event loop. `where` names it in the sentence of the
    RefreshError that is raised where it is not to be used.
    """
    from meter.prices.files import published  # noqa: PLC0415 - slow, and not needed until something has come

    moment = when or datetime.now(UTC)
    try:
        source = published(_bounded(raw, where), known_only=known_only)
    except ValueError as error:
        raise RefreshError(f"{where}: {error}") from error
    if source is None:
        raise RefreshError(f"{where}: got none of the lists of genai-prices, LiteLLM and models.dev")
    priced = sum(1 for row in source.listing(moment) if row.price.rates.amounts or row.price.per_unit)
    if priced < _ENOUGH:
        raise RefreshError(f"{where}: got {priced} models with a price, expected {_ENOUGH} or more")
    _compare(source, used, where, moment)
    return source


def _compare(source: Source, used: Source, where: str, when: datetime) -> None:
    common = 0
    for provider, model in _WELL_KNOWN:
        before = used.find(model, upstream="", provider=provider, when=when)
        after = source.find(model, upstream="", provider=provider, when=when)
        if before is None or after is None:
            continue
        common += 1
        for kind, old, new in _changed(before, after):
            if not old / _FACTOR < new < old * _FACTOR:
                what = f"got {new:f} USD per million tokens of {kind} for {model}, expected about {old:f}"
                raise RefreshError(f"{where}: {what}")
    if not common:
        raise RefreshError(f"{where}: got none of the best-known models, expected some")


def _changed(before: Price, after: Price) -> list[tuple[str, Decimal, Decimal]]:
    old, new = before.rates.amounts, after.rates.amounts
    return [(kind, old[kind], new[kind]) for kind in old if old[kind] and kind in new]


def keep(raw: bytes, path: str | Path) -> None:
    """Keep a good catalogue, whole or not at all; raises RefreshError."""
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(target)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise RefreshError(f"{path}: cannot be written: {error.strerror or type(error).__name__}") from error


def kept(path: str | Path) -> Kept | None:
    """Give the catalogue that was kept last; `None` where there is none."""
    with suppress(OSError, RefreshError):
        return Kept(read(path), Path(path).stat().st_mtime)
    return None
