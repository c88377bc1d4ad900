"""What the operating system says of Meter: its processes as if they were one.

The library reads `/proc` of one process. Of several, all is added up but the start, which is this process's;
CPU time has that of processes which have ended, for a counter must not fall.
"""

from __future__ import annotations

import resource
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from prometheus_client import Metric

__all__ = ["Processes"]

_START = "process_start_time_seconds"
_CPU = "process_cpu_seconds"


class Processes:
    """This process and its children; `children` are the ids of those that live, at any time."""

    def __init__(self, children: Collection[int], registry: CollectorRegistry) -> None:
        self._children = children
        self._own = ProcessCollector(registry=None)
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Read it all."""
        told = {metric.name: metric for metric in self._own.collect()}
        for child in tuple(self._children):
            for metric in ProcessCollector(pid=partial(int, child), registry=None).collect():
                if metric.name != _START:
                    _add(told[metric.name], metric.samples[0].value)
        if _CPU in told:
            ended = resource.getrusage(resource.RUSAGE_CHILDREN)
            _add(told[_CPU], ended.ru_utime + ended.ru_stime)
        yield from told.values()


def _add(metric: Metric, more: float) -> None:
    (sample,) = metric.samples
    metric.samples = [sample._replace(value=sample.value + more)]
