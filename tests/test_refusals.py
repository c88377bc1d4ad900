"""A refusal to be asked for usage is known when it is seen, and remembered for a while."""

from __future__ import annotations

import pytest

from meter.refusals import Refusals, refuses


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"message":"Unknown parameter: \'stream_options\'."}}',
        b'{"message":"extraneous key [stream_options] is not permitted"}',
        b'{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs"}]}',
        b'{"object":"error","message":"[{\'loc\': (\'body\', \'include_usage\')}]"}',
        b'{"error":"{\\"message\\":\\"Additional properties: stream_options\\"}"}',
    ],
)
@pytest.mark.parametrize("status", [400, 422, 500])
def test_knows_refusals(status: int, body: bytes) -> None:
    """An error of three statuses that speaks of what was added is a refusal, in whatever shape."""
    assert refuses(status, body)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b'{"error":{"message":"too long"}}'),
        (400, b""),
        (200, b"stream_options"),
        (401, b"stream_options"),
        (404, b"stream_options"),
        (429, b"stream_options"),
        (503, b"include_usage"),
    ],
)
def test_knows_other_errors(status: int, body: bytes) -> None:
    """No other answer is a refusal."""
    assert not refuses(status, body)


def test_remembers_for_a_while() -> None:
    """A pair of upstream and model is remembered for as long as was said, and no other pair is."""
    refusals = Refusals(seconds=60)
    refusals.add("a", "m", now=100)

    assert refusals.knows("a", "m", now=159.9)
    assert not refusals.knows("a", "n", now=101)
    assert not refusals.knows("b", "m", now=101)
    assert not refusals.knows("a", None, now=101)
    assert not refusals.knows("a", "m", now=160)
    assert not refusals.knows("a", "m", now=101)  # once it is over, it is


def test_begins_anew_with_each_refusal() -> None:
    """A pair that refuses again is remembered from then on."""
    refusals = Refusals(seconds=60)
    refusals.add("a", None, now=100)
    refusals.add("a", None, now=150)

    assert refusals.knows("a", None, now=200)


def test_forgets_the_oldest() -> None:
    """Where there are too many pairs, the one that refused longest ago is forgotten."""
    refusals = Refusals(most=2)
    for now, model in enumerate(["m", "n", "m", "o"]):
        refusals.add("a", model, now=now)

    assert [True, False, True] == [refusals.knows("a", model, now=5) for model in ("m", "n", "o")]
