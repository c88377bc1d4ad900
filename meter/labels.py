"""Which names may become label values: an upstream's success admits them, a budget bounds them.

Whatever a client sends can be minted without end, so a model, a key or a tag shows by name only once an
exchange with it went well, and only while there is room; until then it shows as `__other__`. One `Admission`
remembers what was let in. It only ever grows, knows no clock, and the same exchanges in the same order give
the same labels.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from meter.exchange import Outcome, UsageSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from meter.exchange import Exchange

__all__ = ["ID_LABELS", "NONE", "OTHER", "Admission", "SeriesLimits"]

ID_LABELS = ("upstream", "operation", "model", "key")
"""The labels that every series of an exchange has; the configured tags come after them."""

OTHER = "__other__"
"""Stands for every value that is not admitted."""

NONE = "none"
"""Stands for a value that is missing."""

_LONGEST = 128
"""Bytes of UTF-8 that a label value may have."""

_PROVES_NOTHING = frozenset({"models", "files", "batches", "other"})
"""Operations whose success says nothing of a name: an upstream may answer them without ever looking at it."""

# NUL ends Prometheus's parser, line breaks end many others, and a lone surrogate has no UTF-8 at all.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class SeriesLimits(Protocol):
    """How many values each label may show, and how many combinations all of them."""

    @property
    def model(self) -> int:
        """Models."""

    @property
    def key(self) -> int:
        """Keys."""

    @property
    def tag(self) -> int:
        """Values of each tag."""

    @property
    def id_sets(self) -> int:
        """Distinct combinations of all id labels."""


class Admission:
    """Turns exchanges into bounded label values.

    `models` and `keys` are admitted from the start: they use up room in their budget but are never refused,
    be they more than it holds. `label_names` are the tags that become labels, in that order, each with a
    budget of its own.
    """

    def __init__(
        self,
        *,
        models: Iterable[str] = (),
        keys: Iterable[str] = (),
        label_names: Iterable[str] = (),
        limits: SeriesLimits,
    ) -> None:
        self.label_names = tuple(label_names)
        self._folds = dict.fromkeys(("model", "key", *self.label_names), 0)
        self._models = _Values(limits.model, models)
        self._keys = _Values(limits.key, keys)
        self._tags = [(name, _Values(limits.tag)) for name in self.label_names]
        self._id_sets = _IdSets(limits.id_sets)
        self._settled: dict[tuple[str | None, ...], tuple[str, ...]] = {}
        """What is shown as it is told, which it will be for ever: as many as there are combinations."""

    def succeed(self, older: Admission) -> None:
        """Go on where `older` ended, whose tags are the same: what it let in is shown, its folds count."""
        self._folds = older._folds
        self._models.add(older._models)
        self._keys.add(older._keys)
        for (_, values), (_, before) in zip(self._tags, older._tags, strict=True):
            values.add(before)
        self._id_sets.add(older._id_sets)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the labels that `id_labels` gives values for."""
        return (*ID_LABELS, *self.label_names)

    @property
    def overflow(self) -> Mapping[str, int]:
        """Exchanges folded by a budget so far, by label; a label that never was is 0."""
        return self._folds

    def id_labels(self, exchange: Exchange) -> tuple[str, ...]:
        """Values of `names` for an exchange; call it once for each, as it admits and counts."""
        told: tuple[str | None, ...] = (exchange.upstream, exchange.operation, exchange.model, exchange.key)
        if self._tags:
            told += tuple([exchange.tags.get(name) for name in self.label_names])
        return self._settled.get(told) or self._weighed(exchange, told)

    def _weighed(self, exchange: Exchange, told: tuple[str | None, ...]) -> tuple[str, ...]:
        """Give what to show; where nothing of it can change or count any more, remember it."""
        earned = _earned(exchange)
        wanted = (
            exchange.upstream,
            exchange.operation,
            self._show("model", self._models, exchange.model, earned=earned),
            self._show("key", self._keys, exchange.key, earned=earned),
            *[
                self._show(name, values, exchange.tags.get(name), earned=earned)
                for name, values in self._tags
            ],
        )
        shown = self._id_sets.show(wanted)
        if shown is not wanted:
            self._count_folds(wanted, shown)
        elif all(value is None or value == name for value, name in zip(told, wanted, strict=True)):
            self._settled[told] = shown
        return shown

    def _show(self, label: str, values: _Values, value: str | None, *, earned: bool) -> str:
        shown = values.show(value, earned=earned)
        if shown is None:
            self._folds[label] += 1
            return OTHER
        return shown

    def _count_folds(self, wanted: tuple[str, ...], shown: tuple[str, ...]) -> None:
        for label, before, after in zip(self.names, wanted, shown, strict=True):
            if before != after:
                self._folds[label] += 1


class _Values:
    """The values that one label may show."""

    def __init__(self, budget: int, known: Iterable[str] = ()) -> None:
        self._budget = budget
        self._shown = {_printable(value) for value in known}

    def add(self, others: _Values) -> None:
        """Show these as well."""
        self._shown |= others._shown

    def show(self, value: str | None, *, earned: bool) -> str | None:
        """Give what to show for a value; `None` where there is no room for it."""
        if not value:
            # Prometheus takes an empty value for an absent label.
            return NONE
        if value in self._shown:
            return value
        clean = _printable(value) if len(value) <= _LONGEST else OTHER
        if clean in self._shown:
            return clean
        if clean == OTHER or not earned or len(clean.encode()) > _LONGEST:
            return OTHER
        if len(self._shown) >= self._budget:
            return None
        self._shown.add(clean)
        return clean


class _IdSets:
    """The combinations that may be shown.

    Past the budget the key folds. Combinations so folded may be a quarter as many again, so that a flood of
    keys does not at once cost the names of the models; past that the model folds too, with the same room, and
    at last the tags, which leaves one combination an upstream and operation.
    """

    def __init__(self, budget: int) -> None:
        room = max(1, budget // 4)
        self._steps: tuple[tuple[int, set[tuple[str, ...]]], ...] = (
            (budget, set()),
            (room, set()),
            (room, set()),
        )

    def add(self, others: _IdSets) -> None:
        """Show these as well."""
        for (_, shown), (_, before) in zip(self._steps, others._steps, strict=True):
            shown.update(before)

    def show(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """Give the same object back, or else the first fold of it that there is room for."""
        folded = wanted
        for (room, shown), folded in zip(self._steps, _folds(wanted), strict=False):
            if folded in shown:
                return folded
            if len(shown) < room:
                shown.add(folded)
                return folded
        return (*folded[:2], *[OTHER] * (len(folded) - 2))


def _folds(ids: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield ids
    upstream, operation, model, _, *tags = ids
    yield (upstream, operation, model, OTHER, *tags)
    yield (upstream, operation, OTHER, OTHER, *tags)


_SUCCESS = range(200, 300)
_SWITCHED = 101


def _earned(exchange: Exchange) -> bool:
    # That a WebSocket was opened proves nothing; that a response inside of it told what it used does.
    told = exchange.status == _SWITCHED and exchange.usage_source is UsageSource.REPORTED
    return (
        exchange.outcome is Outcome.OK
        and (exchange.status in _SUCCESS or told)
        and exchange.operation not in _PROVES_NOTHING
    )


def _printable(value: str) -> str:
    return _UNPRINTABLE.sub("\ufffd", value)
