"""What does not fit together.

All checks look at values as they came, right or wrong, so that everything is told at once; each yields the
place of what is wrong and a sentence about it. Of one place, what its type says comes first.
"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from meter.settings.tree import dotted, found
from meter.settings.words import NO_UPSTREAM, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from meter.settings.tree import Place

__all__ = ["misfits"]


def misfits(values: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    """Yield the place of everything that cannot be as it is, and why."""
    for check in _CHECKS:
        yield from check(values)


def _none_at_all(values: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    if values.get("upstreams") == []:
        yield ("upstreams",), NO_UPSTREAM


_UNIQUE = ("upstreams.*.name", "upstreams.*.prefix", "keys.*.fingerprint", "budgets.*.name")


def _same_twice(values: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    for pattern in _UNIQUE:
        first: dict[str, Place] = {}
        for place, value in found(values, pattern):
            if isinstance(value, str) and first.setdefault(value, place) != place:
                other = dotted(first[value][:-1])
                yield place, f"got {shown(place, value)}, expected another {place[-1]} than that of {other}"


def _two_defaults(values: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    defaults = _defaults(values)
    for place in defaults[1:]:
        yield place, f"{dotted(defaults[0][:-1])} is the default already, expected one default at most"


def _unreachable(values: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    open_ones = [
        (place, entry)
        for place, entry in found(values, "upstreams.*")
        if isinstance(entry, dict) and entry.get("prefix") is None
    ]
    for place, entry in open_ones if _defaults(values) or len(open_ones) > 1 else ():
        if "default" not in entry:  # whoever says `default: false` has thought of it
            yield place, "nothing would reach it, expected a prefix or default: true"


def _no_pair(values: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    tls = values.get("tls")
    cert, key = (tls.get("cert"), tls.get("key")) if isinstance(tls, dict) else (None, None)
    if key and not cert:
        yield ("tls", "key"), "a key alone is of no use, expected tls.cert as well"
    if _is_file(cert) and _is_file(key or cert):
        try:
            # A key that wants a password must not ask for one: nobody may be there.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(str(cert), key or None, password="")
        except (OSError, ValueError):
            yield (
                ("tls", "cert"),
                "expected a certificate and its key, as PEM, without a password",
            )


def _is_file(value: object) -> bool:
    return isinstance(value, str) and os.path.isfile(value)  # noqa: PTH113 - pathlib raises for long names


def _no_certificates(values: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    for place, file in found(values, "upstreams.*.tls.ca"):
        if _is_file(file):
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
            except (OSError, ValueError):
                yield place, f"got {shown(place, file)}, expected a file of certificates, as PEM"


def _defaults(values: Mapping[str, Any]) -> list[Place]:
    return [place for place, value in found(values, "upstreams.*.default") if _true(value)]


_BOOLEAN = TypeAdapter(bool)


def _true(value: object) -> bool:
    """Tell whether a setting that is on or off would be on."""
    try:
        return _BOOLEAN.validate_python(value)
    except ValidationError:
        return False


def _about_nobody(values: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    """Budgets that no request could ever count against."""
    upstreams = {name for _, name in found(values, "upstreams.*.name")}
    for place, name in found(values, "budgets.*.upstream"):
        if isinstance(name, str) and name not in upstreams:
            yield place, f"got {shown(place, name)}, expected the name of an upstream"
    named = {
        entry["fingerprint"]: entry.get("name") for _, entry in found(values, "keys.*") if _is_named(entry)
    }
    for place, key in found(values, "budgets.*.key"):
        if isinstance(key, str) and key in named:
            yield place, f"got a fingerprint that has a name, expected {shown(place, named[key])}"


def _is_named(entry: object) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("fingerprint"), str)


_CHECKS = (
    _none_at_all,
    _same_twice,
    _two_defaults,
    _unreachable,
    _no_pair,
    _no_certificates,
    _about_nobody,
)
