"""The official SDK's WebSockets give through Meter what they give directly."""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from openai import AsyncOpenAI, OpenAI
from stage import Loop, running_house, until
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stage import House
    from websockets.asyncio.server import ServerConnection

# The SDK opens its WebSockets in a way that the library has come to deprecate.
pytestmark = pytest.mark.filterwarnings(r"ignore:connect\(\) must be used:DeprecationWarning")

KEY = "sk-user"
USAGE = {
    "total_tokens": 253,
    "input_tokens": 132,
    "output_tokens": 121,
    "input_token_details": {
        "text_tokens": 119,
        "audio_tokens": 13,
        "cached_tokens": 64,
        "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 0},
    },
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
}
COUNTED = {
    "input": 55,
    "input_audio": 13,
    "input_cached": 64,
    "input_cached_audio": 0,
    "output": 30,
    "output_audio": 91,
}
TEXT_USAGE = {
    "input_tokens": 328,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 52,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 380,
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1_760_000_000,
    "model": "gpt-5-2025-08-07",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}


async def say(server: ServerConnection, kind: str, **members: Any) -> None:
    """Send a message."""
    await server.send(json.dumps({"type": kind, "event_id": "event_1", **members}))


async def talk(server: ServerConnection) -> None:
    """Answer as a realtime session does."""
    session = {
        "type": "realtime",
        "object": "realtime.session",
        "id": "sess_1",
        "model": "gpt-realtime-2025-08-28",
    }
    await say(server, "session.created", session=session)
    async for message in server:
        if json.loads(message)["type"] != "response.create":
            continue
        place = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
        begun = {"id": "resp_1", "object": "realtime.response", "status": "in_progress", "output": []}
        await say(server, "response.created", response=begun)
        await say(server, "response.output_audio_transcript.delta", delta="Hello", **place)
        await say(server, "response.output_audio.delta", delta="AAAA", **place)
        await say(server, "response.done", response=begun | {"status": "completed", "usage": USAGE})


async def respond(server: ServerConnection) -> None:
    """Answer as the Responses API does over a WebSocket."""
    async for _ in server:
        place = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}
        await say(
            server, "response.created", sequence_number=0, response=RESPONSE | {"status": "in_progress"}
        )
        await say(server, "response.output_text.delta", sequence_number=1, delta="Hello", **place)
        ended = RESPONSE | {"status": "completed", "usage": TEXT_USAGE}
        await say(server, "response.completed", sequence_number=2, response=ended)


async def answer(server: ServerConnection) -> None:
    """Answer by the path that the WebSocket was opened at."""
    assert server.request is not None
    with suppress(ConnectionClosed):
        await (talk if "/realtime" in server.request.path else respond)(server)


@pytest.fixture(scope="module")
def front() -> Iterator[House]:
    """Give Meter in front of a server of WebSockets."""
    with _server() as url, running_house(url) as house:
        yield house


@contextmanager
def _server() -> Iterator[str]:
    loop = Loop()

    async def start() -> Any:
        return await serve(answer, "127.0.0.1", 0)

    async def stop() -> None:
        server.close()
        await server.wait_closed()

    server = loop.run(start())
    yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
    loop.run(stop())
    loop.close()


def sdk(house: House, *, direct: bool = False) -> OpenAI:
    """Return a client of Meter, or of the upstream."""
    url = house.upstream_url if direct else house.url
    return OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)


def heard(connection: Any, end: str) -> list[dict[str, Any]]:
    """Return the events of a connection up to the one that ends a response."""
    events: list[dict[str, Any]] = []
    while not events or events[-1]["type"] != end:
        events.append(connection.recv().to_dict())
    return events


def recorded(house: House, before: int) -> list[dict[str, Any]]:
    """Return the log lines of one connection and its one response."""
    until(lambda: len(house.lines()) >= before + 2)
    return house.lines()[before:]


def test_talks_in_realtime(front: House) -> None:
    """A realtime session has the same events, and its response is recorded by what it used."""
    before = len(front.lines())

    def events(*, direct: bool) -> list[dict[str, Any]]:
        with (
            sdk(front, direct=direct) as client,
            client.realtime.connect(model="gpt-realtime") as connection,
        ):
            connection.session.update(session={"type": "realtime", "instructions": "Be brief."})
            connection.input_audio_buffer.append(audio="A" * 10_000)
            connection.response.create()
            return heard(connection, "response.done")

    assert events(direct=True) == events(direct=False)
    inner, outer = recorded(front, before)
    assert (COUNTED, "reported", "ok", "realtime") == (
        inner["usage"],
        inner["usage_source"],
        inner["outcome"],
        inner["operation"],
    )
    assert ("gpt-realtime", "gpt-realtime-2025-08-28") == (inner["request_model"], inner["response_model"])
    assert ["completed"] == inner["finish_reasons"]
    assert inner["key"] == outer["key"]
    assert ("realtime", "none", "ok") == (outer["operation"], outer["usage_source"], outer["outcome"])


async def test_talks_asynchronously(front: House) -> None:
    """The asynchronous client is served alike."""
    before = len(front.lines())
    async with (
        AsyncOpenAI(base_url=f"{front.url}/v1", api_key=KEY, max_retries=0) as client,
        client.realtime.connect(model="gpt-realtime") as connection,
    ):
        await connection.response.create()
        kinds = []
        while "response.done" not in kinds:
            kinds.append((await connection.recv()).type)

    assert "session.created" == kinds[0]
    assert [COUNTED, {}] == [line["usage"] for line in recorded(front, before)]


def test_responds_over_a_websocket(front: House) -> None:
    """The Responses API over a WebSocket has the same events, and each response is recorded."""
    before = len(front.lines())

    def events(*, direct: bool) -> list[dict[str, Any]]:
        with sdk(front, direct=direct) as client, client.responses.connect() as connection:
            connection.response.create(model="gpt-5", input="Hello")
            return heard(connection, "response.completed")

    assert events(direct=True) == events(direct=False)
    inner, outer = recorded(front, before)
    assert (
        "responses",
        "gpt-5",
        "gpt-5-2025-08-07",
        {"input": 328, "input_cached": 0, "output": 52, "output_reasoning": 0},
    ) == (
        inner["operation"],
        inner["request_model"],
        inner["response_model"],
        inner["usage"],
    )
    assert ("realtime", "/v1/responses", "none") == (outer["operation"], outer["path"], outer["usage_source"])
