"""A price file's text as a tree: plain values, their lines, and what is said of mistakes.

YAML nodes are read rather than values: `0.15` must stay exactly that, and every mistake is told with its
line. Of what came no more is repeated than finding it takes, and nothing that looks like a secret.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import yaml

from meter.keys import masked

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Place", "PriceFileError", "Problem", "Tree", "compose", "dotted", "shown", "suggestion"]

Place: TypeAlias = tuple[str | int, ...]
"""The names and indexes that lead to a value."""

_DEPTH = 16
"""Deeper than any right file; an alias inside its own anchor has no end."""

_TOO_DEEP = f"nested more than {_DEPTH} deep, expected a price file"

_SHOWN = 60
"""Characters of a wrong text that are repeated."""


class PriceFileError(ValueError):
    """A price file that cannot be used. `str` of it is the whole report, one mistake a line."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class Problem(NamedTuple):
    """A mistake, its line and its place, which is empty or ends in `: `."""

    line: int
    where: str
    what: str


def compose(name: str, raw: bytes) -> yaml.Node | None:
    """Read a text as YAML nodes; raises PriceFileError where it is none."""
    try:
        return yaml.compose(raw, yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise PriceFileError([_syntax(name, error)]) from error
    except RecursionError as error:
        raise PriceFileError([f"{name}: {_TOO_DEEP}"]) from error


def _syntax(name: str, error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        # What begins with * or ! is an alias or a tag, and YAML would name it: it may be a secret.
        problem = re.sub(r"\b(alias|anchor|tag)\b.*", r"\1", error.problem or "", flags=re.DOTALL)
        return f"{name}:{error.problem_mark.line + 1}: no YAML: {problem}"
    return f"{name}: no YAML: {getattr(error, 'reason', None) or 'unreadable'}"


class Tree:
    """YAML nodes as plain values, every number and date still the text that was written."""

    def __init__(self) -> None:
        self.lines: dict[Place, int] = {(): 1}
        self.problems: list[Problem] = []

    def read(self, node: yaml.Node | None, path: Place = ()) -> Any:
        """Give the plain value of a node that stands at `path`."""
        if node is None:
            return None
        self.lines.setdefault(path, node.start_mark.line + 1)
        if len(path) > _DEPTH:
            self.complain(path, _TOO_DEEP)
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        return _scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            inner = (*path, str(key.value))
            if not isinstance(key, yaml.ScalarNode):
                self.complain(path, "got a key that is a mapping or a list, expected a text")
            elif key.value in found:
                first, line = self.lines[inner], key.start_mark.line + 1
                self.problems.append(Problem(line, dotted(inner), f"written twice, first on line {first}"))
            else:
                self.lines[inner] = key.start_mark.line + 1
                found[key.value] = self.read(value, inner)
        return found

    def complain(self, path: Place, what: str) -> None:
        """Add a mistake."""
        self.problems.append(Problem(self.line(path), dotted(path), what))

    def line(self, path: Place) -> int:
        """Give the line of a place, or of the nearest one around it."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]


def _scalar(node: yaml.Node) -> str | bool | None:
    if node.tag == "tag:yaml.org,2002:null":
        return None
    if node.tag == "tag:yaml.org,2002:bool":
        return str(node.value).lower() in {"true", "yes", "on"}
    return str(node.value)


def dotted(path: Place) -> str:
    """Write a place as people do, with what parts it from the sentence behind it."""
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return f"{steps.removeprefix('.')}: " if steps else ""


def suggestion(came: str, known: Iterable[str]) -> str:
    """Say which of the known names may have been meant."""
    from difflib import get_close_matches  # noqa: PLC0415 - only who errs should wait for it

    names = sorted(known)
    close = get_close_matches(came, names, n=1)
    return f", did you mean {close[0]!r}?" if close else f", expected one of {', '.join(names)}"


def shown(came: object) -> str:
    """Show what came, as far as it may be."""
    if came is None:
        return "nothing"
    if isinstance(came, bool):
        return "true" if came else "false"
    if isinstance(came, str):
        came = masked(came)
        return repr(came if len(came) <= _SHOWN else f"{came[:_SHOWN]}...")
    if isinstance(came, dict):
        return f"a mapping of {', '.join(came)}" if came else "an empty mapping"
    return "a list"
