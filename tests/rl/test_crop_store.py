"""The crops that pruned variants share: degraded pictures beside what variant 0 says of the clean ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from rl.vss.batches import TrainingData
from rl.vss.crop_store import SEED, CropStore, stored_crops
from rl.vss.recipe import Augmentation, FamilyRecipe, Shares

STRIDE = 4


class RedOrBlue:
    """A network of stride 4 that tells red from blue, so its answers show which picture it was given."""

    classes, device, runs_on = 19, "cpu", "the test"

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.seen.append(images)
        small = torch.nn.functional.avg_pool2d(images / 255, STRIDE)
        logits = torch.full((len(images), 19, *small.shape[-2:]), -30.0)
        logits[:, 0], logits[:, 1] = 10 * small[:, 0], 10 * small[:, 2]
        return logits


@pytest.fixture
def recipe(small_recipe: FamilyRecipe) -> FamilyRecipe:
    noisy = Augmentation(noise_share=1, h264_share=0, rescale_share=0, blur_share=0)
    pruning = small_recipe.pruning.model_copy(update={"crops": 6})
    shares = Shares(camvid=1, streets=1)
    changes = {"oversampling": 2, "shares": shares, "augmentation": noisy, "pruning": pruning}
    return small_recipe.model_copy(update=changes)


@pytest.fixture
def store(recipe: FamilyRecipe, made_up_data: TrainingData, tmp_path: Path) -> CropStore:
    return stored_crops(lambda: made_up_data, recipe, RedOrBlue(), "one", tmp_path)


def test_variant_0_is_asked_about_clean_crops(
    recipe: FamilyRecipe, made_up_data: TrainingData, tmp_path: Path
) -> None:
    teacher = RedOrBlue()
    stored_crops(lambda: made_up_data, recipe, teacher, "one", tmp_path)
    different = recipe.model_copy(update={"seed": recipe.seed + SEED})
    made = list(made_up_data.batches(different, range(3), beside=False))
    for asked, batch in zip(teacher.seen, made, strict=True):
        torch.testing.assert_close(asked, batch.clean.permute(0, 3, 1, 2))
        assert not torch.equal(batch.clean, batch.images)


def test_answers_are_probabilities_at_the_networks_stride(store: CropStore, recipe: FamilyRecipe) -> None:
    batch = next(store.batches(recipe, range(1), beside=False))
    assert batch.images.shape == (2, 32, 64, 3)
    assert batch.soft.shape == (2, 19, 32 // STRIDE, 64 // STRIDE)
    assert batch.targets.shape == (2, 32 // STRIDE, 64 // STRIDE)
    assert batch.scale == 1
    total = batch.soft.float().sum(1)
    torch.testing.assert_close(total, torch.full_like(total, 255), rtol=0, atol=1.01)


def test_every_crop_is_seen_once_a_pass(store: CropStore, recipe: FamilyRecipe) -> None:
    per_pass = len(store) // recipe.batch
    for first in (0, per_pass):
        seen = np.concatenate([store._rows(recipe, step) for step in range(first, first + per_pass)])
        assert sorted(seen) == list(range(len(store)))


def test_mirrored_batches_are_mirrored_in_every_part(store: CropStore, recipe: FamilyRecipe) -> None:
    for step, batch in enumerate(store.batches(recipe, range(12), beside=False)):
        rows = store._rows(recipe, step)
        images, clean, targets, soft = (torch.from_numpy(part[rows]) for part in store._parts)
        mirrored = not torch.equal(batch.images, images)
        if mirrored:
            images, clean, targets, soft = images.flip(2), clean.flip(2), targets.flip(2), soft.flip(3)
        assert torch.equal(batch.images, images)
        assert torch.equal(batch.clean, clean)
        assert torch.equal(batch.targets, targets)
        assert torch.equal(batch.soft, soft)


def test_whole_stores_of_one_teacher_are_not_made_again(
    store: CropStore, recipe: FamilyRecipe, made_up_data: TrainingData, tmp_path: Path
) -> None:
    idle, asked = RedOrBlue(), RedOrBlue()
    stored_crops(lambda: made_up_data, recipe, idle, "one", tmp_path)
    assert not idle.seen
    (tmp_path / "done.json").unlink()
    again = stored_crops(lambda: made_up_data, recipe, asked, "one", tmp_path)
    assert asked.seen
    assert all(np.array_equal(a, b) for a, b in zip(again._parts, store._parts, strict=True))
    another = RedOrBlue()
    stored_crops(lambda: made_up_data, recipe, another, "another", tmp_path)
    assert another.seen


def test_rare_classes_cannot_weigh_more(store: CropStore) -> None:
    assert store.weights(0.0).unique().tolist() == [1.0]
    with pytest.raises(ValueError, match="pruned variants have no rarity"):
        store.weights(0.3)
