"""Canaries: nothing of a prompt, an answer or a credential is in anything that Meter writes of its own.

Each test plants words that nobody else would write wherever a client, an upstream or an operator may put a
secret, lets the exchange end in some way, and searches everything that came out beside the answers that were
passed on: standard output and error, both formats of the metrics, every path of the admin port, and the
errors that Meter made itself. Of credentials not even a piece may be there.
"""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
from stage import House, ask, post, running_house, says, until
from test_app import get, process, serving

from meter.keys import Credential
from meter.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stage import Scripted

CHAT = "/v1/chat/completions"
PIECE = 12
"""Characters of a credential that are too many to tell."""

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
    """Fail where a canary is in what came out, or any piece of a credential is."""
    for canary in (*CANARIES, *more):
        assert canary.encode() not in out, canary
    for key in (*KEYS.values(), *more):
        for at in range(len(key) - PIECE + 1):
            assert key[at : at + PIECE].encode() not in out, key


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
    "tap": "meter.tap.Tap.watch",
    "tap edit": "meter.tap.Tap.edit",
    "reader of requests": "meter.dialects.chat.ChatCompletions.read_request",
    "reader of answers": "meter.dialects.chat.ChatCompletions.read_answer",
    "reader of events": "meter.dialects.chat.ChatCompletions.read_event",
    "keys": "meter.keys.Keys.identify",
    "routes": "meter.routing.Routes.match",
    "upstream": "meter.upstream.Client.send",
    "rendering": "meter.sinks.prometheus.PrometheusSink.render",
    "listener": "meter.listener.RawAnswer._prepare_headers",
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
