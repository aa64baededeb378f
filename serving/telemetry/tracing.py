"""Traces of segments on the server: Ray Serve's own spans of proxy, replicas and calls between them, with the
segment's stages within. Off unless `RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH` names `span_processors` here;
where it is off, a stage costs what an empty context manager does. `docs/telemetry.md` says how to turn it on.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from opentelemetry import trace

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

SERVICE = "penance"

tracer = trace.get_tracer("penance")


def describe_segment(tenant: str, camera: str, seq: int, configuration: int) -> None:
    """Says of the span that is open which segment it is about."""
    trace.get_current_span().set_attributes(
        {
            "penance.tenant": tenant,
            "penance.camera": camera,
            "penance.seq": seq,
            "penance.configuration": configuration,
        }
    )


def span_processors() -> list[SpanProcessor]:
    """What Ray Serve calls in each of its processes: spans go by OTLP over HTTP to where the usual variables
    (`OTEL_EXPORTER_OTLP_ENDPOINT` and its kin) say."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    os.environ.setdefault("OTEL_SERVICE_NAME", SERVICE)  # read by the provider that Serve makes next
    return [BatchSpanProcessor(OTLPSpanExporter())]
