"""Programs written with `requests` run through Meter as they are, and give what they give directly."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import requests
from clients import programs
from clients.examples import ERRORS
from clients.lines import Lines, tokens
from stage import running_house, says

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

    from stage import House, Scripted

KEY = "YOUR_API_KEY"
BASICS = [{"role": "user", "content": "请介绍一下机器学习的基本概念"}]
POEM = [{"role": "user", "content": "请写一首关于人工智能的诗"}]


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give how long, in seconds, programs would have waited."""
    waited: list[float] = []
    monkeypatch.setattr(programs, "pause", waited.append)
    return waited


TASKS: dict[str, Callable[[str], Any]] = {
    "basics": lambda url: programs.chat_completion(KEY, url, BASICS),
    "customer service": lambda url: programs.customer_service_chat(KEY, url, "我的订单在哪里?"),
    "content": lambda url: programs.content_creation(KEY, url, "春天", "幽默"),
    "code": lambda url: programs.code_assistant(KEY, url, "写一个快速排序"),
    "document": lambda url: programs.analyze_document(KEY, url, "第一章 " * 400, "讲了什么?"),
    "shortened document": lambda url: programs.chat_completion(
        KEY, url, programs.optimize_token_usage([{"role": "user", "content": "长文" * 8000}])
    ),
    "monitored": lambda url: programs.monitored_chat_completion(KEY, url, BASICS),
    "resilient": lambda url: programs.resilient_chat_completion(KEY, url, BASICS),
    "robust": lambda url: programs.robust_chat_completion(KEY, url, BASICS),
}


@pytest.mark.parametrize("name", TASKS)
def test_tasks(house: House, lines: Lines, name: str) -> None:
    """Each program gets the answer that it gets directly, and its tokens are those of the log."""
    expected = TASKS[name](house.upstream_url)

    got = TASKS[name](house.url)

    assert expected == got
    tracker = programs.TokenTracker()
    tracker.track_usage(got)
    line = lines.one()
    stats = tracker.get_stats()
    assert (stats["total_prompt_tokens"], stats["total_completion_tokens"]) == tokens(line["usage"])
    assert ("ok", "reported", "gpt-4o") == (line["outcome"], line["usage_source"], line["request_model"])


@pytest.mark.parametrize("complexity", ["low", "medium", "high"])
@pytest.mark.parametrize(
    "task", ["text_generation", "image_analysis", "code_generation", "document_analysis", "other"]
)
def test_selected_models(house: House, lines: Lines, task: str, complexity: str) -> None:
    """Whatever model a program selects, it gets its answer and the log has the model's name."""
    model = programs.select_model(task, complexity)

    expected = programs.chat_completion(KEY, house.upstream_url, BASICS, model)
    got = programs.chat_completion(KEY, house.url, BASICS, model)

    assert expected == got
    assert model == lines.one()["request_model"]


def test_image(house: House, lines: Lines, tmp_path: Path) -> None:
    """A picture from a file gets its description, and the request's bytes are counted."""
    path = tmp_path / "image.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0" + bytes(range(256)) * 4000)

    expected, got = (
        programs.analyze_image(KEY, url, path, "请详细描述这张图片的内容")
        for url in (house.upstream_url, house.url)
    )

    assert expected == got
    line = lines.one()
    assert line["request_bytes"] > path.stat().st_size * 4 // 3
    assert "gemini-2.5-flash-all" == line["request_model"]


def test_stream(house: House, lines: Lines, capsys: pytest.CaptureFixture[str]) -> None:
    """A poem is printed as it comes, and is the one that comes directly."""
    programs.stream_chat(KEY, house.upstream_url, POEM)
    expected = capsys.readouterr().out

    programs.stream_chat(KEY, house.url, POEM)

    assert expected == capsys.readouterr().out
    assert len(expected) > 20
    line = lines.one()
    assert (True, "ok", "reported", ["stop"]) == (
        line["stream"],
        line["outcome"],
        line["usage_source"],
        line["finish_reasons"],
    )


@pytest.mark.parametrize("chunk_size", [1, 512, None])
def test_stream_lines(house: House, lines: Lines, chunk_size: int | None) -> None:
    """The lines of a stream are those that come directly, however much is read at once."""

    def came(url: str) -> list[bytes]:
        body = {"model": "gpt-4o", "messages": POEM, "stream": True}
        headers = {"Authorization": f"Bearer {KEY}"}
        with requests.post(
            f"{url}/v1/chat/completions", json=body, headers=headers, stream=True, timeout=20
        ) as response:
            return list(response.iter_lines(chunk_size=chunk_size))

    expected = came(house.upstream_url)

    assert expected == came(house.url)
    assert not any(b'"usage"' in line for line in expected)
    assert "reported" == lines.one()["usage_source"]


def test_stream_pieces(house: House) -> None:
    """A program that handles a stream piece by piece gets the same pieces."""

    def pieces(url: str) -> list[str]:
        body = {"model": "gpt-4o", "messages": POEM, "stream": True}
        headers = {"Authorization": f"Bearer {KEY}"}
        with requests.post(
            f"{url}/v1/chat/completions", json=body, headers=headers, stream=True, timeout=20
        ) as response:
            return list(programs.handle_stream_response(response))

    expected = pieces(house.upstream_url)

    assert len(expected) > 5
    assert expected == pieces(house.url)


def test_conversation(house: House, lines: Lines) -> None:
    """A conversation that grows and forgets is the same turn by turn."""

    def held(url: str) -> list[Any]:
        conversation = programs.ConversationManager(max_history=5)
        conversation.add_message("system", "你是一个专业的Python编程导师。")
        for turn in range(4):
            conversation.add_message("user", f"第{turn}个问题")
            assert programs.validate_input(conversation.get_messages())
            answer = programs.chat_completion(KEY, url, conversation.get_messages())
            conversation.add_message("assistant", answer["choices"][0]["message"]["content"])
        return conversation.get_messages()

    expected = held(house.upstream_url)

    assert expected == held(house.url)
    assert {"ok"} == {line["outcome"] for line in lines.take(4)}


class TestErrors:
    """What programs do when they are told no."""

    @pytest.mark.parametrize("name", ERRORS)
    def test_text(self, scripted: Scripted, name: str) -> None:
        """The text of an error, which programs print and search, is the upstream's to the letter."""
        status, text, error_type = ERRORS[name]
        head = b"HTTP/1.1 %d Sorry\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" % status
        scripted.script = says(head + text.encode())

        with running_house(scripted.url) as house:
            with pytest.raises(Exception, match="API Error") as caught:
                programs.chat_completion(KEY, house.url, BASICS)

            assert f"API Error: {status} - {text}" == str(caught.value)
            assert error_type == Lines(house, whole=True).one()["error_type"]

    @pytest.mark.parametrize("model", ["gpt-4o-invalid", "broken", "broken-503", "portal"])
    def test_same_text(self, house: House, model: str) -> None:
        """An error has the text that it has directly, be it JSON or a page."""
        told = []
        for url in (house.upstream_url, house.url):
            with pytest.raises(Exception, match="API Error") as caught:
                programs.chat_completion(KEY, url, BASICS, model)
            told.append(str(caught.value))

        assert told[0] == told[1]

    def test_gives_up(self, house: House, lines: Lines, pauses: list[float]) -> None:
        """A program that backs off waits as long as it would, gives up, and was counted each time."""
        with pytest.raises(Exception, match=r"429 - .*rate_limit_exceeded"):
            programs.robust_chat_completion("sk-limited", house.url, BASICS)

        assert [1, 2] == [int(seconds) for seconds in pauses]
        counted = [(li["outcome"], li["error_type"], li["attempts"]) for li in lines.take(3)]
        assert [("client_error", "rate_limit_exceeded", 1)] * 3 == counted

    @pytest.mark.usefixtures("capsys")
    def test_succeeds_in_the_end(self, scripted: Scripted, pauses: list[float]) -> None:
        """A program that sees `rate_limit` in the text backs off exponentially, and is answered at last."""
        answer = json.dumps({"choices": [{"message": {"content": "好"}, "finish_reason": "stop"}]}).encode()
        limited = ERRORS["rate limit"][1].encode()
        head = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"

        async def script(request: bytes, writer: asyncio.StreamWriter) -> None:
            busy = len(scripted.requests) < 4
            await says(head % (429 if busy else 200) + (limited if busy else answer))(request, writer)

        scripted.script = script
        with running_house(scripted.url) as house:
            got = programs.resilient_chat_completion(KEY, house.url, BASICS)

            assert json.loads(answer) == got
            assert [2, 4, 8] == [int(seconds) // 2 * 2 for seconds in pauses]
            outcomes = [line["outcome"] for line in Lines(house, whole=True).take(4)]
            assert ["client_error"] * 3 + ["ok"] == outcomes
            assert 3 == house.value("meter_errors_total", error_type="rate_limit_exceeded")
