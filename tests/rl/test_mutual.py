"""Mutual learning: variants come nearer to one another, labels hold them, and a killed run goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rl.vss import mutual
from rl.vss.batches import TrainingData
from rl.vss.crop_store import CropStore, stored_crops
from rl.vss.mutual import learn_mutually
from rl.vss.recipe import FamilyRecipe, Mutual, Schedule
from serving.vss.architecture import dense_channels
from serving.vss.hardware import REFERENCE
from serving.vss.pspnet import PSPNet
from serving.vss.torch_network import TorchNetwork

SCHEDULE = Schedule(steps=40, learning_rate=0.003, warmup=2, average_decay=0.5, settled=0.0)


@pytest.fixture
def networks(small_recipe: FamilyRecipe) -> list[PSPNet]:
    """A variant 0 and two others that have never heard of it."""
    wide = dense_channels(small_recipe.architecture)
    plans = [wide, wide | {"head": 12}, wide | {"head": 8, "stage3.stream": 12}]
    return [PSPNet(small_recipe.architecture, plan) for plan in plans]


@pytest.fixture
def crops(
    small_recipe: FamilyRecipe, made_up_data: TrainingData, networks: list[PSPNet], tmp_path: Path
) -> CropStore:
    recipe = small_recipe.model_copy(
        update={"pruning": small_recipe.pruning.model_copy(update={"crops": 16})}
    )
    teacher = TorchNetwork(PSPNet(recipe.architecture).eval(), REFERENCE)
    return stored_crops(lambda: made_up_data, recipe, teacher, "untrained", tmp_path / "crops")


def _learn(
    networks: Sequence[PSPNet], recipe: FamilyRecipe, crops: CropStore, directory: Path, pull: float = 1.0
) -> list[PSPNet]:
    settings = Mutual(dense=SCHEDULE, pruned=SCHEDULE, pull=pull)
    return learn_mutually(networks, recipe, settings, crops, directory, lambda network: 0.25)


@torch.no_grad()
def _apart(networks: Sequence[PSPNet], images: Tensor) -> float:
    """Mean distance of the others' class probabilities from variant 0's."""
    first, *others = (network.eval()(images).softmax(1) for network in networks)
    return float(torch.stack([(other - first).abs().sum(1).mean() for other in others]).mean())


def test_variants_come_nearer_to_one_another(
    networks: list[PSPNet], small_recipe: FamilyRecipe, crops: CropStore, tmp_path: Path
) -> None:
    images = torch.from_numpy(crops._parts[1][:8]).permute(0, 3, 1, 2).float() / 255
    begun = _apart(networks, images)
    learnt = _learn(networks, small_recipe, crops, tmp_path)
    assert _apart(learnt, images) < 0.7 * begun
    assert not any(network.training for network in learnt)
    row = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert (row["step"], row["validation"]) == (40, 0.25)


def test_variant_0_is_drawn_by_the_others_alone_as_far_as_it_is_pulled(
    networks: list[PSPNet], small_recipe: FamilyRecipe, crops: CropStore
) -> None:
    """The loss of variant 0 is the labels' and its old answers' beside `pull` times the others'."""
    batch = next(crops.batches(small_recipe, range(1), beside=False))
    losses = []
    for pull in (1.0, 2.0, 3.0):
        settings = Mutual(dense=SCHEDULE, pruned=SCHEDULE, pull=pull, clean_share=1.0)
        learners = [
            mutual._Learner.of(network, number, small_recipe, settings, crops)
            for number, network in enumerate(networks)
        ]
        losses.append([loss.item() for loss in mutual._losses(learners, batch, small_recipe, settings)])
    dense, pruned = zip(*((row[0], row[1:]) for row in losses), strict=True)
    assert dense[1] > dense[0]
    assert dense[2] - dense[1] == pytest.approx(dense[1] - dense[0], rel=1e-4)
    assert pruned[0] == pytest.approx(pruned[1], rel=1e-5)


def test_a_killed_run_goes_on_to_the_same_number_of_steps(
    networks: list[PSPNet],
    small_recipe: FamilyRecipe,
    crops: CropStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mutual, "CHECKPOINT_EVERY", 10)
    steps: list[int] = []
    losses = mutual._losses

    def kill_at_25(*arguments: object) -> list[Tensor]:
        steps.append(len(steps))
        if len(steps) == 26:
            raise KeyboardInterrupt
        return losses(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(mutual, "_losses", kill_at_25)
    with pytest.raises(KeyboardInterrupt):
        _learn(networks, small_recipe, crops, tmp_path)
    learnt = _learn(networks, small_recipe, crops, tmp_path)
    assert len(steps) == 26 + 20  # the last checkpoint was at 20
    again = _learn(networks, small_recipe, crops, tmp_path)
    assert len(steps) == 46
    for one, other in zip(learnt, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
