"""An image run as a cluster runs it, by hand: there is nothing here that runs containers.

The process is number 1 of its own, as the image's user, without privileges and with no way to get any, and on
a root that is read-only but for the state. Entry point, command, variables and folder are the image's.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stage import until
from tools import needed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image.building import Image

__all__ = ["Container", "Runtime"]

_UNSHARE = ("unshare", "apt-get install -y --no-install-recommends util-linux")
_MOUNTS = """
set -e
root=$1 state=$2; shift 2
mount --bind "$root" "$root"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount --bind "$state" "$root/var/lib/meter"
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs "$@"
"""
_ENTER = """
import json, os, sys, warnings  # the last by name: inside, this Python finds no modules
told = json.loads(sys.argv[1])
os.chroot(told["root"])
os.chdir(told["folder"])
os.setgroups([])
os.setgid(told["group"])
os.setuid(told["user"])
os.execvpe(told["argv"][0], told["argv"], told["environ"])
"""


@dataclass(frozen=True)
class Container:
    """A process in an image."""

    process: subprocess.Popen[bytes]
    log: Path
    errors: Path

    def lines(self, event: str = "exchange") -> list[dict[str, Any]]:
        """Return the log's events of one kind so far."""
        lines = [
            json.loads(line) for line in self.log.read_bytes().splitlines(keepends=True) if line[-1:] == b"\n"
        ]
        return [line for line in lines if line["event"] == event]

    def ready(self) -> tuple[str, str]:
        """Return the URLs of the proxy and of the admin port, once both are listening everywhere."""

        def both() -> dict[str, str] | None:
            assert self.process.poll() is None, self.errors.read_text()
            urls = {line["listener"]: line["url"] for line in self.lines("ready")}
            return urls if len(urls) == 2 else None

        urls = until(both, seconds=30)
        assert all("//0.0.0.0:" in url for url in urls.values())
        proxy, admin = (f"http://127.0.0.1:{urls[name].rpartition(':')[2]}" for name in ("proxy", "admin"))
        return proxy, admin

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal to the first process inside."""
        first = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        os.kill(int(first), number)

    def ended(self) -> int:
        """Wait for the end; return the exit code."""
        return self.process.wait(60)


@dataclass(frozen=True)
class Runtime:
    """Runs an image, with a folder for its state."""

    image: Image
    folder: Path

    @property
    def state(self) -> Path:
        """What `/var/lib/meter` is inside."""
        return self.folder / "state"

    @contextmanager
    def run(self, *command: str, **environ: str) -> Iterator[Container]:
        """Run the image's entry point with a command, the image's own by default."""
        config = self.image.config
        with self._started([*config["Entrypoint"], *(command or config["Cmd"])], environ) as container:
            yield container

    def done(self, *argv: str, **environ: str) -> tuple[int, str]:
        """Run any program of the image to its end; return its exit code and what it printed."""
        with self._started(list(argv), environ) as container:
            code = container.ended()
        return code, container.log.read_text() + container.errors.read_text()

    def healthy(self, **environ: str) -> bool:
        """Run the image's health check, as an engine does; tell whether all is well."""
        kind, *argv = self.image.config["Healthcheck"]["Test"]
        assert "CMD" == kind
        return 0 == self.done(*argv, **environ)[0]

    @contextmanager
    def _started(self, argv: list[str], environ: dict[str, str]) -> Iterator[Container]:
        config = self.image.config
        user, group = map(int, config["User"].split(":"))
        self.state.mkdir(exist_ok=True)
        os.chown(self.state, user, group)
        told = {
            "root": str(self.image.root),
            "folder": config["WorkingDir"],
            "user": user,
            "group": group,
            "argv": argv,
            "environ": dict(variable.split("=", 1) for variable in config["Env"]) | environ,
        }
        number = len(list(self.folder.glob("*.log")))
        log, errors = self.folder / f"{number}.log", self.folder / f"{number}.err"
        alone = [needed(*_UNSHARE), "--mount", "--pid", "--fork", "--kill-child"]
        mounts = ["sh", "-c", _MOUNTS, "sh", told["root"], str(self.state)]
        enter = [sys.executable, "-c", _ENTER, json.dumps(told)]
        with (
            log.open("wb") as out,
            errors.open("wb") as err,
            subprocess.Popen(  # noqa: S603 - programs and arguments of ours
                [*alone, *mounts, *enter], stdin=subprocess.DEVNULL, stdout=out, stderr=err
            ) as process,
        ):
            try:
                yield Container(process, log, errors)
            finally:
                _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and the one inside, which has not been bound to it since it took another user."""
    with suppress(OSError):  # it has ended
        for inside in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(inside), signal.SIGKILL)
    process.kill()
