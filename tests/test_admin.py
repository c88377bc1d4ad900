"""The admin port: what it tells, to whom, and that it is no proxy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from stage import ask, post, running_house, says
from test_app import get

if TYPE_CHECKING:
    from collections.abc import Iterator

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
