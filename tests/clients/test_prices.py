"""An aggregator's own price table, as a price file: what each exchange cost is exact, to the last digit."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from clients.lines import Lines
from stage import running_house

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stage import House

    from meter.demo.upstream import SimulatedUpstream

PRICES = Path(__file__).parents[2] / "examples" / "prices.yaml"
TABLE = {  # USD per million tokens of input and of output
    "gpt-4o-mini": (Decimal("0.15"), Decimal("0.6")),
    "gpt-4o": (Decimal(5), Decimal(15)),
    "claude-3-5-sonnet-20241022": (Decimal(3), Decimal(15)),
    "qwen-turbo": (Decimal("0.3"), Decimal("0.6")),
}
PROMPTS = {"short": "用100字以内总结人工智能的发展历程", "long enough to be cached": "请总结这份文档。" * 500}


@pytest.fixture(scope="module")
def shop(simulated: tuple[SimulatedUpstream, str]) -> Iterator[House]:
    """Give Meter with the aggregator's prices in front of it; the same models are sold elsewhere too."""
    url = simulated[1]
    upstreams = [
        {"name": "apiyi", "base_url": f"{url}/v1", "default": True},
        {"name": "elsewhere", "base_url": f"{url}/v1", "prefix": "/elsewhere"},
    ]
    with running_house(url, upstreams=upstreams, prices={"files": [str(PRICES)]}) as house:
        yield house


def ask(url: str, model: str, prompt: str, **more: Any) -> bytes:
    """Return the body of an answer."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], **more}
    headers = {"Authorization": "Bearer YOUR_API_KEY"}
    answer = requests.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=20)
    assert 200 == answer.status_code
    return answer.content


def cost(model: str, usage: dict[str, Any]) -> Decimal:
    """Return what the table makes of a usage, in USD."""
    prompt, completion = TABLE[model]
    total: Decimal = usage["prompt_tokens"] * prompt + usage["completion_tokens"] * completion
    return total / 1_000_000


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("model", TABLE)
def test_cost_is_the_tables(shop: House, model: str, prompt: str) -> None:
    """An exchange costs what the table says of its tokens, cached ones at the price of plain input."""
    lines = Lines(shop)

    usage = json.loads(ask(shop.url, model, PROMPTS[prompt]))["usage"]

    line = lines.one()
    expected = cost(model, usage)
    assert expected > 0
    assert (prompt != "short") == (line["usage"]["input_cached"] > 0)
    assert (expected, "exact", "apiyi") == (line["cost_usd"], line["price_status"], line["upstream"])
    assert "prices.yaml" in line["price_source"]


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("model", TABLE)
def test_streams_cost_the_same(shop: House, model: str, *, asked: bool) -> None:
    """A stream costs what the table says, whether or not its client asked for usage."""
    asking = {"stream": True, "stream_options": {"include_usage": True}}
    direct = ask(shop.upstream_url, model, "写诗", **asking)
    usage = json.loads(direct.split(b"\n\n")[-3].removeprefix(b"data: "))["usage"]
    lines = Lines(shop)

    body = ask(shop.url, model, "写诗", **(asking if asked else {"stream": True}))

    assert asked == (b'"usage"' in body)
    line = lines.one()
    assert (cost(model, usage), "exact", True) == (line["cost_usd"], line["price_status"], line["stream"])


def test_table_beats_the_list(shop: House) -> None:
    """The file's price wins over the list price; another upstream's same model has the list price."""
    lines = Lines(shop)

    usage = json.loads(ask(shop.url, "gpt-4o", "你好"))["usage"]
    ask(f"{shop.url}/elsewhere", "gpt-4o", "你好")

    here, there = lines.take(2)
    assert (cost("gpt-4o", usage), "exact") == (here["cost_usd"], here["price_status"])
    assert "list" == there["price_status"]
    assert 0 < there["cost_usd"] < here["cost_usd"]
    assert here["price_source"] != there["price_source"]


def test_models_beyond_the_table(shop: House) -> None:
    """A model that the table lacks has its maker's list price; one that nobody knows has none, not zero."""
    lines = Lines(shop)

    ask(shop.url, "deepseek-chat", "你好")
    ask(shop.url, "gemini-2.5-flash-all", "你好")
    ask(shop.url, "a-model-of-nobody", "你好")

    listed, all_of_it, unknown = lines.take(3)
    assert "list" == listed["price_status"]
    assert listed["cost_usd"] > 0
    assert all_of_it["price_status"] in ("list", "missing")
    assert (None, "missing") == (unknown["cost_usd"], unknown["price_status"])
    assert shop.value("meter_unpriced_tokens_total", upstream="apiyi") > 0


def test_the_counter_adds_up(shop: House) -> None:
    """The counter of USD is the sum of the log's amounts, to a relative 1e-9, model by model."""
    for model in TABLE:
        ask(shop.url, model, "最后一个问题")
    written = [json.loads(line, parse_float=Decimal) for line in shop.log.getvalue().splitlines()]
    logged = [line for line in written if line["event"] == "exchange" and line["price_status"] == "exact"]

    for model in TABLE:
        total = sum(line["cost_usd"] for line in logged if line["request_model"] == model)
        counted = sum(
            shop.value("meter_cost_usd_total", model=name, upstream="apiyi", price_status="exact")
            for name in {line["model"] for line in logged if line["request_model"] == model}
        )
        assert float(total) == pytest.approx(counted, rel=1e-9)
        assert total > 0
