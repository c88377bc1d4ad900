"""The program that sends many requests at once with `aiohttp` gets the answers that it gets directly."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from clients.lines import tokens
from clients.programs import batch_process

if TYPE_CHECKING:
    from clients.lines import Lines
    from stage import House

KEY = "YOUR_API_KEY"


def question(number: int, **more: Any) -> dict[str, Any]:
    """Return one of many requests."""
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"第{number}个问题"}], **more}


async def test_batch(house: House, lines: Lines) -> None:
    """Forty requests at once get their own answers, in their order, and each is counted once."""
    batch = [question(number) for number in range(40)]

    expected = await batch_process(KEY, house.upstream_url, batch)
    got = await batch_process(KEY, house.url, batch)

    assert expected == got
    assert 40 == len({answer["id"] for answer in got})
    logged = Counter(tokens(line["usage"]) for line in lines.take(40))
    usages = [answer["usage"] for answer in got]
    assert logged == Counter((usage["prompt_tokens"], usage["completion_tokens"]) for usage in usages)


async def test_batch_with_failures(house: House, lines: Lines) -> None:
    """One bad request among many fails alone."""
    batch = [question(1), {**question(2), "model": "gpt-4o-invalid"}, question(3), {"model": "gpt-4o"}]

    expected = await batch_process(KEY, house.upstream_url, batch)
    got = await batch_process(KEY, house.url, batch)

    assert expected == got
    assert ["error" in answer for answer in got] == [False, True, False, True]
    outcomes = Counter((line["status"], line["outcome"]) for line in lines.take(4))
    assert {(200, "ok"): 2, (404, "client_error"): 1, (400, "client_error"): 1} == outcomes


@pytest.mark.parametrize("asked", [False, True])
async def test_stream(house: House, lines: Lines, *, asked: bool) -> None:
    """A stream read line by line is the same, whether or not usage was asked for."""
    options = {"stream_options": {"include_usage": True}} if asked else {}
    body = question(1, stream=True, **options)
    headers = {"Authorization": f"Bearer {KEY}"}

    async def came(url: str) -> list[bytes]:
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{url}/v1/chat/completions", json=body) as response,
        ):
            return [line async for line in response.content]

    expected = await came(house.upstream_url)

    assert expected == await came(house.url)
    assert asked == any(b'"usage":{' in line for line in expected)
    assert "reported" == lines.one()["usage_source"]
