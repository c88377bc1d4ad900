"""Estimates are near what tokenizers count, by script; how near is stated here and holds.

`tests/estimates/*.json` are samples with their true counts. The weights were fitted to those that say so, and
what is asserted is asserted of the others. Requests are counted the way OpenAI publishes it; which names of
members are left out was chosen with them in view. (The counts in recorded exchanges belong to other texts
than the few words that stand there, and measure nothing.)
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from play import expected, load, names, play, read_request

from meter import dialects
from meter.estimate import json_tokens, text_tokens
from meter.exchange import INPUT_KINDS, UsageSource

FILES = {
    path.stem: json.loads(path.read_text()) for path in (Path(__file__).parent / "estimates").glob("*.json")
}
TEXTS = [sample for file in FILES.values() for sample in file["samples"] if "text" in sample]
CHAT = dialects.find("POST", "/v1/chat/completions")

# Median and worst of how far estimates are off, as a part of the true count, by the file of samples.
BOUNDS = {
    "latin": (0.05, 0.20),
    "code": (0.05, 0.20),
    "cyrillic_greek": (0.20, 0.25),
    "hebrew_arabic": (0.10, 0.10),
    "indic_scripts_thai_georgian": (0.05, 0.20),
    "chinese_japanese_korean": (0.15, 0.25),
    "emoji_mixed": (0.10, 0.15),
    "requests": (0.10, 0.25),
}


def written(request: dict[str, Any], **style: Any) -> bytes:
    """Return a request as a client would send it."""
    return json.dumps(request, **{"ensure_ascii": False, "separators": (",", ":"), **style}).encode()


def prompt(body: bytes) -> float:
    """Return the estimate of a chat request's prompt."""
    assert CHAT is not None
    return read_request(CHAT, body).prompt_tokens or 0.0


def estimate(sample: dict[str, Any]) -> float:
    """Return the estimate of a sample's tokens."""
    return prompt(written(sample["request"])) if "request" in sample else text_tokens(sample["text"])


def errors(name: str) -> list[float]:
    """Return how far off the estimates of a file's samples are, of those that nothing was fitted to."""
    samples = [sample for sample in FILES[name]["samples"] if not sample["fitted"]]
    return [abs(estimate(sample) / sample["tokens"] - 1) for sample in samples]


def test_states_bounds_for_all() -> None:
    """Every file of samples has its bounds."""
    assert set(FILES) == set(BOUNDS)


@pytest.mark.parametrize(("name", "bounds"), BOUNDS.items())
def test_is_near(name: str, bounds: tuple[float, float]) -> None:
    """Estimates of samples that nothing was fitted to are off by no more than is stated."""
    off = errors(name)

    assert median(off) <= bounds[0]
    assert max(off) <= bounds[1]


def test_is_near_over_all() -> None:
    """Half of all texts that nothing was fitted to are estimated within six per cent."""
    assert median(off for name in FILES if name != "requests" for off in errors(name)) <= 0.06


@pytest.mark.parametrize("sample", TEXTS, ids=[sample["kind"] for sample in TEXTS])
def test_is_the_sum_of_its_pieces(sample: dict[str, Any]) -> None:
    """A text that streams in pieces of any size is estimated like the whole."""
    text = sample["text"]

    for size in (1, 3, 50):
        pieces = sum(text_tokens(text[i : i + size]) for i in range(0, len(text), size))
        assert text_tokens(text) == pytest.approx(pieces)


@pytest.mark.parametrize("length", [1, 104, 105, 416, 417, 418, 835, 8192])
@pytest.mark.parametrize("character", ["a", "\u4e16", "\U0001f389"])
def test_is_proportional_to_length(character: str, length: int) -> None:
    """So many of one character weigh so many times as much as one."""
    assert pytest.approx(length * text_tokens(character)) == text_tokens(length * character)


@pytest.mark.parametrize(
    "sample",
    FILES["requests"]["samples"],
    ids=[f"request{i}" for i in range(len(FILES["requests"]["samples"]))],
)
@pytest.mark.parametrize("style", [{"ensure_ascii": True}, {"separators": (", ", ": ")}, {"indent": 1}])
def test_hardly_depends_on_how_json_is_written(sample: dict[str, Any], style: dict[str, Any]) -> None:
    """Escapes and blanks between members change little in what a request is estimated at."""
    compact, other = prompt(written(sample["request"])), prompt(written(sample["request"], **style))
    signs = written(sample["request"]).count(b'"')

    assert compact == pytest.approx(other, rel=0.03, abs=0.6 * signs if "indent" in style else 0.1 * signs)


def test_undoes_escapes() -> None:
    """An escape weighs what it stands for."""
    text = 'Er sagte: "Здравствуй, 世界! 🎉"\n'
    plain, escaped = (json.dumps(text, ensure_ascii=ascii_only).encode() for ascii_only in (False, True))

    assert json_tokens(plain) == pytest.approx(json_tokens(escaped))
    assert json_tokens(plain) == pytest.approx(text_tokens(text), abs=0.1)


@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        ([1, 2, 3], 3),
        ([[1, 2], [3, 15, 100257]], 5),
        ([101], 1),
        ([], 1.26),
        ("", 0),
        (None, 0.92),
    ],
)
def test_counts_numbers_as_tokens(value: Any, tokens: float) -> None:
    """A list of token numbers has as many tokens as numbers."""
    assert tokens == pytest.approx(json_tokens(json.dumps(value).encode()))


@pytest.mark.parametrize(
    "image",
    [
        "iVBORw0KGgoAAAANSUhEUgAA" * 100,
        "data:image/png;base64," + "iVBORw0KGgoAAAANSUhEUgAA" * 100,
        "data:image/png;base64," + "iVBORw0KGgoAA/ANSUhEUg==" * 100_000,
    ],
)
def test_leaves_base64_out(image: str) -> None:
    """What is encoded in a request is not counted, however its slashes are written."""
    content: list[Any] = [{"type": "text", "text": "What is this?"}]
    text = prompt(written({"messages": [{"role": "user", "content": content}]}))
    body = written(
        {
            "messages": [
                {"role": "user", "content": [*content, {"type": "image_url", "image_url": {"url": image}}]}
            ]
        }
    )

    assert text == pytest.approx(prompt(body), abs=12)
    assert text == pytest.approx(prompt(body.replace(b"/", b"\\/")), abs=12)


@pytest.mark.parametrize(
    "text", ["人工智能正在改变我们的工作方式" * 100, "あ" * 3000, "слово" * 1000, "x, " * 1000]
)
@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_takes_no_text_for_base64(text: str, ensure_ascii: bool) -> None:
    """A long text without blanks is counted, escaped or not."""
    assert text_tokens(text) == pytest.approx(
        json_tokens(json.dumps(text, ensure_ascii=ensure_ascii).encode()), rel=0.01
    )


@pytest.mark.parametrize("sample", TEXTS, ids=[sample["kind"] for sample in TEXTS])
def test_samples_a_long_text(sample: dict[str, Any]) -> None:
    """A long text, weighed in stretches, is estimated like its parts."""
    times = 300_000 // len(sample["text"].encode())
    whole = text_tokens(sample["text"]) * times

    assert whole == pytest.approx(text_tokens(sample["text"] * times), rel=0.05)
    assert whole == pytest.approx(
        json_tokens(json.dumps([sample["text"]] * times, ensure_ascii=False).encode()), rel=0.15
    )


@given(text=st.text(), data=st.binary())
def test_takes_anything(text: str, data: bytes) -> None:
    """Whatever the text or the bytes are, they have a number of tokens that is not negative."""
    assert text_tokens(text) >= 0
    assert text_tokens("\ud83d" + text) >= 0
    assert json_tokens(data) >= 0
    assert json_tokens(json.dumps("\ud83d" + text).encode()) >= 0


@pytest.mark.parametrize("name", names())
def test_estimates_recorded_exchanges(name: str) -> None:
    """Of every recorded exchange with a prompt whose usage is forgotten, an estimate is made."""
    case = load(name)
    tap = case.tap(estimate=True)
    play(tap, [case.answer])
    tap.facts.usage, tap.facts.units, tap.facts.final_usage = None, {}, False

    counted = tap.counted(tap.outcome(None), sent=True)

    if (
        expected(case)["usage_source"] == "reported"
        and case.request.prompt_tokens
        and tap.facts.said is not None
    ):
        assert UsageSource.ESTIMATED is counted.source
        assert any(kind in (counted.usage or {}) for kind in INPUT_KINDS) or counted.units
