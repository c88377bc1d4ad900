"""Settings as they come from a source: mappings and lists, and the places in them.

A place is the names and indexes that lead to a value; a pattern is a place with dots between its names and
`*` for any entry of a list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Place", "dotted", "found", "merged", "places"]

Place: TypeAlias = tuple[str | int, ...]


def dotted(place: Place) -> str:
    """Return a place as people write it: `upstreams[0].base_url`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


def places(value: object, place: Place = ()) -> Iterator[Place]:
    """Yield the place of a value and of everything inside it."""
    yield place
    members: Iterable[tuple[Any, object]] = ()
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, list):
        members = enumerate(value)
    for name, member in members:
        yield from places(member, (*place, name))


def found(values: Any, pattern: str, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Yield place and value of everything that a pattern such as `upstreams.*.name` points to."""
    name, _, rest = pattern.partition(".")
    if not name:
        yield place, values
    elif name == "*":
        for index, entry in enumerate(values if isinstance(values, list | tuple) else ()):
            yield from found(entry, rest, (*place, index))
    elif isinstance(values, dict) and name in values:
        yield from found(values[name], rest, (*place, name))


def merged(upper: Mapping[str, Any], lower: Mapping[str, Any]) -> dict[str, Any]:
    """Return `lower` with what `upper` says instead; mappings are merged, everything else is replaced."""
    both = dict(lower)
    for name, value in upper.items():
        below = both.get(name)
        both[name] = merged(value, below) if isinstance(value, dict) and isinstance(below, dict) else value
    return both
