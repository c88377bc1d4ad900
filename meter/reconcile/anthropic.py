"""What Anthropic says it billed: its usage and cost exports, and the same from its API.

Its counts are told apart as Meter's are. Its API gives amounts in cents, its exports in USD; the cost export
has names for people (`Claude Haiku 4.5`). It tells no numbers of requests.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from meter.reconcile.bill import Billed
from meter.reconcile.formats import Format, Line, billed
from meter.reconcile.pages import Question, ask

if TYPE_CHECKING:
    from datetime import date

__all__ = ["BASE_URL", "FORMATS", "KEY", "fetch"]

KEY = "ANTHROPIC_ADMIN_KEY"
"""The environment variable with the admin key."""

BASE_URL = "https://api.anthropic.com"

_VERSION = "2023-06-01"

_DAY = ("usage_date_utc", "starting_at", "date")

_KINDS = {
    "input": ("usage_input_tokens_no_cache", "uncached_input_tokens"),
    "input_cached": ("usage_input_tokens_cache_read", "cache_read_input_tokens"),
    "input_cache_write": ("usage_input_tokens_cache_write",),
    "input_cache_write_5m": (
        "usage_input_tokens_cache_write_5m",
        "cache_creation.ephemeral_5m_input_tokens",
    ),
    "input_cache_write_1h": (
        "usage_input_tokens_cache_write_1h",
        "cache_creation.ephemeral_1h_input_tokens",
    ),
    "output": ("usage_output_tokens", "output_tokens"),
}

_USAGE = {
    **_KINDS,
    "day": _DAY,
    "model": ("model_version", "model"),
    "tier": ("usage_type", "service_tier"),
}

_COSTS = {
    "day": _DAY,
    "model": ("model",),
    "usd": ("cost_usd",),
    "cents": ("amount",),
    "currency": ("currency",),
    "item": ("description", "cost_type", "token_type"),
    "tier": ("usage_type", "service_tier"),
}


def _usage(line: Line) -> Billed:
    counts = {kind: line.count(kind) for kind in _KINDS}
    return Billed(
        day=line.day(),
        model=_model(line),
        usage={kind: count for kind, count in counts.items() if count},
        batch=_is_batch(line),
    )


def _cost(line: Line) -> Billed | None:
    usd, cents = line.amount("usd"), line.amount("cents")
    if usd is None and cents is None:
        return None
    line.in_usd()
    model = _model(line)
    return Billed(
        day=line.day(),
        model=model,
        item=None if model else line.text("item"),
        cost_usd=usd if cents is None else cents.scaleb(-2),
        batch=_is_batch(line),
    )


def _is_batch(line: Line) -> bool:
    return "batch" in (line.text("tier") or "").lower()


def _model(line: Line) -> str | None:
    name = line.text("model")
    return _identified(name) if name else None


def _identified(name: str) -> str:
    """Turn a name for people into the model's id: `Claude Haiku 4.5` is `claude-haiku-4-5`."""
    spelled = re.sub(r"[ .]+", "-", name.strip().lower())
    # Up to 3.7 the number stands before the family in an id.
    return re.sub(r"^claude-(haiku|sonnet|opus)-(3(?:-[57])?)(?![0-9])", r"claude-\2-\1", spelled)


FORMATS = (
    Format("Anthropic's costs in USD", _COSTS, ("day", "usd"), _cost),
    Format("Anthropic's costs in cents", _COSTS, ("day", "cents"), _cost),
    Format("Anthropic's usage", _USAGE, ("day", "input", "output"), _usage),
)


async def fetch(key: str, *, since: date, until: date, base_url: str = BASE_URL) -> list[Billed]:
    """Ask its API for usage and costs of the days from `since` until before `until`; raises BillError."""
    place = f"{base_url.rstrip('/').removesuffix('/v1')}/v1/organizations"
    span = (
        ("starting_at", f"{since}T00:00:00Z"),
        ("ending_at", f"{until}T00:00:00Z"),
        ("bucket_width", "1d"),
        ("limit", "31"),
    )
    headers = {"x-api-key": key, "anthropic-version": _VERSION}
    by_model = (("group_by[]", "model"), ("group_by[]", "service_tier"))
    questions = (
        Question(f"{place}/usage_report/messages", (*span, *by_model), headers, key, KEY),
        Question(f"{place}/cost_report", (*span, ("group_by[]", "description")), headers, key, KEY),
    )
    return [line for question in questions for line in billed(await ask(question), FORMATS, question.url)]
