"""Trace context as W3C writes it: where a client stands in a trace, and where Meter's own spans do.

A `traceparent` that is not valid counts as none. Nothing here decides what is sampled, and nothing reads a
clock or draws a number: random bytes are arguments.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, Protocol

from meter.exchange import Spans
from meter.headers import first, layout, replace, values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meter.headers import Fields

__all__ = ["DRAWN", "Parent", "Tracer", "carrying", "drawn", "parent"]

DRAWN = 32
"""Random bytes that `drawn` wants: a trace's id and those of two spans."""

_SAMPLED = 0x01

_TRACEPARENT = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_STATE_LENGTH = 512
"""As much of a `tracestate` must be passed on; a longer one is left out."""


class Parent(NamedTuple):
    """A client's span, as it tells of it."""

    trace_id: str
    span_id: str
    sampled: bool
    state: str = ""


class Tracer(Protocol):
    """Draws the spans of an exchange when it begins."""

    def begin(self, parent: Parent | None, method: str, path: str) -> Spans:
        """Return spans below `parent`, or of a trace of their own."""
        ...


def parent(fields: Sequence[tuple[bytes, bytes]]) -> Parent | None:
    """Return the span that a request came from; None where it tells of none, or of more than one."""
    if b"traceparent" not in layout(fields).places:
        return None
    told = values(fields, b"traceparent")
    found = _TRACEPARENT.fullmatch(told[0].strip()) if len(told) == 1 else None
    if found is None or (found[1] == b"00" and found[5]):
        return None
    state = b",".join(values(fields, b"tracestate")).decode("latin-1")
    sampled = bool(int(found[4], 16) & _SAMPLED)
    return Parent(found[2].decode(), found[3].decode(), sampled, state if len(state) <= _STATE_LENGTH else "")


def drawn(parent: Parent | None, random: bytes, *, sampled: bool, state: str | None = None) -> Spans:
    """Return the spans of an exchange from `DRAWN` random bytes; `state`: another than the client's."""
    digits = random.hex()
    return Spans(
        trace_id=parent.trace_id if parent is not None else digits[:32],
        parent_id=parent.span_id if parent is not None else None,
        server_id=digits[32:48],
        client_id=digits[48:],
        sampled=sampled,
        state=(parent.state if parent is not None else "") if state is None else state,
    )


def carrying(fields: Fields, spans: Spans) -> Fields:
    """Return a request's fields with the span in which the upstream is asked as its parent."""
    value = f"00-{spans.trace_id}-{spans.client_id}-{'01' if spans.sampled else '00'}"
    fields = replace(fields, b"traceparent", value.encode())
    if not spans.state or first(fields, b"tracestate") is not None:
        return fields
    return [*fields, (b"tracestate", spans.state.encode("latin-1"))]
