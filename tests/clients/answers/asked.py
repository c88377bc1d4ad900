"""What an upstream is asked, and what it answers: values, so that each API is a page of plain functions.

An answer depends on the request alone. It says a digest of what was asked, so that a request that arrived
changed is answered differently.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["CREATED", "Answer", "Ask", "Route", "answered", "compact", "events", "whole"]

CREATED = 1_760_000_000
_BIG = 1024
_PIECE = 97
"""Bytes that a stream is written in: no piece ends where an event does."""


@dataclass(frozen=True)
class Ask:
    """One request as it arrived."""

    method: str
    target: str
    """Path and query as they stood in the request line."""
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The target's query."""
        return self.target.partition("?")[2]

    @cached_property
    def told(self) -> dict[str, Any]:
        """The members of a JSON body, or the fields of a form, files as bytes."""
        media = self.headers.get("Content-Type", "")
        if media.startswith("multipart/"):
            return dict(_fields(self.body, boundary(media)))
        try:
            decoded = json.loads(self.body)
        except ValueError:  # whatever its type says, as with Google's uploads
            decoded = self.body
        return decoded if isinstance(decoded, dict) else {"body": decoded}

    @property
    def streams(self) -> bool:
        """Whether a stream is asked for, in a body or in a form."""
        return self.told.get("stream") in (True, b"true", "true")

    @cached_property
    def digest(self) -> str:
        """12 hex digits of what was asked, however its form was delimited; not of how usage was asked for."""
        told = {name: value for name, value in self.told.items() if name != "stream_options"}
        return hashlib.sha256(repr((self.method, self.target, sorted(told.items()))).encode()).hexdigest()[
            :12
        ]

    def text(self, name: str, default: str = "") -> str:
        """Return a member or field that is a text."""
        value = self.told.get(name, default)
        return value.decode() if isinstance(value, bytes) else str(value)

    @property
    def words(self) -> tuple[str, ...]:
        """What is said to it, in the pieces of a stream."""
        return ("Grüße", ", 世界! ", "🌍 \n", self.digest[:5], self.digest[5:], ' "data: [DONE]"', ".")


@dataclass(frozen=True)
class Answer:
    """One answer: its body at once, or in pieces as a stream."""

    body: bytes
    media: str = "application/json"
    status: int = 200
    streams: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    def pieces(self) -> Iterable[bytes]:
        """Yield the body as it is written."""
        for at in range(0, len(self.body), _PIECE):
            yield self.body[at : at + _PIECE]

    def coded_for(self, ask: Ask) -> tuple[bytes, dict[str, str]]:
        """Return the body as a server sends it, compressed where it is long and may be, and its fields."""
        fields = {"Content-Type": self.media, **self.headers}
        may = "gzip" in ask.headers.get("Accept-Encoding", "") and self.media.startswith("application/json")
        if not may or len(self.body) < _BIG:
            return self.body, fields
        return gzip.compress(self.body, mtime=0), {**fields, "Content-Encoding": "gzip"}


Route = tuple[str, str, "Callable[[Ask], Answer]"]
"""A method, a pattern of the end of a path, and what answers."""


def answered(routes: Iterable[Route], ask: Ask) -> Answer | None:
    """Return the answer of the first route that is asked for; None where there is none."""
    for method, end, answer in routes:
        if method == ask.method and re.search(f"(?:{end})$", ask.path):
            return answer(ask)
    return None


def compact(value: Any) -> bytes:
    """Return JSON as servers write it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def whole(value: Any, status: int = 200, headers: Mapping[str, str] = MappingProxyType({})) -> Answer:
    """Return an answer of one JSON value."""
    return Answer(compact(value), status=status, headers=headers)


def events(values: Iterable[Any], *, named: bool = False, done: bool = False) -> Answer:
    """Return a stream of events, `named` by their type, with the word that ends OpenAI's older ones."""
    out = b""
    for value in values:
        out += b"event: %b\n" % value["type"].encode() if named else b""
        out += b"data: %b\n\n" % compact(value)
    return Answer(out + (b"data: [DONE]\n\n" if done else b""), "text/event-stream; charset=utf-8", 200, True)


def boundary(media: str) -> bytes:
    """Return what delimits the parts of a form of this media type."""
    found = re.search(r'boundary="?([^";]+)', media)
    assert found is not None
    return found[1].encode()


def _fields(body: bytes, delimiter: bytes) -> Iterable[tuple[str, bytes]]:
    for part in body.split(b"--" + delimiter)[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]*)"', head)
        assert name is not None
        yield name[1].decode(), value.removesuffix(b"\r\n")
