"""What can be wrong with telemetry: how it is set, and what becomes of it on its way."""

from __future__ import annotations

__all__ = ["ExportError", "TelemetryError"]


class TelemetryError(ValueError):
    """A setting or a variable says what cannot be; the text is a sentence about it."""


class ExportError(Exception):
    """A collector did not take what it was sent; the text is why, in words of Meter's own.

    `lost`: how many of what was sent; None: all.
    """

    def __init__(self, reason: str, lost: int | None = None) -> None:
        super().__init__(reason)
        self.lost = lost
