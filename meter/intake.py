"""The request's body on its way in: held until it is complete and read, or streamed through as it comes.

Only what a dialect can read is held, each up to `limits.inspect_bytes` and all together up to
`limits.inspect_total`; past either, what has come goes on, and the rest follows it unread.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar, cast

from aiohttp import HttpVersion11, web
from msgspec import structs

from meter import inquiry
from meter.coding import decoded, is_coded
from meter.headers import first, media_type
from meter.parameters import parameters
from meter.passage import Passage, Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator

    from meter.capture import Capture
    from meter.headers import Fields
    from meter.settings import Settings

__all__ = ["Intake"]

_JSON_NEVER = b"multipart/"
_SLICE = 1 << 16
"""Bytes of what is held together, and go on at once if they are not read."""

_Read = TypeVar("_Read")


class Intake:
    """Takes requests' bodies in; `report(part, error)` counts what went wrong in reading one.

    `traced` says that somebody wants to know what a request asks for besides its model; `capture` takes its
    prompt down.
    """

    def __init__(
        self,
        settings: Settings,
        report: Callable[[str, BaseException | None], None],
        *,
        traced: bool = False,
        capture: Capture | None = None,
    ) -> None:
        self._curious = traced or capture is not None
        self._capture = capture
        self._limits = settings.limits
        self._patience = settings.timeouts.client_body
        self._report = report
        self._held = 0
        """Bytes of all requests that are held."""

    async def body(self, request: web.BaseRequest, passage: Passage) -> bytes | AsyncIterator[bytes] | None:
        """Return the request's body: whole and read, or as a stream, or None where there is none.

        Raises Refusal where it is too long, does not come, or is no HTTP; so does the stream.
        """
        if not request.body_exists:
            return None
        limit = self._limits.body_bytes
        if limit is not None and (request.content_length or 0) > limit:
            raise _too_large(limit)
        if request.version >= HttpVersion11 and _expects_continue(passage.fields):
            assert request.transport is not None  # noqa: S101 - its request is at hand
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if passage.dialect is None or media_type(passage.fields).startswith(_JSON_NEVER):
            return self._streamed(request, passage, [])
        body = await self._piece(request, passage)
        room = not body or self.hold(passage, len(body))
        if not (room and request.content.at_eof()):  # most come in one piece
            held = [bytearray(body)]
            while room and (piece := await self._piece(request, passage)):
                _add(held, piece)
                room = self.hold(passage, len(piece))
            if not room:
                return self._streamed(request, passage, held)
            body = b"".join(held)
            del held
        passage.read_at = time.monotonic()
        try:
            await self._read(passage, body)
        except Exception as error:  # noqa: BLE001 - what cannot be read can still be passed on
            self._report("tap", error)
        return body

    async def _piece(self, request: web.BaseRequest, passage: Passage) -> bytes:
        """Return the next piece of the request's body, b"" at its end."""
        content = request.content
        try:
            if (
                content.is_eof()
            ):  # it has come with its head, as most do: a timer would cost more than the rest
                piece = content.read_nowait()
            else:
                async with asyncio.timeout(self._patience):
                    piece = await content.readany()
        except TimeoutError:
            raise Refusal(408, "request_timeout", "the request's body did not come", close=True) from None
        except web.RequestPayloadError:
            raise Refusal(400, "bad_request", "the request's body is not valid HTTP", close=True) from None
        passage.request_bytes += len(piece)
        limit = self._limits.body_bytes
        if limit is not None and passage.request_bytes > limit:
            raise _too_large(limit)
        return piece

    async def _streamed(
        self, request: web.BaseRequest, passage: Passage, held: list[bytearray]
    ) -> AsyncIterator[bytes]:
        """Yield the request's body as it comes, after what is `held` of it."""
        try:
            for several in held:
                yield bytes(several)
            held.clear()
            self.let_go(passage)
            while piece := await self._piece(request, passage):
                yield piece
        except Refusal as refusal:  # aiohttp makes an error of its own of it
            passage.refusal = refusal
            raise

    def hold(self, passage: Passage, size: int) -> bool:
        """Count `size` more bytes of an exchange as held; tell whether as many may be."""
        passage.held += size
        self._held += size
        return passage.held <= self._limits.inspect_bytes and self._held <= self._limits.inspect_total

    def let_go(self, passage: Passage) -> None:
        """Keep of a request what was read, and no more of its bytes; again, that does nothing."""
        self._held -= passage.held
        passage.held = 0
        passage.request = passage.request.unasked

    async def _read(self, passage: Passage, body: bytes) -> None:
        """Let the dialect read the request, giving way to other exchanges while it does."""
        assert passage.dialect is not None  # noqa: S101 - bodies are held for dialects only
        encoding = first(passage.fields, b"content-encoding")
        if encoding is None or not is_coded(encoding):
            passage.request = await _giving_way(passage.dialect.read_request(body))
            if self._curious:
                await self._read_further(passage, body)
            return
        plain = await _giving_way(decoded(body, encoding or b"", self._limits.inspect_bytes))
        if plain is None:
            return
        text, left_out = plain
        request = (await _giving_way(passage.dialect.read_request(text))).unasked  # it goes up as it came
        prompt = request.prompt_tokens
        passage.request = (
            request if prompt is None else structs.replace(request, prompt_tokens=prompt + left_out)
        )
        if self._curious:
            await self._read_further(passage, text)

    async def _read_further(self, passage: Passage, text: bytes) -> None:
        """Read what only traces and captured content tell, once more from the start: most want neither."""
        told = await _giving_way(inquiry.read(text))
        question = None if self._capture is None else self._capture.question(told)
        passage.request = structs.replace(passage.request, parameters=parameters(told), question=question)


def _add(held: list[bytearray], piece: bytes) -> None:
    """Hold another piece.

    Not by itself, as it is as short as the client likes; nor with all the others, for what grows so long is
    moved again and again, and there twice meanwhile.
    """
    if len(held[-1]) + len(piece) <= _SLICE:
        held[-1] += piece
    else:
        held.append(bytearray(piece))


async def _giving_way(reading: Generator[None, None, _Read]) -> _Read:
    """Return what `reading` returns, letting other exchanges go on wherever it yields."""
    while True:
        try:
            next(reading)
        except StopIteration as end:
            return cast("_Read", end.value)
        await asyncio.sleep(0)


def _too_large(limit: int) -> Refusal:
    return Refusal(413, "body_too_large", f"the request's body is longer than {limit} bytes", close=True)


def _expects_continue(fields: Fields) -> bool:
    expected = first(fields, b"expect")
    return expected is not None and expected.strip().lower() == b"100-continue"
