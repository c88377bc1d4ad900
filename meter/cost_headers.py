"""What a client is told of the cost of its own exchange, in header fields before or behind the answer.

Every amount is spelled as in the log; what is not known has no field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meter.exchange import Exchange
    from meter.headers import Fields

__all__ = ["COST_NAMES", "cost_fields", "wants_trailers"]

_COST, _SOURCE, _STATUS, _INPUT, _OUTPUT = COST_NAMES = (
    b"x-meter-cost-usd",
    b"x-meter-usage-source",
    b"x-meter-price-status",
    b"x-meter-input-tokens",
    b"x-meter-output-tokens",
)


def cost_fields(exchange: Exchange) -> Fields:
    """Return what an exchange used and costs, as far as it is known."""
    cost = exchange.cost_usd
    told = {
        _COST: None if cost is None else format(cost, "f"),
        _SOURCE: exchange.usage_source,
        _STATUS: exchange.price_status,
        _INPUT: exchange.input_tokens,
        _OUTPUT: exchange.output_tokens,
    }
    return [(name, str(value).encode()) for name, value in told.items() if value is not None]


def wants_trailers(fields: Fields) -> bool:
    """Tell whether a client takes fields that come behind an answer: its `TE` says `trailers`."""
    told = (value.split(b",") for name, value in fields if name.lower() == b"te")
    return any(token.partition(b";")[0].strip().lower() == b"trailers" for each in told for token in each)
