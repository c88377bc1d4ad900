"""Counting tokens uses none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from play import read_request

from meter.dialect import Facts
from meter.dialects import DIALECTS, VERBS
from meter.dialects.counting import CountTokens

COUNTING = CountTokens()


def test_one_for_all() -> None:
    """All three formats in which tokens are counted are read in the same way."""
    found = [
        DIALECTS["messages", "count_tokens"],
        DIALECTS["responses", "input_tokens"],
        VERBS["countTokens"],
    ]

    assert [CountTokens] * 3 == [type(dialect) for dialect in found]


def test_reads_what_is_to_be_counted() -> None:
    """A request to count tokens names a model, and has no prompt that is used."""
    request = read_request(COUNTING, b'{"model":"claude-sonnet-4-5","messages":[{"content":"a"}]}')

    assert ("claude-sonnet-4-5", False, None) == (request.model, request.stream, request.prompt_tokens)


@pytest.mark.parametrize("told", [b'{"input_tokens":11}', b'{"totalTokens":11,"usage":{"input_tokens":11}}'])
def test_counting_uses_nothing(told: bytes) -> None:
    """The answer to how many tokens a request has is no usage."""
    facts = Facts()
    COUNTING.read_answer(told, facts)

    assert 0 == COUNTING.read_event(b"", told, facts)
    assert Facts() == facts


@pytest.mark.parametrize(
    ("told", "error"),
    [
        (b'{"type":"error","error":{"type":"not_found_error","message":"m"}}', "not_found_error"),
        (b'{"error":{"code":400,"status":"INVALID_ARGUMENT"}}', "INVALID_ARGUMENT"),
        (b'{"code":500,"msg":"404 NOT_FOUND","success":false}', ""),
        (b'{"base_resp":{"status_code":1004,"status_msg":"m"}}', ""),
    ],
)
def test_reads_errors(told: bytes, error: str) -> None:
    """An answer that says no is an error, whatever its status."""
    COUNTING.read_answer(told, facts := Facts())

    assert error == facts.error


@settings(max_examples=100)
@given(data=st.binary(max_size=60))
def test_reads_anything(data: bytes) -> None:
    """Whatever a request or an answer is, reading it raises nothing."""
    read_request(COUNTING, data)
    COUNTING.read_answer(data, Facts())
    COUNTING.read_event(b"error", data, Facts())
