"""The database goes away and comes back: nothing is answered uncommitted, nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from configs.bundle import Bundle
from load_tests.application import RunningApplication
from load_tests.chaos.redis_away import REFUSED, frozen, send_through_outage
from load_tests.tenants import new_tenant
from serving.state.embedded import EmbeddedServer
from tests.application.conftest import SEGMENT, PlainCamera

AWAY_S = 6.0  # longer than a replica waits for Redis before it refuses


def test_segments_are_refused_while_it_is_away_and_counted_once_it_is_back(
    application: RunningApplication, new_camera: Callable[..., PlainCamera]
) -> None:
    camera = new_camera()
    camera.put(0, SEGMENT).raise_for_status()
    server = EmbeddedServer(application.state_directory)
    pid = server.pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)  # alive but silent: the worst kind of away
    try:
        refusal = camera.put(1, SEGMENT)
        assert refusal.status_code == 503
        assert refusal.json()["type"].endswith(":state")
        assert int(refusal.headers["retry-after"]) >= 1
        # A key that nobody has seen yet cannot be checked, so it is not let in either.
        stranger = camera.put(1, SEGMENT, headers={"Authorization": f"Bearer {'x' * 12}.{'y' * 43}"})
        assert stranger.status_code == 503
    finally:
        os.kill(pid, signal.SIGCONT)
    assert answered(camera, 1)
    os.kill(pid, signal.SIGKILL)
    assert answered(camera, 2)
    status = camera.status()
    assert (status["segments"], status["next_seq"]) == (3, 3)
    assert camera.put(0, b"kept").json()["replayed"]


def test_cameras_that_send_meanwhile_are_counted_exactly_once(
    application: RunningApplication, bundle: Path
) -> None:
    key = asyncio.run(new_tenant(application))
    server = EmbeddedServer(application.state_directory)
    report = send_through_outage(application, key, Bundle.load(bundle), 6, 30, lambda: frozen(server, AWAY_S))
    assert report.differences == ()
    assert report.committed_while_away == 0
    assert set(report.told_while_away) <= {REFUSED}
    assert (
        report.recovered_s < 30
    )  # on a machine that does other things; what is promised, load_tests measures


def answered(camera: PlainCamera, seq: int, patience_s: float = 60) -> bool:
    """Sends a segment until it is answered, as a camera does."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if camera.put(seq, SEGMENT).status_code == 200:
            return True
        time.sleep(0.3)
    return False
