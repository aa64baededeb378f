"""Traces of a camera's segments: none unless asked for, one span a segment, and the server told of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clients.camera import Camera
from clients.errors import CameraError
from clients.source import VideoSource
from clients.tracing import Untraced, segment_tracing
from tests.clients.peer import KEY, Peer, Query
from tests.collector import Collector

SAMPLED = 1  # of a traceparent's flags


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        yield collector


def stream(peer: Peer, video: Path, segments: int) -> None:
    source = VideoSource(str(video), box=(64, 48))
    options = {"pace": "server", "patience": 20.0, "policy": "fixed:0", "name": "gate"}
    with Camera(source, key=KEY, server=peer.url, segments=segments, **options) as camera:  # type: ignore[arg-type]
        assert all(result.answer is not None for result in camera.run())


def test_nothing_is_traced_unless_it_is_asked_for(peer: Peer, video: Path, collector: Collector) -> None:
    stream(peer, video, 2)
    assert peer.traceparents == [None, None]
    assert collector.spans == []


def test_each_segment_is_a_trace_of_its_own_that_the_server_goes_on_with(
    peer: Peer, video: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENANCE_TRACE_SHARE", "1")
    refused: list[int] = []

    def fault(seq: int, query: Query) -> int | None:
        refused.append(seq)
        return 503 if refused == [0] else None

    peer.fault = fault
    stream(peer, video, 2)
    spans = sorted(collector.spans, key=lambda span: span.attributes["penance.seq"])  # closing sends them off
    assert [span.name for span in spans] == ["segment", "segment"]
    assert {span.service for span in spans} == {"penance-camera"}
    assert len({span.trace for span in spans}) == 2
    told = [parent.split("-") for parent in peer.traceparents if parent is not None]
    first, second = ((span.trace, span.id) for span in spans)
    # the first was tried twice, in one trace
    assert [(trace, parent) for _, trace, parent, _ in told] == [first, first, second]
    assert all(int(flags, 16) & SAMPLED for *_, flags in told)
    assert [span.attributes["penance.attempts"] for span in spans] == ["2", "1"]
    assert {span.attributes["penance.camera"] for span in spans} == {"gate"}
    assert {span.attributes["penance.outcome"] for span in spans} == {"answered"}


def test_what_is_not_drawn_is_told_to_the_server_as_not_to_be_traced(
    peer: Peer, video: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENANCE_TRACE_SHARE", "1e-12")
    stream(peer, video, 2)
    assert len(peer.traceparents) == 2
    for parent in peer.traceparents:
        assert parent is not None
        assert not int(parent.split("-")[3], 16) & SAMPLED
    assert collector.spans == []


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(CameraError, match=r"penance\[tracing\]"):
        segment_tracing(0.5, "gate")
    assert isinstance(segment_tracing(0.0, "gate"), Untraced)
