"""Programs for Node, with axios and with the official SDK, print through Meter what they print directly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from clients.calls import CALLS, MODES

if TYPE_CHECKING:
    from collections.abc import Callable

    from clients.lines import Lines
    from stage import House

FOLDER = Path(__file__).parent / "node"
HELLO: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "你好"}]}
SDK_CALLS = {
    f"{name}, {mode}": {**CALLS[name], **MODES[mode]}
    for name in ("tools", "n", "JSON schema", "image in the request")
    for mode in MODES
}
SDK_ERRORS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "unknown model": (
        {**HELLO, "model": "gpt-4o-invalid"},
        "sk-user",
        "NotFoundError 404 model_not_found",
        "model_not_found",
    ),
    "wrong key": (HELLO, "sk-invalid", "AuthenticationError 401 invalid_api_key", "invalid_api_key"),
    "rate limit": (HELLO, "sk-limited", "RateLimitError 429 rate_limit_exceeded", "rate_limit_exceeded"),
    "HTML": ({**HELLO, "model": "portal"}, "sk-user", "InternalServerError 502", "http_502"),
    "inside a stream": (
        {**HELLO, "model": "flaky", "stream": True},
        "sk-user",
        "APIError undefined server_error",
        "server_error",
    ),
}


def test_lock_file_names_no_host() -> None:
    """Packages are pinned by version and hash, and where they come from is the machine's own affair."""
    text = (FOLDER / "package-lock.json").read_text()
    packages = json.loads(text)["packages"]
    wanted = json.loads((FOLDER / "package.json").read_text())["dependencies"]

    assert "://" not in text
    assert all("resolved" not in package for package in packages.values())
    assert all("integrity" in package for name, package in packages.items() if name)
    assert wanted == {name: packages[f"node_modules/{name}"]["version"] for name in wanted}


@pytest.mark.real
class TestAxios:
    """Programs as guides print them."""

    @pytest.mark.parametrize("program", ["chat.cjs", "tools.cjs", "stream.cjs"])
    def test_prints_the_same(
        self, house: House, lines: Lines, node: tuple[str, Path], run: Callable[..., str], program: str
    ) -> None:
        """A program prints what it prints directly, and is metered."""
        command = [node[0], str(node[1] / program)]

        expected = run(command, house.upstream_url)

        assert len(expected) > 20
        assert expected == run(command, house.url)
        line = lines.one()
        assert ("ok", "reported", "gpt-4o", program == "stream.cjs") == (
            line["outcome"],
            line["usage_source"],
            line["request_model"],
            line["stream"],
        )
        assert line["cost_usd"] > 0

    def test_error(self, house: House, lines: Lines, node: tuple[str, Path], run: Callable[..., str]) -> None:
        """A program prints the error that it prints directly."""
        command = [node[0], str(node[1] / "chat.cjs")]

        expected = run(command, house.upstream_url, MODEL="gpt-4o-invalid")

        assert expected.startswith("Error: API Error: 404")
        assert expected == run(command, house.url, MODEL="gpt-4o-invalid")
        assert "model_not_found" == lines.one()["error_type"]


@pytest.mark.real
class TestSdk:
    """The official SDK."""

    @pytest.mark.parametrize("name", SDK_CALLS)
    def test_same_objects(
        self, house: House, lines: Lines, node: tuple[str, Path], run: Callable[..., str], name: str
    ) -> None:
        """Answers and chunks are those that come directly."""
        command = [node[0], str(node[1] / "sdk.mjs")]
        call = json.dumps(SDK_CALLS[name])

        expected = run(command, house.upstream_url, CALL=call)

        assert '"choices":' in expected
        assert expected == run(command, house.url, CALL=call)
        line = lines.one()
        assert ("ok", "reported") == (line["outcome"], line["usage_source"])

    @pytest.mark.parametrize("name", SDK_ERRORS)
    def test_same_errors(
        self, house: House, lines: Lines, node: tuple[str, Path], run: Callable[..., str], name: str
    ) -> None:
        """Errors are of the class, and have the words, that they have directly."""
        call, key, begins, error_type = SDK_ERRORS[name]
        command = [node[0], str(node[1] / "sdk.mjs")]

        expected = run(command, house.upstream_url, api_key=key, CALL=json.dumps(call))

        assert expected.splitlines()[-1 if call.get("stream") else 0].startswith(begins)
        assert expected == run(command, house.url, api_key=key, CALL=json.dumps(call))
        assert error_type == lines.one()["error_type"]

    def test_models(
        self, house: House, lines: Lines, node: tuple[str, Path], run: Callable[..., str]
    ) -> None:
        """The list of models is the same."""
        command = [node[0], str(node[1] / "models.mjs")]

        expected = run(command, house.upstream_url)

        assert "gpt-4o-mini" in expected.splitlines()
        assert expected == run(command, house.url)
        assert "models" == lines.one()["operation"]
