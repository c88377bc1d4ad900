"""What each source says, and where: a tree of values, and beside each value where it came from.

The file's layer is made in `file`. Nothing is judged here: a variable that makes no sense is a value like any
other, so that it is reported beside everything else that is wrong.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from meter.settings.tree import places

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meter.settings.tree import Place

__all__ = ["Layer", "Origin", "command_line_layer", "environment_layer", "origin"]


class Origin(NamedTuple):
    """A file with a line (from 1; 0: the whole file), a variable, an option, or nothing at all."""

    source: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class Layer:
    """What one source says, and where it says it."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[Place, Origin] = field(default_factory=dict)

    def put(self, place: tuple[str, ...], value: object, origin: Origin) -> None:
        """Add a value, unless what it would be a member of is no mapping: that is reported as itself."""
        *parents, last = place
        node = self.values
        for part in parents:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                return
        node[last] = value
        for length in range(1, len(place)):
            self.origins.setdefault(place[:length], origin)
        self.origins.update(dict.fromkeys(places(value, place), origin))


def origin(place: Place, layers: Sequence[Layer]) -> Origin:
    """Return where a value came from: the highest layer that knows most of its place."""
    for length in range(len(place), -1, -1):
        for layer in layers:
            if place[:length] in layer.origins:
                return layer.origins[place[:length]]
    return Origin()


# Kubernetes gives every pod variables for every Service, and one of them may well be named `meter`.
_SERVICE_LINK = re.compile(
    r"METER_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)"
)
_SERVICE_URL = ("tcp://", "udp://", "sctp://")
_READ_APART = frozenset({"METER_CONFIG", "METER_KEY_SALT"})


def environment_layer(environ: Mapping[str, str]) -> Layer:
    """Return what the variables say; an empty one says nothing."""
    layer = Layer()
    for name, value in sorted(environ.items()):
        linked = _SERVICE_LINK.fullmatch(name) or (name.endswith("_PORT") and value.startswith(_SERVICE_URL))
        if name.startswith("METER_") and value and name not in _READ_APART and not linked:
            place = tuple(name.removeprefix("METER_").lower().split("__"))
            layer.put(place, _decoded(value), Origin(name))
    return layer


def _decoded(value: str) -> object:
    """Return what a variable says: JSON where it is a list or an object, else its text."""
    if value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def command_line_layer(overrides: Mapping[str, Any], below: Mapping[str, Any]) -> Layer:
    """Return what the options say; `upstream` adds to the upstreams that the layers below have."""
    layer = Layer()
    for name, value in overrides.items():
        if name != "upstream":
            place = tuple(name.split("."))
            layer.put(place, value, Origin("--" + place[0].replace("_", "-")))
    others = below.get("upstreams") or []
    if "upstream" in overrides and isinstance(others, list):
        given = {"name": "default", "base_url": overrides["upstream"], "default": True}
        # The command line overrides: what it gives serves whatever no prefix claims.
        rest = [{**other, "default": False} if isinstance(other, dict) else other for other in others]
        layer.values["upstreams"] = [*rest, given]
        layer.origins["upstreams", len(others)] = Origin("--upstream")
    return layer
