"""An OpenTelemetry collector: takes traces by OTLP over HTTP and keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.http_receiver import Receiver


@dataclass(frozen=True)
class Span:
    """One span as it was sent: ids in hexadecimal, attributes as text."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, str]


class Collector(Receiver):
    """A context manager; `spans` grows while it is open."""

    def __init__(self) -> None:
        super().__init__()
        self.spans: list[Span] = []
        self.url = self.origin

    def received(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        assert request.path == "/v1/traces"
        self.take(body)
        request.send_response(200)
        request.end_headers()

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                attributes = {
                    pair.key: pair.value.string_value or str(pair.value.int_value) for pair in span.attributes
                }
                self.spans.append(
                    Span(
                        named["service.name"],
                        span.name,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        attributes,
                    )
                )
