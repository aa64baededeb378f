"""Every method of the comparison, by name: how it is fitted to some drives and put to work on others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs.bundle import Bundle
from rl.adapter.learning import Learner, make_actor
from rl.adapter.learnt import Adapter, FirstFrame, Supervised
from rl.adapter.play import Pair, Results, play
from rl.adapter.policies import (
    BestStatic,
    Cautious,
    CheapestThatFits,
    LaggedOptimal,
    Optimal,
    PeriodicProfiling,
    Policy,
    Random,
    Static,
)
from rl.adapter.recipe import AdapterRecipe
from rl.adapter.replay import Replay
from rl.adapter.supervised import first_frames, fit_supervised, predict_from_first_frames

MARGINS = tuple(round(-0.10 + 0.025 * step, 3) for step in range(15))
ALLOWED_FAILURE = 0.04
"""Margins are chosen on drives of their own so that no more fails where Optimal does not: the paper's 4.1
%."""

FRAME_EPOCHS = 10

Fitted = Callable[[Replay], Policy]
"""Makes a policy for the segments that it is to choose for."""
Method = Callable[[Replay, Replay], Fitted]
"""Fits to drives to learn from and to drives to calibrate on."""


@dataclass(frozen=True)
class Trained:
    """An adapter as training leaves it: the policy, and the margin on A that its drives for calibration ask
    for."""

    fitted: Fitted
    margin: float

    def __call__(self, replay: Replay) -> Policy:
        return Cautious(self.fitted(replay), self.margin)


def unlearnt_methods() -> dict[str, Method]:
    """Those that need no training."""
    return {
        "Optimal": lambda learn, check: Optimal,
        "lagged Optimal": lambda learn, check: LaggedOptimal,
        "lagged Optimal, 2": lambda learn, check: lambda replay: LaggedOptimal(replay, 2),
        "lagged Optimal, 3": lambda learn, check: lambda replay: LaggedOptimal(replay, 3),
        "Periodic Profiling": lambda learn, check: PeriodicProfiling,
        "best static": lambda learn, check: lambda replay: BestStatic(learn.known),
        "cheapest that fits": lambda learn, check: CheapestThatFits,
        "most expensive": lambda learn, check: lambda replay: Static(0),
        "random": lambda learn, check: lambda replay: Random(len(replay.ladder), np.random.default_rng(0)),
    }


def adapter_method(recipe: AdapterRecipe, pairs: Sequence[Pair]) -> Method:
    """The adapter of a recipe without PPO, with its margin."""

    def fit(learn: Replay, check: Replay) -> Fitted:
        if recipe.extra_encode:
            learn, check = learn.with_extra_encode(), check.with_extra_encode()
        actor = make_actor(learn, check, recipe)
        learner = Learner(learn, recipe, actor)
        learner.imitate()
        learner.ascend()
        actor.eval()

        def fitted(replay: Replay) -> Policy:
            return Adapter(replay.with_extra_encode() if recipe.extra_encode else replay, actor)

        return Trained(fitted, calibrated_margin(fitted, check, pairs))

    return fit


def supervised_method(recipe: AdapterRecipe, steps: int, pairs: Sequence[Pair]) -> Method:
    """All accuracies predicted from the state, searched, with its margin."""

    def fit(learn: Replay, check: Replay) -> Fitted:
        found = fit_supervised(learn, check, recipe, steps)

        def fitted(replay: Replay) -> Policy:
            return Supervised(replay, found.predictor, found.byte_margin)

        return Trained(fitted, calibrated_margin(fitted, check, pairs))

    return fit


def first_frame_method(profile: Path, bundle: Bundle, seed: int) -> Method:
    """DAO-C, without any margin, as in the paper."""

    def fit(learn: Replay, check: Replay) -> Fitted:
        shown = first_frames(profile, bundle, learn)

        def fitted(replay: Replay) -> Policy:
            judged = first_frames(profile, bundle, replay)
            return FirstFrame(replay, predict_from_first_frames(learn, shown, judged, FRAME_EPOCHS, seed))

        return fitted

    return fit


def calibrated_margin(fitted: Fitted, check: Replay, pairs: Sequence[Pair]) -> float:
    """The least margin at which no more than `ALLOWED_FAILURE` fails; where none is enough, the one that
    fails least. Failures count where Optimal has none."""
    rates = []
    policy = fitted(check)
    for margin in MARGINS:
        results = Results.of(check, play(check, Cautious(policy, margin), pairs), pairs)
        rates.append(
            float(results.failed[~results.infeasible].mean()) if (~results.infeasible).any() else 0.0
        )
    allowed = [margin for margin, rate in zip(MARGINS, rates, strict=True) if rate <= ALLOWED_FAILURE]
    return min(allowed) if allowed else MARGINS[int(np.argmin(rates))]
