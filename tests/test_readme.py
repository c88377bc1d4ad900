"""The documents say what the program does: their names, defaults and examples are held against the code."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import play
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel

from meter import cli, settings
from meter.budget import Budgets
from meter.dialect import Facts
from meter.dialects import DIALECTS, QUIET, VERBS
from meter.errors import ERROR_TYPES, METER_CODES
from meter.exchange import KINDS, Exchange, Outcome, PriceStatus, RateLimit, UsageSource
from meter.labels import ID_LABELS, Admission
from meter.price import FALL_BACKS
from meter.prices.files import load as load_prices
from meter.sinks.log import fields
from meter.sinks.prometheus import Catalogue, PrometheusSink
from meter.state import State
from meter.tap import Tap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from meter.dialect import Dialect

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENTS = (
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
)
CLIENTS = ROOT / "examples" / "clients"
BLOCKS = [
    pytest.param(
        match[1], match[2], id=f"{document.name}:{document.read_text().count(chr(10), 0, match.start())}"
    )
    for document in DOCUMENTS
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)
]


def named(*languages: str) -> list[Any]:
    """Return the code blocks in these languages, each as its text."""
    return [pytest.param(block.values[1], id=block.id) for block in BLOCKS if block.values[0] in languages]


def section(document: Path, heading: str) -> str:
    """Return what stands below a heading, up to the next one of any level, less the code blocks."""
    prose = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", prose, re.MULTILINE | re.DOTALL)
    assert found is not None, f"{document.name} has no heading {heading!r}"
    return found[1]


def rows(text: str) -> Iterator[list[str]]:
    """Yield the cells of each row of tables, but those of their heads."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" |")]
        if line.startswith("| `"):
            yield cells


def ticked(text: str) -> list[str]:
    """Return what stands between backticks."""
    return re.findall(r"`([^`]+)`", text)


def anchors(document: Path) -> set[str]:
    """Return what links into a document may point at."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


# --- Metrics and log


def full_exchange() -> Exchange:
    """Return an exchange that has something for every metric."""
    return Exchange(
        id="x",
        started_at=0.0,
        upstream="up",
        method="POST",
        path="/",
        outcome=Outcome.TRUNCATED,
        error_type="truncated",
        stream=True,
        status=200,
        usage_asked=True,
        usage_refused=True,
        finish_reasons=("stop",),
        rate_limits=(RateLimit(resource="tokens", limit=1, remaining=1, reset_seconds=1),),
        usage={"output": 5},
        units={"images": 1},
        usage_source=UsageSource.REPORTED,
        cost_usd=Decimal(1),
        provider_cost_usd=Decimal(1),
        computed_cost_usd=Decimal(2),
        cache_savings_usd=Decimal(1),
        price_status=PriceStatus.MISSING,
        ttft_s=0.1,
        last_content_s=0.2,
        stall_s=0.1,
        overhead_request_s=0.1,
    )


def exported() -> dict[str, tuple[str, frozenset[str]]]:
    """Return type and labels of every metric that a scrape can show, by name."""
    state = State(["up"])
    state.enter("up", "chat")
    limits = SimpleNamespace(model=9, key=9, tag=9, id_sets=9)
    sink = PrometheusSink(
        admission=Admission(label_names=("team",), limits=limits),
        state=state,
        version="0",
        upstreams=["up"],
        sinks=["log"],
        catalogue=Catalogue(source="s", revision="r", timestamp=0.0),
        budgets=Budgets([settings.Budget(name="b", usd=Decimal(1))]),
    )
    sink(full_exchange())
    sink.observe_lag(0.0)
    found = {}
    for family in text_string_to_metric_families(sink.render()[0].decode()):
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = frozenset(label for sample in family.samples for label in sample.labels) - {"le"}
        assert family.samples, f"{name} shows no sample: its labels cannot be told"
        found[name] = (family.type, labels)
    return found


def documented() -> dict[str, tuple[str, frozenset[str]]]:
    """Return type and labels of every metric in the README's table, by name."""
    ids = {*ID_LABELS, "team"}
    return {
        ticked(name)[0]: (kind, frozenset(ticked(labels)) | (ids if "*id*" in labels else frozenset()))
        for name, kind, labels, _ in rows(section(README, "Metrics"))
    }


def test_metrics() -> None:
    """The README names every metric with its type and its labels, and no other."""
    ours = {name: told for name, told in exported().items() if not name.startswith("process_")}
    told = documented()

    assert ("gauge", frozenset()) == told.pop("process_*")
    assert ours == told


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_mentioned_metrics(document: Path) -> None:
    """Every metric that a document mentions anywhere is one that is there."""
    known = exported()
    mentioned = set(re.findall(r"\bmeter_[a-z_]+\b", document.read_text())) - {
        "meter_error"
    }  # a type of errors

    assert set() == {name for name in mentioned if re.sub("_(bucket|sum|count)$", "", name) not in known}


def test_buckets() -> None:
    """The buckets begin and end where the README says, and double in between."""
    state, limits = State([]), SimpleNamespace(model=9, key=9, tag=9, id_sets=9)
    sink = PrometheusSink(admission=Admission(limits=limits), state=state, version="0")
    sink(full_exchange())
    sink.observe_lag(0.0)
    bounds: dict[str, list[float]] = {}
    for family in text_string_to_metric_families(sink.render()[0].decode()):
        for sample in family.samples:
            if sample.name.endswith("_bucket") and sample.labels["le"] != "+Inf":
                bounds.setdefault(family.name, []).append(float(sample.labels["le"]))
    text = re.sub(r"\s+", " ", section(README, "Metrics"))
    found = re.search(r"from ([\d.]+) to ([\d.]+) s; for (.*?) from ([\d.]+) to ([\d.]+) s", text)
    assert found is not None
    coarse, fine = (float(found[1]), float(found[2])), (float(found[4]), float(found[5]))
    finer = {
        "meter_overhead_seconds",
        "meter_time_per_output_token_seconds",
        "meter_event_loop_lag_seconds",
    }

    assert "overhead, time per output token and event loop lag" == found[3]
    for name, each in bounds.items():
        assert (fine if name in finer else coarse) == pytest.approx((min(each), max(each))), name
        pairs = pairwise(sorted(set(each)))
        assert all(above == pytest.approx(2 * below) for below, above in pairs), name


def test_log_fields() -> None:
    """The list of log fields is that of the log."""
    table = section(ROOT / "docs" / "metrics.md", "Log fields")
    told = {name for names, *_ in rows(table) for name in ticked(names)}

    assert set(fields(full_exchange())) - {"timestamp"} == told


def test_label_values() -> None:
    """Operations, kinds, outcomes and statuses are listed in full."""
    details = ROOT / "docs" / "metrics.md"
    operations = next(row[1] for row in rows(section(details, "Label values")) if row[0] == "`operation`")
    cost = section(README, "What it costs")
    known = {str(status) for kind in (UsageSource, PriceStatus) for status in kind}
    spoken = {dialect.operation for dialect in (*DIALECTS.values(), *VERBS.values())} | {"realtime"}

    assert spoken | {*QUIET.values(), "other"} == set(ticked(operations))
    assert set(KINDS) <= set(ticked(section(details, "Kinds of tokens")))
    assert {str(outcome) for outcome in Outcome} <= set(ticked(section(README, "Outcomes and errors")))
    assert known == {ticked(row[0])[0] for row in rows(cost)} - {"usage_source", "price_status"}


def test_error_types() -> None:
    """The README lists every error type, and Meter's own codes beside their status."""
    listed = ticked(section(README, "Error types"))
    codes = [
        ticked(code)[0] for code in re.findall(r"^\| \d{3} \| (`\w+`)", README.read_text(), re.MULTILINE)
    ]

    assert set(ERROR_TYPES) == set(listed)
    assert sorted(METER_CODES) == sorted(codes)


# --- Settings and prices


def shown(value: object) -> str:
    """Return a default as the page writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value)


def walk(group: BaseModel, dumped: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """Yield the path of every setting of a group, and its default as the page writes it."""
    for name, field in type(group).model_fields.items():
        value = getattr(group, name)
        if isinstance(value, BaseModel) and type(value).model_fields:
            yield from walk(value, dumped[name], f"{path}{name}.")
        elif field.is_required():
            yield path + name, "required"
        else:
            yield path + name, "none" if dumped[name] is None else f"`{shown(dumped[name])}`"


def defaults() -> dict[str, str]:
    """Return the default of every setting, by its path."""
    groups: tuple[tuple[str, BaseModel], ...] = (
        ("", settings.Settings(upstreams=())),
        ("upstreams[].", settings.UpstreamSettings(name="x", base_url="http://x")),
        ("keys[].", settings.Key(name="x", fingerprint="k_000000000000")),
        ("budgets[].", settings.Budget(name="x", usd=Decimal(1))),
    )
    return {
        path: value for prefix, group in groups for path, value in walk(group, group.model_dump(), prefix)
    }


def test_settings() -> None:
    """The page of settings has every setting with its default, and no other."""
    told = {
        ticked(path)[0]: default for path, default, _ in rows((ROOT / "docs" / "settings.md").read_text())
    }

    assert defaults() == told


def test_example_settings(capsys: pytest.CaptureFixture[str]) -> None:
    """The example of all settings is valid, has all of them, and says the defaults where it may."""
    file = ROOT / "examples" / "meter.yaml"
    assert cli.main(["config", "check", str(file)]) == 0
    assert capsys.readouterr().out.endswith(": ok\n")

    def paths(tree: Any, path: str = "") -> Iterator[str]:
        yield path
        for name, inner in tree.items() if isinstance(tree, dict) else ():
            yield from paths(inner, f"{path}.{name}".removeprefix("."))
        for inner in tree[:1] if isinstance(tree, list) else ():
            yield from paths(inner, f"{path}[]")

    assert set() == set(defaults()) - set(paths(yaml.safe_load(file.read_text())))
    loaded, default = (
        settings.load(str(file), {}, {}).model_dump(),
        settings.Settings(upstreams=()).model_dump(),
    )
    own = {"upstreams", "keys", "attribution", "prices", "budgets"}
    assert {name: value for name, value in default.items() if name not in own} == {
        name: value for name, value in loaded.items() if name not in own
    }


def test_example_prices() -> None:
    """The example of a price file loads and has what its comments say."""
    source = load_prices(ROOT / "examples" / "prices.yaml")

    assert {"gpt-4o-mini", "gpt-4o", "qwen-turbo"} <= source.models()


def test_fall_backs() -> None:
    """The page of prices tells every fall-back."""
    told = rows(section(ROOT / "docs" / "prices.md", "Kinds without a price"))

    assert dict(FALL_BACKS) == {ticked(kind)[0]: ticked(other)[0] for kind, other in told}


@pytest.mark.parametrize("text", named("yaml"))
def test_yaml(text: str, tmp_path: Path) -> None:
    """Every piece of YAML is a valid price file, a valid settings file or Prometheus's."""
    file = tmp_path / "file.yaml"
    file.write_text(text)
    top = yaml.safe_load(text)
    if "scrape_configs" in top:
        return
    if isinstance(top.get("prices"), list):
        assert list(load_prices(file).listing(datetime.now(UTC)))
    else:
        assert settings.load(str(file), {}, {}).upstreams


# --- Programs and commands


@pytest.mark.parametrize("text", named("python"))
def test_python_blocks(text: str) -> None:
    """Every piece of Python compiles."""
    compile(text, "block", "exec")


@pytest.fixture
def greetings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dialect:
    """Add the dialect that CONTRIBUTING shows, in the steps that it names; return it."""
    code = next(each.values[0] for each in named("python") if "class Greetings" in each.values[0])
    module = ModuleType("greetings")
    monkeypatch.setitem(sys.modules, "greetings", module)
    exec(code, module.__dict__)  # noqa: S102  # our own page
    case = tmp_path / "greetings" / "whole"
    case.mkdir(parents=True)
    steps = section(ROOT / "CONTRIBUTING.md", "To add an API format")
    for file, text in rows(steps):
        (case / ticked(file)[0]).write_text(ticked(text)[0])
    folder, path = re.findall(r'`"(\w+)": "(\S+)"`', steps)[0]
    dialect: Dialect = module.Greetings()
    monkeypatch.setattr(play, "CASES", tmp_path)
    monkeypatch.setitem(play.PATHS, folder, path)
    monkeypatch.setitem(DIALECTS, (folder,), dialect)
    return dialect


@pytest.mark.usefixtures("greetings")
def test_worked_example_of_a_case() -> None:
    """The case that CONTRIBUTING shows plays as it says, byte by byte."""
    case = play.load("greetings/whole")
    tap = case.tap()
    play.play(tap, (case.answer[i : i + 1] for i in range(len(case.answer))))

    assert "g" == case.request.model
    assert play.expected(case) == play.learned(tap)


def test_worked_example_of_a_dialect(greetings: Dialect) -> None:
    """The dialect that CONTRIBUTING shows reads requests and streams, and raises nothing."""
    request = play.read_request(greetings, b'{"model": "g", "stream": true, "who": "Ada"}')
    tap = Tap(greetings, request=request)
    tap.answer(200, b"text/event-stream", None)
    tap.watch(b'data: {"text": "hi"}\n\nevent: bye\ndata: {"usage": {"prompt_tokens": 3}}\n\n', 1.0)
    tap.end(2.0)
    facts = Facts()
    for odd in (b"", b"[1]", b'{"text": 1, "model": {}, "usage": "x"}', b'{"error": {"code": 1}}'):
        greetings.read_answer(odd, facts)

    assert ("g", True) == (request.model, request.stream)
    assert ({"input": 3}, True, 1.0) == (tap.facts.usage, tap.complete, tap.first_content)
    assert (None, "") == (facts.usage, facts.error)


@pytest.mark.parametrize("file", sorted(CLIENTS.glob("*.py")), ids=lambda file: file.name)
def test_python_programs(file: Path) -> None:
    """Every Python program compiles."""
    compile(file.read_text(), file.name, "exec")


@pytest.mark.parametrize("file", sorted(CLIENTS.glob("[!_.]*.*")), ids=lambda file: file.name)
def test_clients(file: Path) -> None:
    """Every program goes to Meter's default address, and the README links to it."""
    assert "http://127.0.0.1:8080/v1" in file.read_text()
    assert f"(examples/clients/{file.name})" in README.read_text()


def test_commands() -> None:
    """The README has every command with every option, and no other."""
    parser = cli._parser()
    told = {
        ticked(name)[0]: set(re.findall(r"--[a-z-]+", what))
        for name, what in rows(section(README, "Commands"))
    }

    assert dict(commands(parser, "meter")) == {
        re.sub(" [A-Z]+$", "", name): options for name, options in told.items()
    }


def commands(parser: Any, name: str) -> Iterator[tuple[str, set[str]]]:
    """Yield every command with its long options, but `--help`."""
    inner = [action for action in parser._actions if isinstance(action.choices, dict)]
    for action in inner:
        for word, below in action.choices.items():
            yield from commands(below, f"{name} {word}")
    if not inner:
        options = {o for action in parser._actions for o in action.option_strings if o.startswith("--")}
        yield name, options - {"--help"}


def test_make_targets() -> None:
    """Every `make` target that a document mentions is in the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = "\n".join(
        piece for document in DOCUMENTS for piece in re.findall(r"`+[^`]+`+", document.read_text())
    )

    assert set() == set(re.findall(r"\bmake ([a-z-]+)", code)) - targets


def test_default_ports() -> None:
    """The ports in the README are the defaults."""
    default = settings.Settings(upstreams=())

    assert {str(default.port), str(default.admin_port)} == set(
        re.findall(r"127\.0\.0\.1:(\d+)", README.read_text())
    )


def test_modules() -> None:
    """The README's list of files has every module, and no other."""
    told = {ticked(file)[0] for file, _ in rows(section(README, "How it is built"))}
    folder = ROOT / "meter"
    modules = {f"meter/{file.name}" for file in folder.glob("*.py") if not file.name.startswith("__")}
    packages = {f"meter/{file.parent.name}/" for file in folder.glob("*/__init__.py")}

    assert modules | packages == told


def test_fingerprint() -> None:
    """The fingerprint in the README is what `meter key` prints for a key of the demo."""
    done = subprocess.run(
        [sys.executable, "-m", "meter", "key"],
        input=b"sk-demo-search-3f9a41c7",
        capture_output=True,
        check=True,
        cwd=ROOT,
        env={},
    )

    assert done.stdout.decode().strip() in README.read_text()


# --- Links


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links(document: Path) -> None:
    """Every link within the project leads to a file, and to a heading where it names one."""
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), f"{document.name} links to {target}"
        if anchor:
            assert anchor in anchors(file), f"{document.name} links to {target}"


def test_picture() -> None:
    """The picture is a PNG of less than 200 kB, with a text for those who cannot see it."""
    picture = ROOT / "docs" / "demo.png"

    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 200_000
    assert re.search(r"!\[[^\]]{80,}\]\(docs/demo\.png\)", README.read_text())
