"""Reports: what was used and spent in a span, by whatever one asks by."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from meter.ledger.cells import cells, field_named
from meter.ledger.columns import TAG
from meter.ledger.schema import SUMS
from meter.ledger.spend import CERTAINTY, dearest_first, spends, together

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from meter.ledger.database import Database
    from meter.ledger.schema import Tables
    from meter.ledger.spend import Spend

__all__ = ["Usage", "spent", "usage"]

_TIMES = ("day", "hour", "minute")


@dataclass(frozen=True, slots=True)
class Usage:
    """The answer to a report's question, and the span that it is for."""

    since: datetime
    until: datetime
    by: tuple[str, ...]
    rows: tuple[Spend, ...]
    """Oldest first where they are by time; else, and then, dearest first."""
    total: Spend

    @property
    def told(self) -> dict[str, Any]:
        """The answer as the admin port and `report --format json` tell it, by `meter.telling.tellable`."""
        return {
            "since": self.since,
            "until": self.until,
            "by": self.by,
            "rows": [row.told for row in self.rows],
            "total": self.total.told,
        }


def usage(
    db: Database,
    *,
    by: Sequence[str],
    since: datetime,
    until: datetime,
    where: Mapping[str, Sequence[str]] | None = None,
) -> Usage:
    """Give what exchanges that ended in [since, until) used and cost, by fields.

    `by` and `where` know the fields of `meter.ledger.cells.FIELDS` and `tag.<name>` (or `tag:<name>`). Days
    are `2026-01-31`, hours `2026-01-31T12:00:00Z` and minutes likewise, in UTC; a tag that is not there is
    `none`. Of each field in `where` one of the values must hold. The answer's span is wider than what was
    asked for only where an hour is cut whose exchanges are gone. Raises `QuestionError` for another field,
    and for minutes of more than 48 hours.
    """
    fields = tuple(dict.fromkeys(map(field_named, by)))
    with db.engine.connect() as connection:
        found = cells(
            connection,
            db.tables,
            by=(*CERTAINTY, *fields),
            since=since,
            until=until,
            where={field_named(field): values for field, values in (where or {}).items()},
            sums=SUMS,
        )
    return Usage(
        found.since,
        found.until,
        fields,
        tuple(sorted(spends(found.cells, fields), key=_place)),
        together(found.cells),
    )


def _place(row: Spend) -> tuple[Any, ...]:
    times = [row.group[name] for name in row.group if name in _TIMES]
    return (times, *dearest_first(row))


def spent(
    connection: Connection,
    tables: Tables,
    *,
    since: datetime,
    key: str | None = None,
    tags: Mapping[str, str] | None = None,
    upstream: str | None = None,
) -> Decimal:
    """Give all known cost since a whole hour, in USD: of one key, of one upstream, of all of some tags."""
    asked = {"key": key, "upstream": upstream, **{TAG + name: tag for name, tag in (tags or {}).items()}}
    where = {field: [value] for field, value in asked.items() if value is not None}
    found = cells(connection, tables, by=(), since=since, where=where, sums=("cost_usd",))
    return sum((cell.sums.get("cost_usd", Decimal(0)) for cell in found.cells), Decimal(0))
