"""The sentences: what came, what was expected, and never a secret.

What is written where a secret belongs is not repeated, nor is a name that nobody would give a setting: it may
be a secret that lost its place.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from meter.keys import masked
from meter.settings.tree import dotted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic_core import ErrorDetails

    from meter.settings.tree import Place

__all__ = ["NO_UPSTREAM", "kind", "sentence", "shown"]

NO_UPSTREAM = (
    "there is none: give one with --upstream https://api.openai.com/v1, or in the file as "
    "`upstreams: [{name: openai, base_url: https://api.openai.com/v1}]`"
)

_EXPECTED = {
    "string_type": "a text (a number or true/false needs quotes)",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "expected": "{what}",
    "literal_error": "{expected}",
    "greater_than_equal": "{ge} or more",
    "invalid_key": "the name of a setting",
}
"""What pydantic's types of errors say was expected."""


def sentence(place: Place, details: ErrorDetails, members: Callable[[Place], Sequence[str]]) -> str:
    """Return what pydantic's details say of a place; `members` are the settings that a place may have."""
    if details["type"] == "extra_forbidden":
        return _unknown(place, members(place[:-1]))
    if details["type"] == "missing":
        return f"{dotted(place)}: {NO_UPSTREAM if place == ('upstreams',) else 'missing, expected a value'}"
    context = {name: str(value).replace("'", "") for name, value in details.get("ctx", {}).items()}
    expected = _EXPECTED.get(details["type"], "another value").format(**context)
    return f"{dotted(place)}: got {shown(place, details['input'])}, expected {expected}"


def _unknown(place: Place, members: Sequence[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only who errs should wait for it

    name = str(place[-1])
    if near := get_close_matches(name, members, n=1):
        return f"{dotted(place)}: unknown setting, did you mean {near[0]}"
    plausible = re.fullmatch(r"[A-Za-z][A-Za-z_]{0,40}", name) and not _secret(place)
    named = dotted(place if plausible else place[:-1])
    choices = f"one of {', '.join(members)}" if members else "nothing here"
    return f"{named}: unknown setting, expected {choices}".removeprefix(": ")


_KINDS = {type(None): "nothing", dict: "a mapping", list: "a list", tuple: "a list", bytes: "bytes"}
_LONGEST = 80


def kind(value: object) -> str:
    """Return what sort of thing a value is."""
    return _KINDS.get(type(value), "one value")


def shown(place: Place, value: object) -> str:
    """Return what a message may tell of a value."""
    if type(value) in _KINDS:
        return kind(value)
    if _secret(place):
        return "a value that is not shown"
    if isinstance(value, str):
        text = masked(value)
        return repr(text if len(text) <= _LONGEST else text[:_LONGEST] + "...")
    return json.dumps(value) if isinstance(value, bool | int | float) else kind(value)


def _secret(place: Place) -> bool:
    """Tell whether a value here may be a secret: a token, a key, or a credential in a fingerprint's place."""
    if place[:1] == ("keys",):
        return len(place) <= len(("keys", 0)) or place[-1] == "fingerprint"
    if place[:1] == ("tls",):  # the key itself, where its file's name belongs
        return True
    return place[:1] == ("admin",) and place[:2] != ("admin", "public")
