"""How many machines a fleet needs, and what they cost a month.

One cell is simulated: the most cameras that a few nodes of variants serve within the promise. A larger fleet
is that many times as many nodes, in cells of `CELL_CAMERAS`: cells share nothing but a load balancer, and
within one, replicas share nothing but the router, so this is as true as a cell's own figures; the check
`whole` simulates one full cell. Nodes are counted at the busiest hour, and by hour for those that follow it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel

from load_tests.simulation.cell import (
    REPLICAS_AN_INGRESS_NODE,
    Cell,
    CellLoad,
    ingress_nodes_for,
    run_cell,
    variant_weights,
)
from load_tests.simulation.machines import Machines
from load_tests.simulation.mix import Mix

CELL_CAMERAS = 1000
GPU_NODES, OTHER_NODES = 8, 20
"""Of variants in the cell that is simulated: so many that its replicas divide among variants without waste,
and that one camera more or less does not count for much."""
SIMULATED_S = 18.0
LANES_A_REPLICA = 2.5
"""Segments at work, all replicas of the ingress together, for each replica of a variant."""
STEPS = 7
ALLOWED_REFUSED = 0.002

Told = Callable[[str], None]


class Promise(BaseModel):
    """What a cell must hold, of what was uploaded in time."""

    p95_ms: float
    deadline_s: float


class Served(BaseModel):
    """The most cameras that one node of variants serves, and how."""

    machine: str
    policy: str
    cameras_a_node: float
    at: CellLoad
    failure_rate: float
    cost: float


class Need(BaseModel):
    """What so many cameras need. Money by month."""

    machine: str
    policy: str
    cameras: int
    cells: int
    variant_nodes: int
    gpus: int
    processors: int
    ingress_nodes: int
    month: float  # all machines at all hours
    month_following: float  # nodes of variants follow the day


@dataclass(frozen=True)
class Planner:
    """Asks cells."""

    cell: Cell
    machine_name: str
    promise: Promise
    told: Told
    lanes_a_replica: float = LANES_A_REPLICA
    seconds: float = SIMULATED_S

    def served(self, mix: Mix) -> Served:
        """Bisects for the most cameras. Raises `ValueError` where even one camera a node is too many."""
        weights = variant_weights(mix, self.cell.calibration, self.cell.hardware(), self.cell.bundle)

        def at(cameras: int) -> CellLoad:
            self.told(f"{self.machine_name}, {mix.policy}: {cameras} cameras on {self.cell.nodes} nodes")
            sized = self._sized(self.cell.nodes, cameras)
            return run_cell(sized.platform(weights), mix, cameras, self.seconds, self.promise.deadline_s)

        low, found = 0, None
        high = self._bound(weights)
        for _ in range(STEPS):
            middle = (low + high + 1) // 2
            load = at(middle)
            if self._holds(load):
                low, found = middle, load
            else:
                high = middle - 1
            if low >= high:
                break
        if found is None:
            raise ValueError(
                f"{self.cell.nodes} nodes of {self.machine_name} do not serve one camera of '{mix.policy}' "
                f"within {self.promise.p95_ms:g} ms: allow more with --p95, or give faster machines"
            )
        return Served(
            machine=self.machine_name,
            policy=mix.policy,
            cameras_a_node=low / self.cell.nodes,
            at=found,
            failure_rate=mix.failure_rate,
            cost=mix.cost,
        )

    def whole(self, mix: Mix, nodes: int, cameras: int) -> CellLoad:
        """One full cell, simulated."""
        weights = variant_weights(mix, self.cell.calibration, self.cell.hardware(), self.cell.bundle)
        sized = self._sized(nodes, cameras)
        return run_cell(sized.platform(weights), mix, cameras, self.seconds, self.promise.deadline_s)

    def _sized(self, nodes: int, cameras: int) -> Cell:
        """The cell with so many nodes, and with ingress and lanes to match."""
        ingress = ingress_nodes_for(cameras, self.cell.calibration)
        lanes = self.lanes_a_replica * nodes * self.cell.slots() / (ingress * REPLICAS_AN_INGRESS_NODE)
        return replace(self.cell, nodes=nodes, ingress_nodes=ingress, lanes=max(1, math.ceil(lanes)))

    def _holds(self, load: CellLoad) -> bool:
        return load.p95_ms <= self.promise.p95_ms and load.refused <= ALLOWED_REFUSED

    def _bound(self, weights: Mapping[int, float]) -> int:
        """More cameras than the cell can serve: by its processors for decoding, and its GPU or processors."""
        shares = sum(weights.values())
        most = self.cell.nodes * self.cell.machine.processors * self.cell.machine.speed / shares
        return max(2, math.ceil(2 * most))


def needed(served: Served, machines: Machines, ingress_a_cell: int, cameras: Sequence[int]) -> list[Need]:
    """Machines and money for these fleets."""
    machine = machines.machine(served.machine)
    found = []
    for count in cameras:
        cells = math.ceil(count / CELL_CAMERAS)
        nodes = max(cells, math.ceil(count / served.cameras_a_node))
        ingress = max(2, math.ceil(ingress_a_cell * min(1.0, count / CELL_CAMERAS))) * cells
        hourly = sum(max(cells, math.ceil(nodes * share)) for share in machines.day) / len(machines.day)
        fixed = ingress * machines.machine(machines.ingress).price_per_hour
        fixed += cells * sum(machines.machine(name).price_per_hour for name in machines.always)
        found.append(
            Need(
                machine=served.machine,
                policy=served.policy,
                cameras=count,
                cells=cells,
                variant_nodes=nodes,
                gpus=0 if machine.gpu is None else nodes,
                processors=nodes * machine.processors
                + ingress * machines.machine(machines.ingress).processors
                + cells * sum(machines.machine(name).processors for name in machines.always),
                ingress_nodes=ingress,
                month=(nodes * machine.price_per_hour + fixed) * machines.hours_a_month,
                month_following=(hourly * machine.price_per_hour + fixed) * machines.hours_a_month,
            )
        )
    return found
