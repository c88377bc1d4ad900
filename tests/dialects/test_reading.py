"""What is no object is the end of a stream, or an error."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from meter.dialect import Facts
from meter.dialects.reading import told_in
from meter.lenient import Shape


class _Told(msgspec.Struct):
    a: Any = None


TOLD = Shape(_Told)


def test_object() -> None:
    """An object is told, and nothing is noted."""
    facts = Facts()

    assert _Told(a=1) == told_in(TOLD, b'{"a":1}', facts, b"message")
    assert Facts() == facts


@pytest.mark.parametrize("text", [b"[DONE]", b" [DONE]\n"])
def test_end(text: bytes) -> None:
    """What says that it is done ends the stream, and tells nothing."""
    facts = Facts()

    assert told_in(TOLD, text, facts) is None
    assert Facts(terminated=True) == facts


@pytest.mark.parametrize(
    ("text", "event", "error"),
    [
        (b'[{"error":{"status":"UNAVAILABLE"}}]', b"", "UNAVAILABLE"),
        (b"not JSON", b"", None),
        (b"not JSON", b"error", ""),
        (b'{"a":1}', b"error", ""),
        (b'[{"error":{"status":"UNAVAILABLE"}}]', b"error", "UNAVAILABLE"),
    ],
)
def test_error(text: bytes, event: bytes, error: str | None) -> None:
    """An error is one by its shape, or by the name of its event."""
    told_in(TOLD, text, facts := Facts(), event)

    assert Facts(error=error) == facts
