"""The files that `prices.files` names, whatever their kind, which their contents tell.

A price file is YAML. Lists that others publish are JSON: LiteLLM's, models.dev's and the catalogue's own.
"""

from __future__ import annotations

import json
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from meter import providers
from meter.prices import catalogue, file, litellm, models_dev
from meter.prices.catalogue import CatalogueSource
from meter.prices.table import Stamp
from meter.prices.tree import PriceFileError

if TYPE_CHECKING:
    from meter.price import Source

__all__ = ["PriceFileError", "load", "published"]

_CATALOGUE = "genai-prices"
_TABLES = (
    ("litellm", litellm.recognises, litellm.source),
    ("models.dev", models_dev.recognises, models_dev.source),
)


def load(path: str | Path) -> Source:
    """Read a file of prices; raises PriceFileError that tells what is wrong with it."""
    name = str(path)
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise PriceFileError([f"{name}: cannot be read: {error.strerror or error}"]) from error
    try:
        source = published(raw, name=name)
    except ValueError as error:
        raise PriceFileError([f"{name}: {error}"]) from error
    return source or file.of_text(name, raw)


def published(raw: bytes, *, name: str | None = None, known_only: bool = False) -> Source | None:
    """Read a list that others publish; `None` where it is none that is known.

    Without `name` it goes by the name of its publisher. Raises ValueError where it cannot be used.
    """
    data = _json(raw)
    revision = f"sha256:{sha256(raw).hexdigest()[:12]}"
    if catalogue.recognises(data):
        edition = catalogue.edition(data, name or _CATALOGUE, revision)
        return CatalogueSource(ids=providers.catalogue_id, known_only=known_only, edition=edition)
    for publisher, recognises, source in _TABLES:
        if recognises(data):
            return source(data, Stamp(name or publisher, revision), known_only=known_only)
    return None


def _json(raw: bytes) -> Any:
    """Read JSON, its numbers as they are written; `None` where it is none."""
    if not raw.lstrip().startswith((b"{", b"[")):
        return None
    try:
        return json.loads(raw, parse_float=Decimal, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"got {constant}, expected a number")
