"""What the admin port answers with: JSON that nobody keeps a copy of, and errors in the OpenAI shape."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from meter.listener import error_body
from meter.telling import tellable

__all__ = ["error_answer", "json_answer", "json_text"]

_UNKEPT = ("Cache-Control", "no-store")


def json_text(value: Any) -> bytes:
    """Return `value` as JSON, amounts with all their digits and moments as the log has them."""
    return msgspec.json.encode(tellable(value))


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
