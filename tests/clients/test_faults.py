"""What goes wrong at an upstream looks through Meter as it looks directly, to clients of every kind."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest
import requests
from stage import running_house, says, until
from tools import needed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stage import House, Scripted

BODY = (
    '{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}],'
    '"stream":true,"stream_options":{"include_usage":true}}'
)
EVENT = b'data: {"id":"c","model":"gpt-4o","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
ERROR = b'{"error":{"message":"no","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}}'


def answer(status: bytes, body: bytes, *fields: bytes) -> bytes:
    """Return an answer with a length."""
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), b"Connection: close", *fields]
    return b"\r\n".join([*lines, b"", body])


FAULTS: dict[str, tuple[Callable[..., Any], str]] = {
    "all is well": (says(CHUNKED, CHUNK, b"0\r\n\r\n"), "truncated"),
    "cut in mid-stream": (says(CHUNKED, CHUNK), "truncated"),
    "reset in mid-stream": (says(CHUNKED, CHUNK, reset=True), "truncated"),
    "no chunk size": (says(CHUNKED, CHUNK, b"zz\r\n"), "truncated"),
    "short of its length": (
        says(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{}"),
        "truncated",
    ),
    "ended by its connection": (
        says(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n", EVENT),
        "truncated",
    ),
    "an error": (says(answer(b"429 Slow Down", ERROR, b"Content-Type: application/json")), "client_error"),
    "a page": (
        says(answer(b"502 Bad Gateway", b"<h1>502</h1>", b"Content-Type: text/html")),
        "upstream_error",
    ),
    "an error in a stream": (
        says(CHUNKED, CHUNK, b"%x\r\ndata: %b\n\n\r\n0\r\n\r\n" % (len(ERROR) + 8, ERROR)),
        "stream_error",
    ),
    "nothing": (says(answer(b"200 OK", b"", b"Content-Type: text/event-stream")), "truncated"),
    "no content": (says(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"), "ok"),
}


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest, scripted: Scripted) -> Iterator[tuple[House, str]]:
    """Give Meter in front of an upstream with a fault, and how such an exchange ends."""
    scripted.script, outcome = FAULTS[request.param]
    with running_house(scripted.url) as house:
        yield house, outcome


def through_curl(url: str) -> str:
    """Ask with curl."""
    curl = needed("curl", "apt-get install curl")
    command = [
        curl,
        "-sN",
        "-m",
        "30",
        "-o",
        "-",
        "-w",
        "\n%{http_code}",
        "-H",
        "Content-Type: application/json",
    ]
    done = subprocess.run(  # noqa: S603 - a program and arguments of ours
        [*command, "-d", BODY, f"{url}/v1/chat/completions"], capture_output=True, check=False
    )
    # How it puts a broken transfer in numbers depends on how it broke: that it broke is what counts.
    return f"{done.stdout!r} {done.returncode != 0}"


def through(*command: str) -> Callable[[str], str]:
    """Return a way of asking with a program that prints what came."""

    def ask(url: str) -> str:
        program, *arguments = command
        alone = {"GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local", "NO_PROXY": "127.0.0.1"}
        done = subprocess.run(  # noqa: S603 - a program and arguments of ours
            [needed(*PROGRAMS[program]), *arguments],
            env={**os.environ, **alone, "BASE_URL": url, "BODY": BODY},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout

    return ask


PROGRAMS = {"node": ("node", "apt-get install nodejs"), "go": ("go", "apt-get install golang")}
FOLDER = Path(__file__).parent


def through_requests(url: str) -> str:
    """Ask with requests."""
    came = b""
    try:
        with requests.post(f"{url}/v1/chat/completions", data=BODY, stream=True, timeout=30) as got:
            for piece in got.iter_content(None):
                came += piece
    except requests.RequestException as error:
        return f"{type(error).__name__} after {came!r}"
    return f"{got.status_code} {got.reason} {got.headers.get('Content-Type')} {came!r}"


def through_the_sdk(url: str) -> str:
    """Ask with the official SDK, which is told not to try again."""
    came: list[Any] = []
    try:
        with (
            openai.OpenAI(base_url=f"{url}/v1", api_key="sk-x", max_retries=0) as client,
            client.chat.completions.create(
                model="gpt-4o",
                messages=[{"role": "user", "content": "Hi"}],
                stream=True,
                stream_options={"include_usage": True},
            ) as stream,
        ):
            came.extend(event.model_dump() for event in stream)
    except openai.APIStatusError as error:
        return f"{type(error).__name__} {error.status_code} {error.body} after {came}"
    except Exception as error:  # noqa: BLE001 - of its transport's, whichever that is
        return f"{type(error).__name__} after {came}"
    return str(came)


def asked_both_ways(fault: tuple[House, str], ask: Callable[[str], str]) -> None:
    """Ask directly and through Meter; both see the same, and the exchange is recorded for what it was."""
    house, outcome = fault

    expected = ask(house.upstream_url)

    assert expected == ask(house.url)
    (line,) = until(house.lines)
    assert outcome == line["outcome"]


@pytest.mark.parametrize("ask", [through_requests, through_the_sdk])
def test_python_sees_the_same(fault: tuple[House, str], ask: Callable[[str], str]) -> None:
    """Python programs get the same bytes, objects and exceptions as directly."""
    asked_both_ways(fault, ask)


@pytest.mark.real
@pytest.mark.parametrize(
    "ask",
    [
        through_curl,
        through("node", str(FOLDER / "node" / "probe.cjs")),
        through("go", "run", str(FOLDER / "go" / "probe.go")),
    ],
    ids=["curl", "node", "go"],
)
def test_others_see_the_same(fault: tuple[House, str], ask: Callable[[str], str]) -> None:
    """Programs in other languages get the same bytes, and see whether they broke off."""
    asked_both_ways(fault, ask)
