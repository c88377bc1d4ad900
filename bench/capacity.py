"""How many proxies some traffic needs, on paper and by simulation: `python -m bench.capacity --help`.

On paper, CPU seconds per second are exchanges times their cost and events times theirs. What a proxy of one
core makes of its share is simulated: exchanges come at random, their events spread over their duration, and
each waits until those before it have been served. The costs are those of `RESULTS.md`, on its machine.
"""

from __future__ import annotations

import argparse
import random
import statistics
from dataclasses import dataclass

EXCHANGE_US = 200.0
"""CPU time of an exchange, all sinks on."""
EVENT_US = 12.0
"""CPU time of one event of a stream."""
LOADS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Shares of a core's time that are tried."""
SIMULATED_EVENTS = 300_000
SEED = 1


@dataclass(frozen=True)
class Traffic:
    """What has to be served: so many exchanges per second, each of so many events over so many seconds."""

    per_second: float
    events: int
    seconds: float
    exchange_us: float
    event_us: float

    @property
    def cores(self) -> float:
        """CPU seconds per second that it takes."""
        return self.per_second * (self.exchange_us + self.events * self.event_us) / 1e6

    @property
    def streams(self) -> float:
        """Exchanges that are open at once, by Little's law."""
        return self.per_second * self.seconds


def waits(traffic: Traffic, load: float, draw: random.Random) -> list[float]:
    """Return how long each event waits in a proxy of one core with this share of work, in ms, sorted."""
    rate = traffic.per_second * load / traffic.cores
    count = max(100, SIMULATED_EVENTS // (traffic.events + 1))
    jobs: list[tuple[float, float]] = []
    now = 0.0
    for _ in range(count):
        now += draw.expovariate(rate)
        jobs.append((now, traffic.exchange_us / 1e6))
        gap = traffic.seconds / (traffic.events + 1)
        jobs += [
            (now + gap * (number + draw.random()), traffic.event_us / 1e6) for number in range(traffic.events)
        ]
    jobs.sort()
    steady = [job for job in jobs if min(traffic.seconds, now / 2) <= job[0] <= now]
    free, found = 0.0, []
    for came, cost in steady:
        begins = max(came, free)
        found.append(1000 * (begins - came))
        free = begins + cost
    return sorted(found)


def table(traffic: Traffic) -> str:
    """Return what each share of work means: proxies of one core, and how long their events wait."""
    draw = random.Random(SEED)  # noqa: S311 - a simulation, and the same each time
    per_minute = traffic.per_second * 60
    head = [
        f"{per_minute:,.0f} requests a minute, {traffic.events} events each over {traffic.seconds:g} s:",
        f"{traffic.cores:,.1f} cores, {traffic.streams:,.0f} streams at once,",
        f"{traffic.per_second:,.0f} rows a second",
        "",
        "| busy | proxies of one core | streams each | wait p50 | p99 |",
        "|--:|--:|--:|--:|--:|",
    ]
    rows = []
    for load in LOADS:
        found = waits(traffic, load, draw)
        proxies = max(1, -(-traffic.cores // load))
        p99 = statistics.quantiles(found, n=100)[98]
        rows.append(
            f"| {load:.0%} | {proxies:,.0f} | {traffic.streams / proxies:,.0f} "
            f"| {statistics.median(found):.2f} ms | {p99:.2f} ms |"
        )
    return "\n".join([*head, *rows])


def main() -> None:
    """Print the table for the traffic of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--per-minute", type=float, default=1_000_000, help="requests (1000000)")
    parser.add_argument("--events", type=int, default=150, help="events of each answer; 0: no stream (150)")
    parser.add_argument("--seconds", type=float, default=6.0, help="that an answer takes (6)")
    parser.add_argument("--exchange-us", type=float, default=EXCHANGE_US)
    parser.add_argument("--event-us", type=float, default=EVENT_US)
    asked = parser.parse_args()
    print(
        table(Traffic(asked.per_minute / 60, asked.events, asked.seconds, asked.exchange_us, asked.event_us))
    )


if __name__ == "__main__":
    main()
