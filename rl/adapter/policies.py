"""What chooses configurations, behind one interface; here those that learn nothing (paper, 4.1.3).

Oracles look outcomes up in the replay that they are made for, by the rows that the cameras are at; all others
keep to what the cameras see.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from rl.adapter.fleet import Cameras, Rows
from rl.adapter.replay import Replay
from rl.profiles.choice import Choice, Known, first, optimal
from serving.miou import Floats

PERIOD = 40.0
"""Seconds between two profiles (paper, 4.1.3)."""


HIGHEST_TARGET = 0.999


class Policy(Protocol):
    """Chooses for many cameras at once."""

    def choose(self, cameras: Cameras) -> Rows:
        """(cameras,) indices on the ladder."""
        ...


@dataclass(frozen=True)
class Optimal:
    """Knows everything about the segment to come."""

    replay: Replay

    def choose(self, cameras: Cameras) -> Rows:
        return search(self.replay.known.at(cameras.rows), cameras)


@dataclass(frozen=True)
class LaggedOptimal:
    """Knows all outcomes of an earlier segment, and the bytes of the one to come: the ceiling for whoever
    sees feedback that late. Before there is an earlier one it plays safe."""

    replay: Replay
    lag: int = 1

    def choose(self, cameras: Cameras) -> Rows:
        known, earlier = self.replay.known, cameras.rows - self.lag
        begun = earlier >= cameras.begun
        now = known.at(cameras.rows)
        informed = search(replace(now, miou=known.miou[np.where(begun, earlier, 0)]), cameras)
        return np.where(begun, informed, safe(now, cameras))


@dataclass(frozen=True)
class PeriodicProfiling:
    """Knows the accuracies in the first frame of every 40 s, or of half the clip if that is shorter, and the
    bytes of the segment to come."""

    replay: Replay

    def choose(self, cameras: Cameras) -> Rows:
        lengths = self.replay.run_ends[cameras.rows] - cameras.begun
        period = np.minimum(int(PERIOD / self.replay.seconds), np.maximum(lengths // 2, 1))
        profiled = cameras.rows - (cameras.rows - cameras.begun) % period
        now = self.replay.known.at(cameras.rows)
        return search(replace(now, miou=self.replay.first_frame[profiled]), cameras)


@dataclass(frozen=True)
class Static:
    """Always the same; 0 is the most expensive."""

    configuration: int = 0

    def choose(self, cameras: Cameras) -> Rows:
        return np.full(len(cameras.rows), self.configuration)


@dataclass(frozen=True)
class BestStatic:
    """For each pair of constraints, what would have failed least on some segments, had it always been chosen;
    of equals the cheapest."""

    known: Known

    def choose(self, cameras: Cameras) -> Rows:
        seen = cameras.seen
        pairs, place = np.unique(np.stack([seen.target, seen.bandwidth], 1), axis=0, return_inverse=True)
        best = [fails_least(self.known, target, bandwidth) for target, bandwidth in pairs]
        return np.array(best, np.int64)[place]


@dataclass(frozen=True)
class CheapestThatFits:
    """The least cost among what is estimated to fit, at the best quality that this cost buys."""

    replay: Replay

    def choose(self, cameras: Cameras) -> Rows:
        known = estimated(self.replay, cameras)
        fits = known.fits(cameras.seen.bandwidth[:, None])
        costs = np.broadcast_to(known.costs, fits.shape)
        smallest = first(np.ones_like(fits), known.bytes, costs)
        return np.where(fits.any(1), first(fits, costs, -known.bytes), smallest)


@dataclass(frozen=True)
class Random:
    """Uniform over the ladder."""

    configurations: int
    rng: np.random.Generator

    def choose(self, cameras: Cameras) -> Rows:
        return self.rng.integers(self.configurations, size=len(cameras.rows))


@dataclass(frozen=True)
class Cautious:
    """Another policy that is told a target higher by a margin."""

    policy: Policy
    margin: float

    def choose(self, cameras: Cameras) -> Rows:
        return self.policy.choose(told_more(cameras, self.margin))


@dataclass(frozen=True)
class Audited:
    """Another policy that is told a target lower by what audits of its camera found more than was predicted.

    Where the accuracy head is wrong about a street, so is the policy, which goes by the same embeddings.
    """

    policy: Policy

    def choose(self, cameras: Cameras) -> Rows:
        return self.policy.choose(told_more(cameras, -cameras.correction))


def told_more(cameras: Cameras, by: float | Floats) -> Cameras:
    """The same cameras with targets that are higher by this."""
    target = np.clip(cameras.seen.target + by, 0.0, HIGHEST_TARGET)
    return replace(cameras, seen=replace(cameras.seen, target=target))


def search(known: Known, cameras: Cameras) -> Choice:
    """Exhaustive search, Eq. (2) and (3), for what is taken to be known of each camera's segment."""
    return optimal(known, cameras.seen.target[:, None], cameras.seen.bandwidth[:, None])


def safe(known: Known, cameras: Cameras) -> Choice:
    """The dense variant at the largest size that fits; where none fits, the smallest of all."""
    fits = known.fits(cameras.seen.bandwidth[:, None])
    costs = np.broadcast_to(known.costs, fits.shape)
    return np.where(
        fits.any(1), first(fits, -known.bytes, -costs), first(np.ones_like(fits), known.bytes, costs)
    )


def estimated(replay: Replay, cameras: Cameras, miou: Floats | None = None) -> Known:
    """What a camera can know: estimated bytes, and accuracies (cameras, configurations) if it has any."""
    costs = replay.known.costs
    unknown = np.zeros((len(cameras.rows), len(costs)))
    return Known.of(cameras.seen.bytes, unknown if miou is None else miou, costs, replay.seconds)


def fails_least(known: Known, target: float, bandwidth: float) -> int:
    """The configuration that fails on the fewest segments; of equals the cheapest."""
    rates = known.fails(target, bandwidth).mean(0)
    return int(first(np.ones((1, len(rates)), np.bool_), rates[None], known.costs[None])[0])
