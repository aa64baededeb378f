"""What the page at `/` costs its browser: processor time and memory with many cameras at a segment a second.

The page, the interface and the database are real; cameras' segments are committed without inference, with
label maps as intricate as a street's. Needs Chromium and the package `playwright`.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import typer
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from clients.protocol import LabelMaps, Registration, Timings
from configs.bundle import Bundle
from load_tests.interface import served
from serving.keys import Keyring, Principal
from serving.state.embedded import EmbeddedServer
from serving.state.results import HeldMaps
from serving.state.store import Commit, StateStore

TENANT = "live-view"
PICTURES = 12
"""Different label maps of one size that cameras show by turns."""
MOST_CORES = 0.5
MOST_GROWTH = 1.25
"""Of the page's JavaScript heap, from its first third to its last."""
EVERY_S = 5.0
FILL_S = 310.0
"""The page keeps five minutes of results of each camera (`KEPT` in dashboard/src/live/store.ts): until then
its heap has to grow."""


def street(seed: int, classes: int, width: int = 1280, height: int = 720) -> NDArray[np.uint8]:
    """(1, height, width) labels with soft, intricate borders, and about as many changes as a street has."""
    draws = np.random.default_rng(seed)
    fields = (
        draws.normal(size=(classes, 18, 32)).astype(np.float32) + draws.normal(size=(classes, 1, 1)) * 0.8
    )
    size = (width // 4, height // 4)
    large = np.stack(
        [np.asarray(Image.fromarray(field).resize(size, Image.Resampling.BICUBIC)) for field in fields]
    )
    labels = Image.fromarray(large.argmax(axis=0).astype(np.uint8))
    return np.asarray(labels.resize((width, height), Image.Resampling.NEAREST))[None]


class Traffic:
    """Commits one segment a second for each camera, in a thread of its own, until told to stop."""

    def __init__(self, database: str, cameras: int) -> None:
        self._database, self._cameras = database, cameras
        self._bundle, self.key = Bundle.load(), ""
        self._ready, self._stop = threading.Event(), threading.Event()
        classes = len(self._bundle.manifest.classes)
        self._maps = [LabelMaps.pack(street(seed, classes)).model_dump_json() for seed in range(PICTURES)]
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Traffic:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    async def _run(self) -> None:
        store = StateStore(self._database, answers_kept=4, lease_s=5)
        self.key = await Keyring(store).issue(Principal(TENANT, "tenant"))
        cameras = [
            await store.register(TENANT, f"camera{index:04d}", Registration(name=f"camera-{index}"), 10_000)
            for index in range(self._cameras)
        ]
        self._ready.set()
        seq, due = 0, time.monotonic()
        while not self._stop.is_set():
            for index, camera in enumerate(cameras):
                await store.commit(camera, self._segment(seq, index))
            seq, due = seq + 1, due + 1
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await store.close()

    def _segment(self, seq: int, index: int) -> Commit:
        configuration = (7 * seq + 13 * index) % len(self._bundle.ladder)
        cost, predicted = self._bundle.costs[configuration], 0.65 + 0.1 * np.sin((seq + index) / 7)
        classes = self._bundle.manifest.classes
        result: dict[str, Any] = {
            "seq": seq,
            "captured_at": None,
            "bundle": self._bundle.id,
            "configuration": configuration,
            "cost": cost,
            "predicted_miou": predicted,
            "target_miou": 0.65,
            "class_shares": {name: 1 / len(classes) for name in classes},
            "timings_ms": dict.fromkeys(Timings.model_fields, 20.0),
            "bytes": 60_000,
            "bandwidth": 0.8,
        }
        return Commit(
            seq=seq,
            configuration=configuration,
            cost=cost,
            overuse=-0.7,
            deficit=0.65 - predicted,
            size=60_000,
            frames=15,
            target=0.65,
            flops=10**9,
            answer=json.dumps({"seq": seq}),
            embedding=None,
            dropped=(),
            result=json.dumps(result),
            maps=HeldMaps(seq, "none", "last", self._maps[(seq + index) % PICTURES]),
            maps_kept_s=120,
        )


def chromium() -> str:
    """The browser's path; it ends the command where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        raise typer.BadParameter("Chromium is not installed: apt-get install chromium")
    return found


def cpu_seconds(marker: str) -> float:
    """Processor time of the browser's processes, known by their profile's folder, since they started."""
    total = 0.0
    for process in psutil.process_iter(["cmdline"]):
        if any(marker in part for part in process.info["cmdline"] or ()):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def main(
    cameras: Annotated[int, typer.Option(min=1, help="at one segment a second each")] = 50,
    seconds: Annotated[int, typer.Option(min=30, help="to measure, once its five minutes are full")] = 600,
) -> None:
    """Prints the browser's cores and the page's heap over time; ends with 1 where a bound is broken."""
    from playwright.sync_api import sync_playwright

    console = Console()
    with tempfile.TemporaryDirectory(prefix="pn-") as folder:
        database, profile = EmbeddedServer(Path(folder) / "db"), str(Path(folder) / "profile")
        database.ensure_running()
        with (
            served(database.url) as url,
            Traffic(database.url, cameras) as traffic,
            sync_playwright() as driver,
        ):
            context = driver.chromium.launch_persistent_context(
                profile,
                executable_path=chromium(),
                args=["--no-sandbox"],
                viewport={"width": 1600, "height": 1000},
            )
            page = context.pages[0]
            page.goto(url)
            page.get_by_label("Key").fill(traffic.key)
            page.get_by_role("button", name="Sign in").click()
            page.locator(".card").nth(cameras - 1).wait_for()
            for _ in track(range(round(FILL_S)), "Filling the page's five minutes", console=console):
                time.sleep(1)
            devtools = context.new_cdp_session(page)
            devtools.send("Performance.enable")
            heaps: list[float] = []
            started, before = time.monotonic(), cpu_seconds(profile)
            for _ in track(range(round(seconds / EVERY_S)), "Watching the page", console=console):
                time.sleep(EVERY_S)
                devtools.send("HeapProfiler.collectGarbage")
                metrics = {
                    one["name"]: one["value"] for one in devtools.send("Performance.getMetrics")["metrics"]
                }
                heaps.append(metrics["JSHeapUsedSize"] / 1e6)
            cores = (cpu_seconds(profile) - before) / (time.monotonic() - started)
            context.close()
        database.stop()
    third = max(1, len(heaps) // 3)
    first, last = float(np.mean(heaps[:third])), float(np.mean(heaps[-third:]))
    console.print(f"{cameras} cameras: {cores:.2f} cores (at most {MOST_CORES}), whole browser")
    console.print(f"heap {first:.1f} MB in the first third, {last:.1f} MB in the last (x{last / first:.2f})")
    if cores > MOST_CORES or last > MOST_GROWTH * first:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
