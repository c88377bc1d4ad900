"""Anthropic's official SDK gives through Meter what it gives directly, and each call is metered."""

from __future__ import annotations

import asyncio
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
import pytest_asyncio
from anthropic import Anthropic, AsyncAnthropic
from clients.everything import Everything, standing
from clients.sameness import Operation, came, came_async, logged, plain, same_fields, sent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from clients.lines import Lines
    from stage import House

pytestmark = pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")  # models have an end of life

KEY = "sk-ant-user"
MODEL = "claude-sonnet-4-5"
HELLO: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": 2048,
    "messages": [{"role": "user", "content": "今天北京的天气怎么样?"}],
}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS: dict[str, Any] = {**HELLO, "tools": [{"name": "get_weather", "input_schema": CITY}]}
THINKS: dict[str, Any] = {**HELLO, "thinking": {"type": "enabled", "budget_tokens": 1024}}
CACHED = {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
BOTH: dict[str, Any] = {**TOOLS, **THINKS, "system": [CACHED]}
STREAMED = {"stream": True}
UPLOAD = ("a.txt", b"\x00\xff otters \r\n" * 10_000, "text/plain")
BATCH = {"requests": [{"custom_id": f"request-{number}", "params": HELLO} for number in range(2)]}
BATCH_ID = {"message_batch_id": "msgbatch_1"}
FILE_ID = {"file_id": "file_1"}

OF_MESSAGES: dict[str, Any] = {
    "operation": "messages",
    "model": MODEL,
    "usage": {
        "input": 21,
        "input_cached": 2048,
        "input_cache_write_5m": 60,
        "input_cache_write_1h": 40,
        "output": 77,
    },
    "source": "reported",
}
CALLS = {"hello": HELLO, "tools": TOOLS, "thinking": THINKS, "all of it": BOTH}

OPERATIONS: dict[str, Operation] = {
    **{
        f"messages, {name}": Operation("messages.create", call, **OF_MESSAGES) for name, call in CALLS.items()
    },
    **{
        f"messages, {name}, streamed": Operation(
            "messages.create", {**call, **STREAMED}, **OF_MESSAGES, stream=True
        )
        for name, call in CALLS.items()
    },
    "beta messages": Operation("beta.messages.create", BOTH, **OF_MESSAGES),
    "beta messages, streamed": Operation(
        "beta.messages.create", {**BOTH, **STREAMED}, **OF_MESSAGES, stream=True
    ),
    "tokens counted": Operation(
        "messages.count_tokens",
        {"model": MODEL, "messages": HELLO["messages"]},
        operation="count_tokens",
        model=MODEL,
    ),
    "batch": Operation("messages.batches.create", BATCH, operation="batches"),
    "batches": Operation("messages.batches.list", {"limit": 2}, operation="batches", exchanges=2),
    "batch, polled": Operation("messages.batches.retrieve", BATCH_ID, operation="batches"),
    "batch cancelled": Operation("messages.batches.cancel", BATCH_ID, operation="batches"),
    "batch deleted": Operation("messages.batches.delete", BATCH_ID, operation="batches"),
    "models": Operation("models.list", {"limit": 2}, operation="models", exchanges=2),
    "model": Operation("models.retrieve", {"model_id": MODEL}, operation="models"),
    "file": Operation("beta.files.upload", {"file": UPLOAD}, operation="files"),
    "files": Operation("beta.files.list", {"limit": 2}, operation="files", exchanges=2),
    "file, fetched": Operation("beta.files.retrieve_metadata", FILE_ID, operation="files"),
    "file's content": Operation("beta.files.download", FILE_ID, operation="files"),
    "file deleted": Operation("beta.files.delete", FILE_ID, operation="files"),
}


@pytest.fixture(scope="module")
def stage() -> Iterator[tuple[Everything, House]]:
    """Give the upstream that answers everything, and Meter in front of it."""
    with standing() as stage:
        yield stage


@pytest.fixture(scope="module")
def everything(stage: tuple[Everything, House]) -> Everything:
    """Give the upstream, and what it was asked."""
    return stage[0]


@pytest.fixture(scope="module")
def house(stage: tuple[Everything, House]) -> House:
    """Give Meter in front of the upstream."""
    return stage[1]


@pytest.fixture(scope="module")
def clients(house: House) -> Iterator[tuple[Anthropic, Anthropic]]:
    """Give a client of the upstream itself, and one of Meter."""
    options: dict[str, Any] = {"api_key": KEY, "max_retries": 0}
    with (
        Anthropic(base_url=house.upstream_url, **options) as direct,
        Anthropic(base_url=f"{house.url}/anthropic", **options) as metered,
    ):
        yield direct, metered


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def async_clients(house: House) -> AsyncIterator[tuple[AsyncAnthropic, AsyncAnthropic]]:
    """Give an asynchronous client of the upstream itself, and one of Meter."""
    options: dict[str, Any] = {"api_key": KEY, "max_retries": 0}
    async with (
        AsyncAnthropic(base_url=house.upstream_url, **options) as direct,
        AsyncAnthropic(base_url=f"{house.url}/anthropic", **options) as metered,
    ):
        yield direct, metered


class TestOperations:
    """Each operation of the table."""

    @pytest.mark.parametrize("name", OPERATIONS)
    def test_objects(
        self, clients: tuple[Anthropic, Anthropic], everything: Everything, lines: Lines, name: str
    ) -> None:
        """The upstream is sent the same and the program given the same, and one log line tells of each."""
        operation = OPERATIONS[name]
        everything.asked.clear()

        expected, got = (came(client, operation) for client in clients)

        assert expected
        assert expected == got
        asks, count = list(everything.asked), operation.exchanges
        assert sent(asks[:count]) == sent(asks[count:])
        told = lines.take(count)
        assert [operation.line] * count == [logged(line) for line in told]
        assert {"anthropic"} == {line["upstream"] for line in told}

    @pytest.mark.parametrize("name", OPERATIONS)
    def test_bytes(self, clients: tuple[Anthropic, Anthropic], name: str) -> None:
        """The body is the same to the byte, and the header fields are the upstream's."""
        operation = OPERATIONS[name]

        def read(client: Anthropic) -> tuple[Any, bytes]:
            method = attrgetter(operation.via("with_streaming_response"))(client)
            with method(**operation.call) as answer:
                return answer.headers, b"".join(answer.iter_bytes())

        (expected_fields, expected), (fields, got) = map(read, clients)

        assert expected
        assert expected == got
        same_fields(expected_fields, fields)

    @pytest.mark.parametrize("name", OPERATIONS)
    @pytest.mark.asyncio(loop_scope="module")
    async def test_async(self, async_clients: tuple[AsyncAnthropic, AsyncAnthropic], name: str) -> None:
        """The asynchronous client gives the same."""
        expected, got = await asyncio.gather(
            *(came_async(client, OPERATIONS[name]) for client in async_clients)
        )

        assert expected
        assert expected == got

    def test_batch_results(self, clients: tuple[Anthropic, Anthropic], lines: Lines) -> None:
        """The results of a batch are the same line by line, and are no new consumption."""

        def results(client: Anthropic) -> list[Any]:
            return [plain(each) for each in client.messages.batches.results("msgbatch_1")]

        expected, got = map(results, clients)

        assert ["request-0", "request-1"] == [each["custom_id"] for each in got]
        assert expected == got
        told = [(line["operation"], line["usage_source"], line["usage"]) for line in lines.take(2)]
        assert [("batches", "none", {})] * 2 == told

    @pytest.mark.parametrize("name", CALLS)
    def test_stream_helper(self, clients: tuple[Anthropic, Anthropic], lines: Lines, name: str) -> None:
        """The SDK's helper puts the same message together of its events."""

        def final(client: Anthropic) -> tuple[list[Any], Any]:
            with client.messages.stream(**CALLS[name]) as stream:
                return [plain(event) for event in stream], plain(stream.get_final_message())

        expected, got = map(final, clients)

        assert expected == got
        line = lines.one()
        assert OPERATIONS[f"messages, {name}, streamed"].line == logged(line)
        assert [got[1]["stop_reason"]] == line["finish_reasons"]
        assert line["ttft_s"] is not None

    @pytest.mark.asyncio(loop_scope="module")
    async def test_text_as_it_comes(self, async_clients: tuple[AsyncAnthropic, AsyncAnthropic]) -> None:
        """The texts of a stream come in the same pieces."""

        async def texts(client: AsyncAnthropic) -> list[str]:
            async with client.messages.stream(**HELLO) as stream:
                return [text async for text in stream.text_stream]

        expected, got = await asyncio.gather(*map(texts, async_clients))

        assert len(expected) > 3
        assert expected == got

    def test_rate_limits(self, clients: tuple[Anthropic, Anthropic], house: House, lines: Lines) -> None:
        """What an answer's fields say of a limit is a gauge."""
        clients[1].messages.create(**HELLO)
        lines.one()

        labels = {"upstream": "anthropic", "resource": "input_tokens", "model": MODEL}
        assert 30_000 == house.value("meter_ratelimit_limit", **labels)
        assert 29_000 == house.value("meter_ratelimit_remaining", **labels)

    def test_bearer(self, house: House, lines: Lines) -> None:
        """A token in `Authorization` is a key of its own, and neither is logged."""
        with Anthropic(base_url=f"{house.url}/anthropic", api_key=KEY) as client:
            client.messages.create(**HELLO)
        with Anthropic(base_url=f"{house.url}/anthropic", auth_token="sk-ant-oat") as client:
            client.messages.create(**HELLO)

        keys = {line["key"] for line in lines.take(2)}
        assert 2 == len(keys)
        assert all(key.startswith("k_") for key in keys)
        assert b"sk-ant" not in house.log.getvalue()


STATUSES: dict[int, tuple[type[anthropic.APIStatusError], str, str]] = {
    400: (anthropic.BadRequestError, "client_error", "invalid_request_error"),
    401: (anthropic.AuthenticationError, "client_error", "authentication_error"),
    404: (anthropic.NotFoundError, "client_error", "not_found_error"),
    429: (anthropic.RateLimitError, "client_error", "rate_limit_error"),
    500: (anthropic.InternalServerError, "upstream_error", "api_error"),
    529: (anthropic.InternalServerError, "upstream_error", "overloaded_error"),
}


class TestErrors:
    """What programs are told when it goes wrong."""

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("status", STATUSES)
    def test_statuses(
        self, clients: tuple[Anthropic, Anthropic], lines: Lines, status: int, *, stream: bool
    ) -> None:
        """A status raises the same exception with the same body, and nothing is counted for it."""
        kind, outcome, error_type = STATUSES[status]
        errors = []
        for client in clients:
            with pytest.raises(kind) as caught:
                client.messages.create(**HELLO, stream=stream, metadata={"user_id": f"status-{status}"})
            errors.append(caught.value)

        expected, got = errors
        assert (type(expected), str(expected), expected.body) == (type(got), str(got), got.body)
        same_fields(expected.response.headers, got.response.headers)
        line = lines.one()
        assert (status, outcome, error_type, "none", {}, False, MODEL) == (
            line["status"],
            line["outcome"],
            line["error_type"],
            line["usage_source"],
            line["usage"],
            line["stream"],
            line["request_model"],
        )

    def test_inside_a_stream(self, clients: tuple[Anthropic, Anthropic], lines: Lines) -> None:
        """An error inside a stream raises after the same events, and what was said until then is known."""

        def failure(client: Anthropic) -> tuple[list[Any], str]:
            events: list[Any] = []
            with pytest.raises(anthropic.APIStatusError) as caught:  # noqa: PT012 - some events come before
                for event in client.messages.create(**HELLO, stream=True, metadata={"user_id": "overloads"}):
                    events.append(plain(event))  # noqa: PERF401 - those before the error are wanted
            return events, str(caught.value)

        expected, got = map(failure, clients)

        assert len(expected[0]) > 3
        assert expected == got
        line = lines.one()
        assert ("stream_error", "overloaded_error", True) == (
            line["outcome"],
            line["error_type"],
            line["stream"],
        )
