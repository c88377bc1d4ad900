"""Which paths speak which dialect, and what metrics call the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meter import dialects
from meter.dialects.chat import ChatCompletions

if TYPE_CHECKING:
    from meter.dialect import Dialect

CHAT = ChatCompletions.operation


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("POST", "/v1/chat/completions", CHAT),
        ("POST", "/chat/completions", CHAT),
        ("POST", "/v1/chat/completions/", CHAT),
        ("POST", "/deepseek/v1/chat/completions", CHAT),
        ("POST", "/openai/deployments/gpt-4o/chat/completions", CHAT),
        ("POST", "/api/paas/v4/chat/completions", CHAT),
        ("POST", "/v1beta/openai/chat/completions", CHAT),
        ("POST", "//v1//chat/completions", CHAT),
        ("GET", "/v1/chat/completions", "other"),
        ("GET", "/v1/chat/completions/chatcmpl-1", "other"),
        ("POST", "/v1/chat/completions/chatcmpl-1", "other"),
        ("HEAD", "/v1/chat/completions", "other"),
        ("OPTIONS", "/v1/chat/completions", "other"),
        ("POST", "/v1/Chat/Completions", "other"),
        ("POST", "/v1/completions", "text_completion"),
        ("POST", "/v1/xchat/completions", "text_completion"),
        ("POST", "/v1/xcompletions", "other"),
        ("POST", "/v1/chat%2Fcompletions", "other"),
        ("POST", "/v1/messages", "messages"),
        ("POST", "/api/anthropic/v1/messages/", "messages"),
        ("GET", "/v1/messages", "other"),
        ("POST", "/messages", "other"),
        ("POST", "/v1/threads/thread_1/messages", "other"),
        ("POST", "/v1/messages/count_tokens", "count_tokens"),
        ("POST", "/anthropic/v1/messages/count_tokens", "count_tokens"),
        ("POST", "/v1/messages/batches", "batches"),
        ("POST", "/v1/responses", "responses"),
        ("POST", "/openai/v1/responses", "responses"),
        ("POST", "/v1/responses/compact", "responses"),
        ("POST", "/v1/responses/input_tokens", "count_tokens"),
        ("POST", "/v1/responses/resp_1/cancel", "other"),
        ("GET", "/v1/responses/resp_1", "other"),
        ("GET", "/v1/responses/resp_1/input_items", "other"),
        ("DELETE", "/v1/responses/resp_1", "other"),
        ("POST", "/v1/embeddings", "embeddings"),
        ("POST", "/openai/deployments/ada/embeddings", "embeddings"),
        ("GET", "/v1/embeddings", "other"),
        ("POST", "/v1/images/generations", "image_generation"),
        ("POST", "/openai/deployments/dalle/images/generations/", "image_generation"),
        ("POST", "/v1/images/edits", "image_edit"),
        ("POST", "/v1/images/variations", "image_edit"),
        ("POST", "/v1/images", "other"),
        ("POST", "/v1/generations", "other"),
        ("POST", "/v1/audio/transcriptions", "transcription"),
        ("POST", "/openai/v1/audio/translations", "translation"),
        ("POST", "/v1/audio/speech", "speech"),
        ("POST", "/v1/transcriptions", "other"),
        ("GET", "/v1/audio/voices", "other"),
        ("POST", "/v1/moderations", "moderation"),
        ("POST", "/v1/chat/moderations", "moderation"),
        ("GET", "/v1/models", "models"),
        ("GET", "/models", "models"),
        ("GET", "/deepseek/models/", "models"),
        ("GET", "/v1/models/ft:gpt-4o:a/b", "models"),
        ("DELETE", "/v1/models/ft:gpt-4o", "models"),
        ("GET", "/v1beta/openai/models", "models"),
        ("GET", "/openai/v1/models", "models"),
        ("HEAD", "/v1/models", "other"),
        ("POST", "/v1beta/models/gemini-2.5-flash:generateContent", "generate_content"),
        ("POST", "/v1beta/models/gemini-2.5-flash:streamGenerateContent", "generate_content"),
        ("POST", "/v1/projects/p/locations/l/publishers/google/models/m:generateContent", "generate_content"),
        ("POST", "/v1beta/models/gemini-2.5-flash:countTokens", "count_tokens"),
        ("POST", "/v1beta/models/gemini-embedding-001:embedContent", "embeddings"),
        ("POST", "/v1beta/models/gemini-embedding-001:batchEmbedContents", "embeddings"),
        ("POST", "/v1beta/models/gemini-2.5-flash:batchGenerateContent", "batches"),
        ("GET", "/v1beta/models/gemini-2.5-flash:generateContent", "models"),
        ("GET", "/v1beta/models/gemini-2.5-flash", "models"),
        ("POST", "/api/chat", "chat"),
        ("POST", "/api/generate", "text_completion"),
        ("POST", "/api/embed", "embeddings"),
        ("POST", "/api/embeddings", "embeddings"),
        ("POST", "/api/show", "other"),
        ("GET", "/api/tags", "other"),
        ("POST", "/v2/chat", "chat"),
        ("POST", "/cohere/v2/chat", "chat"),
        ("POST", "/v1/chat", "other"),
        ("POST", "/v2/rerank", "rerank"),
        ("POST", "/api/v1/rerank", "rerank"),
        ("POST", "/rerank", "rerank"),
        ("POST", "/v1/files", "files"),
        ("GET", "/v1/files/file-1/content", "files"),
        ("GET", "/v1/vector_stores/v/files", "other"),
        ("GET", "/v1/x/models", "other"),
        ("POST", "/v1/batches", "batches"),
        ("POST", "/v1/batches/b/cancel", "batches"),
        ("GET", "/v1", "other"),
        ("GET", "/", "other"),
        ("GET", "", "other"),
    ],
)
def test_names_operations(method: str, path: str, operation: str) -> None:
    """A method and a path make one operation, and what is not quiet has a dialect."""
    dialect = dialects.find(method, path)

    assert operation == dialects.operation(method, path, dialect)
    assert (operation in {"other", *dialects.QUIET.values()}) == (dialect is None)


def test_a_long_path_is_read_as_a_short_one() -> None:
    """What is spoken at a path that is too long to be remembered is what its end says."""
    long = f"/{'x' * 5000}/v1/chat/completions"
    kept = dialects._at.cache_info().currsize

    assert dialects.find("POST", "/v1/chat/completions") is dialects.find("POST", long)
    assert dialects._at.cache_info().currsize <= kept + 1


@pytest.mark.parametrize("dialect", dialects.DIALECTS.values())
def test_keeps_the_shape(dialect: Dialect) -> None:
    """Every dialect names its operation and what it gives back."""
    assert "" != dialect.operation
    assert all(isinstance(name, str) for name in dialect.returned)


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/v1/realtime", "realtime"),
        ("/openai/realtime/", "realtime"),
        ("/v1/responses", "responses"),
        ("/v1/responses/resp_1", None),
        ("/v1/realtime/translations", None),
        ("/v1/xrealtime", None),
        ("/", None),
    ],
)
def test_knows_what_a_websocket_speaks(path: str, operation: str | None) -> None:
    """A path's last segment says what is spoken in the messages of a WebSocket, if anything that is read."""
    found = dialects.find_socket(path)

    assert operation == (None if found is None else found.operation)


@pytest.mark.parametrize(
    ("query", "model"),
    [
        ("model=gpt-realtime", "gpt-realtime"),
        ("api-version=1&model=a%2Fb%20c&model=d", "a/b c"),
        ("key=model=x&xmodel=y", None),
        ("model=", None),
        ("", None),
    ],
)
def test_finds_the_model_in_a_query(query: str, model: str | None) -> None:
    """The first `model` of a query is taken, percent-decoded, and nothing else of it."""
    assert model == dialects.model_asked(query)
