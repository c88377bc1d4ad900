"""Commands with curl print through Meter what they print directly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from clients.lines import Lines
from stage import running_app, running_house
from tools import needed

if TYPE_CHECKING:
    from collections.abc import Callable

    from stage import House

pytestmark = pytest.mark.real

FOLDER = Path(__file__).parent / "curl"
COMMANDS = {
    "platform": ("gpt-4o-mini", False),
    "poem": ("gpt-4o-mini", True),
    "language_processing": ("gpt-4o", False),
    "robot": ("gpt-4o", True),
}
STREAM: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [{"role": "user", "content": "你好"}],
    "stream": True,
}


@pytest.fixture(scope="module")
def curl() -> str:
    """Give the path of curl."""
    return needed("curl", "apt-get install curl")


@pytest.mark.usefixtures("curl")
@pytest.mark.parametrize("name", COMMANDS)
def test_commands(house: House, lines: Lines, run: Callable[..., str], name: str) -> None:
    """A command as guides print it prints what it prints directly, and is metered."""
    model, stream = COMMANDS[name]
    command = ["sh", str(FOLDER / f"{name}.sh")]

    expected = run(command, house.upstream_url)

    assert ("data: [DONE]" in expected) == stream
    assert expected == run(command, house.url)
    line = lines.one()
    assert (200, "ok", "reported", model, stream) == (
        line["status"],
        line["outcome"],
        line["usage_source"],
        line["request_model"],
        line["stream"],
    )


@pytest.mark.usefixtures("curl")
@pytest.mark.parametrize("name", COMMANDS)
def test_refused(house: House, lines: Lines, run: Callable[..., str], name: str) -> None:
    """With a wrong key, a command prints the upstream's own words."""
    command = ["sh", str(FOLDER / f"{name}.sh")]

    expected = run(command, house.upstream_url, api_key="sk-invalid")

    assert "invalid_api_key" == json.loads(expected)["error"]["code"]
    assert expected == run(command, house.url, api_key="sk-invalid")
    line = lines.one()
    assert (401, "client_error", "invalid_api_key") == (line["status"], line["outcome"], line["error_type"])


@pytest.mark.usefixtures("curl")
def test_native_messages(run: Callable[..., str]) -> None:
    """The command for Anthropic's own format reaches the upstream with its fields and its body."""

    async def messages(request: web.Request) -> web.Response:
        told = await request.json()
        usage = {"input_tokens": 11, "output_tokens": 4}
        version = request.headers["anthropic-version"]
        return web.json_response({"type": "message", "asked": told, "version": version, "usage": usage})

    app = web.Application()
    app.router.add_post("/v1/messages", messages)
    command = ["sh", str(FOLDER / "messages.sh")]
    with running_app(app) as url, running_house(url) as house:
        expected = run(command, url)

        assert "2023-06-01" == json.loads(expected)["version"]
        assert expected == run(command, house.url)
        line = Lines(house, whole=True).one()
        assert (200, "ok", "/v1/messages") == (line["status"], line["outcome"], line["path"])


@pytest.mark.parametrize(
    "options",
    [
        ["--http1.0"],
        ["--http2"],
        ["--compressed"],
        ["-H", "Expect: 100-continue"],
        ["-H", "Transfer-Encoding: chunked"],
    ],
    ids=" ".join,
)
def test_options(house: House, lines: Lines, run: Callable[..., str], curl: str, options: list[str]) -> None:
    """However curl speaks HTTP, a stream is the one that comes directly, and is counted."""
    command = [
        *("sh", "-c", 'exec "$@" "$BASE_URL/v1/chat/completions" -H "Authorization: Bearer $API_KEY"', "sh"),
        *(curl, "-sSN", *options, "-H", "Content-Type: application/json", "-d", json.dumps(STREAM)),
    ]

    expected = run(command, house.upstream_url)

    assert expected.endswith("data: [DONE]\n\n")
    assert expected == run(command, house.url)
    line = lines.one()
    assert ("ok", "reported", True) == (line["outcome"], line["usage_source"], line["stream"])


def test_big_file(house: House, lines: Lines, run: Callable[..., str], curl: str, tmp_path: Path) -> None:
    """A request of eight megabytes from a file, for which curl waits to be told to continue, is answered."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 8_500_000}}
    path = tmp_path / "request.json"
    path.write_text(json.dumps({**STREAM, "messages": [{"role": "user", "content": [image]}]}))
    command = [
        *("sh", "-c", 'exec "$@" "$BASE_URL/v1/chat/completions" -H "Authorization: Bearer $API_KEY"', "sh"),
        *(curl, "-sSN", "-H", "Content-Type: application/json", "--data-binary", f"@{path}"),
    ]

    expected = run(command, house.upstream_url)

    assert expected.endswith("data: [DONE]\n\n")
    assert expected == run(command, house.url)
    assert path.stat().st_size == lines.one()["request_bytes"]
