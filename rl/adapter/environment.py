"""`Penance-v0`: gymnasium environments that replay a profile, one camera or many in step.

Actions are configurations. An episode is one stretch of a clip under one target and one bandwidth, both drawn
when it begins (paper, 4.1.1). The observation is the state of Eq. (4) and, behind it, the averages that the
reward knows, for a critic alone.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from rl.adapter.fleet import RANDOM_LAGS, Fleet, Lags, Rows
from rl.adapter.long_lived import SAVE_EVERY, LongLived
from rl.adapter.price import PRICE, moved
from rl.adapter.replay import Replay
from serving.miou import Floats
from serving.reward import Segments, Xi, reward

TARGETS = tuple(round(0.50 + 0.05 * step, 2) for step in range(7))
BANDWIDTHS = (0.3, 1.0)  # MB/s, uniformly between
EPISODE = 40
"""Segments at most: the paper's videos are 40 s long."""

AVERAGES = 3
"""Values behind the state: C_EMA (0 before the first segment), U_EMA and O_EMA."""

State = NDArray[np.float32]


class PenanceVectorEnv(VectorEnv[State, Rows, NDArray[Any]]):
    """Cameras in step on one replay; deterministic under the seed given to `reset`.

    An episode that is over begins anew in the next step, whose action counts for nothing (gymnasium's
    `NEXT_STEP`). The reward is Eq. (7); or, with `failure`, minus cost and a price on failures that rises
    while a larger share than that fails where it need not.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(
        self,
        replay: Replay,
        num_envs: int = 1,
        xi: Xi = "violations",
        lags: Lags = RANDOM_LAGS,
        failure: float | None = None,
        long_lived: LongLived | None = None,
    ) -> None:
        self.num_envs = num_envs
        self.xi, self._failure, self._price = xi, failure, PRICE
        self._long_lived, self._steps = long_lived, 0
        self.fleet = Fleet(replay, num_envs, np.random.default_rng(), lags)
        width = replay.layout.width + AVERAGES
        self.single_observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (width,), np.float32)
        self.single_action_space = gymnasium.spaces.Discrete(len(replay.ladder))
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, num_envs)
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[State, dict[str, Any]]:
        """New episodes everywhere; cameras that outlive their runner go on with theirs."""
        if seed is not None:
            self.fleet.rng = np.random.default_rng(seed)
        if self._long_lived is None or not self._long_lived.restore(self.fleet):
            begin_episodes(self.fleet, np.ones(self.num_envs, np.bool_))
        return self._observe(), {}

    def step(self, actions: Rows) -> tuple[State, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Ends are truncations: the camera would have gone on."""
        fresh = self.fleet.over
        outcomes = self.fleet.outcomes()
        choices = np.asarray(actions, np.int64)
        earned = self._earned(outcomes)[np.arange(self.num_envs), choices]
        self._move_price(outcomes, choices, ~fresh)
        self.fleet.choose(choices, outcomes)
        if fresh.any():
            begin_episodes(self.fleet, fresh)
        self._steps += 1
        if self._long_lived is not None and self._steps % SAVE_EVERY == 0:
            self._long_lived.save(self.fleet)
        never = np.zeros(self.num_envs, np.bool_)
        return self._observe(), np.where(fresh, 0.0, earned), never, self.fleet.over, {}

    def _earned(self, outcomes: Segments) -> Floats:
        """(cameras, configurations)."""
        if self._failure is None:
            return reward(outcomes, self.fleet.rivals(), self.xi)
        return -(outcomes.cost + self._price * outcomes.failed)

    def _move_price(self, outcomes: Segments, choices: Rows, counted: NDArray[np.bool_]) -> None:
        failing = outcomes.failed
        counted &= ~failing.all(1)
        if self._failure is not None and counted.any():
            share = failing[np.arange(self.num_envs), choices][counted].mean()
            self._price = moved(self._price, float(share), self._failure)

    def _observe(self) -> State:
        state = self.fleet.replay.layout.encode(self.fleet.look().seen)
        averages = self.fleet.averages
        known = np.nan_to_num(averages.cost)
        behind = np.stack([known, averages.deficit, averages.overuse], 1)
        return np.concatenate([state, behind], 1, dtype=np.float32)


class PenanceEnv(gymnasium.Env[State, np.int64]):
    """One camera."""

    def __init__(
        self,
        replay: Replay,
        xi: Xi = "violations",
        lags: Lags = RANDOM_LAGS,
        failure: float | None = None,
    ) -> None:
        self._many = PenanceVectorEnv(replay, 1, xi, lags, failure)
        self.observation_space = self._many.single_observation_space
        self.action_space = self._many.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[State, dict[str, Any]]:
        super().reset(seed=seed)
        states, info = self._many.reset(seed=seed)
        return states[0], info

    def step(self, action: np.int64) -> tuple[State, float, bool, bool, dict[str, Any]]:
        states, earned, terminated, truncated, info = self._many.step(np.array([action]))
        return states[0], float(earned[0]), bool(terminated[0]), bool(truncated[0]), info


def begin_episodes(fleet: Fleet, which: NDArray[np.bool_]) -> None:
    """In a run drawn by its length: all of it, or `EPISODE` segments somewhere in it; A and B drawn anew."""
    rng, runs = fleet.rng, fleet.replay.runs
    lengths = runs[:, 1] - runs[:, 0]
    run = rng.choice(len(runs), fleet.cameras, p=lengths / lengths.sum())
    rows = runs[run, 0] + rng.integers(np.maximum(lengths[run] - EPISODE, 0) + 1)
    ends = np.minimum(runs[run, 1], rows + EPISODE)
    target = rng.choice(TARGETS, fleet.cameras)
    fleet.start(which, rows, ends, target, rng.uniform(*BANDWIDTHS, fleet.cameras))


gymnasium.register(
    "Penance-v0",
    entry_point="rl.adapter.environment:PenanceEnv",
    vector_entry_point="rl.adapter.environment:PenanceVectorEnv",
)
