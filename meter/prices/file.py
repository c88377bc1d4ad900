"""A price file: prices that a user writes down, which win over all others.

The text is read as a tree of YAML nodes rather than as values: `0.15` must stay exactly that, and every
mistake is told with its line, all of them at once. An entry is chosen by how exactly it names the model, then
by how closely it names the place, then by the file's order.
"""

from __future__ import annotations

import fnmatch
import re
from datetime import date, datetime
from decimal import Context, Decimal
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from meter.exchange import KINDS
from meter.keys import masked
from meter.price import Price, Rates, Tier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pydantic_core import ErrorDetails

__all__ = ["FileSource", "PriceFileError", "load"]

_Path = tuple[str | int, ...]

_DEPTH = 16
"""Deeper than any right file; an alias inside its own anchor has no end."""

_SHOWN = 60
"""Characters of a wrong text that are repeated."""

_PRECISE = Context(prec=100)

_PER_UNIT = {
    "per_second": "audio_seconds",
    "per_image": "images",
    "per_search": "searches",
    "per_character": "characters",
}


class PriceFileError(ValueError):
    """A price file that cannot be used. `str` of it is the whole report, one mistake a line."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


# --- the format ---


def _amount(came: object) -> Decimal:
    if isinstance(came, str) and re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", came):
        return Decimal(came)
    raise ValueError("an amount of 0 or more, like 0.15")


def _positive(amount: Decimal) -> Decimal:
    if amount > 0:
        return amount
    raise ValueError("an amount above 0")


def _count(came: object) -> int:
    if isinstance(came, str) and re.fullmatch(r"[0-9][0-9_]{0,17}", came):
        return int(came.replace("_", ""))
    raise ValueError("a whole number of tokens, like 200000")


def _day(came: object) -> date:
    try:
        if isinstance(came, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", came):
            return date.fromisoformat(came)
    except ValueError:
        pass
    raise ValueError("a date, like 2026-01-31")


def _currency(came: str) -> str:
    if re.fullmatch(r"[A-Z]{3}", came):
        return came
    raise ValueError("a currency code of three capital letters, like USD")


def _kind(came: str) -> str:
    if came in KINDS:
        return came
    raise ValueError(f"a usage kind{_suggestion(came, KINDS)}")


def _filled(came: str) -> str:
    if came:
        return came
    raise ValueError("a text that is not empty")


_Amount = Annotated[Decimal, BeforeValidator(_amount)]
_Positive = Annotated[_Amount, AfterValidator(_positive)]
_Count = Annotated[int, BeforeValidator(_count)]
_Day = Annotated[date, BeforeValidator(_day)]
_Text = Annotated[str, AfterValidator(_filled)]
_Amounts = dict[Annotated[str, AfterValidator(_kind)], _Amount]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Tier(_Part):
    above_input_tokens: _Count | None = None
    from_input_tokens: _Count | None = None
    per_million_tokens: _Amounts

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if (self.above_input_tokens is None) == (self.from_input_tokens is None):
            raise ValueError("either `above_input_tokens` or `from_input_tokens`")
        return self

    @property
    def bound(self) -> tuple[int, bool]:
        """The threshold, and whether it belongs to the tier."""
        if self.from_input_tokens is not None:
            return self.from_input_tokens, True
        return self.above_input_tokens or 0, False


class _Rates(_Part):
    per_million_tokens: _Amounts = Field(default_factory=dict)
    tiers: list[_Tier] = Field(default_factory=list)

    @model_validator(mode="after")
    def _prices_something(self) -> Self:
        if not self.model_fields_set - _NAMES_NOTHING:
            priced = (f"`{name}`" for name in type(self).model_fields if name not in _NAMES_NOTHING)
            raise ValueError(f"at least one of {', '.join(priced)}")
        if len({tier.bound for tier in self.tiers}) < len(self.tiers):
            raise ValueError("tiers that begin at different counts")
        return self


_NAMES_NOTHING = frozenset({"model", "upstream", "provider", "valid_from", "valid_until", "source"})


class _Entry(_Rates):
    model: _Text
    upstream: _Text | None = None
    provider: _Text | None = None
    service_tiers: dict[_Text, _Rates] = Field(default_factory=dict)
    per_request: _Amount | None = None
    per_second: _Amount | None = None
    per_image: _Amount | None = None
    per_search: _Amount | None = None
    per_character: _Amount | None = None
    valid_from: _Day | None = None
    valid_until: _Day | None = None
    source: _Text | None = None

    @field_validator("valid_until")
    @classmethod
    def _ends_after_it_begins(cls, until: date | None, known: ValidationInfo) -> date | None:
        begins = known.data.get("valid_from")
        if until is not None and begins is not None and until < begins:
            raise ValueError(f"a day that is not before `valid_from`, {begins}")
        return until


class _File(_Part):
    currency: Annotated[str, AfterValidator(_currency)] = "USD"
    usd_rate: _Positive | None = Field(default=None, validate_default=True)
    prices: list[_Entry]

    @field_validator("usd_rate")
    @classmethod
    def _rate_where_needed(cls, rate: Decimal | None, known: ValidationInfo) -> Decimal | None:
        currency = known.data.get("currency", "USD")
        if currency != "USD" and rate is None:
            raise ValueError(f"how many USD one {currency} is, since `currency` is {currency}")
        if currency == "USD" and rate not in (None, 1) and "currency" in known.data:
            raise ValueError("1 or nothing, since `currency` is USD")
        return rate


# --- the source ---


class _Offer(NamedTuple):
    """An entry of the file, ready to be asked."""

    entry: _Entry
    price: Price
    pattern: re.Pattern[str] | None
    """`None` where the entry names a model exactly."""
    rank: tuple[bool, int, bool, bool]
    """The greatest wins: exact names, literal characters, upstream, provider."""

    def fits(self, model: str, upstream: str, provider: str | None) -> bool:
        entry = self.entry
        if entry.upstream not in (None, upstream) or entry.provider not in (None, provider):
            return False
        return model == entry.model if self.pattern is None else self.pattern.fullmatch(model) is not None

    def holds(self, day: date) -> bool:
        """Whether the price is in force on a day in UTC; the first and the last day belong to it."""
        entry = self.entry
        return (entry.valid_from or date.min) <= day <= (entry.valid_until or date.max)


class FileSource:
    """Prices of one file. `name` is the file's path as it was given, `revision` tells its contents."""

    def __init__(self, name: str, revision: str, offers: Iterable[_Offer]) -> None:
        self.name = name
        self.revision = revision
        # A stable sort: among equals the file's order stays.
        self._offers = sorted(offers, key=lambda offer: offer.rank, reverse=True)

    def find(self, model: str, *, upstream: str, provider: str | None, when: datetime) -> Price | None:
        """Give the best entry's price for `model` on the day of `when`, in UTC."""
        day = when.date()
        fitting = (o.price for o in self._offers if o.holds(day) and o.fits(model, upstream, provider))
        return next(fitting, None)

    def knows(self, model: str, *, upstream: str, provider: str | None) -> bool:
        """Whether an entry for this place names the model without a wildcard, at whatever time."""
        return any(o.pattern is None and o.fits(model, upstream, provider) for o in self._offers)

    def models(self) -> frozenset[str]:
        """Give the names that are written out."""
        return frozenset(o.entry.model for o in self._offers if o.pattern is None)

    def prices(self) -> tuple[Price, ...]:
        """Give all prices, in the order in which they are preferred."""
        return tuple(o.price for o in self._offers)


def load(path: str | Path) -> FileSource:
    """Read a price file; `PriceFileError` tells everything that is wrong with it."""
    name = str(path)
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise PriceFileError([f"{name}: cannot be read: {error.strerror or error}"]) from error
    revision = f"sha256:{sha256(raw).hexdigest()[:12]}"
    file = _parse(name, raw)
    rate = file.usd_rate or Decimal(1)
    return FileSource(name, revision, [_offer(entry, rate, name, revision) for entry in file.prices])


def _offer(entry: _Entry, rate: Decimal, source: str, revision: str) -> _Offer:
    def usd(amount: Decimal) -> Decimal:
        return _PRECISE.multiply(amount, rate)

    units = {
        unit: usd(amount) for key, unit in _PER_UNIT.items() if (amount := getattr(entry, key)) is not None
    }
    price = Price(
        model=entry.model,
        rates=_rates(entry, usd),
        service_tiers={name.lower(): _rates(tier, usd) for name, tier in entry.service_tiers.items()},
        per_request=None if entry.per_request is None else usd(entry.per_request),
        per_unit=units,
        source=source,
        revision=revision,
        origin=entry.source,
    )
    wildcards = sum(entry.model.count(sign) for sign in "*?")
    # `[` is a literal in a model's name, and a wildcard to fnmatch unless it stands in brackets itself.
    pattern = re.compile(fnmatch.translate(entry.model.replace("[", "[[]"))) if wildcards else None
    literal = len(entry.model) - wildcards
    rank = (pattern is None, literal, entry.upstream is not None, entry.provider is not None)
    return _Offer(entry, price, pattern, rank)


def _rates(part: _Rates, usd: Callable[[Decimal], Decimal]) -> Rates:
    def table(amounts: Mapping[str, Decimal]) -> dict[str, Decimal]:
        return {kind: usd(amount) for kind, amount in amounts.items()}

    tiers = (Tier(*tier.bound, amounts=table(tier.per_million_tokens)) for tier in part.tiers)
    return Rates(table(part.per_million_tokens), tuple(tiers))


# --- text, lines and mistakes ---


class _Problem(NamedTuple):
    line: int
    where: str
    what: str


def _parse(name: str, raw: bytes) -> _File:
    try:
        root = yaml.compose(raw, yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise PriceFileError([_syntax(name, error)]) from error
    tree = _Tree()
    value = tree.read(root)
    file: _File | None = None
    try:
        file = _File.model_validate(value)
    except ValidationError as error:
        tree.problems.extend(tree.problem(details) for details in error.errors())
    if tree.problems or file is None:
        raise PriceFileError(f"{name}:{line}: {where}{what}" for line, where, what in sorted(tree.problems))
    return file


def _syntax(name: str, error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        # What begins with * or ! is an alias or a tag, and YAML would name it: it may be a secret.
        problem = re.sub(r"\b(alias|anchor|tag)\b.*", r"\1", error.problem or "", flags=re.DOTALL)
        return f"{name}:{error.problem_mark.line + 1}: no YAML: {problem}"
    return f"{name}: no YAML: {getattr(error, 'reason', None) or 'unreadable'}"


class _Tree:
    """YAML nodes as plain values, every number and date still the text that was written."""

    def __init__(self) -> None:
        self.lines: dict[_Path, int] = {(): 1}
        self.problems: list[_Problem] = []

    def read(self, node: yaml.Node | None, path: _Path = ()) -> Any:
        if node is None:
            return None
        self.lines.setdefault(path, node.start_mark.line + 1)
        if len(path) > _DEPTH:
            self._complain(path, f"nested more than {_DEPTH} deep, expected a price file")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        return _scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: _Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            inner = (*path, str(key.value))
            if not isinstance(key, yaml.ScalarNode):
                self._complain(path, "got a key that is a mapping or a list, expected a text")
            elif key.value in found:
                first, line = self.lines[inner], key.start_mark.line + 1
                self.problems.append(_Problem(line, _dotted(inner), f"written twice, first on line {first}"))
            else:
                self.lines[inner] = key.start_mark.line + 1
                found[key.value] = self.read(value, inner)
        return found

    def problem(self, details: ErrorDetails) -> _Problem:
        """Say of a mistake what came, what was expected and where it is written."""
        path = tuple(part for part in details["loc"] if part != "[key]")
        return _Problem(self._line(path), _dotted(path), _sentence(details))

    def _complain(self, path: _Path, what: str) -> None:
        self.problems.append(_Problem(self._line(path), _dotted(path), what))

    def _line(self, path: _Path) -> int:
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]


def _scalar(node: yaml.Node) -> str | bool | None:
    if node.tag == "tag:yaml.org,2002:null":
        return None
    if node.tag == "tag:yaml.org,2002:bool":
        return str(node.value).lower() in {"true", "yes", "on"}
    return str(node.value)


def _dotted(path: _Path) -> str:
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return f"{steps.removeprefix('.')}: " if steps else ""


_EXPECTED = {
    "dict_type": "a mapping",
    "list_type": "a list",
    "model_type": "a mapping",
    "string_type": "a text",
}

_MISSING = {
    "model": "a model's name, or a pattern with * and ?",
    "per_million_tokens": "amounts by usage kind",
    "prices": "a list of prices",
}


def _sentence(details: ErrorDetails) -> str:
    kind, last = details["type"], str(details["loc"][-1]) if details["loc"] else ""
    if kind == "missing":
        return f"missing, expected {_MISSING[last]}"
    if kind == "extra_forbidden":
        return f"unknown key{_suggestion(last, _siblings(details['loc']))}"
    if kind == "value_error":
        return f"got {_shown(details['input'])}, expected {details['ctx']['error']}"
    return f"got {_shown(details['input'])}, expected {_EXPECTED[kind]}"


def _siblings(path: _Path) -> tuple[str, ...]:
    """Keys that may stand where the last step of `path` stands."""
    parents: dict[int, type[_Part]] = {1: _File, 3: _Entry}
    deeper = _Tier if isinstance(path[-2:][0], int) else _Rates
    return tuple(parents.get(len(path), deeper).model_fields)


def _suggestion(came: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = get_close_matches(came, names, n=1)
    return f", did you mean {close[0]!r}?" if close else f", expected one of {', '.join(names)}"


def _shown(came: object) -> str:
    if came is None:
        return "nothing"
    if isinstance(came, bool):
        return "true" if came else "false"
    if isinstance(came, str):
        came = masked(came)
        return repr(came if len(came) <= _SHOWN else f"{came[:_SHOWN]}...")
    if isinstance(came, dict):
        return f"a mapping of {', '.join(came)}" if came else "an empty mapping"
    return "a list"
