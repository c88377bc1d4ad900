"""A newer catalogue: what is used, what is refused, and what is kept."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession, web

from meter.prices import refresh
from meter.prices.catalogue import CatalogueSource
from meter.prices.refresh import RefreshError, checked, fetch, is_url, keep, kept, masked, read
from meter.providers import catalogue_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from meter.price import Source

    Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
    Serve = Callable[[Answer], Awaitable[str]]

WHEN = datetime(2026, 11, 9, 12, tzinfo=UTC)
NOBODY = "http://me:hush@127.0.0.1:1"
BUNDLED = CatalogueSource(ids=catalogue_id)


def a_list(count: int = 30, **changed: Any) -> bytes:
    """Write a list as LiteLLM does, of models that nobody knows and one that everybody does."""
    models = {f"m-{n}": {"litellm_provider": "openai", "input_cost_per_token": 1e-06} for n in range(count)}
    known = {"litellm_provider": "openai", "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05}
    return json.dumps({**models, "gpt-4o": {**known, **changed}}).encode()


def use(raw: bytes) -> Source:
    """Check a list against the bundled catalogue."""
    return checked(raw, where="new.json", used=BUNDLED, when=WHEN)


def test_a_good_list_is_used() -> None:
    """A list like the catalogue in use is a source under its publisher's name, told apart by its hash."""
    source = use(a_list())
    price = source.find("gpt-4o", upstream="u", provider="openai", when=WHEN)

    assert price is not None
    assert Decimal("2.5") == price.rates.amounts["input"]
    assert "litellm" == price.source
    assert price.revision == source.revision != use(a_list(31)).revision


def test_known_only_goes_on() -> None:
    """A refreshed catalogue has list prices as little as the bundled one where it is to have none."""
    source = checked(a_list(), where="new.json", used=BUNDLED, known_only=True, when=WHEN)

    assert source.find("gpt-4o", upstream="u", provider=None, when=WHEN) is None


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"", "got none of the lists of genai-prices, LiteLLM and models.dev"),
        (b"<html>not found</html>", "got none of the lists of genai-prices, LiteLLM and models.dev"),
        (a_list()[:-10], "got none of the lists of genai-prices, LiteLLM and models.dev"),
        (b"prices: []", "got none of the lists of genai-prices, LiteLLM and models.dev"),
        (a_list(3), "got 4 models with a price, expected 20 or more"),
        (
            a_list(input_cost_per_token=2.5),
            "got 2500000 USD per million tokens of input for gpt-4o, expected about 2.5",
        ),
        (
            a_list(output_cost_per_token=1e-11),
            "got 0.00001 USD per million tokens of output for gpt-4o, expected about 10",
        ),
        (
            a_list(input_cost_per_token=0),
            "got 0 USD per million tokens of input for gpt-4o, expected about 2.5",
        ),
        (a_list(litellm_provider="garage"), "got none of the best-known models, expected some"),
        (
            b'[{"id": "x", "models": [{"id": 1}]}]',
            "is no catalogue that this version of genai-prices can read",
        ),
    ],
)
def test_a_bad_list_is_refused(raw: bytes, what: str) -> None:
    """What is no list, too short, in another unit or about nothing known is refused in one sentence."""
    with pytest.raises(RefreshError) as caught:
        use(raw)

    assert f"new.json: {what}" == str(caught.value)


def test_too_much_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A list past the bound is refused, whether it is read or checked."""
    monkeypatch.setattr(refresh, "_LIMIT", 10)
    path = tmp_path / "list.json"
    path.write_bytes(a_list())

    with pytest.raises(RefreshError, match="got more than 10 bytes, expected a catalogue"):
        use(a_list())
    with pytest.raises(RefreshError, match="got more than 10 bytes, expected a catalogue"):
        read(path)


def test_the_last_good_one_is_kept(tmp_path: Path) -> None:
    """What is kept is read back as it was, with its time, in folders that are made for it."""
    path = tmp_path / "state" / "meter" / "catalogue.json"
    assert kept(path) is None
    keep(b"one", path)
    keep(b"two", path)
    os.utime(path, (1000, 1000))

    assert (b"two", 1000.0) == kept(path)
    assert [path] == list(path.parent.iterdir())


def test_what_cannot_be_kept_leaves_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails leaves what was kept before, and nothing half written beside it."""
    path = tmp_path / "catalogue.json"
    keep(b"one", path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RefreshError) as caught:
        keep(b"two", path)

    assert f"{path}: cannot be written: No space left on device" == str(caught.value)
    assert [path] == list(tmp_path.iterdir())
    assert b"one" == path.read_bytes()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A file that cannot be read is told by name and reason."""
    with pytest.raises(RefreshError, match=r"none\.json: cannot be read: No such file or directory"):
        read(tmp_path / "none.json")


def test_what_is_secret_in_an_address_is_not_shown() -> None:
    """A name, a password and a query are taken out of an address; a path is left alone."""
    assert "https://example.com:8443/a" == masked("https://me:secret@example.com:8443/a?token=secret#secret")
    assert "/etc/a?b@c" == masked("/etc/a?b@c")
    assert [True, True, False] == [is_url(s) for s in ("http://x", "HTTPS://x", "x/http://")]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Give a function that serves answers on a port of its own, and returns its address."""
    runners = []

    async def served(answer: Answer) -> str:
        app = web.Application()
        app.router.add_get("/{name}", answer)
        runner = web.AppRunner(app)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://me:hush@127.0.0.1:{runner.addresses[0][1]}"

    yield served
    for runner in runners:
        await runner.cleanup()


async def test_fetching(serve: Serve) -> None:
    """A list is fetched with the address's own name and password, through redirects."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/moved":
            raise web.HTTPFound("/list")
        return web.Response(text=request.headers.get("Authorization", ""))

    address = await serve(answer)
    async with ClientSession() as session:
        assert b"Basic bWU6aHVzaA==" == await fetch(session, f"{address}/moved")


async def test_failing_to_fetch(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be fetched, is an error or too long is told in a sentence that keeps the secret."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=404) if request.path == "/none" else web.Response(text="x" * 100_000)

    address = await serve(answer)
    shown = address.replace("me:hush@", "")
    monkeypatch.setattr(refresh, "_LIMIT", 1000)
    told = []
    async with ClientSession() as session:
        for url in (
            f"{address}/none?k=hush",
            f"{address}/long",
            "http://me:hush@127.0.0.1:1/a",
            "http://me:hush@[/a",
        ):
            with pytest.raises(RefreshError) as caught:
                await fetch(session, url)
            told.append(str(caught.value))

    assert [
        f"{shown}/none: answered with status 404, expected 200",
        f"{shown}/long: got more than 1000 bytes, expected a catalogue",
        "http://127.0.0.1:1/a: cannot be fetched: ClientConnectorError",
        "an address that is none: cannot be fetched: InvalidUrlClientError",
    ] == told
    assert "hush" not in "".join(told)


async def test_a_fetch_takes_no_longer_than_it_may(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not go on is given up on."""
    given_up = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        await given_up.wait()
        return response

    monkeypatch.setattr(refresh, "FETCH_SECONDS", 0.05)
    address = await serve(answer)
    async with ClientSession() as session:
        with pytest.raises(RefreshError, match="cannot be fetched: TimeoutError"):
            await fetch(session, f"{address}/list")
    given_up.set()
