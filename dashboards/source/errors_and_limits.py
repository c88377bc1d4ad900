"""Errors and limits: what fails and whose fault it is, why answers end, how near the rate limits are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboards.source import promql, series
from dashboards.source.panels import (
    ORANGE,
    OUTCOMES,
    RED,
    YELLOW,
    Column,
    Look,
    Panel,
    Query,
    about,
    lines,
    number,
    rows,
    stack,
)
from dashboards.source.queries import ERROR_SHARE, FOLDED, error_share
from dashboards.source.variables import TAG

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["sections"]

_ALL = promql.rate(series.REQUESTS)
_CALLERS = ("upstream", "key", "model")
_LIMIT = (*_CALLERS, "resource")


def sections() -> dict[str, Iterator[Panel]]:
    """Return the panels, by the title of their row."""
    return {
        "Now": _now(),
        "What went wrong": _errors(),
        "Where": _where(),
        "How answers end": _ends(),
        "Rate limits of the upstreams": _limits(),
    }


def _now() -> Iterator[Panel]:
    for title, shows, worry, expression, steps in (
        (
            "Errors",
            "The share of requests that failed. A client that left did not fail.",
            "over 5 %.",
            ERROR_SHARE,
            (0.02, 0.05),
        ),
        (
            "Too many requests",
            "The share that was answered with 429: by the upstream, or by a budget that stops.",
            "over 1 %: somebody is at a limit.",
            promql.share(promql.rate(series.LIMITED), _ALL),
            (0.01, 0.05),
        ),
        (
            "Truncated",
            "The share whose answer broke off, or ended before it was complete.",
            "over 0: an upstream, or something before it, cuts connections.",
            promql.share(promql.rate(series.TRUNCATED), _ALL),
            (0.001, 0.01),
        ),
        (
            "Clients that left",
            "The share whose client left before the answer's end. What was told until then is paid for.",
            "when it rises with the time to the first token: people do not wait.",
            promql.share(promql.rate(series.CLIENT_CLOSED), _ALL),
            (0.1, 0.25),
        ),
        (
            "Refused by Meter",
            "The share that Meter itself refused: malformed, without an upstream, too large, over a budget.",
            "when it is not for a budget.",
            promql.share(promql.rate(series.REJECTED), _ALL),
            (0.01, 0.05),
        ),
        (
            "Cut short by a limit",
            "The share of answers that ended since they reached a limit of tokens.",
            "over 10 %: readers get half an answer.",
            promql.share(promql.rate(series.CUT_SHORT), promql.rate(series.FINISHED)),
            (0.1, 0.3),
        ),
    ):
        yield number(
            title,
            about(shows, worry),
            Query(expression),
            Look(
                width=4,
                height=4,
                unit="percentunit",
                decimals=1,
                steps=list(zip(steps, (YELLOW, RED), strict=True)),
            ),
        )


def _errors() -> Iterator[Panel]:
    yield stack(
        "Requests by outcome",
        about(
            "Requests per second. `client_error`: the upstream answered 4xx. `upstream_error`: 5xx. "
            "`stream_error`: an error inside an answer that began well. `rejected`: refused by Meter.",
            "when anything but `ok` is thick.",
        ),
        [Query(promql.rate(series.REQUESTS, "outcome"), "{{outcome}}", exemplars=True)],
        Look(width=12, height=10, unit="reqps", colors=OUTCOMES),
    )
    yield stack(
        "Errors by type",
        about(
            "Requests per second that are not `ok`, by what the upstream called the error, else by status, "
            "else by outcome.",
            "when a type is new, or grows.",
        ),
        [Query(promql.rate(series.ERRORS, "error_type"), "{{error_type}}")],
        Look(width=12, height=10, unit="reqps"),
    )


def _where() -> Iterator[Panel]:
    for by in ("upstream", "model", "key"):
        yield lines(
            f"Errors by {by}",
            about(
                f"The share of requests that failed: the ten with the most requests. {FOLDED}", "over 5 %."
            ),
            [Query(promql.top(error_share(by), series.REQUESTS, by), f"{{{{{by}}}}}")],
            Look(width=8, height=9, unit="percentunit", decimals=1, steps=[(0.05, RED)]),
        )
    named = {"error_type": "Error", "upstream": "Upstream", "model": "Model", "key": "Key"}
    yield rows(
        "Errors, one by one",
        about(
            f"Over the dashboard's range: requests that are not `ok`. {FOLDED}",
            "when a row is high that is not a client's fault.",
        ),
        named,
        [
            Column(
                title="Requests",
                expression=f"topk(50, {promql.grown(series.ERRORS, *named)}) > 0",
                unit="locale",
                decimals=0,
                bar=True,
                steps=[(0, ORANGE)],
            )
        ],
        Look(width=16, height=10, unit="short"),
        sort="Requests",
    )
    yield lines(
        f"Errors by {TAG}",
        about(
            f"The share of requests that failed, by the label that the variable *Tag* names. {FOLDED}",
            "over 5 %.",
        ),
        [Query(promql.top(error_share(TAG), series.REQUESTS, TAG))],
        Look(width=8, height=10, unit="percentunit", decimals=1, steps=[(0.05, RED)]),
    )


def _ends() -> Iterator[Panel]:
    yield stack(
        "Finish reasons",
        about(
            "Answers per second by why the model stopped, as the upstream said it. `length` and "
            "`max_tokens`: at a limit. `__other__`: no published reason.",
            "when `length` or `content_filter` grow.",
        ),
        [Query(promql.rate(series.FINISHED, "reason"), "{{reason}}")],
        Look(width=8, height=9, unit="ops"),
    )
    yield stack(
        "Answers that did not reach their end",
        about(
            "Requests per second. `truncated`: the upstream broke off. `client_closed`: the client left.",
            "when `truncated` is over 0 for some minutes.",
        ),
        [
            Query(promql.rate(series.TRUNCATED, "outcome"), "{{outcome}}"),
            Query(promql.rate(series.CLIENT_CLOSED, "outcome"), "{{outcome}}"),
        ],
        Look(width=8, height=9, unit="reqps", colors=OUTCOMES),
    )
    yield lines(
        "Asking for usage",
        about(
            "Requests per second. `asked`: Meter asked for usage on the client's behalf. `refused`: the "
            "upstream did not like it, and the request was sent again as the client wrote it. Narrowed by "
            "upstream only.",
            "when `refused` does not go back to 0: set `usage: never` for that upstream.",
        ),
        [
            Query(promql.rate(series.ASKED, "upstream"), "{{upstream}}: asked"),
            Query(promql.rate(series.REFUSED, "upstream"), "{{upstream}}: refused"),
        ],
        Look(width=8, height=9, unit="reqps"),
    )


def _limits() -> Iterator[Panel]:
    left, limit = promql.least(series.LEFT, *_LIMIT), promql.highest(series.LIMIT, *_LIMIT)
    fall = promql.least(f"deriv({series.LEFT}[$__rate_interval])", *_LIMIT)
    asked = promql.rate(series.REQUESTS, *_CALLERS)
    # What nobody asks for stays as it was last told.
    in_use = f"and on ({', '.join(_CALLERS)}) ({asked} > 0)"
    by_key = ("upstream", "key", "resource")
    yield lines(
        "Left of the limits",
        about(
            "As the upstreams last said, the lowest over models and instances, while there are requests: "
            "what nobody asks for stays as it was last told, and so is not shown.",
            "under 10 %: 429 is near.",
        ),
        [
            Query(
                f"bottomk(10, min by ({', '.join(by_key)}) ({left} / ({limit} > 0) {in_use}))",
                "{{upstream}} {{key}} {{resource}}",
            )
        ],
        Look(width=24, height=8, unit="percentunit", decimals=0, most=1),
        right=True,
    )
    yield rows(
        "Limits",
        about(
            "As of now, as the upstreams last said, while there are requests. *Whole again in* is as of the "
            "answer. *Gone in* is when nothing is left at the pace of this moment; empty: it is not falling.",
            "when *Gone in* is shorter than *Whole again in*.",
        ),
        dict(zip(_LIMIT, ("Upstream", "Key", "Model", "Resource"), strict=True)),
        [
            Column(title="Limit", expression=f"{limit} {in_use}", unit="locale", decimals=0),
            Column(title="Left", expression=f"{left} {in_use}", unit="locale", decimals=0),
            Column(
                title="Used",
                expression=f"1 - {left} / ({limit} > 0) {in_use}",
                unit="percentunit",
                decimals=0,
                bar=True,
                most=1,
                steps=[(0.8, YELLOW), (0.95, RED)],
            ),
            Column(
                title="Whole again in",
                expression=f"{promql.highest(series.RESET, *_LIMIT)} {in_use}",
                unit="s",
                decimals=0,
            ),
            Column(
                title="Gone in",
                expression=f"{left} / -({fall} < 0) {in_use}",
                unit="s",
                decimals=0,
            ),
        ],
        Look(width=24, height=10, unit="short"),
        sort="Used",
    )
