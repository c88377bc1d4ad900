"""The reports of providers' APIs, asked of a simulated endpoint on loopback."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from meter.reconcile import Billed, BillError, fetch
from meter.reconcile.pages import Question, ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

EXPORTS = Path(__file__).parent / "exports"
KEY = "sk-admin-made-up-0123456789"
FIRST, SECOND, THIRD = date(2026, 11, 1), date(2026, 11, 2), date(2026, 11, 3)
ENVIRON = {"OPENAI_ADMIN_KEY": KEY, "ANTHROPIC_ADMIN_KEY": KEY}


@dataclass
class Endpoint:
    """An API that answers as it is told, and remembers what it was asked."""

    url: str = ""
    answer: Callable[[web.Request], web.StreamResponse] = lambda _: web.json_response({"data": []})
    asked: list[tuple[str, list[tuple[str, str]], dict[str, str]]] = field(default_factory=list)

    async def reply(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.asked.append((request.path, list(request.query.items()), dict(request.headers)))
        return self.answer(request)


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    """Give the endpoint, listening."""
    endpoint = Endpoint()
    app = web.Application()
    app.router.add_get("/{path:.*}", endpoint.reply)
    async with TestServer(app) as server:
        endpoint.url = str(server.make_url("")).rstrip("/")
        yield endpoint


def export(name: str) -> Any:
    """Give the page that an export holds."""
    return json.loads((EXPORTS / name).read_text())


def day_of(day: date, requests: int) -> dict[str, Any]:
    """Give a bucket of usage with one model."""
    result = {"model": "gpt-4o", "num_model_requests": requests, "input_tokens": 10, "output_tokens": 1}
    return {"start_time": f"{day}T00:00:00Z", "results": [result]}


def used(day: date, requests: int) -> Billed:
    """Give what such a bucket bills."""
    return Billed(day=day, model="gpt-4o", usage={"input": 10, "output": 1}, requests=requests)


async def openai(endpoint: Endpoint) -> list[Billed]:
    """Ask for two days as OpenAI's API is asked."""
    return await fetch("openai", ENVIRON, since=FIRST, until=THIRD, base_url=endpoint.url + "/v1/")


def question(endpoint: Endpoint) -> Question:
    """Give one report to ask for."""
    return Question(f"{endpoint.url}/report", (), {"x-api-key": KEY}, KEY, "THE_KEY")


async def test_all_pages_are_followed(endpoint: Endpoint) -> None:
    """A report of several pages is read to its end, each page asked for by the one before."""
    pages = {
        None: {"data": [day_of(FIRST, 1)], "has_more": True, "next_page": "page/2=="},
        "page/2==": {"data": [day_of(SECOND, 2)], "has_more": False, "next_page": None},
    }

    def answer(request: web.Request) -> web.Response:
        if request.path.endswith("/completions"):
            return web.json_response(pages[request.query.get("page")])
        return web.json_response({"data": [], "has_more": False, "next_page": None})

    endpoint.answer = answer
    assert [used(FIRST, 1), used(SECOND, 2)] == await openai(endpoint)


async def test_openai_is_asked_for_usage_and_costs_by_day(endpoint: Endpoint) -> None:
    """Each report is asked for once, by UTC day and model, with the key as a bearer."""
    await openai(endpoint)
    span = [("start_time", "1793491200"), ("end_time", "1793664000"), ("bucket_width", "1d")]
    model, batch, item = ("group_by[]", "model"), ("group_by[]", "batch"), ("group_by[]", "line_item")
    usage = "/v1/organization/usage/"
    assert [
        (f"{usage}completions", [*span, ("limit", "31"), model, batch]),
        (f"{usage}embeddings", [*span, ("limit", "31"), model]),
        (f"{usage}images", [*span, ("limit", "31"), model]),
        (f"{usage}audio_speeches", [*span, ("limit", "31"), model]),
        (f"{usage}audio_transcriptions", [*span, ("limit", "31"), model]),
        ("/v1/organization/costs", [*span, ("limit", "180"), item]),
    ] == [(path, query) for path, query, _ in endpoint.asked]
    assert {f"Bearer {KEY}"} == {headers["Authorization"] for *_, headers in endpoint.asked}


async def test_anthropic_is_asked_for_usage_and_costs_by_day(endpoint: Endpoint) -> None:
    """Usage and costs come together, asked for as Anthropic's reference says."""
    pages = {"messages": export("anthropic_usage.json"), "cost_report": export("anthropic_costs.json")}
    endpoint.answer = lambda request: web.json_response(pages[request.path.rpartition("/")[2]])
    lines = await fetch("anthropic", ENVIRON, since=FIRST, until=THIRD, base_url=endpoint.url)
    assert [2000 + 1200, None, None] == [line.usage and sum(line.usage.values()) - 500 for line in lines]
    span = [
        ("starting_at", "2026-11-01T00:00:00Z"),
        ("ending_at", "2026-11-03T00:00:00Z"),
        ("bucket_width", "1d"),
        ("limit", "31"),
    ]
    by_model = [("group_by[]", "model"), ("group_by[]", "service_tier")]
    assert [
        ("/v1/organizations/usage_report/messages", [*span, *by_model]),
        ("/v1/organizations/cost_report", [*span, ("group_by[]", "description")]),
    ] == [(path, query) for path, query, _ in endpoint.asked]
    sent = {(headers["x-api-key"], headers["anthropic-version"]) for *_, headers in endpoint.asked}
    assert {(KEY, "2023-06-01")} == sent


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_told_without_it(status: int, endpoint: Endpoint) -> None:
    """The sentence names the variable, and repeats neither the key nor what the provider said of it."""
    endpoint.answer = lambda _: web.json_response(
        {"error": {"message": f"Incorrect API key provided: {KEY}"}}, status=status, reason="Refused"
    )
    with pytest.raises(BillError) as raised:
        await openai(endpoint)
    assert (
        f"{endpoint.url}/v1/organization/usage/completions: {status} Refused: the key in OPENAI_ADMIN_KEY is "
        "refused, expected an admin key of the organization"
    ) == str(raised.value)
    assert 1 == len(endpoint.asked)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_what_may_pass_is_asked_again(status: int, endpoint: Endpoint) -> None:
    """A limit or a fault that passes in time goes unnoticed."""

    def answer(_: web.Request) -> web.Response:
        if len(endpoint.asked) < 3:
            return web.Response(status=status, headers={"Retry-After": "0"})
        return web.json_response({"data": [day_of(FIRST, 1)], "has_more": False})

    endpoint.answer = answer
    assert 1 == len(await ask(question(endpoint)))
    assert 3 == len(endpoint.asked)


@pytest.mark.parametrize("status", [429, 500])
async def test_what_does_not_pass_is_told(status: int, endpoint: Endpoint) -> None:
    """After the last try the status is told, and what the provider says, without the key."""
    body = {"error": {"message": f"slow down, {KEY}"}}
    endpoint.answer = lambda _: web.json_response(body, status=status, reason="No")
    with pytest.raises(BillError) as raised:
        await ask(question(endpoint), waits=(0, 0))
    assert f"{endpoint.url}/report: {status} No: slow down, ***" == str(raised.value)
    assert 3 == len(endpoint.asked)


async def test_a_wrong_request_is_told_at_once(endpoint: Endpoint) -> None:
    """What asking again cannot mend is not asked again."""
    endpoint.answer = lambda _: web.Response(status=400, text="no JSON at all")
    with pytest.raises(BillError, match=r"/report: 400 Bad Request$"):
        await ask(question(endpoint))
    assert 1 == len(endpoint.asked)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("{", ":1: no JSON: Expecting property name enclosed in double quotes"),
        ("\xff", ":1: no JSON: Expecting value"),
        ("[]", ": got no member `data`, expected a page of a report"),
        ('{"data": 1}', ": got no member `data`, expected a page of a report"),
        ('{"data": [1]}', ": data[0]: got a number, expected the JSON of a usage or cost report"),
        (
            '{"data": [], "has_more": true, "next_page": 7}',
            ": next_page leads nowhere, expected another page",
        ),
    ],
)
async def test_an_answer_that_is_no_report_is_told(body: str, complaint: str, endpoint: Endpoint) -> None:
    """JSON that is broken or of another shape is a sentence with the address."""
    endpoint.answer = lambda _: web.Response(text=body)
    with pytest.raises(BillError) as raised:
        await ask(question(endpoint))
    assert f"{endpoint.url}/report{complaint}" == str(raised.value)


async def test_a_page_that_leads_to_itself_ends_the_report(endpoint: Endpoint) -> None:
    """An API that goes in circles is not followed for ever."""
    endpoint.answer = lambda _: web.json_response({"data": [], "has_more": True, "next_page": "again"})
    with pytest.raises(BillError, match="next_page leads nowhere"):
        await ask(question(endpoint))
    assert 2 == len(endpoint.asked)


async def test_a_redirect_is_not_followed(endpoint: Endpoint) -> None:
    """The key goes to nobody else."""
    endpoint.answer = lambda _: web.Response(status=302, headers={"Location": f"{endpoint.url}/elsewhere"})
    with pytest.raises(BillError, match=r"/report: 302 Found$"):
        await ask(question(endpoint))
    assert ["/report"] == [path for path, *_ in endpoint.asked]


async def test_an_address_where_nobody_is_is_told(unused_tcp_port: int) -> None:
    """A connection that is refused is a sentence."""
    url = f"http://127.0.0.1:{unused_tcp_port}"
    with pytest.raises(BillError, match="/v1/organizations/usage_report/messages: cannot be reached: "):
        await fetch("anthropic", ENVIRON, since=FIRST, until=SECOND, base_url=url)


@pytest.mark.parametrize(
    ("provider", "variable"), [("openai", "OPENAI_ADMIN_KEY"), ("anthropic", "ANTHROPIC_ADMIN_KEY")]
)
async def test_a_key_that_is_not_set_is_told(provider: str, variable: str) -> None:
    """Without a key nothing is asked, and the sentence says where it belongs."""
    with pytest.raises(BillError, match=f"^{variable} is not set, expected an admin key"):
        await fetch(provider, {variable: " "}, since=FIRST, until=SECOND)
