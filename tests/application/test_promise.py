"""Audits from end to end: the server asks, the camera sends a frame, the promise gets sharper."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from clients.camera import Camera
from clients.protocol import PromiseStatus
from load_tests.application import RunningApplication
from tests.application.conftest import SEGMENT, PlainCamera, auditing_application


@pytest.fixture(scope="module")
def application(short_directory: Path, bundle: Path) -> Iterator[RunningApplication]:
    """One that audits every segment."""
    with auditing_application(short_directory / "audited", bundle) as running:
        yield running


def test_a_camera_that_streams_a_real_clip_is_certified(application: RunningApplication, data: Path) -> None:
    clip = str(data / "clips" / "test" / "motorway_day.mp4")
    settings = {"key": application.key, "server": application.url, "target_miou": 0.3}
    with Camera(clip, policy="fixed:3", pace="server", segments=3, **settings) as camera:
        results = list(camera.run())
        registered = camera.server.registered
    assert all(result.answer is not None and result.answer.audit for result in results)
    with TestClient(application, registered.id, registered.token, registered.bundle) as client:
        promise = client.wait_for_audits(3)
        assert (promise.cameras, promise.segments, promise.audits_asked) == (1, 3, 3)
        assert promise.failure_rate_at_most <= 1
        # A segment whose audit is not asked for any more is not audited again.
        again = client.camera.put("0/audit", SEGMENT)
        assert again.status_code == 409
        status = client.camera.status()
    predicted = [result.answer.predicted_miou for result in results if result.answer]
    average = 0.0
    for miou in predicted:
        average = 0.2 * (0.3 - miou) + 0.8 * average
    assert status["deficit_average"] != pytest.approx(average, abs=1e-9)  # audits have corrected it


class TestClient:
    """Plain HTTP in the name of one camera."""

    __test__ = False

    def __init__(self, application: RunningApplication, camera: str, token: str, bundle: str) -> None:
        self.http = httpx.Client(base_url=application.url, timeout=60)
        self.camera = PlainCamera(self.http, camera, token, bundle, 0)

    def __enter__(self) -> TestClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def wait_for_audits(self, count: int, patience_s: float = 60) -> PromiseStatus:
        deadline = time.monotonic() + patience_s
        headers = {"Authorization": f"Bearer {self.camera.token}"}
        while True:
            answer = self.http.get(f"/v1/clients/{self.camera.id}/promise", headers=headers)
            promise = PromiseStatus.model_validate(answer.raise_for_status().json())
            if promise.audits_answered >= count or time.monotonic() > deadline:
                assert promise.audits_answered == count
                return promise
            time.sleep(0.3)
