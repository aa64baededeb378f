"""Traces of a camera's segments, for OpenTelemetry: one span from the first attempt to the outcome, whose
trace the server goes on with. Off unless `PENANCE_TRACE_SHARE` is above 0; needs the `tracing` extra.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clients.errors import CameraError
from clients.segment import EncodedSegment, SegmentResult

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

SERVICE = "penance-camera"


@dataclass
class TracedSegment:
    """What goes with each attempt, and the outcome once it is known."""

    headers: dict[str, str]
    result: SegmentResult | None = None


class Untraced:
    """Traces nothing."""

    @contextmanager
    def segment(self, segment: EncodedSegment) -> Iterator[TracedSegment]:
        yield TracedSegment({})

    def close(self) -> None:
        """There is nothing to send off."""


class Traced:
    """Traces a share of segments and sends spans by OTLP over HTTP to where the usual variables
    (`OTEL_EXPORTER_OTLP_ENDPOINT` and its kin) say."""

    def __init__(self, provider: TracerProvider, camera: str) -> None:
        self._provider, self._camera = provider, camera
        self._tracer = provider.get_tracer("penance")

    @contextmanager
    def segment(self, segment: EncodedSegment) -> Iterator[TracedSegment]:
        from opentelemetry.propagate import inject
        from opentelemetry.trace import SpanKind

        attributes: dict[str, str | int | float] = {
            "penance.camera": self._camera,
            "penance.seq": segment.seq,
            "penance.configuration": segment.configuration.index,
            "penance.bytes": len(segment.data),
            "penance.encode_ms": segment.encode_ms,
        }
        with self._tracer.start_as_current_span(
            "segment", kind=SpanKind.CLIENT, attributes=attributes
        ) as span:
            traced = TracedSegment({})
            inject(traced.headers)
            yield traced
            if traced.result is not None:
                span.set_attribute("penance.attempts", traced.result.attempts)
                span.set_attribute("penance.outcome", traced.result.dropped or "answered")

    def close(self) -> None:
        """Sends off what is left, for some seconds at most."""
        self._provider.shutdown()


def segment_tracing(share: float, camera: str) -> Traced | Untraced:
    """Tracing of this share of a camera's segments. Raises `CameraError` where the extra is missing."""
    if share <= 0:
        return Untraced()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
    except ImportError as error:
        raise CameraError(
            "PENANCE_TRACE_SHARE asks for traces, for which OpenTelemetry is missing: pip install "
            "'penance[tracing]', or unset it"
        ) from error
    resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", SERVICE)})
    provider = TracerProvider(sampler=ParentBasedTraceIdRatio(share), resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Traced(provider, camera)
