"""The catalogue, read anew while the proxy runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from prices.test_refresh import a_list
from stage import ask, post, running_house, says, until

from meter import directories

if TYPE_CHECKING:
    from pathlib import Path

    from stage import House, Scripted

CHAT = post("/v1/chat/completions", b'{"model":"gpt-4o","messages":[]}')
ANSWER = (
    b'{"id":"c","model":"gpt-4o","choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":1000,"completion_tokens":0}}'
)


@pytest.fixture
def source(tmp_path: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a file from which the catalogue is read, before an upstream that answers."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    scripted.script = says(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER),
        ANSWER,
    )
    return tmp_path / "prices.json"


def priced(house: House) -> dict[str, Any]:
    """Return the log line of an exchange that takes place now."""
    before = len(house.lines())
    ask(house.url, CHAT)
    until(lambda: len(house.lines()) > before)
    return house.lines()[-1]


def running(scripted: Scripted, source: Path) -> Any:
    """Run Meter with a catalogue that is read anew ten times a second."""
    up = {"name": "up", "base_url": scripted.url, "provider": "openai"}
    prices = {"refresh": {"source": str(source), "every": "100ms"}}
    return running_house(scripted.url, upstreams=[up], prices=prices)


def test_read_anew(scripted: Scripted, source: Path) -> None:
    """A good list prices what comes next, a bad one changes nothing, the last good one outlives its file."""
    source.write_bytes(a_list())
    with running(scripted, source) as house:
        revision = until(lambda: house.lines("catalogue_refreshed"))[0]["revision"]
        first = priced(house)

        source.write_bytes(a_list(input_cost_per_token=3e-06))
        other = until(lambda: house.lines("catalogue_refreshed")[1:])[0]["revision"]
        second = priced(house)

        source.write_bytes(b"<html>moved</html>")
        until(lambda: house.lines("catalogue_refresh_failed"))
        third = priced(house)
    source.unlink()
    with running(scripted, source) as house:
        fourth = priced(house)

    assert (0.0025, revision) == (first["cost_usd"], first["price_revision"])
    assert [(0.003, other)] * 3 == [(x["cost_usd"], x["price_revision"]) for x in (second, third, fourth)]
    assert (directories.state({"XDG_STATE_HOME": str(source.parent / "state")}) / "catalogue.json").exists()
