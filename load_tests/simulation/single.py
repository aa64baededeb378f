"""One machine in simulated time, as `serving.app` runs on it by the shipped options: what a calibration is
fitted and validated on."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from pydantic import BaseModel
from simpy import Environment

from configs.bundle import Bundle
from load_tests.simulation.calibration import Calibration, Saturated
from load_tests.simulation.cameras import Scheduled, closed_loop, replay
from load_tests.simulation.platform import ANSWERED, Arrival, Hardware, Node, Platform, percentile
from load_tests.simulation.processors import Processors
from serving.options import ServingOptions

PATIENCE_S = 120.0
FITTED_S = 60.0
CAPACITIES = tuple(round(0.8 + 0.1 * step, 1) for step in range(17))


class Load(BaseModel):
    """What a load came to, in a simulation or on the application."""

    offered_per_s: float
    goodput_per_s: float
    p50_ms: float
    p95_ms: float
    lost: float  # share of what was sent


def single_machine(
    bundle: Bundle, calibration: Calibration, options: ServingOptions, capacity: float, seed: int = 0
) -> Platform:
    """All of the application on one node with so many processors."""
    env = Environment()
    fitted = calibration.model_copy(update={"capacity": capacity})
    platform = Platform(env, bundle, fitted, Hardware(calibration.threads), random.Random(seed))
    node = Node("machine", Processors(env, capacity))
    for _ in range(options.ingress.num_replicas or 1):
        platform.add_ingress(node, options.admission)
    for index, deployment in enumerate(platform.variants):
        deployment.add(node, options.variant(index).decoders)
    for _ in range(options.encoder.num_replicas or 1):
        platform.encoder.add(node)
    return platform


def simulate_load(
    platform: Platform, segments: Sequence[Scheduled], deadline_s: float, counted: tuple[float, float]
) -> Load:
    """Sends all of `segments`; what is due (or, for goodput, answered) within `counted` makes the figures."""
    platform.env.process(replay(platform, segments, deadline_s))
    platform.env.run(until=segments[-1].at + deadline_s + 5)
    start, end = counted
    due = [told for told in platform.told if start <= told.sent < end]
    good = [told.ended - told.sent for told in due if told.why == ANSWERED] or [math.nan]
    done = sum(told.why == ANSWERED and start <= told.ended < end for told in platform.told)
    return Load(
        offered_per_s=len(due) / (end - start),
        goodput_per_s=done / (end - start),
        p50_ms=percentile(good, 0.5) * 1e3,
        p95_ms=percentile(good, 0.95) * 1e3,
        lost=sum(told.why != ANSWERED for told in due) / max(1, len(due)),
    )


def simulate_saturated(
    bundle: Bundle, calibration: Calibration, options: ServingOptions, capacity: float, loop: Saturated
) -> float:
    """Answers a second of a closed loop."""
    platform = single_machine(bundle, calibration, options, capacity)
    index = bundle.ladder.index(loop.scale, loop.qp, loop.variant)
    own = [served.size for served in calibration.by_kind[loop.scale, loop.variant]]
    size = round(sum(own) / len(own))
    for number in range(loop.cameras):
        arrival = Arrival("load", f"camera-{number}", index, size, PATIENCE_S)
        platform.env.process(closed_loop(platform, lambda arrival=arrival: arrival))  # type: ignore[misc]
    platform.env.run(until=FITTED_S)
    return sum(told.why == ANSWERED for told in platform.told) / FITTED_S


def fit_capacity(bundle: Bundle, calibration: Calibration, options: ServingOptions) -> float:
    """The number of processors at which closed loops come out as they were measured: the least sum of
    absolute logarithms of the ratios, so that a loop during which the machine was slow weighs no more."""
    kinds = {loop.rung: loop for loop in calibration.saturated}

    def error(capacity: float) -> float:
        found = {
            rung: simulate_saturated(bundle, calibration, options, capacity, loop)
            for rung, loop in kinds.items()
        }
        return sum(
            abs(math.log(found[loop.rung] / loop.per_s)) for loop in calibration.saturated if loop.per_s
        )

    return min(CAPACITIES, key=error)
