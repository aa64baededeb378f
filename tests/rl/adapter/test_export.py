"""From a trained policy to a camera that chooses by it: with late feedback, without any, without a
bandwidth."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from clients.adapter import STALE, AdapterPolicy, drawn, usable
from clients.embedding import Embedding
from clients.policy import Feedback, Observation, parse_policy
from clients.scene import StreetScene
from clients.state import StateLayout
from clients.transitions import unpack_seen
from configs.bundle import Bundle, BundleError
from configs.timing import TIMINGS
from rl.adapter.export import add_policy
from rl.adapter.network import NEVER, ActorNetwork, AdapterArchitecture, count_adapter_flops
from rl.adapter.runs import TrainedPolicy, save_policy
from rl.bitrate.commands import train_bitrate
from rl.bitrate.export import add_to_bundle
from rl.bitrate.recipe import BitrateRecipe, EstimatorArchitecture, Passes
from rl.overhead import measure_overhead
from rl.profiles.index import ClipIndex

HIDDEN = 4
QUICK = BitrateRecipe(
    name="quick",
    architecture=EstimatorArchitecture(first=4, inner=4, second=4, hidden=HIDDEN),
    passes=(Passes(epochs=1, learning_rate=(1e-3, 1e-4), crop=0.25),),
    head_epochs=1,
)
ABOUT = TrainedPolicy(
    recipe="made up",
    family="",
    architecture=AdapterArchitecture(local=8, hidden=(8,)),
    embedding=4,
    features=HIDDEN,
    seconds=1.0,
    margin=0.05,
    encoder=None,
)


@pytest.fixture(scope="module")
def equipped(
    profile: Path, index: ClipIndex, family: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """The family with a bitrate estimator that learnt next to nothing."""
    folder = tmp_path_factory.mktemp("equipped")
    shutil.copytree(family.directory, folder / "bundle")
    few = ClipIndex(clip for clip in index.clips if clip.name in ("street00", "street08"))
    train_bitrate(profile, few, family, TIMINGS[0], QUICK, folder / "estimators", Console(quiet=True))
    add_to_bundle(folder / "estimators", folder / "bundle")
    return Bundle.load(folder / "bundle")


@pytest.fixture(scope="module")
def shipped(equipped: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """... and with an untrained policy that needs no encoder."""
    about = ABOUT.model_copy(update={"family": equipped.family, "embedding": 0})
    folder = tmp_path_factory.mktemp("policy")
    save(folder, about, equipped)
    directory = folder / "bundle"
    shutil.copytree(equipped.directory, directory)
    add_policy(folder, None, directory)
    return Bundle.load(directory)


def save(folder: Path, about: TrainedPolicy, bundle: Bundle) -> None:
    layout = StateLayout(bundle.ladder.configurations, about.embedding, about.features)
    save_policy(folder, ActorNetwork(layout, about.architecture, len(bundle.ladder)), about)


def test_table_2_counts_the_adapter_and_times_a_whole_decision(shipped: Bundle) -> None:
    layout = StateLayout(shipped.ladder.configurations, 0, HIDDEN)
    network = ActorNetwork(layout, ABOUT.architecture, len(shipped.ladder))
    estimator, adapter, decision = measure_overhead(shipped)
    assert adapter.mflops == pytest.approx(count_adapter_flops([network], layout.width) / 1e6, rel=0.01)
    assert decision.mflops == pytest.approx(estimator.mflops + adapter.mflops)
    assert adapter.milliseconds < decision.milliseconds


def frames() -> list[np.ndarray]:
    scene = StreetScene()
    return [np.ascontiguousarray(scene.frame(number / 15)) for number in range(2)]


OBSERVATION = Observation(0.65, 0.6, None, None)


def test_a_policy_joins_a_bundle_without_changing_its_family(shipped: Bundle, equipped: Bundle) -> None:
    assert shipped.family == equipped.family
    assert shipped.id != equipped.id
    assert shipped.manifest.policy is not None
    assert shipped.manifest.policy.margin == ABOUT.margin


def test_a_camera_chooses_by_it_with_any_feedback(shipped: Bundle) -> None:
    make = parse_policy(f"adapter:{shipped.directory}")
    policy = make(shipped.ladder.configurations)
    seen = replace(OBSERVATION, frames=frames())
    first = policy.choose(seen).configuration
    late = Feedback(Embedding(shipped.id, np.zeros(120, np.float32)), first, age=3)
    second = policy.choose(replace(seen, feedback=late, last_configuration=first, last_bytes=50_000))
    assert second.probability == 1
    sizes, features = unpack_seen(second.seen, len(shipped.ladder.settings))
    assert (sizes > 0).all()
    assert len(features) == ABOUT.features
    assert {first, second.configuration} <= set(range(len(shipped.ladder)))


def test_an_embedding_of_another_bundle_is_refused(shipped: Bundle, equipped: Bundle) -> None:
    policy = AdapterPolicy(shipped, shipped.ladder.configurations)
    foreign = Feedback(Embedding(equipped.id, np.zeros(120, np.float32)), 0, age=1)
    with pytest.raises(BundleError, match=f"embedding of {equipped.id}"):
        policy.choose(replace(OBSERVATION, frames=frames(), feedback=foreign))


def test_without_a_bandwidth_it_sends_little_to_the_dense_variant(shipped: Bundle) -> None:
    policy = AdapterPolicy(shipped, shipped.ladder.configurations)
    choice = policy.choose(replace(OBSERVATION, bandwidth=None, frames=frames()))
    chosen = shipped.ladder[choice.configuration]
    assert chosen.variant == 0


def test_what_explores_knows_the_probability_of_each_choice() -> None:
    logits, rng = np.array([0.0, 3.0, NEVER, 1.0], np.float32), np.random.default_rng(0)
    draws = [drawn(logits, 0.3, rng) for _ in range(20_000)]
    told = dict(draws)
    assert set(told) == {0, 1, 3}
    assert sum(told.values()) == pytest.approx(1)
    for index, probability in told.items():
        share = np.mean([chosen == index for chosen, _ in draws])
        assert share == pytest.approx(probability, abs=0.02)
    assert drawn(logits, 0.0, rng) == (1, 1.0)


def test_feedback_that_is_stale_or_of_another_encoder_is_not_gone_by() -> None:
    fresh = Feedback(Embedding("lite-0123456789ab", np.zeros(4, np.float32)), 3, age=STALE)
    assert usable(fresh, 4) is fresh
    assert usable(Feedback(fresh.embedding, 3, age=STALE + 1), 4) is None
    assert usable(fresh, 120) is None
    assert usable(None, 4) is None


def test_a_bundle_without_a_policy_says_what_to_do(equipped: Bundle) -> None:
    with pytest.raises(BundleError, match="penance-train adapter"):
        AdapterPolicy(equipped, equipped.ladder.configurations)


def test_another_ladder_is_refused(shipped: Bundle) -> None:
    with pytest.raises(BundleError, match="ladder"):
        AdapterPolicy(shipped, shipped.ladder.configurations[:5])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"family": "another-0123456789ab"}, "another-0123456789ab"),
        ({"features": 0}, "add-bitrate"),
        ({}, "give that encoder"),
    ],
)
def test_what_was_made_for_something_else_joins_no_bundle(
    equipped: Bundle, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    about = ABOUT.model_copy(update={"family": equipped.family, **change})
    save(tmp_path, about, equipped)
    with pytest.raises(BundleError, match=said):
        add_policy(tmp_path, None, equipped.directory)
