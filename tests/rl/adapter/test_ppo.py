"""PPO on RLlib: the smoke recipe beats every static configuration, and a run goes on where it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import configs
from rl.adapter.learning import make_actor
from rl.adapter.learnt import Adapter
from rl.adapter.methods import MARGINS, learnt_actor
from rl.adapter.network import ActorNetwork
from rl.adapter.play import Pair, Results, play
from rl.adapter.policies import Cautious, Policy, Static
from rl.adapter.ppo import improve
from rl.adapter.recipe import AdapterRecipe, load_adapter_recipe
from rl.adapter.replay import Replay
from tests.rl.adapter.conftest import of_split, with_estimates

SMOKE = Path(configs.__file__).with_name("recipes") / "adapter" / "smoke.yaml"
PAIRS = [Pair(target, bandwidth) for target in (0.5, 0.65, 0.8) for bandwidth in (0.4, 0.6, 0.8)]


@pytest.fixture(scope="module")
def estimated(replay: Replay) -> Replay:
    return with_estimates(replay, error=0.03)


def results(replay: Replay, policy: Policy) -> Results:
    return Results.of(replay, play(replay, policy, PAIRS), PAIRS)


def played(replay: Replay, actor: ActorNetwork, margin: float) -> Results:
    return results(replay, Cautious(Adapter(replay, actor), margin))


def fails_least(replay: Replay) -> int:
    """One configuration for all pairs; of equals the cheapest."""
    failures = sum(replay.known.fails(pair.target, pair.bandwidth).mean(0) for pair in PAIRS)
    return int(np.lexsort((replay.known.costs, failures))[0])


@pytest.fixture
def smoke() -> AdapterRecipe:
    return load_adapter_recipe(SMOKE)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_smoke_recipe_beats_the_best_static_configuration(
    estimated: Replay, smoke: AdapterRecipe, seed: int, tmp_path: Path
) -> None:
    """With the margin at which it fails as rarely on val as the best static configuration does."""
    learn, check, test = (of_split(estimated, split) for split in ("train", "val", "test"))
    actor, _ = learnt_actor(learn, None, smoke.model_copy(update={"seed": seed}), PAIRS, tmp_path)
    best = fails_least(check)
    margin = min(
        margin
        for margin in MARGINS
        if played(check, actor, margin).failed.mean() <= results(check, Static(best)).failed.mean()
    )
    ours, static = played(test, actor, margin), results(test, Static(best))
    assert ours.failed.mean() <= static.failed.mean()
    assert ours.cost.mean() < static.cost.mean()


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_checkpoint(
    estimated: Replay, smoke: AdapterRecipe, tmp_path: Path
) -> None:
    short = smoke.ppo.model_copy(update={"steps": 256, "batch": 256, "cameras": 16})
    recipe = smoke.model_copy(update={"ppo": short})
    learn, check = of_split(estimated, "train"), of_split(estimated, "val")
    first = improve(make_actor(learn, check, recipe), learn, recipe, tmp_path)
    known = {name: value.clone() for name, value in first.state_dict().items()}
    steps: list[int] = []
    again = improve(
        make_actor(learn, check, recipe),
        learn,
        recipe.model_copy(update={"ppo": short.model_copy(update={"steps": 512})}),
        tmp_path,
        lambda phase, step, figures: steps.append(step),
    )
    assert steps == [512]
    assert any(not torch.equal(known[name], value) for name, value in again.state_dict().items())
