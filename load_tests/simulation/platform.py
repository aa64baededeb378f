"""The platform in simulated time: nodes, deployments with their replicas, and the way of one segment through
them (`serving/ingress/segments.py`), with service times drawn from a calibration.

What decides is the application's own code, in `lanes.py`. What is left out: audits, label maps beyond the
last frame's, quotas, and Redis as a bottleneck (`docs/state.md` says what it takes).
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from simpy import Environment, Event, Resource

from configs.bundle import Bundle
from load_tests.simulation.calibration import Calibration, ServedSegment
from load_tests.simulation.lanes import ADMITTED, DEADLINE, Lanes
from load_tests.simulation.processors import Processors
from serving.ingress.admission import AdmissionOptions
from serving.ingress.fairness import Work

NICE_WEIGHT = 1.25**-4
"""What the kernel gives a variant's replica beside an ingress: it runs at niceness 4."""
ANSWERED = "answered"

Steps = Generator[Event, Any, Any]


@dataclass(slots=True, eq=False)
class Node:
    """A machine. `speed` is that of its processors, `gpu_speed` that of its GPU, over the calibrated ones."""

    name: str
    processors: Processors
    speed: float = 1.0
    gpu: Processors | None = None

    def compute(self, seconds: float, threads: float = 1.0, weight: float = 1.0) -> Event:
        """Runs what takes so many seconds of a calibrated machine's processors."""
        return self.processors.run(seconds / self.speed, threads, weight)


@dataclass(slots=True, eq=False)
class Replica:
    """One replica of a deployment; `network` is its one thread that infers or embeds."""

    node: Node
    network: Resource
    decoders: Resource | None = None
    ongoing: int = 0
    leaving: bool = False


class Deployment:
    """Replicas that requests are spread over as Serve does: the less busy of two, none over its limit."""

    def __init__(self, env: Environment, name: str, max_ongoing: int, rng: random.Random) -> None:
        self._env, self.name, self._max, self._rng = env, name, max_ongoing, rng
        self.replicas: list[Replica] = []
        self._waiting: deque[Event] = deque()

    @property
    def ongoing(self) -> int:
        """Requests at its replicas and on the way to them: what Serve scales by."""
        return len(self._waiting) + sum(replica.ongoing for replica in self.replicas)

    def add(self, node: Node, decoders: int = 0) -> Replica:
        """A new replica, ready to work."""
        pool = Resource(self._env, decoders) if decoders else None
        replica = Replica(node, Resource(self._env), pool)
        self.replicas.append(replica)
        while self._waiting and replica.ongoing < self._max:
            self._give(self._waiting.popleft(), replica)
        return replica

    def acquire(self) -> Event:
        """An event whose value is a replica, to be given back by `release`."""
        event = self._env.event()
        free = [r for r in self.replicas if r.ongoing < self._max and not r.leaving]
        if free:
            two = self._rng.sample(free, min(2, len(free)))
            self._give(event, min(two, key=lambda replica: replica.ongoing))
        else:
            self._waiting.append(event)
        return event

    def release(self, replica: Replica) -> None:
        replica.ongoing -= 1
        if replica.leaving and replica.ongoing == 0 and replica in self.replicas:
            self.replicas.remove(replica)
        elif self._waiting and not replica.leaving:
            self._give(self._waiting.popleft(), replica)

    def _give(self, event: Event, replica: Replica) -> None:
        replica.ongoing += 1
        event.succeed(replica)


@dataclass(slots=True, eq=False)
class Ingress:
    """One ingress replica: an event loop, which does one thing at a time, and its lanes."""

    node: Node
    lanes: Lanes
    loop: Resource
    ongoing: int = 0


@dataclass(frozen=True, slots=True)
class Arrival:
    """A segment as a camera sends it."""

    tenant: str
    camera: str
    configuration: int
    size: int
    deadline_s: float
    share: float = 1.0


@dataclass(slots=True)
class Told:
    """What became of a segment: `why` is `ANSWERED` or the reason of its refusal."""

    sent: float
    ended: float
    configuration: int
    why: str


@dataclass(frozen=True, slots=True)
class Hardware:
    """How a variant's network runs: on the node's processors with so many threads, or on its GPU in
    `gpu_s` seconds by variant."""

    threads: int
    gpu_s: tuple[float, ...] | None = None


@dataclass
class Platform:
    """All deployments. `overhead` are processor-seconds a segment by role, beside what stages take."""

    env: Environment
    bundle: Bundle
    calibration: Calibration
    hardware: Hardware
    rng: random.Random
    frames: int = 15
    ingresses: list[Ingress] = field(default_factory=list)
    variants: list[Deployment] = field(default_factory=list)
    encoder: Deployment = field(init=False)
    told: list[Told] = field(default_factory=list)

    def __post_init__(self) -> None:
        width, height = self.bundle.manifest.frame
        self._flops = [
            self.bundle.segment_flops(rung, self.frames, width, height) for rung in self.bundle.ladder.rungs()
        ]
        self.variants = [
            Deployment(self.env, f"variant-{index}", 4, self.rng)
            for index in range(len(self.bundle.ladder.variants))
        ]
        self.encoder = Deployment(self.env, "encoder", 16, self.rng)

    def add_ingress(self, node: Node, options: AdmissionOptions) -> None:
        self.ingresses.append(Ingress(node, Lanes(self.env, options), Resource(self.env)))

    def send(self, arrival: Arrival) -> Steps:
        """A process: the way of one segment. What became of it is kept in `told`."""
        sent, served = self.env.now, self._draw(arrival.configuration)
        ingress = min(self.ingresses, key=lambda one: one.ongoing)  # HAProxy's leastconn
        ingress.ongoing += 1
        try:
            why = yield from self._handle(ingress, arrival, served, sent + arrival.deadline_s)
        finally:
            ingress.ongoing -= 1
        self.told.append(Told(sent, self.env.now, arrival.configuration, why))

    def _draw(self, configuration: int) -> ServedSegment:
        rung = self.bundle.ladder[configuration]
        return self.rng.choice(self.calibration.by_kind[rung.scale, rung.variant])

    def _handle(self, ingress: Ingress, arrival: Arrival, served: ServedSegment, expires: float) -> Steps:
        """Gives why the segment ended."""
        rung, flops = self.bundle.ladder[arrival.configuration], self._flops[arrival.configuration]
        yield from self._at(ingress, served.before, "before")
        lanes, now = ingress.lanes, self.env.now
        expected = lanes.times.expect(rung.variant, flops, expires - now, now, lanes.crowd)
        work = Work(
            tenant=arrival.tenant,
            camera=arrival.camera,
            share=arrival.share,
            cost=float(flops),
            service_s=expected.service_s,
            expires=expires,
            spread_s=expected.spread_s,
        )
        refused = yield lanes.enter(work).event
        if refused != ADMITTED:
            return refused
        started, crowd = self.env.now, lanes.running
        yield from self._segment(arrival, served)
        yield from self._embed(served)
        now = self.env.now
        lanes.times.observe(rung.variant, flops, now - started, now, (crowd + lanes.running) / 2)
        lanes.leave(work)
        yield from self._at(ingress, served.after, "after")
        return ANSWERED if self.env.now <= expires + served.after else DEADLINE

    def _at(self, ingress: Ingress, seconds: float, part: str) -> Steps:
        """What an ingress does before or after the lane: its own processor time in its loop, one thing at a
        time, and the rest, which others take, without holding it up."""
        own = min(seconds, self.calibration.cpu_s.get("ingress", 0.0) / 2)
        with ingress.loop.request() as turn:
            yield turn
            yield ingress.node.compute(own)
        if seconds > own:
            yield ingress.node.compute(seconds - own)

    def _segment(self, arrival: Arrival, served: ServedSegment) -> Steps:
        rung = self.bundle.ladder[arrival.configuration]
        deployment = self.variants[rung.variant]
        replica: Replica = yield deployment.acquire()
        try:
            node = replica.node
            yield node.compute(served.hop)
            assert replica.decoders is not None
            with replica.decoders.request() as decoder:  # held until its frames have been used
                yield decoder
                own = served.decode / max(1e-6, self.calibration.decode_s(served.scale, served.size))
                decode = own * self.calibration.decode_s(rung.scale, arrival.size)
                yield node.compute(decode, 1.0, NICE_WEIGHT)
                with replica.network.request() as turn:
                    yield turn
                    yield self._infer(node, rung.variant, served)
        finally:
            deployment.release(replica)

    def _infer(self, node: Node, variant: int, served: ServedSegment) -> Event:
        threads, gpu_s = self.hardware.threads, self.hardware.gpu_s
        if gpu_s is not None:
            assert node.gpu is not None
            return node.gpu.run(gpu_s[variant])
        # what it was measured with: all processors that it could use
        used = min(threads, self.calibration.capacity)
        return node.compute(served.infer * used, threads, NICE_WEIGHT)

    def _embed(self, served: ServedSegment) -> Steps:
        replica: Replica = yield self.encoder.acquire()
        try:
            with replica.network.request() as turn:
                yield turn
                yield replica.node.compute(served.embed)
        finally:
            self.encoder.release(replica)


def percentile(values: Sequence[float], share: float) -> float:
    """Of at least one value; between neighbours in proportion, as numpy does it."""
    ordered = sorted(values)
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])
