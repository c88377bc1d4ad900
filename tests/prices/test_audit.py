"""What is told of a price file that can be used, but hardly be believed."""

from __future__ import annotations

from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meter.prices.audit import Finding, _meet, findings
from meter.prices.files import PriceFileError, load

HERE = Path(__file__).parent
SUSPICIOUS = HERE / "suspicious"
EXAMPLE = HERE.parents[1] / "examples" / "prices.yaml"
WHEN = datetime(2026, 11, 21, 12, tzinfo=UTC)


def told(path: Path) -> str:
    """Write what is found in a file, a line for each."""
    found = findings(path, WHEN)
    return "".join(f"{path.name}:{line}: {grave}: {where}: {what}\n" for line, where, what, grave in found)


@pytest.mark.parametrize("suspicious", sorted(path.stem for path in SUSPICIOUS.glob("*.yaml")))
def test_suspicious_files(suspicious: str) -> None:
    """Of a file that can be used, exactly that is told which lies beside it."""
    path = SUSPICIOUS / f"{suspicious}.yaml"

    assert list(load(path).listing(WHEN))
    assert path.with_suffix(".txt").read_text() == told(path)


def test_the_example_is_beyond_suspicion() -> None:
    """Nothing is found in the example file."""
    assert [] == findings(EXAMPLE, WHEN)


def test_a_file_that_cannot_be_used() -> None:
    """A wrong file is refused as it is when it is loaded."""
    with pytest.raises(PriceFileError, match=r"amounts\.yaml:"):
        findings(HERE / "wrong" / "amounts.yaml")


def test_amounts_are_judged_in_usd(tmp_path: Path) -> None:
    """An amount in another currency is converted before it is held against anything."""
    path = tmp_path / "prices.yaml"
    entry = "prices: [{model: gpt-4o, per_million_tokens: {input: 5000, output: 20000}}]"
    path.write_text(f"currency: JPY\nusd_rate: 0.0005\n{entry}\n")
    assert "" == told(path)

    path.write_text(entry)
    assert ["error", "error"] == [finding.severity for finding in findings(path)]


NEVER = "never counts: the entry on line 2 fits all that it does, and comes first"
BOTH = "fits names that the entry on line 2 fits as well as it, and which comes first"


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        ("model: a", "model: a", NEVER),
        ("model: a", "model: b", None),
        ("model: a", "model: a, upstream: u", None),
        ("model: a, provider: p", "model: a, provider: p", NEVER),
        ("model: a, provider: p", "model: a, provider: q", None),
        ("model: a, valid_until: 2027-01-31", "model: a, valid_from: 2027-02-01", None),
        ("model: a, valid_until: 2027-01-31", "model: a, valid_from: 2027-01-31", BOTH),
        ("model: a, valid_until: 2027-01-31", "model: a, valid_until: 2027-01-30", NEVER),
        ('model: a, hours: "16:30-00:30"', 'model: a, hours: "00:30-16:30"', None),
        ('model: a, hours: "16:30-00:30"', 'model: a, hours: "00:15-01:00"', BOTH),
        ('model: a, hours: "16:30-00:30"', 'model: a, hours: "17:00-00:00"', NEVER),
        ('model: a, hours: "16:30-00:30"', "model: a", None),
        ('model: "a*"', 'model: "*a"', BOTH),
        ('model: "a*"', 'model: "a?"', NEVER),
        ('model: "a?"', 'model: "a*"', BOTH),
        ('model: "a*"', 'model: "b*"', None),
        ('model: "a*"', 'model: "ab*"', None),
        ('model: "*"', 'model: "?*"', NEVER),
    ],
)
def test_entries_that_fit_the_same(tmp_path: Path, first: str, second: str, what: str | None) -> None:
    """Where only the order decides between two entries for one name, place and time, the later is told."""
    path = tmp_path / "prices.yaml"
    path.write_text(f"prices:\n  - {{per_request: 1, {first}}}\n  - {{per_request: 1, {second}}}\n")

    assert ("" if what is None else f"prices.yaml:3: warning: prices[1].model: {what}\n") == told(path)


NAMES = ["".join(letters) for length in range(6) for letters in product("ab", repeat=length)]
PATTERNS = st.text("ab*?", max_size=4)


@settings(max_examples=200)
@given(PATTERNS, PATTERNS)
def test_patterns_meet_where_a_name_fits_both(first: str, second: str) -> None:
    """Two patterns are said to meet exactly where there is a name that fits both."""
    shared = any(fnmatchcase(name, first) and fnmatchcase(name, second) for name in NAMES)

    # Names of these patterns are at most eight letters; what fits both may be longer than those tried.
    assert shared <= _meet(first, second)
    if len(first) + len(second) <= 5:
        assert shared == _meet(first, second)


def test_lists_that_others_publish() -> None:
    """Of a list, it is told how many of its entries make no sense; the catalogue's own is taken as it is."""
    assert [Finding(1, "", "7 entries make no sense, and are left out", "warning")] == findings(
        HERE / "lists" / "litellm.json"
    )
    assert [] == findings(HERE / "lists" / "catalogue.json")
