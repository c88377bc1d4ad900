"""Answers of the simulated upstream that are no chats, as dialects and the official SDK read them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
import pytest
from aiohttp.test_utils import TestServer
from play import learned, play, read_request

from meter import dialects
from meter.demo.operations import OPERATIONS, reply_to
from meter.demo.upstream import make_app
from meter.tap import Tap

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
async def client() -> AsyncIterator[openai.AsyncOpenAI]:
    """Yield the official client of a running upstream."""
    http_client = openai.DefaultAsyncHttpxClient(trust_env=False)
    async with (
        TestServer(make_app(pace=0)) as server,
        openai.AsyncOpenAI(
            api_key="sk-1", base_url=str(server.make_url("/v1")), max_retries=0, http_client=http_client
        ) as sdk,
    ):
        yield sdk


@pytest.mark.parametrize(
    ("end", "asked", "expected"),
    [
        ("/embeddings", {"input": ["one", "two"]}, {"usage": {"input": 4}}),
        ("/images/generations", {"prompt": "a cat", "n": 2}, {"units": {"images": 2}}),
        ("/audio/speech", {"input": "hello"}, {"units": {"characters": 5}}),
        ("/audio/transcriptions", {}, {"usage": None}),
        ("/rerank", {"query": "one", "documents": ["one", "two"]}, {"units": {"searches": 1}}),
        ("/responses", {"input": "hello"}, {"content": False}),
        ("/responses", {"input": "hello", "stream": True}, {"content": True}),
        ("/messages", {"messages": HELLO}, {"content": False}),
        ("/messages", {"messages": HELLO, "stream": True}, {"content": True}),
    ],
)
def test_dialects_read_it(end: str, asked: dict[str, Any], expected: dict[str, Any]) -> None:
    """Every answer ends well, and tells what was used of what it is charged by."""
    dialect = dialects.find("POST", f"/v1{end}")
    assert dialect is not None
    tap = Tap(dialect, request=read_request(dialect, json.dumps(asked).encode()))
    reply = reply_to(end, {"model": "m", **asked}, seed=0, created=0)
    tap.answer(200, reply.media_type.encode(), None)
    play(tap, [step.event for step in reply.steps])
    told = learned(tap)

    assert "ok" == told["outcome"]
    assert told["usage"] or told["units"]
    assert expected.items() <= told.items()


@pytest.mark.parametrize("end", OPERATIONS)
def test_odd_requests_are_answered(end: str) -> None:
    """A request without anything, or with members of a wrong type, is answered all the same."""
    for odd in ({}, {"input": 1, "n": "x", "documents": 3, "messages": {}, "model": [], "stream": "yes"}):
        assert reply_to(end, odd, seed=0, created=0).steps


def test_the_seed_changes_the_answer() -> None:
    """The same call gets the same answer, another seed another."""
    first, again, other = (reply_to("/responses", {}, seed=seed, created=0) for seed in (0, 0, 1))

    assert first == again
    assert first != other


async def test_sdk_reads_the_stream_of_a_response(client: openai.AsyncOpenAI) -> None:
    """The SDK puts the pieces of a response together."""
    async with client.responses.stream(model="gpt-4.1-mini", input="hello") as stream:
        pieces = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        done = await stream.get_final_response()

    assert "".join(pieces) == done.output_text
    assert done.usage is not None
    assert len(pieces) == done.usage.output_tokens


async def test_sdk_reads_whole_answers(client: openai.AsyncOpenAI) -> None:
    """The SDK gets vectors, addresses of images, audio and a text."""
    embedded = await client.embeddings.create(
        model="text-embedding-3-small", input=["one", "two"], encoding_format="float"
    )
    made = await client.images.generate(model="dall-e-3", prompt="a cat")
    spoken = await client.audio.speech.create(model="tts-1", voice="alloy", input="hello")
    heard = await client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"RIFF"))

    assert [0, 1] == [one.index for one in embedded.data]
    assert made.data is not None
    assert 1 == len(made.data)
    assert spoken.content.startswith(b"\xff\xfb")
    assert heard.text
