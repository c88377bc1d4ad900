"""From the settings to the book: the user's files in their order, then the catalogue.

The catalogue is the bundled one, or the one last read from where the settings say, which is kept on disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meter import providers
from meter.price import Book
from meter.prices import refresh
from meter.prices.catalogue import CatalogueSource
from meter.prices.tree import PriceFileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from meter.price import Source
    from meter.settings import Settings

__all__ = ["book", "catalogue", "renewed", "upstream_providers"]


def book(settings: Settings, catalogue: Source | None) -> Book:
    """Make the book; raises PriceFileError with all that is wrong in any price file."""
    files = _files(settings.prices.files) if settings.prices.files else []
    aliases = {u.name: dict(u.models) for u in settings.upstreams if u.models}
    return Book([*files, catalogue] if catalogue is not None else files, aliases=aliases)


def _files(paths: Iterable[str]) -> list[Source]:
    from meter.prices.files import load  # noqa: PLC0415 - slow, and not needed where there are none

    sources: list[Source] = []
    problems: list[str] = []
    for path in paths:
        try:
            sources.append(load(path))
        except PriceFileError as error:
            problems.extend(error.problems)
    if problems:
        raise PriceFileError(problems)
    return sources


def catalogue(settings: Settings, state: Path) -> Source | None:
    """Make the catalogue, where one is wanted: the last good one in `state`, where one is read anew."""
    if settings.prices.catalogue == "off":
        return None
    known_only = settings.prices.catalogue == "known"
    bundled = CatalogueSource(ids=providers.catalogue_id, known_only=known_only)
    last = refresh.kept(_kept_at(state)) if settings.prices.refresh.source is not None else None
    if last is None:
        return bundled
    try:
        return refresh.checked(last.raw, where=str(_kept_at(state)), used=bundled, known_only=known_only)
    except refresh.RefreshError:
        return bundled  # of another version of Meter, or no longer whole


def renewed(settings: Settings, state: Path, raw: bytes, used: Source) -> Source:
    """Make a catalogue of what was read from where the settings say, and keep it; takes about a second.

    Raises RefreshError where it is not good beside `used`, or cannot be kept.
    """
    known_only = settings.prices.catalogue == "known"
    where = refresh.masked(settings.prices.refresh.source or "")
    source = refresh.checked(raw, where=where, used=used, known_only=known_only)
    if source.revision != used.revision:
        refresh.keep(raw, _kept_at(state))
    return source


def _kept_at(state: Path) -> Path:
    return state / "catalogue.json"


def upstream_providers(settings: Settings) -> Mapping[str, str | None]:
    """Return who is behind each upstream, where that is known."""
    return {upstream.name: upstream.provider for upstream in settings.upstreams}
