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

from meter.exchange import Outcome
from meter.labels import NONE

if TYPE_CHECKING:
    from meter.exchange import Exchange

__all__ = [
    "Loudness",
    "content",
    "fields",
    "level",
    "line",
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
        loud = self._outcomes.get(exchange.outcome) or level(exchange)
        share = self._sample.get(exchange.outcome, 1.0)
        return None if loud == OFF or not _within(exchange.id, share) else loud


def _within(id_: str, share: float) -> bool:
    # Compared as whole numbers: a share of 1 takes all, one of 0 none.
    return share >= 1 or int(id_[-_DRAWN:], 16) < int(share * 16**_DRAWN)


def line(exchange: Exchange) -> dict[str, Any]:
    """Give the whole line that the log has of an exchange, for msgspec."""
    told = fields(exchange)
    return {"timestamp": told.pop("timestamp"), "level": level(exchange), "event": "exchange", **told}


def level(exchange: Exchange) -> str:
    """Give how loud the log says it."""
    return "info" if exchange.outcome in _QUIET else "warning"


def fields(exchange: Exchange) -> dict[str, Any]:
    """Give what the log says of an exchange, in its order, less `level` and `event`; for msgspec."""
    x = exchange
    return {
        "timestamp": rfc3339(x.ended),
        "id": x.id,
        "trace_id": x.trace_id,
        "upstream": x.upstream,
        "operation": x.operation,
        "method": x.method,
        "path": x.path,
        "status": x.status,
        "outcome": x.outcome,
        "error_type": x.error_type,
        "stream": x.stream,
        "request_model": x.request_model,
        "response_model": x.response_model,
        "model": x.model or NONE,
        "key": x.key or NONE,
        "tags": dict(x.tags),
        "usage": dict(x.usage or {}),
        "units": dict(x.units),
        "cost_usd": plain(x.cost_usd),
        "provider_cost_usd": plain(x.provider_cost_usd),
        "usage_source": x.usage_source,
        "price_status": x.price_status,
        "price_source": x.price_source,
        "price_revision": x.price_revision,
        "service_tier": x.service_tier,
        "finish_reasons": x.finish_reasons,
        "attempts": x.attempts,
        "duration_s": rounded(x.duration_s),
        "ttft_s": rounded(x.ttft_s),
        "overhead_s": rounded(x.overhead_s),
        "request_bytes": x.request_bytes,
        "response_bytes": x.response_bytes,
        "upstream_request_id": x.upstream_request_id,
    }


def content(exchange: Exchange) -> dict[str, str | None]:
    """Give what was asked and what was answered; `None` where it was not captured."""
    return {"question": exchange.question, "answer": exchange.answer}


def rfc3339(moment: datetime) -> str:
    """Give a moment as the log writes it: `2026-01-31T12:00:00.000000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def plain(amount: Decimal | None) -> msgspec.Raw | None:
    """Give an amount as a JSON number of all its digits; `None` where it is unknown."""
    # Raw, because a float would lose digits and msgspec writes a small Decimal as 1.23E-8.
    return msgspec.Raw(format(amount, "f").encode()) if amount is not None and amount.is_finite() else None


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
