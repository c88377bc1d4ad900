"""What a provider says it billed.

A bill is a list of `Billed`, one for each charge or count that the provider tells apart, in whatever grain it
came; whoever compares adds them up. Days are UTC, as those of both providers are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from decimal import Decimal

__all__ = ["BillError", "Billed"]


class BillError(Exception):
    """A bill that cannot be read or fetched. `str` of it is the whole sentence; a key is never in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Billed:
    """One line of a bill. `None` where the line does not tell."""

    day: date
    model: str | None = None
    """The provider's name of the model; `None` for what is charged for apart from models."""
    item: str | None = None
    """What is charged for where it is no model: storage, searches."""
    usage: Mapping[str, int] | None = None
    """Tokens by usage kind, a partition; all input that is neither cached nor written is `input`."""
    requests: int | None = None
    cost_usd: Decimal | None = None
    """Below 0 for a credit."""
    batch: bool = False
    """From batch jobs, whose answers do not pass Meter."""
