"""What may stand in a price file, and what is said of what may not."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from meter.exchange import KINDS
from meter.prices.hours import Hours
from meter.prices.tree import PriceFileError, Tree, compose, shown, suggestion

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from meter.prices.tree import Place

__all__ = ["Entry", "File", "RatesPart", "TierPart", "Written", "parse"]


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


def _hours(came: object) -> Hours:
    hours = Hours.read(came if isinstance(came, str) else "")
    if hours.begin == hours.end:
        raise ValueError("hours that end at another time than they begin, or none at all")
    return hours


def _currency(came: str) -> str:
    if re.fullmatch(r"[A-Z]{3}", came):
        return came
    raise ValueError("a currency code of three capital letters, like USD")


def _kind(came: str) -> str:
    if came in KINDS:
        return came
    raise ValueError(f"a usage kind{suggestion(came, KINDS)}")


def _filled(came: str) -> str:
    if came:
        return came
    raise ValueError("a text that is not empty")


_Amount = Annotated[Decimal, BeforeValidator(_amount)]
_Positive = Annotated[_Amount, AfterValidator(_positive)]
_Count = Annotated[int, BeforeValidator(_count)]
_Day = Annotated[date, BeforeValidator(_day)]
_Hours = Annotated[Hours, PlainValidator(_hours)]
_Text = Annotated[str, AfterValidator(_filled)]
_Amounts = dict[Annotated[str, AfterValidator(_kind)], _Amount]


class Part(BaseModel):
    """A mapping in a price file: frozen, and no other member is taken."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TierPart(Part):
    """Amounts for exchanges whose input is long."""

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


class RatesPart(Part):
    """Amounts by kind, and the tiers above them."""

    per_million_tokens: _Amounts = Field(default_factory=dict)
    tiers: list[TierPart] = Field(default_factory=list)

    @model_validator(mode="after")
    def _prices_something(self) -> Self:
        if not self.model_fields_set - _NAMES_NOTHING:
            priced = (f"`{name}`" for name in type(self).model_fields if name not in _NAMES_NOTHING)
            raise ValueError(f"at least one of {', '.join(priced)}")
        if len({tier.bound for tier in self.tiers}) < len(self.tiers):
            raise ValueError("tiers that begin at different counts")
        return self


_NAMES_NOTHING = frozenset({"model", "upstream", "provider", "valid_from", "valid_until", "hours", "source"})


class Entry(RatesPart):
    """What one model, or each that fits a pattern, costs at one place and time."""

    model: _Text
    upstream: _Text | None = None
    provider: _Text | None = None
    service_tiers: dict[_Text, RatesPart] = Field(default_factory=dict)
    per_request: _Amount | None = None
    per_second: _Amount | None = None
    per_image: _Amount | None = None
    per_search: _Amount | None = None
    per_character: _Amount | None = None
    valid_from: _Day | None = None
    valid_until: _Day | None = None
    hours: _Hours | None = None
    """Hours of the day, in UTC, at which it holds; `None`: all day."""
    source: _Text | None = None

    @field_validator("valid_until")
    @classmethod
    def _ends_after_it_begins(cls, until: date | None, known: ValidationInfo) -> date | None:
        begins = known.data.get("valid_from")
        if until is not None and begins is not None and until < begins:
            raise ValueError(f"a day that is not before `valid_from`, {begins}")
        return until


class File(Part):
    """A whole price file."""

    currency: Annotated[str, AfterValidator(_currency)] = "USD"
    usd_rate: _Positive | None = Field(default=None, validate_default=True)
    prices: list[Entry]

    @field_validator("usd_rate")
    @classmethod
    def _rate_where_needed(cls, rate: Decimal | None, known: ValidationInfo) -> Decimal | None:
        currency = known.data.get("currency", "USD")
        if currency != "USD" and rate is None:
            raise ValueError(f"how many USD one {currency} is, since `currency` is {currency}")
        if currency == "USD" and rate not in (None, 1) and "currency" in known.data:
            raise ValueError("1 or nothing, since `currency` is USD")
        return rate


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


class Written(NamedTuple):
    """A price file, and the lines on which its parts stand."""

    file: File
    tree: Tree


def parse(name: str, raw: bytes) -> Written:
    """Read a price file; raises PriceFileError that tells everything that is wrong with it."""
    tree = Tree()
    value = tree.read(compose(name, raw))
    file: File | None = None
    try:
        file = File.model_validate(value)
    except ValidationError as error:
        for details in error.errors():
            path = tuple(part for part in details["loc"] if part != "[key]")
            tree.complain(path, _sentence(details))
    if tree.problems or file is None:
        raise PriceFileError(f"{name}:{line}: {where}{what}" for line, where, what in sorted(tree.problems))
    return Written(file, tree)


def _sentence(details: ErrorDetails) -> str:
    kind, last = details["type"], str(details["loc"][-1]) if details["loc"] else ""
    if kind == "missing":
        return f"missing, expected {_MISSING[last]}"
    if kind == "extra_forbidden":
        return f"unknown key{suggestion(last, _siblings(details['loc']))}"
    if kind == "value_error":
        return f"got {shown(details['input'])}, expected {details['ctx']['error']}"
    return f"got {shown(details['input'])}, expected {_EXPECTED[kind]}"


def _siblings(path: Place) -> tuple[str, ...]:
    """Keys that may stand where the last step of `path` stands."""
    parents: dict[int, type[Part]] = {1: File, 3: Entry}
    deeper = TierPart if isinstance(path[-2:][0], int) else RatesPart
    return tuple(parents.get(len(path), deeper).model_fields)
