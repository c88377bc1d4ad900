"""Embeddings: POST .../embeddings.

An answer is megabytes of numbers, or of base64, around two members that matter: the model, and a usage that
has a prompt and nothing else. What came in is all that is paid for; of what goes out only its being there is
of interest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from meter import inquiry
from meter.dialect import Facts, Request
from meter.dialects.reading import told_in
from meter.errors import error_of
from meter.lenient import Shape, name
from meter.usage import cost_usd, of_prompt

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Embeddings"]


class _Answer(msgspec.Struct):
    id: Any = None
    object: Any = None
    model: Any = None
    data: Any = None
    usage: Any = None
    type: Any = None
    code: Any = None
    error: Any = None
    base_resp: Any = None


_answer = Shape(_Answer)


class Embeddings:
    """The dialect of embeddings."""

    operation: str = "embeddings"
    consumes: bool = True
    streams_array = False
    returned = ()

    prompt: tuple[str, ...] = ("input",)

    def read_request(self, body: bytes) -> Generator[None, None, Request]:
        """Read a request's body."""
        told = yield from inquiry.read(body)
        return Request(model=told.model, stream=told.streams, prompt_tokens=told.tokens(*self.prompt))

    def read_answer(self, body: bytes, facts: Facts) -> None:
        """Read a whole JSON answer."""
        told = told_in(_answer, body, facts)
        if told is None:
            return
        facts.response_id = name(told.id) or facts.response_id
        facts.response_model = name(told.model) or facts.response_model
        facts.fail(error_of(msgspec.structs.asdict(told)))
        if told.data and facts.error is None:
            facts.answered()
        if isinstance(told.usage, dict):
            facts.usage = of_prompt(told.usage) or facts.usage
            facts.provider_cost_usd = cost_usd(told.usage)
        facts.final_usage = facts.usage is not None

    def read_event(self, name: bytes, data: bytes, facts: Facts) -> int:  # noqa: ARG002 - of no event is it told
        """Read one event's data: nobody is known to stream embeddings, and an answer is one all the same."""
        self.read_answer(data, facts)
        return 0
