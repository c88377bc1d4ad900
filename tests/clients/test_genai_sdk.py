"""Google's official SDK gives through Meter what it gives directly, and each call is metered."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
import requests
from clients.everything import Everything, standing
from clients.sameness import PNG, SOUND, Operation, came, came_async, logged, plain, same_fields, sent
from google import genai
from google.genai import errors, types

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from clients.lines import Lines
    from stage import House

pytestmark = pytest.mark.filterwarnings(
    "ignore:Inheritance class:DeprecationWarning"
)  # the SDK's own sessions

KEY = "AIza-user"
MODEL = "gemini-2.5-flash"
HELLO: dict[str, Any] = {"model": MODEL, "contents": "今天北京的天气怎么样?"}
CITY = types.Schema(type=types.Type.OBJECT, properties={"city": types.Schema(type=types.Type.STRING)})
WEATHER = types.FunctionDeclaration(name="get_weather", parameters=CITY)
TOOLS: dict[str, Any] = {
    **HELLO,
    "config": types.GenerateContentConfig(tools=[types.Tool(function_declarations=[WEATHER])]),
}
THINKS: dict[str, Any] = {
    **HELLO,
    "config": types.GenerateContentConfig(
        system_instruction="Be brief.",
        thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=1024),
    ),
}
SEES: dict[str, Any] = {
    "model": MODEL,
    "contents": ["What is this?", types.Part.from_bytes(data=PNG[1], mime_type="image/png")],
}
CALLS = {"hello": HELLO, "tools": TOOLS, "thinking": THINKS, "an image": SEES}

OF_CONTENT: dict[str, Any] = {
    "operation": "generate_content",
    "model": MODEL,
    "usage": {"input": 136, "input_cached": 128, "output": 33, "output_reasoning": 50},
    "source": "reported",
}
EMBEDDING = {"model": "gemini-embedding-001"}

OPERATIONS: dict[str, Operation] = {
    **{
        f"content, {name}": Operation("models.generate_content", call, **OF_CONTENT)
        for name, call in CALLS.items()
    },
    **{
        f"content, {name}, streamed": Operation(
            "models.generate_content_stream", call, **OF_CONTENT, stream=True
        )
        for name, call in CALLS.items()
    },
    "tokens counted": Operation("models.count_tokens", HELLO, operation="count_tokens", model=MODEL),
    "models": Operation("models.list", operation="models", exchanges=2),
    "model": Operation("models.get", {"model": MODEL}, operation="models"),
    "files": Operation("files.list", operation="files", exchanges=2),
    "file": Operation("files.get", {"name": "files/abc"}, operation="files"),
    "file's content": Operation("files.download", {"file": "files/abc"}, operation="files"),
    "file deleted": Operation("files.delete", {"name": "files/abc"}, operation="files"),
    "cache": Operation(
        "caches.create",
        {"model": MODEL, "config": types.CreateCachedContentConfig(contents="long", ttl="300s")},
    ),
    "caches": Operation("caches.list", exchanges=2),
    "cache, fetched": Operation("caches.get", {"name": "cachedContents/abc"}),
    "cache deleted": Operation("caches.delete", {"name": "cachedContents/abc"}),
    "batches": Operation("batches.list", operation="batches", exchanges=2),
    "batch, polled": Operation("batches.get", {"name": "batches/abc"}, operation="batches"),
}
EMBEDDED: dict[str, dict[str, Any]] = {
    "one text": {**EMBEDDING, "contents": "otter"},
    "several texts": {**EMBEDDING, "contents": ["otter", "beaver", "水獭"]},
}


@pytest.fixture(scope="module")
def stage() -> Iterator[tuple[Everything, House]]:
    """Give the upstream that answers everything, and Meter in front of it."""
    with standing("gemini") as stage:
        yield stage


@pytest.fixture(scope="module")
def everything(stage: tuple[Everything, House]) -> Everything:
    """Give the upstream, and what it was asked."""
    return stage[0]


@pytest.fixture(scope="module")
def house(stage: tuple[Everything, House]) -> House:
    """Give Meter in front of the upstream."""
    return stage[1]


def sdk(url: str) -> genai.Client:
    """Return a client of a base URL; its asynchronous half speaks through aiohttp."""
    return genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=url))


@pytest.fixture(scope="module")
def clients(house: House) -> Iterator[tuple[genai.Client, genai.Client]]:
    """Give a client of the upstream itself, and one of Meter."""
    direct, metered = sdk(house.upstream_url), sdk(house.url)
    yield direct, metered
    direct.close()
    metered.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def async_clients(house: House) -> AsyncIterator[tuple[Any, Any]]:
    """Give an asynchronous client of the upstream itself, and one of Meter."""
    direct, metered = sdk(house.upstream_url), sdk(house.url)
    yield direct.aio, metered.aio
    await direct.aio.aclose()
    await metered.aio.aclose()
    direct.close()
    metered.close()


class TestOperations:
    """Each operation of the table."""

    @pytest.mark.parametrize("name", OPERATIONS)
    def test_objects(
        self, clients: tuple[genai.Client, genai.Client], everything: Everything, lines: Lines, name: str
    ) -> None:
        """The upstream is sent the same and the program given the same, and one log line tells of each."""
        operation = OPERATIONS[name]
        everything.asked.clear()

        expected, got = (came(client, operation) for client in clients)

        assert expected == got
        asks, count = list(everything.asked), operation.exchanges
        assert sent(asks[:count]) == sent(asks[count:])
        told = lines.take(count)
        assert [operation.line] * count == [logged(line) for line in told]
        assert {"gemini"} == {line["upstream"] for line in told}

    @pytest.mark.parametrize("name", OPERATIONS)
    def test_bytes(
        self, clients: tuple[genai.Client, genai.Client], everything: Everything, house: House, name: str
    ) -> None:
        """What the SDK asks is answered with the same bytes, and the header fields are the upstream's."""
        came(clients[0], OPERATIONS[name])
        ask = everything.asked[-1]

        def read(url: str) -> tuple[Any, bytes]:
            with requests.request(
                ask.method, url + ask.target, data=ask.body, headers=ask.headers, stream=True, timeout=20
            ) as response:
                return response.headers, response.raw.read(decode_content=False)

        (expected_fields, expected), (fields, got) = map(read, (house.upstream_url, house.url))

        assert expected
        assert expected == got
        same_fields(expected_fields, fields)

    @pytest.mark.parametrize("name", OPERATIONS)
    @pytest.mark.asyncio(loop_scope="module")
    async def test_async(self, async_clients: tuple[Any, Any], name: str) -> None:
        """The asynchronous client gives the same."""
        expected, got = await asyncio.gather(
            *(came_async(client, OPERATIONS[name]) for client in async_clients)
        )

        assert expected == got

    @pytest.mark.parametrize("name", EMBEDDED)
    def test_embeddings(self, clients: tuple[genai.Client, genai.Client], lines: Lines, name: str) -> None:
        """Embeddings are the same; their answers tell no usage, so that it is estimated."""
        expected, got = (plain(client.models.embed_content(**EMBEDDED[name])) for client in clients)

        assert expected["embeddings"]
        assert expected == got
        line = lines.one()
        assert ("embeddings", "gemini-embedding-001", "estimated", ["input"]) == (
            line["operation"],
            line["model"],
            line["usage_source"],
            list(line["usage"]),
        )
        assert line["usage"]["input"] > 0

    def test_upload(self, house: House, everything: Everything, lines: Lines) -> None:
        """An upload in two requests goes through Meter as a whole where its call names the base URL."""

        def uploaded(url: str) -> Any:
            options = types.HttpOptions(base_url=url)
            config = types.UploadFileConfig(mime_type="audio/wav", http_options=options)
            with sdk(url) as client:
                return plain(client.files.upload(file=io.BytesIO(SOUND[1]), config=config))

        expected, got = uploaded(house.upstream_url), uploaded(house.url)

        assert str(len(SOUND[1])) == str(got["size_bytes"])
        assert expected == got
        assert SOUND[1] == everything.asked[-1].body
        begun, sent_line = lines.take(2)
        assert {("files", "none", "ok")} == {
            (line["operation"], line["usage_source"], line["outcome"]) for line in (begun, sent_line)
        }
        assert len(SOUND[1]) == sent_line["request_bytes"]

    def test_chat(self, clients: tuple[genai.Client, genai.Client], lines: Lines) -> None:
        """A conversation is the same turn by turn, streamed and not."""

        def held(client: genai.Client) -> list[Any]:
            chat = client.chats.create(model=MODEL)
            first = plain(chat.send_message("Hello"))
            return [first, *map(plain, chat.send_message_stream("And now?")), *map(plain, chat.get_history())]

        expected, got = map(held, clients)

        assert expected == got
        assert [False, True] == [line["stream"] for line in lines.take(2)]


STATUSES: dict[int, tuple[type[errors.APIError], str, str]] = {
    400: (errors.ClientError, "client_error", "INVALID_ARGUMENT"),
    401: (errors.ClientError, "client_error", "UNAUTHENTICATED"),
    404: (errors.ClientError, "client_error", "NOT_FOUND"),
    429: (errors.ClientError, "client_error", "RESOURCE_EXHAUSTED"),
    500: (errors.ServerError, "upstream_error", "INTERNAL"),
    529: (errors.ServerError, "upstream_error", "http_529"),
}


class TestErrors:
    """What programs are told when it goes wrong."""

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("status", STATUSES)
    def test_statuses(
        self, clients: tuple[genai.Client, genai.Client], lines: Lines, status: int, *, stream: bool
    ) -> None:
        """A status raises the same exception with the same details, and nothing is counted for it."""
        kind, outcome, error_type = STATUSES[status]
        name = "generate_content_stream" if stream else "generate_content"
        caught = []
        for client in clients:
            with pytest.raises(kind) as error:
                plain(getattr(client.models, name)(model=MODEL, contents=f"status-{status}"))
            caught.append(error.value)

        expected, got = caught
        assert (status, str(expected), expected.details) == (got.code, str(got), got.details)
        line = lines.one()
        assert (status, outcome, error_type, "none", {}, False) == (
            line["status"],
            line["outcome"],
            line["error_type"],
            line["usage_source"],
            line["usage"],
            line["stream"],
        )
