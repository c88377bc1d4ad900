"""The tap: bytes in, the same bytes out but for what asking caused, and facts that are true."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meter.dialect import Request
from meter.dialects.audio import Speech
from meter.dialects.chat import ChatCompletions, Completions
from meter.exchange import Outcome, UsageSource
from meter.members import cut_null
from meter.tap import Tap

if TYPE_CHECKING:
    from collections.abc import Iterable

CHAT = ChatCompletions()
SSE = b"text/event-stream"
JSON = b"application/json"
COUNTS = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}


def event(**members: Any) -> bytes:
    """Return an event of a chat stream."""
    return b"data: " + json.dumps(members, separators=(",", ":")).encode() + b"\n\n"


def delta(text: str, finish: str | None = None, **members: Any) -> bytes:
    """Return an event with one choice."""
    return event(choices=[{"index": 0, "delta": {"content": text}, "finish_reason": finish}], **members)


USAGE = event(choices=[], usage=COUNTS)
DONE = b"data: [DONE]\n\n"
FINISH = delta("", "stop")


def tap(
    *pieces: bytes,
    status: int = 200,
    media: bytes = SSE,
    encoding: bytes | None = None,
    dialect: ChatCompletions | None = CHAT,
    **options: Any,
) -> Tap:
    """Return a tap that has seen an answer's head, and pieces of its body one second apart."""
    made = Tap(dialect, **options)
    made.answer(status, media, encoding)
    for now, piece in enumerate(pieces):
        made.watch(piece, now)
    return made


def ended(*pieces: bytes, **options: Any) -> Tap:
    """Return a tap that has seen a whole answer."""
    made = tap(*pieces, **options)
    made.end(0.0)
    return made


def edited(pieces: Iterable[bytes], **options: Any) -> bytes:
    """Return what goes out of a stream while Meter hides."""
    made = tap(asked=True, request=Request(stream=True), **options)
    assert made.hiding
    out = [made.edit(piece, 0.0) for piece in pieces]
    return b"".join([*out, made.end(0.0)])


class TestHeads:
    """An answer's head says what is to be done with its body."""

    @pytest.mark.parametrize(
        ("status", "media", "client_streams", "stream"),
        [
            (200, SSE, True, True),
            (200, SSE, False, True),
            (206, SSE, True, True),
            (200, JSON, True, False),
            (200, b"", True, True),
            (200, b"text/plain", True, True),
            (200, b"application/octet-stream", True, True),
            (200, b"", False, False),
            (200, b"text/html", True, False),
            (400, SSE, True, False),
            (500, b"", True, False),
            (302, SSE, True, False),
        ],
    )
    def test_knows_a_stream(self, status: int, media: bytes, client_streams: bool, stream: bool) -> None:
        """The answer's type says whether it streams; the request, only where there is none."""
        made = tap(status=status, media=media, request=Request(stream=client_streams), asked=client_streams)

        assert stream == made.stream
        assert (stream and client_streams) == made.hiding

    @pytest.mark.parametrize(
        ("encoding", "hiding", "decodes"),
        [
            (None, True, False),
            (b"", True, False),
            (b"Identity", True, False),
            (b"gzip", True, True),
            (b"compress", False, False),
            (b"gzip, br", False, False),
        ],
    )
    def test_hides_what_it_can_read(self, encoding: bytes | None, hiding: bool, decodes: bool) -> None:
        """A stream is edited unless its coding is unknown, and sent as identity if it had one."""
        made = tap(asked=True, encoding=encoding)

        assert (hiding, decodes) == (made.hiding, made.decodes)


class TestTimes:
    """Times are those of events with content."""

    def test_times_content(self) -> None:
        """The first, the last and the longest pause between are those of content."""
        made = tap(delta(""), delta("a"), DONE[:5], b"x" + b"\n\n", delta("b"), delta("c"), FINISH)

        assert (1, 5, 3) == (made.first_content, made.last_content, made.stall)

    def test_times_the_end_of_an_event(self) -> None:
        """An event that comes in pieces has come with its last."""
        first, second = delta("a")[:20], delta("a")[20:]

        assert 1 == tap(first, second).first_content

    def test_needs_two_for_a_pause(self) -> None:
        """One event with content has no pause."""
        assert tap(delta("a")).stall is None
        assert 0 == tap(delta("a") + delta("b")).stall

    def test_takes_what_is_too_long_for_content(self) -> None:
        """An event too long to be read carries content."""
        made = tap(delta("x" * 100), delta("x" * 100), event_bytes=64)

        assert (0, 1) == (made.first_content, made.last_content)

    @pytest.mark.parametrize(("name", "streamed"), [("content", False), ("reasoning", True)])
    def test_tells_reasoning(self, name: str, streamed: bool) -> None:
        """Reasoning that was streamed is known to have been."""
        assert streamed == tap(event(choices=[{"delta": {name: "a"}}])).reasoning_streamed


class TestOutcomes:
    """How an exchange ended, by what was seen of its answer and what broke it off."""

    @pytest.mark.parametrize(
        ("pieces", "at_the_end", "if_the_client_left", "if_it_broke_off"),
        [
            ([], Outcome.TRUNCATED, Outcome.CLIENT_CLOSED, Outcome.TRUNCATED),
            ([delta("a")], Outcome.TRUNCATED, Outcome.CLIENT_CLOSED, Outcome.TRUNCATED),
            ([delta("a"), FINISH], Outcome.OK, Outcome.CLIENT_CLOSED, Outcome.TRUNCATED),
            ([USAGE], Outcome.OK, Outcome.CLIENT_CLOSED, Outcome.TRUNCATED),
            ([FINISH, USAGE], Outcome.OK, Outcome.OK, Outcome.OK),
            ([delta("a", "stop", usage=COUNTS)], Outcome.OK, Outcome.OK, Outcome.OK),
            ([DONE], Outcome.OK, Outcome.OK, Outcome.OK),
            ([event(error={}), DONE], Outcome.OK, Outcome.OK, Outcome.OK),
            ([event(error="x"), DONE], *[Outcome.STREAM_ERROR] * 3),
            ([FINISH, USAGE, event(error="x")], *[Outcome.STREAM_ERROR] * 3),
            (
                [delta("a", usage=COUNTS), delta("", "stop", usage=COUNTS), delta("b", usage=COUNTS)],
                Outcome.OK,
                Outcome.CLIENT_CLOSED,
                Outcome.TRUNCATED,
            ),
        ],
    )
    def test_judges_streams(
        self,
        pieces: list[bytes],
        at_the_end: Outcome,
        if_the_client_left: Outcome,
        if_it_broke_off: Outcome,
    ) -> None:
        """A stream is whole with its terminator, or a final usage after a finish; else the cause counts."""
        made = ended(*pieces)

        assert [at_the_end, if_the_client_left, if_it_broke_off] == [
            made.outcome(cause) for cause in (None, Outcome.CLIENT_CLOSED, Outcome.TRUNCATED)
        ]

    @pytest.mark.parametrize(
        ("status", "body", "cause", "outcome"),
        [
            (200, b"{}", None, Outcome.OK),
            (200, b"{}", Outcome.TIMEOUT, Outcome.TIMEOUT),
            (204, b"", None, Outcome.OK),
            (302, b"", None, Outcome.OK),
            (200, b'{"error":"x"}', None, Outcome.STREAM_ERROR),
            (404, b"", None, Outcome.CLIENT_ERROR),
            (429, b"{", Outcome.CLIENT_CLOSED, Outcome.CLIENT_ERROR),
            (500, b"", None, Outcome.UPSTREAM_ERROR),
            (599, b"", Outcome.TRUNCATED, Outcome.UPSTREAM_ERROR),
        ],
    )
    def test_judges_whole_answers(
        self, status: int, body: bytes, cause: Outcome | None, outcome: Outcome
    ) -> None:
        """A status says how an exchange ended, but for a success."""
        assert outcome == ended(body, status=status, media=JSON).outcome(cause)

    def test_judges_what_was_not_answered(self) -> None:
        """Without an answer the cause counts, and there is always one."""
        assert Outcome.CLIENT_CLOSED == Tap(CHAT).outcome(Outcome.CLIENT_CLOSED)
        assert Outcome.UNREACHABLE == Tap(CHAT).outcome(None)

    def test_judges_a_page(self) -> None:
        """A page is no answer of an API, but one where no API is spoken."""
        page = b"<html></html>"

        assert Outcome.STREAM_ERROR == ended(page, media=b"text/html").outcome(None)
        assert Outcome.OK == ended(page, media=b"text/html", dialect=None).outcome(None)

    def test_judges_no_stream_of_another_kind(self) -> None:
        """A stream in no dialect that is known ends well when it ends."""
        assert Outcome.OK == ended(b"data: x\n\n", dialect=None).outcome(None)

    def test_judges_nothing_that_it_could_not_read(self) -> None:
        """Of a stream in an unknown coding nobody knows that its end was missing."""
        made = ended(b"\x1f\x9d", encoding=b"compress")

        assert Outcome.OK == made.outcome(None)
        assert Outcome.CLIENT_CLOSED == made.outcome(Outcome.CLIENT_CLOSED)


class TestUsageSources:
    """How sure the counts are."""

    @pytest.mark.parametrize(
        ("pieces", "cause", "source"),
        [
            ([FINISH, USAGE, DONE], None, UsageSource.REPORTED),
            ([FINISH, USAGE], Outcome.TRUNCATED, UsageSource.REPORTED),
            ([delta("a", usage=COUNTS)], None, UsageSource.ESTIMATED),
            ([delta("a", usage=COUNTS)], Outcome.CLIENT_CLOSED, UsageSource.ESTIMATED),
            ([delta("a", usage=COUNTS), DONE], None, UsageSource.REPORTED),
            ([USAGE, delta("a")], Outcome.TRUNCATED, UsageSource.ESTIMATED),
            ([delta("a", usage=COUNTS), event(error="x")], None, UsageSource.ESTIMATED),
            ([FINISH, USAGE, event(error="x")], None, UsageSource.REPORTED),
            ([FINISH, DONE], None, UsageSource.MISSING),
            ([event(error="x")], None, UsageSource.MISSING),
        ],
    )
    def test_tells_of_streams(self, pieces: list[bytes], cause: Outcome | None, source: UsageSource) -> None:
        """A final usage is reported, a running total that was cut off is estimated, none is missing."""
        made = ended(*pieces)

        assert source == made.counted(made.outcome(cause), sent=True).source

    @pytest.mark.parametrize(
        ("status", "body", "source"),
        [
            (200, json.dumps({"usage": COUNTS}).encode(), UsageSource.REPORTED),
            (200, b"{}", UsageSource.MISSING),
            (200, b"", UsageSource.MISSING),
            (302, b"", UsageSource.NONE),
            (400, b"{}", UsageSource.NONE),
            (500, b"", UsageSource.NONE),
        ],
    )
    def test_tells_of_whole_answers(self, status: int, body: bytes, source: UsageSource) -> None:
        """A success should tell its usage; anything else has nothing to count."""
        made = ended(body, status=status, media=JSON)

        assert source == made.counted(made.outcome(None), sent=True).source

    @pytest.mark.parametrize("outcome", [Outcome.UNREACHABLE, Outcome.REJECTED])
    def test_has_nothing_to_count(self, outcome: Outcome) -> None:
        """What never reached an upstream, or speaks no dialect, has nothing to count."""
        assert UsageSource.NONE == Tap(CHAT).counted(outcome, sent=True).source
        assert UsageSource.NONE == Tap(CHAT).counted(Outcome.CLIENT_CLOSED, sent=False).source
        assert UsageSource.NONE == ended(b"{}", dialect=None).counted(Outcome.OK, sent=True).source


class TestHiding:
    """While Meter hides, what asking caused stays here, and nothing else does."""

    def test_holds_a_finish_until_the_next_event(self) -> None:
        """An event with a finish reason waits for what may go back onto it, but not for ever."""
        made = tap(asked=True)

        assert b"" == made.edit(FINISH, 0.0)
        assert made.waiting
        assert FINISH == made.release()
        assert not made.waiting
        assert b"" == made.edit(USAGE, 1.0)
        assert DONE == made.edit(DONE, 2.0)

    def test_does_not_wait_while_the_next_event_comes(self) -> None:
        """As long as part of the next event is here, its rest is on its way."""
        made = tap(asked=True)
        made.edit(FINISH + USAGE[:9], 0.0)

        assert not made.waiting

    def test_gives_back_once(self) -> None:
        """What the event with the finish has itself is not put there again."""
        finish = delta("", "stop", timings={"a": 1})
        usage = event(choices=[], usage=COUNTS, timings={"a": 2})

        assert finish + DONE == edited([finish, usage, DONE])

    def test_gives_back_nothing_to_nobody(self) -> None:
        """Without an event that is held there is nothing for the members of a usage event to go back onto."""
        usage = event(choices=[], usage=COUNTS, timings={"a": 2})

        assert FINISH + b": ping\n\n" + DONE == edited([FINISH, b": ping\n\n", usage, DONE])

    def test_gives_back_its_own_members(self) -> None:
        """What is deeper inside a usage event is no member of it."""
        usage = event(choices=[], usage={"timings": {"a": 2}})

        assert FINISH + DONE == edited([FINISH, usage, DONE])

    def test_keeps_the_feed_of_a_carriage_return(self) -> None:
        """The LF of a CRLF that comes late goes where its event went."""
        stream = (FINISH + USAGE + DONE).replace(b"\n", b"\r\n")

        assert (FINISH + DONE).replace(b"\n", b"\r\n") == edited(bytes([byte]) for byte in stream)

    def test_passes_what_is_too_long_to_hold(self) -> None:
        """An event longer than what is held passes as it comes, and hiding goes on with the next."""
        long = delta("x" * 100, usage=None)
        short = delta("a", usage=None)
        made = tap(asked=True, event_bytes=100)

        assert long[:101] == made.edit(long[:101], 0.0)
        assert long[101:] + delta("a") == made.edit(long[101:] + short, 1.0)
        assert DONE == made.edit(USAGE + DONE, 2.0)

    @pytest.mark.parametrize("encoding", ["gzip", None])
    def test_gives_out_what_it_holds(self, encoding: str | None) -> None:
        """At any end what is held goes out first."""
        half = delta("hello")[:30]
        pieces = [FINISH + half.replace(b'"choices":[', b'"x":1,"choices":[')]
        expected = b"".join(pieces)

        if encoding:
            assert expected == edited([gzip.compress(expected)], encoding=b"gzip")
        else:
            assert expected == edited(pieces)

    @pytest.mark.parametrize(
        ("before", "half", "expected"),
        [
            (b"", b'data: {"choices":[{"delta":{"content":"a', None),
            (
                b"",
                b'data: {"id":"1","choices":[{"delta":{}}],"usage":nul',
                b'data: {"id":"1","choices":[{"delta":{}}]',
            ),
            (b"", b'data: {"id":"1", "us', b'data: {"id":"1"'),
            (b"", b'data: {"choices":[],"usage":{"a":{"b":1}', b""),
            (b"", b': ping\ndata: {"usage": {', b": ping\n"),
            (b"", b'data: {"choices":[],"prompt_filter_results":[{', None),
            (delta("a"), b'data: {"id":"1",', None),
            (delta("a", usage=None), b'data: {"id":"1",', b'data: {"id":"1"'),
            (delta("a"), b'data: {"id":"1","choices":[{"delta":{}}],"usage":{"a":', None),
            (delta("a"), b"data: [DO", None),
            (FINISH, b'data: {"id":"1"', b""),
            (FINISH, b"data: ", None),
            (FINISH, b'data: {"id":"1","choices":[{"index":1,"delta":', None),
        ],
    )
    def test_gives_out_half_an_event(self, before: bytes, half: bytes, expected: bytes | None) -> None:
        """Of an event that broke off all goes out but what may be of the usage, or of a null one."""
        came = before.replace(b',"usage":null', b"")

        assert came + (half if expected is None else expected) == edited([before + half])

    def test_ends_once(self) -> None:
        """The second end says nothing more."""
        made = tap(asked=True)
        made.edit(FINISH, 0.0)

        assert FINISH == made.end(1.0)
        assert b"" == made.end(2.0)

    @pytest.mark.parametrize(
        ("lines", "expected"),
        [
            (b'data: {"a":1,\ndata: "usage":null}\n\n', b'data: {"a":1}\n\n'),
            (b'data: {"a":1,"usage":null,\r\ndata:"b":2}\r\n\r\n', b'data: {"a":1,\r\ndata:"b":2}\r\n\r\n'),
            (b'data\ndata: {"a":1,\nid: 1\ndata: "usage":null}\n\n', b'data\ndata: {"a":1}\nid: 1\n\n'),
            (
                b'\xef\xbb\xbfdata: {"usage":null,\ndata: "a":1}\n\n',
                b'\xef\xbb\xbfdata: {"a":1}\n\n',
            ),
            (
                b'data: {"a":1,"usage":\ndata: null,\ndata: "b":2}\n\n',
                b'data: {"a":1,\ndata: "b":2}\n\n',
            ),
        ],
    )
    def test_cuts_data_of_several_lines(self, lines: bytes, expected: bytes) -> None:
        """A null that stands in several lines of data is cut as in one."""
        assert expected == edited([lines])

    @pytest.mark.parametrize(
        "data",
        [
            b'{"a":1,"usage":null}',
            b'{"a":1 \t,"usage":null}',
            b'{"a":"\\"usage\\"","usage":null}',
            b'{"a":"\\u00e9","usage":null}',
            b'{"a":{"usage":null},"usage":null}',
            b'{"usage":null,"a":1,"usage":null}',
            b'{"\\u0075sage":null,"a":1,"usage":null}',
        ],
    )
    def test_cuts_a_null_at_the_end(self, data: bytes) -> None:
        """A null that is the last member is cut as anywhere else, and so are all of its name before it."""
        assert b"data: %b\n\n" % cut_null(data, "usage") == edited([b"data: %b\n\n" % data])

    def test_breaks_off_where_a_coding_is_damaged(self) -> None:
        """What cannot be decoded cannot be sent as identity."""
        made = tap(asked=True, encoding=b"gzip")
        coded = gzip.compress(FINISH * 50)

        assert b"" == made.edit(b"\xff" + coded, 0.0)
        assert made.damaged
        assert b"" == made.edit(coded, 1.0)
        assert b"" == made.end(2.0)


class TestReading:
    """What is read is bounded, and what fails within costs nobody a byte."""

    def test_reads_the_end_of_a_long_answer(self) -> None:
        """Of an answer too long to keep, the usage among the last members is read."""
        body = json.dumps({"choices": [{"message": {"content": "x" * 200_000}}], "usage": COUNTS}).encode()
        pieces = [body[i : i + 10_000] for i in range(0, len(body), 10_000)]

        made = ended(*pieces, media=JSON)

        assert {"input": 9, "output": 2} == made.facts.usage
        assert UsageSource.REPORTED == made.counted(made.outcome(None), sent=True).source

    def test_finds_no_usage_in_a_long_answer_without(self) -> None:
        """Where the end of a long answer tells no usage, it is missing."""
        made = ended(b'{"x":"' + b"usage" * 50_000 + b'"}', media=JSON)

        assert made.facts.usage is None

    def test_reads_no_bomb(self) -> None:
        """A small answer that says over a hundred times its size, and over 8 MiB, is read no further."""
        bomb = gzip.compress(b"x" * (10 << 20))

        made = tap(bomb, gzip.compress(b"\n\n" + FINISH), encoding=b"gzip")

        assert {} == made.facts.finish_reasons
        assert 8 << 20 == len(tap(asked=True, encoding=b"gzip").edit(bomb, 0.0))

    def test_reads_no_damage(self) -> None:
        """A copy that cannot be decoded is read no further, and what came before counts."""
        made = tap(gzip.compress(FINISH), b"\xff\xff", gzip.compress(USAGE), encoding=b"gzip")

        assert ["stop"] == list(made.facts.finish_reasons.values())
        assert made.facts.usage is None

    def test_reads_errors_where_no_dialect_is_spoken(self) -> None:
        """What an error says is read on every path."""
        made = ended(b'{"error":{"code":"model_not_found"}}', status=404, media=JSON, dialect=None)

        assert "model_not_found" == made.facts.error

    def test_counts_the_mistakes_of_readers(self) -> None:
        """A reader that raises costs the client no byte, and is counted."""

        class Broken(ChatCompletions):
            def read_event(self, *_: object) -> int:
                raise ZeroDivisionError

            def read_answer(self, *_: object) -> None:
                raise ZeroDivisionError

        made = tap(dialect=Broken(), asked=True)

        assert USAGE == made.edit(USAGE, 0.0)
        assert 1 == made.failures
        assert 1 == ended(b"{}", media=JSON, dialect=Broken()).failures


SHARDS = [
    b"data: ",
    b"data:",
    b"event: error\n",
    b": ping\n",
    b"\xef\xbb\xbf",
    b"\n",
    b"\r",
    b"\n\n",
    b"\r\n\r\n",
    b"{",
    b"}",
    b'{"choices":[{"delta":{"content":"a"}}]}',
    b'{"choices":[],"error":null}',
    b"[DONE]",
    b"\xf0\x9f",
    b"\x00",
]
HIDABLE = [
    b'"usage":null',
    b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\n',
    b'data: {"choices":[{"finish_reason":"stop"}],"usage":null}\n\n',
    b'data: {"choices":null,"usage":{},"timings":{}}\r\n\r\n',
    b'{"usage":null,\ndata: "a":1}',
]
STREAMS = st.lists(st.sampled_from(SHARDS) | st.binary(max_size=4), max_size=20).map(b"".join)
HIDABLE_STREAMS = st.lists(st.sampled_from(SHARDS + HIDABLE), max_size=20).map(b"".join)
PLACES = st.lists(st.integers(0, 400), max_size=8)
LIMITS = st.sampled_from([10, 60, 1 << 20])


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Return the pieces that lie between places."""
    ends = sorted({min(place, len(data)) for place in places} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@settings(max_examples=300)
@given(
    data=STREAMS | HIDABLE_STREAMS,
    places=PLACES,
    media=st.sampled_from([SSE, JSON, b"text/html", b""]),
    encoding=st.sampled_from([None, b"gzip", b"br", b"zstd", b"deflate"]),
    status=st.sampled_from([200, 400, 502]),
)
def test_watches_anything(
    data: bytes, places: list[int], media: bytes, encoding: bytes | None, status: int
) -> None:
    """Whatever an answer's bytes are, watching them raises nothing."""
    made = tap(
        *cut(data, places), status=status, media=media, encoding=encoding, request=Request(stream=True)
    )

    assert b"" == made.end(0.0)
    assert 0 == made.failures


@settings(max_examples=300)
@given(data=STREAMS, places=PLACES, limit=LIMITS)
def test_passes_what_is_not_to_be_hidden(data: bytes, places: list[int], limit: int) -> None:
    """A stream without usage comes out as it came, at any cuts."""
    whole = data + b"\n\n"

    assert whole == edited(cut(whole, places), event_bytes=limit)


@settings(max_examples=500)
@given(data=HIDABLE_STREAMS, places=PLACES)
def test_edits_the_same_at_any_cuts(data: bytes, places: list[int]) -> None:
    """What goes out of a stream does not depend on where it was cut."""
    assert edited([data]) == edited(cut(data, places))


@settings(max_examples=100)
@given(data=HIDABLE_STREAMS, places=PLACES)
def test_edits_what_is_compressed_the_same(data: bytes, places: list[int]) -> None:
    """What goes out of a compressed stream is what goes out of the same stream as identity."""
    coded = gzip.compress(data)

    assert edited([data]) == edited(cut(coded, places), encoding=b"gzip")


class TestEstimates:
    """What nobody told is estimated where something is known to have been used, and only then."""

    @pytest.mark.parametrize(
        ("media", "body", "cause", "units"),
        [
            (b"audio/mpeg", b"\xff\xf3", None, {"characters": 25}),
            (b"audio/mpeg", b"\xff\xf3", Outcome.CLIENT_CLOSED, {"characters": 25}),
            (b"", b"\x00\x01", None, {"characters": 25}),
            (JSON, b'{"error":"no"}', None, {}),
            (b"text/html", b"<html>", None, {}),
        ],
    )
    def test_counts_what_was_spoken(
        self, media: bytes, body: bytes, cause: Outcome | None, units: dict[str, float]
    ) -> None:
        """Audio that came well is what was to be spoken, although nothing in it is read."""
        made = Tap(Speech(), request=Request(characters=25))
        made.answer(200, media, None)
        made.watch(body, 0.0)
        made.end(1.0)

        counted = made.counted(made.outcome(cause), sent=True)

        source = UsageSource.ESTIMATED if units else UsageSource.MISSING
        assert (source, None, units) == counted

    def test_counts_no_silence(self) -> None:
        """Where nothing is estimated, or nothing was to be spoken, there is nothing to go by."""
        for options in ({"estimate": False, "request": Request(characters=25)}, {"request": Request()}):
            made = Tap(Speech(), **options)
            made.answer(200, b"audio/mpeg", None)

            assert UsageSource.MISSING == made.counted(made.outcome(None), sent=True).source

    def test_counts_the_numbers_of_a_prompt(self) -> None:
        """A prompt that is tokens has as many as it has numbers, about."""
        reading = Completions().read_request(b'{"model":"a","prompt":[12522,5304,264,892,14,1917,0,9]}')
        with pytest.raises(StopIteration) as end:
            next(reading)
        made = Tap(Completions(), request=end.value.value)
        made.answer(200, JSON, None)
        made.watch(b'{"choices":[{"text":" there was a town","finish_reason":"stop"}]}', 0.0)
        made.end(1.0)

        source, usage, _ = made.counted(made.outcome(None), sent=True)

        assert UsageSource.ESTIMATED == source
        assert usage is not None
        assert 6 <= usage["input"] <= 12
        assert 3 <= usage["output"] <= 6
