"""What is suspicious in a file of prices that can be used: what `meter prices check` tells.

A file in which something is wrong is refused when it is loaded. What is only hard to believe is not, since it
may be meant; here it is told, with its line. A finding is an error where the amount must be in another unit.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from meter import providers
from meter.exchange import INPUT_KINDS, KINDS
from meter.price import FALL_BACKS
from meter.prices.catalogue import CatalogueSource
from meter.prices.file import FileSource, pattern, wildcards
from meter.prices.files import load
from meter.prices.format import parse
from meter.prices.table import TableSource
from meter.prices.tree import dotted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from meter.prices.format import Entry, RatesPart
    from meter.prices.tree import Place, Tree

__all__ = ["Finding", "findings"]

_GREATEST, _LEAST = Decimal(10_000), Decimal("0.0001")
"""USD per million tokens; nothing is sold for more, nor for less but for nothing."""

_GREATEST_OF_ONE = {
    "per_request": Decimal(100),
    "per_second": Decimal(1),
    "per_image": Decimal(100),
    "per_search": Decimal(100),
    "per_character": Decimal("0.01"),
}
"""USD."""

_FACTOR = 1000
"""A price so many times the list price, or less than that part of it, is in another unit."""


class Finding(NamedTuple):
    """Something suspicious."""

    line: int
    where: str
    """The place in the file, such as `prices[0].per_million_tokens.input`; empty for the whole of it."""
    what: str
    severity: Literal["error", "warning"]


class _View(NamedTuple):
    """What entries are held against."""

    rate: Decimal
    """USD for one of the file's currency."""
    catalogue: CatalogueSource
    when: datetime


_Told: TypeAlias = "Iterator[tuple[Place, str, Literal['error', 'warning']]]"


def findings(path: str | Path, when: datetime | None = None) -> list[Finding]:
    """Give all that is suspicious in a file, in the order of its lines.

    `when` is the time in UTC at which prices are past, now by default. Raises PriceFileError where the file
    cannot be used at all.
    """
    source = load(path)
    if isinstance(source, TableSource) and source.left_out:
        what = f"{source.left_out} entries make no sense, and are left out"
        return [Finding(1, "", what, "warning")]
    if not isinstance(source, FileSource):
        return []
    file, tree = parse(str(path), Path(path).read_bytes())
    view = _View(
        file.usd_rate or Decimal(1), CatalogueSource(ids=providers.catalogue_id), when or datetime.now(UTC)
    )
    told = [
        *(one for place, entry in _places(file.prices) for one in _about(place, entry, view)),
        *_rivals(file.prices, tree),
    ]
    found = (
        Finding(tree.line(place), dotted(place).removesuffix(": "), what, severity)
        for place, what, severity in told
    )
    return sorted(found)


def _places(entries: list[Entry]) -> Iterator[tuple[Place, Entry]]:
    return ((("prices", index), entry) for index, entry in enumerate(entries))


def _about(place: Place, entry: Entry, view: _View) -> _Told:
    """Tell what is suspicious in one entry."""
    yield from _absurd(place, entry, view.rate)
    yield from _unlike_the_list(place, entry, view)
    yield from _incomplete(place, entry)
    for where, amounts in _tables(place, entry):
        for kind, plain in FALL_BACKS.items():
            if kind.startswith("input_cached") and amounts.get(kind, 0) > amounts.get(
                plain, amounts.get(kind, 0)
            ):
                yield (
                    (*where, kind),
                    f"{amounts[kind]} is more than {plain} costs, {amounts[plain]}",
                    "warning",
                )
    if entry.valid_until is not None and entry.valid_until < view.when.date():
        yield (*place, "valid_until"), f"{entry.valid_until} is past: the entry counts no more", "warning"


def _tables(place: Place, part: RatesPart) -> Iterator[tuple[Place, Mapping[str, Decimal]]]:
    """Yield all amounts of tokens in an entry, each table with its place."""
    yield (*place, "per_million_tokens"), part.per_million_tokens
    for index, tier in enumerate(part.tiers):
        yield (*place, "tiers", index, "per_million_tokens"), tier.per_million_tokens
    for name, served in getattr(part, "service_tiers", {}).items():
        yield from _tables((*place, "service_tiers", name), served)


def _absurd(place: Place, entry: Entry, rate: Decimal) -> _Told:
    for where, amounts in _tables(place, entry):
        for kind, amount in amounts.items():
            usd = amount * rate
            if usd > _GREATEST:
                yield (
                    (*where, kind),
                    f"{_usd(usd)} per million tokens, expected {_GREATEST} at the most",
                    "error",
                )
            elif 0 < usd < _LEAST:
                what = f"{_usd(usd)} per million tokens, expected 0 or {_LEAST} or more: is it for one token?"
                yield (*where, kind), what, "error"
    for name, greatest in _GREATEST_OF_ONE.items():
        amount_of_one = getattr(entry, name)
        if amount_of_one is not None and amount_of_one * rate > greatest:
            yield (*place, name), f"{_usd(amount_of_one * rate)}, expected {greatest} at the most", "error"


def _unlike_the_list(place: Place, entry: Entry, view: _View) -> _Told:
    """Tell of amounts that are believable for some model, but not for this one."""
    if wildcards(entry.model):
        return
    found = (
        view.catalogue.find(entry.model, upstream="", provider=provider, when=view.when)
        for provider in (entry.provider, None)
    )
    listed = next((price.rates.amounts for price in found if price is not None), {})
    for kind, amount in entry.per_million_tokens.items():
        usd, list_price = amount * view.rate, listed.get(kind, Decimal(0))
        believable = list_price / _FACTOR < usd < list_price * _FACTOR
        if usd and list_price and not believable and _LEAST <= usd <= _GREATEST:
            what = f"{_usd(usd)} per million tokens, while the list price is {_usd(list_price)}"
            yield (*place, "per_million_tokens", kind), what, "error"


def _incomplete(place: Place, entry: Entry) -> _Told:
    """Tell of tables that lack a price of what nearly every exchange uses."""
    (where, base), *others = _tables(place, entry)
    if base and not base.keys() & set(INPUT_KINDS):
        yield where, "has prices of output and none of input: no exchange with a prompt has a cost", "warning"
    for place_of_it, amounts in others:
        lost = [kind for kind in base if kind not in _priced(amounts)]
        if lost:
            what = (
                f"has no price of {', '.join(lost)}, as the entry itself has: what uses it here has no cost"
            )
            yield place_of_it, what, "warning"


def _priced(amounts: Mapping[str, Decimal]) -> set[str]:
    """Kinds that have a price, their own or the one that they fall back to."""
    found = set(amounts)
    for _ in KINDS:
        found |= {kind for kind, plain in FALL_BACKS.items() if plain in found}
    return found


def _rivals(entries: list[Entry], tree: Tree) -> _Told:
    """Tell of entries that fit the same models, places and times, so that the file's order decides."""
    alike: dict[object, list[tuple[Place, Entry]]] = defaultdict(list)
    for place, entry in _places(entries):
        signs = wildcards(entry.model)
        model: object = len(entry.model) - signs if signs else entry.model
        alike[bool(signs), model, entry.upstream, entry.provider, entry.hours is None].append((place, entry))
    for group in alike.values():
        for (before, first), (place, second) in combinations(group, 2):
            if not (_at_one_time(first, second) and _meet(first.model, second.model)):
                continue
            line = tree.line((*before, "model"))
            if _covers(first, second):
                what = f"never counts: the entry on line {line} fits all that it does, and comes first"
            else:
                what = f"fits names that the entry on line {line} fits as well as it, and which comes first"
            yield (*place, "model"), what, "warning"


def _days(entry: Entry) -> tuple[date, date]:
    return entry.valid_from or date.min, entry.valid_until or date.max


def _at_one_time(first: Entry, second: Entry) -> bool:
    begins, ends = zip(_days(first), _days(second), strict=True)
    hours = first.hours is None or second.hours is None or first.hours.quarters() & second.hours.quarters()
    return max(begins) <= min(ends) and bool(hours)


def _covers(first: Entry, second: Entry) -> bool:
    """Whether the first of two alike entries fits whatever the second does, whenever it does."""
    if (
        first.hours is not None
        and second.hours is not None
        and second.hours.quarters() - first.hours.quarters()
    ):
        return False
    (begin, end), (later_begin, later_end) = _days(first), _days(second)
    # A character that is in no name stands for whatever a wildcard may stand for.
    samples = (second.model.replace("?", "\0").replace("*", run) for run in ("", "\0\0"))
    fits = all(pattern(first.model).fullmatch(sample) for sample in samples)
    return fits and begin <= later_begin and later_end <= end


def _meet(first: str, second: str) -> bool:
    """Whether any name fits both of two patterns."""
    seen: set[tuple[str, str]] = set()
    todo = [(first, second)]
    while todo:
        one, other = pair = todo.pop()
        if not one and not other:
            return True
        if pair in seen:
            continue
        seen.add(pair)
        if one.startswith("*"):
            todo += [(one[1:], other)] + [(one, other[1:])] * bool(other)
        elif other.startswith("*"):
            todo += [(one, other[1:])] + [(one[1:], other)] * bool(one)
        elif one and other and (one[0] == other[0] or "?" in (one[0], other[0])):
            todo.append((one[1:], other[1:]))
    return False


def _usd(amount: Decimal) -> str:
    return f"{amount.normalize():f} USD"
