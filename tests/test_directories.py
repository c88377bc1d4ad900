"""Where Meter keeps what must outlive it."""

from __future__ import annotations

import pytest

from meter.directories import ledger_url


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"XDG_STATE_HOME": "/state", "HOME": "/home/ada"}, "/state/meter/ledger.db"),
        ({"HOME": "/home/ada"}, "/home/ada/.local/state/meter/ledger.db"),
        ({"XDG_STATE_HOME": "state", "HOME": "/home/ada"}, "/home/ada/.local/state/meter/ledger.db"),
        ({"XDG_STATE_HOME": "", "HOME": "/home/ada"}, "/home/ada/.local/state/meter/ledger.db"),
    ],
)
def test_ledger_url(environ: dict[str, str], path: str) -> None:
    """Where no ledger is set, it is below the user's state directory."""
    assert f"sqlite:///{path}" == ledger_url(environ)
