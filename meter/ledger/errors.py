"""What may be wrong with a ledger; apart from what opens one, which is slow to import."""

from __future__ import annotations

__all__ = ["LedgerAbsentError", "LedgerDeniedError", "LedgerError", "LedgerUrlError"]


class LedgerError(Exception):
    """A ledger that cannot be used; `str` of it says which and why, in a sentence."""


class LedgerDeniedError(LedgerError):
    """A ledger that this process may not read or write; trying again is of no use."""


class LedgerAbsentError(LedgerError):
    """A place where a ledger could be, and none is."""


class LedgerUrlError(LedgerError):
    """A URL that is none of a ledger's."""
