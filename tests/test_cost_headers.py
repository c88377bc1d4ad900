"""What a client is told of the cost of its own exchange, and that it changes nothing else."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from openai import OpenAI
from stage import ask, dechunked, post, running_house, says, until

from meter.cost_headers import COST_NAMES, cost_fields, wants_trailers
from meter.exchange import Exchange, Outcome, PriceStatus, UsageSource
from meter.front import Front

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stage import House, Scripted

    from meter.demo.upstream import SimulatedUpstream

CHAT = "/v1/chat/completions"
HELLO = b'{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}'
STREAMED = HELLO[:-1] + b',"stream":true,"stream_options":{"include_usage":true}}'
USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
NAMES = [name.decode() for name in COST_NAMES]


def whole(model: str = "gpt-4o", **members: Any) -> bytes:
    """Return a whole answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    return json.dumps({"id": "c1", "model": model, "choices": [choice], "usage": USAGE, **members}).encode()


def head(*fields: str, status: str = "200 OK", version: str = "1.1") -> bytes:
    """Return the head of an answer in JSON, the last one on its connection."""
    own = ("Content-Type: application/json", "X-Own: 1", "Connection: close")
    lines = [f"HTTP/{version} {status}", *own, *fields, "", ""]
    return "\r\n".join(lines).encode()


def sized(body: bytes, *fields: str, **options: str) -> bytes:
    """Return an answer with its length."""
    return head(f"Content-Length: {len(body)}", *fields, **options) + body


def chunk(data: bytes) -> bytes:
    """Return a chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(**members: Any) -> bytes:
    """Return an event of a stream."""
    return b"data: " + json.dumps({"id": "c1", "model": "gpt-4o", **members}).encode() + b"\n\n"


SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
EVENTS = (
    event(choices=[{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}]),
    event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]),
    event(choices=[], usage=USAGE),
    b"data: [DONE]\n\n",
)


@pytest.fixture(scope="module")
def telling(simulated: tuple[SimulatedUpstream, str]) -> Iterator[House]:
    """Give Meter that tells what things cost, before the simulated upstream."""
    with running_house(simulated[1], response_headers={"cost": True}) as house:
        yield house


@pytest.fixture
def front(scripted: Scripted) -> Iterator[House]:
    """Give Meter that tells what things cost, before a scripted upstream."""
    with running_house(scripted.url, response_headers={"cost": True}) as house:
        yield house


@pytest.fixture
def silent(scripted: Scripted) -> Iterator[House]:
    """Give Meter that does not, before the same upstream."""
    with running_house(scripted.url) as house:
        yield house


def read(lines: bytes) -> dict[str, str]:
    """Return fields by their names in lower case."""
    pairs = (line.decode("latin-1").partition(":")[::2] for line in lines.split(b"\r\n") if b":" in line)
    return {name.lower(): value.strip() for name, value in pairs}


def costs(fields: dict[str, str]) -> dict[str, str]:
    """Return those of the fields that tell of cost."""
    return {name: fields[name] for name in NAMES if name in fields}


def logged(house: House, id_: str) -> dict[str, Any]:
    """Return the log line of an exchange, numbers as they are spelled."""
    house.line(id_)
    lines = [json.loads(line, parse_float=str) for line in house.log.getvalue().splitlines()]
    return next(dict(line) for line in lines if line.get("id") == id_)


def as_logged(house: House, id_: str) -> dict[str, str]:
    """Return the fields that go with a log line."""
    line = logged(house, id_)
    sides = ("input", "output")
    tokens = [[n for kind, n in line["usage"].items() if kind.startswith(side)] for side in sides]
    values = (
        *(line["cost_usd"], line["usage_source"], line["price_status"]),
        *(sum(counts) if counts else None for counts in tokens),
    )
    return {name: str(value) for name, value in zip(NAMES, values, strict=True) if value is not None}


def unstamped(answer: bytes) -> list[bytes]:
    """Return the lines of a head without what Meter adds."""
    return [line for line in answer.split(b"\r\n") if not line.startswith(b"x-meter-")]


class TestFields:
    """The fields say what the record says."""

    def test_all(self) -> None:
        """What is known has a field, amounts in plain decimals."""
        exchange = Exchange(
            id="x",
            started_at=0,
            method="POST",
            path="/",
            outcome=Outcome.OK,
            usage={"input": 3, "input_cached": 4, "output": 0},
            usage_source=UsageSource.REPORTED,
            cost_usd=Decimal("1.23E-8"),
            price_status=PriceStatus.LIST,
        )

        expected = [b"0.0000000123", b"reported", b"list", b"7", b"0"]
        assert list(zip(COST_NAMES, expected, strict=True)) == cost_fields(exchange)

    def test_unknown(self) -> None:
        """What is unknown has none, and never is 0."""
        exchange = Exchange(id="x", started_at=0, method="POST", path="/", outcome=Outcome.OK)

        assert [(COST_NAMES[1], b"none"), (COST_NAMES[2], b"none")] == cost_fields(exchange)

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ([(b"TE", b"trailers")], True),
            ([(b"te", b"gzip;q=0.5, Trailers")], True),
            ([(b"Te", b"gzip"), (b"TE", b"trailers;q=1")], True),
            ([(b"TE", b"gzip")], False),
            ([(b"TE", b"")], False),
            ([(b"Trailer", b"trailers")], False),
            ([], False),
        ],
    )
    def test_who_takes_trailers(self, fields: list[tuple[bytes, bytes]], expected: bool) -> None:
        """A client takes trailers where a `TE` of its request says so."""
        assert expected == wants_trailers(fields)


ANSWERS = {
    "sized": (sized(whole()),),
    "close": (head(), whole()),
    "http/1.0": (head(version="1.0") + whole(),),
    "chunked": (head("Transfer-Encoding: chunked"), chunk(whole()[:7]), chunk(whole()[7:]), b"0\r\n\r\n"),
    "trailers": (head("Transfer-Encoding: chunked") + chunk(whole()) + b"0\r\nX-Behind: 1\r\n\r\n",),
    "gzip": (sized(gzip.compress(whole()), "Content-Encoding: gzip"),),
    "unknown coding": (sized(whole(), "Content-Encoding: x-odd"),),
    "interim": (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", sized(whole())),
    "slow": (head(), b"\n", b"\n", b"\n", whole()),
    "problem": (sized(whole()).replace(b"application/json", b"application/vnd.x+json; charset=utf-8"),),
    "bad request": (sized(b'{"error":{"message":"no","code":"invalid"}}', status="400 Bad Request"),),
    "server error": (sized(b'{"error":{"message":"no"}}', status="500 Oh"),),
    "unknown model": (sized(whole("of-nobody")),),
    "its own word": (sized(whole(usage=USAGE | {"cost": 0.25})),),
    "no usage": (sized(whole(usage=None)),),
    "no json": (sized(b"oh no"),),
    "empty": (sized(b""),),
}


class TestHeld:
    """An answer that is no stream waits for its own cost, and is the same."""

    @pytest.mark.parametrize("name", ANSWERS)
    def test_tells(self, front: House, silent: House, scripted: Scripted, name: str) -> None:
        """Each answer is what it would have been, with what the log says of it besides."""
        scripted.script = says(*ANSWERS[name])
        request = post(CHAT, HELLO.replace(b"gpt-4o", b"of-nobody") if name == "unknown model" else HELLO)

        plain, expected = ask(silent.url, request)
        told, body = ask(front.url, request)

        fields = read(told)
        chunked = "transfer-encoding" in fields
        assert unstamped(plain) == unstamped(told)
        assert expected == body or (chunked and dechunked(expected) == dechunked(body))
        assert as_logged(front, fields["x-meter-id"]) == costs(fields)
        line = logged(front, fields["x-meter-id"])
        plain_line = logged(silent, read(plain)["x-meter-id"])
        same = ("status", "outcome", "usage", "cost_usd", "usage_source", "price_status", "response_bytes")
        assert {each: plain_line[each] for each in same} == {each: line[each] for each in same}

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("sized", ["0.000042500000", "reported", "list", "9", "2"]),
            ("its own word", ["0.250000000000", "reported", "provider", "9", "2"]),
            ("unknown model", [None, "reported", "missing", "9", "2"]),
            ("bad request", [None, "none", "none", None, None]),
        ],
    )
    def test_values(self, front: House, scripted: Scripted, name: str, expected: list[str | None]) -> None:
        """A cost that is known is told in full, and one that is not is absent."""
        scripted.script = says(*ANSWERS[name])
        request = post(CHAT, HELLO.replace(b"gpt-4o", b"of-nobody") if name == "unknown model" else HELLO)

        fields = read(ask(front.url, request)[0])

        assert expected == [fields.get(each) for each in NAMES]

    @pytest.mark.parametrize("framing", ["sized", "chunked"])
    def test_at_every_cut(self, front: House, scripted: Scripted, framing: str) -> None:
        """Wherever an answer is cut into two, its bytes and its cost are the same."""
        body = whole()
        answer = b"".join(ANSWERS[framing])
        for at in range(len(answer) - len(body) - 20, len(answer)):
            scripted.script = says(answer[:at], answer[at:])
            told, came = ask(front.url, post(CHAT, HELLO))
            assert body == (came if framing == "sized" else dechunked(came)), at
            assert "0.000042500000" == read(told)[NAMES[0]], at

    def test_keeps_the_connection(self, front: House, scripted: Scripted) -> None:
        """A client may ask again on the same connection."""
        scripted.script = says(*ANSWERS["sized"])
        request = post(CHAT, HELLO)
        _, came = ask(front.url, request.replace(b"Connection: close\r\n", b"") + request)

        first, _, second = came.partition(b"HTTP/1.1 200 OK")
        assert whole() == first
        assert second.endswith(b"\r\n\r\n" + whole())
        assert 2 == len(until(lambda: front.lines()[1:] and front.lines()))

    def test_waits_for_the_end(self, front: House, scripted: Scripted) -> None:
        """Nothing of an answer goes out before its end has come; after it, all goes at once."""
        scripted.script = says(sized(whole())[:-1], hang=True)
        with client(front, post(CHAT, HELLO)) as waiting:
            waiting.settimeout(0.2)
            with pytest.raises(TimeoutError):
                waiting.recv(1)

        line = until(front.lines)[0]
        assert ("client_closed", None, 0) == (line["outcome"], line["status"], line["response_bytes"])
        assert until(lambda: scripted.closed), "the upstream is asked no further"

    @pytest.mark.parametrize("size", [8 * 2**20, 8 * 2**20 + 1])
    @pytest.mark.parametrize("framing", ["sized", "chunked"])
    def test_up_to_a_bound(self, front: House, scripted: Scripted, framing: str, size: int) -> None:
        """An answer of 8 MiB waits for its cost; a longer one goes without, whole all the same."""
        body = whole(pad="").replace(b'"pad": ""', b'"pad": "%s"' % (b"x" * (size - len(whole(pad="")))))
        assert size == len(body)
        answers = {
            "sized": (sized(body),),
            "chunked": (head("Transfer-Encoding: chunked"), chunk(body), b"0\r\n\r\n"),
        }
        scripted.script = says(*answers[framing])

        told, came = ask(front.url, post(CHAT, HELLO))

        assert body == (came if framing == "sized" else dechunked(came))
        assert (size <= 8 * 2**20) == (NAMES[0] in read(told))
        assert "0.000042500000" == logged(front, read(told)["x-meter-id"])["cost_usd"]
        assert 0 == held(front)

    def test_a_long_one_does_not_wait(self, front: House, scripted: Scripted) -> None:
        """The head of an answer that says that it is too long goes out at once."""
        scripted.script = says(head("Content-Length: 9000000"), b"{", hang=True)
        with client(front, post(CHAT, HELLO)) as waiting:
            came = b""
            while not came.endswith(b"\r\n\r\n{"):
                came += waiting.recv(4096)

        assert {} == costs(read(came))

    @pytest.mark.parametrize("limits", [{"inspect_bytes": "1KiB"}, {"inspect_total": "1KiB"}])
    def test_within_what_may_be_held(self, scripted: Scripted, limits: dict[str, str]) -> None:
        """What may be held of requests, each and together, bounds what is held of answers too."""
        scripted.script = says(sized(whole(pad="x" * 2000)))
        with running_house(scripted.url, response_headers={"cost": True}, limits=limits) as house:
            told, came = ask(house.url, post(CHAT, HELLO))

            assert (whole(pad="x" * 2000), {}) == (came, costs(read(told)))
            assert "0.000042500000" == logged(house, read(told)["x-meter-id"])["cost_usd"]
            assert 0 == held(house)

    @pytest.mark.parametrize(
        "pieces",
        [
            (sized(whole())[:-20],),
            (head("Transfer-Encoding: chunked"), chunk(whole()[:50])),
            (head("Transfer-Encoding: chunked"), chunk(whole()[:50]), b"zz\r\n"),
            (head("Content-Length: 500"),),
        ],
    )
    def test_breaks_off(
        self, front: House, silent: House, scripted: Scripted, pieces: tuple[bytes, ...]
    ) -> None:
        """An answer that breaks off does so for the client too, after all that came of it."""
        scripted.script = says(*pieces)

        plain, expected = ask(silent.url, post(CHAT, HELLO))
        told, came = ask(front.url, post(CHAT, HELLO))

        assert expected == came
        assert unstamped(plain) == unstamped(told)
        assert {} == costs(read(told))
        line, other = (logged(h, read(t)["x-meter-id"]) for h, t in ((front, told), (silent, plain)))
        same = ("outcome", "status", "usage", "cost_usd", "usage_source", "response_bytes")
        assert "truncated" == line["outcome"]
        assert [other[each] for each in same] == [line[each] for each in same]
        assert 0 == held(front)

    def test_takes_too_long(self, scripted: Scripted) -> None:
        """An answer that goes silent is broken off, after all that came of it."""
        scripted.script = says(head("Content-Length: 500"), whole()[:99], hang=True)
        options: dict[str, Any] = {"response_headers": {"cost": True}, "timeouts": {"idle": "100ms"}}
        with running_house(scripted.url, **options) as house:
            told, came = ask(house.url, post(CHAT, HELLO))

            line = logged(house, read(told)["x-meter-id"])
        assert (whole()[:99], "timeout", 200) == (came, line["outcome"], line["status"])

    def test_what_it_cost_is_not_undone(self, front: House, scripted: Scripted) -> None:
        """A client that leaves amid an answer that said its cost has left early, at that cost."""
        scripted.script = says(sized(whole(pad="x" * 8_000_000)))
        with client(front, post(CHAT, HELLO)) as leaving:
            came = leaving.recv(4096)

        fields = read(came)
        line = logged(front, fields["x-meter-id"])
        assert ("client_closed", 200) == (line["outcome"], line["status"])
        assert as_logged(front, fields["x-meter-id"]) == costs(fields)
        assert line["response_bytes"] < 8_000_000

    def test_goes_on_without_its_client(self, scripted: Scripted) -> None:
        """With `drain`, an answer whose client has left while it was held is read to its end."""
        upstream = {"name": "up", "base_url": f"{scripted.url}/v1", "on_client_disconnect": "drain"}

        async def script(_: bytes, writer: Any) -> None:
            writer.write(sized(whole())[:-9])
            while not left:
                await writer.drain()
                await pause()
            writer.write(sized(whole())[-9:])
            await writer.drain()

        left: list[bool] = []
        scripted.script = script
        with running_house(scripted.url, upstreams=[upstream], response_headers={"cost": True}) as house:
            with client(house, post(CHAT, HELLO)):
                until(lambda: scripted.requests)
                time.sleep(0.05)
            until(lambda: house.running.state.drains)
            left.append(True)
            line = until(house.lines)[0]

        assert ("client_closed", None, USAGE["prompt_tokens"]) == (
            *(line["outcome"], line["status"]),
            line["usage"]["input"],
        )
        assert line["cost_usd"] is not None

    def test_what_was_made_in_the_background(self, front: House, scripted: Scripted) -> None:
        """Of a response made in the background, the first who fetches it is told the cost, and no other."""
        made = {"id": "resp_1", "object": "response", "background": True, "model": "gpt-4o", "output": []}
        usage = {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12}
        done = sized(json.dumps({**made, "status": "completed", "usage": usage}).encode())
        scripted.script = says(sized(json.dumps({**made, "status": "queued", "usage": None}).encode()))
        request = b'{"model":"gpt-4o","input":"Hi","background":true}'
        fields = [read(ask(front.url, post("/v1/responses", request))[0])]
        scripted.script = says(done)
        fetch = b"GET /v1/responses/resp_1 HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n"
        fields += [read(ask(front.url, fetch)[0]) for _ in range(2)]

        assert ["missing", "reported", None] == [each.get(NAMES[1]) for each in fields]
        assert [False, True, False] == [NAMES[0] in each for each in fields]

    @pytest.mark.parametrize("part", ["meter.price.Book.price", "meter.proxy.cost_fields"])
    def test_mistakes_cost_nobody_an_answer(
        self, front: House, scripted: Scripted, monkeypatch: pytest.MonkeyPatch, part: str
    ) -> None:
        """Where the cost cannot be told for a mistake of Meter's own, the answer goes without."""

        def fails(*_: object) -> None:
            raise RuntimeError

        monkeypatch.setattr(part, fails)
        scripted.script = says(*ANSWERS["sized"])

        told, came = ask(front.url, post(CHAT, HELLO))

        assert whole() == came
        assert NAMES[0] not in read(told)
        assert "ok" == logged(front, read(told)["x-meter-id"])["outcome"]


class TestStreams:
    """A stream does not wait; what it cost comes behind it, for those who take that."""

    def test_goes_at_once(self, front: House, scripted: Scripted) -> None:
        """The head and each event of a stream go out as they come, without a cost."""
        scripted.script = says(SSE, EVENTS[0], hang=True)
        with client(front, post(CHAT, STREAMED)) as waiting:
            came = b""
            while EVENTS[0] not in came:
                came += waiting.recv(4096)

        assert {} == costs(read(came.partition(b"\r\n\r\n")[0]))

    @pytest.mark.parametrize("disconnect", ["cancel", "drain"])
    @pytest.mark.parametrize("te", ["TE: trailers", "te: gzip, trailers;q=0.5"])
    def test_tells_behind(self, scripted: Scripted, te: str, disconnect: str) -> None:
        """A client that takes trailers finds there what the log says, and the head announces them."""
        upstream = {"name": "up", "base_url": f"{scripted.url}/v1", "on_client_disconnect": disconnect}
        scripted.script = says(SSE, *EVENTS)
        with running_house(scripted.url, upstreams=[upstream], response_headers={"cost": True}) as house:
            request = post(CHAT, STREAMED, te)
            told, came = ask(house.url, request.replace(b"Connection: close", b"Connection: TE, close"))
            fields = read(told)
            expected = as_logged(house, fields["x-meter-id"])

        chunks, last, trailers = came.partition(b"\r\n0\r\n")
        assert b"".join(EVENTS) == dechunked(chunks + last + b"\r\n")
        assert trailers.endswith(b"\r\n\r\n")
        assert expected == read(trailers)
        assert "0.000042500000" == expected[NAMES[0]]
        assert NAMES == fields["trailer"].split(", ")
        assert b"trailers" not in scripted.requests[0]

    def test_keeps_the_connection(self, front: House, scripted: Scripted) -> None:
        """Behind trailers, the connection carries the next exchange."""
        scripted.script = says(SSE, *EVENTS)
        request = post(CHAT, STREAMED, "TE: trailers")
        _, came = ask(front.url, request.replace(b"Connection: close\r\n", b"") + request)

        assert 2 == came.count(b"x-meter-output-tokens: 2\r\n\r\n")
        assert 1 == came.count(b"HTTP/1.1 200 OK")

    def test_not_asked_for(self, front: House, scripted: Scripted) -> None:
        """Nobody else gets any."""
        scripted.script = says(SSE, *EVENTS)

        told, came = ask(front.url, post(CHAT, STREAMED))

        assert b"".join(EVENTS) == dechunked(came)
        assert "trailer" not in read(told)

    def test_http_1_0(self, front: House, scripted: Scripted) -> None:
        """HTTP/1.0 has no trailers."""
        scripted.script = says(SSE, *EVENTS)
        request = post(CHAT, STREAMED, "TE: trailers").replace(b"HTTP/1.1", b"HTTP/1.0")

        told, came = ask(front.url, request)

        assert (b"".join(EVENTS), False) == (came, "trailer" in read(told))

    def test_broken_off(self, front: House, scripted: Scripted) -> None:
        """A stream that breaks off ends without its last chunk, and so without trailers."""
        scripted.script = says(
            SSE.replace(b"Connection", b"Transfer-Encoding: chunked\r\nConnection"), b"9\r\n"
        )

        told, came = ask(front.url, post(CHAT, STREAMED, "TE: trailers"))

        assert (b"", True) == (came, "trailer" in read(told))
        assert "truncated" == logged(front, read(told)["x-meter-id"])["outcome"]


class TestOthers:
    """What is not read is not held, and what is off is off."""

    @pytest.mark.parametrize(
        ("path", "request_body", "kind"),
        [
            ("/v1/audio/speech", b'{"model":"tts-1","input":"Hi","voice":"x"}', b"audio/mpeg"),
            ("/v1/files", b"{}", b"application/json"),
            (CHAT, HELLO, b"text/plain"),
        ],
    )
    def test_not_held(
        self, front: House, scripted: Scripted, path: str, request_body: bytes, kind: bytes
    ) -> None:
        """What no dialect reads, and what is of use before its end, goes out as it comes."""
        answer = head().replace(b"application/json", kind)
        scripted.script = says(answer, b"abc", hang=True)
        with client(front, post(path, request_body)) as waiting:
            came = b""
            while b"abc" not in came:
                came += waiting.recv(4096)

        assert {} == costs(read(came))

    def test_own_refusals_cost_nothing(self, front: House) -> None:
        """An answer of Meter's own has no cost to tell."""
        assert {} == costs(read(ask(front.url, b"TRACE / HTTP/1.1\r\nHost: m\r\n\r\n")[0]))

    @pytest.mark.parametrize("answer", ["whole", "stream"])
    def test_an_upstreams_word(self, front: House, silent: House, scripted: Scripted, answer: str) -> None:
        """An upstream's fields of these names pass while it is off; while it is on, Meter's win."""
        claimed = [f"{name.title()}: 7" for name in NAMES]
        told: tuple[bytes, ...] = (head(*claimed), whole())
        if answer == "stream":
            told = (SSE.replace(b"Connection", ("\r\n".join(claimed) + "\r\nConnection").encode()), *EVENTS)
        scripted.script = says(*told)
        request = post(CHAT, HELLO if answer == "whole" else STREAMED)

        off, on = read(ask(silent.url, request)[0]), read(ask(front.url, request)[0])

        assert dict.fromkeys(NAMES, "7") == costs(off)
        assert "7" not in costs(on).values()
        assert (answer == "whole") == (NAMES[0] in on)

    def test_off(self, silent: House, scripted: Scripted) -> None:
        """Nothing is told unless the settings say so, in fields or in trailers."""
        scripted.script = says(*ANSWERS["sized"])
        assert {} == costs(read(ask(silent.url, post(CHAT, HELLO))[0]))

        scripted.script = says(SSE, *EVENTS)
        told, came = ask(silent.url, post(CHAT, STREAMED, "TE: trailers"))
        assert (b"".join(EVENTS), False) == (dechunked(came), "trailer" in read(told))


class TestSdk:
    """The official SDK finds the cost where it finds other headers."""

    def test_chat(self, telling: House) -> None:
        """`with_raw_response` has the headers, and the object is the upstream's."""
        with OpenAI(base_url=f"{telling.url}/v1", api_key="sk-user", max_retries=0) as sdk:
            answer = sdk.chat.completions.with_raw_response.create(
                model="gpt-4o", messages=[{"role": "user", "content": "Hi"}]
            )
            usage = answer.parse().usage

        assert usage is not None
        assert Decimal(answer.headers[NAMES[0]]) > 0
        assert usage.prompt_tokens == int(answer.headers["x-meter-input-tokens"])
        assert usage.completion_tokens == int(answer.headers["x-meter-output-tokens"])
        assert as_logged(telling, answer.headers["x-meter-id"]) == costs(dict(answer.headers))

    def test_stream(self, telling: House) -> None:
        """A stream has the id by which its cost can be found."""
        with OpenAI(base_url=f"{telling.url}/v1", api_key="sk-user", max_retries=0) as sdk:
            answer = sdk.chat.completions.with_raw_response.create(
                model="gpt-4o", messages=[{"role": "user", "content": "Hi"}], stream=True
            )
            chunks = list(answer.parse())

        assert chunks
        assert {} == costs(dict(answer.headers))
        assert logged(telling, answer.headers["x-meter-id"])["cost_usd"] is not None

    def test_embeddings(self, telling: House) -> None:
        """Whatever else is read tells its cost as well."""
        with OpenAI(base_url=f"{telling.url}/v1", api_key="sk-user", max_retries=0) as sdk:
            answer = sdk.embeddings.with_raw_response.create(model="text-embedding-3-small", input="Hi")

        assert as_logged(telling, answer.headers["x-meter-id"]) == costs(dict(answer.headers))
        assert Decimal(answer.headers[NAMES[0]]) > 0


def held(house: House) -> int:
    """Return how many bytes of requests and answers are held, once all has ended."""
    until(lambda: not house.running.state.busy)
    front = house.running.front
    assert isinstance(front, Front)
    return sum(proxy._intake._held for proxy in front._proxies)


def client(house: House, request: bytes) -> socket.socket:
    """Return a connection on which a request has been sent."""
    host, _, port = house.url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    connection.sendall(request)
    return connection


async def pause() -> None:
    """Give way for a moment."""
    await asyncio.sleep(0.005)
