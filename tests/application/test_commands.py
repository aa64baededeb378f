"""The commands that start the application, exactly as the README has them."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from clients.camera import Camera
from load_tests.application import REPOSITORY, RunningApplication, free_port, port_is_free
from load_tests.background import started
from serving.state.embedded import EmbeddedServer

SERVE_PORT = 8000


@pytest.mark.parametrize("target", ["serving.app", "serving.app:app"])
def test_serve_run_starts_it_and_a_restart_finds_its_data(
    short_directory: Path, bundle: Path, target: str
) -> None:
    """Both commands share one state folder, so the second is a restart of the first."""
    assert port_is_free(SERVE_PORT), f"`serve run` needs port {SERVE_PORT}: stop what uses it"
    state = short_directory / "commands"
    with RunningApplication(state, bundle, command=[target], port=SERVE_PORT) as application:
        key_file = state / "demo.key"
        assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
        with Camera(
            "demo:", key=application.key, name="restarted", policy="fixed:89", pace="server", segments=2
        ) as camera:
            first = camera.server.status().next_seq
            assert [result.answer is not None for result in camera.run()] == [True, True]
            assert camera.server.status().next_seq == first + 2
        assert first == (0 if target == "serving.app" else 2)
        pid = application.pid
        family = psutil.Process(pid).children(recursive=True)
    _, alive = psutil.wait_procs(family, timeout=20)
    assert [process.name() for process in alive] == []
    assert EmbeddedServer(state).pid() is None
    assert port_is_free(SERVE_PORT)


def test_ctrl_c_while_starting_leaves_nothing_behind(short_directory: Path, bundle: Path) -> None:
    application = RunningApplication(short_directory / "interrupted", bundle)
    application._wait_until_ready = lambda: None  # type: ignore[method-assign] # hand it over unready
    with application:
        process = psutil.Process(application.pid)
        os.kill(application.pid, signal.SIGINT)
        process.wait(60)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{application.url}/healthz", timeout=2)


def test_make_live_shows_a_camera_to_who_has_the_key_and_ends_with_ctrl_c(short_directory: Path) -> None:
    port, log = free_port(), short_directory / "live.log"
    command = [sys.executable, "-m", "load_tests.live", "--port", str(port)]
    process = started(command, {**os.environ, "PYTHONPATH": str(REPOSITORY)}, short_directory, log)
    try:
        page, key = f"http://127.0.0.1:{port}/", re.compile(r"^ +([0-9a-f]{16}\.\S{43})$", re.MULTILINE)
        wait_for(lambda: key.search(log.read_text()) is not None, process)
        found = key.search(log.read_text())
        assert found is not None
        assert page in log.read_text()
        assert "<title>Penance</title>" in httpx.get(page).text
        with httpx.Client(base_url=page, headers={"Authorization": f"Bearer {found[1]}"}) as http:
            wait_for(
                lambda: [c["name"] for c in http.get("/v1/live").json()["cameras"]] == ["street"], process
            )
            wait_for(lambda: http.get("/v1/live").json()["cameras"][0]["segments"] > 0, process)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, log.read_text()
        assert [child.name() for child in psutil.wait_procs(family, timeout=20)[1]] == []
    finally:
        process.kill()


def wait_for(
    condition: Callable[[], bool], process: subprocess.Popen[bytes], patience_s: float = 200
) -> None:
    ends = time.monotonic() + patience_s
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < ends
        time.sleep(0.3)
