"""A bill beside what Meter counted, and what explains the difference.

Each day and model is one line; the same is added up by day, by model and over all. A model's names are
brought together first: a provider may bill `gpt-4o-2024-08-06` where Meter counted `gpt-4o`.

What a bill does not tell is `None` and not 0: an export of usage has no costs, one of costs no tokens. So is
a cost that Meter does not know.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from meter.exchange import INPUT_KINDS, OUTPUT_KINDS
from meter.price import without_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import date

    from meter.reconcile.bill import Billed
    from meter.reconcile.metered import Metered

__all__ = ["Counts", "Doubts", "Line", "Reconciliation", "compare"]

_CACHED = tuple(kind for kind in INPUT_KINDS if kind.startswith("input_cached"))

_LATEST = "-latest"

_SAME_TOKENS = Decimal("0.001")
_SAME_COST = Decimal("0.01")
"""Shares by which counts and costs may differ and still agree."""


@dataclass(frozen=True, slots=True)
class Counts:
    """One side of a line."""

    requests: int | None = None
    input_tokens: int | None = None
    """Cached and written ones included."""
    cached_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None

    @property
    def tokens(self) -> int | None:
        """All tokens; `None` where none are told."""
        told = [count for count in (self.input_tokens, self.output_tokens) if count is not None]
        return sum(told) if told else None


@dataclass(frozen=True, slots=True)
class Doubts:
    """What of a line is not sure, or cannot have been seen."""

    estimated_requests: int = 0
    estimated_tokens: int = 0
    estimated_usd: Decimal = Decimal(0)
    missing_requests: int = 0
    unpriced_requests: int = 0
    unpriced_tokens: int = 0
    cut_requests: int = 0
    batch_requests: int = 0
    batch_tokens: int = 0
    batch_usd: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Line:
    """Both sides of one day and model; a day or a model that is `None` stands for all of them."""

    day: date | None
    model: str | None
    item: str | None = None
    """What is billed apart from models."""
    metered: Counts = Counts()
    billed: Counts = Counts()
    doubts: Doubts = Doubts()

    @property
    def request_ratio(self) -> Decimal | None:
        """Meter's requests over the billed ones; `None` where nothing is billed or told."""
        return _ratio(self.metered.requests, self.billed.requests)

    @property
    def token_ratio(self) -> Decimal | None:
        """Meter's tokens over the billed ones; likewise."""
        return _ratio(self.metered.tokens, self.billed.tokens)

    @property
    def cost_ratio(self) -> Decimal | None:
        """Meter's cost over the billed one; likewise."""
        return _ratio(self.metered.cost_usd, self.billed.cost_usd)

    @property
    def unseen_requests(self) -> int:
        """Requests that were billed, apart from batch jobs, and did not pass Meter; 0 where not told."""
        return max((self.billed.requests or 0) - self.doubts.batch_requests - (self.metered.requests or 0), 0)

    @property
    def agrees(self) -> bool:
        """Whether tokens agree within 0.1 % and the cost within 1 %, as far as the bill tells them."""
        tokens, cost = (
            (self.metered.tokens, self.billed.tokens),
            (self.metered.cost_usd or Decimal(0), self.billed.cost_usd),  # an unknown cost is not the bill's
        )
        return _close(*tokens, _SAME_TOKENS) and _close(*cost, _SAME_COST)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what explains a difference; empty where both sides agree."""
        return () if self.agrees else tuple(_notes(self))

    def row(self) -> dict[str, Any]:
        """Give plain values by name, the same names for every line."""
        return {
            "day": None if self.day is None else self.day.isoformat(),
            "model": self.model,
            "item": self.item,
            **{f"metered_{name}": value for name, value in _values(self.metered)},
            **{f"billed_{name}": value for name, value in _values(self.billed)},
            "request_ratio": self.request_ratio,
            "token_ratio": self.token_ratio,
            "cost_ratio": self.cost_ratio,
            **dict(_values(self.doubts)),
            "unseen_requests": self.unseen_requests,
            "agrees": self.agrees,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The whole comparison. Sums are over `lines`, and so agree with them."""

    lines: tuple[Line, ...]
    """By day, then model, then what is billed apart from models."""
    days: tuple[Line, ...]
    models: tuple[Line, ...]
    total: Line

    def rows(self) -> list[dict[str, Any]]:
        """Give the lines as plain values, for CSV and JSON."""
        return [line.row() for line in self.lines]


def compare(billed: Iterable[Billed], metered: Iterable[Metered]) -> Reconciliation:
    """Put a bill beside what was counted. Both should be of the same days and the same provider."""
    bill, counted = list(billed), list(metered)
    name = _names([b.model for b in bill if b.model is not None], [m.model for m in counted])
    told, told_by_model = _told(bill), _told([b for b in bill if b.model is not None])
    metered_at, billed_at = _grouped(counted, name), _grouped(bill, name)
    places = sorted({*metered_at, *billed_at}, key=lambda place: (place[0], place[1] or "￿", place[2] or ""))
    lines = tuple(
        _line(place, metered_at.get(place, ()), billed_at.get(place, ()), told_by_model if place[1] else told)
        for place in places
    )
    return Reconciliation(
        lines=lines,
        days=_added(lines, lambda line: (line.day, None, None), told),
        models=_added(lines, lambda line: (None, line.model, line.item), told),
        total=next(iter(_added(lines, lambda _: (None, None, None), told)), Line(None, None)),
    )


# --- names ---


def _names(billed: Sequence[str], metered: Sequence[str]) -> Callable[[str | None], str | None]:
    """Give what brings the names of one model together.

    Names stay apart where both sides have the same versions of a model; where they have not, one side has
    joined some, and nobody can tell which: the model is one line.
    """
    sides: tuple[dict[str, set[str]], dict[str, set[str]]] = (defaultdict(set), defaultdict(set))
    for side, names in zip(sides, (billed, metered), strict=True):
        for name in names:
            side[_family(name)].add(name.lower())
    joined = {family for family in {*sides[0], *sides[1]} if sides[0][family] != sides[1][family]}

    def name_of(name: str | None) -> str | None:
        if name is None:
            return None
        return family if (family := _family(name)) in joined else name.lower()

    return name_of


def _family(name: str) -> str:
    return without_version(name.lower().removesuffix(_LATEST))


# --- lines ---

_Place = tuple[Any, str | None, str | None]
"""Day, model and item."""

_Part = TypeVar("_Part", "Billed", "Metered")


def _grouped(parts: Sequence[_Part], name: Callable[[str | None], str | None]) -> dict[_Place, list[_Part]]:
    groups: dict[_Place, list[_Part]] = defaultdict(list)
    for part in parts:
        groups[part.day, name(part.model), getattr(part, "item", None)].append(part)
    return groups


def _told(bill: Sequence[Billed]) -> Counts:
    """Give 0 for what the bill tells of anything, and `None` for what it never does."""
    tokens = 0 if any(b.usage is not None for b in bill) else None
    return Counts(
        requests=0 if any(b.requests is not None for b in bill) else None,
        input_tokens=tokens,
        cached_tokens=tokens,
        output_tokens=tokens,
        cost_usd=Decimal(0) if any(b.cost_usd is not None for b in bill) else None,
    )


def _line(place: _Place, metered: Sequence[Metered], billed: Sequence[Billed], told: Counts) -> Line:
    day, model, item = place
    batch = [_counts_billed(b) for b in billed if b.batch]
    doubts = Doubts(
        **{
            doubt.name: sum(getattr(m, doubt.name) for m in metered)
            for doubt in fields(Doubts)
            if not doubt.name.startswith("batch")
        },
        batch_requests=sum(b.requests or 0 for b in batch),
        batch_tokens=sum(b.tokens or 0 for b in batch),
        batch_usd=sum((b.cost_usd or Decimal(0) for b in batch), Decimal(0)),
    )
    return Line(
        day,
        model,
        item,
        _sum([_counts_metered(m) for m in metered] or [Counts(0, 0, 0, 0, Decimal(0))]),
        _sum([told, *(_counts_billed(b) for b in billed)]),
        doubts,
    )


def _counts_metered(m: Metered) -> Counts:
    unknown = not m.cost_usd and m.requests <= m.unpriced_requests + m.missing_requests
    return Counts(m.requests, *_tokens(m.usage), None if unknown else m.cost_usd)


def _counts_billed(b: Billed) -> Counts:
    return Counts(b.requests, *_tokens(b.usage), b.cost_usd)


def _tokens(usage: Mapping[str, int] | None) -> tuple[int | None, int | None, int | None]:
    """Give input, cached input and output."""
    if usage is None:
        return None, None, None
    inputs, cached, outputs = (
        sum(usage.get(kind, 0) for kind in kinds) for kinds in (INPUT_KINDS, _CACHED, OUTPUT_KINDS)
    )
    return inputs, cached, outputs


_Record = TypeVar("_Record", Counts, Doubts)


def _sum(records: Sequence[_Record]) -> _Record:
    """Add up field by field; what none of them tells stays `None`."""
    first, *rest = records
    sums = dict(_values(first))
    for record in rest:
        sums = {name: _plus(sums[name], value) for name, value in _values(record)}
    return replace(first, **sums)


def _values(record: Counts | Doubts) -> Iterator[tuple[str, Any]]:
    return ((field.name, getattr(record, field.name)) for field in fields(record))


def _plus(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return one if other is None else other
    return one + other


def _added(lines: Sequence[Line], place: Callable[[Line], _Place], told: Counts) -> tuple[Line, ...]:
    groups: dict[_Place, list[Line]] = defaultdict(list)
    for line in lines:
        groups[place(line)].append(line)
    return tuple(
        Line(
            *key,
            _sum([line.metered for line in group]),
            _sum([line.billed for line in group] if key[1] or key[2] else [told, *(x.billed for x in group)]),
            _sum([line.doubts for line in group]),
        )
        for key, group in groups.items()
    )


# --- how far apart, and why ---


def _ratio(metered: Any, billed: Any) -> Decimal | None:
    if metered is None or not billed:
        return None
    return (Decimal(metered) / Decimal(billed)).quantize(Decimal("0.0001"))


def _close(metered: Any, billed: Any, share: Decimal) -> bool:
    return billed is None or metered is None or abs(metered - billed) <= share * abs(billed)


def _notes(line: Line) -> Iterator[str]:
    metered, billed, doubts = line.metered, line.billed, line.doubts
    if line.item is not None or (line.model is None and not metered.requests):
        yield "billed without a model"
        return
    surplus = (metered.requests or 0) - (billed.requests or 0)
    for holds, note in (
        (doubts.batch_tokens or doubts.batch_usd, _BATCH),
        (line.unseen_requests, _UNSEEN),
        (billed.requests is not None and surplus > 0, _SURPLUS),
        (doubts.missing_requests, _MISSING),
        (doubts.estimated_requests, _ESTIMATED),
        (doubts.cut_requests, _CUT),
        (doubts.unpriced_requests, _UNPRICED),
    ):
        if holds:
            yield note.format(line=line, doubts=doubts, surplus=surplus)
    yield from _plain_differences(line)


def _plain_differences(line: Line) -> Iterator[str]:
    """Say what the counts alone show."""
    tokens, told = line.metered.tokens, line.billed.tokens
    same_tokens = told is not None and _close(tokens, told, _SAME_TOKENS)
    if told is not None and tokens is not None and not same_tokens and line.billed.requests is None:
        yield _MORE_BILLED if told > tokens else _MORE_METERED
    if same_tokens and not line.doubts.unpriced_requests:
        yield _PRICE


_BATCH = "{doubts.batch_tokens} tokens and {doubts.batch_usd} USD are of batch jobs, which Meter does not see"
_UNSEEN = "{line.unseen_requests} billed requests did not pass Meter"
_SURPLUS = "{surplus} requests more than were billed: not charged for, or the bill is not complete yet"
_MISSING = "{doubts.missing_requests} requests told no usage and count as nothing"
_ESTIMATED = (
    "{doubts.estimated_requests} requests are estimated: "
    "{doubts.estimated_tokens} tokens, {doubts.estimated_usd} USD"
)
_CUT = "{doubts.cut_requests} requests were broken off, and the provider may have counted more of them"
_UNPRICED = "{doubts.unpriced_requests} requests have no price: {doubts.unpriced_tokens} tokens"
_MORE_BILLED = "more tokens were billed than Meter counted: some did not pass Meter"
_MORE_METERED = (
    "fewer tokens were billed than Meter counted: not charged for, or the bill is not complete yet"
)
_PRICE = "the tokens agree and the cost does not: the price in the book is not the one that was paid"
