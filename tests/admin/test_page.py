"""The console's document: how it is assembled, what is said with it, and who gets it."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from stage import running_house
from test_app import get

from meter.admin import page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stage import House

PARTS = Path(str(files("meter.admin"))) / "console"
OWN = sorted(path for path in PARTS.iterdir() if path.is_file())
HTML = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"
TOKEN = "only-for-operators-71c0"
BEARER = f"Authorization: Bearer {TOKEN}"


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """Give Meter without a token."""
    with running_house("http://127.0.0.1:1") as house:
        yield house


@pytest.fixture(scope="module")
def locked() -> Iterator[House]:
    """Give Meter with a token."""
    with running_house("http://127.0.0.1:1", admin={"token": TOKEN}) as house:
        yield house


@pytest.mark.parametrize("fields", [(), ("Accept: */*",), (HTML,)])
def test_answers_at_the_root(house: House, fields: tuple[str, ...]) -> None:
    """`GET /` is the page, whoever asks."""
    status, told, body = get(house.admin_url, "/", *fields)

    assert (200, "text/html; charset=utf-8") == (status, told["content-type"])
    assert body.startswith(b"<!doctype html>")
    assert body.rstrip().endswith(b"</html>")


def test_is_told_without_a_body(house: House) -> None:
    """HEAD has the same fields and no body, and nothing can be sent there."""
    status, told, body = get(house.admin_url, "/", method="HEAD")

    assert (200, b"") == (status, body)
    assert "content-security-policy" in told
    assert 405 == get(house.admin_url, "/", method="POST")[0]


def test_may_run_nothing_but_its_own(house: House) -> None:
    """The policy names all scripts and styles of the page by their hashes, and allows nothing else."""
    _, told, body = get(house.admin_url, "/")
    text = body.decode()

    def hashes(element: str) -> str:
        inside = re.findall(rf"<{element}(?: [^>]*)?>(.*?)</{element}>", text, re.DOTALL)
        return " ".join(f"'sha256-{b64encode(sha256(each.encode()).digest()).decode()}'" for each in inside)

    assert (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ) == told["content-security-policy"]
    assert "nosniff" == told["x-content-type-options"]
    assert "no-referrer" == told["referrer-policy"]
    assert "no-cache" == told["cache-control"]


def test_loads_nothing() -> None:
    """The document names no address but its own port's, and has neither inline handlers nor inline styles."""
    text = page.assembled().text.decode()
    markup = re.sub(r"<(script|style).*?</\1>", "", text, flags=re.DOTALL)

    assert {"/metrics", "/api/openapi.json", "#console"} == {
        address
        for address in re.findall(r'(?:href|src)="([^"]*)"', markup)
        if not address.startswith("data:")
    }
    assert [] == re.findall(r"<[^>]*\s(?:style|on\w+)=", markup)
    assert "@import" not in text
    assert "url(" not in text
    assert "import {" not in text


def test_comes_compressed(house: House) -> None:
    """It comes as gzip to who takes that, and is the same."""
    _, told, body = get(house.admin_url, "/", "Accept-Encoding: gzip, deflate, br")

    assert "gzip" == told["content-encoding"]
    assert page.assembled().text == gzip.decompress(body)
    assert len(body) < 60_000


def test_is_not_sent_twice(house: House) -> None:
    """Who has it already is told that it has not changed."""
    _, told, _ = get(house.admin_url, "/")
    status, again, body = get(house.admin_url, "/", f"If-None-Match: W/{told['etag']}")

    assert (304, b"") == (status, body)
    assert told["content-security-policy"] == again["content-security-policy"]
    assert 200 == get(house.admin_url, "/", 'If-None-Match: "another"')[0]


def test_is_small() -> None:
    """The whole page is less than 160 KB before compression."""
    assert len(page.assembled().text) < 160_000


def test_foreign_names_do_not_get_it(house: House) -> None:
    """Without a token, it is for local names alone, as everything else is."""
    assert 403 == get(house.admin_url, "/", HTML, host="rebound.example.com")[0]


class TestToken:
    """With `admin.token`, a browser may still sign in."""

    def test_programs_are_refused(self, locked: House) -> None:
        """Who does not ask for HTML gets the error in JSON."""
        for fields in ((), ("Accept: */*",), ("Accept: application/json",)):
            status, told, body = get(locked.admin_url, "/", *fields)
            assert (401, "Bearer") == (status, told["www-authenticate"])
            assert "http_401" == json.loads(body)["error"]["code"]

    def test_browsers_get_the_page_with_the_refusal(self, locked: House) -> None:
        """A browser gets 401 too, and the page with it, which holds no data and asks for the token."""
        status, told, body = get(locked.admin_url, "/", HTML)

        assert (401, "Bearer") == (status, told["www-authenticate"])
        assert page.assembled().text == body
        assert page.assembled().policy == told["content-security-policy"]

    @pytest.mark.parametrize("path", ["/api/usage", "/api/live", "/nothing", "/index.html"])
    def test_nothing_else_is_shown(self, locked: House, path: str) -> None:
        """What is not the page is JSON for browsers too."""
        status, told, _ = get(locked.admin_url, path, HTML)

        assert (401, True) == (status, "application/json" in told["content-type"])

    def test_who_has_the_token_gets_it(self, locked: House) -> None:
        """With the token it is 200."""
        assert 200 == get(locked.admin_url, "/", HTML, BEARER)[0]


class TestParts:
    """The files that the page is made of."""

    def test_each_says_what_it_is_for(self) -> None:
        """Each module and style sheet begins with a comment of one to three lines."""
        for path in OWN:
            if path.suffix in {".js", ".css"}:
                first = re.match(r"(//.*\n){1,3}\n|/\*[^/]*\*/\n", path.read_text("utf-8"))
                assert first, path.name

    def test_each_is_used(self) -> None:
        """All of them are in the page, and begin where they should."""
        text = page.assembled().text.decode()
        for path in OWN:
            if path.suffix == ".js":
                assert f"const ${path.stem} = (() => {{" in text, path.name
            elif path.suffix == ".css":
                assert path.read_text("utf-8") in text, path.name

    def test_makes_no_markup_of_texts(self) -> None:
        """No module makes elements of a text, or runs one."""
        forbidden = re.compile(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment"
            r"|\beval\b|new Function|setAttribute\(\"(?:style|on)"
        )
        for path in OWN:
            assert not forbidden.search(path.read_text("utf-8")), path.name

    def test_says_whose_the_chart_is(self) -> None:
        """What others wrote has its licence beside it, and says its version."""
        assert "Permission is hereby granted" in (PARTS / "vendor" / "LICENSE").read_text("utf-8")
        assert "(v1.6.32)" in (PARTS / "vendor" / "uPlot.iife.min.js").read_text("utf-8")

    def test_an_element_that_ends_early(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A part that would end its element is refused, since the rest would be shown as text."""
        (tmp_path / "index.html").write_text('<script src="x.js"></script>')
        (tmp_path / "x.js").write_text('const end = "</Script>";')
        monkeypatch.setattr(page, "_PARTS", tmp_path)

        with pytest.raises(ValueError, match=r"x\.js: got the end of an element"):
            page.assembled.__wrapped__()

    def test_modules_come_behind_what_they_need(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each module is there once, in a scope of its own, behind those that it imports."""
        (tmp_path / "index.html").write_text('<script type="module" src="main.js"></script>')
        (tmp_path / "main.js").write_text('import { a } from "./a.js";\nimport { b } from "./b.js";\na(b);\n')
        (tmp_path / "a.js").write_text('import { b } from "./b.js";\nexport async function a() {}\n')
        (tmp_path / "b.js").write_text("const own = 1;\nexport const b = own;\n")
        monkeypatch.setattr(page, "_PARTS", tmp_path)

        text = page.assembled.__wrapped__().text.decode()
        assert (
            '<script type="module">'
            "const $b = (() => {\nconst own = 1;\nconst b = own;\nreturn { b };\n})();\n\n"
            "const $a = (() => {\nconst { b } = $b;\nasync function a() {}\nreturn { a };\n})();\n\n"
            "const $main = (() => {\nconst { a } = $a;\nconst { b } = $b;\na(b);\nreturn {  };\n})();\n"
            "</script>"
        ) == text


# --- colours ---

_RULE = re.compile(r":root(?P<dark>\[data-theme=\"dark\"\])? \{(?P<body>.*?)\n\}", re.DOTALL)
TOKENS = {
    "dark" if rule["dark"] else "light": dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", rule["body"]))
    for rule in _RULE.finditer((PARTS / "tokens.css").read_text("utf-8"))
}
TEXTS = ("ink", "quiet", "accent", "good", "warn", "bad")
GROUNDS = ("ground", "panel", "raised")
SERIES = (*(f"series-{slot}" for slot in range(1, 9)), "series-others")


def luminance(colour: str) -> float:
    """Return the relative luminance of `#rrggbb`, as WCAG has it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, from 1 to 21."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
class TestColours:
    """Both themes can be read."""

    @pytest.mark.parametrize(
        ("text", "ground"),
        [
            *product(TEXTS, GROUNDS),
            ("on-accent", "accent"),
            ("warn", "warn-ground"),
            ("bad", "bad-ground"),
        ],
    )
    def test_texts(self, theme: str, text: str, ground: str) -> None:
        """Text stands out from what is behind it by 4.5 at least, which is WCAG's AA."""
        assert contrast(TOKENS[theme][text], TOKENS[theme][ground]) >= 4.5

    @pytest.mark.parametrize("drawn", [*SERIES, "rest", "edge"])
    def test_drawings(self, theme: str, drawn: str) -> None:
        """What is drawn stands out from its panel by 3 at least."""
        assert contrast(TOKENS[theme][drawn], TOKENS[theme]["panel"]) >= 3

    def test_knows_all_of_the_other(self, theme: str) -> None:
        """Each theme says every colour that the other does."""
        assert TOKENS["light"].keys() == TOKENS[theme].keys()
