"""What operators see of a real application: metrics from all its processes at one place, one id through all
its logs, and a trace from a camera to the network."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from clients.administration import LimitsPatch
from clients.camera import Camera
from clients.protocol import SegmentFormat
from load_tests import tenants
from load_tests.application import RunningApplication
from load_tests.plain_camera import register_plain
from serving.telemetry import catalogue
from tests.application.conftest import SEGMENT, SMALL, PlainCamera
from tests.collector import Collector, Span

PATIENCE_S = 60.0
STAGES = ("queue", "commit", "decode", "infer")
"""What of a segment's way on the server stands in its trace."""
ON_THE_WAY = {"default_ingress", "default_variant-4", "default_encoder"}
"""Deployments, as logs call them."""


class Scrape:
    """One reading of the application's metrics."""

    def __init__(self, application: RunningApplication) -> None:
        text = httpx.get(application.metrics_url, timeout=30).raise_for_status().text
        families = list(text_string_to_metric_families(text))
        self.samples = [sample for family in families for sample in family.samples]

    def total(self, name: str, **labels: str) -> float:
        """The sum of a metric over all processes."""
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def named(self, name: str) -> list[Sample]:
        """A metric of all processes."""
        return [sample for sample in self.samples if sample.name == name]

    def names(self) -> set[str]:
        return {sample.name for sample in self.samples if sample.name.startswith("ray_penance_")}


def until(found: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not found():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def tenant(application: RunningApplication) -> tuple[str, str]:
    """A tenant of its own, and its key."""
    name = f"t{uuid.uuid4().hex[:12]}"
    return name, asyncio.run(tenants.new_tenant(application, LimitsPatch(cameras=100), name))


@pytest.fixture
def own_camera(http: httpx.Client, tenant: tuple[str, str]) -> PlainCamera:
    return register_plain(http, tenant[1], SegmentFormat(**SMALL))


def test_every_segment_stands_in_the_metrics_of_its_tenant(
    application: RunningApplication, own_camera: PlainCamera, tenant: tuple[str, str]
) -> None:
    name = tenant[0]
    for seq in (0, 1):
        assert own_camera.put(seq, SEGMENT).status_code == 200
    assert own_camera.put(4, SEGMENT, dropped="2:89,3:89").status_code == 200
    assert own_camera.put(4, SEGMENT).json()["replayed"]
    assert own_camera.put(5, SEGMENT, configuration=90).status_code == 422
    assert own_camera.put(5, b"no video").status_code == 422
    assert own_camera.put(3, SEGMENT).status_code == 409
    stranger = {"Authorization": f"Bearer {'x' * 12}.{'y' * 43}"}
    assert own_camera.put(5, SEGMENT, headers=stranger).status_code == 401

    def told() -> bool:
        now = Scrape(application)
        return (
            now.total("ray_penance_refusals_total", tenant=name) == 3
            and now.total("ray_penance_segments_total", tenant=name) == 3
        )

    until(told, "three segments and three refusals")
    now = Scrape(application)
    assert now.total("ray_penance_segments_total", tenant=name, variant="4") == 3
    assert now.total("ray_penance_segment_bytes_total", tenant=name) == 3 * len(SEGMENT)
    assert 0 < now.total("ray_penance_segment_cost_total", tenant=name) < 3
    assert 0 < now.total("ray_penance_predicted_miou_total", tenant=name) <= 3
    assert now.total("ray_penance_drops_total", tenant=name) == 2
    assert now.total("ray_penance_replays_total", tenant=name) == 1
    for reason in ("invalid", "undecodable", "stale"):
        assert now.total("ray_penance_refusals_total", tenant=name, reason=reason) == 1
    assert now.total("ray_penance_refusals_total", tenant="none", reason="key") >= 1
    assert now.total("ray_penance_segment_seconds_count", tenant=name) == 3
    for stage in ("receive", "state", "queue", "decode", "infer", "embed", "commit"):
        assert now.total("ray_penance_stage_seconds_count", stage=stage) >= 3


def test_replicas_tell_how_they_are_and_what_is_promised(
    application: RunningApplication, own_camera: PlainCamera, tenant: tuple[str, str]
) -> None:
    own_camera.put(0, SEGMENT).raise_for_status()
    # All of one reading: on a busy machine a process reports late, and its gauges are missing for a moment.
    readings: list[Scrape] = []

    def told() -> bool:
        readings.append(Scrape(application))
        promised = readings[-1].total("ray_penance_failure_rate", tenant=tenant[0], bound="promised")
        return promised > 0 and len(readings[-1].named("ray_penance_redis_up")) >= 2

    until(told, "the promise of a tenant whose cameras are looked at, and two replicas")
    now = readings[-1]
    replicas = now.named("ray_penance_redis_up")
    assert now.total("ray_penance_failure_rate", tenant=tenant[0], bound="promised") == pytest.approx(0.1)
    assert now.total("ray_penance_failure_rate", tenant=tenant[0], bound="at_most") <= 1
    assert [sample.value for sample in replicas] == [1.0] * len(replicas)
    assert len({sample.labels["WorkerId"] for sample in replicas}) == len(replicas)
    assert len(now.named("ray_penance_waiting_segments")) == len(replicas)


def test_a_decoder_that_dies_is_counted(application: RunningApplication, own_camera: PlainCamera) -> None:
    own_camera.put(0, SEGMENT).raise_for_status()
    for decoder in decoders(application, "variant-4"):
        decoder.kill()
    time.sleep(2)  # their replica hears of it, and no segment has to pay for it
    for seq in range(1, 5):
        answer = own_camera.put(seq, SEGMENT)
        assert answer.status_code == 200, answer.text
    until(
        lambda: (
            Scrape(application).total("ray_penance_decoder_failures_total", variant="4", cause="crashed") > 0
        ),
        "a crashed decoder",
    )


def decoders(application: RunningApplication, deployment: str) -> Iterator[psutil.Process]:
    for process in psutil.Process(application.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # among them zombies
            if f"ServeReplica:default:{deployment}" in " ".join(process.cmdline()):
                yield from process.children()


def test_nothing_is_told_that_the_catalogue_does_not_have(application: RunningApplication) -> None:
    known = set()
    for metric in catalogue.METRICS:
        ends = ("_bucket", "_count", "_sum") if metric.kind == "histogram" else ("",)
        known |= {metric.exported + end for end in ends}
    gauges = {metric.exported for metric in catalogue.METRICS if metric.kind == "gauge"}
    until(lambda: gauges <= Scrape(application).names(), f"all of {', '.join(sorted(gauges))}")
    assert Scrape(application).names() - known == set()


def test_one_id_leads_through_the_logs_of_all_replicas(
    application: RunningApplication, own_camera: PlainCamera, tenant: tuple[str, str]
) -> None:
    request_id = f"test-{uuid.uuid4().hex}"
    answer = own_camera.put(0, SEGMENT, headers={"X-Request-ID": request_id})
    assert answer.status_code == 200
    assert answer.headers.get_list("x-request-id") == [request_id]

    def lines() -> list[dict[str, object]]:
        found = []
        for path in (application.session / "logs" / "serve").glob("replica_*.log"):
            for line in path.read_text(encoding="utf-8").splitlines():
                if request_id in line:
                    found.append(json.loads(line))
        return found

    until(
        lambda: {line["deployment"] for line in lines()} >= ON_THE_WAY,
        f"log lines of {', '.join(sorted(ON_THE_WAY))}",
    )
    assert {line["request_id"] for line in lines()} == {request_id}
    (told,) = [line for line in lines() if line.get("event") == "segment"]
    assert (told["tenant"], told["camera"], told["seq"]) == (tenant[0], own_camera.id, 0)
    assert (told["outcome"], told["configuration"]) == ("accepted", 89)


def test_a_request_without_an_id_gets_one_and_a_hostile_one_is_refused(own_camera: PlainCamera) -> None:
    first, second = own_camera.put(0, SEGMENT), own_camera.put(0, SEGMENT)
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    for hostile in ("a" * 129, "a b", 'a","level":"x'):
        refusal = own_camera.put(1, SEGMENT, headers={"X-Request-ID": hostile})
        assert refusal.status_code == 422
        assert "X-Request-ID" in refusal.json()["detail"]


def test_a_trace_leads_from_the_camera_to_the_network(
    application: RunningApplication,
    tenant: tuple[str, str],
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PENANCE_TRACE_SHARE", "1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    options = {"name": uuid.uuid4().hex, "policy": "fixed:89", "pace": "server", "segments": 2}
    with Camera("demo:", key=tenant[1], server=application.url, **options) as camera:
        results = list(camera.run())
    assert [result.dropped for result in results] == [None, None]

    def sent() -> list[Span]:
        return [span for span in list(collector.spans) if span.service == "penance-camera"]

    until(lambda: len(sent()) == 2, "the camera's spans")
    for root in sent():
        assert root.name == "segment"
        assert root.parent == ""
        assert root.attributes["penance.outcome"] == "answered"

        def of_it(root: Span = root) -> dict[str, Span]:
            return {span.name: span for span in list(collector.spans) if span.trace == root.trace}

        until(lambda of_it=of_it: all(name in of_it() for name in STAGES), f"{STAGES} in the trace")
        by_id = {span.id: span for span in list(collector.spans) if span.trace == root.trace}
        for name in STAGES:  # each stage's ancestors end in the camera
            above = of_it()[name]
            while above.parent:
                above = by_id[above.parent]
            assert above.id == root.id
        assert {span.service for span in of_it().values()} == {"penance-camera", "penance"}
        described = [span for span in of_it().values() if span.attributes.get("penance.tenant") == tenant[0]]
        assert described


def test_what_nobody_asked_to_trace_is_not_traced(collector: Collector, own_camera: PlainCamera) -> None:
    before = {span.trace for span in list(collector.spans)}
    own_camera.put(0, SEGMENT).raise_for_status()
    time.sleep(2)
    assert {span.trace for span in list(collector.spans)} == before
