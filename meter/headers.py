"""Which header fields travel and which stay home.

Fields are pairs of bytes, in order, spelled as they came. What is hop-by-hop ends at Meter (RFC 9110, 7.6.1),
so do the fields that `Connection` names; everything else travels. `TE` stays home whole: trailers are not
carried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "HOP_BY_HOP",
    "Fields",
    "end_to_end",
    "first",
    "forwarded",
    "lines",
    "media_type",
    "replace",
    "switching",
    "wants_websocket",
    "without",
]

Fields = list[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)


def end_to_end(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    """Return the fields that travel, in their order and spelling."""
    fields = list(fields)
    home = HOP_BY_HOP | _nominated(fields)
    return [(name, value) for name, value in fields if name.lower() not in home]


def switching(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    """Return the fields that travel where protocols switch: `Upgrade` too, and `Connection` that names it."""
    fields = list(fields)
    home = (HOP_BY_HOP | _nominated(fields)) - {b"connection", b"upgrade"}
    out: Fields = []
    seen = set()
    for name, value in fields:
        lower = name.lower()
        if lower not in home and lower not in seen:
            out.append((name, b"Upgrade" if lower == b"connection" else value))
        seen.update({lower} & {b"connection", b"upgrade"})
    return out


def wants_websocket(method: str, fields: Sequence[tuple[bytes, bytes]]) -> bool:
    """Tell whether a request asks to switch to WebSocket, and to nothing else."""
    protocols = [value.strip().lower() for name, value in fields if name.lower() == b"upgrade"]
    return method == "GET" and protocols == [b"websocket"] and b"upgrade" in _nominated(fields)


def _nominated(fields: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
    """Return what the fields called `Connection` name, in lower case."""
    return {
        token.strip().lower()
        for name, value in fields
        if name.lower() == b"connection"
        for token in value.split(b",")
    }


def without(fields: Fields, *names: bytes) -> Fields:
    """Return the fields but those called any of `names` (lower case)."""
    return [field for field in fields if field[0].lower() not in names]


def replace(fields: Fields, name: bytes, value: bytes) -> Fields:
    """Return the fields with the first `name` given `value`, in its place, and its repetitions gone."""
    out: Fields = []
    done = False
    for field in fields:
        if field[0].lower() != name.lower():
            out.append(field)
        elif not done:
            out.append((field[0], value))
            done = True
    if not done:
        out.append((name, value))
    return out


def first(fields: Sequence[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """Return the first value of `name` (lower case), or None."""
    for key, value in fields:
        if len(key) == len(name) and key.lower() == name:
            return value
    return None


def lines(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the fields as they stand in a head, each with the end of its line."""
    return b"\r\n".join([*map(b": ".join, fields), b""])


def media_type(fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return the media type of Content-Type, in lower case, without parameters; empty where there is none."""
    return (first(fields, b"content-type") or b"").partition(b";")[0].strip().lower()


def forwarded(fields: Fields, peer: str, scheme: str, host: str) -> Fields:
    """Return the fields with the client added to `X-Forwarded-For`, `X-Forwarded-Proto`, `Forwarded`."""
    node = f'"[{peer}]"' if ":" in peer else peer
    host = host.replace("\\", "\\\\").replace('"', '\\"')
    added = (
        (b"X-Forwarded-For", peer.encode()),
        (b"X-Forwarded-Proto", scheme.encode()),
        (b"Forwarded", f'for={node};proto={scheme};host="{host}"'.encode("latin-1", "replace")),
    )
    for name, value in added:
        came = [v for n, v in fields if n.lower() == name.lower()]
        fields = replace(fields, name, b", ".join([*came, value]))
    return fields
