"""Traces, as a collector of OpenTelemetry receives them."""

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2 as httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from tests.support.server_process import serve

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Collector(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Collect)
        self.paths: list[str] = []
        self.bodies: list[bytes] = []

    @property
    def spans(self) -> Iterator[ResourceSpans]:
        for body in self.bodies:
            yield from ExportTraceServiceRequest.FromString(body).resource_spans


class Collect(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.paths.append(self.path)
        self.server.bodies.append(body)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        yield collector
        collector.shutdown()
        thread.join()


def test_requests_are_traced(collector: Collector, tiny_bundle: Path, tmp_path: Path) -> None:
    host, port = collector.server_address
    settings = {
        "DUET_MODELS": str(tiny_bundle),
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{host}:{port}",
    }
    with serve(tmp_path / "log", **settings) as server:
        headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        for stream in (False, True):
            body = {"inputs": "a secret", "explain": True, "stream": stream}
            answer = httpx.post(f"{server.url}/predict", json=body, headers=headers)
            assert answer.status_code == 200
        assert httpx.get(f"{server.url}/models/nobody", headers=headers).status_code == 404
        assert server.stop() == 0
        assert "Traceback" not in server.log.read_text()
    assert set(collector.paths) == {"/v1/traces"}
    requests = []
    for of_resource in collector.spans:
        names = {item.key: item.value.string_value for item in of_resource.resource.attributes}
        assert names["service.name"] == "duet"
        for scope in of_resource.scope_spans:
            requests += [span for span in scope.spans if span.kind == span.SPAN_KIND_SERVER]
    assert {span.trace_id.hex() for span in requests} == {TRACE}
    assert sorted(span.name for span in requests) == [
        "GET /models/{name}",
        "POST /predict",
        "POST /predict",
    ]
    statuses = {
        (span.name, item.value.int_value)
        for span in requests
        for item in span.attributes
        if item.key == "http.response.status_code"
    }
    assert statuses == {("POST /predict", 200), ("GET /models/{name}", 404)}
    assert all(span.end_time_unix_nano > span.start_time_unix_nano for span in requests)
    assert not any(b"secret" in body for body in collector.bodies)
