"""Runs the cameras of an inventory, each in a process of its own, and starts again what failed.

One asyncio task a camera: start the worker, pass on what it says, wait for its end, wait, start it again.
Nothing of one camera can hold up another.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr

from clients.errors import CameraError
from clients.gateway.inventory import CameraEntry, Inventory
from clients.gateway.order import FAILED, Cap, Order
from clients.gateway.restart import Restarts
from clients.interrupt import GRACE
from clients.key import find_key

LONGEST_LINE = 1024 * 1024
STOP_S = GRACE + 5.0

State = Literal["starting", "running", "waiting", "ended", "stopped"]
"""`waiting` is between a failure and the next start; `ended` is at the end of a video that does not loop."""
Listener = Callable[[str, dict[str, Any]], None]
"""Gets a camera's name and what happened: an object with `event`."""


@dataclass(slots=True)
class CameraState:
    """What is known of one camera; `last` is its latest segment as `clients.report` writes it."""

    name: str
    state: State = "starting"
    pid: int | None = None
    starts: int = 0
    answered: int = 0
    dropped: int = 0
    target_miou: float | None = None
    last: dict[str, Any] = field(default_factory=dict)
    note: str = ""


class CameraTask:
    """One camera: its worker's life, again and again."""

    def __init__(
        self, entry: CameraEntry, site: Inventory, folder: Path, key_file: Path, listener: Listener
    ) -> None:
        self.entry, self._server, self._key = entry, site.server, site.key
        self._cap = site.shares()[entry.name]
        self._folder, self._key_file, self._listener = folder, key_file, listener
        self.state = CameraState(entry.name)
        self._restarts = Restarts()
        self._process: asyncio.subprocess.Process | None = None
        self._task = asyncio.create_task(self._live())

    def cap(self, uplink: float | None) -> None:
        """Another share of the site's uplink, in force at once."""
        if uplink == self._cap:
            return
        self._cap = uplink
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError, RuntimeError):  # it has just ended; the next one starts with it
                self._process.stdin.write(f"{Cap(uplink=uplink).model_dump_json()}\n".encode())

    async def stop(self) -> None:
        """Ends the camera: what is on its way gets a few seconds."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self.state.state, self.state.pid = "stopped", None
        self._tell("stopped")

    def _tell(self, event: str, **more: Any) -> None:
        self._listener(self.entry.name, {"event": event, **more})

    async def _live(self) -> None:
        while True:
            started = time.monotonic()
            try:
                status = await self._run()
            except (CameraError, OSError) as error:
                status, self.state.note = FAILED, str(error)
                self._tell("failed", line=str(error))
            if status == 0:
                self.state.state, self.state.pid = "ended", None
                self._tell("ended")
                return
            wait = self._restarts.after(time.monotonic() - started, random.random)
            self.state.state, self.state.pid = "waiting", None
            self._tell("waiting", status=status, seconds=round(wait, 3))
            await asyncio.sleep(wait)

    async def _order(self) -> Order:
        """What the worker is to do. Raises `InventoryError`."""
        entry = self.entry
        source = entry.source(self._folder)
        given = None if self._key is None else self._key.read(self._folder)
        key = await asyncio.to_thread(find_key, given, self._key_file, self._server, lambda _: None, 0.0)
        taken = entry.model_dump(include=set(Order.model_fields) - {"uplink"})
        return Order(
            **taken, source=SecretStr(source), server=self._server, key=SecretStr(key), uplink=self._cap
        )

    async def _run(self) -> int:
        """One worker from its start to its end; its exit status."""
        self.state.state = "starting"
        order = await self._order()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "clients.gateway.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
            start_new_session=True,  # a terminal's Ctrl-C is for the gateway, which then ends its cameras
        )
        self._process, self.state.pid = process, process.pid
        self.state.starts += 1
        self._tell("started", pid=process.pid, starts=self.state.starts)
        try:
            assert process.stdin is not None
            process.stdin.write(order.line().encode())
            _, kind = await asyncio.gather(self._read(process), _crash(process))
            status = await process.wait()
            if status not in (0, FAILED):
                self.state.note = f"crashed ({kind or f'status {status}'})"
                self._tell("crashed", status=status, kind=kind)
            return status
        finally:
            await _end(process)
            self._process = None

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            try:
                told = json.loads(line)
            except ValueError:
                continue  # a library that prints is none of the worker's reports
            if isinstance(told, dict) and isinstance(told.get("event"), str):
                self._take(told)

    def _take(self, told: dict[str, Any]) -> None:
        state, event = self.state, told["event"]
        if event in ("registered", "segment"):
            state.state, state.target_miou = "running", told.get("target_miou")
        if event == "segment":
            state.last, state.note = told, ""
            state.answered += told.get("dropped") is None
            state.dropped += told.get("dropped") is not None
        elif event in ("notice", "failed"):
            state.note = str(told.get("line", ""))
        self._tell(**told)


class Supervisor:
    """All cameras of a site; `listener` gets everything that happens."""

    def __init__(self, folder: Path, key_file: Path, listener: Listener) -> None:
        self._folder, self._key_file, self._listener = folder, key_file, listener
        self._site: Inventory | None = None
        self.cameras: dict[str, CameraTask] = {}

    async def follow(self, site: Inventory) -> None:
        """Makes the cameras those of the inventory: new ones start, others stop, changed ones start again,
        and those that stay get their share of the uplink without being disturbed."""
        before, self._site = self._site, site
        entries = {entry.name: entry for entry in site.cameras}
        elsewhere = before is not None and (before.server, before.key) != (site.server, site.key)
        over = [
            name
            for name, camera in self.cameras.items()
            if elsewhere or _without_cap(camera.entry) != _without_cap(entries.get(name))
        ]
        await asyncio.gather(*(self.cameras.pop(name).stop() for name in over))
        shares = site.shares()
        for name, entry in entries.items():
            if name in self.cameras:
                self.cameras[name].cap(shares[name])
            else:
                self.cameras[name] = CameraTask(entry, site, self._folder, self._key_file, self._listener)

    async def stop(self) -> None:
        """Ends all cameras."""
        await asyncio.gather(*(camera.stop() for camera in self.cameras.values()))

    @property
    def over(self) -> bool:
        """Whether every camera's video has ended."""
        return all(camera.state.state == "ended" for camera in self.cameras.values())


def _without_cap(entry: CameraEntry | None) -> CameraEntry | None:
    return None if entry is None else entry.model_copy(update={"uplink": None})


async def _crash(process: asyncio.subprocess.Process) -> str:
    """What kind of exception ended a worker. No more of its trace is kept: it may hold a login."""
    assert process.stderr is not None
    kind = ""
    async for line in process.stderr:
        kind = line.decode("utf-8", "replace").partition(":")[0].strip()
    return kind if kind.replace(".", "").isidentifier() else ""


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ends a worker that still runs: SIGTERM, and what does not follow is killed."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(asyncio.shield(process.wait()), STOP_S)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
