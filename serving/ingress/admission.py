"""Admission: whether a segment can be answered in time, and what is left out under pressure. Pure decisions,
no clocks, no Ray.

What cannot be answered by its deadline is refused at once, not served late: a camera that is told early sends
its next segment instead of waiting for an answer that it can no longer use.
"""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from serving.ingress.fairness import FairQueue, Work

SMOOTHING = 0.2
FIRST = 4
TIMES_KEPT = 1000
DOUBT_S = 5.0
CAUTION = 1.25
"""Times the expected wait that is reckoned with: who is refused at once loses less than who waited for it."""
DEAR = 1.5
"""Times its cost from which on another segment is not waited for: among equals turns are faster."""
SPREADS = 2
"""Mean deviations above its average that a segment may take: what comes late was work for nothing."""
STRETCH = 4
"""Times the FLOPs of a measured segment up to which another is taken to last in proportion: of tiny ones,
most of the time is not the network's."""


class BrownOut(IntEnum):
    """What is left out, in this order, each with all before it (`docs/overload.md`)."""

    NOTHING = 0
    AUDITS = 1
    LABEL_MAPS = 2
    TARGETS = 3
    SHARES = 4


class BrownOutThresholds(BaseModel):
    """Seconds that all waiting segments would take, from which on something is left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    audits: float = Field(0.25, ge=0)
    label_maps: float = Field(0.75, ge=0)
    targets: float = Field(1.5, ge=0)
    shares: float = Field(2.5, ge=0)

    def level(self, backlog_s: float) -> BrownOut:
        steps = (self.audits, self.label_maps, self.targets, self.shares)
        return BrownOut(sum(backlog_s > step for step in steps))


class AdmissionOptions(BaseModel):
    """Section `admission` of `configs/serving.yaml`: bounds of one ingress replica."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lanes: int = Field(2, ge=1, le=1024)
    express: int = Field(1, ge=0, le=1024)
    waiting: int = Field(128, ge=1, le=10_000)
    waiting_per_tenant: int = Field(64, ge=1, le=10_000)
    brown_out_s: BrownOutThresholds = BrownOutThresholds()


@dataclass(frozen=True, slots=True)
class Admission:
    """The decision; `expected_s` says how long the answer is expected to take from now."""

    admitted: bool
    expected_s: float
    reason: str = ""
    retry_after_s: float = 0.0


class Expectation(NamedTuple):
    """Seconds that a segment takes on average, and by how much most take longer at most; 0 as long as nothing
    like it was measured."""

    service_s: float
    spread_s: float


@dataclass(slots=True)
class _Estimate:
    seconds: float
    spread: float  # mean distance from it
    crowd: float  # segments at work beside it and it
    at: float  # when it was last measured or doubted
    measured: int = 0  # times since it was doubted


class ServiceTimes:
    """How long segments occupy a lane, as measured: moving averages and deviations by variant and FLOPs, in
    seconds, as TCP estimates round trips (Jacobson 1988).

    Lanes share processors: what was measured among many segments takes that much less among few. That is
    believed, because it is soon found out where it is not so; what was measured among few is not stretched.

    An expectation that refuses segments would never be measured again: one slow start, and all segments of
    its kind are refused for ever. So it is doubted: every `DOUBT_S` it gives way, until one segment gets
    through; what that one takes stands in its place.

    The first segments of a kind wait for decoders to start and for networks to be compiled for their size:
    until `FIRST` were measured, the quickest of them stands for all.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, int], _Estimate] = OrderedDict()

    def observe(self, variant: int, flops: int, seconds: float, now: float = 0.0, crowd: float = 1.0) -> None:
        """A segment took so long while `crowd` segments were at work, it among them."""
        old = self._known.get((variant, flops))
        spread, measured = 0.0, 1 if old is None else old.measured + 1
        if old is not None and measured > FIRST:
            spread = old.spread + SMOOTHING * (abs(seconds - old.seconds) - old.spread)
            seconds = old.seconds + SMOOTHING * (seconds - old.seconds)
            crowd = old.crowd + SMOOTHING * (crowd - old.crowd)
        elif old is not None and measured > 1 and old.seconds < seconds:
            seconds, crowd = old.seconds, old.crowd
        self._known[variant, flops] = _Estimate(seconds, spread, crowd, now, measured)
        self._known.move_to_end((variant, flops))
        while len(self._known) > TIMES_KEPT:
            self._known.popitem(last=False)

    def expect(
        self,
        variant: int,
        flops: int,
        allowed_s: float = math.inf,
        now: float = 0.0,
        crowd: float = 1.0,
    ) -> Expectation:
        """For a segment like this among `crowd`, of which `allowed_s` are left."""
        key = (variant, flops)
        if key not in self._known:
            alike = [k for k in self._known if k[0] == variant and STRETCH * k[1] >= flops]
            if not alike:
                return Expectation(0.0, 0.0)
            key = min(alike, key=lambda known: abs(known[1] - flops))
        estimate = self._known[key]
        ratio = flops / key[1] * min(1.0, crowd / estimate.crowd)
        longest = estimate.seconds + SPREADS * estimate.spread
        if longest * ratio > allowed_s and now - estimate.at >= DOUBT_S:
            # half of what is left: enough to be let through where little waits
            estimate.seconds, estimate.spread = allowed_s / ratio / 2, 0.0
            estimate.at, estimate.measured = now, 0
        return Expectation(estimate.seconds * ratio, SPREADS * estimate.spread * ratio)


def backlog_s(waiting: Iterable[Work], lanes: int) -> float:
    """Seconds that everything that waits would take. What runs is no pressure, however slow it is: where
    nobody waits, nobody gains by what is left out."""
    return sum(work.service_s for work in waiting) / lanes


def may_start(work: Work, running: Collection[Work], options: AdmissionOptions) -> bool:
    """Whether the segment whose turn it is needs to wait no longer. Where the lanes are full of segments that
    cost far more than it, a tenant that has nothing at work gets an express lane: a segment once begun is not
    interrupted, and whoever keeps to its share shall not have to sit out the dearest of another's."""
    if len(running) < options.lanes:
        return True
    own = any(other.tenant == work.tenant for other in running)
    dear = max(other.cost for other in running) > DEAR * work.cost
    return dear and not own and len(running) < options.lanes + options.express


def decide(
    work: Work, now: float, running: Collection[Work], queue: FairQueue, options: AdmissionOptions
) -> Admission:
    """Decides on a segment that arrives `now`, while others run and wait. It is refused where its answer
    would be late, where its tenant has too many waiting, or under pressure where that is over its share.

    Averages are exceeded, so they are taken with caution; but beside others that were given more lately, or
    wait for more, a tenant that keeps to its share loses nothing to caution."""
    remaining, waiting = work.expires - now, list(queue)
    beside = [*waiting, *queue.recent]
    favoured = any(w.tenant != work.tenant for w in beside) and not over_share(work, beside)
    caution = 1.0 if favoured else CAUTION
    expected = work.service_s if favoured else work.service_s + work.spread_s
    ahead = queue.ahead_of(work)
    if ahead or not may_start(work, running, options):
        turns = sum(w.service_s for w in ahead) / options.lanes
        expected += caution * (
            turns + sum(w.service_s for w in running) / 2 / max(options.lanes, len(running))
        )
    own = [other for other in waiting if other.tenant == work.tenant and other.camera != work.camera]
    if len(own) >= options.waiting_per_tenant:
        drained = sum(other.service_s for other in own) / options.lanes
        return Admission(False, expected, f"{len(own)} segments of this tenant wait already", drained)
    if expected > remaining:
        reason = f"answering is expected to take {expected:.2f} s and {max(0.0, remaining):.2f} s are left"
        # Later the expectation is another one: lanes are free by then, or it is doubted.
        return Admission(False, expected, reason, min(DOUBT_S, max(0.0, expected - remaining)))
    backlog = backlog_s(waiting, options.lanes)
    if options.brown_out_s.level(backlog) >= BrownOut.SHARES and over_share(work, waiting):
        reason = "the server is under pressure and this tenant's waiting segments are more than its share"
        return Admission(False, expected, reason, max(0.0, backlog - options.brown_out_s.shares))
    return Admission(True, expected)


def over_share(work: Work, others: Iterable[Work]) -> bool:
    """Whether, with this segment, there is more of its tenant than of the average one, by their shares."""
    loads: defaultdict[str, float] = defaultdict(float)
    loads[work.tenant] += work.cost / work.share
    for other in others:
        loads[other.tenant] += other.cost / other.share
    return loads[work.tenant] > sum(loads.values()) / len(loads)
