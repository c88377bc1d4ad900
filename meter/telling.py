"""What is told of an exchange, field by field, wherever it is told as JSON.

The log, the ledger's answers and the admin port say the same of an exchange under the same names, because
they all ask here. Nothing here knows a prompt, an answer, a query or a credential.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from meter.exchange import Outcome
from meter.labels import NONE

if TYPE_CHECKING:
    from decimal import Decimal

    from meter.exchange import Exchange

__all__ = ["fields", "level", "line", "plain", "rfc3339"]

_QUIET = frozenset({Outcome.OK, Outcome.CLIENT_ERROR, Outcome.CLIENT_CLOSED})
"""Outcomes that are nobody's trouble but the client's."""


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
        "timestamp": rfc3339(x.started_at + x.duration_s),
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
        "duration_s": _rounded(x.duration_s),
        "ttft_s": _rounded(x.ttft_s),
        "overhead_s": _rounded(x.overhead_s),
        "request_bytes": x.request_bytes,
        "response_bytes": x.response_bytes,
        "upstream_request_id": x.upstream_request_id,
    }


def rfc3339(moment: float) -> str:
    """Give a Unix time as the log writes it: UTC, to the microsecond, with `Z`."""
    text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds")
    return text.removesuffix("+00:00") + "Z"


def plain(amount: Decimal | None) -> msgspec.Raw | None:
    """Give an amount as a JSON number of all its digits; `None` where it is unknown."""
    # Raw, because a float would lose digits and msgspec writes a small Decimal as 1.23E-8.
    return msgspec.Raw(format(amount, "f").encode()) if amount is not None and amount.is_finite() else None


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
