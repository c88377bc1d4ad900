"""The log: the line of an exchange field by field, and lines that hold whatever is thrown at them."""

from __future__ import annotations

import ast
import asyncio
import io
import json
import logging
import os
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import meter
from meter.exchange import Exchange, Outcome, PriceStatus, UsageSource
from meter.sinks import Sinks
from meter.sinks.log import LibraryLog, LogSink, configure
from meter.telling import fields, level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meter.sinks.log import Log

ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=30)
METER = Path(meter.__file__).parent
BREAKING = '\0\n\r\x0b\x1c\x1b[31m\x7f\x85\x9b\u2028\u2029\u202e\ud800"\\'


def exchange(**facts: Any) -> Exchange:
    """Make an exchange of which everything is known, with some facts changed."""
    known = {
        "id": "01978a3e-0000-7000-8000-000000000000",
        "started_at": 1_767_225_600.25,
        "upstream": "openai",
        "operation": "chat",
        "method": "POST",
        "path": "/v1/chat/completions",
        "key": "search",
        "tags": {"team": "red"},
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "outcome": Outcome.OK,
        "status": 200,
        "stream": True,
        "attempts": 1,
        "request_model": "gpt-4o",
        "response_model": "gpt-4o-2024-08-06",
        "model": "gpt-4o-2024-08-06",
        "service_tier": "default",
        "finish_reasons": ("stop",),
        "upstream_request_id": "req_1",
        "usage": {"input": 10, "output": 5},
        "units": {"images": 2.0},
        "usage_source": UsageSource.REPORTED,
        "cost_usd": Decimal("0.000000012300"),
        "provider_cost_usd": Decimal("1.2E-8"),
        "price_status": PriceStatus.EXACT,
        "price_source": "prices.yaml",
        "price_revision": "sha256:0123",
        "duration_s": 1.23456789,
        "ttft_s": 0.1234567,
        "overhead_request_s": 0.001,
        "overhead_response_s": 0.0002,
        "request_bytes": 100,
        "response_bytes": 2000,
    }
    return Exchange(**{**known, **facts})


def line(*, least: str = "info", **facts: Any) -> str:
    """Write one exchange, and give the text that came out."""
    stream = io.BytesIO()
    LogSink(configure(level=least, stream=stream))(exchange(**facts))
    return stream.getvalue().decode()


def told(**facts: Any) -> dict[str, Any]:
    """Write one exchange, and give its line decoded."""
    found: dict[str, Any] = json.loads(line(**facts), parse_float=Decimal)
    return found


def sound(text: str) -> str:
    """Give a text with its lone surrogates replaced."""
    return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)


def readable(**facts: Any) -> str:
    """Write one exchange for people."""
    stream = io.StringIO()
    LogSink(configure(format="console", stream=stream))(exchange(**facts))
    return stream.getvalue()


LINE = (
    '{"timestamp":"2026-01-01T00:00:01.484568Z","level":"info","event":"exchange",'
    '"id":"01978a3e-0000-7000-8000-000000000000","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736",'
    '"upstream":"openai","operation":"chat","method":"POST","path":"/v1/chat/completions","status":200,'
    '"outcome":"ok","error_type":"","stream":true,"request_model":"gpt-4o",'
    '"response_model":"gpt-4o-2024-08-06","model":"gpt-4o-2024-08-06","key":"search","tags":{"team":"red"},'
    '"usage":{"input":10,"output":5},"units":{"images":2.0},"cost_usd":0.000000012300,'
    '"provider_cost_usd":0.000000012,"usage_source":"reported","price_status":"exact",'
    '"price_source":"prices.yaml","price_revision":"sha256:0123","service_tier":"default",'
    '"finish_reasons":["stop"],"attempts":1,"duration_s":1.234568,"ttft_s":0.123457,"overhead_s":0.0012,'
    '"request_bytes":100,"response_bytes":2000,"upstream_request_id":"req_1"}\n'
)


def test_the_whole_line() -> None:
    """An exchange is one line of JSON, field by field in the order that users were promised."""
    assert line() == LINE


@given(ANY_TEXT, st.none() | st.decimals(places=12), st.none() | st.floats(0, 1e9), st.sampled_from(Outcome))
@settings(max_examples=200)
def test_the_same_as_any_event(
    name: str, cost: Decimal | None, seconds: float | None, outcome: Outcome
) -> None:
    """The line of an exchange is what the logger would write of any event that says the same."""
    one = exchange(
        path=name, tags={name: name}, cost_usd=cost, ttft_s=seconds, outcome=outcome, error_type=name
    )
    stream, other = io.BytesIO(), io.BytesIO()
    LogSink(configure(stream=stream))(one)
    getattr(configure(stream=other), level(one))("exchange", **fields(one))

    assert other.getvalue() == stream.getvalue()


def test_what_is_unknown() -> None:
    """What is not known is null or empty, never 0; a missing model or key is `none`."""
    bare = Exchange(
        id="0197",
        started_at=0.0,
        method="GET",
        path="/",
        outcome=Outcome.UNREACHABLE,
        error_type="unreachable",
    )
    stream = io.BytesIO()
    LogSink(configure(stream=stream))(bare)
    found = json.loads(stream.getvalue())
    empty = {name: value for name, value in found.items() if value in (None, {}, [], "none")}

    assert empty == {
        **dict.fromkeys(("trace_id", "status", "request_model", "response_model", "cost_usd")),
        **dict.fromkeys(("provider_cost_usd", "price_source", "price_revision", "service_tier")),
        **dict.fromkeys(("ttft_s", "overhead_s", "upstream_request_id")),
        **dict.fromkeys(("upstream", "model", "key", "usage_source", "price_status"), "none"),
        "finish_reasons": [],
        **{name: {} for name in ("tags", "usage", "units")},
    }


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        ("0.000000012300", "0.000000012300"),
        ("1.23E-8", "0.0000000123"),
        ("1E+3", "1000"),
        ("0.1", "0.1"),
        ("0E-12", "0.000000000000"),
        ("123456789.123456789012", "123456789.123456789012"),
        ("NaN", "null"),
        ("Infinity", "null"),
    ],
)
def test_costs_are_plain_decimals(cost: str, text: str) -> None:
    """A cost has every digit and no exponent; what is no number is unknown."""
    assert f'"cost_usd":{text},' in line(cost_usd=Decimal(cost))


@given(st.decimals(min_value=0, max_value=10**6, places=12))
@settings(max_examples=100)
def test_costs_come_back_to_the_last_digit(cost: Decimal) -> None:
    """What is read from the line is the cost itself."""
    assert told(cost_usd=cost)["cost_usd"] == cost


@pytest.mark.parametrize(
    ("outcome", "level"),
    [
        (Outcome.OK, "info"),
        (Outcome.CLIENT_ERROR, "info"),
        (Outcome.CLIENT_CLOSED, "info"),
        (Outcome.UPSTREAM_ERROR, "warning"),
        (Outcome.STREAM_ERROR, "warning"),
        (Outcome.TRUNCATED, "warning"),
        (Outcome.TIMEOUT, "warning"),
        (Outcome.UNREACHABLE, "warning"),
        (Outcome.REJECTED, "warning"),
    ],
)
def test_levels(outcome: Outcome, level: str) -> None:
    """What an operator should look at is a warning."""
    assert told(outcome=outcome)["level"] == level


def test_a_higher_level_keeps_the_good_ones_quiet() -> None:
    """At level `warning` only exchanges that went wrong are written."""
    assert line(least="warning") == ""
    assert '"outcome":"timeout"' in line(least="WARNING", outcome=Outcome.TIMEOUT)


def test_an_unknown_level_is_refused() -> None:
    """A level that does not exist is an error at once."""
    with pytest.raises(KeyError, match="LOUD"):
        configure(level="loud")


@given(ANY_TEXT, ANY_TEXT)
@settings(max_examples=200)
def test_any_text_makes_one_line_of_json(name: str, other: str) -> None:
    """Whatever things are called, a line is one line, and all but lone surrogates survives."""
    text = line(path=name, tags={other: name}, finish_reasons=(name,), request_model=name)
    found = json.loads(text)

    assert len(text.splitlines()) == 1
    assert found["path"] == found["request_model"] == sound(name)
    assert found["finish_reasons"] == [sound(name)]
    assert found["tags"] == {sound(other): sound(name)}


def test_hostile_text_survives_but_for_lone_surrogates() -> None:
    """Control characters and odd line breaks are escaped and come back; a lone surrogate is replaced."""
    assert told(path=BREAKING)["path"] == sound(BREAKING)
    assert told(tags={BREAKING: "a"})["tags"] == {sound(BREAKING): "a"}


def test_own_events_have_the_same_shape() -> None:
    """An event of the program has timestamp, level and event first, then what it has to say."""
    stream = io.BytesIO()
    configure(stream=stream).warning("draining", seconds=300, file=Path("a.yaml"), error=OSError("secret"))
    found = json.loads(stream.getvalue())
    moment = datetime.fromisoformat(found.pop("timestamp"))

    assert moment.tzinfo is not None
    assert list(found.items()) == [
        ("level", "warning"),
        ("event", "draining"),
        ("seconds", 300),
        ("file", "a.yaml"),
        ("error", "OSError"),
    ]


def test_text_streams_and_binary_streams_get_the_same() -> None:
    """Lines go below a text layer where there is a binary one, and through it where there is none."""
    text, binary, below = io.StringIO(), io.BytesIO(), io.BytesIO()
    layered = io.TextIOWrapper(below, encoding="ascii", newline="\r\n")
    for stream in (text, binary, layered):
        LogSink(configure(stream=stream))(exchange(path="/é"))

    assert text.getvalue().encode() == binary.getvalue()
    assert below.getvalue() == binary.getvalue()


def test_standard_output_is_the_default(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Without a stream, lines go to standard output, and are there at once."""
    LogSink(configure())(exchange())

    assert capfdbinary.readouterr().out.decode() == LINE


def test_a_line_for_people() -> None:
    """The console has when, how loud, how it ended, who, how many tokens, dollars and seconds."""
    found = readable(outcome=Outcome.STREAM_ERROR, error_type="server_error", model=None, path="/a b")

    assert found.startswith('00:00:01.484 warning  stream_error   200 chat              "openai/a b" ')
    assert "$0.0000000123 " in found
    assert found.endswith("  server_error\n")
    assert "\x1b" not in found


def test_a_terminal_gets_colours() -> None:
    """Only a terminal is sent colours."""
    leader, follower = os.openpty()
    with open(follower, "wb", buffering=0) as terminal, open(leader, "rb", buffering=0) as screen:  # noqa: PTH123  a descriptor is no path
        configure(format="console", stream=terminal).info("ready", url="http://127.0.0.1:8080")
        found = screen.read(200)

    assert found.startswith(b"\x1b[32m")
    assert found.endswith(b"info     ready\x1b[0m url=http://127.0.0.1:8080\r\n")


@given(ANY_TEXT | st.just(BREAKING))
@settings(max_examples=200)
def test_nobody_writes_to_the_terminal_through_the_console(name: str) -> None:
    """Whatever things are called, the console shows one line without anything that a terminal would obey."""
    found = readable(path=name, tags={name: name})

    assert len(found.splitlines()) == 1
    assert not set(found[:-1]) & set(map(chr, (*range(32), *range(127, 160), 0x202E)))


def written(*exchanges: Exchange, level: str = "info", **settings_: Any) -> list[dict[str, Any]]:
    """Write exchanges with some settings of the log; give their lines decoded."""
    stream = io.BytesIO()
    sink = LogSink(configure(level=level, stream=stream))
    sink.settle(**settings_)
    for each in exchanges:
        sink(each)
    return [json.loads(text) for text in stream.getvalue().splitlines()]


def test_levels_of_outcomes() -> None:
    """An outcome has the level of the settings, if any; what is too quiet or off is not written."""
    outcomes = {"ok": "error", "client_error": "debug", "client_closed": "off"}
    several = [exchange(outcome=each) for each in (*map(Outcome, outcomes), Outcome.TIMEOUT)]

    told = [(found["outcome"], found["level"]) for found in written(*several, outcomes=outcomes)]
    assert [("ok", "error"), ("timeout", "warning")] == told
    told = [
        (found["outcome"], found["level"]) for found in written(*several, level="debug", outcomes=outcomes)
    ]
    assert [("ok", "error"), ("client_error", "debug"), ("timeout", "warning")] == told


def test_a_sample() -> None:
    """What is not in the sample is neither written nor an error."""
    failed: list[str] = []
    stream = io.BytesIO()
    sink = LogSink(configure(stream=stream))
    sink.settle(sample={"ok": 0.5})
    sinks = Sinks([sink], lambda name, _: failed.append(name))
    for end in "08f":
        sinks.tell(exchange(id=f"01978a3e-0000-7000-8000-{end * 12}"))
    sinks.close()

    assert ["000000000000"] == [json.loads(text)["id"][-12:] for text in stream.getvalue().splitlines()]
    assert [] == failed


def test_content_only_where_it_is_wanted() -> None:
    """With content a line ends in question and answer, null where there is none; without, it has neither."""
    spoken = exchange(question='{"prompt":"hi"}', answer=BREAKING)
    [with_it], [without], [mute] = (
        written(spoken, content=True),
        written(spoken),
        written(exchange(), content=True),
    )

    assert [("question", '{"prompt":"hi"}'), ("answer", sound(BREAKING))] == list(with_it.items())[-2:]
    assert without == {name: value for name, value in with_it.items() if name not in ("question", "answer")}
    assert (None, None) == (mute["question"], mute["answer"])


def test_people_see_no_content() -> None:
    """The console shows neither question nor answer."""
    stream = io.StringIO()
    sink = LogSink(configure(format="console", stream=stream))
    sink.settle(content=True)
    sink(exchange(question="greet", answer="hello"))

    assert readable() == stream.getvalue()


def calls() -> Iterator[tuple[str, str]]:
    """Yield level and event of each call in the program that writes a line; `varies` for some level."""
    for file in sorted(METER.rglob("*.py")):
        for call in ast.walk(ast.parse(file.read_text())):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                continue
            said = [each.value if isinstance(each, ast.Constant) else None for each in call.args[:2]]
            match call.func.attr, said:
                case "tell_exchange", _:
                    yield "varies", "exchange"
                case "note" | "log", [level, str(event)]:
                    yield level if isinstance(level, str) else "varies", event
                case ("debug" | "info" | "warning" | "error" | "critical") as level, [str(event), *_]:
                    yield level, event
                case _:
                    pass


def test_every_event_is_in_the_table() -> None:
    """The table of events has all that the program writes, with their levels, and no other."""
    page = (METER.parent / "docs" / "metrics.md").read_text()
    section = page[page.index("## Log events") : page.index("## Which exchanges")]
    rows = [row.split(" | ") for row in section.splitlines() if row.startswith("| `")]
    listed = {row[0].strip("| `"): row[1] for row in rows}
    found = set(calls())

    assert set(listed) == {event for _, event in found}
    assert all(level in (listed[event], "varies") for level, event in found), found


def library(level: int, message: str, *arguments: object, exception: BaseException | None = None) -> str:
    """Log as a library does, and give what came out."""
    stream = io.StringIO()
    logger = logging.Logger("aiohttp.server")  # noqa: LOG001  one that no other test can see
    logger.addHandler(LibraryLog(configure(stream=stream)))
    logger.log(level, message, *arguments, exc_info=exception)
    return stream.getvalue()


def test_libraries_say_who_and_how_loud_and_nothing_more() -> None:
    """A library's message, arguments and traceback stay out; its name, level and exception class are told."""
    found = library(logging.ERROR, "secret in %s", "sk-123", exception=ValueError("prompt"))

    assert found[found.index('"level"') :] == (
        '"level":"error","event":"library","logger":"aiohttp.server","exception":"ValueError"}\n'
    )


@pytest.mark.parametrize(("number", "level"), [(25, "info"), (35, "warning"), (55, "critical")])
def test_odd_levels_of_libraries(number: int, level: str) -> None:
    """A level of a library's own counts as the one below it."""
    assert json.loads(library(number, "x"))["level"] == level


def test_quiet_levels_of_libraries_are_filtered() -> None:
    """What is less urgent than the log's level is not written."""
    assert library(logging.DEBUG, "x") == ""
    assert library(5, "x") == ""


def test_what_asyncio_reports_is_told_without_its_context() -> None:
    """An exception that nobody caught in a callback is an event `library` of asyncio."""
    stream = io.StringIO()
    handler = LibraryLog(configure(stream=stream))
    logger = logging.getLogger("asyncio")
    logger.addHandler(handler)
    try:
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            loop.call_exception_handler({"message": "prompt", "exception": OSError("secret")})
    finally:
        logger.removeHandler(handler)
    found = json.loads(stream.getvalue())

    assert (found["logger"], found["level"], found["exception"]) == ("asyncio", "error", "OSError")
    assert "secret" not in stream.getvalue()
    assert "prompt" not in stream.getvalue()


@pytest.fixture
def deserted() -> Iterator[Log]:
    """Give a logger whose reader has left."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as stream:
        yield configure(stream=stream)


def test_a_reader_that_left_is_an_error_of_the_sink(deserted: Log) -> None:
    """A closed standard output is counted for the sink `log`, and does not reach the proxy."""
    failed: list[tuple[str, type[BaseException]]] = []
    sinks = Sinks([LogSink(deserted)], lambda name, error: failed.append((name, type(error))))
    sinks.tell(exchange())
    sinks.close()

    assert failed == [("log", BrokenPipeError)]


def test_a_reader_that_left_does_not_trouble_libraries(
    deserted: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    """A library that logs into a closed standard output hears nothing of it, and nothing is printed."""
    LibraryLog(deserted).handle(logging.LogRecord("x", logging.ERROR, "x", 1, "secret", None, None))

    assert capsys.readouterr() == ("", "")
