"""How every dialect begins to read a text of an answer, be it a whole one, an event or a line.

What is no object is one of two things that look the same in all formats: the end of a stream, or an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from meter.errors import read_error

if TYPE_CHECKING:
    from meter.dialect import Facts
    from meter.lenient import Shape

__all__ = ["told_in"]

_DONE = b"[DONE]"

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


def told_in(shape: Shape[_Struct], text: bytes, facts: Facts, event: bytes = b"") -> _Struct | None:
    """Return what an object says; None where `text` is none, once it has been noted what it is instead.

    `event` is the name of the event that `text` is the data of; one named `error` is one, whatever it says.
    """
    if text.lstrip().startswith(_DONE):
        facts.terminated = True
        return None
    if event == b"error":
        facts.fail("")
    told = shape(text)
    if told is None:
        facts.fail(read_error(text))
    return told
