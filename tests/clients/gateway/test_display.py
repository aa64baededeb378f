"""What people see of a gateway."""

from __future__ import annotations

import io
import json

from rich.console import Console

from clients.gateway.display import JsonLines, table
from clients.gateway.supervisor import CameraState


def test_the_table_has_a_row_a_camera_and_takes_no_markup_from_outside() -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    running = CameraState("gate [red]", "running", starts=1, answered=12, dropped=1, target_miou=0.7)
    running.last = {"predicted_miou": 0.74, "latency_ms": 312.4, "bandwidth": 0.551}
    waiting = CameraState("yard", "waiting", starts=3, note="rtsp://10.0.0.7/live: [bold]not a video")
    console.print(table("2 cameras", [running, waiting]))
    text = console.export_text()
    assert "gate [red]" in text
    assert "0.74" in text
    assert "312 ms" in text
    assert "[bold]not a video" in text


def test_the_log_has_a_line_for_everything() -> None:
    out = io.StringIO()
    JsonLines(out).listen("gate", {"event": "started", "pid": 7})
    JsonLines(out).listen("", {"event": "inventory read", "line": "site.yaml read"})
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert (first["camera"], first["event"], first["pid"]) == ("gate", "started", 7)
    assert second["camera"] is None
