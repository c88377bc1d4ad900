"""Cohere's own API: POST /v2/chat, and rerank as those speak it who have taken it over.

A chat streams as events that say their type; `message-end` is the last and has the usage. What a rerank costs
is told in searches by Cohere, and in tokens by Jina, Voyage, vLLM and others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from meter import inquiry
from meter.dialect import Facts, Marks, Request
from meter.dialects.reading import told_in
from meter.errors import error_of
from meter.lenient import Shape, name
from meter.usage import cost_usd, count, of_prompt, partition

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

__all__ = ["Chat", "Rerank"]

_END = "message-end"
_FAILED = "ERROR"


class _Answer(msgspec.Struct):
    id: Any = None
    type: Any = None
    message: Any = None
    delta: Any = None
    finish_reason: Any = None
    usage: Any = None
    error: Any = None


_answer = Shape(_Answer)

_SAYS = ("content", "tool_plan", "tool_calls")
"""Members of a message that carry content unless they are empty."""

_TEXTS = ("text", "name", "arguments", "thinking")
"""Members of a piece of content, or of a call of a tool, that are text of the model's."""


class Chat:
    """The dialect of the second version of chat."""

    operation = "chat"
    consumes = True
    streams_array = False
    returned = ()

    def read_request(self, body: bytes) -> Generator[None, None, Request]:
        """Read a request's body."""
        told = yield from inquiry.read(body)
        prompt = told.tokens("messages", "documents", "tools", "response_format")
        return Request(model=told.model, stream=told.streams, prompt_tokens=prompt)

    def read_answer(self, body: bytes, facts: Facts) -> None:
        """Read a whole JSON answer."""
        told = told_in(_answer, body, facts)
        if told is None:
            return
        _read(told, facts)
        _read_end(told.finish_reason, told.usage, facts)

    def read_event(self, name: bytes, data: bytes, facts: Facts) -> int:
        """Read one event's data."""
        told = told_in(_answer, data, facts, name)
        if told is None:
            return 0
        marks = _read(told, facts)
        if told.type == _END:
            facts.terminated = True
            delta = told.delta if isinstance(told.delta, dict) else {}
            marks |= _read_end(delta.get("finish_reason"), delta.get("usage"), facts)
        return marks


def _read(told: _Answer, facts: Facts) -> int:
    """Take what one object says into `facts`; return its `Marks`."""
    facts.response_id = facts.response_id or name(told.id)
    delta = told.delta if isinstance(told.delta, dict) else {}
    error = told.error or delta.get("error")
    # An error is told by nothing but its text, where an answer has a message with members.
    if error or (isinstance(told.message, str) and told.message):
        facts.fail(error_of({"error": error}) or "")
    message = delta.get("message") or told.message
    marks = 0
    for member in _SAYS if isinstance(message, dict) else ():
        value = message.get(member)
        for piece in value if isinstance(value, list) else (value,):
            marks |= _read_piece(piece, facts)
    return marks


def _read_piece(piece: Any, facts: Facts) -> int:
    """Take note of a text, a part of the content or a call of a tool; an empty one opens what will follow."""
    if not isinstance(piece, dict):
        facts.say(piece)
        return Marks.CONTENT if piece and isinstance(piece, str) else 0
    call = piece.get("function")
    told = call if isinstance(call, dict) else piece
    texts = [told.get(member) for member in _TEXTS]
    for text in texts:
        facts.say(text)
    if not any(texts):
        return 0
    return Marks.CONTENT | Marks.REASONING if told.get("thinking") else Marks.CONTENT


def _read_end(why: Any, usage: Any, facts: Facts) -> int:
    if isinstance(usage, dict):
        _read_usage(usage, facts)
    facts.final_usage = facts.usage is not None
    reason = name(why)
    if reason is None:
        return 0
    facts.answered()
    facts.finish(0, reason)
    if reason == _FAILED:
        facts.fail("")
    return Marks.FINISH


def _read_usage(told: Mapping[str, Any], facts: Facts) -> None:
    # `tokens` has what Cohere itself put into the prompt and the markup in the answer, which nobody is billed
    # for: priced by it, a short question would cost several times what it does.
    billed = told.get("billed_units")
    sources = [billed, told.get("tokens")]
    prompt, output = _first(sources, "input_tokens"), _first(sources, "output_tokens")
    facts.usage = partition(prompt, count(told.get("cached_tokens")), output) or facts.usage
    if searches := _first([billed], "search_units"):
        facts.units["searches"] = searches


def _first(sources: Iterable[Any], name: str) -> int | None:
    for told in sources:
        if isinstance(told, dict) and (number := count(told.get(name))) is not None:
            return number
    return None


class _Ranking(msgspec.Struct):
    id: Any = None
    model: Any = None
    results: Any = None
    data: Any = None
    meta: Any = None
    usage: Any = None
    message: Any = None
    error: Any = None


_ranking = Shape(_Ranking)


class Rerank:
    """The dialect of rerank."""

    operation = "rerank"
    consumes = True
    streams_array = False
    returned = ()

    def read_request(self, body: bytes) -> Generator[None, None, Request]:
        """Read a request's body."""
        told = yield from inquiry.read(body)
        prompt = told.tokens("query", "documents", "texts")
        return Request(model=told.model, prompt_tokens=prompt)

    def read_answer(self, body: bytes, facts: Facts) -> None:
        """Read a whole JSON answer."""
        told = told_in(_ranking, body, facts)
        if told is None:
            if facts.error is None and body.lstrip().startswith(b"["):  # of text-embeddings-inference
                facts.answered()
            return
        facts.response_id = name(told.id) or facts.response_id
        facts.response_model = name(told.model) or facts.response_model
        if told.error or (isinstance(told.message, str) and told.message):
            facts.fail(error_of({"error": told.error}) or "")
        elif told.results or told.data:
            facts.answered()
        _read_price(told, facts)

    def read_event(self, name: bytes, data: bytes, facts: Facts) -> int:  # noqa: ARG002 - of no event is it told
        """Read one event's data: nobody is known to stream rankings, and an answer is one all the same."""
        self.read_answer(data, facts)
        return 0


def _read_price(told: _Ranking, facts: Facts) -> None:
    """Take what is charged for: searches, or else tokens; of both, the latter are but a remark."""
    meta = told.meta if isinstance(told.meta, dict) else {}
    usage = told.usage if isinstance(told.usage, dict) else {}
    billed, tokens = meta.get("billed_units"), meta.get("tokens")
    facts.provider_cost_usd = cost_usd(usage)
    searches = _first((billed, usage), "search_units")
    for source in () if searches else (usage, billed, tokens):
        if isinstance(source, dict) and (counted := of_prompt(source)) is not None:
            facts.usage = counted
            break
    if searches is not None and facts.usage is None:
        facts.units["searches"] = searches
    facts.final_usage = facts.usage is not None or bool(facts.units)
