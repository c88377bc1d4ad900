"""What is under way, who is welcome and which upstream is up."""

from __future__ import annotations

import pytest

from meter.state import State


def test_counts_what_is_under_way() -> None:
    """Exchanges are counted in and out by upstream and operation, and a pair that was seen stays at 0."""
    state = State(["a", "b"])
    state.enter("a", "chat")
    state.enter("a", "chat")
    state.enter("b", "other")
    state.leave("a", "chat")
    state.leave("b", "other")

    assert {("a", "chat"): 1, ("b", "other"): 0} == state.in_flight
    assert 1 == state.busy


@pytest.mark.parametrize(
    ("listening", "draining", "ready"),
    [(False, False, False), (True, False, True), (True, True, False), (False, True, False)],
)
def test_is_ready(listening: bool, draining: bool, ready: bool) -> None:
    """Requests are welcome while the proxy listens and does not drain."""
    state = State([])
    state.listening, state.draining = listening, draining

    assert ready == state.ready


def test_calls_an_upstream_down_after_three() -> None:
    """An upstream is down after three misses in a row, and up again with the first answer."""
    told: list[tuple[str, str | None]] = []
    state = State(["a", "b"], lambda *change: told.append(change))
    seen = []
    for _ in range(4):
        state.missed("a", "why")
        seen.append(state.upstream_up["a"])

    assert [True, True, False, False] == seen
    assert state.upstream_up["b"]

    for _ in range(2):
        state.reached("a")

    assert state.upstream_up["a"]
    assert [("a", "why"), ("a", None)] == told


def test_counts_misses_in_a_row() -> None:
    """An answer between two misses forgives the first."""
    state = State(["a"])
    for _ in range(2):
        state.missed("a", "why")
    state.reached("a")
    for _ in range(2):
        state.missed("a", "why")

    assert {"a": True} == state.upstream_up


def test_takes_anothers_word() -> None:
    """Failures that others met count as if they had been met here, of upstreams that are known."""
    told: list[tuple[str, str | None]] = []
    state = State(["a", "b"], lambda *change: told.append(change))
    state.missed("b", "refused")
    state.fail({"a": 2, "z": 9})
    assert {"a": 2, "b": 0} == state.failures

    state.missed("a", "refused")

    assert [("a", "refused")] == told
    assert {"a": False, "b": True} == state.upstream_up
