"""Learning a policy from profiles without sampling noise: imitation, then the full-information gradient.

A profile knows the outcome of every action, so the expected reward of a policy is a sum, not a sample.
Cameras walk through the clips as the policy itself chooses, so that states, feedback and averages are its
own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from clients.state import NEVER
from rl.adapter.environment import begin_episodes
from rl.adapter.fleet import Cameras, Fleet, Rows
from rl.adapter.network import ActorNetwork
from rl.adapter.policies import Optimal
from rl.adapter.price import PRICE, moved
from rl.adapter.recipe import AdapterRecipe
from rl.adapter.replay import Replay
from serving.miou import Floats
from serving.reward import Segments, reward

Progress = Callable[[str, int, dict[str, float]], None]
"""Told of the phase, the step, and figures to draw."""


def untold(phase: str, step: int, figures: dict[str, float]) -> None:
    """For whoever wants no progress."""


class Learner:
    """Walks a fleet through a replay and moves an actor; deterministic for one recipe and replay."""

    def __init__(self, replay: Replay, recipe: AdapterRecipe, actor: ActorNetwork) -> None:
        self.recipe, self.actor = recipe, actor
        self.fleet = Fleet(replay, recipe.cameras, np.random.default_rng(recipe.seed))
        self._generator = torch.Generator().manual_seed(recipe.seed)
        begin_episodes(self.fleet, np.ones(recipe.cameras, np.bool_))
        self._price = PRICE

    def imitate(self, progress: Progress = untold) -> None:
        """Towards Optimal's choices."""
        oracle = Optimal(self.fleet.replay)

        def loss(logits: Tensor, cameras: Cameras, outcomes: Segments) -> Tensor:
            wanted = torch.from_numpy(oracle.choose(cameras))
            # What Optimal takes is masked where estimates are wrong: that is not the policy's to learn.
            kept = logits.gather(1, wanted[:, None])[:, 0] > NEVER
            missed = torch.nn.functional.cross_entropy(logits[kept], wanted[kept], reduction="sum")
            return missed / kept.sum().clamp(min=1)

        self._descend("imitation", self.recipe.imitation.steps, loss, progress)

    def ascend(self, progress: Progress = untold) -> None:
        """Up the exact expectation of the reward over all actions."""
        aims = self.recipe.full_information

        def loss(logits: Tensor, cameras: Cameras, outcomes: Segments) -> Tensor:
            if aims.objective == "self-competition":
                earned = reward(outcomes, self.fleet.rivals(), self.recipe.xi)
            else:
                earned = self._priced(outcomes, logits)
            return -expectation(logits, torch.from_numpy(earned).float(), self.recipe.entropy)

        self._descend("full information", aims.steps, loss, progress)

    def _priced(self, outcomes: Segments, logits: Tensor) -> Floats:
        """At a price that goes on from the step before."""
        failed, aim = outcomes.failed.astype(np.float64), self.recipe.full_information.failure
        earned, self._price = priced(outcomes.cost, failed, logits, aim, self._price)
        return earned

    def _descend(
        self,
        phase: str,
        steps: int,
        loss: Callable[[Tensor, Cameras, Segments], Tensor],
        progress: Progress,
    ) -> None:
        optimizer = torch.optim.Adam(self.actor.parameters(), self.recipe.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
        for step in range(steps):
            cameras = self.fleet.look()
            outcomes = self.fleet.outcomes()
            logits = self.actor(torch.from_numpy(self.fleet.replay.layout.encode(cameras.seen)))
            value = loss(logits, cameras, outcomes)
            descend(optimizer, value)
            schedule.step()
            choices = self._sample(logits.detach())
            progress(phase, step, {"loss": float(value.detach()), **figures(outcomes, choices)})
            over = self.fleet.choose(choices, outcomes)
            if over.any():
                begin_episodes(self.fleet, over)

    def _sample(self, logits: Tensor) -> Rows:
        drawn: Rows = torch.multinomial(logits.softmax(1), 1, generator=self._generator)[:, 0].numpy()
        return drawn


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down a loss, no longer than 1."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 1.0)
    optimizer.step()


def priced(cost: Floats, failing: Floats, logits: Tensor, aim: float, price: float) -> tuple[Floats, float]:
    """-(cost + price x failing) of (cameras, configurations), and the price, which follows how often the
    policy fails where it need not. failing: probabilities."""
    feasible = failing.min(1) < 0.5
    expected = (logits.detach().softmax(1).numpy() * failing).sum(1)
    price = moved(price, float(expected[feasible].mean()), aim) if feasible.any() else price
    return -(cost + price * failing), price


def expectation(logits: Tensor, earned: Tensor, entropy: float) -> Tensor:
    """Mean over cameras of sum over a of pi(a|s) r(s, a), plus `entropy` times the policy's entropy.

    logits, earned: (cameras, configurations). What is masked has no probability and counts for nothing.
    """
    logarithms = logits.log_softmax(1)
    probabilities = logarithms.exp()
    return (probabilities * (earned - entropy * logarithms)).sum(1).mean()


def figures(outcomes: Segments, choices: Rows) -> dict[str, float]:
    """What the sampled choices come to."""
    failed = outcomes.failed[np.arange(len(choices)), choices]
    return {"failure": float(failed.mean()), "cost": float(outcomes.cost[0, choices].mean())}


def example_states(replay: Replay, recipe: AdapterRecipe, steps: int = 8) -> Tensor:
    """(cameras x steps, width) states on the way of random choices, for inputs to be standardised by."""
    fleet = Fleet(replay, recipe.cameras, np.random.default_rng(recipe.seed))
    begin_episodes(fleet, np.ones(recipe.cameras, np.bool_))
    states = []
    for _ in range(steps):
        states.append(replay.layout.encode(fleet.look().seen))
        over = fleet.choose(fleet.rng.integers(len(replay.ladder), size=recipe.cameras), fleet.outcomes())
        begin_episodes(fleet, over)
    return torch.from_numpy(np.concatenate(states))


def byte_margins(replay: Replay, coverage: float) -> Floats:
    """(settings,) logarithms: sizes stay below their estimate and this margin with probability `coverage`."""
    true = replay.known.bytes[:, :: len(replay.ladder.variants)]
    return np.asarray(np.quantile(np.log(true / replay.estimated), coverage, axis=0))


def make_actor(replay: Replay, check: Replay, recipe: AdapterRecipe) -> ActorNetwork:
    """An untrained actor with the inputs' scale from `replay` and the mask's margins from `check`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        actor = ActorNetwork(replay.layout, recipe.architecture, len(replay.ladder))
    actor.body.standardise(example_states(replay, recipe))
    margins = torch.from_numpy(byte_margins(check, recipe.byte_coverage)).float()
    actor.get_buffer("margin").copy_(margins)
    return actor
