"""Prompts of all formats in the shape of the conventions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meter.sinks.telemetry.content import asked, told


def text(content: str) -> dict[str, Any]:
    """Return a part that is text."""
    return {"type": "text", "content": content}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (
            {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]},
            [("system", [text("s")]), ("user", [text("u")])],
        ),
        (
            {"system": [{"type": "text", "text": "s"}], "messages": [{"role": "user", "content": "u"}]},
            [("system", [text("s")]), ("user", [text("u")])],
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "see"},
                            {"type": "image_url", "image_url": {"url": "data:secret"}},
                        ],
                    }
                ]
            },
            [("user", [text("see"), {"type": "image_url"}])],
        ),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [{"id": "t", "function": {"name": "f", "arguments": "{}"}}],
                    },
                    {"role": "tool", "tool_call_id": "t", "content": "42"},
                ]
            },
            [
                ("assistant", [{"type": "tool_call", "id": "t", "name": "f", "arguments": "{}"}]),
                ("tool", [{"type": "tool_call_response", "id": "t", "response": "42"}]),
            ],
        ),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}],
                    },
                    {
                        "role": "user",
                        "content": [{"type": "tool_result", "tool_use_id": "t", "content": "42"}],
                    },
                ]
            },
            [
                ("assistant", [{"type": "tool_call", "id": "t", "name": "f", "arguments": {}}]),
                ("user", [{"type": "tool_call_response", "id": "t", "response": "42"}]),
            ],
        ),
        ({"instructions": "s", "input": "u"}, [("system", [text("s")]), ("user", [text("u")])]),
        (
            {
                "input": [
                    {"role": "user", "content": [{"type": "input_text", "text": "u"}]},
                    {"type": "function_call", "call_id": "t", "name": "f", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "t", "output": "42"},
                ]
            },
            [
                ("user", [text("u")]),
                ("assistant", [{"type": "tool_call", "id": "t", "name": "f", "arguments": "{}"}]),
                ("tool", [{"type": "tool_call_response", "id": "t", "response": "42"}]),
            ],
        ),
        (
            {
                "systemInstruction": {"parts": [{"text": "s"}]},
                "contents": [
                    {"role": "user", "parts": [{"text": "u"}]},
                    {"role": "model", "parts": [{"text": "a"}]},
                ],
            },
            [("system", [text("s")]), ("user", [text("u")]), ("assistant", [text("a")])],
        ),
        ({"prompt": "u"}, [("user", [text("u")])]),
        ({"input": ["a", "b"]}, [("user", [text("a")]), ("user", [text("b")])]),
        ({"query": "q", "documents": ["d", {"text": "e"}]}, [("user", [text(t)]) for t in "qde"]),
        ({"messages": [1, None, {}, {"role": 7, "content": "u"}]}, [("user", [text("u")])]),
        ({"messages": "u"}, [("user", [text("u")])]),
    ],
)
def test_reads_every_format(members: dict[str, Any], expected: list[tuple[str, list[Any]]]) -> None:
    """Texts, calls of tools and what they gave are told alike, whatever the format; images only as such."""
    found = json.loads(asked(json.dumps(members)))

    assert expected == [(message["role"], message["parts"]) for message in found]


@pytest.mark.parametrize("question", ['{"messages":[{"role":"us[cut]', "no JSON", '["a"]', "[" * 100_000])
def test_tells_the_rest_as_it_stands(question: str) -> None:
    """A prompt that was cut, or is of no known shape, is one text."""
    assert [{"role": "user", "parts": [text(question)]}] == json.loads(asked(question))


def test_tells_answers() -> None:
    """An answer is one message, with the reason for which it ended, where that is known."""
    assert [{"role": "assistant", "parts": [text("a")], "finish_reason": "stop"}] == json.loads(
        told("a", ["stop"])
    )
    assert [{"role": "assistant", "parts": [text("a")]}] == json.loads(told("a", []))
