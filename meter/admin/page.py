"""The console: what a browser gets at `/` of the admin port.

The parts in `meter/admin/console` are a page of their own: a document that names its style sheets and its
scripts, which are modules. Here they become one document, so that nothing is loaded from anywhere, and the
Content-Security-Policy can name by their hashes the only styles and scripts that may be. The page holds no
data: it asks the port for it, as any program would.
"""

from __future__ import annotations

import gzip
import re
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from aiohttp.typedefs import LooseHeaders

__all__ = ["Document", "assembled", "is_wanted", "page_answer"]

_PARTS = files("meter.admin") / "console"

_NAMED = re.compile(
    r'<link rel="stylesheet" href="(?P<style>[\w./-]+)">'
    r'|<script type="module" src="(?P<module>[\w./-]+)"></script>'
    r'|<script src="(?P<script>[\w./-]+)"></script>'
)
"""Where the document names a part."""
_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./([\w-]+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:function|const|class) (\w+))", re.MULTILINE)
_ENDS_EARLY = re.compile(r"</(script|style)|<!--", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Document:
    """The whole page, and what is told with it."""

    text: bytes
    packed: bytes
    """The same, by gzip."""
    policy: str
    """The Content-Security-Policy."""
    tag: str
    """The ETag."""


@cache
def assembled() -> Document:
    """Return the page, made of its parts once."""
    hashes: dict[str, list[str]] = {"script": [], "style": []}

    def inlined(named: re.Match[str]) -> str:
        kind, path = next((kind, path) for kind, path in named.groupdict().items() if path)
        element = "style" if kind == "style" else "script"
        content = _bundle(path) if kind == "module" else _part(path)
        if _ENDS_EARLY.search(content):
            raise ValueError(f"{path}: got the end of an element or a comment, expected none inside")
        hashes[element].append(_hash(content))
        opening = '<script type="module">' if kind == "module" else f"<{element}>"
        return f"{opening}{content}</{element}>"

    text = _NAMED.sub(inlined, _part("index.html")).encode()
    return Document(
        text, gzip.compress(text, mtime=0), _policy(**hashes), f'"{sha256(text).hexdigest()[:32]}"'
    )


def is_wanted(request: web.BaseRequest) -> bool:
    """Tell whether who asks would show the page to somebody, rather than read an error as a program does."""
    return (
        request.path == "/"
        and request.method in {"GET", "HEAD"}
        and "text/html" in request.headers.get("Accept", "").lower()
    )


def page_answer(request: web.BaseRequest, document: Document, *, status: int = 200) -> web.Response:
    """Return the page, or that it has not changed; with 401 it lets one sign in."""
    fields: LooseHeaders = {
        "Content-Security-Policy": document.policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-cache",
        "Vary": "Accept, Accept-Encoding, Authorization",
        "ETag": document.tag,
    }
    known = request.headers.get("If-None-Match", "")
    if status == web.HTTPOk.status_code and document.tag in known:
        return web.Response(status=304, headers=fields)
    answer = web.Response(status=status, headers=fields, content_type="text/html", charset="utf-8")
    if status == web.HTTPUnauthorized.status_code:
        answer.headers["WWW-Authenticate"] = "Bearer"
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        answer.headers["Content-Encoding"] = "gzip"
        answer.body = document.packed
    else:
        answer.body = document.text
    return answer


def _part(path: str) -> str:
    return _PARTS.joinpath(path).read_text("utf-8")


def _bundle(main: str) -> str:
    """Return a module and all that it imports: each in a scope of its own, behind those that it needs."""
    order: dict[str, str] = {}

    def take(name: str) -> None:
        if name not in order:
            text = _part(f"{name}.js")
            for _, needed in _IMPORT.findall(text):
                take(needed)
            order[name] = _scoped(name, text)

    take(main.removesuffix(".js"))
    return "\n".join(order.values())


def _scoped(name: str, text: str) -> str:
    """Return a module as a function's value: what it exports, by its names."""
    exports = ", ".join(exported for _, exported in _EXPORT.findall(text))
    body = _EXPORT.sub(r"\1", _IMPORT.sub(r"const \1 = $\2;\n", text))
    return f"const ${name} = (() => {{\n{body}return {{ {exports} }};\n}})();\n"


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"


def _policy(script: list[str], style: list[str]) -> str:
    allowed = {
        "default-src": "'none'",
        "script-src": " ".join(script),
        "style-src": " ".join(style),
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in allowed.items())
