"""What an exchange used, once it has ended: as it was told, as it was seen, or not known.

The upstream's final word is taken as it is. Where there is none, what was told on the way counts, and what
was seen beyond it is estimated; where not even that can be said, the usage is missing. Nothing unknown is 0.
"""

from __future__ import annotations

from math import ceil
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from meter.exchange import INPUT_KINDS, OUTPUT_KINDS, Outcome, UsageSource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meter.dialect import Dialect, Facts, Request

__all__ = ["Counted", "reckon"]

_INPUT = frozenset(INPUT_KINDS)
_BROKEN_OFF = frozenset((Outcome.CLIENT_CLOSED, Outcome.TRUNCATED, Outcome.TIMEOUT))
_NO_UNITS: Mapping[str, float] = MappingProxyType({})


class Counted(NamedTuple):
    """What an exchange used, and how sure that is."""

    source: UsageSource
    usage: Mapping[str, int] | None = None
    units: Mapping[str, float] = _NO_UNITS


def reckon(dialect: Dialect, request: Request, facts: Facts, outcome: Outcome, *, estimate: bool) -> Counted:
    """Return what an exchange used that reached an upstream and was not refused by it."""
    told = facts.usage is not None or bool(facts.units)
    if told and (outcome is Outcome.OK or facts.final_usage) and not _is_half(request, facts):
        return Counted(UsageSource.REPORTED, facts.usage, facts.units)
    if not (told or dialect.consumes):
        return Counted(UsageSource.NONE)
    spoken = outcome is Outcome.OK and request.characters is not None  # in audio that is not read
    seen = told or spoken or outcome in _BROKEN_OFF or facts.said is not None
    if seen and estimate and not facts.pending:
        usage, units = _estimated(request, facts)
        if usage or units:
            return Counted(UsageSource.ESTIMATED, usage, units)
    # A running total is not the last word, but it is the upstream's.
    return Counted(UsageSource.ESTIMATED, facts.usage, facts.units) if told else Counted(UsageSource.MISSING)


def _is_half(request: Request, facts: Facts) -> bool:
    """Tell whether output was told, and the input that led to it was not, although there was one."""
    return bool(facts.usage and request.prompt_tokens is not None and not _has_input(facts.usage))


def _estimated(request: Request, facts: Facts) -> tuple[dict[str, int] | None, dict[str, float]]:
    """Return what was used as far as it was told or seen; nothing where that is half of it at most."""
    usage, units = dict(facts.usage or {}), dict(facts.units)
    if request.prompt_tokens is not None and not _has_input(usage):
        usage["input"] = ceil(request.prompt_tokens)
    unseen = ceil(facts.said or 0) - sum(usage.get(kind, 0) for kind in OUTPUT_KINDS)
    if unseen > 0:
        usage["output"] = usage.get("output", 0) + unseen
    if request.characters is not None and not usage:
        units.setdefault("characters", request.characters)
    # Output without the input that led to it would be priced as if it were all.
    return usage if _has_input(usage) else None, units


def _has_input(usage: Mapping[str, int]) -> bool:
    return not _INPUT.isdisjoint(usage)
