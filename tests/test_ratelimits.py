"""Rate limits: what each family of headers says, and what is not believed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meter.exchange import RateLimit
from meter.ratelimits import read

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def headers(**named: str) -> list[tuple[bytes, bytes]]:
    """Make raw headers, with `_` for `-`."""
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]


def reset(value: str) -> float | None:
    """Read one reset."""
    limits = read(headers(x_ratelimit_reset_tokens=value), NOW)
    return limits[0].reset_seconds if limits else None


def test_headers_of_openai() -> None:
    """Requests and tokens each come with limit, remaining and a duration, in any case."""
    told = headers(
        content_type="text/event-stream",
        X_RateLimit_Limit_Requests="5000",
        x_ratelimit_limit_tokens="160000",
        x_ratelimit_remaining_requests="4999",
        x_ratelimit_remaining_tokens="159976",
        x_ratelimit_reset_requests="12ms",
        x_ratelimit_reset_tokens="6m0s",
    )
    expected = (
        RateLimit(resource="requests", limit=5000, remaining=4999, reset_seconds=0.012),
        RateLimit(resource="tokens", limit=160000, remaining=159976, reset_seconds=360),
    )

    assert expected == read(told, NOW)


def test_headers_of_anthropic() -> None:
    """Input and output tokens are resources of their own, and resets are times."""
    told = headers(
        anthropic_ratelimit_requests_limit="50",
        anthropic_ratelimit_requests_remaining="49",
        anthropic_ratelimit_requests_reset="2026-01-01T00:00:01Z",
        anthropic_ratelimit_input_tokens_limit="30000",
        anthropic_ratelimit_output_tokens_remaining="8000",
        anthropic_ratelimit_output_tokens_reset="2026-01-01T01:00:30+01:00",
        anthropic_ratelimit_unified_status="allowed",
    )
    expected = (
        RateLimit(resource="requests", limit=50, remaining=49, reset_seconds=1),
        RateLimit(resource="input_tokens", limit=30000),
        RateLimit(resource="output_tokens", remaining=8000, reset_seconds=30),
    )

    assert expected == read(told, NOW)


@pytest.mark.parametrize("bare_first", [True, False])
def test_bare_names_are_requests_unless_requests_are_named(bare_first: bool) -> None:
    """`x-ratelimit-limit` speaks of requests, and gives way to `x-ratelimit-limit-requests`."""
    told = headers(x_ratelimit_limit="10", x_ratelimit_limit_requests="20", x_ratelimit_remaining="3")

    assert (RateLimit(resource="requests", limit=20, remaining=3),) == read(
        told if bare_first else told[::-1], NOW
    )


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("0s", 0.0),
        ("1s", 1.0),
        ("120ms", 0.12),
        ("7.66s", 7.66),
        ("2m59.56s", 179.56),
        ("1h2m3.5s", 3723.5),
        ("1d", 86400.0),
        ("850µs", 0.00085),
        ("90", 90.0),
        ("1.5", 1.5),
        (" 2 ", 2.0),
        ("1767225660", 60.0),
        ("1767225660000", 60.0),
        ("1767225600.25", 0.25),
        ("1767225599", 0.0),
        ("2025-12-31T23:59:59Z", 0.0),
        ("2026-01-01T00:00:00.5Z", 0.5),
    ],
)
def test_resets_become_seconds_from_now(value: str, seconds: float) -> None:
    """Durations, seconds, Unix times and RFC 3339 times all come out as seconds, never below 0."""
    assert seconds == reset(value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "-1",
        "-1s",
        "nan",
        "inf",
        "1e3",
        "1_000",
        "1.2.3s",
        "s",
        "1x",
        "٣",
        "9" * 18,
        "9999999h",
        "0" * 100,
        "2026-01-01",
        "2026-01-01T00:00:00",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00+23:59x",
    ],
)
def test_what_is_no_sane_reset_is_left_out(value: str) -> None:
    """Negative, enormous, zoneless and malformed resets are ignored."""
    assert None is reset(value)


@pytest.mark.parametrize(
    "value", ["", "-1", "nan", "inf", "1e3", "10, 10;w=1", "unlimited", "9" * 18, "0x10"]
)
def test_what_is_no_sane_limit_is_left_out(value: str) -> None:
    """Azure's -1 and other things that are no counts are ignored."""
    told = headers(x_ratelimit_limit_tokens=value, x_ratelimit_remaining_tokens="7")

    assert (RateLimit(resource="tokens", remaining=7),) == read(told, NOW)


def test_no_such_header_gives_nothing() -> None:
    """An answer without limits has none."""
    assert read(headers(content_type="application/json", x_request_id="req_1"), NOW) == ()


NAMES = st.sampled_from(
    [b"x-ratelimit-reset", b"X-RateLimit-Limit-Tokens", b"anthropic-ratelimit-tokens-reset", b"x-ratelimit-"]
)


@given(st.lists(st.tuples(NAMES | st.binary(max_size=20), st.binary(max_size=80)), max_size=6))
@settings(max_examples=200)
def test_any_bytes_are_read_without_an_error(told: list[tuple[bytes, bytes]]) -> None:
    """Whatever the headers, nothing is raised and every number is finite and not negative."""
    for limit in read(told, NOW):
        for number in (limit.limit, limit.remaining, limit.reset_seconds):
            assert number is None or (math.isfinite(number) and number >= 0)
