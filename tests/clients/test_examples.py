"""The bodies that guides print, byte for byte: what the upstream is sent, and what the client is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from clients.examples import ANSWERS, ERRORS, MESSAGES_REQUEST, MODELS, REQUESTS, STREAMS
from clients.lines import Lines, tokens
from stage import ask, dechunked, post, running_house, says

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stage import House, Scripted

    from meter.demo.upstream import SimulatedUpstream

CHAT = "/v1/chat/completions"
KEY = "Authorization: Bearer YOUR_API_KEY"
VOLATILE = (b"x-request-id", b"date", b"x-ratelimit-", b"openai-processing-ms")


@pytest.fixture
def front(scripted: Scripted) -> Iterator[House]:
    """Give Meter in front of a scripted upstream."""
    with running_house(scripted.url) as house:
        yield house


def answer(url: str, request: bytes) -> tuple[bytes, bytes]:
    """Return an answer's head, and its body without the chunks' framing."""
    head, body = ask(url, request)
    return head, dechunked(body) if b"transfer-encoding: chunked" in head.lower() else body


def both(house: House, request: bytes) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
    """Return head and body of the answer that comes directly, and of the one that comes through Meter."""
    return answer(house.upstream_url, request), answer(house.url, request)


def fields(head: bytes) -> list[bytes]:
    """Return an answer's status line and the fields that are the same each time, as they came."""
    return [line for line in head.split(b"\r\n") if not line.lower().startswith(VOLATILE)]


def told_usage(body: bytes) -> dict[str, Any]:
    """Return the usage that a JSON answer or a stream tells; fail where it tells none."""
    found = [json.loads(line.removeprefix(b"data: ")) for line in body.splitlines() if b'"usage":{' in line]
    assert 1 == len(found)
    return dict(found[0]["usage"])


class TestRequests:
    """Requests that the simulated upstream answers."""

    @pytest.mark.parametrize("name", REQUESTS)
    def test_are_answered_the_same(
        self, house: House, lines: Lines, simulated: tuple[SimulatedUpstream, str], name: str
    ) -> None:
        """Each body gets the very bytes that it gets directly, and one log line that counts them."""
        body = REQUESTS[name].encode()
        told = json.loads(body)

        (head, came), (metered_head, metered) = both(house, post(CHAT, body, KEY))

        assert came == metered
        expected = fields(head)
        got = [line for line in fields(metered_head) if not line.startswith(b"x-meter-id: ")]
        assert sorted(expected) == sorted(got)
        seen = simulated[0].seen[-1].body
        if told.get("stream") and "stream_options" not in told:
            assert body[:-2] + b'\n,"stream_options":{"include_usage":true}}' == seen
            asked = {**told, "stream_options": {"include_usage": True}}
            _, telling = answer(house.upstream_url, post(CHAT, json.dumps(asked).encode(), KEY))
        else:
            assert body == seen
            telling = came
        usage = told_usage(telling)
        line = lines.one()
        assert (200, "ok", "", "chat", told["model"], bool(told.get("stream")), "reported") == (
            line["status"],
            line["outcome"],
            line["error_type"],
            line["operation"],
            line["request_model"],
            line["stream"],
            line["usage_source"],
        )
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == tokens(line["usage"])
        assert line["cost_usd"] is None or line["cost_usd"] > 0
        assert (len(body), len(metered)) == (line["request_bytes"], line["response_bytes"])

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("model", MODELS)
    def test_every_vendor(self, house: House, lines: Lines, model: str, *, stream: bool) -> None:
        """A model of any vendor is answered with the bytes that come directly, and is logged by its name."""
        body = json.dumps(
            {"model": model, "messages": [{"role": "user", "content": "你好"}], "stream": stream}
        )

        (_, came), (_, metered) = both(house, post(CHAT, body.encode(), KEY))

        assert came == metered
        line = lines.one()
        assert ("ok", model, "reported", ["stop"]) == (
            line["outcome"],
            line["request_model"],
            line["usage_source"],
            line["finish_reasons"],
        )

    def test_no_content_is_logged(self, house: House, lines: Lines) -> None:
        """Nothing of a prompt, an answer or a credential is in the log or the metrics."""
        _, came = answer(house.url, post(CHAT, REQUESTS["history"].encode(), KEY))

        lines.one()
        content = json.loads(came)["choices"][0]["message"]["content"]
        written = house.log.getvalue().decode() + house.metrics()
        for secret in (content[:6], "人工智能的发展历史", "YOUR_API_KEY"):
            assert secret not in written


class TestAnswers:
    """Answers as guides print them."""

    @pytest.mark.parametrize("name", ANSWERS)
    def test_pass_as_they_came(self, front: House, scripted: Scripted, name: str) -> None:
        """A spaced-out JSON answer passes byte for byte, and its tokens are counted."""
        text, usage = ANSWERS[name]
        body = text.encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        scripted.script = says(head, body)

        lines = Lines(front)
        _, came = answer(front.url, post(CHAT, REQUESTS["platform"].encode(), KEY))

        assert body == came
        line = lines.one()
        assert ("ok", "reported", usage, json.loads(text)["model"], ["stop"]) == (
            line["outcome"],
            line["usage_source"],
            line["usage"],
            line["response_model"],
            line["finish_reasons"],
        )

    @pytest.mark.parametrize("size", [7, 64, 10_000])
    @pytest.mark.parametrize("name", STREAMS)
    def test_streams_pass_as_they_came(self, front: House, scripted: Scripted, name: str, size: int) -> None:
        """A stream of an upstream that has never heard of usage passes byte for byte, at any cut."""
        body = STREAMS[name].encode()
        cuts = [body[at : at + size] for at in range(0, len(body), size)]
        scripted.script = says(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n", *cuts
        )

        lines = Lines(front)
        _, came = answer(front.url, post(CHAT, REQUESTS["robot"].encode(), KEY))

        assert body == came
        line = lines.one()
        assert ("ok", True, "estimated") == (line["outcome"], line["stream"], line["usage_source"])

    @pytest.mark.parametrize("name", ERRORS)
    def test_errors_pass_as_they_came(self, front: House, scripted: Scripted, name: str) -> None:
        """An error passes byte for byte, and its published code is its name in the log."""
        status, text, error_type = ERRORS[name]
        body = text.encode()
        head = b"HTTP/1.1 %d Sorry\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        scripted.script = says(head % (status, len(body)), body)

        lines = Lines(front)
        got, came = answer(front.url, post(CHAT, REQUESTS["poem"].encode(), KEY))

        assert (b"HTTP/1.1 %d Sorry" % status, body) == (got.split(b"\r\n")[0], came)
        line = lines.one()
        assert (status, "client_error", error_type, "none", "none", False) == (
            line["status"],
            line["outcome"],
            line["error_type"],
            line["usage_source"],
            line["price_status"],
            line["stream"],
        )
        assert 1 == line["attempts"]

    def test_native_messages_pass(self, front: House, scripted: Scripted) -> None:
        """A call in Anthropic's own format goes up and comes back as it came, its fields with it."""
        said = b'{"type":"message","role":"assistant","content":[{"type":"text","text":"Hello!"}],'
        said += b'"usage":{"input_tokens":11,"output_tokens":4}}'
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        scripted.script = says(head % len(said), said)

        lines = Lines(front)
        request = post("/v1/messages", MESSAGES_REQUEST.encode(), KEY, "anthropic-version: 2023-06-01")
        _, came = answer(front.url, request)

        assert said == came
        assert scripted.requests[0].endswith(b"\r\n\r\n" + MESSAGES_REQUEST.encode())
        assert b"\r\nanthropic-version: 2023-06-01\r\n" in scripted.requests[0]
        line = lines.one()
        assert (200, "ok", "/v1/messages") == (line["status"], line["outcome"], line["path"])
