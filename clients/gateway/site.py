"""A gateway's life: from its inventory to Ctrl-C, with every change of the inventory in between."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import signal
import sys
from pathlib import Path

from rich.console import Console

from clients.gateway.display import JsonLines, LiveTable
from clients.gateway.inventory import Inventory, InventoryError, load_inventory
from clients.gateway.supervisor import Supervisor

LOOK_S = 0.5
"""How often the inventory is looked at, and the table drawn."""


def run_site(path: Path, site: Inventory, key_file: Path) -> None:
    """Serves the cameras of `site`, read from `path`, until a signal or until all their videos have ended."""
    console = Console(highlight=False)
    title = f"{len(site.cameras)} cameras to {site.server}"
    display = LiveTable(title, console) if console.is_terminal else JsonLines(sys.stdout)
    with display:
        asyncio.run(_serve(path, site, key_file, display))


async def _serve(path: Path, site: Inventory, key_file: Path, display: LiveTable | JsonLines) -> None:
    stop, again = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, again.set)
    supervisor = Supervisor(path.parent, key_file, display.listen)
    known = _digest(path)
    try:
        await supervisor.follow(site)
        while not stop.is_set() and not supervisor.over:
            display.show([camera.state for camera in supervisor.cameras.values()])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK_S)
            found = _digest(path)
            if again.is_set() or found != known:
                again.clear()
                known = found
                await _reread(path, supervisor, display)
    finally:
        await supervisor.stop()
        display.show([camera.state for camera in supervisor.cameras.values()])


async def _reread(path: Path, supervisor: Supervisor, display: LiveTable | JsonLines) -> None:
    try:
        site = load_inventory(path)
    except InventoryError as error:
        display.listen("", {"event": "inventory refused", "line": f"{error}; going on with the one before"})
        return
    display.listen("", {"event": "inventory read", "line": f"{path} read: {len(site.cameras)} cameras"})
    await supervisor.follow(site)


def _digest(path: Path) -> bytes:
    """What the inventory holds now; empty while it cannot be read, as between its removal and its return."""
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return b""
