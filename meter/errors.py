"""What upstreams' error bodies say, folded into a closed set.

The set is what providers publish, so that `error_type` can be a label: a code that nobody published never
becomes one. The bodies come in every shape: OpenAI's object, vLLM's flat one, Ollama's text, Gemini's list,
FastAPI's `detail`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from meter.exchange import Outcome

__all__ = ["ERROR_TYPES", "METER_CODES", "error_of", "error_type", "read_error"]

METER_CODES = frozenset(
    (
        "bad_request",
        "body_too_large",
        "draining",
        "internal_error",
        "method_not_allowed",
        "no_upstream",
        "request_timeout",
        "timeout",
        "unreachable",
    )
)
"""Codes of the errors that Meter itself makes."""

_OPENAI = frozenset(
    (
        "account_deactivated",
        "authentication_error",
        "billing_hard_limit_reached",
        "billing_not_active",
        "content_filter",
        "content_policy_violation",
        "context_length_exceeded",
        "engine_overloaded",
        "image_too_large",
        "insufficient_quota",
        "internal_error",
        "invalid_api_key",
        "invalid_base64_image",
        "invalid_image",
        "invalid_image_url",
        "invalid_json",
        "invalid_organization",
        "invalid_parameter",
        "invalid_prompt",
        "invalid_request_error",
        "invalid_type",
        "invalid_value",
        "ip_not_authorized",
        "missing_required_parameter",
        "model_not_found",
        "not_found_error",
        "permission_error",
        "rate_limit_error",
        "rate_limit_exceeded",
        "request_too_large",
        "requests",
        "server_error",
        "service_unavailable",
        "slow_down",
        "string_above_max_length",
        "tokens",
        "tokens_usage_based",
        "unknown_parameter",
        "unknown_url",
        "unsupported_country_region_territory",
        "unsupported_language",
        "unsupported_parameter",
        "unsupported_value",
        "vector_store_timeout",
    )
)
_AZURE = frozenset(  # its codes that are statuses ("429") say no more than http_<status> does
    (
        "DeploymentNotFound",
        "InternalServerError",
        "InvalidRequest",
        "OperationNotSupported",
        "ResourceNotFound",
        "ResponsibleAIPolicyViolation",
        "TooManyRequests",
        "Unauthorized",
    )
)
_ANTHROPIC = frozenset(("api_error", "billing_error", "overloaded_error", "timeout_error"))
_GEMINI = frozenset(
    (
        "ABORTED",
        "ALREADY_EXISTS",
        "CANCELLED",
        "DEADLINE_EXCEEDED",
        "FAILED_PRECONDITION",
        "INTERNAL",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "OUT_OF_RANGE",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "UNAUTHENTICATED",
        "UNAVAILABLE",
        "UNIMPLEMENTED",
        "UNKNOWN",
    )
)

ERROR_TYPES = METER_CODES | _OPENAI | _AZURE | _ANTHROPIC | _GEMINI
"""Published codes and types, which `error_type` may hold beside `http_<status>` and the outcomes."""

_FIRST_ERROR_STATUS = 400


def error_of(told: Any) -> str | None:
    """Return the published code or type in an error body; "" for none, None for no error."""
    if isinstance(told, list):  # Gemini
        told = told[0] if told else None
    if not isinstance(told, dict):
        return None
    flat = told.get("object") == "error" or told.get("type") == "error"  # vLLM's older shape; a bare event
    error = told.get("error") or (told if flat else None)
    if not isinstance(error, dict):
        return "" if error else None
    names = (error.get("code"), error.get("type"), error.get("status"))
    return next((name for name in names if isinstance(name, str) and name in ERROR_TYPES), "")


def read_error(body: bytes) -> str | None:
    """Return what `error_of` says of an error body's bytes; None where they are not JSON."""
    try:
        return error_of(msgspec.json.decode(body))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def error_type(told: str | None, status: int | None, outcome: Outcome) -> str:
    """Return the label of how an exchange failed: what the body said, else the status, else the outcome."""
    if outcome is Outcome.OK:
        return ""
    if told:
        return told
    if status is not None and status >= _FIRST_ERROR_STATUS:
        return f"http_{status}"
    return str(outcome)
