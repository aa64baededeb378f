"""Policies at work on whole clips: every choice under every pair of constraints, and what it came to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl.adapter.fleet import AUDIT_EVERY, AUDIT_FRAMES, Fleet, Lags
from rl.adapter.policies import Policy
from rl.adapter.replay import Replay
from rl.profiles.choice import optimal
from serving.miou import Floats

PROMPT = Lags()
"""Every answer is there when the next segment is chosen for: the paper's setting."""

Choices = NDArray[np.int64]  # (pairs, segments)


@dataclass(frozen=True, slots=True)
class Pair:
    """Constraints: target mIoU A and bandwidth B in MB/s."""

    target: float
    bandwidth: float


def play(
    replay: Replay,
    policy: Policy,
    pairs: Sequence[Pair],
    lags: Lags = PROMPT,
    seed: int = 0,
) -> Choices:
    """(pairs, segments): what a policy chooses, clip after clip from its start."""
    target = np.array([pair.target for pair in pairs])
    bandwidth = np.array([pair.bandwidth for pair in pairs])
    fleet = Fleet.over_runs(replay, target, bandwidth, lags, seed)
    choices = np.zeros((len(pairs), len(replay)), np.int64)
    pair_of = np.arange(len(pairs)).repeat(len(replay.runs))
    under_way = np.ones(fleet.cameras, np.bool_)
    while under_way.any():
        cameras = fleet.look()
        chosen = policy.choose(cameras)
        choices[pair_of[under_way], cameras.rows[under_way]] = chosen[under_way]
        under_way &= ~fleet.choose(chosen, fleet.outcomes())
    return choices


def audit_costs(replay: Replay) -> Floats:
    """(segments,): what auditing a camera costs that is at this segment of its clip."""
    due = (np.arange(len(replay)) - replay.run_starts) % AUDIT_EVERY == 0
    return np.asarray(due * (replay.known.costs.max() / AUDIT_FRAMES))


@dataclass(frozen=True, slots=True)
class Results:
    """What choices came to; arrays are (pairs, segments)."""

    failed: NDArray[np.bool_]  # accuracy below target, or dropped
    dropped: NDArray[np.bool_]
    miou: Floats  # 0 for dropped ones
    cost: Floats  # of what was chosen, dropped or not, and of audits
    infeasible: NDArray[np.bool_]  # even Optimal fails
    optimal_cost: Floats
    bytes: Floats

    @classmethod
    def of(cls, replay: Replay, choices: Choices, pairs: Sequence[Pair], audited: bool = False) -> Results:
        known, segments = replay.known, np.arange(len(replay))
        best = np.stack([optimal(known, pair.target, pair.bandwidth) for pair in pairs])
        fails = [known.fails(pair.target, pair.bandwidth) for pair in pairs]
        dropped = np.stack(
            [
                ~known.fits(pair.bandwidth)[segments, chosen]
                for pair, chosen in zip(pairs, choices, strict=True)
            ]
        )
        return cls(
            failed=np.stack([f[segments, chosen] for f, chosen in zip(fails, choices, strict=True)]),
            dropped=dropped,
            miou=np.where(dropped, 0.0, known.miou[segments, choices]),
            cost=known.costs[choices] + (audit_costs(replay) if audited else 0),
            infeasible=np.stack([f[segments, chosen] for f, chosen in zip(fails, best, strict=True)]),
            optimal_cost=known.costs[best],
            bytes=known.bytes[segments, choices],
        )

    def at(self, pairs: Sequence[int]) -> Results:
        """Only these pairs."""
        return self._each(lambda part: part[list(pairs)])

    def of_segments(self, chosen: NDArray[np.bool_]) -> Results:
        """Only these segments."""
        return self._each(lambda part: part[:, chosen])

    def _each(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Results:
        return Results(**{part.name: change(getattr(self, part.name)) for part in fields(self)})
