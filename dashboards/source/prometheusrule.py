"""Put the rules into one object for the Prometheus operator, for those without Helm.

    python -m dashboards.source.prometheusrule            writes dashboards/prometheusrule.yaml
    python -m dashboards.source.prometheusrule --check    exits with 1 where it is not as the rules are

It is not in the folder of the rules: Prometheus, told to read that whole folder, would stumble over it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

__all__ = ["FILE", "RULES", "built", "main"]

FILE = Path(__file__).parents[1] / "prometheusrule.yaml"
RULES = sorted((Path(__file__).parents[1] / "rules").glob("*.yaml"))

_HEAD = "# Built from dashboards/rules by: python -m dashboards.source.prometheusrule\n"


class _Dumper(yaml.SafeDumper):
    """Writes long texts as they are: on lines of their own."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def built() -> str:
    """Return the object as YAML."""
    groups = [group for file in RULES for group in yaml.safe_load(file.read_text())["groups"]]
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "meter", "labels": {"app.kubernetes.io/name": "meter"}},
        "spec": {"groups": groups},
    }
    return _HEAD + yaml.dump(rule, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def main(argv: list[str]) -> int:
    """Write it, or with `--check` only say that it would be another."""
    if argv != ["--check"]:
        FILE.write_text(built())
        return 0
    if FILE.is_file() and FILE.read_text() == built():
        return 0
    sys.stdout.write(
        f"{FILE}: not as the rules are; write it with: python -m dashboards.source.prometheusrule\n"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
