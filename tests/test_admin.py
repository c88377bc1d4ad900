"""The admin port: what it tells, to whom, and that it is no proxy."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from aiohttp import web
from stage import Loop, ask, post, running_house, says, until
from test_app import get

from meter.admin import Admin
from meter.admin.asking import BusyError, Clerk
from meter.admin.description import DESCRIPTION
from meter.budget import Budgets
from meter.exchange import Exchange, Outcome, PriceStatus, UsageSource
from meter.keys import Keys
from meter.labels import Admission
from meter.listener import Listener
from meter.live import Live
from meter.recent import Recent
from meter.settings import Admin as AdminSettings
from meter.settings import Settings
from meter.sinks.prometheus import PrometheusSink
from meter.state import State
from meter.telling import line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from stage import House, Scripted

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS = (  # what Prometheus 2.42 and 3 send
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
TOKEN = "tell-me-more-2f8a"
BEARER = f"Authorization: Bearer {TOKEN}"


@pytest.fixture(scope="module")
def open_house() -> Iterator[House]:
    """Give Meter without a token, before an upstream that is not there."""
    with running_house("http://127.0.0.1:1") as house:
        yield house


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ((), TEXT),
        (("Accept: */*",), TEXT),
        (("Accept: text/plain",), TEXT),
        (("Accept: text/html,application/xhtml+xml,*/*;q=0.8",), TEXT),
        (("Accept: text/plain;version=0.0.4",), TEXT),
        (("Accept: application/openmetrics-text",), OPENMETRICS),
        (("Accept: application/openmetrics-text; version=1.0.0; charset=utf-8",), OPENMETRICS),
        (("Accept: text/plain;q=0.9,application/openmetrics-text;version=1.0.0;q=0.1",), TEXT),
        ((f"Accept: {PROMETHEUS}",), OPENMETRICS),
    ],
)
def test_metrics_in_the_format_asked_for(open_house: House, accept: tuple[str, ...], expected: str) -> None:
    """`/metrics` is Prometheus's text, or OpenMetrics for who prefers it, and each says what it is."""
    status, fields, body = get(open_house.admin_url, "/metrics", *accept)

    assert (200, expected) == (status, fields["content-type"].removesuffix("; escaping=underscores"))
    assert (expected == OPENMETRICS) == body.endswith(b"\n# EOF\n")
    assert b"# TYPE meter_request_duration_seconds histogram\n" in body
    counter = b"meter_requests" if expected == OPENMETRICS else b"meter_requests_total"
    assert b"# TYPE %s counter\n" % counter in body


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
def test_takes_get_and_head_alone(open_house: House, path: str) -> None:
    """GET answers, HEAD answers without a body, every other method is 405."""
    assert 200 == get(open_house.admin_url, path)[0]
    status, _, body = get(open_house.admin_url, path, method="HEAD")
    assert (200, b"") == (status, body)
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        status, fields, body = get(open_house.admin_url, path, method=method)
        assert 405 == status, method
        assert "application/json" in fields["content-type"]
        assert "meter_error" == json.loads(body)["error"]["type"]


def test_takes_a_query(open_house: House) -> None:
    """A query does not matter to the probes."""
    assert 200 == get(open_house.admin_url, "/healthz?verbose=1")[0]


@pytest.mark.parametrize(
    "path", ["/nothing", "/metrics/x", "//metrics", "/v1/models", "/v1/chat/completions", "/healthz/"]
)
def test_knows_no_other_path(open_house: House, path: str) -> None:
    """An unknown path is 404, and looks like an error of Meter's."""
    status, fields, body = get(open_house.admin_url, path)

    assert 404 == status
    assert "application/json" in fields["content-type"]
    error = json.loads(body)["error"]
    assert ({"message", "type", "param", "code"}, "meter_error") == (set(error), error["type"])


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:9464", 200),
        ("[::1]:9464", 200),
        ("localhost", 200),
        ("meter:9464", 200),
        ("meter.team.svc.cluster.local", 200),
        ("meter.svc", 200),
        ("rebound.example.com:9464", 403),
        ("127.0.0.1.example.com", 403),
    ],
)
def test_a_name_of_anybodys(open_house: House, host: str, expected: int) -> None:
    """Without a token, pages that are not public are for names that nobody can have in the public DNS."""
    assert expected == get(open_house.admin_url, "/api/exchanges", host=host)[0]
    assert 200 == get(open_house.admin_url, "/metrics", host=host)[0]


def test_readiness_follows_the_drain(scripted: Scripted) -> None:
    """`/readyz` is 503 while draining; `/healthz` is 200 for as long as there is a process."""
    with running_house(scripted.url) as house:
        assert (200, 200) == (get(house.admin_url, "/readyz")[0], get(house.admin_url, "/healthz")[0])

        house.running.state.draining = True

        assert (503, 200) == (get(house.admin_url, "/readyz")[0], get(house.admin_url, "/healthz")[0])


def test_readiness_follows_the_listening(open_house: House) -> None:
    """`/readyz` is 503 before the proxy is listening."""
    open_house.running.state.listening = False
    try:
        assert 503 == get(open_house.admin_url, "/readyz")[0]
    finally:
        open_house.running.state.listening = True


class TestToken:
    """With `admin.token`, what is not public wants it."""

    @pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
    def test_default_public(self, scripted: Scripted, path: str) -> None:
        """The probes and the metrics are public unless the settings say otherwise; the rest is not."""
        with running_house(scripted.url, admin={"token": TOKEN}) as house:
            assert 200 == get(house.admin_url, path)[0]
            assert 401 == get(house.admin_url, "/elsewhere")[0]
            assert 401 == get(house.admin_url, "/")[0]

    def test_wants_the_token(self, scripted: Scripted) -> None:
        """What is not listed as public is 401 with a challenge, except to who shows the token."""
        with running_house(scripted.url, admin={"token": TOKEN, "public": ["healthz"]}) as house:
            admin = house.admin_url
            assert 200 == get(admin, "/healthz")[0]
            wrong = (
                (),
                (BEARER[:-1],),
                (BEARER + "x",),
                (f"Authorization: Basic {TOKEN}",),
                (f"Authorization: {TOKEN}",),
                (f"X-Api-Key: {TOKEN}",),
                ("Authorization: Bearer caf\u00e9",),
            )
            for fields in wrong:
                for path in ("/metrics", "/readyz", "/nothing"):
                    status, came, body = get(admin, path, *fields)
                    assert (401, "Bearer") == (status, came["www-authenticate"]), fields
                    assert "meter_error" == json.loads(body)["error"]["type"]
            assert 401 == get(admin, f"/metrics?token={TOKEN}&key={TOKEN}")[0]

            assert 200 == get(admin, "/metrics", BEARER)[0]
            assert 200 == get(admin, "/readyz", BEARER)[0]
            assert 404 == get(admin, "/nothing", BEARER)[0]
            assert 405 == get(admin, "/metrics", BEARER, method="POST")[0]

    def test_takes_the_scheme_in_any_case(self, scripted: Scripted) -> None:
        """The scheme's name is compared without regard to case, as HTTP wants."""
        with running_house(scripted.url, admin={"token": TOKEN, "public": []}) as house:
            assert 200 == get(house.admin_url, "/metrics", f"authorization: bearer {TOKEN}")[0]

    @pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
    def test_nothing_is_public(self, scripted: Scripted, path: str) -> None:
        """An empty `public` leaves nothing open."""
        with running_house(scripted.url, admin={"token": TOKEN, "public": []}) as house:
            assert (401, 200) == (
                get(house.admin_url, path)[0],
                get(house.admin_url, path, BEARER)[0],
            )


class TestApart:
    """Nothing on the proxy port is Meter's own, and nothing on the admin port proxies."""

    @pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", "/", "/api/usage"])
    def test_proxy_port_has_nothing_of_its_own(self, scripted: Scripted, path: str) -> None:
        """The admin port's paths on the proxy port are the upstream's."""
        scripted.script = says(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ntheirs")
        with running_house(scripted.url) as house:
            status, _, body = get(house.url, path)

        assert (200, b"theirs") == (status, body)
        assert 1 == len(scripted.requests)

    def test_admin_port_proxies_nothing(self, scripted: Scripted) -> None:
        """What is a proxy's work is refused on the admin port, and no upstream hears of it."""
        scripted.script = says(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ntheirs")
        with running_house(scripted.url) as house:
            admin = house.admin_url
            for path in ("/v1/models", f"{scripted.url}/v1/models"):
                assert 404 == get(admin, path)[0]
            assert b" 404 " in ask(admin, post("/v1/chat/completions", b"{}"))[0].split(b"\r\n")[0] + b" "
            assert get(admin, "example.com:443", method="CONNECT")[0] >= 400

            assert [] == scripted.requests
            assert [] == house.lines()
            assert 0 == house.value("meter_requests_total")

    def test_malformed_requests_are_not_quoted(self, open_house: House) -> None:
        """What is no HTTP is 400, without a word of what was sent."""
        head, body = ask(
            open_house.admin_url,
            f"GET /metrics HTTP/1.1\r\nHost: m\r\n{BEARER[:13]} : {TOKEN}\r\n\r\n".encode(),
        )

        assert b" 400 " in head.split(b"\r\n")[0]
        assert TOKEN.encode() not in head + body


NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)
SUMS: dict[str, Any] = {
    "requests": 3,
    "errors": 1,
    "usage": {"input": 9, "output": 2},
    "units": {"images": 1.0},
    "cost_usd": Decimal("0.000000012300"),
    "estimated_cost_usd": None,
    "unpriced_tokens": 4,
    "duration_s": 1.5,
}


def exchange(number: int, **members: Any) -> Exchange:
    """Return an exchange that ended just now."""
    told: dict[str, Any] = {
        "id": f"0199a0b0-0000-7000-8000-{number:012}",
        "started_at": datetime.now(UTC).timestamp() - 1,
        "duration_s": 0.5,
        "upstream": "up",
        "operation": "chat",
        "method": "POST",
        "path": "/v1/chat/completions",
        "outcome": Outcome.OK,
        "status": 200,
        "request_model": "gpt-4o",
        "model": "gpt-4o",
        "key": "search",
        "tags": {"team": "s\u00e9arch"},
        "finish_reasons": ("stop",),
        "usage": {"input": 9, "output": 2},
        "usage_source": UsageSource.REPORTED,
        "cost_usd": Decimal("0.000042500000"),
        "price_status": PriceStatus.LIST,
        "price_source": "genai-prices",
    }
    return Exchange(**{**told, **members})


class Ledger:
    """Answers in place of the ledger, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.error: Exception | None = None

    def _ask(self, *question: Any) -> None:
        assert threading.current_thread() is not threading.main_thread()
        self.asked.append(question)
        if self.error is not None:
            raise self.error

    def usage(
        self, *, by: Sequence[str], since: datetime, until: datetime, where: Mapping[str, Sequence[str]]
    ) -> Mapping[str, Any]:
        """Return one row."""
        self._ask("usage", tuple(by), since, until, where)
        return {
            "since": since,
            "until": until,
            "by": tuple(by),
            "rows": [dict.fromkeys(by, "x") | SUMS],
            "total": SUMS,
        }

    def waste(self, since: datetime, until: datetime) -> Mapping[str, Any]:
        """Return one row."""
        self._ask("waste", since, until)
        wasted = {"key": "x", **SUMS, "tokens": 11}
        lists: dict[str, Any] = dict.fromkeys(("cancelled", "cut_short", "rate_limited", "unread"), ())
        return {"since": since, "until": until, "keys": [wasted], **lists}

    def exchanges(self, limit: int) -> Sequence[Mapping[str, Any]]:
        """Return two exchanges."""
        self._ask("exchanges", limit)
        return [line(exchange(2)), line(exchange(1))]

    def exchange(self, id_: str) -> Mapping[str, Any] | None:
        """Return the one that is kept."""
        self._ask("exchange", id_)
        return line(exchange(1)) if id_ == exchange(1).id else None

    def missing(self, since: datetime) -> Sequence[Mapping[str, Any]]:
        """Return one row."""
        self._ask("missing", since)
        row = {"upstream": "up", "model": "m", "operations": ("chat",), "requests": 1, "tokens": 2}
        return [{**row, "usage": {"input": 2}, "units": {}, "first": NOW, "last": NOW}]


@contextmanager
def admin_port(**told: Any) -> Iterator[str]:
    """Serve the admin port of these parts; yield its URL."""
    token = told.pop("token", None)
    admission = Admission(models=(), keys=(), label_names=(), limits=Settings(upstreams=()).limits.series)
    state = told.pop("state", State([]))
    prometheus = PrometheusSink(
        admission=admission, state=state, version="0", upstreams=(), sinks=(), catalogue=None
    )
    admin = Admin(AdminSettings(token=token), prometheus, state, **told)
    loop = Loop()

    async def start() -> web.ServerRunner:
        listener = Listener()
        listener.settle(
            admin.handle, admin.malformed, head_seconds=9, keep_alive_seconds=9, header_bytes=1 << 16
        )
        runner = web.ServerRunner(listener, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    runner: web.ServerRunner = loop.run(start())
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        loop.run(runner.cleanup())
        loop.close()


@pytest.fixture
def ledger() -> Ledger:
    """Give what answers in place of the ledger."""
    return Ledger()


@pytest.fixture
def asking(ledger: Ledger) -> Iterator[str]:
    """Give the admin port with a ledger."""
    with admin_port(questions=ledger, recent=ring(exchange(7))) as url:
        yield url


@pytest.fixture
def ledgerless() -> Iterator[str]:
    """Give the admin port without one, after three exchanges."""
    with admin_port(recent=ring(exchange(1), exchange(2), exchange(3))) as url:
        yield url


def ring(*exchanges: Exchange) -> Recent:
    """Return a ring that was told of these."""
    recent = Recent()
    for each in exchanges:
        recent(each)
    return recent


def told(url: str, path: str, *fields: str) -> Any:
    """Return what a page tells, amounts spelled as they came."""
    status, head, body = get(url, path, *fields)
    assert (200, "application/json", "no-store") == (status, head["content-type"], head["cache-control"]), (
        body
    )
    return json.loads(body, parse_float=str)


def refused(url: str, path: str, *fields: str) -> tuple[int, str]:
    """Return the status and the sentence of a page's refusal."""
    status, head, body = get(url, path, *fields)
    assert ("application/json", "1") == (head["content-type"], head["x-meter-error"])
    error = json.loads(body)["error"]
    assert ("meter_error", f"http_{status}") == (error["type"], error["code"])
    return status, error["message"]


class TestUsage:
    """`/api/usage` asks the ledger."""

    def test_tells_every_digit(self, asking: str) -> None:
        """Rows have the fields asked by and the sums; amounts are plain decimals, unknown ones null."""
        answer = told(asking, "/api/usage?by=key,tag.team&since=2026-01-31&until=2026-02-01T12:00Z")

        sums = {**SUMS, "cost_usd": "0.000000012300", "units": {"images": "1.0"}, "duration_s": "1.5"}
        assert {
            "since": "2026-01-31T00:00:00.000000Z",
            "until": "2026-02-01T12:00:00.000000Z",
            "by": ["key", "tag.team"],
            "rows": [{"key": "x", "tag.team": "x", **sums}],
            "total": sums,
        } == answer

    def test_asks_for_a_week(self, asking: str, ledger: Ledger) -> None:
        """Where nothing is said, it is the last seven days by key and model."""
        told(asking, "/api/usage")

        question, by, since, until, where = ledger.asked[0]
        assert ("usage", ("key", "model"), {}) == (question, by, where)
        assert timedelta(days=7) == until - since
        assert datetime.now(UTC) - until < timedelta(minutes=1)

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("by=model", (("model",), {})),
            ("by=model,key&by=day", (("model", "key", "day"), {})),
            ("by=key,%20model,key", (("key", "model"), {})),
            ("by=", ((), {})),
            ("where=key=search", (("key", "model"), {"key": ["search"]})),
            ("where=key%3Da&where=key=b", (("key", "model"), {"key": ["a", "b"]})),
            ("where=tag.team=a=b+c", (("key", "model"), {"tag.team": ["a=b c"]})),
            ("where=model=", (("key", "model"), {"model": [""]})),
        ],
    )
    def test_what_is_asked(self, asking: str, ledger: Ledger, query: str, expected: Any) -> None:
        """Fields are told with commas or one by one; conditions on one field are alternatives."""
        told(asking, f"/api/usage?{query}")

        assert expected == (ledger.asked[0][1], ledger.asked[0][4])

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("since=yesterday", "since: got 'yesterday', expected how long ago, such as 7d"),
            ("until=7", "until: got '7', expected how long ago"),
            ("since=1d&since=2d", "since: got 2 of them, expected one"),
            ("since=1d&until=2d", "since: got a moment after until, expected one before it"),
            ("where=key", "where: got 'key', expected a field and a value, such as key=search-team"),
            ("where==x", "where: got '=x', expected a field and a value"),
            ("sinse=7d", "got a parameter that is not known, expected any of by, since, until, where"),
            ("by=" + "x" * 2000, "by: got 2000 characters, expected 1024 at most"),
        ],
    )
    def test_wrong_parameters(self, asking: str, ledger: Ledger, query: str, expected: str) -> None:
        """What is wrong is 400, with what came and what was expected; the ledger is not asked."""
        status, sentence = refused(asking, f"/api/usage?{query}")

        assert 400 == status
        assert sentence.startswith(expected)
        assert [] == ledger.asked

    def test_what_the_ledger_refuses(self, asking: str, ledger: Ledger) -> None:
        """A question that the ledger has no answer to is 400, with the ledger's sentence."""
        ledger.error = ValueError("got the field 'x', expected one of key, model")

        assert (400, str(ledger.error)) == refused(asking, "/api/usage?by=x")

    def test_a_ledger_that_fails(self, asking: str, ledger: Ledger) -> None:
        """A ledger that does not answer is 503, and nothing is said of it."""
        ledger.error = OSError("connection to 10.0.0.7 as admin:secret failed")

        assert (503, "the ledger did not answer") == refused(asking, "/api/usage")

    def test_without_a_ledger(self, ledgerless: str) -> None:
        """Without a ledger it is 503."""
        assert (503, "the ledger is off") == refused(ledgerless, "/api/usage")

    def test_never_repeats_a_parameter_that_is_not_known(self, asking: str) -> None:
        """A name that is not known may be a secret, and so may its value."""
        assert "sk-secret" not in str(refused(asking, "/api/usage?sk-secret=1&key=sk-secret"))


class TestWaste:
    """`/api/waste` asks the ledger."""

    def test_is_the_ledgers(self, asking: str, ledger: Ledger) -> None:
        """It is what the ledger tells of the span, amounts with every digit."""
        answer = told(asking, "/api/waste?since=2026-01-31&until=2026-02-01T12:00Z")

        assert [("waste", datetime(2026, 1, 31, tzinfo=UTC), NOW)] == ledger.asked
        assert ("2026-02-01T12:00:00.000000Z", "0.000000012300", []) == (
            answer["until"],
            answer["keys"][0]["cost_usd"],
            answer["unread"],
        )

    def test_refusals(self, asking: str, ledgerless: str, ledger: Ledger) -> None:
        """Other parameters are 400; without a ledger, or where it does not answer, it is 503."""
        assert (400, "got a parameter that is not known, expected any of since, until") == refused(
            asking, "/api/waste?by=key"
        )
        assert (503, "the ledger is off") == refused(ledgerless, "/api/waste")
        ledger.error = OSError("no such table")
        assert (503, "the ledger did not answer") == refused(asking, "/api/waste")


class TestLive:
    """`/api/live` says what goes by."""

    def test_what_goes_by(self) -> None:
        """Sums, percentiles and cells are there without a ledger, and what is under way by upstream."""
        state = State(["up", "other"])
        state.enter("up", "chat")
        state.enter("up", "models")
        state.enter("none", "other")
        for _ in range(3):
            state.missed("other", "no")
        live = Live(datetime.now(UTC).timestamp() - 100)
        live(exchange(1, ttft_s=0.25, started_at=datetime.now(UTC).timestamp() - 9))
        live(exchange(2, started_at=datetime.now(UTC).timestamp() - 30, outcome=Outcome.TIMEOUT))
        live.look(datetime.now(UTC).timestamp() - 40, 5)
        with admin_port(live=live, state=state) as url:
            answer = told(url, "/api/live")
            fits(json.loads(get(url, "/api/live")[2]), DESCRIPTION["components"]["schemas"]["Live"])

        assert (3, False, False) == (answer["in_flight"], answer["draining"], answer["ledger"])
        assert [
            {"name": "up", "up": True, "in_flight": 2},
            {"name": "other", "up": False, "in_flight": 0},
        ] == answer["upstreams"]
        assert (60, 1, 22, "0.000085000000", "0.5") == (
            *(answer[name] for name in ("window_s", "errors", "tokens", "cost_usd", "error_share")),
        )
        assert {"p50": "0.25", "p90": "0.25", "p99": "0.25"} == answer["ttft_s"]
        assert 5 == max(cell["in_flight"] for cell in answer["cells"])

    def test_with_a_ledger(self, asking: str, ledger: Ledger) -> None:
        """It says that there is a ledger, and asks it nothing."""
        assert told(asking, "/api/live")["ledger"] is True
        assert [] == ledger.asked

    def test_takes_no_parameters(self, asking: str) -> None:
        """A parameter is 400, and HEAD has no body."""
        assert (400, "got a parameter that is not known, expected none") == refused(asking, "/api/live?x=1")
        assert (200, b"") == get(asking, "/api/live", method="HEAD")[::2]


class TestExchanges:
    """`/api/exchanges` has what the log has."""

    def test_newest_first(self, ledgerless: str) -> None:
        """Without a ledger they come from the ring, the newest first."""
        ids = [each["id"] for each in told(ledgerless, "/api/exchanges")["exchanges"]]

        assert [exchange(number).id for number in (3, 2, 1)] == ids

    def test_of_the_ledger(self, asking: str, ledger: Ledger) -> None:
        """With a ledger they are the ledger's, a hundred unless somebody asks for more."""
        ids = [each["id"] for each in told(asking, "/api/exchanges")["exchanges"]]
        told(asking, "/api/exchanges?limit=1000")

        assert [exchange(2).id, exchange(1).id] == ids
        assert [("exchanges", 100), ("exchanges", 1000)] == ledger.asked

    @pytest.mark.parametrize("limit", ["0", "-1", "1001", "x", "", "1.5", "\u0663", "99999999999999999999"])
    def test_wrong_limits(self, asking: str, limit: str) -> None:
        """A limit is a number from 1 to 1,000."""
        status, sentence = refused(asking, f"/api/exchanges?limit={quote(limit)}")

        assert (400, True) == (status, sentence.endswith("expected a number from 1 to 1000"))

    def test_limit(self, ledgerless: str) -> None:
        """As many come as were asked for."""
        assert 2 == len(told(ledgerless, "/api/exchanges?limit=2")["exchanges"])

    def test_one(self, ledgerless: str) -> None:
        """One is found by its id."""
        one = told(ledgerless, f"/api/exchanges/{exchange(2).id}")

        assert (exchange(2).id, "0.000042500000", "exchange") == (one["id"], one["cost_usd"], one["event"])

    def test_one_that_the_ledger_does_not_have_yet(self, asking: str) -> None:
        """What has just ended is found in the ring while the ledger does not have it."""
        assert exchange(1).id == told(asking, f"/api/exchanges/{exchange(1).id}")["id"]
        assert exchange(7).id == told(asking, f"/api/exchanges/{exchange(7).id}")["id"]

    @pytest.mark.parametrize("id_", ["nothing", "0199a0b0-0000-7000-8000-000000000009", "%2e%2e", "x" * 2000])
    def test_none(self, asking: str, ledgerless: str, id_: str) -> None:
        """One that nobody knows is 404."""
        for url in (asking, ledgerless):
            assert (404, "there is no such exchange, or it is forgotten") == refused(
                url, f"/api/exchanges/{id_}"
            )

    def test_half_characters(self) -> None:
        """What no text can hold is replaced, as in the log."""
        with admin_port(recent=ring(exchange(1, path="/\udce9\u2028"))) as url:
            assert "/\ufffd\u2028" == told(url, "/api/exchanges")["exchanges"][0]["path"]

    def test_no_ring(self) -> None:
        """Where nothing is remembered it is 503."""
        with admin_port() as url:
            for path in ("/api/exchanges", "/api/exchanges/x", "/api/prices/missing"):
                assert (503, "the ledger is off") == refused(url, path)

    def test_a_ledger_that_fails(self, asking: str, ledger: Ledger) -> None:
        """Where the ledger does not answer, the ring does; where there is none, it is 503."""
        ledger.error = OSError("no such table")

        assert [exchange(7).id] == [each["id"] for each in told(asking, "/api/exchanges")["exchanges"]]
        assert exchange(7).id == told(asking, f"/api/exchanges/{exchange(7).id}")["id"]
        assert [] == told(asking, "/api/prices/missing")["missing"]
        with admin_port(questions=ledger) as url:
            for path in ("/api/exchanges", "/api/exchanges/x", "/api/prices/missing"):
                assert (503, "the ledger did not answer") == refused(url, path)


class TestMissing:
    """`/api/prices/missing` says what was used without a price."""

    def test_of_the_ring(self) -> None:
        """Without a ledger, what is remembered is added up by upstream and model, most tokens first."""
        unpriced: dict[str, Any] = {"price_status": PriceStatus.MISSING, "cost_usd": None}
        recent = ring(
            exchange(1, **unpriced, model="b", started_at=NOW.timestamp()),
            exchange(2, **unpriced, model="a"),
            exchange(3),
            exchange(4, **unpriced, model="b"),
            exchange(5, **unpriced, model="b", usage={"input": 1}, operation="responses"),
        )
        with admin_port(recent=recent) as url:
            rows = told(url, "/api/prices/missing?since=1d")["missing"]
            assert [] == told(url, "/api/prices/missing?since=0s")["missing"]

        assert [("up", "b", 2, 12), ("up", "a", 1, 11)] == [
            (row["upstream"], row["model"], row["requests"], row["tokens"]) for row in rows
        ]
        assert (["chat", "responses"], {"input": 10, "output": 2}) == (
            rows[0]["operations"],
            rows[0]["usage"],
        )
        line_of_b = '  - {model: "b", upstream: "up", per_million_tokens: {input: ?, output: ?}}'
        assert line_of_b == rows[0]["line"]
        moments = [line(each)["timestamp"] for each in recent.last()[1::-1]]
        assert moments == [rows[0]["first"], rows[0]["last"]]

    def test_of_the_ledger(self, asking: str, ledger: Ledger) -> None:
        """With one, the ledger is asked."""
        rows = told(asking, "/api/prices/missing?since=2026-01-31")["missing"]

        assert ("missing", datetime(2026, 1, 31, tzinfo=UTC)) == ledger.asked[0]
        assert "2026-02-01T12:00:00.000000Z" == rows[0]["last"]
        assert '  - {model: "m", upstream: "up", per_million_tokens: {input: ?}}' == rows[0]["line"]


class TestBudgets:
    """`/api/budgets` says what may be spent and what has been."""

    def test_standing(self) -> None:
        """Each has what was spent in its period and when that ends."""
        given = {"name": "search", "usd": 500, "period": "hour", "key": "search", "stop": True}
        budgets = Budgets(Settings.model_validate({"upstreams": (), "budgets": [given]}).budgets)
        budgets(exchange(1))
        budgets(exchange(2, key="other"))
        with admin_port(budgets=budgets) as url:
            (budget,) = told(url, "/api/budgets")["budgets"]

        ends = datetime.fromisoformat(budget.pop("ends"))
        assert timedelta() < ends - datetime.now(UTC) <= timedelta(hours=1)
        assert {
            "name": "search",
            "key": "search",
            "tags": {},
            "upstream": None,
            "period": "hour",
            "usd": 500,
            "spent_usd": "0.000042500000",
            "stop": True,
        } == budget

    def test_none(self, ledgerless: str) -> None:
        """Without budgets there are none."""
        assert {"budgets": []} == told(ledgerless, "/api/budgets")


class TestOwn:
    """At `/usage/me` callers see what they spent themselves, and nothing else."""

    FINGERPRINT = "k_" + sha256(b"sk-own").hexdigest()[:12]

    @pytest.fixture
    def own(self, ledger: Ledger) -> Iterator[str]:
        """Give the admin port with a token, and one key that has a name."""
        named = {"name": "search", "fingerprint": "k_" + sha256(b"sk-named").hexdigest()[:12]}
        keys = Settings.model_validate({"upstreams": (), "keys": [named]}).keys
        with admin_port(questions=ledger, keys=Keys(keys, None), token=TOKEN) as url:
            yield url

    @pytest.mark.parametrize(
        ("field", "query", "expected"),
        [
            ("Authorization: Bearer sk-own", "", FINGERPRINT),
            ("Authorization: sk-own", "", FINGERPRINT),
            ("x-api-key: sk-own", "", FINGERPRINT),
            ("api-key: sk-own", "", FINGERPRINT),
            ("x-goog-api-key: sk-own", "", FINGERPRINT),
            ("Accept: */*", "?key=sk-own", FINGERPRINT),
            ("Authorization: Bearer sk-named", "", "search"),
            (BEARER, "", "k_" + sha256(TOKEN.encode()).hexdigest()[:12]),
        ],
    )
    def test_own_key(self, own: str, ledger: Ledger, field: str, query: str, expected: str) -> None:
        """A credential is shown as it is to an upstream, and only what was spent with it is asked for."""
        answer = told(own, f"/usage/me{query}", field)

        assert (("model",), {"key": [expected]}) == (ledger.asked[0][1], ledger.asked[0][4])
        assert {"since", "until", "by", "rows", "total"} == set(answer)

    def test_parameters(self, own: str, ledger: Ledger) -> None:
        """By what and since when is the caller's choice, but not of whom."""
        told(own, "/usage/me?by=day&since=2026-01-31", "x-api-key: sk-own")

        assert (("day",), datetime(2026, 1, 31, tzinfo=UTC)) == ledger.asked[0][1:3]
        assert 400 == refused(own, "/usage/me?where=key=search", "x-api-key: sk-own")[0]
        assert 1 == len(ledger.asked)

    def test_wants_a_credential(self, own: str, ledger: Ledger) -> None:
        """Without one it is 401, and the admin port's token is still wanted elsewhere."""
        assert (401, "a credential is needed here") == refused(own, "/usage/me")
        assert 401 == refused(own, "/api/usage", "Authorization: Bearer sk-own")[0]
        assert 401 == refused(own, "/usage/me/", "Authorization: Bearer sk-own")[0]
        assert 200 == get(own, "/api/usage", BEARER)[0]
        assert 1 == len(ledger.asked)

    def test_only_with_a_token(self, asking: str) -> None:
        """Without a token there is no such page."""
        assert 404 == refused(asking, "/usage/me", "x-api-key: sk-own")[0]

    def test_without_a_ledger(self) -> None:
        """Without a ledger it is 503."""
        with admin_port(token=TOKEN) as url:
            assert (503, "the ledger is off") == refused(url, "/usage/me", "x-api-key: sk-own")


class TestWho:
    """What is below `/api` is nobody's business but the operator's."""

    PATHS = (
        "/api/live",
        "/api/usage",
        "/api/waste",
        "/api/exchanges",
        "/api/exchanges/x",
        "/api/prices/missing",
        "/api/budgets",
    )

    @pytest.mark.parametrize("path", [*PATHS, "/api/openapi.json", "/api/nothing"])
    def test_wants_the_token(self, ledger: Ledger, path: str) -> None:
        """With a token, every page wants it."""
        with admin_port(questions=ledger, token=TOKEN) as url:
            assert 401 == refused(url, path)[0]
            assert 401 == refused(url, path, "Authorization: Bearer x")[0]
            assert 401 != get(url, path, BEARER)[0]

    @pytest.mark.parametrize("path", PATHS[:4])
    def test_methods(self, asking: str, path: str) -> None:
        """GET and HEAD answer, nothing else does."""
        status, fields, body = get(asking, path, method="HEAD")
        assert (200, b"", "application/json") == (status, body, fields["content-type"])
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            assert 405 == get(asking, path, method=method)[0]

    def test_nothing_for_other_origins(self, asking: str) -> None:
        """A web page of another origin is not told that it may read the answer."""
        _, fields, _ = get(asking, "/api/usage", "Origin: https://elsewhere.example")

        assert not any(name.startswith("access-control-") for name in fields)


class TestClerk:
    """A clerk answers one question at a time."""

    async def test_one_at_a_time(self) -> None:
        """The next question waits for the one before, even if nobody waits for its answer any more."""
        clerk, going, done = Clerk(), threading.Event(), []

        def slow() -> None:
            going.wait()
            done.append("slow")

        first = asyncio.create_task(clerk.ask(slow))
        await asyncio.sleep(0)
        first.cancel()
        second = asyncio.create_task(clerk.ask(lambda: done.append("next")))
        await asyncio.sleep(0.01)
        assert [] == done
        going.set()
        await second

        assert ["slow", "next"] == done

    async def test_so_many_wait(self) -> None:
        """Where too many wait, one more is refused at once; later there is room again."""
        clerk, going = Clerk(most=2), threading.Event()
        tasks = [asyncio.create_task(clerk.ask(going.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await clerk.ask(going.wait)
        going.set()
        await asyncio.gather(*tasks)
        await asyncio.sleep(0)

        assert "x" == await clerk.ask(lambda: "x")

    async def test_raises(self) -> None:
        """What a question raises is raised where it was asked."""

        def fails() -> None:
            raise KeyError("x")

        with pytest.raises(KeyError):
            await Clerk().ask(fails)

    def test_a_page_that_is_busy(self, ledger: Ledger) -> None:
        """A page that too many ask for is 503, and the others answer."""
        going = threading.Event()
        ledger.usage = lambda **_: going.wait() and {}  # type: ignore[method-assign,assignment]
        statuses: list[int] = []
        with admin_port(questions=ledger) as url:

            def ask_for_it() -> None:
                statuses.append(get(url, "/api/usage")[0])

            threads = [threading.Thread(target=ask_for_it) for _ in range(17)]
            for thread in threads:
                thread.start()
            try:
                assert [503] == until(statuses.copy)
                assert 200 == get(url, "/api/exchanges")[0]
                assert 200 == get(url, "/healthz")[0]
            finally:
                going.set()
                for thread in threads:
                    thread.join()

        assert [503, *[200] * 16] == statuses


def whole(model: str) -> bytes:
    """Return an answer of a model."""
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    choice = {"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}
    body = json.dumps({"id": "c", "model": model, "choices": [choice], "usage": usage}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


@pytest.mark.parametrize("kept", [False, True], ids=["ring", "ledger"])
class TestHouse:
    """All of it together: what passed the proxy is told on the admin port, with and without a ledger."""

    @pytest.fixture
    def house(self, scripted: Scripted, tmp_path: Path, kept: bool) -> Iterator[House]:
        """Give Meter after three exchanges of two callers, the last with a model that has no price."""
        settings = {
            "ledger.url": f"sqlite:///{tmp_path}/ledger.db" if kept else "off",
            "admin": {"token": TOKEN},
            "keys": [{"name": "search", "fingerprint": "k_" + sha256(b"sk-1").hexdigest()[:12]}],
            "budgets": [{"name": "all", "usd": 1}],
        }
        with running_house(scripted.url, **settings) as house:
            for credential, model in (("sk-1", "gpt-4o"), ("sk-2", "gpt-4o"), ("sk-2", "of-nobody")):
                scripted.script = says(whole(model))
                body = json.dumps({"model": model, "messages": []}).encode()
                ask(house.url, post("/v1/chat/completions", body, f"Authorization: Bearer {credential}"))
            asked, all_of_them = ("/api/usage", b'"requests":3') if kept else ("/metrics", b"")
            until(lambda: all_of_them in get(house.admin_url, asked, BEARER)[2] and len(house.lines()) == 3)
            yield house

    def test_exchanges_are_those_of_the_log(self, house: House, kept: bool) -> None:
        """Each exchange is told as the log tells it, to the last digit."""
        del kept
        lines = [json.loads(line, parse_float=str) for line in house.log.getvalue().splitlines()]
        logged = [line for line in lines if line["event"] == "exchange"]

        assert logged[::-1] == told(house.admin_url, "/api/exchanges", BEARER)["exchanges"]
        for each in logged:
            assert each == told(house.admin_url, f"/api/exchanges/{each['id']}", BEARER)

    def test_everything_has_its_schema(self, house: House, kept: bool) -> None:
        """Every page answers as it is described."""
        for path, page in DESCRIPTION["paths"].items():
            asked = path.replace("{id}", str(house.lines()[0]["id"]))
            status, fields, body = get(house.admin_url, asked, BEARER)
            needs_ledger = path in {"/api/usage", "/api/waste", "/usage/me"}
            assert status == (503 if needs_ledger and not kept else 200), path
            content = page["get"]["responses"][str(status)]["content"]
            kind = fields["content-type"].partition(";")[0]
            if kind == "application/json":
                fits(json.loads(body), content[kind]["schema"])
            assert kind in content

    def test_what_lacks_a_price(self, house: House, kept: bool) -> None:
        """A model without a price is told with its tokens, and those with one are not."""
        del kept
        (row,) = told(house.admin_url, "/api/prices/missing", BEARER)["missing"]

        names = ("upstream", "model", "operations", "requests", "tokens", "usage")
        expected = ["up", "of-nobody", ["chat"], 1, 11, {"input": 9, "output": 2}]
        assert expected == [row[name] for name in names]

    def test_what_goes_by(self, house: House, kept: bool) -> None:
        """What passed is in the last minute once its second is over, and none of it is under way."""
        live = until(lambda: (now := told(house.admin_url, "/api/live", BEARER))["requests"] == 3 and now)

        assert (kept, 0, 0, [{"name": "up", "up": True, "in_flight": 0}]) == tuple(
            live[name] for name in ("ledger", "errors", "in_flight", "upstreams")
        )
        assert (33, Decimal("0.000085")) == (live["tokens"], Decimal(live["cost_usd"]))

    def test_what_is_spent(self, house: House, kept: bool) -> None:
        """A budget has what the priced exchanges cost together."""
        del kept
        (budget,) = told(house.admin_url, "/api/budgets", BEARER)["budgets"]

        assert Decimal("0.000085") == Decimal(budget["spent_usd"])

    def test_who_spent_it(self, house: House, kept: bool) -> None:
        """The operator sees what all have spent, and each caller what is its own."""
        if not kept:  # only a ledger adds up
            assert (503, "the ledger is off") == refused(house.admin_url, "/api/usage", BEARER)
            return
        asked = (
            ("/api/usage", BEARER),
            *(("/usage/me", f"x-api-key: {key}") for key in ("sk-1", "sk-2", "no")),
        )
        answers = [told(house.admin_url, f"{path}?by=key", field) for path, field in asked]

        other = "k_" + sha256(b"sk-2").hexdigest()[:12]
        assert [["search", other], ["search"], [other], []] == [
            sorted((row["key"] for row in answer["rows"]), reverse=True) for answer in answers
        ]
        totals = [
            (each["requests"], Decimal(each["cost_usd"]), each["unpriced_tokens"])
            for each in (answer["total"] for answer in answers)
        ]
        one = Decimal("0.0000425")
        assert [(3, 2 * one, 11), (1, one, 0), (2, one, 11), (0, 0, 0)] == totals


class TestDescription:
    """`/api/openapi.json` describes every page, and every answer is as it says."""

    def test_is_told(self, asking: str) -> None:
        """It is OpenAPI 3.1, as JSON."""
        answer = told(asking, "/api/openapi.json")

        assert ("3.1.0", set(DESCRIPTION["paths"])) == (answer["openapi"], set(answer["paths"]))

    def test_has_every_page(self) -> None:
        """Every page is in it, and no other."""
        admin = Admin(AdminSettings(), None, State([]))  # type: ignore[arg-type] # nothing is asked of it
        pages = {*admin._pages, *admin._api.pages, "/api/exchanges/{id}"}

        assert pages == set(DESCRIPTION["paths"])

    def test_refers_to_what_is_there(self) -> None:
        """Every reference has what it refers to, every page a name, every parameter a schema."""
        schemas = DESCRIPTION["components"]["schemas"]
        references = re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DESCRIPTION))
        assert set(schemas) == set(references)
        known = {*DESCRIPTION["components"]["securitySchemes"]}
        for path, page in DESCRIPTION["paths"].items():
            assert {"get"} == set(page)
            operation = page["get"]
            assert {"summary", "responses"} <= set(operation)
            assert all({"description", "content"} == set(each) for each in operation["responses"].values())
            assert all(known.issuperset(way) for way in operation.get("security", []))
            named = {each["name"] for each in operation.get("parameters", []) if each["in"] == "path"}
            assert set(re.findall(r"{(\w+)}", path)) == named

    @pytest.mark.parametrize("path", [path for path in DESCRIPTION["paths"] if path.startswith("/api")])
    def test_answers_are_as_it_says(self, asking: str, ledgerless: str, path: str) -> None:
        """What a page answers, and what it refuses with, has the schema that is promised."""
        asked = path.replace("{id}", exchange(1).id)
        responses = DESCRIPTION["paths"][path]["get"]["responses"]
        answered = set()
        for url in (asking, ledgerless):
            for query in ("", "?nothing=1"):
                status, _, body = get(url, asked + query)
                answered.add(status)
                fits(json.loads(body), responses[str(status)]["content"]["application/json"]["schema"])

        assert 200 in answered

    def test_budgets(self) -> None:
        """A budget has the schema that is promised."""
        budgets = Budgets(
            Settings.model_validate({"upstreams": (), "budgets": [{"name": "all", "usd": 1}]}).budgets
        )
        with admin_port(budgets=budgets) as url:
            schema = DESCRIPTION["components"]["schemas"]["Budgets"]
            fits(json.loads(get(url, "/api/budgets")[2]), schema)

    @pytest.mark.parametrize(
        ("value", "schema"),
        [
            ({"a": 1}, {"type": "object", "additionalProperties": False}),
            ({}, {"type": "object", "required": ["a"]}),
            ([""], {"type": "array", "items": {"type": "integer"}}),
            (True, {"type": "integer"}),
            ("x", {"type": "string", "enum": ["y"]}),
            (-1, {"type": "integer", "minimum": 0}),
            (None, {"type": "string"}),
        ],
    )
    def test_would_notice(self, value: Any, schema: dict[str, Any]) -> None:
        """What does not fit a schema is noticed here."""
        with pytest.raises(AssertionError):
            fits(value, schema)


TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def fits(value: Any, schema: dict[str, Any]) -> None:
    """Fail where a value is not as a schema says, as far as the description uses its words."""
    schema = dict(schema)
    if reference := schema.pop("$ref", None):
        schema = dict(DESCRIPTION["components"]["schemas"][reference.rpartition("/")[2]])
    types = schema.pop("type", list(TYPES))
    assert any(TYPES[name](value) for name in ([types] if isinstance(types, str) else types)), (value, types)
    assert schema.pop("const", value) == value
    assert value in schema.pop("enum", [value])
    if schema.pop("format", None) == "date-time":
        assert datetime.fromisoformat(value).tzinfo is not None
    assert not isinstance(value, int) or value >= schema.pop("minimum", value)
    items = schema.pop("items", {})
    for item in value if isinstance(value, list) else ():
        fits(item, items)
    properties, others = schema.pop("properties", {}), schema.pop("additionalProperties", {})
    assert not isinstance(value, dict) or set(schema.pop("required", ())) <= set(value)
    for name, inner in value.items() if isinstance(value, dict) else ():
        assert name in properties or others is not False, name
        fits(inner, properties.get(name, others))
    assert set(schema) <= {"required", "minimum"}, "a word that is not checked"
