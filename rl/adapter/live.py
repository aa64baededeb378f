"""Learning from live cameras: a trained policy goes on from what its cameras chose and what came of it.

Nobody knows what the other 89 configurations would have come to. But cameras that explore say with which
probability they chose, so accuracies can be regressed on configuration and embedding as if every
configuration had been chosen alike (importance weights, clipped). What the regression says of all of them
then takes the profile's place in the exact gradient of `rl.adapter.learning`; how sure it is decides what
counts as failing. Accuracies are those of audits where there are any, else what the accuracy head predicted,
corrected by what the camera's audits found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from clients.state import StateLayout
from rl.adapter.learning import Progress, descend, expectation, priced, untold
from rl.adapter.logged import LiveSegments
from rl.adapter.network import ActorNetwork
from rl.adapter.price import PRICE
from serving.miou import Floats

HEAVIEST = 20.0
"""Importance weights end here, in units of their median: a single rare choice must not decide."""
RIDGE = 1.0  # segments that say nothing
STEPS, BATCH, RATE, ENTROPY = 400, 256, 3e-4, 0.01
ASIDE = 4
"""Every so manieth segment is kept from the regression that is judged."""


@dataclass(frozen=True)
class LiveFit:
    """What was learnt from, how good the regression is on segments kept aside, and what it expects."""

    segments: int
    audits: int
    explored: float  # share of choices that were not the likeliest
    error: float  # mean absolute error of mIoU
    failure_before: float  # expected by the regression, for the likeliest choice
    failure_after: float
    cost_before: float
    cost_after: float


class LiveAccuracy:
    """Accuracies of all configurations in any of the states: a ridge regression."""

    def __init__(self, segments: LiveSegments, layout: StateLayout, chosen: NDArray[np.bool_]) -> None:
        """Fits to the `chosen` ones of the segments."""
        self._described = layout.described
        inputs = self._inputs(segments)[chosen]
        weights = 1 / segments.probabilities[chosen]
        weights = np.minimum(weights, HEAVIEST * np.median(weights))
        weights /= weights.mean()
        self._mean = float(np.average(segments.accuracy[chosen], weights=weights))
        wanted = segments.accuracy[chosen] - self._mean
        normal = inputs.T @ (weights[:, None] * inputs) + RIDGE * np.eye(inputs.shape[1])
        self._weight = np.linalg.solve(normal, inputs.T @ (weights * wanted))
        left = wanted - inputs @ self._weight
        self.deviation = float(np.sqrt(np.average(left**2, weights=weights))) + 1e-3

    def of_choices(self, segments: LiveSegments) -> Floats:
        """(n,) of what was chosen."""
        return self._mean + self._inputs(segments) @ self._weight

    def of_all(self, segments: LiveSegments) -> Floats:
        """(n, configurations)."""
        described = self._described[:-1]  # the last row stands for none
        rungs, scenes = np.split(self._weight, [described.shape[1]])
        return np.asarray(self._mean + (_scenes(segments) @ scenes)[:, None] + (described @ rungs)[None])

    def _inputs(self, segments: LiveSegments) -> Floats:
        """(n, inputs): what was chosen, then what was known of the scene."""
        return np.concatenate([self._described[segments.choices], _scenes(segments)], 1)


def _scenes(segments: LiveSegments) -> Floats:
    """(n, embedding + 1): the embedding, and whether there was one."""
    return np.concatenate([segments.seen.embedding, (segments.seen.age > 0)[:, None]], 1, dtype=np.float64)


def learn_from_live(
    actor: ActorNetwork,
    segments: LiveSegments,
    layout: StateLayout,
    costs: Floats,
    failure: float,
    seed: int = 0,
    progress: Progress = untold,
) -> LiveFit:
    """Moves the actor so that no more than `failure` of the segments is expected to fail, at the least cost.

    costs: (configurations,).
    """
    aside = np.arange(len(segments)) % ASIDE == ASIDE - 1
    judged = LiveAccuracy(segments, layout, ~aside).of_choices(segments)
    failing = probability_of_failing(
        segments, LiveAccuracy(segments, layout, np.ones(len(segments), np.bool_))
    )
    states, generator = torch.from_numpy(segments.states), torch.Generator().manual_seed(seed)
    before = _likeliest(actor, states)
    optimizer, price = torch.optim.Adam(actor.parameters(), RATE), PRICE
    actor.train()
    for step in range(STEPS):
        batch = torch.randint(len(segments), (min(BATCH, len(segments)),), generator=generator)
        logits = actor(states[batch])
        earned, price = priced(costs[None], failing[batch.numpy()], logits, failure, price)
        loss = -expectation(logits, torch.from_numpy(earned).float(), ENTROPY)
        descend(optimizer, loss)
        progress("live", step, {"loss": float(loss.detach())})
    after, every = _likeliest(actor, states), np.arange(len(segments))
    return LiveFit(
        segments=len(segments),
        audits=segments.audits,
        explored=float((before != segments.choices).mean()),
        error=float(np.abs(judged - segments.accuracy)[aside].mean()),
        failure_before=float(failing[every, before].mean()),
        failure_after=float(failing[every, after].mean()),
        cost_before=float(costs[before].mean()),
        cost_after=float(costs[after].mean()),
    )


def probability_of_failing(segments: LiveSegments, regression: LiveAccuracy) -> Floats:
    """(n, configurations): how likely each configuration's accuracy is below the segment's target."""
    short = segments.target[:, None] - regression.of_all(segments)
    return np.asarray(torch.special.ndtr(torch.from_numpy(short / regression.deviation)))


def _likeliest(actor: ActorNetwork, states: torch.Tensor) -> NDArray[np.int64]:
    """(n,) what a camera would choose."""
    actor.eval()
    with torch.inference_mode():
        return np.asarray(actor(states).argmax(1).numpy())
