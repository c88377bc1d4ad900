"""The simulated upstream, as the official SDK and a plain client see it."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import openai
import pytest
from aiohttp.test_utils import TestServer
from pydantic import BaseModel

from meter.demo import words
from meter.demo.answer import answer_to
from meter.demo.upstream import MODELS, SimulatedUpstream, go_duration, make_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

KEY = {"Authorization": "Bearer sk-somebody"}
HI: list[Any] = [{"role": "user", "content": "hi"}]
CREATED = 1_700_000_000


@pytest.fixture
async def upstream() -> SimulatedUpstream:
    """Return an upstream that does not wait, takes 10 MiB, and remembers what it was sent."""
    return SimulatedUpstream(pace=0, created=CREATED, body_limit=10 * 1024 * 1024, keep=10)


@pytest.fixture
async def url(upstream: SimulatedUpstream) -> AsyncIterator[str]:
    """Yield the base URL of a running upstream, as an SDK is given it."""
    async with TestServer(upstream.app()) as server:
        yield str(server.make_url("/v1"))


@pytest.fixture
async def client(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """Yield the official client of a running upstream."""
    http_client = openai.DefaultAsyncHttpxClient(trust_env=False)
    async with openai.AsyncOpenAI(
        api_key="sk-somebody", base_url=url, max_retries=0, http_client=http_client
    ) as sdk:
        yield sdk


async def post(url: str, body: Any, headers: Mapping[str, str] = KEY) -> tuple[int, Mapping[str, str], bytes]:
    """Return status, headers and body of the answer to `body`, which is bytes or made JSON."""
    data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/chat/completions", data=data, headers=headers) as answer,
    ):
        return answer.status, answer.headers.copy(), await answer.read()


def error(body: bytes) -> dict[str, Any]:
    """Return the error of an error answer."""
    found: dict[str, Any] = json.loads(body)["error"]
    return found


def events(stream: bytes) -> list[Any]:
    """Return the JSON events of a stream that ends in `[DONE]`."""
    *told, done, rest = stream.decode().split("\n\n")

    assert [done, rest] == ["data: [DONE]", ""]

    return [json.loads(event.removeprefix("data: ")) for event in told]


async def test_sdk_reads_a_completion(client: openai.AsyncOpenAI) -> None:
    """The SDK gets text, a dated model name and counts that add up."""
    answer = await client.chat.completions.create(model="gpt-4o-mini", messages=HI)

    assert answer.model == "gpt-4o-mini-2024-07-18"
    assert answer.created == CREATED
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == len(words.pieces(answer.choices[0].message.content or ""))
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


async def test_sdk_reads_a_stream(client: openai.AsyncOpenAI) -> None:
    """A stream begins with a role alone, ends with a reason, and tells no usage unasked."""
    stream = await client.chat.completions.create(model="gpt-4o", messages=HI, stream=True)
    chunks = [chunk async for chunk in stream]

    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[0].choices[0].delta.content == ""
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None and len(chunk.choices) == 1 for chunk in chunks)


async def test_stream_tells_usage_when_asked(client: openai.AsyncOpenAI) -> None:
    """A stream that was asked ends in one more chunk, without a choice, that counts the pieces sent."""
    stream = await client.chat.completions.create(
        model="gpt-4o", messages=HI, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = [chunk async for chunk in stream]

    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == len([c for c in chunks if c.choices[0].delta.content])


async def test_asking_changes_nothing_but_the_usage(url: str) -> None:
    """Taking the usage out of a stream that was asked for it gives the very bytes of the one that was not."""
    body = {"model": "deepseek-reasoner", "messages": HI, "stream": True, "n": 2}
    _, _, unasked = await post(url, body)
    _, _, declined = await post(url, {**body, "stream_options": {"include_usage": False}})
    _, _, asked = await post(url, {**body, "stream_options": {"include_usage": True}})
    *kept, usage, done, rest = asked.replace(b',"usage":null}\n\n', b"}\n\n").split(b"\n\n")

    assert b'"choices":[],"usage":{"prompt_tokens":' in usage
    assert unasked == b"\n\n".join([*kept, done, rest])
    assert unasked == declined
    assert b'"usage"' not in unasked
    assert asked.count(b'"usage":null}\n\n') == len(kept)


async def test_one_write_for_each_event(url: str) -> None:
    """Each event of a stream travels as one HTTP chunk."""
    body = {"model": "gpt-4o", "messages": HI, "stream": True}
    chunks = []
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/chat/completions", json=body, headers=KEY) as answer,
    ):
        piece = b""
        async for data, ended in answer.content.iter_chunks():
            piece += data
            if ended:
                chunks.append(piece)
                piece = b""

    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert all(chunk.startswith(b"data: ") and chunk.endswith(b"\n\n") for chunk in chunks)
    assert all(chunk.count(b"\n\n") == 1 for chunk in chunks)
    assert chunks[-1] == b"data: [DONE]\n\n"


async def test_choices_are_told_apart(client: openai.AsyncOpenAI) -> None:
    """With `n` of 3 there are three different answers, streamed and not, and all are counted."""
    whole = await client.chat.completions.create(model="gpt-4o", messages=HI, n=3)
    stream = await client.chat.completions.create(model="gpt-4o", messages=HI, n=3, stream=True)
    reasons = [c.choices[0].finish_reason async for c in stream]

    assert len({choice.message.content for choice in whole.choices}) == 3
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    assert [reason for reason in reasons if reason] == ["stop"] * 3


WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}


async def test_tools_are_called(client: openai.AsyncOpenAI) -> None:
    """A completion with tools calls one, with arguments that fit its schema."""
    answer = await client.chat.completions.create(model="gpt-4o", messages=HI, tools=[WEATHER])
    choice = answer.choices[0]

    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert choice.message.tool_calls is not None
    call: Any = choice.message.tool_calls[0]
    arguments = json.loads(call.function.arguments)
    assert (call.function.name, list(arguments)) == ("get_weather", ["city", "days"])
    assert isinstance(arguments["days"], int)


async def test_tool_calls_are_streamed_in_fragments(client: openai.AsyncOpenAI) -> None:
    """The fragments of a streamed call's arguments add up to JSON."""
    named: Any = {"type": "function", "function": {"name": "get_weather"}}
    stream = await client.chat.completions.create(
        model="gpt-4o", messages=HI, tools=[WEATHER], tool_choice=named, stream=True
    )
    choices = [chunk.choices[0] async for chunk in stream]
    calls = [call for choice in choices for call in choice.delta.tool_calls or []]
    fragments = [call.function.arguments or "" for call in calls if call.function]

    assert calls[0].function is not None
    assert calls[0].function.name == "get_weather"
    assert {call.index for call in calls} == {0}
    assert len(fragments) > 3
    assert list(json.loads("".join(fragments))) == ["city", "days"]
    assert choices[-1].finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("messages", "choice"),
    [(HI, "none"), ([*HI, {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}], "auto")],
    ids=["none wanted", "result brought"],
)
async def test_tools_are_not_called(client: openai.AsyncOpenAI, messages: Any, choice: Any) -> None:
    """With `tool_choice: none`, or after a tool's result, the answer is text."""
    answer = await client.chat.completions.create(
        model="gpt-4o", messages=messages, tools=[WEATHER], tool_choice=choice
    )

    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content


async def test_json_object_is_json(client: openai.AsyncOpenAI) -> None:
    """With `response_format: json_object` the text is a JSON object."""
    answer = await client.chat.completions.create(
        model="gpt-4o", messages=HI, response_format={"type": "json_object"}
    )

    assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)


class City(BaseModel):
    """A place to be parsed."""

    name: str
    people: int
    twins: list[City]


async def test_json_schema_is_followed(client: openai.AsyncOpenAI) -> None:
    """The SDK's `parse` gets an instance of the model that it asked for, even of one that contains itself."""
    answer = await client.chat.completions.parse(model="gpt-4o", messages=HI, response_format=City)

    assert isinstance(answer.choices[0].message.parsed, City)


async def test_limit_cuts_the_answer(client: openai.AsyncOpenAI) -> None:
    """At `max_tokens` the answer ends with reason `length` after just so many tokens."""
    answer = await client.chat.completions.create(model="gpt-4o", messages=HI, max_tokens=5)

    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5


async def test_limit_holds_for_secret_thoughts_too(client: openai.AsyncOpenAI) -> None:
    """A reasoning model that is cut while it thinks says nothing, and is counted for what it thought."""
    answer = await client.chat.completions.create(model="o3-mini", messages=HI, max_completion_tokens=20)

    assert answer.choices[0].message.content == ""
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 20


async def test_stop_ends_the_answer(client: openai.AsyncOpenAI) -> None:
    """The text ends before the first `stop` sequence, with reason `stop`."""
    answer = await client.chat.completions.create(model="gpt-4o", messages=HI, stop=["."])

    assert "." not in (answer.choices[0].message.content or ".")
    assert answer.choices[0].finish_reason == "stop"


async def test_logprobs_come_one_a_token(client: openai.AsyncOpenAI) -> None:
    """With `logprobs` each token of the answer has one, streamed and not."""
    whole = await client.chat.completions.create(model="gpt-4o", messages=HI, logprobs=True, top_logprobs=1)
    stream = await client.chat.completions.create(model="gpt-4o", messages=HI, logprobs=True, stream=True)
    told = [chunk.choices[0] async for chunk in stream]
    choice = whole.choices[0]

    assert choice.logprobs is not None
    assert "".join(lp.token for lp in choice.logprobs.content or []) == choice.message.content
    assert all((lp.logprobs is not None) == bool(lp.delta.content) for lp in told)


async def test_chinese_is_answered_in_chinese(client: openai.AsyncOpenAI) -> None:
    """A question in Chinese gets an answer in Chinese, a token for each character."""
    answer = await client.chat.completions.create(
        model="qwen-turbo", messages=[{"role": "user", "content": "你好吗"}]
    )

    assert answer.usage is not None
    assert "的" in (answer.choices[0].message.content or "")
    assert answer.usage.completion_tokens == len(answer.choices[0].message.content or "")


async def test_long_prompts_are_cached(client: openai.AsyncOpenAI) -> None:
    """Of a prompt of over a thousand tokens most are cached, in blocks of 128; of a short one none."""
    system: Any = {"role": "system", "content": "word " * 1200}
    long = await client.chat.completions.create(model="gpt-4o", messages=[system, *HI])
    short = await client.chat.completions.create(model="gpt-4o", messages=HI)

    assert long.usage is not None
    assert short.usage is not None
    assert long.usage.prompt_tokens_details is not None
    assert short.usage.prompt_tokens_details is not None
    cached = long.usage.prompt_tokens_details.cached_tokens or 0
    assert 0 < cached < long.usage.prompt_tokens
    assert cached % 128 == 0
    assert short.usage.prompt_tokens_details.cached_tokens == 0


async def test_reasoning_is_counted_and_told(client: openai.AsyncOpenAI) -> None:
    """o1 counts reasoning that it does not show; deepseek-reasoner streams it before the content."""
    o1 = await client.chat.completions.create(model="o1-preview", messages=HI)
    stream = await client.chat.completions.create(
        model="deepseek-reasoner", messages=HI, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = [chunk async for chunk in stream]
    thoughts = [c for c in chunks if getattr(c.choices[0].delta, "reasoning_content", None)]

    assert o1.usage is not None
    assert o1.usage.completion_tokens_details is not None
    assert (o1.usage.completion_tokens_details.reasoning_tokens or 0) >= 64
    assert last.usage is not None
    assert last.usage.completion_tokens_details is not None
    assert last.usage.completion_tokens_details.reasoning_tokens == len(thoughts)
    assert thoughts == chunks[1 : 1 + len(thoughts)]


async def test_images_and_audio_are_counted(url: str) -> None:
    """An image of 8 MB costs some hundred tokens, however long its text is; audio has a count of its own."""
    parts = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 8_400_000}},
        {"type": "input_audio", "input_audio": {"data": "A" * 40_000, "format": "wav"}},
    ]
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": parts}]}
    status, _, answer = await post(url, body)
    usage = json.loads(answer)["usage"]

    assert status == 200
    assert usage["prompt_tokens"] == 786
    assert usage["prompt_tokens_details"]["audio_tokens"] == 11


async def test_models_are_listed(client: openai.AsyncOpenAI) -> None:
    """The SDK lists the models."""
    listed = await client.models.list()

    assert tuple(model.id for model in listed.data) == MODELS


@pytest.mark.parametrize(
    ("key", "body", "expected", "code"),
    [
        ("sk-invalid-1", {}, openai.AuthenticationError, "invalid_api_key"),
        ("sk-forbidden-1", {}, openai.PermissionDeniedError, "access_denied"),
        ("sk-limited-1", {}, openai.RateLimitError, "rate_limit_exceeded"),
        ("sk-1", {"model": "gpt-4o-invalid"}, openai.NotFoundError, "model_not_found"),
        ("sk-1", {"model": "does-not-exist"}, openai.NotFoundError, "model_not_found"),
        ("sk-1", {"model": "house-broken"}, openai.InternalServerError, None),
        ("sk-1", {"model": "broken-503"}, openai.InternalServerError, "service_unavailable"),
        ("sk-1", {"model": "flaky"}, openai.InternalServerError, None),
        ("sk-1", {"model": "portal"}, openai.InternalServerError, None),
        ("sk-1", {"model": "cut"}, openai.APIConnectionError, None),
        ("sk-1", {"model": "o1-preview", "temperature": 0.3}, openai.BadRequestError, "unsupported_value"),
        (
            "sk-1",
            {"model": "o1-preview", "messages": [{"role": "system", "content": "x"}]},
            openai.BadRequestError,
            "unsupported_value",
        ),
        ("sk-1", {"messages": []}, openai.BadRequestError, "empty_array"),
        ("sk-1", {"n": 1000}, openai.BadRequestError, None),
    ],
)
async def test_errors_are_the_sdks_own(
    client: openai.AsyncOpenAI,
    key: str,
    body: dict[str, Any],
    expected: type[openai.APIError],
    code: str | None,
) -> None:
    """The SDK raises the error that it has for each refusal, with the code that OpenAI gives."""
    create: Any = client.with_options(api_key=key).chat.completions.create

    with pytest.raises(expected) as raised:
        await create(**{"model": "gpt-4o", "messages": HI, **body})

    assert raised.value.code == code


async def test_unknown_model_in_openais_words(url: str) -> None:
    """An unknown model is refused in exactly OpenAI's words."""
    status, _, body = await post(url, {"model": "gpt-4o-invalid", "messages": HI})

    assert status == 404
    assert error(body) == {
        "message": "The model 'gpt-4o-invalid' does not exist",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"model": "gpt-4o", "messages": [', 400, None),
        (b"[]", 400, None),
        (b"", 400, None),
        (b"\xff\xfe\xfa", 400, None),
        (b"[" * 100_000, 400, None),
        ({"messages": HI}, 400, None),
        ({"model": "gpt-4o"}, 400, "missing_required_parameter"),
        ({"model": "gpt-4o", "messages": "hi"}, 400, "invalid_type"),
        ({"model": "gpt-4o", "messages": ["hi"]}, 400, "invalid_type"),
        ({"model": "gpt-4o", "messages": HI, "stream_options": {}}, 400, None),
        ({"model": "gpt-4o", "messages": HI, "stream": True, "stream_options": 1}, 400, "invalid_type"),
        ({"model": "strict", "messages": HI, "stream": True, "stream_options": {}}, 400, "unknown_parameter"),
        (b" " * (11 * 1024 * 1024), 413, "request_too_large"),
    ],
)
async def test_wrong_bodies_are_refused(url: str, body: Any, status: int, code: str | None) -> None:
    """A body that OpenAI would not take is refused as an invalid request."""
    got, _, answer = await post(url, body)

    assert (got, error(answer)["type"], error(answer)["code"]) == (status, "invalid_request_error", code)


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}',
        b'{"model": "gpt-4o", "messages": [{"content": "\\ud800"}], "seed": ' + b"7" * 5000 + b"}",
        b'{"model": "gpt-4o\\ud800", "messages": [{"content": [1, {"type": []}, {}]}], "x": NaN}',
        b'{"model": "gpt-4o", "messages": [{"content": null}], "tools": [1, {}], "stop": [1], "n": null}',
        b'{"model": "gpt-4o", "messages": [{}], "tools": [{"function": {"name": "f", "parameters": 1}}]}',
    ],
)
async def test_odd_bodies_are_answered(url: str, body: bytes) -> None:
    """A byte order mark, lone surrogates, NaN, endless integers and members of a wrong type do no harm."""
    status, _, answer = await post(url, body)

    assert (status, json.loads(answer)["object"]) == (200, "chat.completion")


async def test_missing_key_is_refused(url: str) -> None:
    """Without a credential, or with a scheme alone, the answer is 401."""
    for headers in ({}, {"Authorization": "Bearer "}):
        status, _, body = await post(url, {"model": "gpt-4o", "messages": HI}, headers)

        assert (status, error(body)["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/chat/completions"), ("POST", "/nothing"), ("PUT", "")]
)
async def test_other_paths_are_unknown(url: str, method: str, path: str) -> None:
    """Any other method or path is 404 in OpenAI's shape."""
    async with aiohttp.ClientSession() as session, session.request(method, url + path, headers=KEY) as answer:
        body = await answer.read()

    assert (answer.status, error(body)["message"]) == (404, f"Invalid URL ({method} /v1{path})")


async def test_any_prefix_will_do(url: str) -> None:
    """Chats are answered below any prefix, Azure's among them."""
    prefix = url.removesuffix("/v1") + "/openai/deployments/mine"
    status, _, _ = await post(prefix, {"model": "gpt-4o", "messages": HI}, {"api-key": "sk-1"})

    assert status == 200


async def test_portal_shows_a_page(url: str) -> None:
    """A portal in the way answers 502 with HTML."""
    status, headers, body = await post(url, {"model": "portal", "messages": HI})

    assert (status, headers["Content-Type"], body[:15]) == (502, "text/html", b"<!DOCTYPE html>")


async def test_flaky_stream_ends_in_an_error(url: str) -> None:
    """A flaky stream begins well, then tells an error as an event, and has no end mark."""
    status, _, stream = await post(url, {"model": "flaky", "messages": HI, "stream": True})
    *told, last, rest = stream.split(b"\n\n")

    assert (status, rest) == (200, b"")
    assert len(told) == 6
    assert error(last.removeprefix(b"data: "))["type"] == "server_error"


async def test_cut_stream_looks_cut(url: str) -> None:
    """A cut stream arrives up to the cut, and then as a broken transfer."""
    body = {"model": "cut", "messages": HI, "stream": True}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/chat/completions", json=body, headers=KEY) as answer,
    ):
        arrived = [await answer.content.readuntil(b"\n\n") for _ in range(6)]
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.read()

    assert all(event.startswith(b'data: {"id"') for event in arrived)


async def test_headers_count_down(url: str) -> None:
    """A normal answer carries an id of its own, its time, and limits that fall with each request of a key."""
    body = {"model": "gpt-4o", "messages": HI}
    _, first, answer = await post(url, body)
    _, second, _ = await post(url, body)
    used = json.loads(answer)["usage"]["total_tokens"]

    assert first["x-request-id"] != second["x-request-id"]
    assert (first["openai-version"], first["openai-processing-ms"]) == ("2020-10-01", "0")
    assert (first["x-ratelimit-limit-requests"], first["x-ratelimit-limit-tokens"]) == ("1000", "400000")
    assert [h["x-ratelimit-remaining-requests"] for h in (first, second)] == ["999", "998"]
    assert int(first["x-ratelimit-remaining-tokens"]) - int(second["x-ratelimit-remaining-tokens"]) == used
    assert first["x-ratelimit-reset-tokens"].endswith("s")


async def test_limited_says_when_to_return(url: str) -> None:
    """A 429 tells how long to wait, and that nothing remains."""
    _, headers, _ = await post(url, {}, {"Authorization": "Bearer sk-limited"})

    assert (headers["retry-after"], headers["x-ratelimit-remaining-requests"]) == ("2", "0")


async def test_limits_come_back() -> None:
    """When its window is over, a key has all of its limit again."""
    upstream = SimulatedUpstream()
    upstream._headers("sk-1", 100, 0.0)
    upstream._windows["sk-1"].opened -= 360
    headers = upstream._headers("sk-1", 7, 0.0)

    assert headers["x-ratelimit-remaining-tokens"] == "399993"
    assert headers["x-ratelimit-reset-requests"] == "6m0s"


async def test_a_share_is_limited_at_random() -> None:
    """With a share of 1 every request is told to slow down."""
    async with TestServer(SimulatedUpstream(pace=0, limited_share=1).app()) as server:
        status, _, _ = await post(str(server.make_url("/v1")), {"model": "gpt-4o", "messages": HI})

    assert status == 429


async def test_requests_are_kept_as_they_came(upstream: SimulatedUpstream, url: str) -> None:
    """What arrived can be looked at: target, headers and bytes."""
    await post(url, b'{"seed": 1.0 }', {**KEY, "X-Odd": "1"})
    seen = upstream.seen[-1]

    assert (seen.method, seen.target, seen.body) == ("POST", "/v1/chat/completions", b'{"seed": 1.0 }')
    assert seen.headers["x-odd"] == "1"


async def test_client_that_leaves_is_counted() -> None:
    """A client that goes away in mid-stream is noticed."""
    upstream = SimulatedUpstream(pace=0.05)
    async with TestServer(upstream.app()) as server, aiohttp.ClientSession() as session:
        body = {"model": "gpt-4o", "messages": HI, "stream": True}
        answer = await session.post(server.make_url("/v1/chat/completions"), json=body, headers=KEY)
        await answer.content.readany()
        answer.close()
        async with asyncio.timeout(10):
            while not upstream.left:  # noqa: ASYNC110  # a count, which only this test waits for
                await asyncio.sleep(0.01)

    assert upstream.left == 1


async def test_seed_changes_the_answer() -> None:
    """The same seed gives the same bytes, another seed another answer."""
    answers = []
    for seed in (0, 0, 1):
        async with TestServer(make_app(pace=0, seed=seed, created=CREATED)) as server:
            answers.append(await post(str(server.make_url("/v1")), {"model": "gpt-4o", "messages": HI}))

    assert answers[0][2] == answers[1][2]
    assert answers[0][2] != answers[2][2]


def test_pace_is_lifelike() -> None:
    """The first token takes 0.2 to 0.8 seconds, each other 15 to 40 ms; who reasons takes longer to begin."""
    chats = [{"model": "gpt-4o", "messages": [{"content": str(n)}]} for n in range(50)]
    answers = [answer_to(chat, seed=0, created=0) for chat in chats]
    steps = list(answers[0].steps(usage=False))
    thinking = answer_to({"model": "o1", "messages": HI}, seed=0, created=0)

    assert all(0.2 <= answer.first_token_s <= 0.8 for answer in answers)
    assert all(0.015 <= answer.token_s <= 0.040 for answer in answers)
    assert sum(step.delay_s for step in steps[:2]) == pytest.approx(answers[0].first_token_s)
    assert sum(step.delay_s for step in steps) == pytest.approx(answers[0].duration_s, rel=0.05)
    assert thinking.first_token_s > 0.2 + 64 * 0.004


def test_routers_tell_what_they_charged() -> None:
    """A model with a router's name comes with its cost in the usage, others without."""
    costs = [
        answer_to({"model": model, "messages": HI}, seed=0, created=0).usage.get("cost")
        for model in ("meta-llama/llama-3.3-70b-instruct", "gpt-4o")
    ]

    assert costs[0] is not None
    assert costs[0] > 0
    assert costs[1] is None


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.12, "120ms"), (1, "1s"), (8.64, "8.64s"), (59.999, "1m0s"), (360, "6m0s"), (3602, "1h0m2s")],
)
def test_durations_are_written_as_in_go(seconds: float, expected: str) -> None:
    """Durations look like `6m0s`."""
    assert go_duration(seconds) == expected


@pytest.mark.parametrize(
    "text", ["", "It's 9,5 % of a\n\tlong-winded “sentence”…", "计量(token) 🙂🙂", "\ud800 _x_ 한국어"]
)
def test_pieces_make_the_text(text: str) -> None:
    """Split into tokens and joined again, a text is the same."""
    assert "".join(words.pieces(text)) == text


def test_count_is_about_a_quarter_of_the_characters() -> None:
    """Four characters are a token, and so is one CJK character."""
    assert [words.count(text) for text in ("", "abcd", "abcde", "计量", "计量 ab")] == [0, 1, 2, 2, 3]
