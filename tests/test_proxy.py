"""The proxy over raw sockets: what a client gets is what the upstream said, however it said it."""

from __future__ import annotations

import gzip
import json
import socket
import time
from typing import TYPE_CHECKING

import pytest
from stage import ask, dechunked, post, running_house, says, until

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from stage import House, Scripted

CHAT = "/v1/chat/completions"
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
BODY = b'{"model": "gpt-4o", "stream": true, "temperature": 1.0}'
ASKING = b'{"model": "gpt-4o", "stream": true, "temperature": 1.0,"stream_options":{"include_usage":true}}'


@pytest.fixture
def front(scripted: Scripted) -> Iterator[House]:
    """Give Meter in front of a scripted upstream."""
    with running_house(scripted.url) as house:
        yield house


def event(**members: object) -> bytes:
    """Return an event of a chat stream."""
    return b"data: " + json.dumps(members, separators=(",", ":")).encode() + b"\n\n"


def delta(text: str | None, finish: str | None = None, **members: object) -> bytes:
    """Return an event with one choice."""
    content = {} if text is None else {"content": text}
    return event(
        id="c1",
        model="gpt-4o-2024-08-06",
        choices=[{"index": 0, "delta": content, "finish_reason": finish}],
        **members,
    )


USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
DONE = b"data: [DONE]\n\n"
ASKED_STREAM = (
    delta("Hi", usage=None)
    + delta("!", usage=None)
    + delta(None, "stop", usage=None)
    + event(id="c1", model="gpt-4o-2024-08-06", choices=[], usage=USAGE)
    + DONE
)
PLAIN_STREAM = delta("Hi") + delta("!") + delta(None, "stop") + DONE


def last_line(house: House) -> dict[str, object]:
    """Return the log line of the last exchange, once there is one."""
    return dict(until(house.lines)[-1])


class TestAskingAndHiding:
    """Usage is asked for on the client's behalf, and nothing of it shows."""

    @pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 10_000])
    def test_hides_what_asking_causes(self, front: House, scripted: Scripted, size: int) -> None:
        """A client that did not ask gets the bytes it would have had, at any cut of the stream."""
        cuts = [ASKED_STREAM[i : i + size] for i in range(0, len(ASKED_STREAM), size)]
        scripted.script = says(SSE, *cuts)

        head, body = ask(front.url, post(CHAT, BODY))

        assert PLAIN_STREAM == dechunked(body)
        assert b"200 OK" in head
        assert scripted.requests[0].endswith(b"\r\n\r\n" + ASKING)
        assert b"Accept-Encoding: identity" in scripted.requests[0]
        line = last_line(front)
        assert ("ok", "reported", {"input": 9, "output": 2}) == (
            line["outcome"],
            line["usage_source"],
            line["usage"],
        )

    def test_keeps_what_was_asked_for(self, front: House, scripted: Scripted) -> None:
        """A client that asked itself gets every byte, and its request goes up as it came."""
        scripted.script = says(SSE, ASKED_STREAM)

        _, body = ask(front.url, post(CHAT, ASKING, "Accept-Encoding: gzip"))

        assert ASKED_STREAM == dechunked(body)
        assert scripted.requests[0].endswith(b"\r\n\r\n" + ASKING)
        assert b"Accept-Encoding: gzip" in scripted.requests[0]

    def test_gives_timings_back(self, front: House, scripted: Scripted) -> None:
        """What llama.cpp puts on the usage event goes back onto the event with the finish reason."""
        usage = event(id="c1", choices=[], usage=USAGE, timings={"prompt_ms": 1.50})
        scripted.script = says(SSE, delta("a"), delta(None, "stop"), usage, DONE)

        _, body = ask(front.url, post(CHAT, BODY))

        expected = delta("a") + delta(None, "stop", timings={"prompt_ms": 1.50}) + DONE
        assert expected == dechunked(body)

    def test_lets_go_of_the_finish(self, front: House, scripted: Scripted) -> None:
        """An event that is held for what may follow does not wait for a stream that is silent."""
        scripted.script = says(SSE, delta("a"), delta(None, "stop"), hang=True)
        host, _, port = front.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.sendall(post(CHAT, BODY))
            came = b""
            while b'"stop"' not in came:
                came += client.recv(65536)

        assert "client_closed" == last_line(front)["outcome"]

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (400, b'{"error":{"message":"Unknown parameter: stream_options.include_usage"}}'),
            (422, b'{"detail":[{"loc":["body","stream_options"],"msg":"extra_forbidden"}]}'),
            (500, b"unexpected keyword argument 'stream_options'"),
        ],
    )
    def test_sends_again_where_asking_is_refused(
        self, front: House, scripted: Scripted, status: int, body: bytes
    ) -> None:
        """A refusal is answered once by the client's own bytes, and remembered for upstream and model."""
        refusal = b"HTTP/1.1 %d No\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (
            status,
            len(body),
            body,
        )

        async def script(request: bytes, writer: object) -> None:
            answer = refusal if b"include_usage" in request else SSE + PLAIN_STREAM
            await says(answer)(request, writer)

        scripted.script = script
        for _ in range(2):
            head, got = ask(front.url, post(CHAT, BODY))
            assert PLAIN_STREAM == dechunked(got)

        assert b"200" in head
        assert [True, False, False] == [b"include_usage" in r for r in scripted.requests]
        assert all(r.endswith(b"\r\n\r\n" + BODY) for r in scripted.requests[1:])
        until(lambda: len(front.lines()) == 2)
        assert [2, 1] == [line["attempts"] for line in front.lines()]
        assert 1 == front.value("meter_usage_requests_rewritten_total")
        assert 1 == front.value("meter_usage_requests_refused_total")

    def test_passes_other_errors_on(self, front: House, scripted: Scripted) -> None:
        """An error that does not name what was asked for is passed on, and nothing is sent again."""
        body = b'{"error":{"message":"no","code":"model_not_found"}}'
        scripted.script = says(b"HTTP/1.1 400 Bad\r\nX-A: 1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

        head, got = ask(front.url, post(CHAT, BODY))

        assert body == got
        assert head.startswith(b"HTTP/1.1 400 Bad\r\nX-A: 1\r\n")
        assert 1 == len(scripted.requests)
        assert ("client_error", "model_not_found") == (
            last_line(front)["outcome"],
            last_line(front)["error_type"],
        )

    def test_edits_a_stream_that_came_compressed(self, front: House, scripted: Scripted) -> None:
        """A stream that is compressed although identity was asked for is edited and sent as identity."""
        import gzip  # noqa: PLC0415 - nothing else here needs it

        head = SSE.replace(b"\r\nConnection", b"\r\nContent-Encoding: gzip\r\nConnection")
        packed = gzip.compress(ASKED_STREAM)
        scripted.script = says(head, packed[:40], packed[40:])

        got_head, body = ask(front.url, post(CHAT, BODY, "Accept-Encoding: gzip"))

        assert PLAIN_STREAM == dechunked(body)
        assert b"content-encoding" not in got_head.lower()


class TestEndings:
    """However an exchange ends, the client sees it, and it is recorded once."""

    def test_breaks_off_with_the_upstream(self, front: House, scripted: Scripted) -> None:
        """A stream that breaks off upstream breaks off downstream: no last chunk forges its end."""
        head = SSE.replace(b"Connection: close", b"Transfer-Encoding: chunked")
        piece = delta("Hi")
        scripted.script = says(head, b"%x\r\n%s\r\n" % (len(piece), piece), reset=True)

        try:
            _, body = ask(front.url, post(CHAT, BODY))
        except ConnectionResetError:
            body = b""

        assert not body.endswith(b"0\r\n\r\n")
        line = last_line(front)
        assert ("truncated", 200, "missing") == (line["outcome"], line["status"], line["usage_source"])

    def test_tells_a_clean_end_without_an_end(self, front: House, scripted: Scripted) -> None:
        """A stream that ends cleanly before any finish, usage or terminator is `truncated`."""
        scripted.script = says(SSE, delta("Hi"))

        ask(front.url, post(CHAT, BODY))

        assert "truncated" == last_line(front)["outcome"]

    @pytest.mark.parametrize("phase", ["before the head", "in a silent stream"])
    def test_stops_the_upstream_when_the_client_leaves(
        self, front: House, scripted: Scripted, phase: str
    ) -> None:
        """A client that leaves takes its upstream call with it, at once."""
        pieces = [] if phase == "before the head" else [SSE, delta("Hi")]
        scripted.script = says(*pieces, hang=True)
        host, _, port = front.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.sendall(post(CHAT, BODY))
            until(lambda: scripted.requests)
            if pieces:
                client.recv(65536)
            left = time.monotonic()
        until(lambda: scripted.closed)

        assert scripted.closed[0] - left < 5
        line = last_line(front)
        assert "client_closed" == line["outcome"]
        assert (200 if pieces else None) == line["status"]
        assert "missing" == line["usage_source"]
        assert 0 == front.value("meter_requests_in_flight")

    def test_is_ok_once_all_was_said(self, front: House, scripted: Scripted) -> None:
        """A client that leaves right after the terminator has had everything."""
        scripted.script = says(SSE, PLAIN_STREAM, hang=True)
        host, _, port = front.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.sendall(post(CHAT, ASKING))
            came = b""
            while b"[DONE]" not in came:
                came += client.recv(65536)

        assert "ok" == last_line(front)["outcome"]

    def test_says_what_it_could_not_reach(self) -> None:
        """An upstream out of reach gives 502 in the OpenAI shape, and is down after three in a row."""
        with running_house("http://127.0.0.1:1") as house:
            for _ in range(3):
                head, body = ask(house.url, post(CHAT, BODY))

            assert b"HTTP/1.1 502 " in head
            assert b"x-meter-error: 1" in head
            error = json.loads(body)["error"]
            assert ("meter_error", "unreachable", None) == (error["type"], error["code"], error["param"])
            line = last_line(house)
            assert ("unreachable", "unreachable", 502, "none") == (
                line["outcome"],
                line["error_type"],
                line["status"],
                line["usage_source"],
            )
            assert 0 == house.value("meter_upstream_up", upstream="up")

    @pytest.mark.parametrize(
        ("url", "reason"),
        [
            ("http://no-such-host.invalid", "its name could not be resolved"),
            ("http://127.0.0.1:1", "no connection could be made"),
            ("https://{}", "no secure connection could be made, or its certificate is not trusted"),
            ("http://{}", "what it said is not valid HTTP"),
        ],
    )
    def test_says_why_no_answer_came(
        self, scripted: Scripted, simulated: tuple[object, str], url: str, reason: str
    ) -> None:
        """The 502 says in words why there was no answer, and so does the log once the upstream is down."""
        scripted.script = says(b"hello\r\n\r\n")
        plain = simulated[1] if url.startswith("https") else scripted.url
        with running_house(url.format(plain.removeprefix("http://"))) as house:
            for _ in range(3):
                _, body = ask(house.url, post(CHAT, BODY))

            assert f"the upstream gave no answer: {reason}" == json.loads(body)["error"]["message"]
            (line,) = house.lines("upstream_down")
            assert ("up", reason) == (line["upstream"], line["reason"])

    @pytest.mark.parametrize(("again", "status", "attempts"), [(False, 502, 1), (True, 200, 2)])
    def test_sends_a_post_again_only_where_told(
        self, scripted: Scripted, again: bool, status: int, attempts: int
    ) -> None:
        """A POST that got no answer is sent once more with `resend_post: true`, and never without."""

        async def script(request: bytes, writer: asyncio.StreamWriter) -> None:
            said = b"" if len(scripted.requests) == 1 else b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
            await says(said)(request, writer)

        scripted.script = script
        up = [{"name": "up", "base_url": scripted.url, "default": True, "resend_post": again}]
        with running_house(scripted.url, upstreams=up) as house:
            head, _ = ask(house.url, post(CHAT, b"{}"))

            assert b"HTTP/1.1 %d " % status in head
            assert attempts == len(scripted.requests) == last_line(house)["attempts"]

    def test_times_out_on_a_silent_upstream(self, scripted: Scripted) -> None:
        """An upstream that says nothing for `timeouts.idle` gives 504."""
        scripted.script = says(hang=True)
        with running_house(scripted.url, timeouts={"idle": "200ms"}) as house:
            head, body = ask(house.url, post(CHAT, BODY))

            assert b"HTTP/1.1 504 " in head
            assert "timeout" == json.loads(body)["error"]["code"]
            assert "timeout" == last_line(house)["outcome"]

    def test_records_an_error_inside_a_stream(self, front: House, scripted: Scripted) -> None:
        """An error inside a 200 is a `stream_error`, named by its published code."""
        failed = event(error={"message": "x", "type": "server_error", "code": 503})
        scripted.script = says(SSE, delta("Hi"), failed)

        _, body = ask(front.url, post(CHAT, BODY))

        assert delta("Hi") + failed == dechunked(body)
        line = last_line(front)
        assert ("stream_error", "server_error", 200) == (line["outcome"], line["error_type"], line["status"])

    def test_records_a_page_that_is_no_answer(self, front: House, scripted: Scripted) -> None:
        """An HTML page with status 200 passes as it came, and is recorded as an error inside a 200."""
        page = b"<html>log in</html>"
        scripted.script = says(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(page) + page
        )

        _, body = ask(front.url, post(CHAT, BODY))

        assert page == body
        assert "stream_error" == last_line(front)["outcome"]


class TestFidelity:
    """What is not Meter's to change arrives as it was sent."""

    @pytest.mark.parametrize(
        ("target", "expected"),
        [
            ("/v1/x?a=%2F&b=c%20d", b"/v1/x?a=%2F&b=c%20d"),
            ("/v1/x?", b"/v1/x?"),
            ("/v1//x/../y;z", b"/v1//x/../y;z"),
            ("/other", b"/v1/other"),
            ("http://elsewhere.example/v1/x", b"/v1/x"),
        ],
    )
    def test_keeps_the_target(self, front: House, scripted: Scripted, target: str, expected: bytes) -> None:
        """Path and query go up as they came; an absolute-form target does not choose where to."""
        scripted.script = says(b"HTTP/1.1 204 No Content\r\n\r\n")

        head, body = ask(front.url, f"GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())

        assert b"HTTP/1.1 204 No Content" in head
        assert b"" == body
        assert expected == scripted.requests[0].split(b" ")[1]

    def test_keeps_fields(self, front: House, scripted: Scripted) -> None:
        """End-to-end fields keep order, spelling and repetitions, both ways; hop-by-hop ones stay home."""
        answer = (
            b"HTTP/1.1 299 Odd Reason\r\nSet-Cookie: a=1\r\nX-CaSe: v\xe4\r\nset-cookie: b=2\r\n"
            b"Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nContent-Length: 2\r\n\r\nhi"
        )
        scripted.script = says(answer)

        head, body = ask(
            front.url,
            b"GET /v1/x HTTP/1.1\r\nHost: h\r\nx-LOWER: 1\r\nX-Two: a\r\nx-two: b\r\n"
            b"Connection: close, X-Mine\r\nX-Mine: 1\r\nTE: trailers\r\nAuthorization: Bearer sk-1\r\n\r\n",
        )

        lines = head.split(b"\r\n")
        assert [
            b"HTTP/1.1 299 Odd Reason",
            b"Set-Cookie: a=1",
            b"X-CaSe: v\xe4",
            b"set-cookie: b=2",
        ] == lines[:4]
        assert b"x-meter-id" in head
        assert not {b"x-hop: 1", b"keep-alive: 5", b"server", b"date"} & {x.lower() for x in lines}
        assert b"hi" == body
        sent = scripted.requests[0]
        assert b"x-LOWER: 1\r\nX-Two: a\r\nx-two: b\r\nAuthorization: Bearer sk-1\r\n" in sent
        assert not any(x in sent.lower() for x in (b"x-mine", b"\r\nte:", b"user-agent", b"accept"))

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"[1, 2]",
            b"not json",
            b'{"a": 1, "a": 2, "stream": "true"}',
            b'{"n": ' + b"9" * 5000 + b"}",
            b"[" * 100_000,
            b'{"model": "\\ud800"}',
            b'{"stream": true, "x": [1,}',
            b"\xff\xfe\x00",
            b'{"messages": "' + b"x" * 9_000_000 + b'"}',
        ],
        ids=lambda body: body[:12],
    )
    def test_forwards_bodies_as_they_came(self, front: House, scripted: Scripted, body: bytes) -> None:
        """A body that no parser likes, or that asks for no stream, goes up as it came."""
        scripted.script = says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        head, _ = ask(front.url, post(CHAT, body))

        assert b"200" in head.split(b"\r\n")[0]
        assert scripted.requests[0].partition(b"\r\n\r\n")[2] == body

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (
                b'{"stream":true,"stream_options":null}',
                b'{"stream":true,"stream_options":{"include_usage":true}}',
            ),
            (
                b'{"stream_options":{},"stream":true}',
                b'{"stream_options":{"include_usage":true},"stream":true}',
            ),
            (
                b'{"stream_options":{"include_usage": false, "x": 1.0},"stream":true}',
                b'{"stream_options":{"include_usage": true, "x": 1.0},"stream":true}',
            ),
            (
                b'{"stream_options": 1, "stream":true, "stream_options" : { "a":[] } }',
                b'{"stream_options": 1, "stream":true, "stream_options" : { "a":[] ,"include_usage":true} }',
            ),
            (
                b'\xef\xbb\xbf{"stream":true}',
                b'\xef\xbb\xbf{"stream":true,"stream_options":{"include_usage":true}}',
            ),
            (
                b'{"x":NaN,"stream":true}\n',
                b'{"x":NaN,"stream":true,"stream_options":{"include_usage":true}}\n',
            ),
            (
                b'{"stream":true,"messages":"\\ud800"}',
                b'{"stream":true,"messages":"\\ud800","stream_options":{"include_usage":true}}',
            ),
        ],
    )
    def test_splices_and_nothing_else(
        self, front: House, scripted: Scripted, body: bytes, expected: bytes
    ) -> None:
        """Asking changes the bytes that say so and no other, and the length follows."""
        scripted.script = says(SSE, PLAIN_STREAM)

        ask(front.url, post(CHAT, body))

        head, _, sent = scripted.requests[0].partition(b"\r\n\r\n")
        assert expected == sent
        assert b"Content-Length: %d" % len(expected) in head

    def test_streams_what_is_too_long_to_hold(self, scripted: Scripted) -> None:
        """Past `limits.inspect_bytes` a body streams through unasked, and usage is what the answer tells."""
        body = b'{"model":"gpt-4o","stream":true,"x":"' + b"y" * 300_000 + b'"}'
        scripted.script = says(SSE, ASKED_STREAM)
        with running_house(scripted.url, limits={"inspect_bytes": "100kB"}) as house:
            _, got = ask(house.url, post(CHAT, body))

            assert ASKED_STREAM == dechunked(got)
            assert scripted.requests[0].partition(b"\r\n\r\n")[2] == body
            line = last_line(house)
            assert (None, "reported", len(body)) == (
                line["request_model"],
                line["usage_source"],
                line["request_bytes"],
            )

    def test_answers_expectations(self, front: House, scripted: Scripted) -> None:
        """`Expect: 100-continue` is answered by Meter and stays home."""
        scripted.script = says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        head, _ = ask(front.url, post(CHAT, b"{}", "Expect: 100-continue"))

        assert head == b"HTTP/1.1 100 Continue"
        assert b"expect" not in scripted.requests[0].lower()


class TestSlowClients:
    """A client that does not say what it wants is not waited for."""

    @pytest.mark.parametrize("port", ["proxy", "admin"])
    @pytest.mark.parametrize(
        "before", [b"", b"GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n"], ids=["first", "second"]
    )
    def test_gives_up_on_half_a_head(self, scripted: Scripted, port: str, before: bytes) -> None:
        """Half a head ends its connection after `timeouts.client_head`, be it the first or a later one."""
        scripted.script = says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
        with running_house(scripted.url, timeouts={"client_head": "200ms"}) as house:
            url = house.url if port == "proxy" else house.admin_url
            host, _, number = url.removeprefix("http://").partition(":")
            clients = [socket.create_connection((host, int(number)), timeout=20) for _ in range(20)]
            for client in clients:
                client.sendall(before)
                while before and not client.recv(65536).endswith((b"hi", b"ready\n")):
                    pass
                client.sendall(b"GET /v1/mod")

            assert {b""} == {client.recv(100) for client in clients}
            for client in clients:
                client.close()

    def test_counts_the_time_that_a_head_takes(self, front: House, scripted: Scripted) -> None:
        """A request begins with its first byte, be it the connection's first as well."""
        scripted.script = says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        host, _, port = front.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.sendall(b"GET /v1/x HTTP/1.1\r\nHost: h\r\n")
            time.sleep(0.2)
            client.sendall(b"Connection: close\r\n\r\n")
            while client.recv(65536):
                pass

        assert float(str(last_line(front)["duration_s"])) >= 0.1


class TestRefusals:
    """What Meter itself refuses is told in the OpenAI shape, and recorded as `rejected`."""

    @pytest.mark.parametrize(
        ("request_bytes", "status", "code"),
        [
            (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405, "method_not_allowed"),
            (b"TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 405, "method_not_allowed"),
            (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, "bad_request"),
            (
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                400,
                "bad_request",
            ),
            (b"\x16\x03\x01 no http\r\n\r\n", 400, "bad_request"),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 400, "bad_request"),
        ],
    )
    def test_refuses(self, front: House, request_bytes: bytes, status: int, code: str) -> None:
        """What HTTP calls malformed or ambiguous, CONNECT and TRACE go nowhere."""
        head, body = ask(front.url, request_bytes)

        assert b"HTTP/1.1 %d " % status in head.replace(b"HTTP/1.0", b"HTTP/1.1")
        assert code == json.loads(body)["error"]["code"]
        assert b"x-meter-error: 1" in head
        assert "rejected" == last_line(front)["outcome"]

    def test_knows_no_upstream(self, scripted: Scripted) -> None:
        """A path that no upstream serves gives 404 with code `no_upstream`."""
        upstreams = [{"name": "a", "base_url": scripted.url, "prefix": "/a"}]
        upstreams.append({"name": "b", "base_url": scripted.url, "prefix": "/b"})
        with running_house(scripted.url, upstreams=upstreams) as house:
            head, body = ask(house.url, post("/c/v1/chat/completions", b"{}"))

            assert b" 404 " in head
            assert "no_upstream" == json.loads(body)["error"]["code"]
            line = last_line(house)
            assert ("none", "rejected", "no_upstream") == (
                line["upstream"],
                line["outcome"],
                line["error_type"],
            )

    def test_limits_bodies(self, scripted: Scripted) -> None:
        """A body longer than `limits.body_bytes` gives 413, told ahead or not."""
        scripted.script = says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        chunked = (
            b"POST /v1/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n"
        )
        with running_house(scripted.url, limits={"body_bytes": "1kB"}) as house:
            for request in (post(CHAT, b"x" * 1001), chunked):
                head, body = ask(house.url, request)

                assert b" 413 " in head
                assert "body_too_large" == json.loads(body)["error"]["code"]


class TestClientsThatAreQuick:
    """A client that leaves as soon as it has all has not left early."""

    @pytest.mark.parametrize("kib", [1, 200, 2000])
    def test_reads_what_nobody_waited_for(self, front: House, scripted: Scripted, kib: int) -> None:
        """Of an answer that was passed on whole, the usage counts however soon the client leaves."""
        body = json.dumps({"choices": [], "usage": USAGE, "x": "A" * kib * 1024}).encode()
        coded = gzip.compress(body)
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\n"
        scripted.script = says(head + b"Content-Length: %d\r\n\r\n" % len(coded) + coded)
        request = post(CHAT, b'{"model":"gpt-4o"}').replace(b"Connection: close\r\n", b"")
        host, _, port = front.url.removeprefix("http://").partition(":")
        for number in range(1, 9):
            with socket.create_connection((host, int(port)), timeout=20) as client:
                client.sendall(request)
                came = b""
                while not came.endswith(coded):
                    came += client.recv(1 << 20)

            line = until(lambda n=number: front.lines()[n - 1 : n])[0]  # type: ignore[misc] # called at once
            assert ("ok", "reported") == (line["outcome"], line["usage_source"])
