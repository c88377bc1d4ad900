"""The YAML file: what it says, and on which line.

A file that is no YAML, or no mapping, is the only problem that is told alone: nothing else of it is known.
"""

from __future__ import annotations

import re
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from meter.settings.layers import Layer, Origin
from meter.settings.report import SettingsError
from meter.settings.tree import found
from meter.settings.words import kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meter.settings.tree import Place

__all__ = ["file_layer"]


def file_layer(name: str) -> Layer:
    """Return what the file of this name says; raise `SettingsError` where it cannot be read."""
    try:
        loader = _Loader(Path(name).read_bytes())
        node = loader.get_single_node()
        values = loader.construct_document(node) if node else None
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise SettingsError([f"{name}: cannot be read: {reason}"]) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        # A secret that lacks its quotes and begins with * or ! is an alias or a tag, and YAML would name it.
        problem = re.sub(r"\b(alias|anchor|tag)\b.*", r"\1", error.problem or "", flags=re.DOTALL)
        raise SettingsError([f"{name}:{line}: not valid YAML: {problem}"]) from None
    except (yaml.YAMLError, ValueError, RecursionError):
        unknown = "a character or value that YAML does not know"
        raise SettingsError([f"{name}: not valid YAML: {unknown}"]) from None
    if node is None or values is None:
        return Layer({}, {(): Origin(name)})
    if not isinstance(values, dict):
        raise SettingsError([f"{name}:1: got {kind(values)}, expected a mapping of settings"])
    _anchor(values, Path(name).parent)
    return Layer(values, dict(_origins(node, (), Origin(name))))


class _Loader(yaml.SafeLoader):
    """YAML 1.2's idea of booleans: `on`, `off`, `yes` and `no` are words; a date is a text.

    A name that is given twice is refused: the first would be lost in silence.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012  # a ClassVar is what types-PyYAML does not say it is
        first: [
            (tag, form)
            for tag, form in resolvers
            if not tag.endswith(":timestamp") and not (tag.endswith(":bool") and first in "yYnNoO")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for name, _ in node.value:
            if isinstance(name, yaml.ScalarNode):
                if name.value in seen:
                    problem = f"{name.value} is given twice"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=name.start_mark)
                seen.add(name.value)
        return node


_DEEPEST = 12
"""Nothing that can be set stands deeper, and an alias may point to what it is part of."""


def _origins(node: yaml.Node, place: Place, origin: Origin) -> Iterator[tuple[Place, Origin]]:
    """Yield where each value of a document stands: on the line of its name, else on its own."""
    yield place, origin
    if len(place) > _DEEPEST:
        return
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if isinstance(name, yaml.ScalarNode):
                line = origin._replace(line=name.start_mark.line + 1)
                yield from _origins(value, (*place, name.value), line)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            line = origin._replace(line=value.start_mark.line + 1)
            yield from _origins(value, (*place, index), line)


_RELATIVE = ("prices.files.*", "upstreams.*.tls.ca", "tls.cert", "tls.key", "prices.refresh.source")


def _anchor(values: Any, folder: Path) -> None:
    """Make paths in a file mean what they mean beside it, wherever Meter is started."""
    for pattern in _RELATIVE:
        for place, value in list(found(values, pattern)):  # all before any: aliases share what they name
            if isinstance(value, str) and value and "://" not in value:
                *parents, last = place
                reduce(lambda node, part: node[part], parents, values)[last] = str(folder / value)
