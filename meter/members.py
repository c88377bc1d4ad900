"""Where the members of a JSON object stand in its bytes, so that one can be cut or added and the rest stay.

Think of a finger that moves over the text from token to token and never goes back: what may come next is a
row of a table, and what it is inside of is a stack. Nothing is built but the list of top-level members, so
numbers of any length pass. What strict parsers refuse though servers take it (a byte order mark, NaN, lone
surrogates, invalid UTF-8 in strings, duplicate names) is taken here too; what is not JSON is not, but for
what is found in answers all the same: control characters in strings, and odd blanks around the object.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

__all__ = ["Member", "append", "at_once", "cut_null", "member_bytes", "members", "scan"]

_Read = TypeVar("_Read")

_DEPTH = 1_000
_MOST_MEMBERS = 10_000
_STRETCH = 1 << 18  # bytes of one string between two yields: below a millisecond, escapes aside

_BLANKS = b" \t\n\r"
_WS = rb"[ \t\n\r]{0,65536}+"  # bounded, because a run of millions would be skipped in one go
_ODD_WS = (  # what Python takes for blank too
    rb"(?:[\x09-\x0d\x1c-\x20]|\xc2[\x85\xa0]|\xe1\x9a\x80"
    rb"|\xe2(?:\x80[\x80-\x8a\xa8\xa9\xaf]|\x81\x9f)|\xe3\x80\x80){0,65536}+"
)


class _Writing(NamedTuple):
    """How a text may be written."""

    head: re.Pattern[bytes]
    """All up to the first brace."""
    text: re.Pattern[bytes]
    """A stretch of a string."""
    token: re.Pattern[bytes]
    """Blanks, and one of what `_STRING` and the names after it stand for."""


def _writing(plain: bytes, around: bytes) -> _Writing:
    """Return how a text is written whose strings hold what is `plain`, with blanks `around` it."""
    return _Writing(
        re.compile(rb"(?:\xef\xbb\xbf)?%b\{" % around),
        # Possessive, because a string of millions of escapes would fill the stack that backtracking needs.
        re.compile(rb'(?:%b++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))++' % plain),
        re.compile(
            rb'%b(?:("%b{0,4096}+")'
            rb"|(-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|true|false|null|NaN|-?Infinity)"
            rb'|(")|(\[)|(\{)|(\])|(\})|(,)|(:)%b|%b(\Z))' % (_WS, plain, _WS, around)
        ),
    )


_STRICT = _writing(rb'[^"\\\x00-\x1f]', _WS)
_LENIENT = _writing(rb'[^"\\]', _ODD_WS)
_EMPTY = re.compile(rb"%b%b\}" % (_LENIENT.head.pattern, _WS))

# The groups of a writing's `token`, in order. A string that is long or has escapes is known by its quote.
_STRING, _SCALAR, _QUOTE, _OPEN_ARRAY, _OPEN_OBJECT = range(1, 6)
_SHUT_ARRAY, _SHUT_OBJECT, _COMMA, _COLON, _END = range(6, 11)

# What the finger points at.
_ITEM_OR_SHUT, _ITEM, _AFTER_ITEM = range(3)
_NAME_OR_SHUT, _NAME, _AFTER_NAME, _VALUE, _AFTER_VALUE = range(3, 8)
_AFTER_ALL, _STACKED = range(8, 10)


def _value(after: int) -> dict[int, int]:
    plain = dict.fromkeys((_STRING, _SCALAR, _QUOTE), after)
    return plain | {_OPEN_ARRAY: _ITEM_OR_SHUT, _OPEN_OBJECT: _NAME_OR_SHUT}


_name = dict.fromkeys((_STRING, _QUOTE), _AFTER_NAME)

# For each place the tokens that may stand there, and the place behind each. What is behind a bracket that
# shuts, only the stack knows.
_GRAMMAR = {
    _ITEM_OR_SHUT: _value(_AFTER_ITEM) | {_SHUT_ARRAY: _STACKED},
    _ITEM: _value(_AFTER_ITEM),
    _AFTER_ITEM: {_COMMA: _ITEM, _SHUT_ARRAY: _STACKED},
    _NAME_OR_SHUT: _name | {_SHUT_OBJECT: _STACKED},
    _NAME: _name,
    _AFTER_NAME: {_COLON: _VALUE},
    _VALUE: _value(_AFTER_VALUE),
    _AFTER_VALUE: {_COMMA: _NAME, _SHUT_OBJECT: _STACKED},
    _AFTER_ALL: {_END: _AFTER_ALL},
}


class Member(NamedTuple):
    """Where one top-level member stands: `text[start:end]` is all of it, `text[value:end]` its value."""

    name: str | None
    """Unescaped, lone surrogates as they are; `None` where its bytes are not UTF-8."""
    start: int
    """Of the name's opening quote."""
    value: int
    """Of the value's first byte."""
    end: int
    """One past the value's last byte."""


def scan(
    text: bytes, *, strict: bool = True, slice_tokens: int = 2_000, tokens: int = 2_000_000
) -> Generator[None, None, list[Member] | None]:
    """Find the top-level members of one JSON object, in their order; `None` where `text` is anything else.

    Where not `strict`, raw control characters may stand in strings, and blanks of any kind around the object.

    Yields every `slice_tokens` tokens and every 256 KiB of a string, so that a caller can give way to others.
    Nesting deeper than 1,000 gives `None` too, as do blanks of over 128 KiB in a row, more than 10,000
    members and more than `tokens` tokens (each name, plain value, bracket, comma and colon is one).
    """
    writing = _STRICT if strict else _LENIENT
    head = writing.head.match(text)
    if head is None:
        return None
    outline = _Outline(text)
    stack, place, pos = [_AFTER_ALL], _NAME_OR_SHUT, head.end()
    for count in range(1, tokens + 1):
        if not count % slice_tokens:
            yield
        row = _GRAMMAR[place]
        token = writing.token.match(text, pos)
        if token is None or (kind := token.lastindex or 0) not in row or len(stack) > _DEPTH:
            return None
        place, pos = row[kind], token.end()
        if kind == _QUOTE:
            pos = yield from _string_end(text, pos, writing.text)
        elif kind in _OPEN:
            stack.append(row[_SCALAR])
        elif kind in _SHUT:
            place = stack.pop()
        elif kind == _END:
            return outline.members
        if len(stack) == 1 and not outline.note(place, token.start(kind), pos):
            return None
    return None


_OPEN = (_OPEN_ARRAY, _OPEN_OBJECT)
_SHUT = (_SHUT_ARRAY, _SHUT_OBJECT)


class _Outline:
    """The top-level members seen so far, and what is known of the one that the finger is in."""

    __slots__ = ("_name_end", "_start", "_text", "_value", "members")

    def __init__(self, text: bytes) -> None:
        self.members: list[Member] = []
        self._text = text
        self._start = self._name_end = self._value = 0

    def note(self, place: int, start: int, end: int) -> bool:
        """Take in the token at `start`, where `end` is what the finger points at after it: a `place`.

        False where there are too many members.
        """
        if place == _AFTER_NAME:
            self._start, self._name_end = start, end
        elif place == _VALUE:
            self._value = end
        elif place == _AFTER_VALUE:
            name = _unescaped(self._text[self._start : self._name_end])
            self.members.append(Member(name, self._start, self._value, end))
        return len(self.members) <= _MOST_MEMBERS


def _string_end(text: bytes, pos: int, plain: re.Pattern[bytes]) -> Generator[None, None, int]:
    """Return one past the closing quote of the string whose text begins at `pos`.

    A malformed one takes the rest of `text`, after which too much is missing for any object to be whole.
    """
    while stretch := plain.match(text, pos, pos + _STRETCH):
        pos = stretch.end()
        if text.startswith(b'"', pos):
            return pos + 1
        yield
    return len(text)


def _unescaped(name: bytes) -> str | None:
    try:
        quoted = name.decode()
    except UnicodeDecodeError:
        return None
    return str(json.loads(quoted, strict=False)) if "\\" in quoted else quoted[1:-1]


def at_once(reading: Generator[None, None, _Read]) -> _Read:
    """Return what a reading that gives way now and then returns, without giving way."""
    while True:
        try:
            next(reading)
        except StopIteration as end:
            return cast("_Read", end.value)


def members(text: bytes) -> list[Member] | None:
    """Return what `scan` finds in an answer's text, which need not be written strictly, in one go."""
    return at_once(scan(text, strict=False))


def member_bytes(text: bytes, name: str) -> bytes | None:
    """Return the last top-level member `name` as it stands, from its name to its value's end."""
    for member in reversed(members(text) or ()):
        if member.name == name:
            return text[member.start : member.end]
    return None


def append(text: bytes, member: bytes) -> bytes:
    """Put `member`, written as `"name":value`, directly before the last brace of the JSON object `text`.

    Nothing is scanned: it is for the caller to know that `text` is one object. `ValueError` without a brace.
    """
    at = text.rindex(b"}")
    comma = b"" if _EMPTY.match(text) else b","
    return b"".join((memoryview(text)[:at], comma, member, text[at:]))  # long ones are not copied twice


def cut_null(text: bytes, name: str) -> bytes:
    """Take every top-level member `name` whose value is null out of the JSON object `text`.

    A cut reaches from the end of the value before; for a first member, from its name up to the next name,
    and where there is no next, to its value's end. Every other byte stays; with nothing to cut,
    `text` itself comes back. It is for the caller to know that `text` is one object.
    """
    spelling = _spelling(name)
    if spelling is None or (b"\\u00" in text and _ESCAPED.search(text)):
        return _cut_scanned(text, name)
    # The name has one spelling. Where that is seen once, the brackets around it often tell what a scan would.
    literal, null = spelling
    at = text.find(literal)
    if text.find(literal, at + 1) >= 0:
        return _cut_scanned(text, name)
    member = null.match(text, at) if at >= 0 else None
    if member is None:
        return text
    before = text[:at].rstrip(_BLANKS)
    if not (before.endswith((b",", b"{")) and _outermost(text, at, member.end())):
        return _cut_scanned(text, name)  # before what is no name, but the end of one, stands a backslash
    if before.endswith(b","):
        return before[:-1].rstrip(_BLANKS) + text[member.end(1) :]
    return text[:at] + text[member.end() :]


# A letter, digit or underscore written as an escape.
_ESCAPED = re.compile(rb"\\u00(?:3[0-9]|[4-7])")


@lru_cache(maxsize=16)
def _spelling(name: str) -> tuple[bytes, re.Pattern[bytes]] | None:
    """Return `name` as it is written without `_ESCAPED`, and its member with null; `None` for odd names."""
    if not (name.isascii() and name.isidentifier()):
        return None
    literal = b'"%b"' % name.encode()
    return literal, re.compile(b"(%b%b:%bnull)(?:%b,%b)?" % (literal, _WS, _WS, _WS, _WS))


def _outermost(text: bytes, start: int, end: int) -> bool:
    """Tell whether brackets prove `text[start:end]` to be in no inner value; one in a string may hide it."""
    if text.find(b"}", end) == text.rfind(b"}") and text.find(b"]", end) < 0:
        return True
    return text.rfind(b"{", 0, start) == text.find(b"{") and text.find(b"[", 0, start) < 0


def _cut_scanned(text: bytes, name: str) -> bytes:
    spans = list(_null_spans(text, members(text) or [], name))
    if not spans:
        return text
    starts = [0, *(end for _, end in spans)]
    ends = [*(start for start, _ in spans), len(text)]
    return b"".join(text[start:end] for start, end in zip(starts, ends, strict=True))


def _null_spans(text: bytes, found: list[Member], name: str) -> Iterator[tuple[int, int]]:
    kept = False
    for i, member in enumerate(found):
        if member.name != name or text[member.value : member.end] != b"null":
            kept = True
        elif kept:
            yield found[i - 1].end, member.end
        else:
            yield member.start, found[i + 1].start if i + 1 < len(found) else member.end
