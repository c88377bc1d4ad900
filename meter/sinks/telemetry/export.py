"""The library's exporters, and what is heard of them.

They retry, wait as a collector asks them to, and give up when a batch's time is over. Of that the library
tells in log messages only, which come to nobody else: what goes wrong is counted, and told once a minute.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from requests import Session

from meter.sinks.telemetry.errors import ExportError
from meter.sinks.telemetry.variables import LOGS, METRICS, TRACES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from requests import Response

    from meter.sinks.telemetry.variables import Way

__all__ = ["Exporting", "Overheard", "exporter"]

_Item = TypeVar("_Item")

_NO_ANSWER = "the collector gave no answer"
_REDIRECTS = 300

_HTTP: dict[str, tuple[Callable[..., Any], Any, str]] = {
    TRACES: (OTLPSpanExporter, ExportTraceServiceResponse, "rejected_spans"),
    METRICS: (OTLPMetricExporter, ExportMetricsServiceResponse, "rejected_data_points"),
    LOGS: (OTLPLogExporter, ExportLogsServiceResponse, "rejected_log_records"),
}
_COMPRESSIONS = {
    "none": Compression.NoCompression,
    "gzip": Compression.Gzip,
    "deflate": Compression.Deflate,
}


class Overheard(logging.Handler):
    """Takes what the library logs, which would flood the log where a collector is away.

    Of it only the code is kept with which a collector refused, for the thread that it refused.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said = threading.local()
        self._logger = logging.getLogger("opentelemetry")
        self._logger.addHandler(self)
        self._logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the name of a gRPC status that a message has."""
        for value in record.args if isinstance(record.args, tuple) else ():
            if isinstance(value, Enum) and type(value).__name__ == "StatusCode":
                self._said.reason = f"the collector answered {value.name}"

    def reason(self) -> str | None:
        """Return what was last heard in this thread, once."""
        told: str | None = getattr(self._said, "reason", None)
        self._said.reason = None
        return told

    def restore(self) -> None:
        """Let the library log as before."""
        self._logger.removeHandler(self)
        self._logger.propagate = not any(isinstance(each, Overheard) for each in self._logger.handlers)


class _Heard:
    """What a collector that speaks HTTP answered last."""

    def __init__(self, answer: Any, rejected: str) -> None:
        self._answer = answer
        self._rejected = rejected
        self._status: int | None = None
        self._lost = 0

    def __call__(self, response: Response, *_: Any, **__: Any) -> None:
        """Read an answer."""
        self._status = response.status_code
        self._lost = 0
        with suppress(Exception):  # a collector that answers in words of its own has taken all the same
            answer = self._answer.FromString(response.content)
            self._lost = getattr(answer.partial_success, self._rejected)

    def take(self) -> tuple[int | None, int]:
        """Return the status and how many items were rejected, once."""
        told = self._status, self._lost
        self._status, self._lost = None, 0
        return told


class Exporting(Generic[_Item]):
    """One exporter and what is heard of it; every batch is sent by the thread that asks for it."""

    def __init__(self, exporter: Any, overheard: Overheard, heard: _Heard | None) -> None:
        self.exporter = exporter
        self._overheard = overheard
        self._heard = heard

    def send(self, batch: Sequence[_Item]) -> None:
        """Send a batch; raises ExportError where it was not taken, or not all of it."""
        self.check(self.exporter.export(batch))

    def check(self, result: Any) -> None:
        """Raise ExportError where an export has not succeeded."""
        overheard = self._overheard.reason()
        status, lost = (None, 0) if self._heard is None else self._heard.take()
        told = f"the collector answered {status}" if status is not None else overheard or _NO_ANSWER
        redirected = status is not None and status >= _REDIRECTS  # the library takes that for success
        if result.name != "SUCCESS" or redirected:
            raise ExportError(told)
        if lost:
            raise ExportError("the collector rejected a part", lost)

    def abort(self) -> None:
        """Send nothing more."""
        self.exporter.shutdown()


def exporter(signal: str, way: Way, overheard: Overheard) -> Exporting[Any]:
    """Return what sends a signal its way."""
    if way.grpc:
        return Exporting(_grpc(signal, way), overheard, None)
    make, answer, rejected = _HTTP[signal]
    heard = _Heard(answer, rejected)
    session = Session()
    session.hooks["response"].append(heard)
    compression = _COMPRESSIONS[way.compression]
    made = make(endpoint=way.endpoint, timeout=way.timeout, compression=compression, session=session)
    return Exporting(made, overheard, heard)


def _grpc(signal: str, way: Way) -> Any:
    # What gRPC's core has to say goes to standard error, past everybody.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import grpc  # type: ignore[import-untyped]  # noqa: PLC0415 - large; it has no types
    from opentelemetry.exporter.otlp.proto.grpc import (  # noqa: PLC0415
        _log_exporter,
        metric_exporter,
        trace_exporter,
    )

    # It keeps back what was said in the last seconds already; here it is heard, and comes to nobody else.
    logging.getLogger("opentelemetry.exporter.otlp.proto.grpc.exporter").filters.clear()
    make: dict[str, Callable[..., Any]] = {
        TRACES: trace_exporter.OTLPSpanExporter,
        METRICS: metric_exporter.OTLPMetricExporter,
        LOGS: _log_exporter.OTLPLogExporter,
    }
    compressions = {
        "none": grpc.Compression.NoCompression,
        "gzip": grpc.Compression.Gzip,
        "deflate": grpc.Compression.Deflate,
    }
    compression = compressions[way.compression]
    return make[signal](endpoint=way.endpoint, timeout=way.timeout, compression=compression)
