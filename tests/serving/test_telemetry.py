"""What is told of segments, promises and replicas, and how few tenants it is told by."""

from __future__ import annotations

import io
import json
import logging
import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from ray._common.formatters import JSONFormatter

from clients.protocol import Registration, SegmentAnswer, Timings
from load_tests.recorded import Recorded, promise_telemetry, segment_telemetry
from serving.ingress.admission import AdmissionOptions
from serving.ingress.dispatch import Dispatcher
from serving.promise import Audits
from serving.state.embedded import EmbeddedServer
from serving.state.store import StateStore
from serving.telemetry.catalogue import METRICS
from serving.telemetry.pulse import Pulse
from serving.telemetry.segments import SegmentTelemetry
from serving.telemetry.tenants import ASKED_AGAIN_S, AWAY_S, NOBODY, OTHER, TenantLabels
from tests.serving.test_state import segment

AWAY = "redis://127.0.0.1:1"
CALLS_A_SEGMENT = 12
ANSWER = SegmentAnswer(
    seq=3,
    configuration=89,
    bundle="lite",
    embedding=None,
    predicted_miou=0.5,
    cost=0.25,
    class_shares={},
    timings_ms=Timings(receive=1, queue=2, decode=30, infer=200, embed=10, state=1, total=244),
)


@pytest.fixture
async def store(server: EmbeddedServer) -> AsyncIterator[StateStore]:
    store = StateStore(server.url, answers_kept=8, lease_s=1)
    await store._redis.flushdb()
    yield store
    await store.close()


async def accept(telemetry: SegmentTelemetry, answer: SegmentAnswer = ANSWER, dropped: int = 0) -> None:
    await telemetry.accepted(
        "acme", "gate", answer, variant=4, target=0.65, size=1000, dropped=dropped, commit_ms=6
    )


async def test_an_accepted_segment_is_told_whole_and_costs_a_dozen_calls(store: StateStore) -> None:
    told = Recorded()
    good = ANSWER.model_copy(update={"predicted_miou": 0.75})
    await accept(segment_telemetry(store, told), good)
    assert told.calls == CALLS_A_SEGMENT
    acme = (("tenant", "acme"),)
    assert told.sums["penance_segments", (*acme, ("variant", "4"))] == 1
    assert told.sums["penance_segment_bytes", acme] == 1000
    assert told.sums["penance_segment_cost", acme] == 0.25
    assert told.sums["penance_predicted_miou", acme] == 0.75
    assert told.values["penance_segment_seconds", acme] == [0.25]
    stages = {labels[0][1]: values for (name, labels), values in told.values.items() if "stage" in name}
    assert stages == {
        "receive": [0.001],
        "state": [0.001],
        "queue": [0.002],
        "decode": [0.03],
        "infer": [0.2],
        "embed": [0.01],
        "commit": [0.006],
    }


async def test_what_falls_short_is_dropped_or_audited_is_told_besides(store: StateStore) -> None:
    told = Recorded()
    telemetry, acme = segment_telemetry(store, told), (("tenant", "acme"),)
    await accept(telemetry, ANSWER.model_copy(update={"audit": True}), dropped=2)
    await telemetry.audited("acme", met=False)
    await telemetry.audited("acme", met=True)
    assert told.sums["penance_predicted_shortfalls", acme] == 1
    assert told.sums["penance_drops", acme] == 2
    outcomes = {dict(labels)["outcome"]: n for (name, labels), n in told.sums.items() if "audits" in name}
    assert outcomes == {"asked": 1, "missed": 1, "met": 1}


async def test_refusals_are_told_by_reason_also_of_those_without_a_key(store: StateStore) -> None:
    told = Recorded()
    telemetry = segment_telemetry(store, told)
    await telemetry.refused("acme", "gate", 3, "deadline")
    await telemetry.refused(None, "gate", "3", "key")
    await telemetry.replayed("acme", "gate", 3)
    assert told.sums["penance_refusals", (("reason", "deadline"), ("tenant", "acme"))] == 1
    assert told.sums["penance_refusals", (("reason", "key"), ("tenant", NOBODY))] == 1
    assert told.sums["penance_replays", (("tenant", "acme"),)] == 1
    assert told.calls == 3


async def test_a_segments_line_of_log_has_its_fields_in_json(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, logger = io.StringIO(), logging.getLogger("ray.serve")
    handler = logging.StreamHandler(written)
    handler.setFormatter(JSONFormatter())
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.setattr(logger, "level", logging.INFO)
    await accept(segment_telemetry(store))
    line = json.loads(written.getvalue())
    assert line["message"] == "Segment 3 of camera gate: accepted."
    assert (line["event"], line["outcome"]) == ("segment", "accepted")
    assert (line["tenant"], line["camera"], line["seq"], line["configuration"]) == ("acme", "gate", 3, 89)
    assert line["total_ms"] == 250


async def test_so_many_tenants_have_labels_the_same_at_all_replicas(store: StateStore) -> None:
    one, other = TenantLabels(store.tenants, 3), TenantLabels(store.tenants, 3)
    names = [f"t{number}" for number in range(20)]
    labels = {name: await (one if number % 2 else other).of(name) for number, name in enumerate(names)}
    assert set(labels.values()) == {"t0", "t1", "t2", OTHER}
    assert {name: await one.of(name) for name in names} == labels
    assert {name: await other.of(name) for name in names} == labels


async def test_a_tenant_that_is_not_seen_for_a_week_makes_room(store: StateStore) -> None:
    assert await store.tenants.hold_place("old", 1, 3600)
    assert not await store.tenants.hold_place("new", 1, 3600)
    await store._redis.zadd("penance:{metrics}:tenants", {"old": 1})
    assert await store.tenants.hold_place("new", 1, 3600)
    assert not await store.tenants.hold_place("old", 1, 3600)


async def test_without_places_all_are_others(store: StateStore) -> None:
    assert await TenantLabels(store.tenants, 0).of("acme") == OTHER


async def test_while_redis_is_away_a_known_tenant_keeps_its_label_and_a_new_one_is_another(
    store: StateStore,
) -> None:
    now = [0.0]
    labels = TenantLabels(store.tenants, 3, clock=lambda: now[0])
    assert await labels.of("acme") == "acme"
    away = StateStore(AWAY, answers_kept=8, lease_s=1)
    labels._store, now[0] = away.tenants, ASKED_AGAIN_S + 1
    assert await labels.of("acme") == "acme"
    assert await labels.of("new") == OTHER
    labels._store, now[0] = store.tenants, now[0] + AWAY_S
    assert await labels.of("new") == "new"  # nobody stays another for an hour because Redis was away
    await away.close()


async def test_promises_are_told_by_who_looks_and_end_when_another_does(store: StateStore) -> None:
    told = Recorded()
    promises = promise_telemetry(store, told)
    audits = Audits(share=0.5, segments=100, asked=50, done=50, failed=10)
    await promises.tell("acme", audits, 0.1)
    rates = {dict(labels)["bound"]: rate for (_, labels), rate in told.gauges.items()}
    assert rates["at_least"] < 0.2 < rates["at_most"]
    assert rates["promised"] == 0.1
    before = told.calls
    await promises.tell("acme", audits, 0.1)
    assert told.calls == before  # nothing was counted since
    promises.end()
    assert told.gauges == {}
    await promises.tell("acme", audits, 0.1)
    assert len(told.gauges) == 3


async def test_a_replica_tells_of_its_queue_and_of_a_redis_that_is_away(store: StateStore) -> None:
    told, dispatcher = Recorded(), Dispatcher(AdmissionOptions())
    await Pulse(told, dispatcher, store).beat()
    here = {name: value for (name, _), value in told.gauges.items()}
    assert here == {
        "penance_waiting_segments": 0,
        "penance_running_segments": 0,
        "penance_backlog_seconds": 0,
        "penance_brown_out": 0,
        "penance_redis_up": 1,
    }
    assert len(told.values["penance_redis_seconds", ()]) == 1
    away = StateStore(AWAY, answers_kept=8, lease_s=1)
    await Pulse(told, dispatcher, away).beat()
    assert told.gauges["penance_redis_up", ()] == 0
    assert len(told.values["penance_redis_seconds", ()]) == 1
    await away.close()


async def test_drops_are_told_once_however_often_they_are_reported(store: StateStore) -> None:
    camera = await store.register("acme", uuid.uuid4().hex, Registration(name="gate"), 10)
    await store.begin(camera, 5)
    assert (await store.commit(camera, segment(5, dropped=[(3, 0.5), (4, 0.5)]))).drops == 2
    await store.begin(camera, 7)
    assert (await store.commit(camera, segment(7, dropped=[(4, 0.5), (6, 0.5)]))).drops == 1


def test_the_page_has_every_metric_with_its_labels_and_meaning() -> None:
    page = (Path(__file__).parents[2] / "docs" / "telemetry.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(ray_penance_\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \|$", page, re.MULTILINE)
    assert rows == [
        (metric.exported, metric.kind, ", ".join(metric.labels) or "none", metric.meaning)
        for metric in METRICS
    ]
