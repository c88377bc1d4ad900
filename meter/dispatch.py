"""Sends a request to its upstream, and waits for the head of an answer.

Usage is asked for here where that is due, and where an upstream refuses to be asked, the client's own bytes
go up instead. What else may be sent twice, and no more than that, `_again` says.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from meter.exchange import Outcome
from meter.headers import end_to_end, first, forwarded, replace, switching, without
from meter.passage import Passage, Refusal
from meter.refusals import REFUSAL_BYTES, REFUSAL_STATUSES, Refusals, refuses
from meter.trace import carrying
from meter.upstream import TimedOutError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from typing import Any

    from meter.headers import Fields
    from meter.settings import Settings
    from meter.state import State
    from meter.upstream import Answer, Client

__all__ = ["Dispatch"]

_SAFE = frozenset(("GET", "HEAD", "OPTIONS"))


class Dispatch:
    """Sends requests through `client`, and notes in `state` which upstreams can be reached."""

    def __init__(self, settings: Settings, client: Client, state: State) -> None:
        self._settings = settings
        self._upstreams = {u.name: u for u in settings.upstreams}
        names = settings.attribution.headers.values() if settings.attribution.strip else ()
        self._staying_home = frozenset((b"expect", *(name.lower().encode() for name in names)))
        self._client = client
        self._state = state
        self._refusals = Refusals()

    def send(
        self, passage: Passage, origin: str, target: str, body: bytes | AsyncIterator[bytes] | None
    ) -> Coroutine[Any, Any, Answer]:
        """Send the request, asking for usage where that is due; where it is refused, again as it came."""
        place, fields = (origin, target), self._request_fields(passage)
        asking = self._asking(passage)
        if asking is None:
            return self._attempt(passage, place, fields, body)
        return self._ask(passage, place, fields, body, asking)

    async def _ask(
        self,
        passage: Passage,
        place: tuple[str, str],
        fields: Fields,
        body: bytes | AsyncIterator[bytes] | None,
        asking: bytes,
    ) -> Answer:
        passage.asked = True
        answer = await self._attempt(passage, place, _asking_fields(fields, len(asking)), asking)
        if not await _is_refusal(answer):
            return answer
        answer.close()
        passage.asked, passage.refused = False, True
        self._refusals.add(passage.upstream, passage.request.model, time.monotonic())
        return await self._attempt(passage, place, fields, body)

    def _request_fields(self, passage: Passage) -> Fields:
        """Return the fields that go up; what Host says follows from the URL."""
        if passage.upgrade:
            fields = without(switching(passage.fields), *self._staying_home)
        else:
            fields = end_to_end(passage.fields, self._staying_home)
        if passage.spans is not None and self._settings.tracing.propagate:
            fields = carrying(fields, passage.spans)
        if self._settings.forwarded == "append":
            scheme = "http" if self._settings.tls.cert is None else "https"
            host = (first(passage.fields, b"host") or b"").decode("utf-8", "replace")
            return forwarded(fields, passage.peer, scheme, host)
        return fields

    def _asking(self, passage: Passage) -> bytes | None:
        """Return the body that asks for usage, None where the client's own is to go up."""
        request = passage.request
        if request.asking is None:
            return None
        upstream = self._upstreams[passage.upstream]
        if upstream.usage == "never":
            return None
        if upstream.usage == "auto" and (
            upstream.tells_usage or self._refusals.knows(passage.upstream, request.model, time.monotonic())
        ):
            return None
        return request.asking

    async def _attempt(
        self,
        passage: Passage,
        place: tuple[str, str],
        fields: Fields,
        body: bytes | AsyncIterator[bytes] | None,
    ) -> Answer:
        """Send a request and wait for the answer's head; raise Refusal where none comes."""
        passage.attempts += 1
        if passage.request_overhead is None:
            passage.request_overhead = time.monotonic() - passage.read_at
        try:
            answer = await self._client.send(
                passage.upstream, passage.method, *place, fields=fields, body=body
            )
        except TimedOutError as error:
            if error.connecting:
                passage.unconnected = True
                self._state.missed(passage.upstream, "no connection in time")
            raise Refusal(504, "timeout", "the upstream took too long", outcome=Outcome.TIMEOUT) from None
        except UnreachableError as error:
            if passage.refusal is not None:
                raise passage.refusal from None
            if self._again(passage, body, reused=error.reused):
                return await self._attempt(passage, place, fields, body)
            self._state.missed(passage.upstream, error.reason)
            message = f"the upstream gave no answer: {error.reason}"
            raise Refusal(502, "unreachable", message, outcome=Outcome.UNREACHABLE) from None
        self._state.reached(passage.upstream)
        return answer

    def _again(self, passage: Passage, body: object, *, reused: bool) -> bool:
        """Tell whether a request without an answer is to be sent once more; `reused` says on what it went."""
        if passage.attempts > 1 or not (body is None or isinstance(body, bytes)):
            return False
        harmless = reused and passage.method in _SAFE
        return harmless or (body is not None and self._upstreams[passage.upstream].resend_post)


def _asking_fields(fields: Fields, length: int) -> Fields:
    """Return the fields of a request that asks for usage, with a body of `length` bytes."""
    # What is to be edited should not come compressed.
    fields = replace(fields, b"Accept-Encoding", b"identity")
    if first(fields, b"content-length") is None:
        return fields
    return replace(fields, b"Content-Length", b"%d" % length)


async def _is_refusal(answer: Answer) -> bool:
    """Tell whether an answer refuses to be asked for usage."""
    if answer.status not in REFUSAL_STATUSES:
        return False
    try:
        return refuses(answer.status, await answer.beginning(REFUSAL_BYTES))
    except BaseException:  # the client has left
        answer.close()
        raise
