"""The catalogue of prices, read anew every so often from where the settings say."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import aiohttp

from meter import directories, pricing
from meter.prices import refresh

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from meter.price import Source
    from meter.settings import Settings

__all__ = ["keep_fresh"]

_LOOK_SECONDS = 60.0
"""How often it is looked whether a reload has brought a source, where there is none."""


async def keep_fresh(
    settings: Callable[[], Settings],
    used: Callable[[], Source | None],
    adopt: Callable[[Source], Awaitable[None]],
    failed: Callable[[str], None],
) -> None:
    """Let `adopt` have each catalogue that is new, and `failed` hear why there was none; never returns."""
    while True:
        current, before = settings(), used()
        where = current.prices.refresh.source
        if where is None or before is None:
            await asyncio.sleep(_LOOK_SECONDS)
            continue
        try:
            raw = await _read(where)
            state = directories.state(os.environ)
            source = await asyncio.to_thread(pricing.renewed, current, state, raw, before)
        except refresh.RefreshError as error:
            failed(str(error))
        else:
            if source.revision != before.revision:
                await adopt(source)
        await asyncio.sleep(current.prices.refresh.every)


async def _read(where: str) -> bytes:
    if not refresh.is_url(where):
        return await asyncio.to_thread(refresh.read, where)
    async with aiohttp.ClientSession() as session:
        return await refresh.fetch(session, where)
