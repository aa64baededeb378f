"""Bundles of a running application, from end to end: switched under load, followed, tried, taken back."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import redis

from clients.camera import Camera, Pace, SegmentResult
from clients.rollout import SHIPPED, BundleStanding, Canary
from clients.source import VideoSource
from configs.bundle import Bundle
from load_tests.application import RunningApplication
from tests.application.conftest import SEGMENT, SMALL, PlainCamera, auditing_application
from tests.bundles import broken_bundle, changed_bundle

pytestmark = pytest.mark.timeout(600)

COMMAND = Path(sys.executable).with_name("penance-admin")
WITHIN = 25
"""Audited segments of cameras on trial within which a bundle that always fails is found (docs/bundles.md)."""


@pytest.fixture(scope="module")
def application(short_directory: Path, bundle: Path) -> Iterator[RunningApplication]:
    """One that audits every segment."""
    with auditing_application(short_directory / "bundles", bundle) as running:
        yield running


@pytest.fixture(scope="module")
def operator(application: RunningApplication) -> str:
    return admin(application, "create", "--scope", "operator").stdout.strip()


@pytest.fixture(scope="module")
def shipped(bundle: Path) -> Bundle:
    return Bundle.load(bundle)


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return changed_bundle(tmp_path_factory.mktemp("second") / "bundle", "second")


def admin(
    application: RunningApplication, *arguments: str, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """`penance-admin` on the application's own database."""
    environment = {**os.environ, "PENANCE_STATE_DIRECTORY": str(application.state_directory)}
    done = subprocess.run(
        [str(COMMAND), *arguments], env=environment, capture_output=True, text=True, timeout=400, check=False
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def standing(application: RunningApplication, operator: str) -> BundleStanding:
    answer = httpx.get(
        f"{application.url}/v1/bundles", headers={"Authorization": f"Bearer {operator}"}, timeout=60
    )
    return BundleStanding.model_validate_json(answer.raise_for_status().content)


@dataclass
class Streaming:
    """A real camera that streams in a thread until it is told to end."""

    application: RunningApplication
    name: str
    policy: str = "auto"
    pace: Pace = "server"
    results: list[SegmentResult] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def __enter__(self) -> Streaming:
        small = self.pace == "realtime"  # so that audits find room
        source = VideoSource("demo:", box=(320, 180)) if small else VideoSource("demo:")
        self.camera = Camera(
            source, key=self.application.key, server=self.application.url, name=self.name,
            policy=self.policy, pace=self.pace, notify=self.said.append, target_miou=0.3,
        )  # fmt: skip
        self.camera.open()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def _run(self) -> None:
        for result in self.camera.run():
            self.results.append(result)

    def __exit__(self, *_: object) -> None:
        self.camera.stop()
        self._thread.join(60)
        self.camera.close()

    def wait_for(self, bundle: str, patience_s: float = 120) -> None:
        """Until the newest answered segment was made for this bundle; dropped ones come out of order."""
        ends = time.monotonic() + patience_s
        while time.monotonic() < ends:
            answered = [result for result in list(self.results) if result.answer is not None]
            if answered and max(answered, key=lambda result: result.seq).bundle == bundle:
                return
            time.sleep(0.2)
        raise AssertionError(f"{self.name} never came to {bundle}: {self.said}")


def test_a_bundle_is_switched_under_load_without_a_failed_segment_or_a_mixed_answer(
    application: RunningApplication, operator: str, shipped: Bundle, second: Bundle
) -> None:
    server = ("--server", application.url, "--key", operator)
    assert admin(application, *server, "bundle", "push", str(second.directory)).stdout.strip() == second.id
    with Streaming(application, "learnt") as learnt, Streaming(application, "plain", "fixed:89") as plain:
        learnt.wait_for(shipped.id)
        plain.wait_for(shipped.id)
        assert f"{second.id} in force" in admin(application, *server, "bundle", "activate", second.id).stdout
        learnt.wait_for(second.id)
        plain.wait_for(second.id)
        time.sleep(2)
    for stream in (learnt, plain):
        assert all(result.answer is not None for result in stream.results), stream.said
        assert all(result.answer.bundle == result.bundle for result in stream.results if result.answer)
        assert all(result.attempts == 1 for result in stream.results)
        bundles = [result.bundle for result in stream.results]
        assert bundles == sorted(bundles, key=[shipped.id, second.id].index)  # one change, and no way back
    held = standing(application, operator)
    assert held.plan.active == second.id
    assert {replica.role for replica in held.replicas} >= {
        "ingress",
        "encoder",
        *(f"variant-{i}" for i in range(5)),
    }
    assert all(set(replica.held) == {shipped.id, second.id} for replica in held.replicas)
    log = [json.loads(line) for line in admin(application, "audit").stdout.splitlines()]
    assert [entry["act"] for entry in log][-3:] == ["bundle.push", "bundle.prepare", "bundle.activate"]


def two_cameras(application: RunningApplication, bundle: str, share: float) -> tuple[str, str]:
    """Names of two cameras, of which a trial takes the first and not the second."""
    canary = Canary(bundle=bundle, share=share, trial=1, began_at=0.0)
    found: dict[bool, str] = {}
    own = {"Authorization": f"Bearer {application.key}"}
    with httpx.Client(base_url=application.url, headers=own, timeout=60) as http:
        for number in range(64):
            name = f"{bundle}-{number}"
            identity = http.post("/v1/clients", json={"name": name}).raise_for_status().json()["id"]
            found.setdefault(canary.takes(identity), name)
            if len(found) == 2:
                return found[True], found[False]
    raise AssertionError("no two cameras in 64")


def test_a_bad_bundle_on_trial_is_taken_back_by_itself_and_touches_no_other_camera(
    application: RunningApplication, operator: str, shipped: Bundle, tmp_path: Path
) -> None:
    plan = standing(application, operator).plan
    before = shipped.id if plan.active == SHIPPED else plan.active
    broken = broken_bundle(tmp_path / "broken")
    admin(application, "bundle", "push", str(broken.directory))
    tried, spared = two_cameras(application, broken.id, 0.5)
    with (
        Streaming(application, tried, "fixed:0", "realtime") as one,
        Streaming(application, spared, "fixed:0", "realtime") as other,
    ):
        one.wait_for(before)
        told = admin(application, "bundle", "canary", broken.id, "--share", "0.5").stdout
        assert f"{broken.id} on trial" in told
        one.wait_for(broken.id)
        one.wait_for(before)  # by itself
    assert {result.bundle for result in other.results} == {before}
    ended = standing(application, operator).plan
    assert (ended.active, ended.canary) == (plan.active, None)
    entry = json.loads(admin(application, "audit").stdout.splitlines()[-1])
    assert (entry["act"], entry["actor"], entry["subject"]) == ("bundle.rollback", "server:canary", broken.id)
    audited = re.search(r"of (\d+) audited segments failed", entry["detail"])
    assert audited is not None
    assert int(audited[1]) <= WITHIN
    assert all(result.answer.bundle == result.bundle for result in one.results if result.answer)


def test_a_rollback_ends_a_trial_first_and_then_goes_back_to_the_bundle_before(
    application: RunningApplication, operator: str, shipped: Bundle, second: Bundle, tmp_path: Path
) -> None:
    third = changed_bundle(tmp_path / "third", "third")
    admin(application, "bundle", "push", str(third.directory))
    admin(application, "bundle", "canary", third.id, "--share", "0.5")
    tried, _ = two_cameras(application, third.id, 0.5)
    with Streaming(application, tried, "fixed:89") as stream:
        stream.wait_for(third.id)
        held = standing(application, operator)
        assert all(set(replica.held) == {second.id, third.id} for replica in held.replicas)  # never three
        refused = admin(application, "bundle", "activate", "shipped", check=False)
        assert refused.returncode == 1
        assert f"{third.id} is on trial" in refused.stderr
        assert admin(application, "bundle", "rollback").stdout.strip() == f"{second.id} in force"
        stream.wait_for(second.id)
        assert admin(application, "bundle", "rollback").stdout.strip() == "shipped in force"
        stream.wait_for(shipped.id)
    assert all(result.answer is not None for result in stream.results)


def test_what_is_no_longer_held_is_refused_with_what_to_do_and_a_camera_does_it(
    application: RunningApplication, shipped: Bundle
) -> None:
    own = {"Authorization": f"Bearer {application.key}"}
    with httpx.Client(base_url=application.url, headers=own, timeout=60) as http:
        found = http.post("/v1/clients", json={"name": "late", "segment": SMALL}).json()
        camera = PlainCamera(http, found["id"], found["token"], found["bundle"], 0)
        refused = camera.put(0, SEGMENT, bundle="third-0123456789ab")
        assert (refused.status_code, refused.json()["type"].rsplit(":", 1)[-1]) == (409, "bundle")
        assert f"{shipped.id} is in force. Register again" in refused.json()["detail"]
        assert camera.put(0, SEGMENT).status_code == 200


def test_a_bundle_that_was_tampered_with_in_the_store_comes_into_force_nowhere(
    application: RunningApplication, operator: str, tmp_path: Path
) -> None:
    fourth = changed_bundle(tmp_path / "fourth", "fourth")
    admin(application, "bundle", "push", str(fourth.directory))
    with redis.Redis(unix_socket_path=str(application.state_directory / "redis" / "valkey.sock")) as database:
        key = f"penance:{{registry}}:bundle:{fourth.id}:3"
        chunk = bytearray(database.get(key))
        chunk[1000] ^= 1
        database.set(key, bytes(chunk))
    refused = admin(application, "bundle", "activate", fourth.id, check=False)
    assert refused.returncode == 1
    assert "does not match its checksum" in refused.stderr
    assert standing(application, operator).plan.active == "shipped"
    admin(application, "bundle", "remove", fourth.id)
    assert fourth.id not in admin(application, "bundle", "list").stdout
