"""Every method of the comparison, by name: how it is fitted to some drives and put to work on others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from configs.bundle import Bundle
from rl.adapter.curves import Curve, CurveSample, keeping
from rl.adapter.end_to_end import EncodingActor, Joint
from rl.adapter.learning import Learner, Progress, make_actor, untold
from rl.adapter.learnt import Adapter, FirstFrame, Supervised
from rl.adapter.network import ActorNetwork
from rl.adapter.play import Pair, Results, play
from rl.adapter.policies import (
    Audited,
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
from rl.adapter.runs import load_policy
from rl.adapter.supervised import first_frames, fit_supervised, predict_from_first_frames

MARGINS = tuple(round(-0.10 + 0.0125 * step, 4) for step in range(29))
ALLOWED_FAILURE = 0.04
"""Margins are chosen on drives of their own so that no more fails where Optimal does not: the paper's 4.1
%."""

FRAME_EPOCHS = 10

Fitted = Callable[[Replay], Policy]
"""Makes a policy for the segments that it is to choose for."""
Method = Callable[[Replay, Replay | None], Fitted]
"""Fits to drives to learn from, and chooses a margin on other drives, if there are any for that."""


@dataclass(frozen=True)
class Trained:
    """An adapter as training leaves it: the policy, and the margin on A that its drives for calibration ask
    for."""

    fitted: Fitted
    margin: float
    audited: bool = False
    curve: Curve = ()

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
    """The adapter of a recipe, with its margin."""

    def fit(learn: Replay, check: Replay | None) -> Fitted:
        if recipe.extra_encode:
            learn, check = learn.with_extra_encode(), check and check.with_extra_encode()
        curve: list[CurveSample] = []
        with TemporaryDirectory() as checkpoints:
            told = keeping(curve, untold)
            actor, margin = learnt_actor(learn, check, recipe, pairs, Path(checkpoints), told)

        def fitted(replay: Replay) -> Policy:
            return Adapter(replay.with_extra_encode() if recipe.extra_encode else replay, actor)

        return Trained(fitted, margin, curve=tuple(curve))

    return fit


def learnt_actor(
    learn: Replay,
    check: Replay | None,
    recipe: AdapterRecipe,
    pairs: Sequence[Pair],
    out: Path,
    progress: Progress = untold,
    joint: Joint | None = None,
) -> tuple[ActorNetwork, float]:
    """The best of the recipe's seeds, with its margin: what spends least on the drives to check on (or,
    without any, to learn from) among those that fail rarely enough there, else what fails least. Without
    drives to check on the margin is the recipe's. PPO keeps checkpoints in `out`, and teaches the encoder of
    `joint` where the recipe says so. Raises `ValueError` where that is missing."""
    if recipe.ppo.end_to_end and (joint is None or recipe.seeds > 1):
        raise ValueError(
            f"{recipe.name} trains the encoder too: give penance-train adapter an --encoder and one seed, "
            "and penance-evaluate adapter what comes out (--policy RUN --encoder RUN --folds 0)"
        )
    best: tuple[tuple[float, float], ActorNetwork, float] | None = None
    for seed in range(recipe.seed, recipe.seed + recipe.seeds):
        own = recipe.model_copy(update={"seed": seed})
        seen = learn if check is None else check
        actor = make_actor(learn, seen, own)
        learner = Learner(learn, own, actor)
        learner.imitate(progress)
        learner.ascend(progress)
        if own.ppo.steps:
            from rl.adapter.ppo import improve  # RLlib takes seconds to import

            joined = joint if own.ppo.end_to_end else None
            judge = partial(_figures_on, seen if joined is None else joined.pointing(seen), pairs)
            actor = improve(actor, learn, own, out / f"seed{seed}", progress, judge, joined)
            if joined is not None:  # what follows judges by the embeddings that the encoder gives now
                seen = joined.embedded(seen)
        policy = Adapter(seen, actor.eval())
        margin = recipe.margin if check is None else calibrated_margin(policy, check, pairs)
        results = Results.of(seen, play(seen, Cautious(policy, margin), pairs), pairs)
        failure = max(0.0, failure_where_feasible(results) - ALLOWED_FAILURE)
        worth = (failure, float(results.cost.mean()))
        if best is None or worth < best[0]:
            best = worth, actor, margin
    assert best is not None  # there is at least one seed
    return best[1], best[2]


def _figures_on(
    replay: Replay, pairs: Sequence[Pair], actor: ActorNetwork | EncodingActor
) -> dict[str, float]:
    """What an actor comes to where it does not sample."""
    training = actor.training
    results = Results.of(replay, play(replay, Adapter(replay, actor.eval()), pairs), pairs)
    actor.train(training)
    return {"failure": float(results.failed.mean()), "cost": float(results.cost.mean())}


def audited(method: Method, pairs: Sequence[Pair]) -> Method:
    """A method that is fitted with a margin, corrected by audits, with a margin of its own."""

    def fit(learn: Replay, check: Replay | None) -> Fitted:
        base = method(learn, check)
        assert isinstance(base, Trained)

        def fitted(replay: Replay) -> Policy:
            return Audited(base.fitted(replay))

        return Trained(fitted, _margin(fitted, check, pairs), audited=True)

    return fit


def remembered(method: Method) -> Method:
    """A method that is fitted once for the same drives, however often it is asked in a row."""
    latest: list[tuple[Replay, Replay | None, Fitted]] = []

    def fit(learn: Replay, check: Replay | None) -> Fitted:
        if not latest or latest[0][0] is not learn or latest[0][1] is not check:
            latest[:] = [(learn, check, method(learn, check))]
        return latest[0][2]

    return fit


def trained_method(folder: Path) -> Method:
    """A policy that penance-train adapter wrote; whether it never saw the judged drives is the caller's
    care."""

    def fit(learn: Replay, check: Replay | None) -> Fitted:
        return Trained(
            lambda replay: Adapter(replay, load_policy(folder, replay)[0]),
            load_policy(folder, learn)[1].margin,
        )

    return fit


def supervised_method(recipe: AdapterRecipe, steps: int, pairs: Sequence[Pair]) -> Method:
    """All accuracies predicted from the state, searched, with its margin."""

    def fit(learn: Replay, check: Replay | None) -> Fitted:
        found = fit_supervised(learn, learn if check is None else check, recipe, steps)

        def fitted(replay: Replay) -> Policy:
            return Supervised(replay, found.predictor, found.byte_margin)

        return Trained(fitted, _margin(fitted, check, pairs))

    return fit


def first_frame_method(profile: Path, bundle: Bundle, seed: int) -> Method:
    """DAO-C, without any margin, as in the paper."""

    def fit(learn: Replay, check: Replay | None) -> Fitted:
        shown = first_frames(profile, bundle, learn)

        def fitted(replay: Replay) -> Policy:
            judged = first_frames(profile, bundle, replay)
            return FirstFrame(replay, predict_from_first_frames(learn, shown, judged, FRAME_EPOCHS, seed))

        return fitted

    return fit


def calibrated_margin(policy: Policy, check: Replay, pairs: Sequence[Pair]) -> float:
    """The least margin at which no more than `ALLOWED_FAILURE` fails; where none is enough, the one that
    fails least. Failures count where Optimal has none."""
    rates = [
        failure_where_feasible(Results.of(check, play(check, Cautious(policy, margin), pairs), pairs))
        for margin in MARGINS
    ]
    return least_margin(rates)


def least_margin(rates: Sequence[float]) -> float:
    """Of `MARGINS`, by the failure rates that they lead to."""
    allowed = [margin for margin, rate in zip(MARGINS, rates, strict=True) if rate <= ALLOWED_FAILURE]
    return min(allowed) if allowed else MARGINS[int(np.argmin(rates))]


def _margin(fitted: Fitted, check: Replay | None, pairs: Sequence[Pair]) -> float:
    return 0.0 if check is None else calibrated_margin(fitted(check), check, pairs)


def failure_where_feasible(results: Results) -> float:
    """Failure rate where Optimal keeps the promise; 0 where it never does."""
    feasible = ~results.infeasible
    return float(results.failed[feasible].mean()) if feasible.any() else 0.0
