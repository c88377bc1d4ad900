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
        ("GET", "/v1/models", "models"),
        ("GET", "/models", "models"),
        ("GET", "/deepseek/models/", "models"),
        ("GET", "/v1/models/ft:gpt-4o:a/b", "models"),
        ("DELETE", "/v1/models/ft:gpt-4o", "models"),
        ("GET", "/v1beta/openai/models", "models"),
        ("GET", "/openai/v1/models", "models"),
        ("HEAD", "/v1/models", "other"),
        ("POST", "/v1beta/models/gemini-2.5-flash:generateContent", "other"),
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


@pytest.mark.parametrize("dialect", dialects.DIALECTS.values())
def test_keeps_the_shape(dialect: Dialect) -> None:
    """Every dialect names its operation and what it gives back."""
    assert "" != dialect.operation
    assert all(isinstance(name, str) for name in dialect.returned)
