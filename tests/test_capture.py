"""Prompts and answers as they are kept: cut, and without credentials, however those are written."""

from __future__ import annotations

import gzip
import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from stage import ask, post, running_house, says, scripted_upstream, until
from test_reload import meter, reload, write

from meter.capture import Capture, Captured
from meter.inquiry import Inquiry
from meter.settings.expressions import is_steady

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from stage import Scripted

PIECE = 8
"""Characters of a secret that are too many to keep."""

# fmt: off
SECRETS = {
    "openai": "sk-proj-Tq7Zr1XwNvLkP3tYuB8_aBcD-eF",
    "openai without digits": "sk-svcacct-SECRETsecretSECRETsecret",
    "anthropic": "sk-ant-api03-Xk5Rt9QmWzLpV2cJdH7-abcdefAA",
    "openrouter": "sk-or-v1-9f8e7d6c5b4a39281706f5e4d3c2b1a0",
    "google": "AIzaSyGo2Lm6PrVtXzB9nKdFy5Hs7NcWkRpZ1mT",
    "google oauth": "ya29.a0AfH6SMBx-Zq7Zr1XwNvLkP3tYuB8", "aws": "AKIAIOSFODNN7EXAMPLE",
    "groq": "gsk_Yd2XbLtQn5GkVpMw9ZWGdyb3FYhq", "xai": "xai-Fj4KzRmTnXqB7vLcFj4KzRmTnXqB7vLc",
    "huggingface": "hf_aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH",
    "replicate": "r8_Q7Zr1XwNvLkP3tYuB8Q7Zr1XwNvLkP3tYuB",
    "perplexity": "pplx-0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c",
    "nvidia": "nvapi-Tq7Zr1XwNvLkP3tYuB8_aBcD-eF",
    "azure": "0f1e2d3c4b5a69788796a5b4c3d2e1f0", "mistral": "Tq7Zr1XwNvLkP3tYuB8aBcDeFgHiJkLm",
    "zhipu": "0f1e2d3c4b5a69788796a5b4c3d2e1f0.AbCdEfGhIjKlMnOp", "short": "azApik4Gh8TnYbMxK1vSfD6Wq3",
    "github": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "github fine": "github_pat_11ABCDEFG0abcdefghijkl_MNOPQRSTUVWXYZ", "gitlab": "glpat-aBcDeFgHiJkLmNoPqRsT",
    "slack": "xoxb-123456789012-abcdefghijkl", "stripe": "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
}
# fmt: on
WRITTEN = {
    "plain": "my key is {} thanks",
    "alone": "{}",
    "lines": "key:\n{}\nbye",
    "other script": "\u5bc6\u94a5\u662f{}\u3002",
    "bearer": "Authorization: Bearer {}",
    "url": "https://h/v1?key={}&x=1",
    "call": json.dumps({"arguments": json.dumps({"headers": {"Authorization": "Bearer {}"}})}),
    "deep": json.dumps({"a": json.dumps({"b": json.dumps({"c": "one\ntwo\t{}\n"})})}),
}


def escaped(secret: str) -> str:
    """Write each character as JSON may."""
    return "".join(f"\\u{ord(character):04x}" for character in secret)


def quoted(secret: str) -> str:
    """Write each character as a URL may."""
    return "".join(f"%{ord(character):02X}" for character in secret)


def leaks(secret: str, kept: str) -> list[str]:
    """Return what is still there of a secret, as it is or escaped."""
    pieces = {secret[at : at + PIECE] for at in range(len(secret) - PIECE + 1)}
    return [piece for piece in pieces if any(way(piece) in kept for way in (str, escaped, quoted))]


@pytest.mark.parametrize("way", [str, escaped, quoted])
@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_keys_of_providers(secret: str, written: str, way: type[str]) -> None:
    """A provider's key is not kept, wherever it stands in a text and however it is escaped."""
    text = written.replace("{}", way(secret))
    kept = Capture(16384).cleansed(text)

    assert [] == leaks(secret, kept)
    assert "[redacted]" in kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('{"Authorization": "Bearer abcdefghijklmnop"}', '{"Authorization": "Bearer [redacted]"}'),
        (r"{\"Authorization\": \"Bearer abc.def-12\"}", r"{\"Authorization\": \"Bearer [redacted]\"}"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic [redacted]"),
        ("curl -H 'x-api-key: tiny-key' h", "curl -H 'x-api-key: [redacted]' h"),
        ("OPENAI_API_KEY=tiny-key", "OPENAI_API_KEY=[redacted]"),
        ('client_secret="hunter22"', 'client_secret="[redacted]"'),
        (r'"arguments":"{\"password\":\"hunter22\"}"', r'"arguments":"{\"password\":\"[redacted]\"}"'),
        ("postgres://me:hunter22@host/db", "postgres://me:[redacted]@host/db"),
        ("Set-Cookie: session=abc; Path=/", "Set-Cookie: [redacted]"),
        ("a -----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- b", "a [redacted] b"),
        ("a -----BEGIN PRIVATE KEY-----\\nMIIEvQ", "a [redacted]"),
        ("Bearer%20abcdefghijklmnop", "Bearer%20[redacted]"),
    ],
)
def test_by_name(text: str, kept: str) -> None:
    """What a name or a scheme gives away as a credential is not kept, and all around it is."""
    assert kept == Capture(16384).cleansed(text)


@pytest.mark.parametrize(
    "text",
    [
        "Basic understanding of bearer authentication, risk-management-frameworks and task-oriented-dialogue",
        "max_tokens: 4096, prompt_tokens: 12345678, the secret: why",
        "id 01978a3e-0000-7000-8000-000000000000 of https://host:8080/path?page=2",
        "\u4f60\u597d, \\u4f60\\u597d and 100% of it",
        "",
    ],
)
def test_prose_stays(text: str) -> None:
    """Common words stay as they are."""
    assert text == Capture(16384).cleansed(text)


def test_cut() -> None:
    """A text that is longer than the limit is cut there, and says so; one that fits does not."""
    assert "ab[cut]" == Capture(2).cleansed("abc")
    assert "abc" == Capture(3).cleansed("abc")
    assert "a\nb[cut]" == Capture(3).cleansed("a", "bc")
    assert 20 + len("[cut]") >= len(Capture(20).cleansed("pwd=abcdef " * 10))


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_at_the_edge(secret: str) -> None:
    """A secret over which the cut goes is not kept in part, wherever in it that is."""
    for limit in range(1, len(secret) + 12):
        assert [] == leaks(secret, Capture(limit).cleansed("the key: " + secret + " end"))


@given(st.sampled_from(sorted(SECRETS.values())), st.lists(st.integers(0, 90), max_size=12))
@settings(max_examples=100, deadline=None)
def test_in_pieces(secret: str, places: list[int]) -> None:
    """A secret that is said in pieces is as little kept as one that is said at once."""
    text = f"here it is: {secret} - good luck"
    captured = Captured(Capture(16384))
    at = 0
    for place in [*sorted(places), len(text)]:
        captured.add(text[at:place])
        at = max(at, place)

    assert "here it is: [redacted] - good luck" == captured.text


def test_by_turns() -> None:
    """Two choices that are said by turns are each put together, so that a secret in one is seen whole."""
    secret = SECRETS["openai"]
    captured = Captured(Capture(16384))
    for character in secret:
        captured.add(character, 0)
        captured.add("la ", 1)

    assert ["[redacted]", "la " * len(secret)] == captured.text.split("\n")


def test_more_than_there_is_room_for() -> None:
    """Of an endless answer in endlessly many parts a bounded part is kept, and no secret where it ends."""
    secret = SECRETS["openai"]
    captured = Captured(Capture(1000))
    for number in range(5000):
        captured.add(secret, number % 3)
        captured.add("x", ("part", number))

    assert [] == leaks(secret, captured.text)
    assert captured.text.endswith("[cut]")
    assert 1000 + len("[cut]") >= len(captured.text)
    assert 4 * (1000 + 4096) >= sum(len(piece) for part in captured._parts.values() for piece in part)
    assert len(captured._left) <= 4 * (1000 + 4096)


def test_an_end_that_is_missing() -> None:
    """Where a part was cut short because there was no room, what might be half a secret is not kept."""
    capture = Capture(10_000)
    secret = SECRETS["zhipu"]
    for length in range(len(secret)):
        captured = Captured(capture)
        captured.add("a " * ((capture.room - length) // 2) + secret, 0)
        captured.add("b", 1)
        assert [] == leaks(secret, captured.text)


def test_own_patterns() -> None:
    """What an expression of the settings matches is not kept, as it stands or escaped, over the cut too."""
    capture = Capture(40, [r"\d{3}-\d{2}-\d{4}", r"(?i)acme\w*", "x*"])

    assert "ssn [redacted] at [redacted]" == capture.cleansed("ssn 123-45-6789 at AcmeCo")
    assert "ssn [redacted]" == capture.cleansed(r"ssn 123\u002d45-6789")
    assert "[redacted]" == Capture(9999, [r"q\d{400}q"]).cleansed("q" + "1" * 400 + "q")
    assert "a" * 35 + " [red[cut]" == capture.cleansed("a" * 35 + " 123-45-6789 rest")


@pytest.mark.parametrize(
    "expression", [r"(a+)+$", r"(?:\w+\s?)+", r"(a|aa)+$", "((a+)b)*", "(a+){9}", r"(?:a{1,3})+"]
)
def test_expressions_without_end(expression: str) -> None:
    """An expression in which a repetition repeats is told from others."""
    assert not is_steady(expression)


@pytest.mark.parametrize(
    "expression",
    [
        *(r"\d{3}-\d{2}-\d{4}", r"[\w.+-]+@[\w-]+\.\w+", r"(?:\d{1,3}\.){3}\d{1,3}", r"(?:\d[ -]?){13,16}"),
        *(
            "(?:a++)+",
            "(a+)++",
            "(?:(?>a+)b)*",
            "(?:foo|bar)?",
            "[(a+)+]",
            r"\(a+\)+",
            "(?#(a+)+)x",
            "(?=a+)*b",
            "a{",
        ),
    ],
)
def test_expressions_that_end(expression: str) -> None:
    """Common expressions, possessive ones, and what only looks like a repetition, are taken."""
    assert is_steady(expression)


HOSTILE = (
    "a",
    "\\",
    "%25",
    "bearer ",
    "token=",
    "-----BEGIN ",
    "://a:",
    "0a",
    "eyJ.",
    "sk-",
    "token-",
    "\\u0041",
    "key",
)


@pytest.mark.parametrize("word", HOSTILE)
def test_comes_to_an_end(word: str) -> None:
    """A text of which any square would take hours is done with, whatever it consists of."""
    size = 200_000 if word == "key" else 2_000_000  # with an expression that takes the square of a stretch
    kept = Capture(size, [r"[\w.+-]+@[\w-]+\.\w+"] if word == "key" else ()).cleansed(
        word * (size // len(word))
    )

    assert 0 < len(kept) <= size + len("[cut]")


def told(**members: bytes) -> str | None:
    """Return the prompt of a request with these members."""
    return Capture(1000).question(Inquiry(members))


def test_question() -> None:
    """The prompt is JSON of the members that have one, as they stand, and none of the others."""
    kept = told(model=b'"m"', messages=b'[{"role":"user","content":"hi"}]', tools=b"[1]", system=b'"be kind"')

    assert '{"system":"be kind","messages":[{"role":"user","content":"hi"}]}' == kept
    assert told(model=b'"m"') is None


def test_question_stays_json() -> None:
    """What is not kept of a prompt leaves JSON behind that can be read."""
    text = 'first\nAKIAIOSFODNN7EXAMPLE\nx-api-key: "tiny-key"\nand \\ {"token":"abcdefg\\"}'
    kept = told(input=json.dumps(text).encode())

    assert kept is not None
    assert json.loads(kept)["input"].startswith("first\n[redacted]\nx-api-key: ")
    assert "tiny-key" not in kept


def test_question_leaves_pictures_out() -> None:
    """A picture in a prompt takes no room from its text, and a prompt over the limit is cut."""
    picture = b"data:image/png;base64," + b"iVBORw0KGgo" * 1000 + b"=="
    kept = told(input=b'["' + picture + b'","what is it"]')

    assert '{"input":["data:image/png;base64,[left out]","what is it"]}' == kept
    assert "[cut]" == (told(input=b'"' + b"a " * 600 + b'"') or "")[-5:]


@given(st.dictionaries(st.sampled_from(["messages", "input", "prompt"]), st.binary(max_size=200)))
@example({"input": b"\xff" * 5000})
@settings(max_examples=50, deadline=None)
def test_any_bytes(members: dict[str, bytes]) -> None:
    """Whatever bytes a prompt consists of, a text of the limit's size comes of it."""
    kept = told(**members)

    assert (kept is None) == (not members)
    assert len(kept or "") <= 1000 + len("[cut]")


def events(deltas: Iterable[str]) -> bytes:
    """Write a stream of chat completions."""
    said = (json.dumps({"choices": [{"index": 0, "delta": {"content": delta}}]}) for delta in deltas)
    end = json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return "".join(f"data: {data}\n\n" for data in (*said, end, "[DONE]")).encode()


CHAT = "/v1/chat/completions"
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def captured(
    scripted: Scripted, request: bytes, deltas: Iterable[str] = ("hi",), **content: Any
) -> dict[str, Any]:
    """Send a request through a house that captures content; return its log line."""
    scripted.script = says(SSE + events(deltas))
    with running_house(scripted.url, log={"content": True}, content=content) as house:
        _, body = ask(house.url, request)
        assert b"[DONE]" in body
        line = until(house.lines)[-1]
        assert 0 == house.value("meter_sink_errors_total")
        return dict(line)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Scripted]:
    """Give an upstream."""
    with scripted_upstream() as scripted:
        yield scripted


def test_a_line_with_content(upstream: Scripted) -> None:
    """A line has question and answer at its end, the answer's pieces put together and both without a key."""
    secret = SECRETS["openai"]
    body = json.dumps(
        {"model": "m", "stream": True, "messages": [{"role": "user", "content": f"say {secret}"}]}
    )
    line = captured(upstream, post(CHAT, body.encode()), ["it is ", *secret, " indeed"])

    assert ["question", "answer"] == list(line)[-2:]
    assert '{"messages": [{"role": "user", "content": "say [redacted]"}]}' == line["question"].replace(
        '":[', '": ['
    )
    assert "it is [redacted] indeed" == line["answer"]


def test_settings_of_content(upstream: Scripted) -> None:
    """The limit and the expressions of the settings hold."""
    line = captured(
        upstream, post(CHAT, b'{"messages":["acme"]}'), ["acme", " and more"], limit=24, redact=["acme"]
    )

    assert '{"messages":["[redacted][cut]' == line["question"]
    assert "[redacted] and more" == line["answer"]


def test_a_compressed_request(upstream: Scripted) -> None:
    """The prompt of a compressed request is read from what it is decoded to."""
    body = gzip.compress(b'{"model":"m","messages":["hello"]}')
    line = captured(upstream, post(CHAT, body, "Content-Encoding: gzip"))

    assert '{"messages":["hello"]}' == line["question"]


def test_a_long_request(upstream: Scripted) -> None:
    """Of a request of 8 MB the short texts are told, and all of it goes up."""
    picture = b"data:image/png;base64," + b"iVBORw0KGgo" * 750_000
    body = b'{"model":"m","messages":[{"content":["what is it","' + picture + b'"]}]}'
    line = captured(upstream, post(CHAT, body))

    assert '{"messages":[{"content":["what is it",""]}]}' == line["question"]
    assert upstream.requests[-1].endswith(body)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1]", b"\xff\xfe", b'{"messages":' + b"[" * 5000, b'{"messages":"\\ud800"}']
)
def test_what_cannot_be_read(upstream: Scripted, body: bytes) -> None:
    """A body that is no JSON goes up as it is, and nothing fails."""
    line = captured(upstream, post(CHAT, body))

    assert "ok" == line["outcome"]
    assert "hi" == line["answer"]
    assert upstream.requests[-1].endswith(body)


def test_an_upload(upstream: Scripted) -> None:
    """Of an upload nothing is told."""
    request = post("/v1/audio/transcriptions", b"--x\r\n", "Content-Type: multipart/form-data; boundary=x")
    line = captured(upstream, request.replace(b"Content-Type: application/json\r\n", b""))

    assert line["question"] is None


def test_a_request_over_the_limit(upstream: Scripted) -> None:
    """Of a request that is too long to be held nothing is told."""
    upstream.script = says(SSE + events(["hi"]))
    body = b'{"messages":["' + b"a" * 5000 + b'"]}'
    with running_house(upstream.url, **{"log.content": True, "limits.inspect_bytes": 1000}) as house:
        ask(house.url, post(CHAT, body))

        assert [None] == [line["question"] for line in until(house.lines)]


def test_nothing_without_being_asked(upstream: Scripted) -> None:
    """Without the setting a line has neither field, and the admin port never has."""
    upstream.script = says(SSE + events(["hello"]))
    for settings_ in ({}, {"log": {"content": True}}):
        with running_house(upstream.url, **settings_) as house:
            ask(house.url, post(CHAT, b'{"messages":["greet"]}'))
            line = until(house.lines)[0]
            _, shown = ask(
                house.admin_url, b"GET /api/exchanges HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )

            assert ("question" in line) == bool(settings_)
            assert line["id"].encode() in shown
            assert b"hello" not in shown
            assert b"greet" not in shown


def test_reloaded(tmp_path: Path, upstream: Scripted) -> None:
    """After SIGHUP other outcomes are told of, and content is captured or no longer."""
    upstream.script = says(SSE + events(["hello"]))
    file = tmp_path / "meter.yaml"
    up = [{"name": "up", "base_url": f"{upstream.url}/v1"}]
    write(file, upstreams=up, log={"outcomes": {"ok": "off"}}, ledger={"url": "off"})
    with meter(file) as (running, proxy, _):
        ask(proxy, post(CHAT, b'{"messages":["greet"]}'))
        write(file, upstreams=up, log={"content": True}, ledger={"url": "off"})
        reload(running)
        ask(proxy, post(CHAT, b'{"messages":["greet"]}'))
        told = until(running.lines)
        running.tell(signal.SIGTERM)
        ended = until(lambda: running.lines("stopped"))

        assert [("hello", '{"messages":["greet"]}')] == [(line["answer"], line["question"]) for line in told]
        assert [0] == [line["broken_off"] for line in ended]
        assert 1 == len(running.lines("started"))
