"""Draws the spans of an exchange when it begins, and decides whether they are told of.

This is the one part of telemetry that a request waits for: some random bytes, and one comparison.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from meter.sinks.telemetry.errors import TelemetryError
from meter.trace import DRAWN, drawn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meter.exchange import Spans
    from meter.trace import Parent

__all__ = ["Drawing", "drawing"]

_ALL = 1 << 64

_SAMPLERS: Mapping[str, tuple[bool, int | None]] = {
    "always_on": (False, _ALL),
    "always_off": (False, 0),
    "traceidratio": (False, None),
    "parentbased_always_on": (True, _ALL),
    "parentbased_always_off": (True, 0),
    "parentbased_traceidratio": (True, None),
}
"""Whether a client's decision is followed, and the bound of what is sampled else; None: by the argument."""


class Drawing:
    """Samples traces whose id's lower half is below `bound`; where `follows`, what a parent says instead."""

    def __init__(self, bound: int, *, follows: bool) -> None:
        self._bound = bound
        self._follows = follows

    def begin(self, parent: Parent | None, method: str, path: str) -> Spans:  # noqa: ARG002 - as `Tracer` has it
        """Return spans below `parent`, or of a trace of their own."""
        random = os.urandom(DRAWN)
        if parent is None:
            sampled = int.from_bytes(random[8:16]) < self._bound
        elif self._follows:
            sampled = parent.sampled
        else:
            sampled = int(parent.trace_id[16:], 16) < self._bound
        return drawn(parent, random, sampled=sampled)


def drawing(environ: Mapping[str, str]) -> Drawing:
    """Return what draws as `OTEL_TRACES_SAMPLER` says; raises TelemetryError."""
    name = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower() or "parentbased_always_on"
    if name not in _SAMPLERS:
        expected = ", ".join(_SAMPLERS)
        raise TelemetryError(f"OTEL_TRACES_SAMPLER: got {name!r}, expected one of {expected}")
    follows, bound = _SAMPLERS[name]
    return Drawing(_bound(environ) if bound is None else bound, follows=follows)


def _bound(environ: Mapping[str, str]) -> int:
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased  # noqa: PLC0415 - only where it is wanted

    told = environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip() or "1"
    try:
        return TraceIdRatioBased(float(told)).bound
    except ValueError:
        raise TelemetryError(f"OTEL_TRACES_SAMPLER_ARG: got {told!r}, expected a share from 0 to 1") from None
