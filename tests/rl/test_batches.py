"""Batches: the same for the same step, drawn from the pools that have shares and data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rl.vss.batches import BURST, StepBatches, TrainingData
from rl.vss.datasets import IGNORE, LabelledImage
from rl.vss.recipe import FamilyRecipe, Shares


@pytest.fixture
def recipe(lite: FamilyRecipe) -> FamilyRecipe:
    shares = Shares(camvid=1, streets=1)
    return lite.model_copy(update={"crop": (32, 64), "batch": 2, "loader_workers": 0, "shares": shares})


def test_a_step_has_one_batch_whoever_makes_it(recipe: FamilyRecipe, made_up_data: TrainingData) -> None:
    def images(steps: range, workers: int, *, beside: bool) -> list[torch.Tensor]:
        changed = recipe.model_copy(update={"loader_workers": workers})
        return [batch.images for batch in made_up_data.batches(changed, steps, beside=beside)]

    here = images(range(3, 6), 0, beside=False)
    assert len(here) == 3
    assert not torch.equal(here[0], here[1])
    for others in (images(range(3, 6), 2, beside=False), images(range(3, 6), 2, beside=True)):
        assert all(torch.equal(a, b) for a, b in zip(here, others, strict=True))
    assert torch.equal(images(range(4, 6), 0, beside=False)[0], here[1])  # a resumed run


def test_bursts_lose_no_step(recipe: FamilyRecipe, made_up_data: TrainingData) -> None:
    small = recipe.model_copy(update={"crop": (32, 32), "batch": 1, "loader_workers": 2})
    steps = range(10, 10 + 2 * BURST + 1)
    assert sum(1 for _ in made_up_data.batches(small, steps, beside=False)) == len(steps)


def test_crops_come_from_pools_with_a_share(recipe: FamilyRecipe, made_up_data: TrainingData) -> None:
    """The pools' targets tell them apart: CamVid ids start at 19, unlabelled frames are all ignored."""
    nothing = LabelledImage("u", np.zeros((96, 128, 3), np.uint8), np.full((1, 1), IGNORE, np.uint8))
    data = replace(made_up_data, unlabelled=[nothing])
    for shares, expected in (
        (Shares(camvid=1), lambda ids: (ids >= 19).all()),
        (Shares(streets=0.1), lambda ids: (ids < 19).all()),
        (Shares(unlabelled=1, scene=5), lambda ids: len(ids) == 0),
    ):
        batch = StepBatches(data, recipe.model_copy(update={"shares": shares}), range(1))[0]
        assert expected(batch.targets[batch.targets != IGNORE])


def test_a_recipe_without_data_is_refused(recipe: FamilyRecipe) -> None:
    with pytest.raises(ValueError, match="no pool that has data has a share"):
        StepBatches(TrainingData(), recipe, range(1))
