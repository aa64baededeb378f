"""Replicas and nodes that follow the load, in simulated time: Ray Serve's own rule of how many replicas there
should be, and nodes that are asked for where none has room."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from ray.serve.autoscaling_policy import _apply_delay_logic, _apply_scaling_factors
from ray.serve.config import AutoscalingConfig
from simpy import Environment, Event

from load_tests.simulation.cell import DECODERS, Cell
from load_tests.simulation.machines import Start
from load_tests.simulation.platform import Deployment, Node, Platform, Replica

LOOK_EVERY_S = 1.0
DECIDE_EVERY_S = 2.0
IDLE_NODE_S = 300.0
"""`idleTimeoutSeconds` of `k8s/components/autoscaling`: then a node that nothing runs on is given back."""

Steps = Generator[Event, Any, Any]


@dataclass(slots=True, eq=False)
class Place:
    """A node with room for so many replicas. It has been empty since `empty_since`, if it is."""

    node: Node
    room: int
    held: int = 0
    empty_since: float = 0.0


@dataclass
class Autoscaler:
    """Of one platform. It starts with `first` nodes and has `most` at most."""

    platform: Platform
    cell: Cell
    config: AutoscalingConfig
    start: Start
    first: int
    most: int
    pack: bool = False  # whether replicas go where most are already, so that nodes become empty
    places: list[Place] = field(default_factory=list)
    coming: int = 0  # nodes
    lacking: int = 0  # replicas without room
    node_seconds: float = 0.0

    @property
    def env(self) -> Environment:
        return self.platform.env

    def begin(self) -> None:
        """The least of everything is there; then all processes."""
        for _ in range(self.first):
            self._join()
        for deployment in self.platform.variants:
            for _ in range(self.config.min_replicas):
                self._add(deployment, self._place() or self._join())
            self.env.process(self._follow(deployment))
        self.env.process(self._keep_nodes())

    def _join(self) -> Place:
        node = self.cell.node(self.env, f"variants-{len(self.places)}", self.cell.machine)
        place = Place(node, self.cell.slots(), empty_since=self.env.now)
        self.places.append(place)
        self.cell.add_encoders(self.platform, node)
        return place

    def _place(self) -> Place | None:
        open_places = [place for place in self.places if place.held < place.room]
        if not open_places:
            return None
        if self.pack:
            return max(open_places, key=lambda place: place.held)
        return min(open_places, key=lambda place: place.held)

    def _add(self, deployment: Deployment, place: Place) -> None:
        place.held += 1
        deployment.add(place.node, DECODERS)

    def _follow(self, deployment: Deployment) -> Steps:
        """Serve's loop for one deployment: the mean of what is ongoing, its rule, its delays."""
        seen: deque[float] = deque(maxlen=max(1, round(self.config.look_back_period_s / LOOK_EVERY_S)))
        state: dict[str, Any] = {}
        target, since = self.config.min_replicas, 0.0
        while True:
            yield self.env.timeout(LOOK_EVERY_S)
            seen.append(float(deployment.ongoing))
            since += LOOK_EVERY_S
            if since < DECIDE_EVERY_S:
                continue
            since, current = 0.0, max(1, len(deployment.replicas))
            asked = sum(seen) / len(seen) / self.config.get_target_ongoing_requests()
            desired = _apply_scaling_factors(asked, current, self.config)
            desired = min(self.config.max_replicas, max(self.config.min_replicas, desired))
            decided, state = _apply_delay_logic(desired, target, self.config, state, _now=self.env.now)
            for _ in range(decided - target):
                self.env.process(self._start(deployment))
            for _ in range(target - decided):
                self._stop(deployment)
            target = decided

    def _start(self, deployment: Deployment) -> Steps:
        """Waits for room, asking for a node where there is none, then for the replica."""
        self.lacking += 1
        while (place := self._place()) is None:
            enough = self.lacking <= self.coming * self.cell.slots()
            if not enough and len(self.places) + self.coming < self.most:
                self.coming += 1
                self.env.process(self._node())
            yield self.env.timeout(LOOK_EVERY_S)
        self.lacking -= 1
        place.held += 1
        yield self.env.timeout(self.start.replica_s)
        deployment.add(place.node, DECODERS)

    def _node(self) -> Steps:
        yield self.env.timeout(self.start.node_s)
        self.coming -= 1
        self._join()

    def _stop(self, deployment: Deployment) -> None:
        """Of the emptiest node, as Serve does, so that nodes become free."""
        held = {id(place.node): place for place in self.places}
        staying = [replica for replica in deployment.replicas if not replica.leaving]
        if len(staying) <= self.config.min_replicas:
            return

        def others(replica: Replica) -> int:
            return held[id(replica.node)].held

        going = min(staying, key=others)
        going.leaving = True
        place = held[id(going.node)]
        place.held -= 1
        if place.held == 0:
            place.empty_since = self.env.now
        if going.ongoing == 0:
            deployment.replicas.remove(going)

    def _keep_nodes(self) -> Steps:
        """Counts nodes, and gives back what has been empty for long."""
        while True:
            yield self.env.timeout(LOOK_EVERY_S)
            self.node_seconds += (len(self.places) + self.coming) * LOOK_EVERY_S
            for place in list(self.places):
                idle = self.env.now - place.empty_since
                if place.held == 0 and idle > IDLE_NODE_S and len(self.places) > self.first:
                    self.places.remove(place)
                    encoders = self.platform.encoder.replicas
                    self.platform.encoder.replicas = [r for r in encoders if r.node is not place.node]
