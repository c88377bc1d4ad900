"""Settings: their sources, their types, and what is said of wrong ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic import ValidationError

from meter.settings import Settings, SettingsError, load

CASES = Path(__file__).parent / "settings"
GOOD = "upstreams: [{name: a, base_url: https://h/v1}]\n"


def read(
    folder: Path, text: str, overrides: dict[str, Any] | None = None, environ: dict[str, str] | None = None
) -> Settings:
    """Load settings from a file of this text."""
    file = folder / "meter.yaml"
    file.write_text(text)
    return load(str(file), overrides or {}, environ or {})


def report(overrides: dict[str, Any], environ: dict[str, str], config: str | None = None) -> list[str]:
    """Return the lines that are said of wrong settings."""
    with pytest.raises(SettingsError) as caught:
        load(config, overrides, environ)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("case", sorted(path.stem for path in CASES.glob("*.yaml")))
def test_wrong_file(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every wrong file gives exactly the message beside it, all of it at once."""
    monkeypatch.chdir(CASES)
    expected = (CASES / f"{case}.txt").read_text()

    assert "\n".join(report({}, {}, f"{case}.yaml")) + "\n" == expected


def test_no_secret_in_reports() -> None:
    """No message repeats what its file marks as secret."""
    assert not [path for path in CASES.glob("*.txt") if "secret" in path.read_text()]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that is missing, a folder, or no text is told in one line."""
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x01\x00")

    assert report({}, {}, "missing.yaml") == ["missing.yaml: cannot be read: no such file or directory"]
    assert report({}, {}, str(tmp_path)) == [f"{tmp_path}: cannot be read: is a directory"]
    assert report({}, {}, str(binary)) == [
        f"{binary}: not valid YAML: a character or value that YAML does not know"
    ]


def test_defaults() -> None:
    """Everything has a default but `upstreams`."""
    shown = yaml.safe_load(load(None, {"upstream": "https://api.openai.com/v1"}, {}).show())

    assert shown.pop("upstreams")[0]["name"] == "default"
    assert shown == {
        "keys": [],
        "attribution": {"headers": {}, "labels": [], "strip": False},
        "prices": {"files": [], "catalogue": "on", "refresh": {"source": None, "every": "1d"}},
        "budgets": [],
        "usage": {"estimate": True},
        "timeouts": {
            "connect": "10s",
            "idle": "15m",
            "client_head": "30s",
            "client_body": "1m",
            "keep_alive": "75s",
            "drain": "5m",
        },
        "limits": {
            "inspect_bytes": "64MiB",
            "inspect_total": "512MiB",
            "event_bytes": "1MiB",
            "body_bytes": "off",
            "header_bytes": "64KiB",
            "series": {"model": 200, "key": 200, "tag": 100, "id_sets": 1000},
        },
        "forwarded": "off",
        "response_headers": {"id": True, "cost": False},
        "tls": {"cert": None, "key": None},
        "admin": {"token": None, "public": ["healthz", "readyz", "metrics"]},
        "ledger": {"url": None, "retention": "90d", "rollups": True},
        "metrics": {"otlp": False},
        "tracing": {"endpoint": None, "protocol": None, "propagate": False, "content": False},
        "log": {
            "format": "json",
            "level": "info",
            "outcomes": {},
            "sample": {},
            "content": False,
            "otlp": False,
        },
        "content": {"limit": "16KiB", "redact": []},
        "host": "127.0.0.1",
        "port": 8080,
        "admin_host": "127.0.0.1",
        "admin_port": 9464,
        "workers": 1,
    }


def test_whole_file(tmp_path: Path) -> None:
    """A file with every member reads as it is written."""
    settings = read(
        tmp_path,
        """
upstreams:
  - name: openai
    base_url: https://api.openai.com/v1
    default: true
    provider: openai
    usage: auto
    on_client_disconnect: cancel
    drain: {seconds: 60, bytes: 10MiB}
    tls: {ca: , verify: true}
    proxy: off
    resend_post: false
    timeouts: {}
  - {name: deepseek, base_url: https://api.deepseek.com, prefix: /deepseek, timeouts: {idle: 1h}}
keys:
  - {name: search-team, fingerprint: k_0123456789ab, tags: {team: search}}
  - {name: search-team, fingerprint: k_0123456789ac}
attribution: {headers: {user: x-user-id, team: x-team}, labels: [team], strip: false}
prices: {files: [prices.yaml, /etc/prices.yaml], catalogue: on}
budgets: []
usage: {estimate: true}
timeouts: {connect: 10s, idle: 15m, client_head: 30s, client_body: 60s, keep_alive: 75s, drain: 0}
limits: {inspect_bytes: 64MiB, inspect_total: 1.5GiB, event_bytes: 10kB, body_bytes: off, header_bytes: 4096}
forwarded: off
response_headers: {id: true, cost: false}
tls: {cert: , key: }
admin: {token: , public: [healthz, readyz, metrics]}
ledger: {url: off, retention: 90d, rollups: true}
metrics: {}
tracing: {endpoint: , propagate: false, content: false}
log: {format: json, level: info}
""",
    )
    openai, deepseek = settings.upstreams

    assert (openai.provider, deepseek.provider, openai.tells_usage, deepseek.tells_usage) == (
        "openai",
        "deepseek",
        False,
        True,
    )
    assert (openai.default, openai.proxy, openai.tls.ca, openai.drain.bytes) == (
        True,
        "off",
        None,
        10 * 2**20,
    )
    assert (deepseek.default, deepseek.prefix, deepseek.timeouts.idle) == (False, "/deepseek", 3600)
    assert (settings.timeouts_for(deepseek).idle, settings.timeouts_for(deepseek).connect) == (3600, 10)
    assert [key.tags for key in settings.keys] == [{"team": "search"}, {}]
    assert settings.attribution.headers == {"user": "x-user-id", "team": "x-team"}
    assert settings.prices.files == (str(tmp_path / "prices.yaml"), "/etc/prices.yaml")
    assert (settings.limits.inspect_total, settings.limits.body_bytes) == (3 * 2**29, None)
    assert (settings.forwarded, settings.ledger.url, settings.prices.catalogue) == ("off", "off", "on")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10),
        ("15m", 900),
        ("1h", 3600),
        ("90d", 7776000),
        ("250ms", 0.25),
        (7, 7),
        ("1.5s", 1.5),
        ("7", 7),
    ],
)
def test_durations(text: object, seconds: float) -> None:
    """A duration is a number with a unit, or a number of seconds."""
    assert load(None, {"upstream": "http://h", "timeouts.idle": text}, {}).timeouts.idle == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64MiB", 2**26),
        ("1GiB", 2**30),
        ("10kB", 10000),
        ("10 KB", 10000),
        (512, 512),
        ("512", 512),
        ("2B", 2),
    ],
)
def test_sizes(text: object, size: int) -> None:
    """A size is a number with a decimal or binary unit, or a number of bytes."""
    assert load(None, {"upstream": "http://h", "limits.body_bytes": text}, {}).limits.body_bytes == size


@pytest.mark.parametrize("word", ["off", "'off'", "false"])
def test_off(tmp_path: Path, word: str) -> None:
    """`off` is off however YAML reads it."""
    settings = read(
        tmp_path,
        f"upstreams: [{{name: a, base_url: http://h, proxy: {word}}}]\nprices: {{catalogue: {word}}}\n"
        f"limits: {{body_bytes: {word}}}\nforwarded: {word}\nledger: {{url: {word}}}\n",
    )

    assert (settings.upstreams[0].proxy, settings.prices.catalogue, settings.limits.body_bytes) == (
        "off",
        "off",
        None,
    )
    assert (settings.forwarded, settings.ledger.url) == ("off", "off")


def test_yes_and_no_are_booleans_where_one_is_wanted(tmp_path: Path) -> None:
    """`yes` and `no` are words, which a boolean setting understands."""
    settings = read(tmp_path, GOOD + "usage: {estimate: no}\nattribution: {strip: yes}\n")

    assert (settings.usage.estimate, settings.attribution.strip) == (False, True)


@pytest.mark.parametrize("proxy", ["off", "env", "http://proxy:3128", "http://user:secret@proxy:3128"])
def test_proxy(proxy: str) -> None:
    """An upstream's proxy is off, the environment's, or a URL, whose credentials are not shown."""
    upstreams = json.dumps([{"name": "a", "base_url": "http://h", "proxy": proxy}])
    settings = load(None, {}, {"METER_UPSTREAMS": upstreams})

    assert settings.upstreams[0].proxy == proxy
    assert "secret" not in settings.show()


def test_environment() -> None:
    """Variables are nested with two underscores, and lists are JSON."""
    settings = load(
        None,
        {},
        {
            "METER_UPSTREAMS": '[{"name": "a", "base_url": "https://h"}]',
            "METER_TIMEOUTS__IDLE": "1h",
            "METER_LIMITS": '{"event_bytes": "2MiB", "series": {"model": 1}}',
            "METER_LIMITS__SERIES__KEY": "2",
            "METER_USAGE__ESTIMATE": "false",
            "METER_ADMIN__TOKEN": "[secret",
            "METER_ATTRIBUTION__LABELS": '["team"]',
            "METER_ATTRIBUTION__HEADERS__TEAM": "x-team",
            "METER_LOG__FORMAT": "",
            "METER_CONFIG": "elsewhere.yaml",
            "METER_KEY_SALT": "salt",
            "HOME": "/",
        },
    )

    assert (settings.timeouts.idle, settings.limits.event_bytes) == (3600, 2**21)
    assert (settings.limits.series.model, settings.limits.series.key) == (1, 2)
    assert (settings.usage.estimate, settings.log.format) == (False, "json")
    assert (settings.attribution.headers, settings.attribution.labels) == ({"team": "x-team"}, ("team",))
    assert settings.admin.token is not None
    assert settings.admin.token.get_secret_value() == "[secret"


def test_kubernetes_variables() -> None:
    """What Kubernetes sets for Services named meter and meter-admin is none of our business."""
    environ = {
        "METER_SERVICE_HOST": "10.0.0.1",
        "METER_SERVICE_PORT": "8080",
        "METER_SERVICE_PORT_HTTP": "8080",
        "METER_PORT": "tcp://10.0.0.1:8080",
        "METER_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "METER_PORT_8080_TCP_PROTO": "tcp",
        "METER_PORT_8080_TCP_PORT": "8080",
        "METER_PORT_8080_TCP_ADDR": "10.0.0.1",
        "METER_ADMIN_PORT": "tcp://10.0.0.2:9464",
        "METER_ADMIN_SERVICE_HOST": "10.0.0.2",
        "METER_ADMIN_PORT_9464_TCP_ADDR": "10.0.0.2",
    }
    settings = load(None, {"upstream": "http://h"}, environ)

    assert (settings.port, settings.admin_port) == (8080, 9464)


def test_all_sources_in_one_report(tmp_path: Path) -> None:
    """Each line names its own source, and the layer that decided."""
    file = tmp_path / "meter.yaml"
    file.write_text("port: x\nadmin_port: y\nworkers: z\nkeys: [{name: a}]\nlog: {level: loud}\n")
    environ = {
        "METER_ADMIN_PORT": "y",
        "METER_KEYS": '[{"fingerprint": "k_0123456789ab"}]',
        "METER_PROT": "1",
        "METER_TIMEOUTS__IDEL": "1",
        "METER_LIMITS": "[oops",
        "METER_LIMITS__EVENT_BYTES": "x",
        "METER_LEDGER__URL": "postgresql://user:secret@h/db",
    }

    assert report({"upstream": "h", "workers": "z"}, environ, str(file)) == [
        "--upstream: upstreams[0].base_url: got 'h', expected a URL such as https://host/v1",
        "--workers: workers: got 'z', expected a whole number",
        "METER_ADMIN_PORT: admin_port: got 'y', expected a whole number",
        "METER_KEYS: keys[0].name: missing, expected a value",
        "METER_LIMITS: limits: got '[oops', expected a mapping",
        "METER_PROT: prot: unknown setting, did you mean port",
        "METER_TIMEOUTS__IDEL: timeouts.idel: unknown setting, did you mean idle",
        f"{file}:1: port: got 'x', expected a whole number",
        f"{file}:5: log.level: got 'loud', expected debug, info, warning or error",
    ]


@pytest.mark.parametrize("url", ["mysql://u:p@h/db", "ledger.db", "sqlite://", "sqlite:///:memory:", "on"])
def test_ledgers_of_another_kind(url: str) -> None:
    """What no ledger can be is told like any other wrong value, without a password."""
    assert report({"upstream": "http://h", "ledger.url": url}, {}) == [
        (
            f"--ledger: ledger.url: got '{url.replace('u:p@', '***@')}', "
            "expected sqlite:///PATH, postgresql://USER@HOST/NAME or off"
        ),
    ]


@pytest.mark.parametrize(
    "url",
    ["off", "sqlite:///a?b", "postgresql:///db", "postgres://u:p%40#@h:5432/db", "postgresql+psycopg://h/db"],
)
def test_ledgers(url: str) -> None:
    """A ledger is a file of SQLite's, a database of PostgreSQL's, or off."""
    assert load(None, {"upstream": "http://h", "ledger.url": url}, {}).ledger.url == url


def test_no_upstream() -> None:
    """Without any source the one thing that is missing is told, with how to give it."""
    assert report({}, {}) == [
        (
            "upstreams: there is none: give one with --upstream https://api.openai.com/v1, or in the file as "
            "`upstreams: [{name: openai, base_url: https://api.openai.com/v1}]`"
        ),
    ]


def test_upstream_option_adds(tmp_path: Path) -> None:
    """`--upstream` adds a default beside the file's prefixed upstreams."""
    settings = read(
        tmp_path, "upstreams: [{name: a, base_url: http://a, prefix: /a}]\n", {"upstream": "http://d"}
    )

    assert [(u.name, u.default) for u in settings.upstreams] == [("a", False), ("default", True)]


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (
            "{name: default, base_url: http://a, prefix: /a}",
            "--upstream: upstreams[1].name: got 'default', expected another name than that of upstreams[0]",
        ),
    ],
)
def test_upstream_option_conflicts(
    entry: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--upstream` beside an upstream of that name is told in one sentence."""
    monkeypatch.chdir(tmp_path)
    Path("meter.yaml").write_text(f"upstreams: [{entry}]\n")

    assert report({"upstream": "http://d"}, {}, "meter.yaml") == [line]


@pytest.mark.parametrize("told", ["", ", default: true"])
def test_upstream_option_overrides_the_default(
    told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--upstream` serves what no prefix claims, whoever would have without it."""
    monkeypatch.chdir(tmp_path)
    Path("meter.yaml").write_text(f"upstreams: [{{name: a, base_url: http://a{told}}}]\n")

    settings = load("meter.yaml", {"upstream": "http://d"}, {})

    assert [(u.name, u.default) for u in settings.upstreams] == [("a", False), ("default", True)]


def test_lone_upstream_is_the_default(tmp_path: Path) -> None:
    """The only upstream without a prefix is the default, unless it says that it is not."""
    entries = "{name: a, base_url: http://a}, {name: b, base_url: http://b, prefix: /b}"
    lone = read(tmp_path, f"upstreams: [{entries}]\n")
    refusing = read(tmp_path, "upstreams: [{name: a, base_url: http://a, default: false}]\n")

    assert [u.default for u in (*lone.upstreams, *refusing.upstreams)] == [True, False, False]


def test_anchors_and_merges(tmp_path: Path) -> None:
    """YAML's anchors and merge keys work, and paths that they share are resolved once."""
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    settings = read(
        tmp_path,
        """upstreams:
  - &a {name: a, base_url: http://a, tls: {ca: ca.pem}}
  - {<<: *a, name: b, prefix: /b}
""",
    )

    assert [(u.name, u.tls.ca) for u in settings.upstreams] == [(n, str(tmp_path / "ca.pem")) for n in "ab"]


def test_empty_sections(tmp_path: Path) -> None:
    """A name without a value is as good as absent."""
    settings = read(tmp_path, GOOD + "keys:\nlog:\ntimeouts:\n  idle:\nlimits: {series: }\n")

    assert settings == read(tmp_path, GOOD)


def test_empty_asks_for_nothing(tmp_path: Path) -> None:
    """A name without a value, or off, asks for nothing that this version cannot do."""
    empty = "workers:\nbudgets:\ntls: {cert: , key: }\nledger: {url: }\nresponse_headers: {cost: }\n"
    off = "tracing: {endpoint: , propagate: no, content: 'off'}\n"

    assert read(tmp_path, GOOD + empty + off) == read(tmp_path, GOOD)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("timeouts.idle", 10**400, "a duration such as 30s, 15m, 1h"),
        ("limits.event_bytes", 10**400, "a size such as 10kB, 64MiB, 1GiB"),
        (
            "upstreams",
            [{"name": "a", "base_url": "http://h", "tls": {"ca": "a" * 5000}}],
            "a file that is there",
        ),
    ],
)
def test_beyond_all_bounds(name: str, value: object, expected: str) -> None:
    """What no number and no file name can be is told like any other wrong value."""
    upstream = {} if name == "upstreams" else {"upstream": "http://h"}
    (line,) = report({name: value, **upstream}, {})

    assert line.endswith(f", expected {expected}")


def test_key_reads_no_settings() -> None:
    """`meter key` imports neither settings nor pydantic."""
    code = (
        "import sys; from meter.cli import main; main(['key']);"
        "sys.exit(bool({'meter.settings', 'pydantic'} & sys.modules.keys()))"
    )
    done = subprocess.run(  # noqa: S603  # our own interpreter with our own code
        [sys.executable, "-c", code], input=b"sk-x\n", capture_output=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, b"")


def test_frozen() -> None:
    """Settings are read once and never change."""
    settings = load(None, {"upstream": "http://h"}, {})

    with pytest.raises(ValidationError):
        settings.port = 1


def test_made_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings made in code take nothing from the environment."""
    monkeypatch.setenv("METER_PORT", "1")

    assert Settings.model_validate({"upstreams": [{"name": "a", "base_url": "http://h"}]}).port == 8080


def test_environment_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no environment is handed in, the process's own counts."""
    monkeypatch.setenv("METER_PORT", "1")

    assert load(None, {"upstream": "http://h"}).port == 1


def test_show_reads_back(tmp_path: Path) -> None:
    """What is shown is a settings file that means the same."""
    first = read(tmp_path, GOOD + "timeouts: {connect: 1.25s}\nlimits: {body_bytes: 1025}\n")

    assert read(tmp_path, first.show()) == first


@examples(max_examples=100, deadline=None)
@given(
    name=st.sampled_from(
        ["METER_PORT", "METER_LIMITS", "METER_UPSTREAMS", "METER_A__B", "METER_", "METER___X"]
    ),
    value=st.text(st.characters(exclude_characters="\0", codec="utf-8")),
)
def test_no_variable_breaks_the_report(name: str, value: str) -> None:
    """Whatever a variable holds, settings come out or a report does."""
    try:
        settings = load(None, {"upstream": "http://h"}, {name: value})
    except SettingsError as error:
        assert str(error)  # noqa: PT017  # either way out is right
    else:
        assert settings.upstreams


@examples(max_examples=100, deadline=None)
@given(seconds=st.floats(min_value=0.001, max_value=1e8))
def test_shown_durations_read_back(seconds: float) -> None:
    """A duration in human form is the same duration but for its sixth digit."""
    shown = yaml.safe_load(load(None, {"upstream": "http://h", "timeouts.idle": seconds}, {}).show())

    assert load(
        None, {"upstream": "http://h", "timeouts.idle": shown["timeouts"]["idle"]}, {}
    ).timeouts.idle == (pytest.approx(seconds, rel=1e-5))
