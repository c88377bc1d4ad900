"""Reports that providers' APIs give page by page.

Both have one way: a page has `data`, and where `has_more` is true, `next_page` is the `page` to ask for next.
A key goes to the address that was asked and nowhere else: redirects are not followed, and what a provider
says of a refused key is not repeated, since it may hold parts of it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from meter.reconcile.bill import BillError
from meter.reconcile.records import Record, of_json, of_pages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiohttp import ClientResponse, ClientSession

__all__ = ["Question", "ask"]

_SECONDS = 60.0
"""For one page, from connecting to its last byte."""

_WAITS = (1.0, 5.0)
"""Seconds before a page is asked for again after 429 or 5xx, where the answer does not say how long."""

_LONGEST_WAIT = 60.0
_DIGITS = 9

_SHOWN = 200

_REFUSED = (401, 403)


class Question(NamedTuple):
    """One report that is asked for."""

    url: str
    params: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    key: str
    variable: str
    """Where the key was taken from."""


async def ask(question: Question, *, waits: Sequence[float] = _WAITS) -> list[Record]:
    """Fetch all pages; raises BillError for whatever keeps one from coming."""
    import aiohttp  # noqa: PLC0415  # 0.1 s that only those who fetch should pay

    records: list[Record] = []
    page: str | None = None
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as session:
        while True:
            answer = await _page(session, question, page, waits)
            records += of_pages(answer, question.url)
            following = answer.get("next_page") if answer.get("has_more") else None
            if following is None:
                return records
            if not isinstance(following, str) or following == page:
                raise BillError(f"{question.url}: next_page leads nowhere, expected another page")
            page = following


async def _page(
    session: ClientSession, question: Question, page: str | None, waits: Sequence[float]
) -> dict[str, Any]:
    import aiohttp  # noqa: PLC0415  # as above

    params = [*question.params, *([("page", page)] if page else [])]
    for wait in (*waits, None):
        try:
            async with session.get(
                question.url, params=params, headers=question.headers, allow_redirects=False
            ) as response:
                body = await response.read()
        except TimeoutError as error:
            raise BillError(f"{question.url}: no answer in {_SECONDS:g} s") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise BillError(f"{question.url}: cannot be reached: {type(error).__name__}") from error
        if wait is None or not _passes(response.status):
            break
        await asyncio.sleep(_told_wait(response, wait))
    return _answer(question, response, body)


def _passes(status: int) -> bool:
    """Whether asking again may help."""
    return status in {408, 429} or status >= 500  # noqa: PLR2004  # statuses are known by their numbers


def _told_wait(response: ClientResponse, otherwise: float) -> float:
    told = response.headers.get("Retry-After", "")
    return min(float(told[:_DIGITS]), _LONGEST_WAIT) if told.isdecimal() else otherwise


def _answer(question: Question, response: ClientResponse, body: bytes) -> dict[str, Any]:
    told = f"{question.url}: {response.status} {response.reason or ''}".replace(question.key, "***")
    if response.status in _REFUSED:
        raise BillError(
            f"{told}: the key in {question.variable} is refused, expected an admin key of the organization"
        )
    if response.status != 200:  # noqa: PLR2004  # as above
        said = _message(body).replace(question.key, "***")[:_SHOWN]
        raise BillError(f"{told}{said and f': {said}'}")
    answer = of_json(body, question.url)
    if not isinstance(answer, dict) or not isinstance(answer.get("data"), list):
        raise BillError(f"{question.url}: got no member `data`, expected a page of a report")
    return answer


def _message(body: bytes) -> str:
    """Give what an error's body says, if it says so where both providers do."""
    try:
        error = of_json(body, "")["error"]
        return str(error["message"])
    except (BillError, KeyError, TypeError):
        return ""
