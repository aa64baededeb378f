"""Audits: what they correct, what they count, and how predictions learn from them."""

from __future__ import annotations

import asyncio
import uuid

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clients.protocol import LabelMaps, Registration
from serving.calibration import KEPT, PRIOR_CONFIDENCE, PRIOR_MIOU, Calibration, correction
from serving.ingress.audits import audited_miou
from serving.promise import Audits
from serving.state.averages import Averages, corrected
from serving.state.embedded import EmbeddedServer
from serving.state.store import StateStore
from tests.serving.test_state import segment

SHARE, TARGET = 0.25, 0.65


@pytest.fixture
async def camera(store: StateStore) -> str:
    return await new_camera(store)


async def new_camera(store: StateStore) -> str:
    return await store.register("acme", uuid.uuid4().hex, Registration(name=uuid.uuid4().hex), 100)


async def commit(store: StateStore, camera: str, seq: int, audited: bool = True, **changes: object) -> None:
    changes = {"target": TARGET, "deficit": 0.1, "audit_share": SHARE} | changes
    await store.begin(camera, seq)
    await store.commit(camera, segment(seq, audit_map=f"map {seq}" if audited else None, **changes))


async def average(store: StateStore, camera: str) -> float:
    status = await store.status(camera)
    assert status is not None
    assert status.deficit_average is not None
    return status.deficit_average


deficits = st.lists(st.floats(-0.4, 0.7), min_size=1, max_size=12)


@given(predicted=deficits, measured=st.floats(0, 1), data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_late_audit_corrects_the_average_as_if_it_had_been_known(
    server: EmbeddedServer, predicted: list[float], measured: float, data: st.DataObject
) -> None:
    audited = data.draw(st.integers(max(0, len(predicted) - 4), len(predicted) - 1))

    async def run() -> float:
        store = StateStore(server.url, answers_kept=8, lease_s=1)
        camera = await new_camera(store)
        for seq, deficit in enumerate(predicted):
            await commit(store, camera, seq, deficit=deficit)
        assert await store.audits.settle(camera, audited, measured)
        found = await average(store, camera)
        await store.close()
        return found

    late, known = Averages(), Averages()
    for seq, deficit in enumerate(predicted):
        late = late.after_segment(TARGET, 0.25, None, deficit)
        known = known.after_segment(TARGET, 0.25, None, TARGET - measured if seq == audited else deficit)
    since = len(predicted) - 1 - audited
    found = asyncio.run(run())
    assert found == corrected(late.deficit, since, TARGET - measured, predicted[audited])
    assert found == pytest.approx(known.deficit, abs=1e-12)


async def test_audits_teach_by_how_much_predictions_of_a_camera_are_wrong(
    store: StateStore, camera: str
) -> None:
    async def found(seq: int) -> float:
        return (await store.begin(camera, seq)).correction

    assert await found(0) == 0
    for seq, measured in enumerate((0.5, 0.55, 0.52)):
        await commit(store, camera, seq, deficit=TARGET - 0.6)  # 0.6 is predicted
        await store.audits.settle(camera, seq, measured)
    weight, error = 0.0, 0.0
    for measured in (0.5, 0.55, 0.52):
        weight, error = KEPT * weight + 1, KEPT * error + measured - 0.6
    assert await found(3) == pytest.approx(correction(weight, error), abs=1e-12)
    assert -0.1 < correction(weight, error) < -0.04


async def test_an_audit_is_asked_for_with_what_it_is_held_against_and_counted_once(
    store: StateStore, camera: str
) -> None:
    await commit(store, camera, 0)
    assert await store.audits.asked(camera, 0) == "map 0"
    assert await store.audits.settle(camera, 0, 0.9)
    after = await average(store, camera)
    assert not await store.audits.settle(camera, 0, 0.1)
    assert await average(store, camera) == after
    assert await store.audits.counted([camera]) == [Audits(SHARE, 1, 1, 1, 0)]


async def test_what_was_not_chosen_cannot_be_audited(store: StateStore, camera: str) -> None:
    await commit(store, camera, 0, audited=False)
    assert await store.audits.asked(camera, 0) is None
    assert not await store.audits.settle(camera, 0, 0.9)
    assert await store.audits.counted([camera]) == [Audits(SHARE, 1, 0, 0, 0)]


async def test_a_segment_sent_again_is_drawn_once(store: StateStore, camera: str) -> None:
    for _ in range(3):
        await commit(store, camera, 0)
    assert await store.audits.counted([camera]) == [Audits(SHARE, 1, 1, 0, 0)]


async def test_less_than_the_target_is_a_failure_and_so_is_a_drop(store: StateStore, camera: str) -> None:
    await commit(store, camera, 1, dropped=[(0, 0.5)])
    await commit(store, camera, 2)
    await store.audits.settle(camera, 1, TARGET - 0.01)
    await store.audits.settle(camera, 2, TARGET)
    assert await store.audits.counted([camera]) == [Audits(SHARE, 2, 2, 2, 1, dropped=1)]


async def test_after_a_new_target_an_old_audit_counts_but_corrects_nothing(
    store: StateStore, camera: str
) -> None:
    await commit(store, camera, 0)
    await commit(store, camera, 1, target=0.5, audited=False)
    before = await average(store, camera)
    assert await store.audits.settle(camera, 0, 0.2)
    assert await average(store, camera) == before
    assert (await store.audits.counted([camera]))[0].failed == 1


async def test_audits_that_do_not_come_make_room_for_others(store: StateStore, camera: str) -> None:
    for seq in range(9, 15):
        await commit(store, camera, seq)
    assert [await store.audits.asked(camera, seq) is not None for seq in range(9, 15)] == [False] * 2 + [
        True
    ] * 4


async def test_with_another_share_counting_begins_anew(store: StateStore, camera: str) -> None:
    for seq in range(3):
        await commit(store, camera, seq)
    await commit(store, camera, 3, audit_share=0.5)
    assert await store.audits.counted([camera]) == [Audits(0.5, 1, 1, 0, 0)]


async def test_under_pressure_no_audit_is_drawn_and_the_segment_is_not_counted(
    store: StateStore, camera: str
) -> None:
    await commit(store, camera, 0)
    await commit(store, camera, 1, audited=False, audit_share=None)
    assert await store.audits.counted([camera, "unknown"]) == [Audits(SHARE, 1, 1, 0, 0)]


async def test_calibrations_are_kept_by_family_and_variant(store: StateStore) -> None:
    family = uuid.uuid4().hex
    for confidence, miou in ((0.5, 0.25), (1.0, 0.75)):
        await store.audits.calibrate(family, 3, confidence, miou)
    expected = Calibration.of(0.5, 0.25) + Calibration.of(1.0, 0.75)
    assert await store.audits.calibration(family) == {3: expected}


def test_without_audits_a_prediction_follows_the_prior() -> None:
    found = [Calibration().predict(confidence) for confidence in PRIOR_CONFIDENCE]
    assert found == pytest.approx(PRIOR_MIOU)
    assert Calibration().predict(0.0) >= 0.0


def test_predictions_follow_the_audits() -> None:
    source, known = np.random.default_rng(0), Calibration()
    for confidence in source.uniform(0.7, 1.0, 500):
        known += Calibration.of(confidence, 0.4 * confidence + source.normal(0, 0.02))
    assert known.predict(0.85) == pytest.approx(0.34, abs=0.02)


def test_an_audit_compares_at_the_references_size() -> None:
    small = np.zeros((1, 4, 8), np.uint8)
    small[0, 2:] = 3
    large = small.repeat(2, axis=1).repeat(2, axis=2)
    assert audited_miou(LabelMaps.pack(large), LabelMaps.pack(small)) == 1.0
    half = large.copy()
    half[0, :, 8:] = 5
    assert audited_miou(LabelMaps.pack(large), LabelMaps.pack(half)) == pytest.approx(0.5)
