"""What is told of an exchange, field by field, wherever it is told as JSON.

The log, the ledger's answers and the admin port say the same of an exchange under the same names, because
they all ask here. Nothing here knows a query or a credential, and only `content` a prompt or an answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import asdict

from meter.exchange import Outcome
from meter.labels import NONE

if TYPE_CHECKING:
    from meter.exchange import Exchange

__all__ = [
    "Line",
    "Loudness",
    "content",
    "fields",
    "level",
    "line",
    "lined",
    "plain",
    "printable",
    "rfc3339",
    "rounded",
    "sound",
    "tellable",
]

_QUIET = frozenset({Outcome.OK, Outcome.CLIENT_ERROR, Outcome.CLIENT_CLOSED})
"""Outcomes that are nobody's trouble but the client's."""

_DRAWN = 12
"""Digits at the end of an exchange's id, all of them random, that decide whether it is left out."""

_encode = msgspec.json.Encoder().encode

OFF = "off"
"""Instead of a level: not at all."""


class Loudness:
    """How loud a log tells of which exchanges, and of which it does not.

    `outcomes` has a level, or `OFF`, by how an exchange ended, where it is not the usual one; `sample` the
    share, from 0 to 1, that is told of.
    """

    def __init__(
        self, outcomes: Mapping[str, str] | None = None, sample: Mapping[str, float] | None = None
    ) -> None:
        self._outcomes = dict(outcomes or {})
        self._sample = dict(sample or {})

    def __call__(self, exchange: Exchange) -> str | None:
        """Return the level at which an exchange is told of; None where it is left out.

        Whoever asks with the same settings, be it in another process, gets the same answer.
        """
        outcome = exchange.outcome
        loud = self._outcomes.get(outcome) or level(exchange)
        if loud == OFF or (outcome in self._sample and not _within(exchange.id, self._sample[outcome])):
            return None
        return loud


def _within(id_: str, share: float) -> bool:
    # Compared as whole numbers: a share of 1 takes all, one of 0 none.
    return share >= 1 or int(id_[-_DRAWN:], 16) < int(share * 16**_DRAWN)


class Line(msgspec.Struct, gc=False):
    """The line that the log has of an exchange; a struct, for msgspec writes one sooner than a dictionary."""

    timestamp: str
    level: str
    event: str
    id: str
    trace_id: str | None
    upstream: str
    operation: str
    method: str
    path: str
    status: int | None
    outcome: str
    error_type: str
    stream: bool
    request_model: str | None
    response_model: str | None
    model: str
    key: str
    tags: dict[str, str]
    usage: dict[str, int]
    units: dict[str, float]
    cost_usd: msgspec.Raw | None
    provider_cost_usd: msgspec.Raw | None
    usage_source: str
    price_status: str
    price_source: str | None
    price_revision: str | None
    service_tier: str | None
    finish_reasons: tuple[str, ...]
    attempts: int
    duration_s: float | None
    ttft_s: float | None
    overhead_s: float | None
    request_bytes: int
    response_bytes: int
    upstream_request_id: str | None


def lined(exchange: Exchange, level: str) -> Line:
    """Give the whole line of an exchange that is told of at some level."""
    x = exchange
    cost, told_cost = x.cost_usd, x.provider_cost_usd
    # In the order above: by name they would take twice as long.
    return Line(
        rfc3339(x.ended),
        level,
        "exchange",
        x.id,
        x.trace_id,
        x.upstream,
        x.operation,
        x.method,
        x.path,
        x.status,
        x.outcome,
        x.error_type,
        x.stream,
        x.request_model,
        x.response_model,
        x.model or NONE,
        x.key or NONE,
        # Most have none, and to ask is quicker than to copy nothing.
        dict(x.tags) if x.tags else {},
        dict(x.usage) if x.usage else {},
        dict(x.units) if x.units else {},
        None if cost is None else plain(cost),
        None if told_cost is None else plain(told_cost),
        x.usage_source,
        x.price_status,
        x.price_source,
        x.price_revision,
        x.service_tier,
        x.finish_reasons,
        x.attempts,
        rounded(x.duration_s),
        rounded(x.ttft_s),
        rounded(x.overhead_s),
        x.request_bytes,
        x.response_bytes,
        x.upstream_request_id,
    )


def line(exchange: Exchange) -> dict[str, Any]:
    """Give the whole line that the log has of an exchange at its usual level, for msgspec."""
    return asdict(lined(exchange, level(exchange)))


def level(exchange: Exchange) -> str:
    """Give how loud the log says it."""
    return "info" if exchange.outcome in _QUIET else "warning"


def fields(exchange: Exchange) -> dict[str, Any]:
    """Give what the log says of an exchange, in its order, less `level` and `event`; for msgspec."""
    told = line(exchange)
    del told["level"], told["event"]
    return told


def content(exchange: Exchange) -> dict[str, str | None]:
    """Give what was asked and what was answered; `None` where it was not captured."""
    return {"question": exchange.question, "answer": exchange.answer}


def rfc3339(moment: datetime) -> str:
    """Give a moment as the log writes it: `2026-01-31T12:00:00.000000Z`."""
    # msgspec takes a quarter of the time, but leaves out microseconds where there are none.
    if moment.tzinfo is UTC and moment.microsecond:
        return _encode(moment).decode()[1:-1]
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def plain(amount: Decimal | None) -> msgspec.Raw | None:
    """Give an amount as a JSON number of all its digits; `None` where it is unknown."""
    # Raw, because a float would lose digits and msgspec writes a small Decimal as 1.23E-8.
    if amount is None or not amount.is_finite():
        return None
    text = str(amount)
    return msgspec.Raw((format(amount, "f") if "E" in text else text).encode())


def rounded(seconds: float | None) -> float | None:
    """Give a time in whole microseconds; `None` where it is unknown."""
    return None if seconds is None else round(seconds, 6)


_SURROGATE = re.compile("[\ud800-\udfff]")


def sound(value: Any) -> Any:
    """Give the same value without lone surrogates, which UTF-8 cannot say."""
    match value:
        case str():
            return value if value.isascii() else _SURROGATE.sub("\ufffd", value)
        case Mapping():
            return {sound(name): sound(inner) for name, inner in value.items()}
        case list() | tuple():
            return [sound(inner) for inner in value]
    return value


def tellable(value: Any) -> Any:
    """Give a value for msgspec: amounts with all their digits, moments as the log has them."""
    match value:
        case str():
            return sound(value)
        case Decimal():
            return plain(value)
        case datetime():
            return rfc3339(value)
        case Mapping():
            return {tellable(name): tellable(inner) for name, inner in value.items()}
        case list() | tuple():
            return [tellable(inner) for inner in value]
    return value


def printable(text: str) -> str:
    """Return a text with its control, direction and other signs that do not show spelled out."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else _spelled(sign) for sign in text)


def _spelled(sign: str) -> str:
    return sign.encode("unicode_escape").decode()
