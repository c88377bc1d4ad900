"""Price files: what they mean, and what is said of wrong ones."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meter.exchange import KINDS, Exchange, Outcome, PriceStatus, UsageSource
from meter.price import Book, Price
from meter.prices.file import FileSource, PriceFileError, of_text

if TYPE_CHECKING:
    from collections.abc import Callable

    Write = Callable[[str], FileSource]

WRONG = Path(__file__).parent / "wrong"
EXAMPLE = Path(__file__).parents[2] / "examples" / "prices.yaml"
TODAY = datetime(2026, 11, 21, 12, tzinfo=UTC)


def load(path: str | Path) -> FileSource:
    """Load a price file."""
    return of_text(str(path), Path(path).read_bytes())


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Give a function that loads a file with this text."""

    def written(text: str) -> FileSource:
        path = tmp_path / "prices.yaml"
        path.write_text(text)
        return load(path)

    return written


def find(
    source: FileSource,
    model: str,
    upstream: str = "u",
    provider: str | None = None,
    when: datetime = TODAY,
) -> Price | None:
    """Ask for a price, in a place that matters only where it is said."""
    return source.find(model, upstream=upstream, provider=provider, when=when)


def origin(source: FileSource, model: str, upstream: str = "u", provider: str | None = None) -> str | None:
    """Tell which entry won by its `source`."""
    price = find(source, model, upstream, provider)
    return None if price is None else price.origin


@pytest.mark.parametrize("wrong", sorted(path.stem for path in WRONG.glob("*.yaml")))
def test_wrong_files(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong file is refused with exactly the message that lies beside it."""
    monkeypatch.chdir(WRONG)
    with pytest.raises(PriceFileError) as caught:
        load(f"{wrong}.yaml")

    assert Path(f"{wrong}.txt").read_text() == f"{caught.value}\n"


def test_problems_are_told_one_by_one() -> None:
    """An error holds each problem by itself, and its text is all of them."""
    with pytest.raises(PriceFileError) as caught:
        load(WRONG / "everything_at_once.yaml")

    assert len(caught.value.problems) == 6
    assert "\n".join(caught.value.problems) == str(caught.value)


def test_a_long_text_is_cut_in_a_message(write: Write) -> None:
    """A message repeats no more than 60 characters of what came."""
    with pytest.raises(PriceFileError, match=r"got 'x{60}\.\.\.', expected an amount"):
        write(f"prices: [{{model: m, per_request: {'x' * 1000}}}]")


def test_the_example() -> None:
    """The example file prices its four models at its one upstream, to the cent."""
    source = load(EXAMPLE)
    usage = {"input": 1_000_000, "output": 1_000_000}
    costs = {}
    for model in sorted(source.models()):
        price = find(source, model, "apiyi")
        assert price is not None
        bill = price.bill(usage)
        costs[model] = None if bill is None else bill.cost_usd
        assert find(source, model, "elsewhere") is None

    assert {
        "claude-3-5-sonnet-20241022": Decimal(18),
        "gpt-4o": Decimal(20),
        "gpt-4o-mini": Decimal("0.75"),
        "qwen-turbo": Decimal("0.9"),
    } == costs


def test_the_examples_comments_are_right(write: Write) -> None:
    """What the example file shows in comments is a right entry, once the signs are taken away."""
    shown = EXAMPLE.read_text().partition("take the signs away to use it.\n")[2]
    source = write("prices:\n" + re.sub("^  # ", "  ", shown, flags=re.MULTILINE))
    price = find(source, "my-model-7", provider="my-provider", when=datetime(2026, 6, 1, tzinfo=UTC))

    assert price is not None
    assert {"flex", "priority"} == set(price.service_tiers)
    assert Decimal("0.001") == price.per_request
    assert price.origin == "https://example.com/pricing"


def test_a_revision_is_of_the_bytes(write: Write) -> None:
    """A revision is the beginning of the SHA-256 of the file, and the name is its path."""
    source = write("prices: []\n")

    assert source.revision == "sha256:d0dde8c8188d"
    assert source.name.endswith("/prices.yaml")
    assert (frozenset(), []) == (source.models(), list(source.listing(TODAY)))


def test_a_price_says_where_it_is_from(write: Write) -> None:
    """A file's price is exact, and tells the file, its revision and the entry's own source."""
    source = write("prices: [{model: m, per_request: 1, source: a bill}]")
    price = find(source, "m")

    assert price is not None
    assert (PriceStatus.EXACT, source.name, source.revision, "a bill", "m") == (
        price.status,
        price.source,
        price.revision,
        price.origin,
        price.model,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.15", "0.15"),
        ("1e-7", "1e-7"),
        ("1.5E+2", "150"),
        ("3", "3"),
        ("0", "0"),
        (".5", "0.5"),
        ("5.", "5"),
        ("'0.30'", "0.30"),
        ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
    ],
)
def test_amounts_are_read_from_the_text(text: str, expected: str, write: Write) -> None:
    """An amount is the very number that is written, and never went through a float."""
    price = find(write(f"prices: [{{model: m, per_million_tokens: {{input: {text}}}}}]"), "m")

    assert price is not None
    assert Decimal(expected) == price.rates.amounts["input"]


@pytest.mark.parametrize(
    "text", ["1:30", "0x10", "1_000", "+1", "-0.0", "1e9999", "true", "~", "[]", "\N{FULLWIDTH DIGIT ONE}"]
)
def test_other_numbers_are_refused(text: str, write: Write) -> None:
    """What YAML would read as some other number, or as none, is no amount."""
    with pytest.raises(PriceFileError, match="expected an amount of 0 or more"):
        write(f"prices: [{{model: m, per_million_tokens: {{input: {text}}}}}]")


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(KINDS), st.decimals(0, 10**6, allow_nan=False, places=9), min_size=1))
def test_any_amount_survives(table: dict[str, Decimal]) -> None:
    """Each kind's amount comes back as it was written."""
    written = ", ".join(f"{kind}: {amount}" for kind, amount in table.items())
    with TemporaryDirectory() as folder:
        path = Path(folder, "prices.yaml")
        path.write_text(f"prices: [{{model: m, per_million_tokens: {{{written}}}}}]")
        price = find(load(path), "m")

    assert price is not None
    assert table == price.rates.amounts


FULL = """
currency: CNY
usd_rate: 0.125
prices:
  - model: m
    per_million_tokens: {input: 8, output: 16}
    tiers:
      - {above_input_tokens: 200, per_million_tokens: {input: 16, output: 32}}
      - {from_input_tokens: 1_000, per_million_tokens: {input: 24}}
    service_tiers:
      Flex:
        per_million_tokens: {input: 4}
        tiers: [{from_input_tokens: 100, per_million_tokens: {input: 6}}]
    per_request: 0.8
    per_second: 0.4
    per_image: 0.16
    per_search: 0.24
    per_character: 0.00008
"""


@pytest.mark.parametrize(
    ("usage", "units", "tier", "expected"),
    [
        ({"input": 200, "output": 10}, {}, None, "0.10022"),
        ({"input": 201}, {}, None, "0.100402"),
        ({"input": 999}, {}, None, "0.101998"),
        ({"input": 1000}, {}, None, "0.103"),
        ({"input": 99}, {}, "flex", "0.1000495"),
        ({"input": 100}, {}, "flex", "0.100075"),
        ({}, {"audio_seconds": 2}, None, "0.2"),
        ({}, {"images": 2}, None, "0.14"),
        ({}, {"searches": 2}, None, "0.16"),
        ({}, {"characters": 2}, None, "0.10002"),
    ],
)
def test_every_part_of_an_entry_counts(
    usage: dict[str, int],
    units: dict[str, float],
    tier: str | None,
    expected: str,
    write: Write,
) -> None:
    """Each amount is turned into USD, and each tier, service tier and unit is charged as written."""
    price = find(write(FULL), "m")
    assert price is not None
    bill = price.bill(usage, units, tier)

    assert bill is not None
    assert Decimal(expected) == bill.cost_usd


def test_the_rate_of_usd_may_be_said(write: Write) -> None:
    """A file in USD may say that one USD is one USD."""
    price = find(write("{currency: USD, usd_rate: 1.0, prices: [{model: m, per_request: 2}]}"), "m")

    assert price is not None
    assert Decimal(2) == price.per_request


PLACES = """
prices:
  - {model: "*", per_request: 1, source: all}
  - {model: gpt-*, per_request: 1, source: a pattern}
  - {model: gpt-*, per_request: 1, source: the same again}
  - {model: 'gpt-4?', per_request: 1, source: more literal}
  - {model: "*", upstream: u2, per_request: 1, source: all of an upstream}
  - {model: gpt-4o, per_request: 1, source: everywhere}
  - {model: gpt-4o, provider: p, per_request: 1, source: of the provider}
  - {model: gpt-4o, upstream: u2, per_request: 1, source: of the upstream}
  - {model: gpt-4o, upstream: u3, provider: p3, per_request: 1, source: of both}
  - {model: "a[bc].d", per_request: 1, source: brackets}
  - {model: "a[!x]*", per_request: 1, source: brackets in a pattern}
"""


@pytest.mark.parametrize(
    ("model", "upstream", "provider", "expected"),
    [
        ("gpt-4o", "u", None, "everywhere"),
        ("gpt-4o", "u", "p", "of the provider"),
        ("gpt-4o", "u2", "p", "of the upstream"),
        ("gpt-4o", "u3", "p3", "of both"),
        ("gpt-4o", "u3", "p4", "everywhere"),
        ("gpt-4x", "u", None, "more literal"),
        ("gpt-4", "u", None, "a pattern"),
        ("gpt-4xy", "u", None, "a pattern"),
        ("GPT-4o", "u", None, "all"),
        ("GPT-4o", "u2", None, "all of an upstream"),
        ("", "u", None, "all"),
        ("line\nbreak", "u", None, "all"),
        ("a[bc].d", "u", None, "brackets"),
        ("abxd", "u", None, "all"),
        ("a[!x]y", "u", None, "brackets in a pattern"),
        ("azy", "u", None, "all"),
    ],
)
def test_the_most_exact_match_wins(
    model: str, upstream: str, provider: str | None, expected: str, write: Write
) -> None:
    """Exact names win over patterns, then more literal characters, the closer place, the earlier entry."""
    assert expected == origin(write(PLACES), model, upstream, provider)


def test_nothing_fits(write: Write) -> None:
    """A model that no entry names has no price."""
    assert find(write("prices: [{model: m*, per_request: 1}]"), "n") is None


def test_only_written_names_are_known(write: Write) -> None:
    """A name is known where an entry for that place writes it out, and never for fitting a pattern."""
    source = write(PLACES)
    scoped = write("prices: [{model: m, upstream: u, per_request: 1}]")

    assert frozenset({"gpt-4o", "a[bc].d"}) == source.models()
    assert source.knows("gpt-4o", upstream="any", provider=None)
    assert not source.knows("gpt-4x", upstream="u2", provider=None)
    assert not source.knows("gpt-*", upstream="u", provider=None)
    assert scoped.knows("m", upstream="u", provider=None)
    assert not scoped.knows("m", upstream="v", provider=None)


DATED = """
prices:
  - {model: m, per_request: 1, valid_until: 2026-06-30, source: first half}
  - {model: m, per_request: 2, valid_from: 2026-07-01, valid_until: 2026-12-31, source: second half}
  - {model: m*, per_request: 3, source: ever}
"""


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("2020-01-01T00:00", "first half"),
        ("2026-06-30T23:59", "first half"),
        ("2026-07-01T00:00", "second half"),
        ("2026-12-31T23:59", "second half"),
        ("2027-01-01T00:00", "ever"),
    ],
)
def test_dates(when: str, expected: str, write: Write) -> None:
    """A price holds from the start of its first day through the end of its last, in UTC."""
    price = find(write(DATED), "m", when=datetime.fromisoformat(f"{when}+00:00"))

    assert price is not None
    assert expected == price.origin


def test_an_alias_repeats_a_part(write: Write) -> None:
    """A part of a file can be written once and used twice."""
    source = write("""
prices:
  - {model: a, per_million_tokens: &same {input: 1}}
  - {model: b, per_million_tokens: *same}
""")
    price = find(source, "b")

    assert price is not None
    assert {"input": Decimal(1)} == price.rates.amounts


def test_a_hostile_name_is_compared_in_no_time(write: Write) -> None:
    """A pattern of many stars does not try every way to split a name that it does not fit."""
    source = write(f"prices: [{{model: '{'*a' * 12}*b', per_request: 1}}]")

    assert find(source, "a" * 512) is None


def test_hours_of_the_day(write: Write) -> None:
    """An entry for certain hours counts in them, before one as exact for all day, and only then."""
    source = write(
        """prices:
  - {model: m, per_request: 1, source: day}
  - {model: m, per_request: 1, hours: 16:30-00:30, source: night}
  - {model: m, per_request: 1, upstream: mine, source: mine}
""",
    )

    def won(hour: int, minute: int, upstream: str = "u") -> str | None:
        price = find(source, "m", upstream, when=TODAY.replace(hour=hour, minute=minute))
        return None if price is None else price.origin

    assert ["day", "night", "night", "night", "day"] == [
        won(16, 29),
        won(16, 30),
        won(23, 59),
        won(0, 29),
        won(0, 30),
    ]
    assert "mine" == won(20, 0, "mine")


def test_hours_reach_the_book(write: Write) -> None:
    """What the book remembers of a model is looked up anew when the hours change."""
    book = Book(
        [write("prices: [{model: m, per_request: 2}, {model: m, per_request: 1, hours: 16:30-00:30}]")]
    )
    costs = []
    for minute in (0, 29, 30, 59):
        exchange = Exchange(
            id="0",
            started_at=TODAY.replace(hour=16, minute=minute).timestamp(),
            method="POST",
            path="/v1/chat/completions",
            outcome=Outcome.OK,
            request_model="m",
            usage={"input": 0},
            usage_source=UsageSource.REPORTED,
        )
        costs.append(book.price(exchange).cost_usd)

    assert [2, 2, 1, 1] == costs


@pytest.mark.parametrize(
    ("written", "provider", "fits"),
    [
        ("aws.bedrock", "aws.bedrock", True),
        ("aws", "aws.bedrock", True),
        ("aws.bedrock", "aws", True),
        ("google", "gcp.vertex_ai", True),
        ("gcp.gemini", "gcp.vertex_ai", False),
        ("my-provider", "my-provider", True),
        ("openai", None, False),
    ],
)
def test_a_provider_under_its_names(write: Write, written: str, provider: str | None, fits: bool) -> None:
    """An entry's provider may be called by our name or by the catalogue's."""
    source = write(f"prices: [{{model: m, provider: {written}, per_request: 1}}]")

    assert fits is (find(source, "m", provider=provider) is not None)


def test_the_listing(write: Write) -> None:
    """Every entry is listed with its place and its time, past ones too."""
    source = write(
        """prices:
  - {model: m, per_request: 1, upstream: u, provider: p, valid_from: 2026-01-01, valid_until: 2026-01-31}
  - {model: "m*", per_request: 1, hours: 16:30-24:00}
""",
    )

    assert [
        ("m", "u", "p", date(2026, 1, 1), date(2026, 1, 31), None),
        ("m*", None, None, None, None, "16:30-00:00"),
    ] == [(row.price.model, *row[1:]) for row in source.listing(TODAY)]


def test_prices_come_in_the_order_of_preference(write: Write) -> None:
    """All prices of a file can be listed, the most exact first."""
    listed = [row.price.origin for row in write(PLACES).listing(TODAY)]

    ranked = ["of both", "of the upstream", "of the provider", "everywhere", "more literal", "a pattern"]

    assert ranked == [name for name in listed if name in ranked]
    assert listed[-1] == "all"


def test_the_book_and_a_file(write: Write) -> None:
    """A file's price settles an exchange, and the place it was asked from counts."""
    book = Book([write(PLACES), load(EXAMPLE)])
    exchange = Exchange(
        id="0",
        started_at=TODAY.timestamp(),
        upstream="u2",
        method="POST",
        path="/v1/chat/completions",
        outcome=Outcome.OK,
        request_model="gpt-4o",
        response_model="gpt-4o-2024-08-06",
        usage={"input": 0},
        usage_source=UsageSource.REPORTED,
    )
    priced = book.price(exchange)

    assert (Decimal(1), "gpt-4o-2024-08-06") == (priced.cost_usd, priced.model)
    assert {"gpt-4o", "gpt-4o-mini", "qwen-turbo"} < book.models()
