"""Trace context: what a client tells of its span, and what goes up in its place."""

from __future__ import annotations

import pytest

from meter.trace import Parent, carrying, drawn, parent

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"00-{TRACE}-{SPAN}-01", Parent(TRACE, SPAN, sampled=True)),
        (f"00-{TRACE}-{SPAN}-00", Parent(TRACE, SPAN, sampled=False)),
        (f"00-{TRACE}-{SPAN}-03", Parent(TRACE, SPAN, sampled=True)),
        (f"01-{TRACE}-{SPAN}-01-more", Parent(TRACE, SPAN, sampled=True)),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"zz-{TRACE}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}", None),
        (f"00-{TRACE}{SPAN}-01", None),
        ("", None),
        ("x" * 55, None),
    ],
)
def test_reads_parents(value: str, expected: Parent | None) -> None:
    """The span of a valid `traceparent` is read, and no other."""
    assert expected == parent([(b"TraceParent", value.encode())])


def test_needs_one() -> None:
    """Without `traceparent`, or with two of them, there is no parent."""
    one = (b"traceparent", f"00-{TRACE}-{SPAN}-01".encode())

    assert [None, None] == [parent([(b"host", b"h")]), parent([one, one])]


def test_joins_states() -> None:
    """Several `tracestate` fields are one list; one that is too long is left out."""
    one = (b"traceparent", f"00-{TRACE}-{SPAN}-01".encode())
    told = parent([one, (b"tracestate", b"a=1"), (b"TraceState", b"b=2")])
    long = parent([one, (b"tracestate", b"a=" + b"x" * 600)])

    assert told is not None
    assert long is not None
    assert ("a=1,b=2", "") == (told.state, long.state)


def test_draws_below_a_parent() -> None:
    """Spans below a client's have its trace, its state and ids of their own."""
    spans = drawn(Parent(TRACE, SPAN, sampled=True, state="a=1"), bytes(range(32)), sampled=True)

    assert (TRACE, SPAN, "a=1") == (spans.trace_id, spans.parent_id, spans.state)
    assert ("1011121314151617", "18191a1b1c1d1e1f") == (spans.server_id, spans.client_id)


def test_draws_a_trace() -> None:
    """Without a parent the trace is drawn too."""
    spans = drawn(None, bytes(range(32)), sampled=False)

    assert ("000102030405060708090a0b0c0d0e0f", None, False) == (
        spans.trace_id,
        spans.parent_id,
        spans.sampled,
    )


def test_carries_the_client_span() -> None:
    """What goes up names the span in which the upstream is asked, in the place of the client's."""
    spans = drawn(Parent(TRACE, SPAN, sampled=True, state="a=1"), bytes(range(32)), sampled=True)
    fields = [(b"TraceParent", b"old"), (b"tracestate", b"a=1"), (b"x", b"y")]

    assert [
        (b"TraceParent", f"00-{TRACE}-18191a1b1c1d1e1f-01".encode()),
        (b"tracestate", b"a=1"),
        (b"x", b"y"),
    ] == carrying(fields, spans)
    assert [(b"x", b"y"), (b"traceparent", f"00-{TRACE}-18191a1b1c1d1e1f-01".encode())] == carrying(
        [(b"x", b"y")], drawn(Parent(TRACE, SPAN, sampled=True), bytes(range(32)), sampled=True)
    )
