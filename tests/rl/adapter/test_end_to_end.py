"""The encoder learns on through the reward: by pointers in place of embeddings, which say the same."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from configs.bundle import Bundle
from rl.adapter.encoder_recipe import EncoderRecipe
from rl.adapter.end_to_end import EncodingActor, Joint
from rl.adapter.environment import begin_episodes
from rl.adapter.fleet import Fleet
from rl.adapter.learning import make_actor
from rl.adapter.learnt import Adapter
from rl.adapter.methods import adapter_method, learnt_actor
from rl.adapter.play import Pair, play
from rl.adapter.ppo import improve
from rl.adapter.recipe import AdapterRecipe
from rl.adapter.recorded import Recorded
from rl.adapter.replay import Replay
from rl.adapter.runs import load_policy, with_embeddings_of
from rl.adapter.shown import Shown
from rl.adapter.softmaxes import Softmaxes
from rl.adapter.training import train_adapter, train_encoders
from rl.profiles.index import ClipIndex
from serving.performance.network import make_encoder
from tests.rl.adapter.conftest import CLASSES, of_split

PAIRS = [Pair(0.65, 0.6)]
RECIPE = AdapterRecipe.model_validate(
    {
        "name": "short",
        "architecture": {"local": 8, "hidden": [16]},
        "full_information": {"steps": 5},
        "ppo": {"steps": 64, "batch": 64, "cameras": 8, "minibatch": 32, "epochs": 1, "end_to_end": True},
    }
)


@pytest.fixture
def joint(profile: Path, family: Bundle, bare_replay: Replay) -> Joint:
    softmaxes = Softmaxes(profile, family.family, sorted(set(bare_replay.clips)))
    return Joint.of(make_encoder(CLASSES), Shown(CLASSES, softmaxes), bare_replay)


@pytest.fixture
def few(bare_replay: Replay) -> Replay:
    """The first segments of one drive that is not the profile's first."""
    drive = bare_replay.drives == "street03"
    return bare_replay.of(drive & (bare_replay.times < 4))


def test_pointers_lead_to_the_embeddings_that_the_encoder_gives(joint: Joint, few: Replay) -> None:
    embedded, pointing = joint.embedded(few), joint.pointing(few)
    actor = make_actor(embedded, embedded, RECIPE)
    begins = embedded.layout.slices["embedding"].start
    encoding = EncodingActor(actor, joint.encoder, joint.shown, begins).eval()
    fleets = [Fleet(replay, 6, np.random.default_rng(0)) for replay in (embedded, pointing)]
    for fleet in fleets:
        begin_episodes(fleet, np.ones(6, np.bool_))
    for _ in range(4):  # the first time before any feedback
        states = [torch.from_numpy(fleet.replay.layout.encode(fleet.look().seen)) for fleet in fleets]
        with torch.inference_mode():
            torch.testing.assert_close(encoding(states[1]), actor(states[0]), rtol=1e-2, atol=1e-2)
        for fleet in fleets:
            fleet.choose(np.arange(6), fleet.outcomes())


@pytest.mark.slow
def test_the_reward_moves_the_encoder_and_not_its_batch_norms(
    joint: Joint, few: Replay, tmp_path: Path
) -> None:
    before = copy.deepcopy(joint.encoder.state_dict())
    embedded = joint.embedded(few)
    improve(make_actor(embedded, embedded, RECIPE), embedded, RECIPE, tmp_path, joint=joint)
    moved = {
        name for name, value in joint.encoder.state_dict().items() if not torch.equal(value, before[name])
    }
    assert any(name.endswith("weight") for name in moved)
    assert not any("running" in name for name in moved)


@pytest.mark.slow
def test_what_comes_out_is_a_policy_with_an_encoder_of_its_own(
    profile: Path, family: Bundle, index: ClipIndex, tmp_path: Path
) -> None:
    recorded, console = Recorded.load(profile, index, family), Console(quiet=True)
    form = EncoderRecipe(convolutions=False, expectations=True, steps=20, batch=16, head_steps=20)
    train_encoders(recorded, family, form, 0, tmp_path / "encoder", console)
    about = train_adapter(recorded, family, RECIPE, tmp_path / "encoder", tmp_path / "run", console)
    assert about.encoder == str(tmp_path / "run")
    pretrained, own = (
        with_embeddings_of(recorded.replay, tmp_path / name, family.family) for name in ("encoder", "run")
    )
    assert not np.array_equal(pretrained.embeddings, own.embeddings)
    test = of_split(own, "test")
    actor, _ = load_policy(tmp_path / "run", test)
    assert play(test, Adapter(test, actor), PAIRS).shape == (1, len(test))


def test_without_an_encoder_it_is_said_what_to_give(few: Replay, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give penance-train adapter an --encoder"):
        learnt_actor(few, None, RECIPE, PAIRS, tmp_path)
    with pytest.raises(ValueError, match="--policy RUN --encoder RUN --folds 0"):
        adapter_method(RECIPE, PAIRS)(few, few)
