"""Every operation of OpenAI's official SDK gives through Meter what it gives directly, and is metered.

`OPERATIONS` is both what is called and what the log is to say of it; what the table does not name at all is
swept over below, with made-up arguments.
"""

from __future__ import annotations

import asyncio
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import openai
import pytest
import pytest_asyncio
from clients.everything import Everything, standing
from clients.sameness import PNG, SOUND, Operation, came, came_async, logged, plain, same_fields, sent
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from clients.lines import Lines
    from stage import House

pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # older operations are too

KEY = "sk-user"
HELLO = [{"role": "user", "content": "你好"}]
CHAT: dict[str, Any] = {"model": "gpt-4o", "messages": HELLO}
ASKED = {"stream": True, "stream_options": {"include_usage": True}}
OTTER = {"model": "gpt-image-1", "prompt": "An otter"}
LIMITS: dict[str, Any] = {"limit": 2}

OF_CHAT: dict[str, Any] = {
    "operation": "chat",
    "model": "gpt-4o-2024-08-06",
    "usage": {"input": 56, "input_cached": 64, "output": 28, "output_reasoning": 12},
    "source": "reported",
}
OF_TEXT: dict[str, Any] = {
    "operation": "text_completion",
    "model": "gpt-3.5-turbo-instruct",
    "usage": {"input": 5, "output": 7},
    "source": "reported",
}
OF_RESPONSES: dict[str, Any] = {
    "operation": "responses",
    "model": "gpt-5-2025-08-07",
    "usage": {"input": 44, "input_cached": 256, "output": 26, "output_reasoning": 64},
    "source": "reported",
}
OF_EMBEDDINGS: dict[str, Any] = {
    "operation": "embeddings",
    "model": "text-embedding-3-small",
    "usage": {"input": 8},
    "source": "reported",
}
OF_IMAGES: dict[str, Any] = {
    "operation": "image_generation",
    "model": "gpt-image-1",
    "usage": {"input": 13, "output_image": 1056},
    "source": "reported",
}
OF_EDITS: dict[str, Any] = {
    "operation": "image_edit",
    "usage": {"input": 13, "input_image": 323, "output_image": 1056},
    "source": "reported",
}
OF_TRANSCRIPTS: dict[str, Any] = {
    "operation": "transcription",
    "usage": {"input_audio": 140, "output": 30},
    "source": "reported",
}
OF_SPEECH: dict[str, Any] = {"operation": "speech", "model": "gpt-4o-mini-tts"}
STREAMED = {"stream": True}

OPERATIONS: dict[str, Operation] = {
    "chat": Operation("chat.completions.create", CHAT, **OF_CHAT),
    "chat, streamed": Operation("chat.completions.create", {**CHAT, **STREAMED}, **OF_CHAT, stream=True),
    "chat, usage asked": Operation("chat.completions.create", {**CHAT, **ASKED}, **OF_CHAT, stream=True),
    "chat, stored": Operation("chat.completions.retrieve", {"completion_id": "chatcmpl-1"}),
    "chat, list of stored": Operation("chat.completions.list", {"model": "gpt-4o"}, exchanges=2),
    "chat, stored changed": Operation(
        "chat.completions.update", {"completion_id": "chatcmpl-1", "metadata": {"topic": "x"}}
    ),
    "chat, stored deleted": Operation("chat.completions.delete", {"completion_id": "chatcmpl-1"}),
    "chat, messages of stored": Operation(
        "chat.completions.messages.list", {"completion_id": "chatcmpl-1"}, exchanges=2
    ),
    "text": Operation(
        "completions.create", {"model": "gpt-3.5-turbo-instruct", "prompt": "Once upon a"}, **OF_TEXT
    ),
    "text, streamed": Operation(
        "completions.create",
        {"model": "gpt-3.5-turbo-instruct", "prompt": "Once upon a", **STREAMED},
        **OF_TEXT,
        stream=True,
    ),
    "responses": Operation("responses.create", {"model": "gpt-5", "input": "你好"}, **OF_RESPONSES),
    "responses, streamed": Operation(
        "responses.create", {"model": "gpt-5", "input": HELLO, **STREAMED}, **OF_RESPONSES, stream=True
    ),
    "responses, in the background": Operation(
        "responses.create",
        {"model": "gpt-5", "input": "你好", "background": True},
        operation="responses",
        model="gpt-5-2025-08-07",
        source="missing",
    ),
    "responses, stored": Operation("responses.retrieve", {"response_id": "resp_1"}),
    "responses, stored, streamed": Operation(
        "responses.retrieve", {"response_id": "resp_1", **STREAMED}, stream=True
    ),
    "responses, cancelled": Operation("responses.cancel", {"response_id": "resp_1"}),
    "responses, input items": Operation("responses.input_items.list", {"response_id": "resp_1"}, exchanges=2),
    "responses, input tokens": Operation(
        "responses.input_tokens.count",
        {"model": "gpt-5", "input": "你好"},
        operation="count_tokens",
        model="gpt-5",
    ),
    "responses, compacted": Operation(
        "responses.compact", {"model": "gpt-5", "input": HELLO}, **{**OF_RESPONSES, "model": "gpt-5"}
    ),
    "embeddings": Operation(
        "embeddings.create",
        {"model": "text-embedding-3-small", "input": "otter", "encoding_format": "float"},
        **OF_EMBEDDINGS,
    ),
    "embeddings in base64": Operation(
        "embeddings.create", {"model": "text-embedding-3-small", "input": "otter"}, **OF_EMBEDDINGS
    ),
    "embeddings of many": Operation(
        "embeddings.create",
        {"model": "text-embedding-3-small", "input": [f"otter {number}" for number in range(100)]},
        **{**OF_EMBEDDINGS, "usage": {"input": 800}},
    ),
    "images": Operation("images.generate", OTTER, **OF_IMAGES),
    "images, streamed": Operation(
        "images.generate", {**OTTER, **STREAMED, "partial_images": 2}, **OF_IMAGES, stream=True
    ),
    "images by the piece": Operation(
        "images.generate",
        {"model": "dall-e-2", "prompt": "An otter", "n": 3},
        operation="image_generation",
        model="dall-e-2",
        units={"images": 3},
        source="reported",
    ),
    "image edits": Operation("images.edit", {**OTTER, "image": PNG}, **OF_EDITS),
    "image edits, several images and a mask": Operation(
        "images.edit", {**OTTER, "image": [PNG, PNG], "mask": PNG}, **OF_EDITS
    ),
    "image edits, streamed": Operation(
        "images.edit", {**OTTER, "image": PNG, **STREAMED, "partial_images": 1}, **OF_EDITS, stream=True
    ),
    "image variations": Operation(
        "images.create_variation",
        {"image": PNG},
        operation="image_edit",
        units={"images": 1},
        source="reported",
    ),
    "transcription": Operation(
        "audio.transcriptions.create", {"model": "gpt-4o-transcribe", "file": SOUND}, **OF_TRANSCRIPTS
    ),
    "transcription, streamed": Operation(
        "audio.transcriptions.create",
        {"model": "gpt-4o-transcribe", "file": SOUND, **STREAMED},
        **OF_TRANSCRIPTS,
        stream=True,
    ),
    "transcription by the second": Operation(
        "audio.transcriptions.create",
        {"model": "whisper-1", "file": SOUND},
        operation="transcription",
        units={"audio_seconds": 11},
        source="reported",
    ),
    "transcription, at length": Operation(
        "audio.transcriptions.create",
        {"model": "whisper-1", "file": SOUND, "response_format": "verbose_json"},
        operation="transcription",
        units={"audio_seconds": 11},
        source="reported",
    ),
    "transcription as text": Operation(
        "audio.transcriptions.create",
        {"model": "whisper-1", "file": SOUND, "response_format": "text"},
        operation="transcription",
        source="missing",
    ),
    "translation": Operation(
        "audio.translations.create",
        {"model": "whisper-1", "file": SOUND},
        operation="translation",
        source="missing",
    ),
    "translation, at length": Operation(
        "audio.translations.create",
        {"model": "whisper-1", "file": SOUND, "response_format": "verbose_json"},
        operation="translation",
        units={"audio_seconds": 10.4},
        source="reported",
    ),
    "speech": Operation(
        "audio.speech.create",
        {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "Grüße, 世界"},
        **OF_SPEECH,
        units={"characters": 9},
        source="estimated",
    ),
    "speech, as events": Operation(
        "audio.speech.create",
        {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "Grüße", "stream_format": "sse"},
        **OF_SPEECH,
        usage={"input": 14, "output_audio": 101},
        source="reported",
        stream=True,
    ),
    "moderations": Operation(
        "moderations.create",
        {"model": "omni-moderation-latest", "input": "otter"},
        operation="moderation",
        model="omni-moderation-latest",
    ),
    "models": Operation("models.list", operation="models"),
    "model": Operation("models.retrieve", {"model": "gpt-4o"}, operation="models"),
    "model deleted": Operation("models.delete", {"model": "ft:gpt-4o:o:x:1"}, operation="models"),
    "file": Operation("files.create", {"file": SOUND, "purpose": "batch"}, operation="files"),
    "files": Operation("files.list", LIMITS, operation="files", exchanges=2),
    "file, fetched": Operation("files.retrieve", {"file_id": "file-1"}, operation="files"),
    "file's content": Operation("files.content", {"file_id": "file-1"}, operation="files"),
    "file deleted": Operation("files.delete", {"file_id": "file-1"}, operation="files"),
    "upload": Operation(
        "uploads.create",
        {"bytes": 4, "filename": "a.txt", "mime_type": "text/plain", "purpose": "batch"},
    ),
    "upload's part": Operation("uploads.parts.create", {"upload_id": "upload_1", "data": SOUND}),
    "upload completed": Operation("uploads.complete", {"upload_id": "upload_1", "part_ids": ["part_1"]}),
    "upload cancelled": Operation("uploads.cancel", {"upload_id": "upload_1"}),
    "batch": Operation(
        "batches.create",
        {"completion_window": "24h", "endpoint": "/v1/chat/completions", "input_file_id": "file-1"},
        operation="batches",
    ),
    "batches": Operation("batches.list", LIMITS, operation="batches", exchanges=2),
    "batch, polled": Operation("batches.retrieve", {"batch_id": "batch_1"}, operation="batches"),
    "batch cancelled": Operation("batches.cancel", {"batch_id": "batch_1"}, operation="batches"),
    "fine-tuning": Operation("fine_tuning.jobs.create", {"model": "gpt-4o-mini", "training_file": "file-1"}),
    "fine-tuning jobs": Operation("fine_tuning.jobs.list", LIMITS, exchanges=2),
    "vector store": Operation("vector_stores.create", {"name": "docs"}),
    "vector stores": Operation("vector_stores.list", LIMITS, exchanges=2),
    "vector store's files": Operation("vector_stores.files.list", {"vector_store_id": "vs_1"}, exchanges=2),
    "conversation": Operation("conversations.create", {"metadata": {"topic": "demo"}}),
    "conversation, fetched": Operation("conversations.retrieve", {"conversation_id": "conv_1"}),
    "conversation's items": Operation("conversations.items.list", {"conversation_id": "conv_1"}, exchanges=2),
}
DELETED = Operation("responses.delete", {"response_id": "resp_1"})  # its SDK method gives nothing

AZURE: dict[str, Operation] = {
    "chat": OPERATIONS["chat"],
    "chat, streamed": OPERATIONS["chat, streamed"],
    "embeddings": OPERATIONS["embeddings"],
    "images": OPERATIONS["images"],
    "responses": OPERATIONS["responses"],
    "speech": OPERATIONS["speech"],
    "transcription": Operation(
        "audio.transcriptions.create",
        {"model": "whisper", "file": SOUND},
        **{**OF_TRANSCRIPTS, "usage": {}, "units": {"audio_seconds": 11}, "model": "whisper"},
    ),
    "image edits": Operation("images.edit", {**OTTER, "image": PNG}, **{**OF_EDITS, "model": "gpt-image-1"}),
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
def clients(house: House) -> Iterator[tuple[OpenAI, OpenAI]]:
    """Give a client of the upstream itself, and one of Meter."""
    options: dict[str, Any] = {"api_key": KEY, "max_retries": 0}
    with (
        OpenAI(base_url=f"{house.upstream_url}/v1", **options) as direct,
        OpenAI(base_url=f"{house.url}/v1", **options) as metered,
    ):
        yield direct, metered


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def async_clients(house: House) -> AsyncIterator[tuple[AsyncOpenAI, AsyncOpenAI]]:
    """Give an asynchronous client of the upstream itself, and one of Meter."""
    options: dict[str, Any] = {"api_key": KEY, "max_retries": 0}
    async with (
        AsyncOpenAI(base_url=f"{house.upstream_url}/v1", **options) as direct,
        AsyncOpenAI(base_url=f"{house.url}/v1", **options) as metered,
    ):
        yield direct, metered


def azure_options(url: str) -> dict[str, Any]:
    """Return what an Azure client is made with, for an endpoint below its prefix."""
    return {"azure_endpoint": url, "api_key": KEY, "api_version": "2025-04-01-preview", "max_retries": 0}


class TestOperations:
    """Each operation of the table."""

    @pytest.mark.parametrize("name", OPERATIONS)
    def test_objects(
        self, clients: tuple[OpenAI, OpenAI], everything: Everything, lines: Lines, name: str
    ) -> None:
        """The upstream is sent the same and the program given the same, and one log line tells of each."""
        operation = OPERATIONS[name]
        everything.asked.clear()

        expected, got = (came(client, operation) for client in clients)

        assert expected
        assert expected == got
        asks, count = list(everything.asked), operation.exchanges
        asked = name in {"chat, streamed", "text, streamed"}
        assert sent(asks[:count], asked=asked) == sent(asks[count:], asked=asked)
        assert [operation.line] * count == [logged(line) for line in lines.take(count)]

    @pytest.mark.parametrize("name", OPERATIONS)
    def test_bytes(self, clients: tuple[OpenAI, OpenAI], name: str) -> None:
        """The body is the same to the byte, and the header fields are the upstream's."""
        operation = OPERATIONS[name]

        def read(client: OpenAI) -> tuple[Any, bytes]:
            method = attrgetter(operation.via("with_streaming_response"))(client)
            with method(**operation.call) as answer:
                return answer.headers, b"".join(answer.iter_bytes())

        (expected_fields, expected), (fields, got) = map(read, clients)

        assert expected
        assert expected == got
        same_fields(expected_fields, fields)

    @pytest.mark.parametrize("name", OPERATIONS)
    @pytest.mark.asyncio(loop_scope="module")
    async def test_async(self, async_clients: tuple[AsyncOpenAI, AsyncOpenAI], name: str) -> None:
        """The asynchronous client gives the same."""
        expected, got = await asyncio.gather(
            *(came_async(client, OPERATIONS[name]) for client in async_clients)
        )

        assert expected
        assert expected == got

    def test_nothing(self, clients: tuple[OpenAI, OpenAI], lines: Lines) -> None:
        """An operation that gives nothing gives nothing."""
        assert [None, None] == [came(client, DELETED) for client in clients]
        assert DELETED.line == logged(lines.one())

    def test_background(self, clients: tuple[OpenAI, OpenAI], lines: Lines) -> None:
        """What a response in the background used is told by the first that fetches it, and by no other."""

        def finished(client: OpenAI) -> list[Any]:
            begun = client.responses.create(model="gpt-5", input="in the background", background=True)
            assert "queued" == begun.status
            return [plain(client.responses.retrieve(begun.id)) for _ in range(3)]

        expected, got = map(finished, clients)

        assert {"completed"} == {response["status"] for response in expected}
        assert expected == got
        begun, *polled = lines.take(4)
        assert ("missing", {}, None) == (begun["usage_source"], begun["usage"], begun["cost_usd"])
        told = [(line["operation"], line["usage_source"], logged(line)["usage"]) for line in polled]
        assert [("other", "reported", OF_RESPONSES["usage"]), *[("other", "none", {})] * 2] == told

    def test_streamed_background(self, clients: tuple[OpenAI, OpenAI], lines: Lines) -> None:
        """A background response that was streamed to its end was counted there, not when it is fetched."""

        def finished(client: OpenAI) -> list[Any]:
            *events, last = client.responses.create(
                model="gpt-5", input="streamed", background=True, stream=True
            )
            assert "response.completed" == last.type
            return [*map(plain, events), plain(client.responses.retrieve(last.response.id))]

        expected, got = map(finished, clients)

        assert expected == got
        told = [(line["usage_source"], logged(line)["usage"]) for line in lines.take(2)]
        assert [("reported", OF_RESPONSES["usage"]), ("none", {})] == told

    def test_stream_helper(self, clients: tuple[OpenAI, OpenAI]) -> None:
        """The SDK's helper puts the same response together of its events."""

        def final(client: OpenAI) -> Any:
            with client.responses.stream(model="gpt-5", input="你好") as stream:
                return [plain(event) for event in stream], plain(stream.get_final_response())

        expected, got = map(final, clients)

        assert expected == got
        assert 90 == got[1]["usage"]["output_tokens"]

    def test_speech_comes_in_pieces(self, clients: tuple[OpenAI, OpenAI]) -> None:
        """Audio that is read as it comes is the same audio."""

        def read(client: OpenAI) -> list[bytes]:
            call = OPERATIONS["speech"].call
            with client.audio.speech.with_streaming_response.create(**call) as answer:
                return list(answer.iter_bytes(chunk_size=64))

        expected, got = map(read, clients)

        assert len(expected) == 101
        assert expected == got


class TestAzure:
    """The SDK's Azure client, with its own paths, its own header and a query."""

    @pytest.mark.parametrize("name", AZURE)
    def test_sync(self, everything: Everything, house: House, lines: Lines, name: str) -> None:
        """Each operation gives the same, and the deployment in the path names the model of an upload."""
        operation = AZURE[name]
        everything.asked.clear()
        with (
            AzureOpenAI(**azure_options(house.upstream_url)) as direct,
            AzureOpenAI(**azure_options(f"{house.url}/azure")) as metered,
        ):
            expected, got = came(direct, operation), came(metered, operation)

        assert expected == got
        asks = list(everything.asked)
        asked = name == "chat, streamed"
        assert sent(asks[:1], asked=asked) == sent(asks[1:], asked=asked)
        assert "api-version=2025-04-01-preview" in asks[1].target
        line = lines.one()
        assert operation.line == logged(line)
        assert "azure" == line["upstream"]
        assert line["key"].startswith("k_")

    @pytest.mark.parametrize("name", AZURE)
    @pytest.mark.asyncio(loop_scope="module")
    async def test_async(self, house: House, name: str) -> None:
        """The asynchronous client gives the same."""
        async with (
            AsyncAzureOpenAI(**azure_options(house.upstream_url)) as direct,
            AsyncAzureOpenAI(**azure_options(f"{house.url}/azure")) as metered,
        ):
            operation = AZURE[name]

            assert await came_async(direct, operation) == await came_async(metered, operation)


FAILING: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("chat.completions.create", CHAT),
    "responses": ("responses.create", {"model": "gpt-5", "input": "你好"}),
    "embeddings": ("embeddings.create", {"model": "text-embedding-3-small", "input": "otter"}),
    "images": ("images.generate", OTTER),
    "image edits": ("images.edit", {**OTTER, "image": PNG}),
    "transcription": ("audio.transcriptions.create", {"model": "whisper-1", "file": SOUND}),
    "speech": ("audio.speech.create", {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "Hello"}),
    "moderations": ("moderations.create", {"input": "otter", "model": "omni-moderation-latest"}),
}
STATUSES: dict[int, tuple[type[openai.APIStatusError], str, str]] = {
    400: (openai.BadRequestError, "client_error", "unsupported_value"),
    401: (openai.AuthenticationError, "client_error", "invalid_api_key"),
    404: (openai.NotFoundError, "client_error", "model_not_found"),
    429: (openai.RateLimitError, "client_error", "rate_limit_exceeded"),
    500: (openai.InternalServerError, "upstream_error", "server_error"),
    529: (openai.InternalServerError, "upstream_error", "server_error"),
}


class TestErrors:
    """What programs are told when it goes wrong."""

    @pytest.mark.parametrize("status", STATUSES)
    @pytest.mark.parametrize("name", FAILING)
    def test_statuses(self, clients: tuple[OpenAI, OpenAI], lines: Lines, name: str, status: int) -> None:
        """A status raises the same exception with the same body, and nothing is counted for it."""
        method, call = FAILING[name]
        kind, outcome, error_type = STATUSES[status]
        errors = []
        for client in clients:
            with pytest.raises(kind) as caught:
                attrgetter(method)(client)(**call, extra_body={"user": f"status-{status}"})
            errors.append(caught.value)

        expected, got = errors
        assert (type(expected), str(expected), expected.body) == (type(got), str(got), got.body)
        assert expected.response.content == got.response.content
        same_fields(expected.response.headers, got.response.headers)
        line = lines.one()
        assert (status, outcome, error_type, "none", {}, False) == (
            line["status"],
            line["outcome"],
            line["error_type"],
            line["usage_source"],
            line["usage"],
            line["stream"],
        )

    @pytest.mark.parametrize("status", [429, 500])
    def test_tries_again(self, house: House, lines: Lines, status: int) -> None:
        """The SDK's own attempts are exchanges of their own."""
        with (
            OpenAI(base_url=f"{house.url}/v1", api_key=KEY, max_retries=2) as client,
            pytest.raises(openai.APIStatusError),
        ):
            client.responses.create(model="gpt-5", input=f"status-{status}")

        assert [status] * 3 == [line["status"] for line in lines.take(3)]
