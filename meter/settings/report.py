"""What is said of wrong settings: one line for each problem, in the order in which people look for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from meter.settings.layers import Origin

__all__ = ["Problem", "SettingsError", "lines"]


class SettingsError(Exception):
    """Something is wrong with the settings; its text is the whole report, one line for each wrong setting."""

    def __init__(self, lines: Iterable[str]) -> None:
        super().__init__("\n".join(lines))


class Problem(NamedTuple):
    """Something that is wrong, and where it was said."""

    origin: Origin
    text: str


def lines(problems: Iterable[Problem]) -> Iterator[str]:
    """Yield a line for each: options first, then variables, each by name; then the file from its top."""
    for origin, text in sorted(problems, key=lambda problem: (problem.origin.line > 0, problem.origin)):
        yield f"{origin}: {text}" if origin.source else text
