"""Answers made in the background are told of once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from stage import ask, post, running_house, says, until

from meter.backgrounds import Backgrounds

if TYPE_CHECKING:
    from stage import House, Scripted


def test_takes_once() -> None:
    """An answer under way is known by the path that fetches it, until it is taken."""
    backgrounds = Backgrounds()
    backgrounds.add("up", "resp_1")

    assert "resp_1" == backgrounds.knows("up", "/v1/responses/resp_1")
    assert backgrounds.knows("other", "/v1/responses/resp_1") is None
    assert backgrounds.knows("up", "/v1/responses/resp_1/input_items") is None
    assert backgrounds.knows("up", "/v1/files/resp_1") is None
    assert backgrounds.knows("up", "") is None
    assert backgrounds.take("up", "resp_1")
    assert not backgrounds.take("up", "resp_1")
    assert backgrounds.knows("up", "/v1/responses/resp_1") is None


def test_forgets_the_oldest() -> None:
    """Of more answers than may be remembered, the oldest is forgotten."""
    backgrounds = Backgrounds(most=2)
    for response_id in ("a", "b", "c"):
        backgrounds.add("up", response_id)

    assert [False, True, True] == [backgrounds.take("up", response_id) for response_id in "abc"]


def response(status: str, **members: Any) -> bytes:
    """Return an answer's bytes: a response made in the background."""
    told = {"id": "resp_1", "object": "response", "background": True, "status": status, **members}
    body = json.dumps({"model": "gpt-4o-2024-08-06", "usage": None, "output": [], **told}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


def line(house: House, number: int) -> dict[str, Any]:
    """Return the log line of an exchange, counted from 1."""
    return dict(until(lambda: len(house.lines()) >= number and house.lines()[number - 1]))


FETCH = b"GET /v1/responses/resp_1 HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n"
DONE = response("completed", usage={"input_tokens": 9, "output_tokens": 3, "total_tokens": 12})


def test_tells_once(scripted: Scripted) -> None:
    """What a background response used is missing until its first finished GET, and told by no other."""
    with running_house(scripted.url) as house:
        scripted.script = says(response("queued"))
        ask(house.url, post("/v1/responses", b'{"model":"gpt-4o","input":"Hi","background":true}'))
        for answer in (response("in_progress"), DONE, DONE):
            scripted.script = says(answer)
            ask(house.url, FETCH)

        lines = [line(house, number) for number in (1, 2, 3, 4)]

    assert ["responses", "other", "other", "other"] == [each["operation"] for each in lines]
    assert ["missing", "none", "reported", "none"] == [each["usage_source"] for each in lines]
    assert [{}, {}, {"input": 9, "output": 3}, {}] == [each["usage"] for each in lines]
    assert [False, False, True, False] == [each["cost_usd"] is not None for each in lines]
    assert ["gpt-4o-2024-08-06", "none"] == [each["model"] for each in lines[2:]]


def test_counts_nothing_that_is_stored(scripted: Scripted) -> None:
    """The GET of a response that was not seen to begin uses nothing."""
    with running_house(scripted.url) as house:
        scripted.script = says(DONE)
        ask(house.url, FETCH)

        told = line(house, 1)

    assert ("other", "none", {}) == (told["operation"], told["usage_source"], told["usage"])
