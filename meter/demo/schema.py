"""A value that fits a JSON schema: the arguments of a tool call, or a structured answer.

It is made for schemas that people write by hand and that pydantic makes; what it does not understand becomes
a string, and a schema that contains itself ends at a depth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

__all__ = ["example"]

_DEPTH = 12
_DEPTH_OF_ITEMS = 4  # deeper lists are empty, which is how a list of itself ends
_WORDS = ("Berlin", "meter", "stream", "上海", "ledger", "north")


def example(schema: Any, rng: Random) -> Any:
    """Return a value that `schema` describes."""
    return _value(schema, rng, schema, 0)


def _value(schema: Any, rng: Random, root: Any, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > _DEPTH:
        return None
    if isinstance(schema.get("$ref"), str):
        return _value(_referred(root, schema["$ref"]), rng, root, depth + 1)
    if "const" in schema:
        return schema["const"]
    for members in ("enum", "anyOf", "oneOf", "allOf"):
        choices = schema.get(members)
        if isinstance(choices, list) and choices:
            return choices[0] if members == "enum" else _value(choices[0], rng, root, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    make = _BY_TYPE.get(kind, _string) if isinstance(kind, str) else _string
    return make(schema, rng, root, depth)


def _referred(root: Any, reference: str) -> Any:
    found = root
    for name in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(name) if isinstance(found, dict) and name else found
    return found


def _object(schema: dict[str, Any], rng: Random, root: Any, depth: int) -> dict[str, Any]:
    properties = schema.get("properties")
    members = properties if isinstance(properties, dict) else {}
    return {name: _value(member, rng, root, depth + 1) for name, member in members.items()}


def _array(schema: dict[str, Any], rng: Random, root: Any, depth: int) -> list[Any]:
    return [_value(schema.get("items", {}), rng, root, depth + 1)] if depth < _DEPTH_OF_ITEMS else []


def _string(_schema: dict[str, Any], rng: Random, _root: Any, _depth: int) -> str:
    return rng.choice(_WORDS)


def _integer(schema: dict[str, Any], rng: Random, _root: Any, _depth: int) -> int:
    lowest = schema.get("minimum")
    return lowest if isinstance(lowest, int) else rng.randint(1, 9)


_BY_TYPE: dict[str, Callable[[dict[str, Any], Random, Any, int], Any]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "integer": _integer,
    "number": lambda schema, rng, root, depth: _integer(schema, rng, root, depth) + 0.5,
    "boolean": lambda _schema, _rng, _root, _depth: True,
    "null": lambda _schema, _rng, _root, _depth: None,
}
