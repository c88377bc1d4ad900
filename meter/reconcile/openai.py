"""What OpenAI says it billed: its usage and cost exports, and the same from its API.

Its usage counts tokens by model, and its costs charge by line item, whose text holds the model's name
(`gpt-4o-mini-2024-07-18, cached input`). Its input tokens include cached and written ones.
"""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

from meter.reconcile.bill import Billed
from meter.reconcile.formats import Format, Line, billed
from meter.reconcile.pages import Question, ask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

__all__ = ["BASE_URL", "FORMATS", "KEY", "fetch"]

KEY = "OPENAI_ADMIN_KEY"
"""The environment variable with the admin key."""

BASE_URL = "https://api.openai.com/v1"

_DAY = ("start_time_iso", "date", "day", "start_time")

_USAGE = {
    "day": _DAY,
    "model": ("model", "snapshot_id"),
    "requests": ("num_model_requests", "num_requests", "n_requests"),
    "input": ("input_tokens", "n_context_tokens_total"),
    "cached": ("input_cached_tokens", "n_cached_context_tokens_total"),
    "written": ("input_cache_write_tokens",),
    "output": ("output_tokens", "n_generated_tokens_total"),
    "batch": ("batch",),
}

_COSTS = {
    "day": _DAY,
    "amount": ("amount_value", "amount.value", "cost_usd", "cost"),
    "currency": ("amount_currency", "amount.currency", "currency"),
    "item": ("line_item", "model"),
}

_USAGES = {
    "completions": ("model", "batch"),
    "embeddings": ("model",),
    "images": ("model",),
    "audio_speeches": ("model",),
    "audio_transcriptions": ("model",),
}
"""Reports of its usage API, and what each is grouped by."""


def _usage(line: Line) -> Billed | None:
    requests, tokens = line.count("requests"), line.count("input")
    if requests is None and tokens is None:
        return None
    return Billed(
        day=line.day(),
        model=line.text("model"),
        usage=_kinds(line) if tokens is not None else None,
        requests=requests,
        batch=(line.text("batch") or "").lower() == "true",
    )


def _kinds(line: Line) -> dict[str, int]:
    cached, written = line.count("cached") or 0, line.count("written") or 0
    rest = max((line.count("input") or 0) - cached - written, 0)
    counts = {
        "input": rest,
        "input_cached": cached,
        "input_cache_write": written,
        "output": line.count("output") or 0,
    }
    return {kind: count for kind, count in counts.items() if count}


def _cost(line: Line) -> Billed | None:
    amount = line.amount("amount")
    if amount is None:
        return None
    line.in_usd()
    item = line.text("item")
    model, batch = _model_of(item) if item else (None, False)
    return Billed(day=line.day(), model=model, item=None if model else item, cost_usd=amount, batch=batch)


def _model_of(item: str) -> tuple[str | None, bool]:
    """Give the model of a line item, if it has one, and whether it is of batch jobs.

    `gpt-4o, input`; `priority | gpt-4o, output, long context`; `gpt-audio-mini audio, input`; `gpt-4o`; but
    `web search tool calls` and `assistants api | file search` are no models.
    """
    tier, bar, rest = item.rpartition(" | ")
    name, comma, _ = rest.partition(",")
    words = name.split()
    model = words[0] if len(words) == 1 or (comma and words) else None
    return model, bool(bar) and "batch" in tier.lower()


FORMATS = (
    Format("OpenAI's costs", _COSTS, ("day", "amount"), _cost),
    Format("OpenAI's usage", _USAGE, ("day", "requests"), _usage),
)


async def fetch(key: str, *, since: date, until: date, base_url: str = BASE_URL) -> list[Billed]:
    """Ask its API for usage and costs of the days from `since` until before `until`; raises BillError."""
    questions = list(_questions(key, since, until, base_url.rstrip("/")))
    return [line for question in questions for line in billed(await ask(question), FORMATS, question.url)]


def _questions(key: str, since: date, until: date, base_url: str) -> Iterator[Question]:
    span = [("start_time", _seconds(since)), ("end_time", _seconds(until)), ("bucket_width", "1d")]
    headers = {"Authorization": f"Bearer {key}"}
    for report, groups in _USAGES.items():
        by = [("group_by[]", group) for group in groups]
        url = f"{base_url}/organization/usage/{report}"
        yield Question(url, (*span, ("limit", "31"), *by), headers, key, KEY)
    costs = (*span, ("limit", "180"), ("group_by[]", "line_item"))
    yield Question(f"{base_url}/organization/costs", costs, headers, key, KEY)


def _seconds(day: date) -> str:
    return str(int(datetime.combine(day, time(), UTC).timestamp()))
