"""Regular expressions that somebody else's text is searched with: which of them may never come to an end.

Where a group that repeats has something inside that repeats too, a text of thirty characters can be divided
among the two in a billion ways, and all of them are tried. A repetition that is possessive, as in
`(?:a++)++`, gives nothing back, and is tried once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["is_steady"]

_TOKEN = re.compile(
    r"""
    (?P<skipped> \\. | \[\^?\]?(?:\\.|[^\]\\])*\] | \(\?\#[^)]*\) | \(\?P=\w+\) | \(\?[aiLmsux]+\) )
  | (?P<atomic> \(\?(?:>|=|!|<=|<!) )
  | (?P<open> \((?:\?(?:P<\w+>|\(\w+\)|[aiLmsux-]*:))? )
  | (?P<close> \) )
  | (?P<choice> \| )
  | (?P<repeat> (?:[*+?]|\{(?P<least>\d*)(?P<comma>,?)(?P<most>\d*)\})(?P<mood>[+?]?) )
  | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_SEVERAL = 16
"""Times that a group may repeat which holds what may be divided in a few ways only."""


@dataclass(slots=True)
class _Group:
    atomic: bool = False
    endless: bool = False
    """Something in it repeats without bound."""
    several: bool = False
    """Something in it repeats from so many to so many times, or one of several things is chosen."""


def is_steady(pattern: str) -> bool:
    """Return whether no group of a valid expression repeats that could be divided in too many ways."""
    groups = [_Group()]
    closed: _Group | None = None  # the group that ended right before
    for token in _TOKEN.finditer(pattern):
        ended, closed = closed, None
        match token.lastgroup:
            case "atomic" | "open":
                groups.append(_Group(atomic=token.lastgroup == "atomic"))
            case "close" if len(groups) > 1:
                closed = groups.pop()
                if closed.atomic:
                    closed = _Group(atomic=True)
                groups[-1].endless |= closed.endless
                groups[-1].several |= closed.several
            case "choice":
                groups[-1].several = True
            case "repeat" if token["mood"] != "+":
                most = _most(token)
                if ended is not None and (
                    (ended.endless and most > 1) or (ended.several and most > _SEVERAL)
                ):
                    return False
                groups[-1].endless |= most == float("inf")
                groups[-1].several |= most > 1 and token["least"] != str(most) and token["comma"] != ""
            case _:
                pass
    return True


def _most(repeat: re.Match[str]) -> float:
    sign = repeat["repeat"][0]
    if sign != "{":
        return 1 if sign == "?" else float("inf")
    if not repeat["comma"]:
        return int(repeat["least"] or 0)
    return int(repeat["most"]) if repeat["most"] else float("inf")
