"""The protocol as a camera sees it, against a real application."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from clients.codec import encode_segment, scaled_size
from clients.protocol import LabelMaps, Problem, Registered, SegmentAnswer
from configs.bundle import Bundle
from load_tests.application import RunningApplication
from serving.state.averages import Averages
from tests.application.conftest import FRAMES, HEIGHT, SEGMENT, SMALL, WIDTH, PlainCamera, frames


def test_a_segment_is_answered_with_what_the_protocol_promises(camera: PlainCamera, bundle: Path) -> None:
    answer = SegmentAnswer.model_validate(camera.put(0, SEGMENT, bandwidth=0.5).raise_for_status().json())
    assert (answer.seq, answer.configuration, answer.bundle) == (0, 89, camera.bundle)
    assert (answer.embedding is None) == (Bundle.load(bundle).manifest.encoder is None)
    assert answer.correction == 0  # no audit yet
    assert answer.predicted_miou is not None
    assert 0 <= answer.predicted_miou <= 1
    assert 0 < answer.cost < 1
    assert sum(answer.class_shares.values()) == pytest.approx(1)
    assert not answer.replayed
    timings = answer.timings_ms
    assert timings.total >= timings.decode + timings.infer + timings.embed > 0
    assert min(timings.model_dump().values()) >= 0


@pytest.mark.parametrize("index", [0, 29, 30, 64, 89])
def test_every_configuration_is_answered_by_its_variant(
    new_camera: Callable[..., PlainCamera], bundle: object, index: int
) -> None:
    camera = new_camera()
    loaded = Bundle.load(bundle)  # type: ignore[arg-type]
    data = encode_segment(frames(), loaded.ladder[index].setting, fps=15)
    answer = camera.put(0, data, configuration=index, masks="all").raise_for_status().json()
    assert answer["cost"] == loaded.costs[index]
    maps = LabelMaps.model_validate(answer["masks"]).unpack()
    width, height = scaled_size(WIDTH, HEIGHT, loaded.ladder[index].scale)
    assert maps.shape == (FRAMES, height, width)
    shares = np.bincount(maps.ravel(), minlength=19) / maps.size
    assert {n: s for n, s in zip(loaded.manifest.classes, shares, strict=True) if s} == pytest.approx(
        answer["class_shares"]
    )


def test_the_last_label_map_alone_is_the_last_of_all(new_camera: Callable[..., PlainCamera]) -> None:
    every, last = new_camera(), new_camera()
    all_maps = LabelMaps.model_validate(every.put(0, SEGMENT, masks="all").json()["masks"]).unpack()
    last_map = LabelMaps.model_validate(last.put(0, SEGMENT, masks="last").json()["masks"]).unpack()
    assert np.array_equal(all_maps[-1:], last_map)


def test_the_same_seq_again_gets_the_stored_answer(camera: PlainCamera) -> None:
    first = camera.put(0, SEGMENT, masks="all").json()
    again = camera.put(0, b"these bytes are never looked at").json()
    assert again.pop("replayed") is True
    assert first.pop("replayed") is False
    assert again == first
    assert camera.status()["segments"] == 1


def test_the_same_segment_sent_many_times_at_once_is_worked_on_once(camera: PlainCamera) -> None:
    barrier = threading.Barrier(8)

    def send(_: int) -> dict:
        barrier.wait()
        return dict(camera.put(0, SEGMENT).raise_for_status().json())

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(8)))
    assert sum(not answer.pop("replayed") for answer in answers) == 1
    assert all(answer == answers[0] for answer in answers)
    assert camera.status()["segments"] == 1


def test_a_camera_that_hangs_up_finds_the_answer_later(camera: PlainCamera) -> None:
    with (
        pytest.raises(httpx.TimeoutException),
        httpx.Client(base_url=camera.http.base_url, timeout=0.005) as hasty,
    ):
        PlainCamera(hasty, camera.id, camera.token, camera.bundle, 0).put(0, SEGMENT)
    assert camera.put(0, SEGMENT).status_code == 200
    assert camera.status()["segments"] == 1


def test_a_stale_segment_changes_nothing(camera: PlainCamera) -> None:
    camera.put(5, SEGMENT).raise_for_status()
    before = camera.status()
    refusal = camera.put(3, SEGMENT)
    assert refusal.status_code == 409
    assert "Go on with 6" in refusal.json()["detail"]
    assert camera.status() == before


def test_dropped_segments_are_counted_with_the_next_answer(camera: PlainCamera) -> None:
    averages = Averages().after_drop(0.65, 1.0).after_drop(0.65, 1.0)
    for seq in (2, 3):
        answer = camera.put(seq, SEGMENT, dropped="0:0,1:89").raise_for_status().json()
        averages = averages.after_segment(0.65, answer["cost"], None, 0.65 - answer["predicted_miou"])
    status = camera.status()
    assert (status["segments"], status["dropped"], status["next_seq"]) == (2, 2, 4)
    assert status["deficit_average"] == averages.deficit


def test_a_deadline_that_cannot_be_met_is_refused_at_once(camera: PlainCamera) -> None:
    refusal = camera.put(0, SEGMENT, deadline_ms=0.01)
    assert refusal.status_code == 503
    assert refusal.json()["type"].endswith(":deadline")
    assert camera.put(0, SEGMENT).status_code == 200


def test_a_camera_registered_again_keeps_its_id_and_gets_a_new_token(
    application: RunningApplication, http: httpx.Client
) -> None:
    headers = {"Authorization": f"Bearer {application.key}"}
    body = {"name": uuid.uuid4().hex, "segment": SMALL}
    first = Registered.model_validate(http.post("/v1/clients", json=body, headers=headers).json())
    again = Registered.model_validate(http.post("/v1/clients", json=body, headers=headers).json())
    assert first.id == again.id
    assert first.token != again.token
    assert len(again.ladder) == 90
    assert again.ladder[0].cost == 1.0


def test_a_camera_can_be_changed_and_forgotten(
    application: RunningApplication, http: httpx.Client, camera: PlainCamera
) -> None:
    headers = {"Authorization": f"Bearer {application.key}"}
    changed = http.patch(f"/v1/clients/{camera.id}", json={"target_miou": 0.5}, headers=headers)
    assert changed.json()["target_miou"] == 0.5
    assert changed.json()["limits"] == {"segments_per_s": None, "gflops_per_s": None, "bytes_per_s": None}
    assert http.delete(f"/v1/clients/{camera.id}", headers=headers).status_code == 204
    assert camera.put(0, SEGMENT).status_code in (401, 404)


def test_variants_are_listed_with_what_they_cost(application: RunningApplication, http: httpx.Client) -> None:
    variants = http.get("/v1/variants", headers={"Authorization": f"Bearer {application.key}"}).json()
    assert [v["variant"] for v in variants] == [0, 1, 2, 3, 4]
    flops = [v["gflops_frame"][0] for v in variants]
    assert flops == sorted(flops, reverse=True)


def test_the_interface_describes_itself(http: httpx.Client) -> None:
    paths = http.get("/openapi.json").json()["paths"]
    assert "put" in paths["/v1/clients/{camera}/segments/{seq}"]
    assert http.get("/docs").status_code == 200


def test_refusals_are_problem_documents(camera: PlainCamera) -> None:
    refusal = camera.put(0, SEGMENT, configuration=90)
    assert refusal.headers["content-type"] == "application/problem+json"
    problem = Problem.model_validate(refusal.json())
    assert problem.status == refusal.status_code == 422
    assert "0 to 89" in problem.detail
