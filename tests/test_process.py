"""What any process of Meter has around what it serves."""

from __future__ import annotations

import gc

from meter.process import settled


def test_what_is_there_stays() -> None:
    """Once all is settled, searches for garbage are on, and pass over what was there before."""
    there = [object()]
    gc.disable()
    settled()
    try:
        assert gc.isenabled()
        assert not any(there is other for other in gc.get_objects())
    finally:
        gc.unfreeze()
