"""The settings, named as in the file, and what each is where nothing is said.

Quantities are plain numbers of seconds and bytes. All is frozen: settings are read once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from meter import providers
from meter.settings.quantities import (  # noqa: TC001  # pydantic reads annotations at run time
    Duration,
    DurationOrZero,
    Size,
    SizeOrOff,
    SizeOrZero,
    Usd,
)
from meter.settings.types import (
    BaseUrl,
    Count,
    File,
    Fingerprint,
    Label,
    LedgerUrl,
    Name,
    OtlpUrl,
    Pattern,
    Port,
    Prefix,
    Proxy,
    Secret,
    Share,
    Source,
    Switchable,
    TagHeader,
    Text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meter.settings.tree import Place

__all__ = ["Admin", "Budget", "Key", "Settings", "Timeouts", "UpstreamSettings", "members"]


_Level = Literal["debug", "info", "warning", "error"]
_Loud = Literal["debug", "info", "warning", "error", "off"]
# The values of `meter.exchange.Outcome`, as plain texts: what is shown is written as YAML.
_Outcome = Literal[
    "ok",
    "client_error",
    "upstream_error",
    "stream_error",
    "truncated",
    "client_closed",
    "timeout",
    "unreachable",
    "rejected",
]


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

    ca: File | None = None
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
    base_url: BaseUrl
    default: bool = False
    prefix: Prefix | None = None
    provider: Annotated[Name | None, Field(validate_default=True)] = None
    """As it was written, else the one that the host gives away, else `None`."""
    models: dict[Text, Text] = {}
    """Deployments and other names of this upstream's own, and the models that they are priced as."""
    usage: Literal["auto", "ask", "never"] = "auto"
    on_client_disconnect: Literal["cancel", "drain"] = "cancel"
    drain: Drain = Drain()
    tls: UpstreamTls = UpstreamTls()
    proxy: Proxy = "off"
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

    headers: dict[Text, TagHeader] = {}
    """Tag to header."""
    labels: tuple[Label, ...] = ()
    strip: bool = False
    """These headers stay home."""


class Refresh(_Group):
    """Where the catalogue is read anew from."""

    source: Source | None = None
    """A file's path or a URL; `None`: the bundled catalogue stays as it is."""
    every: Duration = 86400.0


class Prices(_Group):
    """Where prices come from."""

    files: tuple[Text, ...] = ()
    catalogue: Annotated[Literal["on", "known", "off"], Switchable] = "on"
    refresh: Refresh = Refresh()


class Budget(_Group):
    """What may be spent in a period by those whom it is about; about all, where it names nobody."""

    name: Text
    usd: Usd
    period: Literal["hour", "day", "week", "month", "year"] = "month"
    """Begins in UTC; a week on Monday."""
    key: Text | None = None
    """A key's name in `keys`; the fingerprint of one that has none."""
    tags: dict[Text, str] = {}
    """Tags that all must be there."""
    upstream: Name | None = None
    stop: bool = False
    """Requests are refused once it is spent."""


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

    cert: File | None = None
    """Path of a file with the certificate and those that vouch for it."""
    key: File | None = None
    """Path of the file with its key; `None`: it is in the same file."""


class Admin(_Group):
    """Who may read the admin port."""

    token: Secret | None = None
    public: tuple[Literal["healthz", "readyz", "metrics"], ...] = ("healthz", "readyz", "metrics")


class Ledger(_Group):
    """Where exchanges are kept."""

    url: LedgerUrl | None = None
    retention: Duration = 90 * 86400.0
    rollups: bool = True


class Metrics(_Group):
    """Where metrics go besides Prometheus."""

    otlp: bool = False
    """OpenTelemetry's own for generative AI go where spans go."""


class Tracing(_Group):
    """Where spans go and what they carry."""

    endpoint: OtlpUrl | None = None
    """Of a collector, for OTLP over HTTP or gRPC; `None`: as the `OTEL_` variables say."""
    protocol: Literal["http/protobuf", "grpc"] | None = None
    """`None`: as the `OTEL_` variables say, else HTTP."""
    propagate: bool = False
    content: bool = False


class Log(_Group):
    """How the log is written."""

    format: Literal["json", "console"] = "json"
    level: _Level = "info"
    outcomes: dict[_Outcome, Annotated[_Loud, Switchable]] = {}
    """How loud exchanges are told of, by how they ended, where not as usual."""
    sample: dict[_Outcome, Share] = {}
    """The share of exchanges that is told of, by how they ended; all, where nothing is said."""
    content: bool = False
    otlp: bool = False
    """It also goes where spans go."""


class Content(_Group):
    """What is kept of prompts and answers, where they are captured."""

    limit: Size = 16 * 2**10
    """Characters of each."""
    redact: tuple[Pattern, ...] = ()
    """Regular expressions; what they match is not kept, beside what looks like a credential."""


class Settings(_Group):
    """Everything that can be set. `load` reads it; made directly, it takes nothing from anywhere."""

    upstreams: tuple[UpstreamSettings, ...]
    keys: tuple[Key, ...] = ()
    attribution: Attribution = Attribution()
    prices: Prices = Prices()
    budgets: tuple[Budget, ...] = ()
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
    content: Content = Content()
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


def members(place: Place) -> list[str]:
    """Return the names of the settings that may stand at a place; the place itself must be a right one."""
    model: type[BaseModel] = Settings
    for part in place:
        if isinstance(part, str):
            model = next(_models(model.model_fields[part].annotation))
    return list(model.model_fields)


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
