"""PPO on RLlib: the smoke recipe beats every static configuration, and a run goes on where it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import configs
from rl.adapter.learning import make_actor
from rl.adapter.learnt import Adapter
from rl.adapter.methods import learnt_actor
from rl.adapter.play import Pair, Results, play
from rl.adapter.policies import Cautious
from rl.adapter.ppo import improve
from rl.adapter.recipe import AdapterRecipe, load_adapter_recipe
from rl.adapter.replay import Replay
from tests.rl.adapter.conftest import of_split, with_estimates

SMOKE = Path(configs.__file__).with_name("recipes") / "adapter" / "smoke.yaml"
PAIRS = [Pair(target, bandwidth) for target in (0.5, 0.65, 0.8) for bandwidth in (0.4, 0.6, 0.8)]


@pytest.fixture(scope="module")
def estimated(replay: Replay) -> Replay:
    return with_estimates(replay, error=0.03)


@pytest.fixture
def smoke() -> AdapterRecipe:
    return load_adapter_recipe(SMOKE)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_smoke_recipe_beats_the_best_static_configuration(
    estimated: Replay, smoke: AdapterRecipe, seed: int, tmp_path: Path
) -> None:
    learn, check, test = (of_split(estimated, split) for split in ("train", "val", "test"))
    recipe = smoke.model_copy(update={"seed": seed})
    actor, margin = learnt_actor(learn, check, recipe, PAIRS, tmp_path)
    ours = Results.of(test, play(test, Cautious(Adapter(test, actor), margin), PAIRS), PAIRS)
    failures = sum(test.known.fails(pair.target, pair.bandwidth).mean(0) for pair in PAIRS) / len(PAIRS)
    best = int(np.argmin(failures))
    assert ours.failed.mean() <= failures[best]
    assert ours.cost.mean() < test.known.costs[best]


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
