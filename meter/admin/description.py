"""The description of the admin port for programs, in the words of OpenAPI 3.1.

Written by hand: it is a promise, and the tests hold the answers against it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meter import __version__
from meter.exchange import KINDS, UNITS, Outcome, PriceStatus, UsageSource

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["DESCRIPTION"]

_Schema = dict[str, Any]

_TEXT: _Schema = {"type": "string"}
_TEXT_OR_NULL: _Schema = {"type": ["string", "null"]}
_COUNT: _Schema = {"type": "integer", "minimum": 0}
_NUMBER: _Schema = {"type": "number"}
_NUMBER_OR_NULL: _Schema = {"type": ["number", "null"]}
_FLAG: _Schema = {"type": "boolean"}
_MOMENT: _Schema = {"type": "string", "format": "date-time"}
_TAGS: _Schema = {"type": "object", "additionalProperties": _TEXT}
_TEXTS: _Schema = {"type": "array", "items": _TEXT}


def _object(**properties: _Schema) -> _Schema:
    """Return an object that has all of these, and nothing else."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _sums(**properties: _Schema) -> _Schema:
    """Return an object that has all of these, and what was asked by besides."""
    return _object(**properties) | {"additionalProperties": _TEXT_OR_NULL}


def _list(items: _Schema) -> _Schema:
    return {"type": "array", "items": items}


def _some(names: Iterable[str], of: _Schema) -> _Schema:
    """Return an object that may have any of these."""
    return {"type": "object", "properties": dict.fromkeys(names, of), "additionalProperties": False}


def _either(words: Iterable[str]) -> _Schema:
    return {"type": "string", "enum": [str(word) for word in words]}


def _named(name: str) -> _Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_KINDS = _some(KINDS, _COUNT)
_UNITS = _some(UNITS, _NUMBER)
_SUMS: dict[str, _Schema] = {
    "requests": _COUNT,
    "errors": _COUNT,
    "usage": _KINDS,
    "units": _UNITS,
    "cost_usd": _NUMBER_OR_NULL,
    "estimated_cost_usd": _NUMBER_OR_NULL,
    "unpriced_tokens": _COUNT,
    "duration_s": _NUMBER,
}

_SCHEMAS: dict[str, _Schema] = {
    "Error": _object(error=_object(message=_TEXT, type=_TEXT, param={"type": "null"}, code=_TEXT)),
    "Exchange": _object(
        timestamp=_MOMENT,
        level=_either(("info", "warning")),
        event={"const": "exchange"},
        id=_TEXT,
        trace_id=_TEXT_OR_NULL,
        upstream=_TEXT,
        operation=_TEXT,
        method=_TEXT,
        path=_TEXT,
        status={"type": ["integer", "null"]},
        outcome=_either(Outcome),
        error_type=_TEXT,
        stream=_FLAG,
        request_model=_TEXT_OR_NULL,
        response_model=_TEXT_OR_NULL,
        model=_TEXT,
        key=_TEXT,
        tags=_TAGS,
        usage=_KINDS,
        units=_UNITS,
        cost_usd=_NUMBER_OR_NULL,
        provider_cost_usd=_NUMBER_OR_NULL,
        usage_source=_either(UsageSource),
        price_status=_either(PriceStatus),
        price_source=_TEXT_OR_NULL,
        price_revision=_TEXT_OR_NULL,
        service_tier=_TEXT_OR_NULL,
        finish_reasons=_TEXTS,
        attempts=_COUNT,
        duration_s=_NUMBER,
        ttft_s=_NUMBER_OR_NULL,
        overhead_s=_NUMBER_OR_NULL,
        request_bytes=_COUNT,
        response_bytes=_COUNT,
        upstream_request_id=_TEXT_OR_NULL,
    ),
    "Live": _object(
        at=_MOMENT,
        started=_MOMENT,
        version=_TEXT,
        draining=_FLAG,
        ledger=_FLAG,
        in_flight=_COUNT,
        upstreams=_list(_object(name=_TEXT, up=_FLAG, in_flight=_COUNT)),
        window_s=_COUNT,
        requests=_COUNT,
        errors=_COUNT,
        client_closed=_COUNT,
        tokens=_COUNT,
        cost_usd=_NUMBER,
        requests_per_s=_NUMBER,
        tokens_per_s=_NUMBER,
        error_share=_NUMBER_OR_NULL,
        ttft_s=_named("Percentiles"),
        duration_s=_named("Percentiles"),
        cell_s=_COUNT,
        cells=_list(
            _object(
                at=_MOMENT,
                requests=_COUNT,
                errors=_COUNT,
                tokens=_COUNT,
                cost_usd=_NUMBER,
                in_flight=_COUNT,
                ttft_p50_s=_NUMBER_OR_NULL,
                ttft_p99_s=_NUMBER_OR_NULL,
                duration_p50_s=_NUMBER_OR_NULL,
                duration_p99_s=_NUMBER_OR_NULL,
            )
        ),
    ),
    "Percentiles": _object(p50=_NUMBER_OR_NULL, p90=_NUMBER_OR_NULL, p99=_NUMBER_OR_NULL),
    "Exchanges": _object(exchanges=_list(_named("Exchange"))),
    "Usage": _object(
        since=_MOMENT, until=_MOMENT, by=_TEXTS, rows=_list(_named("Sums")), total=_named("Sums")
    ),
    "Sums": _sums(**_SUMS),
    "Waste": _object(
        since=_MOMENT,
        until=_MOMENT,
        keys=_list(_named("Wasted")),
        cancelled=_list(_named("Wasted")),
        cut_short=_list(_named("Wasted")),
        rate_limited=_list(_named("Wasted")),
        unread=_list(_object(key=_TEXT, model=_TEXT, written_tokens=_COUNT, read_tokens=_COUNT)),
    ),
    "Wasted": _sums(**_SUMS, tokens=_COUNT),
    "Missing": _object(
        missing=_list(
            _object(
                upstream=_TEXT,
                model=_TEXT,
                operations=_TEXTS,
                requests=_COUNT,
                tokens=_COUNT,
                usage=_KINDS,
                units=_UNITS,
                first=_MOMENT,
                last=_MOMENT,
                line=_TEXT_OR_NULL,
            )
        )
    ),
    "Budgets": _object(
        budgets=_list(
            _object(
                name=_TEXT,
                key=_TEXT_OR_NULL,
                tags=_TAGS,
                upstream=_TEXT_OR_NULL,
                period=_either(("hour", "day", "week", "month", "year")),
                usd=_NUMBER,
                spent_usd=_NUMBER,
                ends=_MOMENT,
                stop=_FLAG,
            )
        )
    ),
}


def _parameter(name: str, about: str, **more: Any) -> _Schema:
    return {"name": name, "in": "query", "description": about, "schema": _TEXT, **more}


_SINCE = _parameter(
    "since", "From when: how long ago, such as 7d or 24h, or a date or time. Else 7 days before `until`."
)
_UNTIL = _parameter("until", "To when, likewise; this moment is not in it. Else now.")
_BY = _parameter(
    "by",
    "Fields that rows are told apart by, with commas between them: key, model, upstream, operation, outcome, "
    "error_type, usage_source, price_status, day, hour, minute (of 48 hours at most), tag.<name>.",
)
_WHERE = _parameter(
    "where", "A field and the value that it must have, such as `key=search-team`; of one field, any of them."
)
_LIMIT = _parameter(
    "limit", "How many at most.", schema={"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
)
_ID = _parameter("id", "The `x-meter-id` of the answer.", required=True) | {"in": "path"}


def _content(schema: _Schema, kind: str = "application/json") -> _Schema:
    return {"content": {kind: {"schema": schema}}}


_ERRORS = {
    "400": "A parameter is wrong; the message says what came and what was expected.",
    "401": "The bearer token, or the caller's credential, is missing or wrong.",
    "404": "There is no such thing.",
    "503": "The ledger is off or does not answer, or too many ask at once.",
}


def _page(
    about: str, answer: _Schema, *wanted: _Schema, errors: Iterable[str] = (), **more: Any
) -> dict[str, _Schema]:
    refusals = {code: {"description": _ERRORS[code], **_content(_named("Error"))} for code in errors}
    told = {"summary": about, "parameters": list(wanted), "responses": {"200": answer, **refusals}, **more}
    return {"get": {name: value for name, value in told.items() if value != []}}


def _json(about: str, schema: _Schema) -> _Schema:
    return {"description": about, **_content(schema)}


def _plain(about: str) -> _Schema:
    return {"description": about, **_content(_TEXT, "text/plain")}


_OPEN: dict[str, Any] = {"security": [{}, {"token": []}]}
"""Of pages that need no token unless the settings say so."""
_ASKED = ("400", "401", "503")

DESCRIPTION: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {
        "title": "Meter's admin port",
        "version": __version__,
        "description": "Latency, tokens, errors and cost of what passed. Amounts are USD, times are UTC.",
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    },
    "security": [{"token": []}],
    "paths": {
        "/healthz": _page("Whether the process lives", _plain("It does."), errors=("401",), **_OPEN),
        "/readyz": _page(
            "Whether new requests are welcome", _plain("They are."), errors=("401", "503"), **_OPEN
        ),
        "/metrics": _page(
            "Metrics, in Prometheus's text or in OpenMetrics",
            _plain("All metrics."),
            errors=("401",),
            **_OPEN,
        ),
        "/api/live": _page(
            "What goes by",
            _json("What is under way, the last 60 seconds, the last 10 minutes in cells.", _named("Live")),
            errors=_ASKED,
        ),
        "/api/usage": _page(
            "What was used and spent",
            _json("Rows by what was asked by, and the total.", _named("Usage")),
            *(_BY, _SINCE, _UNTIL, _WHERE),
            errors=_ASKED,
        ),
        "/api/waste": _page(
            "What was paid for and not used",
            _json("By key, and by key and model.", _named("Waste")),
            *(_SINCE, _UNTIL),
            errors=_ASKED,
        ),
        "/api/exchanges": _page(
            "The last exchanges, the newest first",
            _json("As the log has them.", _named("Exchanges")),
            _LIMIT,
            errors=_ASKED,
        ),
        "/api/exchanges/{id}": _page(
            "One exchange", _json("As the log has it.", _named("Exchange")), _ID, errors=(*_ASKED, "404")
        ),
        "/api/prices/missing": _page(
            "What was used without a price",
            _json("By upstream and model.", _named("Missing")),
            _SINCE,
            errors=_ASKED,
        ),
        "/api/budgets": _page(
            "What may be spent, and what has been in the period under way",
            _json("All budgets.", _named("Budgets")),
            errors=("400", "401"),
        ),
        "/api/openapi.json": _page(
            "This description", _json("In OpenAPI 3.1.", {"type": "object"}), errors=("400", "401")
        ),
        "/usage/me": _page(
            "What the caller used and spent, by the credential that is shown; only where there is a token",
            _json("As /api/usage, of this key alone.", _named("Usage")),
            *(_BY, _SINCE, _UNTIL),
            errors=(*_ASKED, "404"),
            security=[{"credential": []}, {"x-api-key": []}, {"api-key": []}, {"x-goog-api-key": []}],
        ),
    },
    "components": {
        "schemas": _SCHEMAS,
        "securitySchemes": {
            "token": {"type": "http", "scheme": "bearer", "description": "`admin.token`, where it is set."},
            "credential": {"type": "http", "scheme": "bearer", "description": "The caller's own."},
            **{
                name: {"type": "apiKey", "in": "header", "name": name}
                for name in ("x-api-key", "api-key", "x-goog-api-key")
            },
        },
    },
}
