"""Counting tokens: POST .../messages/count_tokens, .../responses/input_tokens and ...:countTokens.

Nothing is used by being counted, so the counts in these answers are of no interest: only an error is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meter import inquiry
from meter.dialect import Facts, Request
from meter.errors import read_error

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["CountTokens"]


class CountTokens:
    """The dialect of counting a prompt's tokens."""

    operation = "count_tokens"
    consumes = False
    streams_array = False
    returned = ()

    def read_request(self, body: bytes) -> Generator[None, None, Request]:
        """Read a request's body."""
        told = yield from inquiry.read(body)
        return Request(model=told.model)

    def read_answer(self, body: bytes, facts: Facts) -> None:
        """Read whether it failed."""
        facts.fail(read_error(body))

    def read_event(self, name: bytes, data: bytes, facts: Facts) -> int:  # noqa: ARG002 - as every dialect's
        """Read one event's data: nobody is known to stream counts, and an answer is one all the same."""
        self.read_answer(data, facts)
        return 0
