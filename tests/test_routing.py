"""Routes on the raw text of a request's target."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meter.routing import Routes, origin_form

ROUTES = Routes(
    [
        ("openai", "https://api.openai.com/v1", "", True),
        ("deepseek", "https://api.deepseek.com", "/deepseek", False),
        ("nested", "https://h:8443/openai/v1/", "/deepseek/eu", False),
    ]
)


@pytest.mark.parametrize(
    ("base_url", "target"),
    [
        ("https://h/v1", "/v1/x"),
        ("https://h/v1/", "/v1/x"),
        ("https://h", "/v1/x"),
        ("https://h/", "/v1/x"),
        ("https://h/openai/v1", "/openai/v1/x"),
        ("https://h/v1/v1", "/v1/v1/x"),
        ("https://h/v1beta", "/v1beta/v1/x"),
        ("https://h/1", "/1/v1/x"),
    ],
)
def test_base_path_is_not_repeated(base_url: str, target: str) -> None:
    """The longest run of whole segments that ends the base path and begins the client's is said once."""
    assert ("u", target) == Routes([("u", base_url, "", True)]).match("/v1/x")


def test_longest_run_wins() -> None:
    """Of two runs that fit, the longer one is not repeated."""
    assert Routes([("u", "https://h/a/b/a/b", "", True)]).match("/a/b/a/b/x") == ("u", "/a/b/a/b/x")
    assert Routes([("u", "https://h/a/b", "", True)]).match("/a/b/x") == ("u", "/a/b/x")


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ("/v1/models", ("openai", "/v1/models")),
        ("/models", ("openai", "/v1/models")),
        ("/", ("openai", "/v1/")),
        ("/v1", ("openai", "/v1")),
        ("/deepseek", ("deepseek", "/")),
        ("/deepseek?x", ("deepseek", "/?x")),
        ("/deepseek/", ("deepseek", "/")),
        ("/deepseek/v1/chat/completions", ("deepseek", "/v1/chat/completions")),
        ("/deepseekx/v1", ("openai", "/v1/deepseekx/v1")),
        ("/DeepSeek/v1", ("openai", "/v1/DeepSeek/v1")),
        ("/x?/deepseek/v1", ("openai", "/v1/x?/deepseek/v1")),
        ("/%64eepseek/v1", ("openai", "/v1/%64eepseek/v1")),
        ("/deepseek/eu/v1/x", ("nested", "/openai/v1/x")),
        ("/deepseek/eux", ("deepseek", "/eux")),
        ("http://deepseek/v1/x?q=1", ("openai", "/v1/x?q=1")),
        ("HTTPS://evil:1/deepseek/v1", ("deepseek", "/v1")),
        ("http://x", ("openai", "/v1/")),
        ("http://x?q", ("openai", "/v1/?q")),
        ("*", ("openai", "*")),
        ("x", None),
        ("", None),
    ],
)
def test_choice(raw: str, found: tuple[str, str] | None) -> None:
    """The longest prefix of whole segments chooses and is removed; else the default serves."""
    assert found == ROUTES.match(raw)


@pytest.mark.parametrize(
    "path", ["//v1/x", "/a//b", "/a%2Fb", "/../x", "/a;b=c/.", "/a?", "/a??b", "/a?x=%zz#f", "/é"]
)
def test_nothing_is_normalised(path: str) -> None:
    """Path and query pass as they came, odd as they may be."""
    assert ("u", path) == Routes([("u", "https://h", "", True)]).match(path)


def test_no_upstream() -> None:
    """Without a default, what no prefix claims has no upstream."""
    routes = Routes([("u", "https://h", "/u", False)])

    assert (routes.match("/x"), routes.match("*"), routes.match("/u/x")) == (None, None, ("u", "/x"))


def test_default_with_a_prefix() -> None:
    """A default that also has a prefix loses it only where it was used."""
    routes = Routes([("u", "https://h", "/u", True)])

    assert [routes.match("/x"), routes.match("/u/x")] == [("u", "/x"), ("u", "/x")]


def test_origin() -> None:
    """An upstream's origin is the scheme, host and port of its base URL."""
    assert (ROUTES.origin("openai"), ROUTES.origin("nested")) == ("https://api.openai.com", "https://h:8443")


def test_origin_form_leaves_what_is_not_absolute() -> None:
    """A path that contains a URL is still a path."""
    assert [origin_form(raw) for raw in ("/http://x/y", "*", "x:443")] == ["/http://x/y", "*", "x:443"]


def test_what_is_kept_of_paths_is_bounded_and_has_no_secrets() -> None:
    """Neither many paths, nor long ones, nor queries, nor what is no path are remembered."""
    routes = Routes([("u", "https://h", "", True)])
    for number in range(5000):
        routes.match(f"/{number}?key=sk-secret")
    for target in ("/" + 500 * "x", "user:sk-secret@host:443", "http://user:sk-secret@host/p?key=sk-secret"):
        routes.match(target)

    assert len(routes._kept) <= 1024
    assert max(map(len, routes._kept)) <= 256
    assert "sk-secret" not in repr(routes._kept)
    assert ("u", "/4999?a") == routes.match("/4999?a")


@settings(max_examples=200)
@given(path=st.text(st.characters(blacklist_characters="?")), query=st.text())
def test_rest_survives(path: str, query: str) -> None:
    """Whatever follows the prefix reaches the upstream character by character."""
    assert ("deepseek", f"/{path}?{query}") == Routes(
        [("deepseek", "https://h", "/deepseek", False)],
    ).match(f"/deepseek/{path}?{query}")


@settings(max_examples=200)
@given(base=st.lists(st.sampled_from("ab"), max_size=4), path=st.lists(st.sampled_from("ab"), min_size=1))
def test_joined_path_begins_and_ends_right(base: list[str], path: list[str]) -> None:
    """A joined path begins with the base path, ends with the client's, and is no longer than both."""
    before, asked = "".join(f"/{s}" for s in base), "".join(f"/{s}" for s in path)
    found = Routes([("u", f"https://h{before}", "", True)]).match(asked)

    assert found is not None
    assert found.target.startswith(before)
    assert found.target.endswith(asked)
    assert len(found.target) <= len(before) + len(asked)
