"""One request, from its head to its record.

`Proxy.handle` begins to take note, and `_pass` is the way it goes, in the order of the sections below.
Whatever happens on it, the `finally` there tells the sinks exactly once; nothing after the answer's head can
reach the client but the upstream's bytes, or a broken connection.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from meter import dialects
from meter.budget import Budgets
from meter.capture import Captured
from meter.cost_headers import COST_NAMES, cost_fields, wants_trailers
from meter.dispatch import Dispatch
from meter.exchange import Outcome
from meter.headers import end_to_end, first, head, media_type, switching, wants_websocket
from meter.ids import uuid7
from meter.intake import Intake
from meter.keys import find_credential
from meter.listener import Connection, PatientAnswer, RawAnswer, error_body
from meter.passage import Passage, Refusal
from meter.pump import Pump
from meter.ratelimits import read as read_rate_limits
from meter.recorder import Recorder
from meter.routing import origin_form
from meter.session import Session
from meter.switching import End
from meter.tap import Tap
from meter.trace import parent
from meter.tunnel import Tunnel
from meter.websocket import deflates

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from meter.backgrounds import Backgrounds
    from meter.capture import Capture
    from meter.headers import Fields
    from meter.keys import Keys
    from meter.price import Book
    from meter.routing import Routes
    from meter.settings import Settings
    from meter.sinks import Sinks
    from meter.state import State
    from meter.trace import Tracer
    from meter.upstream import Answer, Client

__all__ = ["Proxy"]

_REFUSED_METHODS = frozenset(("CONNECT", "TRACE"))
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?")
_REQUEST_IDS = (b"x-request-id", b"request-id", b"apim-request-id")
"""Fields in which upstreams name a request: OpenAI and most, Anthropic, Azure."""
_LENGTH, _CODING = frozenset((b"content-length",)), frozenset((b"content-encoding",))
_LOGGED_PATH = 2048
"""Characters of a path that are kept."""

# Not `http.HTTPStatus`: how it words 413 depends on Python's version.
_REASONS = {
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    429: "Too Many Requests",
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
        backgrounds: Backgrounds,
        report: Callable[[str, BaseException | None], None],
        budgets: Budgets | None = None,
        tracer: Tracer | None = None,
        capture: Capture | None = None,
    ) -> None:
        """Put a proxy together; `report(part, error)` counts what went wrong within.

        With a `tracer`, spans are drawn; with a `capture`, prompts and answers are taken down.
        """
        self._tracer = tracer
        self._capture = capture
        self._settings = settings
        self._report = report
        self._upstreams = {u.name: u for u in settings.upstreams}
        self._tag_names = {tag: name.lower().encode() for tag, name in settings.attribution.headers.items()}
        self._routes = routes
        self._keys = keys
        self._recorder = Recorder(book, sinks, backgrounds, tracer, report)
        self._state = state
        self._dispatch = Dispatch(settings, client, state)
        self._backgrounds = backgrounds
        self._budgets = budgets or Budgets()
        self._intake = Intake(settings, report, traced=tracer is not None, capture=capture)
        self._live: dict[str, Passage] = {}
        self._drains = {u.name for u in settings.upstreams if u.on_client_disconnect == "drain"}
        self._left_behind: dict[str, asyncio.Task[web.StreamResponse]] = {}
        """Exchanges that go on although their clients have left, by id."""
        # An upstream's word of what an answer costs would be taken for Meter's.
        self._never = frozenset(COST_NAMES) if settings.response_headers.cost else frozenset()
        """Fields of an answer that do not travel."""
        self._now = time.monotonic  # not the loop's clock: uvloop's stands still between its rounds

    def handle(self, request: web.BaseRequest) -> Coroutine[Any, Any, web.StreamResponse]:
        """Pass one request on and its answer back; record the exchange, however it ends."""
        passage = self._open(request)
        passing = self._pass(request, passage)
        return self._outlasting(passage, passing) if self._drains else passing

    async def _pass(self, request: web.BaseRequest, passage: Passage) -> web.StreamResponse:
        try:
            place = self._route(request, passage)
            # No name is given to the body: it would stay in memory for as long as the answer streams.
            answer = await self._dispatch.send(passage, *place, await self._intake.body(request, passage))
            try:
                pass_on = self._switch if answer.switches else self._relay
                return await pass_on(request, passage, answer)
            finally:
                answer.close()
        except Refusal as refusal:
            return self._refuse(passage, refusal)
        except (asyncio.CancelledError, ConnectionError):
            if not passage.delivered:
                passage.broke(Outcome.CLIENT_CLOSED)
            raise
        except Exception as error:  # noqa: BLE001 - a mistake of our own is counted, and looks like what it is
            self._report("proxy", error)
            passage.broke(Outcome.REJECTED)
            return self._fail(passage)
        finally:
            self._close(passage)

    async def _outlasting(
        self, passage: Passage, passing: Coroutine[Any, Any, web.StreamResponse]
    ) -> web.StreamResponse:
        """Do as `passing` does; where the client leaves, go on without it if that is wanted."""
        task = asyncio.create_task(passing)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            drained = passage.upstream in self._drains and passage.attempts and not passage.upgrade
            if drained and not task.done():
                self._go_on(passage, task)
            else:
                task.cancel()
            raise

    def _go_on(self, passage: Passage, task: asyncio.Task[web.StreamResponse]) -> None:
        """Let an exchange go on without its client, for a while."""
        passage.left = True
        passage.left_early = not (passage.delivered or (passage.tap is not None and passage.tap.complete))
        if passage.left_early:
            passage.broke(Outcome.CLIENT_CLOSED)
        if isinstance(passage.out, RawAnswer):
            passage.out.gone = True
        self._state.drains += 1
        self._left_behind[passage.id] = task
        drain = self._upstreams[passage.upstream].drain
        timer = asyncio.get_running_loop().call_later(drain.seconds, task.cancel)

        def ended(task: asyncio.Task[web.StreamResponse]) -> None:
            timer.cancel()
            del self._left_behind[passage.id]
            task.cancelled() or task.exception()  # nobody else will ask for it

        task.add_done_callback(ended)

    @property
    def busy(self) -> bool:
        """Something that it has begun is under way."""
        return bool(self._live)

    def break_off(self) -> None:
        """Break off what is still under way: a clean end would forge complete answers."""
        for passage in self._live.values():
            passage.broke(Outcome.TRUNCATED)
            if passage.out is not None:
                passage.out.break_off()
        for task in self._left_behind.values():
            task.cancel()

    def malformed(self, request: web.BaseRequest, error: BaseException | None) -> web.StreamResponse:
        """Answer and record what is no HTTP; the answer never quotes what was sent."""
        if not isinstance(error, HttpProcessingError):  # `handle` has recorded the exchange, and failed after
            self._report("proxy", error)
            raise ConnectionAbortedError
        passage = self._open(request)
        try:
            too_long = isinstance(error, LineTooLong)
            return self._refuse(passage, _head_too_long(self._settings) if too_long else _not_http())
        finally:
            self._close(passage)

    # 1. Who calls, and where to.

    def _open(self, request: web.BaseRequest) -> Passage:
        """Begin to take note of an exchange; `_close` ends what begins here."""
        connection = request.protocol
        now = self._now()
        began = connection.taken() if isinstance(connection, Connection) else now
        unix = time.time() - (now - began)
        path, _, _ = origin_form(request.raw_path).partition("?")
        fields = head(request.raw_headers)
        passage = Passage(
            id=uuid7(int(unix * 1000), os.urandom(10)),
            began=began,
            started_at=unix,
            read_at=now,
            method=request.method,
            # What is no path is an authority (CONNECT), which may hold a password.
            path=path[:_LOGGED_PATH] if path.startswith("/") else "",
            fields=fields,
            peer=request.remote or "unknown",
            spans=None if self._tracer is None else self._tracer.begin(parent(fields), request.method, path),
            estimates=self._settings.usage.estimate,
        )
        self._live[passage.id] = passage
        return passage

    def _route(self, request: web.BaseRequest, passage: Passage) -> tuple[str, str]:
        """Settle key, tags, upstream and dialect; return the upstream's origin and what is asked there.

        Raises Refusal where that is nothing; by then the exchange is counted as in flight.
        """
        target = origin_form(request.raw_path)
        path, _, query = target.partition("?")
        passage.key, tags = self._keys.identify(find_credential(passage.fields, query))
        passage.tags = self._tags(passage.fields, tags)
        found = self._routes.match(target)
        passage.upgrade = _wants_websocket(request, passage.fields)
        if found is not None:
            passage.upstream = found.upstream
            passage.provider = self._upstreams[found.upstream].provider
            if passage.upgrade:
                self._settle_socket(passage, path, query)
            else:
                self._settle_dialect(passage, path)
        self._state.enter(passage.upstream, passage.operation)
        passage.entered = True
        if self._state.draining:
            raise Refusal(503, "draining", "meter is shutting down", close=True)
        if passage.method in _REFUSED_METHODS:
            raise Refusal(405, "method_not_allowed", f"{passage.method} is not passed on", close=True)
        if _is_ambiguous(request, passage.fields):
            raise _not_http()
        if passage.method == "OPTIONS" and first(passage.fields, b"max-forwards") == b"0":
            raise Refusal(405, "method_not_allowed", "Max-Forwards is 0: OPTIONS goes no further")
        if found is None:
            raise Refusal(404, "no_upstream", "no upstream serves this path")
        if self._budgets.stops and _spends(passage):
            self._stay_within_budget(passage)
        return self._routes.origin(found.upstream), found.target

    def _stay_within_budget(self, passage: Passage) -> None:
        """Refuse what somebody asks for who has spent a budget that stops."""
        now = datetime.now(UTC)
        spent = self._budgets.refused(passage.key, passage.tags, passage.upstream, now)
        if spent is not None:
            budget, until = spent
            # The amount is the owner's business, and callers may be anybody.
            message = f"budget {budget.name} is spent until {until:%Y-%m-%dT%H:%M:%SZ}"
            seconds = math.ceil((until - now).total_seconds())
            fields = [(b"Retry-After", b"%d" % seconds), (b"x-should-retry", b"false")]
            raise Refusal(429, "budget_exceeded", message, fields=fields)

    def _settle_dialect(self, passage: Passage, path: str) -> None:
        """Settle what is spoken at `path`, and what metrics call it."""
        passage.dialect = dialects.find(passage.method, path)
        passage.operation = dialects.operation(passage.method, path, passage.dialect)
        if passage.method == "GET" and self._backgrounds.knows(passage.upstream, path):
            passage.dialect = dialects.FETCHED
        if passage.dialect is not None:
            passage.path_model = dialects.model_in(path)

    def _settle_socket(self, passage: Passage, path: str, query: str) -> None:
        """Settle what is spoken in the messages of a WebSocket at `path`."""
        passage.socket = dialects.find_socket(path)
        if passage.socket is not None:
            passage.operation = "realtime"
            passage.path_model = dialects.model_asked(query)

    def _tags(self, fields: Fields, tags: Mapping[str, str]) -> Mapping[str, str]:
        """Return the tags of headers and key; the key's win, for clients do not write those."""
        if not self._tag_names:
            return tags
        told = {
            tag: value.decode("utf-8", "replace")
            for tag, name in self._tag_names.items()
            if (value := first(fields, name)) is not None
        }
        return {**told, **tags} if told else tags

    # 2. Back to the client.

    async def _relay(self, request: web.BaseRequest, passage: Passage, answer: Answer) -> web.StreamResponse:
        """Pass an answer on to the client, through the tap."""
        self._intake.let_go(passage)
        tap = passage.tap = Tap(
            passage.dialect,
            request=passage.request,
            asked=passage.asked,
            event_bytes=self._settings.limits.event_bytes,
            estimate=passage.estimates,
        )
        if self._capture is not None:
            tap.facts.captured = Captured(self._capture)
        tap.answer(answer.status, media_type(answer.fields), first(answer.fields, b"content-encoding"))
        _learn(passage, answer)
        drain = self._upstreams[passage.upstream].drain
        pump = Pump(passage, tap, answer, self._now, drain_bytes=drain.bytes)
        costs: Fields = []
        announced: Sequence[bytes] = ()
        if self._settings.response_headers.cost:
            costs = await self._costs(passage, answer, pump)
            announced = COST_NAMES if self._tells_behind(passage) else ()
        kind = PatientAnswer if passage.upstream in self._drains else RawAnswer
        out = kind(
            answer.status,
            answer.reason,
            self._answer_fields(passage, answer, tap) + costs,
            announced=announced,
            # What came behind a request for a WebSocket that is not had may be no HTTP.
            keep_alive=not (self._state.draining or passage.upgrade),
        )
        if passage.left:
            out.gone = True
        passage.out = out
        await out.prepare(request)
        passage.status = None if out.gone else answer.status
        came = await pump.run(out)
        if announced:
            out.trailers = self._cost(passage)
        await out.write_eof()
        passage.response_overhead = self._now() - came
        return out

    async def _costs(self, passage: Passage, answer: Answer, pump: Pump) -> Fields:
        """Return the fields that say what an answer costs, once it has come; none where it must not wait."""
        if not _may_wait(passage, answer):
            return []
        if await pump.hold(partial(self._intake.hold, passage)):
            return self._cost(passage)
        self._intake.let_go(passage)
        return []

    def _tells_behind(self, passage: Passage) -> bool:
        """Tell whether the client wants to hear behind the answer what could not be said before it."""
        told = passage.dialect is None or passage.priced is not None
        return not told and wants_trailers(passage.fields)

    def _cost(self, passage: Passage) -> Fields:
        """Settle what an exchange costs whose answer has come; return the fields that say so."""
        try:
            return cost_fields(self._recorder.price(passage, self._now()))
        except Exception as error:  # noqa: BLE001 - what it costs must not cost the client the answer
            self._report("proxy", error)
            return []

    async def _switch(self, request: web.BaseRequest, passage: Passage, answer: Answer) -> web.StreamResponse:
        """Pass on that protocols switch, then bytes both ways."""
        tap = passage.tap = Tap(None)
        tap.switch()
        _learn(passage, answer)
        fields = switching(answer.fields) + self._added(passage)
        out = RawAnswer(answer.status, answer.reason, fields, keep_alive=False)
        await out.prepare(request)
        passage.status = answer.status
        assert isinstance(request.protocol, Connection)  # noqa: S101 - nothing else asks for a WebSocket
        tunnel = Tunnel(
            passage,
            self._session(passage, answer),
            client=End(request.protocol),
            upstream=answer.end(),
            idle=self._settings.timeouts_for(self._upstreams[passage.upstream]).idle,
            tell=self._recorder.tell_turn,
            report=self._report,
        )
        passage.out = tunnel
        await tunnel.run()
        return out

    def _session(self, passage: Passage, answer: Answer) -> Session | None:
        """Return what reads the messages of a WebSocket; None where nobody could."""
        if passage.socket is None:
            return None
        return Session(
            passage.socket,
            deflate=deflates(first(answer.fields, b"sec-websocket-extensions")),
            event_bytes=self._settings.limits.event_bytes,
            estimate=passage.estimates,
        )

    def _answer_fields(self, passage: Passage, answer: Answer, tap: Tap) -> Fields:
        """Return the fields of an upstream's answer as they go to the client."""
        home = self._never
        if tap.hiding:
            home |= _LENGTH
        if tap.decodes:
            home |= _CODING
        return end_to_end(answer.fields, home) + self._added(passage)

    def _added(self, passage: Passage) -> Fields:
        """Return the fields that Meter adds to every answer."""
        return [(b"x-meter-id", passage.id.encode())] if self._settings.response_headers.id else []

    # Or an answer of Meter's own.

    def _fail(self, passage: Passage) -> web.StreamResponse:
        """Answer a mistake of our own; break the connection where an answer has begun."""
        if passage.out is not None:
            passage.out.break_off()
            raise ConnectionAbortedError
        return self._refuse(
            passage, Refusal(500, "internal_error", "meter could not pass this on", close=True)
        )

    def _refuse(self, passage: Passage, refusal: Refusal) -> web.StreamResponse:
        """Return the answer that a refusal is."""
        passage.broke(refusal.outcome)
        passage.refusal = refusal
        passage.status = None if passage.left else refusal.status
        body = error_body(refusal.message, refusal.code)
        passage.response_bytes = len(body)
        fields = [
            (b"Content-Type", b"application/json"),
            (b"Content-Length", b"%d" % len(body)),
            (b"x-meter-error", b"1"),
            *refusal.fields,
            *self._added(passage),
        ]
        return RawAnswer(
            refusal.status,
            _REASONS[refusal.status],
            fields,
            body=body,
            keep_alive=not (refusal.close or passage.upgrade),
        )

    # 3. The record.

    def _close(self, passage: Passage) -> None:
        """Make the record and tell the sinks."""
        del self._live[passage.id]
        self._intake.let_go(passage)
        if passage.entered:
            self._state.leave(passage.upstream, passage.operation)
        if passage.left:
            self._state.drains -= 1
        now = self._now()
        if passage.tap is not None:
            passage.tap.end(now)
            if passage.tap.failures:
                self._report("tap", None)
        self._recorder.tell(passage, now)


def _spends(passage: Passage) -> bool:
    """Tell whether an exchange costs something that is metered; what was made in the background has."""
    if passage.dialect in (None, dialects.FETCHED):
        return passage.socket is not None
    return passage.operation != "count_tokens"


def _head_too_long(settings: Settings) -> Refusal:
    limit = settings.limits.header_bytes
    message = f"the request line or a header field is longer than {limit} bytes"
    return Refusal(400, "bad_request", message, close=True)


def _not_http() -> Refusal:
    return Refusal(400, "bad_request", "the request is not valid HTTP", close=True)


def _may_wait(passage: Passage, answer: Answer) -> bool:
    """Tell whether an answer's head may wait for its body, of which no client makes use before its end."""
    read = passage.dialect is not None and passage.tap is not None and not passage.tap.stream
    return read and media_type(answer.fields).endswith((b"/json", b"+json"))


def _wants_websocket(request: web.BaseRequest, fields: Fields) -> bool:
    return (
        wants_websocket(request.method, fields)
        and isinstance(request.protocol, Connection)
        and request.protocol.may_switch
        and request.version == HttpVersion11
        and not request.body_exists
    )


def _learn(passage: Passage, answer: Answer) -> None:
    """Take note of what an answer's head says of it besides the status."""
    passage.rate_limits = read_rate_limits(answer.fields, time.time())
    for name in _REQUEST_IDS:
        if value := first(answer.fields, name):
            passage.upstream_request_id = value.decode("utf-8", "replace")
            break


def _is_ambiguous(request: web.BaseRequest, fields: Fields) -> bool:
    """Tell whether a request that aiohttp lets through could be read in two ways."""
    if request.version not in (HttpVersion10, HttpVersion11):
        return True
    coding = first(fields, b"transfer-encoding")
    if coding is not None and (coding.lower() != b"chunked" or request.version < HttpVersion11):
        return True
    return _HOST.fullmatch(first(fields, b"host") or b"") is None
