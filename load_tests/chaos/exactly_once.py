"""Ten thousand segments through a real application whose ingress, variants and database are killed meanwhile:
what it counted is compared with a sequential reference. `python -m load_tests.chaos.exactly_once`.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import httpx
import psutil
import typer
from rich.console import Console
from rich.progress import Progress

from configs.bundle import Bundle
from configs.settings import Settings
from load_tests.application import RunningApplication, image_flags
from load_tests.chaos.journal import FORM, Journal, usage_differences
from load_tests.footage import Footage
from load_tests.plain_camera import register_plain
from load_tests.tenants import new_tenant
from serving.state.embedded import EmbeddedServer

CHEAP = ((0.5, 30, 4), (0.5, 28, 3))
KILLED = ("ingress", "variant-4", "database", "variant-3")


@dataclass(frozen=True, slots=True)
class ChaosReport:
    """What was sent and killed, and every difference that was found."""

    settled: int
    committed: int
    stale: int
    kills: tuple[str, ...]
    differences: tuple[str, ...]


def send_through_kills(
    application: RunningApplication,
    bundle: Bundle,
    cameras: int,
    segments: int,
    kills: int,
    told: Callable[[int], None] = lambda committed: None,
) -> ChaosReport:
    """So many segments of each camera; parts of the application are killed in turn, spread evenly over what
    is committed or came too late. `told` gets the number of both now and then. Raises `AssertionError` for an
    answer that no client should ever see."""
    configurations = tuple(bundle.ladder.index(*rung) for rung in CHEAP)
    (body,) = Footage(bundle, FORM, stretches=1).bodies(bundle.ladder[configurations[0]])
    key, killed = asyncio.run(new_tenant(application)), list[str]()
    with httpx.Client(
        base_url=application.url, timeout=120, limits=httpx.Limits(max_connections=None)
    ) as http:
        journals = [
            Journal(register_plain(http, key, FORM), configurations, segments, body, random.Random(number))
            for number in range(cameras)
        ]
        ended = threading.Event()
        killer = threading.Thread(target=_kill, args=(application, journals, kills, killed, ended, told))
        killer.start()
        try:
            with ThreadPoolExecutor(cameras) as pool:
                list(pool.map(Journal.run, journals))
        finally:
            ended.set()
            killer.join()
        return _report(http, key, journals, bundle, tuple(killed))


def _kill(
    application: RunningApplication,
    journals: Sequence[Journal],
    kills: int,
    killed: list[str],
    ended: threading.Event,
    told: Callable[[int], None],
) -> None:
    whole = sum(journal.segments for journal in journals)
    while not ended.wait(0.1):
        answered = sum(len(journal.committed) + len(journal.stale) for journal in journals)
        told(answered)
        if len(killed) < kills and answered >= whole * (len(killed) + 1) / (kills + 2):
            part = KILLED[len(killed) % len(KILLED)]
            if kill_part(application, part):
                killed.append(part)


def kill_part(application: RunningApplication, part: str) -> bool:
    """`kill -9` of one replica of a deployment, or of the embedded database itself; False if it is not there
    just now."""
    if part == "database":
        pid = EmbeddedServer(application.state_directory).pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        return pid is not None
    for process in psutil.Process(application.pid).children(recursive=True):
        try:
            if f"ServeReplica:default:{part}" in " ".join(process.cmdline()):
                process.kill()
                return True
        except psutil.NoSuchProcess:
            continue
    return False


def _report(
    http: httpx.Client, key: str, journals: Sequence[Journal], bundle: Bundle, killed: tuple[str, ...]
) -> ChaosReport:
    differences = [line for journal in journals for line in journal.differences(bundle)]
    differences += usage_differences(http, key, journals, bundle)
    return ChaosReport(
        settled=sum(journal.settled() for journal in journals),
        committed=sum(len(journal.committed) for journal in journals),
        stale=sum(len(journal.stale) for journal in journals),
        kills=killed,
        differences=tuple(differences),
    )


def exactly_once(
    cameras: Annotated[int, typer.Option(min=1, help="that send at once")] = 20,
    segments: Annotated[int, typer.Option(min=10, help="of all cameras together")] = 10_000,
    kills: Annotated[int, typer.Option(min=0, help="of ingress, variants and database in turn")] = 12,
) -> None:
    """Send segments twice, out of order, dropped and through kills; compare with a sequential reference."""
    console, bundle = Console(), Bundle.load(Settings().bundle)
    state = Path(tempfile.mkdtemp(prefix="penance-chaos-"))
    started = time.monotonic()
    try:
        with (
            RunningApplication(state, bundle.directory, environment=image_flags()) as application,
            Progress(console=console) as bar,
        ):
            task = bar.add_task("segments", total=segments)
            report = send_through_kills(
                application,
                bundle,
                cameras,
                segments // cameras,
                kills,
                lambda answered: bar.update(task, completed=answered),
            )
    finally:
        shutil.rmtree(state, ignore_errors=True)
    console.print(
        f"{report.settled} segments settled in {time.monotonic() - started:.0f} s: {report.committed} "
        f"committed, {report.stale} came too late; killed: {', '.join(report.kills) or 'nothing'}"
    )
    for line in report.differences:
        console.print(line, style="red")
    if report.differences or len(report.kills) < kills:
        raise typer.Exit(1)
    console.print("counters, averages and usage equal the sequential reference exactly")


if __name__ == "__main__":
    typer.run(exactly_once)
