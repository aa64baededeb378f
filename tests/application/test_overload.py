"""Overload on a real application: a flood harms its own tenant only, and refusals come at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from clients.administration import LimitsPatch
from clients.codec import encode_segment
from clients.protocol import SegmentFormat
from configs.ladder import CompressionSetting
from load_tests import tenants
from load_tests.application import RunningApplication
from load_tests.plain_camera import register_plain
from tests.application.conftest import SEGMENT, SMALL, PlainCamera, frames

LARGE: dict[str, Any] = {"seconds": 0.4, "width": 640, "height": 480}
DEAR = encode_segment(frames(6, 640, 480), CompressionSetting(1.0, 20), fps=15)
"""What configuration 0 of a camera with `LARGE` segments sends."""


def new_tenant(application: RunningApplication, limits: LimitsPatch) -> str:
    """A tenant's key."""
    return asyncio.run(tenants.new_tenant(application, limits))


def register(http: httpx.Client, key: str, **segment: Any) -> PlainCamera:
    return register_plain(http, key, SegmentFormat(**(SMALL | segment)))


@contextmanager
def flood(cameras: list[PlainCamera], body: bytes, **query: object) -> Iterator[Counter[int]]:
    """Each camera sends without a pause, whatever it is told; counts the statuses."""
    ended, statuses, lock = threading.Event(), Counter[int](), threading.Lock()

    def send(camera: PlainCamera) -> None:
        seq = 0
        while not ended.is_set():
            status = camera.put(seq, body, **query).status_code
            seq += 1
            with lock:
                statuses[status] += 1

    with ThreadPoolExecutor(len(cameras)) as pool:
        for camera in cameras:
            pool.submit(send, camera)
        try:
            yield statuses
        finally:
            ended.set()


def test_a_tenant_beside_a_flood_of_dear_segments_loses_nothing(
    application: RunningApplication, http: httpx.Client, camera: PlainCamera
) -> None:
    key = new_tenant(application, LimitsPatch())
    with flood([register(http, key, **LARGE) for _ in range(12)], DEAR, configuration=0) as statuses:
        time.sleep(2)
        answers = [camera.put(seq, SEGMENT, deadline_ms=20_000).status_code for seq in range(15)]
    assert answers == [200] * 15
    assert camera.status()["segments"] == 15
    assert set(statuses) <= {200, 503}


def test_what_could_not_be_answered_in_time_is_refused_before_it_waits(
    application: RunningApplication, http: httpx.Client, camera: PlainCamera
) -> None:
    key = new_tenant(application, LimitsPatch())
    flooding = [register(http, key, **LARGE) for _ in range(12)]
    late = register(http, key, **LARGE)
    with flood(flooding, DEAR, configuration=0):
        time.sleep(3)
        refusals = [late.put(seq, DEAR, configuration=0, deadline_ms=50) for seq in range(4)]
    assert {refusal.status_code for refusal in refusals} == {503}
    assert {refusal.json()["type"] for refusal in refusals} == {"urn:penance:problem:deadline"}
    assert late.status()["segments"] == 0


def test_who_hangs_up_while_waiting_is_not_worked_for(
    application: RunningApplication, http: httpx.Client
) -> None:
    key = new_tenant(application, LimitsPatch())
    hasty = register(http, key, **LARGE)
    with flood([register(http, key, **LARGE) for _ in range(16)], DEAR, configuration=0):
        time.sleep(3)
        with (
            httpx.Client(base_url=http.base_url, timeout=0.15) as short,
            pytest.raises(httpx.TimeoutException),
        ):
            PlainCamera(short, hasty.id, hasty.token, hasty.bundle, 0).put(0, DEAR, configuration=0)
    time.sleep(3)
    assert hasty.status()["segments"] == 0
    assert hasty.put(0, DEAR, configuration=0).json()["replayed"] is False


def test_a_tenant_over_its_quota_is_told_exactly_when_to_come_back(
    application: RunningApplication, http: httpx.Client
) -> None:
    camera = register(http, new_tenant(application, LimitsPatch(segments_per_s=0.2, cameras=1)))
    assert camera.put(0, SEGMENT).status_code == 200  # a full bucket holds five seconds' worth, one segment
    refusal = camera.put(1, SEGMENT)
    assert refusal.status_code == 429
    wait = refusal.json()["retry_after_s"]
    assert 0 < wait <= 5
    assert int(refusal.headers["retry-after"]) == -(-wait // 1)
    assert camera.put(0, b"replayed for nothing").json()["replayed"]
    time.sleep(wait)
    assert camera.put(1, SEGMENT).status_code == 200


def test_a_camera_is_held_to_limits_of_its_own_which_only_its_tenants_key_changes(
    application: RunningApplication, http: httpx.Client
) -> None:
    key = new_tenant(application, LimitsPatch(segments_per_s=100))
    own, camera, other = {"Authorization": f"Bearer {key}"}, register(http, key), register(http, key)
    path = f"/v1/clients/{camera.id}"
    token = {"Authorization": f"Bearer {camera.token}"}
    changed = http.patch(path, json={"limits": {"segments_per_s": 0.02, "bytes_per_s": 1e6}}, headers=own)
    assert changed.raise_for_status().json()["limits"]["segments_per_s"] == 0.02
    assert camera.put(0, SEGMENT).status_code == 200
    refusal = camera.put(1, SEGMENT)
    assert refusal.status_code == 429
    assert refusal.json()["detail"].startswith("This camera may use 0.02 segments a second")
    assert 30 < refusal.json()["retry_after_s"] <= 50
    assert other.put(0, SEGMENT).status_code == 200  # its neighbour does not suffer for it
    assert http.patch(path, json={"limits": {"segments_per_s": None}}, headers=token).status_code == 404
    assert camera.put(1, SEGMENT).status_code == 429
    above = http.patch(path, json={"limits": {"segments_per_s": 101}}, headers=own)
    assert above.status_code == 422
    assert "more than this tenant may use" in above.json()["detail"]
    http.patch(path, json={"limits": {"segments_per_s": None}}, headers=own).raise_for_status()
    assert camera.put(1, SEGMENT).status_code == 200
    assert http.get(path, headers=token).json()["limits"] == {
        "segments_per_s": None,
        "gflops_per_s": None,
        "bytes_per_s": 1e6,
    }


def test_a_tenant_has_only_so_many_cameras(
    application: RunningApplication, http: httpx.Client, new_camera: Callable[..., PlainCamera]
) -> None:
    key = new_tenant(application, LimitsPatch(cameras=1))
    register(http, key)
    with pytest.raises(httpx.HTTPStatusError, match="429"):
        register(http, key)


def test_usage_holds_exactly_what_was_accepted(application: RunningApplication, http: httpx.Client) -> None:
    key = new_tenant(application, LimitsPatch())
    camera = register(http, key)
    for seq in (0, 1, 1, 2):
        camera.put(seq, SEGMENT).raise_for_status()
    camera.put(3, b"cannot be decoded")
    headers = {"Authorization": f"Bearer {key}"}
    found = http.get("/v1/usage", headers=headers).raise_for_status().json()
    assert (found["segments"], found["bytes"]) == (3, 3 * len(SEGMENT))
    assert found["flops"] == sum(hour["flops"] for hour in found["hours"]) > 0
    table = http.get("/v1/usage", params={"format": "csv"}, headers=headers)
    assert table.headers["content-type"].startswith("text/csv")
    assert table.text.splitlines()[-1].startswith("total")
