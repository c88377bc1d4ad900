"""What the admin port asks others, and how what was asked of it is read.

`Questions` are answered by the ledger, which takes its time, in threads: a `Clerk` answers one at a time, and
so many may wait. `Budgets` are in memory. A parameter that is wrong is a ValueError, and its sentence is the
answer: it says what came, which is never one that might be a credential, and what was expected.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar
from urllib.parse import parse_qsl

from meter.since import moment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from meter.budget import Budget

__all__ = [
    "Budgets",
    "BusyError",
    "Clerk",
    "Memory",
    "Parameters",
    "Questions",
    "Span",
    "parameters",
    "read_by",
    "read_limit",
    "read_span",
    "read_where",
]

_MOST_EXCHANGES = 1000
"""Exchanges that are shown at once; as many are remembered without a ledger."""
_SINCE = timedelta(days=7)
"""How far back is looked where nobody says."""

_SOME_EXCHANGES = 100
_BY = "key,model"
_MOST_WAITING = 16
_MOST_FIELDS = 16
_LONG = 1024
"""Characters of a value that is taken for one."""
_SHOWN = 40
"""Characters of a value that are repeated."""

_Answer = TypeVar("_Answer")
Parameters = dict[str, list[str]]


class Memory(Protocol):
    """What remembers exchanges, as the ledger and the ring do; asked in any thread, it may take its time.

    What is returned is told as JSON by `json_text`, which knows amounts and moments.
    """

    def exchanges(self, limit: int) -> Sequence[Mapping[str, Any]]:
        """Return the last exchanges as the log has them, the newest first."""

    def exchange(self, id_: str) -> Mapping[str, Any] | None:
        """Return one as the log has it; None where it is not known."""

    def missing(self, since: datetime) -> Sequence[Mapping[str, Any]]:
        """Return which models lack a price at which upstream, and how much of them was used."""


class Questions(Memory, Protocol):
    """What the ledger answers; it may raise ValueError with a sentence."""

    def usage(
        self, *, by: Sequence[str], since: datetime, until: datetime, where: Mapping[str, Sequence[str]]
    ) -> Mapping[str, Any]:
        """Return `since`, `until`, `by`, `rows` and `total`; `where` has the values that a field may have."""

    def waste(self, since: datetime, until: datetime) -> Mapping[str, Any]:
        """Return `since`, `until`, and what was paid for and not used, by what it is."""


class Budgets(Protocol):
    """What may be spent, and what has been."""

    def standing(self, now: datetime) -> Sequence[tuple[Budget, Decimal]]:
        """Return all budgets, and what was spent of each in the period of `now`, in USD."""


class BusyError(Exception):
    """So many wait already that one more would not be answered in time."""


class Clerk:
    """Answers one question at a time in a thread, whether or not somebody still waits for the answer."""

    def __init__(self, most: int = _MOST_WAITING) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="meter-admin")
        self._most = most
        self._asked = 0

    async def ask(self, question: Callable[[], _Answer]) -> _Answer:
        """Return what `question` returns, or raise what it raises; BusyError where too many wait."""
        if self._asked >= self._most:
            raise BusyError
        self._asked += 1
        loop = asyncio.get_running_loop()
        # Not `run_in_executor`: of what its caller has left it forgets when it ends.
        answer = self._thread.submit(question)
        answer.add_done_callback(lambda _: self._answered(loop))
        return await asyncio.wrap_future(answer)

    def _answered(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make room for one more, in the loop's thread."""
        with suppress(RuntimeError):  # the loop has ended, and nobody will ask again
            loop.call_soon_threadsafe(self._make_room)

    def _make_room(self) -> None:
        self._asked -= 1


class Span(NamedTuple):
    """From when to when; the end is not in it."""

    since: datetime
    until: datetime


def parameters(query: str, *known: str) -> Parameters:
    """Return the values of each parameter of a query; raise ValueError for one that is not known."""
    told: Parameters = {}
    for name, value in parse_qsl(query, keep_blank_values=True, max_num_fields=100):
        if name not in known:  # which one it is is not repeated: it may be somebody's secret
            raise ValueError(f"got a parameter that is not known, expected {_either(known)}")
        if len(value) > _LONG:
            raise ValueError(f"{name}: got {len(value)} characters, expected {_LONG} at most")
        told.setdefault(name, []).append(value)
    return told


def _either(names: Sequence[str]) -> str:
    return f"any of {', '.join(names)}" if names else "none"


def _one(told: Parameters, name: str, default: str) -> str:
    values = told.get(name, [default])
    if len(values) > 1:
        raise ValueError(f"{name}: got {len(values)} of them, expected one")
    return values[0]


def read_limit(told: Parameters) -> int:
    """Return how many exchanges are asked for."""
    said = _one(told, "limit", str(_SOME_EXCHANGES))
    number = int(said) if said.isascii() and said.isdigit() and len(said) < len("10000") else 0
    if not 0 < number <= _MOST_EXCHANGES:
        raise ValueError(f"limit: got {said[:_SHOWN]!r}, expected a number from 1 to {_MOST_EXCHANGES}")
    return number


def read_span(told: Parameters, now: datetime) -> Span:
    """Return the span that is asked about: the last seven days, where nobody says."""
    when = {name: _moment(name, told, now) for name in ("since", "until")}
    until = when["until"] or now
    since = when["since"] or until - _SINCE
    if since > until:
        raise ValueError("since: got a moment after until, expected one before it")
    return Span(since, until)


def _moment(name: str, told: Parameters, now: datetime) -> datetime | None:
    said = _one(told, name, "")
    if name not in told:
        return None
    try:
        return moment(said, now)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def read_by(told: Parameters, default: str = _BY) -> list[str]:
    """Return the fields that are asked by; an empty one, alone, asks for the total."""
    said = [field.strip() for said in told.get("by", [default]) for field in said.split(",")]
    fields = list(dict.fromkeys(filter(None, said)))
    if len(fields) > _MOST_FIELDS:  # each makes all rows of the answer longer
        raise ValueError(f"by: got {len(fields)} fields, expected {_MOST_FIELDS} at most")
    return fields


def read_where(told: Parameters) -> dict[str, list[str]]:
    """Return the values that each field may have."""
    found: dict[str, list[str]] = {}
    for said in told.get("where", []):
        field, equals, value = said.partition("=")
        if not (field and equals):
            raise ValueError(
                f"where: got {said[:_SHOWN]!r}, expected a field and a value, such as key=search-team"
            )
        found.setdefault(field, []).append(value)
    return found
