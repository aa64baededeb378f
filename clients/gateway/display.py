"""What people see of a gateway: a live table in a terminal, JSON lines anywhere else."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from clients.gateway.supervisor import CameraState

STYLES = {"running": "green", "starting": "cyan", "waiting": "yellow", "ended": "dim", "stopped": "dim"}


class JsonLines:
    """One object for all that happens: `at` (Unix seconds), `camera`, `event`, and what belongs to it."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Nothing to end."""

    def listen(self, camera: str, told: dict[str, Any]) -> None:
        """Writes what happened to a camera, or to the gateway itself ('')."""
        self._out.write(json.dumps({"at": time.time(), "camera": camera or None, **told}) + "\n")
        self._out.flush()

    def show(self, cameras: Iterable[CameraState]) -> None:
        """The lines say it all."""


class LiveTable:
    """One row a camera. What happens to the gateway itself stands above it."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        self._title, self._console = title, console or Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._live.stop()

    def listen(self, camera: str, told: dict[str, Any]) -> None:
        """Prints what concerns the gateway itself; the rest is in the table."""
        if not camera:
            self._console.print(Text(str(told.get("line", told["event"]))), soft_wrap=True)

    def show(self, cameras: Iterable[CameraState]) -> None:
        """Draws the table anew."""
        self._live.update(table(self._title, cameras), refresh=True)


def table(title: str, cameras: Iterable[CameraState]) -> Table:
    """The cameras as they stand."""
    made = Table(title=title, title_justify="left", expand=True)
    for heading in ("camera", "state", "starts", "answered", "dropped", "target", "mIoU", "latency", "MB/s"):
        made.add_column(heading, justify="left" if heading in ("camera", "state") else "right", no_wrap=True)
    made.add_column("note", ratio=1, no_wrap=True, overflow="ellipsis")
    for camera in cameras:
        last = camera.last
        made.add_row(
            Text(camera.name),  # names are not markup
            Text(camera.state, style=STYLES[camera.state]),
            str(camera.starts),
            str(camera.answered),
            str(camera.dropped),
            _number(camera.target_miou, ".2f"),
            _number(last.get("predicted_miou"), ".2f"),
            _number(last.get("latency_ms"), ".0f", " ms"),
            _number(last.get("bandwidth"), ".2f"),
            Text(camera.note),
        )
    return made


def _number(value: Any, form: str, unit: str = "") -> str:
    return "" if value is None else format(float(value), form) + unit
