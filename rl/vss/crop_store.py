"""Finished crops with variant 0's answers, made once and shared by all pruned variants.

Cutting and degrading a crop takes longer than a step of a small network, and so does asking variant 0. What
is promised to a camera is agreement with variant 0 on the full, hardly compressed frame; so variants see
crops as a camera sends them, and learn what variant 0 says of the same crops when they are clean.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from rl.vss.batches import Batch, TrainingData
from rl.vss.datasets import target_sets
from rl.vss.recipe import FamilyRecipe
from serving.vss.network import Network

PARTS = ("images", "clean", "targets", "soft")
DONE = "done.json"
SEED = 1_000_003  # crops are not those that variant 0 was trained on


class CropStore:
    """A `BatchSource` on disk, read memory-mapped; every batch is mirrored half of the time."""

    def __init__(self, directory: Path) -> None:
        self._parts = [np.load(directory / f"{part}.npy", mmap_mode="r") for part in PARTS]

    def __len__(self) -> int:
        return len(self._parts[0])

    def weights(self, rarity: float) -> Tensor:
        """Every class weighs the same: a variant shall be as likely to see it as variant 0 is."""
        if rarity:
            raise ValueError(f"pruned variants have no rarity, expected 0, got {rarity}: change the recipe")
        return torch.ones(len(target_sets()))

    def batches(self, recipe: FamilyRecipe, steps: range, *, beside: bool) -> Iterator[Batch]:
        del beside  # there is nothing to make
        for step in steps:
            rows = self._rows(recipe, step)
            images, clean, targets, soft = (torch.from_numpy(part[rows]) for part in self._parts)
            if np.random.default_rng([recipe.seed, step, 1]).random() < 0.5:
                images, clean = images.flip(2), clean.flip(2)
                targets, soft = targets.flip(2), soft.flip(3)
            yield Batch(images, clean, targets, soft, 1.0)

    def _rows(self, recipe: FamilyRecipe, step: int) -> NDArray[np.int64]:
        """The crops of a step, rising; every crop is seen once before one is seen again."""
        first = step * recipe.batch
        passes = range(first // len(self), (first + recipe.batch - 1) // len(self) + 1)
        orders = [np.random.default_rng([recipe.seed, number]).permutation(len(self)) for number in passes]
        start = first - passes[0] * len(self)
        return np.sort(np.concatenate(orders)[start : start + recipe.batch])


def stored_crops(
    data: Callable[[], TrainingData], recipe: FamilyRecipe, teacher: Network, teacher_id: str, directory: Path
) -> CropStore:
    """The crops in `directory`, made first where they are not whole or another teacher's; `data` is read only
    then."""
    done = directory / DONE
    wanted = {
        "crops": recipe.pruning.crops,
        "crop": list(recipe.crop),
        "seed": recipe.seed,
        "teacher": teacher_id,
        "certainty": recipe.certainty_of(0),
    }
    if not done.exists() or json.loads(done.read_text()) != wanted:
        directory.mkdir(parents=True, exist_ok=True)
        done.unlink(missing_ok=True)
        _make(data(), recipe, teacher, directory)
        done.write_text(json.dumps(wanted))
    return CropStore(directory)


def _make(data: TrainingData, recipe: FamilyRecipe, teacher: Network, directory: Path) -> None:
    steps = -(-recipe.pruning.crops // recipe.batch)
    different = recipe.model_copy(update={"seed": recipe.seed + SEED})
    batches = data.batches(different, range(steps), beside=False)
    files: list[NDArray[np.uint8]] = []
    for step, batch in enumerate(track(batches, "crops for the pruned variants", steps)):
        soft = _answers(teacher, batch.clean)
        nearest = [_nearest(batch.targets.shape[axis + 1], soft.shape[axis + 2]) for axis in (0, 1)]
        parts = batch.images, batch.clean, batch.targets[:, nearest[0]][:, :, nearest[1]], soft
        if not files:
            files = [
                np.lib.format.open_memmap(
                    directory / f"{name}.npy", "w+", np.uint8, (steps * recipe.batch, *part.shape[1:])
                )
                for name, part in zip(PARTS, parts, strict=True)
            ]
        for file, part in zip(files, parts, strict=True):
            file[step * recipe.batch : (step + 1) * recipe.batch] = part.numpy()
    for file in files:
        file.flush()  # type: ignore[attr-defined]


@torch.inference_mode()
def _answers(teacher: Network, images: Tensor) -> Tensor:
    """(N, classes, h, w) uint8: 255 x probability, at the network's own stride."""
    logits = teacher(images.to(teacher.device).permute(0, 3, 1, 2))
    return logits.float().softmax(1).mul_(255).round_().byte().cpu()


def _nearest(fine: int, coarse: int) -> Tensor:
    """Rows of a fine map in the middle of those of a coarse one."""
    return ((torch.arange(coarse) + 0.5) * fine / coarse).long()
