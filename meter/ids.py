"""Ids of exchanges: UUIDs of version 7 (RFC 9562), which sort by the time they were made."""

from __future__ import annotations

from uuid import UUID

__all__ = ["uuid7"]


def uuid7(unix_ms: int, random: bytes) -> str:
    """Return a UUIDv7 of a time in milliseconds and 10 random bytes."""
    tail = int.from_bytes(random[:10], "big")
    a, b = tail >> 68, tail & ((1 << 62) - 1)
    return str(UUID(int=(unix_ms & ((1 << 48) - 1)) << 80 | 0x7 << 76 | a << 64 | 0b10 << 62 | b))
