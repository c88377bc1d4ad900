"""Exchanges as an organisation makes them: teams, their keys and users, and the models that they call.

A crowd is drawn once, from a seed: each key belongs to a team, is used by that team's users and asks for a
few models, and some are much busier than others. `Crowd.exchanges` gives any number of exchanges in the order
in which they ended, more by day than by night. Counts come from pools and the rest from templates, since
what is measured is what comes after.
"""

from __future__ import annotations

import math
import random
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from meter.exchange import Exchange, Outcome, PriceStatus, UsageSource
from meter.ids import uuid7

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["CALLS", "KEYS", "TEAMS", "Crowd"]

TEAMS, KEYS = 8, 30
_MODELS_OF_A_KEY = 3
_POOL = 4096
"""So many different counts of tokens there are for each way to call."""

_HOUR = timedelta(hours=1)
_WEEKEND = (5, 6)


class Call(NamedTuple):
    """A way to call a model; prices are in USD for a million tokens in and out."""

    upstream: str
    operation: str
    path: str
    model: str
    input_price: float
    output_price: float
    weight: int

    @property
    def priced(self) -> bool:
        """Whether somebody has told a price."""
        return not self.model.startswith("qwen")


_CHAT, _RESPONSES = ("chat", "/v1/chat/completions"), ("responses", "/v1/responses")
_MESSAGES, _EMBEDDINGS = ("messages", "/v1/messages"), ("embeddings", "/v1/embeddings")
_TEXT = ("text_completion", "/v1/completions")

CALLS = (
    Call("openai", *_CHAT, "gpt-4o-2024-08-06", 2.5, 10, 12),
    Call("openai", *_CHAT, "gpt-4o-mini-2024-07-18", 0.15, 0.6, 30),
    Call("openai", *_RESPONSES, "gpt-5-2025-08-07", 1.25, 10, 9),
    Call("openai", *_RESPONSES, "gpt-5-mini-2025-08-07", 0.25, 2, 12),
    Call("openai", *_RESPONSES, "o3-2025-04-16", 2, 8, 2),
    Call("openai", *_EMBEDDINGS, "text-embedding-3-small", 0.02, 0, 15),
    Call("openai", *_EMBEDDINGS, "text-embedding-3-large", 0.13, 0, 3),
    Call("anthropic", *_MESSAGES, "claude-sonnet-4-20250514", 3, 15, 10),
    Call("anthropic", *_MESSAGES, "claude-3-5-haiku-20241022", 0.8, 4, 6),
    Call("anthropic", *_MESSAGES, "claude-opus-4-20250514", 15, 75, 1),
    Call("vllm", *_CHAT, "llama-3.3-70b-instruct", 0.1, 0.4, 7),
    Call("vllm", *_TEXT, "qwen2.5-coder-32b", 0, 0, 4),
)
"""Twelve models, three upstreams, five operations."""

_USED, _UNUSED = {"outcome": Outcome.OK, "status": 200}, {"outcome": Outcome.CLIENT_ERROR, "status": 400}
_LEFT = {"outcome": Outcome.CLIENT_CLOSED, "error_type": "client_closed"}
_ESTIMATED = {"usage_source": UsageSource.ESTIMATED}
ENDS: tuple[tuple[float, bool, dict[str, Any]], ...] = (
    (89.2, True, _USED),
    (2.8, True, {**_USED, **_ESTIMATED}),
    (2.9, True, {**_USED, "finish_reasons": ("length",)}),
    (0.1, True, {**_USED, **_ESTIMATED, "finish_reasons": ("length",)}),
    (1.5, True, {**_USED, **_LEFT, **_ESTIMATED, "finish_reasons": ()}),
    (1.5, False, {**_UNUSED, "status": 429, "error_type": "rate_limit_exceeded"}),
    (1.0, False, {**_UNUSED, "error_type": "invalid_request_error"}),
    (0.6, False, {"outcome": Outcome.UPSTREAM_ERROR, "status": 500, "error_type": "server_error"}),
    (0.4, False, {"outcome": Outcome.TIMEOUT, "error_type": "timeout"}),
)
"""How exchanges end: the percentage that does, whether something was used, and what is known then."""

_NOTHING_USED: Mapping[str, Any] = {
    "finish_reasons": (),
    "usage_source": UsageSource.NONE,
    "price_status": PriceStatus.NONE,
    "price_source": None,
    "price_revision": None,
}


class _Template(NamedTuple):
    known: Mapping[str, Any]
    pool: Sequence[Mapping[str, Any]]
    """What was used, and what it cost."""


class Crowd:
    """Who calls what; the same for the same seed and number of users."""

    def __init__(self, users: int, seed: int = 1) -> None:
        self._random = random.Random(seed)  # noqa: S311 - nothing here is secret
        pools = {call.model: [self._used(call) for _ in range(_POOL)] for call in CALLS}
        self._templates: list[_Template] = []
        weights: list[float] = []
        for weight, caller in _callers(users):
            for call in _calls_of(caller["key"]):
                for share, used, end in ENDS:
                    known = {**_known(call), **caller, **({} if used else _NOTHING_USED), **end}
                    self._templates.append(_Template(known, pools[call.model] if used else [{}]))
                    weights.append(weight * share)
        self._weights = list(accumulate(weights))

    def exchanges(self, count: int, days: int, until: datetime, batch: int) -> Iterator[list[Exchange]]:
        """Give `count` exchanges that ended in the `days` before `until`, so many at a time."""
        made: list[Exchange] = []
        for hour, share in _hours(count, days, until):
            made.extend(self._of_hour(hour, share))
            while len(made) >= batch:
                yield made[:batch]
                made = made[batch:]
        if made:
            yield made

    def _of_hour(self, hour: datetime, count: int) -> Iterator[Exchange]:
        draw, begin = self._random, hour.timestamp()
        moments = sorted(begin + draw.random() * 3600 for _ in range(count))
        templates = draw.choices(self._templates, cum_weights=self._weights, k=count)
        return (_exchange(*each, draw.randbytes(10)) for each in zip(templates, moments, strict=True))

    def _used(self, call: Call) -> dict[str, Any]:
        draw = self._random
        usage = {"input": 1 + int(draw.lognormvariate(6.5, 1.2))}
        if call.operation != "embeddings":
            usage["output"] = 1 + int(draw.lognormvariate(5, 1))
        if call.upstream != "vllm" and draw.random() < 0.3:  # noqa: PLR2004 - a share
            usage["input_cached"] = 128 * draw.randint(1, 40)
        if call.operation == "messages" and draw.random() < 0.2:  # noqa: PLR2004 - a share
            usage["input_cache_write_5m"] = draw.randint(1024, 20_000)
        if call.operation == "responses":
            usage["output_reasoning"] = 64 * draw.randint(0, 30)
        price = {"i": call.input_price, "o": call.output_price}
        pico = sum(round(count * price[kind[0]] * 1e6) for kind, count in usage.items())
        return {"usage": usage, "cost_usd": Decimal(pico).scaleb(-12) if call.priced else None}


def _callers(users: int) -> Iterator[tuple[float, dict[str, Any]]]:
    """Give each pair of a key and one of its team's users, and how busy it is."""
    in_team = users // TEAMS
    for number in range(KEYS):
        team = number % TEAMS
        for user in range(in_team):
            tags = {"team": f"team-{team}", "user": f"u{team * in_team + user:04}"}
            yield 1 / ((1 + number) * (1 + user)) ** 0.7, {"key": f"key-{number:02}", "tags": tags}


def _calls_of(key: str) -> list[Call]:
    draw = random.Random(key)  # noqa: S311 - the same for all users of a key
    return draw.choices(CALLS, weights=[call.weight for call in CALLS], k=_MODELS_OF_A_KEY)


def _known(call: Call) -> dict[str, Any]:
    return {
        "upstream": call.upstream,
        "provider": None if call.upstream == "vllm" else call.upstream,
        "operation": call.operation,
        "method": "POST",
        "path": call.path,
        "stream": call.operation != "embeddings",
        "attempts": 1,
        "request_model": call.model,
        "response_model": call.model,
        "model": call.model,
        "finish_reasons": ("stop",),
        "usage_source": UsageSource.REPORTED,
        "price_status": PriceStatus.EXACT if call.priced else PriceStatus.MISSING,
        "price_source": "catalogue" if call.priced else None,
        "price_revision": "0123456789ab" if call.priced else None,
    }


def _exchange(template: _Template, ended: float, noise: bytes) -> Exchange:
    number = int.from_bytes(noise[:4], "big")
    took = 0.2 + number % 10_000 / 1000
    began = ended - took
    return Exchange(
        **template.known,
        **template.pool[number % len(template.pool)],
        id=uuid7(int(began * 1000), noise),
        started_at=began,
        trace_id=noise.hex() + "0123456789ab",
        duration_s=took,
        ttft_s=took / 4,
        overhead_request_s=0.000_31,
        overhead_response_s=0.000_12,
        request_bytes=400 + number % 8000,
        response_bytes=200 + number % 30_000,
        upstream_request_id=f"req_{noise.hex()}",
    )


def _hours(count: int, days: int, until: datetime) -> Iterator[tuple[datetime, int]]:
    """Give each hour, and how many of the exchanges end in it."""
    hours = [until - number * _HOUR for number in range(days * 24, 0, -1)]
    busy = list(accumulate(map(_busy, hours)))
    marks = [round(count * reached / busy[-1]) for reached in busy]
    return ((hour, mark - before) for hour, mark, before in zip(hours, marks, [0, *marks[:-1]], strict=True))


def _busy(hour: datetime) -> float:
    """Give how busy an hour is: most at two in the afternoon, and half as much on weekends."""
    share = 1 + 0.8 * math.cos((hour.hour - 14) / 24 * math.tau)
    return share * (0.5 if hour.weekday() in _WEEKEND else 1)
