"""Ids of exchanges: UUIDs of version 7 (RFC 9562), which sort by the time they were made."""

from __future__ import annotations

__all__ = ["uuid7"]


_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""Digits whose first two bits are made 10."""


def uuid7(unix_ms: int, random: bytes) -> str:
    """Return a UUIDv7 of a time in milliseconds and 10 random bytes."""
    # Spelled out here: `uuid.UUID` takes many times as long, and so do numbers of 128 bits.
    time = (unix_ms & 0xFFFF_FFFF_FFFF).to_bytes(6, "big").hex("-", -4)
    chance = random.hex("-", 6)
    return f"{time}-7{chance[:3]}-{_VARIANT[chance[4]]}{chance[5:]}"
