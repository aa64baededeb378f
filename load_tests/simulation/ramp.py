"""Autoscaling rules tried on a short day: cameras come on within minutes, stay, and go."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel
from ray.serve.config import AutoscalingConfig

from load_tests.simulation.autoscaling import Autoscaler
from load_tests.simulation.cameras import Fleet, Uplinks
from load_tests.simulation.cell import TENANTS, Cell, ingress_nodes_for
from load_tests.simulation.mix import Mix
from load_tests.simulation.platform import ANSWERED, percentile


@dataclass(frozen=True, slots=True)
class Ramp:
    """The share of cameras that send: `low`, rising within `rise_s`, all for `hold_s`, and back."""

    low: float = 0.4
    quiet_s: float = 60.0
    rise_s: float = 400.0
    hold_s: float = 240.0
    after_s: float = 400.0

    @property
    def whole_s(self) -> float:
        return self.quiet_s + 2 * self.rise_s + self.hold_s + self.after_s

    def share(self, now: float) -> float:
        """At a time of the simulation."""
        risen = (now - self.quiet_s) / self.rise_s
        fallen = (now - self.quiet_s - self.rise_s - self.hold_s) / self.rise_s
        return self.low + (1 - self.low) * (min(1.0, max(0.0, risen)) - min(1.0, max(0.0, fallen)))


class Rule(BaseModel):
    """What `serving.yaml` and the environment say about scaling. `lanes` are of one ingress replica."""

    target_ongoing: float
    lanes: int
    upscale_delay_s: float = 10.0
    downscale_delay_s: float = 300.0
    pack: bool = False

    def config(self, most: int) -> AutoscalingConfig:
        return AutoscalingConfig(
            min_replicas=1,
            max_replicas=most,
            target_ongoing_requests=self.target_ongoing,
            upscale_delay_s=self.upscale_delay_s,
            downscale_delay_s=self.downscale_delay_s,
        )


class Followed(BaseModel):
    """What came of a rule. `node_hours` are of the nodes of variants."""

    rule: Rule
    refused: float
    p95_ms: float
    node_hours: float
    most_nodes: int


def follow(
    cell: Cell, mix: Mix, rule: Rule, ramp: Ramp, cameras: int, most_nodes: int, deadline_s: float
) -> Followed:
    """One rule on one ramp."""
    sized = replace(cell, lanes=rule.lanes, ingress_nodes=ingress_nodes_for(cameras, cell.calibration))
    platform, uplinks = sized.empty(), Uplinks()
    config = rule.config(most_nodes * sized.slots())
    scaler = Autoscaler(platform, sized, config, cell.machines.start, 1, most_nodes, rule.pack)
    scaler.begin()
    rng = random.Random(cell.seed)
    Fleet(platform, mix.tracks, cameras, TENANTS, 1.0, deadline_s, rng, uplinks, ramp.share).start()
    most = 1
    for second in range(10, math.ceil(ramp.whole_s), 10):
        platform.env.run(until=second)
        most = max(most, len(scaler.places))
    good = [told.ended - told.sent for told in platform.told if told.why == ANSWERED] or [math.inf]
    return Followed(
        rule=rule,
        refused=sum(told.why != ANSWERED for told in platform.told) / max(1, len(platform.told)),
        p95_ms=percentile(good, 0.95) * 1e3,
        node_hours=scaler.node_seconds / 3600,
        most_nodes=most,
    )


def rules(targets: Sequence[float], lanes: Sequence[int]) -> list[Rule]:
    """Those that are compared."""
    return [
        Rule(target_ongoing=target, lanes=count, pack=pack)
        for target in targets
        for count in lanes
        for pack in (False, True)
    ]
