"""What a parent and its workers say to each other arrives as it was said."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec
import play
import pytest

from meter import pricing
from meter.exchange import Exchange, Outcome, PriceStatus, RateLimit, Spans, UsageSource
from meter.settings import load
from meter.workers import wire

if TYPE_CHECKING:
    from pathlib import Path

FULL = Exchange(
    id="01a2020b-89d1-70f9-ae9a-65d1d8db0e84",
    started_at=1_700_000_000.123456,
    upstream="up",
    provider="openai",
    operation="chat",
    method="POST",
    path="/v1/chat/completions",
    key="search",
    tags={"team": "red"},
    trace_id="0" * 31 + "1",
    spans=Spans(trace_id="1" * 32, server_id="2" * 16, client_id="3" * 16, sampled=True, state="a=b"),
    outcome=Outcome.STREAM_ERROR,
    error_type="server_error",
    status=200,
    stream=True,
    attempts=2,
    parameters={"gen_ai.request.max_tokens": 5, "gen_ai.request.temperature": 1.0, "x": True, "y": "auto"},
    question='{"messages": []}',
    answer="zoë \u2028",
    finish_reasons=("stop", "length"),
    rate_limits=(RateLimit(resource="tokens", limit=1, remaining=0.5),),
    usage={"input": 2**53, "output": 0},
    units={"images": 1},
    usage_source=UsageSource.REPORTED,
    cost_usd=Decimal("0.000000000001"),
    provider_cost_usd=Decimal("1E-7"),
    price_status=PriceStatus.EXACT,
    duration_s=0.1 + 0.2,
    ttft_s=0.0,
)
BARE = Exchange(id="x", started_at=0, method="GET", path="", outcome=Outcome.REJECTED)


def heard(word: wire.Word) -> wire.Word:
    """Return what is heard of a word."""
    return wire.word(wire.spoken(word)[4:])


@pytest.mark.parametrize("exchange", [FULL, BARE])
def test_exchanges(exchange: Exchange) -> None:
    """A record arrives as it was, its amounts to the last digit and its times to the last bit."""
    word = heard(wire.Records([exchange]))

    assert isinstance(word, wire.Records)
    assert [exchange] == word.exchanges
    assert str(exchange.cost_usd) == str(word.exchanges[0].cost_usd)
    assert isinstance(word.exchanges[0].outcome, Outcome)


@pytest.mark.parametrize("name", play.names())
def test_what_dialects_find(name: str) -> None:
    """Whatever a dialect finds in an answer can be said."""
    case = play.load(name)
    tap = case.tap()
    play.play(tap, [case.answer])
    counted = tap.counted(tap.outcome(None), sent=True)
    exchange = Exchange(
        id="x",
        started_at=0.0,
        method="POST",
        path="/",
        outcome=tap.outcome(None),
        parameters=case.request.parameters,
        finish_reasons=tuple(tap.facts.finish_reasons.values()),
        usage=counted.usage,
        units=counted.units,
        provider_cost_usd=tap.facts.provider_cost_usd,
    )

    assert wire.Records([exchange]) == heard(wire.Records([exchange]))


def test_strangers() -> None:
    """What is none of the words is refused, whatever it is."""
    for frame in (b"", b"\xc0", msgspec.msgpack.encode({"type": "Records", "exchanges": [{"id": 1}]})):
        with pytest.raises(msgspec.DecodeError):
            wire.word(frame)


async def test_orders(tmp_path: Path) -> None:
    """Settings and prices arrive as they were, of files and of the catalogue, one order after another."""
    prices = tmp_path / "prices.yaml"
    prices.write_text("prices: [{model: m, per_million_tokens: {input: 1, output: 2}}]")
    told = {"upstream": "http://h/v1", "prices": {"files": [str(prices)]}, "admin": {"token": "t" * 20}}
    settings = load(None, told, environ={})
    book = pricing.book(settings, pricing.catalogue(settings, tmp_path))
    reader = asyncio.StreamReader()
    reader.feed_data(wire.ordered(wire.Adopt(settings=settings, book=book)))
    reader.feed_data(wire.ordered(wire.Flush(7)))
    reader.feed_data(b"\0\0\0\x09half")
    reader.feed_eof()

    adopt, flush = [order async for order in wire.orders(reader)]
    assert settings == adopt.settings
    assert wire.Flush(7) == flush
    for model in ("m", "gpt-4o"):
        exchange = Exchange(
            id="x",
            started_at=1.7e9,
            method="POST",
            path="/",
            outcome=Outcome.OK,
            model=model,
            request_model=model,
            upstream="default",
            usage={"input": 1000, "output": 10},
            usage_source=UsageSource.REPORTED,
        )
        assert book.price(exchange) == adopt.book.price(exchange)
        assert book.price(exchange).cost_usd
