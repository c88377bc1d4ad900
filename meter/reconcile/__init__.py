"""What Meter counted beside what a provider billed.

    bill        one line of a bill
    records     exports as flat records: CSV or JSON
    formats     how columns become lines of a bill
    openai      the formats and the API of one provider each
    anthropic
    pages       reports that an API gives page by page
    metered     what Meter counted
    comparison  the two side by side, and what explains the difference

Nothing here writes to the ledger.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from meter.reconcile import anthropic, openai, records
from meter.reconcile.bill import Billed, BillError
from meter.reconcile.formats import billed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence
    from datetime import date
    from pathlib import Path
    from typing import Protocol

    from meter.reconcile.formats import Format

    class _Fetch(Protocol):
        def __call__(
            self, key: str, *, since: date, until: date, base_url: str
        ) -> Awaitable[list[Billed]]: ...


__all__ = ["PROVIDERS", "BillError", "Billed", "Provider", "fetch", "read"]


class Provider(NamedTuple):
    """Where a provider's bills come from."""

    formats: Sequence[Format]
    """Its exports."""
    key: str
    """The environment variable with the key for its API."""
    base_url: str
    fetch: _Fetch


PROVIDERS = {
    "openai": Provider(openai.FORMATS, openai.KEY, openai.BASE_URL, openai.fetch),
    "anthropic": Provider(anthropic.FORMATS, anthropic.KEY, anthropic.BASE_URL, anthropic.fetch),
}
"""By `gen_ai.provider.name`."""


def read(provider: str, path: str | Path) -> list[Billed]:
    """Read a provider's export, usage or costs, as CSV or JSON; raises BillError."""
    return billed(records.read(path), PROVIDERS[provider].formats, str(path))


async def fetch(
    provider: str,
    environ: Mapping[str, str],
    *,
    since: date,
    until: date,
    base_url: str | None = None,
) -> list[Billed]:
    """Ask a provider's API for the days from `since` until before `until`, UTC; raises BillError."""
    asked = PROVIDERS[provider]
    key = environ.get(asked.key, "").strip()
    if not key:
        raise BillError(f"{asked.key} is not set, expected an admin key of the organization, or a file")
    if base_url is not None and re.search("[@?#]", base_url):  # every sentence names it
        raise BillError(f"got a base URL with credentials or a query, expected one such as {asked.base_url}")
    return await asked.fetch(key, since=since, until=until, base_url=base_url or asked.base_url)
