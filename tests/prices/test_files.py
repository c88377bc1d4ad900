"""Files of prices of whatever kind."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meter.exchange import PriceStatus
from meter.prices.catalogue import CatalogueSource
from meter.prices.file import FileSource
from meter.prices.files import PriceFileError, load, published
from meter.prices.table import TableSource

LISTS = Path(__file__).parent / "lists"
EXAMPLE = Path(__file__).parents[2] / "examples" / "prices.yaml"
WHEN = datetime(2026, 11, 9, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (EXAMPLE, FileSource),
        (LISTS / "litellm.json", TableSource),
        (LISTS / "models_dev.json", TableSource),
        (LISTS / "catalogue.json", CatalogueSource),
    ],
)
def test_a_files_kind_is_told_by_its_contents(path: Path, kind: type) -> None:
    """Each kind of file is known by what is in it, and goes by its path and the hash of its bytes."""
    source = load(path)

    assert kind is type(source)
    assert str(path) == source.name
    assert source.revision.startswith("sha256:")
    assert 19 == len(source.revision)


def test_a_price_file_may_be_json(tmp_path: Path) -> None:
    """A price file that is written as JSON is one all the same."""
    path = tmp_path / "prices.json"
    path.write_text('{"prices": [{"model": "m", "per_million_tokens": {"input": 0.1}}]}')

    assert frozenset("m") == load(path).models()


def test_a_catalogue_as_a_file() -> None:
    """The catalogue's own format gives exact prices to its sellers, with tiers and times of the day."""
    source = load(LISTS / "catalogue.json")
    noon = source.find("deepseek-night", upstream="u", provider="deepseek", when=WHEN)
    night = source.find("deepseek-night", upstream="u", provider="deepseek", when=WHEN.replace(hour=20))
    price = source.find("gpt-9-2026-01-01", upstream="u", provider="openai", when=WHEN)

    assert noon is not None
    assert night is not None
    assert price is not None
    assert (Decimal("0.3"), Decimal("0.15")) == (noon.rates.amounts["input"], night.rates.amounts["input"])
    assert (PriceStatus.EXACT, Decimal("2.5"), Decimal(5)) == (
        price.status,
        price.rates.amounts["input"],
        price.service_tiers["priority"].amounts["input"],
    )
    assert [(272_000, Decimal(5))] == [(tier.threshold, tier.amounts["input"]) for tier in price.rates.tiers]


@pytest.mark.parametrize(
    "model",
    [
        {"prices": {"input_mtok": "much"}},
        {"prices": {"input_mtok": -1}},
        {"prices": {"input_mtok": "NaN"}},
        {"prices": {"input_mtok": {"base": 1, "tiers": [{"start": 1, "price": -1}]}}},
        {"prices": []},
        {"prices": [{"prices": {"input_mtok": -1}}]},
        {"price_variants": [{"when": {"speed": "fast"}, "prices": {"input_mtok": -1}}]},
        {"match": {}},
        {"match": {"regex": "("}},
        {"match": None},
        {"id": None},
    ],
)
def test_a_catalogue_that_cannot_be_read(model: dict[str, object], tmp_path: Path) -> None:
    """A catalogue with anything that no look-up could take is refused as a whole, in one sentence."""
    whole = {"id": "m", "match": {"equals": "m"}, "prices": {"input_mtok": 1}, **model}
    provider = {"id": "openai", "name": "OpenAI", "api_pattern": "openai", "models": [whole]}
    path = tmp_path / "catalogue.json"
    path.write_text(json.dumps([provider]))
    with pytest.raises(PriceFileError) as caught:
        load(path)

    assert f"{path}: is no catalogue that this version of genai-prices can read" == str(caught.value)


def test_a_file_that_nests_without_end(tmp_path: Path) -> None:
    """A file of nothing but brackets is refused in a sentence."""
    path = tmp_path / "prices.yaml"
    path.write_text("[" * 5000)
    with pytest.raises(PriceFileError) as caught:
        load(path)

    assert f"{path}: nested more than 16 deep, expected a price file" == str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A file that cannot be read is refused by name and reason."""
    with pytest.raises(PriceFileError, match=r"none\.json: cannot be read: No such file or directory"):
        load(tmp_path / "none.json")


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"{}", b"[1]", b'{"a": NaN}', b"[" * 100_000, b"<html>", b'{"prices": []}']
)
def test_what_is_no_list(raw: bytes) -> None:
    """What is none of the lists is none, and not an error."""
    assert published(raw) is None


def test_a_list_without_a_name_goes_by_its_publisher() -> None:
    """A list that is not named as a file is called by who publishes it."""
    names = [
        published((LISTS / f"{name}.json").read_bytes()) for name in ("litellm", "models_dev", "catalogue")
    ]

    assert ["litellm", "models.dev", "genai-prices"] == [
        source.name for source in names if source is not None
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(
    [
        "input_cost_per_token",
        "output_cost_per_token_above_1k_tokens_flex",
        "tiered_pricing",
        "off_peak_pricing",
        "range",
        "search_context_cost_per_query",
        "mode",
        "litellm_provider",
        "cost",
        "models",
        "experimental",
        "windows",
        "hours_utc",
    ]
)
ENTRIES = st.dictionaries(NAMES, JSON | st.dictionaries(NAMES, JSON, max_size=4), max_size=6)


@settings(max_examples=150)
@given(st.dictionaries(st.text(max_size=5), ENTRIES, max_size=3))
def test_no_list_is_a_surprise(data: object) -> None:
    """Whatever stands where a list has its prices is read or left out, and never raises."""
    source = published(json.dumps(data).encode())

    assert source is None or all(row.price.model is not None for row in source.listing(WHEN))
