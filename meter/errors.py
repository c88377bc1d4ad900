"""What upstreams' error bodies say, folded into a closed set.

The set is what providers publish, so that `error_type` can be a label: a code that nobody published never
becomes one. The bodies come in every shape: OpenAI's object, vLLM's flat one, Ollama's text, Gemini's list,
FastAPI's `detail`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from meter.exchange import Outcome
from meter.lenient import UNREADABLE

__all__ = ["ERROR_TYPES", "METER_CODES", "error_of", "error_type", "read_error", "refused"]

METER_CODES = frozenset(
    (
        "bad_request",
        "body_too_large",
        "budget_exceeded",
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
        "array_above_max_length",
        "array_below_min_length",
        "authentication_error",
        "billing_hard_limit_reached",
        "billing_limit_user_error",
        "billing_not_active",
        "cannot_update_voice",
        "content_filter",
        "content_policy_violation",
        "context_length_exceeded",
        "conversation_already_has_active_response",
        "decimal_above_max_value",
        "decimal_below_min_value",
        "empty_array",
        "empty_image_file",
        "empty_string",
        "engine_overloaded",
        "failed_to_download_image",
        "image_content_policy_violation",
        "image_file_not_found",
        "image_file_too_large",
        "image_generation_user_error",
        "image_parse_error",
        "image_too_large",
        "image_too_small",
        "input_audio_buffer_commit_empty",
        "insufficient_quota",
        "integer_above_max_value",
        "integer_below_min_value",
        "internal_error",
        "invalid_api_key",
        "invalid_base64_image",
        "invalid_event",
        "invalid_function_parameters",
        "invalid_image",
        "invalid_image_format",
        "invalid_image_mode",
        "invalid_image_url",
        "invalid_json",
        "invalid_organization",
        "invalid_parameter",
        "invalid_prompt",
        "invalid_request_error",
        "invalid_type",
        "invalid_value",
        "ip_not_authorized",
        "item_delete_invalid_item_id",
        "item_truncate_invalid_item_id",
        "mismatched_organization",
        "missing_required_parameter",
        "model_not_found",
        "moderation_blocked",
        "not_found_error",
        "permission_error",
        "previous_response_not_found",
        "rate_limit_error",
        "rate_limit_exceeded",
        "request_too_large",
        "requests",
        "response_cancel_not_active",
        "server_error",
        "server_is_overloaded",
        "service_unavailable",
        "service_unavailable_error",
        "session_expired",
        "slow_down",
        "string_above_max_length",
        "string_below_min_length",
        "tokens",
        "tokens_usage_based",
        "unknown_parameter",
        "unknown_url",
        "unsupported_api_for_model",
        "unsupported_content_type",
        "unsupported_country_region_territory",
        "unsupported_file",
        "unsupported_image_media_type",
        "unsupported_language",
        "unsupported_parameter",
        "unsupported_value",
        "vector_store_timeout",
    )
)
_AZURE = frozenset(  # its codes that are statuses ("429") say no more than http_<status> does
    (
        "AccessDenied",
        "AuthenticationTypeDisabled",
        "BadRequest",
        "DeploymentNotFound",
        "Forbidden",
        "InsufficientQuota",
        "InternalServerError",
        "InvalidRequest",
        "NoCapacity",
        "NotFound",
        "OperationNotSupported",
        "PermissionDenied",
        "RateLimitReached",
        "ResourceNotFound",
        "ResponsibleAIPolicyViolation",
        "ServiceUnavailable",
        "Timeout",
        "TooManyRequests",
        "Unauthorized",
        "invalid_payload",
        "tokens_limit_reached",
        "too_many_requests",
        "unavailable_model",
        "unknown_model",
    )
)
_ANTHROPIC = frozenset(
    (
        "api_error",
        "authentication_error",
        "billing_error",
        "invalid_request_error",
        "not_found_error",
        "overloaded_error",
        "permission_error",
        "rate_limit_error",
        "request_too_large",
        "timeout_error",
    )
)
_GEMINI = frozenset(
    (
        "ABORTED",
        "ALREADY_EXISTS",
        "CANCELLED",
        "DATA_LOSS",
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
    error = told.get("error") or (told if _is_error(told) else None)
    if not isinstance(error, dict):
        return "" if error else None
    names = (error.get("code"), error.get("type"), error.get("status"))
    return next((name for name in names if isinstance(name, str) and name in ERROR_TYPES), "")


def _is_error(told: dict[str, Any]) -> bool:
    """Tell whether an object is an error itself: vLLM's older shape, a bare event, GLM's, MiniMax's."""
    named = "error" in (told.get("object"), told.get("type"))
    return named or told.get("success") is False or refused(told.get("base_resp"))


def refused(base_resp: Any) -> bool:
    """Tell whether MiniMax, which has a status of its own in every answer, says no."""
    return isinstance(base_resp, dict) and base_resp.get("status_code") not in (None, 0, "0")


def read_error(body: bytes) -> str | None:
    """Return what `error_of` says of an error body's bytes; None where they are not JSON."""
    try:
        return error_of(msgspec.json.decode(body))
    except UNREADABLE:
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
