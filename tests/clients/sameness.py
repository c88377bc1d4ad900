"""Operations of an SDK as data, and what it means that they are the same through Meter.

An operation is the dotted name of a client's method and its arguments, so that one table serves synchronous
and asynchronous clients, parsed objects, raw bytes, and what the log says of each.
"""

from __future__ import annotations

import inspect
import struct
import zlib
from dataclasses import dataclass, field
from operator import attrgetter
from random import Random
from typing import TYPE_CHECKING, Any

from clients.answers.asked import boundary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from clients.answers.asked import Ask

__all__ = ["PNG", "SOUND", "Operation", "came", "came_async", "logged", "plain", "same_fields", "sent"]

_OURS = ("x-meter-id",)
_OF_THE_HOP = frozenset(("connection", "transfer-encoding", "keep-alive", "host"))
_ASKING = b',"stream_options":{"include_usage":true}'
_CHANGED_BY_ASKING = frozenset(("accept-encoding", "content-length"))
_TOLD = ("operation", "model", "usage_source", "stream", "outcome", "error_type")


@dataclass(frozen=True)
class Operation:
    """One call: a method, its arguments, and what Meter is to say of it."""

    method: str
    """Below the client, as in `chat.completions.create`."""
    call: Mapping[str, Any] = field(default_factory=dict)
    operation: str = "other"
    model: str = "none"
    usage: Mapping[str, int] = field(default_factory=dict)
    """Tokens by kind, those above zero."""
    units: Mapping[str, float] = field(default_factory=dict)
    source: str = "none"
    stream: bool = False
    exchanges: int = 1
    """Requests that it takes, as with pages."""

    @property
    def line(self) -> dict[str, Any]:
        """What the log is to say, under the log's names."""
        return {
            "operation": self.operation,
            "model": self.model,
            "usage_source": self.source,
            "stream": self.stream,
            "outcome": "ok",
            "error_type": "",
            "usage": dict(self.usage),
            "units": dict(self.units),
        }

    def via(self, way: str) -> str:
        """Return the method's name by one of the SDK's other ways, such as `with_raw_response`."""
        head, _, name = self.method.rpartition(".")
        return f"{head}.{way}.{name}"


def logged(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is compared of a log line."""
    usage = {kind: count for kind, count in (line["usage"] or {}).items() if count}
    units = {unit: float(count) for unit, count in (line["units"] or {}).items()}
    return {**{name: line[name] for name in _TOLD}, "usage": usage, "units": units}


def came(client: Any, operation: Operation) -> Any:
    """Return what a synchronous client's call gives, as plain values."""
    return plain(attrgetter(operation.method)(client)(**operation.call))


async def came_async(client: Any, operation: Operation) -> Any:
    """Return what an asynchronous client's call gives, as plain values."""
    made = attrgetter(operation.method)(client)(**operation.call)
    if inspect.isawaitable(made):
        made = await made
    if hasattr(made, "__aiter__"):
        return [plain(each) async for each in made]
    if inspect.iscoroutinefunction(read := getattr(made, "read", None)):
        return await read()
    return plain(made)


def plain(value: Any) -> Any:
    """Return what an SDK gave as plain values: objects, the items of pages and streams, bytes, texts."""
    if isinstance(value, str | bytes | int | float | None):
        return value
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if hasattr(value, "model_dump") and not hasattr(value, "iter_pages"):
        told = value.model_dump(mode="json", warnings=False)
        told.pop("sdk_http_response", None)  # its headers are compared where headers are
        return told
    return value.read() if hasattr(value, "read") else [plain(each) for each in value]


def same_fields(expected: Any, got: Any) -> None:
    """Assert that an answer has the fields that it has directly, in their order, and those of Meter."""
    through = [pair for pair in _fields(got) if pair[0] not in _OURS]

    assert _fields(expected) == through
    assert all(name in got for name in _OURS)


def _fields(headers: Any) -> list[tuple[str, str]]:
    items = headers.multi_items() if hasattr(headers, "multi_items") else headers.items()
    return [(name.lower(), value) for name, value in items if name.lower() not in _OF_THE_HOP]


def sent(asks: Iterable[Ask], *, asked: bool = False) -> list[Any]:
    """Return requests as the upstream saw them, less what differs each time, and what asking changes."""
    return [_sent(ask, asked=asked) for ask in asks]


def _sent(ask: Ask, *, asked: bool) -> tuple[str, str, list[tuple[str, str]], bytes]:
    body = ask.body.replace(_ASKING, b"") if asked else ask.body
    left_out = _OF_THE_HOP | (_CHANGED_BY_ASKING if asked else frozenset())
    fields = [(name.lower(), value) for name, value in ask.headers.items() if name.lower() not in left_out]
    media = ask.headers.get("Content-Type", "")
    if media.startswith("multipart/"):
        drawn = boundary(media)
        body = body.replace(drawn, b"boundary")
        fields = [(name, value.replace(drawn.decode(), "boundary")) for name, value in fields]
    return ask.method, ask.target, sorted(fields), body


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(side: int) -> bytes:
    """Return a picture of noise, `side` pixels wide and high, which no compression makes small."""
    noise = Random(0)  # noqa: S311 - a picture, no secret
    rows = b"".join(b"\0" + noise.randbytes(3 * side) for _ in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


PNG = ("otter.png", _png(180), "image/png")
"""An upload of about 100 KB, more than one read of a socket gives."""
SOUND = ("speech.wav", b"RIFF" + Random(1).randbytes(150_000), "audio/wav")  # noqa: S311 - a sound, no secret
