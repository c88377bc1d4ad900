"""What a value may be, where pydantic's own types say too little.

Each type says what it expects in words that a message can quote. Durations and sizes are in `quantities`.
"""

from __future__ import annotations

import os.path
import re
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, SecretStr
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Callable

from meter.keys import masked
from meter.settings.expressions import is_steady

__all__ = [
    "BaseUrl",
    "Count",
    "File",
    "Fingerprint",
    "Label",
    "LedgerUrl",
    "Masked",
    "Name",
    "OtlpUrl",
    "Pattern",
    "Port",
    "Prefix",
    "Proxy",
    "Secret",
    "Share",
    "Source",
    "Switchable",
    "TagHeader",
    "Text",
    "expected",
]


def expected(what: str) -> PydanticCustomError:
    """Return the error whose sentence ends in `expected` and these words."""
    return PydanticCustomError("expected", "{what}", {"what": what})


def _must(test: Callable[[Any], object], what: str) -> AfterValidator:
    """Refuse what fails a test."""

    def check(value: Any) -> Any:
        if not test(value):
            raise expected(what)
        return value

    return AfterValidator(check)


def _form(pattern: str, what: str) -> AfterValidator:
    return _must(re.compile(pattern).fullmatch, what)


Count = Annotated[int, Field(ge=0)]
Port = Annotated[int, _must(range(2**16).__contains__, "a port from 0 to 65535")]

Text = Annotated[str, _form(r"(?s).+", "a text that is not empty")]
Name = Annotated[str, _form(r"[A-Za-z0-9._-]+", "letters, digits, dots, dashes and underscores")]
Fingerprint = Annotated[str, _form(r"k_[0-9a-f]{12}", "k_ and 12 hex digits, as `meter key` prints them")]
_CREDENTIALS = frozenset(
    (
        "api-key",
        "authorization",
        "cookie",
        "proxy-authorization",
        "sec-websocket-protocol",
        "x-api-key",
        "x-goog-api-key",
    )
)
TagHeader = Annotated[
    str,
    _form(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", "the name of a header"),
    _must(lambda name: name.lower() not in _CREDENTIALS, "a header that holds no credential"),
]
Prefix = Annotated[
    str,
    _form(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+", "a path such as /deepseek, without a slash at its end"),
]
# `Path.is_file` raises where a name is too long to be one.
File = Annotated[str, _must(os.path.isfile, "a file that is there")]

# fmt: off
_RESERVED_LABELS = frozenset((
    "budget", "code", "error_type", "key", "kind", "label", "le", "model", "operation", "outcome", "period",
    "phase", "price_status", "quantile", "reason", "resource", "sink", "stream", "unit", "upstream",
    "usage_source",
))
# fmt: on
Label = Annotated[
    str,
    _form(r"(?!__)[A-Za-z_][A-Za-z0-9_]*", "a label name: letters, digits and underscores"),
    _must(lambda name: name not in _RESERVED_LABELS, "a label name that the metrics do not use themselves"),
]


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return False
    return bool(pattern)


Pattern = Annotated[
    str,
    _must(_compiles, "a regular expression"),
    _must(is_steady, "one that repeats no group in which something repeats, unless possessively: (?:a++)++"),
]


def _on_off(value: object) -> object:
    """Undo what YAML makes of `on` and `off`, where a JSON list or another writer has already decided."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


Switchable = BeforeValidator(_on_off)


def _share(value: object) -> float:
    try:
        share = float(value) if isinstance(value, int | float | str) else -1.0
    except (ValueError, OverflowError):
        share = -1.0
    if isinstance(value, bool) or not 0 <= share <= 1:
        raise expected("a share from 0 to 1")
    return share


Share = Annotated[float, BeforeValidator(_share)]


Masked = PlainSerializer(masked)
Secret = Annotated[SecretStr, PlainSerializer(lambda _: "***")]


def _url(value: str) -> bool:
    try:
        url = urlsplit(value)
        reachable = url.scheme in ("https", "http") and bool(url.hostname) and url.port != 0
    except ValueError:
        return False
    return reachable and not re.search(r"[\s\x00-\x20\x7f]", value)


def _source(value: str) -> bool:
    # Whatever begins like an address is one: taken for a path, it would be told with what is secret in it.
    return _url(value) if re.match(r"\s*[\w+.-]*:", value) else bool(value)


def _proxy(value: str) -> bool:
    return value in ("off", "env") or (_url(value) and not re.search(r"[?#]", value))


_SUCH = "a URL such as https://host/v1"
BaseUrl = Annotated[
    str,
    _must(_url, _SUCH),
    _must(lambda url: "?" not in url, f"{_SUCH}, without a query"),
    _must(lambda url: "#" not in url, f"{_SUCH}, without a fragment"),
    _must(lambda url: "@" not in urlsplit(url).netloc, f"{_SUCH}, without credentials inside"),
]
OtlpUrl = Annotated[str, _must(_url, "a URL such as http://collector:4318"), Masked]
Source = Annotated[str, _must(_source, "a path, or a URL such as https://host/data_slim.json"), Masked]
# Of which server, and whether it is there, is for the ledger to find out: it may be away for a while.
LedgerUrl = Annotated[
    str,
    Switchable,
    _form(
        r"(?s)off|sqlite:///(?!:memory:).+|(?:postgres|postgresql|postgresql\+psycopg)://.*",
        "sqlite:///PATH, postgresql://USER@HOST/NAME or off",
    ),
    Masked,
]
Proxy = Annotated[str, Switchable, _must(_proxy, "off, env, or a URL such as http://host:3128"), Masked]
