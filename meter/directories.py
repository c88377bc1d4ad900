"""Where Meter keeps what must outlive it, as the XDG base directory specification wants it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ledger_url", "state"]


def state(environ: Mapping[str, str]) -> Path:
    """Return the directory below `XDG_STATE_HOME`, which need not exist."""
    home = Path(environ.get("XDG_STATE_HOME", ""))
    if not home.is_absolute():
        home = Path(environ.get("HOME") or Path("~").expanduser()) / ".local" / "state"
    return home / "meter"


def ledger_url(environ: Mapping[str, str], told: str | None = None) -> str | None:
    """Return the URL of the ledger: as it was told, else a file's here; `None` where it is to be off."""
    if told == "off":
        return None
    return told or f"sqlite:///{state(environ) / 'ledger.db'}"
