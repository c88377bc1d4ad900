"""Recorded exchanges, bent in every way: nothing raises, hangs or goes unrecorded, and no byte is lost.

What is bent is played through a tap, through what reads WebSockets, and, as requests and as answers, over
raw sockets through a running Meter. What is right is said by readers of a few lines each, which have nothing
in common with Meter's. `FUZZ=50 pytest tests/test_fuzz.py` tries fifty times as much. What has once gone
wrong is kept in `tests/fuzz/`.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
import socket
import struct
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from play import cut, learned, load, names
from stage import Loop, running_house, until
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from meter.dialects.realtime import Realtime
from meter.dialects.responses import Responses
from meter.errors import ERROR_TYPES, error_type
from meter.exchange import INPUT_KINDS, OUTPUT_KINDS, UNITS, Outcome
from meter.session import Session, Turn
from meter.tap import Tap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from play import Case
    from stage import House

TIMES = int(os.environ.get("FUZZ", "1"))


def examples(count: int) -> settings:
    """Return the settings of a test that tries so many examples."""
    return settings(max_examples=count * TIMES, deadline=None, suppress_health_check=list(HealthCheck))


# How bytes are bent.

ENDS = re.compile(rb"(?<=\n\n)|(?<=\r\r)|(?<=\r\n\r\n)|(?<=\n)(?=[{\[])|(?<=\})(?=[,\]])")
"""Where an event, a line or an element of an array ends, about."""

TOKENS = (
    *(
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\r\r",
        b"\0",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\xe2\x80\xa8",
        b"\x0b",
        b"\x1e",
        b"\xc2\xa0",
    ),
    *(b"data: ", b"data:", b"data\n", b": hum\n", b"event: error\n", b"event: \n", b"id: 1\n", b"retry: 1\n"),
    *(b"data: [DONE]\n\n", b"[DONE]", b"data: {}\n\n", b"data: null\n\n", b"data: {", b"data: [1]\n\n"),
    *(
        b'"usage":null,',
        b',"usage":null',
        b'"usage" : null , ',
        b'"usage":{},',
        b'"choices":[],',
        b'"choices":null,',
    ),
    *(
        b'"usage":{"prompt_tokens":3,"completion_tokens":2},',
        b'"error":{"code":"invalid_json"},',
        b'"id":{"a":[]},',
    ),
    *(b'"finish_reason":"stop",', b'"finish_reason":7,', b'"model":0,', b'"index":-1,', b'"type":"error",'),
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b"\\",
        b",",
        b":",
        b"-",
        b"1e999",
        b"NaN",
        b"null",
        b"true",
        b"0" * 50,
        b"7" * 250,
        b"7" * 300,
        b"7," * 300,
        b" " * 300,
        b"\\ud800",
    ),
    *(
        b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n',
        b"[" * 1100,
        b'{"a":' * 1100,
    ),
)
"""What is put in."""

NUMBER = st.integers(0, 1 << 20)
HOWS = ("set", "put", "line", "cut", "double", "drop", "swap", "splice", "swell", "end")
BENDS = st.lists(st.tuples(st.sampled_from(HOWS), NUMBER, NUMBER, NUMBER), max_size=5)
PLACES = st.lists(NUMBER, max_size=10)

NAMES = names()


def bent(
    data: bytes, bends: Iterable[tuple[str, int, int, int]], tokens: tuple[bytes, ...] = TOKENS
) -> bytes:
    """Return bytes with each of the bends done to them."""
    for how, a, b, c in bends:
        at = a % (len(data) + 1)
        if how == "set":
            data = data[:at] + bytes([b % 256]) + data[at + 1 :]
        elif how == "put":
            data = data[:at] + tokens[b % len(tokens)] + data[at:]
        elif how == "line":
            at = data.rfind(b"\n", 0, at) + 1
            data = data[:at] + tokens[b % len(tokens)] + data[at:]
        elif how == "cut":
            data = data[:at] + data[at + 1 + b % 20 :]
        elif how == "swell":
            data = data[:at] + data[at : at + 1] * (b % 3000) + data[at:]
        elif how == "end":
            data = data[:at]
        else:
            data = _moved(data, how, a, b, c)
    return data


def _moved(data: bytes, how: str, a: int, b: int, c: int) -> bytes:
    """Return bytes with one of their events doubled, dropped, swapped, or another's put in."""
    parts = ENDS.split(data)
    i, j = a % len(parts), b % len(parts)
    if how == "double":
        parts[i] *= 1 + c % 3
    elif how == "drop":
        parts[i] = b""
    elif how == "swap":
        parts[i], parts[j] = parts[j], parts[i]
    else:
        others = ENDS.split(load(NAMES[b % len(NAMES)]).answer)
        parts.insert(i, others[c % len(others)])
    return b"".join(parts)


# Streams and whole answers, through a tap.

MEDIA = (
    b"text/event-stream",
    b"application/x-ndjson",
    b"application/json",
    b"text/html",
    b"text/plain",
    b"",
    b"x/y",
)


@dataclass(frozen=True)
class Bending:
    """What is done to a recorded answer."""

    bends: list[tuple[str, int, int, int]]
    media: bytes | None = None
    """Content-Type, where it is not the case's own."""
    coding: bytes | None = None
    """Content-Encoding; `gzip` that is true is `gzip!`, and bent once more behind."""
    status: int | None = None
    asked: bool = False
    """Meter asked for usage."""
    event_bytes: int = 1 << 20

    def answer(self, case: Case) -> bytes:
        """Return the bytes of the answer."""
        plain = bent(case.answer, self.bends)
        return gzip.compress(plain, mtime=0) if self.coding == b"gzip!" else plain

    def tap(self, case: Case) -> Tap:
        """Return a tap that has seen the answer's head."""
        tap = Tap(case.dialect, request=case.request, asked=self.asked, event_bytes=self.event_bytes)
        coding = self.coding and self.coding.rstrip(b"!")
        media = case.media if self.media is None else self.media
        tap.answer(self.status or case.expected.get("status", 200), media, coding)
        return tap


BENDINGS = st.builds(
    Bending,
    bends=BENDS,
    media=st.none() | st.none() | st.none() | st.sampled_from(MEDIA),
    coding=st.none()
    | st.none()
    | st.none()
    | st.sampled_from((b"gzip!", b"gzip", b"deflate", b"br", b"zstd", b"x")),
    status=st.none() | st.none() | st.none() | st.sampled_from((200, 201, 204, 302, 404, 429, 500, 599)),
    asked=st.just(False),
    event_bytes=st.sampled_from((1 << 20, 1 << 20, 300, 20)),
)


def played(tap: Tap, pieces: Iterable[bytes]) -> bytes:
    """Return what the client gets."""
    out = bytearray()
    for now, piece in enumerate(pieces):
        if tap.hiding:
            out += tap.edit(piece, now)
        else:
            tap.watch(piece, now)
            out += piece
    out += tap.end(99.0)
    assert b"" == tap.end(100.0)
    assert 0 == tap.failures
    return bytes(out)


def sane(tap: Tap) -> dict[str, Any]:
    """Return what a tap has learned, which is nothing that could not be told."""
    for cause in (None, *Outcome):
        outcome = tap.outcome(cause)
        for sent in (True, False):
            counted = tap.counted(outcome, sent=sent)
            assert set(counted.usage or {}) <= {*INPUT_KINDS, *OUTPUT_KINDS}
            assert set(counted.units) <= set(UNITS)
            assert all(0 <= n < 1 << 63 for n in (counted.usage or {}).values())
            assert all(0 <= n < float("inf") for n in counted.units.values())
        told = error_type(tap.facts.error, tap.status, outcome)
        assert (told == "") == (outcome is Outcome.OK)
        assert told in {"", *ERROR_TYPES, *Outcome} or re.fullmatch("http_[0-9]{3}", told)
    facts = tap.facts
    assert all(0 < len(reason) <= 1024 for reason in facts.finish_reasons.values())
    assert len(facts.finish_reasons) <= 128
    json.dumps([facts.response_id, facts.response_model, facts.service_tier])
    return learned(tap)


def check_read(name: str, bending: Bending, places: list[int]) -> None:
    """Play a bent answer whole and in pieces: the bytes are the same, and so is what was learned."""
    case = load(name)
    answer = bending.answer(case)
    whole, pieces = bending.tap(case), bending.tap(case)
    came = played(whole, [answer])
    assert played(pieces, cut(answer, places)) == came or whole.damaged
    if not bending.asked:
        assert answer == came
    told = sane(whole), sane(pieces)
    if whole._readable and bending.coding in (None, b"gzip!"):
        assert told[0] == told[1]


@pytest.mark.parametrize("folder", sorted({name.partition("/")[0] for name in NAMES}))
def test_anything_is_read(folder: str) -> None:
    """Whatever an answer is bent to, its bytes pass, and what is learned does not depend on how they came."""

    @examples(80)
    @given(name=st.sampled_from(names(folder)), bending=BENDINGS, places=PLACES)
    def bends(name: str, bending: Bending, places: list[int]) -> None:
        check_read(name, bending, places)

    bends()


# Streams out of which the usage is taken that Meter asked for.

HIDDEN = [name for name in NAMES if load(name).hidden is not None]
LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")
FIRST = re.compile(rb'"usage"[ \t\n\r]*:[ \t\n\r]*null(?:[ \t\n\r]*,[ \t\n\r]*)?')
LATER = re.compile(rb'[ \t\n\r]*,[ \t\n\r]*"usage"[ \t\n\r]*:[ \t\n\r]*null')


def events_of(stream: bytes) -> list[list[bytes]]:
    """Return the lines of each event."""
    events: list[list[bytes]] = [[]]
    for line in LINE.findall(stream):
        if line:
            events[-1].append(line)
            if not line.strip(b"\r\n"):
                events.append([])
    return [event for event in events if event]


def values_of(lines: list[bytes], name: bytes) -> list[bytes]:
    """Return the values of an event's fields of one name."""
    split = (line.rstrip(b"\r\n").partition(b":") for line in lines)
    return [value.removeprefix(b" ") for told, _, value in split if told == name]


def pairs_of(text: bytes) -> list[tuple[str, Any]] | None:
    """Return the members of an object; None where it is none."""
    try:
        told = _JSON.decode(text.decode("utf-8-sig", "replace").strip())
    except (ValueError, RecursionError):
        return None
    return told.pairs if isinstance(told, _Pairs) else None


class _Pairs(dict[str, Any]):
    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


_JSON = json.JSONDecoder(strict=False, object_pairs_hook=_Pairs, parse_int=float)


def without_nulls(raw: bytes, data: bytes, pairs: list[tuple[str, Any]]) -> set[bytes]:
    """Return an event without one null usage, as often as it takes for none to be left."""
    if not (nulls := [pair for pair in pairs if pair == ("usage", None)]):
        return {raw}
    out = set()
    for found in (*LATER.finditer(data), *FIRST.finditer(data)):
        rest = data[: found.start()] + data[found.end() :]
        left = pairs_of(rest)
        if (
            left is not None
            and len(left) == len(pairs) - 1
            and len([p for p in left if p == nulls[0]]) < len(nulls)
        ):
            out |= without_nulls(raw.replace(data, rest), rest, left)
    return out


def filtered(stream: bytes, limit: int) -> list[set[bytes]] | None:
    """Return what each event may become where Meter asked for usage; None where it is too odd to say."""
    out: list[set[bytes]] = []
    for number, lines in enumerate(events_of(stream)):
        if number == 0:
            lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")
            out.append({stream[:3] if stream.startswith(b"\xef\xbb\xbf") else b""})
        raw = b"".join(lines)
        values = values_of(lines, b"data")
        data = b"\n".join(values)
        whole = not lines[-1].strip(b"\r\n")
        pairs = pairs_of(data)
        told = dict(pairs or [])
        if abs(len(raw) - limit) < 5 or (pairs is not None and len(values) > 1):
            return None
        if len(raw) > limit or not values or (whole and pairs is None):
            out.append({raw})
        elif pairs is None:
            out.append({raw[:end] for end in range(len(raw) + 1)})
        elif told.get("timings") is not None:
            return None
        elif isinstance(told.get("usage"), dict) and not (
            isinstance(told.get("choices"), list) and told["choices"]
        ):
            kept = raw if is_error(told, values_of(lines, b"event")) else comments(lines)
            out.append({kept})
        else:
            null = "usage" in told and told["usage"] is None
            out.append(without_nulls(raw, data, pairs) if null else {raw})
            if not out[-1]:
                return None
    return out


def comments(lines: list[bytes]) -> bytes:
    """Return the comments before an event."""
    out = b""
    for line in lines:
        if not line.startswith(b":"):
            break
        out += line
    return out


def is_error(told: dict[str, Any], named: list[bytes]) -> bool:
    """Tell whether an event tells of an error."""
    groq, base = told.get("x_groq"), told.get("base_resp")
    inner = isinstance(groq, dict) and groq.get("error")
    refused = isinstance(base, dict) and base.get("status_code")
    return bool(
        told.get("error") or inner or refused or "error" in (told.get("object"), told.get("type"))
    ) or named[-1:] == [b"error"]


def fits(came: bytes, expected: list[set[bytes]]) -> bool:
    """Tell whether bytes are one of the things that each event may have become, one after the other."""
    places = {0}
    for ways in expected:
        places = {at + len(way) for at in places for way in ways if came.startswith(way, at)}
    return len(came) in places


def check_hidden(name: str, bending: Bending, places: list[int]) -> None:
    """Play a bent stream: the client gets what it would have had without being asked for."""
    case = load(name)
    answer = bending.answer(case)
    tap = bending.tap(case)
    came = played(tap, cut(answer, places))
    if tap.hiding:
        expected = filtered(bent(case.answer, bending.bends), bending.event_bytes)
        assert expected is None or fits(came, expected), (came, expected)


HIDINGS = st.builds(
    Bending,
    bends=BENDS,
    coding=st.none() | st.none() | st.just(b"gzip!"),
    asked=st.just(True),
    event_bytes=st.sampled_from((1 << 20, 1 << 20, 300)),
)


@examples(600)
@given(name=st.sampled_from(HIDDEN), bending=HIDINGS, places=PLACES)
def test_no_more_is_hidden_than_asking_caused(name: str, bending: Bending, places: list[int]) -> None:
    """Of a bent stream the client gets all but the usage event and the nulls, as a short filter says."""
    check_read(name, bending, places)
    check_hidden(name, bending, places)


# WebSockets.

ASKING = Realtime(), Responses()
WORDS: tuple[dict[str, Any], ...] = (
    {
        "type": "session.created",
        "session": {"model": "gpt-realtime", "input_audio_transcription": {"model": "w"}},
    },
    {"type": "input_audio_buffer.committed", "item_id": "i"},
    {"type": "response.created", "response": {"id": "a", "model": "m"}},
    {"type": "response.output_audio.delta", "response_id": "a", "delta": "A" * 400},
    {"type": "response.output_text.delta", "response_id": "a", "delta": "word"},
    {"type": "response.created", "response": {"id": "b"}, "stream_id": "lane"},
    {"type": "conversation.item.input_audio_transcription.delta", "item_id": "i", "delta": "word"},
    {"type": "conversation.item.input_audio_transcription.completed", "item_id": "i", "transcript": "word"},
    {"type": "error", "error": {"code": "invalid_event", "event_id": "e"}},
    {"type": "response.done", "response": {"id": "a", "status": "completed", "usage": {"input_tokens": 1}}},
    {"type": "response.completed", "response": {"id": "b", "usage": {"input_tokens": 1, "output_tokens": 2}}},
)
ASKS: tuple[dict[str, Any], ...] = (
    {"type": "response.create", "event_id": "e"},
    {"type": "response.create", "model": "m", "input": "word " * 100},
    {"type": "input_audio_buffer.append", "audio": "A" * 3000},
)


def frame(opcode: Opcode, said: bytes, *, fin: bool = True, mask: bool, using: Any) -> bytes:
    """Return the bytes of a frame, masked by what is always the same."""
    made = Frame(opcode, said, fin)
    for extension in using:
        made = extension.encode(made)
    head, size = made.fin << 7 | made.rsv1 << 6 | opcode, len(made.data)
    length = bytes([mask << 7 | size]) if size < 126 else struct.pack(">BH", mask << 7 | 126, size)
    payload = bytes(byte ^ b"mask"[at % 4] for at, byte in enumerate(made.data)) if mask else made.data
    return bytes([head]) + length + (b"mask" if mask else b"") + payload


def line_of(words: Iterable[dict[str, Any]], *, mask: bool, deflate: bool) -> bytes:
    """Return what one side says in a WebSocket: messages, in pieces, and pings among them."""
    using = [PerMessageDeflate(False, False, 15, 15)] if deflate else []
    framed = partial(frame, mask=mask, using=using)
    out = b""
    for number, word in enumerate(words):
        said = json.dumps(word).encode()
        if number % 3 == 2:
            out += framed(Opcode.TEXT, said[:20], fin=False)
            out += framed(Opcode.PING, b"there")
            out += framed(Opcode.CONT, said[20:])
        else:
            out += framed(Opcode.TEXT, said)
    return out + framed(Opcode.CLOSE, b"\x03\xe8")


def overheard(
    dialect: Any, limit: int, client: list[bytes], upstream: list[bytes], *, deflate: bool
) -> tuple[Any, list[Any]]:
    """Return what a session makes of what both sides say."""
    session = Session(dialect, deflate=deflate, event_bytes=limit)
    turns: list[Turn] = []
    for piece in client:
        turns += session.client(piece, 1.0)
    for piece in upstream:
        turns += session.upstream(piece, 2.0)
    turns += session.end(3.0, Outcome.TRUNCATED)
    assert [] == list(session.end(4.0, Outcome.TRUNCATED))
    for turn in turns:
        assert 0 == turn.tap.failures
        assert 1.0 <= turn.began <= turn.ended <= 3.0
    said = [(turn.operation, turn.request.model, turn.cause, sane(turn.tap)) for turn in turns]
    return (session.readable, session.closed_by), said


@examples(300)
@given(
    dialect=st.sampled_from(ASKING),
    deflate=st.booleans(),
    limit=st.sampled_from((1 << 20, 200)),
    words=st.lists(st.sampled_from(WORDS), max_size=8),
    asks=st.lists(st.sampled_from(ASKS), max_size=4),
    bends=st.tuples(BENDS, BENDS),
    places=PLACES,
)
def test_any_frames_are_read(
    *,
    dialect: Any,
    deflate: bool,
    limit: int,
    words: list[dict[str, Any]],
    asks: list[dict[str, Any]],
    bends: tuple[Any, Any],
    places: list[int],
) -> None:
    """Whatever two sides of a WebSocket say, and however it comes, the same turns are made of it."""
    client = bent(line_of(asks, mask=True, deflate=deflate), bends[0])
    upstream = bent(line_of(words, mask=False, deflate=deflate), bends[1])

    whole = overheard(dialect, limit, [client], [upstream], deflate=deflate)

    assert whole == overheard(dialect, limit, cut(client, places), cut(upstream, places), deflate=deflate)


# Requests and answers, through a running Meter.

TIMEOUTS = {"client_head": "60ms", "client_body": "60ms", "keep_alive": "40ms", "idle": "100ms"}
FIELDS = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b":",
        b"\0",
        b"\xff",
        b"\x0b",
        b"%",
        b"#",
        b"?",
        b"/../",
        b",",
        b";x=1",
        b"+",
        b"-",
    ),
    *(
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 9999999999\r\n",
    ),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: identity\r\n",
    ),
    *(
        b"Connection: close\r\n",
        b"Connection: x-a, content-length\r\n",
        b"Connection: upgrade\r\n",
        b"Upgrade: websocket\r\n",
    ),
    *(
        b"Host: \r\n",
        b"Host: a b\r\n",
        b"Expect: 100-continue\r\n",
        b"Expect: 7\r\n",
        b"X-Odd: \x80\r\n",
        b"X-Odd : 1\r\n",
    ),
    *(
        b" folded\r\n",
        b"Content-Encoding: gzip\r\n",
        b"Content-Encoding: br\r\n",
        b"Trailer: X-T\r\n",
        b"TE: trailers\r\n",
    ),
    *(
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"HTTP/2.0",
        b"GET ",
        b"HEAD ",
        b"CONNECT ",
        b"TRACE ",
        b"PATCH ",
        b"http://other/",
    ),
    *(
        b"0\r\n\r\n",
        b"ffffffffffffffffff\r\n",
        b"0x5\r\n",
        b"5\r\nabcde\r\n",
        b"1;a=b\r\nx\r\n",
        b"a" * 70_000,
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ),
    *(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 204 None\r\n\r\n",
    ),
)
"""What is put into requests and answers."""

ANSWER = b'{"model":"m","choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"usage":{}}'
CHAT = b'{"model":"m","messages":[{"role":"user","content":"word"}]%s}'
STREAMED = CHAT % b',"stream":true'


def request_of(head: str, body: bytes = b"", *fields: str, sized: bool = True) -> bytes:
    """Return the bytes of a request."""
    sizes = [f"Content-Length: {len(body)}"] if sized and body else []
    lines = [f"{head} HTTP/1.1", "Host: meter", "User-Agent: a/1", *fields, *sizes, "", ""]
    return "\r\n".join(lines).encode() + body


def chunked(body: bytes, size: int) -> bytes:
    """Return a body in chunks."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


JSON = "Content-Type: application/json"
IN_CHUNKS = "Transfer-Encoding: chunked"
FORM = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--b--\r\n'
REQUESTS = (
    request_of("POST /v1/chat/completions", CHAT % b"", JSON),
    request_of(
        "POST /v1/chat/completions", STREAMED, JSON, "Authorization: Bearer made-up", "X-A: 1", "x-a: 2"
    ),
    request_of("POST /v1/chat/completions", chunked(STREAMED, 30), JSON, IN_CHUNKS, sized=False),
    request_of("POST /v1/files?a=b&a=%20", chunked(b"x" * 500, 99), IN_CHUNKS, sized=False),
    request_of("POST /v1/responses", gzip.compress(CHAT % b"", mtime=0), JSON, "Content-Encoding: gzip"),
    request_of("POST /v1/audio/transcriptions", FORM, "Content-Type: multipart/form-data; boundary=b"),
    request_of("POST /v1/messages", CHAT % b"", JSON, "Expect: 100-continue", "Connection: keep-alive, x-a"),
    request_of("GET /v1/models/a%2Fb?key=made-up"),
    request_of("GET http://elsewhere:1/v1/models") + request_of("GET /v1/models/second"),
    request_of(
        "GET /v1/realtime?model=m",
        b"",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: AA==",
    ),
    request_of("HEAD /v1/models"),
)


@dataclass
class Told:
    """A request or an answer, as a strict reader reads it."""

    first: tuple[bytes, ...] = ()
    """Method and target, or the status."""
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    complete: bool = False
    wrong: str = ""
    """Why it is no HTTP; empty where it is."""

    @property
    def passing(self) -> list[tuple[bytes, bytes]]:
        """Fields that are to pass, in no order."""
        home = {
            name.strip()
            for key, value in self.fields
            if key == b"connection"
            for name in value.lower().split(b",")
        }
        return sorted((key, value) for key, value in self.fields if key not in home | STAY)


STAY = {
    *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    *(b"host", b"expect", b"content-length", b"accept-encoding", b"x-meter-id", b"content-encoding"),
}


def read_all(connection: h11.Connection, told: Told) -> Told:
    """Read as much of a message as has come."""
    try:
        while not told.complete:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                told.first, told.fields = (event.method, event.target), list(event.headers)
            elif isinstance(event, h11.Response):
                told.first, told.fields = (b"%d" % event.status_code,), list(event.headers)
            elif isinstance(event, h11.Data):
                told.body += event.data
            elif isinstance(event, h11.EndOfMessage):
                told.complete = True
            elif not isinstance(event, h11.InformationalResponse):
                break
    except h11.RemoteProtocolError as error:
        told.wrong = str(error)
    return told


def strictly(
    role: type[h11.SERVER | h11.CLIENT], data: bytes, *, ended: bool = False, method: str = "POST"
) -> Told:
    """Return the first message in bytes as a strict reader reads it; `ended`: nothing comes after."""
    connection, told = h11.Connection(role, max_incomplete_event_size=1 << 20), Told()
    if role is h11.CLIENT:
        connection.send(
            h11.Request(method=method, target="/", headers=[("Host", "h"), ("Connection", "close")])
        )
        connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    read_all(connection, told)
    if ended and not told.complete and not told.wrong:
        with suppress(h11.RemoteProtocolError):
            connection.receive_data(b"")
        read_all(connection, told)
    return told


@dataclass
class Upstream:
    """An upstream that reads strictly, and says what it is told to."""

    url: str = ""
    answer: bytes = b""
    places: list[int] = field(default_factory=list)
    """Where the answer is cut."""
    closes: bool = True
    """It closes the connection after its answer."""
    came: list[Told] = field(default_factory=list)
    """Requests, as they came."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        with suppress(ConnectionError, RuntimeError):  # the loop's word for a connection that is closed
            while await self._one(reader):
                answer = self.answer
                if self.came[-1].first[0] == b"HEAD":
                    answer = answer[: answer.find(b"\r\n\r\n") + 4]
                for piece in cut(answer, self.places):
                    writer.write(piece)
                    await asyncio.sleep(0.0005 if self.places else 0)
                if self.closes:
                    break
        writer.close()

    async def _one(self, reader: asyncio.StreamReader) -> bool:
        """Read one request; tell whether it is to be answered."""
        connection, told = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20), Told()
        while data := await reader.read(65536):
            connection.receive_data(data)
            if read_all(connection, told).wrong:
                break
            if told.complete:
                self.came.append(told)
                return True
        if told.wrong:
            self.came.append(told)
        return False


@contextmanager
def strict_house(**options: Any) -> Iterator[tuple[Upstream, House]]:
    """Run Meter before a strict upstream."""
    loop, upstream = Loop(), Upstream()

    async def listen() -> asyncio.Server:
        return await asyncio.start_server(upstream.serve, "127.0.0.1", 0)

    server: asyncio.Server = loop.run(listen())
    upstream.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    up = [{"name": "up", "base_url": upstream.url, "default": True, "usage": "ask"}]
    with running_house(upstream.url, upstreams=up, timeouts=TIMEOUTS, **options) as house:
        yield upstream, house

    async def stop() -> None:
        server.close()

    loop.run(stop())
    loop.close()


def conversed(url: str, request: bytes, *, seconds: float = 10.0) -> tuple[bytes, bool]:
    """Return all that a client gets for bytes, and whether it ended by a reset; fail where it hangs."""
    host, _, port = url.removeprefix("http://").partition(":")
    came = b""
    with socket.create_connection((host, int(port)), timeout=seconds) as client:
        try:
            client.sendall(request)
            while piece := client.recv(65536):
                came += piece
                if b"\r\nx-meter-error: 1\r\n" in came:  # what is left of a request is waited for a while
                    client.shutdown(socket.SHUT_WR)
        except TimeoutError:
            raise
        except OSError:  # a reset, which may show at any call
            return came, True
    return came, False


IDS = re.compile(rb"\r\nx-meter-id: ([0-9a-f-]{36})\r\n")
OWN = re.compile(
    rb"HTTP/1\.[01] [0-9]{3} [^\r\n]*\r\nContent-Type: application/json\r\n"
    rb"Content-Length: [0-9]+\r\nx-meter-error: 1"
)


def recorded(house: House, seen: int, came: bytes) -> list[dict[str, Any]]:
    """Return what was recorded of one conversation, each exchange that was answered once."""
    ids = [id_.decode() for id_ in IDS.findall(came)]
    until(lambda: 0 == house.value("meter_requests_in_flight") and len(house.lines()) >= seen + len(ids))
    lines = house.lines()[seen:]
    assert set(ids) <= {line["id"] for line in lines}
    assert len(lines) == len({line["id"] for line in lines})
    assert [] == house.lines("library") + house.lines("sink_failing") + house.lines("internal_error")
    return lines


def check_request(upstream: Upstream, house: House, request: bytes) -> None:
    """Send what is bent: it is refused, or reaches the upstream bit for bit, and is recorded."""
    upstream.came.clear()
    seen = len(house.lines())
    came, _ = conversed(house.url, request)
    lines = recorded(house, seen, came)
    assert {line["status"] for line in lines} <= {200, 400, 404, 405, 408, None}
    assert not [told for told in upstream.came if told.wrong]
    asked = strictly(h11.SERVER, request)
    if asked.wrong or not asked.complete or not upstream.came:
        return
    got = upstream.came[0]
    assert asked.first[0] == got.first[0]
    assert asked.first[1].endswith(got.first[1])  # an absolute form becomes an origin form
    assert asked.passing == got.passing
    assert asked.body == got.body or (
        b"include_usage" in got.body and got.body.startswith(asked.body.rstrip()[:-1])
    )


def check_answer(upstream: Upstream, house: House, *, streamed: bool) -> None:
    """Ask for what is bent: it is passed on as it is, broken off as it is, or replaced by an error."""
    seen = len(house.lines())
    body = STREAMED if streamed else CHAT % b""
    came, broken = conversed(
        house.url, request_of("POST /v1/chat/completions", body, JSON, "Connection: close")
    )
    until(lambda: len(house.lines()) > seen)
    [line] = recorded(house, seen, came)
    said = strictly(h11.CLIENT, upstream.answer, ended=upstream.closes)
    got = strictly(h11.CLIENT, came, ended=not broken)
    if OWN.match(came):
        assert line["status"] in (502, 504)
        return
    assert line["status"] is not None
    if got.complete and not said.wrong:
        assert said.complete, "a clean end was forged"
        assert (said.first, said.passing) == (got.first, got.passing)
        assert said.body == got.body or streamed
    elif not said.wrong and not streamed:
        assert said.body.startswith(got.body)


POSITION = st.integers(0, 700)
HTTP_BENDS = st.lists(
    st.tuples(
        st.sampled_from(("set", "put", "line", "line", "cut", "end", "swell")), POSITION, NUMBER, NUMBER
    ),
    max_size=4,
)
WHOLE_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER
)


def test_any_request_is_refused_or_passed_on() -> None:
    """A bent request is refused or reaches the upstream as it was, and is recorded once."""
    with strict_house() as (upstream, house):
        upstream.answer = WHOLE_ANSWER

        @examples(150)
        @given(request=st.sampled_from(REQUESTS), close=st.booleans(), bends=HTTP_BENDS)
        def bends(request: bytes, bends: list[tuple[str, int, int, int]], *, close: bool) -> None:
            if close:
                request = request.replace(b"User-Agent: a/1", b"User-Agent: a/1\r\nConnection: close", 1)
            check_request(upstream, house, bent(request, bends, FIELDS))

        bends()


def answer_of(status: bytes, body: bytes, *fields: bytes) -> bytes:
    """Return the bytes of an answer."""
    return b"\r\n".join([b"HTTP/1.1 " + status, *fields, b"", body])


SSE = load("chat/openai").answer
STREAMS, SIZED, CHUNKS = (
    b"Content-Type: text/event-stream",
    b"Content-Length: %d",
    b"Transfer-Encoding: chunked",
)
ANSWERS = (
    WHOLE_ANSWER,
    answer_of(b"200 OK", chunked(SSE, 150), STREAMS, CHUNKS),
    answer_of(b"200 OK", SSE, STREAMS),
    answer_of(b"200 OK", SSE, STREAMS, SIZED % len(SSE)),
    answer_of(
        b"200 OK", chunked(gzip.compress(SSE, mtime=0), 100), STREAMS, CHUNKS, b"Content-Encoding: gzip"
    ),
    answer_of(b"200 OK", chunked(ANSWER, 20), b"Content-Type: application/json", CHUNKS),
    answer_of(b"429 Too Many", b"{}", b"X-A: 1", b"x-a: 2", SIZED % 2),
    answer_of(b"502 Bad", b"<html>", b"Content-Type: text/html", b"Connection: close"),
    answer_of(b"204 None", b""),
    answer_of(b"100 Continue", b"") + answer_of(b"200 OK", b"{}", SIZED % 2),
    answer_of(b"400 Bad", b'{"error":"stream_options"}', SIZED % 26),
)


def test_any_answer_is_passed_on_or_replaced() -> None:
    """A bent answer reaches the client as it was, broken where it broke, or an error does."""
    with strict_house() as (upstream, house):

        @examples(150)
        @given(
            answer=st.sampled_from(ANSWERS),
            bends=HTTP_BENDS,
            places=st.just([]) | PLACES,
            closes=st.booleans(),
            streamed=st.booleans(),
        )
        def bends(
            answer: bytes, bends: list[Any], places: list[int], *, closes: bool, streamed: bool
        ) -> None:
            upstream.answer, upstream.places = bent(answer, bends, FIELDS), places
            # An upstream that says no more after an interim answer is one of those in `tests/fuzz/`.
            upstream.closes = closes or b"HTTP/1.1 1" in upstream.answer
            check_answer(upstream, house, streamed=streamed)

        bends()


# What has once gone wrong.

FOUND = Path(__file__).parent / "fuzz"


def finding(path: Path) -> Any:
    """Return a finding as a parameter; one that is still open is expected to fail."""
    told = json.loads(path.read_text())
    marks = [pytest.mark.xfail(reason=told["what"])] if told["open"] else []
    return pytest.param(told, id=path.stem, marks=marks)


@pytest.mark.parametrize("found", [finding(path) for path in sorted(FOUND.glob("*.json"))])
def test_what_was_found(found: dict[str, Any]) -> None:
    """What has once gone wrong ends with the status that it should have had."""
    said = found["bytes"].encode("latin-1")
    with strict_house() as (upstream, house):
        if found["kind"] == "request":
            upstream.answer, request = WHOLE_ANSWER, said
        else:
            upstream.answer, upstream.closes = said, False
            request = request_of("POST /v1/chat/completions", CHAT % b"", JSON, "Connection: close")
        came, _ = conversed(house.url, request, seconds=2.0)
        until(house.lines)
        [line] = house.lines()

    assert (found["status"], found["outcome"]) == (line["status"], line["outcome"])
    assert came.partition(b" ")[2].startswith(b"%d " % found["status"])
