"""The simulation against the application: loads that nothing was calibrated on, the same segments at the same
times for both."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel

from configs.bundle import Bundle
from load_tests.application import RunningApplication
from load_tests.benchmarks.figures import TrafficFigures
from load_tests.benchmarks.traffic import Fleet, Sent, VirtualCamera, open_loop
from load_tests.footage import Footage
from load_tests.simulation.calibration import Calibration
from load_tests.simulation.cameras import Scheduled
from load_tests.simulation.single import Load, simulate_load, single_machine
from serving.options import ServingOptions

THROUGHPUT_WITHIN, P95_WITHIN = 0.10, 0.20
WARM_UP = 0.15
"""Part of each load that is not counted."""
SEED = 7

Told = Callable[[str], None]


class Compared(BaseModel):
    """One load: what the simulation said, and what came."""

    name: str
    simulated: Load
    real: Load

    @property
    def throughput_error(self) -> float:
        return self.simulated.goodput_per_s / self.real.goodput_per_s - 1

    @property
    def p95_error(self) -> float:
        return self.simulated.p95_ms / self.real.p95_ms - 1

    @property
    def holds(self) -> bool:
        """Whether it is as near as is promised."""
        return abs(self.throughput_error) <= THROUGHPUT_WITHIN and abs(self.p95_error) <= P95_WITHIN


class Validation(BaseModel):
    """Everything that was compared, and on what."""

    processor: str
    mix: dict[int, float]
    deadline_s: float
    seconds: float
    loads: tuple[Compared, ...]


@dataclass(slots=True)
class MixedCamera(VirtualCamera):
    """A camera whose every segment has a configuration of its own, `plan`, and its body."""

    plan: Sequence[tuple[int, bytes]] = ()

    async def send(self, due: float, deadline_s: float | None = None) -> Sent:
        self.configuration, body = self.plan[self.seq % len(self.plan)]
        self.bodies = (body,)
        return await VirtualCamera.send(self, due, deadline_s)


def drawn_configurations(mix: Mapping[int, float], count: int, seed: int = SEED) -> list[int]:
    """So many configurations in the proportions of the mix, shuffled."""
    rng = random.Random(seed)
    return rng.choices(list(mix), list(mix.values()), k=count)


def schedule(
    mix: Mapping[int, float], sizes: Mapping[int, Sequence[int]], rate: float, seconds: float, form_s: float
) -> list[Scheduled]:
    """Segments of as many cameras as send `rate` a second, one each segment's length, evenly spread."""
    cameras = max(1, math.ceil(rate * form_s))
    count = int(rate * seconds)
    chosen = drawn_configurations(mix, count)
    return [
        Scheduled(
            at=number / rate,
            camera=f"camera-{number % cameras}",
            configuration=configuration,
            size=sizes[configuration][number % len(sizes[configuration])],
        )
        for number, configuration in enumerate(chosen)
    ]


@dataclass(frozen=True)
class Validating:
    """One running application, and what was calibrated on it."""

    application: RunningApplication
    bundle: Bundle
    footage: Footage
    key: str
    options: ServingOptions
    calibration: Calibration
    mix: Mapping[int, float]
    deadline_s: float
    told: Told

    def compare(self, fractions: Sequence[float], seconds: float) -> Validation:
        """At these fractions of what the simulation takes for the most that is answered."""
        most = self._simulated(self._schedule(20.0, 60.0), 60.0).goodput_per_s
        loads = []
        for fraction in fractions:
            segments = self._schedule(fraction * most, seconds)
            simulated = self._simulated(segments, seconds)
            real = asyncio.run(self._real(segments, fraction * most, seconds))
            loads.append(Compared(name=f"{fraction:g} of the most", simulated=simulated, real=real))
        return Validation(
            processor=self.calibration.processor,
            mix=dict(self.mix),
            deadline_s=self.deadline_s,
            seconds=seconds,
            loads=tuple(loads),
        )

    def _schedule(self, rate: float, seconds: float) -> list[Scheduled]:
        ladder = self.bundle.ladder
        sizes = {index: [len(body) for body in self.footage.bodies(ladder[index])] for index in self.mix}
        return schedule(self.mix, sizes, rate, seconds, self.footage.form.seconds)

    def _simulated(self, segments: Sequence[Scheduled], seconds: float) -> Load:
        platform = single_machine(self.bundle, self.calibration, self.options, self.calibration.capacity)
        return simulate_load(platform, segments, self.deadline_s, (WARM_UP * seconds, seconds))

    async def _real(self, segments: Sequence[Scheduled], rate: float, seconds: float) -> Load:
        async with Fleet(self.application.url, self.bundle, self.footage.form, self.deadline_s) as fleet:
            names = list(dict.fromkeys(segment.camera for segment in segments))
            plain = await fleet.cameras(self.key, len(names), self.bundle.ladder[0], ())
            cameras: list[VirtualCamera] = [
                _mixed(camera, self._plan(segments, name)) for camera, name in zip(plain, names, strict=True)
            ]
            await open_loop(
                [(cameras, rate)],
                seconds,
                lambda passed: self.told(f"{rate:.2f} a second: {passed:.0f} of {seconds:.0f} s"),
            )
            journals = [camera.journal for camera in cameras]
        start = min((sent.due for journal in journals for sent in journal), default=0.0)
        return load_of(journals, start + WARM_UP * seconds, start + seconds)

    def _plan(self, segments: Sequence[Scheduled], name: str) -> list[tuple[int, bytes]]:
        ladder = self.bundle.ladder
        found = []
        for number, segment in enumerate(segments):
            if segment.camera == name:
                bodies = self.footage.bodies(ladder[segment.configuration])
                found.append((segment.configuration, bodies[number % len(bodies)]))
        return found


def _mixed(camera: VirtualCamera, plan: Sequence[tuple[int, bytes]]) -> MixedCamera:
    return MixedCamera(
        camera.http,
        camera.id,
        camera.token,
        camera.bundle,
        camera.configuration,
        camera.bodies,
        camera.deadline_s,
        camera.seq,
        plan=plan,
    )


def load_of(journals: Sequence[Sequence[Sent]], start: float, end: float) -> Load:
    """What real cameras wrote down, in the simulation's terms."""
    figures = TrafficFigures.of(journals, start, end)
    good = [
        sent.latency_s * 1e3
        for journal in journals
        for sent in journal
        if start <= sent.due < end and sent.status == 200
    ] or [math.nan]
    lost = sum(figures.lost.values())
    return Load(
        offered_per_s=figures.offered_per_s,
        goodput_per_s=figures.goodput_per_s,
        p50_ms=float(np.percentile(good, 50)),
        p95_ms=float(np.percentile(good, 95)),
        lost=lost / max(1, figures.answered + lost),
    )
