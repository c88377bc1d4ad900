"""What is told of an exchange as spans: names, times, status and attributes.

Everything here follows from the record. One span is Meter's own, in which it served the client; the other is
below it, in which the upstream was asked, and carries all that is said of models, tokens and cost. What is
not known is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from meter import dialects, semconv
from meter.exchange import Outcome, UsageSource
from meter.labels import NONE
from meter.sinks.telemetry.content import asked, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from meter.exchange import Exchange

__all__ = ["Attribute", "Attributes", "Span", "addresses", "generative", "route", "spans"]

Attribute: TypeAlias = str | bool | int | float | tuple[str, ...]
Attributes: TypeAlias = dict[str, Attribute]
Addresses: TypeAlias = "Mapping[str, tuple[str, int | None]]"

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_OTHER_METHOD = "_OTHER"
_SERVER_ERRORS = 500
_GREATEST = 2**63

_BROKEN = frozenset(
    {
        Outcome.UPSTREAM_ERROR,
        Outcome.STREAM_ERROR,
        Outcome.TRUNCATED,
        Outcome.TIMEOUT,
        Outcome.UNREACHABLE,
    }
)
"""Outcomes that are an error for whoever serves; for whoever asks, a refusal is one too."""


class Span(NamedTuple):
    """A span as it is to be told; ids are hex digits, times are nanoseconds since 1970."""

    name: str
    serves: bool
    """It is Meter's own (SERVER); else it is that in which an upstream is asked (CLIENT)."""
    trace_id: str
    span_id: str
    parent_id: str | None
    remote: bool
    """The parent is somebody else's."""
    state: str
    begins: int
    ends: int
    error: bool
    attributes: Attributes


def addresses(upstreams: Iterable[tuple[str, str]]) -> Addresses:
    """Return host and port of upstreams by name, from their names and base URLs."""
    found = {}
    for name, base in upstreams:
        url = urlsplit(base)
        found[name] = (url.hostname or "", url.port or {"https": 443, "http": 80}.get(url.scheme))
    return found


def spans(x: Exchange, upstreams: Addresses, *, scheme: str = "http", content: bool = False) -> list[Span]:
    """Return the spans of an exchange; none where it is not sampled.

    `upstreams` are host and port by name, `scheme` is how clients come. With `content`, prompt and answer
    are told, as far as they were taken down.
    """
    if x.spans is None or not x.spans.sampled:
        return []
    if _is_turn(x):
        return [_asking(x, upstreams, content=content, parent=x.spans.parent_id)]
    serving = _serving(x, scheme)
    if not x.attempts:
        return [serving]
    return [serving, _asking(x, upstreams, content=content, parent=x.spans.server_id)]


def route(x: Exchange) -> str | None:
    """Return the path that an exchange's format is usually spoken at: one of few, whatever a client sends."""
    last = x.path.rstrip("/").split("/")
    if x.operation == "realtime" or _is_turn(x):
        return f"/v1/{last[-1]}" if last[-1] in dialects.SOCKETS else None
    if dialects.find(x.method, x.path) is None:
        return None
    _, colon, verb = last[-1].rpartition(":")
    if colon:
        return f"/v1beta/models/{{model}}:{verb}"
    known = next((key for n in (2, 1) if (key := tuple(last[-n:])) in dialects.DIALECTS), ())
    return "/" + "/".join(known if known[0] in _ROOTS else ("v1", *known))


_ROOTS = frozenset({"v1", "v2", "api"})


def generative(x: Exchange, upstreams: Addresses) -> Attributes:
    """Return what both spans and metrics tell of who was asked for what."""
    host, port = upstreams.get(x.upstream, ("", None))
    return _known(
        {
            semconv.OPERATION_NAME: semconv.OPERATIONS.get(x.operation, x.operation),
            semconv.PROVIDER_NAME: x.provider,
            semconv.REQUEST_MODEL: x.request_model,
            semconv.RESPONSE_MODEL: x.response_model,
            semconv.SERVER_ADDRESS: host or None,
            semconv.SERVER_PORT: port,
        }
    )


def _is_turn(x: Exchange) -> bool:
    """Tell whether it took place inside of another, on a connection that was there already."""
    return x.attempts > 0 and x.overhead_request_s is None


def _serving(x: Exchange, scheme: str) -> Span:
    assert x.spans is not None  # noqa: S101 - who calls has looked
    where = route(x)
    method = x.method if x.method in _METHODS else _OTHER_METHOD
    error = x.outcome in _BROKEN or (x.status or 0) >= _SERVER_ERRORS
    named = error or x.outcome in (Outcome.CLIENT_CLOSED, Outcome.REJECTED)
    attributes = _known(
        {
            semconv.HTTP_REQUEST_METHOD: method,
            semconv.HTTP_ROUTE: where,
            semconv.URL_PATH: x.path or None,
            semconv.URL_SCHEME: scheme,
            semconv.HTTP_RESPONSE_STATUS_CODE: x.status,
            semconv.HTTP_REQUEST_BODY_SIZE: x.request_bytes,
            semconv.HTTP_RESPONSE_BODY_SIZE: x.response_bytes,
            semconv.ERROR_TYPE: x.error_type or None if named else None,
            **_own(x),
        }
    )
    return Span(
        name=" ".join(filter(None, ("HTTP" if method == _OTHER_METHOD else method, where))),
        serves=True,
        trace_id=x.spans.trace_id,
        span_id=x.spans.server_id,
        parent_id=x.spans.parent_id,
        remote=True,
        state=x.spans.state,
        begins=_moment(x, 0.0),
        ends=_moment(x, x.duration_s),
        error=error,
        attributes=attributes,
    )


def _asking(x: Exchange, upstreams: Addresses, *, content: bool, parent: str | None) -> Span:
    assert x.spans is not None  # noqa: S101 - who calls has looked
    attributes = _known(
        {
            **generative(x, upstreams),
            **x.parameters,
            semconv.REQUEST_STREAM: x.parameters.get(semconv.REQUEST_STREAM, x.stream or None),
            semconv.RESPONSE_ID: x.response_id,
            semconv.RESPONSE_FINISH_REASONS: x.finish_reasons or None,
            semconv.RESPONSE_TIME_TO_FIRST_CHUNK: first_chunk(x),
            semconv.RESPONSE_SERVICE_TIER: x.service_tier,
            semconv.HTTP_RESEND_COUNT: x.attempts - 1 or None,
            semconv.ERROR_TYPE: x.error_type or None,
            **_usage(x),
            **_own(x),
            semconv.METER_COST_USD: None if x.cost_usd is None else float(x.cost_usd),
            semconv.METER_USAGE_SOURCE: x.usage_source.value,
            semconv.METER_PRICE_STATUS: x.price_status.value,
            **(_content(x) if content else {}),
        }
    )
    begins, ends = asked_from_to(x)
    operation = attributes[semconv.OPERATION_NAME]
    return Span(
        name=_sound(" ".join(filter(None, (str(operation), x.request_model)))),
        serves=False,
        trace_id=x.spans.trace_id,
        span_id=x.spans.client_id,
        parent_id=parent,
        remote=False,
        state=x.spans.state,
        begins=_moment(x, begins),
        ends=_moment(x, ends),
        error=x.outcome not in (Outcome.OK, Outcome.CLIENT_CLOSED),
        attributes=attributes,
    )


def asked_from_to(x: Exchange) -> tuple[float, float]:
    """Return when the request began to go up and when the last of the answer came, from its first byte."""
    begins = x.sent_s or 0.0
    return begins, max(begins, x.duration_s - (x.overhead_response_s or 0.0))


def first_chunk(x: Exchange) -> float | None:
    """Return the seconds from asking to the first content; streams only."""
    return None if x.ttft_s is None else max(0.0, x.ttft_s - (x.sent_s or 0.0))


def _own(x: Exchange) -> dict[str, Attribute | None]:
    """Return what is Meter's own, and said of both spans."""
    tags = {f"{semconv.METER_TAG}{name}": value for name, value in x.tags.items()}
    return {
        semconv.METER_ID: x.id,
        semconv.METER_KEY: x.key or NONE,
        semconv.METER_UPSTREAM: x.upstream,
        semconv.METER_OUTCOME: x.outcome.value,
        **tags,
    }


def _usage(x: Exchange) -> dict[str, Attribute | None]:
    if x.usage_source is UsageSource.NONE:
        return {}
    written = _kinds(x, "input_cache_write")
    return {
        semconv.USAGE_INPUT_TOKENS: x.input_tokens,
        semconv.USAGE_OUTPUT_TOKENS: x.output_tokens,
        semconv.USAGE_CACHE_READ: _kinds(x, "input_cached"),
        semconv.USAGE_CACHE_CREATION: written,
        semconv.USAGE_CACHE_WRITE: written,
        semconv.USAGE_REASONING: _kinds(x, "output_reasoning"),
    }


def _kinds(x: Exchange, beginning: str) -> int | None:
    """Return the sum of the kinds of tokens that begin so; None where none was told."""
    counts = [count for kind, count in (x.usage or {}).items() if kind.startswith(beginning)]
    return sum(counts) if counts else None


def _content(x: Exchange) -> dict[str, Attribute | None]:
    return {
        semconv.INPUT_MESSAGES: None if x.question is None else asked(x.question),
        semconv.OUTPUT_MESSAGES: None if not x.answer else told(x.answer, x.finish_reasons),
    }


def _known(attributes: Mapping[str, Attribute | None]) -> Attributes:
    """Leave out what is not known, and what no collector could take."""
    return {
        _sound(name): _KINDS.get(type(value), _as_it_is)(value)
        for name, value in attributes.items()
        if value is not None and not (type(value) is int and abs(value) >= _GREATEST)
    }


def _sound(text: str) -> str:
    """Return a text without lone surrogates, which UTF-8 cannot say."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _as_it_is(value: Attribute) -> Attribute:
    return value


_KINDS: Mapping[type, Callable[..., Attribute]] = {
    str: _sound,
    tuple: lambda texts: tuple(_sound(text) for text in texts),
}


def _moment(x: Exchange, seconds: float) -> int:
    """Return a moment of an exchange, told by the seconds since its first byte."""
    # Added as whole numbers: a float has no nanoseconds so long after 1970.
    return round(x.started_at * 1e6) * 1000 + round(seconds * 1e9)
