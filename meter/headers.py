"""Which header fields travel and which stay home.

Fields are pairs of bytes, in order, spelled as they came. What is hop-by-hop ends at Meter (RFC 9110, 7.6.1),
so do the fields that `Connection` names; everything else travels. `TE` stays home whole: trailers are not
carried.

Names come in any case, and the same ones in the same order with each request of a client and each answer of
an upstream. So they are put into lower case once: a `Layout` is kept by the names as they came.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "HOP_BY_HOP",
    "Fields",
    "Head",
    "Layout",
    "end_to_end",
    "first",
    "forwarded",
    "head",
    "layout",
    "lines",
    "media_type",
    "replace",
    "switching",
    "values",
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

_JSON = b"application/json"
_NONE: frozenset[bytes] = frozenset()
_name = itemgetter(0)


class Layout:
    """What stands where among fields of these names; a client's requests all have the same few."""

    __slots__ = ("_choices", "_longer", "lower", "places")

    def __init__(self, names: Sequence[bytes]) -> None:
        self.lower = tuple([name.lower() for name in names])
        """The names in lower case."""
        places: dict[bytes, list[int]] = {}
        for place, name in enumerate(self.lower):
            places.setdefault(name, []).append(place)
        self.places: Mapping[bytes, Sequence[int]] = places
        """By the name in lower case: where it stands."""
        self._choices: dict[tuple[tuple[bytes, ...], frozenset[bytes]], _Choice] = {}
        self._longer: dict[bytes, Layout] = {}

    def with_last(self, name: bytes) -> Layout:
        """Return the same with one of Meter's own, which are few, behind."""
        longer = self._longer.get(name)
        if longer is None:
            longer = self._longer[name] = Layout([*self.lower, name])
        return longer

    def travelling(self, connection: tuple[bytes, ...], but: frozenset[bytes]) -> _Choice:
        """Choose what travels where `Connection` says that, but none that are called any of `but`."""
        choice = self._choices.get((connection, but))
        if choice is None:
            home = HOP_BY_HOP | but | _named_in(connection)
            staying = [place for place, name in enumerate(self.lower) if name in home]
            choice = _Choice(staying[::-1], Layout([name for name in self.lower if name not in home]))
            if len(self._choices) >= _CHOICES:
                self._choices.clear()
            if sum(map(len, connection)) <= _CONNECTION_BYTES:
                self._choices[connection, but] = choice
        return choice


class _Choice(NamedTuple):
    staying: Sequence[int]
    """Where stands what stays home, the last first."""
    layout: Layout
    """Of what travels."""


# Clients choose names: what is kept of them is bounded, to some MB if they do their worst.
_LAYOUTS = 256
_NAMES = 64
_NAMES_BYTES = 2048
_CHOICES = 4
_CONNECTION_BYTES = 64

_layouts: dict[bytes, Layout] = {}


class Head(Fields):
    """Fields that are asked for more than once, and that nobody alters; `head` makes it."""

    __slots__ = ("layout",)
    layout: Layout


def head(fields: Iterable[tuple[bytes, bytes]]) -> Head:
    """Return fields together with what stands where among them."""
    made = Head(fields)
    # One text is sooner looked up than many. None that is kept has a line feed in a name, so that the number
    # of names tells one that has.
    names = b"\n".join(map(_name, made))
    known = _layouts.get(names)
    if known is None or len(known.lower) != len(made):
        known = _laid_out(names, made)
    made.layout = known
    return made


def layout(fields: Sequence[tuple[bytes, bytes]]) -> Layout:
    """Return what stands where among fields."""
    return fields.layout if isinstance(fields, Head) else head(fields).layout


def _laid_out(names: bytes, fields: Fields) -> Layout:
    made = Layout([name for name, _ in fields])
    if len(fields) <= _NAMES and len(names) <= _NAMES_BYTES and names.count(b"\n") == len(fields) - 1:
        if len(_layouts) >= _LAYOUTS:
            _layouts.clear()
        _layouts[names] = made
    return made


def values(fields: Sequence[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """Return all values of `name` (lower case), in their order."""
    return [fields[place][1] for place in layout(fields).places.get(name, ())]


def first(fields: Sequence[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """Return the first value of `name` (lower case), or None."""
    if isinstance(fields, Head):
        places = fields.layout.places.get(name)
        return None if places is None else fields[places[0]][1]
    for key, value in fields:  # asked for one thing, most are found sooner than laid out
        if len(key) == len(name) and key.lower() == name:
            return value
    return None


def end_to_end(fields: Fields, but: frozenset[bytes] = _NONE) -> Fields:
    """Return the fields that travel, in their order and spelling; none called any of `but` (lower case)."""
    known = layout(fields)
    places = known.places.get(b"connection")
    connection = tuple([fields[place][1] for place in places]) if places else ()
    staying, left = known.travelling(connection, but)
    out = Head(fields)
    out.layout = left
    for place in staying:
        del out[place]
    return out


def switching(fields: Fields) -> Fields:
    """Return the fields that travel where protocols switch: `Upgrade` too, and `Connection` that names it."""
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
    if method != "GET":
        return False
    protocols = [value.strip().lower() for value in values(fields, b"upgrade")]
    return protocols == [b"websocket"] and b"upgrade" in _nominated(fields)


def _nominated(fields: Sequence[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """Return what the fields called `Connection` name, in lower case."""
    return _named_in(values(fields, b"connection"))


def _named_in(connection: Sequence[bytes]) -> frozenset[bytes]:
    return frozenset(token.strip().lower() for value in connection for token in value.split(b","))


def without(fields: Fields, *names: bytes) -> Fields:
    """Return the fields but those called any of `names` (lower case)."""
    known = layout(fields)
    if known.places.keys().isdisjoint(names):
        return fields
    return [field for field, name in zip(fields, known.lower, strict=True) if name not in names]


def replace(fields: Fields, name: bytes, value: bytes) -> Fields:
    """Return the fields with the first `name` given `value`, in its place, and its repetitions gone."""
    known = layout(fields)
    places = known.places.get(name.lower())
    out = Head(fields)
    if places is None:
        out.append((name, value))
        out.layout = known.with_last(name)
        return out
    out[places[0]] = (out[places[0]][0], value)
    if len(places) == 1:
        out.layout = known
        return out
    for place in reversed(places[1:]):
        del out[place]
    return list(out)


def lines(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the fields as they stand in a head, each with the end of its line."""
    return b"\r\n".join([*map(b": ".join, fields), b""])


def media_type(fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return the media type of Content-Type, in lower case, without parameters; empty where there is none."""
    told = first(fields, b"content-type") or b""
    return _JSON if told == _JSON else told.partition(b";")[0].strip().lower()  # most say just that


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
        fields = replace(fields, name, b", ".join([*values(fields, name.lower()), value]))
    return fields
