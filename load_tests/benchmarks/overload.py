"""What happens past saturation: goodput, refusals and memory at one to three times the peak, and what a
tenant that keeps to its share notices of one that sends ten times its own.

Starts a real application and drives it with real HTTP cameras that send real H.264, compressed beforehand.
"""

from __future__ import annotations

import asyncio
import math
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console

from clients.protocol import SegmentFormat
from configs.bundle import Bundle, BundleError
from configs.ladder import Configuration
from configs.settings import Settings
from load_tests.application import ApplicationError, RunningApplication, image_flags
from load_tests.benchmarks.arguments import parse_rung, parse_size, rung
from load_tests.benchmarks.figures import OverloadReport, Repeat, Stage, TrafficFigures, print_report
from load_tests.benchmarks.processes import resident_bytes
from load_tests.benchmarks.traffic import Fleet, VirtualCamera, closed_loop, open_loop
from load_tests.footage import Footage
from load_tests.progress import console_for_tables, time_left
from load_tests.tenants import new_tenant
from rl.processor import describe_processor

MULTIPLES = (1, 2, 3)
FLOOD = 10
"""Times its share that the flooding tenant sends."""
AT_ONCE = (2, 4, 8)
"""Cameras in the closed loops; the best of them is the peak."""
SATURATING = 2.4
"""Shares that both tenants together send at first, so that the machine is full before one of them floods."""
WARM_UP = 0.2
"""Part of each stage that is not counted."""
FIRST_DEADLINE_S = 110.0
PEAK_STAGES = 2 * len(AT_ONCE)
STAGES = PEAK_STAGES + len(MULTIPLES) + 4
STRETCHES = 8
TABLE_WIDTH = 170  # where the output is a file
NOTE = (
    "The load generator (one process, asyncio httpx) shares the machine with the application, so goodput at "
    "higher load also pays for sending it. Latency counts from sending; how late the generator itself was "
    "stands beside it. A tenant's share is half of the median goodput; of the dearest configuration, half of "
    "the peak. Memory is the whole process tree's, shared pages counted once."
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is sent. `fill` is the part of its share that a behaving tenant sends."""

    configuration: Configuration
    dearest: Configuration
    seconds: float
    fill: float


class Driver:
    """Runs stages on one application; `ticked` is told the seconds since a stage began."""

    def __init__(
        self,
        application: RunningApplication,
        fleet: Fleet,
        footage: Footage,
        plan: Plan,
        ticked: Callable[[str, float], None],
    ) -> None:
        self._application, self._fleet, self._footage = application, fleet, footage
        self._plan, self._ticked = plan, ticked

    async def repeat(self) -> Repeat:
        """All stages once, with tenants of its own."""
        behaving, flooding = [await new_tenant(self._application) for _ in range(2)]
        plan = self._plan
        for configuration in (plan.configuration, plan.dearest):
            await self._warm_up(behaving, configuration)
        at_start = self._resident_mb()
        peak = await self._peak(behaving, plan.configuration)
        dearest_peak = await self._peak(flooding, plan.dearest)
        load = []
        for multiple in MULTIPLES:
            cameras = await self._cameras(behaving, multiple * peak, plan.configuration)
            load.append(await self._stage(f"{multiple}x", {"all": (cameras, multiple * peak)}))
        share = median(stage.tenants["all"].goodput_per_s for stage in load) / 2
        own = await self._cameras(behaving, plan.fill * share, plan.configuration)
        sharing = [await self._stage("alone", {"behaving": (own, plan.fill * share)})]
        for name, configuration, rate in (
            ("saturated", plan.configuration, (SATURATING - plan.fill) * share),
            (f"{FLOOD}x", plan.configuration, FLOOD * share),
            (f"{FLOOD}x, dearest", plan.dearest, FLOOD * dearest_peak / 2),
        ):
            own = await self._cameras(behaving, plan.fill * share, plan.configuration)
            others = await self._cameras(flooding, rate, configuration)
            groups = {"behaving": (own, plan.fill * share), "other": (others, rate)}
            sharing.append(await self._stage(name, groups))
        return Repeat(
            resident_mb_at_start=at_start,
            peak_per_s=peak,
            dearest_peak_per_s=dearest_peak,
            load=load,
            sharing=sharing,
        )

    async def _warm_up(self, key: str, configuration: Configuration) -> None:
        """The first segments of all take long, as decoders and networks start; nothing measures that."""
        cameras = await self._fleet.cameras(key, 4, configuration, self._footage.bodies(configuration))
        await asyncio.gather(*(camera.send(time.perf_counter(), FIRST_DEADLINE_S) for camera in cameras))

    async def _peak(self, key: str, configuration: Configuration) -> float:
        """Answers a second, the most that any number of cameras at once gets."""
        best = 0.0
        for count in AT_ONCE:
            bodies = self._footage.bodies(configuration)
            cameras = await self._fleet.cameras(key, count, configuration, bodies)
            name = f"peak of {rung(configuration)}, {count} cameras"
            start = time.perf_counter()
            await closed_loop(cameras, self._plan.seconds, partial(self._ticked, name))
            counted = start + WARM_UP * self._plan.seconds, start + self._plan.seconds
            figures = TrafficFigures.of([camera.journal for camera in cameras], *counted)
            best = max(best, figures.goodput_per_s)
        if best == 0:
            raise ApplicationError(
                f"nothing was answered within {self._plan.seconds:g} s ({figures.lost}): give more --seconds"
            )
        return best

    async def _cameras(self, key: str, rate: float, configuration: Configuration) -> list[VirtualCamera]:
        """As many cameras as it takes to send so many segments a second, each one in its segment's length."""
        count = max(1, math.ceil(rate * self._footage.form.seconds))
        return await self._fleet.cameras(key, count, configuration, self._footage.bodies(configuration))

    async def _stage(self, name: str, groups: dict[str, tuple[list[VirtualCamera], float]]) -> Stage:
        start = time.perf_counter()
        await open_loop(list(groups.values()), self._plan.seconds, partial(self._ticked, name))
        counted = start + WARM_UP * self._plan.seconds, start + self._plan.seconds
        return Stage(
            name=name,
            tenants={
                tenant: TrafficFigures.of([camera.journal for camera in cameras], *counted)
                for tenant, (cameras, _) in groups.items()
            },
            resident_mb=self._resident_mb(),
        )

    def _resident_mb(self) -> float:
        return resident_bytes(self._application) / 1e6


async def measure(
    application: RunningApplication,
    bundle: Bundle,
    footage: Footage,
    plan: Plan,
    deadline_s: float,
    repeats: int,
    console: Console,
) -> list[Repeat]:
    """All repeats on one application, with a progress bar."""
    with time_left(console) as bar:
        task = bar.add_task("overload", total=repeats * STAGES * plan.seconds)
        before, last = 0.0, ""

        def ticked(name: str, seconds: float) -> None:
            nonlocal before, last
            if name != last:
                before, last = before + (plan.seconds if last else 0.0), name
            bar.update(task, completed=before + min(seconds, plan.seconds), description=name)

        async with Fleet(application.url, bundle, footage.form, deadline_s) as fleet:
            driver = Driver(application, fleet, footage, plan, ticked)
            return [await driver.repeat() for _ in range(repeats)]


def overload(
    seconds: Annotated[float, typer.Option(min=2, help="of each stage; the first fifth is not counted")] = 40,
    repeats: Annotated[int, typer.Option(min=1, help="of all stages; the tables show medians")] = 3,
    size: Annotated[str, typer.Option(help="of the frames, WIDTHxHEIGHT")] = "640x360",
    configuration: Annotated[str, typer.Option(help="that all but the flood send")] = "0.75/24/2",
    deadline: Annotated[float, typer.Option(min=0.05, help="seconds that every segment allows")] = 2.0,
    fill: Annotated[
        float, typer.Option(min=0.1, max=1, help="part of its share that a behaving tenant sends")
    ] = 0.8,
    json: Annotated[Path | None, typer.Option(dir_okay=False, help="file of all figures")] = None,
) -> None:
    """Goodput, refusals and memory past saturation, and two tenants of whom one sends ten times its share,
    with the image's flags of Ray Serve."""
    console = console_for_tables(TABLE_WIDTH)
    try:
        bundle = Bundle.load(Settings().bundle)
        width, height = parse_size(size)
        form = SegmentFormat(seconds=1, fps=15, width=width, height=height)
        plan = Plan(parse_rung(configuration, bundle), bundle.ladder[0], seconds, fill)
    except (BundleError, ValueError) as error:
        console.print(f"overload: {error}", style="red")
        raise typer.Exit(1) from error
    with console.status("Compressing the footage ..."):
        footage = Footage(bundle, form, STRETCHES)
        for one in (plan.configuration, plan.dearest):
            footage.bodies(one)
    state = Path(tempfile.mkdtemp(prefix="penance-load-"))
    try:
        with RunningApplication(state, bundle.directory, environment=image_flags()) as application:
            found = asyncio.run(measure(application, bundle, footage, plan, deadline, repeats, console))
    except ApplicationError as error:
        console.print(f"overload: {error}", style="red")
        raise typer.Exit(1) from error
    finally:
        shutil.rmtree(state, ignore_errors=True)
    report = OverloadReport(
        processor=describe_processor(),
        bundle=bundle.id,
        segment=f"{size}, {form.frames} frames in {form.seconds:g} s",
        configuration=configuration,
        dearest=rung(plan.dearest),
        deadline_s=deadline,
        seconds=seconds,
        note=NOTE,
        repeats=found,
    )
    print_report(report, console)
    if json is not None:
        json.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(overload)
