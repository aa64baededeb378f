"""Learning without sampling noise: the expectation is exact, the mask holds, and a little learning helps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rl.adapter.learning import Learner, expectation, make_actor
from rl.adapter.learnt import Adapter
from rl.adapter.network import NEVER, ActorNetwork, AdapterArchitecture, count_adapter_flops
from rl.adapter.play import Pair, play
from rl.adapter.recipe import AdapterRecipe, FullInformation, Imitation
from rl.adapter.replay import Replay
from tests.rl.adapter.conftest import of_split

SMALL = AdapterRecipe(
    name="small",
    architecture=AdapterArchitecture(local=16, hidden=(32,)),
    cameras=64,
    imitation=Imitation(steps=30),
    full_information=FullInformation(steps=5),
)


@given(st.integers(0, 2**31))
@settings(max_examples=20)
def test_the_expectation_is_what_sampling_comes_to(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits, earned = (torch.randn(1, 6, generator=generator) for _ in range(2))
    drawn = torch.multinomial(logits.softmax(1), 20_000, replacement=True, generator=generator)[0]
    sampled = earned[0, drawn]
    error = 6 * float(sampled.std()) / 20_000**0.5 + 1e-6
    assert float(expectation(logits, earned, 0.0)) == pytest.approx(float(sampled.mean()), abs=error)


def test_a_masked_policy_never_takes_what_is_estimated_not_to_fit(replay: Replay) -> None:
    actor = make_actor(replay, replay, SMALL)
    pairs = [Pair(0.65, 0.4)]
    chosen = play(replay, Adapter(replay, actor), pairs)[0]
    settings_ = chosen // len(replay.ladder.variants)
    raised = replay.estimated * np.exp(actor.get_buffer("margin").numpy())
    taken = raised[np.arange(len(replay)), settings_]
    smallest = replay.estimated.argmin(1) == settings_
    assert ((taken <= 0.4e6 * (1 + 1e-5)) | smallest).all()


def test_where_nothing_fits_the_smallest_setting_is_left(replay: Replay) -> None:
    actor = make_actor(replay, replay, SMALL)
    state = torch.zeros(1, replay.layout.width)
    state[:, replay.layout.slices["bytes"]] = torch.linspace(2, 1, 18)
    logits = actor(state)[0]
    assert (logits[:-5] == NEVER).all()
    assert (logits[-5:] > NEVER).all()


def test_averages_behind_the_state_are_not_the_actors(replay: Replay) -> None:
    actor = ActorNetwork(replay.layout, SMALL.architecture, 90)
    state = torch.randn(2, replay.layout.width)
    with_averages = torch.cat([state, torch.randn(2, 3)], 1)
    torch.testing.assert_close(actor(state), actor(with_averages))


def test_the_same_recipe_learns_the_same(replay: Replay) -> None:
    learn, check = of_split(replay, "train"), of_split(replay, "val")
    weights = []
    for _ in range(2):
        actor = make_actor(learn, check, SMALL)
        learner = Learner(learn, SMALL, actor)
        learner.imitate()
        learner.ascend()
        weights.append(torch.cat([p.flatten() for p in actor.parameters()]))
    torch.testing.assert_close(*weights, rtol=0, atol=0)


def test_imitation_comes_closer_to_optimal(replay: Replay) -> None:
    learn = of_split(replay, "train")
    losses = []
    longer = SMALL.model_copy(update={"imitation": Imitation(steps=300), "learning_rate": 1e-3})
    learner = Learner(learn, longer, make_actor(learn, of_split(replay, "val"), longer))
    learner.imitate(lambda phase, step, figures: losses.append(figures["loss"]))
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_a_decision_costs_at_most_the_papers_flops() -> None:
    from clients.state import StateLayout
    from configs.ladder import load_ladder

    layout = StateLayout(load_ladder().configurations, embedding=120, features=64)
    actor = ActorNetwork(layout, AdapterArchitecture(), len(load_ladder()))
    assert count_adapter_flops([actor], layout.width) <= 5.5e6
