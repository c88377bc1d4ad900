"""Admission: what shows by name, and from when on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meter.exchange import Exchange, Outcome, UsageSource
from meter.labels import ID_LABELS, NONE, OTHER, Admission


@dataclass(frozen=True)
class Limits:
    """Room in abundance, unless a test says otherwise."""

    model: int = 200
    key: int = 200
    tag: int = 100
    id_sets: int = 1000


def exchange(**facts: Any) -> Exchange:
    """Make a good chat exchange, with some facts changed."""
    good = {
        "id": "0197",
        "started_at": 0.0,
        "upstream": "openai",
        "operation": "chat",
        "method": "POST",
        "path": "/v1/chat/completions",
        "outcome": Outcome.OK,
        "status": 200,
        "model": "gpt-4o",
        "key": "search",
    }
    return Exchange(**{**good, **facts})


def admission(**facts: Any) -> Admission:
    """Make an admission with abundant room."""
    return Admission(**{"limits": Limits(), **facts})


def test_labels_follow_the_fixed_order_with_tags_at_the_end() -> None:
    """Values come in the order of `names`: the four id labels, then the tags as configured."""
    labels = admission(label_names=["team", "env"])

    assert (*ID_LABELS, "team", "env") == labels.names
    assert labels.id_labels(exchange(tags={"env": "prod", "team": "red", "user": "u1"})) == (
        "openai",
        "chat",
        "gpt-4o",
        "search",
        "red",
        "prod",
    )


def test_a_success_admits_within_itself() -> None:
    """The very exchange that admits a name shows it."""
    assert admission().id_labels(exchange()) == ("openai", "chat", "gpt-4o", "search")


@pytest.mark.parametrize(
    "facts",
    [
        {"outcome": Outcome.CLIENT_ERROR, "status": 404},
        {"outcome": Outcome.STREAM_ERROR},
        {"outcome": Outcome.TRUNCATED},
        {"outcome": Outcome.OK, "status": 304},
        {"outcome": Outcome.OK, "status": 101, "operation": "realtime"},
        {"outcome": Outcome.OK, "status": 101, "usage_source": UsageSource.ESTIMATED},
        {"outcome": Outcome.CLIENT_CLOSED, "status": 101, "usage_source": UsageSource.REPORTED},
        {"outcome": Outcome.UNREACHABLE, "status": None},
        {"operation": "models"},
        {"operation": "files"},
        {"operation": "batches"},
        {"operation": "other"},
    ],
)
def test_what_proves_nothing_admits_nothing(facts: dict[str, Any]) -> None:
    """Failures, statuses outside 2xx and operations without a model admit no name, and count no overflow."""
    labels = admission(label_names=["team"])
    shown = labels.id_labels(exchange(tags={"team": "red"}, **facts))

    assert shown[2:] == (OTHER, OTHER, OTHER)
    assert labels.overflow == {"model": 0, "key": 0, "team": 0}


def test_what_is_told_in_a_websocket_admits() -> None:
    """A response inside of a WebSocket admits names once it told what it used."""
    told = exchange(operation="realtime", status=101, usage_source=UsageSource.REPORTED)

    assert admission().id_labels(told) == ("openai", "realtime", "gpt-4o", "search")


def test_an_admitted_name_shows_in_failures_too() -> None:
    """Once admitted, a name shows whatever becomes of later exchanges."""
    labels = admission()
    labels.id_labels(exchange())

    assert labels.id_labels(exchange(operation="other", outcome=Outcome.TIMEOUT, status=504)) == (
        "openai",
        "other",
        "gpt-4o",
        "search",
    )


def test_configured_names_show_from_the_start() -> None:
    """Names of the settings and of the price files need no success."""
    labels = admission(models=["gpt-4o"], keys=["search"])

    assert labels.id_labels(exchange(outcome=Outcome.UPSTREAM_ERROR, status=500)) == (
        "openai",
        "chat",
        "gpt-4o",
        "search",
    )


def test_configured_names_take_room_but_are_never_refused() -> None:
    """With more names configured than there is room for, all of them show and no other does."""
    labels = admission(models=["a", "b", "c"], limits=Limits(model=2))

    assert [labels.id_labels(exchange(model=m))[2] for m in ("a", "b", "c", "d")] == ["a", "b", "c", OTHER]
    assert labels.overflow["model"] == 1


@pytest.mark.parametrize("missing", [None, ""])
def test_missing_values_show_as_none(missing: str | None) -> None:
    """A model, key or tag that is not there, or is empty, shows as `none`."""
    labels = admission(label_names=["team"])
    tags = {} if missing is None else {"team": missing}

    assert labels.id_labels(exchange(model=missing, key=missing, tags=tags))[2:] == (NONE, NONE, NONE)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("m" * 128, "m" * 128),
        ("m" * 129, OTHER),
        ("é" * 64, "é" * 64),
        ("é" * 65, OTHER),
        ("m" * 10_000_000, OTHER),
    ],
)
def test_long_names_fold(name: str, shown: str) -> None:
    """A name of over 128 bytes of UTF-8 never shows, and that is no budget's doing."""
    labels = admission()

    assert shown == labels.id_labels(exchange(model=name))[2]
    assert labels.overflow["model"] == 0


def test_two_thousand_models_add_no_more_than_the_budget() -> None:
    """Past the budget every further model folds, once counted for each exchange."""
    labels = admission(limits=Limits(model=200, id_sets=10_000))
    shown = {labels.id_labels(exchange(model=f"m{n}"))[2] for n in range(2000)}

    assert len(shown) == 201
    assert labels.overflow == {"model": 1800, "key": 0}


def test_each_tag_has_a_budget_of_its_own() -> None:
    """A tag of many values does not take the room of another."""
    labels = admission(label_names=["user", "team"], limits=Limits(tag=2))
    shown = [labels.id_labels(exchange(tags={"user": f"u{n}", "team": "red"}))[4:] for n in range(3)]

    assert shown == [("u0", "red"), ("u1", "red"), (OTHER, "red")]
    assert labels.overflow == {"model": 0, "key": 0, "user": 1, "team": 0}


def test_past_the_combinations_the_key_folds_first_and_then_the_model() -> None:
    """A full set of combinations costs a new one its key, and past a quarter more also its model."""
    labels = admission(limits=Limits(id_sets=4))
    for n in range(4):
        labels.id_labels(exchange(key=f"k{n}"))

    assert labels.id_labels(exchange(key="k4")) == ("openai", "chat", "gpt-4o", OTHER)
    assert labels.id_labels(exchange(key="k5")) == ("openai", "chat", "gpt-4o", OTHER)
    assert labels.id_labels(exchange(model="o3", key="k5")) == ("openai", "chat", OTHER, OTHER)
    assert labels.id_labels(exchange(key="k0")) == ("openai", "chat", "gpt-4o", "k0")
    assert labels.overflow == {"model": 1, "key": 3}


def test_combinations_are_bounded_whatever_comes() -> None:
    """Many models, keys and tags together show at most half as many combinations again as the budget."""
    labels = admission(label_names=["team"], limits=Limits(id_sets=100))
    shown = {
        labels.id_labels(exchange(model=f"m{n % 50}", key=f"k{n % 47}", tags={"team": f"t{n % 43}"}))
        for n in range(3000)
    }

    assert len(shown) <= 150 + 1


def test_a_key_that_is_folded_already_is_not_counted_again() -> None:
    """Where a combination folds what shows as `__other__` anyway, nothing overflowed."""
    labels = admission(limits=Limits(id_sets=1))
    failed = {"outcome": Outcome.TIMEOUT, "status": 504}
    labels.id_labels(exchange())

    assert labels.id_labels(exchange(model="x", key="y", **failed)) == ("openai", "chat", OTHER, OTHER)
    assert labels.overflow == {"model": 0, "key": 0}


@given(st.text(st.characters(exclude_categories=[]), max_size=40))
@settings(max_examples=200)
def test_values_can_always_be_written_on_one_line(name: str) -> None:
    """Whatever a client sends, the label has UTF-8, no line break and no NUL."""
    shown = admission().id_labels(exchange(model=name))[2]

    assert [shown] == shown.encode().decode().splitlines()
    assert "\0" not in shown


def test_names_that_cannot_be_written_still_count_as_one() -> None:
    """A name with a lone surrogate is admitted as it shows, and found again."""
    labels = admission(limits=Limits(model=1))

    assert [labels.id_labels(exchange(model="a\ud800b"))[2] for _ in range(2)] == ["a\ufffdb", "a\ufffdb"]
    assert labels.overflow["model"] == 0


NAMES = st.none() | st.sampled_from(["a", "b", "c", "d", "", "none", OTHER, "\x00", "x" * 200])


@given(
    st.lists(
        st.builds(
            exchange,
            model=NAMES,
            key=NAMES,
            tags=st.dictionaries(st.just("team"), NAMES.map(str), max_size=1),
            outcome=st.sampled_from([Outcome.OK, Outcome.TIMEOUT]),
            operation=st.sampled_from(["chat", "models"]),
        ),
        max_size=40,
    )
)
def test_what_was_shown_before_is_shown_the_same(exchanges: list[Exchange]) -> None:
    """To remember what combinations are shown as changes no label and no count."""
    limits = Limits(model=2, key=2, tag=2, id_sets=5)
    remembers, forgets = (admission(label_names=["team"], limits=limits) for _ in range(2))
    for each in exchanges:
        forgets._shown_as_told.clear()

        assert forgets.id_labels(each) == remembers.id_labels(each)
        assert forgets.overflow == remembers.overflow


def test_what_is_remembered_is_bounded() -> None:
    """However many names come, no more combinations are remembered than may be shown."""
    labels = admission(limits=Limits(model=3, key=3, id_sets=4))
    for n in range(100):
        labels.id_labels(exchange(model=f"m{n % 10}", key=f"k{n}"))
        labels.id_labels(exchange(model="a\x00" if n % 2 else "a\x01", key=None))

    assert len(labels._shown_as_told) <= 4
