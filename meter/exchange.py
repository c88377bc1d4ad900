"""The frozen record that everything else is about.

One request of a client and the answer it got is an *exchange*. Every way of telling the world (metrics, log
line, span, ledger row) is made from this one record, so they cannot disagree.

Rules: nothing here reads a clock, a socket, the environment or a global; what is not known is `None` (or, in
`usage`, absent), never 0. A struct of msgspec's, for one of these is made and filled in for every request:
with a frozen dataclass of as many fields, that alone would cost as much as parsing the answer.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - msgspec reads the types of fields when it decodes one
from datetime import UTC, datetime
from decimal import Decimal  # noqa: TC003 - as above
from enum import StrEnum
from types import MappingProxyType

import msgspec
from msgspec.structs import replace

__all__ = [
    "COUNTED",
    "INPUT_KINDS",
    "KINDS",
    "OUTPUT_KINDS",
    "UNITS",
    "Exchange",
    "Outcome",
    "PriceStatus",
    "RateLimit",
    "Spans",
    "UsageSource",
]

INPUT_KINDS = (
    "input",
    "input_cached",
    "input_cached_audio",
    "input_cached_image",
    "input_cache_write",
    "input_cache_write_5m",
    "input_cache_write_1h",
    "input_audio",
    "input_image",
)
"""Kinds of tokens that add up to all prompt tokens; they do not overlap."""

OUTPUT_KINDS = ("output", "output_reasoning", "output_audio", "output_image")
"""Kinds of tokens that add up to all completion tokens; they do not overlap."""

KINDS = INPUT_KINDS + OUTPUT_KINDS

UNITS = ("audio_seconds", "images", "searches", "characters")
"""What is charged for but is not a token."""


class Outcome(StrEnum):
    """How an exchange ended: the first cause counts."""

    OK = "ok"
    CLIENT_ERROR = "client_error"
    UPSTREAM_ERROR = "upstream_error"
    STREAM_ERROR = "stream_error"
    TRUNCATED = "truncated"
    CLIENT_CLOSED = "client_closed"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    REJECTED = "rejected"


class UsageSource(StrEnum):
    """How sure the counts are."""

    REPORTED = "reported"
    """The upstream's final usage was seen."""
    ESTIMATED = "estimated"
    """Any count is not the upstream's final word."""
    MISSING = "missing"
    """There should be a usage and there is none."""
    NONE = "none"
    """There is nothing to count."""


COUNTED = frozenset({UsageSource.REPORTED, UsageSource.ESTIMATED})
"""Those that come with counts."""


class PriceStatus(StrEnum):
    """How sure the cost is."""

    EXACT = "exact"
    """Priced by the user's file, or by the catalogue where the upstream's provider is known."""
    LIST = "list"
    """The upstream's provider is unknown: the list price of the model's maker."""
    PROVIDER = "provider"
    """The upstream said what it cost."""
    MISSING = "missing"
    """Something was used that no price is known for."""
    NONE = "none"
    """There is nothing to price."""


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """What an upstream said of one of its limits, in the headers of one answer."""

    resource: str
    """`requests`, `tokens`, `input_tokens` or `output_tokens`."""
    limit: float | None = None
    remaining: float | None = None
    reset_seconds: float | None = None
    """Seconds from the answer until the limit is whole again."""


class Spans(msgspec.Struct, frozen=True, kw_only=True):
    """The two spans of an exchange, as they were drawn when it began; ids are hex digits, as on the wire."""

    trace_id: str
    """32 digits; the client's, where it sent one."""
    parent_id: str | None = None
    """16 digits of the client's span; `None` where it sent none."""
    server_id: str
    """16 digits of the span that Meter serves by."""
    client_id: str
    """16 digits of the span below it, in which the upstream is asked."""
    sampled: bool
    """They are to be exported."""
    state: str = ""
    """The client's `tracestate`, with what the sampler made of it."""


_NOTHING: Mapping[str, str] = MappingProxyType({})
_NO_UNITS: Mapping[str, float] = MappingProxyType({})


class Exchange(msgspec.Struct, frozen=True, array_like=True):
    """One request of a client and the answer it got; between processes, its values in their order.

    All times but `started_at` are seconds on one monotonic clock, counted from the request's first byte. What
    must be told comes first, and then what the book settles: msgspec looks for a name from the first on.
    """

    id: str
    """UUIDv7; the `x-meter-id` of the answer."""
    started_at: float
    """Unix time, in seconds, of the request's first byte."""
    method: str
    path: str
    """The client's path as it came, without the query."""
    outcome: Outcome

    model: str | None = None
    """The name that metrics go by; settled by the price book."""
    cost_usd: Decimal | None = None
    computed_cost_usd: Decimal | None = None
    """What the book makes of it, kept beside `provider_cost_usd`."""
    cache_savings_usd: Decimal | None = None
    """What cached input would have cost as plain input, less what it did."""
    price_status: PriceStatus = PriceStatus.NONE
    price_source: str | None = None
    price_revision: str | None = None

    upstream: str = "none"
    """Name of the upstream; `none` where no upstream was chosen."""
    provider: str | None = None
    """OpenTelemetry's `gen_ai.provider.name` of the upstream, where it is known."""
    operation: str = "other"
    key: str | None = None
    """Configured name or fingerprint of the client's credential; `None` where there was none."""
    tags: Mapping[str, str] = _NOTHING
    trace_id: str | None = None
    """32 hex digits of the client's `traceparent`, or drawn where traces are made."""
    spans: Spans | None = None
    """`None` where no traces are made."""

    error_type: str = ""
    """Empty where `outcome` is `ok`."""
    status: int | None = None
    """Status that reached the client; `None` if no head went out."""
    stream: bool = False
    """The answer streamed."""
    attempts: int = 0
    """Requests sent upstream on the client's behalf."""
    usage_asked: bool = False
    """Meter asked for usage where the client had not."""
    usage_refused: bool = False
    """The upstream refused to be asked, and got the client's own bytes."""

    parameters: Mapping[str, bool | int | float | str] = _NOTHING
    """What the request asks for besides the model, by OpenTelemetry's name; read only where it is told."""
    question: str | None = None
    """The prompt as the request has it, JSON, cut and cleansed; only where content is captured."""
    answer: str | None = None
    """The text that the answer had, cut and cleansed; likewise."""
    request_model: str | None = None
    response_model: str | None = None
    service_tier: str | None = None
    """Tier that served, as the answer tells it."""
    finish_reasons: tuple[str, ...] = ()
    """One a choice, in the order in which they came."""
    response_id: str | None = None
    upstream_request_id: str | None = None
    rate_limits: tuple[RateLimit, ...] = ()

    usage: Mapping[str, int] | None = None
    """Tokens by kind (`KINDS`), a partition; a kind that was not told is absent."""
    units: Mapping[str, float] = _NO_UNITS
    usage_source: UsageSource = UsageSource.NONE

    provider_cost_usd: Decimal | None = None
    """What the upstream itself said that it cost, in USD."""

    duration_s: float = 0.0
    sent_s: float | None = None
    """When the request began to go up; `None` where it did not."""
    ttft_s: float | None = None
    """First event that carries content of any kind; streams only."""
    last_content_s: float | None = None
    """Last event that carries content; streams only."""
    content_events: int = 0
    """How many carry content; streams only."""
    stall_s: float | None = None
    """Longest pause between two events with content; `None` with fewer than two."""
    reasoning_streamed: bool = False
    overhead_request_s: float | None = None
    """From the request read to the upstream write."""
    overhead_response_s: float | None = None
    """From the upstream's last byte to the client's."""

    request_bytes: int = 0
    """Bytes of the client's body."""
    response_bytes: int = 0
    """Bytes of the body that reached the client."""

    @property
    def discreet(self) -> Exchange:
        """The same without what was asked and answered, for whoever keeps it."""
        captured = self.question is not None or self.answer is not None
        return replace(self, question=None, answer=None) if captured else self

    @property
    def ended(self) -> datetime:
        """The moment at which it was over, in UTC; to whose hour, day and month it belongs."""
        return datetime.fromtimestamp(self.started_at + self.duration_s, UTC)

    @property
    def overhead_s(self) -> float | None:
        """Seconds that the exchange spent in Meter itself; `None` where neither phase was reached."""
        before, after = self.overhead_request_s, self.overhead_response_s
        if before is None or after is None:
            return after if before is None else before
        return before + after

    @property
    def input_tokens(self) -> int | None:
        """All prompt tokens, cached ones included; `None` where no kind of input was told."""
        return _total(self.usage, INPUT_KINDS)

    @property
    def output_tokens(self) -> int | None:
        """All completion tokens, reasoning included; `None` where no kind of output was told."""
        return _total(self.usage, OUTPUT_KINDS)


def _total(usage: Mapping[str, int] | None, kinds: tuple[str, ...]) -> int | None:
    told = [usage[kind] for kind in kinds if kind in usage] if usage is not None else []
    return sum(told) if told else None
