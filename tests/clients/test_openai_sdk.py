"""The official SDK gives through Meter what it gives directly: objects, chunks, bytes, headers, errors."""

from __future__ import annotations

import asyncio
import base64
import json
from random import Random
from typing import TYPE_CHECKING, Any

import openai
import pytest
import pytest_asyncio
from clients.calls import CALLS, MODES, WEATHER
from clients.examples import ERRORS
from clients.lines import Lines, tokens
from openai import AsyncOpenAI, AzureOpenAI, OpenAI
from pydantic import BaseModel
from stage import running_app, running_house, says

from meter.demo.upstream import SimulatedUpstream

if TYPE_CHECKING:
    import asyncio as aio
    from collections.abc import AsyncIterator, Iterator

    from stage import House, Scripted

KEY = "sk-user"
HELLO: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "你好"}]}
VOLATILE = ("x-request-id", "date", "openai-processing-ms", "x-ratelimit-", "x-meter-id")


def sdk(url: str, **options: Any) -> OpenAI:
    """Return a client that gives up at the first error."""
    return OpenAI(**{"base_url": f"{url}/v1", "api_key": KEY, "max_retries": 0, **options})


@pytest.fixture(scope="module")
def direct(simulated: tuple[SimulatedUpstream, str]) -> Iterator[OpenAI]:
    """Give a client of the upstream itself."""
    with sdk(simulated[1]) as client:
        yield client


@pytest.fixture(scope="module")
def metered(house: House) -> Iterator[OpenAI]:
    """Give a client of Meter."""
    with sdk(house.url) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(house: House) -> AsyncIterator[tuple[AsyncOpenAI, AsyncOpenAI]]:
    """Give an asynchronous client of the upstream itself, and one of Meter."""
    options: dict[str, Any] = {"api_key": KEY, "max_retries": 0}
    async with (
        AsyncOpenAI(base_url=f"{house.upstream_url}/v1", **options) as direct,
        AsyncOpenAI(base_url=f"{house.url}/v1", **options) as metered,
    ):
        yield direct, metered


def told(client: OpenAI, call: dict[str, Any]) -> tuple[list[Any], Any]:
    """Return what a call gives: its one object or its chunks; and the answer's headers."""
    answer = client.chat.completions.with_raw_response.create(**call)
    parsed: Any = answer.parse()
    objects = list(parsed) if call.get("stream") else [parsed]
    return [each.to_dict() for each in objects], answer.headers


def raw(client: OpenAI, call: dict[str, Any]) -> bytes:
    """Return the bytes of an answer's body."""
    with client.chat.completions.with_streaming_response.create(**call) as answer:
        return b"".join(answer.iter_bytes())


def failure(client: OpenAI, call: dict[str, Any]) -> tuple[list[Any], Exception]:
    """Return the chunks that came before a call's error, and the error, whichever it is."""
    chunks: list[Any] = []

    def read() -> None:
        for chunk in client.chat.completions.create(**call):
            chunks.append(chunk.to_dict())  # noqa: PERF401 - those before the error are wanted

    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one it is is the question
        read()
    return chunks, caught.value


def usage_of(client: OpenAI, call: dict[str, Any]) -> dict[str, Any]:
    """Return the usage that a call causes, by asking for it."""
    objects, _ = told(client, {**call, **MODES["with usage"]} if call.get("stream") else call)
    return dict(objects[-1]["usage"])


class TestSameObjects:
    """Objects, chunks and bytes are those that come directly."""

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("name", CALLS)
    def test_sync(self, direct: OpenAI, metered: OpenAI, lines: Lines, name: str, mode: str) -> None:
        """Each call gives the same objects, and one log line that knows what it used."""
        call = {**CALLS[name], **MODES[mode]}

        expected, _ = told(direct, call)
        got, headers = told(metered, call)

        assert expected == got
        line = lines.one()
        assert (headers["x-meter-id"], "ok", "", "reported", mode != "whole", 1) == (
            line["id"],
            line["outcome"],
            line["error_type"],
            line["usage_source"],
            line["stream"],
            line["attempts"],
        )
        usage = usage_of(direct, call)
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == tokens(line["usage"])
        reasons = [c["finish_reason"] for o in got for c in o["choices"] if c.get("finish_reason")]
        assert sorted(reasons) == sorted(line["finish_reasons"])
        assert (call["model"], got[0]["model"]) == (line["request_model"], line["response_model"])

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("name", CALLS)
    def test_bytes(self, direct: OpenAI, metered: OpenAI, name: str, mode: str) -> None:
        """Each call's body is the same to the byte, whether or not the client asked for usage."""
        call = {**CALLS[name], **MODES[mode]}

        assert raw(direct, call) == raw(metered, call)

    @pytest.mark.parametrize("mode", ["whole", "streamed"])
    @pytest.mark.parametrize("name", [name for name in CALLS if not name.startswith("model ")])
    @pytest.mark.asyncio(loop_scope="module")
    async def test_async(self, pair: tuple[AsyncOpenAI, AsyncOpenAI], name: str, mode: str) -> None:
        """The asynchronous client gives the same objects."""
        call = {**CALLS[name], **MODES[mode]}

        async def came(client: AsyncOpenAI) -> list[Any]:
            answer: Any = await client.chat.completions.create(**call)
            if not call.get("stream"):
                return [answer.to_dict()]
            return [chunk.to_dict() async for chunk in answer]

        expected, got = await asyncio.gather(*map(came, pair))

        assert expected == got

    @pytest.mark.asyncio(loop_scope="module")
    async def test_many_at_once(self, pair: tuple[AsyncOpenAI, AsyncOpenAI], lines: Lines) -> None:
        """Streams that run at the same time stay apart, and each is counted."""
        calls = [{**HELLO, "stream": True, "user": f"user-{number}"} for number in range(30)]

        async def text(client: AsyncOpenAI, call: dict[str, Any]) -> str:
            stream: Any = await client.chat.completions.create(**call)
            return "".join([c.choices[0].delta.content or "" async for c in stream])

        direct, metered = pair
        expected = await asyncio.gather(*(text(direct, call) for call in calls))
        got = await asyncio.gather(*(text(metered, call) for call in calls))

        assert expected == got
        assert len(set(got)) > 1
        assert {("ok", "reported")} == {(li["outcome"], li["usage_source"]) for li in lines.take(30)}

    def test_tool_call_comes_in_fragments(self, metered: OpenAI) -> None:
        """A streamed tool call is put together from pieces, and its arguments are the JSON they should be."""
        call = {**HELLO, "tools": [WEATHER], "stream": True}

        deltas = [c.choices[0].delta.tool_calls for c in metered.chat.completions.create(**call) if c.choices]

        pieces = [tool.function.arguments for calls in deltas for tool in calls or () if tool.index == 0]
        assert len(pieces) > 2
        assert {"city"} == set(json.loads("".join(pieces)))

    def test_structured_output(self, direct: OpenAI, metered: OpenAI) -> None:
        """The SDK's `parse` makes the same object of a structured answer."""

        class Person(BaseModel):
            name: str
            age: int

        def person(client: OpenAI) -> Person | None:
            answer = client.chat.completions.parse(**HELLO, response_format=Person)
            return answer.choices[0].message.parsed

        expected = person(direct)
        assert expected is not None
        assert expected == person(metered)

    def test_stream_helper(self, direct: OpenAI, metered: OpenAI) -> None:
        """The SDK's `stream` helper puts the same answer together."""

        def final(client: OpenAI) -> dict[str, Any]:
            with client.chat.completions.stream(**HELLO) as stream:
                return stream.get_final_completion().to_dict()

        assert final(direct) == final(metered)

    def test_models(self, direct: OpenAI, metered: OpenAI, lines: Lines) -> None:
        """The list of models is the same, and is metered as what uses no tokens."""
        expected = [model.to_dict() for model in direct.models.list()]

        assert expected == [model.to_dict() for model in metered.models.list()]
        line = lines.one()
        assert ("models", "ok", "none", "none") == (
            line["operation"],
            line["outcome"],
            line["usage_source"],
            line["price_status"],
        )

    def test_azure_client(self, house: House, lines: Lines) -> None:
        """The SDK's Azure client, with its own header, path and query, gives the same stream."""

        def came(url: str) -> list[Any]:
            azure = AzureOpenAI(azure_endpoint=url, api_key=KEY, api_version="2024-10-21", max_retries=0)
            with azure as client:
                return told(client, {**HELLO, **MODES["streamed"]})[0]

        assert came(house.upstream_url) == came(house.url)
        line = lines.one()
        assert ("/openai/deployments/gpt-4o/chat/completions", "chat", "reported") == (
            line["path"],
            line["operation"],
            line["usage_source"],
        )
        assert "2024-10-21" not in house.log.getvalue().decode()


class TestBigImages:
    """Images of eight megabytes and more inside the request."""

    @pytest.mark.parametrize("mode", ["whole", "streamed", "with usage"])
    def test_pass(
        self,
        direct: OpenAI,
        metered: OpenAI,
        simulated: tuple[SimulatedUpstream, str],
        lines: Lines,
        mode: str,
    ) -> None:
        """A request with a big image goes up as it came, but for the asking, and its answer is the same."""
        data = base64.b64encode(Random(0).randbytes(6_400_000)).decode()  # noqa: S311 - a picture, no secret
        image = {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}
        messages = [{"role": "user", "content": [{"type": "text", "text": "请描述"}, image]}]
        call = {"model": "gemini-2.5-flash-all", "messages": messages, "max_tokens": 500, **MODES[mode]}

        expected, _ = told(direct, call)
        sent = simulated[0].seen[-1].body
        got, _ = told(metered, call)
        passed = simulated[0].seen[-1].body

        assert len(sent) > 8 * 1024 * 1024
        asking = b',"stream_options":{"include_usage":true}}' if mode == "streamed" else b"}"
        assert sent[:-1] + asking == passed
        assert expected == got
        line = lines.one()
        assert ("ok", "reported", len(sent)) == (line["outcome"], line["usage_source"], line["request_bytes"])


ERRORS_BY_NAME: dict[str, tuple[dict[str, Any], str, type[openai.APIStatusError], int, str]] = {
    "parameter that the model has not": (
        {**HELLO, "model": "o1-preview", "temperature": 0.5},
        KEY,
        openai.BadRequestError,
        400,
        "unsupported_value",
    ),
    "role that the model has not": (
        {"model": "o1-preview", "messages": [{"role": "system", "content": "."}]},
        KEY,
        openai.BadRequestError,
        400,
        "unsupported_value",
    ),
    "no message": ({**HELLO, "messages": []}, KEY, openai.BadRequestError, 400, "empty_array"),
    "wrong key": (HELLO, "sk-invalid", openai.AuthenticationError, 401, "invalid_api_key"),
    "key without access": (HELLO, "sk-forbidden", openai.PermissionDeniedError, 403, "invalid_request_error"),
    "unknown model": (
        {**HELLO, "model": "gpt-4o-invalid"},
        KEY,
        openai.NotFoundError,
        404,
        "model_not_found",
    ),
    "rate limit": (HELLO, "sk-limited", openai.RateLimitError, 429, "rate_limit_exceeded"),
    "broken": ({**HELLO, "model": "broken"}, KEY, openai.InternalServerError, 500, "server_error"),
    "overloaded": (
        {**HELLO, "model": "broken-503"},
        KEY,
        openai.InternalServerError,
        503,
        "service_unavailable",
    ),
    "HTML": ({**HELLO, "model": "portal"}, KEY, openai.InternalServerError, 502, "http_502"),
}


def same_error(expected: openai.OpenAIError, got: openai.OpenAIError) -> None:
    """Assert that two errors tell a program the same."""
    assert isinstance(expected, openai.APIStatusError)
    assert isinstance(got, openai.APIStatusError)
    assert type(expected) is type(got)
    assert (expected.status_code, expected.message, expected.body, expected.code, expected.type) == (
        got.status_code,
        got.message,
        got.body,
        got.code,
        got.type,
    )
    assert expected.response.content == got.response.content
    assert stable(expected.response.headers) == stable(got.response.headers)
    assert "x-meter-error" not in got.response.headers


def stable(headers: Any) -> list[tuple[str, str]]:
    """Return the header fields that are the same each time."""
    return sorted((n, v) for n, v in headers.multi_items() if not n.startswith(VOLATILE))


class TestSameErrors:
    """Errors raise what they raise directly."""

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("name", ERRORS_BY_NAME)
    def test_statuses(
        self, direct: OpenAI, metered: OpenAI, lines: Lines, name: str, *, stream: bool
    ) -> None:
        """An error status raises the same exception with the same body, and is logged for what it is."""
        call, key, kind, status, error_type = ERRORS_BY_NAME[name]

        def error(client: OpenAI) -> openai.OpenAIError:
            with pytest.raises(kind) as caught:
                client.with_options(api_key=key).chat.completions.create(**{**call, "stream": stream})
            return caught.value

        expected, got = error(direct), error(metered)

        same_error(expected, got)
        line = lines.one()
        outcome = "client_error" if status < 500 else "upstream_error"
        assert (status, outcome, error_type, False, "none", "none", None) == (
            line["status"],
            line["outcome"],
            line["error_type"],
            line["stream"],
            line["usage_source"],
            line["price_status"],
            line["cost_usd"],
        )

    def test_too_large(self) -> None:
        """An upstream's 413 is the upstream's own, and raises what it raises directly."""
        app = SimulatedUpstream(pace=0, created=1, body_limit=1000).app()
        call = {**HELLO, "messages": [{"role": "user", "content": "很长" * 1000}]}
        with (
            running_app(app) as url,
            running_house(url) as house,
            sdk(url) as direct,
            sdk(house.url) as metered,
        ):
            errors = []
            for client in (direct, metered):
                with pytest.raises(openai.APIStatusError) as caught:
                    client.chat.completions.create(**call)
                errors.append(caught.value)

            same_error(*errors)
            line = Lines(house, whole=True).one()
            assert (413, "client_error", "request_too_large") == (
                line["status"],
                line["outcome"],
                line["error_type"],
            )

    @pytest.mark.parametrize("name", ERRORS)
    def test_printed_bodies(self, scripted: Scripted, name: str) -> None:
        """Errors as guides print them, some members missing, raise what they raise directly."""
        status, text, _ = ERRORS[name]
        head = b"HTTP/1.1 %d Sorry\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" % status
        scripted.script = says(head + text.encode())
        with running_house(scripted.url) as house, sdk(scripted.url) as direct, sdk(house.url) as metered:
            errors = []
            for client in (direct, metered):
                with pytest.raises(openai.APIStatusError) as caught:
                    client.chat.completions.create(**HELLO)
                errors.append(caught.value)

            assert type(errors[0]) is type(errors[1])
            assert errors[0].body == errors[1].body == json.loads(text)["error"]

    def test_error_inside_a_stream(self, direct: OpenAI, metered: OpenAI, lines: Lines) -> None:
        """An error inside a stream raises after the same chunks, with the same words."""
        call = {**HELLO, "model": "gpt-4o-flaky", "stream": True}

        (before, expected), (chunks, got) = failure(direct, call), failure(metered, call)

        assert before == chunks
        assert len(chunks) > 3
        assert (type(expected), str(expected)) == (type(got), str(got))
        line = lines.one()
        assert (200, "stream_error", "server_error", True) == (
            line["status"],
            line["outcome"],
            line["error_type"],
            line["stream"],
        )

    @pytest.mark.parametrize("stream", [False, True])
    def test_broken_connection(self, direct: OpenAI, metered: OpenAI, lines: Lines, *, stream: bool) -> None:
        """An answer that breaks off raises what it raises directly, after the same chunks."""
        call = {**HELLO, "model": "gpt-4o-cut", "stream": stream}

        (before, expected), (chunks, got) = failure(direct, call), failure(metered, call)

        assert before == chunks
        assert type(expected) is type(got)
        line = lines.one()
        assert (200, "truncated", "truncated") == (line["status"], line["outcome"], line["error_type"])

    def test_refused_asking_does_not_show(self, direct: OpenAI, metered: OpenAI, lines: Lines) -> None:
        """Where an upstream refuses `stream_options`, a client that did not ask never learns of it."""
        call = {**HELLO, "model": "gpt-4o-strict", "stream": True}

        assert raw(direct, call) == raw(metered, call)
        assert raw(direct, call) == raw(metered, call)
        first, second = lines.take(2)
        assert [("ok", 2), ("ok", 1)] == [(li["outcome"], li["attempts"]) for li in (first, second)]

    def test_unreachable(self) -> None:
        """Where the upstream is not there, the SDK raises what it raises for a gateway's 502."""
        with running_house("http://127.0.0.1:9") as house, sdk(house.url) as client:
            with pytest.raises(openai.InternalServerError) as caught:
                client.chat.completions.create(**HELLO)

            error = caught.value
            assert (502, "unreachable", "meter_error") == (error.status_code, error.code, error.type)
            assert "1" == error.response.headers["x-meter-error"]
            assert "unreachable" == Lines(house, whole=True).one()["outcome"]


class TestHeaders:
    """Header fields are the upstream's, and one of Meter's."""

    FIELDS = (
        b"Content-Type: application/json\r\nX-Request-ID: req_1\r\nopenai-organization: org-x\r\n"
        b"x-ratelimit-remaining-requests: 9999\r\nSet-Cookie: a=1; path=/\r\nSet-Cookie: b=2\r\n"
        b"CF-RAY: 8x-FRA\r\nServer: cloudflare\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
        b"strict-transport-security: max-age=1\r\n"
    )

    @pytest.mark.parametrize("mode", MODES)
    def test_of_answers(self, direct: OpenAI, metered: OpenAI, mode: str) -> None:
        """An answer has the fields that it has directly, and `x-meter-id`."""
        call = {**HELLO, **MODES[mode]}

        (_, expected), (_, got) = told(direct, call), told(metered, call)

        assert sorted([*expected, "x-meter-id"]) == sorted(got)
        assert stable(expected) == stable(got)

    def test_of_any_kind(self, scripted: Scripted) -> None:
        """Fields that come twice, in any spelling, are what the SDK sees, in their order."""
        body = b'{"id":"c","object":"chat.completion","created":1,"model":"gpt-4o","choices":[]}'
        head = b"HTTP/1.1 200 OK\r\n" + self.FIELDS + b"Content-Length: %d\r\n\r\n" % len(body)
        scripted.script = says(head + body)
        with running_house(scripted.url) as house, sdk(scripted.url) as direct, sdk(house.url) as metered:
            (_, expected), (_, got) = told(direct, HELLO), told(metered, HELLO)

        ours = ("x-meter-id", got["x-meter-id"])
        assert [*expected.multi_items(), ours] == got.multi_items()


class TestRetries:
    """Programs that try again are counted each time."""

    @pytest.mark.parametrize(
        ("status", "outcome"), [(429, "client_error"), (500, "upstream_error"), (503, "upstream_error")]
    )
    def test_sdk_tries_again(self, scripted: Scripted, status: int, outcome: str) -> None:
        """The SDK's own retries go up one by one, with its waiting times, and the last one is answered."""
        refusal = b"HTTP/1.1 %d Busy\r\nretry-after-ms: 5\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
        body = b'{"id":"c","object":"chat.completion","created":1,"model":"gpt-4o","choices":[]}'
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" + body

        async def script(request: bytes, writer: aio.StreamWriter) -> None:
            said = refusal % status if len(scripted.requests) < 3 else answer
            await says(said)(request, writer)

        scripted.script = script
        with running_house(scripted.url) as house, sdk(house.url, max_retries=3) as client:
            client.chat.completions.create(**HELLO)

            counts = [
                r.split(b"x-stainless-retry-count: ")[1][:1] for r in map(bytes.lower, scripted.requests)
            ]
            assert [b"0", b"1", b"2"] == counts
            lines = Lines(house, whole=True).take(3)
            expected = [(status, outcome, 1), (status, outcome, 1), (200, "ok", 1)]
            assert expected == [(li["status"], li["outcome"], li["attempts"]) for li in lines]
            assert 3 == house.value("meter_requests_total")
