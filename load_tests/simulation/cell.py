"""One cell in simulated time: a cluster of its own with nodes that take requests and nodes of variants, as
`k8s/overlays/gpu-autoscaling` lays it out, and the cameras that it serves."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel
from simpy import Environment

from configs.bundle import Bundle
from load_tests.simulation.calibration import Calibration
from load_tests.simulation.cameras import Fleet, Uplinks
from load_tests.simulation.machines import Machine, Machines
from load_tests.simulation.mix import Mix
from load_tests.simulation.platform import ANSWERED, Hardware, Node, Platform, percentile
from load_tests.simulation.processors import Processors
from serving.ingress.admission import AdmissionOptions

GPU_REPLICAS = 5
"""Of 0.18 GPUs each."""
DECODERS = 2
REPLICAS_AN_INGRESS_NODE = 2
PROCESSORS_AN_ENCODER = 4
TENANTS = 5
LOOP_FULL = 0.6
"""Part of its time that an ingress' event loop may be busy: beyond, what waits for it takes long."""


@dataclass(frozen=True)
class Cell:
    """What a cell is made of. `lanes` are of one ingress replica."""

    bundle: Bundle
    calibration: Calibration
    machines: Machines
    machine: Machine
    nodes: int
    ingress_nodes: int
    lanes: int
    seed: int = 0

    def admission(self) -> AdmissionOptions:
        return AdmissionOptions(lanes=self.lanes, express=1, waiting=512, waiting_per_tenant=128)

    def hardware(self) -> Hardware:
        gpu, ladder = self.machine.gpu, self.bundle.ladder
        if gpu is None:
            return Hardware(self.calibration.threads)
        width, height = self.bundle.manifest.frame
        rungs = [ladder[ladder.index(1.0, 20, variant)] for variant in range(len(ladder.variants))]
        flops = [self.bundle.segment_flops(rung, 15, width, height) for rung in rungs]
        return Hardware(self.calibration.threads, tuple(gpu.seconds(one) for one in flops))

    def slots(self) -> int:
        """Replicas of variants that one node holds: what is left of it beside its encoder."""
        if self.machine.gpu is not None:
            return GPU_REPLICAS
        return max(1, self.machine.processors // self.calibration.threads)

    def node(self, env: Environment, name: str, machine: Machine) -> Node:
        """A machine; its processors share work as well as the calibration's did."""
        shared = self.calibration.capacity / self.calibration.cores
        gpu = None if machine.gpu is None else Processors(env, 1.0)
        return Node(name, Processors(env, machine.processors * min(1.0, shared)), machine.speed, gpu)

    def empty(self) -> Platform:
        """The platform with its ingress and no node of variants yet."""
        env = Environment()
        platform = Platform(env, self.bundle, self.calibration, self.hardware(), random.Random(self.seed))
        for number in range(self.ingress_nodes):
            node = self.node(env, f"ingress-{number}", self.machines.machine(self.machines.ingress))
            for _ in range(REPLICAS_AN_INGRESS_NODE):
                platform.add_ingress(node, self.admission())
        return platform

    def platform(self, weights: Mapping[int, float]) -> Platform:
        """All replicas in place, by `weights` of the variants."""
        platform = self.empty()
        nodes = [self.node(platform.env, f"variants-{n}", self.machine) for n in range(self.nodes)]
        counts = allotted(weights, self.nodes * self.slots())
        dealt = [variant for variant, count in counts.items() for _ in range(count)]
        for place, variant in enumerate(dealt):
            platform.variants[variant].add(nodes[place % self.nodes], DECODERS)
        for node in nodes:
            self.add_encoders(platform, node)
        return platform

    def add_encoders(self, platform: Platform, node: Node) -> None:
        """As many as the node's processors can feed."""
        for _ in range(max(1, self.machine.processors // PROCESSORS_AN_ENCODER)):
            platform.encoder.add(node)


def allotted(weights: Mapping[int, float], slots: int) -> dict[int, int]:
    """How many of `slots` each variant gets: one each as far as there are, the rest where most is missing."""
    counts = dict.fromkeys(list(weights)[:slots], 1)
    for _ in range(slots - len(counts)):
        neediest = max(counts, key=lambda variant: weights[variant] / counts[variant])
        counts[neediest] += 1
    return counts


def variant_weights(
    mix: Mix, calibration: Calibration, hardware: Hardware, bundle: Bundle
) -> dict[int, float]:
    """Seconds that each variant of the mix holds a replica for, by segment of the mix."""
    found: dict[int, float] = {}
    for index, share in mix.shares().items():
        rung = bundle.ladder[index]
        own = calibration.by_kind[rung.scale, rung.variant]
        infer = sum(served.infer for served in own) / len(own)
        if hardware.gpu_s is not None:
            infer = hardware.gpu_s[rung.variant]
        decode = sum(served.decode for served in own) / len(own)
        found[rung.variant] = found.get(rung.variant, 0.0) + share * (decode + infer)
    return dict(sorted(found.items()))


def ingress_nodes_for(cameras: float, calibration: Calibration) -> int:
    """Nodes of two ingress replicas each whose loops are not too full at a segment a second and camera."""
    busy = cameras * calibration.cpu_s.get("ingress", 0.0)
    return max(2, math.ceil(busy / LOOP_FULL / REPLICAS_AN_INGRESS_NODE))


class CellLoad(BaseModel):
    """What a cell did for its cameras."""

    cameras: int
    p50_ms: float
    p95_ms: float
    refused: float  # share of what was uploaded
    dropped: float  # share of what was not uploaded in time
    per_s: float  # answers


def run_cell(platform: Platform, mix: Mix, cameras: int, seconds: float, deadline_s: float) -> CellLoad:
    """So many cameras for so long; the first third is not counted."""
    uplinks = Uplinks()
    fleet = Fleet(platform, mix.tracks, cameras, TENANTS, 1.0, deadline_s, platform.rng, uplinks)
    fleet.start()
    platform.env.run(until=seconds)
    start, end = seconds / 3, seconds - deadline_s
    due = [told for told in platform.told if start <= told.sent < end]
    good = [told.ended - told.sent for told in due if told.why == ANSWERED] or [math.inf]
    return CellLoad(
        cameras=cameras,
        p50_ms=percentile(good, 0.5) * 1e3,
        p95_ms=percentile(good, 0.95) * 1e3,
        refused=sum(told.why != ANSWERED for told in due) / max(1, len(due)),
        dropped=uplinks.dropped / max(1, uplinks.sent),
        per_s=sum(told.why == ANSWERED for told in due) / (end - start),
    )
