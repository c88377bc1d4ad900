"""Which text format a scrape is answered in, and what is left out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    from prometheus_client import Metric
    from prometheus_client.registry import Collector

    Encode: TypeAlias = Callable[[Collector], bytes]

__all__ = ["Encode", "Timeless", "preferred"]


class Timeless:
    """What is collected, without `_created` series; the library's switch is one for the whole process."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def collect(self) -> Iterator[Metric]:
        """Give every metric, less those samples."""
        for metric in self._collector.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


_FORMATS = frozenset(
    {
        ("application/openmetrics-text", ""),
        ("application/openmetrics-text", "1.0.0"),
        ("text/plain", ""),
        ("text/plain", "0.0.4"),
        ("text/plain", "1.0.0"),
    }
)


def preferred(accept: str) -> str:
    """Give the one media range of an `Accept` header to answer; empty where any will do.

    The library takes the first range that it knows, whatever its weight, and says any version back.
    """
    weighed = [(_weight(parameters), kind, parameters) for kind, parameters in _media_ranges(accept)]
    for weight, kind, parameters in sorted(weighed, key=lambda each: -each[0]):
        if weight > 0 and (kind, parameters.get("version", "")) in _FORMATS:
            return ";".join([kind, *[f"{name}={value}" for name, value in parameters.items() if name != "q"]])
    return ""


def _media_ranges(accept: str) -> Iterator[tuple[str, dict[str, str]]]:
    for text in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in text.split(";"))
        split = (parameter.partition("=") for parameter in parameters)
        yield kind, {name.strip(): value.strip() for name, _, value in split}


def _weight(parameters: dict[str, str]) -> float:
    try:
        return float(parameters.get("q", "1"))
    except ValueError:
        return 0.0
