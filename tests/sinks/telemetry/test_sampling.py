"""What is sampled, against the library's own samplers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace import sampling
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from meter.sinks.telemetry.sampling import drawing
from meter.trace import Parent

if TYPE_CHECKING:
    from opentelemetry.context import Context

SAMPLERS = {
    "always_on": sampling.ALWAYS_ON,
    "always_off": sampling.ALWAYS_OFF,
    "traceidratio": sampling.TraceIdRatioBased(0.3),
    "parentbased_always_on": sampling.DEFAULT_ON,
    "parentbased_always_off": sampling.DEFAULT_OFF,
    "parentbased_traceidratio": sampling.ParentBasedTraceIdRatio(0.3),
}


def context(parent: Parent | None) -> Context | None:
    """Return a parent as the library has it."""
    if parent is None:
        return None
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    span = SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(span))


@pytest.mark.parametrize("name", SAMPLERS)
def test_samples_as_the_library_does(name: str) -> None:
    """With and without a parent, sampled or not, each sampler decides as the library's does."""
    draws = drawing({"OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": "0.3"})
    for i in range(300):
        trace = f"{i:016x}{i * 0x9E3779B97F4A7C15 % 2**64:016x}"
        parent = (None, Parent(trace, "b7ad6b7169203331", True), Parent(trace, "b7ad6b7169203331", False))[
            i % 3
        ]
        spans = draws.begin(parent, "POST", "/")
        decided = SAMPLERS[name].should_sample(context(parent), int(spans.trace_id, 16), "POST")

        assert (decided.decision is sampling.Decision.RECORD_AND_SAMPLE) == spans.sampled
        assert parent is None or trace == spans.trace_id


def test_follows_parents_unless_told_otherwise() -> None:
    """Where nothing is said, a client's decision is followed, and all else is sampled."""
    draws = drawing({})

    assert [True, True, False] == [
        draws.begin(parent, "GET", "/").sampled
        for parent in (None, Parent("a" * 32, "b" * 16, True), Parent("a" * 32, "b" * 16, False))
    ]


def test_draws_ids_that_differ() -> None:
    """Every exchange has ids of its own."""
    draws = drawing({})
    drawn = [draws.begin(None, "GET", "/") for _ in range(1000)]

    assert 3000 == len({i for s in drawn for i in (s.trace_id, s.server_id, s.client_id)})
