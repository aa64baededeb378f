"""Calibrating: what segments take on a running application, one at a time and in closed loops."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import httpx
import psutil

from clients.protocol import SegmentAnswer
from configs.bundle import Bundle
from configs.ladder import Configuration
from load_tests.application import ApplicationError, RunningApplication
from load_tests.benchmarks.figures import TrafficFigures
from load_tests.benchmarks.traffic import Fleet, closed_loop
from load_tests.footage import Footage
from load_tests.plain_camera import register_plain
from load_tests.simulation.calibration import Calibration, Saturated, ServedSegment
from load_tests.simulation.single import fit_capacity
from rl.processor import describe_processor
from serving.options import ServingOptions

QPS = (20, 26, 30)
EACH = 3
"""Segments by scale, QP and variant, after one that is not counted by scale and variant; in random order, so
that a machine whose speed wanders is not taken for a variant that is slow."""
ROUNDS = 3
LOOPS = ((1.0, 26, 0), (0.75, 26, 1), (0.5, 26, 3))
AT_ONCE = 4
IDLE_S = 5.0
PARTS = {
    "ServeReplica:default:ingress": "ingress",
    "ServeReplica:default:variant": "variant",
    "ServeReplica:default:encoder": "encoder",
    "serving.decode.worker": "decoder",
    "haproxy": "proxy",
    "ProxyActor": "proxy",
    "valkey": "database",
}

Told = Callable[[str], None]


def processor_seconds(application: RunningApplication) -> dict[str, float]:
    """What the application's processes have used so far, by role, and the cameras', which is this one."""
    used: defaultdict[str, float] = defaultdict(float)
    for process in psutil.Process(application.pid).children(recursive=True):
        try:
            line, times = " ".join(process.cmdline()), process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        role = next((role for part, role in PARTS.items() if part in line), "control")
        used[role] += times.user + times.system
    used["cameras"] += time.process_time()
    return used


@dataclass(frozen=True)
class Calibrating:
    """One application under calibration."""

    application: RunningApplication
    bundle: Bundle
    footage: Footage
    key: str
    options: ServingOptions
    told: Told

    def measure(self, loop_s: float) -> Calibration:
        """Segments one at a time, then closed loops of `loop_s` seconds each, then the fit."""
        self._alone(self._kinds()[:: len(QPS)])  # the first of all take long
        before = processor_seconds(self.application)
        time.sleep(IDLE_S)
        idle = processor_seconds(self.application)
        began = time.monotonic()
        mixed = [kind for kind in self._kinds() for _ in range(EACH)]
        random.Random(0).shuffle(mixed)
        alone = self._alone(mixed)
        used, passed = processor_seconds(self.application), time.monotonic() - began
        cpu_s = {
            role: max(0.0, used[role] - idle[role] - (idle[role] - before[role]) / IDLE_S * passed)
            / len(alone)
            for role in used
        }
        measured = Calibration(
            processor=describe_processor(),
            bundle=self.bundle.id,
            frame=f"{self.footage.form.width}x{self.footage.form.height}, {self.footage.form.frames} frames",
            cores=psutil.cpu_count() or 1,
            threads=self.options.variant(0).threads,
            alone=tuple(alone),
            cpu_s=cpu_s,
            saturated=tuple(asyncio.run(self._loops(loop_s))),
        )
        return measured.model_copy(update={"capacity": fit_capacity(self.bundle, measured, self.options)})

    def _kinds(self) -> list[Configuration]:
        ladder = self.bundle.ladder
        return [
            ladder[ladder.index(scale, qp, variant)]
            for scale in ladder.scales
            for variant in range(len(ladder.variants))
            for qp in QPS
        ]

    def _alone(self, rungs: Sequence[Configuration]) -> list[ServedSegment]:
        found = []
        with httpx.Client(base_url=self.application.url, timeout=120) as http:
            camera = register_plain(http, self.key, self.footage.form)
            for seq, rung in enumerate(rungs):
                bodies = self.footage.bodies(rung)
                body = bodies[seq % len(bodies)]
                began = time.perf_counter()
                answer = camera.put(seq, body, configuration=rung.index)
                latency = time.perf_counter() - began
                if answer.status_code != httpx.codes.OK:
                    raise ApplicationError(f"a segment with the machine to itself was refused: {answer.text}")
                read = SegmentAnswer.model_validate(answer.json())
                found.append(served_segment(rung, len(body), latency, read.timings_ms.model_dump()))
                self.told(f"alone: {seq + 1} of {len(rungs)}")
        return found

    async def _loops(self, seconds: float) -> list[Saturated]:
        found = []
        async with Fleet(self.application.url, self.bundle, self.footage.form, 60.0) as fleet:
            for scale, qp, variant in LOOPS * ROUNDS:
                rung = self.bundle.ladder[self.bundle.ladder.index(scale, qp, variant)]
                cameras = await fleet.cameras(self.key, AT_ONCE, rung, self.footage.bodies(rung))
                start = time.perf_counter()
                name = f"closed loop of {scale:g}/{qp}/{variant}"
                await closed_loop(cameras, seconds, lambda _, name=name: self.told(name))  # type: ignore[misc]
                counted = start + 0.2 * seconds, start + seconds
                figures = TrafficFigures.of([camera.journal for camera in cameras], *counted)
                found.append(
                    Saturated(
                        scale=scale, qp=qp, variant=variant, cameras=AT_ONCE, per_s=figures.goodput_per_s
                    )
                )
        return found


def served_segment(
    rung: Configuration, size: int, latency_s: float, timings_ms: Mapping[str, float]
) -> ServedSegment:
    """Stages of one answer. What the server does not see lies half before it and half behind it."""
    seconds = {stage: value / 1e3 for stage, value in timings_ms.items()}
    outside = max(0.0, latency_s - seconds["total"])
    inside = sum(seconds[stage] for stage in ("receive", "state", "queue", "decode", "infer", "embed"))
    return ServedSegment(
        scale=rung.scale,
        variant=rung.variant,
        size=size,
        decode=seconds["decode"],
        infer=seconds["infer"],
        hop=seconds["queue"],
        embed=seconds["embed"],
        before=seconds["receive"] + seconds["state"] + outside / 2,
        after=max(0.0, seconds["total"] - inside) + outside / 2,
    )
