"""The only module that moves bytes between client and upstream.

`Proxy.handle` is one request from its head to its record. Whatever happens on the way, the `finally` there
tells the sinks exactly once; nothing after the answer's head can reach the client but the upstream's bytes,
or a broken connection.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from meter import dialects
from meter.dialect import Request
from meter.exchange import Outcome
from meter.headers import end_to_end, first, forwarded, media_type, replace, without
from meter.ids import uuid7
from meter.intake import Intake
from meter.keys import find_credential
from meter.listener import Connection, RawAnswer, error_body
from meter.passage import Passage, Refusal
from meter.ratelimits import read as read_rate_limits
from meter.refusals import REFUSAL_BYTES, Refusals, refuses
from meter.routing import origin_form
from meter.tap import Tap
from meter.upstream import (
    BrokenOffError,
    TimedOutError,
    UnreachableError,
    UnsendableError,
    address,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from yarl import URL

    from meter.headers import Fields
    from meter.keys import Keys
    from meter.price import Book
    from meter.routing import Routes
    from meter.settings import Settings
    from meter.sinks import Sinks
    from meter.state import State
    from meter.upstream import Answer, Client

__all__ = ["Proxy"]

_KEPT_BACK_SECONDS = 0.05
"""An event that is held for what may go back onto it waits no longer for the next one to begin."""

_REFUSED_METHODS = frozenset(("CONNECT", "TRACE"))
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?")
_LOGGED_PATH = 2048
"""Characters of a path that are kept."""


_REASONS = {
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class Proxy:
    """Passes requests on and answers back, and tells the sinks of each exchange."""

    def __init__(
        self,
        settings: Settings,
        *,
        routes: Routes,
        keys: Keys,
        client: Client,
        book: Book,
        sinks: Sinks,
        state: State,
        report: Callable[[str, BaseException | None], None],
    ) -> None:
        """Put a proxy together; `report(part, error)` counts what went wrong within."""
        self._settings = settings
        self._report = report
        self._upstreams = {u.name: u for u in settings.upstreams}
        self._routes = routes
        self._keys = keys
        self._client = client
        self._book = book
        self._sinks = sinks
        self._state = state
        self._refusals = Refusals()
        self._intake = Intake(settings, report)
        self._live: dict[str, Passage] = {}
        self._now = time.monotonic  # not the loop's clock: uvloop's stands still between its rounds

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Pass one request on and its answer back; record the exchange, however it ends."""
        passage = self._open(request)
        try:
            url = self._route(request, passage)
            # No name is given to the body: it would stay in memory for as long as the answer streams.
            answer = await self._send(passage, url, await self._intake.body(request, passage))
            try:
                return await self._relay(request, passage, answer)
            finally:
                answer.close()
        except Refusal as refusal:
            return self._refuse(passage, refusal)
        except (asyncio.CancelledError, ConnectionError):
            passage.broke(Outcome.CLIENT_CLOSED)
            raise
        except Exception as error:  # noqa: BLE001 - a mistake of our own is counted, and looks like what it is
            self._report("proxy", error)
            passage.broke(Outcome.REJECTED)
            return self._fail(passage)
        finally:
            self._close(passage)

    def break_off(self) -> None:
        """Break off what is still under way: a clean end would forge complete answers."""
        for passage in self._live.values():
            passage.broke(Outcome.TRUNCATED)
            if passage.out is not None:
                passage.out.break_off()

    def malformed(self, request: web.BaseRequest, error: BaseException | None) -> web.StreamResponse:
        """Answer and record what is no HTTP; the answer never quotes what was sent."""
        if not isinstance(error, HttpProcessingError):  # `handle` has recorded the exchange, and failed after
            self._report("proxy", error)
            raise ConnectionAbortedError
        passage = self._open(request)
        try:
            return self._refuse(
                passage, Refusal(400, "bad_request", "the request is not valid HTTP", close=True)
            )
        finally:
            self._close(passage)

    def _fail(self, passage: Passage) -> web.StreamResponse:
        """Answer a mistake of our own; break the connection where an answer has begun."""
        if passage.out is not None:
            passage.out.break_off()
            raise ConnectionAbortedError
        return self._refuse(
            passage, Refusal(500, "internal_error", "meter could not pass this on", close=True)
        )

    # 1. Who calls, and where to.

    def _open(self, request: web.BaseRequest) -> Passage:
        connection = request.protocol
        now = self._now()
        began = connection.taken() if isinstance(connection, Connection) else now
        unix = time.time() - (now - began)
        path, _, _ = origin_form(request.raw_path).partition("?")
        passage = Passage(
            id=uuid7(int(unix * 1000), os.urandom(10)),
            began=began,
            started_at=unix,
            read_at=now,
            method=request.method,
            # What is no path is an authority (CONNECT), which may hold a password.
            path=path[:_LOGGED_PATH] if path.startswith("/") else "",
            fields=list(request.raw_headers),
            peer=request.remote or "unknown",
        )
        self._live[passage.id] = passage
        return passage

    def _route(self, request: web.BaseRequest, passage: Passage) -> URL:
        """Settle upstream, dialect, key and tags; return what is asked of the upstream."""
        raw = origin_form(request.raw_path)
        path, _, query = raw.partition("?")
        passage.key, tags = self._keys.identify(find_credential(passage.fields, query))
        passage.tags = self._tags(passage.fields, tags)
        found = self._routes.match(raw)
        if found is not None:
            passage.upstream = found.upstream
            passage.provider = self._upstreams[found.upstream].provider
            passage.dialect = dialects.find(passage.method, path)
            passage.operation = dialects.operation(passage.method, path, passage.dialect)
            passage.tap = Tap(passage.dialect)
        self._state.enter(passage.upstream, passage.operation)
        passage.entered = True
        if self._state.draining:
            raise Refusal(503, "draining", "meter is shutting down", close=True)
        if passage.method in _REFUSED_METHODS:
            raise Refusal(405, "method_not_allowed", f"{passage.method} is not passed on", close=True)
        if _is_ambiguous(request):
            raise Refusal(400, "bad_request", "the request is not valid HTTP", close=True)
        if found is None:
            raise Refusal(404, "no_upstream", "no upstream serves this path")
        return address(self._routes.origin(found.upstream), found.target)

    def _tags(self, fields: Fields, tags: Mapping[str, str]) -> Mapping[str, str]:
        """Return the tags of headers and key; the key's win, for clients do not write those."""
        told = {
            tag: value.decode("utf-8", "replace")
            for tag, name in self._settings.attribution.headers.items()
            if (value := first(fields, name.lower().encode())) is not None
        }
        return {**told, **tags} if told else tags

    # 2. To the upstream.

    async def _send(self, passage: Passage, url: URL, body: bytes | AsyncIterator[bytes] | None) -> Answer:
        """Send the request, asking for usage where that is due; where it is refused, again as it came."""
        fields = without(end_to_end(passage.fields), b"host", b"expect")
        if self._settings.attribution.strip:
            names = (name.lower().encode() for name in self._settings.attribution.headers.values())
            fields = without(fields, *names)
        if self._settings.forwarded == "append":
            fields = forwarded(fields, passage.peer, "http", _text(first(passage.fields, b"host")) or "")
        asking = passage.request.asking
        if asking is None or not self._asks(passage):
            return await self._attempt(passage, url, fields, body)
        passage.asked = True
        asking_fields = replace(fields, b"Accept-Encoding", b"identity")
        if first(fields, b"content-length") is not None:
            asking_fields = replace(asking_fields, b"Content-Length", b"%d" % len(asking))
        answer = await self._attempt(passage, url, asking_fields, asking)
        try:
            refused = answer.status in Refusals.statuses and refuses(
                answer.status, await answer.beginning(REFUSAL_BYTES)
            )
        except BaseException:  # the client has left
            answer.close()
            raise
        if refused:
            answer.close()
            passage.asked, passage.refused = False, True
            self._refusals.add(passage.upstream, passage.request.model, self._now())
            return await self._attempt(passage, url, fields, body)
        return answer

    def _asks(self, passage: Passage) -> bool:
        upstream = self._upstreams[passage.upstream]
        if upstream.usage != "auto":
            return upstream.usage == "ask"
        return not upstream.tells_usage and not self._refusals.knows(
            passage.upstream, passage.request.model, self._now()
        )

    async def _attempt(
        self,
        passage: Passage,
        url: URL,
        fields: Fields,
        body: bytes | AsyncIterator[bytes] | None,
    ) -> Answer:
        passage.attempts += 1
        if passage.request_overhead is None:
            passage.request_overhead = self._now() - passage.read_at
        try:
            answer = await self._client.send(passage.upstream, passage.method, url, fields, body)
        except UnsendableError:
            raise Refusal(400, "bad_request", "a header field is not valid UTF-8") from None
        except TimedOutError as error:
            if error.connecting:
                self._state.missed(passage.upstream)
            raise Refusal(504, "timeout", "the upstream took too long", outcome=Outcome.TIMEOUT) from None
        except UnreachableError:
            if passage.refusal is not None:
                raise passage.refusal from None
            if (
                self._upstreams[passage.upstream].resend_post
                and passage.attempts == 1
                and isinstance(body, bytes)
            ):
                return await self._attempt(passage, url, fields, body)
            self._state.missed(passage.upstream)
            message = "the upstream could not be reached"
            raise Refusal(502, "unreachable", message, outcome=Outcome.UNREACHABLE) from None
        self._state.reached(passage.upstream)
        return answer

    # 3. Back to the client.

    async def _relay(self, request: web.BaseRequest, passage: Passage, answer: Answer) -> web.StreamResponse:
        """Pass an answer on to the client, through the tap."""
        self._intake.let_go(passage)
        passage.request = Request(model=passage.request.model, stream=passage.request.stream)
        tap = passage.tap = Tap(
            passage.dialect,
            asked=passage.asked,
            client_streams=passage.request.stream,
            event_bytes=self._settings.limits.event_bytes,
        )
        tap.answer(answer.status, media_type(answer.fields), first(answer.fields, b"content-encoding"))
        passage.rate_limits = read_rate_limits(answer.fields, time.time())
        passage.upstream_request_id = _text(first(answer.fields, b"x-request-id"))
        out = RawAnswer(
            answer.status,
            answer.reason,
            self._answer_fields(passage, answer, tap),
            keep_alive=not self._state.draining,
        )
        await out.prepare(request)
        passage.out, passage.status = out, answer.status
        came = await self._pump(passage, answer, out)
        await out.write_eof()
        passage.response_overhead = self._now() - came
        return out

    def _answer_fields(self, passage: Passage, answer: Answer, tap: Tap) -> Fields:
        fields = end_to_end(answer.fields)
        if tap.hiding:
            fields = without(fields, b"content-length")
        if tap.decodes:
            fields = without(fields, b"content-encoding")
        if self._settings.response_headers.id:
            fields.append((b"x-meter-id", passage.id.encode()))
        return fields

    async def _pump(self, passage: Passage, answer: Answer, out: RawAnswer) -> float:
        """Move the body; return when its last piece came. Where the upstream breaks off, break off too."""
        tap = passage.tap
        try:
            while piece := await self._next(passage, answer, out):
                await self._pass_on(passage, out, piece)
        except (TimedOutError, BrokenOffError) as error:
            passage.broke(Outcome.TIMEOUT if isinstance(error, TimedOutError) else Outcome.TRUNCATED)
            await self._write(passage, out, tap.end(self._now()))
            out.break_off()  # a clean end would forge a complete answer
            raise ConnectionAbortedError from None
        now = self._now()
        await self._write(passage, out, tap.end(now))
        return now

    async def _pass_on(self, passage: Passage, out: web.StreamResponse, piece: bytes) -> None:
        """Write a piece, first as it came and then read, or, while something is to be hidden, edited."""
        tap = passage.tap
        now = self._now()
        if not tap.hiding:
            await self._write(passage, out, piece)
            tap.watch(piece, now)
            return
        await self._write(passage, out, tap.edit(piece, now))
        if tap.damaged:
            raise BrokenOffError

    async def _next(self, passage: Passage, answer: Answer, out: web.StreamResponse) -> bytes:
        """Return the answer's next piece; let go of an event that was held for it if it does not come."""
        if passage.tap.waiting:
            try:
                async with asyncio.timeout(_KEPT_BACK_SECONDS):
                    return await answer.read()
            except TimeoutError:
                await self._write(passage, out, passage.tap.release())
        return await answer.read()

    async def _write(self, passage: Passage, out: web.StreamResponse, data: bytes) -> None:
        if data:
            await out.write(data)
            passage.response_bytes += len(data)

    def _refuse(self, passage: Passage, refusal: Refusal) -> web.StreamResponse:
        """Return an answer of Meter's own."""
        passage.broke(refusal.outcome)
        passage.refusal = refusal
        passage.status = refusal.status
        body = error_body(refusal.message, refusal.code)
        passage.response_bytes = len(body)
        fields = [
            (b"Content-Type", b"application/json"),
            (b"Content-Length", b"%d" % len(body)),
            (b"x-meter-error", b"1"),
        ]
        if self._settings.response_headers.id:
            fields.append((b"x-meter-id", passage.id.encode()))
        return RawAnswer(
            refusal.status, _REASONS[refusal.status], fields, body=body, keep_alive=not refusal.close
        )

    # 4. The record.

    def _close(self, passage: Passage) -> None:
        """Make the record and tell the sinks."""
        del self._live[passage.id]
        self._intake.let_go(passage)
        if passage.entered:
            self._state.leave(passage.upstream, passage.operation)
        passage.tap.end(self._now())
        if passage.tap.failures:
            self._report("tap", None)
        exchange = passage.record(self._now())
        try:
            exchange = self._book.price(exchange)
        except Exception as error:  # noqa: BLE001 - an exchange that cannot be priced is still an exchange
            self._report("book", error)
        self._sinks.tell(exchange)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")


def _is_ambiguous(request: web.BaseRequest) -> bool:
    """Tell whether a request that aiohttp lets through could be read in two ways."""
    coding = first(request.raw_headers, b"transfer-encoding")
    if coding is not None and (coding.lower() != b"chunked" or request.version < aiohttp.HttpVersion11):
        return True
    return _HOST.fullmatch(first(request.raw_headers, b"host") or b"") is None
