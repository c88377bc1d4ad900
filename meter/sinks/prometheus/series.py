"""The metrics that count exchanges: plain numbers, and the lines that a scrape shows of them.

The library keeps each number in an object with a lock and makes several of each line. So many set the garbage
collector off, and nothing else runs while it looks at them all. Here a series is one object, to which one
thread adds and which any may read. How a line is written stays the library's matter: once a scrape it writes
each metric with marks in place of label values and numbers, and no more than those is filled in.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import Counter
from prometheus_client.utils import floatToGoString

from meter.sinks.prometheus.exposition import Timeless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import TypeAlias

    from meter.sinks.prometheus.exposition import Encode
    from meter.sinks.prometheus.rows import Row

    # Ids of a trace and of an exchange, and the time.
    Mark: TypeAlias = tuple[str, str, float]

__all__ = ["Family", "SeriesOf"]

_VALUE = "%s"
"""Stands for what differs between series of one metric; no format escapes it."""
_END = "# EOF\n"
_PLAIN = 1_000_000.0
"""From here on Go writes numbers in another way than Python."""

_in_go: Callable[[float], str] = floatToGoString


class Series:
    """One series: a value, or else the sum of what was observed beside the counts of each bucket."""

    __slots__ = ("_bounds", "_counts", "_exemplars", "_labels", "value")

    def __init__(self, labels: tuple[str, ...], bounds: tuple[float, ...]) -> None:
        self.value = 0.0
        self._labels = labels
        self._bounds = bounds
        self._counts = [0.0] * (len(bounds) + 1) if bounds else []
        self._exemplars: dict[int, tuple[Mark, float]] = {}

    def add(self, amount: float, mark: Mark | None = None) -> None:
        """Add to a counter."""
        if amount < 0:
            raise ValueError("a counter cannot fall")
        self.value += amount
        if mark is not None:
            self._exemplars[0] = mark, amount

    def observe(self, amount: float, mark: Mark | None = None) -> None:
        """Count an amount in the first bucket that it does not exceed."""
        bucket = bisect_left(self._bounds, amount)
        self.value += amount
        self._counts[bucket] += 1.0
        if mark is not None:
            self._exemplars[bucket] = mark, amount

    def fields(self, *, exemplars: bool) -> tuple[str, ...]:
        """Give what its lines are filled in with: on each, the label values and a number."""
        numbers = self._numbers()
        if exemplars and self._exemplars:
            for position, exemplar in self._exemplars.copy().items():  # exchanges come meanwhile
                numbers[position] += _shown(*exemplar)
        if len(numbers) == 1:
            return (*self._labels, *numbers)
        width = len(self._labels) + 1
        fields = [*self._labels, ""] * len(numbers)
        fields[width - 1 :: width] = numbers
        return tuple(fields)

    def _numbers(self) -> list[str]:
        if not self._bounds:
            return [_number(self.value)]
        counts = [*accumulate(self._counts)]
        number = repr if counts[-1] < _PLAIN else _in_go
        return [*map(number, counts), number(counts[-1]), _number(self.value)]


class Family:
    """All series of one metric."""

    def __init__(self, row: Row, id_names: tuple[str, ...]) -> None:
        names = tuple(name for label in row.labels for name in (id_names if label == "id" else (label,)))
        self._bounds = row.bounds
        self._positions = [id_names.index(name) for name in names if name in id_names]
        self._sorted = sorted(range(len(names)), key=names.__getitem__)
        self._series: dict[tuple[str, ...], Series] = {}
        self._pattern = row.plain(names)
        self._pattern.labels(*[_VALUE] * len(names))
        self._by_upstream = row.make is Counter and names == ("upstream",)

    def start(self, upstreams: Iterable[str]) -> None:
        """Show at 0 what has no label but the upstream."""
        if self._by_upstream:
            for upstream in upstreams:
                self.find((upstream,), ())

    def find(self, ids: tuple[str, ...], own: Iterable[str]) -> Series:
        """Give the series of an exchange's labels, as far as the metric has them, and of own ones."""
        labels = (*[ids[position] for position in self._positions], *own)
        series = self._series.get(labels)
        if series is None:
            escaped = tuple(_escaped(labels[position]) for position in self._sorted)
            self._series[labels] = series = Series(escaped, self._bounds)
        return series

    def lines(self, encode: Encode) -> Iterator[bytes]:
        """Write all series as `encode` would, each for itself, so that nobody waits for them all."""
        written = encode(Timeless(self._pattern)).decode()
        about, kind, samples = written.split("\n", 2)
        yield f"{about}\n{kind}\n".encode()
        exemplars = samples.endswith(_END)
        template = samples.removesuffix(_END).replace(" 0.0\n", f" {_VALUE}\n")
        for series in list(self._series.values()):  # exchanges come meanwhile
            yield (template % series.fields(exemplars=exemplars)).encode()


class SeriesOf(dict[tuple[str, ...], Series]):
    """The series of one set of id labels, by metric and own labels; made when first asked for."""

    __slots__ = ("_families", "_ids")

    def __init__(self, families: Mapping[str, Family], ids: tuple[str, ...]) -> None:
        super().__init__()
        self._families = families
        self._ids = ids

    def __missing__(self, key: tuple[str, ...]) -> Series:
        name, *own = key
        self[key] = series = self._families[name].find(self._ids, own)
        return series


def _number(value: float) -> str:
    return repr(value) if 0 <= value < _PLAIN else _in_go(value)


def _shown(mark: Mark, amount: float) -> str:
    trace_id, own_id, at = mark
    return f' # {{id="{_escaped(own_id)}",trace_id="{_escaped(trace_id)}"}} {_in_go(amount)} {at}'


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
