"""One exchange, found again by one id wherever it is told: header, log, spans, exemplar and ledger."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from otlp import collector
from stage import ask, post, running_house, says, scripted_upstream, until
from test_app import get
from test_promises import CHAT, STREAM, samples_of

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def test_one_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The id that a client is answered leads to a log line, two spans, exemplars and a row of the ledger."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    ledger = tmp_path / "ledger.db"
    with collector() as collected, scripted_upstream() as upstream:
        upstream.script = says(HEAD, STREAM)
        settings = {"tracing": {"endpoint": collected.url}, "ledger.url": f"sqlite:///{ledger}"}
        with running_house(upstream.url, **settings) as house:
            body = json.dumps({"model": "gpt-4o", "stream": True}).encode()
            head, _ = ask(house.url, post(CHAT, body))
            (id_,) = re.findall(r"x-meter-id: (\S+)", head.decode())
            line = house.line(id_)
            spans = until(lambda: [s for s in collected.spans if s.attributes["meter.id"] == id_])
            text = get(house.admin_url, "/metrics", "Accept: application/openmetrics-text")[2].decode()
        with closing(sqlite3.connect(ledger)) as database:
            rows = database.execute("SELECT id, trace_id, cost_pico_usd FROM exchanges").fetchall()

    trace = line["trace_id"]
    assert {trace} == {span.trace for span in spans}
    assert ["SERVER", "CLIENT"] == [span.kind for span in spans]
    told = [(s.name, s.exemplar.labels) for s in samples_of(text) if s.exemplar]
    assert "meter_request_duration_seconds_bucket" in {name for name, _ in told}
    assert [{"trace_id": trace, "id": id_}] * len(told) == [labels for _, labels in told]
    assert [(id_, trace, round(line["cost_usd"] * 10**12))] == rows
    assert line["cost_usd"] == spans[1].attributes["meter.cost_usd"]
