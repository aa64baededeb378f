"""A camera's own process is killed and started anew: it goes on with the next number."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from clients.protocol import CameraStatus
from clients.results import Result
from clients.subscription import Results
from load_tests.application import RunningApplication
from load_tests.chaos.journal import FORM

CAMERA_KILLED = "camera killed"
SENDS_S = 6.0
PATIENCE_S = 60.0
Record = dict[str, Any]


def kill_camera(
    application: RunningApplication, folder: Path, rung: int
) -> tuple[dict[str, int], float, int, tuple[str, ...]]:
    """What was dropped by reason, the seconds without an answer, the answers, and what was counted wrong."""
    name = uuid.uuid4().hex
    logs = [folder / f"{name}-{number}.jsonl" for number in range(2)]
    first = _started(application, name, rung, logs[0])
    _until_answered(logs[0])
    time.sleep(SENDS_S)
    first.kill()
    first.wait()
    died = time.monotonic()
    second = _started(application, name, rung, logs[1])
    _until_answered(logs[1])
    gap = time.monotonic() - died
    time.sleep(SENDS_S)
    second.send_signal(signal.SIGINT)
    second.wait(PATIENCE_S)
    before, after = (_records(log) for log in logs)
    status, results = _counted(application, name)
    told: dict[str, int] = {}
    for record in (*before, *after):
        if record["dropped"]:
            told[record["dropped"]] = told.get(record["dropped"], 0) + 1
    answered = sum(record["dropped"] is None for record in (*before, *after))
    return told, gap, answered, tuple(miscounted(before, after, status, results))


def miscounted(
    before: Sequence[Record], after: Sequence[Record], status: CameraStatus, results: Sequence[Result]
) -> list[str]:
    """Where the server's counters are not the sum of its results, or what the camera was answered is not
    there once. `before` and `after` are the logs of the camera that was killed, and of the one after it."""
    found = []
    seqs = [result.seq for result in results]
    if any(b <= a for a, b in itertools.pairwise(seqs)):
        found.append(f"numbers do not rise: {seqs}")
    expected = {
        "segments": len(results),
        "bytes": sum(result.bytes for result in results),
        "dropped": sum(len(result.dropped) for result in results),
        "next_seq": seqs[-1] + 1 if seqs else 0,
    }
    for field, value in expected.items():
        if getattr(status, field) != value:
            found.append(f"{field} is {getattr(status, field)}, expected is {value}")
    answered = [record["seq"] for record in (*before, *after) if record["dropped"] is None]
    if missing := sorted(set(answered) - set(seqs)):
        found.append(f"answered and not counted: {missing}")
    newest = max((record["seq"] for record in before if record["dropped"] is None), default=-1)
    if after and after[0]["seq"] <= newest:
        found.append(f"it went on with {after[0]['seq']}, though {newest} was answered before")
    if not after:
        found.append("the new camera sent nothing")
    return found


def _started(application: RunningApplication, name: str, rung: int, log: Path) -> subprocess.Popen[bytes]:
    program = str(Path(sys.executable).with_name("penance-camera"))
    size = f"{FORM.width}x{FORM.height}"
    return subprocess.Popen(
        [program, "demo:", "--server", application.url, "--name", name, "--policy", f"fixed:{rung}",
         "--size", size, "--seconds", str(FORM.seconds), "--fps", str(FORM.fps), "--log", str(log)],
        env={**os.environ, "PENANCE_KEY": application.key},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


def _records(log: Path) -> list[Record]:
    """All whole lines; the last one may have been cut off with its writer."""
    if not log.exists():
        return []
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.endswith("}")]


def _until_answered(log: Path) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not any(record["dropped"] is None for record in _records(log)):
        if time.monotonic() > ends:
            raise TimeoutError(f"the camera was not answered within {PATIENCE_S:g} s")
        time.sleep(0.05)


def _counted(application: RunningApplication, name: str) -> tuple[CameraStatus, list[Result]]:
    headers = {"Authorization": f"Bearer {application.key}"}
    with httpx.Client(base_url=application.url, headers=headers, timeout=60) as http:
        page = http.get("/v1/clients", params={"name": name}).raise_for_status().json()
        camera = page["cameras"][0]["id"]
        status = CameraStatus.model_validate(http.get(f"/v1/clients/{camera}").raise_for_status().json())
    with Results(camera, key=application.key, server=application.url, after=-1) as reader:
        ending = threading.Timer(PATIENCE_S, reader.close)  # should fewer be held than were counted
        ending.start()
        try:
            return status, list(itertools.islice(reader, status.segments))
        finally:
            ending.cancel()
