"""The ring of the last exchanges."""

from __future__ import annotations

from meter.exchange import Exchange, Outcome
from meter.recent import Recent


def exchange(number: int) -> Exchange:
    """Return an exchange that is told from others by its id."""
    return Exchange(id=f"x{number}", started_at=number, method="POST", path="/", outcome=Outcome.OK)


def ring(count: int, most: int = 1000) -> Recent:
    """Return a ring that was told of so many exchanges."""
    recent = Recent(most)
    for number in range(count):
        recent(exchange(number))
    return recent


def test_the_newest_comes_first() -> None:
    """They come in the order opposite to that in which they were told."""
    assert ["x2", "x1", "x0"] == [each.id for each in ring(3).last()]


def test_forgets_the_oldest() -> None:
    """A thousand are kept, and each one more costs the oldest."""
    kept = ring(1005).last()

    assert (1000, "x1004", "x5") == (len(kept), kept[0].id, kept[-1].id)


def test_gives_the_records_themselves() -> None:
    """What is kept is the very record that was told."""
    recent, told = ring(3), exchange(9)
    recent(told)

    assert told is recent.last()[0]


def test_empty() -> None:
    """Before anything passed there is nothing, and closing changes nothing."""
    recent = Recent()
    recent.close()

    assert [] == recent.last()
