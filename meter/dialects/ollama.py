"""Ollama's own API: POST /api/chat, /api/generate, /api/embed and /api/embeddings.

Answers stream as lines of JSON unless the client says no. The last line is the one that is done; it has the
counts. A request without a prompt loads a model, or unloads it: that answer is done at once and uses nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from meter import inquiry
from meter.dialect import Facts, Marks, Request
from meter.dialects.reading import told_in
from meter.errors import error_of
from meter.lenient import Shape, name, written
from meter.usage import count, of_prompt, partition

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Chat", "Embed", "Generate"]


class _Line(msgspec.Struct):
    model: Any = None
    message: Any = None
    response: Any = None
    thinking: Any = None
    done: Any = None
    done_reason: Any = None
    prompt_eval_count: Any = None
    prompt_eval_cached_count: Any = None
    eval_count: Any = None
    embedding: Any = None
    embeddings: Any = None
    data: Any = None
    usage: Any = None
    error: Any = None


_line = Shape(_Line)

_SAYS = {
    "content": Marks.CONTENT,
    "response": Marks.CONTENT,
    "tool_calls": Marks.CONTENT,
    "thinking": Marks.CONTENT | Marks.REASONING,
}
"""Members of a message, or of a line, that carry content unless they are empty."""

_LOADING = ("load", "unload")
"""Reasons of being done with a request that had no prompt."""


class Chat:
    """The dialect of /api/chat."""

    operation = "chat"
    consumes = True
    streams_array = False
    returned = ()

    prompt: tuple[str, ...] = ("messages", "tools", "format")

    def read_request(self, body: bytes) -> Generator[None, None, Request]:
        """Read a request's body."""
        told = yield from inquiry.read(body)
        return Request(
            model=told.model,
            stream=told.raw("stream") != b"false",
            prompt_tokens=told.tokens(*self.prompt),
        )

    def read_answer(self, body: bytes, facts: Facts) -> None:
        """Read a whole JSON answer, which is one line and done."""
        self.read_event(b"", body, facts)

    def read_event(self, name: bytes, data: bytes, facts: Facts) -> int:
        """Read one line."""
        told = told_in(_line, data, facts, name)
        if told is None:
            return 0
        return _read(told, facts)


class Generate(Chat):
    """The dialect of /api/generate."""

    operation = "text_completion"
    prompt = ("prompt", "suffix", "system", "format")


class Embed:
    """The dialect of /api/embed, and of the older /api/embeddings, which tells no count.

    Open WebUI serves OpenAI's shape at the older path: its usage is read as well.
    """

    operation = "embeddings"
    consumes = True
    streams_array = False
    returned = ()

    def read_request(self, body: bytes) -> Generator[None, None, Request]:
        """Read a request's body."""
        told = yield from inquiry.read(body)
        return Request(model=told.model, prompt_tokens=told.tokens("input", "prompt"))

    def read_answer(self, body: bytes, facts: Facts) -> None:
        """Read a whole JSON answer."""
        told = told_in(_line, body, facts)
        if told is None:
            return
        facts.response_model = name(told.model) or facts.response_model
        facts.fail(error_of({"error": told.error}))
        if facts.error is None and (told.embedding or told.embeddings or told.data):
            facts.answered()
        if (prompt := count(told.prompt_eval_count)) is not None:
            facts.usage = {"input": prompt}
        elif isinstance(told.usage, dict):
            facts.usage = of_prompt(told.usage) or facts.usage
        facts.final_usage = facts.usage is not None

    def read_event(self, name: bytes, data: bytes, facts: Facts) -> int:  # noqa: ARG002 - lines have no names
        """Read one line: nobody is known to stream embeddings, and an answer is one all the same."""
        self.read_answer(data, facts)
        return 0


def _read(told: _Line, facts: Facts) -> int:
    """Take what one line says into `facts`; return its `Marks`."""
    facts.response_model = name(told.model) or facts.response_model
    marks = 0
    said = {"response": told.response, "thinking": told.thinking}
    if isinstance(told.message, dict):
        said |= told.message
    for member, mark in _SAYS.items():
        if value := said.get(member):
            marks |= mark
            facts.say(value if isinstance(value, str) else written(value))
    facts.fail(error_of({"error": told.error}))
    if told.done is True:
        marks |= _read_end(told, facts)
    return marks


def _read_end(told: _Line, facts: Facts) -> int:
    facts.terminated = True
    facts.answered()
    facts.usage = _usage(told) or facts.usage
    facts.final_usage = facts.usage is not None
    reason = name(told.done_reason)
    if reason is None:
        return 0
    facts.finish(0, reason)
    return Marks.FINISH


def _usage(told: _Line) -> dict[str, int]:
    """Return the tokens by kind; of a prompt that was all in the cache older servers tell nothing."""
    prompt, cached = count(told.prompt_eval_count), count(told.prompt_eval_cached_count)
    output = count(told.eval_count)
    if prompt is None and output is None and told.done_reason in _LOADING:
        return {"input": 0, "output": 0}
    return partition(prompt, cached, output)
