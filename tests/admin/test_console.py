"""The console in a real browser: what it shows is what the ledger says, and it asks nobody else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import deque
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
from admin.showing import browser, page_of, shown, take_pictures, traffic
from ledgers import an_exchange
from stage import until
from tools import needed

from meter.ledger.adding import add
from meter.ledger.database import open_database
from meter.ledger.schema import row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, ConsoleMessage, Page, Route
    from stage import House

pytestmark = pytest.mark.real

PARTS = Path(str(files("meter.admin"))) / "console"
HOSTILE = '<img src=x onerror="window.hit=1">'
TOKEN = "only-for-operators-71c0"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Give a browser."""
    needed("chromium", "apt-get install -y --no-install-recommends chromium fonts-dejavu-core")
    pytest.importorskip("playwright")
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder in which Meter's ledger is."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def house(chromium: Browser, home: Path) -> Iterator[House]:
    """Give Meter after some traffic, with a past of three days; nothing happens any more."""
    del chromium  # where there is none, nothing of this is needed
    with shown(home, days=3) as house:
        with traffic(house, pace=0.2):
            until(lambda: len(house.lines()) > 60, seconds=60)
        yield house


class Watched:
    """A page, and all that it complained of or asked of others."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.strangers: list[str] = []
        self._origin = origin
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.context.route("**/*", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def _asked(self, route: Route) -> None:
        if route.request.url.startswith(f"{self._origin}/"):
            route.continue_()
        else:
            self.strangers.append(route.request.url)
            route.abort()


def opened(chromium: Browser, house: House, view: str = "", **context: Any) -> Watched:
    """Open the console, and wait until there is something in each panel."""
    page = page_of(chromium, "about:blank", **context)
    watched = Watched(page, house.admin_url)
    page.goto(f"{house.admin_url}/{view}")
    for panel in ("#left", "#right", "#exchanges"):
        page.wait_for_selector(f"{panel} tbody tr")
    page.wait_for_selector("#strip .tile")
    page.wait_for_selector("#spend .body > *")
    return watched


@pytest.fixture
def watched(chromium: Browser, house: House) -> Iterator[Watched]:
    """Give the console of a day; at the end, nothing was wrong and nobody else was asked."""
    watched = opened(chromium, house, "#range=24h")
    yield watched
    assert ([], []) == (watched.complaints, watched.strangers)
    watched.page.context.close()


def answer(house: House, path: str, token: str = "") -> Any:
    """Return what the port says, amounts with all their digits."""
    request = Request(house.admin_url + path, headers={"Authorization": f"Bearer {token}"} if token else {})  # noqa: S310
    with urlopen(request, timeout=10) as told:  # noqa: S310 - loopback
        return json.loads(told.read(), parse_float=Decimal)


def figures(page: Page, selector: str) -> dict[str, list[str]]:
    """Return the raw values in each row of a table, by the row's name."""
    script = """rows => rows.map(row => [row.dataset.row,
        [...row.querySelectorAll('.figure')].map(each => each.dataset.value)])"""
    return dict(page.eval_on_selector_all(f"{selector} tr[data-row]", script))


def expected(sums: dict[str, Any]) -> list[Decimal | None]:
    """Return what a row of a table should tell of a row of the API."""

    def tokens(kind: str) -> int:
        return sum(count for name, count in sums["usage"].items() if name.startswith(kind))

    def part(some: int, whole: int) -> float | None:
        return some / whole if whole else None

    told = (
        sums["requests"],
        part(sums["errors"], sums["requests"]),
        tokens("input"),
        tokens("output"),
        part(tokens("input_cached"), tokens("input")),
        sums["cost_usd"],
    )
    return [None if each is None else Decimal(str(each)) for each in told]


def decimals(values: list[str]) -> list[Decimal | None]:
    """Return raw values as numbers; None for what is not known."""
    return [Decimal(value) if value else None for value in values]


# --- numbers ---


@pytest.mark.parametrize(("side", "field"), [("left", "model"), ("right", "key")])
def test_tables_are_the_ledgers(watched: Watched, house: House, side: str, field: str) -> None:
    """Each row of the tables has the numbers of `/api/usage`, and the last one the total."""
    page = watched.page
    since = page.get_attribute(f"#{side}", "data-since")
    found = answer(house, f"/api/usage?by={field}&since={since}")
    if page.locator(f"#{side} .more").count():
        page.click(f"#{side} .more")

    seen = figures(page, f"#{side} table")

    assert expected(found["total"]) == decimals(seen.pop("total"))
    assert {each[field]: expected(each) for each in found["rows"]} == {
        name: decimals(values) for name, values in seen.items()
    }


def test_tables_are_the_reports(watched: Watched, house: House, home: Path) -> None:
    """`meter report` says the same of the same ledger and span."""
    since, end = (watched.page.get_attribute("#right", f"data-{name}") for name in ("since", "until"))
    command = ["report", "--by", "key", "--since", str(since), "--until", str(end), "--format", "json"]
    told = subprocess.run(  # noqa: S603 - a program of our own
        [sys.executable, "-m", "meter", *command, "--ledger", f"sqlite:///{home / 'ledger.db'}"],
        capture_output=True,
        check=True,
        timeout=60,
    )
    report = json.loads(told.stdout, parse_float=Decimal)
    usage = answer(house, f"/api/usage?by=key&since={since}&until={end}")

    seen = figures(watched.page, "#right table")

    assert usage["rows"] == report["rows"]
    assert expected(report["total"]) == decimals(seen["total"])
    for each in report["rows"]:
        assert expected(each) == decimals(seen[each["key"]])


@pytest.mark.parametrize("measure", ["cost", "tokens", "requests"])
@pytest.mark.parametrize("span", ["1h", "24h", "7d", "30d"])
def test_layers_add_up(chromium: Browser, house: House, span: str, measure: str) -> None:
    """The layers of the chart, others among them, are exactly the total, whichever the span."""
    watched = opened(chromium, house, f"#range={span}&measure={measure}")
    page = watched.page
    page.wait_for_selector("#spend .legend tr")
    total = answer(house, f"/api/usage?by=&since={page.get_attribute('#spend', 'data-since')}")["total"]
    of = {"cost": total["cost_usd"], "tokens": sum(total["usage"].values()), "requests": total["requests"]}

    seen = {name: Decimal(values[0]) for name, values in figures(page, "#spend .legend").items()}

    assert of[measure] == seen.pop("total")
    assert of[measure] == sum(seen.values())
    assert 9 == len(seen)
    others, *named = seen
    assert others.startswith("others (")
    assert sorted(seen[name] for name in named) == [seen[name] for name in named]
    assert ([], []) == (watched.complaints, watched.strangers)
    page.context.close()


def test_chart_as_a_table(watched: Watched) -> None:
    """The table instead of the chart has the same totals, and its rows add up to them."""
    page = watched.page
    legend = {name: values[0] for name, values in figures(page, "#spend .legend").items()}
    page.click("#spend-table")

    names = page.eval_on_selector_all("#spend thead th", "heads => heads.map(head => head.textContent)")[1:]
    rows = page.eval_on_selector_all(
        "#spend tbody tr, #spend tfoot tr",
        "rows => rows.map(row => [...row.querySelectorAll('.figure')].map(each => each.dataset.value))",
    )

    totals = dict(zip(names, rows.pop(), strict=True))
    assert legend["total"] == totals.pop("Total")
    assert totals == {name: legend[name] for name in totals}
    columns = zip(*rows, strict=True)
    sums = [sum(map(Decimal, column)) for column in columns]
    assert [Decimal(totals[name]) for name in names[:-1]] == sums[:-1]
    assert "true" == page.get_attribute("#spend-table", "aria-pressed")


def test_strip_is_what_was_answered(watched: Watched) -> None:
    """The figures of the strip are those of the last answer of `/api/live`."""
    page = watched.page
    with page.expect_response("**/api/live") as came:
        pass
    live = came.value.json()
    page.wait_for_timeout(100)

    def figure(name: str) -> str | None:
        return page.get_attribute(f'#strip [data-figure="{name}"]', "data-value")

    for name in ("requests_per_s", "in_flight", "tokens_per_s", "error_share"):
        assert live[name] is None or float(figure(name) or "nan") == live[name]
    for name in ("ttft_s", "duration_s"):
        for quantile in ("p50", "p99"):
            told = live[name][quantile]
            assert ("" if told is None else str(told)) == figure(f"{name}.{quantile}")


def test_cost_of_today(watched: Watched, house: House) -> None:
    """Today's cost is that of the day in UTC."""
    today = time.strftime("%Y-%m-%d", time.gmtime())
    spent = answer(house, f"/api/usage?by=&since={today}")["total"]["cost_usd"]
    shown = '#strip [data-figure="cost_today_usd"]'
    watched.page.wait_for_selector(f'{shown}:not([data-value=""])')

    assert spent == Decimal(watched.page.get_attribute(shown, "data-value") or "nan")


def test_exchanges_are_the_apis(watched: Watched, house: House) -> None:
    """The latest exchanges are there, the newest first, and one opens with all that the log has."""
    page = watched.page
    told = answer(house, "/api/exchanges?limit=20")["exchanges"]
    ids = page.eval_on_selector_all("#exchanges tbody tr", "rows => rows.map(row => row.dataset.row)")
    assert [each["id"] for each in told] == ids

    priced = next(each for each in told if each["cost_usd"] is not None)
    page.click(f'#exchanges tr[data-row="{priced["id"]}"] td:nth-child(4)')

    assert priced["id"] == page.inner_text("#details .id code")
    fields = page.eval_on_selector_all(
        "#details dd", "all => Object.fromEntries(all.map(each => [each.dataset.field, each.dataset.value]))"
    )
    assert set(priced) - {"id", "level", "event", "outcome"} == set(fields)
    assert priced["cost_usd"] == Decimal(fields["cost_usd"])
    assert priced["model"] == fields["model"]
    assert priced["usage"] == json.loads(fields["usage"])
    page.keyboard.press("Escape")
    assert not page.is_visible("#details")


def test_unknown_costs(watched: Watched, house: House) -> None:
    """What has no price is unknown, never $0, and the line that would give it one can be copied."""
    page = watched.page
    missing = answer(house, f"/api/prices/missing?since={page.get_attribute('#left', 'data-since')}")[
        "missing"
    ]
    page.click("#left .more")
    cell = '#left tr[data-row="house-writer-7b"]'

    assert "unknown" == page.inner_text(f"{cell} .cost .figure")
    assert "tokens unpriced" in page.inner_text(f"{cell} .marks")
    page.click("#missing .more")
    lines = page.eval_on_selector_all("#missing code", "all => all.map(each => each.textContent)")
    assert [each["line"].strip() for each in missing if each["line"]] == lines
    assert not re.search(r"\$0(?!\.)", page.inner_text(f"{cell}"))

    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("#missing li:first-child .copy")
    page.wait_for_selector("#missing li:first-child .copy:has-text('Copied')")
    assert missing[0]["line"] == page.evaluate("navigator.clipboard.readText()")


def test_budgets_and_waste(watched: Watched, house: House) -> None:
    """Budgets and the report on waste have the API's amounts."""
    page = watched.page
    page.wait_for_selector("#waste .waste")
    for each in answer(house, "/api/budgets")["budgets"]:
        values = page.eval_on_selector_all(
            f'#budgets li[data-row="{each["name"]}"] .figure', "all => all.map(each => each.dataset.value)"
        )
        assert [each["spent_usd"], each["usd"]] == [Decimal(value) for value in values]

    waste = answer(house, f"/api/waste?since={page.get_attribute('#left', 'data-since')}")
    for part in ("keys", "cancelled", "cut_short"):
        costs = page.eval_on_selector_all(
            f'#waste [data-part="{part}"] .push > .figure', "all => all.map(each => each.dataset.value)"
        )
        assert [each["cost_usd"] for each in waste[part][:4]] == decimals(costs)


# --- what can be done ---


def test_a_row_narrows_the_page(watched: Watched, house: House) -> None:
    """A click on a row leaves that row's exchanges, in every panel and in the address, until it is undone."""
    page = watched.page
    page.click('#right tr[data-row="batch-jobs"] td:nth-child(3)')
    page.wait_for_selector("#filters .chip")
    until(lambda: page.locator("#right tbody tr").count() == 1)
    until(lambda: page.locator(".busy").count() == 0)

    since = page.get_attribute("#left", "data-since")
    narrowed = answer(house, f"/api/usage?by=&since={since}&where=key%3Dbatch-jobs")["total"]
    assert expected(narrowed) == decimals(figures(page, "#left table")["total"])
    assert str(narrowed["cost_usd"]).rstrip("0") == figures(page, "#spend .legend")["total"][0]
    assert "where=key%3Dbatch-jobs" in page.url

    page.reload()
    page.wait_for_selector("#filters .chip:has-text('key = batch-jobs')")
    page.click("#filters .chip")
    until(lambda: page.locator("#right tbody tr").count() > 1)
    assert "where" not in page.url


def test_columns_sort(watched: Watched) -> None:
    """A click on a head sorts by it, another one turns it round, and readers are told."""
    page = watched.page
    head = "#left th:nth-child(2)"
    orders = []
    for state in ("descending", "ascending"):
        page.click(f"{head} button")
        assert state == page.get_attribute(head, "aria-sort")
        orders.append(
            page.eval_on_selector_all(
                "#left tbody tr td:nth-child(2)", "all => all.map(each => +each.firstChild.dataset.value)"
            )
        )

    assert orders[0] == sorted(orders[0], reverse=True)
    assert orders[1] == sorted(orders[1])
    assert "none" == page.get_attribute("#left th:last-child", "aria-sort")


def test_by_keyboard_alone(watched: Watched) -> None:
    """One gets past the header, changes the span, sorts, narrows and widens without a mouse."""
    page = watched.page
    page.keyboard.press("Tab")
    assert "skip" == page.evaluate("document.activeElement.id")
    page.keyboard.press("Enter")
    assert "console" == page.evaluate("document.activeElement.id")

    page.keyboard.press("Tab")
    assert "24h" == page.evaluate("document.activeElement.value")
    page.keyboard.press("ArrowRight")
    assert "7d" == page.evaluate("document.activeElement.value")
    assert "range=7d" in page.url

    page.focus("#left th:nth-child(3) button")
    page.keyboard.press("Enter")
    assert "descending" == page.get_attribute("#left th:nth-child(3)", "aria-sort")
    assert "sort errors" == page.evaluate("document.activeElement.dataset.focus")

    page.focus("#right tbody tr:first-child button")
    page.keyboard.press("Enter")
    page.focus("#filters .chip")
    page.keyboard.press("Space")
    page.wait_for_selector("#filters .chip", state="detached")

    page.focus("#exchanges tbody tr:first-child button")
    page.keyboard.press("Enter")
    assert page.is_visible("#details")
    page.keyboard.press("Escape")
    assert not page.is_visible("#details")

    page.focus("#spend .plot")
    page.keyboard.press("ArrowLeft")
    assert "total" not in page.inner_text("#spend .when")


def test_focus_can_be_seen(watched: Watched) -> None:
    """Whatever has the focus by the keyboard is outlined, and has a name for readers."""
    page = watched.page
    for _ in range(25):
        page.keyboard.press("Tab")
        seen, name = page.evaluate(
            """() => { const it = document.activeElement;
              const drawn = it.matches('input[type=radio]') ? it.nextElementSibling : it;
              return [getComputedStyle(drawn).outlineStyle !== 'none',
                      it.ariaLabel || it.textContent || it.closest('label')?.textContent]; }"""
        )
        assert (True, True) == (seen, bool(name))


def test_theme_is_kept(chromium: Browser, house: House) -> None:
    """The theme follows the system until one is chosen, which is kept."""
    page = opened(chromium, house, color_scheme="dark").page

    def theme() -> str:
        return str(page.evaluate("document.documentElement.dataset.theme"))

    assert "dark" == theme()
    page.emulate_media(color_scheme="light")
    until(lambda: theme() == "light")
    page.check("#theme input[value=dark]", force=True)
    assert "dark" == theme()
    page.reload()
    assert "dark" == theme()
    page.context.close()


@pytest.mark.parametrize("width", [320, 375, 768, 1040, 1440])
def test_fits_the_width(chromium: Browser, house: House, width: int) -> None:
    """The page is never wider than its window, down to a phone's."""
    page = opened(chromium, house, viewport={"width": width, "height": 800}).page

    assert width == page.evaluate("document.documentElement.scrollWidth")
    page.click("#spend-table")
    page.click("#exchanges tbody tr:first-child")
    assert width == page.evaluate("document.documentElement.scrollWidth")
    page.context.close()


# --- what goes wrong ---


def test_names_are_texts(chromium: Browser, tmp_path: Path) -> None:
    """Names of models, keys and tags that look like markup are shown as they are, and do nothing."""
    hostile = an_exchange(
        model=HOSTILE,
        request_model=HOSTILE,
        key=HOSTILE,
        operation="chat",
        tags={HOSTILE: HOSTILE},
        cost_usd=None,
    )
    with shown(tmp_path) as house:
        database = open_database(f"sqlite:///{tmp_path / 'ledger.db'}", create=True)
        with database.writing() as connection:
            add(connection, database.tables, [row(hostile)])
        database.close()

        watched = opened(chromium, house, f"#by={quote(f'tag.{HOSTILE}')}&measure=tokens")
        page = watched.page
        assert HOSTILE == page.inner_text("#left tbody .name")
        assert HOSTILE == page.inner_text("#right tbody .name")
        assert HOSTILE == page.inner_text("#spend .legend tbody .name")
        page.click("#exchanges tbody tr")
        assert HOSTILE in page.inner_text("#details")
        page.keyboard.press("Escape")
        page.click("#left tbody .name")
        page.wait_for_selector(".chip")
        assert (0, None) == (page.locator("img").count(), page.evaluate("window.hit ?? null"))
        assert [] == watched.strangers
        assert [] == watched.complaints
        page.context.close()


def test_no_answer(chromium: Browser, house: House) -> None:
    """Where the port does not answer, the page says since when, keeps what it has, and recovers."""
    page = opened(chromium, house).page
    before = figures(page, "#left table")
    page.context.set_offline(True)
    page.wait_for_selector("#notices .bad")
    assert re.match(r"▼ Not answering since \d\d:\d\d:\d\d", page.inner_text("#notices"))
    assert before == figures(page, "#left table")

    page.context.set_offline(False)
    page.wait_for_selector("#notices .bad", state="detached", timeout=30_000)
    assert page.inner_text("#pulse").startswith("live ")
    page.context.close()


def test_draining(watched: Watched, house: House) -> None:
    """That Meter is about to stop is said."""
    house.running.state.draining = True
    try:
        watched.page.wait_for_selector("#notices .warn:has-text('Draining')")
    finally:
        house.running.state.draining = False


def test_without_a_ledger(chromium: Browser, tmp_path: Path) -> None:
    """Without a ledger, what needs it says so in a sentence, and the rest goes on."""
    with shown(tmp_path, ledger=False, budgets=[]) as house:
        with traffic(house, pace=0.2):
            until(lambda: len(house.lines()) > 5)
        watched = Watched(page_of(chromium, "about:blank"), house.admin_url)
        page = watched.page
        page.goto(house.admin_url)
        for panel in ("#spend", "#left", "#right", "#waste"):
            page.wait_for_selector(f"{panel} .note:has-text('The ledger is off')")
            assert not page.is_visible(f"{panel} .body")
        page.wait_for_selector("#exchanges tbody tr")
        assert "" == page.get_attribute('#strip [data-figure="cost_today_usd"]', "data-value")
        assert "unknown" == page.inner_text('#strip [data-figure="cost_today_usd"]')
        assert "No budget is set" in page.inner_text("#budgets")
        page.context.close()


def test_nothing_yet(chromium: Browser, tmp_path: Path) -> None:
    """A page of a Meter that nobody has used says what to do."""
    with shown(tmp_path) as house:
        page = page_of(chromium, house.admin_url)
        page.wait_for_selector("#spend .empty:has-text('export OPENAI_BASE_URL=')")
        page.wait_for_selector("#exchanges .empty:has-text('No exchange yet')")
        page.wait_for_selector("#missing .empty:has-text('Nothing lacks a price')")
        page.context.close()


def test_a_wrong_address(chromium: Browser, house: House) -> None:
    """A view that cannot be had is answered with the port's own sentence, and can be left."""
    page = page_of(chromium, f"{house.admin_url}/#range=nonsense&measure=x&where=colour%3Dred")
    page.wait_for_selector("#left .note:has-text('Got the field')")
    page.click(".chip")
    page.wait_for_selector("#left tbody tr")
    page.context.close()


# --- signing in ---


def test_signing_in(chromium: Browser, tmp_path: Path) -> None:
    """With a token set, the page asks for it, says where it is wrong, keeps it, and forgets it."""
    with shown(tmp_path, admin={"token": TOKEN}) as house:
        page = page_of(chromium, "about:blank")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        came = page.goto(house.admin_url)
        assert came is not None
        assert 401 == came.status
        page.wait_for_selector("#sign-in")
        assert not page.is_visible("#console")
        assert "token" == page.evaluate("document.activeElement.id")

        page.fill("#token", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("#sign-in-error:has-text('not the one of this port')")
        page.fill("#token", TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_selector("#strip .tile")
        assert not page.is_visible("#sign-in")

        page.reload()
        page.wait_for_selector("#strip .tile")
        page.click("#sign-out")
        page.wait_for_selector("#sign-in")
        assert "{}" == page.evaluate("JSON.stringify(sessionStorage)")
        assert "" == page.input_value("#token")
        assert not any(TOKEN in url for url in asked)
        page.context.close()


def test_a_token_that_is_changed(chromium: Browser, tmp_path: Path) -> None:
    """A token that is no longer taken leads back to the form."""
    with shown(tmp_path, admin={"token": TOKEN}) as house:
        page = page_of(chromium, house.admin_url)
        page.fill("#token", TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_selector("#strip .tile")
        page.evaluate("sessionStorage.setItem('meter.token', 'old')")
        page.wait_for_selector("#sign-in-error:has-text('not the one of this port')")
        page.context.close()


# --- how it asks ---


def test_asks_one_thing_at_a_time(chromium: Browser, house: House) -> None:
    """A question is not asked again before it is answered."""
    page = page_of(chromium, "about:blank")
    waiting: deque[Route] = deque()
    page.route("**/api/live", lambda route: waiting.append(route))  # noqa: PLW0108 - it marks what it is given
    page.goto(house.admin_url)
    page.wait_for_selector("#left tbody tr")
    page.wait_for_timeout(4500)

    assert 1 == len(waiting)
    waiting[0].continue_()
    page.wait_for_selector("#strip .tile")
    page.wait_for_timeout(2500)
    assert 2 == len(waiting)
    page.context.close()


def test_rests_where_nobody_looks(chromium: Browser, house: House) -> None:
    """A page that is hidden asks nothing, and asks again as soon as it is seen."""
    page = opened(chromium, house).page
    asked: list[str] = []
    hide = (
        "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    page.evaluate(hide % "true")
    page.wait_for_timeout(500)
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(3000)
    assert [] == asked
    page.evaluate(hide % "false")
    page.wait_for_timeout(500)
    assert any(url.endswith("/api/live") for url in asked)
    page.context.close()


# --- modules by themselves ---


@pytest.fixture(scope="module")
def modules(chromium: Browser) -> Iterator[Page]:
    """Give a page that can import each module of the console."""
    page = chromium.new_context().new_page()

    def part(route: Route) -> None:
        name = route.request.url.rpartition("/")[2]
        body = (PARTS / name).read_text("utf-8") if name.endswith(".js") else ""
        route.fulfill(body=body, content_type="text/javascript" if body else "text/html")

    page.route("**/*", part)
    page.goto("http://parts.test/")
    yield page
    page.context.close()


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (None, "unknown"),
        ("0", "$0"),
        ("0.000000000001", "<$0.0001"),
        ("-0.00001", ">-$0.0001"),
        ("0.0123456", "$0.0123"),
        ("-0.5", "-$0.5000"),
        ("12.345", "$12.35"),
        ("1234567.891", "$1,234,568"),
    ],
)
def test_money(modules: Page, amount: str | None, shown: str) -> None:
    """Amounts are short, unknown ones are said to be, and less than the last digit is not nothing."""
    assert shown == modules.evaluate("async amount => (await import('/format.js')).money(amount)", amount)


def test_amounts_are_exact(modules: Page) -> None:
    """Amounts keep all their digits on the way from JSON into a sum."""
    amounts = ["0.1", "0.2", "8999999.999999999999", "0.000000000001", "-0.3", "7", "0.000127500000"]
    text = json.dumps({"rows": [{"cost_usd": each} for each in amounts]}).replace(
        '"cost_usd": "', '"cost_usd":'
    )
    text = re.sub(r'(cost_usd":[-\d.]+)"', r"\1", text)

    total = modules.evaluate(
        """async text => { const { parsed, pico, amount } = await import('/amounts.js');
           return amount(parsed(text).rows.reduce((sum, row) => sum + pico(row.cost_usd), 0n)); }""",
        text,
    )

    assert sum(map(Decimal, amounts)) == Decimal(total)


def test_texts_that_look_like_amounts(modules: Page) -> None:
    """A text that has JSON in it stays that text."""
    hostile = json.dumps({"model": '{"cost_usd":1}', "cost_usd": 1})

    assert {"model": '{"cost_usd":1}', "cost_usd": "1"} == modules.evaluate(
        "async text => (await import('/amounts.js')).parsed(text)", hostile.replace(": 1}", ":1}")
    )


# --- pictures ---


def test_pictures(chromium: Browser, tmp_path: Path) -> None:
    """The pictures for the documentation can be taken, and are not large."""
    for path in take_pictures(chromium, tmp_path, days=3, seconds=3):
        assert 30_000 < path.stat().st_size < 350_000
