"""What one reading of the settings makes, before anybody is served by it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from meter import pricing
from meter.front import Offer
from meter.labels import Admission
from meter.prices.catalogue import CatalogueSource
from meter.sinks.prometheus import Catalogue
from meter.upstream import Client

if TYPE_CHECKING:
    from meter.price import Source
    from meter.settings import Settings

__all__ = ["Parts", "parts_of"]


class Parts(NamedTuple):
    """The parts that settings make."""

    offer: Offer
    admission: Admission
    catalogue: Catalogue | None

    @property
    def settings(self) -> Settings:
        """What they were made of."""
        return self.offer.settings


def parts_of(settings: Settings, catalogue: Source | None) -> Parts:
    """Make the parts, with prices of `catalogue` behind those of the files.

    Raises PriceFileError where a price file is wrong, OSError where one is not there.
    """
    book = pricing.book(settings, catalogue)
    admission = Admission(
        models=book.models(),
        keys={key.name for key in settings.keys},
        label_names=settings.attribution.labels,
        limits=settings.limits.series,
    )
    return Parts(Offer(settings, book, Client(settings)), admission, _facts(catalogue))


def _facts(catalogue: Source | None) -> Catalogue | None:
    if catalogue is None:
        return None
    # Lists that others publish carry no date at all: what is known is that they were good enough now.
    now = time.time()
    timestamp = catalogue.timestamp(now) if isinstance(catalogue, CatalogueSource) else now
    return Catalogue(source=catalogue.name, revision=catalogue.revision, timestamp=timestamp)
