"""The commands, their exit codes and what they print."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from meter import __version__, app, cli, demo
from meter.keys import Credential

if TYPE_CHECKING:
    from pathlib import Path

    from meter.settings import Settings

GOOD = "upstreams: [{name: openai, base_url: https://api.openai.com/v1}]\n"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the variables of whoever runs it."""
    for name in list(os.environ):
        if name.startswith("METER_"):
            monkeypatch.delenv(name)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Collect what `serve` would have served."""
    collected: list[Settings] = []

    def run(settings: Settings, _: object) -> int:
        collected.append(settings)
        return 0

    monkeypatch.setattr(app, "run", run)
    return collected


def type_in(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    """Let standard input hold these bytes."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))


def meter(*argv: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the command in a process of its own."""
    return subprocess.run(  # noqa: S603  # our own interpreter with our own arguments
        [sys.executable, "-m", "meter", *argv], input=stdin, capture_output=True, check=False
    )


def test_version_of_the_module() -> None:
    """`python -m meter --version` prints name and version and exits with 0."""
    done = meter("--version")

    assert (0, f"meter {__version__}\n".encode(), b"") == (done.returncode, done.stdout, done.stderr)


def test_wrong_setting_has_no_traceback() -> None:
    """A wrong setting is one line on standard error and exit code 2."""
    done = meter("serve", "--upstream", "nonsense")

    assert (done.returncode, done.stdout) == (2, b"")
    assert (
        done.stderr
        == b"--upstream: upstreams[0].base_url: got 'nonsense', expected a URL such as https://host/v1\n"
    )


@pytest.mark.parametrize("argv", [["--help"], ["key"], ["config", "check", os.devnull]])
def test_quick_commands_import_no_server(argv: list[str]) -> None:
    """Help, `key` and `config check` do without aiohttp."""
    code = f"import sys; from meter.cli import main; main({argv!r}); sys.exit('aiohttp' in sys.modules)"
    done = subprocess.run(  # noqa: S603  # our own interpreter with our own code
        [sys.executable, "-c", code], input=b"sk-x\n", capture_output=True, check=False
    )

    assert done.returncode == 0


@pytest.mark.parametrize(
    "line",
    [
        "",
        "bogus",
        "reprot",
        "report --format pdf",
        "prices",
        "prices show",
        "reconcile --provider mistral",
        "serve --bogus",
        "serve --adm x",
        "config",
        "config check",
        "demo --port 70000",
        "demo --seconds -1",
        "demo --seconds soon",
    ],
)
def test_wrong_command_line(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong command line exits with 2 and says how it should be on standard error."""
    assert cli.main(line.split()) == 2

    printed = capsys.readouterr()
    assert (printed.out, "usage: meter" in printed.err) == ("", True)


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Help names the commands that are there and no others."""
    assert cli.main(["--help"]) == 0

    text = capsys.readouterr().out
    names = ("serve", "demo", "report", "reprice", "reconcile", "prices", "key", "config")
    assert list(names) == re.findall(r"^    (\w+)", text, re.MULTILINE)


def test_serve_options(served: list[Settings]) -> None:
    """Every option of `serve` reaches the settings."""
    argv = (
        "serve --upstream http://u:1/v1 --host 10.0.0.1 --port 0 --admin-host ::1 --admin-port 1 --workers 1"
    )

    assert cli.main([*argv.split(), "--ledger", "off"]) == 0
    settings = served[0]
    upstream = settings.upstreams[0]
    assert (upstream.name, upstream.base_url, upstream.default) == ("default", "http://u:1/v1", True)
    assert (settings.host, settings.port) == ("10.0.0.1", 0)
    assert (settings.admin_host, settings.admin_port) == ("::1", 1)
    assert (settings.workers, settings.ledger.url) == (1, "off")


def test_serve_precedence(served: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line wins over the environment, and the environment over the file."""
    file = tmp_path / "meter.yaml"
    file.write_text(GOOD + "port: 1\nadmin_port: 2\nhost: file\n")
    monkeypatch.setenv("METER_CONFIG", str(file))
    monkeypatch.setenv("METER_PORT", "3")
    monkeypatch.setenv("METER_ADMIN_PORT", "4")

    assert cli.main(["serve", "--port", "5"]) == 0
    assert (served[0].port, served[0].admin_port, served[0].host) == (5, 4, "file")


def test_config_option_wins_over_variable(
    served: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--config` is read in place of METER_CONFIG."""
    file = tmp_path / "meter.yaml"
    file.write_text(GOOD)
    monkeypatch.setenv("METER_CONFIG", str(tmp_path / "missing.yaml"))

    assert cli.main(["serve", "--config", str(file)]) == 0
    assert served[0].upstreams[0].name == "openai"


def test_wrong_price_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A price file that is not there is a wrong configuration."""
    file = tmp_path / "meter.yaml"
    file.write_text(GOOD + "prices: {files: [missing.yaml]}\nport: 0\nadmin_port: 0\n")

    assert cli.main(["serve", "--config", str(file)]) == 2
    assert f"{tmp_path}/missing.yaml: cannot be read" in capsys.readouterr().err


def test_wrong_price_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong in several price files is told at once."""
    file = tmp_path / "meter.yaml"
    file.write_text(GOOD + "prices: {files: [a.yaml, b.yaml, c.yaml]}\nport: 0\nadmin_port: 0\n")
    (tmp_path / "a.yaml").write_text("prices: [{per_request: -1}]\n")
    (tmp_path / "c.yaml").write_text("prices: [\n")

    assert cli.main(["serve", "--config", str(file)]) == 2
    told = [line.split(": ")[:2] for line in capsys.readouterr().err.splitlines()]
    assert told == [
        [f"{tmp_path}/a.yaml:1", "prices[0].model"],
        [f"{tmp_path}/a.yaml:1", "prices[0].per_request"],
        [f"{tmp_path}/b.yaml", "cannot be read"],
        [f"{tmp_path}/c.yaml:2", "no YAML"],
    ]


def test_runtime_failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What the system refuses is one sentence and exit code 1."""

    def run(*_: object) -> int:
        raise OSError(98, "Address already in use")

    monkeypatch.setattr(app, "run", run)

    assert cli.main(["serve", "--upstream", "http://u"]) == 1
    assert capsys.readouterr().err == "meter: address already in use\n"


def test_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt that no command took exits as shells expect."""

    def run(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "run", run)

    assert cli.main(["serve", "--upstream", "http://u"]) == 130


def test_demo_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every option of `demo` reaches the demo."""
    calls: list[dict[str, object]] = []

    def run(**options: object) -> int:
        calls.append(options)
        return 0

    monkeypatch.setattr(demo, "run", run)

    assert [
        cli.main(["demo"]),
        cli.main(["demo", "--port", "0", "--admin-port", "1", "--seconds", "2.5", "--no-traffic"]),
        cli.main(["demo", "--host", "h", "--admin-host", "a"]),
    ] == [0, 0, 0]
    usual = {"host": "127.0.0.1", "port": 8080, "admin_host": "127.0.0.1", "admin_port": 9464}
    assert calls == [
        {**usual, "seconds": None, "traffic": True},
        {**usual, "port": 0, "admin_port": 1, "seconds": 2.5, "traffic": False},
        {**usual, "host": "h", "admin_host": "a", "seconds": None, "traffic": True},
    ]


@pytest.mark.parametrize(
    "typed", [b"sk-x\n", b"sk-x", b"sk-x\r\nmore\n", b"Bearer sk-x\n", b"  bearer  sk-x\n"]
)
def test_key(typed: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`key` prints the fingerprint of the first line, without what surrounds a credential."""
    type_in(monkeypatch, typed)

    assert cli.main(["key"]) == 0
    assert (Credential(b"sk-x").fingerprint(None) + "\n", "") == tuple(capsys.readouterr())


def test_key_with_salt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`key` honours the salt."""
    monkeypatch.setenv("METER_KEY_SALT", "pepper")
    type_in(monkeypatch, b"sk-x\n")

    assert cli.main(["key"]) == 0
    assert Credential(b"sk-x").fingerprint(b"pepper") + "\n" == capsys.readouterr().out


def test_key_is_hidden_when_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal `key` asks without an echo."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda _: "sk-x")

    assert cli.main(["key"]) == 0
    assert Credential(b"sk-x").fingerprint(None) + "\n" == capsys.readouterr().out


@pytest.mark.parametrize("typed", [b"", b"\n", b"Bearer \n"])
def test_empty_key(typed: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """No credential is a wrong command line."""
    type_in(monkeypatch, typed)

    assert cli.main(["key"]) == 2
    assert capsys.readouterr().err == "meter: got nothing, expected a credential on standard input\n"


def test_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`config check` says ok to a good file, whatever the environment holds."""
    file = tmp_path / "meter.yaml"
    file.write_text(GOOD)
    monkeypatch.setenv("METER_PORT", "nonsense")

    assert cli.main(["config", "check", str(file)]) == 0
    assert (f"{file}: ok\n", "") == tuple(capsys.readouterr())


def test_check_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`config check` reports everything that is wrong and exits with 2."""
    file = tmp_path / "meter.yaml"
    file.write_text("port: x\nhots: y\n")

    assert cli.main(["config", "check", str(file)]) == 2
    printed = capsys.readouterr()
    assert (printed.out, len(printed.err.splitlines())) == ("", 3)


def test_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`config show` prints what holds, with secrets masked."""
    file = tmp_path / "meter.yaml"
    file.write_text(GOOD + "admin: {token: top-secret}\n")
    monkeypatch.setenv("METER_TIMEOUTS__IDLE", "90")

    assert cli.main(["config", "show", "--config", str(file)]) == 0
    text = capsys.readouterr().out
    assert ("idle: 90s" in text, "token: '***'" in text, "top-secret" in text) == (True, True, False)


def test_show_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    """`config show` of wrong settings exits with 2."""
    assert cli.main(["config", "show"]) == 2
    assert capsys.readouterr().err.startswith("upstreams: there is none")
