"""One frozen `Settings`, read once: command line over environment over YAML file over defaults.

Each source becomes a layer: a tree of values, and beside each value where it came from. The layers are
merged, the types below say what is wrong with the result, `_contradictions` says what does not fit
together, `_UNSUPPORTED` what this version cannot do yet, and all of it comes out at once as lines that name
the source, the key, what came and what was expected. A value that may be a secret is never repeated.

pydantic's own settings sources are not used: they stop at the first variable that they cannot decode, and
forget where a value came from.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeAlias, get_args
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from meter import providers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pydantic_core import ErrorDetails

__all__ = ["Key", "Settings", "SettingsError", "Timeouts", "UpstreamSettings", "load"]

_Path: TypeAlias = tuple[str | int, ...]


class SettingsError(Exception):
    """Something is wrong with the settings; its text is the whole report, one line for each wrong setting."""

    def __init__(self, lines: Iterable[str]) -> None:
        super().__init__("\n".join(lines))


# --- Types: each says what it expects in words that a message can quote


def _expected(what: str) -> PydanticCustomError:
    return PydanticCustomError("expected", "{what}", {"what": what})


_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)?", re.IGNORECASE)
_BYTES = {
    "TiB": 2**40,
    "GiB": 2**30,
    "MiB": 2**20,
    "KiB": 2**10,
    "TB": 10**12,
    "GB": 10**9,
    "MB": 10**6,
    "kB": 10**3,
    "B": 1,
}
_BYTES_BY_LOWER = {unit.lower(): size for unit, size in _BYTES.items()}


def _quantity(value: object, form: re.Pattern[str], units: Mapping[str, float], plain: str) -> float:
    """Return a number with a unit as a number of the plain unit; NaN where it is nothing of the kind."""
    if isinstance(value, str) and (match := form.fullmatch(value.strip())):
        return float(match[1]) * units[(match[2] or plain).lower()]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return math.nan


def _above(number: float, *, zero: bool) -> bool:
    return 0 < number < math.inf or (zero and number == 0)


def _least(number: float, *, zero: bool) -> str:
    if not number <= 0:  # NaN included: what is no number at all is not too small
        return ""
    return ", 0 or more" if zero else ", above 0"


def _duration(*, zero: bool) -> Callable[[object], float]:
    def read(value: object) -> float:
        seconds = _quantity(value, _DURATION, _SECONDS, "s")
        if not _above(seconds, zero=zero):
            raise _expected("a duration such as 30s, 15m, 1h" + _least(seconds, zero=zero))
        return seconds

    return read


def _size(*, zero: bool) -> Callable[[object], int]:
    def read(value: object) -> int:
        size = _quantity(value, _SIZE, _BYTES_BY_LOWER, "b")
        if not _above(size, zero=zero) or size != int(size):
            raise _expected("a size such as 10kB, 64MiB, 1GiB" + _least(size, zero=zero))
        return int(size)

    return read


def _size_or_off(value: object) -> int | None:
    if value in ("off", False, None):
        return None
    try:
        return _size(zero=False)(value)
    except PydanticCustomError:
        raise _expected("a size such as 10kB, 64MiB, 1GiB, or off") from None


def _in_units(value: float, units: Mapping[str, float]) -> str:
    """Return the shortest exact spelling: the largest unit of which there is a whole number."""
    for unit, size in units.items():
        if value >= size and math.isclose(value / size, round(value / size), rel_tol=1e-12):
            return f"{round(value / size)}{unit}"
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _show_duration(seconds: float) -> str:
    return _in_units(seconds, _SECONDS)


def _show_size(size: int | None) -> str:
    return "off" if size is None else _in_units(size, _BYTES)


def _on_off(value: object) -> object:
    """Undo what YAML makes of `on` and `off`, where a JSON list or another writer has already decided."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


def _url(value: str, schemes: Sequence[str], *, credentials: bool) -> str:
    what = f"a URL such as {schemes[0]}://host" + (":3128" if credentials else "/v1")
    try:
        url = urlsplit(value)
        sound = url.scheme in schemes and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        sound = False
    if not sound or re.search(r"[\s\x00-\x20\x7f]", value):
        raise _expected(what)
    for mark, name in (("?", "a query"), ("#", "a fragment")):
        if mark in value:
            raise _expected(f"{what}, without {name}")
    if "@" in url.netloc and not credentials:
        raise _expected(f"{what}, without credentials inside")
    return value


def _base_url(value: str) -> str:
    return _url(value, ("https", "http"), credentials=False)


def _proxy(value: str) -> str:
    if value in ("off", "env"):
        return value
    try:
        return _url(value, ("http", "https"), credentials=True)
    except PydanticCustomError:
        raise _expected("off, env, or a URL such as http://host:3128") from None


def _matching(pattern: str, what: str) -> AfterValidator:
    form = re.compile(pattern)

    def check(value: str) -> str:
        if not form.fullmatch(value):
            raise _expected(what)
        return value

    return AfterValidator(check)


# fmt: off
_RESERVED_LABELS = frozenset((
    "budget", "code", "error_type", "key", "kind", "label", "le", "model", "operation", "outcome", "period",
    "phase", "price_status", "quantile", "reason", "resource", "sink", "stream", "unit", "upstream",
    "usage_source",
))
# fmt: on


def _port(value: int) -> int:
    if not 0 <= value <= 65535:  # noqa: PLR2004  # the field in a TCP header has 16 bits
        raise _expected("a port from 0 to 65535")
    return value


def _label(value: str) -> str:
    if value in _RESERVED_LABELS:
        raise _expected("a label name that the metrics do not use themselves")
    return value


def _file(value: str) -> str:
    if not Path(value).is_file():
        raise _expected("a file that is there")
    return value


def _masked(url: str) -> str:
    """Return a URL without what may be secret: user, password and query."""
    return re.sub(r"\?.*", "?***", re.sub(r"(?<=//)[^/]*@", "***@", url), flags=re.DOTALL)


Duration = Annotated[float, BeforeValidator(_duration(zero=False)), PlainSerializer(_show_duration)]
DurationOrZero = Annotated[float, BeforeValidator(_duration(zero=True)), PlainSerializer(_show_duration)]
Size = Annotated[int, BeforeValidator(_size(zero=False)), PlainSerializer(_show_size)]
SizeOrZero = Annotated[int, BeforeValidator(_size(zero=True)), PlainSerializer(_show_size)]
SizeOrOff = Annotated[int | None, BeforeValidator(_size_or_off), PlainSerializer(_show_size)]
Port = Annotated[int, AfterValidator(_port)]
Count = Annotated[int, Field(ge=0)]
Name = Annotated[str, _matching(r"[A-Za-z0-9._-]+", "letters, digits, dots, dashes and underscores")]
Text = Annotated[str, _matching(r"(?s).+", "a text that is not empty")]
Prefix = Annotated[
    str,
    _matching(
        r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+", "a path such as /deepseek, without a slash at its end"
    ),
]
Fingerprint = Annotated[str, _matching(r"k_[0-9a-f]{12}", "k_ and 12 hex digits, as `meter key` prints them")]
HeaderName = Annotated[str, _matching(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", "the name of a header")]
Label = Annotated[
    str,
    _matching(r"(?!__)[A-Za-z_][A-Za-z0-9_]*", "a label name: letters, digits and underscores"),
    AfterValidator(_label),
]
Secret = Annotated[SecretStr, PlainSerializer(lambda _: "***")]
Switchable = BeforeValidator(_on_off)


# --- The settings, named as in the file


class _Group(BaseModel):
    """Settings that belong together: frozen, and no other member is taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, values: Any) -> Any:
        """Leave out what has a name and no value, such as a section whose lines are all comments."""
        if not isinstance(values, dict):
            return values
        return {
            name: value for name, value in values.items() if value is not None or name not in cls.model_fields
        }


class UpstreamTls(_Group):
    """How an upstream's certificate is checked."""

    ca: Annotated[str, AfterValidator(_file)] | None = None
    """Path of a file of certificates to trust; `None`: the system's."""
    verify: bool = True


class Drain(_Group):
    """How long and how much is still read from an upstream after the client has left."""

    seconds: DurationOrZero = 60.0
    bytes: SizeOrZero = 10 * 2**20


class UpstreamTimeouts(_Group):
    """Timeouts of one upstream, in seconds; `None`: as for all."""

    connect: Duration | None = None
    idle: Duration | None = None


class UpstreamSettings(_Group):
    """A server that Meter stands in front of."""

    name: Name
    base_url: Annotated[str, AfterValidator(_base_url)]
    default: bool = False
    prefix: Prefix | None = None
    provider: Annotated[Name | None, Field(validate_default=True)] = None
    """As it was written, else the one that the host gives away, else `None`."""
    usage: Literal["auto", "ask", "never"] = "auto"
    on_client_disconnect: Literal["cancel", "drain"] = "cancel"
    drain: Drain = Drain()
    tls: UpstreamTls = UpstreamTls()
    proxy: Annotated[str, Switchable, AfterValidator(_proxy), PlainSerializer(_masked)] = "off"
    """`off`, `env`, or the URL of a proxy."""
    resend_post: bool = False
    timeouts: UpstreamTimeouts = UpstreamTimeouts()

    @field_validator("provider")
    @classmethod
    def _guessed(cls, provider: str | None, info: ValidationInfo) -> str | None:
        return provider or providers.guess(urlsplit(info.data.get("base_url", "")).hostname or "")

    @property
    def tells_usage(self) -> bool:
        """Streams of this provider carry usage unasked."""
        return providers.tells_usage(self.provider)


class Key(_Group):
    """A name for a fingerprint; several fingerprints may share one."""

    name: Text
    fingerprint: Fingerprint
    tags: dict[Text, str] = {}


class Attribution(_Group):
    """Which request headers become tags, and which tags become metric labels."""

    headers: dict[Text, HeaderName] = {}
    """Tag to header."""
    labels: tuple[Label, ...] = ()
    strip: bool = False
    """These headers stay home."""


class Prices(_Group):
    """Where prices come from."""

    files: tuple[Text, ...] = ()
    catalogue: Annotated[Literal["on", "known", "off"], Switchable] = "on"


class Usage(_Group):
    """What is done where an upstream tells no usage."""

    estimate: bool = True


class Timeouts(_Group):
    """All in seconds."""

    connect: Duration = 10.0
    idle: Duration = 900.0
    """No byte from the upstream."""
    client_head: Duration = 30.0
    client_body: Duration = 60.0
    keep_alive: Duration = 75.0
    drain: DurationOrZero = 300.0


class Series(_Group):
    """How many values of each label the metrics take before they fold."""

    model: Count = 200
    key: Count = 200
    tag: Count = 100
    id_sets: Count = 1000


class Limits(_Group):
    """Sizes in bytes."""

    inspect_bytes: SizeOrZero = 64 * 2**20
    inspect_total: SizeOrZero = 512 * 2**20
    event_bytes: Size = 2**20
    body_bytes: SizeOrOff = None
    """`None`: any size."""
    header_bytes: Size = 64 * 2**10
    series: Series = Series()


class ResponseHeaders(_Group):
    """What is added to the head of an answer."""

    id: bool = True
    cost: bool = False


class Tls(_Group):
    """Certificate of the proxy port."""

    cert: str | None = None
    key: str | None = None


class Admin(_Group):
    """Who may read the admin port."""

    token: Secret | None = None
    public: tuple[Literal["healthz", "readyz", "metrics"], ...] = ("healthz", "readyz", "metrics")


class Ledger(_Group):
    """Where exchanges are kept."""

    url: Annotated[str, Switchable, PlainSerializer(_masked)] | None = None
    retention: Duration = 90 * 86400.0
    rollups: bool = True


class Metrics(_Group):
    """Nothing can be set yet."""


class Tracing(_Group):
    """Where spans go and what they carry."""

    endpoint: str | None = None
    propagate: bool = False
    content: bool = False


class Log(_Group):
    """How the log is written."""

    format: Literal["json", "console"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(_Group):
    """Everything that can be set. `load` reads it; made directly, it takes nothing from anywhere."""

    upstreams: tuple[UpstreamSettings, ...]
    keys: tuple[Key, ...] = ()
    attribution: Attribution = Attribution()
    prices: Prices = Prices()
    budgets: tuple[dict[str, Any], ...] = ()
    usage: Usage = Usage()
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    forwarded: Annotated[Literal["off", "append"], Switchable] = "off"
    response_headers: ResponseHeaders = ResponseHeaders()
    tls: Tls = Tls()
    admin: Admin = Admin()
    ledger: Ledger = Ledger()
    metrics: Metrics = Metrics()
    tracing: Tracing = Tracing()
    log: Log = Log()
    host: Text = "127.0.0.1"
    port: Port = 8080
    admin_host: Text = "127.0.0.1"
    admin_port: Port = 9464
    workers: Annotated[int, Field(ge=1)] = 1

    @field_validator("upstreams")
    @classmethod
    def _lone_one_is_default(cls, upstreams: tuple[UpstreamSettings, ...]) -> tuple[UpstreamSettings, ...]:
        open_ones = [upstream for upstream in upstreams if upstream.prefix is None]
        decided = any(upstream.default for upstream in upstreams)
        if decided or len(open_ones) != 1 or "default" in open_ones[0].model_fields_set:
            return upstreams
        return tuple(
            upstream.model_copy(update={"default": True}) if upstream is open_ones[0] else upstream
            for upstream in upstreams
        )

    def timeouts_for(self, upstream: UpstreamSettings) -> Timeouts:
        """Return the timeouts with those that this upstream sets for itself."""
        own = {name: value for name, value in upstream.timeouts if value is not None}
        return self.timeouts.model_copy(update=own)

    def show(self) -> str:
        """Return the settings as YAML, durations and sizes in human form and secrets as `***`."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False, allow_unicode=True, width=110)


# --- Layers: what each source says, and where


class _Origin(NamedTuple):
    source: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


class _Problem(NamedTuple):
    origin: _Origin | None
    text: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.text}" if self.origin else self.text


class _Layer(NamedTuple):
    values: dict[str, Any]
    origins: dict[_Path, _Origin]


class _Loader(yaml.SafeLoader):
    """YAML 1.2's idea of booleans: `on`, `off`, `yes` and `no` are words; a date is a text.

    A name that is given twice is refused: the first would be lost in silence.
    """

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[Any] = set()
        for name, _ in node.value:
            if isinstance(name, yaml.ScalarNode) and name.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"{name.value} is given twice", problem_mark=name.start_mark
                )
            seen.add(name.value if isinstance(name, yaml.ScalarNode) else name)
        return node


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, form)
        for tag, form in resolvers
        if not tag.endswith(":timestamp") and not (tag.endswith(":bool") and first in "yYnNoO")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _file_layer(name: str) -> _Layer:
    try:
        loader = _Loader(Path(name).read_bytes())
        node = loader.get_single_node()
        values = loader.construct_document(node) if node else {}
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise SettingsError([f"{name}: cannot be read: {reason}"]) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        # A secret that lacks its quotes and begins with * or ! is an alias or a tag, and YAML would name it.
        problem = re.sub(r"\b(alias|anchor|tag)\b.*", r"\1", error.problem or "", flags=re.DOTALL)
        raise SettingsError([f"{name}:{line}: not valid YAML: {problem}"]) from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise SettingsError(
            [f"{name}: not valid YAML: a character or value that YAML does not know"]
        ) from None
    if values is not None and not isinstance(values, dict):
        raise SettingsError([f"{name}:1: got {_kind(values)}, expected a mapping of settings"])
    _anchor_paths(values, Path(name).parent)
    return _Layer(values or {}, dict(_lines(node, (), _Origin(name))) if node else {(): _Origin(name)})


_DEEPEST = 12


def _lines(node: yaml.Node, path: _Path, origin: _Origin) -> Iterator[tuple[_Path, _Origin]]:
    """Yield where each value of a document stands: on the line of its name, else on its own."""
    yield path, origin
    if len(path) > _DEEPEST:  # an alias may point to what it is part of
        return
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if isinstance(name, yaml.ScalarNode):
                line = origin._replace(line=name.start_mark.line + 1)
                yield from _lines(value, (*path, name.value), line)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            line = origin._replace(line=value.start_mark.line + 1)
            yield from _lines(value, (*path, index), line)


_RELATIVE: tuple[tuple[str, ...], ...] = (("prices", "files", "*"), ("upstreams", "*", "tls", "ca"))


def _anchor_paths(values: Any, folder: Path) -> None:
    """Make paths in a file mean what they mean beside it, wherever Meter is started."""
    for pattern in _RELATIVE:
        for path, value in list(_found(values, pattern)):
            if isinstance(value, str) and value:
                _at(values, path[:-1])[path[-1]] = str(folder / value)


# Kubernetes gives every pod variables for every Service, and one of them may well be named `meter`.
_SERVICE_LINK = re.compile(
    r"METER_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)"
)
_SERVICE_URL = re.compile(r"(?:tcp|udp|sctp)://.*")
_READ_APART = frozenset({"METER_CONFIG", "METER_KEY_SALT"})


def _ours(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in sorted(environ.items()):
        linked = _SERVICE_LINK.fullmatch(name) or (name.endswith("_PORT") and _SERVICE_URL.fullmatch(value))
        if name.startswith("METER_") and value and name not in _READ_APART and not linked:
            yield name, value


def _environment_layer(environ: Mapping[str, str]) -> _Layer:
    layer = _Layer({}, {})
    for name, value in _ours(environ):
        path = tuple(name.removeprefix("METER_").lower().split("__"))
        _put(layer, path, _decoded(value), _Origin(name))
    return layer


def _decoded(value: str) -> object:
    """Return what a variable says: JSON where it is a list or an object, else its text."""
    if value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _command_line_layer(overrides: Mapping[str, Any], lower: Mapping[str, Any]) -> _Layer:
    layer = _Layer({}, {})
    for name, value in overrides.items():
        if name != "upstream":
            _put(layer, tuple(name.split(".")), value, _Origin("--" + name.split(".")[0].replace("_", "-")))
    others = lower.get("upstreams") or []
    if "upstream" in overrides and isinstance(others, list):
        given = {"name": "default", "base_url": overrides["upstream"], "default": True}
        layer.values["upstreams"] = [*others, given]
        layer.origins["upstreams", len(others)] = _Origin("--upstream")
    return layer


def _put(layer: _Layer, path: tuple[str, ...], value: object, origin: _Origin) -> None:
    *parents, last = path
    node = layer.values
    for part in parents:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):  # a parent that is no mapping is reported as itself
            return
    node[last] = value
    for index in range(1, len(path)):
        layer.origins.setdefault(path[:index], origin)
    layer.origins.update({(*path, *rest): origin for rest, _ in _leaves(value)})


def _leaves(value: object, path: _Path = ()) -> Iterator[tuple[_Path, object]]:
    yield path, value
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _leaves(member, (*path, name))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _leaves(member, (*path, index))


def _merged(upper: Mapping[str, Any], lower: Mapping[str, Any]) -> dict[str, Any]:
    """Return `lower` with what `upper` says instead; mappings are merged, everything else is replaced."""
    merged = dict(lower)
    for name, value in upper.items():
        below = merged.get(name)
        merged[name] = _merged(value, below) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged


def _at(values: Any, path: _Path) -> Any:
    for part in path:
        values = values[part]
    return values


def _found(values: Any, pattern: tuple[str, ...], path: _Path = ()) -> Iterator[tuple[_Path, Any]]:
    """Yield path and value of everything that a path with `*` for any entry of a list points to."""
    if not pattern:
        yield path, values
    elif pattern[0] == "*":
        for index, entry in enumerate(values if isinstance(values, list | tuple) else ()):
            yield from _found(entry, pattern[1:], (*path, index))
    elif isinstance(values, dict) and pattern[0] in values:
        yield from _found(values[pattern[0]], pattern[1:], (*path, pattern[0]))


# --- What does not fit together, and what this version cannot do: both look at values as they came


def _given(value: object) -> bool:
    return bool(value)


# Delete a row when the thing is built.
_UNSUPPORTED: tuple[tuple[tuple[str, ...], Callable[[Any], bool], str], ...] = (
    (("workers",), lambda value: str(value) != "1", "more than one worker is not supported by this version"),
    (("budgets",), _given, "not supported by this version"),
    (("tracing", "endpoint"), _given, "not supported by this version"),
    (("tls", "cert"), _given, "not supported by this version"),
    (("tls", "key"), _given, "not supported by this version"),
    (("ledger", "url"), lambda value: bool(value) and value != "off", "not supported by this version"),
    (
        ("upstreams", "*", "on_client_disconnect"),
        lambda value: value == "drain",
        "drain is not supported by this version",
    ),
)

_UNIQUE: tuple[tuple[tuple[str, ...], str], ...] = (
    (("upstreams", "*", "name"), "name"),
    (("upstreams", "*", "prefix"), "prefix"),
    (("keys", "*", "fingerprint"), "fingerprint"),
)


def _unsupported(values: Mapping[str, Any]) -> Iterator[tuple[_Path, str]]:
    for pattern, wanted, sentence in _UNSUPPORTED:
        for path, value in _found(values, pattern):
            if wanted(value):
                yield path, sentence


_NO_UPSTREAM = (
    "there is none: give one with --upstream https://api.openai.com/v1, or in the file as "
    "`upstreams: [{name: openai, base_url: https://api.openai.com/v1}]`"
)


def _contradictions(values: Mapping[str, Any]) -> Iterator[tuple[_Path, str]]:
    if values.get("upstreams") == []:
        yield ("upstreams",), _NO_UPSTREAM
    for pattern, what in _UNIQUE:
        first: dict[str, _Path] = {}
        for path, value in _found(values, pattern):
            if isinstance(value, str) and first.setdefault(value, path) != path:
                other = _dotted(first[value][:-1])
                yield path, f"got {_shown(path, value)}, expected another {what} than that of {other}"
    defaults = [path for path, value in _found(values, ("upstreams", "*", "default")) if _true(value)]
    for path in defaults[1:]:
        yield path, f"{_dotted(defaults[0][:-1])} is the default already, expected one default at most"
    open_ones = [
        (path, entry)
        for path, entry in _found(values, ("upstreams", "*"))
        if isinstance(entry, dict) and entry.get("prefix") is None
    ]
    for path, entry in open_ones if defaults or len(open_ones) > 1 else ():
        if "default" not in entry:  # whoever says `default: false` has thought of it
            yield path, "nothing would reach it, expected a prefix or default: true"


def _true(value: object) -> bool:
    return str(value).lower() in {"true", "yes", "on", "1", "y", "t"}


# --- Reading


def load(
    config: str | None, overrides: Mapping[str, Any], environ: Mapping[str, str] | None = None
) -> Settings:
    """Read the settings from a file's name, the command line and the environment (`os.environ`).

    `overrides` are the options that were given, by dotted name (`port`, `ledger.url`), and `upstream`, a
    URL, which adds an upstream named `default`. Raises `SettingsError` with all that is wrong.
    """
    file = _file_layer(config) if config else _Layer({}, {})
    environment = _environment_layer(os.environ if environ is None else environ)
    lower = _merged(environment.values, file.values)
    command_line = _command_line_layer(overrides, lower)
    values = _merged(command_line.values, lower)
    layers = (command_line, environment, file)
    problems: dict[_Path, _Problem] = {}
    settings = None
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            path = tuple(part for part in details["loc"] if part != "[key]")
            # What is missing stands nowhere: the thing that should have it does.
            where = path[:-1] if details["type"] == "missing" else path
            problems.setdefault(path, _Problem(_origin(where, layers), _sentence(path, details)))
    for path, sentence in (*_contradictions(values), *_unsupported(values)):
        problems.setdefault(path, _Problem(_origin(path, layers), f"{_dotted(path)}: {sentence}"))
    if settings is None or problems:
        raise SettingsError(map(str, sorted(problems.values(), key=_reading_order)))
    return settings


def _reading_order(problem: _Problem) -> tuple[bool, str, int]:
    """Options first, then variables, each by name; then the file from top to bottom."""
    origin = problem.origin or _Origin("")
    return origin.line > 0, origin.source, origin.line


def _origin(path: _Path, layers: Sequence[_Layer]) -> _Origin | None:
    """Return where a value came from: the highest layer that knows most of its path."""
    for length in range(len(path), 0, -1):
        for layer in layers:
            if origin := layer.origins.get(path[:length]):
                return origin
    return next((layer.origins[()] for layer in reversed(layers) if () in layer.origins), None)


# --- Words


_EXPECTED = {
    "string_type": "expected a text (a number or true/false needs quotes)",
    "int_parsing": "expected a whole number",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "bool_parsing": "expected true or false",
    "bool_type": "expected true or false",
    "tuple_type": "expected a list",
    "dict_type": "expected a mapping",
    "model_type": "expected a mapping",
    "model_attributes_type": "expected a mapping",
    "expected": "expected {what}",
    "literal_error": "expected {expected}",
    "greater_than_equal": "expected {ge} or more",
    "invalid_key": "expected the name of a setting",
}


def _sentence(path: _Path, details: ErrorDetails) -> str:
    kind = details["type"]
    if kind == "extra_forbidden":
        return _unknown(path)
    if path == ("upstreams",) and kind == "missing":
        return f"{_dotted(path)}: {_NO_UPSTREAM}"
    if kind == "missing":
        return f"{_dotted(path)}: missing, expected a value"
    context = {name: str(value).replace("'", "") for name, value in details.get("ctx", {}).items()}
    expected = _EXPECTED.get(kind, "expected another value").format(**context)
    return f"{_dotted(path)}: got {_shown(path, details['input'])}, {expected}"


def _unknown(path: _Path) -> str:
    *parents, name = path
    members = list(_members(tuple(parents)))
    near = difflib.get_close_matches(str(name), members, n=1)
    if near:
        return f"{_dotted(path)}: unknown setting, did you mean {near[0]}"
    choices = f", expected one of {', '.join(members)}" if members else ", expected nothing here"
    # What nobody would call a setting may be a secret that lost its place.
    named = (
        path if re.fullmatch(r"[A-Za-z][A-Za-z_]{0,40}", str(name)) and not _secret(path) else tuple(parents)
    )
    return f"{_dotted(named)}: unknown setting{choices}" if named else f"unknown setting{choices}"


def _members(path: _Path) -> Iterable[str]:
    model: type[BaseModel] | None = Settings
    for part in path:
        field = model.model_fields.get(part) if model and isinstance(part, str) else None
        model = _model_in(field.annotation) if field else model
    return model.model_fields if model else ()


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _dotted(path: _Path) -> str:
    """Return a path as people write it: `upstreams[0].base_url`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _secret(path: _Path) -> bool:
    """Tell whether a value here may be a secret: a token, or a credential in a fingerprint's place."""
    if path[:1] == ("keys",):
        return len(path) <= len(("keys", 0)) or path[-1] == "fingerprint"
    return path[:1] == ("admin",) and path[:2] != ("admin", "public")


_KINDS: tuple[tuple[type, str], ...] = (
    (dict, "a mapping"),
    (list, "a list"),
    (tuple, "a list"),
    (bytes, "bytes"),
)
_LONGEST = 80


def _kind(value: object) -> str:
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "one value")


def _shown(path: _Path, value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict | list | tuple | bytes):
        return _kind(value)
    if _secret(path):
        return "a value that is not shown"
    if isinstance(value, str):
        text = _masked(value)
        return repr(text if len(text) <= _LONGEST else text[:_LONGEST] + "...")
    return json.dumps(value) if isinstance(value, bool | int | float) else "one value"
