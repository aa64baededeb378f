"""How many segments a second the platform answers on a full machine and what it costs beyond the model, side
by side with a bare loop over the same segments and with other ways to serve the same variant.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import httpx
import psutil
import typer
from rich.console import Console

from clients.codec import DecodeLimits, scaled_size
from clients.protocol import SEGMENT_TYPE, SegmentFormat
from configs.bundle import Bundle, BundleError
from configs.ladder import Configuration
from configs.settings import Settings
from load_tests.application import ApplicationError, RunningApplication, image_flags
from load_tests.background import tree
from load_tests.benchmarks.arguments import (
    parse_rung,
    parse_size,
    rung,
    write_figures,
)
from load_tests.benchmarks.contest import Contest, Run, print_contest
from load_tests.benchmarks.peers.model import PeerTask
from load_tests.benchmarks.peers.server import PEERS, RunningPeer, make_environment, run_bare
from load_tests.benchmarks.processes import cpu_between, cpu_seconds
from load_tests.benchmarks.traffic import Fleet, VirtualCamera, closed_loop
from load_tests.footage import Footage
from load_tests.progress import console_for_tables, time_left
from load_tests.tenants import new_tenant
from rl.processor import describe_processor

FORMS = ((1, 2), (2, 1))
"""Worker processes of a peer and threads of each one's network: what two processors may be given to."""
SETTLE = 0.2
"""Part of each run that is not counted."""
NOTE = (
    "Closed loops: each camera sends as soon as it is answered. The generator is a process beside the server "
    "and shares its processors; its time counts in nobody's. CPU is that of the server's whole process tree. "
    "Peers ran with one worker of two threads and with two of one: the faster counts. The bare loop knows no "
    "network, embeds like all others, and has two threads; `ahead` decodes the next segment meanwhile."
)


class PeerCamera(VirtualCamera):
    """Sends to a peer, which knows nothing of cameras."""

    async def _put(self, seq: int, deadline_s: float) -> httpx.Response:
        return await self.http.post(
            "/segment", content=self.bodies[seq % len(self.bodies)], headers={"content-type": SEGMENT_TYPE}
        )


@dataclass(frozen=True, slots=True)
class Course:
    """One configuration's segments and how they are sent."""

    bundle: Bundle
    form: SegmentFormat
    configuration: Configuration
    bodies: Sequence[bytes]
    cameras: int
    seconds: float

    def task(self, threads: int) -> PeerTask:
        width, height = scaled_size(self.form.width, self.form.height, self.configuration.scale)
        frames = DecodeLimits(width=width, height=height, frames=self.form.frames)
        return PeerTask(
            bundle=self.bundle.directory,
            configuration=self.configuration.index,
            frames=frames,
            threads=threads,
        )

    async def drive(
        self, name: str, cameras: list[VirtualCamera], server: Callable[[], list[psutil.Process]]
    ) -> Run:
        """A closed loop, and what the server's processes took of the processors meanwhile."""
        await closed_loop(cameras, self.seconds * SETTLE, lambda seconds: None)
        for camera in cameras:
            camera.journal.clear()
        before, started = cpu_seconds(server()), time.perf_counter()
        await closed_loop(cameras, self.seconds, lambda seconds: None)
        elapsed, after = time.perf_counter() - started, cpu_seconds(server())
        sent = [sent for camera in cameras for sent in camera.journal]
        answered = sum(one.status == 200 for one in sent)
        failed = sorted({one.problem or "no answer" for one in sent if one.status != 200})
        if failed:
            raise ApplicationError(f"{name} did not answer all of its segments: {', '.join(failed)}")
        taken = cpu_between(before, after)
        return Run(name=name, segments=answered, seconds=elapsed, cpu_s=sum(taken.values()), cpu_by=taken)


async def run_platform(application: RunningApplication, course: Course) -> Run:
    key = await new_tenant(application)
    async with Fleet(application.url, course.bundle, course.form, deadline_s=60) as fleet:
        cameras = await fleet.cameras(key, course.cameras, course.configuration, course.bodies)
        return await course.drive("Penance", cameras, application.processes)


async def run_peer(peer: RunningPeer, name: str, course: Course) -> Run:
    async with httpx.AsyncClient(base_url=peer.url, timeout=60) as http:
        cameras: list[VirtualCamera] = [
            PeerCamera(http, "", "", course.bundle.id, 0, course.bodies, 60) for _ in range(course.cameras)
        ]
        return await course.drive(name, cameras, lambda: tree(peer.pid))


class Benchmark:
    """All contestants in turn; `ticked` is told each one's name before it runs."""

    def __init__(self, folder: Path, peers: bool, ticked: Callable[[str], None]) -> None:
        self._folder, self._peers, self._ticked = folder, peers, ticked

    def repeat(self, courses: Sequence[Course]) -> list[list[Run]]:
        """Runs by course: the bare loops, the platform and the peers."""
        found: list[list[Run]] = [self._bare(course) for course in courses]
        self._ticked("Penance")
        state = self._folder / "state"
        with RunningApplication(state, courses[0].bundle.directory, environment=image_flags()) as application:
            for course, runs in zip(courses, found, strict=True):
                runs.append(asyncio.run(run_platform(application, course)))
        shutil.rmtree(state)
        if self._peers:
            for course, runs in zip(courses, found, strict=True):
                runs += self._all_peers(course)
        return found

    def _bare(self, course: Course) -> list[Run]:
        bodies = Path(tempfile.mkdtemp(dir=self._folder))
        for index, body in enumerate(course.bodies):
            (bodies / f"{index:03}.mp4").write_bytes(body)
        runs = []
        for ahead, name in ((False, "bare loop"), (True, "bare loop, ahead")):
            self._ticked(name)
            done = run_bare(course.task(2), bodies, course.seconds, ahead)
            runs.append(Run(name=name, segments=done.segments, seconds=done.seconds, cpu_s=done.cpu_s))
        return runs

    def _all_peers(self, course: Course) -> list[Run]:
        best = []
        for peer in PEERS:
            runs = []
            for workers, threads in FORMS:
                self._ticked(f"{peer.name}, {workers} x {threads}")
                log = self._folder / f"{peer.name}.log"
                with RunningPeer(peer, course.task(threads), workers, log) as running:
                    run = asyncio.run(run_peer(running, peer.name, course))
                    runs.append(run.model_copy(update={"form": f"{workers} x {threads}"}))
            best.append(max(runs, key=lambda run: run.per_s))
        return best


def saturation(
    seconds: Annotated[float, typer.Option(min=2, help="that each contestant is measured")] = 15,
    repeats: Annotated[int, typer.Option(min=1, help="of everything; ratios are of one repeat")] = 3,
    configurations: Annotated[
        str, typer.Option(help="SCALE/QP/VARIANT, several by commas")
    ] = "1/20/0,0.5/30/4",
    size: Annotated[str, typer.Option(help="of the frames, WIDTHxHEIGHT")] = "1280x720",
    cameras: Annotated[int, typer.Option(min=1, help="that send at once")] = 4,
    peers: Annotated[bool, typer.Option(help="measure FastAPI, LitServe and BentoML too")] = True,
    json: Annotated[Path | None, typer.Option(dir_okay=False, help="file of all figures")] = None,
) -> None:
    """Segments a second at saturation and processor time a segment: platform, bare loop and peers."""
    console = console_for_tables(150)
    folder = Path(tempfile.mkdtemp(prefix="pn-saturation-"))
    try:
        bundle = Bundle.load(Settings().bundle)
        width, height = parse_size(size)
        form = SegmentFormat(seconds=1, fps=15, width=width, height=height)
        rungs = [parse_rung(text, bundle) for text in configurations.split(",")]
        with console.status("Compressing the footage ..."):
            footage = Footage(bundle, form, stretches=4)
            courses = [Course(bundle, form, one, footage.bodies(one), cameras, seconds) for one in rungs]
        if peers:
            with console.status("Installing the peers (once) ..."):
                make_environment()
        contests = measure(folder, courses, repeats, peers, console)
    except (ApplicationError, BundleError, ValueError) as error:
        console.print(f"saturation: {error}", style="red", markup=False)
        raise typer.Exit(1) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for contest in contests:
        print_contest(contest, console)
    console.print(NOTE)
    write_figures(contests, json)


def measure(
    folder: Path, courses: Sequence[Course], repeats: int, peers: bool, console: Console
) -> list[Contest]:
    """All repeats, with a progress bar."""
    steps = repeats * (1 + len(courses) * (2 + (len(PEERS) * len(FORMS) if peers else 0)))
    with time_left(console) as bar:
        task = bar.add_task("saturation", total=steps)
        benchmark = Benchmark(
            folder, peers, lambda name: bar.update(task, advance=1, description=f"{name:18}")
        )
        found = [benchmark.repeat(courses) for _ in range(repeats)]
    return [
        Contest(
            processor=describe_processor(),
            segment=f"{course.form.width}x{course.form.height}, {course.form.frames} frames",
            configuration=rung(course.configuration),
            bundle=course.bundle.id,
            cameras=course.cameras,
            repeats=[repeat[index] for repeat in found],
        )
        for index, course in enumerate(courses)
    ]


if __name__ == "__main__":
    typer.run(saturation)
