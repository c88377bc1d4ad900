"""Error bodies of every shape, folded into published codes, statuses and outcomes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.errors import ERROR_TYPES, METER_CODES, error_of, error_type, read_error
from meter.exchange import Outcome


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            {"error": {"code": "context_length_exceeded", "type": "invalid_request_error"}},
            "context_length_exceeded",
        ),
        ({"error": {"code": None, "type": "invalid_request_error"}}, "invalid_request_error"),
        ({"error": {"code": "made_up", "type": "invalid_request_error"}}, "invalid_request_error"),
        ({"error": {"code": 503, "type": "server_error"}}, "server_error"),
        ({"error": {"code": "content_filter", "type": None}}, "content_filter"),
        ({"error": {"code": "DeploymentNotFound"}}, "DeploymentNotFound"),
        ({"type": "error", "error": {"type": "overloaded_error"}}, "overloaded_error"),
        ({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}, "RESOURCE_EXHAUSTED"),
        ([{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}], "RESOURCE_EXHAUSTED"),
        ({"object": "error", "type": "BadRequestError", "code": 400}, ""),
        ({"object": "error", "type": "invalid_request_error", "code": 400}, "invalid_request_error"),
        ({"type": "error", "code": "server_error"}, "server_error"),
        ({"error": "model not found"}, ""),
        ({"error": True}, ""),
        ({"error": {"message": "x"}}, ""),
        ({"error": {"code": ["server_error"]}}, ""),
        ({"error": {}}, None),
        ({"error": ""}, None),
        ({"error": None}, None),
        ({"error": {"code": 500, "status": "DATA_LOSS", "details": []}}, "DATA_LOSS"),
        ([{"error": {"code": 503, "status": "UNAVAILABLE"}}, {"error": {}}], "UNAVAILABLE"),
        (
            {
                "type": "error",
                "event_id": "e",
                "error": {"type": "invalid_request_error", "code": "invalid_event"},
            },
            "invalid_event",
        ),
        (
            {"error": {"type": "image_generation_user_error", "code": "moderation_blocked"}},
            "moderation_blocked",
        ),
        ({"id": "x", "message": "invalid api token"}, None),
        ({"detail": [{"loc": ["body", "stream_options"], "type": "extra_forbidden"}]}, None),
        ({"detail": "Not Found"}, None),
        ({"message": "x"}, None),
        ({}, None),
        ([], None),
        (["x"], None),
        ("error", None),
        (None, None),
    ],
)
def test_finds_published_codes(told: Any, expected: str | None) -> None:
    """The code, else the type, is taken where somebody published it."""
    assert expected == error_of(told)
    assert expected == read_error(json.dumps(told).encode())


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"no healthy upstream", b'{"error":', b"\xff", b"[" * 100_000]
)
def test_reads_what_is_no_json(body: bytes) -> None:
    """A body that is no JSON names no error."""
    assert read_error(body) is None


@given(st.binary(max_size=40))
def test_reads_anything(body: bytes) -> None:
    """Whatever a body is, reading it raises nothing and tells only what was published."""
    assert read_error(body) in {None, "", *ERROR_TYPES}


@pytest.mark.parametrize(
    ("told", "status", "outcome", "expected"),
    [
        (None, 200, Outcome.OK, ""),
        ("server_error", 200, Outcome.OK, ""),
        ("server_error", 200, Outcome.STREAM_ERROR, "server_error"),
        ("", 200, Outcome.STREAM_ERROR, "stream_error"),
        ("insufficient_quota", 429, Outcome.CLIENT_ERROR, "insufficient_quota"),
        ("", 429, Outcome.CLIENT_ERROR, "http_429"),
        (None, 502, Outcome.UPSTREAM_ERROR, "http_502"),
        (None, 200, Outcome.TRUNCATED, "truncated"),
        (None, None, Outcome.CLIENT_CLOSED, "client_closed"),
        ("no_upstream", 404, Outcome.REJECTED, "no_upstream"),
        ("timeout", 504, Outcome.TIMEOUT, "timeout"),
    ],
)
def test_names_failures(told: str | None, status: int | None, outcome: Outcome, expected: str) -> None:
    """A failure goes by what the body said, else by its status, else by its outcome."""
    assert expected == error_type(told, status, outcome)


PUBLISHED = {
    "responses": """server_error rate_limit_exceeded invalid_prompt vector_store_timeout invalid_image
        invalid_image_format invalid_base64_image invalid_image_url image_too_large image_too_small
        image_parse_error image_content_policy_violation invalid_image_mode image_file_too_large
        unsupported_image_media_type empty_image_file failed_to_download_image image_file_not_found""",
    "anthropic": """invalid_request_error authentication_error billing_error permission_error not_found_error
        request_too_large rate_limit_error timeout_error api_error overloaded_error""",
    "google": """CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS DATA_LOSS
        UNAUTHENTICATED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL
        UNAVAILABLE PERMISSION_DENIED""",
}


@pytest.mark.parametrize("codes", PUBLISHED.values(), ids=PUBLISHED)
def test_knows_what_was_published(codes: str) -> None:
    """Of a list that its publisher closed, every code is known."""
    assert set() == set(codes.split()) - ERROR_TYPES


def test_keeps_to_words() -> None:
    """Every code is one word that can be a label."""
    assert [] == [code for code in ERROR_TYPES if not re.fullmatch(r"[A-Za-z0-9_]+", code)]
    assert METER_CODES < ERROR_TYPES
