"""How many tokens a text has, roughly, where nobody told.

No tokenizer: a text's bytes are weighed by the script that they are written in, at the ratios that common
vocabularies have. In UTF-8 the first byte of a character gives its script away, so that counting is a few
passes of C over the bytes.
"""

from __future__ import annotations

import re

__all__ = ["BYTES_PER_TOKEN", "json_tokens", "text_tokens"]

BYTES_PER_TOKEN = 4.2
"""Of English text."""

# First bytes of characters, and how many tokens such a character has.
_SCRIPTS: tuple[tuple[bytes, float], ...] = (
    (bytes(range(0xC2, 0xCE)), 0.6),  # Latin with accents
    (bytes(range(0xCE, 0xD0)), 0.5),  # Greek
    (bytes(range(0xD0, 0xD6)), 0.35),  # Cyrillic, Armenian
    (bytes(range(0xD6, 0xE0)), 0.45),  # Hebrew, Arabic
    (bytes(range(0xE0, 0xE3)), 0.5),  # Indic scripts, Thai, Georgian
    (b"\xe3", 0.7),  # kana, CJK punctuation
    (bytes(range(0xE4, 0xEA)), 0.8),  # Han
    (bytes(range(0xEA, 0xEE)), 0.7),  # Hangul
    (bytes(range(0xEE, 0xF5)), 2.0),  # emoji and what is rare
)


def text_tokens(text: str) -> float:
    """Return about how many tokens a text has."""
    if text.isascii():
        return len(text) / BYTES_PER_TOKEN
    return _weighed(text.encode("utf-8", "replace"))


def _weighed(data: bytes) -> float:
    tokens = len(data) / BYTES_PER_TOKEN
    for firsts, each in _SCRIPTS:
        count = len(data) - len(data.translate(None, firsts))
        if count:
            width = 2 if firsts[0] < 0xE0 else 3 if firsts[0] < 0xF0 else 4  # noqa: PLR2004 - as UTF-8 has it
            tokens += count * (each - width / BYTES_PER_TOKEN)
    return tokens


_BASE64 = re.compile(rb'"[^" ]{512,}+"')


def json_tokens(text: bytes) -> float:
    """Return about how many tokens the texts in a JSON value have; what is encoded in it is left out."""
    if len(text) > 2048:  # noqa: PLR2004 - an image is longer
        text = _BASE64.sub(b"", text)
    return _weighed(text)
