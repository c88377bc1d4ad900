"""The alerting rules: what Prometheus says of them, and that they ask for metrics that there are."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from tools import needed

ROOT = Path(__file__).parent.parent
RULES = sorted((ROOT / "dashboards" / "rules").glob("*.yaml"))
INSTALL = "apt-get install -y --no-install-recommends prometheus"


def promtool(*argv: str) -> tuple[int, str]:
    """Return the exit code and what was said."""
    program = needed("promtool", INSTALL)
    done = subprocess.run([program, *argv], capture_output=True, check=False, timeout=60)  # noqa: S603
    return done.returncode, (done.stdout + done.stderr).decode()


@pytest.mark.real
@pytest.mark.parametrize("rules", RULES, ids=lambda file: file.name)
def test_check(rules: Path) -> None:
    """Prometheus takes the rules."""
    code, said = promtool("check", "rules", str(rules))

    assert (0, "") == (code, "" if code == 0 else said)


@pytest.mark.real
@pytest.mark.parametrize("rules", RULES, ids=lambda file: file.name)
def test_cases(rules: Path) -> None:
    """Each rule fires where it should, says what it should, and stays quiet elsewhere."""
    code, said = promtool("test", "rules", str(ROOT / "tests" / "rules" / rules.name))

    assert (0, "") == (code, "" if code == 0 else said)


@pytest.mark.parametrize("rules", RULES, ids=lambda file: file.name)
def test_every_rule_has_a_case(rules: Path) -> None:
    """No rule is without a case in which it fires."""
    told = yaml.safe_load(rules.read_text())
    alerts = {rule["alert"] for group in told["groups"] for rule in group["rules"]}
    cases = yaml.safe_load((ROOT / "tests" / "rules" / rules.name).read_text())
    checks = [check for case in cases["tests"] for check in case["alert_rule_test"]]

    assert alerts == {check["alertname"] for check in checks if check["exp_alerts"]}


@pytest.mark.parametrize("rules", RULES, ids=lambda file: file.name)
def test_metrics(rules: Path) -> None:
    """The rules ask for nothing but metrics that the README tells."""
    asked = set(re.findall(r"\bmeter_\w+", rules.read_text()))

    assert set() == asked - set(re.findall(r"`(meter_\w+)`", (ROOT / "README.md").read_text()))


@pytest.mark.parametrize("rules", RULES, ids=lambda file: file.name)
def test_words(rules: Path) -> None:
    """Every rule says how urgent it is, in short what is wrong, and at length what to do."""
    told = yaml.safe_load(rules.read_text())
    alerts = [rule for group in told["groups"] for rule in group["rules"]]

    assert [({"severity"}, {"summary", "description"})] * len(alerts) == [
        (set(rule["labels"]), set(rule["annotations"])) for rule in alerts
    ]
