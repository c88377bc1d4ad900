"""`meter prices missing`: which models lack a price, by the ledger or by a running proxy."""

from __future__ import annotations

import csv
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from aiohttp import web
from ledger.kept import a_chat, keep
from stage import running_app

from meter.exchange import PriceStatus
from meter.prices.file import of_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cli.conftest import Run

    from meter.ledger.database import Database

UNPRICED: dict[str, Any] = {"cost_usd": None, "price_status": PriceStatus.MISSING}
HOSTILE = 'x", "\x1b[31m\u202e: {é🚀'
SINCE = ("--since", "2026-01-01")


@pytest.fixture
def lacking(ledger: Database) -> Database:
    """Give a ledger with a model that has a price and others that have none."""
    keep(
        ledger,
        [
            a_chat(),
            a_chat(model="m-1", **UNPRICED),
            a_chat(model=HOSTILE, usage={"input": 1}, units={"searches": 2.0}, **UNPRICED),
            a_chat(model=None, usage=None, units={"audio_seconds": 3.0}, **UNPRICED),
        ],
    )
    return ledger


TABLE = """\
models without a price since 2026-01-01 00:00 UTC
upstream  model                      requests  tokens  last seen, UTC
--------  -------------------------  --------  ------  ----------------
openai    m-1                               1      15  2026-01-31 12:00
openai    x", "\\x1b[31m\\u202e: {é🚀         1       1  2026-01-31 12:00
openai    none                              1       0  2026-01-31 12:00

"""


def test_table(run: Run, lacking: Database, url: str) -> None:
    """Models stand by how much of them was used, as harmless as may be."""
    del lacking
    done = run("prices", "missing", "--ledger", url, *SINCE)

    assert (0, "") == (done.code, done.err)
    assert TABLE == done.out[: len(TABLE)]


def test_lines_to_add(run: Run, lacking: Database, url: str) -> None:
    """The lines below are a price file as soon as there are amounts in it, whatever a model is called."""
    del lacking
    told = run("prices", "missing", "--ledger", url, *SINCE).out.partition("\n\n")[2]
    file = "currency: USD\n" + told.replace("?,", "1,").replace("?}", "1}")

    assert "\x1b" not in told
    assert [
        ("m-1", "openai", {"input": 1, "output": 1}, None),
        (HOSTILE, "openai", {"input": 1}, 1),
    ] == [
        (entry["model"], entry["upstream"], entry["per_million_tokens"], entry.get("per_search"))
        for entry in yaml.safe_load(file)["prices"]
    ]
    assert {"m-1", HOSTILE} == of_text("prices.yaml", file.encode()).models()


def test_csv_and_json(run: Run, lacking: Database, url: str) -> None:
    """CSV and JSON have the same models."""
    del lacking
    rows = list(
        csv.reader(run("prices", "missing", "--ledger", url, *SINCE, "--format", "csv").out.splitlines())
    )
    told = json.loads(run("prices", "missing", "--ledger", url, *SINCE, "--format", "json").out)["missing"]

    hour = "2026-01-31T12:00:00Z"
    assert ["openai", "m-1", "chat", "1", "15", hour, hour] == rows[1]
    assert ["m-1", HOSTILE, "none"] == [row["model"] for row in told]
    assert {"input": 10, "output": 5} == told[0]["usage"]
    line = '  - {model: "m-1", upstream: "openai", per_million_tokens: {input: ?, output: ?}}'
    assert [line, None] == [told[0]["line"], told[2]["line"]]


def test_nothing(run: Run, ledger: Database, url: str) -> None:
    """Where nothing lacks a price, a sentence says so."""
    keep(ledger, [a_chat()])
    said = "every model that was used since 2026-01-01 00:00 UTC has a price\n"

    assert (0, said, "") == run("prices", "missing", "--ledger", url, *SINCE)


# --- of a proxy ---

ROW = {
    "upstream": "a",
    "model": "m",
    "operations": ["chat"],
    "requests": 2,
    "tokens": 1234,
    "usage": {"output": 1234},
    "units": {},
    "first": "2026-01-31T11:00:00.000000Z",
    "last": "2026-01-31T12:34:56.000000Z",
}


@contextmanager
def admin_port(answer: web.StreamResponse) -> Iterator[tuple[str, list[web.Request]]]:
    """Serve one answer on any path; yield the URL and what was asked."""
    asked: list[web.Request] = []

    async def told(request: web.Request) -> web.StreamResponse:
        asked.append(request)
        return answer

    app = web.Application()
    app.router.add_get("/{path:.*}", told)
    with running_app(app) as url:
        yield url, asked


def test_of_a_proxy(run: Run, tmp_path: Path) -> None:
    """A running proxy is asked by its admin port, shown the token, and told the same way."""
    file = tmp_path / "meter.yaml"
    file.write_text("admin: {token: t0p}\n")
    with admin_port(web.json_response({"missing": [ROW]})) as (url, asked):
        done = run("prices", "missing", "--url", f"{url}/", "--config", str(file), *SINCE)

    assert (0, "") == (done.code, done.err)
    assert ["a", "m", "2", "1,234", "2026-01-31", "12:34"] == done.out.splitlines()[3].split()
    assert '  - {model: "m", upstream: "a", per_million_tokens: {output: ?}}' == done.out.splitlines()[-1]
    assert ("/api/prices/missing", "2026-01-01T00:00:00+00:00", "Bearer t0p") == (
        asked[0].path,
        asked[0].query["since"],
        asked[0].headers["Authorization"],
    )


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status)


STRANGER = "what answers there is not the admin port of this Meter"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (_error(401, "no \x1b[31mtoken"), r"answered 401: no \x1b[31mtoken"),
        (web.Response(status=404, text="nothing"), "answered 404: "),
        (web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}), "answered 302: "),
        (web.Response(text="<html>"), STRANGER),
        (web.json_response([1]), STRANGER),
        (web.json_response({"missing": [{}]}), STRANGER),
        (web.json_response({"missing": None}), STRANGER),
        (web.json_response({}), STRANGER),
    ],
)
def test_strangers(run: Run, answer: web.Response, said: str) -> None:
    """Whatever else answers there is told in a sentence."""
    with admin_port(answer) as (url, _):
        done = run("prices", "missing", "--url", url)

    assert (1, "") == (done.code, done.out)
    assert done.err.startswith(f"meter: {url}: {said}")


def test_nobody_there(run: Run) -> None:
    """A proxy that is not there is a failure, and a password in its URL is not repeated."""
    done = run("prices", "missing", "--url", "http://127.0.0.1:1")

    assert (1, "", "meter: http://127.0.0.1:1: gave no answer: connection refused\n") == done


@pytest.mark.parametrize(
    "url", ["localhost:9464", "ftp://h", "http://", "http://[::1", "http://h:x", "http://h h"]
)
def test_wrong_url(run: Run, url: str) -> None:
    """What is no URL is a wrong command line."""
    done = run("prices", "missing", "--url", url)

    assert (2, "") == (done.code, done.out)
    assert done.err.startswith("meter: --url: got ")


def test_wrong_since(run: Run) -> None:
    """A moment that is none is a wrong command line, with or without a proxy."""
    for argv in ((), ("--url", "http://127.0.0.1:1")):
        done = run("prices", "missing", "--since", "soon", *argv)

        assert (2, "") == (done.code, done.out)
        assert done.err.startswith("meter: --since: got 'soon', expected how long ago, ")
