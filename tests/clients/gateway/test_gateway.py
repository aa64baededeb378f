"""A gateway with real processes, real H.264 and a real peer: what happens to one camera stays with it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import psutil
import pytest
import yaml

from tests.clients.conftest import make_video
from tests.clients.peer import KEY, Peer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[3]
PASSWORD = "s3cret-w0rd"


class Gateway:
    """`penance-gateway` in a subprocess; `events` are the objects that it logged."""

    def __init__(self, inventory: Path) -> None:
        self.events: list[dict[str, Any]] = []
        self.raw = ""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "SITE_KEY": KEY, "CAMERA_PASSWORD": PASSWORD}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "clients.gateway.cli", str(inventory)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.raw += line
            with contextlib.suppress(ValueError):
                self.events.append(json.loads(line))

    def of(self, camera: str | None, event: str) -> list[dict[str, Any]]:
        return [e for e in list(self.events) if (e["camera"], e["event"]) == (camera, event)]

    def wait_for(self, done: Callable[[], bool], patience_s: float = 200.0) -> None:
        ends = time.monotonic() + patience_s
        while not done():
            assert time.monotonic() < ends, self.raw[-3000:]
            assert self.process.poll() is None, self.raw[-3000:]
            time.sleep(0.05)

    def workers(self) -> set[int]:
        return {child.pid for child in psutil.Process(self.process.pid).children()}


class Site:
    """An inventory of three clips and a broken source, ready to be edited."""

    def __init__(self, folder: Path, peer: Peer) -> None:
        self.path = folder / "site.yaml"
        for name in ("north", "south", "west"):
            make_video(folder / f"{name}.mp4", 60, 30)
        self.content: dict[str, Any] = {
            "server": peer.url,
            "key": {"env": "SITE_KEY"},
            "uplink": 3.0,
            "defaults": {"size": [64, 48], "loop": True, "seconds": 0.5},
            "cameras": [
                {"name": "north", "url": "north.mp4", "target_miou": 0.6},
                {"name": "south", "url": "south.mp4", "policy": "fixed:7"},
                {"name": "west", "url": "west.mp4", "uplink": 0.5},
                {
                    "name": "broken",
                    "url": "rtsp://127.0.0.1:9/live",
                    "login": {"user": "me", "password": {"env": "CAMERA_PASSWORD"}},
                },
            ],
        }
        self.write()

    def camera(self, name: str) -> dict[str, Any]:
        return next(camera for camera in self.content["cameras"] if camera["name"] == name)

    def write(self) -> None:
        draft = self.path.with_suffix(".draft")
        draft.write_text(yaml.safe_dump(self.content), encoding="utf-8")
        draft.replace(self.path)


@pytest.fixture
def site(tmp_path: Path, peer: Peer) -> Site:
    return Site(tmp_path, peer)


def test_each_camera_runs_fails_and_returns_on_its_own(site: Site, peer: Peer) -> None:
    with Gateway(site.path) as gateway:
        gateway.wait_for(lambda: all(peer.by_camera[name] >= 2 for name in ("north", "south", "west")))
        gateway.wait_for(lambda: len(gateway.of("broken", "failed")) >= 2)
        assert {body["name"] for body in peer.registrations} == {"north", "south", "west"}
        # One is killed: it alone is started again, and goes on with its next number.
        (first,) = gateway.of("north", "started")
        os.kill(first["pid"], signal.SIGKILL)
        gateway.wait_for(lambda: len(gateway.of("north", "started")) == 2)
        before = peer.by_camera["north"]
        gateway.wait_for(lambda: peer.by_camera["north"] >= before + 2)
        assert gateway.of("north", "crashed")[0]["status"] == -signal.SIGKILL
        assert all(len(gateway.of(name, "started")) == 1 for name in ("south", "west"))
        sent = [event["seq"] for event in gateway.of("north", "segment") if event["dropped"] is None]
        assert len(set(sent)) == len(sent)
        targets = {body["name"]: body["target_miou"] for body in peer.registrations[:3]}
        assert targets == {"north": 0.6, "south": None, "west": None}
        workers = gateway.workers()
        gateway.process.send_signal(signal.SIGINT)
        assert gateway.process.wait(60) == 0
        assert not any(psutil.pid_exists(pid) for pid in workers)
        gateway._reader.join()
        assert {event["camera"] for event in gateway.events if event["event"] == "stopped"} == {
            *("north", "south", "west", "broken")
        }
    assert PASSWORD not in gateway.raw
    assert KEY not in gateway.raw
    assert "Traceback" not in gateway.raw
    # The wait before another start grew.
    waits = [event["seconds"] for event in gateway.of("broken", "waiting")]
    assert waits[0] <= 1
    assert all(0.5 * 2**k <= wait <= 2**k for k, wait in enumerate(waits[:4]))


def test_changes_of_the_inventory_touch_only_what_changed(site: Site, peer: Peer) -> None:
    site.content["cameras"].pop()  # the broken one
    with Gateway(site.path) as gateway:
        gateway.wait_for(lambda: all(peer.by_camera[name] >= 1 for name in ("north", "south", "west")))
        site.content["cameras"].remove(site.camera("west"))
        site.camera("south")["policy"] = "fixed:9"
        site.content["cameras"].append({"name": "east", "url": "west.mp4"})
        site.write()
        gateway.wait_for(lambda: peer.by_camera["east"] >= 1 and len(gateway.of("south", "started")) == 2)
        gateway.wait_for(lambda: gateway.of("south", "segment")[-1]["configuration"] == 9)
        assert len(gateway.of("west", "stopped")) == 1
        assert len(gateway.of("north", "started")) == 1  # its new share of the uplink did not end it
        # What is not valid changes nothing and is said.
        site.path.write_text("cameras: []", encoding="utf-8")
        gateway.wait_for(lambda: bool(gateway.of(None, "inventory refused")))
        before = peer.by_camera["north"]
        gateway.wait_for(lambda: peer.by_camera["north"] > before)
        site.write()
        gateway.wait_for(lambda: len(gateway.of(None, "inventory read")) >= 2)
        read = len(gateway.of(None, "inventory read"))
        gateway.process.send_signal(signal.SIGHUP)
        gateway.wait_for(lambda: len(gateway.of(None, "inventory read")) > read)
        assert len(gateway.of("north", "started")) == 1
        # Killed outright, it takes its cameras with it: they hear that nobody is there any more.
        workers = gateway.workers()
        assert len(workers) == 3
        gateway.process.kill()
        gateway.process.wait()
        _, alive = psutil.wait_procs([psutil.Process(p) for p in workers if psutil.pid_exists(p)], 30)
        assert not alive


def test_it_ends_when_all_videos_have_ended(tmp_path: Path, peer: Peer) -> None:
    site = Site(tmp_path, peer)
    site.content["cameras"].pop()
    site.content["defaults"] |= {"loop": False, "pace": "server"}
    site.write()
    with Gateway(site.path) as gateway:
        assert gateway.process.wait(200) == 0
    assert peer.by_camera == {"north": 4, "south": 4, "west": 4}
