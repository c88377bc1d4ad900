"""Draw the dashboards with Grafana's UI library, from a Prometheus that is running: `python render.py URL`.

What a panel asks, `dashboards.asking` asks; what comes back goes into a page beside the dashboard, and
Chromium takes its picture. Grafana itself has no part in it.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Error, sync_playwright

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from dashboards.asking import Asking, Line  # noqa: E402  # found by the line above
from dashboards.boards import BOARDS, board, panels  # noqa: E402

TOOLS = ROOT / ".tools" / "dashboard-pictures"
SOURCES = ("board.tsx", "fields.ts", "heat.tsx", "scrollbars.tsx", "package.json", "package-lock.json")
WIDTH = 1600
SCRAPED_EVERY = 15


def built() -> Path:
    """Install what the page is made of, unless it is there, and bundle it; return its folder."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    for name in SOURCES:
        shutil.copy(HERE / name, TOOLS / name)
    if not (TOOLS / "node_modules" / "esbuild").exists():
        _npm("ci", "--legacy-peer-deps", "--ignore-scripts", "--no-audit", "--no-fund")
    _npm("run", "--silent", "build")
    shutil.copy(HERE / "page.html", TOOLS / "out" / "page.html")
    return TOOLS / "out"


def _npm(*argv: str) -> None:
    program = shutil.which("npm")
    if program is None:
        sys.exit("npm is not installed; get it with: apt-get install -y --no-install-recommends nodejs npm")
    subprocess.run([program, *argv], cwd=TOOLS, check=True, stdin=subprocess.DEVNULL)  # noqa: S603  # our own arguments


def content(name: str, asking: Asking, said: str) -> dict[str, Any]:
    """Return a dashboard with all that its panels show."""
    answers = {}
    for panel in panels(name):
        queries = [
            {"refId": target["refId"], "lines": [_line(line, target) for line in asking.lines(panel, target)]}
            for target in panel["targets"]
        ]
        answers[panel["id"]] = {
            "from": asking.began(panel) * 1000,
            "to": asking.until * 1000,
            "queries": queries,
        }
    variables = [
        {"label": variable["label"], "value": _chosen(variable)}
        for variable in board(name)["templating"]["list"]
    ]
    return {
        "dashboard": board(name),
        "variables": variables,
        "range": said,
        "zone": "utc",
        "answers": answers,
    }


def _chosen(variable: dict[str, Any]) -> str:
    known = {"datasource": "Prometheus", "job": "meter", "tag": "team"}
    return known.get(variable["name"], "All")


def _line(line: Line, target: dict[str, Any]) -> dict[str, Any]:
    legend = target.get("legendFormat", "")
    values = [value for name, value in line.labels.items() if name != "__name__"]
    name = re.sub(r"\{\{(\w+)\}\}", lambda found: line.labels.get(found[1], ""), legend)
    return {
        "name": ", ".join(values) or "Value" if name in ("", "__auto") else name,
        "labels": {label: value for label, value in line.labels.items() if label != "__name__"},
        "times": [at * 1000 for at in line.times],
        "values": line.values,
    }


def drawn(page: Path, told: dict[str, Any], target: Path, height: int | None) -> None:
    """Take the picture of one dashboard, or of its upper part."""

    def failed(error: Error) -> None:
        sys.exit(f"{target.name}: {error}")

    (page / "data.js").write_text(f"window.BOARD = {json.dumps(told)};")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), headless=True, args=["--no-sandbox"]
        )
        tab = browser.new_page(viewport={"width": WIDTH, "height": 1000})
        tab.on("pageerror", failed)
        tab.goto((page / "page.html").as_uri())
        tab.wait_for_function("window.DRAWN === true", timeout=120_000)
        clip: Any = None if height is None else {"x": 0, "y": 0, "width": WIDTH, "height": height}
        tab.screenshot(path=target, full_page=True, clip=clip)
        browser.close()
    quantizer = shutil.which("pngquant")
    if quantizer is not None:  # a third of the size, for a look that hardly differs
        argv = [
            quantizer,
            "--quality=70-95",
            "--speed=1",
            "--strip",
            "--force",
            f"--output={target}",
            str(target),
        ]
        subprocess.run(argv, check=True)  # noqa: S603  # our own arguments


def main() -> int:
    """Draw what is asked for."""
    parser = argparse.ArgumentParser(description="Draw the dashboards from a Prometheus that is running.")
    parser.add_argument("url", help="of the Prometheus, such as http://127.0.0.1:9090")
    parser.add_argument("--minutes", type=float, default=30, help="of the dashboards' range (default: 30)")
    parser.add_argument(
        "--until", type=float, default=time.time(), help="Unix time of its end (default: now)"
    )
    parser.add_argument(
        "--only", action="append", choices=BOARDS, help="one dashboard, or several; default: all"
    )
    parser.add_argument("--height", type=int, help="in pixels, of its upper part alone")
    parser.add_argument("--to", type=Path, default=ROOT / "docs", help="folder (default: docs)")
    told = parser.parse_args()
    asking = Asking(told.url, told.until, told.minutes * 60, SCRAPED_EVERY)
    page = built()
    said = f"Last {told.minutes:.0f} minutes"
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(page, folder, dirs_exist_ok=True)
        for name in told.only or BOARDS:
            drawn(Path(folder), content(name, asking, said), told.to / f"dashboard-{name}.png", told.height)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
