"""Canaries: nothing of a prompt, an answer or a credential is in anything that Meter writes of its own.

Each test plants words that nobody else would write wherever a client, an upstream or an operator may put a
secret, lets the exchange end in some way, and searches everything that came out beside the answers that were
passed on: standard output and error, both formats of the metrics, every path of the admin port, and the
errors that Meter made itself. Not even a piece of a canary may be there.
"""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import zlib
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import play
import pytest
import trustme
from aiohttp import web
from sqlalchemy import create_engine
from sqlalchemy import text as sql
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool
from stage import House, ask, post, running_app, running_house, says, scripted_upstream, until
from test_app import get, process, serving
from test_drain import Gate, draining
from test_reload import address, meter, reload, write
from test_tunnel import SWITCH, exchanging, last, taken, upgrade
from websockets.frames import Frame, Opcode

from meter.keys import Credential
from meter.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from aiohttp.web import Request
    from stage import Scripted
    from test_tunnel import Line

CHAT = "/v1/chat/completions"
PIECE = 12
"""Characters of a canary that are too many to tell."""

KEYS = {
    "authorization": "sk-proj-Authq7Zr1XwNvLkP3tYuB8",
    "x-api-key": "sk-ant-Xapik5Rt9QmWzLpV2cJdH7",
    "api-key": "azApik4Gh8TnYbMxK1vSfD6Wq3",
    "x-goog-api-key": "AIzaGoogJ2Lm6PrVtXzB9nKdFy5",
    "key": "AIzaQueryU3Hs7NcWkRpZ1mTgJv8",
    "query api-key": "azQueryE6Yd2XbLtQn5GkVpMw9Z",
    "subprotocol": "sk-proj-Wsubp8Fj4KzRmTnXqB7vLc",
    "proxy-authorization": "Proxya5Nd9WgHtKpLzYxQ3rVbM",
    "cookie": "sessionCookiR7Tk2VnBxLqWmJz4P",
    "basic": "basicUserS9Mf3ZtGkXpNwQbLr6Vd",
}
"""One made-up credential for each place."""

PROMPT = {
    "prompt": "promptcanary-please-summarise-the-merger",
    "tool": "toolcanary-account-4412-9981",
    "image": "aW1hZ2VjYW5hcnktcGl4ZWxz",
    "user": "usercanary-ada-lovelace",
    "name": "functioncanary_transfer_funds",
    "unknown": "membercanary-vendor-extension",
}
ANSWER = {
    "content": "answercanary-the-patient-has",
    "reasoning": "reasoningcanary-let-me-think",
    "arguments": "argumentscanary-iban-de89",
    "refusal": "refusalcanary-i-cannot",
    "error": "errorcanary-incorrect-key-provided",
    "header": "headercanary-internal-host-17",
}
QUERY = "querycanary-next-page-token"
HEADER = "fieldcanary-x-custom-value"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"

FIELDS = (
    f"Authorization: Bearer {KEYS['authorization']}",
    f"X-Api-Key: {KEYS['x-api-key']}",
    f"api-key: {KEYS['api-key']}",
    f"x-goog-api-key: {KEYS['x-goog-api-key']}",
    f"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.{KEYS['subprotocol']}",
    f"Proxy-Authorization: Basic {KEYS['proxy-authorization']}",
    f"Cookie: session={KEYS['cookie']}",
    f"X-Custom: {HEADER}",
    f"Referer: https://app.example/?t={QUERY}",
    f"User-Agent: {HEADER}",
    f"OpenAI-Organization: {HEADER}",
    f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01",
    f"tracestate: v={HEADER}",
)
TARGET = f"{CHAT}?key={KEYS['key']}&api-key={KEYS['query api-key']}&cursor={QUERY}"
PLACES = {
    "authorization": (CHAT, FIELDS[0]),
    "bare": (CHAT, f"Authorization: {KEYS['authorization']}"),
    "basic": (CHAT, f"Authorization: Basic {KEYS['basic']}"),
    "x-api-key": (CHAT, FIELDS[1]),
    "api-key": (CHAT, FIELDS[2]),
    "x-goog-api-key": (CHAT, FIELDS[3]),
    "query key": (f"{CHAT}?key={KEYS['key']}", "X-A: 1"),
    "query api-key": (f"{CHAT}?api-key={KEYS['query api-key']}", "X-A: 1"),
    "sub-protocol": (CHAT, FIELDS[4]),
    "two at once": (CHAT, f"Authorization: Bearer {KEYS['authorization']}, {KEYS['x-api-key']}"),
    "bytes": (CHAT, f"Authorization: Bearer \u00e9{KEYS['authorization']}"),
    "user-info": (f"http://user:{KEYS['basic']}@meter{CHAT}", "X-A: 1"),
}

REQUEST = {
    "model": "gpt-4o",
    "user": PROMPT["user"],
    "messages": [
        {"role": "system", "content": PROMPT["prompt"]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": PROMPT["prompt"]},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PROMPT['image']}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "t", "content": PROMPT["tool"]},
    ],
    "tools": [{"type": "function", "function": {"name": PROMPT["name"]}}],
    "metadata": {"k": PROMPT["unknown"]},
}
MESSAGE = {
    "content": ANSWER["content"],
    "reasoning_content": ANSWER["reasoning"],
    "refusal": ANSWER["refusal"],
    "tool_calls": [{"index": 0, "function": {"name": PROMPT["name"], "arguments": ANSWER["arguments"]}}],
}
USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
WHOLE = json.dumps(
    {
        "id": "c1",
        "model": "gpt-4o",
        "choices": [{"message": MESSAGE, "finish_reason": "stop"}],
        "usage": USAGE,
    }
).encode()
ERROR = json.dumps(
    {
        "error": {
            "message": f"{ANSWER['error']}: {KEYS['authorization']} in {PROMPT['prompt']}",
            "type": ANSWER["error"],
            "code": f"{ANSWER['error']}-code",
            "param": PROMPT["unknown"],
        }
    }
).encode()


def event(**members: object) -> bytes:
    """Return an event of a chat stream."""
    return b"data: " + json.dumps({"id": "c1", "model": "gpt-4o", **members}).encode() + b"\n\n"


DELTA = event(choices=[{"index": 0, "delta": MESSAGE, "finish_reason": None}])
STREAM = (
    DELTA
    + event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
    + event(choices=[], usage=USAGE)
    + b"data: [DONE]\n\n"
)
ANSWER_FIELDS = (
    f"X-Internal: {ANSWER['header']}\r\nSet-Cookie: s={KEYS['cookie']}\r\nX-Echo: {KEYS['authorization']}\r\n"
    "x-ratelimit-remaining-requests: 7\r\n"
).encode()


def answer(status: int, kind: bytes, body: bytes, length: int | None = None) -> bytes:
    """Return an answer's bytes; with a length beyond its body it breaks off."""
    head = b"HTTP/1.1 %d %s\r\nContent-Type: %s\r\n" % (status, ANSWER["header"].encode(), kind)
    size = b"Content-Length: %d\r\n" % (len(body) if length is None else length)
    return head + ANSWER_FIELDS + size + b"\r\n" + body


CANARIES = (*PROMPT.values(), *ANSWER.values(), QUERY, HEADER)
ADMIN_PATHS = (
    "/metrics",
    "/healthz",
    "/readyz",
    "/",
    "/api/usage",
    "/api/exchanges",
    "/api/exchanges/none",
    "/api/prices/missing",
    "/api/budgets",
    "/api/openapi.json",
    "/usage/me",
    "/nothing",
)


def told(admin_url: str) -> bytes:
    """Return all that the admin port says, heads and bodies."""
    out = b""
    for path in ADMIN_PATHS:
        for field in ("Accept: */*", "Accept: application/openmetrics-text"):
            status, fields, body = get(admin_url, path, field)
            out += f"{status} {fields}".encode() + body
    return out


def check(out: bytes, *more: str) -> None:
    """Fail where any piece of a canary is in what came out, in whatever case."""
    out = out.lower()
    for canary in (*CANARIES, *KEYS.values(), *more):
        for at in range(max(1, len(canary) - PIECE + 1)):
            assert canary[at : at + PIECE].lower().encode() not in out, canary


def check_house(house: House, captured: pytest.CaptureFixture[str], *more: bytes) -> None:
    """Fail where a canary is in anything that this Meter has said so far."""
    until(house.lines)
    printed = captured.readouterr()
    out = house.log.getvalue() + told(house.admin_url) + (printed.out + printed.err).encode()
    check(out + b"".join(more))


@pytest.fixture
def front(scripted: Scripted) -> Iterator[House]:
    """Give Meter in front of a scripted upstream."""
    with running_house(scripted.url) as house:
        yield house


def body(*, stream: bool) -> bytes:
    """Return a request's body, full of canaries."""
    return json.dumps({**REQUEST, "stream": stream}).encode()


def own(came: tuple[bytes, bytes]) -> bytes:
    """Return an answer's head and body where Meter made it, else nothing: it is the upstream's to speak."""
    head, body = came
    return head + body if b"x-meter-error" in head.lower() else b""


ANSWERS = {
    "ok": answer(200, b"application/json", WHOLE),
    "stream": answer(200, b"text/event-stream", STREAM),
    "client error": answer(401, b"application/json", ERROR),
    "refused to be asked": answer(400, b"application/json", ERROR + b"include_usage"),
    "server error": answer(500, b"application/json", ERROR),
    "page": answer(200, b"text/html", f"<p>{ANSWER['error']}</p>".encode()),
    "text": answer(502, b"text/plain", ANSWER["error"].encode()),
    "error in the stream": answer(200, b"text/event-stream", DELTA + b"data: " + ERROR + b"\n\n"),
    "error event": answer(200, b"text/event-stream", DELTA + b"event: error\ndata: " + ERROR + b"\n\n"),
    "no end": answer(200, b"text/event-stream", DELTA),
    "broken stream": answer(200, b"text/event-stream", DELTA, 100_000),
    "broken answer": answer(200, b"application/json", WHOLE[:80], 100_000),
    "no json": answer(200, b"application/json", ANSWER["content"].encode()),
    "no sse": answer(200, b"text/event-stream", ANSWER["content"].encode() * 3),
    "damaged coding": answer(200, b"application/json\r\nContent-Encoding: gzip", ANSWER["content"].encode()),
    "damaged stream": answer(200, b"text/event-stream\r\nContent-Encoding: gzip", ANSWER["content"].encode()),
    "no http": f"{ANSWER['error']} {KEYS['authorization']}\r\n\r\n".encode(),
    "bad field": f"HTTP/1.1 200 OK\r\n{ANSWER['header']} {KEYS['authorization']}\r\n\r\n".encode(),
    "bad length": f"HTTP/1.1 200 OK\r\nContent-Length: {ANSWER['header']}\r\n\r\n".encode(),
    "bad chunks": f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{ANSWER['content']}\r\n".encode(),
    "nothing": b"",
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ANSWERS)
def test_answers(
    front: House, scripted: Scripted, kind: str, stream: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """However an upstream answers, only what is passed on has anything of what was said."""
    scripted.script = says(ANSWERS[kind])

    try:
        came = ask(front.url, post(TARGET, body(stream=stream), *FIELDS))
    except ConnectionResetError:
        came = (b"", b"")

    check_house(front, capfd, own(came))
    assert TRACE == front.lines()[0]["trace_id"]


@pytest.mark.parametrize("place", PLACES)
def test_places(front: House, scripted: Scripted, place: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A credential goes up as it came, wherever it stands, and shows as nothing but a fingerprint."""
    scripted.script = says(ANSWERS["ok"])
    target, field = PLACES[place]

    request = post(target, body(stream=False), field)
    came = ask(front.url, request)

    check_house(front, capfd, own(came))
    shown = front.lines()[0]["key"]
    assert ("none" == shown) == (place == "user-info")
    assert "none" == shown or (shown.startswith("k_") and len(shown) == 14)
    assert CHAT == front.lines()[0]["path"]


# Every format: the recorded cases, with a canary wherever a text may stand.

KEPT = frozenset(
    (
        *("type", "object", "role", "event", "status", "modality", "service_tier", "serviceTier"),
        *("model", "modelVersion", "trafficType", "speed", "blockReason", "reason"),
        *("finish_reason", "finishReason", "stop_reason", "done_reason"),
    )
)
"""Members that say what kind of thing it is, or what the log is there to tell."""


def planted(value: Any, canary: str, name: str = "") -> Any:
    """Return a JSON value with a canary and a credential in every text, and in a name of each object."""
    match value:
        case dict():
            inner = {member: planted(inside, canary, member) for member, inside in value.items()}
            return inner if name == "usage" else {**inner, PROMPT["unknown"]: canary}
        case list():
            return [planted(inside, canary, name) for inside in value]
        case str() if name not in KEPT:
            return f"{canary} {KEYS['authorization']} {value}"
    return value


def sown(text: bytes, canary: str) -> bytes:
    """Return a body with canaries in it: JSON, lines of JSON, events, or anything else."""
    with suppress(ValueError):
        return json.dumps(planted(json.loads(text), canary)).encode()
    lines = b"".join(sown_line(line, canary) for line in text.splitlines(keepends=True))
    return lines if lines != text else canary.encode() + text


def sown_line(line: bytes, canary: str) -> bytes:
    """Return a line with canaries in its JSON, if that is what it has."""
    field = b"data:" if line.startswith(b"data:") else b""
    try:
        said = json.loads(line.removeprefix(field))
    except ValueError:
        return line
    end = line[len(line.rstrip(b"\r\n")) :]
    return field + json.dumps(planted(said, canary)).encode() + end


class Planted(NamedTuple):
    """A recorded exchange with canaries in it."""

    path: str
    request: bytes
    status: int
    media: bytes
    answer: bytes


def recorded(name: str) -> Planted:
    """Return a recorded case with canaries in it; a request that is none is a multipart upload."""
    folder = play.CASES / name
    told = json.loads((folder / "expected.json").read_text())
    request, said = folder / "request.json", next(folder.glob("answer.*"))
    return Planted(
        told.get("path", play.PATHS[folder.parent.name]),
        sown(request.read_bytes(), PROMPT["prompt"]) if request.exists() else UPLOAD,
        told.get("status", 200),
        told.get("media", "").encode() or play.MEDIA[said.suffix],
        sown(said.read_bytes(), ANSWER["content"]),
    )


UPLOAD = "\r\n".join(
    (
        "--xXx",
        f'Content-Disposition: form-data; name="file"; filename="{PROMPT["name"]}.wav"',
        f"Content-Type: audio/wav; x={PROMPT['unknown']}",
        "",
        PROMPT["image"],
        "--xXx",
        'Content-Disposition: form-data; name="prompt"',
        "",
        PROMPT["prompt"],
        "--xXx",
        f'Content-Disposition: form-data; name="{PROMPT["unknown"]}"',
        "",
        KEYS["authorization"],
        "--xXx--",
        "",
    )
).encode()


def upload(path: str, body: bytes = UPLOAD) -> bytes:
    """Return the bytes of a multipart upload with canaries everywhere."""
    kind = "multipart/form-data; boundary=xXx"
    return post(path, body, *FIELDS).replace(b"application/json", kind.encode(), 1)


def with_query(path: str) -> str:
    """Return a target with a credential in its query, and more."""
    return f"{path}?alt=sse&key={KEYS['key']}&api-key={KEYS['query api-key']}&cursor={QUERY}"


WAYS = ("whole", "gzip", "deflate", "broken off", "with a length that lies")


def sent(planted: Planted, way: str) -> bytes:
    """Return an answer's bytes, said one way or another."""
    body, media = planted.answer, planted.media
    match way:
        case "gzip":
            return answer(planted.status, media + b"\r\nContent-Encoding: gzip", gzip.compress(body))
        case "deflate":
            squeezed = zlib.compress(body)[:-6]  # damaged
            return answer(planted.status, media + b"\r\nContent-Encoding: deflate", squeezed)
        case "broken off":
            return answer(planted.status, media, body[: len(body) * 2 // 3], len(body))
        case "with a length that lies":
            return answer(planted.status, media, body, len(body) + 1)
    return answer(planted.status, media, body)


@pytest.mark.parametrize("folder", sorted(play.PATHS))
def test_formats(folder: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Of no format's request, answer, stream or error, however it is coded or ends, is anything told."""
    with scripted_upstream() as scripted, running_house(scripted.url) as house:
        for number, name in enumerate(play.names(folder)):
            case = recorded(name)
            request = post(with_query(case.path), case.request, *FIELDS)
            if case.request is UPLOAD:
                request = upload(with_query(case.path))
            for way in WAYS if number == 0 else ("whole", WAYS[number % len(WAYS)]):
                scripted.script = says(sent(case, way))
                before = len(house.log.getvalue())
                with suppress(ConnectionResetError):
                    check(own(ask(house.url, request)))
                until(lambda: len(house.log.getvalue()) > before)  # noqa: B023 - it is asked at once
                check(house.log.getvalue()[before:])

        check_house(house, capfd)
        assert case.path == house.lines()[-1]["path"]


@pytest.mark.parametrize("code", ["gzip", "deflate", "br", "zstd", "none such"])
def test_compressed_requests(
    front: House, scripted: Scripted, code: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A compressed request is read for its model, and of the rest nothing is told, be it damaged or not."""
    scripted.script = says(ANSWERS["ok"])
    plain = body(stream=False)
    squeezed = {"gzip": gzip.compress(plain), "deflate": zlib.compress(plain)}.get(code, plain)
    for whole in (squeezed, squeezed[:-9] + b"x"):
        came = ask(front.url, post(TARGET, whole, *FIELDS, f"Content-Encoding: {code}"))

        check_house(front, capfd, own(came))


UPLOADS = ("/v1/audio/transcriptions", "/v1/audio/translations", "/v1/images/edits", "/v1/files", "/v1/x")


@pytest.mark.parametrize("kind", ["ok", "text", "client error", "stream", "broken answer", "no http"])
@pytest.mark.parametrize("path", UPLOADS)
def test_uploads(
    front: House, scripted: Scripted, path: str, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of a multipart upload neither a part nor its name is told, whatever the answer."""
    scripted.script = says(ANSWERS[kind])

    for request in (upload(with_query(path)), upload(with_query(path), UPLOAD[:-40])):
        came = (b"", b"")
        with suppress(ConnectionResetError):
            came = ask(front.url, request)

        check_house(front, capfd, own(came))


def test_background(front: House, scripted: Scripted, capfd: pytest.CaptureFixture[str]) -> None:
    """Of a response that is made in the background nothing is told, asked for or fetched."""
    response = {"id": "resp_1", "object": "response", "model": "gpt-5", "background": True}
    said = {"output": [{"type": "message", "content": [{"text": ANSWER["content"]}]}], **MESSAGE}
    usage = {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11}
    queued = json.dumps({**response, "status": "queued", "instructions": PROMPT["prompt"]}).encode()
    done = json.dumps({**response, **said, "status": "completed", "usage": usage}).encode()
    asked = {**REQUEST, "input": PROMPT["prompt"], "background": True}
    lines = (f"GET {with_query('/v1/responses/resp_1')} HTTP/1.1", "Host: m", "Connection: close", *FIELDS)
    fetch = "\r\n".join((*lines, "", "")).encode()
    scripted.script = says(answer(200, b"application/json", queued))
    ask(front.url, post(with_query("/v1/responses"), json.dumps(asked).encode(), *FIELDS))
    for status, text in ((200, queued), (500, ERROR), (200, done[:-9]), (200, done), (200, done)):
        scripted.script = says(answer(status, b"application/json", text))
        ask(front.url, fetch)

    until(lambda: len(front.lines()) == 6)
    check_house(front, capfd)
    assert 1 == sum(line["usage_source"] == "reported" for line in front.lines())


@pytest.mark.parametrize("read", [True, False])
@pytest.mark.parametrize("rest", ["stream", "error", "break", "garbage"])
def test_drained_answers(
    scripted: Scripted, rest: str, read: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """What is read on for a client that has left is told to nobody else."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    ends = {
        "stream": STREAM,
        "error": b"data: " + ERROR + b"\n\n",
        "break": DELTA[:-20],
        "garbage": ERROR * 9,
    }
    gate = Gate(scripted, head + DELTA if read else b"", ends[rest] if read else head + ends[rest])
    with draining(scripted) as house:
        host, _, port = house.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.sendall(post(TARGET, body(stream=True), *FIELDS))
            until(lambda: scripted.requests)
            if read:
                client.recv(65536)
        until(lambda: house.value("meter_drains_in_flight") == 1)
        gate.open()

        check_house(house, capfd)
        assert (200 if read else None) == house.lines()[0]["status"]


# WebSockets.

SPOKEN = (
    {"type": "session.update", "session": {"instructions": PROMPT["prompt"], "model": "gpt-realtime"}},
    {"type": "input_audio_buffer.append", "audio": PROMPT["image"]},
    {"type": "conversation.item.create", "item": {"content": [{"text": PROMPT["tool"]}]}},
    {
        "type": "response.create",
        "event_id": PROMPT["unknown"],
        "response": {"instructions": PROMPT["prompt"]},
        "input": PROMPT["prompt"],
        "model": "gpt-realtime",
    },
)
HEARD: tuple[dict[str, Any], ...] = (
    {"type": "session.created", "session": {"model": "gpt-realtime", "client_secret": KEYS["subprotocol"]}},
    {"type": "input_audio_buffer.committed", "item_id": "item_1"},
    {
        "type": "conversation.item.input_audio_transcription.delta",
        "item_id": "item_1",
        "delta": "toolcanary-",
    },
    {
        "type": "conversation.item.input_audio_transcription.completed",
        "item_id": "item_1",
        "transcript": PROMPT["tool"],
        "usage": {"type": "duration", "seconds": 3},
    },
    {"type": "response.created", "response": {"id": "resp_1", "metadata": PROMPT["unknown"]}},
    {"type": "response.output_text.delta", "response_id": "resp_1", "delta": ANSWER["content"]},
    {"type": "response.output_audio.delta", "response_id": "resp_1", "delta": PROMPT["image"]},
    {
        "type": "response.done",
        "response": {
            "id": "resp_1",
            "status": "completed",
            "output": [{"content": [{"transcript": ANSWER["content"]}], "arguments": ANSWER["arguments"]}],
            "usage": {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11},
        },
    },
    {"type": "response.created", "response": {"id": "resp_2"}},
    {
        "type": "response.failed",
        "response": {
            "id": "resp_2",
            "status": "failed",
            "error": {"code": ANSWER["error"], "message": ANSWER["error"]},
            "status_details": {"error": {"type": ANSWER["error"], "message": PROMPT["prompt"]}},
        },
    },
    {"type": "response.created", "response": {"id": "resp_3"}},
    {"type": "response.output_text.delta", "response_id": "resp_3", "delta": ANSWER["content"]},
)
SOCKETS = (
    "/v1/realtime?model=gpt-realtime",
    "/openai/v1/realtime?deployment=x",
    "/v1/responses?x=1",
    "/v1/x?x=1",
)
ENDS = (
    "goodbye",
    "error",
    "broken",
    "garbage from the client",
    "garbage from the upstream",
    "no text",
    "deflate",
)


def frames(*messages: object, mask: bool) -> bytes:
    """Return the frames of messages."""
    return b"".join(Frame(Opcode.TEXT, json.dumps(each).encode()).serialize(mask=mask) for each in messages)


def wound_up(line: Line, kind: str) -> None:
    """End what two sides have to say to each other."""
    failed = {"type": "error", "error": {"code": ANSWER["error"], "message": f"{ERROR!r}", "event_id": None}}
    garbage = f"{KEYS['authorization']} {PROMPT['prompt']}".encode() * 20
    match kind:
        case "goodbye":
            line.upstream.sendall(
                Frame(Opcode.CLOSE, b"\x03\xe8" + ANSWER["error"].encode()).serialize(mask=False)
            )
        case "error":
            line.upstream.sendall(frames(failed, "text", mask=False))
        case "broken":
            line.upstream.sendall(frames(failed, mask=False)[:-20])
        case "garbage from the client":
            line.client.sendall(garbage)
        case "garbage from the upstream":
            line.upstream.sendall(garbage)
        case "no text":
            for side, mask in ((line.client, True), (line.upstream, False)):
                side.sendall(Frame(Opcode.TEXT, b"{" + garbage).serialize(mask=mask))
                side.sendall(Frame(Opcode.BINARY, garbage).serialize(mask=mask))
        case "deflate":  # promised, and not kept
            line.upstream.sendall(b"\xc1\x7e" + len(garbage).to_bytes(2) + garbage)


@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("path", SOCKETS)
def test_sockets(path: str, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Of what a WebSocket carries, of its query and of its sub-protocols nothing is told."""
    agreed = b"Sec-WebSocket-Extensions: permessage-deflate\r\n" if kind == "deflate" else b""
    switch = SWITCH[:-2] + agreed + b"X-Internal: " + ANSWER["header"].encode() + b"\r\n\r\n"
    target = f"{path}&key={KEYS['key']}&api-key={KEYS['query api-key']}&cursor={QUERY}"
    with exchanging() as exchange:
        line = exchange.joined(target, *FIELDS, switch=switch)
        line.client.sendall(frames(*SPOKEN, mask=True))
        line.upstream.sendall(frames(*HEARD, mask=False))
        wound_up(line, kind)
        line.upstream.shutdown(socket.SHUT_WR)
        taken(line.client)
        line.client.close()

        assert 101 == last(exchange, line.answer)["status"]
        check_house(exchange.house, capfd)


@pytest.mark.parametrize("place", ["sub-protocol", "query"])
def test_keys_of_sockets(place: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A WebSocket's credential shows as its fingerprint, wherever it stands."""
    secret = KEYS["subprotocol" if place == "sub-protocol" else "query api-key"]
    path = "/v1/realtime?model=gpt-realtime" + (f"&api-key={secret}" if place == "query" else "")
    with exchanging() as exchange:
        line = exchange.joined(path, *([FIELDS[4]] if place == "sub-protocol" else []))
        line.client.close()
        line.upstream.close()

        assert Credential(secret.encode()).fingerprint(None) == last(exchange, line.answer)["key"]
        check_house(exchange.house, capfd)


REFUSALS = {
    "client error": ANSWERS["client error"],
    "server error": ANSWERS["server error"],
    "no http": ANSWERS["no http"],
    "other protocol": SWITCH.replace(b": websocket", b": " + ANSWER["error"].encode()),
    "ok": ANSWERS["ok"],
    "nothing": b"",
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_refused_sockets(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A WebSocket that is not to be had is told of without what was said."""
    with exchanging() as exchange:
        target = f"{SOCKETS[0]}&key={KEYS['key']}&cursor={QUERY}"
        client, upstream, _ = exchange.asked(upgrade(target, *FIELDS))
        upstream.sendall(REFUSALS[kind])
        upstream.close()
        head, _, came = taken(client).partition(b"\r\n\r\n")

        check_house(exchange.house, capfd, own((head, came)))


@pytest.mark.parametrize(
    "header",
    [
        "Authorization",
        "x-api-key",
        "API-Key",
        "x-goog-api-key",
        "sec-websocket-protocol",
        "cookie",
        "proxy-authorization",
    ],
)
def test_credentials_are_no_tags(scripted: Scripted, header: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A header that holds a credential is no tag, be the settings as they may."""
    scripted.script = says(ANSWERS["ok"])
    attribution = {"headers": {"who": header}, "labels": ["who"]}
    try:
        with running_house(scripted.url, attribution=attribution) as house:
            came = ask(house.url, post(TARGET, body(stream=False), *FIELDS))

            check_house(house, capfd, own(came))
    except SettingsError as refused:
        assert "attribution.headers.who" in str(refused)  # noqa: PT017 - one of two ways to keep the promise


SECRET = KEYS["authorization"]
MALFORMED = {
    "space before the colon": f"GET /v1/x HTTP/1.1\r\nHost: m\r\nAuthorization : Bearer {SECRET}\r\n\r\n",
    "no colon": f"GET /v1/x HTTP/1.1\r\nHost: m\r\nAuthorization Bearer {SECRET}\r\n\r\n",
    "control character": f"GET /v1/x HTTP/1.1\r\nHost: m\r\nAuthorization: Bearer {SECRET}\x00\r\n\r\n",
    "no version": f"GET /v1/x?key={SECRET}\r\n\r\n",
    "wrong version": f"GET /v1/x?key={SECRET} HTTP/9.9\r\n\r\n",
    "wrong method": f"{SECRET} /v1/x HTTP/1.1\r\nHost: m\r\n\r\n",
    "method with a space": f"GE{{T}} /v1/x?key={SECRET} HTTP/1.1\r\nHost: m\r\n\r\n",
    "wrong length": f"POST /v1/x?key={SECRET} HTTP/1.1\r\nHost: m\r\nContent-Length: {SECRET}\r\n\r\n",
    "two lengths": (
        f"POST /v1/x HTTP/1.1\r\nHost: m\r\nX-Api-Key: {SECRET}\r\nContent-Length: 1\r\n"
        "Content-Length: 2\r\n\r\n"
    ),
    "chunked and a length": (
        f"POST /v1/x HTTP/1.1\r\nHost: m\r\nX-Api-Key: {SECRET}\r\nContent-Length: 1\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    ),
    "bad chunks": (
        f"POST {CHAT} HTTP/1.1\r\nHost: m\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        f"{SECRET}\r\n"
    ),
    "long field": f"GET /v1/x HTTP/1.1\r\nHost: m\r\nAuthorization: Bearer {SECRET * 4000}\r\n\r\n",
    "long target": f"GET /v1/x?key={SECRET * 4000} HTTP/1.1\r\nHost: m\r\n\r\n",
    "trace": f"TRACE /v1/x?key={SECRET} HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n",
    "connect": f"CONNECT user:{SECRET}@host:443 HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n",
    "user-info in a bare target": f"GET user:{SECRET}@host HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n",
    "user-info": f"GET http://u:{SECRET}@h:x/v1/x HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n",
    "a scheme of its own": f"GET x:u:{SECRET}@h/v1/x HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n",
    "host": f"GET /v1/x HTTP/1.1\r\nHost: u:{SECRET}@h\r\nConnection: close\r\n\r\n",
    "tls": f"\x16\x03\x01 {SECRET}\r\n\r\n",
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_requests(
    front: House, scripted: Scripted, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """What is no HTTP is refused without quoting it."""
    scripted.script = says(b"HTTP/1.1 204 No Content\r\n\r\n")

    came = ask(front.url, MALFORMED[kind].encode("latin-1"))

    assert came[0]
    check_house(front, capfd, own(came))


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_requests_to_the_admin_port(
    front: House, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The admin port quotes nothing either, neither in its answer nor elsewhere."""
    came = b"".join(ask(front.admin_url, MALFORMED[kind].encode("latin-1")))

    assert came
    printed = capfd.readouterr()
    check(came + front.log.getvalue() + told(front.admin_url) + (printed.out + printed.err).encode())


def test_body_too_large(scripted: Scripted, capfd: pytest.CaptureFixture[str]) -> None:
    """A body that is refused for its size is not quoted."""
    with running_house(scripted.url, limits={"body_bytes": "100B"}) as house:
        came = ask(house.url, post(TARGET, body(stream=True), *FIELDS))

        assert b" 413 " in came[0]
        check_house(house, capfd, own(came))


def test_unreachable(capfd: pytest.CaptureFixture[str]) -> None:
    """An upstream out of reach is told of without what should have gone there."""
    with running_house("http://127.0.0.1:1") as house:
        came = ask(house.url, post(TARGET, body(stream=True), *FIELDS))

        assert b" 502 " in came[0]
        check_house(house, capfd, own(came))


@pytest.mark.parametrize("begun", [False, True])
def test_timeout(scripted: Scripted, begun: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """An upstream that falls silent is told of without what it had said."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    scripted.script = says(*([head + DELTA] if begun else []), hang=True)
    with running_house(scripted.url, timeouts={"idle": "100ms"}) as house:
        try:
            came = ask(house.url, post(TARGET, body(stream=True), *FIELDS))
        except ConnectionResetError:
            came = (b"", b"")

        check_house(house, capfd, own(came))
        assert "timeout" == house.lines()[0]["outcome"]


@pytest.mark.parametrize("begun", [False, True])
def test_client_leaves(
    front: House, scripted: Scripted, begun: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """A client that leaves leaves nothing behind."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    scripted.script = says(*([head + DELTA] if begun else []), hang=True)
    host, _, port = front.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(post(TARGET, body(stream=True), *FIELDS))
        until(lambda: scripted.requests)
        if begun:
            client.recv(65536)
    check_house(front, capfd)
    assert "client_closed" == front.lines()[0]["outcome"]


class CanaryError(Exception):
    """What a mistake of ours might raise: its text, notes and cause are full of what was sent."""

    def __init__(self) -> None:
        secret = f"{KEYS['authorization']} {PROMPT['prompt']} {ANSWER['content']}"
        super().__init__(secret)
        self.add_note(secret)
        self.__cause__ = ValueError(secret)


def _raise(*_: object, **__: object) -> Any:
    raise CanaryError


PARTS = {
    "sink prometheus": "meter.sinks.prometheus.PrometheusSink.__call__",
    "sink log": "meter.sinks.log.LogSink.__call__",
    "book": "meter.price.Book.price",
    "tap": "meter.tap.Tap.watching",
    "tap edit": "meter.tap.Tap.editing",
    "reader of requests": "meter.dialects.chat.ChatCompletions.read_request",
    "reader of answers": "meter.dialects.chat.ChatCompletions.read_answer",
    "reader of events": "meter.dialects.chat.ChatCompletions.read_event",
    "keys": "meter.keys.Keys.identify",
    "routes": "meter.routing.Routes.match",
    "upstream": "meter.upstream.Client.send",
    "rendering": "meter.sinks.prometheus.PrometheusSink.render",
    "listener": "meter.listener.RawAnswer._frame",
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.filterwarnings("default")
def test_our_own_mistakes(
    scripted: Scripted,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    stream: bool,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """An exception of Meter's own, whatever its text says, does not get out."""
    monkeypatch.setattr(PARTS[part], _raise)
    scripted.script = says(ANSWERS["stream" if stream else "ok"])
    with running_house(scripted.url) as house:
        try:
            came = ask(house.url, post(TARGET, body(stream=stream), *FIELDS))
        except ConnectionResetError:
            came = (b"", b"")
        out = told(house.admin_url)
        log = house.log
    printed = capfd.readouterr()
    check(out + log.getvalue() + (printed.out + printed.err).encode() + own(came))


READERS = {
    "settling the answer": "meter.tap.Tap.answer",
    "ending": "meter.tap.Tap.end",
    "counting": "meter.tap.Tap.counted",
    "how it ended": "meter.tap.Tap.outcome",
    "error bodies": "meter.tap.read_error",
    "abridging": "meter.abridge.Abridger.feed",
    "lines": "meter.jsonstream.Lines.feed",
    "arrays": "meter.jsonstream.Elements.feed",
    "events": "meter.sse.Splitter.feed",
    "decoding": "meter.tap.decoder",
    "intake": "meter.intake.Intake.body",
    "pump": "meter.pump.Pump.run",
    "rate limits": "meter.proxy.read_rate_limits",
    "backgrounds": "meter.backgrounds.Backgrounds.add",
    "dialects": "meter.dialects.find",
    "the record": "meter.passage.Passage.record",
    "messages": "meter.dialects.messages.Messages.read_event",
    "messages asked": "meter.dialects.messages.Messages.read_request",
    "responses": "meter.dialects.responses.Responses.read_answer",
    "gemini": "meter.dialects.gemini.GenerateContent.read_event",
    "ollama": "meter.dialects.ollama.Chat.read_event",
}
FORMATS = (
    *("chat", "completions", "responses", "messages", "embeddings", "images", "transcriptions", "speech"),
    *("moderations", "gemini", "ollama", "cohere", "rerank"),
)


@pytest.mark.parametrize("part", READERS)
@pytest.mark.filterwarnings("default")
def test_mistakes_in_reading(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch, part: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever reads a format may fail at it, and nothing of what it read gets out."""
    monkeypatch.setattr(READERS[part], _raise)
    out = b""
    with running_house(scripted.url) as house:
        cases = (recorded(name) for folder in FORMATS for name in play.names(folder)[:2])
        long = json.dumps({"input": PROMPT["prompt"] * 5000}).encode()
        more = (
            recorded("gemini/array"),
            recorded("responses/background_queued"),
            Planted("/v1/embeddings", long, 200, b"application/json", WHOLE + long),
        )
        for case in chain(cases, more):
            for way in ("whole", "gzip"):
                scripted.script = says(sent(case, way))
                with suppress(ConnectionResetError):
                    out += own(ask(house.url, post(with_query(case.path), case.request, *FIELDS)))
        out += told(house.admin_url)
        log = house.log
    printed = capfd.readouterr()
    check(out + log.getvalue() + (printed.out + printed.err).encode())


OVERHEARING = {
    "client": "meter.session.Session.client",
    "upstream": "meter.session.Session.upstream",
    "end": "meter.session.Session.end",
    "frames": "meter.websocket.Frames.feed",
    "messages": "meter.tap.Tap.message",
    "what is asked": "meter.dialects.responses.Responses.read_request",
    "what is said": "meter.dialects.realtime.Realtime.read_event",
    "turns": "meter.passage.Passage.inner",
    "opening": "meter.switching.End.open",
    "sending": "meter.switching.End.send",
    "book": "meter.price.Book.price",
}


@pytest.mark.parametrize("part", OVERHEARING)
@pytest.mark.filterwarnings("default")
def test_mistakes_in_overhearing(
    monkeypatch: pytest.MonkeyPatch, part: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever reads or moves a WebSocket's messages may fail at it, and nothing of them gets out."""
    monkeypatch.setattr(OVERHEARING[part], _raise)
    with exchanging() as exchange:
        path = SOCKETS[2 if part == "what is asked" else 0]
        target = f"{path}&api-key={KEYS['query api-key']}&cursor={QUERY}"
        client, upstream, _ = exchange.asked(upgrade(target, *FIELDS))
        client.settimeout(0.3)
        upstream.settimeout(0.3)
        with suppress(OSError):
            upstream.sendall(SWITCH)
            client.sendall(frames(*SPOKEN, mask=True))
            upstream.recv(65536)  # what the client said has been read
            upstream.sendall(frames(*HEARD, mask=False))
            upstream.close()
            taken(client)
        client.close()
        out = told(exchange.house.admin_url)
        log = exchange.house.log
    printed = capfd.readouterr()
    check(out + log.getvalue() + (printed.out + printed.err).encode())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "part",
    [
        "sink prometheus",
        "sink log",
        "book",
        "reader of requests",
        "reader of answers",
        "reader of events",
    ],
)
def test_our_own_mistakes_do_not_reach_the_client(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch, part: str, stream: bool
) -> None:
    """The client of an exchange that cannot be read, priced or told of gets its answer all the same."""
    monkeypatch.setattr(PARTS[part], _raise)
    scripted.script = says(ANSWERS["stream" if stream else "ok"])
    with running_house(scripted.url) as house:
        options = {"stream_options": {"include_usage": True}} if stream else {}
        head, got = ask(house.url, post(CHAT, json.dumps({**REQUEST, "stream": stream, **options}).encode()))

        assert head.startswith(b"HTTP/1.1 200 ")
        assert (STREAM if stream else WHOLE) == got
        used = part != f"reader of {'answers' if stream else 'events'}"
        until(lambda: house.value("meter_sink_errors_total") if used else house.lines())
        assert used == bool(house.value("meter_sink_errors_total"))


ADMIN_TOKEN = "adm-tokenK8Vd3QzXwLnRtB6yPmG"
SALT = "salt-pepperH5Jc9FkYvTqNxWb2ZsM"
PASSWORD = "passwordL7Gn4RzKqXtVmBw1YdP"


def test_process(scripted: Scripted) -> None:
    """A process writes neither its admin token nor its salt, and not what goes through it."""
    scripted.script = says(ANSWERS["stream"])
    environ = {
        "METER_KEY_SALT": SALT,
        "METER_ADMIN__TOKEN": ADMIN_TOKEN,
        "METER_ADMIN__PUBLIC": '["healthz"]',
        "METER_LOG__LEVEL": "debug",
        "HTTP_PROXY": f"http://u:{PASSWORD}@127.0.0.1:1",
    }
    with serving(scripted.url, **environ) as (meter, proxy, admin):
        came = b""
        for kind in ("stream", "client error", "no http", "broken stream"):
            scripted.script = says(ANSWERS[kind])
            try:
                came += own(ask(proxy, post(TARGET, body(stream=True), *FIELDS)))
            except ConnectionResetError:
                continue
        came += b"".join(own(ask(proxy, text.encode("latin-1"))) for text in MALFORMED.values())
        out = b""
        for path in ADMIN_PATHS:
            for token in (ADMIN_TOKEN, ADMIN_TOKEN + "x"):
                out += repr(
                    get(admin, f"{path}?token={ADMIN_TOKEN}", f"Authorization: Bearer {token}")
                ).encode()
        until(lambda: len(meter.lines()) >= 4)
        salted = Credential(KEYS["authorization"].encode()).fingerprint(SALT.encode())
        assert salted in {line["key"] for line in meter.lines()}
        unsalted = Credential(KEYS["authorization"].encode()).fingerprint(None)
        check(meter.stdout + meter.stderr + came + out, ADMIN_TOKEN, SALT, PASSWORD, unsalted)


WRONG = {
    "password in base_url": f"upstreams: [{{name: a, base_url: 'http://u:{PASSWORD}@h/v1'}}]",
    "password in base_url without scheme": f"upstreams: [{{name: a, base_url: 'u:{PASSWORD}@h/v1'}}]",
    "password with a slash": f"upstreams: [{{name: a, base_url: 'http://u:x/{PASSWORD}@h/v1'}}]",
    "key in base_url": f"upstreams: [{{name: a, base_url: 'http://h/v1?key={PASSWORD}'}}]",
    "password in proxy": f"upstreams: [{{name: a, base_url: 'http://h', proxy: 'ftp://u:{PASSWORD}@p'}}]",
    "password in proxy without scheme": (
        f"upstreams: [{{name: a, base_url: 'http://h', proxy: 'u:{PASSWORD}@p:1'}}]"
    ),
    "unknown member": f"upstreams: [{{name: a, base_url: 'http://h', api_key: {PASSWORD}}}]",
    "credential for a fingerprint": f"keys: [{{name: a, fingerprint: {PASSWORD}}}]",
    "credential for a key": f"keys: [{PASSWORD}]",
    "credential for keys": f"keys: {PASSWORD}",
    "credential as a member": f"keys: [{{name: a, fingerprint: k_0123456789ab, key: {PASSWORD}}}]",
    "token for admin": f"admin: {PASSWORD}",
    "token in a list": f"admin: {{token: [{PASSWORD}]}}",
    "misspelt token": f"admin: {{tokn: {PASSWORD}}}",
    "token out of place": f"admin_token: {PASSWORD}",
    "token among public": f"admin: {{token: {PASSWORD}, public: [everything]}}",
    "ledger": f"ledger: {{url: 'postgresql://u:{PASSWORD}@h/db'}}",
    "ledger with a password in its query": f"ledger: {{url: 'postgresql://h/db?password={PASSWORD}'}}",
    "ledger out of place": f"ledger: 'postgresql://u:{PASSWORD}@h/db'",
    "refresh by another way": f"prices: {{refresh: {{source: 'ftp://u:{PASSWORD}@h/x'}}}}",
    "refresh without a scheme": f"prices: {{refresh: {{source: 'u:{PASSWORD}@h/x'}}}}",
    "refresh with a slash": f"prices: {{refresh: {{source: 'https://u:x/{PASSWORD}@h/x'}}}}",
    "refresh out of place": f"prices: {{refresh: 'https://h/x?key={PASSWORD}'}}",
    "budget": f"budgets: [{{name: a, usd: 1, key: x, secret: {PASSWORD}}}]",
    "tracing": f"tracing: {{endpoint: 'http://u:{PASSWORD}@h'}}",
    "not yaml": f"admin: {{token: {PASSWORD}: x, y",
    "alias": f"admin: {{token: *{PASSWORD}}}",
    "tag": f"admin: {{token: !{PASSWORD} x}}",
    "reserved": f"admin: {{token: @{PASSWORD}}}",
    "unended": f'admin: {{token: "{PASSWORD}}}',
    "twice": f"admin: {{token: {PASSWORD}, token: {PASSWORD}}}",
    "tab": f"admin:\n\ttoken: {PASSWORD}",
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_files(tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    """What a wrong file says is never repeated where it may be a secret."""
    from meter import cli  # noqa: PLC0415 - aiohttp is not wanted here

    file = tmp_path / "meter.yaml"
    file.write_text(WRONG[kind] + "\n")

    code = cli.main(["config", "check", str(file)])

    printed = capfd.readouterr()
    assert (2, "") == (code, printed.out)
    assert str(file) in printed.err
    check(printed.err.encode(), PASSWORD)


PRICES = {
    "unknown member": f"prices: [{{model: m, api_key: {PASSWORD}, per_request: 1}}]",
    "unknown member of the file": f"admin_token: {PASSWORD}",
    "not yaml": f"prices: [{{model: {PASSWORD}: x",
    "reserved": f"prices: [{{model: @{PASSWORD}}}]",
    "tag": f"prices: [{{model: m, source: !{PASSWORD} x}}]",
    "unended": f'prices: [{{model: "{PASSWORD}}}]',
    "address with a password": f"prices: [{{model: m, per_request: 1, valid_from: 'https://u:{PASSWORD}@h'}}]",
    "address for prices": f"prices: 'https://u:{PASSWORD}@h/prices.yaml'",
    "address with a key": f"prices: ['https://h/prices.yaml?key={PASSWORD}']",
    "alias": f"prices: [{{model: m, per_request: 1, source: *{PASSWORD}}}]",
}


@pytest.mark.parametrize("kind", PRICES)
def test_wrong_prices(tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    """What a wrong price file says is never repeated where it may be a secret."""
    from meter import cli  # noqa: PLC0415 - aiohttp is not wanted here

    file, prices = tmp_path / "meter.yaml", tmp_path / "prices.yaml"
    file.write_text("upstreams: [{name: a, base_url: 'http://h'}]\nprices: {files: [prices.yaml]}\n")
    prices.write_text(PRICES[kind])

    cli.main(["config", "check", str(file)])

    printed = capfd.readouterr()
    check((printed.out + printed.err).encode(), PASSWORD)


def test_reloads(tmp_path: Path, scripted: Scripted) -> None:
    """A file that is wrong when it is read again is reported without what may be a secret in it."""
    file, prices = tmp_path / "meter.yaml", tmp_path / "prices.yaml"
    upstream = {"name": "a", "base_url": f"{scripted.url}/v1", "proxy": f"http://u:{PASSWORD}@127.0.0.1:1"}
    right = {"upstreams": [upstream], "admin": {"token": ADMIN_TOKEN, "public": ["healthz"]}}
    write(file, **right, ledger={"url": f"postgresql://u:{PASSWORD}@h/db"})
    out = b""
    with meter(file) as (running, proxy, admin):
        for text in WRONG.values():
            file.write_text(text)
            assert str(file) in reload(running, "reload_failed")["reason"]
        for kind in PRICES.keys() - {"tag"}:
            prices.write_text(PRICES[kind])
            write(file, **right, prices={"files": [str(prices)]})
            assert str(prices) in reload(running, "reload_failed")["reason"]
        write(file, **right, ledger={"url": f"postgresql://u:{PASSWORD}2@h/db"})
        assert ["ledger"] == reload(running)["ignored"]
        for path in ADMIN_PATHS:
            out += repr(get(admin, path, f"Authorization: Bearer {ADMIN_TOKEN}")).encode()
        out += own(ask(proxy, post(TARGET, body(stream=True), *FIELDS)))  # its proxy cannot be reached
        until(running.lines)
        check(running.stdout + running.stderr + out, ADMIN_TOKEN, PASSWORD)


def test_keys_of_certificates(tmp_path: Path, scripted: Scripted) -> None:
    """Neither a certificate's key nor what comes over TLS, or in its place, is told."""
    file, cert, key = tmp_path / "meter.yaml", tmp_path / "cert.pem", tmp_path / "key.pem"
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(cert))
    issued.private_key_pem.write_to_path(str(key))
    lines = key.read_text().splitlines()[1:-1]
    upstreams = [{"name": "a", "base_url": f"{scripted.url}/v1"}]
    write(file, upstreams=upstreams, tls={"cert": str(cert), "key": str(key)})
    scripted.script = says(ANSWERS["client error"])
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with meter(file) as (running, proxy, admin):
        plain = socket.create_connection(address(proxy), timeout=20)
        with context.wrap_socket(plain, server_hostname="localhost") as client:
            client.sendall(post(TARGET, body(stream=True), *FIELDS))
            until(running.lines)
        with suppress(ConnectionResetError):
            ask(proxy.replace("https", "http"), post(TARGET, body(stream=True), *FIELDS))
        write(file, upstreams=upstreams, tls={"cert": str(cert), "key": str(cert)})
        reload(running, "reload_failed")
        until(running.lines)
        check(running.stdout + running.stderr + told(admin), *lines)
    for wrong in (key.read_text()[:-50], "\n".join(lines), trustme.CA().private_key_pem.bytes().decode()):
        key.write_text(wrong)
        write(file, upstreams=upstreams, tls={"cert": str(cert), "key": str(key)})
        with process("serve", "--config", str(file), "--port", "0", "--admin-port", "0") as refused:
            assert 2 == refused.ended()
            check(refused.stdout + refused.stderr, *lines, *wrong.splitlines()[1:-1])


@pytest.mark.parametrize("form", ["as PEM", "its lines alone"])
def test_key_in_place_of_its_file(tmp_path: Path, form: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A certificate's key that stands where its file's name belongs is not repeated."""
    from meter import cli  # noqa: PLC0415 - aiohttp is not wanted here

    pem = trustme.CA().private_key_pem.bytes().decode()
    lines = pem.splitlines()[1:-1]
    file = tmp_path / "meter.yaml"
    write(
        file,
        upstreams=[{"name": "a", "base_url": "http://h"}],
        tls={"key": pem if form == "as PEM" else lines[0]},
    )

    cli.main(["config", "check", str(file)])

    check(capfd.readouterr().err.encode(), *lines)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("METER_ADMIN__TOKN", PASSWORD),
        ("METER_ADMIN_TOKEN", PASSWORD),
        ("METER_ADMIN", PASSWORD),
        ("METER_ADMIN__TOKEN", f'["{PASSWORD}"]'),
        ("METER_KEYS", PASSWORD),
        ("METER_KEYS", f'["{PASSWORD}"]'),
        ("METER_KEYS", f'[{{"name": "a", "fingerprint": "{PASSWORD}"}}]'),
        ("METER_UPSTREAMS", f'[{{"name": "a", "base_url": "http://u:{PASSWORD}@h"}}]'),
        ("METER_UPSTREAMS", f'[{{"name": "a", "base_url": "http://u:{PASSWORD}@h"'),
        ("METER_LEDGER", f"postgresql://u:{PASSWORD}@h/db"),
    ],
)
def test_wrong_variables(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """What a wrong variable says is never repeated where it may be a secret."""
    from meter import cli  # noqa: PLC0415 - as above

    monkeypatch.setenv("METER_UPSTREAMS", '[{"name": "a", "base_url": "http://h"}]')
    monkeypatch.setenv(name, value)

    assert 2 == cli.main(["config", "show"])

    printed = capfd.readouterr()
    assert name in printed.err
    check((printed.out + printed.err).encode(), PASSWORD)


def test_ledgers_are_masked(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """The settings in effect are shown without the password of a database."""
    from meter import cli  # noqa: PLC0415 - as above

    monkeypatch.setenv("METER_UPSTREAMS", '[{"name": "a", "base_url": "http://h"}]')
    monkeypatch.setenv("METER_LEDGER__URL", f"postgresql://u:{PASSWORD}@h/db")

    assert 0 == cli.main(["config", "show"])
    shown = capfd.readouterr().out
    assert "postgresql://***@h/db" in shown
    assert PASSWORD not in shown


@pytest.mark.parametrize(
    "argv",
    [
        ["key", PASSWORD],
        ["key", f"--key={PASSWORD}"],
        ["serve", "--upstream", f"http://u:{PASSWORD}@h/v1"],
        ["serve", "--upstream", f"u:{PASSWORD}@h/v1"],
        ["serve", "--upstream", "http://h", "--port", "99999", "--ledger", f"postgresql://u:{PASSWORD}@h/db"],
        ["serve", "--upstream", "http://h", "--admin-token", PASSWORD],
    ],
)
def test_wrong_command_lines(argv: list[str]) -> None:
    """What a wrong command line says is never repeated where it may be a secret."""
    with process(*argv) as meter:
        assert 2 == meter.ended()
        assert b"" == meter.stdout
        check(meter.stderr, PASSWORD)


def test_shown_settings(tmp_path: Path) -> None:
    """`meter config show` masks the token and the passwords of proxies, and does not know the salt."""
    file = tmp_path / "meter.yaml"
    file.write_text(
        f"upstreams: [{{name: a, base_url: 'http://h', proxy: 'http://u:{PASSWORD}@p:3128'}}]\n"
        f"admin: {{token: {ADMIN_TOKEN}}}\n"
    )
    with process("config", "show", METER_CONFIG=str(file), METER_KEY_SALT=SALT) as meter:
        assert 0 == meter.ended()
        assert b"admin" in meter.stdout
        check(meter.stdout + meter.stderr, PASSWORD, ADMIN_TOKEN, SALT)


# The ledger, and what is asked of it.

MINE, OTHERS = "sk-mine-Own4Tz8Wq", "sk-others-Elz7Kp2Vn"


def everything_in(url: str) -> bytes:
    """Return all that a ledger has on disk, or, of a server's, all rows of all its tables."""
    if not url.startswith("sqlite"):
        engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
        with engine.connect() as connection:
            names = connection.execute(
                sql("SELECT tablename FROM pg_tables WHERE schemaname = current_schema")
            )
            told = [connection.execute(sql(f"SELECT * FROM {name}")).all() for (name,) in names]  # noqa: S608 - ours
        engine.dispose()
        return repr(told).encode()
    file = Path(url.removeprefix("sqlite:///"))
    return b"".join(each.read_bytes() for each in file.parent.glob(f"{file.name}*"))


def kept(url: str) -> int:
    """Return how many exchanges a ledger has; 0 where it is not there yet."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)
    with suppress(SQLAlchemyError), engine.connect() as connection:
        return int(connection.execute(sql("SELECT count(*) FROM exchanges")).scalar_one())
    return 0


def test_ledger(
    scripted: Scripted, url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """No column of the ledger, and nothing that is made of it, has anything of what was said or shown."""
    from meter import cli  # noqa: PLC0415 - as above

    monkeypatch.setenv("METER_UPSTREAMS", '[{"name": "a", "base_url": "http://h"}]')
    environ = {"METER_RESPONSE_HEADERS__COST": "true", "PYTHONDEVMODE": "1"}
    with serving(scripted.url, "--ledger", url, **environ) as (running, proxy, admin):
        out = b""
        for kind, stream in ((kind, stream) for kind in ANSWERS for stream in (False, True)):
            scripted.script = says(ANSWERS[kind])
            with suppress(ConnectionResetError):
                out += own(ask(proxy, post(TARGET, body(stream=stream), *FIELDS, "TE: trailers")))
        until(lambda: kept(url) == 2 * len(ANSWERS))
        out += repr([get(admin, path, *FIELDS) for path in ASKED]).encode()
        check(out + told(admin) + running.stdout + running.stderr + everything_in(url))
    for argv in TOLD:
        assert 0 == cli.main([*argv, "--ledger", url])
        printed = capfd.readouterr()
        check((printed.out + printed.err).encode())
    check(everything_in(url))


ASKED = (
    "/api/usage?by=key,model,upstream,operation,outcome,error_type,usage_source,price_status,day,hour,tag.user",
    f"/api/usage?key={KEYS['key']}",
    f"/api/usage?{KEYS['key']}",
    f"/api/usage?{KEYS['key']}=1",
    f"/api/usage?limit=1&api-key={KEYS['query api-key']}",
    "/api/exchanges?limit=1000",
    f"/api/exchanges?key={KEYS['key']}",
    f"/api/exchanges/{KEYS['key']}",
    f"/api/exchanges/x?key={KEYS['key']}",
    f"/api/prices/missing?key={KEYS['key']}",
    f"/api/budgets?key={KEYS['key']}",
    f"/usage/me?by=model&key={KEYS['key']}",
    f"/usage/me?by=model&{KEYS['key']}",
    f"/{KEYS['key']}?key={KEYS['key']}",
)
TOLD = (
    ["report", "--by", "key,model,error_type,tag.user"],
    ["report", "--by", "key", "--format", "json"],
    ["report", "--waste", "--format", "csv"],
    ["prices", "missing"],
    ["reprice", "--since", "1d", "--write"],
)


def test_spilled(tmp_path: Path, scripted: Scripted) -> None:
    """What waits for a ledger is readable for its owner alone and has no canary, nor has the reason why."""
    scripted.script = says(ANSWERS["client error"])
    nowhere = f"postgresql://u:{PASSWORD}@127.0.0.1:1/db"
    environ = {"XDG_STATE_HOME": str(tmp_path), "PYTHONDEVMODE": "1"}
    with serving(scripted.url, "--ledger", nowhere, **environ) as (running, proxy, admin):
        came = own(ask(proxy, post(TARGET, body(stream=True), *FIELDS)))
        spilled = until(lambda: [file for file in tmp_path.rglob("*.jsonl") if file.stat().st_size])
        until(lambda: running.lines("sink_failing"))
        assert "postgresql://u:***@127.0.0.1:1/db" in running.lines("sink_failing")[0]["reason"]
        out = repr([get(admin, path, *FIELDS) for path in (*ADMIN_PATHS, *ASKED)]).encode()
        check(running.stdout + running.stderr + came + out, PASSWORD)
        check(b"".join(file.read_bytes() + str(file).encode() for file in spilled), PASSWORD)
        assert {0o600} == {file.stat().st_mode & 0o777 for file in spilled}
        assert {0o700} == {file.parent.stat().st_mode & 0o777 for file in spilled}


@pytest.mark.parametrize("ledger", ["off", ""])
def test_files_of_a_ledger(tmp_path: Path, scripted: Scripted, ledger: str) -> None:
    """A ledger is for its owner alone, whatever the umask; and where it is off, no file is made."""
    scripted.script = says(ANSWERS["ok"])
    environ = {"XDG_STATE_HOME": str(tmp_path), "METER_LEDGER__URL": ledger}
    with serving(scripted.url, **environ) as (running, proxy, admin):
        ask(proxy, post(TARGET, body(stream=False), *FIELDS))
        until(running.lines)
        until(lambda: json.loads(get(admin, "/api/exchanges")[2])["exchanges"])
        if not ledger:
            until((tmp_path / "meter" / "ledger.db-wal").exists)
        modes = {(each.is_dir(), each.stat().st_mode & 0o777) for each in tmp_path.rglob("*")}
        assert (set() if ledger else {(True, 0o700), (False, 0o600)}) == modes


def test_own_spend_alone(tmp_path: Path, scripted: Scripted) -> None:
    """However a caller asks, `/usage/me` tells of the credential that is found first, and of no other."""
    scripted.script = says(ANSWERS["ok"])
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    mine, others = (Credential(key.encode()).fingerprint(None) for key in (MINE, OTHERS))
    with serving(scripted.url, "--ledger", url, METER_ADMIN__TOKEN=ADMIN_TOKEN) as (_, proxy, admin):
        for key in (MINE, OTHERS, OTHERS):
            ask(proxy, post(CHAT, body(stream=False), f"Authorization: Bearer {key}"))
        until(lambda: kept(url) == 3)
        bearer = f"Authorization: Bearer {MINE}"
        for query, *fields in (
            ("", bearer),
            (f"&key={OTHERS}", bearer),
            (f"&api-key={OTHERS}", bearer, f"x-api-key: {OTHERS}"),
            ("", bearer, f"Authorization: Bearer {OTHERS}"),
            ("", f"Authorization: {MINE}", f"api-key: {OTHERS}"),
            (f"&key={MINE}&key={OTHERS}", "X-A: 1"),
            (f"&api-key={OTHERS}&key={MINE}", "X-A: 1"),
        ):
            status, _, told = get(admin, f"/usage/me?by=key{query}", *fields)
            assert (200, [mine]) == (status, [row["key"] for row in json.loads(told)["rows"]]), query
        for wrong in (others, "none", "%", "k_", f"{others}' OR '1'='1", "search-team", ADMIN_TOKEN):
            told = get(admin, "/usage/me?by=key", f"Authorization: Bearer {wrong}")[2]
            assert [] == json.loads(told)["rows"], wrong
        for query in (f"where=key={others}", f"key={MINE}&where=key={others}", "limit=1", f"Key={OTHERS}"):
            assert 400 == get(admin, f"/usage/me?{query}", bearer)[0], query
        for path in (
            "/api/usage",
            "/api/exchanges",
            "/usage/me/",
            "/usage/me/../../api/usage",
            "/api/budgets",
        ):
            assert 401 == get(admin, path, bearer)[0], path
            assert 401 == get(admin, f"{path}?key={ADMIN_TOKEN}")[0], path


HOSTILE = (
    "'; DROP TABLE exchanges; --",
    "' OR '1'='1",
    '"',
    "\\",
    '","user":"',
    "%",
    "_",
    "x' UNION SELECT 1 --",
    "$.x",
)


def test_hostile_questions(scripted: Scripted, url: str) -> None:
    """Whatever is asked by, and for, is a name and a value to the database, and nothing else."""
    from urllib.parse import quote  # noqa: PLC0415 - nobody else needs it

    scripted.script = says(ANSWERS["ok"])
    headers = {"METER_ATTRIBUTION__HEADERS": '{"user": "x-user-id"}'}
    with serving(scripted.url, "--ledger", url, **headers) as (_, proxy, admin):
        for value in HOSTILE:
            ask(proxy, post(CHAT, body(stream=False), f"x-user-id: {value}"))
        until(lambda: kept(url) == len(HOSTILE))
        for value in HOSTILE:
            at = f"/api/usage?by=tag.user&where=tag.user={quote(value)}"
            rows = json.loads(get(admin, at)[2])["rows"]
            assert [(value, 1)] == [(row["tag.user"], row["requests"]) for row in rows]
            if "," not in value:  # it would be two fields
                told = json.loads(get(admin, f"/api/usage?by=tag.{quote(value)}")[2])
                assert len(HOSTILE) == told["total"]["requests"]
            for where in (f"key={quote(value)}", f"tag.{quote(value)}=x", f"hour={quote(value)}"):
                told = json.loads(get(admin, f"/api/usage?by=&where={where}")[2])
                assert 0 == told["total"]["requests"], where
            assert 400 == get(admin, f"/api/usage?by={quote(value)}")[0]
            assert 404 == get(admin, f"/api/exchanges/{quote(value, safe='')}")[0]
        assert kept(url) == len(HOSTILE)


@pytest.mark.parametrize(
    "ledger",
    [
        f"postgresql://u:{PASSWORD}@127.0.0.1:1/db",
        f"postgresql://u:x@{PASSWORD}@127.0.0.1:1/db",
        f"postgresql://u:x/{PASSWORD}@127.0.0.1:1/db",
        f"postgresql://u:{PASSWORD}@127.0.0.1:1x/db",
        f"postgresql://u:{PASSWORD}@[::1/db",
        f"postgresql://127.0.0.1:1/db?password={PASSWORD}",
        f"postgresql://127.0.0.1:1/db?user=u&password={PASSWORD}&none=1",
        f"postgresql:///db?host=127.0.0.1&port=1&password={PASSWORD}",
        f"mysql://u:{PASSWORD}@h/db",
        f"u:{PASSWORD}@h/db",
        f"host=127.0.0.1 password={PASSWORD}",
    ],
)
def test_ledgers_that_cannot_be_had(
    monkeypatch: pytest.MonkeyPatch, ledger: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Why a ledger cannot be had is told without its password, wherever in its address that stands."""
    from meter import cli  # noqa: PLC0415 - as above

    monkeypatch.setenv("METER_UPSTREAMS", '[{"name": "a", "base_url": "http://h"}]')
    for argv in TOLD:
        assert cli.main([*argv, "--ledger", ledger]) in {1, 2}
        check(capfd.readouterr().err.encode(), PASSWORD)
    monkeypatch.setenv("METER_LEDGER__URL", ledger)
    cli.main(["config", "show"])
    printed = capfd.readouterr()
    check((printed.out + printed.err).encode(), PASSWORD)


def test_source_of_the_catalogue(scripted: Scripted) -> None:
    """A source of prices is shown, and told of when it fails, without a password and a query."""
    scripted.script = says(ANSWERS["client error"])
    source = scripted.url.replace("://", f"://u:{PASSWORD}@") + f"/list.json?token={ADMIN_TOKEN}"
    environ = {"METER_PRICES__REFRESH__SOURCE": source, "PYTHONDEVMODE": "1"}
    with serving(scripted.url, **environ) as (running, _, admin):
        reason = until(lambda: running.lines("catalogue_refresh_failed"))[0]["reason"]
        assert f"{scripted.url}/list.json: answered with status 401, expected 200" == reason
        check(running.stdout + running.stderr + told(admin), PASSWORD, ADMIN_TOKEN)
    with process(
        "config", "show", METER_UPSTREAMS='[{"name": "a", "base_url": "http://h"}]', **environ
    ) as shown:
        assert 0 == shown.ended()
        assert b"/list.json?***" in shown.stdout
        check(shown.stdout + shown.stderr, PASSWORD, ADMIN_TOKEN)


def anywhere(answer: Callable[[Request], Awaitable[web.Response]]) -> web.Application:
    """Return an application that answers at every path alike."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    return app


ADMIN_KEY = "sk-admin-Recon6Hq2WzXtLbN9cVfR"


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 429])
def test_admin_keys(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    provider: str,
    status: int,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A provider that repeats an admin key, whole or at the edge of what is shown, is not repeated."""
    from meter import cli  # noqa: PLC0415 - as above
    from meter.ledger.database import open_database  # noqa: PLC0415 - as above

    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    open_database(ledger, create=True).close()
    monkeypatch.setenv("METER_UPSTREAMS", '[{"name": "a", "base_url": "http://h"}]')
    monkeypatch.setenv(f"{provider.upper()}_ADMIN_KEY", ADMIN_KEY)
    asked: list[str] = []

    async def answer(request: Request) -> web.Response:
        asked.append(request.path)
        message = f"{'x' * (180 - len(asked))} {ADMIN_KEY}"
        fields = {"Retry-After": "0", "Location": f"/elsewhere?{ADMIN_KEY}"}
        said = {"error": {"message": message}, "data": [{"results": ADMIN_KEY}]}
        return web.json_response(said, status=status, reason=f"No {ADMIN_KEY}", headers=fields)

    with running_app(anywhere(answer)) as url:
        argv = ["reconcile", "--provider", provider, "--ledger", ledger, "--base-url"]
        assert 1 == cli.main([*argv, url])
        number = len(asked)
        for wrong in (
            f"http://u:{PASSWORD}@127.0.0.1:1",
            f"{url}?k={PASSWORD}",
            f"u:{PASSWORD}@h",
            f"{url}#{PASSWORD}",
        ):
            assert 1 == cli.main([*argv, wrong])
        assert number == len(asked)
        assert "/elsewhere" not in asked
    printed = capfd.readouterr()
    check((printed.out + printed.err).encode(), ADMIN_KEY, PASSWORD)


@pytest.mark.parametrize("status", [302, 401, 500])
def test_asking_a_running_proxy(
    monkeypatch: pytest.MonkeyPatch, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """`meter prices missing --url` shows the token to that address alone, and tells of neither."""
    from meter import cli  # noqa: PLC0415 - as above

    came: list[tuple[str, str]] = []

    async def answer(request: Request) -> web.Response:
        came.append((request.path, request.headers.get("Authorization", "")))
        said = {"error": {"message": f"no {came[-1][1]}"}}
        return web.json_response(said, status=status, headers={"Location": "/elsewhere"})

    monkeypatch.setenv("METER_UPSTREAMS", '[{"name": "a", "base_url": "http://h"}]')
    monkeypatch.setenv("METER_ADMIN__TOKEN", ADMIN_TOKEN)
    with running_app(anywhere(answer)) as url, running_app(anywhere(answer)) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.delenv("no_proxy", raising=False)
        for wrong in (
            url,
            f"{url}?key={PASSWORD}",
            f"http://u:{PASSWORD}@[::1",
            f"http://u:{PASSWORD}@127.0.0.1:1",
        ):
            assert cli.main(["prices", "missing", "--url", wrong]) in {1, 2}
        assert 2 == cli.main(["prices", "missing", "--url", f"u:{PASSWORD}@127.0.0.1:1"])
    assert {("/api/prices/missing", f"Bearer {ADMIN_TOKEN}"), ("/", f"Bearer {ADMIN_TOKEN}")} == set(came)
    printed = capfd.readouterr()
    check((printed.out + printed.err).encode(), PASSWORD, ADMIN_TOKEN)


@pytest.mark.parametrize("stream", [False, True])
def test_refusals_for_a_budget(scripted: Scripted, stream: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """What a spent budget says to a client names the budget, and neither an amount nor whom it is about."""
    fingerprint = Credential(KEYS["authorization"].encode()).fingerprint(None)
    budget = {
        "name": "trial",
        "key": "search-team",
        "tags": {"team": "tagged"},
        "usd": 0.000001,
        "stop": True,
    }
    key = {"name": "search-team", "fingerprint": fingerprint, "tags": {"team": "tagged"}}
    scripted.script = says(ANSWERS["stream" if stream else "ok"])
    with running_house(scripted.url, budgets=[budget], keys=[key]) as house:
        request = post(TARGET, body(stream=stream), *FIELDS)
        ask(house.url, request)
        until(lambda: house.value("meter_budget_spent_usd") > 0)
        head, refused = ask(house.url, request)

        assert head.startswith(b"HTTP/1.1 429 ")
        for word in (b"search-team", b"tagged", b"0.0", fingerprint.encode()):
            assert word not in head + refused
        check_house(house, capfd, head, refused)
