"""The standard variables: what they mean, and what is said where they are wrong."""

from __future__ import annotations

from typing import Any

import pytest

from meter.settings import Settings, load
from meter.sinks.telemetry import Telemetry, TelemetryError
from meter.sinks.telemetry.resource import attributes
from meter.sinks.telemetry.variables import LOGS, METRICS, TRACES, Way, way

BASE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}


def settings(**told: Any) -> Settings:
    """Return settings with one upstream."""
    return load(None, {"upstreams": [{"name": "up", "base_url": "http://h"}], **told}, environ={})


def of(environ: dict[str, str], **told: Any) -> Telemetry | None:
    """Return what settings and variables make."""
    return Telemetry.of(settings(**told), environ, on_drop=lambda _: None, on_error=lambda *_: None)


@pytest.mark.parametrize(
    ("environ", "signal", "endpoint", "protocol", "expected"),
    [
        (BASE, TRACES, None, None, Way("http://c:4318/v1/traces", False, 10.0, "none")),
        (BASE, METRICS, None, None, Way("http://c:4318/v1/metrics", False, 10.0, "none")),
        ({}, LOGS, "http://s/base/", None, Way("http://s/base/v1/logs", False, 10.0, "none")),
        (BASE, TRACES, "http://s/v1/traces", None, Way("http://s/v1/traces", False, 10.0, "none")),
        (BASE, METRICS, "http://s/v1/traces", None, Way("http://s/v1/metrics", False, 10.0, "none")),
        (BASE, TRACES, None, "grpc", Way("http://c:4318", True, 10.0, "none")),
        (
            {
                **BASE,
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t/own",
                "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
                "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "2500",
                "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            },
            TRACES,
            None,
            None,
            Way("http://t/own", False, 2.5, "gzip"),
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "c:4317",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_TIMEOUT": "3",
            },
            TRACES,
            None,
            None,
            Way("c:4317", True, 3.0, "none"),
        ),
        (
            {**BASE, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            TRACES,
            None,
            "http/protobuf",
            Way("http://c:4318/v1/traces", False, 10.0, "none"),
        ),
        ({}, TRACES, None, None, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, TRACES, None, None, None),
    ],
)
def test_ways(
    environ: dict[str, str], signal: str, endpoint: str | None, protocol: str | None, expected: Way | None
) -> None:
    """A signal's own variables win over those of all, and settings over both; HTTP gets a path."""
    assert expected == way(environ, signal, endpoint, protocol)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {**BASE, "OTEL_SDK_DISABLED": "true"},
        {**BASE, "OTEL_SDK_DISABLED": "TRUE"},
        {**BASE, "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_TRACES_EXPORTER": "otlp"},
        {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "otlp"},
    ],
)
def test_off(environ: dict[str, str]) -> None:
    """Nothing is told until somebody says where to, nor where somebody says not to."""
    assert of(environ) is None


def test_off_by_variables_over_settings() -> None:
    """What is switched off by a variable stays off."""
    assert of({"OTEL_SDK_DISABLED": "true"}, **{"tracing.endpoint": "http://c"}) is None
    assert of({"OTEL_TRACES_EXPORTER": "none"}, **{"tracing.endpoint": "http://c"}) is None


@pytest.mark.parametrize(
    ("environ", "told", "expected"),
    [
        (
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            {},
            "OTEL_EXPORTER_OTLP_PROTOCOL: got 'http/json', expected http/protobuf or grpc",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "nonsense"},
            {},
            "OTEL_EXPORTER_OTLP_ENDPOINT: got something else, expected a URL such as http://host:4318",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:pass word@c:4318"},
            {},
            "OTEL_EXPORTER_OTLP_ENDPOINT: got something else, expected a URL such as http://host:4318",
        ),
        (
            {"OTEL_RESOURCE_ATTRIBUTES": "team=a,secret"},
            {},
            "OTEL_RESOURCE_ATTRIBUTES: got something else, expected name=value,name=value, percent-encoded",
        ),
        (
            {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer a,bro ken=b"},
            {},
            "OTEL_EXPORTER_OTLP_HEADERS: got something else, expected name=value,name=value, percent-encoded",
        ),
        (
            {"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"},
            {},
            "OTEL_EXPORTER_OTLP_TIMEOUT: got 'soon', expected a number of milliseconds above 0",
        ),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "zip"},
            {},
            "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION: got 'zip', expected none, gzip or deflate",
        ),
        (
            {"OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere.pem"},
            {},
            "OTEL_EXPORTER_OTLP_CERTIFICATE: got '/nowhere.pem', expected the name of a file",
        ),
        ({"OTEL_TRACES_SAMPLER": "sometimes"}, {}, "OTEL_TRACES_SAMPLER: got 'sometimes', expected one of"),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"},
            {},
            "OTEL_TRACES_SAMPLER_ARG: got '2', expected a share from 0 to 1",
        ),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, {}, "OTEL_TRACES_EXPORTER: got 'zipkin', expected otlp or none"),
        (
            {"OTEL_BSP_MAX_QUEUE_SIZE": "0"},
            {},
            "OTEL_BSP_MAX_QUEUE_SIZE: got '0', expected a whole number above 0",
        ),
        (
            {"OTEL_BSP_MAX_QUEUE_SIZE": "4", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "5"},
            {},
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE: got 5, expected at most OTEL_BSP_MAX_QUEUE_SIZE, 4",
        ),
        (
            {"OTEL_BSP_SCHEDULE_DELAY": "x"},
            {},
            "OTEL_BSP_SCHEDULE_DELAY: got 'x', expected a number of milliseconds above 0",
        ),
        (
            {"OTEL_METRIC_EXPORT_INTERVAL": "-1"},
            {"metrics.otlp": True},
            "OTEL_METRIC_EXPORT_INTERVAL: got '-1', expected a number of milliseconds above 0",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
            {"log.otlp": True},
            "log.otlp: got true, expected tracing.endpoint or OTEL_EXPORTER_OTLP_ENDPOINT as well",
        ),
    ],
)
def test_wrong(environ: dict[str, str], told: dict[str, Any], expected: str) -> None:
    """What is wrong is told in a sentence with the variable, what came and what was expected."""
    with pytest.raises(TelemetryError) as caught:
        of({**BASE, **environ}, **told)

    assert str(caught.value).startswith(expected)


def test_wrong_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that only the library reads is told of in its words, and as the same kind of error."""
    monkeypatch.setenv("OTEL_ATTRIBUTE_COUNT_LIMIT", "many")
    with pytest.raises(TelemetryError, match="OTEL_ATTRIBUTE_COUNT_LIMIT"):
        of(BASE)


def test_resource() -> None:
    """A process is told by service, version, instance and host, and by its pod where it knows that."""
    environ = {"POD_NAME": "meter-7", "POD_NAMESPACE": "ai", "NODE_NAME": "n1", "HOSTNAME": "nobody"}
    alone = attributes({}, version="1", host="h", process=7, instance="u")
    inside = attributes(environ, version="1", host="h", process=7, instance="u")

    assert {
        "service.name": "meter",
        "service.version": "1",
        "service.instance.id": "u",
        "host.name": "h",
        "process.pid": 7,
    } == alone
    assert {
        "service.instance.id": "meter-7",
        "k8s.pod.name": "meter-7",
        "k8s.namespace.name": "ai",
        "k8s.node.name": "n1",
    } == {name: value for name, value in inside.items() if alone.get(name) != value}


def test_resource_variables() -> None:
    """The standard variables win over what is found out, and the service's name over both."""
    environ = {
        "POD_NAME": "meter-7",
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=x, deployment.environment.name=a%20b,"
        "k8s.pod.name=mine,,=no,bad",
    }
    told = attributes(environ, version="1", host="h", process=7, instance="u")
    named = attributes(
        {**environ, "OTEL_SERVICE_NAME": "gate"}, version="1", host="h", process=7, instance="u"
    )

    assert ("x", "a b", "mine") == (
        told["service.name"],
        told["deployment.environment.name"],
        told["k8s.pod.name"],
    )
    assert "gate" == named["service.name"]
    assert {"", "bad"}.isdisjoint(told)
