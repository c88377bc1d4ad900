"""Reads JSON the way servers write it: what a strict parser refuses is read all the same, if it can be.

A `Shape` decodes into a struct whose members are all `Any`, since a wrong type in one must not cost the
others. Models write half of a surrogate pair, servers write NaN and byte order marks; such texts are read a
second time, leniently. Nothing here raises.
"""

from __future__ import annotations

import json
from typing import Any, Generic, TypeVar

import msgspec

__all__ = ["LONGEST_NAME", "UNREADABLE", "Shape", "name", "written"]

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What decoders raise, whatever they are fed."""

LONGEST_NAME = 1024
"""Characters of a model name or an id that are kept."""
_LONGEST_NUMBER = 40
"""Digits; Python refuses to convert those of thousands."""

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class Shape(Generic[_Struct]):
    """Decodes JSON objects into `struct`, whose members must all have defaults."""

    def __init__(self, struct: type[_Struct]) -> None:
        self._struct = struct
        self._decoder = msgspec.json.Decoder(struct)

    def __call__(self, text: bytes) -> _Struct | None:
        """Return what an object says; None for anything that is no JSON object."""
        try:
            return self._decoder.decode(text)
        except UNREADABLE:
            pass
        try:
            told = _lenient.decode(text.decode("utf-8-sig", "replace").strip())
        except UNREADABLE:
            return None
        if not isinstance(told, dict):
            return None
        names = zip(self._struct.__struct_fields__, self._struct.__struct_encode_fields__, strict=True)
        return self._struct(**{field: told[member] for field, member in names if member in told})


def _whole_number(digits: str) -> int | None:
    return int(digits) if len(digits) <= _LONGEST_NUMBER else None


_lenient = json.JSONDecoder(parse_int=_whole_number, strict=False)


def name(value: Any) -> str | None:
    """Return a model's name, an id or the like, cut to a sane length; None where `value` is none."""
    return value[:LONGEST_NAME] if isinstance(value, str) and value else None


def written(value: Any) -> str:
    """Return a JSON value, such as the arguments of a call, about as a model has written it."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return ""
