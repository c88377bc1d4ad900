"""What was measured: for each figure and each proxy one value a round.

Ratios are within one round, since what the machine does meanwhile falls on both; told are the median of the
rounds, the least and the most.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

__all__ = ["Figures", "median", "spread"]


@dataclass
class Figures:
    """Values by figure and proxy, in the order of rounds; `notes` say what is missing, and why."""

    values: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, figure: str, name: str, value: float) -> None:
        """Take down a value."""
        self.values.setdefault((figure, name), []).append(value)

    def of(self, figure: str, name: str = "meter") -> list[float]:
        """Return the values of a figure, none where it was not measured."""
        return self.values.get((figure, name), [])

    def names(self, figure: str) -> list[str]:
        """Return whose figure was measured."""
        return [name for told, name in self.values if told == figure]

    def ratios(self, figure: str, name: str, to: str) -> list[float]:
        """Return how many times a proxy's figure is another's."""
        pairs = zip(self.of(figure, name), self.of(figure, to), strict=False)
        return [ours / theirs for ours, theirs in pairs if theirs]

    def added(self, figure: str, name: str) -> list[float]:
        """Return what a proxy adds to what the upstream itself takes."""
        pairs = zip(self.of(figure, name), self.of(figure, "direct"), strict=False)
        return [ours - theirs for ours, theirs in pairs]


def median(values: list[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def spread(values: list[float], digits: int) -> str:
    """Return the least and the most, in words; nothing where there is but one."""
    if len(values) < 2:  # noqa: PLR2004 - one value has no spread
        return ""
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"
