"""From a passage to the record that everybody is told of: made once, priced once, told once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from msgspec import structs

from meter import dialects
from meter.exchange import UsageSource
from meter.ids import uuid7
from meter.trace import Parent

if TYPE_CHECKING:
    from collections.abc import Callable

    from meter.backgrounds import Backgrounds
    from meter.exchange import Exchange, Spans
    from meter.passage import Passage
    from meter.price import Book
    from meter.session import Turn
    from meter.sinks import Sinks
    from meter.trace import Tracer

__all__ = ["Recorder"]

_ENDED = (
    *("outcome", "error_type", "status", "duration_s", "response_bytes"),
    *("overhead_request_s", "overhead_response_s"),
)
"""What of a record is known only when all has gone out."""


class Recorder:
    """Prices exchanges and tells the sinks; `report(part, error)` counts what went wrong within."""

    def __init__(
        self,
        book: Book,
        sinks: Sinks,
        backgrounds: Backgrounds,
        tracer: Tracer | None,
        report: Callable[[str, BaseException | None], None],
    ) -> None:
        self._book = book
        self._sinks = sinks
        self._backgrounds = backgrounds
        self._tracer = tracer
        self._report = report

    def price(self, passage: Passage, now: float) -> Exchange:
        """Settle what an exchange costs whose answer has come and has yet to go out."""
        passage.priced = self._priced(self._settled(passage, passage.record(now)))
        return passage.priced

    def tell(self, passage: Passage, now: float) -> None:
        """Tell of an exchange that has ended; what it costs stays as it was said, where it was."""
        told = passage.record(now)
        if passage.priced is None:
            self._sinks.tell(self._priced(self._settled(passage, told)))
        else:
            changes: dict[str, Any] = {name: getattr(told, name) for name in _ENDED}
            self._sinks.tell(structs.replace(passage.priced, **changes))

    def tell_turn(self, passage: Passage, turn: Turn) -> None:
        """Tell of an exchange that took place inside of another."""
        if turn.tap.failures:
            self._report("tap", None)
        began = passage.started_at + (turn.began - passage.began)
        inner = passage.inner(turn, uuid7(int(began * 1000), os.urandom(10)), began, self._below(passage))
        self._sinks.tell(self._priced(inner.record(turn.ended)))

    def _below(self, passage: Passage) -> Spans | None:
        """Draw the spans of an exchange inside of another, below the one that Meter serves that by."""
        spans = passage.spans
        if self._tracer is None or spans is None:
            return None
        outer = Parent(spans.trace_id, spans.server_id, spans.sampled, spans.state)
        return self._tracer.begin(outer, passage.method, passage.path)

    def _priced(self, exchange: Exchange) -> Exchange:
        try:
            return self._book.price(exchange)
        except Exception as error:  # noqa: BLE001 - an exchange that cannot be priced is still an exchange
            self._report("book", error)
            return exchange

    def _settled(self, passage: Passage, exchange: Exchange) -> Exchange:
        """Keep in mind what is made in the background; what it used is told by the first that fetches it."""
        facts = passage.tap.facts if passage.tap is not None else None
        if facts is None or facts.response_id is None:
            return exchange
        if facts.pending:
            self._backgrounds.add(passage.upstream, facts.response_id)
        fetched = passage.dialect is dialects.FETCHED and facts.finish_reasons
        if not fetched or self._backgrounds.take(passage.upstream, facts.response_id):
            return exchange
        untold: dict[str, Any] = {"usage": None, "units": {}, "finish_reasons": ()}
        return structs.replace(exchange, usage_source=UsageSource.NONE, **untold)  # another was faster
