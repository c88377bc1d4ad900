"""Copy the rules and dashboards into the chart: Helm reads nothing outside of it.

python helm/sync.py            copies
python helm/sync.py --check    exits with 1 where a copy differs, and says which
"""  # noqa: INP001 - a program, run by its path

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["main", "stale"]

SOURCE = Path(__file__).parents[1] / "dashboards"
CHART = Path(__file__).parent / "meter"
COPIES = {"rules": "rules/*.yaml", "dashboards": "*.json"}
"""The chart's folder, and what of `dashboards/` is in it."""


def stale() -> dict[Path, bytes | None]:
    """Return what has to be written, and to where; `None`: what has to go."""
    wanted = {
        CHART / folder / path.name: path.read_bytes()
        for folder, pattern in COPIES.items()
        for path in SOURCE.glob(pattern)
    }
    there = {path: path.read_bytes() for folder in COPIES for path in (CHART / folder).glob("*")}
    return {
        path: wanted.get(path) for path in wanted.keys() | there.keys() if wanted.get(path) != there.get(path)
    }


def main(argv: list[str]) -> int:
    """Copy, or with `--check` only say what is to be copied."""
    differing = stale()
    for path, text in sorted(differing.items()):
        if argv == ["--check"]:
            sys.stdout.write(f"{path}: not as in {SOURCE}; copy it with: python helm/sync.py\n")
        elif text is None:
            path.unlink()
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(text)
    return int(bool(differing) and argv == ["--check"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
