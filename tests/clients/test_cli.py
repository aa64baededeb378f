"""The command line: files it writes, how it ends, what it says when something is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest

from clients.protocol import Timings
from tests.clients.peer import CLASSES, KEY, Peer

ROOT = Path(__file__).parents[2]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "clients.cli", *arguments]


def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "XDG_STATE_HOME": str(tmp_path), "PENANCE_KEY": KEY, "PYTHONPATH": str(ROOT)}


def test_a_run_with_all_its_files(peer: Peer, video: Path, tmp_path: Path) -> None:
    save, log, summary = tmp_path / "out.mp4", tmp_path / "log.jsonl", tmp_path / "summary.json"
    done = subprocess.run(
        command(
            *(
                str(video),
                "--server",
                peer.url,
                "--pace",
                "server",
                "--policy",
                "round-robin",
                "--size",
                "64x48",
            ),
            *("--save", str(save), "--log", str(log), "--summary", str(summary), "--segments", "3"),
            *("--policy", "round-robin"),
        ),
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "segment 0: 1x / QP 20 / variant 0" in done.stdout
    assert "3 segments answered, 0 dropped" in done.stdout
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["seq"] for line in lines] == [0, 1, 2]
    assert lines[0]["class_shares"] == {"road": 0.75, "car": 0.25}
    figures = json.loads(summary.read_text())
    assert (figures["segments_sent"], figures["segments_answered"], figures["segments_dropped"]) == (3, 3, 0)
    assert figures["mean_cost"] == 0.5
    assert sum(figures["configuration_histogram"].values()) == 3
    assert figures["variant_histogram"] == {"0": 1, "1": 1, "2": 1}
    stages = {"encode", "upload", "round_trip", "latency", *Timings.model_fields}
    assert stages <= figures["latency_ms"].keys()
    assert figures["latency_ms"]["infer"] == {"p50": 3.0, "p95": 3.0}
    with av.open(str(save), "r") as container:
        stream = container.streams.video[0]
        assert sum(1 for _ in container.decode(stream)) == 45
        assert stream.codec_context.name == "h264"
        assert len(CLASSES) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_cleanly_with_a_summary(
    peer: Peer, video: Path, tmp_path: Path, number: signal.Signals
) -> None:
    summary = tmp_path / "summary.json"
    arguments = (str(video), "--server", peer.url, "--loop", "--size", "64x48", "--summary", str(summary))
    process = subprocess.Popen(
        command(*arguments), env=environment(tmp_path), stdout=subprocess.PIPE, text=True
    )
    ends = time.monotonic() + 60
    while not peer.received and time.monotonic() < ends:
        time.sleep(0.05)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(summary.read_text())["segments_answered"] >= 1
    assert "segments answered" in output


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("not-there.mp4",), 1, "not-there.mp4: no such file"),
        (("demo:", "--policy", "best"), 2, "round-robin"),
        (("demo:", "--size", "big"), 2, "WIDTHxHEIGHT"),
        (("demo:", "--uplink", "0"), 1, "more than 0"),
    ],
)
def test_what_is_wrong_is_said_without_a_trace(
    arguments: tuple[str, ...], code: int, line: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        command(*arguments), env=environment(tmp_path), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == code
    assert line in done.stderr
    assert "Traceback" not in done.stderr


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, clients; heavy = {'av', 'numpy', 'httpx', 'torch', 'ray', 'PIL'} & sys.modules.keys();"
        "assert not heavy, heavy; from clients import Camera;"
        "assert not {'torch', 'ray', 'serving', 'rl'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=120)
