"""Ids are UUIDs of version 7."""

from __future__ import annotations

from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.ids import uuid7


@given(unix_ms=st.integers(0, (1 << 48) - 1), random=st.binary(min_size=10, max_size=10))
def test_is_a_uuid(unix_ms: int, random: bytes) -> None:
    """An id has version, variant and time where RFC 9562 puts them, and 74 bits of chance."""
    made = uuid7(unix_ms, random)
    uuid = UUID(made)

    assert made == str(uuid)
    assert (7, RFC_4122) == (uuid.version, uuid.variant)
    assert unix_ms == uuid.int >> 80
    tail = int.from_bytes(random, "big")
    assert tail >> 68 == (uuid.int >> 64) & 0xFFF
    assert tail & ((1 << 62) - 1) == uuid.int & ((1 << 62) - 1)


def test_sorts_by_time() -> None:
    """An id of a later millisecond sorts behind, whatever chance says."""
    assert uuid7(1_760_000_000_000, b"\xff" * 10) < uuid7(1_760_000_000_001, bytes(10))


@pytest.mark.parametrize("unix_ms", [1 << 48, (1 << 48) + 5])
def test_wraps_what_is_too_late(unix_ms: int) -> None:
    """A time beyond 48 bits still makes an id."""
    assert 7 == UUID(uuid7(unix_ms, bytes(10))).version
