"""Meter itself: the proxy's own health, instance by instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboards.source import promql, series
from dashboards.source.panels import (
    RED,
    YELLOW,
    Column,
    Look,
    Panel,
    Query,
    about,
    heats,
    lines,
    number,
    rows,
    stack,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["sections"]

_SINK_FAILING = "over 0: the log event `sink_failing` names the exception."
_PARTS = "Expect none. `proxy`, `tap` and `book` are parts of Meter; the others are its sinks."


def sections() -> dict[str, Iterator[Panel]]:
    """Return the panels, by the title of their row."""
    return {
        "Now": _now(),
        "Work": _work(),
        "Time": _time(),
        "What is kept": _kept(),
        "Resources": _resources(),
        "Versions": _versions(),
    }


def _now() -> Iterator[Panel]:
    yield _count(
        "Instances",
        "Instances that Prometheus can reach.",
        "when there are fewer than there should be.",
        f"count({series.BUILD})",
    )
    yield _count(
        "Draining",
        "Instances that are about to stop: they finish what they have and take nothing new.",
        "when it lasts longer than `timeouts.drain`.",
        promql.total(series.DRAINING),
        bad=YELLOW,
    )
    yield _count(
        "Wrong settings",
        "Instances that refused the settings they last read, and go on with those before.",
        "over 0: the log event `reload_failed` has the reason.",
        promql.total(f"{series.RELOADED} == bool 0"),
        bad=RED,
    )
    for title, shows, worry, counter in (
        ("Failures", _PARTS, _SINK_FAILING, series.SINK_ERRORS),
        (
            "Requests not kept",
            "Requests that a sink had no room for.",
            "over 0: the ledger's disk or database is too slow, or full.",
            series.SINK_DROPPED,
        ),
        (
            "Worker restarts",
            "Workers that died and were started anew.",
            "over 0: the log of that time says why.",
            series.RESTARTS,
        ),
    ):
        shown = f"Over the dashboard's range. {shows}"
        yield _count(title, shown, worry, promql.grown(counter), bad=RED, latest=True)


def _count(
    title: str, shows: str, worry: str, expression: str, *, bad: str = "", latest: bool = False
) -> Panel:
    steps = [(1, bad)] if bad else []
    look = Look(width=4, height=4, unit="short", decimals=0, steps=steps, empty="0" if latest else None)
    return number(title, about(shows, worry), Query(expression), look, latest=latest)


def _work() -> Iterator[Panel]:
    yield stack(
        "Requests in flight",
        about("Requests under way, by operation.", "when it only rises: an upstream has stopped to answer."),
        [Query(f"{promql.total(series.INSTANCE_IN_FLIGHT, 'operation')} > 0", "{{operation}}")],
        Look(width=8, height=9, unit="short", decimals=0),
    )
    yield lines(
        "In flight by instance",
        about("Requests under way, by instance.", "when one instance has far more than the others."),
        [Query(promql.total(series.INSTANCE_IN_FLIGHT, "instance"), "{{instance}}")],
        Look(width=8, height=9, unit="short", decimals=0),
    )
    yield lines(
        "Drains",
        about(
            "Requests whose clients have left, and that are still read for what they use; only where "
            "`on_client_disconnect` is `drain`.",
            "when it stays high: upstreams do the work for nobody.",
        ),
        [Query(promql.total(series.DRAINS, "instance"), "{{instance}}")],
        Look(width=8, height=9, unit="short", decimals=0, room=1),
    )


def _time() -> Iterator[Panel]:
    yield lines(
        "Overhead by phase",
        about(
            "Time in Meter itself. `request`: from the request read to the upstream write. `response`: from "
            "the upstream's last byte to the client's.",
            "when p99 is over 50 ms: the CPU is short, or requests are huge.",
        ),
        [
            Query(promql.quantile(q / 100, series.INSTANCE_OVERHEAD, "phase"), f"{{{{phase}}}} p{q}")
            for q in (50, 99)
        ],
        Look(width=8, height=9, unit="s", steps=[(0.05, RED)]),
    )
    yield lines(
        "Event loop lag, p99",
        about(
            "How late the event loop was, measured twice a second: every byte waits as long.",
            "over 100 ms: the CPU is short; add instances or workers.",
        ),
        [Query(promql.quantile(0.99, series.LAG, "instance"), "{{instance}}")],
        Look(width=8, height=9, unit="s", steps=[(0.1, RED)]),
    )
    yield heats(
        "Event loop lags",
        about("All instances. The warmer, the more often.", "when a second band appears above the first."),
        promql.heat(series.LAG),
        Look(width=8, height=9, unit="s"),
    )


def _kept() -> Iterator[Panel]:
    yield lines(
        "Failures by part",
        about(f"Per second. {_PARTS}", _SINK_FAILING),
        [Query(promql.rate(series.SINK_ERRORS, "sink"), "{{sink}}")],
        Look(width=8, height=8, unit="cps", room=1),
    )
    yield lines(
        "The ledger",
        about(
            "Per second. `failures`: writes that failed and wait for another try. `lost`: requests that "
            "found no room to wait in, and are in no report.",
            "when `lost` is over 0; before that, when `failures` lasts.",
        ),
        [
            Query(promql.rate(series.LEDGER_ERRORS), "failures"),
            Query(promql.rate(series.LEDGER_DROPPED), "lost"),
        ],
        Look(width=8, height=8, unit="cps", room=1, colors={"lost": RED, "failures": YELLOW}),
    )
    yield lines(
        "Names without room",
        about(
            "Requests per second in which a label was folded to `__other__`, by label. Log, spans and ledger "
            "have the names all the same.",
            "when it is over 0: raise `limits.series`, or somebody makes up names.",
        ),
        [Query(promql.rate(series.OVERFLOW, "label"), "{{label}}")],
        Look(width=8, height=8, unit="reqps", room=1),
    )


def _resources() -> Iterator[Panel]:
    yield lines(
        "Memory",
        about(
            "Resident memory of each instance. Linux only.",
            "when it only rises, or nears the container's limit.",
        ),
        [Query(promql.total(series.MEMORY, "instance"), "{{instance}}")],
        Look(width=8, height=8, unit="bytes"),
    )
    yield lines(
        "CPU",
        about(
            "Cores in use by each instance. A worker uses one at most. Linux only.",
            "over 80 % of a core for each worker.",
        ),
        [Query(promql.rate(series.CPU, "instance"), "{{instance}}")],
        Look(width=8, height=8, unit="percentunit"),
    )
    open_files, most = (promql.total(files, "instance") for files in (series.OPEN_FILES, series.MOST_FILES))
    yield lines(
        "Files and sockets",
        about(
            "Open file descriptors, as a share of what is allowed. Linux only.",
            "over 80 %: raise `ulimit -n`.",
        ),
        [Query(f"{open_files} / {most}", "{{instance}}")],
        Look(width=8, height=8, unit="percentunit", decimals=1, most=1, steps=[(0.8, RED)]),
    )


def _versions() -> Iterator[Panel]:
    build, catalogue = ("instance", "version", "python"), ("instance", "source", "revision")
    yield rows(
        "Instances",
        about(
            "As of now. *Up for* is since the process began. Linux only.",
            "when versions differ long after a rollout.",
        ),
        {"instance": "Instance", "version": "Version", "python": "Python"},
        [
            Column(
                title="Up for",
                expression=_age(
                    promql.highest(series.BUILD, *build), promql.highest(series.STARTED, "instance")
                ),
                unit="s",
                decimals=1,
            )
        ],
        Look(width=12, height=8, unit="short"),
        sort="Instance",
        falling=False,
    )
    yield rows(
        "Price catalogues",
        about(
            "As of now: which catalogue each instance has, and how old its newest price is. Empty with "
            "`prices.catalogue: off`.",
            "when it is older than a month: new models have no price.",
        ),
        {"instance": "Instance", "source": "Catalogue", "revision": "Revision"},
        [
            Column(
                title="Age",
                expression=_age(
                    promql.highest(series.CATALOGUE, *catalogue),
                    promql.least(series.CATALOGUE_TIME, "instance"),
                ),
                unit="s",
                decimals=1,
                steps=[(30 * 86_400, YELLOW), (90 * 86_400, RED)],
            )
        ],
        Look(width=12, height=8, unit="short"),
        sort="Age",
    )


def _age(what: str, since: str) -> str:
    """Return how long ago something was, with the labels of what it is."""
    return f"{what} * on (instance) group_left () (time() - {since})"
