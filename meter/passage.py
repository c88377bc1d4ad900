"""What is known of one exchange while it goes by, and how it becomes the record.

The proxy writes here what it sees and does; everything that is told of the exchange afterwards is made from
it, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec import structs

from meter.dialect import Request
from meter.errors import error_type
from meter.exchange import Exchange, Outcome, PriceStatus
from meter.tap import Tap
from meter.trace import parent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meter.dialect import Dialect
    from meter.exchange import RateLimit, Spans
    from meter.headers import Fields
    from meter.session import Turn

__all__ = ["Passage", "Refusal"]


class Refusal(Exception):  # noqa: N818 - it is an answer, not an error of the program
    """An answer of Meter's own instead of an upstream's.

    The client gets `status`, `fields` and, in an error body, `code` and `message`; `outcome` is how the
    exchange ended; `close` says that the connection is of no more use.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        outcome: Outcome = Outcome.REJECTED,
        close: bool = False,
        fields: Fields | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.outcome, self.close = status, code, message, outcome, close
        self.fields = fields or []


class Breakable(Protocol):
    """What a client is being given, and can be broken off."""

    def break_off(self) -> None:
        """End it so that the client sees it broken."""
        ...


_UNREAD = Request()


class Passage(msgspec.Struct):
    """What is known of one exchange while it goes by; it becomes the record once, at its end."""

    id: str
    began: float
    """On the monotonic clock, as all times here but `started_at`."""
    started_at: float
    method: str
    path: str
    fields: Fields
    """The client's fields, as they came."""
    peer: str
    """The client's address."""
    spans: Spans | None = None
    """None where no traces are made."""
    upstream: str = "none"
    provider: str | None = None
    operation: str = "other"
    dialect: Dialect | None = None
    key: str | None = None
    tags: Mapping[str, str] = msgspec.field(default_factory=dict)
    upgrade: bool = False
    """The client asks for a WebSocket, and gets one where the upstream says so."""
    socket: Dialect | None = None
    """What is spoken in the messages of a WebSocket; None where they are not read."""
    path_model: str | None = None
    """What the path names as the model, or the deployment; of a WebSocket, the query."""
    request: Request = _UNREAD
    estimates: bool = True
    """What nobody told may be estimated."""
    tap: Tap | None = None
    """What watches the upstream's answer; None until there is one."""
    cause: Outcome | None = None
    """What broke the exchange off, the first thing that did; OK where it ended well before anything did."""
    priced: Exchange | None = None
    """The record, once it has been settled what the exchange costs; how it ended may still change."""
    refusal: Refusal | None = None
    """The answer of Meter's own that the client is given instead of the upstream's."""
    out: Breakable | None = None
    """The answer that the client is being given, once its head has gone out."""
    status: int | None = None
    read_at: float = 0.0
    """When the request had been read, as far as it was before it went up."""
    attempts: int = 0
    """Requests sent upstream."""
    asked: bool = False
    """The request that is answered asks for usage where the client did not."""
    refused: bool = False
    """The upstream refused to be asked for usage; nothing to do with `refusal`."""
    delivered: bool = False
    """All of the answer's body, as long as it was said to be, has been passed on."""
    left: bool = False
    """The client has left, and the exchange goes on without it."""
    unconnected: bool = False
    """No connection to the upstream came about in time."""
    left_early: bool = False
    """It left before it had all."""
    entered: bool = False
    """Counted as in flight."""
    held: int = 0
    """Bytes of the request that count against what may be held together."""
    request_bytes: int = 0
    response_bytes: int = 0
    request_overhead: float | None = None
    """Seconds from the request read to the upstream write."""
    response_overhead: float | None = None
    """Seconds from the upstream's last byte to the client's."""
    upstream_request_id: str | None = None
    rate_limits: tuple[RateLimit, ...] = ()

    @property
    def model(self) -> str | None:
        """The model that is asked for: by the body, else by the path."""
        return self.request.model or self.path_model

    def broke(self, cause: Outcome) -> None:
        """Note what broke the exchange off, unless something has before."""
        self.cause = self.cause or cause

    def inner(self, turn: Turn, id_: str, started_at: float, spans: Spans | None) -> Passage:
        """Return the passage of an exchange that took place inside of this one."""
        return structs.replace(
            self,
            id=id_,
            began=turn.began,
            started_at=started_at,
            spans=spans,
            operation=turn.operation,
            request=turn.request,
            tap=turn.tap,
            cause=turn.cause,
            out=None,
            priced=None,
            request_bytes=0,
            response_bytes=0,
            request_overhead=None,
            response_overhead=None,
            rate_limits=(),
        )

    def record(self, now: float) -> Exchange:
        """Return the frozen record of the exchange, which has ended `now`."""
        # A tap that saw nothing says what is known without an answer.
        tap = self.tap or Tap(self.dialect, request=self.request, estimate=self.estimates)
        facts = tap.facts
        outcome = tap.outcome(self.cause)
        if self.left_early:  # what came after it left was passed on to nobody
            outcome = Outcome.CLIENT_CLOSED
        told = self.refusal.code if self.refusal is not None else facts.error
        counted = tap.counted(outcome, sent=self.attempts > 0 and not self.unconnected)
        began, request, model = self.began, self.request, self.model
        # By place: for each of so many names msgspec would go through all of them, which takes thrice as long
        # as all else here.
        return Exchange(
            self.id,
            self.started_at,
            self.method,
            self.path,
            outcome,
            # What the book settles:
            model,
            None,
            None,
            None,
            PriceStatus.NONE,
            None,
            None,
            # Who asked whom, and how it went:
            self.upstream,
            self.provider,
            self.operation,
            self.key,
            self.tags,
            self._trace_id(),
            self.spans,
            error_type(told, self.status, outcome),
            self.status,
            tap.stream,
            self.attempts,
            self.asked or self.refused,
            self.refused,
            # What was said:
            request.parameters,
            request.question,
            facts.transcript,
            model,
            facts.response_model,
            facts.service_tier,
            tuple(facts.finish_reasons.values()),
            facts.response_id,
            self.upstream_request_id,
            self.rate_limits,
            # What it used:
            counted.usage,
            counted.units,
            counted.source,
            facts.provider_cost_usd,
            # What took how long:
            now - began,
            self._sent(),
            _since(began, tap.first_content),
            _since(began, tap.last_content),
            tap.content_events,
            tap.stall,
            tap.reasoning_streamed,
            self.request_overhead,
            self.response_overhead,
            self.request_bytes,
            self.response_bytes,
        )

    def _trace_id(self) -> str | None:
        if self.spans is not None:
            return self.spans.trace_id
        told = parent(self.fields)
        return told.trace_id if told is not None else None

    def _sent(self) -> float | None:
        """Return when the request began to go up; of an exchange inside of another, at its beginning."""
        if self.request_overhead is None:
            return 0.0 if self.attempts else None
        return self.read_at - self.began + self.request_overhead


def _since(began: float, moment: float | None) -> float | None:
    return None if moment is None else moment - began
