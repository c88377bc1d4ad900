"""The ledger as the admin port asks it: opened at the first question, by whichever thread asks.

SQLAlchemy is imported then, for a proxy whose admin port nobody asks never needs it for reading.
"""

from __future__ import annotations

from dataclasses import asdict
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from meter.ledger.database import Database

__all__ = ["Questions"]


class Questions:
    """Asks the ledger at `url`; raises LedgerError where there is none, ValueError for a wrong question."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._opening = Lock()
        self._opened: Database | None = None

    @property
    def _database(self) -> Database:
        from meter.ledger.database import open_database  # noqa: PLC0415 - see the top

        with self._opening:
            if self._opened is None:
                self._opened = open_database(self._url, create=False)
            return self._opened

    def usage(
        self, *, by: Sequence[str], since: datetime, until: datetime, where: Mapping[str, Sequence[str]]
    ) -> Mapping[str, Any]:
        """Return what was used and spent, by whatever one asks by."""
        from meter.ledger import reading  # noqa: PLC0415 - see the top

        return reading.usage(self._database, by=by, since=since, until=until, where=where).told

    def waste(self, since: datetime, until: datetime) -> Mapping[str, Any]:
        """Return what was paid for and not used."""
        from meter.ledger import reading  # noqa: PLC0415 - see the top

        return reading.waste(self._database, since, until).told

    def exchanges(self, limit: int) -> Sequence[Mapping[str, Any]]:
        """Return the last exchanges as the log has them, the newest first."""
        from meter.ledger import reading  # noqa: PLC0415 - see the top

        return reading.exchanges(self._database, limit)

    def exchange(self, id_: str) -> Mapping[str, Any] | None:
        """Return one as the log has it; None where it is not known."""
        from meter.ledger import reading  # noqa: PLC0415 - see the top

        return reading.exchange(self._database, id_)

    def missing(self, since: datetime) -> Sequence[Mapping[str, Any]]:
        """Return which models lack a price, and how much of them was used."""
        from meter.ledger import reading  # noqa: PLC0415 - see the top

        return [asdict(each) for each in reading.missing(self._database, since)]

    def close(self) -> None:
        """Close what was opened."""
        with self._opening:
            if self._opened is not None:
                self._opened.close()
                self._opened = None
