"""A collector of OpenTelemetry's protocol on loopback, by its official stubs, that can also behave badly."""

from __future__ import annotations

import gzip
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import grpc  # type: ignore[import-untyped]  # it has no types
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue

__all__ = ["Collector", "Seen", "collector"]

_REQUESTS: Mapping[str, Any] = {
    "traces": trace_service_pb2.ExportTraceServiceRequest,
    "metrics": metrics_service_pb2.ExportMetricsServiceRequest,
    "logs": logs_service_pb2.ExportLogsServiceRequest,
}
_ANSWERS: Mapping[str, Any] = {
    "traces": trace_service_pb2.ExportTraceServiceResponse,
    "metrics": metrics_service_pb2.ExportMetricsServiceResponse,
    "logs": logs_service_pb2.ExportLogsServiceResponse,
}
_DECODED: Mapping[str | None, Callable[[bytes], bytes]] = {
    None: bytes,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
}


def plain(value: AnyValue) -> Any:
    """Return a value as Python has it; an array as a list, a map as a dict."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: plain(pair.value) for pair in value.kvlist_value.values}
    return None if kind is None else getattr(value, kind)


def attributes(pairs: Any) -> dict[str, Any]:
    """Return attributes by name."""
    told = {pair.key: plain(pair.value) for pair in pairs}
    assert len(pairs) == len(told)
    return told


@dataclass
class Seen:
    """A span that came."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    state: str
    begins: int
    ends: int
    status: str
    attributes: dict[str, Any]
    resource: dict[str, Any]
    scope: tuple[str, str]


@dataclass
class Collector:
    """What came, and how the next export is answered."""

    url: str = ""
    requests: list[tuple[str, Any, dict[str, str]]] = field(default_factory=list)
    """Signal, message and fields of each export that was taken."""
    attempts: int = 0
    status: int = 200
    """What is answered: HTTP's, whichever protocol is spoken."""
    fields: dict[str, str] = field(default_factory=dict)
    rejected: int = 0
    """Partial success: so many items are said to be rejected."""
    delay: float = 0.0
    """Seconds before an answer."""
    free: threading.Event = field(default_factory=threading.Event)
    """Set at the end: what hangs goes on."""

    def took(self, signal: str, body: bytes, fields: dict[str, str]) -> None:
        """Take note of an export, and behave as told."""
        self.attempts += 1
        if self.delay:
            self.free.wait(self.delay)
        if self.status == 200:
            self.requests.append((signal, _REQUESTS[signal].FromString(body), fields))

    def answer(self, signal: str) -> bytes:
        """Return the message that is answered."""
        answer = _ANSWERS[signal]()
        if self.rejected:
            name = {"traces": "spans", "metrics": "data_points", "logs": "log_records"}[signal]
            setattr(answer.partial_success, f"rejected_{name}", self.rejected)
        told: bytes = answer.SerializeToString()
        return told

    @property
    def spans(self) -> list[Seen]:
        """All spans so far."""
        return [
            Seen(
                name=span.name,
                kind=type(span).SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                trace=span.trace_id.hex(),
                id=span.span_id.hex(),
                parent=span.parent_span_id.hex(),
                state=span.trace_state,
                begins=span.start_time_unix_nano,
                ends=span.end_time_unix_nano,
                status=type(span.status).StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
                attributes=attributes(span.attributes),
                resource=attributes(of.resource.attributes),
                scope=(within.scope.name, within.scope.version),
            )
            for signal, message, _ in self.requests
            if signal == "traces"
            for of in message.resource_spans
            for within in of.scope_spans
            for span in within.spans
        ]

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics that came last, by name."""
        return {
            metric.name: metric
            for signal, message, _ in self.requests
            if signal == "metrics"
            for of in message.resource_metrics
            for within in of.scope_metrics
            for metric in within.metrics
        }

    @property
    def records(self) -> list[Any]:
        """All log records so far."""
        return [
            record
            for signal, message, _ in self.requests
            if signal == "logs"
            for of in message.resource_logs
            for within in of.scope_logs
            for record in within.log_records
        ]


@contextmanager
def collector(protocol: str = "http/protobuf") -> Iterator[Collector]:
    """Run a collector; its `url` is what `tracing.endpoint` is to be."""
    with (_grpc if protocol == "grpc" else _http)(Collector()) as running:
        try:
            yield running
        finally:
            running.free.set()


@contextmanager
def _http(collector: Collector) -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            fields = {name.lower(): value for name, value in self.headers.items()}
            signal = self.path.rpartition("/")[2]
            collector.took(signal, _DECODED[fields.get("content-encoding")](body), fields)
            said = collector.answer(signal) if collector.status == 200 else b"no"
            try:
                self.send_response(collector.status)
                for name, value in collector.fields.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)
            except OSError:  # nobody waits for it any more
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    collector.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        collector.free.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Service:
    """Takes exports of one signal."""

    codes: ClassVar = {
        503: grpc.StatusCode.UNAVAILABLE,
        429: grpc.StatusCode.RESOURCE_EXHAUSTED,
        401: grpc.StatusCode.UNAUTHENTICATED,
    }

    def __init__(self, signal: str, collector: Collector) -> None:
        self._signal = signal
        self._collector = collector

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        """Take an export."""
        fields = dict(context.invocation_metadata())
        self._collector.took(self._signal, request.SerializeToString(), fields)
        if self._collector.status != 200:
            context.abort(self.codes[self._collector.status], "no")
        return _ANSWERS[self._signal].FromString(self._collector.answer(self._signal))


@contextmanager
def _grpc(collector: Collector) -> Iterator[Collector]:
    server = grpc.server(ThreadPoolExecutor(4))
    adding: tuple[tuple[str, Any], ...] = (
        ("traces", trace_service_pb2_grpc.add_TraceServiceServicer_to_server),
        ("metrics", metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server),
        ("logs", logs_service_pb2_grpc.add_LogsServiceServicer_to_server),
    )
    for signal, add in adding:
        add(_Service(signal, collector), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    collector.url = f"http://127.0.0.1:{port}"
    try:
        yield collector
    finally:
        collector.free.set()
        server.stop(None).wait()
