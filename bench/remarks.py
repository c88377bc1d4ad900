"""What is known of goals that are not met: what was tried, and what stands in the way.

Told below the table of goals, of those alone that a run has found to be missed. Instructions are those of
user space, by `perf stat`, which counts the same on a busy machine as on a quiet one. Whoever comes nearer
corrects what is said here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MET_BEFORE", "REMARKS"]

MET_BEFORE = (
    "It was met on a quiet machine: look at the spread, and at what is measured without a proxy or a scrape."
)
"""Of a goal of which nothing else is known."""

REMARKS: Mapping[str, str] = {
    "CPU per streamed event, to nginx": (
        "The kernel takes as much of it as of nginx's, and two connections that Python joins unread "
        "(`splice`) come close to nginx: what is above that are calls of Python functions. Of 23 thousand "
        "instructions an event uvloop takes 7, the way from the parser to the client 7, seeing that it is "
        "like the last event and cutting what asking for usage added 9; a stream's beginning and end, 1.5 "
        "million, come on top, a hundredth to each event here. Tried, from 66 thousand in all: no task "
        "wakes up for a piece; an event like the last is not read as JSON; what is said is weighed "
        "together, and only where nobody tells what was used; a piece goes through fewer hands."
    ),
    "CPU per streamed event, to Envoy": (
        "As above; Envoy takes 15 thousand instructions, beginning and end included."
    ),
    "CPU per small JSON exchange, to bare aiohttp": (
        "Of 750 thousand instructions (1,450 before), 130 are aiohttp's server and its parser, 90 the "
        "ledger's row, 40 the log line, 45 the metrics, 50 price and record, 110 reading the JSON of "
        "request and answer; what is left is flat: no function takes more than a fiftieth. Tried: fields "
        "laid out once for the same names, prices and labels remembered, usage read in one way, a row and a "
        "line made without a dictionary, one task for a connection instead of one for each request. Not "
        "taken: a server of our own on httptools, which would take 75 less, for it would be our own code "
        "where a well-kept library does. With metrics and prices alone Meter takes 1.05 x what bare does "
        "(RESULTS-signals.md)."
    ),
    "CPU per small JSON exchange, to Caddy": (
        "As above; the bare proxy, which meters nothing, is above Caddy too."
    ),
    "added time to first event, p50, to nginx's": (
        "nginx adds less than the noise of the machine, and 0.01 ms is taken for it: the ratio says little, "
        "the times in the table below more. Before its first event a request is read, asked for usage and, "
        "for half of the streams here, a connection made (400 thousand instructions, nearly all aiohttp's "
        "connector); and it waits its turn behind the events of 200 streams."
    ),
    "added time to first event, p99, to nginx's": "As above.",
    "memory of an open stream": (
        "aiohttp's server takes 9 KiB of it (the parser, two queues, the request), transports, timers and "
        "the upstream's parser 6; the exchange itself is the rest. Empty queues of our own, 2 KiB, are "
        "gone."
    ),
    "resident memory when idle": (
        "SQLAlchemy takes 10 MiB, the bundled prices 5, what the log's library brings 4, aiohttp's TLS "
        "contexts 2."
    ),
    "two workers: CPU per JSON exchange, to one": (
        "A record that goes to the parent takes 34 thousand instructions more, half of them in the parent; "
        "two processes on one CPU also drive each other out of its caches."
    ),
    "two workers: CPU per event, to one": (
        "Each of two wakes up for fewer events at once: one worker with half the load takes as much for an "
        "event (the table of workers). Counted in instructions, two take as much as one."
    ),
}
"""By the goal's figure."""
