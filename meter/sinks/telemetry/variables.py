"""OpenTelemetry's standard variables, as far as Meter reads them itself.

What is written wrong is told in a sentence, at the start. What headers say, the names of certificates' files
and the limits of attributes are left to the library, which reads them from the same environment.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from meter.sinks.telemetry.errors import TelemetryError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LOGS", "METRICS", "TRACES", "Way", "count", "disabled", "exporters", "milliseconds", "way"]

TRACES, METRICS, LOGS = "traces", "metrics", "logs"

_PROTOCOLS = ("http/protobuf", "grpc")
_COMPRESSIONS = {"http/protobuf": ("none", "gzip", "deflate"), "grpc": ("none", "gzip", "deflate")}
_FILES = ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")
_FIELD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*=")
_TIMEOUT_SECONDS = 10.0
_LEAST_MILLISECONDS = 100
"""What is less was meant as seconds: OpenTelemetry's Python library takes the variable for those."""


@dataclass(frozen=True, slots=True)
class Way:
    """Where one signal goes, and how."""

    endpoint: str
    """HTTP: the whole URL; gRPC: a URL of host and port, or `host:port`."""
    grpc: bool
    timeout: float
    """Seconds that one batch may take, all attempts together."""
    compression: str
    """`none`, `gzip` or `deflate`."""


def disabled(environ: Mapping[str, str]) -> bool:
    """Tell whether telemetry is switched off altogether."""
    return environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def exporters(environ: Mapping[str, str], signal: str) -> frozenset[str]:
    """Return what the exporters of a signal are said to be; empty where nothing is said."""
    told = environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").lower().split(",")
    return frozenset(name.strip() for name in told if name.strip())


def way(
    environ: Mapping[str, str], signal: str, endpoint: str | None = None, protocol: str | None = None
) -> Way | None:
    """Return where a signal goes; None where no variable says, and `endpoint` and `protocol` neither.

    Those two are settings, and win over variables. Raises TelemetryError.
    """
    name, told = _own(environ, signal, "PROTOCOL")
    speaks = protocol or told or _PROTOCOLS[0]
    if speaks not in _PROTOCOLS:
        raise TelemetryError(f"{name}: got {speaks!r}, expected {' or '.join(_PROTOCOLS)}")
    grpc = speaks == "grpc"
    found = _endpoint(environ, signal, endpoint, grpc=grpc)
    if found is None:
        return None
    for kind in _FILES:
        name, file = _own(environ, signal, kind)
        if file is not None and not Path(file).is_file():
            raise TelemetryError(f"{name}: got {file!r}, expected the name of a file")
    # They may hold a password, and the library would repeat what it cannot read.
    for name, pairs in (
        _own(environ, signal, "HEADERS"),
        ("OTEL_RESOURCE_ATTRIBUTES", environ.get("OTEL_RESOURCE_ATTRIBUTES")),
    ):
        if not all(_FIELD.match(pair.strip()) for pair in (pairs or "").split(",") if pair.strip()):
            raise TelemetryError(
                f"{name}: got something else, expected name=value,name=value, percent-encoded"
            )
    name, compression = _own(environ, signal, "COMPRESSION")
    known = _COMPRESSIONS[speaks]
    if compression is not None and compression not in known:
        raise TelemetryError(f"{name}: got {compression!r}, expected {', '.join(known[:-1])} or {known[-1]}")
    return Way(found, grpc, _timeout(environ, signal), compression or "none")


def _own(environ: Mapping[str, str], signal: str, kind: str) -> tuple[str, str | None]:
    """Return the variable that holds for a signal, and its value; the signal's own wins."""
    names = (f"OTEL_EXPORTER_OTLP_{signal.upper()}_{kind}", f"OTEL_EXPORTER_OTLP_{kind}")
    told = ((name, environ.get(name, "").strip()) for name in names)
    return next(((name, value) for name, value in told if value), (names[-1], None))


def _endpoint(environ: Mapping[str, str], signal: str, setting: str | None, *, grpc: bool) -> str | None:
    name, told = ("tracing.endpoint", setting) if setting is not None else _own(environ, signal, "ENDPOINT")
    if told is None:
        return None
    if not _is_endpoint(told, grpc=grpc):
        such = "host:4317 or a URL such as http://host:4317" if grpc else "a URL such as http://host:4318"
        raise TelemetryError(f"{name}: got something else, expected {such}")  # it may hold a password
    whole = grpc or name == f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"
    return told if whole else _with_path(told, signal)


def _is_endpoint(told: str, *, grpc: bool) -> bool:
    if grpc and "://" not in told:
        told = f"http://{told}"
    try:
        url = urlsplit(told)
        sound = not any(character.isspace() for character in told)
        return sound and url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        return False


def _with_path(base: str, signal: str) -> str:
    """Return the URL of a signal below a collector's; one that names the path of spans is taken for that."""
    return f"{base.rstrip('/').removesuffix('/v1/traces')}/v1/{signal}"


def _timeout(environ: Mapping[str, str], signal: str) -> float:
    name, told = _own(environ, signal, "TIMEOUT")
    if told is None:
        return _TIMEOUT_SECONDS
    number = _number(told)
    if number is None or number <= 0:
        raise TelemetryError(f"{name}: got {told!r}, expected a number of milliseconds above 0")
    return number if number < _LEAST_MILLISECONDS else number / 1000


def milliseconds(environ: Mapping[str, str], name: str, default: float) -> float:
    """Return a variable's milliseconds as seconds; `default` is in seconds too."""
    told = environ.get(name, "").strip()
    if not told:
        return default
    number = _number(told)
    if number is None or number <= 0:
        raise TelemetryError(f"{name}: got {told!r}, expected a number of milliseconds above 0")
    return number / 1000


def count(environ: Mapping[str, str], name: str, default: int) -> int:
    """Return a variable's whole number above 0."""
    told = environ.get(name, "").strip()
    if not told:
        return default
    if not (told.isascii() and told.isdecimal() and int(told) > 0):
        raise TelemetryError(f"{name}: got {told!r}, expected a whole number above 0")
    return int(told)


def _number(told: str) -> float | None:
    try:
        number = float(told)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
