"""How loud the log tells of an exchange, and of which it does not."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from meter.exchange import Exchange, Outcome
from meter.ids import uuid7
from meter.telling import Loudness, content, level, line, plain, rfc3339, tellable


def exchange(outcome: Outcome = Outcome.OK, id_: str | None = None, *, answer: str | None = None) -> Exchange:
    """Make an exchange that ended in some way."""
    return Exchange(
        id=id_ or uuid7(1_767_225_600_000, os.urandom(10)),
        started_at=0.0,
        method="POST",
        path="/",
        outcome=outcome,
        answer=answer,
    )


@pytest.mark.parametrize("outcome", Outcome)
def test_the_usual(outcome: Outcome) -> None:
    """Without settings every exchange is told of, at its usual level."""
    assert level(exchange(outcome)) == Loudness()(exchange(outcome))


def test_by_outcome() -> None:
    """A level holds for its outcome alone, and `off` tells of none."""
    loudness = Loudness({"ok": "debug", "client_closed": "off", "timeout": "error"})
    said = {outcome: loudness(exchange(outcome)) for outcome in Outcome}

    assert ("debug", None, "error") == (
        said.pop(Outcome.OK),
        said.pop(Outcome.CLIENT_CLOSED),
        said.pop(Outcome.TIMEOUT),
    )
    assert {outcome: level(exchange(outcome)) for outcome in said} == said


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_a_share(share: float) -> None:
    """About so many of an outcome are told of, and all of the others."""
    ids = [
        uuid7(1_767_225_600_000, (number * 0x9E3779B97F4A7C15 % 2**64).to_bytes(10, "big"))
        for number in range(10_000)
    ]
    loudness = Loudness(sample={"ok": share})

    assert 10_000 * share == pytest.approx(
        sum(loudness(exchange(id_=id_)) is not None for id_ in ids), abs=50
    )
    assert all(loudness(exchange(Outcome.TRUNCATED, id_)) == "warning" for id_ in ids[:100])


def test_all_agree() -> None:
    """Whoever is set alike tells of the same exchanges, and of a larger share all that a smaller one has."""
    exchanges = [exchange() for _ in range(500)]
    told = {share: {x.id for x in exchanges if Loudness(sample={"ok": share})(x)} for share in (0.2, 0.6)}

    assert told[0.2] <= told[0.6]
    assert told[0.6] == {x.id for x in exchanges if Loudness({"ok": "debug"}, {"ok": 0.6})(x)}


def test_content_is_told_by_itself() -> None:
    """What was answered is nowhere but in what is asked for it."""
    answered = exchange(answer="hello")

    assert {"question": None, "answer": "hello"} == content(answered)
    assert "hello" not in str(line(answered))
    assert (None, answered.id) == (answered.discreet.answer, answered.discreet.id)


def test_tellable() -> None:
    """Amounts keep their digits and moments are the log's, however deep; half characters are replaced."""
    value = {
        "costs": (Decimal("1E-12"), Decimal("NaN"), None),
        "nested": [MappingProxyType({"when": datetime(2026, 1, 31, tzinfo=UTC)})],
        "\udce9": "\u00e9\ud800",
    }
    expected = (
        '{"costs":[0.000000000001,null,null],'
        '"nested":[{"when":"2026-01-31T00:00:00.000000Z"}],'
        '"\ufffd":"\u00e9\ufffd"}'
    )

    assert expected == msgspec.json.encode(tellable(value)).decode()


@given(st.datetimes(timezones=st.just(UTC) | st.timezones()), st.booleans())
def test_moments(moment: datetime, whole: bool) -> None:
    """A moment is told in UTC with six places of a second, whichever they are and wherever it is from."""
    moment = moment.replace(microsecond=0) if whole else moment
    try:
        there = moment.astimezone(UTC)
    except OverflowError:  # at the ends of time
        return

    assert f"{there.replace(tzinfo=None).isoformat(timespec='microseconds')}Z" == rfc3339(moment)


@given(st.decimals())
def test_amounts(amount: Decimal) -> None:
    """An amount has all its digits and no exponent, and what is no number is unknown."""
    told = plain(amount)

    assert (format(amount, "f").encode() if amount.is_finite() else None) == (told and bytes(told))


@given(st.none() | st.floats(0, 1e9), st.none() | st.floats(0, 1e9))
def test_overhead(before: float | None, after: float | None) -> None:
    """What an exchange spent in Meter is the sum of what is known of it."""
    phases = [phase for phase in (before, after) if phase is not None]
    told = replace(exchange(), overhead_request_s=before, overhead_response_s=after)

    assert (sum(phases) if phases else None) == told.overhead_s
