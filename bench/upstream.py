"""A simulated upstream for benchmarks: `upstream.py PORT`, in a process of its own.

It stands directly on asyncio's protocols, so that what it costs stays small beside what is measured. A
request whose body has `"stream": true` gets paced events, one write each; any other gets one small JSON
answer. As OpenAI does, it tells a stream's usage only if it is asked to, and then says `"usage": null` in
each event before.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import uvloop

EVENTS = 100
PAUSE_S = 0.020

_ANSWER: dict[str, Any] = {"id": "chatcmpl-1", "created": 1_760_000_000, "model": "gpt-4o-mini-2024-07-18"}
_USAGE = {"prompt_tokens": 120, "completion_tokens": EVENTS, "total_tokens": 120 + EVENTS}
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: req_1\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


def _event(choices: list[dict[str, Any]], **more: Any) -> bytes:
    told = {**_ANSWER, "object": "chat.completion.chunk", "choices": choices, **more}
    return _chunk(b"data: " + json.dumps(told, separators=(",", ":")).encode() + b"\n\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _events(*, usage: bool) -> list[bytes]:
    """Return what is written of a stream, in turn: its events of content, then its end."""
    told = {"usage": None} if usage else {}
    word = _event([{"index": 0, "delta": {"content": " token"}, "finish_reason": None}], **told)
    end = _event([{"index": 0, "delta": {}, "finish_reason": "stop"}], **told)
    end += _event([], usage=_USAGE) if usage else b""
    return [*[word] * (EVENTS - 1), end + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"]


def _whole() -> bytes:
    message = {"role": "assistant", "content": "It is a fine day for a walk along the river. " * 8}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    body = json.dumps({**_ANSWER, "object": "chat.completion", "choices": choices, "usage": _USAGE}).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


_WHOLE = _whole()
_STREAMS = {usage: _events(usage=usage) for usage in (False, True)}


class Upstream(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport: Any = transport
        self._held = b""
        self._streaming: asyncio.Task[None] | None = None

    def data_received(self, data: bytes) -> None:
        """Answer each request once it is whole; its body has a length."""
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            length = self._held[:end].lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
            whole = end + 4 + int(length or 0)
            if len(self._held) < whole:
                return
            body, self._held = self._held[end + 4 : whole], self._held[whole:]
            self._answer(body.replace(b" ", b""))

    def _answer(self, body: bytes) -> None:
        if b'"stream":true' not in body:
            self._transport.write(_WHOLE)
            return
        self._streaming = asyncio.ensure_future(self._stream(_STREAMS[b'"include_usage":true' in body]))

    async def _stream(self, events: list[bytes]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._transport.write(_STREAM_HEAD)
        for number, event in enumerate(events, 1):
            # By the clock and not by pauses: what is late does not delay all that comes after.
            await asyncio.sleep(max(0.0, began + number * PAUSE_S - loop.time()))
            self._transport.write(event)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """End."""
        if self._streaming is not None:
            self._streaming.cancel()


async def main(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
