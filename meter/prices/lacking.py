"""The line of a price file that would give a price to a model that lacks one, with a ? for each amount.

It names what was used, by the kinds and units that the ledger or the ring tells of.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from meter.labels import NONE
from meter.telling import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["with_line"]

_PER_UNIT = MappingProxyType(
    {
        "audio_seconds": "per_second",
        "images": "per_image",
        "searches": "per_search",
        "characters": "per_character",
    }
)


def with_line(missing: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told of a model without a price, and its `line`.

    That is `None` for requests that named no model: no entry can be about them.
    """
    return {**missing, "line": None if missing["model"] == NONE else _line(missing)}


def _line(missing: Mapping[str, Any]) -> str:
    amounts = ", ".join(f"{kind}: ?" for kind in missing.get("usage") or ())
    prices = [f"per_million_tokens: {{{amounts}}}"] if amounts else []
    prices += [f"{_PER_UNIT[unit]}: ?" for unit in missing.get("units") or () if unit in _PER_UNIT]
    if not prices:
        prices = ["per_request: ?"]
    model, upstream = _quoted(missing["model"]), _quoted(missing["upstream"])
    return f"  - {{model: {model}, upstream: {upstream}, {', '.join(prices)}}}"


def _quoted(name: object) -> str:
    # YAML takes JSON's texts, and Python's way to spell out what does not show.
    return printable(json.dumps(str(name), ensure_ascii=False))
