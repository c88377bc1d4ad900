"""How many tokens a text has, roughly, where nobody told.

No tokenizer: each byte has a weight, by what it is a part of, and a text weighs the sum of its bytes. In
UTF-8 the first byte of a character gives its script away; the bytes after it weigh nothing. What comes in
small pieces therefore weighs as much as the whole. The weights are fitted to OpenAI's o200k_base.
"""

from __future__ import annotations

import re
import string
from zlib import adler32

__all__ = ["has_base64", "json_tokens", "text_tokens"]

# Tokens that a byte makes up, in hundredths. The first bytes of characters beyond ASCII speak for all of it.
_WEIGHTS = {
    bytes(range(128)): 63,  # punctuation, and what is none of the following
    string.ascii_letters.encode(): 23,
    string.digits.encode(): 90,
    b" ": 7,  # most belong to the word that follows
    b"\t\n\r": 55,
    b"\xc2": 120,  # signs such as degrees and guillemets
    bytes(range(0xC3, 0xCE)): 95,  # Latin with accents: they break a word into more tokens
    b"\xce\xcf": 43,  # Greek
    bytes(range(0xD0, 0xD4)): 34,  # Cyrillic
    bytes(range(0xD4, 0xD8)): 44,  # Armenian, Hebrew
    bytes(range(0xD8, 0xE0)): 35,  # Arabic
    b"\xe0": 38,  # Indic scripts, Thai
    b"\xe1": 47,  # Georgian, Vietnamese
    b"\xe2": 104,  # typographic punctuation, arrows
    b"\xe3": 57,  # kana
    bytes(range(0xE4, 0xEA)): 77,  # Han
    bytes(range(0xEA, 0xEE)): 69,  # Hangul
    b"\xee\xef": 125,  # wide punctuation
    bytes(range(0xF0, 0xF5)): 157,  # emoji, and what is rare
}
_UNIT = 100
_WEIGHT_OF = {byte: weight for those, weight in _WEIGHTS.items() for byte in those}
_TABLE = bytes(_WEIGHT_OF.get(byte, 0) for byte in range(256))

_JSON_TABLE = bytes(_WEIGHT_OF.get(byte, 0) if byte != ord(b'"') else 0 for byte in range(256))
"""A quote in a text is weighed by the backslash before it; those without one frame."""

_BREAK = sum(rb"\n".translate(_TABLE)) - sum(b"\n".translate(_TABLE))
"""What the escape of a line break weighs too much."""

_SUMMED = 0xFFF0 // max(_TABLE)
"""Weights that are added up at once."""
_LIGHT_SUMMED = 0xFFF0 // 127
"""The same, where none is beyond ASCII: most texts have no emoji."""

_LONG = 1 << 15
"""Bytes, which take less than 0.1 ms; of a longer text as many are weighed, in stretches from all over it."""
_STRETCHES = 64
_LONGEST = 1 << 20
"""Bytes; in a longer text base64 is left out only where a whole stretch is nothing else."""

# It is long, and has nothing else in it: PHP writes its slashes with a backslash, and some break lines.
_BASE64_TEXT = rb"(?:[a-z]+:[^\",]{1,100},)?+(?=[A-Za-z0-9+/=_\\-]{512})(?:[A-Za-z0-9+/=_-]++|\\[/nr])++"
_BASE64 = re.compile(b'"%b"' % _BASE64_TEXT)
_BASE64_BEGINS = re.compile(rb"%b\\?\Z" % _BASE64_TEXT)

# Names that vendors do not put before the model.
_FRAME = re.compile(rb'"(?:content|parts|type|text|description|properties)"\s*+:')
_NUMBERS = re.compile(rb"\s*+\[[\s\[]*+[0-9]")
_IN_NUMBERS = b"0123456789,[] \t\r\n"


def text_tokens(text: str) -> float:
    """Return about how many tokens a text has."""
    data = text.encode("utf-8", "replace")
    if len(data) <= _SUMMED:
        return (adler32(data.translate(_TABLE), 0) & 0xFFFF) / _UNIT
    if len(data) > _LONG:
        return _sampled(data)
    return _sum(data.translate(_TABLE)) / _UNIT


def json_tokens(text: bytes) -> float:
    """Return about how many tokens a JSON value has in a prompt; base64 that it holds is left out."""
    if text[:2] != b"[{" and (count := _number_count(text)) is not None:
        return count
    if len(text) > 512:  # noqa: PLR2004 - what is shorter is no image
        if len(text) <= _LONGEST:
            text = _BASE64.sub(b"", text)
        if len(text) > _LONG:
            return _sampled(text, in_json=True)
    return _weight(text)


def has_base64(beginning: bytes) -> bool:
    """Tell whether a string that begins like this (without its quote) is encoded data rather than text."""
    return _BASE64_BEGINS.match(beginning) is not None


def _number_count(text: bytes) -> int | None:
    """Return how many numbers a list has that holds nothing else, as one of tokens does; None for others."""
    if not _NUMBERS.match(text) or text.translate(None, _IN_NUMBERS):
        return None
    return text.count(b",") + 1


def _weight(text: bytes) -> float:
    """Return the tokens of a piece of JSON: its texts', and few for what frames them."""
    breaks = 0
    if b"\\" in text:
        if b"\\u" in text and text.isascii():
            text = _spelled_out(text)
        breaks = text.count(rb"\n")
    return (_sum(_FRAME.sub(b"", text).translate(_JSON_TABLE)) - _BREAK * breaks) / _UNIT


def _sum(weights: bytes) -> int:
    """Return the sum of bytes, as the lower half of Adler-32 has it: far faster than `sum` adds them."""
    most = _LIGHT_SUMMED if weights.isascii() else _SUMMED
    if len(weights) <= most:
        return adler32(weights, 0) & 0xFFFF
    total = 0
    for at in range(0, len(weights), most):
        total += adler32(weights[at : at + most], 0) & 0xFFFF
    return total


def _spelled_out(text: bytes) -> bytes:
    r"""Return JSON with escapes of characters beyond ASCII undone, such as `\u4e2d`."""
    halves = text.decode("raw_unicode_escape", "replace").encode("utf-16-le", "surrogatepass")
    return halves.decode("utf-16-le", "replace").encode()


def _sampled(text: bytes, *, in_json: bool = False) -> float:
    step = len(text) // _STRETCHES
    size = _LONG // _STRETCHES
    stretches = [text[at : at + size] for at in range(0, step * _STRETCHES, step)]
    sample = b"".join(stretch for stretch in stretches if not has_base64(stretch))
    tokens = _weight(sample) if in_json else _sum(sample.translate(_TABLE)) / _UNIT
    return tokens * len(text) / _LONG
