"""An hour of many cameras with a restart of the database in it: what grows.

It runs by `python -m load_tests.chaos.soak`.
"""

from __future__ import annotations

import asyncio
import json as json_format
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import redis
import typer
from rich.console import Console
from rich.table import Table

from clients.protocol import SegmentFormat
from configs.bundle import Bundle, BundleError
from configs.settings import Settings
from load_tests.application import ApplicationError, RunningApplication, image_flags
from load_tests.benchmarks.traffic import Fleet, VirtualCamera
from load_tests.chaos.growth import Growth, Sample, grows, growth
from load_tests.chaos.processes import Held, held
from load_tests.footage import Footage
from load_tests.progress import Ticker, console_for_tables
from load_tests.tenants import new_tenant
from serving.state.embedded import EmbeddedServer

FORM = SegmentFormat(seconds=1, fps=3, width=128, height=96)
RUNG = (0.5, 30, 4)
DEADLINE_S = 20.0
SAMPLE_S = 10.0
WARM_UP_S = 600.0
MOST_GROWTH, LEAST_MB, LEAST_COUNT = 0.05, 20.0, 10.0
"""What counts as growth after the warm-up: over 5 %, and over 20 MB, or ten descriptors or threads."""
MEGABYTE = 2**20
TABLE_WIDTH = 140  # where the output is a file


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens once, at a part of the whole time. A switch of bundles would be one more."""

    at: float
    name: str
    act: Callable[[RunningApplication], None]


def restart_database(application: RunningApplication) -> None:
    """`kill -9`; the application starts it again from its append-only file."""
    pid = EmbeddedServer(application.state_directory).pid()
    if pid is not None:
        os.kill(pid, signal.SIGKILL)


EVENTS = (Event(0.5, "database restarted", restart_database),)


@dataclass(slots=True)
class Soak:
    """What was measured, by what it is of: `memory of ingress, MB` and so on."""

    samples: dict[str, list[Sample]] = field(default_factory=dict)
    events: list[tuple[float, str]] = field(default_factory=list)
    seconds: float = 0.0
    ended_early: bool = False
    broken: list[str] = field(default_factory=list)
    """What cameras of the load itself ended with, where they should not have."""
    told: Counter[str] = field(default_factory=Counter)

    def take(self, at: float, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.samples.setdefault(name, []).append(Sample(at, value))

    def growths(self, warm_up_s: float) -> dict[str, Growth]:
        found = {name: growth(samples, warm_up_s) for name, samples in self.samples.items()}
        return {name: one for name, one in found.items() if one is not None}


def measured(application: RunningApplication) -> dict[str, float]:
    """Everything that may grow, now."""
    found, values = held(application), dict[str, float]()
    for kind, one in [*found.items(), ("all", sum(found.values(), Held()))]:
        values[f"memory of {kind}, MB"] = one.bytes / MEGABYTE
        values[f"descriptors of {kind}"] = one.descriptors
        values[f"threads of {kind}"] = one.threads
    return values | _database(application)


def _database(application: RunningApplication) -> dict[str, float]:
    server = EmbeddedServer(application.state_directory)
    try:
        with redis.Redis.from_url(server.url, socket_timeout=2.0) as client:
            memory, keys = client.info("memory"), client.dbsize()
    except (redis.RedisError, OSError):  # being restarted
        return {}
    disk = sum(path.stat().st_size for path in server.directory.rglob("*") if path.is_file())
    return {
        "data in Redis, MB": memory["used_memory_dataset"] / MEGABYTE,
        "keys in Redis": keys,
        "database on disk, MB": disk / MEGABYTE,
    }


async def run(
    application: RunningApplication,
    bundle: Bundle,
    count: int,
    seconds: float,
    every_s: float,
    told: Callable[[float, Soak], None],
) -> Soak:
    """Cameras at their own clock for so long. Ends early, with what there is, when the task is cancelled."""
    key, rung = await new_tenant(application), bundle.ladder[bundle.ladder.index(*RUNG)]
    bodies, soak = Footage(bundle, FORM, stretches=8).bodies(rung), Soak()
    async with Fleet(application.url, bundle, FORM, DEADLINE_S) as fleet:
        cameras = await fleet.cameras(key, count, rung, bodies)
        started = time.perf_counter()
        # a camera that breaks must not end the others; it is told of in the end
        traffic = asyncio.gather(
            *(
                camera.at_its_own_clock(started + every_s * number / count, every_s, started + seconds)
                for number, camera in enumerate(cameras)
            ),
            return_exceptions=True,
        )
        try:
            await _watch(application, traffic, cameras, soak, started, seconds, told)
        except asyncio.CancelledError:
            traffic.cancel()
            await asyncio.gather(traffic, return_exceptions=True)
            soak.ended_early = True
        soak.seconds = time.perf_counter() - started
        _collect(cameras, soak)
    return soak


async def _watch(
    application: RunningApplication,
    traffic: asyncio.Future[list[BaseException | None]],
    cameras: Sequence[VirtualCamera],
    soak: Soak,
    started: float,
    seconds: float,
    told: Callable[[float, Soak], None],
) -> None:
    waiting = list(EVENTS)
    while not (await asyncio.wait([traffic], timeout=SAMPLE_S))[0]:
        now = time.perf_counter() - started
        soak.take(now, await asyncio.to_thread(measured, application))
        _collect(cameras, soak)
        if waiting and now >= waiting[0].at * seconds:
            event = waiting.pop(0)
            await asyncio.to_thread(event.act, application)
            soak.events.append((now, event.name))
        told(min(now, seconds), soak)
    soak.broken = [repr(error) for error in await traffic if error is not None]


def _collect(cameras: Sequence[VirtualCamera], soak: Soak) -> None:
    """Takes journals over, so that the run itself does not grow with every segment."""
    for camera in cameras:
        soak.told.update(sent.problem or str(sent.status) for sent in camera.journal)
        camera.journal.clear()


def faults(soak: Soak, warm_up_s: float) -> list[str]:
    """What grew, a line each."""
    found, growths = (
        [f"a camera of the load broke: {error}" for error in soak.broken],
        soak.growths(warm_up_s),
    )
    if not growths:
        found.append(
            f"nothing can be said: {soak.seconds:.0f} s are too few behind {warm_up_s:.0f} s of warm-up"
        )
    for name, one in growths.items():
        least = LEAST_MB if name.endswith("MB") else LEAST_COUNT
        if name not in GROWS_BY_DESIGN and grows(one, MOST_GROWTH, least):
            found.append(f"{name}: from {one.first:.0f} to {one.last:.0f}, {one.per_hour:+.1f} an hour")
    return found


GROWS_BY_DESIGN = {"database on disk, MB"}
"""The append-only file grows until Redis rewrites it."""


def print_report(soak: Soak, warm_up_s: float, console: Console) -> None:
    table = Table("what", "at the start", "after the warm-up", "at the end", "growth", "an hour")
    growths = soak.growths(warm_up_s)
    for name, samples in sorted(soak.samples.items()):
        one = growths.get(name)
        table.add_row(
            name,
            f"{samples[0].value:.1f}",
            "" if one is None else f"{one.first:.1f}",
            f"{samples[-1].value:.1f}" if one is None else f"{one.last:.1f}",
            "" if one is None else f"{one.share:+.1%}",
            "" if one is None else f"{one.per_hour:+.1f}",
        )
    console.print(table)
    told = ", ".join(f"{n} x {what}" for what, n in soak.told.most_common())
    ended = ", ended early" if soak.ended_early else ""
    console.print(f"{soak.seconds:.0f} s{ended}; segments: {told or 'none'}", markup=False)
    for at, name in soak.events:
        console.print(f"at {at:.0f} s: {name}")


def summary(soak: Soak, warm_up_s: float) -> dict[str, Any]:
    """All figures."""
    return {
        "seconds": soak.seconds,
        "ended_early": soak.ended_early,
        "broken": soak.broken,
        "warm_up_s": warm_up_s,
        "told": dict(soak.told),
        "events": soak.events,
        "growth": {name: asdict(one) | {"share": one.share} for name, one in soak.growths(warm_up_s).items()},
        "samples": {name: [(s.at, s.value) for s in some] for name, some in soak.samples.items()},
    }


def soak(
    minutes: Annotated[float, typer.Option(min=0.5, help="of load")] = 60.0,
    cameras: Annotated[int, typer.Option(min=1, max=1000, help="that send at their own clock")] = 50,
    every: Annotated[float, typer.Option(min=0.1, help="seconds between a camera's segments")] = 1.0,
    warm_up: Annotated[
        float, typer.Option(min=0, help="minutes after which growth counts; at most a third of all")
    ] = WARM_UP_S / 60,
    proxy: Annotated[
        bool, typer.Option("--proxy/--no-proxy", help="HAProxy before the ingress, as the image has it")
    ] = True,
    json: Annotated[Path | None, typer.Option(dir_okay=False, help="file of all samples and figures")] = None,
) -> None:
    """Have many cameras send small segments for long, restart the database meanwhile, and see what grows:
    memory, descriptors and threads by kind of process, and what Redis holds.

    Ctrl-C ends early, with a table."""
    console = console_for_tables(TABLE_WIDTH)
    state, seconds = Path(tempfile.mkdtemp(prefix="pn-soak-")), 60 * minutes
    warm_up_s = min(60 * warm_up, seconds / 3)
    try:
        bundle = Bundle.load(Settings().bundle)
        console.print("starting the application ...")
        flags = image_flags() if proxy else {}
        with (
            RunningApplication(state, bundle.directory, environment=flags) as application,
            Ticker(console, seconds) as ticker,
        ):
            found = asyncio.run(
                run(application, bundle, cameras, seconds, every, lambda at, now: ticker.tick(at, _line(now)))
            )
    except (ApplicationError, BundleError) as error:
        console.print(f"soak: {error}", style="red", markup=False)
        raise typer.Exit(1) from error
    finally:
        shutil.rmtree(state, ignore_errors=True)
    print_report(found, warm_up_s, console)
    if json is not None:
        json.write_text(json_format.dumps(summary(found, warm_up_s), indent=1) + "\n", encoding="utf-8")
    lines = faults(found, warm_up_s)
    for line in lines:
        console.print(line, style="red", markup=False)
    if lines:
        raise typer.Exit(1)
    console.print("nothing grows")


def _line(now: Soak) -> str:
    answered, all_told = now.told["200"], now.told.total()
    return f"{answered} of {all_told} answered"


if __name__ == "__main__":
    typer.run(soak)
