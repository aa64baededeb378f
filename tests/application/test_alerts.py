"""Alerts from end to end: a camera stops, and a webhook is called; it goes on, which is told too."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from configs.settings import Settings
from load_tests.application import RunningApplication
from tests.application.conftest import SEGMENT, SMALL, PlainCamera
from tests.serving.test_alerts import Webhook


@pytest.fixture(scope="module")
def application(short_directory: Path, bundle: Path) -> Iterator[RunningApplication]:
    """One that calls a camera silent after a few seconds, and may reach this machine."""
    path = short_directory / "alerts.yaml"
    text = Settings().serving_file.read_text(encoding="utf-8")
    for old, new in [
        ("silent_after_s: 60", "silent_after_s: 3"),
        ("sweep_s: 5", "sweep_s: 0.5"),
        ("private_networks: false", "private_networks: true"),
    ]:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PENANCE_SERVING_FILE", str(path))
        with RunningApplication(short_directory / "alerting", bundle) as running:
            yield running


def wait_for(receiver: Webhook, count: int, patience_s: float = 60.0) -> None:
    ends = time.monotonic() + patience_s
    while len(receiver.got) < count and time.monotonic() < ends:
        time.sleep(0.2)
    assert len(receiver.got) == count


def test_a_silent_camera_is_told_of_once_and_so_is_its_return(application: RunningApplication) -> None:
    own = {"Authorization": f"Bearer {application.key}"}
    with Webhook() as receiver, httpx.Client(base_url=application.url, timeout=120, headers=own) as http:
        receiver.statuses = [500]
        http.put("/v1/tenants/demo/webhook", json={"url": receiver.url}).raise_for_status()
        found = http.post("/v1/clients", json={"name": "gate", "segment": SMALL}).json()
        camera = PlainCamera(http, found["id"], found["token"], found["bundle"], 0)
        camera.put(0, SEGMENT).raise_for_status()
        wait_for(receiver, 1)
        (alert,) = http.get("/v1/alerts").json()["open"]
        assert (alert["kind"], alert["camera"], alert["name"]) == ("silent", camera.id, "gate")
        wait_for(receiver, 2)  # the first attempt was answered 500
        camera.put(1, SEGMENT).raise_for_status()
        wait_for(receiver, 3)
        page = http.get("/v1/alerts").json()
    assert [event.event for event in receiver.events()] == ["alert.opened", "alert.opened", "alert.closed"]
    assert len({event.id for event in receiver.events()}) == 2
    assert [ended["id"] for ended in page["recent"]] == [alert["id"]]
