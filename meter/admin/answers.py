"""What the admin port answers with: JSON that nobody keeps a copy of, and errors in the OpenAI shape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from aiohttp import web

from meter.listener import error_body
from meter.telling import plain, rfc3339

__all__ = ["error_answer", "json_answer", "json_text"]

_SURROGATE = re.compile("[\ud800-\udfff]")
_UNKEPT = ("Cache-Control", "no-store")


def json_text(value: Any) -> bytes:
    """Return `value` as JSON, amounts with all their digits and moments as the log has them."""
    return msgspec.json.encode(_told(value))


def json_answer(text: bytes) -> web.Response:
    """Return an answer that tells this JSON."""
    return web.Response(body=text, content_type="application/json", headers=[_UNKEPT])


def error_answer(status: int, message: str, *headers: tuple[str, str]) -> web.Response:
    """Return an error of Meter's own."""
    return web.Response(
        status=status,
        body=error_body(message, f"http_{status}"),
        content_type="application/json",
        headers=[*headers, _UNKEPT, ("x-meter-error", "1")],
    )


def _told(value: Any) -> Any:
    match value:
        case str():  # without lone surrogates, which UTF-8 cannot say
            return value if value.isascii() else _SURROGATE.sub("\ufffd", value)
        case Decimal():
            return plain(value)
        case datetime():
            return rfc3339(value)
        case Mapping():
            return {_told(name): _told(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_told(inner) for inner in value]
    return value
