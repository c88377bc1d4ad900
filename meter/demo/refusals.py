"""When the simulated upstream says no, and in which words.

Two tables answer by the name alone: a credential's beginning and a part of the model's name choose an
outcome, so that every outcome can be had on purpose. The rules that look into a request stand in one list,
asked in order.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "BAD_GATEWAY_PAGE",
    "BROKEN",
    "LIMITED",
    "MALFORMED",
    "MIDSTREAM",
    "TOO_LARGE",
    "Refusal",
    "for_body",
    "for_key",
    "no_such_path",
]


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error answer in OpenAI's shape."""

    status: int
    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        """Return the answer's JSON, compact, in the order in which OpenAI writes its members."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return json.dumps({"error": error}, separators=(",", ":"), ensure_ascii=False).encode()


MALFORMED = Refusal(
    400, "We could not parse the JSON body of your request. The request needs to be a JSON object."
)
TOO_LARGE = Refusal(413, "The request body is larger than this server accepts.", code="request_too_large")
LIMITED = Refusal(
    429,
    "Rate limit reached on requests per min (RPM). Please try again in 2s.",
    type="requests",
    code="rate_limit_exceeded",
    headers={"retry-after": "2", "retry-after-ms": "2000"},
)
BROKEN = Refusal(500, "The server had an error while processing your request.", type="server_error")
_BUSY = Refusal(
    503,
    "The engine is currently overloaded, please try again later.",
    type="service_unavailable",
    code="service_unavailable",
    headers={"retry-after": "5"},
)
MIDSTREAM = Refusal(
    200, "The server had an error while processing your request.", type="server_error", code="server_error"
)
"""Sent as an event of a stream whose status was 200 long ago."""

BAD_GATEWAY_PAGE = b"""<!DOCTYPE html>
<html><head><title>502 Bad Gateway</title></head>
<body><center><h1>502 Bad Gateway</h1></center><hr><center>portal</center></body></html>
"""

_BY_KEY = (
    ("sk-invalid", Refusal(401, "Incorrect API key provided.", code="invalid_api_key")),
    ("sk-forbidden", Refusal(403, "Your project has no access to this model.", code="access_denied")),
    ("sk-limited", LIMITED),
)
_NO_KEY = Refusal(
    401,
    "You didn't provide an API key. Put it in an Authorization header: Authorization: Bearer YOUR_KEY.",
    code="invalid_api_key",
)
_BY_MODEL = (("broken-503", _BUSY), ("broken", BROKEN))
_UNKNOWN_MODELS = ("invalid", "does-not-exist")
_REASONING_ONLY = ("o1", "o3", "o4")
_WITHOUT_SYSTEM = ("o1-preview", "o1-mini")
_MOST_CHOICES = 128


def for_key(credential: str) -> Refusal | None:
    """Return what a caller with this credential is told, or `None` for a welcome one."""
    if not credential:
        return _NO_KEY
    return next((refusal for start, refusal in _BY_KEY if credential.startswith(start)), None)


def no_such_path(method: str, path: str) -> Refusal:
    """Return the answer to a path or method that is not served."""
    return Refusal(404, f"Invalid URL ({method} {path})")


def for_body(body: Mapping[str, Any]) -> Refusal | None:
    """Return the first objection to the body of a chat completion, or `None`."""
    return next((refusal for rule in _RULES if (refusal := rule(body)) is not None), None)


def _missing(body: Mapping[str, Any]) -> Refusal | None:
    if not isinstance(body.get("model"), str) or not body["model"]:
        return Refusal(400, "you must provide a model parameter")
    if body.get("messages") is None:
        message = "Missing required parameter: 'messages'."
        return Refusal(400, message, param="messages", code="missing_required_parameter")
    return None


def _wrong_messages(body: Mapping[str, Any]) -> Refusal | None:
    messages = body["messages"]
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        message = "Invalid type for 'messages': expected an array of objects."
        return Refusal(400, message, param="messages", code="invalid_type")
    if not messages:
        message = "Invalid 'messages': empty array. Expected an array with minimum length 1."
        return Refusal(400, message, param="messages", code="empty_array")
    return None


def _unknown_model(body: Mapping[str, Any]) -> Refusal | None:
    model = body["model"]
    if any(part in model for part in _UNKNOWN_MODELS):
        return Refusal(404, f"The model '{model}' does not exist", param="model", code="model_not_found")
    return next((refusal for part, refusal in _BY_MODEL if part in model), None)


def _stream_options(body: Mapping[str, Any]) -> Refusal | None:
    if body.get("stream_options") is None:
        return None
    if "strict" in body["model"]:
        message = "Unknown parameter: 'stream_options'."
        return Refusal(400, message, param="stream_options", code="unknown_parameter")
    if body.get("stream") is not True:
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        return Refusal(400, message, param="stream_options")
    if not isinstance(body["stream_options"], dict):
        message = "Invalid type for 'stream_options': expected an object."
        return Refusal(400, message, param="stream_options", code="invalid_type")
    return None


def _reasoning_limits(body: Mapping[str, Any]) -> Refusal | None:
    model = body["model"]
    if model.startswith(_REASONING_ONLY) and body.get("temperature") not in (None, 1):
        message = "Unsupported value: 'temperature' supports only the default (1) with this model."
        return Refusal(400, message, param="temperature", code="unsupported_value")
    if not model.startswith(_WITHOUT_SYSTEM):
        return None
    for index, message in enumerate(body["messages"]):
        if message.get("role") == "system":
            where = f"messages[{index}].role"
            said = f"Unsupported value: '{where}' does not support 'system' with this model."
            return Refusal(400, said, param=where, code="unsupported_value")
    return None


def _choices(body: Mapping[str, Any]) -> Refusal | None:
    n = body.get("n")
    if n is None or (type(n) is int and 1 <= n <= _MOST_CHOICES):
        return None
    return Refusal(400, f"Invalid 'n': expected an integer between 1 and {_MOST_CHOICES}.", param="n")


_RULES: tuple[Callable[[Mapping[str, Any]], Refusal | None], ...] = (
    _missing,
    _wrong_messages,
    _unknown_model,
    _stream_options,
    _reasoning_limits,
    _choices,
)
