"""What programs ask the admin port: what goes by, what was spent, what lacks a price, what is left.

The ledger answers, or, where it does not and that is enough, the ring of the last exchanges. Whatever takes
long, down to the JSON of the answer, is made in a clerk's thread: no stream waits for it.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from meter import __version__, live
from meter.admin.answers import error_answer, json_answer, json_text
from meter.admin.asking import (
    BusyError,
    Clerk,
    Span,
    parameters,
    read_by,
    read_limit,
    read_span,
    read_where,
)
from meter.admin.description import DESCRIPTION
from meter.admin.remembered import Remembered
from meter.budget import ends
from meter.keys import Keys, find_credential
from meter.prices.lacking import with_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from decimal import Decimal
    from typing import TypeAlias

    from aiohttp import web

    from meter.admin.asking import Budgets, Memory, Questions
    from meter.budget import Budget
    from meter.live import Live
    from meter.recent import Recent
    from meter.state import State

    Page: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.Response]]

__all__ = ["OWN", "Api"]

OWN = "/usage/me"
"""Where callers show their own credential."""

_EXCHANGES = "/api/exchanges"
_SLOW = ("live", "usage", "waste", "exchanges", "exchange", "missing", "own")
"""What a clerk each is there for, so that one question does not wait for another."""
_OWN_CREDENTIALS = ("key", "api-key")
"""Parameters in which callers may show theirs."""
_SPAN = ("since", "until")

_OFF = "the ledger is off"
_FORGOTTEN = "there is no such exchange, or it is forgotten"

_Answer = TypeVar("_Answer")


class _NoAnswerError(Exception):
    """There is an answer, but not now and here: its status and a sentence are the arguments."""


class _SilentError(_NoAnswerError):
    """The ledger does not answer."""


class Api:
    """Answers what is asked below `/api`, and what callers ask of their own."""

    def __init__(
        self,
        state: State,
        live: Live,
        *,
        questions: Questions | None = None,
        budgets: Budgets | None = None,
        recent: Recent | None = None,
        keys: Keys | None = None,
    ) -> None:
        self._state = state
        self._live = live
        self._questions = questions
        self._budgets = budgets
        self._recent = recent
        self._keys = keys or Keys((), None)
        self._clerks = {name: Clerk() for name in _SLOW}
        self.pages: Mapping[str, Page] = {
            "/api/live": self._going_by,
            "/api/usage": self._usage,
            "/api/waste": self._waste,
            _EXCHANGES: self._exchanges,
            "/api/prices/missing": self._missing,
            "/api/budgets": self._standing,
            "/api/openapi.json": self._description,
            OWN: self._own,
        }

    def page(self, path: str) -> Page | None:
        """Return what answers at a path; None where nothing does."""
        folder, _, id_ = path.rpartition("/")
        page = self.pages.get(path)
        if page is None and folder == _EXCHANGES and id_:
            page = partial(self._exchange, id_=id_)
        return None if page is None else partial(_excused, page)

    # Pages.

    async def _going_by(self, request: web.BaseRequest) -> web.Response:
        parameters(_query(request))
        # What is under way changes in this thread; what takes long, the percentiles, is left to a clerk.
        under_way = {"version": __version__, "ledger": self._questions is not None, **_under_way(self._state)}
        snapshot = self._live.snapshot(_now().timestamp())
        return json_answer(
            await self._answered("live", lambda: json_text({**under_way, **live.told(snapshot)}))
        )

    async def _usage(self, request: web.BaseRequest) -> web.Response:
        told = parameters(_query(request), "by", *_SPAN, "where")
        return await self._spent("usage", read_by(told), read_span(told, _now()), read_where(told))

    async def _waste(self, request: web.BaseRequest) -> web.Response:
        span = read_span(parameters(_query(request), *_SPAN), _now())
        return await self._reckoned("waste", lambda ledger: ledger.waste(span.since, span.until))

    async def _own(self, request: web.BaseRequest) -> web.Response:
        """Tell callers what they spent themselves; of a key that nobody uses, the same as of one unused."""
        query = _query(request)
        credential = find_credential(request.raw_headers, query)
        if credential is None:
            return error_answer(401, "a credential is needed here", ("WWW-Authenticate", "Bearer"))
        key, _ = self._keys.identify(credential)
        told = parameters(query, "by", *_SPAN, *_OWN_CREDENTIALS)
        return await self._spent("own", read_by(told, "model"), read_span(told, _now()), {"key": [str(key)]})

    async def _exchanges(self, request: web.BaseRequest) -> web.Response:
        limit = read_limit(parameters(_query(request), "limit"))
        return await self._recalled("exchanges", lambda memory: {"exchanges": memory.exchanges(limit)})

    async def _missing(self, request: web.BaseRequest) -> web.Response:
        since, _ = read_span(parameters(_query(request), "since"), _now())
        return await self._recalled(
            "missing", lambda memory: {"missing": list(map(with_line, memory.missing(since)))}
        )

    async def _exchange(self, request: web.BaseRequest, *, id_: str) -> web.Response:
        parameters(_query(request))
        return await self._recalled("exchange", lambda memory: memory.exchange(id_))

    async def _standing(self, request: web.BaseRequest) -> web.Response:
        parameters(_query(request))
        now = _now()
        standing = [] if self._budgets is None else self._budgets.standing(now)
        return json_answer(
            json_text({"budgets": [_stands(budget, spent, now) for budget, spent in standing]})
        )

    async def _description(self, _: web.BaseRequest) -> web.Response:
        return json_answer(json_text(DESCRIPTION))

    # Whom they ask.

    async def _spent(
        self, clerk: str, by: list[str], span: Span, where: Mapping[str, list[str]]
    ) -> web.Response:
        return await self._reckoned(
            clerk, lambda ledger: ledger.usage(by=by, since=span.since, until=span.until, where=where)
        )

    async def _reckoned(self, clerk: str, found: Callable[[Questions], Mapping[str, Any]]) -> web.Response:
        """Answer from the ledger, which alone can add up."""
        questions = self._questions
        if questions is None:
            raise _NoAnswerError(503, _OFF)
        return json_answer(await self._answered(clerk, lambda: json_text(found(questions))))

    async def _recalled(self, clerk: str, found: Callable[[Memory], Any]) -> web.Response:
        """Answer from the ledger; where there is none, or it does not answer or know yet, from the ring."""
        questions, recent = self._questions, self._recent
        text = None
        if questions is not None:
            try:
                text = await self._answered(clerk, lambda: _text(found(questions)))
            except _SilentError:
                if recent is None:
                    raise
        elif recent is None:
            raise _NoAnswerError(503, _OFF)
        if text is None and recent is not None:
            last = Remembered(recent.last())
            text = await self._answered(clerk, lambda: _text(found(last)))
        return error_answer(404, _FORGOTTEN) if text is None else json_answer(text)

    async def _answered(self, clerk: str, question: Callable[[], _Answer]) -> _Answer:
        """Return what a clerk says to a question."""
        try:
            return await self._clerks[clerk].ask(question)
        except BusyError:
            raise _NoAnswerError(503, "too many ask the same at once") from None
        except ValueError:
            raise
        except Exception:  # noqa: BLE001 - whatever it is, it may quote where the ledger is, and as whom
            raise _SilentError(503, "the ledger did not answer") from None


async def _excused(page: Page, request: web.BaseRequest) -> web.Response:
    """Answer as a page does, or say why not."""
    try:
        return await page(request)
    except ValueError as error:
        return error_answer(400, str(error))
    except _NoAnswerError as error:
        status, sentence = error.args
        return error_answer(status, sentence)


def _text(found: Any) -> bytes | None:
    return None if found is None else json_text(found)


def _now() -> datetime:
    return datetime.now(UTC)


def _query(request: web.BaseRequest) -> str:
    return request.raw_path.partition("?")[2]


def _under_way(state: State) -> dict[str, Any]:
    """Tell what is under way, in all and by upstream."""
    in_flight: Counter[str] = Counter()
    for (upstream, _), count in state.in_flight.items():
        in_flight[upstream] += count
    upstreams = [
        {"name": name, "up": up, "in_flight": in_flight[name]} for name, up in state.upstream_up.items()
    ]
    return {"draining": state.draining, "in_flight": in_flight.total(), "upstreams": upstreams}


def _stands(budget: Budget, spent: Decimal, now: datetime) -> dict[str, Any]:
    return {
        "name": budget.name,
        "key": budget.key,
        "tags": dict(budget.tags),
        "upstream": budget.upstream,
        "period": budget.period,
        "usd": budget.usd,
        "spent_usd": spent,
        "ends": ends(budget.period, now),
        "stop": budget.stop,
    }
