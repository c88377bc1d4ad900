"""The rules: what Prometheus says of them, that they ask for what there is, that each alert has its page."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import promql_parser
import pytest
import yaml
from helm.kubernetes import check as check_by_schema
from prometheus import VERSIONS, program

from dashboards.source import prometheusrule
from meter import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
RULES = sorted((ROOT / "dashboards" / "rules").glob("*.yaml"))
CASES = sorted((ROOT / "tests" / "rules").glob("*.yaml"))
PAGES = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
RECORDED = re.compile(r"\b\w+:meter_\w+:\w+\b")
SECTIONS = ["Why it matters", "See more", "What to do", "When it is a false alarm"]


def rules_of(file: Path) -> list[dict[str, Any]]:
    """Return all rules of a file."""
    return [rule for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


ALL = {file.name: rules_of(file) for file in RULES}
ALERTS = {rule["alert"]: rule for rules in ALL.values() for rule in rules if "alert" in rule}
RECORDS = {rule["record"] for rules in ALL.values() for rule in rules if "record" in rule}
EXPRESSIONS = [rule["expr"] for rules in ALL.values() for rule in rules]


def blocks(page: Path, language: str) -> Iterator[str]:
    """Yield the lines of a page's code in a language, less comments."""
    for code in re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        yield from (line for line in code.splitlines() if line and not line.startswith("#"))


QUERIES = sorted({line for page in PAGES for line in blocks(page, "promql")})
COMMANDS = sorted({line for page in PAGES for line in blocks(page, "sh")})


def metrics_in(expression: str) -> set[str]:
    """Return the names of Meter's metrics in an expression, recorded ones left out."""
    names = re.findall(r"\bmeter_\w+", RECORDED.sub("", expression))
    return {re.sub("_(bucket|count|sum)$", "", name) for name in names}


# --- What Prometheus says


def promtool(version: str, *argv: str) -> tuple[int, str]:
    """Return the exit code and what was said."""
    command = [program("promtool", version), *argv]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)  # noqa: S603 - our own arguments
    return done.returncode, (done.stdout + done.stderr).decode()


@pytest.mark.real
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("rules", RULES, ids=lambda file: file.name)
def test_check(rules: Path, version: str) -> None:
    """Prometheus takes the rules, whichever version."""
    code, said = promtool(version, "check", "rules", str(rules))

    assert (0, "") == (code, "" if code == 0 else said)


@pytest.mark.real
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("cases", CASES, ids=lambda file: file.name)
def test_cases(cases: Path, version: str) -> None:
    """Each alert fires where it should, says what it should, and stays quiet elsewhere."""
    code, said = promtool(version, "test", "rules", str(cases))

    assert (0, "") == (code, "" if code == 0 else said)


@pytest.mark.real
def test_versions() -> None:
    """The two versions of Prometheus are two major versions."""
    said = " ".join(promtool(version, "--version")[1] for version in VERSIONS)

    assert ["2", "3"] == re.findall(r"version (\d+)\.", said)


# --- The files by themselves


def test_every_alert_has_its_cases() -> None:
    """Every alert has a case in which it fires at one moment, and does not at another."""
    both: set[str] = set()
    for case in (case for file in CASES for case in yaml.safe_load(file.read_text())["tests"]):
        checks = case.get("alert_rule_test", [])
        firing = {check["alertname"] for check in checks if check["exp_alerts"]}
        both |= firing & {check["alertname"] for check in checks if not check["exp_alerts"]}

    assert set(ALERTS) == both


@pytest.mark.parametrize("expression", [*EXPRESSIONS, *QUERIES])
def test_expressions(expression: str) -> None:
    """Every expression of a rule or a page is PromQL and asks for metrics that there are."""
    promql_parser.parse(expression)
    known = set(re.findall(r"`(meter_\w+)`", (ROOT / "README.md").read_text()))

    assert set() == metrics_in(expression) - known
    assert set() == set(RECORDED.findall(expression)) - RECORDS


@pytest.mark.parametrize("rules", RULES, ids=lambda file: file.name)
def test_files_stand_alone(rules: Path) -> None:
    """What a rule takes from another rule is recorded in its file, and what is recorded is taken."""
    recorded = {rule["record"] for rule in ALL[rules.name] if "record" in rule}

    assert recorded == {name for rule in ALL[rules.name] for name in RECORDED.findall(rule["expr"])}


def test_words() -> None:
    """Every alert says how urgent it is, what is wrong in short and at length, and which page helps."""
    assert all(name.startswith("Meter") for name in ALERTS)
    assert {"critical", "warning"} == {alert["labels"]["severity"] for alert in ALERTS.values()}
    assert [
        ({"severity"}, {"summary", "description", "runbook"}, f"docs/runbooks/{name}.md") for name in ALERTS
    ] == [
        (set(alert["labels"]), set(alert["annotations"]), alert["annotations"]["runbook"])
        for alert in ALERTS.values()
    ]


# --- The pages


def test_every_alert_has_a_page() -> None:
    """Every alert has its page, and every page its alert."""
    assert sorted(ALERTS) == [page.stem for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page(page: Path) -> None:
    """A page has its alert's name, the sections of all, queries, commands, and links that lead somewhere."""
    text = page.read_text()

    assert text.startswith(f"# {page.stem}\n\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    assert list(blocks(page, "promql"))
    assert list(blocks(page, "sh"))
    for link in re.findall(r"\]\(([^)\s#]+)", text):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("meter ")])
def test_commands(command: str) -> None:
    """Every command of Meter's on a page is one, with options that it has."""
    assert callable(cli._parser().parse_args(command.split()[1:]).run)


def thresholds(alert: str) -> set[str]:
    """Return what an alert compares with, and what the recorded rules that it stands on compare with."""
    expressions: set[str] = {ALERTS[alert]["expr"]}
    asked: set[str] = set()
    while more := set(RECORDED.findall(" ".join(expressions))) - asked:
        asked |= more
        expressions |= {
            rule["expr"] for rules in ALL.values() for rule in rules if rule.get("record") in more
        }
    return set(re.findall(r"(?:==|>=|<=|>|<) -?[\d.]+", " ".join(expressions)))


def test_page_of_alerts() -> None:
    """The table of alerts says of each its severity, how long it waits and its thresholds."""
    table = re.findall(
        r"^\| \[(Meter\w+)\]\((.*?)\) \| (.*)$", (ROOT / "docs" / "alerts.md").read_text(), re.MULTILINE
    )
    told = [(name, link, *rest.removesuffix("|").split(" | ")) for name, link, rest in table]

    assert set(ALERTS) == {row[0] for row in told}
    for name, link, severity, wait, _, compared in told:
        alert = ALERTS[name]
        assert (f"runbooks/{name}.md", alert["labels"]["severity"], alert.get("for", "-")) == (
            link,
            severity,
            wait,
        )
        assert (name, thresholds(name)) == (name, set(re.findall(r"`(.*?)`", compared)))


def test_page_of_objectives() -> None:
    """The objectives that the page tells are those of the files."""
    service = (ROOT / "dashboards" / "rules" / "service.yaml").read_text()
    page = (ROOT / "docs" / "alerts.md").read_text()

    assert re.findall(r"^ +/ ([\d.]+)$", service, re.MULTILINE) == re.findall(
        r"% of .*? \| ([\d.]+) \|", page
    )
    assert re.findall(r'le="([\d.]+)"', service) == re.findall(r"later than ([\d.]+) s", page)


# --- For the Prometheus operator


def test_prometheusrule() -> None:
    """The object for the operator is as built from the files."""
    assert prometheusrule.built() == prometheusrule.FILE.read_text()
    told = yaml.safe_load(prometheusrule.FILE.read_text())["spec"]["groups"]
    assert [group for file in RULES for group in yaml.safe_load(file.read_text())["groups"]] == told


def test_prometheusrule_that_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--check` says where the object is not as built, and writing it makes it so."""
    monkeypatch.setattr(prometheusrule, "FILE", tmp_path / "rule.yaml")

    assert 1 == prometheusrule.main(["--check"])
    assert "python -m dashboards.source.prometheusrule" in capsys.readouterr().out
    assert 0 == prometheusrule.main([])
    assert 0 == prometheusrule.main(["--check"])


@pytest.mark.real
def test_schema() -> None:
    """The operator's own schema takes the object."""
    check_by_schema(yaml.safe_load(prometheusrule.FILE.read_text()), "1.37")
